//! Configs and secrets: their content becomes part of the Revision.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use data_encoding::BASE64;

use super::scope::Scope;
use crate::compose::project::{FileObject, FileReference, Project};
use crate::model::FileSpec;

/// The most a config or secret may hold. The content travels with every copy of the Revision, so
/// it must stay small; Swarm allows half of this.
const CONTENT_MAX: u64 = 1 << 20;
/// Permission bits unless the file says otherwise.
const MODE: u32 = 0o444;

/// The two kinds, which differ in where they are declared and where they go.
#[derive(Clone, Copy)]
struct Kind {
    /// The key under a service and at the top level.
    key: &'static str,
    /// Where a relative target is.
    folder: &'static str,
    secret: bool,
}

const CONFIG: Kind = Kind { key: "configs", folder: "/", secret: false };
const SECRET: Kind = Kind { key: "secrets", folder: "/run/secrets/", secret: true };

/// The files of the service at hand.
pub(super) fn convert(scope: &mut Scope<'_>) -> Vec<FileSpec> {
    let (project, service) = (scope.project, scope.service);
    let configs = service.configs.iter().map(|wanted| (CONFIG, wanted, &project.configs));
    let secrets = service.secrets.iter().map(|wanted| (SECRET, wanted, &project.secrets));
    let mut files = Vec::new();
    for (kind, wanted, declared) in configs.chain(secrets) {
        let Some(object) = declared.get(&wanted.source) else {
            let reason = format!("`{}` is not declared", wanted.source);
            scope.refused(kind.key, reason, "declare it at the top level");
            continue;
        };
        files.extend(file(scope, kind, wanted, object));
    }
    files
}

fn file(
    scope: &mut Scope<'_>,
    kind: Kind,
    wanted: &FileReference,
    object: &FileObject,
) -> Option<FileSpec> {
    if object.external {
        return None; // The table refuses it.
    }
    let content = match content_of(scope.project, object, read) {
        Ok(content) => content,
        Err(reason) => {
            let reason = format!("`{}`: {reason}", wanted.source);
            let remedy = "provide it on this host, or leave it out of the service";
            scope.refused(kind.key, reason, remedy);
            return None;
        }
    };
    let target = wanted.target.as_deref().filter(|target| !target.is_empty());
    let target = target.unwrap_or(&wanted.source);
    let target = match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{}{target}", kind.folder),
    };
    let uid = number(scope, kind, "uid", wanted.uid.as_deref())?;
    let gid = number(scope, kind, "gid", wanted.gid.as_deref())?;
    Some(FileSpec {
        target,
        content: BASE64.encode(&content),
        uid,
        gid,
        mode: wanted.mode.unwrap_or(MODE),
        secret: kind.secret,
    })
}

/// The content of a config or secret, or in words why there is none. `read` gives that of a file.
pub(crate) fn content_of(
    project: &Project,
    object: &FileObject,
    read: impl Fn(&Path) -> Result<Vec<u8>, String>,
) -> Result<Vec<u8>, String> {
    if let Some(content) = &object.content {
        return Ok(content.clone().into_bytes());
    }
    if let Some(name) = &object.environment {
        let value = project.environment.get(name);
        return value
            .map(|value| value.clone().into_bytes())
            .ok_or_else(|| format!("the variable `{name}` is not set"));
    }
    let Some(path) = &object.file else { return Err("it has no content".to_owned()) };
    read(&project.working_dir.join(path))
}

/// A file of at most [`CONTENT_MAX`] bytes, or in words why not.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(CONTENT_MAX + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > CONTENT_MAX {
        return Err(format!("`{}` is larger than 1 MiB", path.display()));
    }
    Ok(content)
}

fn number(scope: &mut Scope<'_>, kind: Kind, key: &str, text: Option<&str>) -> Option<u32> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(0) };
    let number = text.parse().ok();
    if number.is_none() {
        let reason = format!("`{text}` is a name, which only the container knows");
        scope.refused(&format!("{}.{key}", kind.key), reason, "give the number");
    }
    number
}
