//! The files of a fake container: a tree in memory that packs and unpacks as Docker does. No clock: all
//! is as old as the first file of all.

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use super::host::refused;
use super::{FakeEngine, lock};
use crate::docker::{BoxStream, EngineError};
use crate::model::{PathKind, PathStat, clean_path};

/// Links after links; more are a circle.
const LINKS_MAX: usize = 40;
/// What one item of a stream holds.
const PIECE: usize = 32 * 1024;

/// Something in a [`FakeTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeFile {
    /// What.
    pub node: FakeNode,
    /// Permissions.
    pub mode: u32,
    /// Whose: user and group.
    pub owner: (u64, u64),
}

/// What something in a [`FakeTree`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FakeNode {
    /// A folder.
    Folder,
    /// A file with its content.
    File(Bytes),
    /// A link to a path.
    Link(String),
}

/// All files of a container, by absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeTree(BTreeMap<String, FakeFile>);

impl Default for FakeTree {
    /// Nothing but `/tmp`.
    fn default() -> Self {
        let mut tree = Self(BTreeMap::new());
        for (path, mode) in [("/", 0o755), ("/tmp", 0o1777)] {
            tree.put(path, FakeNode::Folder, mode);
        }
        tree
    }
}

impl FakeTree {
    /// Puts something of root's there.
    pub fn put(&mut self, path: &str, node: FakeNode, mode: u32) {
        self.0.insert(path.to_owned(), FakeFile { node, mode, owner: (0, 0) });
    }

    /// What is at exactly this path.
    pub fn get(&self, path: &str) -> Option<&FakeFile> {
        self.0.get(path)
    }

    /// As [`Engine::path_stat`](crate::docker::Engine::path_stat).
    pub fn stat(&self, path: &str) -> Option<PathStat> {
        let FakeFile { node, mode, .. } = self.0.get(&self.resolve(path, is_folder(path)))?;
        let (kind, size) = match node {
            FakeNode::Folder => (PathKind::Folder, 0),
            FakeNode::File(bytes) => (PathKind::File, bytes.len() as u64),
            FakeNode::Link(_) => (PathKind::Link, 0),
        };
        let target = (kind == PathKind::Link).then(|| self.resolve(path, true));
        Some(PathStat { kind, size, mode: *mode, target })
    }

    /// As [`Engine::read_path`](crate::docker::Engine::read_path); none where nothing is.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let found = self.resolve(path, is_folder(path));
        self.0.get(&found)?;
        let name = path.rsplit('/').find(|name| !name.is_empty()).unwrap_or(".");
        let mut tar = tar::Builder::new(Vec::new());
        let below = format!("{}/", found.trim_end_matches('/'));
        let all = self.0.iter().filter(|(path, _)| **path == found || path.starts_with(&below));
        for (path, file) in all {
            let inner = path.strip_prefix(&found).unwrap_or_default().trim_start_matches('/');
            let path = if inner.is_empty() { name.to_owned() } else { format!("{name}/{inner}") };
            add(&mut tar, &path, file).expect("it is written into memory");
        }
        Some(tar.into_inner().expect("it is written into memory"))
    }

    /// As [`Engine::write_folder`](crate::docker::Engine::write_folder).
    ///
    /// # Errors
    ///
    /// Why not all of it was unpacked, in words.
    pub fn write(&mut self, folder: &str, tar: impl Read) -> Result<(), String> {
        let folder = self.resolve(folder, true);
        match self.0.get(&folder).map(|file| &file.node) {
            Some(FakeNode::Folder) => {}
            Some(_) => return Err("extraction point is not a directory".to_owned()),
            None => return Err(format!("Could not find the file {folder} in container")),
        }
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries().map_err(|error| error.to_string())? {
            let words = |error: io::Error| error.to_string();
            let mut entry = entry.map_err(words)?;
            let path = entry.path().map_err(words)?.to_string_lossy().into_owned();
            let place = clean_path(&format!("{folder}/{path}"));
            let node = match entry.header().entry_type() {
                tar::EntryType::Directory => FakeNode::Folder,
                tar::EntryType::Symlink => {
                    let target = entry.link_name().map_err(words)?.unwrap_or_default();
                    FakeNode::Link(target.to_string_lossy().into_owned())
                }
                tar::EntryType::Link => {
                    let source = entry.link_name().map_err(words)?.unwrap_or_default();
                    let source = clean_path(&format!("{folder}/{}", source.to_string_lossy()));
                    self.0.get(&source).ok_or("no such file")?.node.clone()
                }
                _ => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).map_err(words)?;
                    FakeNode::File(bytes.into())
                }
            };
            let (is_folder, before) = (node == FakeNode::Folder, self.0.get(&place));
            match before.map(|file| file.node == FakeNode::Folder) {
                Some(true) if !is_folder => {
                    return Err(format!("cannot overwrite directory {place} with non-directory"));
                }
                Some(false) if is_folder => {
                    return Err(format!("cannot overwrite non-directory {place} with directory"));
                }
                Some(true) if place == folder => continue,
                Some(_) | None => {}
            }
            let header = entry.header();
            let mode = header.mode().map_err(words)?;
            let owner = (header.uid().map_err(words)?, header.gid().map_err(words)?);
            self.0.insert(place, FakeFile { node, mode, owner });
        }
        Ok(())
    }

    /// Where a path leads through links, `last` through one that stands at its end as well.
    fn resolve(&self, path: &str, last: bool) -> String {
        let mut found = String::new();
        let mut rest: Vec<String> = clean_path(path).split('/').rev().map(str::to_owned).collect();
        let mut n_links = 0;
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    found.truncate(found.rfind('/').unwrap_or_default());
                    continue;
                }
                name => found = format!("{found}/{name}"),
            }
            let link = self.0.get(&found).filter(|_| last || !rest.is_empty());
            if let Some(FakeFile { node: FakeNode::Link(target), .. }) = link
                && n_links < LINKS_MAX
            {
                n_links += 1;
                let end = if target.starts_with('/') { 0 } else { found.rfind('/').unwrap_or(0) };
                found.truncate(end);
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        if found.is_empty() { "/".to_owned() } else { found }
    }
}

fn is_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, file: &FakeFile) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(file.mode);
    header.set_uid(file.owner.0);
    header.set_gid(file.owner.1);
    header.set_size(0);
    match &file.node {
        FakeNode::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), io::empty())
        }
        FakeNode::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)
        }
        FakeNode::File(bytes) => {
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_ref())
        }
    }
}

impl FakeEngine {
    fn tree<T>(
        &self,
        id: &str,
        action: &str,
        body: impl FnOnce(&mut FakeTree) -> T,
    ) -> Result<T, EngineError> {
        self.with(|host| {
            host.info()?;
            let missing = || refused(action, 404, &format!("No such container: {id}"));
            host.made(id).map(|_| ()).ok_or_else(missing)
        })?;
        Ok(body(lock(&self.trees).entry(id.to_owned()).or_default()))
    }

    /// Looks at or changes the files of a container, whether there is one of this id or not.
    pub fn with_files<T>(&self, id: &str, body: impl FnOnce(&mut FakeTree) -> T) -> T {
        body(lock(&self.trees).entry(id.to_owned()).or_default())
    }

    pub(super) fn stat_path(&self, id: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        match self.tree(id, &format!("look at `{path}`"), |tree| tree.stat(path)) {
            Err(EngineError::Refused { status: 404, .. }) => Ok(None),
            answer => answer,
        }
    }

    pub(super) fn pack_path(&self, id: &str, path: &str) -> BoxStream<Result<Bytes, EngineError>> {
        let action = format!("copy `{path}` from container `{id}`");
        let packed = self.tree(id, &action, |tree| tree.read(path)).and_then(|packed| {
            let words = format!("Could not find the file {path} in container {id}");
            packed.ok_or_else(|| refused(&action, 404, &words))
        });
        match packed {
            Ok(packed) => {
                let pieces = packed.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece)));
                Box::pin(stream::iter(pieces.collect::<Vec<_>>()))
            }
            Err(error) => Box::pin(stream::iter([Err(error)])),
        }
    }

    pub(super) async fn unpack_folder(
        &self,
        id: &str,
        folder: &str,
        mut tar: BoxStream<io::Result<Bytes>>,
    ) -> Result<(), EngineError> {
        let action = format!("copy into `{folder}` of container `{id}`");
        let (mut came, mut broken) = (BytesMut::new(), None);
        while let Some(piece) = tar.next().await {
            match piece {
                Ok(piece) => came.extend_from_slice(&piece),
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        let written = self.tree(id, &action, |tree| tree.write(folder, &came[..]))?;
        match (written, broken) {
            (Ok(()), None) => Ok(()),
            (Err(words), _) | (Ok(()), Some(words)) => {
                let status = if words.starts_with("Could not find") { 404 } else { 400 };
                Err(refused(&action, status, &words))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> FakeTree {
        let mut tree = FakeTree::default();
        tree.put("/tmp/real", FakeNode::Folder, 0o750);
        tree.put("/tmp/real/file", FakeNode::File(Bytes::from_static(b"text")), 0o640);
        tree.put("/tmp/link", FakeNode::Link("real".to_owned()), 0o777);
        tree.put("/tmp/loop", FakeNode::Link("/tmp/loop".to_owned()), 0o777);
        tree
    }

    #[track_caller]
    fn check(path: &str, expected: Option<(PathKind, Option<&str>)>) {
        let found = tree().stat(path).map(|stat| (stat.kind, stat.target));
        assert_eq!(found, expected.map(|(kind, target)| (kind, target.map(str::to_owned))));
    }

    #[test]
    fn links_are_followed_above_and_where_a_folder_is_asked_for() {
        check("/", Some((PathKind::Folder, None)));
        check("/tmp/link", Some((PathKind::Link, Some("/tmp/real"))));
        check("/tmp/link/", Some((PathKind::Folder, None)));
        check("/tmp/link/file", Some((PathKind::File, None)));
        check("/tmp/link/../real/./file", Some((PathKind::File, None)));
        check("/tmp/loop", Some((PathKind::Link, Some("/tmp/loop"))));
        check("/tmp/nothing", None);
    }

    #[test]
    fn names_begin_with_the_last_one_asked_for() {
        let names = |path: &str| -> Vec<String> {
            let packed = tree().read(path).unwrap();
            let mut archive = tar::Archive::new(packed.as_slice());
            let entries = archive.entries().unwrap();
            entries.map(|one| one.unwrap().path().unwrap().display().to_string()).collect()
        };
        assert_eq!(names("/tmp/real"), ["real/", "real/file"]);
        assert_eq!(names("/tmp/real/."), ["./", "file"]);
        assert_eq!(names("/tmp/link/"), ["link/", "link/file"]);
        assert_eq!(names("/tmp/link"), ["link"]);
        assert_eq!(tree().read("/nothing"), None);
    }
}
