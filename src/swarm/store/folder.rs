//! The files of a journal in a folder of the file system. Every call blocks for the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

use super::journal::Files;

/// Held while an agent uses the folder.
const LOCK: &str = "lock";
const ENDING: &str = ".journal";
const NEW: &str = ".new";
/// Room that is kept behind the end of the newest file, so that an agent whose disk others have
/// filled can still start and say what its host runs.
const RESERVE: u64 = 8 * 1024 * 1024;

/// A folder that nobody else uses meanwhile.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The file that is written to, and until where room is reserved for it.
    open: Option<(u64, File, u64)>,
    _lock: File,
}

impl Folder {
    /// The folder at `path`, made if it is not there; none when another process uses it.
    pub(super) fn lock(path: &Path) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(path)?;
        let lock = private().create(true).open(path.join(LOCK))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), open: None, _lock: lock })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn file(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{generation:010}{ENDING}"))
    }

    fn begun(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{generation:010}{NEW}"))
    }

    fn opened(&mut self, generation: u64) -> io::Result<&mut (u64, File, u64)> {
        if self.open.as_ref().is_none_or(|(open, ..)| *open != generation) {
            let file = private().open(self.file(generation))?;
            self.open = Some((generation, file, 0));
        }
        Ok(self.open.as_mut().expect("it was opened just now"))
    }
}

/// Nobody else may read what a store holds.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut generations = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(ENDING));
            generations.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        Ok(generations)
    }

    fn read(&self, generation: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.file(generation))
    }

    fn read_at(&self, generation: u64, range: Range<u64>) -> io::Result<Vec<u8>> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        match &self.open {
            Some((open, file, _)) if *open == generation => {
                file.read_exact_at(&mut bytes, range.start)?;
            }
            _ => File::open(self.file(generation))?.read_exact_at(&mut bytes, range.start)?,
        }
        Ok(bytes)
    }

    fn begin(&mut self, generation: u64) -> io::Result<()> {
        let file = private().create(true).truncate(true).open(self.begun(generation))?;
        self.open = Some((generation, file, 0));
        Ok(())
    }

    fn append(&mut self, generation: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (_, file, reserved) = self.opened(generation)?;
        if at + RESERVE / 2 > *reserved {
            // It is a precaution: without it all goes well until the disk is full.
            if fallocate(&*file, FallocateFlags::KEEP_SIZE, at, RESERVE).is_ok() {
                *reserved = at + RESERVE;
            }
        }
        file.write_all_at(bytes, at)
    }

    fn publish(&mut self, generation: u64) -> io::Result<()> {
        self.sync(generation)?;
        std::fs::rename(self.begun(generation), self.file(generation))?;
        File::open(&self.path)?.sync_all()
    }

    fn sync(&mut self, generation: u64) -> io::Result<()> {
        self.opened(generation)?.1.sync_data()
    }

    fn truncate(&mut self, generation: u64, length: u64) -> io::Result<()> {
        let (_, file, reserved) = self.opened(generation)?;
        // What was reserved behind goes as well.
        *reserved = 0;
        file.set_len(length)
    }

    fn abandon(&mut self) -> io::Result<()> {
        let Some((generation, ..)) = self.open.take() else { return Ok(()) };
        match std::fs::remove_file(self.begun(generation)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, generation: u64) -> io::Result<()> {
        std::fs::remove_file(self.file(generation))
    }
}
