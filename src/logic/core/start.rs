//! What a core starts from. Plain data.

use std::net::SocketAddr;

use ipnet::Ipv4Net;

use crate::logic::membership::Timing;
use crate::model::{HostFacts, HostId, NetworkBlock, Row, SealedRevision};

/// What a host is at its start.
#[derive(Debug, Clone)]
pub struct Start {
    /// What the host is.
    pub me: HostId,
    /// All addresses of the cluster.
    pub pool: Ipv4Net,
    /// What it says of itself.
    pub facts: HostFacts,
    /// Boot epoch.
    pub epoch: u64,
    /// Rows from disk.
    pub rows: Vec<Row>,
    /// Revisions from disk.
    pub revisions: Vec<SealedRevision>,
    /// Blocks from disk.
    pub blocks: Vec<NetworkBlock>,
    /// Members from disk.
    pub peers: Vec<(HostId, SocketAddr)>,
    /// Where randomness begins.
    pub seed: u64,
    /// Timing of membership.
    pub timing: Timing,
}

impl Start {
    /// A host with nothing on its disk that knows nobody.
    pub fn new(me: HostId, pool: Ipv4Net, facts: HostFacts) -> Self {
        Self {
            me,
            pool,
            facts,
            epoch: 1,
            rows: Vec::new(),
            revisions: Vec::new(),
            blocks: Vec::new(),
            peers: Vec::new(),
            seed: 1,
            timing: Timing::default(),
        }
    }
}
