//! What outlives the agent: Rows, Revisions, blocks, peers, settings, tokens. Values are JSON, so that
//! a field of a newer agent survives. Holds no copy in memory and decides nothing.
//!
//! Every call blocks for the disk: call it where blocking is allowed. Reading order: [`frame`] is
//! the form on disk, [`journal`] keeps tables in such files, [`folder`] is the files.

pub mod fake;
mod folder;
mod frame;
pub mod journal;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::folder::Folder;
use self::journal::{Batch, Files, Journal, OpenError};
use crate::model::{HostId, NetworkBlock, Record, Row, RowKey, SealedRevision};

/// A table of the journal.
type Table = u8;

const META: Table = 1;
const ROWS: Table = 2;
const REVISIONS: Table = 3;
const BLOCKS: Table = 4;
const PEERS: Table = 5;
pub(super) const TOKENS: Table = 6;

/// A lazy write waits for the disk all the same when the last one that did is so long ago: a crash
/// then loses seconds, not hours.
const LAZY_FOR: Duration = Duration::from_secs(2);
/// Between the parts of a key; no name holds it.
const SEPARATOR: char = '\0';

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk when the call returns.
    Synced,
    /// It is on disk after the next synced write. A power cut before loses it whole.
    Lazy,
}

/// What was on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Boot epoch: one more than at the last open, and already on disk.
    pub epoch: u64,
    /// Rows of all hosts.
    pub rows: Vec<Row>,
    /// Revisions of all Apps.
    pub revisions: Vec<SealedRevision>,
    /// Blocks of this host's slice that are given away.
    pub blocks: Vec<NetworkBlock>,
    /// Other members and where they were last.
    pub peers: Vec<(HostId, SocketAddr)>,
    /// The disk lost something that had been on it; other hosts may know better.
    pub damaged: bool,
}

/// Why the store does not work. Nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store `{path}` is in use")]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
    /// Nothing in it can be read.
    #[error("the store `{path}` is damaged")]
    Damaged {
        /// Which folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: OpenError,
    },
    /// A newer muster wrote it.
    #[error("the store `{path}` was written by a newer muster")]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// Its form.
        #[source]
        cause: OpenError,
    },
    /// One entry cannot be read, though the file is whole.
    #[error("the store `{path}` holds an entry in `{table}` that this muster cannot read")]
    Unreadable {
        /// Which folder.
        path: PathBuf,
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The disk, or the file system, said no.
    #[error("cannot read or write the store `{path}`")]
    Disk {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { .. } => {
                "another agent runs with the same data directory: stop it, or give this one \
                 another `--data-dir`"
                    .to_owned()
            }
            Self::Damaged { path, .. } => format!(
                "restore `{}` from a backup, or move the whole data directory away and join this \
                 host again; the other hosts hold what the cluster runs",
                path.display()
            ),
            Self::Newer { .. } | Self::Unreadable { .. } => {
                "run the muster that wrote it, or a newer one".to_owned()
            }
            Self::Disk { .. } => {
                "see whether the disk is full and the data directory is writable".to_owned()
            }
        }
    }
}

/// The store of one agent. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// Beside the state, which a slow disk holds for long.
    counts: Arc<Written>,
    state: Mutex<Open>,
}

struct Open {
    journal: Journal<Folder>,
    synced: Instant,
    counts: Arc<Written>,
}

/// What was written since the store was opened.
#[derive(Debug, Default)]
struct Written {
    writes: AtomicU64,
    syncs: AtomicU64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in the folder `path`, makes it when there is none, and raises the boot epoch
    /// on disk. What a damaged file has lost is left out, and [`Saved::damaged`] says so.
    ///
    /// # Errors
    ///
    /// When nothing in it can be read, it is in use or too new, or the disk fails.
    pub fn open(path: &Path) -> Result<(Self, Saved), StoreError> {
        let folder = Folder::lock(path).map_err(|cause| disk(path, cause))?;
        let folder = folder.ok_or_else(|| StoreError::InUse { path: path.to_owned() })?;
        let (mut journal, damaged) = Journal::open(folder).map_err(|cause| {
            let path = path.to_owned();
            match cause {
                OpenError::Newer(_) => StoreError::Newer { path, cause },
                OpenError::Unreadable => StoreError::Damaged { path, cause },
                OpenError::Io(cause) => StoreError::Disk { path, cause },
            }
        })?;
        let saved = Saved::begin(&mut journal, damaged).map_err(|cause| cause.at(path))?;
        let counts = Arc::new(Written::default());
        let of_state = Arc::clone(&counts);
        let state = Mutex::new(Open { journal, synced: Instant::now(), counts: of_state });
        Ok((Self { inner: Arc::new(Inner { path: path.to_owned(), counts, state }) }, saved))
    }

    /// Writes records as one change: after a crash all of them are there or none.
    ///
    /// # Errors
    ///
    /// `Disk` when it cannot; then they are written with those of the next call.
    pub fn write(&self, records: &[Record], durability: Durability) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for record in records {
            put_record(&mut batch, record);
        }
        let written = self.lock().timed(durability, |journal, sync| journal.write(batch, sync));
        written.map_err(|cause| disk(&self.inner.path, cause))
    }

    /// Changes written since it was opened, and those of them that waited for the disk.
    pub fn counts(&self) -> (u64, u64) {
        let Written { writes, syncs } = &*self.inner.counts;
        (writes.load(Ordering::Relaxed), syncs.load(Ordering::Relaxed))
    }

    /// Writes a record and waits for the disk.
    ///
    /// # Errors
    ///
    /// `Disk` when it cannot; then it is as if it had never been given.
    pub fn write_or_refuse(&self, record: &Record) -> Result<(), StoreError> {
        self.change(Durability::Synced, |change| {
            put_record(&mut change.batch, record);
            Ok(())
        })
    }

    /// Keeps the agent's settings, in the agent's own form, and waits for the disk.
    ///
    /// # Errors
    ///
    /// `Disk`.
    pub fn save_settings(&self, settings: &[u8]) -> Result<(), StoreError> {
        self.change(Durability::Synced, |change| {
            change.batch.put(META, "settings", settings.to_vec());
            Ok(())
        })
    }

    /// What was last given to [`Store::save_settings`].
    ///
    /// # Errors
    ///
    /// `Disk`.
    pub fn load_settings(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.lock().journal.get(META, "settings").map_err(|cause| disk(&self.inner.path, cause))
    }

    /// Runs `work`, and makes the changes it asks for as one; what it returns is given back once
    /// that is done.
    pub(super) fn change<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Change<'_>) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let mut state = self.lock();
        let run = || {
            let mut change = Change { journal: &state.journal, batch: Batch::default() };
            let result = work(&mut change)?;
            let batch = change.batch;
            if !batch.is_empty() {
                state.timed(durability, |journal, sync| journal.commit(&batch, sync))?;
            }
            Ok(result)
        };
        run().map_err(|cause| disk(&self.inner.path, cause))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic while it was held leaves a change that was not made, which is no harm.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Writes, and waits for the disk when that is asked for or due.
    fn timed(
        &mut self,
        durability: Durability,
        write: impl FnOnce(&mut Journal<Folder>, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let sync = match durability {
            Durability::Synced => true,
            Durability::Lazy => self.synced.elapsed() >= LAZY_FOR,
        };
        write(&mut self.journal, sync)?;
        self.counts.writes.fetch_add(1, Ordering::Relaxed);
        if sync {
            self.counts.syncs.fetch_add(1, Ordering::Relaxed);
            self.synced = Instant::now();
        }
        Ok(())
    }
}

/// What is there, and what is to be changed.
pub(super) struct Change<'a> {
    journal: &'a Journal<Folder>,
    /// The changes.
    pub(super) batch: Batch,
}

impl Change<'_> {
    /// The value of a key, before the change.
    pub(super) fn get(&self, table: Table, key: &str) -> io::Result<Option<Vec<u8>>> {
        self.journal.get(table, key)
    }

    /// All keys and values of a table, before the change.
    pub(super) fn scan(&self, table: Table) -> io::Result<Vec<(String, Vec<u8>)>> {
        let entries = self.journal.scan(table);
        entries.map(|entry| entry.map(|(key, value)| (key.to_owned(), value))).collect()
    }
}

fn disk(path: &Path, cause: io::Error) -> StoreError {
    StoreError::Disk { path: path.to_owned(), cause }
}

/// Why what is kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// An entry has another shape.
    #[error("an entry in `{table}` has another shape")]
    Shape {
        /// Which table.
        table: &'static str,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// The file system said no.
    #[error("the file system refuses")]
    Io(#[from] io::Error),
}

impl ReadError {
    fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Shape { table, cause } => StoreError::Unreadable { path, table, cause },
            Self::Io(cause) => StoreError::Disk { path, cause },
        }
    }
}

impl Saved {
    /// Reads what a journal keeps, and raises the boot epoch on disk.
    ///
    /// # Errors
    ///
    /// When an entry has another shape, or the file system fails.
    pub fn begin<F: Files>(journal: &mut Journal<F>, damaged: bool) -> Result<Self, ReadError> {
        let shape = |cause| ReadError::Shape { table: "meta", cause };
        let before = journal.get(META, "epoch")?;
        let before = before.map(|value| serde_json::from_slice::<u64>(&value)).transpose();
        let saved = Self {
            epoch: before.map_err(shape)?.unwrap_or(0) + 1,
            rows: values(journal, ROWS, "rows")?,
            revisions: values(journal, REVISIONS, "revisions")?,
            blocks: values(journal, BLOCKS, "blocks")?,
            peers: values(journal, PEERS, "peers")?,
            damaged,
        };
        let mut batch = Batch::default();
        batch.put(META, "epoch", json(&saved.epoch));
        journal.commit(&batch, true)?;
        Ok(saved)
    }
}

fn values<T: DeserializeOwned, F: Files>(
    journal: &Journal<F>,
    table: Table,
    name: &'static str,
) -> Result<Vec<T>, ReadError> {
    let entries = journal.scan(table).map(|entry| {
        let (_, value) = entry?;
        let shape = |cause| ReadError::Shape { table: name, cause };
        serde_json::from_slice(&value).map_err(shape)
    });
    entries.collect()
}

/// Adds what a record asks for to a batch.
pub fn put_record(batch: &mut Batch, record: &Record) {
    match record {
        Record::Row(row) => batch.put(ROWS, &row_key(&row.owner, &row.key), json(row)),
        Record::ForgetRow { owner, key } => batch.forget(ROWS, &row_key(owner, key)),
        Record::Revision(revision) => {
            let key = pair(revision.app.as_str(), revision.id().as_str());
            batch.put(REVISIONS, &key, json(revision));
        }
        Record::ForgetRevision { app, id } => {
            batch.forget(REVISIONS, &pair(app.as_str(), id.as_str()));
        }
        Record::Block(block) => {
            batch.put(BLOCKS, &pair(block.app.as_str(), block.network.as_str()), json(block));
        }
        Record::ForgetBlock { app, network } => {
            batch.forget(BLOCKS, &pair(app.as_str(), network.as_str()));
        }
        Record::Peer { host, address } => batch.put(PEERS, host.as_str(), json(&(host, address))),
        Record::ForgetPeer { host } => batch.forget(PEERS, host.as_str()),
    }
}

fn row_key(owner: &HostId, key: &RowKey) -> String {
    match key {
        RowKey::Host => pair(owner.as_str(), "host"),
        RowKey::Replicas(app) => pair(&pair(owner.as_str(), "replicas"), app.as_str()),
        RowKey::Plan(app) => pair(&pair(owner.as_str(), "plan"), app.as_str()),
        RowKey::Removed(host) => pair(&pair(owner.as_str(), "removed"), host.as_str()),
        RowKey::Wanted(host) => pair(&pair(owner.as_str(), "wanted"), host.as_str()),
        RowKey::Operator(id) => pair(&pair(owner.as_str(), "operator"), id.as_str()),
        RowKey::Measured(app) => pair(&pair(owner.as_str(), "measured"), app.as_str()),
        RowKey::Asked(app) => pair(&pair(owner.as_str(), "asked"), app.as_str()),
        RowKey::Provider => pair(owner.as_str(), "provider"),
        RowKey::Fleet => pair(owner.as_str(), "fleet"),
        RowKey::Other(other) => pair(owner.as_str(), &String::from_utf8_lossy(&json(other))),
    }
}

fn pair(first: &str, second: &str) -> String {
    format!("{first}{SEPARATOR}{second}")
}

pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("what is kept holds only strings, numbers and maps")
}

#[cfg(test)]
mod tests;
