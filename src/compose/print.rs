//! A project as `docker compose config` prints it.

use serde_json::{Map as JsonMap, Value as Json, json};

use super::project::Project;

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
    serde_json::to_string_pretty(&model(project)?).map_err(PrintError::Json)
}

/// The resolved model as YAML.
///
/// # Errors
/// Never for a project that was loaded.
pub fn to_yaml(project: &Project) -> Result<String, PrintError> {
    let mut value = model(project)?;
    if let Some(services) = value.get_mut("services").and_then(Json::as_object_mut) {
        for service in services.values_mut().filter_map(Json::as_object_mut) {
            // Only JSON shows that these are not set.
            service.retain(|key, value| {
                !(value.is_null() && matches!(key.as_str(), "command" | "entrypoint"))
            });
        }
    }
    serde_yaml::to_string(&value).map_err(PrintError::Yaml)
}

/// The printed form as a value.
///
/// # Errors
/// Never for a project that was loaded.
pub fn model(project: &Project) -> Result<Json, PrintError> {
    let mut value = serde_json::to_value(project).map_err(PrintError::Json)?;
    for (_, service) in objects(value.get_mut("services")) {
        print_container(service);
        print_service(service);
    }
    for (_, job) in objects(value.get_mut("jobs")) {
        print_container(job);
    }
    for (_, network) in objects(value.get_mut("networks")) {
        network.entry("ipam").or_insert_with(|| json!({}));
    }
    Ok(value)
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
    for mount in items(container.get_mut("volumes")) {
        if let Some(bind) = mount.get_mut("bind").and_then(Json::as_object_mut) {
            // The default is not printed.
            bind.retain(|key, value| !(key == "create_host_path" && *value == json!(true)));
        }
    }
    if let Some(blkio) = container.get_mut("blkio_config").and_then(Json::as_object_mut) {
        for (_, list) in blkio.iter_mut().filter(|(key, _)| *key != "weight") {
            for device in items(Some(list)) {
                *device = std::mem::take(device)
                    .into_iter()
                    .map(|(key, value)| (capitalised(&key), value))
                    .collect();
            }
        }
    }
}

fn print_service(service: &mut JsonMap<String, Json>) {
    if let Some(deploy) = service.get_mut("deploy").and_then(Json::as_object_mut) {
        for key in ["resources", "placement"] {
            deploy.entry(key).or_insert_with(|| json!({}));
        }
    }
    let watch = service.get_mut("develop").and_then(|develop| develop.get_mut("watch"));
    for rule in items(watch) {
        rule.entry("exec").or_insert_with(|| json!({"command": null}));
    }
    for step in items(service.get_mut("pre_start")) {
        print_container(step);
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
