//! What goes over the API of the history of Apps and of their updates, as JSON.

use serde::{Deserialize, Serialize};

use crate::model::{Intent, RevisionId, RolloutOrder, ServiceName, Stage};

/// How the update of one service goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutView {
    /// How far it is.
    pub stage: Stage,
    /// Sequence of the Revision that ran before, and is gone back to; none when it is not known here.
    pub from: Option<u64>,
    /// Replicas that have the new spec.
    pub updated: u32,
    /// All replicas.
    pub total: u32,
    /// Replicas that failed.
    pub failed: u32,
    /// Why it was paused or rolled back.
    pub reason: Option<String>,
}

/// What is decided of a rollout: `muster rollout promote` and `abort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The service.
    pub service: ServiceName,
    /// What.
    pub order: RolloutOrder,
}

/// One Revision in `muster history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionView {
    /// Its id.
    pub revision: RevisionId,
    /// Its sequence.
    pub sequence: u64,
    /// Run, or be removed.
    pub intent: Intent,
    /// Whether it is the one that counts.
    pub counts: bool,
    /// Whether `muster rollback` goes back to it.
    pub previous: bool,
    /// When it was made, seconds since 1970 by the clock of the host that was asked.
    pub at: u64,
    /// The name of the host that was asked for it.
    pub host: String,
    /// The operator who asked from elsewhere; none means somebody on that host.
    #[serde(default)]
    pub by: Option<String>,
    /// The verb.
    pub command: String,
    /// What was rolled back of it and why; none when nothing was.
    #[serde(default)]
    pub undone: Option<String>,
    /// What it changed, by service and key, against the one before it.
    pub changes: Vec<Difference>,
}

/// What differs between two Revisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The service; none for what is of the App as a whole.
    pub service: Option<ServiceName>,
    /// The key, much as the file has it; empty when the service as a whole came or went.
    pub key: String,
    /// What it was; none when it was not there. Secrets are never told.
    pub before: Option<String>,
    /// What it is; none when it is not there any more.
    pub after: Option<String>,
}
