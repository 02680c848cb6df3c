//! What outlives the agent: Rows, Revisions, blocks, peers, settings, tokens. One redb file, values
//! in JSON so that a field of a newer agent survives. Holds no copy in memory and decides nothing.
//!
//! Every call blocks for the disk: call it where blocking is allowed.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{HostId, NetworkBlock, Record, Revision, Row, RowKey};

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

const META: Definition = TableDefinition::new("meta");
const ROWS: Definition = TableDefinition::new("rows");
const REVISIONS: Definition = TableDefinition::new("revisions");
const BLOCKS: Definition = TableDefinition::new("blocks");
const PEERS: Definition = TableDefinition::new("peers");
pub(super) const TOKENS: Definition = TableDefinition::new("tokens");
const ALL: [Definition; 6] = [META, ROWS, REVISIONS, BLOCKS, PEERS, TOKENS];

/// Form of the tables; a higher one is refused.
const FORMAT: u32 = 1;
/// redb would take 1 GiB, far more than the whole agent may.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// A lazy write waits for the disk all the same when the last one that did is so long ago: a crash
/// then loses seconds, not hours, and redb can use freed pages again.
const LAZY_FOR: Duration = Duration::from_secs(2);
/// Between the parts of a key; no name holds it.
const SEPARATOR: char = '\0';

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk when the call returns.
    Synced,
    /// It is on disk after the next synced write, or when the store is closed. A crash before loses
    /// it whole.
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
    pub revisions: Vec<Revision>,
    /// Blocks of this host's slice that are given away.
    pub blocks: Vec<NetworkBlock>,
    /// Other members and where they were last.
    pub peers: Vec<(HostId, SocketAddr)>,
}

/// Why the store does not work. Nothing on disk was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store `{path}` is in use")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file is damaged, or is something else.
    #[error("the store `{path}` is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer muster wrote it.
    #[error("the store `{path}` was written by a newer muster (form {format}, known: {FORMAT})")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its form.
        format: u32,
    },
    /// One entry cannot be read, though the file is whole.
    #[error("the store `{path}` holds an entry in `{table}` that this muster cannot read")]
    Unreadable {
        /// Which file.
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
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
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
    state: Mutex<Open>,
}

struct Open {
    /// None after the disk failed: redb refuses everything until it is opened again.
    database: Option<Database>,
    synced: Instant,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store, makes it when there is none, and raises the boot epoch on disk.
    ///
    /// # Errors
    ///
    /// When it is damaged, in use, too new, or the disk fails. A damaged file is left as it is.
    pub fn open(path: &Path) -> Result<(Self, Saved), StoreError> {
        let there = path.try_exists().map_err(|cause| disk(path, cause.into()))?;
        if !there {
            create(path).map_err(|cause| disk(path, cause))?;
        }
        let (database, saved) = guarded(path, || {
            let database = open_database(path)?;
            let saved = read_all(path, &database)?;
            Ok((database, saved))
        })?;
        let state = Mutex::new(Open { database: Some(database), synced: Instant::now() });
        Ok((Self { inner: Arc::new(Inner { path: path.to_owned(), state }) }, saved))
    }

    /// Writes records as one transaction: after a crash all of them are there or none.
    ///
    /// # Errors
    ///
    /// `Disk` when it cannot; then nothing was written, and the next call tries again.
    pub fn write(&self, records: &[Record], durability: Durability) -> Result<(), StoreError> {
        self.transaction(durability, |transaction| {
            for record in records {
                write_record(transaction, record)?;
            }
            Ok(())
        })
    }

    /// Keeps the agent's settings, in the agent's own form, and waits for the disk.
    ///
    /// # Errors
    ///
    /// `Disk`.
    pub fn save_settings(&self, settings: &[u8]) -> Result<(), StoreError> {
        self.transaction(Durability::Synced, |transaction| {
            transaction.open_table(META)?.insert("settings", settings)?;
            Ok(())
        })
    }

    /// What was last given to [`Store::save_settings`].
    ///
    /// # Errors
    ///
    /// `Disk`, `Damaged`.
    pub fn load_settings(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.with_database(|database, _| {
            let table = database.begin_read()?.open_table(META)?;
            Ok(table.get("settings")?.map(|value| value.value().to_vec()))
        })
    }

    /// Runs `work` in one transaction; what it returns is given back once that is committed.
    pub(super) fn transaction<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with_database(|database, synced| {
            let mut transaction = database.begin_write()?;
            let sync = match durability {
                Durability::Synced => true,
                Durability::Lazy => synced.elapsed() >= LAZY_FOR,
            };
            if !sync {
                transaction.set_durability(redb::Durability::None)?;
            }
            let result = work(&transaction)?;
            transaction.commit()?;
            if sync {
                *synced = Instant::now();
            }
            Ok(result)
        })
    }

    fn with_database<T>(
        &self,
        work: impl FnOnce(&Database, &mut Instant) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let path = &self.inner.path;
        // A panic inside redb leaves a transaction that was not committed, which is no harm.
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Open { database, synced } = &mut *state;
        if database.is_none() {
            *database = Some(guarded(path, || open_database(path))?);
        }
        let open = database.as_ref().expect("it was opened just now");
        let result = work(open, synced);
        if let Err(error) = &result
            && breaks(error)
        {
            *database = None;
        }
        result.map_err(|cause| disk(path, cause))
    }
}

/// Whether redb must open the file again before it does anything else.
fn breaks(error: &redb::Error) -> bool {
    matches!(
        error,
        redb::Error::Io(_)
            | redb::Error::PreviousIo
            | redb::Error::Corrupted(_)
            | redb::Error::LockPoisoned(_)
            | redb::Error::DatabaseClosed
    )
}

fn disk(path: &Path, cause: redb::Error) -> StoreError {
    let path = path.to_owned();
    match cause {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TableDoesNotExist(_) => StoreError::Damaged { path, cause: cause.into() },
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Damaged { path, cause: error.into() }
        }
        // redb's enum is open; whatever else it says comes from the disk.
        cause => StoreError::Disk { path, cause: Box::new(cause) },
    }
}

/// Makes the file beside and renames it, so that a file that is there always has its tables: an
/// empty one is a damaged one, not a new one.
fn create(path: &Path) -> Result<(), redb::Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let beside = path.with_extension("new");
    // redb fills an empty file as it is; it would make one that everybody may read.
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(&beside)?;
    let transaction = database.begin_write()?;
    for table in ALL {
        transaction.open_table(table)?;
    }
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", json(&FORMAT).as_slice())?;
        meta.insert("epoch", json(&0_u64).as_slice())?;
    }
    transaction.commit()?;
    drop(database);
    std::fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .open(path)
        .map_err(|cause| disk(path, cause.into()))
}

/// redb is careful, but a damaged file may still trip an assertion in it.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let cause = "the database found it inconsistent".into();
        Err(StoreError::Damaged { path: path.to_owned(), cause })
    })
}

fn read_all(path: &Path, database: &Database) -> Result<Saved, StoreError> {
    let format: u32 = meta(path, database, "format")?;
    if format > FORMAT {
        return Err(StoreError::Newer { path: path.to_owned(), format });
    }
    let before: u64 = meta(path, database, "epoch")?;
    let saved = Saved {
        epoch: before + 1,
        rows: values(path, database, ROWS, "rows")?,
        revisions: values(path, database, REVISIONS, "revisions")?,
        blocks: values(path, database, BLOCKS, "blocks")?,
        peers: values(path, database, PEERS, "peers")?,
    };
    let raise = || {
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert("epoch", json(&saved.epoch).as_slice())?;
        transaction.commit()?;
        Ok(())
    };
    raise().map_err(|cause| disk(path, cause))?;
    Ok(saved)
}

fn meta<T: DeserializeOwned>(
    path: &Path,
    database: &Database,
    key: &'static str,
) -> Result<T, StoreError> {
    let read = || {
        let table = database.begin_read()?.open_table(META)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    };
    let value: Option<Vec<u8>> = read().map_err(|cause| disk(path, cause))?;
    let damaged = |cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Damaged {
        path: path.to_owned(),
        cause,
    };
    let value = value.ok_or_else(|| damaged(format!("`{key}` is missing").into()))?;
    serde_json::from_slice(&value).map_err(|cause| damaged(cause.into()))
}

fn values<T: DeserializeOwned>(
    path: &Path,
    database: &Database,
    definition: Definition,
    name: &'static str,
) -> Result<Vec<T>, StoreError> {
    let read = || {
        let table = database.begin_read()?.open_table(definition)?;
        let mut found = Vec::new();
        for entry in table.iter()? {
            found.push(serde_json::from_slice(entry?.1.value()));
        }
        Ok(found)
    };
    let found: Vec<Result<T, serde_json::Error>> = read().map_err(|cause| disk(path, cause))?;
    let unreadable = |cause| StoreError::Unreadable { path: path.to_owned(), table: name, cause };
    found.into_iter().collect::<Result<_, _>>().map_err(unreadable)
}

fn write_record(transaction: &WriteTransaction, record: &Record) -> Result<(), redb::Error> {
    let put = |table, key: String, value: Vec<u8>| -> Result<(), redb::Error> {
        transaction.open_table(table)?.insert(key.as_str(), value.as_slice())?;
        Ok(())
    };
    let forget = |table, key: String| -> Result<(), redb::Error> {
        transaction.open_table(table)?.remove(key.as_str())?;
        Ok(())
    };
    match record {
        Record::Row(row) => put(ROWS, row_key(&row.owner, &row.key), json(row)),
        Record::ForgetRow { owner, key } => forget(ROWS, row_key(owner, key)),
        Record::Revision(revision) => {
            let key = pair(revision.app.as_str(), revision.id().as_str());
            put(REVISIONS, key, json(revision))
        }
        Record::ForgetRevision { app, id } => forget(REVISIONS, pair(app.as_str(), id.as_str())),
        Record::Block(block) => {
            put(BLOCKS, pair(block.app.as_str(), block.network.as_str()), json(block))
        }
        Record::ForgetBlock { app, network } => {
            forget(BLOCKS, pair(app.as_str(), network.as_str()))
        }
        Record::Peer { host, address } => {
            put(PEERS, host.as_str().to_owned(), json(&(host, address)))
        }
        Record::ForgetPeer { host } => forget(PEERS, host.as_str().to_owned()),
    }
}

fn row_key(owner: &HostId, key: &RowKey) -> String {
    match key {
        RowKey::Host => pair(owner.as_str(), "host"),
        RowKey::Replicas(app) => pair(&pair(owner.as_str(), "replicas"), app.as_str()),
        RowKey::Plan(app) => pair(&pair(owner.as_str(), "plan"), app.as_str()),
        RowKey::Removed(host) => pair(&pair(owner.as_str(), "removed"), host.as_str()),
        RowKey::Wanted(host) => pair(&pair(owner.as_str(), "wanted"), host.as_str()),
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
