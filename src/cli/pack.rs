//! A build context as tar, and a hash of all that decides what is built from it.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::errors::CliError;
use super::ignore::Ignore;
use crate::docker::BuildImage;
use crate::model::sha256_hex;

/// Folders within folders; deeper ones are a loop of mounts.
const DEPTH_MAX: usize = 128;
/// Hexadecimal digits of the hash in a tag: 48 bits, as Git shows commits.
const TAG_DIGITS: usize = 12;
/// Name of a Dockerfile that is not in the context.
const OUTSIDE: &str = ".muster.Dockerfile";

/// What an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The context's folder.
    pub(super) context: PathBuf,
    /// The Dockerfile: a path relative to the context, or absolute.
    pub(super) dockerfile: PathBuf,
    /// The Dockerfile itself, in place of a file.
    pub(super) inline: Option<String>,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    /// Path of the Dockerfile within the tar.
    pub(super) dockerfile: String,
    /// Files packed.
    pub(super) files: usize,
    /// Bytes of their content.
    pub(super) bytes: u64,
    /// Hash over names, kinds, permissions and content. Not over times and owners: a new checkout
    /// of the same files is the same.
    pub(super) hash: String,
}

impl Packed {
    /// The tag of what is built from this: `muster-` and digits of a hash over all that decides it.
    pub(super) fn tag(&self, build: &BuildImage) -> String {
        let BuildImage {
            reference: _,
            dockerfile,
            args,
            target,
            labels,
            pull: _,
            no_cache: _,
            network: _,
            shm_size: _,
        } = build;
        let definition = serde_json::to_vec(&(&self.hash, dockerfile, args, target, labels))
            .expect("strings and maps of strings");
        format!("muster-{}", &sha256_hex(&definition)[..TAG_DIGITS])
    }
}

/// Writes the context as tar to `out`. Gives way to other tasks after each file.
///
/// # Errors
///
/// When a file cannot be read, an ignore file is broken, or `out` takes no more.
pub(super) async fn pack(source: &Source, out: impl Write) -> Result<Packed, CliError> {
    let context = &source.context;
    if !context.is_dir() {
        let words = format!("build context `{}` is no folder", context.display());
        return Err(CliError::user(words).hint("it is relative to the Compose file's folder"));
    }
    let (dockerfile, outside) = dockerfile(source)?;
    let ignore = read_ignore(source)?;
    let mut packer =
        Packer { tar: tar::Builder::new(out), digest: Sha256::new(), files: 0, bytes: 0 };
    let mut waiting = vec![(String::new(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        let full = context.join(&path);
        let found = fs::symlink_metadata(&full).map_err(|error| cannot_read(&full, &error))?;
        let always = path == dockerfile || path == ".dockerignore";
        let ignored = !path.is_empty() && !always && ignore.ignores(&path);
        if found.is_dir() && depth < DEPTH_MAX && (!ignored || ignore.takes_back()) {
            // Sorted and last in, first out: the same tar whatever the file system's order.
            let mut names = names(&full)?;
            names.sort_by(|a, b| b.cmp(a));
            let join = |name| if path.is_empty() { name } else { format!("{path}/{name}") };
            waiting.extend(names.into_iter().map(|name| (join(name), depth + 1)));
        }
        if !ignored && !path.is_empty() {
            packer.add(&full, &path, &found).map_err(|error| cannot_read(&full, &error))?;
        }
        tokio::task::yield_now().await;
    }
    if let Some(text) = outside {
        packer.add_text(&dockerfile, &text).map_err(|error| cannot_read(context, &error))?;
    }
    packer.finish(dockerfile).map_err(|error| cannot_read(context, &error))
}

/// The Dockerfile's path in the tar, and its text when it is not in the context.
fn dockerfile(source: &Source) -> Result<(String, Option<Vec<u8>>), CliError> {
    if let Some(text) = &source.inline {
        return Ok((OUTSIDE.to_owned(), Some(text.clone().into_bytes())));
    }
    let full = source.context.join(&source.dockerfile);
    let missing = |error: io::Error| {
        CliError::user(format!("cannot read Dockerfile `{}`: {error}", full.display()))
            .hint("`build.dockerfile` is relative to `build.context`")
    };
    let real = full.canonicalize().map_err(missing)?;
    let context = source.context.canonicalize().map_err(missing)?;
    match real.strip_prefix(&context).ok().and_then(Path::to_str) {
        // Through its link, a Dockerfile inside could be one that is ignored: take the real path.
        Some(inside) => Ok((inside.to_owned(), None)),
        None => Ok((OUTSIDE.to_owned(), Some(fs::read(&full).map_err(missing)?))),
    }
}

/// `<Dockerfile>.dockerignore` when there is one, else `.dockerignore`.
fn read_ignore(source: &Source) -> Result<Ignore, CliError> {
    let mut own = source.context.join(&source.dockerfile).into_os_string();
    own.push(".dockerignore");
    for path in [PathBuf::from(own), source.context.join(".dockerignore")] {
        match fs::read_to_string(&path) {
            Ok(text) => {
                return Ignore::parse(&text).map_err(|(line, reason)| {
                    CliError::user(format!("{}:{line}: {reason}", path.display()))
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_read(&path, &error)),
        }
    }
    Ok(Ignore::default())
}

fn names(folder: &Path) -> Result<Vec<String>, CliError> {
    let read = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?;
        entries
            .map(|entry| {
                entry?
                    .file_name()
                    .into_string()
                    .map_err(|name| io::Error::other(format!("the name {name:?} is not UTF-8")))
            })
            .collect()
    };
    read().map_err(|error| cannot_read(folder, &error))
}

fn cannot_read(path: &Path, error: &io::Error) -> CliError {
    CliError::user(format!("cannot pack `{}` for the build: {error}", path.display()))
        .hint("a `.dockerignore` keeps files out")
}

struct Packer<W: Write> {
    tar: tar::Builder<W>,
    digest: Sha256,
    files: usize,
    bytes: u64,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, full: &Path, path: &str, found: &Metadata) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(found.permissions().mode() & 0o7777);
        header.set_mtime(u64::try_from(found.mtime()).unwrap_or_default());
        let kind = found.file_type();
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            self.note(b'd', path, &header, 0);
            return self.tar.append_data(&mut header, path, io::empty());
        }
        if kind.is_symlink() {
            let target = fs::read_link(full)?;
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            let words = target.as_os_str().as_encoded_bytes();
            self.note(b'l', path, &header, words.len() as u64);
            self.digest.update(words);
            self.files += 1;
            return self.tar.append_link(&mut header, path, &target);
        }
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            // Docker cannot copy them either; a leftover socket must not stop a build.
            return Ok(());
        }
        self.add_file(&mut header, path, File::open(full)?, found.len())
    }

    fn add_text(&mut self, path: &str, text: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        self.add_file(&mut header, path, text, text.len() as u64)
    }

    fn add_file(
        &mut self,
        header: &mut tar::Header,
        path: &str,
        content: impl Read,
        size: u64,
    ) -> io::Result<()> {
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        self.note(b'f', path, header, size);
        // A file that grows meanwhile must not break the tar.
        let mut reader = Hashing { inner: content.take(size), digest: &mut self.digest, read: 0 };
        self.tar.append_data(header, path, &mut reader)?;
        if reader.read != size {
            return Err(io::Error::other("it changed while it was read"));
        }
        self.files += 1;
        self.bytes += size;
        Ok(())
    }

    /// Each part has a length or a fixed size, so that no two contexts hash alike by chance of
    /// names.
    fn note(&mut self, kind: u8, path: &str, header: &tar::Header, size: u64) {
        self.digest.update([kind]);
        self.digest.update((path.len() as u64).to_be_bytes());
        self.digest.update(path.as_bytes());
        self.digest.update(header.mode().unwrap_or_default().to_be_bytes());
        self.digest.update(size.to_be_bytes());
    }

    fn finish(self, dockerfile: String) -> io::Result<Packed> {
        self.tar.into_inner()?.flush()?;
        let hash = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Packed { dockerfile, files: self.files, bytes: self.bytes, hash })
    }
}

struct Hashing<'d, R> {
    inner: R,
    digest: &'d mut Sha256,
    read: u64,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn source(context: &Path) -> Source {
        Source { context: context.to_owned(), dockerfile: "Dockerfile".into(), inline: None }
    }

    async fn packed(source: &Source) -> (Packed, BTreeMap<String, String>) {
        let mut bytes = Vec::new();
        let packed = pack(source, &mut bytes).await.unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (path, text)
        });
        (packed, entries.collect())
    }

    #[tokio::test]
    async fn what_is_ignored_stays_out_but_the_dockerfile_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("Dockerfile", "FROM scratch"),
            (".dockerignore", "*\n!src"),
            ("src/main.rs", "fn main() {}"),
            ("secret", "x"),
            ("target/a", "x"),
        ];
        write(folder.path(), &files);
        let (packed, entries) = packed(&source(folder.path())).await;
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        assert_eq!(names, [".dockerignore", "Dockerfile", "src", "src/main.rs"]);
        assert_eq!(entries["src/main.rs"], "fn main() {}");
        assert_eq!((packed.dockerfile.as_str(), packed.files), ("Dockerfile", 3));
    }

    #[tokio::test]
    async fn the_dockerfiles_own_ignore_file_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("Dockerfile", ""),
            ("Dockerfile.dockerignore", "a\n*.dockerignore"),
            (".dockerignore", "b"),
            ("a", ""),
            ("b", ""),
        ];
        write(folder.path(), &files);
        let (_, entries) = packed(&source(folder.path())).await;
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        assert_eq!(names, [".dockerignore", "Dockerfile", "b"]);
    }

    #[tokio::test]
    async fn the_tag_follows_content_and_definition_alone() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            write(folder.path(), &[("Dockerfile", "FROM scratch"), ("a", "1"), ("b/c", "2")]);
        }
        // Another time of change is no change.
        let file = File::options().append(true).open(two.path().join("a")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let build = BuildImage { dockerfile: "Dockerfile".to_owned(), ..BuildImage::default() };
        let first = packed(&source(one.path())).await.0;
        let second = packed(&source(two.path())).await.0;
        assert_eq!(first.tag(&build), second.tag(&build));
        assert_eq!(first.tag(&build).len(), "muster-".len() + TAG_DIGITS);
        let other = BuildImage { target: Some("final".to_owned()), ..build.clone() };
        assert_ne!(first.tag(&build), first.tag(&other));
        let forced = BuildImage { no_cache: true, ..build.clone() };
        assert_eq!(first.tag(&build), first.tag(&forced));
        write(two.path(), &[("b/c", "3")]);
        let third = packed(&source(two.path())).await.0;
        assert_ne!(first.tag(&build), third.tag(&build));
    }

    #[tokio::test]
    async fn a_dockerfile_may_be_elsewhere_or_in_the_compose_file() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("web/a", "1"), ("docker/web.Dockerfile", "FROM a")]);
        let mut source = source(&folder.path().join("web"));
        source.dockerfile = "../docker/web.Dockerfile".into();
        let (result, entries) = packed(&source).await;
        assert_eq!(entries[&result.dockerfile], "FROM a");
        source.inline = Some("FROM b".to_owned());
        let (result, entries) = packed(&source).await;
        assert_eq!(entries[&result.dockerfile], "FROM b");
    }

    #[tokio::test]
    async fn links_stay_links_and_sockets_stay_out() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("Dockerfile", "")]);
        std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        let (_, entries) = packed(&source(folder.path())).await;
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        assert_eq!(names, ["Dockerfile", "link"]);
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = pack(&source(&folder.path().join("no")), io::sink()).await.unwrap_err();
        assert!(error.to_string().contains("is no folder"), "{error}");
        let error = pack(&source(folder.path()), io::sink()).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot read Dockerfile `"), "{error}");
        write(folder.path(), &[("Dockerfile", ""), (".dockerignore", "\n[x")]);
        let error = pack(&source(folder.path()), io::sink()).await.unwrap_err();
        assert!(error.to_string().ends_with(".dockerignore:2: a `[` has no `]`"), "{error}");
    }
}
