//! Whether an App has come to where it is to stay, or will not by itself. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use super::has_completed;
use super::replicas::parse_replica;
use super::rollouts::targets_now;
use crate::logic::core::Core;
use crate::logic::restart::watch;
use crate::logic::targets::Target;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Assignment, Fact, FailureAction, Health, Intent, Life, NetworkName, Phase, Plan,
    ReplicaId, RowKey, SealedRevision, Stage,
};

/// Replicas that hosts still have of an App.
pub(super) fn left_over(core: &Core, app: &AppName) -> usize {
    core.view().statuses().filter(|(_, status)| status.replica.app == *app).count()
}

/// How far an App is on its way to where it is to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Something is not as wanted.
    Moving,
    /// All is as wanted; for so long it is looked whether what has just come up stays up.
    Watched(Duration),
    /// There.
    Settled,
}

/// Whether all is as wanted: everything planned, at the newest spec, up, and nothing left over.
pub(super) fn course(
    core: &Core,
    view: &ClusterView<'_>,
    app: &AppName,
    revision: &SealedRevision,
    plan: Option<&Plan>,
) -> Course {
    let Some(plan) = plan.filter(|plan| plan.revision == *revision.id()) else {
        return Course::Moving;
    };
    if revision.intent != Intent::Run {
        let is_gone = left_over(core, app) == 0 && network_left(core, app).is_none();
        return if is_gone { Course::Settled } else { Course::Moving };
    }
    if plan.rollouts.values().any(|rollout| rollout.stage.is_moving()) {
        return Course::Moving;
    }
    let targets = targets_now(view, revision, Some(plan));
    // One that is up and as wanted waits for nothing but another place: its host is drained. Beside
    // a canary the others are wanted as they are.
    let is_as_wanted = |a: &Assignment| {
        let stage = plan.rollouts.get(&a.replica.service).map(|rollout| rollout.stage);
        let may_be_old = stage == Some(Stage::Canary);
        let target = targets.get(&a.replica.service);
        let is_current = target.is_some_and(|target| target.spec_hash == a.spec_hash);
        let is_good = if target.is_some_and(ends) { has_completed(view, a) } else { view.is_up(a) };
        is_good && !a.outgoing && (is_current || may_be_old)
    };
    let up: BTreeSet<String> = plan
        .assignments
        .iter()
        .filter(|assignment| is_as_wanted(assignment))
        .map(|assignment| assignment.replica.to_string())
        .collect();
    // Nobody waits for runs: there may always be some.
    let is_run = |replica: &ReplicaId| plan.runs.contains_key(&replica.service);
    let waits = plan.waiting.keys();
    let mut waits = waits.filter(|name| !parse_replica(name).is_some_and(|one| is_run(&one)));
    let planned = waits.all(|replica| up.contains(replica))
        && plan.assignments.iter().all(|a| is_run(&a.replica) || is_as_wanted(a));
    let known: BTreeSet<(&ReplicaId, u64)> =
        plan.assignments.iter().map(|a| (&a.replica, a.generation.0)).collect();
    let mut statuses =
        view.statuses().filter(|(_, s)| s.replica.app == *app && !is_run(&s.replica));
    if !planned || !statuses.all(|(_, s)| known.contains(&(&s.replica, s.generation.0))) {
        return Course::Moving;
    }
    let counted = plan.assignments.iter().filter(|a| !is_run(&a.replica));
    let left =
        counted.filter_map(|a| Some(left_to_watch(view, targets.get(&a.replica.service)?, a)));
    match left.max().unwrap_or_default() {
        Duration::ZERO => Course::Settled,
        left => Course::Watched(left),
    }
}

/// How much longer it is looked whether a replica stays up. One whose health check passes has shown
/// that it works; of others it is only known that their process runs, as it does for a moment in most
/// that are set up wrongly.
fn left_to_watch(view: &ClusterView<'_>, target: &Target<'_>, assignment: &Assignment) -> Duration {
    let status = view.status(assignment).filter(|status| status.ready && !assignment.done);
    let Some(status) = status.filter(|status| status.health != Health::Healthy) else {
        return Duration::ZERO;
    };
    let needed = watch(target.policy.monitor(), status.restarts);
    needed.saturating_sub(view.ready_for(assignment))
}

/// Whether its end is waited for: that of a training is not, it may take days.
fn ends(target: &Target<'_>) -> bool {
    target.deployment.life == Life::OneShot && target.deployment.gang.is_none()
}

/// A block that a live host still gives to a network of the App.
fn network_left<'c>(core: &'c Core, app: &AppName) -> Option<&'c NetworkName> {
    core.state().facts().find_map(|(owner, key, fact)| match (key, fact) {
        (RowKey::Host, Fact::Host(facts))
            if core.membership().liveness(owner) != crate::model::Liveness::Dead =>
        {
            facts.blocks.iter().find(|block| block.app == *app).map(|block| &block.network)
        }
        _ => None,
    })
}

/// Whether something will not mend by itself: a one-shot failed, a container cannot be made, or it
/// keeps ending. What is about to be undone will.
pub(super) fn failed(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    plan: Option<&Plan>,
) -> bool {
    const RESTARTS_THAT_TELL: u32 = 3;
    // The first tries may come before a host that has the image has said so.
    const FAILURES_THAT_TELL: u32 = 4;
    let Some(plan) = plan.filter(|plan| plan.revision == *revision.id()) else { return false };
    let targets = targets_now(view, revision, Some(plan));
    let counts = |a: &&Assignment| {
        let service = &a.replica.service;
        let Some(target) = targets.get(service) else { return false };
        let rollout = plan.rollouts.get(service);
        let is_judged = rollout.is_some_and(|rollout| rollout.stage.is_moving())
            && target.policy.failure_action != FailureAction::Continue;
        !a.outgoing && !is_judged && target.spec_hash == a.spec_hash
    };
    plan.assignments.iter().filter(counts).any(|assignment| {
        view.status(assignment).is_some_and(|status| match status.phase {
            Phase::Failed => status.container.is_some() || status.failures >= FAILURES_THAT_TELL,
            Phase::Backoff => status.restarts >= RESTARTS_THAT_TELL,
            Phase::Pending
            | Phase::Pulling
            | Phase::Starting
            | Phase::Running
            | Phase::Stopping
            | Phase::Completed => false,
        })
    })
}
