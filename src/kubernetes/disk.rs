//! What an export reads beside the Compose file: the files that services bind, configs, secrets.
//! Read only, and never more than fits a ConfigMap.

use std::fs;
use std::io::Read;
use std::path::Path;

/// The most that one ConfigMap or Secret holds: the API takes 1 MiB with its names.
pub(super) const CONTENT_MAX: u64 = 1_000_000;
/// A folder with more files than this is data, not settings.
const FILES_MAX: usize = 64;
/// And so is one that is deeper.
const DEPTH_MAX: usize = 6;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file that fits.
    File(Vec<u8>),
    /// A folder that fits: relative paths and contents, sorted.
    Folder(Vec<(String, Vec<u8>)>),
    /// A file that does not fit.
    LargeFile,
    /// A folder that does not fit, or holds what is no file.
    LargeFolder,
    /// A socket or device.
    Special,
    /// Nothing, or nothing that may be read.
    Missing,
}

/// Where files are read from.
pub trait Disk {
    /// What stands there.
    fn look(&self, path: &Path) -> Found;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn look(&self, path: &Path) -> Found {
        let Ok(metadata) = fs::metadata(path) else { return Found::Missing };
        if metadata.is_file() {
            if metadata.len() > CONTENT_MAX {
                return Found::LargeFile;
            }
            return read(path).map_or(Found::Missing, Found::File);
        }
        if !metadata.is_dir() {
            return Found::Special;
        }
        let mut files = Vec::new();
        match collect(path, "", 0, &mut files) {
            Some(()) => {
                files.sort();
                Found::Folder(files)
            }
            None => Found::LargeFolder,
        }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    fs::File::open(path).ok()?.take(CONTENT_MAX + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= CONTENT_MAX).then_some(content)
}

/// None when it is too much.
fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Option<()> {
    if depth > DEPTH_MAX {
        return None;
    }
    let mut total: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    for entry in fs::read_dir(folder).ok()? {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let metadata = fs::metadata(entry.path()).ok()?;
        if metadata.is_dir() {
            collect(&entry.path(), &path, depth + 1, files)?;
            total = files.iter().map(|(_, content)| content.len() as u64).sum();
        } else if metadata.is_file() {
            total += metadata.len();
            if total > CONTENT_MAX || files.len() >= FILES_MAX {
                return None;
            }
            files.push((path, read(&entry.path())?));
        } else {
            return None;
        }
    }
    (total <= CONTENT_MAX).then_some(())
}
