//! What goes over the API about hosts that come and go, and about who changed what.

use serde::{Deserialize, Serialize};

use super::Change;
use crate::model::{HostId, Liveness};

/// `muster token create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenRequest {
    /// Seconds it is good for.
    pub ttl_seconds: u64,
    /// Hosts that may join with it.
    #[serde(default = "one")]
    pub uses: u32,
}

fn one() -> u32 {
    1
}

/// A join token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// The text to give to `muster join`.
    pub token: String,
    /// Seconds it is good for.
    pub ttl_seconds: u64,
    /// Hosts that may join with it.
    #[serde(default = "one")]
    pub uses: u32,
}

/// `muster node rm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// The host: its name or its id.
    pub host: String,
    /// Also when it is alive, or data of apps is on it.
    #[serde(default)]
    pub force: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What `muster node rm` changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// What this agent thinks of it.
    pub liveness: Liveness,
    /// What becomes of what is on it.
    pub changes: Vec<Change>,
    /// Whether it was removed, not only looked at.
    pub removed: bool,
    /// Hosts that have the removal on disk.
    pub stored: u32,
    /// Live hosts that stay.
    pub alive: u32,
}

/// `muster audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLog {
    /// The newest lines, oldest first.
    pub entries: Vec<AuditEntry>,
    /// Hash of the newest line.
    pub head: String,
    /// Where the log was altered, in words.
    pub broken: Option<String>,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// From 1.
    pub number: u64,
    /// When, in seconds since 1970 by the host's clock.
    pub at: u64,
    /// Who asked: `local`, a host's id, or an operator's name with the id of its key.
    pub who: String,
    /// From where.
    pub from: String,
    /// What was asked for.
    pub what: String,
    /// What was there before.
    pub old: String,
    /// What is there now.
    pub new: String,
    /// `done`, or why not.
    pub result: String,
}
