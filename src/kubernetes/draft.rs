//! An export at work: the objects so far, the names given, and what could not be kept.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::Calls;
use super::disk::Disk;
use super::names::{self, Names};
use super::object::{Body, ConfigMap, Map, Metadata, Object, Secret};
use super::pod::Pod;
use super::storage::Storage;
use super::unit::Unit;
use super::{Objects, Options, Secrets};
use crate::compose::project::Project;
use crate::translate::{Notes, Places, Verdict};

/// An object with where it came from.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) object: Object,
    /// Keys of the services and jobs that need it; none means all do.
    pub(super) owners: Vec<String>,
    /// Keys of those that do what it is for, while a profile has them on.
    pub(super) unless: Vec<String>,
    /// The path in the Compose file.
    pub(super) path: String,
    /// What a reader should know, a line each.
    pub(super) comments: Vec<String>,
}

/// A step a person has to take, as a command or a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) words: String,
    pub(super) command: Option<String>,
}

/// The Pod Security level of a workload: what keeps it from the stricter ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) reasons: Vec<String>,
}

/// The work so far.
pub(super) struct Draft<'a> {
    pub(super) project: &'a Project,
    pub(super) places: &'a Places<'a>,
    pub(super) disk: &'a dyn Disk,
    pub(super) options: &'a Options,
    pub(super) names: Names,
    pub(super) notes: Notes,
    pub(super) entries: Vec<Entry>,
    pub(super) steps: Vec<Step>,
    /// What is to be there already, as `kind/name`.
    pub(super) expected: Vec<String>,
    /// Secrets that are left out.
    pub(super) omitted: BTreeSet<String>,
    /// Why pods are at their Pod Security level, by workload.
    pub(super) levels: BTreeMap<String, Level>,
    pub(super) storage: Storage,
    pub(super) calls: Calls,
    /// Volumes that StatefulSets claim themselves, by the keys of their units.
    pub(super) templates: BTreeMap<String, Vec<String>>,
    /// Services that resolve only while a unit is ready, by its key, with those that wait for it.
    pub(super) awaited: BTreeMap<String, (String, Vec<String>)>,
    /// Passwords and the like that other values may hold.
    pub(super) secret_values: Vec<String>,
    /// Service names of the file that are no names on Kubernetes, with those they have there.
    pub(super) renamed: BTreeMap<String, String>,
}

/// Labels of everything a unit has.
pub(super) fn labels(project: &str, unit: &str) -> Map {
    let pairs = [
        ("app.kubernetes.io/name", unit),
        ("app.kubernetes.io/instance", project),
        ("app.kubernetes.io/part-of", project),
        ("app.kubernetes.io/managed-by", "muster"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The labels that pods are found by. They never change, for a workload cannot change them.
pub(super) fn selector(project: &str, unit: &str) -> Map {
    let mut labels = labels(project, unit);
    labels.retain(|key, _| key.ends_with("/name") || key.ends_with("/instance"));
    labels
}

impl Draft<'_> {
    /// The project's name as a value of labels.
    pub(super) fn instance(&self) -> String {
        names::label(&self.project.name)
    }

    /// Adds an object of one unit.
    pub(super) fn add(&mut self, unit: &Unit, name: &str, body: Body) {
        let path = unit.path.clone();
        self.add_at(vec![unit.key.clone()], &unit.name.clone(), name, body, path);
    }

    /// Adds an object of several units; `label` stands in `app.kubernetes.io/name`.
    pub(super) fn add_at(
        &mut self,
        owners: Vec<String>,
        label: &str,
        name: &str,
        body: Body,
        path: String,
    ) {
        let metadata = Metadata {
            name: name.to_owned(),
            namespace: self.options.namespace.clone(),
            labels: labels(&self.instance(), label),
            annotations: Map::new(),
        };
        let object = Object { metadata, body };
        let same = |entry: &&mut Entry| {
            entry.object.body.kind() == object.body.kind() && entry.object.metadata.name == name
        };
        // A unit that is folded into several pods is converted for each of them.
        if let Some(entry) = self.entries.iter_mut().find(same) {
            let new = owners.into_iter().filter(|owner| !entry.owners.contains(owner));
            entry.owners.extend(new.collect::<Vec<_>>());
            return;
        }
        self.entries.push(Entry { object, owners, unless: Vec::new(), path, comments: Vec::new() });
    }

    /// Says something at the head of the object that was added last.
    pub(super) fn comment(&mut self, words: impl Into<String>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.comments.push(words.into());
        }
    }

    /// Adds a ConfigMap, or a Secret, with these keys. Texts stay readable, bytes do not.
    pub(super) fn add_content(
        &mut self,
        owners: Vec<String>,
        label: &str,
        name: &str,
        content: Vec<(String, Vec<u8>)>,
        (secret, path): (bool, String),
    ) {
        let mut content = content;
        if secret && self.options.secrets != Secrets::Plain {
            let keys: Vec<String> = content.iter().map(|(key, _)| key.clone()).collect();
            if self.options.secrets == Secrets::Omit {
                self.omitted.insert(name.to_owned());
                let reason = format!("left out: {}", list(&keys));
                let remedy = "have it put into the pods; MIGRATION.md says where";
                self.notes.add(path, Verdict::Ignored, reason, remedy);
                return;
            }
            self.say_how_to_make(name, &keys);
            if self.options.secrets == Secrets::External {
                self.expected.push(format!("Secret/{name}"));
                return;
            }
            content.iter_mut().for_each(|(_, value)| *value = b"fill-in".to_vec());
        }
        let (mut texts, mut bytes) = (Map::new(), Map::new());
        for (key, content) in content {
            match String::from_utf8(content) {
                // YAML has no way to write other control characters as they are.
                Ok(text) if text.chars().all(is_printable) => {
                    texts.insert(key, text);
                }
                Ok(text) => {
                    bytes.insert(key, data_encoding::BASE64.encode(text.as_bytes()));
                }
                Err(error) => {
                    bytes.insert(key, data_encoding::BASE64.encode(error.as_bytes()));
                }
            }
        }
        let body = if secret {
            let kind = Some("Opaque".to_owned());
            Body::Secret(Secret { kind, string_data: texts, data: bytes })
        } else {
            Body::ConfigMap(ConfigMap { immutable: None, data: texts, binary_data: bytes })
        };
        self.add_at(owners, label, name, body, path);
    }

    fn say_how_to_make(&mut self, name: &str, keys: &[String]) {
        let literals: Vec<String> =
            keys.iter().map(|key| format!("--from-literal={key}=…")).collect();
        let namespace = self.options.namespace.as_ref();
        let namespace = namespace.map_or_else(String::new, |name| format!(" -n {name}"));
        self.steps.push(Step {
            title: "Secrets to make",
            words: format!("`{name}` with {}", list(keys)),
            command: Some(format!(
                "kubectl create secret generic {name}{namespace} {}",
                literals.join(" ")
            )),
        });
    }

    /// A path as it is said: from the project's folder on where it is inside, so that the output is
    /// the same wherever the project is.
    pub(super) fn shown(&self, path: &str) -> String {
        let folder = self.project.working_dir.to_string_lossy();
        match path.strip_prefix(folder.as_ref()) {
            Some("") => ".".to_owned(),
            Some(rest) if rest.starts_with('/') => format!(".{rest}"),
            Some(_) | None => path.to_owned(),
        }
    }

    /// Whether an object is there already.
    pub(super) fn has(&self, kind: &str, name: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.object.body.kind().1 == kind && entry.object.metadata.name == name)
    }

    /// The workload that was added last belongs to this unit as well.
    pub(super) fn own(&mut self, unit: &Unit) {
        if let Some(entry) = self.entries.last_mut()
            && !entry.owners.contains(&unit.key)
        {
            entry.owners.push(unit.key.clone());
        }
    }

    /// Whether a claim may be written by one node at a time only.
    pub(super) fn is_single_writer(&self, claim: &str) -> bool {
        self.storage.is_single_writer(claim)
    }

    /// Remembers why a workload is at its Pod Security level.
    pub(super) fn add_level(&mut self, unit: &Unit, pod: &Pod) {
        let (name, reasons) = match (pod.privileged.is_empty(), pod.baseline.is_empty()) {
            (false, _) => ("privileged", &pod.privileged),
            (true, false) => ("baseline", &pod.baseline),
            (true, true) => ("restricted", &pod.baseline),
        };
        let level = Level { name, reasons: reasons.iter().cloned().collect() };
        self.levels.insert(unit.name.clone(), level);
    }

    /// The objects in the order of their files.
    pub(super) fn finish(mut self) -> Objects {
        for entry in &mut self.entries {
            entry.owners.sort();
            entry.owners.dedup();
            expect(entry, &self.expected);
        }
        let order =
            |entry: &Entry| (entry.object.metadata.name.clone(), entry.object.body.kind().1);
        self.entries.sort_by_key(order);
        let Self { entries, notes, steps, expected, levels, .. } = self;
        Objects { entries, notes, steps, expected, levels }
    }

    /// Adds a note on a key of a unit.
    pub(super) fn note(
        &mut self,
        unit: &Unit,
        key: &str,
        verdict: Verdict,
        (reason, remedy): (impl Into<String>, &str),
    ) {
        self.notes.add(format!("{}.{key}", unit.path), verdict, reason, remedy);
    }

    /// Adds a note: nearly, but not quite.
    pub(super) fn nearly(
        &mut self,
        unit: &Unit,
        key: &str,
        reason: impl Into<String>,
        remedy: &str,
    ) {
        self.note(unit, key, Verdict::Approximated, (reason, remedy));
    }

    /// Adds a note: without effect.
    pub(super) fn lost(&mut self, unit: &Unit, key: &str, reason: impl Into<String>, remedy: &str) {
        self.note(unit, key, Verdict::Ignored, (reason, remedy));
    }
}

/// Says at a workload which of the things it uses are not part of the output.
fn expect(entry: &mut Entry, expected: &[String]) {
    let Some(template) = entry.object.body.template_mut() else { return };
    let text = serde_json::to_string(template).unwrap_or_default();
    let is_used = |what: &&String| {
        let name = what.split_once('/').map_or("", |(_, name)| name);
        text.contains(&format!("\"{name}\""))
    };
    let used: Vec<&str> = expected.iter().filter(is_used).map(String::as_str).collect();
    if !used.is_empty() {
        let annotations = &mut entry.object.metadata.annotations;
        annotations.insert(super::validate::EXPECTS.to_owned(), used.join(","));
    }
}

/// Whether a character stands in YAML as it is.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | '\t')
        || (!c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}')
}

/// `a`, `b`, `c`.
pub(super) fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}
