//! Whole exports: the examples against what is expected of them, and rules that several rooms share.

mod examples;
mod options;
mod rules;
mod validation;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::compose::project::Project;
use crate::translate::Note;
use crate::translate::check::add_kubernetes_notes;

/// Files that tests make up.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<&'static str, Found>);

impl Disk for Files {
    fn look(&self, path: &Path) -> Found {
        let text = path.to_string_lossy();
        self.0.get(text.as_ref()).cloned().unwrap_or(Found::Missing)
    }
}

/// A project as if it had been loaded, without places.
fn loaded(project: &Project) -> Loaded {
    Loaded { project: project.clone(), warnings: Vec::new(), locations: BTreeMap::new() }
}

/// The objects of a project by kind and name, and all that is said of it.
pub(crate) fn objects(project: &Project) -> (BTreeMap<String, Value>, Vec<Note>) {
    with(project, &Files::default(), &Options::default())
}

fn with(
    project: &Project,
    files: &Files,
    options: &Options,
) -> (BTreeMap<String, Value>, Vec<Note>) {
    let loaded = loaded(project);
    let places = Places::of(&loaded);
    let objects = Objects::of(project, &places, files, options);
    let mut notes = Notes::default();
    add_kubernetes_notes(project, &[], &mut notes);
    let notes = objects.notes.all().iter().chain(notes.all()).cloned().collect();
    let named = objects.entries.iter().map(|entry| {
        let value = plain::value(&entry.object);
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        (format!("{kind}/{}", entry.object.metadata.name), value)
    });
    (named.collect(), notes)
}

/// A project `app` of canonical JSON.
#[track_caller]
fn project(value: Value) -> Project {
    let mut value = value;
    value["name"] = json!("app");
    let mut project = Project::from_canonical(value).unwrap();
    project.working_dir = "/src".into();
    project
}

/// Fails when the API would not take the objects of a project.
#[track_caller]
fn assert_valid(project: &Project, files: &Files, options: &Options) {
    assert_eq!(validate(&manifests(export(&loaded(project), files, options))), []);
}

/// The files of an export that hold objects.
fn manifests(export: Export) -> Vec<(String, String)> {
    let yaml = export.files.into_iter().filter(|file| file.path.ends_with(".yaml"));
    yaml.map(|file| (file.path, file.text)).collect()
}
