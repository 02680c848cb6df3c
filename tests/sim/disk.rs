//! The disk of one host: the real store over files in memory, which lose power in the middle of
//! writes. What was not synced when the agent or its machine dies is lost, whole or in part.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use muster::logic::Rng;
use muster::model::{HostId, Record};
use muster::swarm::store::fake::FakeFiles;
use muster::swarm::store::journal::{Batch, Journal};
use muster::swarm::store::{Saved, put_record};

/// The disk of one host.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: FakeFiles,
    /// Open while the agent runs.
    journal: Option<Journal<FakeFiles>>,
    /// Records written since the last one that was synced.
    lazy: u64,
    /// Records that may have been lost in crashes.
    pub(crate) lost: u64,
    /// Starts at which the store said that the disk had lost something.
    pub(crate) damaged: u64,
}

impl Disk {
    /// A disk that knows these members.
    pub(crate) fn of(peers: &[(HostId, SocketAddr)]) -> Self {
        let mut disk = Self::default();
        let (mut journal, _) = Journal::open(disk.files.clone()).expect("it is empty");
        let mut batch = Batch::default();
        for (host, address) in peers {
            put_record(&mut batch, &Record::Peer { host: host.clone(), address: *address });
        }
        journal.commit(&batch, true).expect("nothing fails");
        disk.journal = Some(journal);
        disk
    }

    /// What an agent finds that starts now.
    pub(crate) fn start(&mut self) -> Saved {
        let (mut journal, damaged) = Journal::open(self.files.clone()).expect("it opens");
        let saved = Saved::begin(&mut journal, damaged).expect("all of it can be read");
        self.damaged += u64::from(damaged);
        self.journal = Some(journal);
        saved
    }

    /// Writes a record; a durable one brings those before it onto the disk as well. Returns
    /// whether the disk took it.
    pub(crate) fn write(&mut self, record: &Record, durable: bool) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        let mut batch = Batch::default();
        put_record(&mut batch, record);
        let taken = journal.write(batch, durable).is_ok();
        self.lazy = if durable && taken { 0 } else { self.lazy + 1 };
        taken
    }

    /// Writes a record, or forgets it when the disk does not take it. Returns whether it did.
    pub(crate) fn write_or_refuse(&mut self, record: &Record) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        let mut batch = Batch::default();
        put_record(&mut batch, record);
        journal.commit(&batch, true).is_ok()
    }

    /// The agent is gone, and what it had not synced may be.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        self.journal = None;
        self.lost += std::mem::take(&mut self.lazy);
        self.files.restart(|most| rng.below(most + 1));
    }
}

/// A table that no record uses.
const TABLE: u8 = 200;

/// Values are as long as they are high, which decides when a new generation is begun.
fn value(n: u64) -> Vec<u8> {
    n.to_string().repeat(if n.is_multiple_of(40) { 60_000 } else { 40 }).into_bytes()
}

fn expected(state: &BTreeMap<String, u64>) -> BTreeMap<String, Vec<u8>> {
    state.iter().map(|(key, n)| (key.clone(), value(*n))).collect()
}

fn contents(journal: &Journal<FakeFiles>) -> BTreeMap<String, Vec<u8>> {
    let entries = journal.scan(TABLE).map(|entry| entry.expect("it can be read"));
    entries.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Changes a store until the power goes at some call, again and again, and expects each time what
/// was there after one of the changes, and none that was acknowledged to be missing.
pub(crate) fn cut_power(seed: u64, cuts: u64) {
    let mut rng = Rng::new(seed);
    let files = FakeFiles::default();
    let mut state: BTreeMap<String, u64> = BTreeMap::new();
    let mut n = 0;
    for cut in 0..cuts {
        let (mut journal, damaged) = Journal::open(files.clone()).expect("it opens");
        assert!(!damaged, "seed {seed}: cut {cut} is taken for damage");
        assert!(
            contents(&journal) == expected(&state),
            "seed {seed}: before cut {cut} it was another state"
        );
        files.power_for(1 + rng.below(60));
        // What may be found next: the state that was synced last, or a later one.
        let mut possible = vec![state.clone()];
        loop {
            n += 1;
            let mut batch = Batch::default();
            for _ in 0..1 + rng.below(3) {
                let key = rng.below(6).to_string();
                if rng.below(5) == 0 {
                    batch.forget(TABLE, &key);
                    state.remove(&key);
                } else {
                    batch.put(TABLE, &key, value(n));
                    state.insert(key, n);
                }
            }
            let sync = rng.below(2) == 0;
            let done = journal.commit(&batch, sync).is_ok();
            if done && sync {
                possible.clear();
            }
            possible.push(state.clone());
            if !done {
                break;
            }
        }
        drop(journal);
        files.restart(|most| rng.below(most + 1));
        let (journal, _) = Journal::open(files.clone()).expect("it opens");
        let found = contents(&journal);
        let one = possible.iter().find(|state| expected(state) == found);
        state = one.unwrap_or_else(|| panic!("seed {seed}: cut {cut} lost a change")).clone();
    }
}
