//! What one agent keeps on its disk. What was not synced when the agent or its machine dies is lost,
//! as with a store whose lazy writes ride on the next synced one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use muster::logic::Rng;
use muster::model::{HostId, NetworkBlock, Record, Revision, Row, RowKey};

/// The disk of one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) epoch: u64,
    pub(crate) rows: BTreeMap<(HostId, RowKey), Row>,
    pub(crate) revisions: BTreeMap<String, Revision>,
    pub(crate) blocks: BTreeMap<String, NetworkBlock>,
    pub(crate) peers: BTreeMap<HostId, SocketAddr>,
    /// Written, not yet synced, oldest first.
    lazy: Vec<Record>,
    /// Records lost in crashes.
    pub(crate) lost: u64,
}

impl Disk {
    /// Writes a record; a durable one brings those before it onto the disk as well.
    pub(crate) fn write(&mut self, record: Record, durable: bool) {
        self.lazy.push(record);
        if durable {
            self.sync();
        }
    }

    fn sync(&mut self) {
        for record in std::mem::take(&mut self.lazy) {
            self.apply(record);
        }
    }

    /// Of what was not synced, some of the oldest may have made it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.below(self.lazy.len() as u64 + 1) as usize;
        self.lost += (self.lazy.len() - kept) as u64;
        self.lazy.truncate(kept);
        self.sync();
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Row(row) => {
                self.rows.insert((row.owner.clone(), row.key.clone()), row);
            }
            Record::ForgetRow { owner, key } => {
                self.rows.remove(&(owner, key));
            }
            Record::Revision(revision) => {
                self.revisions.insert(revision.id().to_string(), *revision);
            }
            Record::ForgetRevision { id, .. } => {
                self.revisions.remove(&id.to_string());
            }
            Record::Block(block) => {
                self.blocks.insert(format!("{}/{}", block.app, block.network), block);
            }
            Record::ForgetBlock { app, network } => {
                self.blocks.remove(&format!("{app}/{network}"));
            }
            Record::Peer { host, address } => {
                self.peers.insert(host, address);
            }
            Record::ForgetPeer { host } => {
                self.peers.remove(&host);
            }
        }
    }
}
