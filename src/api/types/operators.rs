//! What goes over the API about people who work on the cluster from elsewhere.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::{HostId, Role};
use crate::swarm::Grant;

/// `muster operator create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorRequest {
    /// The name to be known under.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Seconds the invitation is good for.
    pub ttl_seconds: u64,
}

/// An invitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorToken {
    /// The text to give to `muster context add`.
    pub token: String,
    /// Whom it lets in.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Seconds it is good for.
    pub ttl_seconds: u64,
}

/// One operator in `muster operator ls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorView {
    /// The id of the key.
    pub id: HostId,
    /// Name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Who made the invitation, as in the audit log.
    pub invited_by: String,
    /// The host that let it in, by name.
    pub host: String,
    /// When, seconds since 1970.
    pub since: u64,
}

/// `muster operator rm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveOperatorRequest {
    /// The name, or the id of the key.
    pub operator: String,
}

/// Answer to a [`RemoveOperatorRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorRemoved {
    /// The id of the key that is refused from now on.
    pub id: HostId,
    /// The name.
    pub name: String,
    /// Hosts that have the removal on disk.
    pub stored: u32,
    /// Live hosts.
    pub alive: u32,
}

/// What the command line of an operator asks for itself now and then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Whether it needs another certificate.
    pub certificate: bool,
}

/// Answer to a [`RenewRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Renewal {
    /// The certificate, when it was asked for.
    #[serde(default)]
    pub grant: Option<Grant>,
    /// All members, and where their agents listen.
    pub members: Vec<(HostId, SocketAddr)>,
}

/// What somebody is told who was let in, beside the certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// All members, and where their agents listen.
    pub members: Vec<(HostId, SocketAddr)>,
}
