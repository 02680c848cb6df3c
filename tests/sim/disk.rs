//! The disk of one host: the real store over files in memory, which lose power in the middle of
//! writes. What was not synced when the agent or its machine dies is lost, whole or in part.

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
    unwritten: Batch,
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
        // As the store does: what could not be written is written with what comes next.
        put_record(&mut self.unwritten, record);
        let taken = journal.commit(&self.unwritten, durable).is_ok();
        if taken {
            self.unwritten = Batch::default();
        }
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
        self.unwritten = Batch::default();
        self.lost += std::mem::take(&mut self.lazy);
        self.files.restart(|most| rng.below(most + 1));
    }
}
