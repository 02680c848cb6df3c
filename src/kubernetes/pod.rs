//! A pod while it is put together: the volumes that its containers share, and files on their way
//! into ConfigMaps and Secrets.

use std::collections::BTreeSet;

use super::disk::CONTENT_MAX;
use super::draft::Draft;
use super::names;
use super::object::{ConfigMapSource, KeyToPath, Metadata, SecretSource, Volume};
use super::unit::Unit;

/// The pod so far.
#[derive(Debug, Default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    volumes: Vec<Volume>,
    /// Keys of volumes that the workload claims itself, with the names of those claims.
    templates: Vec<(String, String)>,
    contents: Vec<Contents>,
    /// Files that are not to be root's.
    pub(super) owned: Vec<OwnedFile>,
    /// Why it is not at the level below: `privileged`, `baseline`.
    pub(super) privileged: BTreeSet<String>,
    pub(super) baseline: BTreeSet<String>,
}

/// A file that is not to be root's alone.
#[derive(Debug)]
pub(super) struct OwnedFile {
    /// The path of the key that says so.
    pub(super) path: String,
    /// Where it is in the container.
    pub(super) target: String,
    /// 0 is root.
    pub(super) uid: u64,
    /// 0 is root's.
    pub(super) gid: u64,
    /// Permission bits.
    pub(super) mode: u32,
}

impl OwnedFile {
    /// The group that lets its owner read it: a user's own group mostly has the user's number.
    pub(super) fn group(&self) -> u64 {
        if self.gid > 0 { self.gid } else { self.uid }
    }
}

/// Files that will be one object.
#[derive(Debug)]
struct Contents {
    owner: String,
    label: String,
    path: String,
    name: String,
    /// The name of its volume in the pod, which may be another.
    volume: String,
    secret: bool,
    mode: Option<u32>,
    files: Vec<(String, Vec<u8>)>,
}

impl Pod {
    /// A pod whose workload claims these volumes itself.
    pub(super) fn new(templates: &[String]) -> Self {
        let named = |key: &String| (key.clone(), names::label(key));
        Self { templates: templates.iter().map(named).collect(), ..Self::default() }
    }

    /// The claim that the workload makes for a volume.
    pub(super) fn template(&self, key: &str) -> Option<String> {
        let found = self.templates.iter().find(|(template, _)| template == key);
        found.map(|(_, name)| name.clone())
    }

    /// The name of a volume: that of an equal one that is there, or a new one like `wanted`.
    pub(super) fn volume(&mut self, wanted: &str, volume: Volume) -> String {
        if volume.empty_dir.is_none() {
            let same =
                |other: &&Volume| Volume { name: String::new(), ..(*other).clone() } == volume;
            if let Some(other) = self.volumes.iter().find(same) {
                return other.name.clone();
            }
        }
        let base = names::label(wanted);
        let is_taken = |name: &str| {
            self.volumes.iter().any(|other| other.name == name)
                || self.templates.iter().any(|(_, template)| template == name)
        };
        let mut name = base.clone();
        let mut n = 2;
        while is_taken(&name) {
            name = format!("{base}-{n}");
            n += 1;
        }
        self.volumes.push(Volume { name: name.clone(), ..volume });
        name
    }

    /// The volume that a file will be in, under its key.
    pub(super) fn content(
        &mut self,
        draft: &mut Draft<'_>,
        unit: &Unit,
        (secret, mode): (bool, Option<u32>),
        (key, bytes): (&str, Vec<u8>),
    ) -> String {
        let has_room = |contents: &&mut Contents| {
            let size: usize = contents.files.iter().map(|(_, bytes)| bytes.len()).sum();
            let other = contents.files.iter().find(|(name, _)| name == key);
            contents.owner == unit.key
                && contents.secret == secret
                && contents.mode == mode
                && (size + bytes.len()) as u64 <= CONTENT_MAX
                && other.is_none_or(|(_, other)| *other == bytes)
        };
        if let Some(contents) = self.contents.iter_mut().find(has_room) {
            if contents.files.iter().all(|(name, _)| name != key) {
                contents.files.push((key.to_owned(), bytes));
            }
            return contents.volume.clone();
        }
        let kind = if secret { "Secret" } else { "ConfigMap" };
        let n_same = self.contents.iter().filter(|it| it.owner == unit.key && it.secret == secret);
        let word = if mode.is_some() { "scripts" } else { "files" };
        let number = match n_same.count() {
            0 => String::new(),
            n => format!("-{}", n + 1),
        };
        let name = draft.names.of(kind, &format!("{}-{word}{number}", unit.name));
        let volume = self.volume(&name, of_content(&name, secret, mode, Vec::new()));
        self.contents.push(Contents {
            owner: unit.key.clone(),
            label: unit.name.clone(),
            path: format!("{}.volumes", unit.path),
            name,
            volume: volume.clone(),
            secret,
            mode,
            files: vec![(key.to_owned(), bytes)],
        });
        volume
    }

    /// Makes the objects of its files, and gives its volumes.
    pub(super) fn finish(self, draft: &mut Draft<'_>) -> Vec<Volume> {
        for contents in self.contents {
            let Contents { owner, label, path, name, secret, mut files, .. } = contents;
            files.sort();
            draft.add_content(vec![owner], &label, &name, files, (secret, path));
        }
        self.volumes
    }
}

/// A volume of the files in a ConfigMap, or in a Secret.
pub(super) fn of_content(
    name: &str,
    is_secret: bool,
    default_mode: Option<u32>,
    items: Vec<KeyToPath>,
) -> Volume {
    let name = name.to_owned();
    if is_secret {
        let source = SecretSource { secret_name: name, default_mode, items };
        Volume { secret: Some(source), ..Volume::default() }
    } else {
        let source = ConfigMapSource { name, default_mode, items };
        Volume { config_map: Some(source), ..Volume::default() }
    }
}
