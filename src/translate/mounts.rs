//! Volumes, binds and memory file systems of a container.

use super::deployment::{self, Spread};
use super::scope::Scope;
use crate::compose::project::{MountType, VolumeMount, parse_bytes};
use crate::model::{Mount, MountSource};

/// What a service mounts, without configs and secrets.
pub(super) fn convert(scope: &mut Scope<'_>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for volume in &scope.service.volumes {
        let source = source(scope, volume);
        mounts.extend(source.map(|source| Mount {
            target: volume.target.clone(),
            read_only: volume.read_only,
            source,
        }));
    }
    for text in &scope.service.tmpfs {
        mounts.push(short_tmpfs(text));
    }
    note_where_data_is(scope, &mounts);
    mounts
}

fn source(scope: &mut Scope<'_>, volume: &VolumeMount) -> Option<MountSource> {
    let target = &volume.target;
    match (volume.kind, volume.source.as_deref()) {
        (MountType::Volume, None | Some("")) => Some(MountSource::Anonymous),
        (MountType::Volume, Some(name)) if scope.project.volumes.contains_key(name) => {
            let options = volume.volume.as_ref();
            Some(MountSource::Volume {
                name: name.to_owned(),
                nocopy: options.is_some_and(|options| options.nocopy),
                subpath: options.and_then(|options| options.subpath.clone()),
            })
        }
        (MountType::Volume, Some(name)) => {
            let reason = format!("there is no volume `{name}`");
            scope.refused("volumes", reason, "declare it under the top-level `volumes`");
            None
        }
        (MountType::Bind, Some(path)) if path.starts_with('/') => {
            let options = volume.bind.as_ref();
            Some(MountSource::Bind {
                path: path.to_owned(),
                create: options.and_then(|options| options.create_host_path).unwrap_or(true),
                propagation: options.and_then(|options| options.propagation.clone()),
            })
        }
        (MountType::Bind, path) => {
            let reason = match path {
                Some(path) => format!("`{path}` is not an absolute path"),
                None => format!("the bind at `{target}` has no source"),
            };
            scope.refused("volumes.source", reason, "");
            None
        }
        (MountType::Tmpfs, _) => {
            let options = volume.tmpfs.as_ref();
            Some(MountSource::Tmpfs {
                size: options.and_then(|options| options.size).filter(|size| *size > 0),
                mode: options.and_then(|options| options.mode),
                options: Vec::new(),
            })
        }
        (MountType::Npipe, _) => {
            let reason = format!("`{target}` is a Windows pipe");
            scope.refused("volumes.type", reason, "");
            None
        }
        (MountType::Cluster, _) => {
            let reason = format!("`{target}` is a Swarm cluster volume");
            scope.refused("volumes.type", reason, "use a volume with a driver of its own");
            None
        }
        (MountType::Image, _) => {
            let reason = format!("an image is not mounted at `{target}` yet");
            scope.refused("volumes.type", reason, "copy the files into the service's image");
            None
        }
    }
}

/// `/run`, `/run:size=64m,mode=1777,exec`.
fn short_tmpfs(text: &str) -> Mount {
    let (target, given) = text.split_once(':').unwrap_or((text, ""));
    let (mut size, mut mode, mut read_only, mut options) = (None, None, false, Vec::new());
    for option in given.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) if parse_bytes(value).is_some() => size = parse_bytes(value),
            Some(("mode", value)) if u32::from_str_radix(value, 8).is_ok() => {
                mode = u32::from_str_radix(value, 8).ok();
            }
            None if option == "ro" => read_only = true,
            // Docker knows the others, or says that it does not.
            _ => options.push(option.to_owned()),
        }
    }
    let source = MountSource::Tmpfs { size, mode, options };
    Mount { target: target.to_owned(), read_only, source }
}

/// Files of a host are on that host alone, and so is a volume.
fn note_where_data_is(scope: &mut Scope<'_>, mounts: &[Mount]) {
    let (mut binds, mut volumes) = (Vec::new(), Vec::new());
    for mount in mounts {
        match &mount.source {
            MountSource::Bind { path, .. } => binds.push(format!("`{path}`")),
            MountSource::Volume { name, .. } => volumes.push(format!("`{name}`")),
            MountSource::Tmpfs { .. } | MountSource::Anonymous => {}
        }
    }
    let spread = deployment::spread(scope.service);
    if !binds.is_empty() {
        let binds = binds.join(", ");
        if spread == Spread::EveryHost {
            scope.approximated("volumes", format!("{binds}: each host mounts its own"), "");
        } else {
            let reason = format!("{binds}: the service runs only on the host where `up` is run");
            let remedy = "use a named volume for data, and `configs` or the image for files that \
                          do not change";
            scope.approximated("volumes", reason, remedy);
        }
    }
    if !volumes.is_empty() {
        let volumes = volumes.join(", ");
        let reason = match spread {
            // That one replica follows its data is what Compose does as well.
            Spread::One => return,
            Spread::Several(count) => {
                format!("{volumes}: all {count} replicas run on the host that has the volume")
            }
            Spread::EveryHost => format!("{volumes}: each host has a volume of its own"),
        };
        scope.approximated("volumes", reason, "");
    }
}
