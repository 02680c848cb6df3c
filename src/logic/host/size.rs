//! Holds containers that are there to the limits of the Plan, without a stop. What an engine refuses is said
//! and tried again ever more seldom; it changes nothing else of the replica.

use super::{Desired, HostMachine, Target};
use crate::logic::operation::{Failure, Operation, OperationId};
use crate::logic::restart::pause;
use crate::logic::vertical;
use crate::model::{Container, ContainerState, Moment, Resize};

/// A container whose limits could not be changed.
#[derive(Debug, Clone)]
pub(super) struct NotResized {
    /// To what.
    to: Resize,
    failures: u32,
    /// Not before.
    next_try: Moment,
    /// Why; none while it is tried for the first time.
    reason: Option<String>,
}

impl HostMachine {
    /// Begins to change the limits of a container that has others than it should.
    pub(super) fn resize(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        container: &Container,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let target = Target::Limits(container.id.clone());
        let is_there = match container.state {
            ContainerState::Running | ContainerState::Exited { .. } => true,
            ContainerState::Created
            | ContainerState::Paused
            | ContainerState::Changing
            | ContainerState::Dead => false,
        };
        if !is_there || self.is_busy(&target) || desired.assignment.is_over() {
            return;
        }
        let Desired { deployment, size, capacity, .. } = desired;
        let spec = &deployment.container;
        let Some(to) = vertical::resize(spec, *size, *capacity, container.limits) else {
            self.not_resized.remove(&container.id);
            return;
        };
        if let Some(known) = self.not_resized.get(&container.id).filter(|known| known.to == to)
            && known.next_try > now
        {
            let next_try = known.next_try;
            self.wake(next_try);
            return;
        }
        // Until it is seen to be so it counts as not done: an engine that says yes and does nothing
        // is not asked again at once.
        let before = self.not_resized.remove(&container.id).filter(|known| known.to == to);
        let (failures, reason) = before.map_or((1, None), |b| (b.failures + 1, b.reason));
        let next_try = now + pause(failures.saturating_add(PAUSES_SKIPPED), &mut self.rng);
        let known = NotResized { to, failures, next_try, reason };
        self.not_resized.insert(container.id.clone(), known);
        self.begin(target, false, Operation::Resize { container: container.id.clone(), to }, out);
    }

    /// Takes in how it ended.
    pub(super) fn note_resized(&mut self, container: &str, result: Result<(), Failure>) {
        let Some(known) = self.not_resized.get_mut(container) else { return };
        // If it is as it should be, that is seen next.
        let kept = || "its engine keeps other limits".to_owned();
        known.reason = Some(result.err().map_or_else(kept, |failure| failure.reason));
    }

    /// Why the limits of a container are not those of the Plan, once that was tried.
    pub(super) fn not_resized(&self, container: &Container) -> Option<String> {
        self.not_resized.get(&container.id)?.reason.clone()
    }
}

/// The first pause is some seconds: nothing waits for it.
const PAUSES_SKIPPED: u32 = 5;
