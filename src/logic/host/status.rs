//! What a host tells the others of the replicas it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::model::{
    AppName, Container, ContainerState, Generation, Health, NetworkName, Phase, ReplicaId,
    ReplicaStatus, WallSeconds,
};

use super::super::health::Verdict;
use super::ends;
use super::hooks::{GREETING_FAILED, StepNow, owes_greeting};
use super::{Desired, HostMachine, Instance, key, starts_again};

impl HostMachine {
    /// What to tell the others of an App's replicas here.
    pub fn statuses(
        &mut self,
        wall: WallSeconds,
        desired: &[Desired<'_>],
    ) -> BTreeMap<AppName, Vec<ReplicaStatus>> {
        self.take_over(desired);
        let mut all: BTreeMap<AppName, Vec<ReplicaStatus>> = BTreeMap::new();
        let mut present = BTreeSet::new();
        for item in desired {
            let place = key(item.assignment);
            present.insert(place.clone());
            let status = self.status(item, &place, wall);
            all.entry(place.0.app.clone()).or_default().push(status);
        }
        for container in &self.seen.containers {
            let place = (container.replica.clone(), container.generation);
            let (phase, reason) = if self.leaving.contains_key(&container.id) {
                (Phase::Stopping, None)
            } else if self.ahead.contains(&container.id) {
                (Phase::Running, Some("made for a newer plan than the one that counts".to_owned()))
            } else if self.recalled.contains_key(&place) {
                // Told of before this agent was started, and not looked at since: it is there.
                (Phase::Stopping, None)
            } else {
                continue;
            };
            if present.insert(place.clone()) {
                let since = entered(&mut self.phases, &place, phase, wall);
                let status = unplanned_status(container, phase, reason, since);
                // It may still finish what it has begun, and asks for names with its addresses.
                let of_app = desired.iter().find(|d| d.assignment.replica.app == place.0.app);
                let known = of_app.map(|of_app| addresses(container, &of_app.networks));
                let status = ReplicaStatus { addresses: known.unwrap_or_default(), ..status };
                all.entry(place.0.app.clone()).or_default().push(status);
            }
        }
        // The Home may not know that a later one ran here: it hears it, and plans above.
        for item in desired {
            let place = key(item.assignment);
            let Some(newer) = self.blocked_by(item) else { continue };
            let told = all.entry(place.0.app.clone()).or_default();
            let Some(refused) = told.iter_mut().find(|told| key_of(told) == place) else {
                continue;
            };
            let reason = format!("generation {newer} ran here before: waits for a newer plan");
            refused.reason = Some(reason);
            if present.insert((place.0, newer)) {
                let refused = refused.clone();
                told.push(ReplicaStatus { generation: newer, phase: Phase::Stopping, ..refused });
            }
        }
        self.phases.retain(|place, _| present.contains(place));
        all
    }

    /// The later Generation that is in the way of one that should run here.
    fn blocked_by(&self, desired: &Desired<'_>) -> Option<Generation> {
        let waits = !desired.assignment.is_over() && self.container(desired.assignment).is_none();
        self.newer_than(&key(desired.assignment)).filter(|_| waits)
    }

    fn status(
        &mut self,
        desired: &Desired<'_>,
        place: &(ReplicaId, Generation),
        wall: WallSeconds,
    ) -> ReplicaStatus {
        let container = self.container(desired.assignment).cloned();
        let instance = self.instances.get(place).cloned().unwrap_or_default();
        let step = self.step_now(desired).filter(|_| container.is_none());
        let phase = phase(desired, container.as_ref(), &instance, step.as_ref());
        let runs = container.as_ref().is_some_and(|c| c.state == ContainerState::Running);
        let runs = runs && phase == Phase::Running;
        let health = match &container {
            Some(container) if runs => self.health_of(desired, container, &instance),
            Some(container) => container.health,
            None => Health::None,
        };
        let ready = runs && matches!(health, Health::None | Health::Healthy);
        let answers = container.as_ref().filter(|_| runs && !ready);
        let answers = answers.and_then(|container| self.health.reason(&container.id));
        let addresses = container.as_ref().map(|container| addresses(container, &desired.networks));
        let waits = matches!(phase, Phase::Backoff | Phase::Failed);
        let limit = desired.deployment.container.resources.memory_limit;
        let again = self.instances.get_mut(place).filter(|_| waits);
        let again = again.and_then(|instance| instance.again(self.now, wall));
        ReplicaStatus {
            replica: place.0.clone(),
            generation: place.1,
            spec_hash: desired.assignment.spec_hash.clone(),
            phase,
            health,
            ready,
            addresses: addresses.unwrap_or_default(),
            restarts: instance.restarts,
            failures: instance.failures,
            reason: match &step {
                Some(StepNow::Runs(words)) => Some(words.clone()),
                Some(StepNow::Failed(_)) | None => answers
                    .or_else(|| reason(phase, container.as_ref(), &instance, limit))
                    .or_else(|| {
                        let leader = self.awaited_leader(desired);
                        let leader = leader.filter(|_| !runs && !ended(phase))?;
                        Some(format!("waits until `{leader}` runs, whose network it joins"))
                    }),
            },
            container: match &step {
                Some(StepNow::Failed(name)) => Some(name.clone()),
                Some(StepNow::Runs(_)) | None => container.as_ref().map(|c| c.name.clone()),
            },
            since: entered(&mut self.phases, place, phase, wall),
            again,
            not_resized: container.as_ref().and_then(|container| self.not_resized(container)),
            exit_code: container.as_ref().and_then(|container| container.state.exit_code()),
        }
    }
}

impl HostMachine {
    /// What the container's own check and those of the agent come to: the worse counts.
    fn health_of(
        &self,
        desired: &Desired<'_>,
        container: &Container,
        instance: &Instance,
    ) -> Health {
        if self.health.live(&container.id) == Some(Verdict::Failing) {
            return Health::Unhealthy;
        }
        if desired.deployment.checks.ready.is_none() {
            return container.health;
        }
        // Before it is asked, what was so before this agent was started is so.
        let first = if instance.was_ready { Verdict::Passing } else { Verdict::Open };
        match (self.health.ready(&container.id).unwrap_or(first), container.health) {
            (Verdict::Failing, _) | (_, Health::Unhealthy) => Health::Unhealthy,
            (Verdict::Open, _) | (_, Health::Starting) => Health::Starting,
            (Verdict::Passing, Health::None | Health::Healthy) => Health::Healthy,
        }
    }
}

/// Whether it is not to run any more.
fn ended(phase: Phase) -> bool {
    match phase {
        Phase::Completed | Phase::Failed | Phase::Stopping => true,
        Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Running | Phase::Backoff => {
            false
        }
    }
}

fn key_of(status: &ReplicaStatus) -> (ReplicaId, Generation) {
    (status.replica.clone(), status.generation)
}

fn entered(
    phases: &mut BTreeMap<(ReplicaId, Generation), (Phase, WallSeconds)>,
    place: &(ReplicaId, Generation),
    phase: Phase,
    wall: WallSeconds,
) -> WallSeconds {
    let entry = phases.entry(place.clone()).or_insert((phase, wall));
    if entry.0 != phase {
        *entry = (phase, wall);
    }
    entry.1
}

fn phase(
    desired: &Desired<'_>,
    container: Option<&Container>,
    instance: &Instance,
    step: Option<&StepNow>,
) -> Phase {
    if let Some(progress) = instance.progress {
        return progress;
    }
    match step {
        Some(StepNow::Runs(_)) => return Phase::Starting,
        Some(StepNow::Failed(_)) => return Phase::Failed,
        None => {}
    }
    let Some(container) = container else {
        if desired.assignment.done {
            return Phase::Completed;
        }
        return if instance.failures > 0 || desired.assignment.failed {
            Phase::Failed
        } else {
            Phase::Pending
        };
    };
    match container.state {
        ContainerState::Running if owes_greeting(desired, instance) => Phase::Starting,
        ContainerState::Running | ContainerState::Paused => Phase::Running,
        ContainerState::Created | ContainerState::Changing => Phase::Starting,
        ContainerState::Dead => Phase::Failed,
        ContainerState::Exited { code, .. } => {
            let code = if instance.greeting_failed { GREETING_FAILED } else { code };
            if desired.assignment.done {
                Phase::Completed
            } else if desired.assignment.failed {
                Phase::Failed
            } else if starts_again(desired.deployment.restart, code, instance.restarts) {
                Phase::Backoff
            } else if code == 0 {
                Phase::Completed
            } else {
                Phase::Failed
            }
        }
    }
}

fn reason(
    phase: Phase,
    container: Option<&Container>,
    instance: &Instance,
    limit: Option<u64>,
) -> Option<String> {
    let ended = container.and_then(|container| ends::why(&container.state, limit));
    let unhealthy = container.is_some_and(|container| container.health == Health::Unhealthy);
    let failed = instance.reason.as_ref();
    // What came after the last end says more.
    let is_latest = |told: &String| failed.is_none_or(|failed| told.ends_with(failed));
    let crash_loop = instance.crash_loop().filter(is_latest);
    match phase {
        Phase::Running if unhealthy => Some("its health check fails".to_owned()),
        // It runs now; that it does not for long is worth knowing.
        Phase::Running => ended.or(crash_loop),
        Phase::Completed => None,
        Phase::Failed | Phase::Backoff => crash_loop.or_else(|| failed.cloned()).or(ended),
        Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Stopping => {
            crash_loop.or_else(|| failed.cloned())
        }
    }
}

/// A container's addresses by network, of those whose names in Docker are known.
fn addresses(
    container: &Container,
    networks: &BTreeMap<String, NetworkName>,
) -> BTreeMap<NetworkName, Ipv4Addr> {
    let known = container
        .addresses
        .iter()
        .filter_map(|(name, address)| Some((networks.get(name)?.clone(), *address)));
    known.collect()
}

fn unplanned_status(
    container: &Container,
    phase: Phase,
    reason: Option<String>,
    since: WallSeconds,
) -> ReplicaStatus {
    ReplicaStatus {
        replica: container.replica.clone(),
        generation: container.generation,
        spec_hash: container.spec_hash.clone(),
        phase,
        health: container.health,
        ready: false,
        addresses: BTreeMap::new(),
        restarts: 0,
        failures: 0,
        reason,
        container: Some(container.name.clone()),
        since,
        again: None,
        not_resized: None,
        exit_code: container.state.exit_code(),
    }
}
