//! Objects as files that `kubectl apply` takes, one a file.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::Entry;
use super::object::{Body, Metadata, Object};
use super::report::{self, Report};
use super::{File, Objects, Options, names};
use crate::compose::print;
use crate::translate::Places;

/// Digits of a content's hash in the name of its ConfigMap.
const HASH: usize = 10;

/// Every object as a file, and the page.
pub(super) fn files(
    objects: &Objects,
    places: &Places<'_>,
    options: &Options,
    report: &Report,
) -> Vec<File> {
    let entries = hashed(&objects.entries);
    let mut files: Vec<File> = entries.iter().map(|entry| file(entry, places)).collect();
    files.extend(options.namespace.as_ref().map(|name| File {
        // Applied before everything that is in it.
        path: "00-namespace.yaml".to_owned(),
        text: yaml(&value(&namespace(name))),
    }));
    if files.iter().any(|file| file.path.starts_with("secrets/")) {
        files.push(File { path: ".gitignore".to_owned(), text: GITIGNORE.to_owned() });
    }
    let apply = "kubectl apply -R -f .";
    let page = report::page(objects, report, apply);
    files.push(File { path: "MIGRATION.md".to_owned(), text: page });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Keeps values that nobody should read out of repositories.
pub(super) const GITIGNORE: &str = "# Values that nobody should read.\nsecrets/\n";

/// The namespace itself.
pub(super) fn namespace(name: &str) -> Object {
    let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
    Object { metadata, body: Body::Namespace {} }
}

/// The objects with the hash of each ConfigMap in its name, so that pods are replaced when it
/// changes. It can then never change, and the API need not watch it.
fn hashed(entries: &[Entry]) -> Vec<Entry> {
    let mut renamed = BTreeMap::new();
    let mut entries = entries.to_vec();
    for entry in &mut entries {
        if let Body::ConfigMap(config) = &mut entry.object.body {
            let content = serde_json::to_vec(&(&config.data, &config.binary_data));
            let hash = names::hash(&content.unwrap_or_default(), HASH);
            let name = format!("{}-{hash}", entry.object.metadata.name);
            config.immutable = Some(true);
            renamed.insert(std::mem::replace(&mut entry.object.metadata.name, name.clone()), name);
        }
    }
    let rename = |name: &mut String| {
        if let Some(new) = renamed.get(name) {
            name.clone_from(new);
        }
    };
    for entry in &mut entries {
        let Some(template) = entry.object.body.template_mut() else { continue };
        let spec = &mut template.spec;
        for volume in &mut spec.volumes {
            volume.config_map.iter_mut().for_each(|source| rename(&mut source.name));
        }
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
            let from = container.env_from.iter_mut();
            from.filter_map(|it| it.config_map_ref.as_mut()).for_each(|it| rename(&mut it.name));
        }
    }
    entries
}

/// One object as a file.
fn file(entry: &Entry, places: &Places<'_>) -> File {
    let text = format!("{}{}", head(entry, places), yaml(&value(&entry.object)));
    File { path: path(&entry.object), text }
}

/// Where the object came from, as comments.
pub(super) fn head(entry: &Entry, places: &Places<'_>) -> String {
    let place = places.find(&entry.path);
    let place = place.map(|at| format!(" ({}:{})", report::short(&at.file), at.line));
    let mut text = format!("# From `{}`{}.\n", entry.path, place.unwrap_or_default());
    for comment in &entry.comments {
        text.push_str(&format!("# {}\n", comment.replace('\n', " ")));
    }
    text
}

/// The name of an object's file.
pub(super) fn path(object: &Object) -> String {
    let (_, kind) = object.body.kind();
    let name = format!("{}-{}.yaml", object.metadata.name, kind.to_ascii_lowercase());
    match &object.body {
        Body::Secret(_) => format!("secrets/{name}"),
        Body::Namespace {}
        | Body::ConfigMap(_)
        | Body::PersistentVolume { .. }
        | Body::PersistentVolumeClaim { .. }
        | Body::Service { .. }
        | Body::Deployment { .. }
        | Body::StatefulSet { .. }
        | Body::DaemonSet { .. }
        | Body::Job { .. }
        | Body::CronJob { .. }
        | Body::PodDisruptionBudget { .. }
        | Body::HorizontalPodAutoscaler { .. }
        | Body::VerticalPodAutoscaler { .. }
        | Body::Ingress { .. }
        | Body::HttpRoute { .. }
        | Body::NetworkPolicy { .. } => name,
    }
}

/// An object as a value.
pub(super) fn value(object: &Object) -> Value {
    serde_json::to_value(object).expect("an object holds only texts, numbers, lists and maps")
}

/// A part of an object as a value.
pub(super) fn value_of(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("an object holds only texts, numbers, lists and maps")
}

/// A value as YAML.
pub(super) fn yaml(value: &Value) -> String {
    print::value_to_yaml(value).expect("YAML can say what JSON can")
}
