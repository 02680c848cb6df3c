//! What a bind is for, by its path and what stands there: settings, data, or a file of the machine
//! with a meaning of its own. Reads the disk; makes nothing.

use std::path::Path;

use super::disk::{Disk, Found};
use crate::compose::project::VolumeMount;

/// Folders of a machine that are no data of a project.
const OF_THE_NODE: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/var/log",
    "/var/lib/docker",
    "/lib/modules",
    "/boot",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/systemd",
    "/etc",
];

/// What a bind is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindKind {
    /// The machine's time zone.
    Time,
    /// A file of the machine, with the type the API has for it.
    Host(Option<&'static str>),
    /// One file.
    File,
    /// A folder of settings.
    Settings,
    /// Everything else.
    Data,
}

/// What a bind is for, by its path and what is there.
pub(super) fn bind_kind(disk: &dyn Disk, mount: &VolumeMount) -> BindKind {
    let source = mount.source.as_deref().unwrap_or_default();
    if matches!(source, "/etc/localtime" | "/etc/timezone" | "/usr/share/zoneinfo") {
        return BindKind::Time;
    }
    if source.ends_with(".sock") {
        return BindKind::Host(Some("Socket"));
    }
    let is_below = |folder: &&&str| {
        let rest = source.strip_prefix(**folder);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if source == "/" || OF_THE_NODE.iter().any(|folder| is_below(&folder)) {
        return BindKind::Host(None);
    }
    let target = mount.target.as_str();
    match disk.look(Path::new(source)) {
        Found::File(_) => BindKind::File,
        Found::Folder(files) if !files.is_empty() && is_settings(mount, &files) => {
            BindKind::Settings
        }
        Found::Missing if has_extension(source) && has_extension(target) => BindKind::File,
        Found::Special => BindKind::Host(None),
        Found::Folder(_) | Found::LargeFile | Found::LargeFolder | Found::Missing => BindKind::Data,
    }
}

/// Read only, or where programs look for settings and never write; and all of it text.
fn is_settings(mount: &VolumeMount, files: &[(String, Vec<u8>)]) -> bool {
    let is_text = files.iter().all(|(_, content)| std::str::from_utf8(content).is_ok());
    let target = mount.target.as_str();
    let is_known = target.starts_with("/docker-entrypoint-initdb.d") || target.starts_with("/etc/");
    is_text && (mount.read_only || is_known)
}

fn has_extension(path: &str) -> bool {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let parts = name.rsplit_once('.');
    let is_short = |end: &str| (1..=10).contains(&end.len()) && !end.ends_with('d');
    parts.is_some_and(|(start, end)| !start.is_empty() && is_short(end)) && !path.ends_with('/')
}
