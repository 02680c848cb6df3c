//! Gangs: Deployments whose replicas run together or not at all, as the processes of one training.
//! Never starts a container; never waits: that it has been too long is told by the view.
//!
//! All are placed in one Plan, or none. When one of them fails, or its host is gone, all are taken
//! away, and placed anew once no live host has any of them left: members of two tries never meet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Planner;
use super::targets::Target;
use crate::model::{
    Assignment, Deployment, Filter, Gang, GangStage, GangState, Phase, ReplicaId, ReplicaStatus,
    Replicas, RestartPolicy, ServiceName, Waiting,
};

/// A member whose container could not be made so often has failed; that takes half a minute.
const TRIES: u32 = 8;

/// What a gang's waiting is timed under: no replica has this number.
pub(super) const WHOLE: u32 = 0;

/// The gang of a Deployment and how many members it has.
pub fn gang_of(deployment: &Deployment) -> Option<(&Gang, u32)> {
    match (deployment.gang.as_ref(), deployment.replicas) {
        (Some(gang), Replicas::Count(size)) => Some((gang, size)),
        // The translator refuses one on every host: nobody knows how many there will be.
        (Some(_), Replicas::Global) | (None, _) => None,
    }
}

/// What each member is told of itself and of the others, beside what the file says.
pub fn environment(
    deployment: &Deployment,
    replica: &ReplicaId,
    master: &str,
) -> BTreeMap<String, String> {
    let Some((gang, size)) = gang_of(deployment) else { return BTreeMap::new() };
    let rank = replica.index.saturating_sub(1).to_string();
    let (size, port) = (size.to_string(), gang.port.to_string());
    let all = [
        ("RANK", rank.as_str()),
        ("WORLD_SIZE", &size),
        ("MASTER_ADDR", master),
        ("MASTER_PORT", &port),
    ];
    let pairs = all.into_iter().flat_map(|(name, value)| {
        [(name.to_owned(), value.to_owned()), (format!("MUSTER_{name}"), value.to_owned())]
    });
    pairs.collect()
}

/// What became of one member.
enum Fate {
    Well,
    Over,
    /// It failed, in words.
    Failed(String),
    /// It is gone through no fault of its own.
    Lost(String),
}

impl Planner<'_> {
    /// Keeps the gangs that go on, and takes away those that do not.
    pub(super) fn keep_gangs(&mut self) {
        for (service, target) in self.targets {
            if let Some((_, size)) = gang_of(&target.deployment) {
                let state = self.next_gang(service, target, size);
                self.gangs.insert((*service).clone(), state);
            }
        }
    }

    fn next_gang(&mut self, service: &ServiceName, target: &Target<'_>, size: u32) -> GangState {
        let deployment = &*target.deployment;
        let known = self.previous.and_then(|plan| plan.gangs.get(service));
        let is_same = |known: &&GangState| {
            let GangState { spec_hash, size: of, attempt, .. } = known;
            spec_hash == target.spec_hash && *of == size && *attempt == deployment.attempt
        };
        let Some(known) = known.filter(is_same) else {
            return GangState {
                spec_hash: target.spec_hash.to_owned(),
                size,
                attempt: deployment.attempt,
                failures: 0,
                stage: GangStage::Waiting,
                reason: None,
            };
        };
        let mut state = known.clone();
        let before = self.previous.into_iter().flat_map(|plan| &plan.assignments);
        let before = before.filter(|a| a.replica.service == *service && !a.outgoing);
        let members: Vec<Assignment> = before.cloned().collect();
        match state.stage {
            GangStage::Waiting | GangStage::TimedOut => {}
            GangStage::Failed | GangStage::Done => {
                for member in members.into_iter().filter(Assignment::is_over) {
                    self.keep_member(member, target);
                }
            }
            GangStage::Running => self.watch_gang(&mut state, members, target),
        }
        state
    }

    /// Looks at the members of a gang that runs.
    fn watch_gang(&mut self, state: &mut GangState, members: Vec<Assignment>, target: &Target<'_>) {
        let fates: Vec<Fate> = members.iter().map(|member| self.fate(member)).collect();
        let failed = fates.iter().find_map(|fate| match fate {
            Fate::Failed(words) => Some(words.clone()),
            Fate::Well | Fate::Over | Fate::Lost(_) => None,
        });
        let lost = fates.iter().find_map(|fate| match fate {
            Fate::Lost(words) => Some(words.clone()),
            Fate::Well | Fate::Over | Fate::Failed(_) => None,
        });
        let n_over = fates.iter().filter(|fate| matches!(fate, Fate::Over)).count();
        if let Some(words) = failed {
            state.failures += 1;
            state.reason = Some(words);
            let most = match target.deployment.restart {
                RestartPolicy::OnFailure { max_attempts } => max_attempts,
                RestartPolicy::Never => Some(0),
                RestartPolicy::Always => None,
            };
            if most.is_none_or(|most| state.failures <= most) {
                state.stage = GangStage::Waiting;
                return;
            }
            state.stage = GangStage::Failed;
            for (member, fate) in members.into_iter().zip(&fates) {
                // What has ended is kept for what it wrote; the others have nobody to work with.
                let (done, failed) = (matches!(fate, Fate::Over), matches!(fate, Fate::Failed(_)));
                if done || failed {
                    self.keep_member(Assignment { done, failed, ..member }, target);
                }
            }
            return;
        }
        if let Some(words) = lost {
            (state.stage, state.reason) = (GangStage::Waiting, Some(words));
            return;
        }
        let is_done = n_over == members.len();
        if is_done {
            (state.stage, state.reason) = (GangStage::Done, None);
        }
        for member in members {
            let done = is_done || member.done;
            self.keep_member(Assignment { done, ..member }, target);
        }
    }

    fn fate(&self, member: &Assignment) -> Fate {
        let name = format!("rank {}", member.replica.index.saturating_sub(1));
        let status = self.view.last_status(member);
        if member.done || status.is_some_and(|status| status.phase == Phase::Completed) {
            return Fate::Over;
        }
        let words = |status: &ReplicaStatus, otherwise: &str| {
            let why = status.reason.as_deref().unwrap_or(otherwise);
            format!("{name} failed: {why}")
        };
        if let Some(status) = status {
            let cannot = status.failures >= TRIES;
            if status.phase == Phase::Failed && (status.exit_code.is_some() || cannot) {
                return Fate::Failed(words(status, "it ended"));
            }
        }
        if self.view.is_gone(&member.host) {
            return Fate::Lost(format!("the host of {name} is gone"));
        }
        let highest = self.highest.get(&member.replica).copied().unwrap_or_default();
        if highest > member.generation {
            return Fate::Lost(format!("{name} was begun on the other side of a partition"));
        }
        Fate::Well
    }

    fn keep_member(&mut self, mut member: Assignment, target: &Target<'_>) {
        if member.spec_hash == target.spec_hash {
            member.revision = target.revision.id().clone();
        }
        self.load.add(&member.host, &member.replica, &target.deployment, &member.devices);
        self.assignments.insert(member.replica.clone(), member);
    }

    /// Places all members of a gang, or none.
    pub(super) fn fill_gang(&mut self, service: &ServiceName, target: &Target<'_>, size: u32) {
        let Some(mut state) = self.gangs.get(service).cloned() else { return };
        let replicas: Vec<ReplicaId> =
            (1..=size).map(|index| self.replica(service, index)).collect();
        match state.stage {
            GangStage::Running | GangStage::Done => return,
            GangStage::Failed => {
                let reason = state.reason.clone().unwrap_or_default();
                self.all_wait(&replicas, &Waiting::GangFailed { reason });
                return;
            }
            GangStage::Waiting | GangStage::TimedOut => {}
        }
        if let Some(waiting) = self.unmet(&target.deployment.depends_on, None) {
            return self.all_wait(&replicas, &waiting);
        }
        let mut statuses = self.view.statuses();
        let is_left = statuses.any(|(_, status)| {
            status.replica.app == *self.app && status.replica.service == *service
        });
        if is_left {
            return self.all_wait(&replicas, &Waiting::GangLeaves);
        }
        let waiting = match state.stage {
            GangStage::TimedOut => Err((0, BTreeMap::new())),
            GangStage::Waiting | GangStage::Running | GangStage::Failed | GangStage::Done => {
                self.place_all(&replicas, target)
            }
        };
        let (fit, rejected) = match waiting {
            Ok(()) => {
                state.stage = GangStage::Running;
                self.gangs.insert(service.clone(), state);
                return;
            }
            Err(found) => found,
        };
        let limit = gang_of(&target.deployment).and_then(|(gang, _)| gang.timeout_ms);
        if let Some(limit) = limit.map(Duration::from_millis) {
            let whole = self.replica(service, WHOLE);
            let left = limit.saturating_sub(self.view.waited_for(&whole));
            if left.is_zero() {
                state.stage = GangStage::TimedOut;
            } else {
                self.look_again(left);
            }
            if state.stage == GangStage::TimedOut {
                let seconds = limit.as_secs();
                self.all_wait(&replicas, &Waiting::GangTimedOut { seconds });
                self.gangs.insert(service.clone(), state);
                return;
            }
        }
        self.all_wait(&replicas, &Waiting::Gang { fit, of: size, rejected });
    }

    fn all_wait(&mut self, replicas: &[ReplicaId], waiting: &Waiting) {
        for replica in replicas.iter().filter(|one| !self.assignments.contains_key(*one)) {
            self.waiting.insert(replica.to_string(), waiting.clone());
        }
    }

    /// # Errors
    ///
    /// How many would fit, and what keeps the next from it; none is placed then.
    fn place_all(
        &mut self,
        replicas: &[ReplicaId],
        target: &Target<'_>,
    ) -> Result<(), (u32, BTreeMap<Filter, u32>)> {
        let load = self.load.clone();
        for (placed, replica) in replicas.iter().enumerate() {
            if self.assign(replica, target, None) {
                continue;
            }
            let rejected = match self.waiting.remove(&replica.to_string()) {
                Some(Waiting::NoHostFits { rejected, hosts: _ }) => rejected,
                Some(_) | None => BTreeMap::new(),
            };
            for placed in &replicas[..placed] {
                self.assignments.remove(placed);
            }
            self.load = load;
            // What it knows of hosts is of the load that was taken back.
            self.ranking = None;
            return Err((placed as u32, rejected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
