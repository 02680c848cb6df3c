//! Writes the folder of an export: beside it first, then in one step in its place. What somebody else
//! put into it stays; what somebody changed is not written over unless that is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::errors::CliError;
use crate::kubernetes::File;
use crate::model::sha256_hex;

/// Remembers what an export wrote: path and hash of each file, as JSON. Its name does not say so, or
/// `kubectl apply -R -f` would take it for an object.
const LEDGER: &str = ".muster-export";
/// Who may read files of secrets.
const PRIVATE: u32 = 0o600;

/// Writes the files. On an error the folder is as it was.
///
/// # Errors
///
/// When the folder holds something that no export wrote, or cannot be written.
pub(super) fn write(folder: &Path, files: &[File], force: bool) -> Result<(), CliError> {
    let kept = kept(folder, files, force)?;
    let failed =
        |error: io::Error| CliError::user(format!("cannot write `{}`: {error}", folder.display()));
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name else {
        return Err(CliError::user(format!("`{}` is no name of a folder", folder.display())));
    };
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(failed)?;
    let beside = parent.join(format!(".{name}.muster-{}", std::process::id()));
    let result = fill(&beside, folder, files, &kept).and_then(|()| exchange(&beside, folder));
    if result.is_err() {
        // It is ours alone; what cannot be removed stays visible under its name.
        let _ = fs::remove_dir_all(&beside);
    }
    result.map_err(failed)
}

/// The files of others in the folder.
fn kept(folder: &Path, files: &[File], force: bool) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    match list(folder, Path::new(""), &mut found) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(CliError::user(format!("cannot read `{}`: {error}", folder.display())));
        }
        Ok(()) => {}
    }
    let ledger = fs::read(folder.join(LEDGER)).ok();
    let ledger: Option<BTreeMap<String, String>> =
        ledger.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(ledger) = ledger else {
        if found.is_empty() || force {
            return Ok(found);
        }
        let words = format!("`{}` is not empty, and no export wrote it", folder.display());
        return Err(CliError::user(words).hint("name another folder, or give `--force`"));
    };
    let (mut others, mut changed) = (Vec::new(), Vec::new());
    for path in found {
        let text = path.to_string_lossy().into_owned();
        if text == LEDGER {
            continue;
        }
        let is_ours = ledger.get(&text);
        let is_wanted = files.iter().any(|file| file.path == text);
        let hash = fs::read(folder.join(&path)).map(|bytes| sha256_hex(&bytes)).unwrap_or_default();
        match is_ours {
            Some(known) if *known == hash => {}
            // Without a change of ours there would be nothing to lose.
            Some(_) => changed.push(text),
            None if is_wanted => changed.push(text),
            None => others.push(path),
        }
    }
    if changed.is_empty() || force {
        return Ok(others);
    }
    let words = format!("files were changed since the last export: {}", changed.join(", "));
    Err(CliError::user(words).hint(
        "put changes into files of your own (an overlay, a values file), or give `--force` to lose \
         them",
    ))
}

fn list(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(folder, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn fill(beside: &Path, folder: &Path, files: &[File], kept: &[PathBuf]) -> io::Result<()> {
    fs::create_dir(beside)?;
    let mut ledger = BTreeMap::new();
    for path in kept {
        let to = beside.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(folder.join(path), to)?;
    }
    for file in files {
        let to = beside.join(&file.path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&to, &file.text)?;
        if file.path.split('/').any(|part| part == "secrets") {
            fs::set_permissions(&to, fs::Permissions::from_mode(PRIVATE))?;
        }
        ledger.insert(file.path.clone(), sha256_hex(file.text.as_bytes()));
    }
    let text = serde_json::to_string_pretty(&ledger).map_err(io::Error::other)?;
    fs::write(beside.join(LEDGER), format!("{text}\n"))
}

/// Puts the new folder in the place of the old one, which is removed only then.
fn exchange(beside: &Path, folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        return fs::rename(beside, folder);
    }
    let old = beside.with_extension("old");
    fs::rename(folder, &old)?;
    if let Err(error) = fs::rename(beside, folder) {
        fs::rename(&old, folder)?;
        return Err(error);
    }
    fs::remove_dir_all(&old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn an_export_replaces_its_own_and_nobody_elses() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("out");
        write(&folder, &[file("a.yaml", "1"), file("old/b.yaml", "2")], false).unwrap();
        fs::create_dir(folder.join("mine")).unwrap();
        fs::write(folder.join("mine/patch.yaml"), "3").unwrap();
        write(&folder, &[file("a.yaml", "4")], false).unwrap();
        let read = |path: &str| fs::read_to_string(folder.join(path)).ok();
        assert_eq!(read("a.yaml").as_deref(), Some("4"));
        assert_eq!(read("mine/patch.yaml").as_deref(), Some("3"));
        assert_eq!(read("old/b.yaml"), None);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_was_changed_is_not_written_over() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("out");
        write(&folder, &[file("a.yaml", "1")], false).unwrap();
        fs::write(folder.join("a.yaml"), "changed").unwrap();
        let error = write(&folder, &[file("a.yaml", "2")], false).unwrap_err();
        assert!(error.to_string().contains("a.yaml"), "{error}");
        assert_eq!(fs::read_to_string(folder.join("a.yaml")).unwrap(), "changed");
        write(&folder, &[file("a.yaml", "2")], true).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a.yaml")).unwrap(), "2");
    }

    #[test]
    fn a_folder_of_others_is_left_alone() {
        let above = tempfile::tempdir().unwrap();
        fs::write(above.path().join("theirs"), "1").unwrap();
        assert!(write(above.path(), &[file("a.yaml", "1")], false).is_err());
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }
}
