//! The files before variables are filled in: values stay as they were written, and a short form is
//! made long only where it can be read in spite of the variables in it.
//!
//! Works as the rest of the load does, but on plain values: a text such as `${PORT}` cannot be cast,
//! so there is no typed project to work on.

use serde_json::{Map as JsonMap, Value as Json, json};

use super::Skip;
use super::canonical::canonical;
use super::check::{is_container_name, is_pull_policy};
use super::expand::Expand;
use super::mounts::{clean, secret_target};
use super::schema::{Merge, PROJECT, Shape};
use super::source::Report;
use super::tree::{Entry, KeyPath, Kind, Node, Tag, Value};
use super::unique::{UniqueBy, dedupe};

type Object = JsonMap<String, Json>;

/// Reports what is wrong whatever the variables are.
pub(crate) fn check(document: &Node, report: &mut Report) {
    let mut known = document.clone();
    forget_variables(&mut known);
    canonical(&mut known, &PROJECT, &mut KeyPath::default(), report);
    let services = known.get("services").and_then(Node::as_map);
    for (name, entry) in services.into_iter().flatten() {
        let mut refuse = |key: &str, good: fn(&str) -> bool, what: &str| {
            let node = entry.value.get(key).filter(|node| node.tag == Tag::None);
            if let Some((text, at)) = node.and_then(|node| Some((node.as_text()?, node.at)))
                && !good(text)
            {
                let message = format!("`{text}` is no {what} of service `{name}`");
                drop(report.error(at, message));
            }
        };
        refuse("pull_policy", is_pull_policy, "pull policy");
        refuse("container_name", is_container_name, "name for a container");
    }
}

/// Makes short forms long in place. What is no form at all is reported.
pub(crate) fn lengthen(document: &mut Node, report: &mut Report) {
    walk(document, &PROJECT, &mut KeyPath::default(), report);
}

/// Takes out what nobody can judge before its variables are known.
fn forget_variables(node: &mut Node) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if scalar.kind == Kind::Text && scalar.text.contains('$') {
                node.tag = Tag::Reset;
            }
        }
        Value::List(items) => {
            items.iter_mut().for_each(forget_variables);
            items.retain(|item| item.tag != Tag::Reset);
        }
        Value::Map(map) => map.values_mut().for_each(|entry| forget_variables(&mut entry.value)),
    }
}

fn walk(node: &mut Node, shape: &'static Shape, path: &mut KeyPath, report: &mut Report) {
    if node.tag == Tag::Reset {
        return;
    }
    match shape {
        Shape::Nullable(inner) => walk(node, inner, path, report),
        Shape::Either(one, map) => {
            let inner = if node.as_map().is_some() { map } else { one };
            walk(node, inner, path, report);
        }
        Shape::Short(expand, inner) => {
            if let Some(expand) = expansion(*expand, path) {
                if expand == Expand::Ports && node.as_list().is_none() {
                    let message =
                        format!("`{}` must be a list, not {}", path.as_str(), node.describe());
                    drop(report.error(node.at, message));
                    return;
                }
                let mut unheard = Report::default();
                match expand.apply(node.clone(), path, &mut unheard) {
                    Some(long) if !unheard.failed() => *node = long,
                    Some(_) | None => return,
                }
            }
            walk(node, inner, path, report);
        }
        Shape::List(inner) => {
            let Value::List(items) = &mut node.value else { return };
            items.retain(|item| item.tag != Tag::Reset);
            for (index, item) in items.iter_mut().enumerate() {
                path.item(index, |path| walk(item, inner, path, report));
            }
        }
        Shape::Map(inner) | Shape::Named(inner) => {
            for (key, entry) in node.as_map_mut().into_iter().flatten() {
                path.within(key, |path| walk(&mut entry.value, inner, path, report));
            }
        }
        Shape::Object(object) => {
            for (key, entry) in node.as_map_mut().into_iter().flatten() {
                let Some(row) = object.key(key) else { continue };
                path.within(key, |path| walk(&mut entry.value, &row.shape, path, report));
                if let (Merge::Unique(by), Value::List(items)) = (row.merge, &mut entry.value.value)
                {
                    dedupe(items, by);
                }
            }
        }
        Shape::Any
        | Shape::Text
        | Shape::TextOrNumber
        | Shape::Plain
        | Shape::Inheritable
        | Shape::Flag
        | Shape::Int { .. }
        | Shape::Number
        | Shape::Bytes { .. }
        | Shape::Duration
        | Shape::Mode
        | Shape::Choice(_)
        | Shape::Command => {}
    }
}

/// The form that a short one is given here; `None` where it stays short until values are cast.
fn expansion(expand: Expand, path: &KeyPath) -> Option<Expand> {
    match expand {
        Expand::PairsToMap => path.as_str().ends_with(".additional_contexts").then_some(expand),
        Expand::Ssh => Some(Expand::PairsToMap),
        Expand::TextToList => {
            let keys = [".dns", ".env_file", ".label_file", ".ignore", ".include"];
            let long = path.as_str().starts_with("include")
                || keys.iter().any(|key| path.as_str().ends_with(key));
            long.then_some(expand)
        }
        Expand::Hosts
        | Expand::AllToMinusOne
        | Expand::HealthTest
        | Expand::PlainToList
        | Expand::OnlyText
        | Expand::NotText
        | Expand::NoFraction
        | Expand::Distinct => None,
        Expand::ListToKeys
        | Expand::ListToObjects
        | Expand::TextToSource
        | Expand::TextToPath
        | Expand::TextToService
        | Expand::TextToCron
        | Expand::Device
        | Expand::Volume
        | Expand::Ports
        | Expand::Build
        | Expand::Gpus
        | Expand::External => Some(expand),
    }
}

/// Merges what both sides have as `KEY=value`, whatever its form, to one list; the rest is left to
/// the merge that follows.
pub(crate) fn join_pairs(base: &mut Node, over: &mut Node, shape: &'static Shape) {
    if base.tag == Tag::Reset || over.tag != Tag::None {
        return;
    }
    if let Shape::Short(Expand::PairsToMap | Expand::Hosts, _) = shape {
        let (Some(more), Some(mut all)) = (pairs(over), pairs(base)) else { return };
        all.extend(more);
        dedupe(&mut all, UniqueBy::Key);
        base.value = Value::List(all);
        *over = Node::null(over.at);
    } else if let (Value::Map(base), Value::Map(over)) = (&mut base.value, &mut over.value) {
        for (key, entry) in over {
            if let Some(old) = base.get_mut(key) {
                join_pairs(&mut old.value, &mut entry.value, shape.child(key).0);
            }
        }
    }
}

/// A list of `KEY=value`, sorted where a mapping has no order; `None` for anything else.
fn pairs(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::Scalar(_) => None,
        Value::Map(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let text = |(key, entry): (&String, &Entry)| match entry.value.as_scalar() {
                Some(scalar) if scalar.kind != Kind::Null => format!("{key}={}", scalar.display()),
                Some(_) | None => key.clone(),
            };
            Some(entries.into_iter().map(|it| Node::text(text(it), it.1.value.at)).collect())
        }
    }
}

/// The merged tree as a value, with what is unsaid filled in.
pub(crate) fn value(tree: &Node, name: &str, skip: Skip) -> Json {
    let mut value = tree.to_json();
    let Some(top) = value.as_object_mut() else { return value };
    for service in objects(top, "services") {
        fill_service(service);
    }
    if !skip.normalisation {
        top.insert("name".to_owned(), Json::from(name));
        join_default_network(top);
        for service in objects(top, "services") {
            normalise_service(service);
            for step in items(service, "pre_start") {
                join_default(step);
            }
        }
        for section in ["networks", "volumes", "configs", "secrets"] {
            name_all(top, section, name);
        }
    }
    value.sort_all_objects();
    value
}

/// The entries of a section that are mappings.
fn objects<'t>(top: &'t mut Object, section: &str) -> impl Iterator<Item = &'t mut Object> {
    let entries = top.get_mut(section).and_then(Json::as_object_mut);
    entries.into_iter().flat_map(JsonMap::values_mut).filter_map(Json::as_object_mut)
}

fn items<'t>(object: &'t mut Object, key: &str) -> impl Iterator<Item = &'t mut Object> {
    let list = object.get_mut(key).and_then(Json::as_array_mut);
    list.into_iter().flatten().filter_map(Json::as_object_mut)
}

fn fill(object: &mut Object, key: &str, value: impl Into<Json>) {
    object.entry(key).or_insert_with(|| value.into());
}

fn fill_service(service: &mut Object) {
    if let Some(Json::Array(servers)) = service.get_mut("dns") {
        servers.retain(|server| !server.is_null() && server != "");
    }
    for dependency in objects(service, "depends_on") {
        fill(dependency, "condition", "service_started");
        fill(dependency, "required", true);
    }
    for file in items(service, "env_file") {
        fill(file, "required", true);
    }
    for secret in items(service, "secrets") {
        if let Some(target) = secret.get("source").and_then(Json::as_str).map(secret_target) {
            fill(secret, "target", target);
        }
    }
    for port in items(service, "ports") {
        fill(port, "protocol", "tcp");
        fill(port, "mode", "ingress");
    }
    for mount in items(service, "volumes") {
        if let Some(bind) = mount.get_mut("bind").and_then(Json::as_object_mut) {
            fill(bind, "create_host_path", true);
        }
    }
    items(service, "gpus").for_each(count_all);
    let deploy = service.get_mut("deploy").and_then(Json::as_object_mut);
    let resources = deploy.and_then(|it| it.get_mut("resources")).and_then(Json::as_object_mut);
    let reserved =
        resources.and_then(|it| it.get_mut("reservations")).and_then(Json::as_object_mut);
    if let Some(reserved) = reserved {
        items(reserved, "devices").for_each(count_all);
    }
}

fn count_all(request: &mut Object) {
    if !request.contains_key("device_ids") {
        fill(request, "count", "all");
    }
}

fn normalise_service(service: &mut Object) {
    if service.get("pull_policy").is_some_and(|policy| policy == "if_not_present") {
        service.insert("pull_policy".to_owned(), Json::from("missing"));
    }
    if let Some(build) = service.get_mut("build").and_then(Json::as_object_mut) {
        if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
            fill(build, "dockerfile", "Dockerfile");
        }
        // Nothing is known of the variables, so an argument without a value has none.
        match build.get_mut("args") {
            Some(Json::Array(arguments)) => {
                arguments.retain(|it| it.as_str().is_some_and(|text| text.contains('=')));
            }
            Some(Json::Object(arguments)) => {
                arguments.retain(|_, value| !value.is_null());
            }
            _ => {}
        }
    }
    for mount in items(service, "volumes") {
        if let Some(target) = mount.get("target").and_then(Json::as_str).map(clean) {
            mount.insert("target".to_owned(), Json::from(target));
        }
    }
    imply_dependencies(service);
}

fn imply_dependencies(service: &mut Object) {
    let texts = |key: &str| {
        let list = service.get(key).and_then(Json::as_array).into_iter().flatten();
        list.filter_map(|item| item.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut implied = Vec::new();
    for link in texts("links") {
        let target = match link.split_once(':') {
            Some((target, alias)) if !alias.contains(':') => target.to_owned(),
            _ => link,
        };
        implied.push((target, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let shared = service.get(key).and_then(Json::as_str);
        let target = shared.and_then(|text| text.strip_prefix("service:"));
        implied.extend(target.map(|target| (target.to_owned(), true)));
    }
    for source in texts("volumes_from").iter().filter(|it| !it.starts_with("container:")) {
        implied.push((source.split(':').next().unwrap_or(source).to_owned(), false));
    }
    if implied.is_empty() {
        return;
    }
    fill(service, "depends_on", json!({}));
    let Some(Json::Object(depends_on)) = service.get_mut("depends_on") else { return };
    for (target, restart) in implied {
        let dependency =
            json!({"condition": "service_started", "required": true, "restart": restart});
        fill(depends_on, &target, dependency);
    }
}

/// A service that names no network is on `default`.
fn join_default_network(top: &mut Object) {
    let mut uses_default = false;
    for section in ["services", "jobs"] {
        for service in objects(top, section) {
            if service.contains_key("provider") || service.contains_key("network_mode") {
                continue;
            }
            join_default(service);
            let named = service.get("networks").and_then(Json::as_object);
            uses_default |= named.is_some_and(|named| named.contains_key("default"));
        }
    }
    if uses_default {
        fill(top, "networks", json!({}));
        if let Some(Json::Object(networks)) = top.get_mut("networks") {
            fill(networks, "default", Json::Null);
        }
    }
}

fn join_default(container: &mut Object) {
    let named = container.get("networks").and_then(Json::as_object);
    if !container.contains_key("network_mode") && named.is_none_or(JsonMap::is_empty) {
        container.insert("networks".to_owned(), json!({"default": null}));
    }
}

fn name_all(top: &mut Object, section: &str, project: &str) {
    let Some(Json::Object(resources)) = top.get_mut(section) else { return };
    for (key, resource) in resources {
        if resource.is_null() {
            *resource = json!({});
        }
        let Some(resource) = resource.as_object_mut() else { continue };
        let external = resource.get("external").is_some_and(|it| *it == true || *it == "true");
        let name = if external { key.clone() } else { format!("{project}_{key}") };
        fill(resource, "name", name);
    }
}
