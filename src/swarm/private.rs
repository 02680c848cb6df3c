//! Files that hold keys.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes `text` to `beside`, for nobody else to read, waits for the disk, then renames it to `path`
/// in the same folder: a crash leaves the old or the new file.
///
/// # Errors
///
/// When the file system refuses; the old file is still there then.
pub fn write_private(beside: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    // The mode above does not apply to a file that a crash left behind.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
