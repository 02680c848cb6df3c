//! A project as `docker compose config` prints it.

use std::collections::HashSet;

use serde_json::{Map as JsonMap, Value as Json, json};

use super::project::{MountType, Project};
use super::schema::{PROJECT, Shape};

/// A project that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The model does not fit JSON.
    #[error("failed to write the project as JSON")]
    Json(#[source] serde_json::Error),
    /// The model does not fit YAML.
    #[error("failed to write the project as YAML")]
    Yaml(#[source] serde_yaml::ser::Error),
}

/// The resolved model as indented JSON.
///
/// # Errors
/// Never for a project that was loaded.
pub fn to_json(project: &Project) -> Result<String, PrintError> {
    serde_json::to_string_pretty(&json_model(project)?).map_err(PrintError::Json)
}

/// A value as YAML, as it is.
///
/// # Errors
/// Never for what a load gave.
pub fn value_to_yaml(value: &Json) -> Result<String, PrintError> {
    serde_yaml::to_string(value).map_err(PrintError::Yaml)
}

/// Every document of a YAML text, as it is: no variables, no Compose.
///
/// # Errors
/// In words, when it is no YAML.
pub fn yaml_documents(text: &str) -> Result<Vec<Json>, String> {
    serde_yaml::from_multiple(text).map_err(|error| {
        let words = error.to_string();
        format!("it is no YAML: {}", words.lines().next().unwrap_or_default())
    })
}

/// The resolved model as YAML. It can be loaded again and is then the same project.
///
/// # Errors
/// Never for a project that was loaded.
pub fn to_yaml(project: &Project) -> Result<String, PrintError> {
    let mut value = model(project)?;
    for (_, network) in objects(value.get_mut("networks")) {
        network.retain(|key, value| !(key == "ipam" && *value == json!({})));
    }
    for section in ["services", "jobs"] {
        for (_, container) in objects(value.get_mut(section)) {
            drop_unset(container);
            drop_empty_deploy(container);
            rename_devices(container, str::to_ascii_lowercase);
            for step in items(container.get_mut("pre_start")) {
                drop_unset(step);
                spread_zero_limits(step);
            }
            spread_zero_limits(container);
            if let Some(build) = container.get_mut("build").and_then(Json::as_object_mut) {
                spread_zero_limits(build);
            }
        }
    }
    escape(&mut value);
    serde_yaml::to_string(&value).map_err(PrintError::Yaml)
}

/// The JSON form as a value.
///
/// # Errors
/// Never for a project that was loaded.
pub fn json_model(project: &Project) -> Result<Json, PrintError> {
    let mut value = unescaped_json_model(project)?;
    escape(&mut value);
    escape_keys(&mut value);
    Ok(value)
}

/// The JSON form before dollars are doubled.
pub(crate) fn unescaped_json_model(project: &Project) -> Result<Json, PrintError> {
    let mut value = model(project)?;
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, _| key != "models");
    }
    drop_extensions(&mut value, &PROJECT, true);
    for section in ["services", "jobs"] {
        for (_, service) in objects(value.get_mut(section)) {
            json_container(service);
            items(service.get_mut("pre_start")).for_each(json_container);
            json_watch(service);
        }
    }
    Ok(value)
}

/// Only the top level shows keys of the user's own in JSON.
fn drop_extensions(value: &mut Json, shape: &'static Shape, is_top: bool) {
    match value {
        Json::Array(items) => {
            if let Shape::List(inner) = shape.inner() {
                items.iter_mut().for_each(|item| drop_extensions(item, inner, false));
            }
        }
        Json::Object(map) => {
            if let Shape::Object(object) = shape.inner() {
                map.retain(|key, _| is_top || !object.is_extension(key));
            }
            for (key, item) in map {
                drop_extensions(item, shape.child(key).0, false);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// The names in a section that are printed: those that something refers to.
///
/// # Errors
/// Never for a project that was loaded.
pub fn names(project: &Project, section: &str) -> Result<Vec<String>, PrintError> {
    let model = model(project)?;
    let names = model.get(section).and_then(Json::as_object).into_iter().flatten();
    Ok(names.map(|(name, _)| name.clone()).collect())
}

/// The model as printed, before dollars are doubled.
fn model(project: &Project) -> Result<Json, PrintError> {
    let mut value = serde_json::to_value(project).map_err(PrintError::Json)?;
    let used = Used::by(project);
    for (section, names) in used.sections() {
        let Some(Json::Object(map)) = value.get_mut(section) else { continue };
        map.retain(|key, _| names.contains(key.as_str()));
        if map.is_empty() {
            value.as_object_mut().and_then(|map| map.shift_remove(section));
        }
    }
    for (_, service) in objects(value.get_mut("services")) {
        print_container(service);
        print_service(service);
    }
    for (_, job) in objects(value.get_mut("jobs")) {
        print_container(job);
    }
    for (_, config) in objects(value.get_mut("configs")) {
        if config.contains_key("environment") {
            // The loader took it from there.
            config.shift_remove("content");
        }
    }
    for (_, network) in objects(value.get_mut("networks")) {
        network.entry("ipam").or_insert_with(|| json!({}));
    }
    Ok(value)
}

/// Names of the top level that something refers to; the rest is not printed, as nothing would
/// make it.
#[derive(Debug, Default)]
struct Used<'p> {
    networks: HashSet<&'p str>,
    volumes: HashSet<&'p str>,
    configs: HashSet<&'p str>,
    secrets: HashSet<&'p str>,
    models: HashSet<&'p str>,
}

impl<'p> Used<'p> {
    fn by(project: &'p Project) -> Self {
        let mut used = Self::default();
        for service in project.services.values() {
            used.networks.extend(service.networks.keys().map(String::as_str));
            let volumes = service.volumes.iter().filter(|mount| mount.kind == MountType::Volume);
            used.volumes.extend(volumes.filter_map(|mount| mount.source.as_deref()));
            used.configs.extend(service.configs.iter().map(|config| config.source.as_str()));
            let build = service.build.iter().flat_map(|build| &build.secrets);
            let secrets = service.secrets.iter().chain(build);
            used.secrets.extend(secrets.map(|secret| secret.source.as_str()));
            let models = service.other.get("models").and_then(Json::as_object);
            used.models.extend(models.into_iter().flat_map(|map| map.keys()).map(String::as_str));
            let steps = service.other.get("pre_start").and_then(Json::as_array);
            steps.into_iter().flatten().for_each(|step| used.by_value(step));
        }
        // What only jobs refer to is not printed by the reference either.
        used
    }

    /// What a step refers to; it is kept as a plain value.
    fn by_value(&mut self, container: &'p Json) {
        let keys = |key: &str| container.get(key).and_then(Json::as_object).into_iter().flatten();
        let sources = |key: &str| {
            let list = container.get(key).and_then(Json::as_array).into_iter().flatten();
            list.filter_map(|item| item.get("source").and_then(Json::as_str))
        };
        self.networks.extend(keys("networks").map(|(key, _)| key.as_str()));
        self.models.extend(keys("models").map(|(key, _)| key.as_str()));
        self.volumes.extend(sources("volumes"));
        self.configs.extend(sources("configs"));
        self.secrets.extend(sources("secrets"));
    }

    fn sections(&self) -> [(&'static str, &HashSet<&'p str>); 5] {
        [
            ("networks", &self.networks),
            ("volumes", &self.volumes),
            ("configs", &self.configs),
            ("secrets", &self.secrets),
            ("models", &self.models),
        ]
    }
}

/// A dollar that is meant as such is printed twice, so that the result can be loaded again.
fn escape(value: &mut Json) {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
        Json::String(text) => {
            if text.contains('$') {
                *text = text.replace('$', "$$");
            }
        }
        Json::Array(items) => items.iter_mut().for_each(escape),
        Json::Object(map) => map.values_mut().for_each(escape),
    }
}

/// The reference doubles the dollars of keys too, although no key is ever filled in.
fn escape_keys(value: &mut Json) {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        Json::Array(items) => items.iter_mut().for_each(escape_keys),
        Json::Object(map) => {
            if map.keys().any(|key| key.contains('$')) {
                let old = std::mem::take(map);
                map.extend(old.into_iter().map(|(key, value)| (key.replace('$', "$$"), value)));
            }
            map.values_mut().for_each(escape_keys);
        }
    }
}

/// Only JSON shows that these are not set.
fn drop_unset(container: &mut JsonMap<String, Json>) {
    let unset = |key: &str| matches!(key, "command" | "entrypoint");
    container.retain(|key, value| !(value.is_null() && unset(key)));
}

/// Only JSON shows that these are empty.
fn drop_empty_deploy(container: &mut JsonMap<String, Json>) {
    let deploy = container.get_mut("deploy").and_then(Json::as_object_mut);
    if let Some(deploy) = deploy {
        let empty = |key: &str| matches!(key, "resources" | "placement");
        deploy.retain(|key, value| !(empty(key) && *value == json!({})));
    }
}

fn objects(
    section: Option<&mut Json>,
) -> impl Iterator<Item = (&String, &mut JsonMap<String, Json>)> {
    let map = section.and_then(Json::as_object_mut);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_object_mut()?)))
}

/// What the reference prints of every container, set or not.
fn print_container(container: &mut JsonMap<String, Json>) {
    for key in ["command", "entrypoint"] {
        container.entry(key).or_insert(Json::Null);
    }
    sort_hosts(container);
    if let Some(build) = container.get_mut("build").and_then(Json::as_object_mut) {
        sort_hosts(build);
    }
    for mount in items(container.get_mut("volumes")) {
        if let Some(bind) = mount.get_mut("bind").and_then(Json::as_object_mut) {
            // The default is not printed.
            bind.retain(|key, value| !(key == "create_host_path" && *value == json!(true)));
        }
    }
    for file in items(container.get_mut("env_file")) {
        file.retain(|key, value| !(key == "required" && *value == json!(true)));
    }
}

fn sort_hosts(object: &mut JsonMap<String, Json>) {
    if let Some(Json::Array(hosts)) = object.get_mut("extra_hosts") {
        hosts.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

fn print_service(service: &mut JsonMap<String, Json>) {
    if let Some(deploy) = service.get_mut("deploy").and_then(Json::as_object_mut) {
        for key in ["resources", "placement"] {
            deploy.entry(key).or_insert_with(|| json!({}));
        }
    }
    for step in items(service.get_mut("pre_start")) {
        print_container(step);
    }
}

/// The reference prints an empty hook of every watch rule in JSON.
fn json_watch(service: &mut JsonMap<String, Json>) {
    let watch = service.get_mut("develop").and_then(|develop| develop.get_mut("watch"));
    for rule in items(watch) {
        rule.entry("exec").or_insert_with(|| json!({"command": null}));
    }
}

/// What the reference prints of a container in JSON only: keys of devices with capitals.
fn json_container(container: &mut JsonMap<String, Json>) {
    rename_devices(container, capitalised);
    zero_limits(container);
    if let Some(build) = container.get_mut("build").and_then(Json::as_object_mut) {
        zero_limits(build);
    }
}

/// The reference takes a limit of zero for one that has two ends, which YAML alone shows.
fn spread_zero_limits(object: &mut JsonMap<String, Json>) {
    let limits = object.get_mut("ulimits").and_then(Json::as_object_mut);
    for (_, limit) in limits.into_iter().flatten().filter(|(_, limit)| **limit == json!(0)) {
        *limit = json!({"soft": 0, "hard": 0});
    }
}

/// The reference leaves a limit of zero out, which JSON alone shows.
fn zero_limits(object: &mut JsonMap<String, Json>) {
    for (_, limit) in object.get_mut("ulimits").and_then(Json::as_object_mut).into_iter().flatten()
    {
        if *limit == json!(0) {
            *limit = json!({});
        }
        if let Some(range) = limit.as_object_mut() {
            range.retain(|_, value| *value != json!(0));
        }
    }
}

fn rename_devices(container: &mut JsonMap<String, Json>, rename: fn(&str) -> String) {
    let blkio = container.get_mut("blkio_config").and_then(Json::as_object_mut);
    for (_, list) in blkio.into_iter().flatten().filter(|(key, _)| *key != "weight") {
        for device in items(Some(list)) {
            let keys = std::mem::take(device).into_iter();
            *device = keys.map(|(key, value)| (rename(&key), value)).collect();
        }
    }
}

fn items(list: Option<&mut Json>) -> impl Iterator<Item = &mut JsonMap<String, Json>> {
    let list = list.and_then(Json::as_array_mut);
    list.into_iter().flatten().filter_map(Json::as_object_mut)
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}
