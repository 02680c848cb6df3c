//! How a run ends, by what its host says of it. Pure.

use crate::model::{Assignment, Phase, ReplicaStatus, Run, RunState};

/// A run whose container could not be made so often has failed; that takes half a minute.
const TRIES: u32 = 8;

impl Run {
    /// Takes in what its host says of it.
    pub(super) fn take_in(&mut self, status: &ReplicaStatus) {
        let cannot = status.failures >= TRIES;
        match status.phase {
            Phase::Running => self.began = self.began.or(Some(status.since)),
            Phase::Completed => {
                (self.state, self.exit_code) = (RunState::Succeeded, Some(0));
            }
            Phase::Failed if status.exit_code.is_some() || cannot => {
                (self.state, self.exit_code) = (RunState::Failed, status.exit_code);
                self.reason.clone_from(&status.reason);
            }
            Phase::Failed
            | Phase::Pending
            | Phase::Pulling
            | Phase::Starting
            | Phase::Stopping
            | Phase::Backoff => {}
        }
        if self.state.is_over() {
            self.ended = Some(status.since);
        }
    }
}

/// The same, not to run again.
pub(super) fn ended(mut assignment: Assignment, run: &Run) -> Assignment {
    (assignment.done, assignment.failed) =
        (run.state == RunState::Succeeded, run.state == RunState::Failed);
    assignment
}
