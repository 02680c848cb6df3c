//! Contexts of this user: a folder with a file for each, `$XDG_CONFIG_HOME/muster/contexts/NAME.json`,
//! and which one is in use. The files hold keys: they are this user's alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::errors::CliError;
use crate::model::HostId;
use crate::swarm::{Credentials, write_private};

/// Form of a file; a higher one is refused.
const FORMAT: u32 = 1;

/// What is kept of a context.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    format: u32,
    /// Key and certificates of the operator.
    #[serde(flatten)]
    pub(super) credentials: Credentials,
    /// Members, in the order in which they are tried.
    pub(super) members: Vec<(HostId, SocketAddr)>,
    /// When the members were asked for, seconds since 1970.
    #[serde(default)]
    pub(super) asked: u64,
}

impl Kept {
    /// A context that was made now.
    pub(super) fn new(
        credentials: Credentials,
        members: Vec<(HostId, SocketAddr)>,
        asked: u64,
    ) -> Self {
        Self { format: FORMAT, credentials, members, asked }
    }
}

/// The form alone, read before the rest.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The contexts of one user.
#[derive(Debug, Clone)]
pub(super) struct Contexts {
    folder: PathBuf,
}

impl Contexts {
    /// Those of whoever runs this; none without a home.
    pub(super) fn of_user() -> Option<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let configuration = variable("XDG_CONFIG_HOME").map(PathBuf::from);
        // As the specification says, a relative path does not count.
        let configuration = configuration.filter(|path| path.is_absolute());
        let home = || variable("HOME").map(|home| PathBuf::from(home).join(".config"));
        let folder = configuration.or_else(home)?.join("muster");
        Some(Self { folder })
    }

    /// Names of all, in order.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub(super) fn names(&self) -> Result<Vec<String>, CliError> {
        let folder = self.files();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &folder, &error)),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        let names = files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// A context.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or it cannot be read.
    pub(super) fn read(&self, name: &str) -> Result<Kept, CliError> {
        let path = self.file(name)?;
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CliError::user(format!("no context `{name}`")).hint(
                    "`muster context ls` lists them; `muster context add NAME TOKEN` makes one",
                ));
            }
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let broken = |error: serde_json::Error| {
            CliError::user(format!("`{}` holds no context: {error}", path.display()))
                .hint("take it away, and ask for another invitation: `muster operator create`")
        };
        let Format { format } = serde_json::from_slice(&text).map_err(broken)?;
        if format > FORMAT {
            let words = format!("`{}` was written by a newer muster", path.display());
            return Err(CliError::user(words).hint("use that one"));
        }
        serde_json::from_slice(&text).map_err(broken)
    }

    /// Whether there is a context of that name.
    pub(super) fn has(&self, name: &str) -> Result<bool, CliError> {
        Ok(self.file(name)?.exists())
    }

    /// Keeps a context, in place of the one of that name.
    ///
    /// # Errors
    ///
    /// When the name cannot be a file, or it cannot be written. The old one is still there then.
    pub(super) fn write(&self, name: &str, kept: &Kept) -> Result<(), CliError> {
        let path = self.file(name)?;
        let text = serde_json::to_vec_pretty(kept).expect("strings and numbers");
        write(&path, &text).map_err(|error| failed("write", &path, &error))
    }

    /// Forgets a context, and that it was in use.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be removed.
    pub(super) fn remove(&self, name: &str) -> Result<(), CliError> {
        let path = self.file(name)?;
        self.read(name)
            .map(drop)
            .or_else(|error| if path.exists() { Ok(()) } else { Err(error) })?;
        fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        if self.in_use()?.as_deref() == Some(name) { self.put_in_use(None) } else { Ok(()) }
    }

    /// The one that is used when nothing else is said.
    ///
    /// # Errors
    ///
    /// When that cannot be read.
    pub(super) fn in_use(&self) -> Result<Option<String>, CliError> {
        let path = self.folder.join("context");
        match fs::read_to_string(&path) {
            Ok(name) => Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A home that is not for this user has no contexts for it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => Err(failed("read", &path, &error)),
        }
    }

    /// Uses a context from now on, or none.
    ///
    /// # Errors
    ///
    /// When there is none of that name, or it cannot be written.
    pub(super) fn put_in_use(&self, name: Option<&str>) -> Result<(), CliError> {
        if let Some(name) = name {
            self.read(name)?;
        }
        let path = self.folder.join("context");
        let text = name.map(|name| format!("{name}\n")).unwrap_or_default();
        write(&path, text.as_bytes()).map_err(|error| failed("write", &path, &error))
    }

    fn files(&self) -> PathBuf {
        self.folder.join("contexts")
    }

    fn file(&self, name: &str) -> Result<PathBuf, CliError> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || name.len() > 63 || !name.chars().all(good) {
            return Err(CliError::user(format!("`{name}` cannot be the name of a context"))
                .hint("letters, digits, `-`, `_` and `.`, at most 63"));
        }
        Ok(self.files().join(format!("{name}.json")))
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::user(format!("cannot {doing} `{}`: {error}", path.display()))
        .hint("contexts are kept below `XDG_CONFIG_HOME`, else in `~/.config`")
}

/// Writes a file of this user's alone, in a folder that is so as well.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("it is in a folder");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Two commands may write at once.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    write_private(&beside, path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_lead_out_of_the_folder_are_refused() {
        let contexts = Contexts { folder: "/nowhere".into() };
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a b", &"x".repeat(64)] {
            assert!(contexts.read(bad).unwrap_err().to_string().contains("cannot be"), "{bad}");
        }
        let missing = contexts.read("lab").unwrap_err();
        assert_eq!(missing.to_string(), "no context `lab`");
        assert_eq!(contexts.names().unwrap(), Vec::<String>::new());
    }
}
