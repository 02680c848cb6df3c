//! Files in memory that fail as disks do: power goes in the middle of a write, what was not synced
//! is lost or comes out torn, disks fill up, bits flip. For tests and the simulator.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::journal::Files;

/// Files in memory. Clones are the same files, as two processes see them.
#[derive(Debug, Clone, Default)]
pub struct FakeFiles {
    disk: Rc<RefCell<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<u64, FakeFile>,
    begun: Option<(u64, FakeFile)>,
    /// Calls that still succeed before the power goes.
    power: Option<u64>,
    /// Bytes that fit on the disk.
    room: Option<usize>,
    read_only: bool,
    /// The next sync fails, and what it should have written is lost.
    sync_fails: bool,
}

#[derive(Debug, Clone, Default)]
struct FakeFile {
    content: Vec<u8>,
    /// How much of it is on the disk.
    synced: usize,
}

impl FakeFiles {
    /// The power goes after so many more calls; the last one is carried out in part. Until
    /// [`FakeFiles::restart`] every call fails.
    pub fn power_for(&self, calls: u64) {
        self.disk.borrow_mut().power = Some(calls);
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.disk.borrow().power == Some(0)
    }

    /// The machine starts again. `draw(n)` is a number up to `n`: of what was not synced some came
    /// onto the disk, and a part of that may be torn.
    pub fn restart(&self, mut draw: impl FnMut(u64) -> u64) {
        let mut disk = self.disk.borrow_mut();
        disk.power = None;
        disk.begun = None;
        disk.sync_fails = false;
        for file in disk.files.values_mut() {
            let unsynced = file.content.len() - file.synced;
            if unsynced == 0 {
                continue;
            }
            let kept = file.synced + draw(unsynced as u64) as usize;
            file.content.truncate(kept);
            // Blocks reach the disk in any order: one that did not holds zeros.
            let torn = file.synced + draw((kept - file.synced) as u64) as usize;
            let length = draw(64) as usize;
            let end = (torn + length).min(kept);
            file.content[torn..end].fill(0);
            file.synced = kept;
        }
    }

    /// So many bytes fit on the disk; none: any number.
    pub fn set_room(&self, room: Option<usize>) {
        self.disk.borrow_mut().room = room;
    }

    /// Whether nothing can be written.
    pub fn set_read_only(&self, read_only: bool) {
        self.disk.borrow_mut().read_only = read_only;
    }

    /// The next sync fails, and what it should have put on the disk never gets there.
    pub fn fail_next_sync(&self) {
        self.disk.borrow_mut().sync_fails = true;
    }

    /// Does something to the bytes of the newest file.
    pub fn damage(&self, damage: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut newest) = self.disk.borrow_mut().files.last_entry() {
            let file = newest.get_mut();
            damage(&mut file.content);
            file.synced = file.content.len();
        }
    }

    /// The bytes of the files, oldest generation first.
    pub fn contents(&self) -> BTreeMap<u64, Vec<u8>> {
        let disk = self.disk.borrow();
        disk.files.iter().map(|(number, file)| (*number, file.content.clone())).collect()
    }

    /// Files of these bytes, all on the disk.
    pub fn of(contents: BTreeMap<u64, Vec<u8>>) -> Self {
        let file = |content: Vec<u8>| FakeFile { synced: content.len(), content };
        let files = contents.into_iter().map(|(number, content)| (number, file(content)));
        let disk = Disk { files: files.collect(), ..Disk::default() };
        Self { disk: Rc::new(RefCell::new(disk)) }
    }
}

impl Disk {
    /// Whether a call is carried out: whole, up to the moment when the power goes, or not at all.
    fn spend(&mut self) -> io::Result<bool> {
        match &mut self.power {
            None => Ok(true),
            Some(0) => Err(io::Error::other("the power is off")),
            Some(calls) => {
                *calls -= 1;
                Ok(*calls > 0)
            }
        }
    }

    fn write(&mut self) -> io::Result<bool> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.spend()
    }

    fn file(&mut self, generation: u64) -> io::Result<&mut FakeFile> {
        match &mut self.begun {
            Some((begun, file)) if *begun == generation => Ok(file),
            _ => self.files.get_mut(&generation).ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }

    fn used(&self) -> usize {
        let begun = self.begun.iter().map(|(_, file)| file);
        self.files.values().chain(begun).map(|file| file.content.len()).sum()
    }
}

fn off() -> io::Error {
    io::Error::other("the power went")
}

impl Files for FakeFiles {
    fn list(&self) -> io::Result<Vec<u64>> {
        Ok(self.disk.borrow().files.keys().copied().collect())
    }

    fn read(&self, generation: u64) -> io::Result<Vec<u8>> {
        Ok(self.disk.borrow_mut().file(generation)?.content.clone())
    }

    fn read_at(&self, generation: u64, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut disk = self.disk.borrow_mut();
        let file = disk.file(generation)?;
        let bytes = file.content.get(range.start as usize..range.end as usize);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn begin(&mut self, generation: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.write()?;
        disk.begun = Some((generation, FakeFile::default()));
        Ok(())
    }

    fn append(&mut self, generation: u64, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let whole = disk.write()?;
        let room = disk.room.map_or(usize::MAX, |room| room.saturating_sub(disk.used()));
        let content = &mut disk.file(generation)?.content;
        debug_assert_eq!(at, content.len() as u64, "it is not the end");
        let fits = bytes.len().min(room);
        let n = if whole { fits } else { fits / 2 };
        content.extend(&bytes[..n]);
        match (whole, fits < bytes.len()) {
            (false, _) => Err(off()),
            (true, true) => Err(io::ErrorKind::StorageFull.into()),
            (true, false) => Ok(()),
        }
    }

    fn publish(&mut self, generation: u64) -> io::Result<()> {
        self.sync(generation)?;
        let mut disk = self.disk.borrow_mut();
        let whole = disk.write()?;
        let (number, file) = disk.begun.take().ok_or(io::ErrorKind::NotFound)?;
        debug_assert_eq!(number, generation);
        disk.files.insert(number, file);
        if whole { Ok(()) } else { Err(off()) }
    }

    fn sync(&mut self, generation: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let whole = disk.write()?;
        let fails = std::mem::take(&mut disk.sync_fails);
        let file = disk.file(generation)?;
        if fails {
            let synced = file.synced;
            file.content[synced..].fill(0);
            return Err(io::Error::other("the disk is failing"));
        }
        file.synced = file.content.len();
        if whole { Ok(()) } else { Err(off()) }
    }

    fn truncate(&mut self, generation: u64, length: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.write()?;
        let file = disk.file(generation)?;
        file.content.truncate(length as usize);
        file.synced = file.synced.min(file.content.len());
        Ok(())
    }

    fn remove(&mut self, generation: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.write()?;
        disk.files.remove(&generation);
        Ok(())
    }

    fn abandon(&mut self) -> io::Result<()> {
        self.disk.borrow_mut().begun = None;
        Ok(())
    }
}
