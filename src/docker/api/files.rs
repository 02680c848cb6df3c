//! Files put into a container before it starts (configs and secrets). Pure: makes the archive,
//! does not send it.
//!
//! Docker refuses to write into a container whose root is read-only, and what lies below a memory
//! file system is hidden as soon as that is mounted. In both cases the file's folder becomes an
//! anonymous volume, which Docker fills from the image and which goes away with the container.

use std::collections::BTreeSet;
use std::io;

use data_encoding::BASE64;

use crate::model::{ContainerSpec, FileSpec, Mount, MountSource};

/// Folders missing above a file are made readable by all, as in an image.
const FOLDER_MODE: u32 = 0o755;

/// The folder of an absolute path, `/` for one at the top.
fn parent(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        None | Some(("", _)) => "/",
        Some((folder, _)) => folder,
    }
}

/// Every folder above `path` but `/`, outermost first.
fn ancestors(path: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut folder = parent(path);
    while folder != "/" {
        found.push(folder);
        folder = parent(folder);
    }
    found.reverse();
    found
}

fn is_within(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Folders that must be anonymous volumes for the files to be seen.
///
/// # Errors
/// In words, when a file's folder cannot be one.
pub(super) fn carriers(spec: &ContainerSpec) -> Result<BTreeSet<String>, String> {
    let mut folders = BTreeSet::new();
    for file in &spec.files {
        let mount = innermost_mount(spec, &file.target);
        let needed = match mount.map(|mount| &mount.source) {
            None => spec.read_only,
            Some(MountSource::Tmpfs { .. }) => true,
            Some(
                MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Anonymous,
            ) => false,
        };
        if !needed {
            continue;
        }
        let folder = parent(&file.target);
        let is_mounted = mount.is_some_and(|mount| mount.target.trim_end_matches('/') == folder);
        if folder == "/" || is_mounted {
            let why = if is_mounted { "a memory file system" } else { "a read-only root" };
            return Err(format!("cannot put file `{}` directly into {why}", file.target));
        }
        folders.insert(folder.to_owned());
    }
    // A folder within another needs no volume of its own.
    let is_outermost = |folder: &&String| {
        !folders.iter().any(|other| other != *folder && is_within(folder, other))
    };
    Ok(folders.iter().filter(is_outermost).cloned().collect())
}

fn innermost_mount<'a>(spec: &'a ContainerSpec, path: &str) -> Option<&'a Mount> {
    let around = spec.mounts.iter().filter(|mount| is_within(path, &mount.target));
    around.max_by_key(|mount| mount.target.len())
}

/// Files that are unpacked at one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upload<'a> {
    /// Where: a mounted folder, else `/`. Docker looks at this place alone when it decides
    /// whether a container with a read-only root may be written to.
    pub(super) place: String,
    pub(super) files: Vec<&'a FileSpec>,
}

/// The files by place.
pub(super) fn uploads(spec: &ContainerSpec) -> Result<Vec<Upload<'_>>, String> {
    let mut places: BTreeSet<String> = carriers(spec)?;
    places.extend(spec.mounts.iter().map(|mount| mount.target.trim_end_matches('/').to_owned()));
    let mut uploads: Vec<Upload<'_>> = Vec::new();
    for file in &spec.files {
        let around = places.iter().filter(|place| is_within(parent(&file.target), place));
        let place = around.max_by_key(|place| place.len()).map_or("/", String::as_str);
        match uploads.iter_mut().find(|upload| upload.place == place) {
            Some(upload) => upload.files.push(file),
            None => uploads.push(Upload { place: place.to_owned(), files: vec![file] }),
        }
    }
    Ok(uploads)
}

impl Upload<'_> {
    /// Every folder below the place and above a file, outermost first.
    pub(super) fn folders(&self) -> BTreeSet<String> {
        let above = self.files.iter().flat_map(|file| ancestors(&file.target));
        above.filter(|folder| !is_within(&self.place, folder)).map(str::to_owned).collect()
    }

    /// The name of a path below the place within the archive.
    fn name<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(self.place.as_str()).unwrap_or(path).trim_start_matches('/')
    }

    /// The files as a tar to be unpacked at the place, with the `missing` folders made first.
    /// Folders that exist are left out: an entry would change their owner and permissions.
    pub(super) fn archive(&self, missing: &BTreeSet<String>) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(Vec::new());
        for folder in missing {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(FOLDER_MODE);
            header.set_size(0);
            archive.append_data(&mut header, format!("{}/", self.name(folder)), io::empty())?;
        }
        for file in &self.files {
            let content = BASE64.decode(file.content.as_bytes()).map_err(io::Error::other)?;
            let mut header = tar::Header::new_gnu();
            header.set_mode(file.mode);
            header.set_uid(u64::from(file.uid));
            header.set_gid(u64::from(file.gid));
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, self.name(&file.target), content.as_slice())?;
        }
        archive.into_inner()
    }
}
