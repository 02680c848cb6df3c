//! Rolling updates: which replica is replaced next, and when its old copy may go. Never places a
//! replica itself, never acts.
//!
//! A new copy has to prove itself before its old one goes and before the next is replaced: by its
//! health check, or without one by staying up for a while. One that was started again has to stay up
//! for longer, and until then nothing further of its Deployment is taken away.

use std::time::Duration;

use super::plan::Planner;
use super::restart::STEADY;
use crate::model::{Assignment, Deployment, Health, Phase, PortMode, Replicas, Waiting};

/// A copy without a health check has to stay up for so long. Most that are set up wrongly end
/// sooner.
const MONITOR: Duration = Duration::from_secs(3);

impl Planner<'_> {
    /// Replaces what runs an older spec, a few at a time.
    pub(super) fn update(&mut self) {
        for (service, deployment) in &self.revision.deployments {
            let wanted = self.revision.container_hash(service).cloned().unwrap_or_default();
            let mine = self.assignments.values().filter(|a| a.replica.service == *service);
            let (current, old): (Vec<Assignment>, Vec<Assignment>) = mine
                .cloned()
                .partition(|a| a.spec_hash == wanted && !self.stale.contains(&a.replica));
            if old.is_empty() {
                continue;
            }
            let delay = Duration::from_millis(deployment.update.delay_ms);
            let unready = current.iter().filter(|a| !self.is_proven(a, delay)).count();
            let mut budget = match deployment.update.parallelism {
                0 => usize::MAX,
                parallelism => (parallelism as usize).saturating_sub(unready),
            };
            let (up, down): (Vec<_>, Vec<_>) = old.into_iter().partition(|a| self.view.is_up(a));
            // What does not serve anyway is replaced at once; what serves waits for it.
            budget = budget.saturating_sub(down.len());
            for assignment in down {
                self.replace(&assignment, deployment);
            }
            for assignment in up {
                if budget == 0 {
                    let name = assignment.replica.to_string();
                    self.waiting.insert(name, Waiting::RollingUpdate);
                    continue;
                }
                budget -= 1;
                self.replace(&assignment, deployment);
            }
        }
    }

    fn replace(&mut self, old: &Assignment, deployment: &Deployment) {
        let pinned = match deployment.replicas {
            Replicas::Count(_) => !self.pins_of(deployment).is_empty(),
            Replicas::Global => !deployment.volumes().is_empty(),
        };
        // A spec that cannot run beside its old self stops first, as does one that is not up.
        let start_first =
            self.view.is_up(old) && !pinned && deployment.update.start_first.unwrap_or(true);
        self.assignments.remove(&old.replica);
        self.load.remove(&old.host, &old.replica, deployment);
        if !self.assign(&old.replica, deployment, Some(&old.host)) {
            self.load.add(&old.host, &old.replica, deployment);
            self.assignments.insert(old.replica.clone(), old.clone());
        } else if start_first && !self.clashes(old, deployment) {
            self.outgoing.push(Assignment { outgoing: true, ..old.clone() });
        }
    }

    /// Whether both copies would listen on a port of one host.
    fn clashes(&self, old: &Assignment, deployment: &Deployment) -> bool {
        let stays = self.assignments.get(&old.replica).is_some_and(|new| new.host == old.host);
        stays && deployment.ports.iter().any(|port| port.mode == PortMode::Host)
    }

    /// An old copy goes when its successor has proved itself. It stays while there is no successor,
    /// and while another new copy of its Deployment is in trouble.
    pub(super) fn drop_outgoing(&mut self) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.retain(|old| match self.assignments.get(&old.replica).cloned() {
            None => true,
            Some(new) => {
                let needed = !self.is_proven(&new, Duration::ZERO) || self.is_in_trouble(&new);
                new.generation > old.generation && needed
            }
        });
        self.outgoing = outgoing;
    }

    /// Whether some copy of the same spec ended and has not been steady since.
    fn is_in_trouble(&mut self, of: &Assignment) -> bool {
        let siblings = self.assignments.values().filter(|a| {
            a.replica.service == of.replica.service && a.spec_hash == of.spec_hash && !a.done
        });
        let statuses = siblings.filter_map(|a| Some((a, self.view.status(a)?)));
        let unsteady = statuses.filter_map(|(assignment, status)| match status.phase {
            Phase::Failed | Phase::Backoff => Some(None),
            Phase::Running | Phase::Starting if status.restarts > 0 => {
                let left = STEADY.saturating_sub(self.view.ready_for(assignment));
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

    fn look_again(&mut self, left: Duration) {
        self.again = Some(self.again.map_or(left, |again| again.min(left)));
    }

    /// Whether a new copy can be relied on, and that for at least `delay`.
    fn is_proven(&mut self, assignment: &Assignment, delay: Duration) -> bool {
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
