//! Volumes, binds and memory file systems of a container.

use super::deployment::{self, Spread};
use super::pods;
use super::scope::Scope;
use crate::compose::project::{BindOptions, MountType, VolumeMount, parse_bytes};
use crate::model::{Mount, MountSource};

/// What a service mounts, without configs and secrets.
pub(super) fn convert(scope: &mut Scope<'_>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for text in scope.service.volumes_from.iter().filter(|text| text.starts_with("container:")) {
        let reason = format!("`{text}` is a container outside the project");
        scope.refused("volumes_from", reason, "name a service");
    }
    for volume in &scope.project.mounts_of(scope.service) {
        let is_own = scope.service.volumes.contains(volume);
        let source = match source(scope, volume) {
            Some(MountSource::Anonymous) if !is_own => {
                let reason = format!("each container has its own at `{}`", volume.target);
                scope.approximated("volumes_from", reason, "give the other's volume a name");
                continue;
            }
            source => source,
        };
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
            if volume.bind.as_ref().is_some_and(|bind| bind.selinux.is_some()) {
                let reason = format!("Docker labels the volume `{name}` by itself");
                scope.ignored("volumes.bind.selinux", reason, "");
            }
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
            Some(bind(scope, path, volume.bind.as_ref()))
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

fn bind(scope: &mut Scope<'_>, path: &str, options: Option<&BindOptions>) -> MountSource {
    const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
    const BELOW: [&str; 3] = ["disabled", "writable", "readonly"];
    let given = |value: Option<&String>| value.filter(|value| !value.is_empty()).cloned();
    let propagation = given(options.and_then(|options| options.propagation.as_ref()));
    if let Some(word) = propagation.as_deref().filter(|word| !PROPAGATIONS.contains(word)) {
        let reason = format!("`{word}` is not a propagation");
        scope.refused("volumes.bind.propagation", reason, "use `rprivate`, `rshared` or `rslave`");
    }
    let recursive = given(options.and_then(|options| options.recursive.as_ref()));
    let recursive = recursive.filter(|word| word != "enabled");
    if let Some(word) = recursive.as_deref().filter(|word| !BELOW.contains(word)) {
        let reason = format!("`{word}` is not a way to mount what is below");
        let remedy = "use `enabled`, `disabled`, `writable` or `readonly`";
        scope.refused("volumes.bind.recursive", reason, remedy);
    }
    MountSource::Bind {
        path: path.to_owned(),
        create: options.and_then(|options| options.create_host_path).unwrap_or(true),
        propagation,
        recursive,
        selinux: given(options.and_then(|options| options.selinux.as_ref())),
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
    let (mut has_binds, mut volumes) = (false, Vec::new());
    for mount in mounts {
        match &mount.source {
            MountSource::Bind { .. } => has_binds = true,
            MountSource::Volume { name, .. } => volumes.push(format!("`{name}`")),
            MountSource::Tmpfs { .. } | MountSource::Anonymous => {}
        }
    }
    let spread = deployment::spread(pods::counted(scope.project, scope.key, scope.service));
    if has_binds {
        if spread == Spread::EveryHost {
            scope.approximated("volumes", "binds are files of a host: each mounts its own", "");
        } else {
            let reason = "binds are files of one host, so the service runs only on the host where \
                          `up` is run";
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
