//! Objects as a Kustomize tree: a base, and an overlay for each profile and override file. What is in
//! ConfigMaps and Secrets are files that Kustomize makes them of, with the hash in the name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::{Entry, is_printable};
use super::object::{Body, Map, Object};
use super::report::{self, Report};
use super::{File, Objects, Options, patch, plain};
use crate::translate::Places;

/// An overlay: its name, and the objects as they are with it.
pub(crate) struct Variant<'a> {
    pub(super) name: String,
    pub(super) objects: Objects,
    pub(super) places: Places<'a>,
}

/// The whole tree.
pub(super) fn files(
    objects: &Objects,
    places: &Places<'_>,
    variants: &[Variant<'_>],
    (options, report): (&Options, &Report),
) -> Vec<File> {
    let mut folder = Folder::new("base/");
    for entry in &objects.entries {
        folder.add(entry, places, None);
    }
    if let Some(name) = &options.namespace {
        folder.settings.insert("namespace", json!(name));
        folder.resource("namespace.yaml", plain::yaml(&plain::value(&plain::namespace(name))));
    }
    let mut files = folder.finish();
    for variant in variants {
        files.extend(overlay(objects, variant));
    }
    if files.iter().any(|file| file.path.contains("/secrets/")) {
        let text = plain::GITIGNORE.to_owned();
        files.push(File { path: ".gitignore".to_owned(), text });
    }
    let mut apply = "kubectl apply -k base".to_owned();
    for variant in variants {
        apply.push_str(&format!("\nkubectl apply -k overlays/{}", variant.name));
    }
    let text = report::page(objects, report, &apply);
    files.push(File { path: "MIGRATION.md".to_owned(), text });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// What is another with an overlay.
fn overlay(base: &Objects, variant: &Variant<'_>) -> Vec<File> {
    let mut folder = Folder::new(&format!("overlays/{}/", variant.name));
    folder.resources.push("../../base".to_owned());
    let key = |entry: &Entry| (entry.object.body.kind().1, entry.object.metadata.name.clone());
    let old: BTreeMap<_, &Entry> = base.entries.iter().map(|entry| (key(entry), entry)).collect();
    let new: BTreeMap<_, &Entry> =
        variant.objects.entries.iter().map(|entry| (key(entry), entry)).collect();
    for (key, entry) in &new {
        match old.get(key) {
            None => folder.add(entry, &variant.places, None),
            Some(before) if before.object == entry.object => {}
            Some(before) => folder.add(entry, &variant.places, Some(before)),
        }
    }
    for ((kind, name), entry) in &old {
        if !new.contains_key(&(*kind, name.clone())) {
            let (version, _) = entry.object.body.kind();
            folder.patches.push(json!({"patch": format!(
                "$patch: delete\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n"
            )}));
        }
    }
    folder.finish()
}

/// One folder with its kustomization.
struct Folder {
    path: String,
    files: Vec<File>,
    settings: BTreeMap<&'static str, Value>,
    resources: Vec<String>,
    patches: Vec<Value>,
    config_maps: Vec<Value>,
    secrets: Vec<Value>,
}

impl Folder {
    fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            files: Vec::new(),
            settings: BTreeMap::new(),
            resources: Vec::new(),
            patches: Vec::new(),
            config_maps: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn file(&mut self, path: &str, text: String) {
        self.files.push(File { path: format!("{}{path}", self.path), text });
    }

    fn resource(&mut self, path: &str, text: String) {
        self.file(path, text);
        self.resources.push(path.to_owned());
    }

    /// Adds an object, or what changes the one that was `before`.
    fn add(&mut self, entry: &Entry, places: &Places<'_>, before: Option<&Entry>) {
        let mut object = entry.object.clone();
        object.metadata.namespace = None;
        let replaces = before.is_some();
        match &object.body {
            Body::ConfigMap(config) if config.binary_data.is_empty() => {
                let generator = self.generator(&object, &config.data, false, replaces);
                self.config_maps.push(generator);
            }
            Body::Secret(secret) if secret.data.is_empty() => {
                let generator = self.generator(&object, &secret.string_data, true, replaces);
                self.secrets.push(generator);
            }
            _ => match before {
                Some(before) => self.patch(&object, &before.object),
                None => {
                    let path = plain::path(&object);
                    let text = plain::yaml(&plain::value(&object));
                    self.resource(&path, format!("{}{text}", plain::head(entry, places)));
                }
            },
        }
    }

    fn patch(&mut self, object: &Object, before: &Object) {
        let mut before = before.clone();
        before.metadata.namespace = None;
        let operations = patch::diff(&plain::value(&before), &plain::value(object));
        let (_, kind) = object.body.kind();
        let path = format!("{}-{}-patch.yaml", object.metadata.name, kind.to_ascii_lowercase());
        self.file(&path, plain::yaml(&Value::Array(operations)));
        let target = json!({"kind": kind, "name": object.metadata.name});
        self.patches.push(json!({"path": path, "target": target}));
    }

    /// What Kustomize makes a ConfigMap or Secret of.
    fn generator(&mut self, object: &Object, data: &Map, secret: bool, replaces: bool) -> Value {
        let name = &object.metadata.name;
        let folder = if secret { "secrets" } else { "config" };
        let mut generator = json!({"name": name});
        if replaces {
            generator["behavior"] = json!("replace");
        }
        if secret {
            generator["type"] = json!("Opaque");
        }
        if !data.is_empty() && data.iter().all(|(key, value)| is_line(key, value)) {
            let path = format!("{folder}/{name}.env");
            let lines = data.iter().map(|(key, value)| format!("{key}={value}\n"));
            self.file(&path, lines.collect());
            generator["envs"] = json!([path]);
        } else {
            let mut files = Vec::new();
            for (key, value) in data {
                let path = format!("{folder}/{name}/{key}");
                self.file(&path, value.clone());
                files.push(format!("{key}={path}"));
            }
            generator["files"] = json!(files);
        }
        let labels = &object.metadata.labels;
        generator["options"] = match secret {
            // It may be handed over to something that knows nothing of the hash.
            true => json!({"disableNameSuffixHash": true, "labels": labels}),
            false => json!({"immutable": true, "labels": labels}),
        };
        generator
    }

    fn finish(mut self) -> Vec<File> {
        let mut text = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
        });
        for (key, value) in std::mem::take(&mut self.settings) {
            text[key] = value;
        }
        self.resources.sort_by_key(|path| (!path.starts_with(".."), path.clone()));
        let sections = [
            ("resources", json!(self.resources)),
            ("configMapGenerator", json!(self.config_maps)),
            ("secretGenerator", json!(self.secrets)),
            ("patches", json!(self.patches)),
        ];
        for (key, value) in sections {
            if value.as_array().is_some_and(|all| !all.is_empty()) {
                text[key] = value;
            }
        }
        let text = plain::yaml(&text);
        self.file("kustomization.yaml", text);
        self.files
    }
}

/// Whether Kustomize reads a line `key=value` back as these two.
fn is_line(key: &str, value: &str) -> bool {
    let is_name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name && value.trim() == value && !value.contains('\n') && value.chars().all(is_printable)
}
