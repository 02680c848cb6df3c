//! The form of a journal: frames, each with its length and a checksum, one after the other. Pure:
//! bytes in, bytes out. Never panics, whatever the bytes are.
//!
//! ```text
//! frame    = magic (4) length (4) synced (8) checksum (4) body (`length` bytes)
//! body     = kind (1) entries
//! entry    = table (1) key length (2) key, value length (4) value; length `FORGOTTEN`: no value
//! ```
//!
//! Numbers are little-endian. The checksum (CRC-32) covers length, `synced` and body. `synced` is
//! how much of the file was on the disk when the frame was written: where a frame cannot be read
//! and a later one says that it was on the disk, the disk lost it; else the power went while it was
//! written, and nothing after it ever counted.

use std::ops::Range;

/// Begins every frame, so that the next one can be found behind a damaged one. No UTF-8 text holds
/// its first byte.
const MAGIC: [u8; 4] = [0xf5, b'm', b'j', b'1'];
const HEADER: usize = 20;
const FORGOTTEN: u32 = u32::MAX;
/// Checksums are tried behind damage for at most so many times the length of the file, or a file
/// full of things that look like frames would take for ever.
const SEARCH_FACTOR: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a generation; its one entry is the form.
    Head,
    /// Entries of the state that the generation begins with.
    Snapshot,
    /// Ends the snapshot; its one entry is how many entries that has.
    SnapshotEnd,
    /// A change, whole or not at all.
    Change,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Head => 0,
            Self::Snapshot => 1,
            Self::SnapshotEnd => 2,
            Self::Change => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Head, Self::Snapshot, Self::SnapshotEnd, Self::Change]
            .get(usize::from(byte))
            .copied()
    }
}

/// One entry, and where its value lies in the bytes it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) table: u8,
    pub(super) key: String,
    /// None when the key is forgotten.
    pub(super) value: Option<Range<usize>>,
}

/// One frame that is whole.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) entries: Vec<Entry>,
    /// Where it begins.
    pub(super) start: usize,
    end: usize,
    synced: u64,
}

/// What could be read.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) frames: Vec<Frame>,
    /// How much of the bytes counts; what is behind was being written when the power went.
    pub(super) end: usize,
    /// Where something that was on the disk cannot be read any more.
    pub(super) damage: Vec<Range<usize>>,
}

/// Makes a frame.
#[derive(Debug)]
pub(super) struct FrameWriter {
    bytes: Vec<u8>,
}

impl FrameWriter {
    pub(super) fn new(kind: Kind) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes.push(kind.byte());
        Self { bytes }
    }

    /// Adds an entry; `None` forgets the key. Returns where in the frame its value lies.
    pub(super) fn push(&mut self, table: u8, key: &str, value: Option<&[u8]>) -> Range<usize> {
        let key_length = u16::try_from(key.len()).expect("keys are names, far below 64 KiB");
        self.bytes.push(table);
        self.bytes.extend(key_length.to_le_bytes());
        self.bytes.extend(key.as_bytes());
        let length = value.map_or(FORGOTTEN, |value| {
            u32::try_from(value.len()).expect("a value comes in a message, far below 4 GiB")
        });
        self.bytes.extend(length.to_le_bytes());
        let start = self.bytes.len();
        self.bytes.extend(value.unwrap_or_default());
        start..self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The frame, as written to a file of which `synced` bytes are on the disk.
    pub(super) fn finish(mut self, synced: u64) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - HEADER).expect("as its values");
        self.bytes[..4].copy_from_slice(&MAGIC);
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&synced.to_le_bytes());
        let sum = checksum(&self.bytes[4..16], &self.bytes[HEADER..]);
        self.bytes[16..HEADER].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Reads every frame that is whole and counts.
pub(super) fn read(bytes: &[u8]) -> Frames {
    let mut frames: Vec<Frame> = Vec::new();
    let mut gaps: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    let mut budget = bytes.len().saturating_mul(SEARCH_FACTOR);
    while at < bytes.len() {
        if let Some(frame) = frame(bytes, at, &mut budget) {
            at = frame.end;
            frames.push(frame);
            continue;
        }
        let next = search(bytes, at + 1, &mut budget).unwrap_or(bytes.len());
        gaps.push(at..next);
        at = next;
    }
    // A gap that no later frame knows to have been on the disk is where the power went.
    let known = |gap: &Range<usize>| {
        let later = frames.iter().filter(|frame| frame.start >= gap.end);
        later.map(|frame| frame.synced).max().is_some_and(|synced| synced > gap.start as u64)
    };
    let torn = gaps.iter().position(|gap| !known(gap));
    let end = torn.map_or(bytes.len(), |torn| gaps[torn].start);
    gaps.truncate(torn.unwrap_or(gaps.len()));
    frames.retain(|frame| frame.start < end);
    Frames { frames, end, damage: gaps }
}

/// The next place where a whole frame begins.
fn search(bytes: &[u8], from: usize, budget: &mut usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes.get(at..)?.iter().position(|byte| *byte == MAGIC[0]) {
        at += found;
        if frame(bytes, at, budget).is_some() {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn frame(bytes: &[u8], start: usize, budget: &mut usize) -> Option<Frame> {
    let header = bytes.get(start..start.checked_add(HEADER)?)?;
    if header[..4] != MAGIC {
        return None;
    }
    let length = u32::from_le_bytes(header[4..8].try_into().ok()?) as usize;
    let synced = u64::from_le_bytes(header[8..16].try_into().ok()?);
    let sum = u32::from_le_bytes(header[16..HEADER].try_into().ok()?);
    let body_start = start + HEADER;
    let end = body_start.checked_add(length)?;
    let body = bytes.get(body_start..end)?;
    *budget = budget.checked_sub(length)?;
    if checksum(&header[4..16], body) != sum {
        return None;
    }
    let kind = Kind::of(*body.first()?)?;
    let entries = entries(bytes, body_start + 1, end)?;
    Some(Frame { kind, entries, start, end, synced })
}

fn entries(bytes: &[u8], mut at: usize, end: usize) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut take = |n: usize| -> Option<Range<usize>> {
        let next = at.checked_add(n).filter(|next| *next <= end)?;
        Some(std::mem::replace(&mut at, next)..next)
    };
    while let Some(table) = take(1) {
        let table = bytes[table.start];
        let length = u16::from_le_bytes(bytes[take(2)?].try_into().ok()?);
        let key = std::str::from_utf8(&bytes[take(usize::from(length))?]).ok()?.to_owned();
        let length = u32::from_le_bytes(bytes[take(4)?].try_into().ok()?);
        let value = if length == FORGOTTEN { None } else { Some(take(length as usize)?) };
        entries.push(Entry { table, key, value });
    }
    Some(entries)
}
