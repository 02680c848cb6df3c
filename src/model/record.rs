//! What one agent keeps on its disk.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{AppName, HostId, NetworkBlock, NetworkName, RevisionId, Row, RowKey, SealedRevision};

/// One change of what is on disk. A batch of them is written as one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// Keep this Row in place of the one with its owner and key.
    Row(Row),
    /// Forget a Row.
    ForgetRow {
        /// The owner.
        owner: HostId,
        /// The key.
        key: RowKey,
    },
    /// Keep this Revision.
    Revision(Box<SealedRevision>),
    /// Forget a Revision.
    ForgetRevision {
        /// The App.
        app: AppName,
        /// The Revision.
        id: RevisionId,
    },
    /// This host gave a block of its slice to a network.
    Block(NetworkBlock),
    /// It took the block back.
    ForgetBlock {
        /// The App.
        app: AppName,
        /// The network.
        network: NetworkName,
    },
    /// Another host was last reached there.
    Peer {
        /// Which.
        host: HostId,
        /// Where its agent listens.
        address: SocketAddr,
    },
    /// A host was removed from the cluster.
    ForgetPeer {
        /// Which.
        host: HostId,
    },
}
