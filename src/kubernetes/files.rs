//! Configs and secrets of the file: an object each, mounted where the service wants them.

use super::disk::Found;
use super::draft::Draft;
use super::mounts::path;
use super::object::VolumeMount;
use super::pod::{OwnedFile, Pod, of_content};
use super::unit::Unit;
use super::{names, security};
use crate::compose::project::{FileObject, FileReference};
use crate::translate::content_of;

/// Permission bits unless the file says otherwise.
const MODE: u32 = 0o444;

/// The mounts of a unit's configs and secrets.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod) -> Vec<VolumeMount> {
    let project = draft.project;
    let mut mounts = Vec::new();
    for (secret, wanted) in unit
        .service
        .configs
        .iter()
        .map(|wanted| (false, wanted))
        .chain(unit.service.secrets.iter().map(|wanted| (true, wanted)))
    {
        let declared = if secret { &project.secrets } else { &project.configs };
        let Some(object) = declared.get(&wanted.source) else { continue };
        mounts.extend(mount(draft, unit, pod, (wanted, object, secret)));
    }
    mounts
}

fn mount(
    draft: &mut Draft<'_>,
    unit: &Unit,
    pod: &mut Pod,
    (wanted, object, secret): (&FileReference, &FileObject, bool),
) -> Option<VolumeMount> {
    let (section, folder) = if secret { ("secrets", "/run/secrets/") } else { ("configs", "/") };
    let target = wanted.target.as_deref().filter(|target| !target.is_empty());
    let target = target.unwrap_or(&wanted.source);
    let absolute =
        if target.starts_with('/') { target.to_owned() } else { format!("{folder}{target}") };
    let Some(mount_path) = path(&absolute) else {
        let reason = format!("`{target}` is no path that Kubernetes mounts at");
        draft.lost(unit, &format!("{section}.target"), reason, "");
        return None;
    };
    let mode = wanted.mode.unwrap_or(MODE);
    let uid = id(draft, unit, (section, "uid"), wanted.uid.as_deref());
    let gid = id(draft, unit, (section, "gid"), wanted.gid.as_deref());
    if uid > 0 || gid > 0 {
        let (path, target) = (format!("{}.{section}", unit.path), mount_path.clone());
        pod.owned.push(OwnedFile { path, target, uid, gid, mode });
    }
    if mode > 0o777 {
        let reason = format!("of the mode {mode:o} only the last three digits hold");
        draft.nearly(unit, &format!("{section}.mode"), reason, "");
    }
    let default_mode = Some(mode & 0o777);
    let (name, key) = object_of(draft, (&wanted.source, object, secret), unit);
    let volume = pod.volume(&name, of_content(&name, secret, default_mode, Vec::new()));
    let sub_path = Some(key);
    Some(VolumeMount {
        name: volume,
        mount_path,
        sub_path,
        read_only: true,
        ..VolumeMount::default()
    })
}

/// A number of a user or group; root's where there is none.
fn id(draft: &mut Draft<'_>, unit: &Unit, (section, key): (&str, &str), text: Option<&str>) -> u64 {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return 0 };
    match text.parse().ok().filter(|id| *id <= security::ID_MAX) {
        Some(id) => id,
        None => {
            let reason = format!("`{text}` is a name, which only the image knows");
            draft.lost(unit, &format!("{section}.{key}"), reason, "give the number");
            0
        }
    }
}

/// The name of the object, and its key.
fn object_of(
    draft: &mut Draft<'_>,
    (source, object, secret): (&str, &FileObject, bool),
    unit: &Unit,
) -> (String, String) {
    let (section, kind) = if secret { ("secrets", "Secret") } else { ("configs", "ConfigMap") };
    let key = names::key(source);
    let path = format!("{section}.{source}");
    if object.external {
        let name = names::label(if object.name.is_empty() { source } else { &object.name });
        let expected = format!("{kind}/{name}");
        if !draft.expected.contains(&expected) {
            draft.expected.push(expected);
            let reason = format!("a {kind} `{name}` with the key `{key}` has to be there");
            let verdict = crate::translate::Verdict::Approximated;
            draft.notes.add(path, verdict, reason, "make it with `kubectl create`");
        }
        return (name, key);
    }
    let content = content(draft, object).unwrap_or_else(|reason| {
        let verdict = crate::translate::Verdict::Ignored;
        let reason = format!("{reason}: an empty file takes its place");
        draft.notes.add(path.clone(), verdict, reason, "provide it and export again");
        Vec::new()
    });
    // Two names of the file never meet in one object with what a service's own files make.
    let name = draft.names.of(kind, &format!("{source}-{}", section.trim_end_matches('s')));
    let owners = vec![unit.key.clone()];
    draft.add_content(owners, &unit.name, &name, vec![(key.clone(), content)], (secret, path));
    (name, key)
}

/// The content, or in words why there is none.
fn content(draft: &Draft<'_>, object: &FileObject) -> Result<Vec<u8>, String> {
    content_of(draft.project, object, |path| {
        let name = object.file.as_deref().unwrap_or_default();
        match draft.disk.look(path) {
            Found::File(content) => Ok(content),
            Found::LargeFile => {
                Err(format!("`{name}` is larger than a ConfigMap or Secret may be"))
            }
            Found::Folder(_) | Found::LargeFolder => Err(format!("`{name}` is a folder")),
            Found::Special | Found::Missing => Err(format!("`{name}` cannot be read")),
        }
    })
}
