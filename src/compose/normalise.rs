//! What a project leaves unsaid: default values, default networks, names, implied dependencies.
//!
//! Works on the merged tree, so that it serves both a project and files whose variables are left
//! alone. Those have no variables here.

use std::collections::BTreeMap;

use super::mounts::secret_target;
use super::source::Span;
use super::tree::{Entry, Map, Node, Value};
use crate::model::clean_path;

type Variables = BTreeMap<String, String>;

/// Fills in the values of keys that a project leaves out. In a tree that is `raw`, values are as
/// they are written.
pub(crate) fn fill_defaults(tree: &mut Node, variables: &Variables, raw: bool) {
    for section in ["services", "jobs"] {
        for container in maps(tree, section) {
            fill_container(container, raw);
        }
    }
    for config in maps(tree, "configs") {
        let variable = config.get("environment").and_then(|entry| entry.value.as_text());
        if let Some(content) = variable.and_then(|name| variables.get(name)) {
            let content = content.as_str();
            fill(config, "content", |at| Node::text(content, at));
        }
    }
}

/// All devices that there are.
pub(crate) fn count_all(request: &mut Map, raw: bool) {
    if !request.contains_key("device_ids") {
        fill(request, "count", |at| if raw { Node::text("all", at) } else { Node::int(-1, at) });
    }
}

/// Where a secret is when nothing is said of it.
pub(crate) fn place_secret(secret: &mut Map) {
    let source = secret.get("source").and_then(|entry| entry.value.as_text());
    if let Some(target) = source.map(secret_target) {
        fill(secret, "target", |at| Node::text(target, at));
    }
}

/// Fills in networks, names and dependencies that are implied.
pub(crate) fn normalise(tree: &mut Node, project: &str, variables: &Variables) {
    let at = tree.at;
    let mut uses_default = false;
    for section in ["services", "jobs"] {
        for container in maps(tree, section) {
            uses_default |= join_default_network(container);
            normalise_container(container, variables);
        }
    }
    if let Some(top) = tree.as_map_mut() {
        // What the file says is a template, or not yet as a name must be.
        top.insert("name".to_owned(), Entry { key: at, value: Node::text(project, at) });
        if uses_default {
            fill(top, "networks", |at| Node::map([], at));
            let networks = top.get_mut("networks").and_then(|entry| entry.value.as_map_mut());
            if let Some(networks) = networks {
                fill_at(networks, "default", at, Node::null);
            }
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        name_all(tree, section, project);
    }
}

fn fill_container(container: &mut Map, raw: bool) {
    if let Some(Value::List(servers)) = container.get_mut("dns").map(|entry| &mut entry.value.value)
    {
        servers.retain(|server| !server.is_null() && server.as_text() != Some(""));
    }
    for dependency in entries(container, "depends_on") {
        fill(dependency, "required", |at| Node::bool(true, at));
    }
    for file in items(container, "env_file") {
        fill(file, "required", |at| Node::bool(true, at));
    }
    items(container, "secrets").for_each(place_secret);
    for port in items(container, "ports") {
        fill(port, "protocol", |at| Node::text("tcp", at));
        fill(port, "mode", |at| Node::text("ingress", at));
    }
    for mount in items(container, "volumes") {
        if let Some(bind) = mount.get_mut("bind").and_then(|entry| entry.value.as_map_mut()) {
            fill(bind, "create_host_path", |at| Node::bool(true, at));
        }
    }
    items(container, "gpus").for_each(|request| count_all(request, raw));
    let reserved = ["deploy", "resources", "reservations"].into_iter().try_fold(container, below);
    for request in reserved.into_iter().flat_map(|reserved| items(reserved, "devices")) {
        count_all(request, raw);
    }
}

/// Whether the container ends up on `default`.
fn join_default_network(container: &mut Map) -> bool {
    if container.contains_key("provider") || container.contains_key("network_mode") {
        return false;
    }
    let at = place(container);
    let entry = container
        .entry("networks".to_owned())
        .or_insert_with(|| Entry { key: at, value: Node::map([], at) });
    if entry.value.is_null() {
        entry.value = Node::map([], at);
    }
    let Some(networks) = entry.value.as_map_mut() else { return false };
    if networks.is_empty() {
        fill_at(networks, "default", at, Node::null);
    }
    let joined = networks.contains_key("default");
    for step in items(container, "pre_start").filter(|_| joined) {
        if !step.contains_key("network_mode") {
            fill(step, "networks", |at| Node::map([], at));
            if let Some(networks) = below(step, "networks") {
                fill_at(networks, "default", at, Node::null);
            }
        }
    }
    joined
}

fn normalise_container(container: &mut Map, variables: &Variables) {
    if let Some(entry) = container.get_mut("pull_policy")
        && entry.value.as_text() == Some("if_not_present")
    {
        entry.value = Node::text("missing", entry.value.at);
    }
    if let Some(build) = below(container, "build") {
        if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
            fill(build, "dockerfile", |at| Node::text("Dockerfile", at));
        }
        if let Some(arguments) = build.get_mut("args") {
            inherit(&mut arguments.value, variables);
            match &mut arguments.value.value {
                Value::List(items) => {
                    items.retain(|it| it.as_text().is_some_and(|text| text.contains('=')));
                }
                Value::Map(map) => map.retain(|_, entry| !entry.value.is_null()),
                Value::Scalar(_) => {}
            }
        }
    }
    if let Some(environment) = container.get_mut("environment") {
        inherit(&mut environment.value, variables);
    }
    for mount in items(container, "volumes") {
        let Some(entry) = mount.get_mut("target") else { continue };
        if let Some(target) = entry.value.as_text().map(clean_path) {
            entry.value = Node::text(target, entry.value.at);
        }
    }
    imply_dependencies(container);
}

/// Names without a value have that of the variable.
pub(crate) fn inherit(environment: &mut Node, variables: &Variables) {
    match &mut environment.value {
        Value::Map(map) => {
            for (name, entry) in map {
                if let Some(value) = variables.get(name).filter(|_| entry.value.is_null()) {
                    entry.value = Node::text(value.as_str(), entry.value.at);
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(name) = item.as_text() else { continue };
                if let Some(value) = variables.get(name) {
                    *item = Node::text(format!("{name}={value}"), item.at);
                }
            }
        }
        Value::Scalar(_) => {}
    }
}

fn imply_dependencies(container: &mut Map) {
    let text = |entry: &Entry| entry.value.as_text().map(str::to_owned);
    let texts = |key: &str| {
        let list = container.get(key).and_then(|entry| entry.value.as_list()).unwrap_or_default();
        list.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut implied: Vec<(String, bool)> = Vec::new();
    for link in texts("links") {
        let target = match link.split_once(':') {
            Some((target, alias)) if !alias.contains(':') => target.to_owned(),
            _ => link,
        };
        implied.push((target, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let shared = container.get(key).and_then(text);
        let target = shared.as_deref().and_then(|text| text.strip_prefix("service:"));
        implied.extend(target.map(|target| (target.to_owned(), true)));
    }
    for source in texts("volumes_from").iter().filter(|it| !it.starts_with("container:")) {
        implied.push((source.split(':').next().unwrap_or(source).to_owned(), false));
    }
    if implied.is_empty() {
        return;
    }
    fill(container, "depends_on", |at| Node::map([], at));
    let Some(depends_on) = below(container, "depends_on") else { return };
    for (target, restart) in implied {
        fill(depends_on, &target, |at| {
            let condition = Node::text("service_started", at);
            let (required, restart) = (Node::bool(true, at), Node::bool(restart, at));
            Node::map([("condition", condition), ("required", required), ("restart", restart)], at)
        });
    }
}

fn name_all(tree: &mut Node, section: &str, project: &str) {
    let Some(resources) = tree.as_map_mut().and_then(|top| below(top, section)) else { return };
    for (key, entry) in resources {
        let external = super::complete::is_external(&entry.value);
        if entry.value.is_null() {
            entry.value = Node::map([], entry.key);
        }
        let Some(resource) = entry.value.as_map_mut() else { continue };
        let name = if external { key.clone() } else { format!("{project}_{key}") };
        fill_at(resource, "name", entry.key, |at| Node::text(name, at));
    }
}

/// The entries of a section that are mappings.
fn maps<'t>(tree: &'t mut Node, section: &str) -> impl Iterator<Item = &'t mut Map> {
    let top = tree.as_map_mut();
    top.into_iter().flat_map(move |top| entries(top, section))
}

fn entries<'t>(map: &'t mut Map, key: &str) -> impl Iterator<Item = &'t mut Map> {
    let entries = below(map, key).into_iter().flat_map(Map::values_mut);
    entries.filter_map(|entry| entry.value.as_map_mut())
}

fn items<'t>(map: &'t mut Map, key: &str) -> impl Iterator<Item = &'t mut Map> {
    let items = match map.get_mut(key).map(|entry| &mut entry.value.value) {
        Some(Value::List(items)) => items.iter_mut(),
        Some(Value::Map(_) | Value::Scalar(_)) | None => [].iter_mut(),
    };
    items.filter_map(Node::as_map_mut)
}

fn below<'t>(map: &'t mut Map, key: &str) -> Option<&'t mut Map> {
    map.get_mut(key)?.value.as_map_mut()
}

/// Where what is filled in has its place: at the first key beside it.
fn place(map: &Map) -> Span {
    map.values().next().map(|entry| entry.key).unwrap_or_default()
}

fn fill(map: &mut Map, key: &str, value: impl FnOnce(Span) -> Node) {
    let at = place(map);
    fill_at(map, key, at, value);
}

fn fill_at(map: &mut Map, key: &str, at: Span, value: impl FnOnce(Span) -> Node) {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), Entry { key: at, value: value(at) });
    }
}
