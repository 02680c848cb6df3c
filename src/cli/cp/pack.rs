//! Something of this machine as a tar stream. Follows no link below it, and waits for the disk: for a thread
//! of its own.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Done, Owners};
use crate::cli::errors::{CliError, Kind};

/// What is packed.
#[derive(Debug, Clone)]
pub(super) struct Packing {
    /// Where it is.
    pub(super) from: PathBuf,
    /// The name that it gets; none packs what is in the folder alone.
    pub(super) name: Option<String>,
    /// Whose it is to be: root's, or of the same numbers as here.
    pub(super) owners: Owners,
}

/// Writes the archive.
///
/// # Errors
///
/// When something cannot be read, or `out` takes no more: see [`super::wire::is_gone`].
pub(super) fn pack<W: Write>(packing: &Packing, out: W) -> Result<(Done, W), CliError> {
    let Packing { from, name, owners } = packing;
    let mut packer = Packer {
        tar: tar::Builder::new(out),
        owners: *owners,
        linked: BTreeMap::new(),
        done: Done::default(),
    };
    let mut waiting = vec![(from.clone(), PathBuf::from(name.as_deref().unwrap_or_default()))];
    while let Some((full, path)) = waiting.pop() {
        let failed = |error: io::Error| cannot_read(&full, &error);
        let found = fs::symlink_metadata(&full).map_err(failed)?;
        if found.is_dir() {
            // Sorted and last in, first out.
            let names = fs::read_dir(&full).map_err(failed)?;
            let names = names.map(|entry| entry.map(|entry| entry.file_name()));
            let mut names = names.collect::<io::Result<Vec<_>>>().map_err(failed)?;
            names.sort_by(|a, b| b.cmp(a));
            waiting.extend(names.iter().map(|name| (full.join(name), path.join(name))));
        }
        if !path.as_os_str().is_empty() {
            packer.add(&full, &path, &found).map_err(failed)?;
        }
    }
    let out = packer.tar.into_inner().map_err(|error| cannot_read(from, &error))?;
    Ok((packer.done, out))
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    let words = format!("cannot read `{}`: {error}", path.display());
    match error.kind() {
        // Of what is read here nothing is a pipe: it is the way to the container.
        io::ErrorKind::BrokenPipe => CliError::new(Kind::BrokenPipe, words),
        // `ErrorKind` is the standard library's and open-ended.
        _ => CliError::user(words),
    }
}

struct Packer<W: Write> {
    tar: tar::Builder<W>,
    owners: Owners,
    /// Files with several names: what the first of them is in the archive.
    linked: BTreeMap<(u64, u64), PathBuf>,
    done: Done,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, full: &Path, path: &Path, found: &Metadata) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(found.permissions().mode() & 0o7777);
        header.set_mtime(u64::try_from(found.mtime()).unwrap_or_default());
        let (user, group) = match self.owners {
            Owners::Kept => (found.uid(), found.gid()),
            Owners::OfTheOtherSide => (0, 0),
        };
        header.set_uid(user.into());
        header.set_gid(group.into());
        header.set_size(0);
        let kind = found.file_type();
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            return self.tar.append_data(&mut header, path, io::empty());
        }
        if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            let target = fs::read_link(full)?;
            self.done.files += 1;
            // As it is, where it fits: not all that leads to one place is the same link.
            return match header.set_link_name_literal(target.as_os_str().as_encoded_bytes()) {
                Ok(()) => self.tar.append_data(&mut header, path, io::empty()),
                Err(_) => self.tar.append_link(&mut header, path, &target),
            };
        }
        if !kind.is_file() {
            self.done.left_out.push(full.display().to_string());
            return Ok(());
        }
        self.done.files += 1;
        let key = (found.dev(), found.ino());
        if found.nlink() > 1 {
            if let Some(first) = self.linked.get(&key) {
                header.set_entry_type(tar::EntryType::Link);
                return self.tar.append_link(&mut header, path, first);
            }
            self.linked.insert(key, path.to_owned());
        }
        let size = found.len();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        // A file that grows meanwhile must not break the archive.
        let mut content = Counted { inner: File::open(full)?.take(size), n_bytes: 0 };
        self.tar.append_data(&mut header, path, &mut content)?;
        if content.n_bytes != size {
            return Err(io::Error::other("it became shorter while it was copied"));
        }
        self.done.bytes += size;
        Ok(())
    }
}

struct Counted<R> {
    inner: R,
    n_bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.n_bytes += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn packed(from: &Path, name: Option<&str>, owners: Owners) -> (Done, Vec<u8>) {
        let packing = Packing { from: from.to_owned(), name: name.map(str::to_owned), owners };
        pack(&packing, Vec::new()).unwrap()
    }

    fn shown(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            let target = entry.link_name().unwrap();
            let target = target.map(|target| format!(" -> {}", target.display()));
            let path = entry.path().unwrap();
            let (mode, target) = (header.mode().unwrap(), target.unwrap_or_default());
            format!("{} {mode:o} {text}{target}", path.display()).trim_end().to_owned()
        });
        entries.collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o750)).unwrap();
        let put = |name: &str, text: &str, mode| {
            fs::write(folder.path().join(name), text).unwrap();
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path().join(name), mode).unwrap();
        };
        put("a/one", "1", 0o640);
        put("two", "2", 0o4755);
        symlink("a//one", folder.path().join("link")).unwrap();
        fs::hard_link(folder.path().join("a/one"), folder.path().join("same")).unwrap();
        folder
    }

    #[test]
    fn a_folder_is_packed_under_its_name_or_without() {
        let folder = folder();
        let (done, tar) = packed(folder.path(), None, Owners::OfTheOtherSide);
        let expected =
            ["a 750", "a/one 640 1", "link 777  -> a//one", "same 640  -> a/one", "two 4755 2"];
        assert_eq!(shown(&tar), expected);
        assert_eq!((done.files, done.bytes), (4, 2));
        let (_, tar) = packed(&folder.path().join("a"), Some("b"), Owners::OfTheOtherSide);
        assert_eq!(shown(&tar), ["b 750", "b/one 640 1"]);
        let (_, tar) = packed(&folder.path().join("link"), Some("l"), Owners::OfTheOtherSide);
        assert_eq!(shown(&tar), ["l 777  -> a//one"]);
    }

    #[test]
    fn long_names_and_links_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let long = "n".repeat(200);
        fs::write(folder.path().join(&long), "text").unwrap();
        symlink(format!("../{long}"), folder.path().join("link")).unwrap();
        let (_, tar) = packed(folder.path(), Some("d"), Owners::OfTheOtherSide);
        let shown = shown(&tar);
        assert_eq!(shown[1], format!("d/link 777  -> ../{long}"));
        assert!(shown[2].starts_with(&format!("d/{long} ")) && shown[2].ends_with(" text"));
    }

    #[test]
    fn owners_are_roots_unless_they_are_kept() {
        let folder = folder();
        let ours = fs::metadata(folder.path()).unwrap();
        for (owners, expected) in
            [(Owners::OfTheOtherSide, (0, 0)), (Owners::Kept, (ours.uid(), ours.gid()))]
        {
            let (_, tar) = packed(&folder.path().join("two"), Some("two"), owners);
            let mut archive = tar::Archive::new(tar.as_slice());
            let entry = archive.entries().unwrap().next().unwrap().unwrap();
            let (user, group) = (entry.header().uid().unwrap(), entry.header().gid().unwrap());
            assert_eq!((user, group), (expected.0.into(), expected.1.into()));
        }
    }

    #[test]
    fn what_is_no_file_is_left_out_and_what_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (done, tar) = packed(folder.path(), None, Owners::OfTheOtherSide);
        assert_eq!(shown(&tar), [""; 0]);
        assert_eq!(done.left_out, [path.display().to_string()]);
        let packing = Packing {
            from: folder.path().join("nothing"),
            name: None,
            owners: Owners::OfTheOtherSide,
        };
        let error = pack(&packing, io::sink()).map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("cannot read `"), "{error}");
    }
}
