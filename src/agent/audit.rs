//! Writes what this agent was made to change into the audit log, and reads it for people.

use super::handle::Agent;
use crate::api::{ApiError, AuditEntry, AuditLog};
use crate::docker::Engine;
use crate::model::{HostId, WallSeconds};
use crate::swarm::{Audit, Checked, Entry, Mutation};

/// Lines that are shown at most.
const LINES_MAX: usize = 10_000;

/// Who asked for a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    /// The command line of this host: whoever may use the socket.
    Local,
    /// Another host, by its certificate.
    Host(HostId),
}

/// What was changed.
#[derive(Debug, Clone, Default)]
pub(super) struct Changed {
    /// In words.
    pub(super) what: String,
    /// What was there before.
    pub(super) old: String,
    /// What is there now.
    pub(super) new: String,
}

impl<E: Engine> Agent<E> {
    /// Notes a mutation, or why it was refused.
    pub(super) async fn note<T>(
        &self,
        asker: &Asker,
        changed: Changed,
        result: &Result<T, ApiError>,
    ) {
        let Changed { what, old, new } = changed;
        let (who, from) = match asker {
            Asker::Local => ("local".to_owned(), "socket"),
            Asker::Host(host) => (host.to_string(), "quic"),
        };
        let result = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let mutation = Mutation { who, from: from.to_owned(), what, old, new, result };
        let (audit, at) = (self.audit.clone(), wall());
        // It fails only by a bug, which the supervisor of the runtime says.
        let _ = tokio::task::spawn_blocking(move || audit.record(at, mutation)).await;
    }

    /// The newest lines, and whether the chain holds.
    pub(super) async fn audit_log(&self, limit: usize) -> Result<AuditLog, ApiError> {
        let audit: Audit = self.audit.clone();
        let checked = tokio::task::spawn_blocking(move || audit.check(limit.min(LINES_MAX))).await;
        let checked = checked.map_err(|error| ApiError::cluster(error.to_string()))?;
        let Checked { entries, head, broken } = checked
            .map_err(|error| ApiError::cluster(format!("cannot read the audit log: {error}")))?;
        Ok(AuditLog { entries: entries.into_iter().map(shown).collect(), head, broken })
    }
}

fn shown(entry: Entry) -> AuditEntry {
    let Entry { number, at, mutation, previous: _ } = entry;
    let Mutation { who, from, what, old, new, result } = mutation;
    AuditEntry { number, at: at.0, who, from, what, old, new, result }
}

fn wall() -> WallSeconds {
    super::driver::Clock::new().now().wall
}
