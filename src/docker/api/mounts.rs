//! Mounts of a container in Docker's two forms. Pure.

use std::collections::HashMap;

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum as Propagation, MountTmpfsOptions,
    MountType, MountVolumeOptions,
};

use super::convert::signed;
use super::files;
use super::session::ApiVersion;
use crate::docker::{CreateContainer, EngineError};
use crate::model::{self, MountSource};

/// `BindOptions.CreateMountpoint`.
const CREATE_MOUNTPOINT: ApiVersion = ApiVersion::minor(42);
/// `BindOptions.ReadOnlyNonRecursive` and `ReadOnlyForceRecursive`.
const READ_ONLY_BELOW: ApiVersion = ApiVersion::minor(44);
/// `VolumeOptions.Subpath`.
const SUBPATH: ApiVersion = ApiVersion::minor(45);

/// What is mounted, by the form that can say it.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// `source:target:options`; makes a missing source, which [`Mount`] does only since 1.42.
    pub(super) binds: Vec<String>,
    /// Memory file systems with options of their own, which a [`Mount`] takes only since 1.46.
    pub(super) tmpfs: HashMap<String, String>,
}

/// All mounts of `container`, and those its files need to be put somewhere.
pub(super) fn convert(
    container: &CreateContainer,
    api: ApiVersion,
) -> Result<Mounted, EngineError> {
    let mut mounted = Mounted::default();
    for mount in &container.spec.mounts {
        match &mount.source {
            // A label is only said in the older form.
            MountSource::Bind {
                path,
                propagation,
                recursive: _,
                create: _,
                selinux: Some(label),
            } => {
                let words = [propagation.as_deref(), Some(label)];
                mounted.binds.push(bind_line(mount, path, words, container)?);
            }
            MountSource::Bind {
                path,
                create: true,
                propagation,
                recursive: None,
                selinux: None,
            } if api < CREATE_MOUNTPOINT => {
                let words = [propagation.as_deref(), None];
                mounted.binds.push(bind_line(mount, path, words, container)?);
            }
            MountSource::Tmpfs { size, mode, options } if !options.is_empty() => {
                let line = tmpfs_line(mount, *size, *mode, options);
                mounted.tmpfs.insert(mount.target.clone(), line);
            }
            MountSource::Bind { .. }
            | MountSource::Volume { .. }
            | MountSource::Tmpfs { .. }
            | MountSource::Anonymous => mounted.mounts.push(convert_mount(mount, container, api)?),
        }
    }
    for folder in files::carriers(&container.spec).map_err(|detail| refused(container, detail))? {
        mounted.mounts.push(Mount {
            target: Some(folder),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        });
    }
    Ok(mounted)
}

fn convert_mount(
    mount: &model::Mount,
    container: &CreateContainer,
    api: ApiVersion,
) -> Result<Mount, EngineError> {
    let mut made = Mount {
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    };
    match &mount.source {
        MountSource::Volume { name, nocopy, subpath } => {
            if subpath.is_some() && api < SUBPATH {
                let detail =
                    format!("a volume's `subpath` needs Docker API {SUBPATH}, here is {api}");
                return Err(refused(container, detail));
            }
            let known = container.volumes.get(name);
            let source = known.ok_or_else(|| {
                refused(container, format!("bug: volume `{name}` was given no name in Docker"))
            })?;
            made.typ = Some(MountType::VOLUME);
            made.source = Some(source.clone());
            made.volume_options = Some(MountVolumeOptions {
                no_copy: Some(*nocopy),
                subpath: subpath.clone(),
                ..MountVolumeOptions::default()
            });
        }
        MountSource::Bind { path, create, propagation, recursive, selinux: _ } => {
            made.typ = Some(MountType::BIND);
            made.source = Some(path.clone());
            let propagation = propagation
                .as_deref()
                .map(|word| parse_propagation(word, container))
                .transpose()?;
            let recursive = recursive.as_deref();
            if matches!(recursive, Some("writable" | "readonly")) && api < READ_ONLY_BELOW {
                let word = recursive.unwrap_or_default();
                let detail = format!(
                    "a bind with `recursive: {word}` needs Docker API {READ_ONLY_BELOW}, here is {api}"
                );
                return Err(refused(container, detail));
            }
            let options = MountBindOptions {
                propagation,
                create_mountpoint: create.then_some(true),
                non_recursive: (recursive == Some("disabled")).then_some(true),
                read_only_non_recursive: (recursive == Some("writable")).then_some(true),
                read_only_force_recursive: (recursive == Some("readonly")).then_some(true),
            };
            made.bind_options = (options != MountBindOptions::default()).then_some(options);
        }
        MountSource::Tmpfs { size, mode, options: _ } => {
            made.typ = Some(MountType::TMPFS);
            made.tmpfs_options = Some(MountTmpfsOptions {
                size_bytes: size.map(signed),
                mode: mode.map(i64::from),
                options: None,
            });
        }
        MountSource::Anonymous => made.typ = Some(MountType::VOLUME),
    }
    Ok(made)
}

/// `exec,size=4096,mode=1777`.
fn tmpfs_line(
    mount: &model::Mount,
    size: Option<u64>,
    mode: Option<u32>,
    options: &[String],
) -> String {
    let access = mount.read_only.then(|| "ro".to_owned());
    let size = size.map(|bytes| format!("size={bytes}"));
    let mode = mode.map(|bits| format!("mode={bits:o}"));
    let words: Vec<String> =
        options.iter().cloned().chain(access).chain(size).chain(mode).collect();
    words.join(",")
}

/// The older form, in which a colon cannot be part of a path.
fn bind_line(
    mount: &model::Mount,
    path: &str,
    words: [Option<&str>; 2],
    container: &CreateContainer,
) -> Result<String, EngineError> {
    if path.contains(':') || mount.target.contains(':') {
        let detail =
            format!("a folder with a colon in its path cannot be made and mounted: `{path}`");
        return Err(refused(container, detail));
    }
    let access = if mount.read_only { "ro" } else { "rw" };
    let options: Vec<&str> = std::iter::once(access).chain(words.into_iter().flatten()).collect();
    Ok(format!("{path}:{}:{}", mount.target, options.join(",")))
}

fn parse_propagation(word: &str, container: &CreateContainer) -> Result<Propagation, EngineError> {
    match word {
        "private" => Ok(Propagation::PRIVATE),
        "rprivate" => Ok(Propagation::RPRIVATE),
        "shared" => Ok(Propagation::SHARED),
        "rshared" => Ok(Propagation::RSHARED),
        "slave" => Ok(Propagation::SLAVE),
        "rslave" => Ok(Propagation::RSLAVE),
        _ => Err(refused(container, format!("bind propagation `{word}` is unknown"))),
    }
}

/// We refuse in Docker's place, with the status it gives for a bad request.
fn refused(container: &CreateContainer, detail: String) -> EngineError {
    let action = format!("create container `{}`", container.name);
    EngineError::Refused { action, status: 400, detail }
}
