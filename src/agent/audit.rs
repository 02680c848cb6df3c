//! Writes what this agent was made to change into the audit log, and reads it for people.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::handle::Agent;
use crate::api::{ApiError, AuditEntry, AuditLog};
use crate::docker::Engine;
use crate::model::WallSeconds;
use crate::swarm::{Audit, By, Checked, Entry, Mutation};

/// Lines that are shown at most.
const LINES_MAX: usize = 10_000;

/// Refusals of one asker that are noted in a minute: whoever may only look must not be able to push
/// older lines out of the log.
const REFUSALS_MAX: u32 = 10;

/// How many refusals were noted of late, by asker.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<(u64, BTreeMap<String, u32>)>);

impl Refusals {
    /// Whether one more is noted now.
    fn has_room(&self, who: &str, now: WallSeconds) -> bool {
        // Nothing that panics runs under the lock.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != now.0 / 60 {
            *state = (now.0 / 60, BTreeMap::new());
        }
        let count = state.1.entry(who.to_owned()).or_default();
        *count = count.saturating_add(1);
        *count <= REFUSALS_MAX
    }
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
    pub(super) async fn note<T>(&self, by: &By, changed: Changed, result: &Result<T, ApiError>) {
        let Changed { what, old, new } = changed;
        let By { who, from } = by.clone();
        let result = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let mutation = Mutation { who, from, what, old, new, result };
        let (audit, at) = (self.audit.clone(), wall());
        // It fails only by a bug, which the supervisor of the runtime says.
        let _ = tokio::task::spawn_blocking(move || audit.record(at, mutation)).await;
    }

    /// Notes that somebody asked for what it may not have.
    pub(super) async fn note_refusal(&self, by: &By, what: &str, error: &ApiError) {
        tracing::warn!(who = by.who, from = by.from, what, %error, "request refused");
        if self.refusals.has_room(&by.who, wall()) {
            let changed = Changed { what: what.to_owned(), ..Changed::default() };
            self.note(by, changed, &Err::<(), _>(error.clone())).await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_asker_do_not_fill_the_log() {
        let refusals = Refusals::default();
        let noted = |who: &str, at: u64| {
            let tries = (0..100).filter(|_| refusals.has_room(who, WallSeconds(at)));
            tries.count()
        };
        assert_eq!((noted("anna", 60), noted("ben", 61), noted("anna", 119)), (10, 10, 0));
        assert_eq!(noted("anna", 120), 10, "a new minute");
    }
}
