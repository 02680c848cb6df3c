//! What a container mounts. Named volumes become claims; a bind is judged by what is at its source:
//! settings go into a ConfigMap or Secret, data into a claim that has to be filled, and a few files
//! of the machine have a meaning of their own. Configs and secrets of the file are in `files`.

use std::path::Path;

use super::binds::{self, BindKind};
use super::disk::Found;
use super::draft::Draft;
use super::object::{ClaimSource, EmptyDir, HostPath, ImageSource, KeyToPath, Volume, VolumeMount};
use super::pod::{Pod, of_content};
use super::storage;
use super::unit::Unit;
use super::{copy, files, names, quantity, secret_like};
use crate::compose::project::{MountType, VolumeMount as Mount, parse_bytes};

/// Permissions of a file that begins with `#!`.
const RUNS: u32 = 0o755;

/// The mounts of a unit; the volumes behind them go into the pod.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod) -> Vec<VolumeMount> {
    let mut mounts = Vec::new();
    for mount in &unit.service.volumes {
        if let Some(mount) = one(draft, unit, pod, mount) {
            push(&mut mounts, mount);
        }
    }
    for text in &unit.service.tmpfs {
        if let Some(mount) = tmpfs(draft, unit, pod, text) {
            push(&mut mounts, mount);
        }
    }
    if let Some(size) = unit.service.shm_size.filter(|size| *size > 0) {
        let empty_dir = memory(Some(size));
        let volume = Volume { empty_dir: Some(empty_dir), ..Volume::default() };
        let name = pod.volume("shm", volume);
        push(
            &mut mounts,
            VolumeMount { name, mount_path: "/dev/shm".to_owned(), ..VolumeMount::default() },
        );
    }
    for mount in files::convert(draft, unit, pod) {
        push(&mut mounts, mount);
    }
    mounts
}

/// Of two mounts at one place the later wins, as in Docker; the API refuses both.
fn push(mounts: &mut Vec<VolumeMount>, mount: VolumeMount) {
    mounts.retain(|other| other.mount_path != mount.mount_path);
    mounts.push(mount);
}

/// A path as the API takes it: absolute, without `:`, `.` and `..`.
pub(super) fn path(target: &str) -> Option<String> {
    let parts: Vec<&str> =
        target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let fits = target.starts_with('/') && !target.contains(':') && !parts.contains(&"..");
    fits.then(|| format!("/{}", parts.join("/")))
}

fn one(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod, mount: &Mount) -> Option<VolumeMount> {
    let Some(target) = path(&mount.target) else {
        let reason = format!("`{}` is no path that Kubernetes mounts at", mount.target);
        draft.lost(unit, "volumes.target", reason, "give an absolute path");
        return None;
    };
    let base = VolumeMount {
        mount_path: target.clone(),
        read_only: mount.read_only,
        ..VolumeMount::default()
    };
    match (mount.kind, mount.source.as_deref().filter(|source| !source.is_empty())) {
        (MountType::Volume, Some(key)) => Some(named(draft, unit, pod, (mount, key), base)),
        (MountType::Volume, None) => {
            let volume = Volume { empty_dir: Some(EmptyDir::default()), ..Volume::default() };
            let reason = format!("`{target}` has no name: it is empty whenever a pod is made");
            draft.nearly(unit, "volumes", reason, "give the volume a name");
            Some(VolumeMount { name: pod.volume(&format!("at{target}"), volume), ..base })
        }
        (MountType::Bind, Some(source)) => bind(draft, unit, pod, (mount, source), base),
        (MountType::Bind, None) => {
            draft.lost(unit, "volumes", format!("the bind at `{target}` has no source"), "");
            None
        }
        (MountType::Tmpfs, _) => {
            let size = mount.tmpfs.as_ref().and_then(|options| options.size);
            let volume = Volume { empty_dir: Some(memory(size)), ..Volume::default() };
            Some(VolumeMount { name: pod.volume(&format!("tmp{target}"), volume), ..base })
        }
        (MountType::Image, Some(reference)) => {
            let image = ImageSource { reference: reference.to_owned(), pull_policy: None };
            let volume = Volume { image: Some(image), ..Volume::default() };
            let sub_path = mount.image.as_ref().and_then(|image| image.subpath.clone());
            let name = pod.volume(&format!("image{target}"), volume);
            Some(VolumeMount { name, sub_path, read_only: true, ..base })
        }
        (MountType::Image | MountType::Npipe | MountType::Cluster, _) => {
            let reason = format!("what is mounted at `{target}` has no like on Kubernetes");
            draft.lost(unit, "volumes.type", reason, "use a named volume");
            None
        }
    }
}

fn memory(size: Option<u64>) -> EmptyDir {
    let size_limit = size.filter(|size| *size > 0).map(quantity::bytes);
    EmptyDir { medium: Some("Memory".to_owned()), size_limit }
}

/// `/run:size=64m,mode=1777`.
fn tmpfs(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod, text: &str) -> Option<VolumeMount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let Some(target) = path(target) else {
        draft.lost(unit, "tmpfs", format!("`{target}` is no absolute path"), "");
        return None;
    };
    let (mut size, mut read_only, mut lost) = (None, false, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) if parse_bytes(value).is_some() => size = parse_bytes(value),
            None if option == "ro" => read_only = true,
            None if option == "rw" => {}
            _ => lost.push(option.to_owned()),
        }
    }
    if !lost.is_empty() {
        let reason =
            format!("no such options of a volume in memory: {}", super::draft::list(&lost));
        draft.lost(unit, "tmpfs", reason, "");
    }
    let volume = Volume { empty_dir: Some(memory(size)), ..Volume::default() };
    let name = pod.volume(&format!("tmp{target}"), volume);
    Some(VolumeMount { name, mount_path: target, read_only, ..VolumeMount::default() })
}

fn named(
    draft: &mut Draft<'_>,
    unit: &Unit,
    pod: &mut Pod,
    (mount, key): (&Mount, &str),
    base: VolumeMount,
) -> VolumeMount {
    let options = mount.volume.as_ref();
    let sub_path = options.and_then(|options| options.subpath.clone());
    if !options.is_some_and(|options| options.nocopy) && !storage::is_database(unit) {
        let reason = format!(
            "`{key}` is empty at first: Docker would copy into it what the image has at `{}`",
            base.mount_path
        );
        draft.nearly(
            unit,
            "volumes",
            reason,
            "copy it in the container's entry point if it is needed",
        );
    }
    let (name, sub_path) = match pod.template(key) {
        // The file system of a claim is seldom empty, and a database begins in an empty folder only.
        Some(name) => (name, sub_path.or_else(|| Some("data".to_owned()))),
        None => (pod.volume(key, storage::volume(draft, key)), sub_path),
    };
    VolumeMount { name, sub_path, ..base }
}

fn bind(
    draft: &mut Draft<'_>,
    unit: &Unit,
    pod: &mut Pod,
    (mount, source): (&Mount, &str),
    base: VolumeMount,
) -> Option<VolumeMount> {
    let kind = binds::bind_kind(draft.disk, mount);
    if propagation(mount).is_some() && !matches!(kind, BindKind::Host(_)) {
        let reason = "only what is mounted on the node itself can be passed on";
        draft.lost(unit, "volumes.bind.propagation", reason, "");
    }
    match kind {
        BindKind::Time => {
            let reason = format!("`{source}` of the node is not mounted: the zone is UTC");
            draft.nearly(unit, "volumes", reason, "set `TZ` in `environment`");
            None
        }
        BindKind::Host(kind) => {
            let reason = format!(
                "`{source}` is the node's own, whichever it is: pods that mount it need a \
                 namespace at Pod Security level `privileged`"
            );
            let remedy = if source.ends_with(".sock") {
                "nodes may have no Docker: use the Kubernetes API with a service account"
            } else {
                ""
            };
            draft.nearly(unit, "volumes", reason, remedy);
            let path = path(source)?;
            let host_path = Some(HostPath { path, kind: kind.map(str::to_owned) });
            let name = pod.volume(source, Volume { host_path, ..Volume::default() });
            let mount_propagation = propagation(mount);
            Some(VolumeMount { name, mount_propagation, ..base })
        }
        BindKind::File => Some(file(draft, unit, pod, (mount, source), base)),
        BindKind::Settings => settings(draft, unit, pod, (mount, source), base),
        BindKind::Data => {
            let name = storage::bind_claim(draft, unit, source);
            let reason = format!(
                "`{}` becomes the claim `{name}`, which is empty at first",
                draft.shown(source)
            );
            draft.nearly(unit, "volumes", reason, "copy the files into it; MIGRATION.md says how");
            copy::of_folder(draft, unit, (source, &name), &base.mount_path);
            let claim = Some(ClaimSource { claim_name: name.clone() });
            let volume = Volume { persistent_volume_claim: claim, ..Volume::default() };
            Some(VolumeMount { name: pod.volume(&name, volume), ..base })
        }
    }
}

fn propagation(mount: &Mount) -> Option<String> {
    match mount.bind.as_ref()?.propagation.as_deref()? {
        "shared" | "rshared" => Some("Bidirectional".to_owned()),
        "slave" | "rslave" => Some("HostToContainer".to_owned()),
        _ => None,
    }
}

/// One file by its content. One that is missing is empty, so that all applies.
fn file(
    draft: &mut Draft<'_>,
    unit: &Unit,
    pod: &mut Pod,
    (mount, source): (&Mount, &str),
    base: VolumeMount,
) -> VolumeMount {
    let content = match draft.disk.look(Path::new(source)) {
        Found::File(content) => content,
        Found::Folder(_)
        | Found::LargeFile
        | Found::LargeFolder
        | Found::Special
        | Found::Missing => {
            let reason =
                format!("`{}` is not there: an empty file takes its place", draft.shown(source));
            draft.lost(unit, "volumes", reason, "put the file there and export again");
            Vec::new()
        }
    };
    note_read_only(draft, unit, mount, &base);
    let is_secret = secret_like::is_file(source, &content);
    let mode = content.starts_with(b"#!").then_some(RUNS);
    let key = names::key(source.rsplit('/').next().unwrap_or(source));
    let name = pod.content(draft, unit, (is_secret, mode), (&key, content));
    VolumeMount { name, sub_path: Some(key), read_only: true, ..base }
}

/// A folder of settings: each file at its path.
fn settings(
    draft: &mut Draft<'_>,
    unit: &Unit,
    pod: &mut Pod,
    (mount, source): (&Mount, &str),
    base: VolumeMount,
) -> Option<VolumeMount> {
    let Found::Folder(found) = draft.disk.look(Path::new(source)) else { return None };
    note_read_only(draft, unit, mount, &base);
    let is_secret = found.iter().any(|(path, content)| secret_like::is_file(path, content));
    let mode = found.iter().any(|(_, content)| content.starts_with(b"#!")).then_some(RUNS);
    let mut items = Vec::new();
    let mut content = Vec::new();
    for (path, bytes) in found {
        let key = names::key(&path.replace('/', "-"));
        let key = if items.iter().any(|item: &KeyToPath| item.key == key) {
            format!("{}-{key}", names::hash(path.as_bytes(), 6))
        } else {
            key
        };
        items.push(KeyToPath { key: key.clone(), path, mode: None });
        content.push((key, bytes));
    }
    let is_flat = items.iter().all(|item| item.key == item.path);
    let items = if is_flat { Vec::new() } else { items };
    let last = source.trim_end_matches('/').rsplit('/').next().unwrap_or(source);
    let kind = if is_secret { "Secret" } else { "ConfigMap" };
    let name = draft.names.of(kind, &format!("{}-{last}", unit.name));
    let (owners, path) = (vec![unit.key.clone()], format!("{}.volumes", unit.path));
    draft.add_content(owners, &unit.name, &name, content, (is_secret, path));
    let volume = of_content(&name, is_secret, mode, items);
    Some(VolumeMount { name: pod.volume(&name, volume), read_only: true, ..base })
}

/// Says of a mount that may be written in Compose that a ConfigMap cannot be.
fn note_read_only(draft: &mut Draft<'_>, unit: &Unit, mount: &Mount, base: &VolumeMount) {
    if mount.read_only {
        return;
    }
    let reason = format!("`{}` cannot be written: it comes from a ConfigMap", base.mount_path);
    draft.nearly(unit, "volumes", reason, "mount it `:ro`, or keep what is written in a volume");
}
