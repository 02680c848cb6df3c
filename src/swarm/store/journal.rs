//! Tables of keys and values that outlive a crash at any byte, as files of [`frame`]s. Knows nothing
//! of what the values mean, and touches files only through [`Files`].
//!
//! A file, a *generation*, begins with all that was known when it was begun; then changes follow,
//! each a frame. When much of it is of no use any more, the next generation is begun. The two newest
//! are kept: whatever the newest one's beginning has lost is in the one before.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::frame::{self, Entry, Frame, FrameWriter, Frames, Kind};

/// Form of the files; a higher one is refused.
pub(super) const FORMAT: u32 = 1;
/// A new generation is begun when the file is this much longer than what of it counts, …
const GARBAGE: u64 = 1024 * 1024;
/// … and this many times as long.
const GARBAGE_FACTOR: u64 = 2;
/// A snapshot is written in frames of about so much, so that beginning a generation needs little
/// memory.
const CHUNK: usize = 256 * 1024;
/// The table and key of the entries that are the journal's own.
const OWN: (u8, &str) = (0, "");

/// What a journal needs of a file system: files by the number of their generation.
pub trait Files {
    /// The generations that are there, in any order.
    ///
    /// # Errors
    ///
    /// What the file system says; so for all that follow.
    fn list(&self) -> io::Result<Vec<u64>>;
    /// All of a file.
    fn read(&self, generation: u64) -> io::Result<Vec<u8>>;
    /// Some bytes of a file.
    fn read_at(&self, generation: u64, range: Range<u64>) -> io::Result<Vec<u8>>;
    /// Begins a file that is not there before [`Files::publish`]; one begun before is dropped.
    fn begin(&mut self, generation: u64) -> io::Result<()>;
    /// Writes at the end, `at`. Not on the disk before `sync`.
    fn append(&mut self, generation: u64, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Puts a begun file on the disk, whole, under its name.
    fn publish(&mut self, generation: u64) -> io::Result<()>;
    /// Returns when all that was appended is on the disk.
    fn sync(&mut self, generation: u64) -> io::Result<()>;
    /// Cuts a file to a length.
    fn truncate(&mut self, generation: u64, length: u64) -> io::Result<()>;
    /// Drops a file that was begun and not published.
    fn abandon(&mut self) -> io::Result<()>;
    /// Removes a file. That it is still there after a crash is no harm.
    fn remove(&mut self, generation: u64) -> io::Result<()>;
}

/// Where the value of a key lies.
#[derive(Debug, Clone)]
struct Place {
    generation: u64,
    range: Range<u64>,
    /// Of the value alone: it is checked again when it is read.
    checksum: u32,
}

impl Place {
    fn cost(&self, key: &str) -> u64 {
        key.len() as u64 + (self.range.end - self.range.start)
    }
}

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer muster wrote it.
    #[error("it has form {0}, and only forms up to {FORMAT} are known")]
    Newer(u32),
    /// Files are there, and nothing in them can be read.
    #[error("nothing in it can be read")]
    Unreadable,
    /// The file system said no.
    #[error("the file system refuses")]
    Io(#[from] io::Error),
}

/// Changes that are made together: after a crash all of them are there or none.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: BTreeMap<(u8, String), Option<Vec<u8>>>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, table: u8, key: &str, value: Vec<u8>) {
        self.changes.insert((table, key.to_owned()), Some(value));
    }

    /// Forgets a key.
    pub fn forget(&mut self, table: u8, key: &str) {
        self.changes.insert((table, key.to_owned()), None);
    }

    /// Adds the changes of another one, made later.
    pub fn add(&mut self, later: Self) {
        self.changes.extend(later.changes);
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Tables of keys and values. Table 0 is the journal's own.
#[derive(Debug)]
pub struct Journal<F> {
    files: F,
    generation: u64,
    /// Length of the newest file.
    end: u64,
    /// How much of it is on the disk.
    synced: u64,
    places: BTreeMap<(u8, String), Place>,
    /// What of the files counts.
    live: u64,
    /// What [`Journal::write`] could not write.
    unwritten: Batch,
    /// What was written since the last sync: if that fails, the file no longer has it.
    unsynced: Batch,
    /// What the newest file holds cannot be relied on: the next change begins a new one.
    spoiled: bool,
}

impl<F: Files> Journal<F> {
    /// Opens what is there, or makes it. Says whether something that was on the disk was lost.
    ///
    /// # Errors
    ///
    /// When it is too new, when nothing in it can be read, or the file system fails.
    pub fn open(files: F) -> Result<(Self, bool), OpenError> {
        let mut generations = files.list()?;
        generations.sort_unstable();
        let mut journal = Self {
            files,
            generation: 0,
            end: 0,
            synced: 0,
            places: BTreeMap::new(),
            live: 0,
            unwritten: Batch::default(),
            unsynced: Batch::default(),
            spoiled: false,
        };
        let damaged = match *generations.as_slice() {
            [] => {
                journal.rotate()?;
                false
            }
            [.., before, newest] => journal.load(Some(before), newest)?,
            [newest] => journal.load(None, newest)?,
        };
        Ok((journal, damaged))
    }

    fn load(&mut self, before: Option<u64>, newest: u64) -> Result<bool, OpenError> {
        self.generation = newest;
        let bytes = self.files.read(newest)?;
        let read = frame::read(&bytes);
        refuse_newer(&bytes, &read)?;
        let whole = is_whole(&bytes, &read);
        if !whole && let Some(before) = before {
            let bytes = self.files.read(before)?;
            let read = frame::read(&bytes);
            refuse_newer(&bytes, &read)?;
            self.take_in(before, &bytes, &read);
        }
        self.take_in(newest, &bytes, &read);
        let damaged = !whole || !read.damage.is_empty();
        if damaged && self.places.is_empty() {
            return Err(OpenError::Unreadable);
        }
        self.end = read.end as u64;
        if damaged {
            self.spoiled = true;
        } else if read.end < bytes.len() {
            self.files.truncate(newest, self.end)?;
        }
        Ok(damaged)
    }

    fn take_in(&mut self, generation: u64, bytes: &[u8], read: &Frames) {
        for frame in &read.frames {
            for Entry { table, key, value } in &frame.entries {
                if matches!(frame.kind, Kind::Head | Kind::SnapshotEnd) {
                    continue;
                }
                let place = value.clone().map(|value| Place {
                    generation,
                    checksum: crc32fast::hash(&bytes[value.clone()]),
                    range: value.start as u64..value.end as u64,
                });
                self.place((*table, key.clone()), place);
            }
        }
    }

    fn place(&mut self, key: (u8, String), place: Option<Place>) {
        if let Some(place) = &place {
            self.live += place.cost(&key.1);
        }
        let before = match place {
            Some(place) => self.places.insert(key.clone(), place),
            None => self.places.remove(&key),
        };
        if let Some(before) = before {
            self.live -= before.cost(&key.1);
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is not what was written.
    pub fn get(&self, table: u8, key: &str) -> io::Result<Option<Vec<u8>>> {
        let place = self.places.get(&(table, key.to_owned()));
        place.map(|place| self.value(place)).transpose()
    }

    /// All keys and values of a table, in order of the keys.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or is not what was written.
    pub fn scan(&self, table: u8) -> impl Iterator<Item = io::Result<(&str, Vec<u8>)>> {
        let places = self.places.range((table, String::new())..);
        let places = places.take_while(move |((of, _), _)| *of == table);
        places.map(|((_, key), place)| Ok((key.as_str(), self.value(place)?)))
    }

    fn value(&self, place: &Place) -> io::Result<Vec<u8>> {
        let value = self.files.read_at(place.generation, place.range.clone())?;
        if crc32fast::hash(&value) == place.checksum {
            Ok(value)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the disk gives back something else"))
        }
    }

    /// As [`Journal::commit`], for changes that are not taken back when they fail: they are made with
    /// those of the next call.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&mut self, batch: Batch, sync: bool) -> io::Result<()> {
        self.unwritten.add(batch);
        let batch = std::mem::take(&mut self.unwritten);
        self.commit(&batch, sync).inspect_err(|_| self.unwritten = batch)
    }

    /// Makes changes; with `sync` they are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// What the file system says. Then nothing was changed.
    pub fn commit(&mut self, batch: &Batch, sync: bool) -> io::Result<()> {
        if self.spoiled {
            self.rotate()?;
        }
        self.append(batch, sync)?;
        if self.end > GARBAGE + self.live * GARBAGE_FACTOR
            && let Err(error) = self.rotate()
        {
            // All that counts is in the present file; it may grow until there is room.
            tracing::debug!(%error, "cannot begin a new generation of the store");
        }
        Ok(())
    }

    fn append(&mut self, batch: &Batch, sync: bool) -> io::Result<()> {
        let mut writer = FrameWriter::new(Kind::Change);
        let mut places = Vec::with_capacity(batch.changes.len());
        for ((table, key), value) in &batch.changes {
            let range = writer.push(*table, key, value.as_deref());
            let place = value.as_ref().map(|value| Place {
                generation: self.generation,
                range: self.end + range.start as u64..self.end + range.end as u64,
                checksum: crc32fast::hash(value),
            });
            places.push(((*table, key.clone()), place));
        }
        let bytes = writer.finish(self.synced);
        let end = self.end + bytes.len() as u64;
        if let Err(error) = self.files.append(self.generation, self.end, &bytes) {
            // Half a frame must not lie where the next one is looked for.
            self.spoiled = self.files.truncate(self.generation, self.end).is_err();
            return Err(error);
        }
        if sync {
            // What the kernel could not write it may have dropped; a second try would succeed and
            // tell nothing. So the file is given up.
            self.files.sync(self.generation).inspect_err(|_| self.spoiled = true)?;
            self.synced = end;
            self.unsynced = Batch::default();
        } else {
            self.unsynced.add(batch.clone());
        }
        self.end = end;
        for (key, place) in places {
            self.place(key, place);
        }
        Ok(())
    }

    /// Begins a new generation with all that counts, on the disk when this returns.
    fn rotate(&mut self) -> io::Result<()> {
        let written = self.write_generation(self.generation + 1);
        if written.is_err() {
            // It would take room that the present one needs; the next try drops it as well.
            let _ = self.files.abandon();
        }
        written
    }

    fn write_generation(&mut self, generation: u64) -> io::Result<()> {
        self.files.begin(generation)?;
        let mut file = NewFile { generation, end: 0, places: BTreeMap::new() };
        let mut head = FrameWriter::new(Kind::Head);
        head.push(OWN.0, OWN.1, Some(&FORMAT.to_le_bytes()));
        file.write(&mut self.files, head, Vec::new())?;
        let mut writer = FrameWriter::new(Kind::Snapshot);
        let mut entries = Vec::new();
        let mut n_entries = 0_u64;
        for (of, place) in &self.places {
            let (table, key) = of;
            let value = match self.unsynced.changes.get(of) {
                Some(Some(value)) => value.clone(),
                _ => match self.value(place) {
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        // All else is saved, where waiting for this would lose it as well.
                        tracing::error!(table, key, "an entry of the store is lost");
                        continue;
                    }
                    value => value?,
                },
            };
            n_entries += 1;
            let range = writer.push(*table, key, Some(&value));
            entries.push(((*table, key.clone()), range, place.checksum));
            if writer.len() >= CHUNK {
                let full = std::mem::replace(&mut writer, FrameWriter::new(Kind::Snapshot));
                file.write(&mut self.files, full, std::mem::take(&mut entries))?;
            }
        }
        file.write(&mut self.files, writer, entries)?;
        let mut end = FrameWriter::new(Kind::SnapshotEnd);
        end.push(OWN.0, OWN.1, Some(&n_entries.to_le_bytes()));
        file.write(&mut self.files, end, Vec::new())?;
        self.files.publish(generation)?;
        self.places = file.places;
        self.unsynced = Batch::default();
        self.live = self.places.iter().map(|((_, key), place)| place.cost(key)).sum();
        self.generation = generation;
        self.end = file.end;
        self.synced = file.end;
        self.spoiled = false;
        for old in self.files.list()?.into_iter().filter(|old| *old + 1 < generation) {
            // It does no harm, and the next rotation tries again.
            let _ = self.files.remove(old);
        }
        Ok(())
    }
}

/// A generation that is being written.
struct NewFile {
    generation: u64,
    end: u64,
    places: BTreeMap<(u8, String), Place>,
}

impl NewFile {
    fn write<F: Files>(
        &mut self,
        files: &mut F,
        writer: FrameWriter,
        entries: Vec<((u8, String), Range<usize>, u32)>,
    ) -> io::Result<()> {
        let bytes = writer.finish(self.end);
        files.append(self.generation, self.end, &bytes)?;
        for (key, range, checksum) in entries {
            let range = self.end + range.start as u64..self.end + range.end as u64;
            self.places.insert(key, Place { generation: self.generation, range, checksum });
        }
        self.end += bytes.len() as u64;
        Ok(())
    }
}

/// The one value of a frame of the journal's own.
fn own_value<'a, const N: usize>(bytes: &'a [u8], frame: &Frame) -> Option<&'a [u8; N]> {
    let value = frame.entries.first()?.value.clone()?;
    bytes.get(value)?.try_into().ok()
}

fn refuse_newer(bytes: &[u8], read: &Frames) -> Result<(), OpenError> {
    let head = read.frames.iter().find(|frame| frame.kind == Kind::Head);
    let format = head.and_then(|head| own_value(bytes, head)).map(|own| u32::from_le_bytes(*own));
    match format {
        Some(format) if format > FORMAT => Err(OpenError::Newer(format)),
        _ => Ok(()),
    }
}

/// Whether all that the generation begins with is there.
fn is_whole(bytes: &[u8], read: &Frames) -> bool {
    let end = read.frames.iter().position(|frame| frame.kind == Kind::SnapshotEnd);
    let Some(end) = end else { return false };
    let snapshot = read.frames[..end].iter().filter(|frame| frame.kind == Kind::Snapshot);
    let count: usize = snapshot.map(|frame| frame.entries.len()).sum();
    own_value(bytes, &read.frames[end]).map(|own| u64::from_le_bytes(*own)) == Some(count as u64)
}

#[cfg(test)]
mod tests;
