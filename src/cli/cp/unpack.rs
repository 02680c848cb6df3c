//! A tar stream onto the disk of this machine. A container is not trusted: nothing is written outside of the
//! place that was asked for, whatever names and links the archive has. Waits for the disk: for a thread of
//! its own.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Builder, Entry, EntryType, Header};

use super::rules::Target;
use super::{Done, Owners};
use crate::cli::errors::CliError;
use crate::telemetry::chain;

/// Links after links; more are a circle.
const LINKS_MAX: usize = 40;
/// Of a tar archive.
const BLOCK: u64 = 512;
/// What an owner needs to put something into a folder.
const WRITABLE: u32 = 0o700;

/// What is unpacked, and where.
#[derive(Debug, Clone)]
pub(super) struct Unpacking {
    /// Where it comes to be itself.
    pub(super) root: PathBuf,
    /// The name with which all begins in the archive; none for the content of a folder.
    pub(super) base: Option<String>,
    /// Whether it is a folder.
    pub(super) is_folder: bool,
    /// Whose it is to be: of whoever runs this, or of the same numbers as there.
    pub(super) owners: Owners,
}

/// Where a path leads to in the end, and what is there.
///
/// # Errors
///
/// When it cannot be looked at, or not even its folder is there.
pub(super) fn settle(path: &str) -> Result<(PathBuf, Target), CliError> {
    let failed = |error: io::Error| CliError::user(format!("cannot look at `{path}`: {error}"));
    let mut place = PathBuf::from(path);
    for _ in 0..LINKS_MAX {
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => {
                let target = fs::read_link(&place).map_err(failed)?;
                place = place.parent().unwrap_or(Path::new("/")).join(target);
            }
            Ok(found) if found.is_dir() => return Ok((place, Target::Folder)),
            Ok(_) => return Ok((place, Target::Other)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = place.parent().unwrap_or(Path::new("/"));
                if fs::metadata(folder).is_ok_and(|found| found.is_dir()) {
                    return Ok((place, Target::Missing));
                }
                return Err(CliError::user(format!("there is no folder `{}`", folder.display()))
                    .hint("copying makes no folder above what is copied"));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(CliError::user(format!("the links at `{path}` lead in a circle")))
}

/// Puts all of it where it belongs.
///
/// # Errors
///
/// When it cannot be read or written, or has what must not be there. What came before is there.
pub(super) fn unpack(unpacking: &Unpacking, from: impl Read) -> Result<Done, CliError> {
    let mut unpacker = Unpacker::new(unpacking)?;
    let mut archive = Archive::new(from);
    let unread = |error: io::Error| {
        CliError::cluster(format!("what comes is no archive: {}", chain(&error)))
    };
    for entry in archive.entries().map_err(unread)? {
        let mut entry = entry.map_err(unread)?;
        unpacker.take(&mut entry)?;
    }
    unpacker.finish()
}

struct Unpacker<'u> {
    unpacking: &'u Unpacking,
    /// The folder that nothing leaves.
    folder: PathBuf,
    /// Folders get their permissions once nothing more goes into them.
    folders: Vec<(PathBuf, u32, u64)>,
    /// Whether a folder that was there is as it was.
    is_kept: bool,
    done: Done,
}

impl<'u> Unpacker<'u> {
    fn new(unpacking: &'u Unpacking) -> Result<Self, CliError> {
        let root = &unpacking.root;
        let failed = |error: io::Error| cannot_write(root, &error);
        let found = match fs::symlink_metadata(root) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let in_the_place = |what: &str, of: &str| {
            let words = format!("cannot put a {what} in the place of `{}`, {of}", root.display());
            CliError::user(words).hint("remove it before, or name another place")
        };
        let mut is_kept = false;
        let folder = match (unpacking.is_folder, found) {
            (true, None) => {
                fs::create_dir(root).map_err(failed)?;
                root.as_path()
            }
            (true, Some(found)) if found.is_dir() => {
                is_kept = unpacking.base.is_none();
                root.as_path()
            }
            (true, Some(_)) => return Err(in_the_place("folder", "which is none")),
            (false, Some(found)) if found.is_dir() => {
                return Err(in_the_place("file", "which is a folder"));
            }
            (false, _) => root.parent().unwrap_or(Path::new("/")),
        };
        let folder = folder.canonicalize().map_err(failed)?;
        Ok(Self { unpacking, folder, folders: Vec::new(), is_kept, done: Done::default() })
    }

    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), CliError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            return Ok(());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let strange = || {
            CliError::cluster(format!(
                "the archive has `{}`, which must not be in it",
                printable(&name)
            ))
            .hint("nothing of that was written; a container is not to be trusted")
        };
        let path = entry.path().ok().and_then(|path| self.inner(&path)).ok_or_else(strange)?;
        let is_itself = path.as_os_str().is_empty();
        if self.unpacking.is_folder {
            return match (is_itself, kind.is_dir()) {
                (true, true) => self.take_root(entry),
                (true, false) => Err(strange()),
                (false, _) => self.put(entry, &path),
            };
        }
        if !is_itself || kind.is_dir() {
            return Err(strange());
        }
        let root = self.unpacking.root.clone();
        self.put(entry, Path::new(root.file_name().unwrap_or_default()))
    }

    /// A path of the archive from what is copied on; none when it leads out of it.
    fn inner(&self, path: &Path) -> Option<PathBuf> {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::CurDir | Component::RootDir => {}
                Component::Normal(name) => names.push(name),
                Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        match &self.unpacking.base {
            None => Some(names.iter().collect()),
            Some(base) if names.first().is_some_and(|name| *name == base.as_str()) => {
                Some(names[1..].iter().collect())
            }
            Some(_) => None,
        }
    }

    /// The folder itself, which is there.
    fn take_root(&mut self, entry: &Entry<'_, impl Read>) -> Result<(), CliError> {
        if self.is_kept {
            return Ok(());
        }
        let failed = |error: io::Error| cannot_write(&self.folder, &error);
        let header = entry.header();
        let (mode, at) = (header.mode().map_err(failed)?, header.mtime().map_err(failed)?);
        if self.unpacking.owners == Owners::Kept {
            let owner =
                |id: io::Result<u64>| id.and_then(|id| id.try_into().map_err(io::Error::other));
            let user = owner(header.uid()).map_err(failed)?;
            let group = owner(header.gid()).map_err(failed)?;
            lchown(&self.folder, Some(user), Some(group)).map_err(failed)?;
        }
        self.folders.push((self.folder.clone(), mode, at));
        Ok(())
    }

    /// Unpacks it at a path below the folder.
    fn put(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> Result<(), CliError> {
        let place = self.folder.join(path);
        let failed = |error: io::Error| cannot_write(&place, &error);
        let kind = entry.header().entry_type();
        let (target, size) = match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                (None, entry.size())
            }
            EntryType::Directory => {
                let header = entry.header();
                let (mode, at) = (header.mode().map_err(failed)?, header.mtime().map_err(failed)?);
                self.folders.push((place.clone(), mode, at));
                (None, 0)
            }
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                (Some(target), 0)
            }
            // A device or a pipe, which a file must not stand for.
            _ => {
                self.done.left_out.push(printable(&place.to_string_lossy()));
                return Ok(());
            }
        };
        let head = self.head(entry.header(), (path, size), target.as_deref()).map_err(failed)?;
        let again = head.clone();
        let keeps = self.unpacking.owners == Owners::Kept;
        let put = unpack_one(head, (&mut *entry, size), &self.folder, keeps);
        let put = match (kind, put) {
            // The crate replaces all but hard links; it has found the folder to be ours before.
            (EntryType::Link, Err(error)) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&place).map_err(failed)?;
                unpack_one(again, (entry, size), &self.folder, keeps)
            }
            (_, put) => put,
        };
        put.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if keeps => {
                failed(error).hint("owners can be kept by root alone; leave `--archive` out")
            }
            // `ErrorKind` is the standard library's and open-ended.
            _ => failed(error),
        })?;
        self.done.bytes += size;
        self.done.files += usize::from(kind != EntryType::Directory);
        Ok(())
    }

    /// The head of an archive of this one thing: the crate takes names from there alone.
    fn head(
        &self,
        theirs: &Header,
        (path, size): (&Path, u64),
        target: Option<&[u8]>,
    ) -> io::Result<Vec<u8>> {
        let mut header = Header::new_gnu();
        let kind = theirs.entry_type();
        let mode = theirs.mode()?;
        header.set_mode(if kind.is_dir() { mode | WRITABLE } else { mode });
        header.set_uid(theirs.uid()?);
        header.set_gid(theirs.gid()?);
        header.set_mtime(theirs.mtime()?);
        header.set_size(size);
        let mut head = Builder::new(Vec::new());
        match (kind, target) {
            (EntryType::Link, target) => {
                header.set_entry_type(EntryType::Link);
                let first = Path::new(OsStr::from_bytes(target.unwrap_or_default()));
                let outside = || io::Error::other("it is a link to what is not copied");
                let first = self.inner(first).ok_or_else(outside)?;
                head.append_link(&mut header, path, first)?;
            }
            (_, Some(target)) => {
                header.set_entry_type(EntryType::Symlink);
                match header.set_link_name_literal(target) {
                    Ok(()) => head.append_data(&mut header, path, io::empty())?,
                    Err(_) => {
                        head.append_link(&mut header, path, OsStr::from_bytes(target))?;
                    }
                }
            }
            (_, None) => {
                let is_folder = kind.is_dir();
                header.set_entry_type(if is_folder {
                    EntryType::Directory
                } else {
                    EntryType::Regular
                });
                head.append_data(&mut header, path, io::empty())?;
            }
        }
        Ok(head.get_ref().clone())
    }

    fn finish(self) -> Result<Done, CliError> {
        let is_exact = self.unpacking.owners == Owners::Kept;
        // The innermost first: those above may be closed to us then.
        for (path, mode, at) in self.folders.iter().rev() {
            let failed = |error: io::Error| cannot_write(path, &error);
            let folder = File::open(path).map_err(failed)?;
            // Nothing takes the place of a folder while this goes on, but somebody else may.
            if !fs::symlink_metadata(path).map_err(failed)?.is_dir() {
                return Err(failed(io::Error::other("it is no folder any more")));
            }
            if let Some(at) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(*at)) {
                folder.set_modified(at).map_err(failed)?;
            }
            let mode = if is_exact { mode & 0o7777 } else { mode & 0o777 };
            folder.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        }
        Ok(self.done)
    }
}

/// Unpacks an archive of one thing into a folder, by the rules of the crate: nothing is written through a
/// link that leads out of the folder, and no link is made to a file out of it.
fn unpack_one(
    head: Vec<u8>,
    (entry, size): (&mut Entry<'_, impl Read>, u64),
    folder: &Path,
    keeps: bool,
) -> io::Result<()> {
    let padding = io::repeat(0).take(size.next_multiple_of(BLOCK) - size);
    let mut archive = Archive::new(head.as_slice().chain(entry).chain(padding));
    archive.set_preserve_permissions(keeps);
    archive.set_preserve_ownerships(keeps);
    let missing = || io::Error::other("bug: an archive without an entry");
    let mut one = archive.entries()?.next().ok_or_else(missing)??;
    match one.unpack_in(folder)? {
        true => Ok(()),
        false => Err(io::Error::other("it would be outside of where it belongs")),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    let mut first: &dyn std::error::Error = error;
    while let Some(cause) = first.source() {
        first = cause;
    }
    // The system's own word says more than the layers around it; theirs more than none.
    let is_systems = |error: &io::Error| error.raw_os_error().is_some();
    let detail = match first.downcast_ref::<io::Error>() {
        Some(first) if is_systems(first) => first.to_string(),
        Some(_) | None => chain(error),
    };
    let words = format!("cannot write `{}`: {detail}", path.display());
    CliError::user(printable(&words))
}

/// A name of the archive must not do anything to the terminal.
fn printable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

#[cfg(test)]
mod tests;
