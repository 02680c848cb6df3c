//! Rolling updates, forth and back: which replica is replaced next, and when its old copy may go.
//! Never places a replica itself, never acts; whether to go forth, back or not at all is found out
//! before, in [`super::judge`].
//!
//! A new copy has to prove itself before its old one goes and before the next is replaced: by its
//! health check, or without one by staying up for a while. One that was started again has to stay up
//! for longer, and until then nothing further of its Deployment is taken away.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::judge::cap;
use super::plan::Planner;
use super::restart::STEADY;
use super::targets::Target;
use crate::model::{
    Assignment, Deployment, Health, Liveness, Phase, PortMode, ReplicaId, Replicas, ServiceName,
    Stage, Waiting,
};

/// A copy without a health check has to stay up for so long. Most that are set up wrongly end
/// sooner.
const MONITOR: Duration = Duration::from_secs(3);

impl<'a> Planner<'a> {
    /// Replaces what runs another spec than is wanted, a few at a time.
    pub(super) fn update(&mut self) {
        for (service, target) in self.targets {
            self.note_followed(service);
            let awaited = self.updated_before(&target.deployment);
            let mine = self.of_service(service);
            let (current, old): (Vec<Assignment>, Vec<Assignment>) = mine
                .cloned()
                .partition(|a| a.spec_hash == target.spec_hash && !self.stale.contains(&a.replica));
            if old.is_empty() {
                continue;
            }
            if let Some(waiting) = awaited {
                let names = old.iter().map(|old| old.replica.to_string());
                self.waiting.extend(names.map(|name| (name, waiting.clone())));
                continue;
            }
            // Those that may fail hold up nobody.
            let awaited: Vec<_> = current.iter().filter(|a| !self.may_fail(a)).collect();
            let delay = target.policy.delay();
            let unready = awaited.into_iter().filter(|a| !self.is_proven(a, delay)).count();
            let mut budget = match target.policy.parallelism {
                0 => usize::MAX,
                parallelism => (parallelism as usize).saturating_sub(unready),
            };
            let mut room = self.room(service, current.len() + old.len(), current.len());
            let (up, down): (Vec<_>, Vec<_>) = old.into_iter().partition(|a| self.view.is_up(a));
            // What does not serve anyway is replaced at once; what serves waits for it.
            budget = budget.saturating_sub(down.len());
            for assignment in down {
                // A host that is away may be back in a moment, with all it runs.
                if self.view.liveness(&assignment.host) == Liveness::Alive {
                    self.go(&assignment, target, &mut room);
                } else {
                    let name = assignment.replica.to_string();
                    self.waiting.entry(name).or_insert(Waiting::RollingUpdate);
                }
            }
            for assignment in up {
                if budget > 0 && self.go(&assignment, target, &mut room) {
                    budget -= 1;
                } else {
                    self.waiting.insert(assignment.replica.to_string(), Waiting::RollingUpdate);
                }
            }
        }
    }

    /// Replaces one, unless there is no room for more of the new spec. One that only moves keeps the
    /// spec it has. Returns whether its turn has come.
    fn go(&mut self, old: &Assignment, target: &'a Target<'a>, room: &mut usize) -> bool {
        if self.stale.contains(&old.replica)
            && let Some(kept) = self.target_for(&old.replica)
            && kept.spec_hash == old.spec_hash
        {
            self.replace(old, kept);
            return true;
        }
        if *room == 0 {
            return false;
        }
        *room -= 1;
        self.replace(old, target);
        true
    }

    /// How many replicas may still be given the spec that is wanted: a canary is a few, and while
    /// somebody has to decide there are none.
    fn room(&self, service: &ServiceName, total: usize, current: usize) -> usize {
        let Some(rollout) = self.rollouts.get(service) else { return usize::MAX };
        match rollout.stage {
            Stage::Canary | Stage::Paused | Stage::RollbackPaused => 0,
            Stage::Rolling => {
                let deployment = &self.revision.deployments[service];
                cap(deployment, total).map_or(usize::MAX, |cap| cap.saturating_sub(current))
            }
            Stage::RollingBack | Stage::RolledBack => usize::MAX,
        }
    }

    /// The spec for a replica that is placed anew, as its host is gone or it is new: as long as no
    /// copy of a new spec has proved itself, or has to, it is the old one.
    pub(super) fn target_for(&self, replica: &ReplicaId) -> Option<&'a Target<'a>> {
        let target = self.targets.get(&replica.service)?;
        let Some(former) = self.formers.get(&replica.service) else { return Some(target) };
        let rollout = self.rollouts.get(&replica.service)?;
        let before = self.previous.into_iter().flat_map(|plan| plan.of_replica(replica));
        let mut before = before.filter(|a| a.replica == *replica && !a.outgoing);
        let was_new = before.any(|a| a.spec_hash == target.spec_hash);
        let is_open = rollout.stage == Stage::Rolling
            && !rollout.passed.is_empty()
            && self.is_chosen(replica, target);
        Some(if was_new || is_open { target } else { former })
    }

    /// Whether there is room for one more of the new spec.
    fn is_chosen(&self, replica: &ReplicaId, target: &Target<'_>) -> bool {
        let mine = self.of_service(&replica.service);
        let (mut total, mut current) = (1, 0);
        for assignment in mine.filter(|a| a.replica != *replica) {
            total += 1;
            current += usize::from(assignment.spec_hash == target.spec_hash);
        }
        self.room(&replica.service, total, current) > 0
    }

    /// Whether a copy failed that may: then nobody waits for it.
    fn may_fail(&self, assignment: &Assignment) -> bool {
        let rollout = self.rollouts.get(&assignment.replica.service);
        rollout.is_some_and(|rollout| rollout.failed.contains_key(&assignment.replica.index))
    }

    fn replace(&mut self, old: &Assignment, target: &'a Target<'a>) {
        let deployment = &target.deployment;
        let pinned = match deployment.replicas {
            Replicas::Count(_) => !self.pins_of(target).is_empty(),
            Replicas::Global => !deployment.volumes().is_empty(),
        };
        // A spec that cannot run beside its old self stops first, as does one that is not up.
        let start_first =
            self.view.is_up(old) && !pinned && target.policy.start_first.unwrap_or(true);
        self.assignments.remove(&old.replica);
        self.load.remove(&old.host, &old.replica, deployment, &old.devices);
        // Beside its old self it needs other devices; where there are none, it takes those over.
        if start_first {
            self.load.hold(&old.host, &old.devices);
        }
        let mut placed = self.assign(&old.replica, target, Some(&old.host));
        if !placed && start_first && !old.devices.is_empty() {
            self.load.release(&old.host, &old.devices);
            placed = self.assign(&old.replica, target, Some(&old.host));
            if placed {
                self.waiting.remove(&old.replica.to_string());
            }
        }
        placed = placed && !(start_first && self.is_not_to_move(old, target));
        if !placed {
            self.load.add(&old.host, &old.replica, deployment, &old.devices);
            self.assignments.insert(old.replica.clone(), old.clone());
        } else if start_first && !self.clashes(old, deployment) {
            self.load.hold(&old.host, &old.devices);
            self.outgoing.push(Assignment { outgoing: true, ..old.clone() });
        }
    }

    /// Whether both copies would listen on a port of one host, or have a device of it.
    fn clashes(&self, old: &Assignment, deployment: &Deployment) -> bool {
        let new = self.assignments.get(&old.replica).filter(|new| new.host == old.host);
        let Some(new) = new else { return false };
        let of_old: BTreeSet<&String> = old.devices.iter().flatten().collect();
        deployment.ports.iter().any(|port| port.mode == PortMode::Host)
            || new.devices.iter().flatten().any(|id| of_old.contains(id))
    }

    /// An old copy goes when its successor has proved itself. It stays while there is no successor,
    /// and while another new copy of its Deployment is in trouble.
    pub(super) fn drop_outgoing(&mut self) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        // Alike for all of one spec, and there may be thousands.
        let mut in_trouble: BTreeMap<(ServiceName, String), bool> = BTreeMap::new();
        outgoing.retain(|old| match self.assignments.get(&old.replica).cloned() {
            None => true,
            Some(new) => {
                let spec = (new.replica.service.clone(), new.spec_hash.clone());
                let trouble = !self.may_fail(&new)
                    && *in_trouble.entry(spec).or_insert_with(|| self.is_in_trouble(&new));
                let needed = !self.is_proven(&new, Duration::ZERO) || trouble;
                new.generation > old.generation && needed
            }
        });
        self.outgoing = outgoing;
    }

    /// Whether some copy of the same spec ended and has not been steady since.
    fn is_in_trouble(&mut self, of: &Assignment) -> bool {
        let siblings = self.of_service(&of.replica.service);
        let siblings = siblings.filter(|a| a.spec_hash == of.spec_hash && !a.done);
        let siblings = siblings.filter(|a| !self.may_fail(a));
        let pods = siblings.flat_map(|a| {
            std::iter::once(Cow::Borrowed(a)).chain(self.view.companions(a).map(Cow::Owned))
        });
        let statuses = pods.filter_map(|a| Some((self.view.status(&a)?, a)));
        let unsteady = statuses.filter_map(|(status, assignment)| match status.phase {
            Phase::Failed | Phase::Backoff => Some(None),
            Phase::Running | Phase::Starting if status.restarts > 0 => {
                let left = STEADY.saturating_sub(self.view.ready_for(&assignment));
                (!left.is_zero()).then_some(Some(left))
            }
            Phase::Running
            | Phase::Starting
            | Phase::Pending
            | Phase::Pulling
            | Phase::Stopping
            | Phase::Completed => None,
        });
        let unsteady: Vec<Option<Duration>> = unsteady.collect();
        // What failed says so when it changes; what runs becomes steady without a word.
        if let Some(left) = unsteady.iter().flatten().max() {
            self.look_again(*left);
        }
        !unsteady.is_empty()
    }

    pub(super) fn look_again(&mut self, left: Duration) {
        self.again = Some(self.again.map_or(left, |again| again.min(left)));
    }

    /// Whether a new copy and its companions can be relied on, and that for at least `delay`.
    fn is_proven(&mut self, assignment: &Assignment, delay: Duration) -> bool {
        let companions = self.view.companions(assignment);
        self.is_one_proven(assignment, delay)
            && companions.into_iter().all(|one| self.is_one_proven(&one, delay))
    }

    fn is_one_proven(&mut self, assignment: &Assignment, delay: Duration) -> bool {
        if assignment.done {
            return true;
        }
        let Some(status) = self.view.status(assignment) else { return false };
        if status.phase == Phase::Completed {
            return true;
        }
        if !status.ready {
            return false;
        }
        let needed = match (status.restarts, status.health) {
            (0, Health::Healthy) => Duration::ZERO,
            (0, Health::None | Health::Starting | Health::Unhealthy) => MONITOR,
            (1.., _) => STEADY,
        };
        let left = needed.max(delay).saturating_sub(self.view.ready_for(assignment));
        if left.is_zero() {
            return true;
        }
        self.look_again(left);
        false
    }
}

#[cfg(test)]
mod tests;
