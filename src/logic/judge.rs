//! How each rollout goes: which new copies have proved themselves, which failed, and what follows
//! from that. Never places or replaces a replica; [`super::rollout`] does what is decided here.
//!
//! All that a later Home needs to go on is in the [`Rollout`], which is part of the Plan. Only for how
//! long a copy has been ready begins anew with another Home.

use std::collections::BTreeMap;
use std::time::Duration;

use super::restart::watch;
use super::view::ClusterView;
use crate::model::{
    Assignment, Deployment, FailureAction, Former, Health, Liveness, Phase, Plan, ReplicaStatus,
    Rollout, RolloutOrder, SealedRevision, ServiceName, Stage, UpdatePolicy,
};

/// A copy that ended so often before it ran steadily has failed. Once is forgiven: power may have
/// gone, or a database may not have been there yet.
const ENDS: u32 = 2;
/// One that could not be made so often has failed: its image is nowhere, or its host refuses it. The
/// first tries may come before a host that has the image has said so.
const TRIES: u32 = 5;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How each rollout goes now; one that is over is not there any more.
    pub(super) rollouts: BTreeMap<ServiceName, Rollout>,
    /// After so long the answer may be another, although nothing else changed.
    pub(super) again: Option<Duration>,
}

/// Judges every rollout towards `revision`, and begins those that it asks for.
pub(super) fn judge(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    previous: Option<&Plan>,
    rivals: &[&Plan],
) -> Judged {
    let mut judge = Judge { view, revision, again: None };
    let mut rollouts = BTreeMap::new();
    let Some(previous) = previous else { return Judged::default() };
    for (service, deployment) in &revision.deployments {
        // Companions go forth and back with their leader.
        if revision.leader(service) != service {
            continue;
        }
        let Some(wanted) = revision.container_hash(service) else { continue };
        let mut known = previous.rollouts.get(service).cloned();
        for rival in rivals.iter().filter_map(|plan| plan.rollouts.get(service)) {
            known = known.map(|known| of_both(known, rival));
        }
        let scene = Scene { deployment, wanted, service, plan: previous };
        let is_known = |r: &Rollout| r.spec_hash == *wanted && r.attempt == deployment.attempt;
        let rollout = match known {
            Some(known) if is_known(&known) => Some(known),
            before => scene.begun(before),
        };
        let rollout = rollout.and_then(|rollout| judge.next(&scene, rollout));
        rollouts.extend(rollout.map(|rollout| (service.clone(), rollout)));
    }
    Judged { rollouts, again: judge.again }
}

/// What two Homes that did not know of each other found.
fn of_both(ours: Rollout, theirs: &Rollout) -> Rollout {
    let same = ours.spec_hash == theirs.spec_hash && ours.attempt == theirs.attempt;
    if !same || ours.stage > theirs.stage {
        return ours;
    }
    if ours.stage < theirs.stage {
        return theirs.clone();
    }
    let mut both = ours;
    both.passed.extend(&theirs.passed);
    for (index, reason) in &theirs.failed {
        both.failed.entry(*index).or_insert_with(|| reason.clone());
    }
    both
}

/// One Deployment and what the last Plan gave it.
struct Scene<'a> {
    service: &'a ServiceName,
    deployment: &'a Deployment,
    /// Hash of the spec that is asked for.
    wanted: &'a String,
    plan: &'a Plan,
}

impl<'a> Scene<'a> {
    fn all(&self) -> impl Iterator<Item = &'a Assignment> {
        self.plan.of_service(self.service).iter()
    }

    /// Without those on their way out.
    fn mine(&self) -> impl Iterator<Item = &'a Assignment> {
        self.all().filter(|assignment| !assignment.outgoing)
    }

    /// The rollout that another spec asks for; none when all run it already. One that was under way
    /// did not prove itself, so what was before it is what is gone back to.
    fn begun(&self, before: Option<Rollout>) -> Option<Rollout> {
        // A one-shot that is done is nothing to go back to: it would be run again.
        if self.deployment.is_one_shot() {
            return None;
        }
        let mut old = self.mine().filter(|a| a.spec_hash != *self.wanted && !a.done);
        let oldest = old.next()?;
        let from = before.map(|before| before.from).unwrap_or_else(|| Former {
            revision: oldest.revision.clone(),
            spec_hash: oldest.spec_hash.clone(),
        });
        Some(Rollout {
            spec_hash: self.wanted.clone(),
            attempt: self.deployment.attempt,
            from,
            stage: Stage::Rolling,
            passed: Default::default(),
            failed: BTreeMap::new(),
            reason: None,
        })
    }

    /// How many replicas may have the new spec; none means all.
    fn cap(&self) -> Option<usize> {
        cap(self.deployment, self.mine().count())
    }
}

/// Hash of the spec that all replicas are to run.
fn aim(rollout: &Rollout) -> &str {
    if rollout.stage.is_back() { &rollout.from.spec_hash } else { &rollout.spec_hash }
}

/// How many replicas of `total` may have a new spec until somebody promotes it; none means all.
pub(super) fn cap(deployment: &Deployment, total: usize) -> Option<usize> {
    let canary = deployment.update.canary.filter(|_| deployment.order.is_none())?;
    Some(canary.of(total)).filter(|cap| *cap < total)
}

enum Verdict {
    Passed,
    Failed(String),
    /// Nothing can be said yet.
    Open,
}

struct Judge<'a> {
    view: &'a ClusterView<'a>,
    revision: &'a SealedRevision,
    again: Option<Duration>,
}

impl Judge<'_> {
    /// How it goes on; none when it is over.
    fn next(&mut self, scene: &Scene<'_>, mut rollout: Rollout) -> Option<Rollout> {
        self.obey(scene, &mut rollout);
        let policy = match rollout.stage {
            Stage::Rolling | Stage::Canary => scene.deployment.update,
            Stage::RollingBack => scene.deployment.rollback_policy(),
            Stage::Paused | Stage::RollbackPaused | Stage::RolledBack => return Some(rollout),
        };
        let aim = aim(&rollout).to_owned();
        for assignment in scene.mine().filter(|a| a.spec_hash == aim) {
            let index = assignment.replica.index;
            if rollout.passed.contains(&index) {
                continue;
            }
            match self.verdict(assignment, policy.monitor()) {
                Verdict::Passed => {
                    rollout.failed.remove(&index);
                    rollout.passed.insert(index);
                }
                Verdict::Failed(reason) => {
                    rollout.failed.entry(index).or_insert(reason);
                }
                Verdict::Open => {}
            }
        }
        let total = scene.mine().count().max(1);
        if rollout.failed.len() as f64 / total as f64 > policy.max_failure_ratio {
            self.act(scene, &policy, &mut rollout);
        }
        self.end(scene, rollout)
    }

    /// What somebody decided.
    fn obey(&self, scene: &Scene<'_>, rollout: &mut Rollout) {
        let order = scene.deployment.order;
        let waits = matches!(rollout.stage, Stage::Canary | Stage::Paused);
        match order {
            Some(RolloutOrder::Abort) if !rollout.stage.is_back() => {
                let words = "it was aborted with `muster rollout abort`";
                self.go_back(scene, rollout, words.to_owned());
            }
            Some(RolloutOrder::Promote) if rollout.stage == Stage::Canary => {
                rollout.stage = Stage::Rolling;
            }
            Some(RolloutOrder::Force) if waits => {
                rollout.stage = Stage::Rolling;
                rollout.reason = None;
            }
            None if rollout.stage == Stage::Canary && scene.cap().is_none() => {
                rollout.stage = Stage::Rolling;
            }
            Some(RolloutOrder::Abort | RolloutOrder::Promote | RolloutOrder::Force) | None => {}
        }
    }

    /// More failed than may.
    fn act(&self, scene: &Scene<'_>, policy: &UpdatePolicy, rollout: &mut Rollout) {
        let failed = rollout.failed.iter().next();
        let Some((index, reason)) = failed else { return };
        let others = match rollout.failed.len() {
            1 => String::new(),
            count => format!(" ({} more failed)", count - 1),
        };
        let words = format!("replica `{}/{index}` {reason}{others}", scene.service);
        let forced = scene.deployment.order == Some(RolloutOrder::Force);
        match (rollout.stage.is_back(), policy.failure_action) {
            (_, FailureAction::Continue) => {}
            (false, _) if forced => {}
            (false, FailureAction::Rollback) => self.go_back(scene, rollout, words),
            (false, FailureAction::Pause) => {
                rollout.stage = Stage::Paused;
                rollout.reason = Some(words);
            }
            (true, FailureAction::Rollback | FailureAction::Pause) => {
                let why = rollout.reason.take().unwrap_or_default();
                rollout.stage = Stage::RollbackPaused;
                rollout.reason = Some(format!("{words}; it was rolled back as {why}"));
            }
        }
    }

    fn go_back(&self, scene: &Scene<'_>, rollout: &mut Rollout, reason: String) {
        let from = self.view.state.revision(&self.revision.app, &rollout.from.revision);
        let is_there = from.is_some_and(|from| from.deployments.contains_key(scene.service));
        // There is nothing to go back to when what is asked for is what ran well before.
        let is_other = rollout.from.spec_hash != *scene.wanted;
        rollout.stage = if is_there && is_other { Stage::RollingBack } else { Stage::Paused };
        rollout.reason = Some(reason);
        if rollout.stage.is_back() {
            rollout.passed.clear();
            rollout.failed.clear();
        }
    }

    /// Whether it has come to an end, or to where somebody has to decide.
    fn end(&self, scene: &Scene<'_>, mut rollout: Rollout) -> Option<Rollout> {
        let aim = aim(&rollout).to_owned();
        let has_passed = |a: &&Assignment| {
            rollout.passed.contains(&a.replica.index)
                || self.view.liveness(&a.host) == Liveness::Dead
        };
        let at_aim: Vec<&Assignment> = scene.mine().filter(|a| a.spec_hash == aim).collect();
        let all_passed = at_aim.iter().all(has_passed);
        let is_left = scene.all().any(|a| a.outgoing || a.spec_hash != aim);
        match rollout.stage {
            Stage::Rolling if all_passed && !is_left => return None,
            Stage::Rolling if all_passed && scene.cap().is_some_and(|cap| at_aim.len() >= cap) => {
                rollout.stage = Stage::Canary;
            }
            Stage::RollingBack if all_passed && !is_left => {
                rollout.stage = Stage::RolledBack;
                rollout.passed.clear();
                rollout.failed.clear();
            }
            Stage::Rolling
            | Stage::Canary
            | Stage::Paused
            | Stage::RollingBack
            | Stage::RollbackPaused
            | Stage::RolledBack => {}
        }
        Some(rollout)
    }

    /// That of a copy and its companions.
    fn verdict(&mut self, assignment: &Assignment, monitor: Duration) -> Verdict {
        let mut verdict = self.verdict_of_one(assignment, monitor);
        for companion in self.view.companions(assignment) {
            verdict = match (verdict, self.verdict_of_one(&companion, monitor)) {
                (Verdict::Failed(reason), _) => Verdict::Failed(reason),
                (_, Verdict::Failed(reason)) => {
                    let service = &companion.replica.service;
                    Verdict::Failed(format!("has `{service}` beside it, which {reason}"))
                }
                (Verdict::Passed, Verdict::Passed) => Verdict::Passed,
                (Verdict::Open, _) | (_, Verdict::Open) => Verdict::Open,
            };
        }
        verdict
    }

    fn verdict_of_one(&mut self, assignment: &Assignment, monitor: Duration) -> Verdict {
        if assignment.done {
            return Verdict::Passed;
        }
        // What a host cannot do because it, or its Docker, is away says nothing of the spec.
        let host = self.view.hosts.get(&assignment.host);
        let can = host.is_some_and(|host| {
            host.liveness == Liveness::Alive && !host.facts.engine_version.is_empty()
        });
        let Some(status) = self.view.status(assignment).filter(|_| can) else {
            return Verdict::Open;
        };
        if status.phase == Phase::Completed {
            return Verdict::Passed;
        }
        if let Some(reason) = failure(status) {
            return Verdict::Failed(reason);
        }
        if !status.ready {
            return Verdict::Open;
        }
        let left = watch(monitor, status.restarts).saturating_sub(self.view.ready_for(assignment));
        if left.is_zero() {
            return Verdict::Passed;
        }
        self.again = Some(self.again.map_or(left, |again| again.min(left)));
        Verdict::Open
    }
}

/// Why a new copy has failed, if it has.
pub(super) fn failure(status: &ReplicaStatus) -> Option<String> {
    let reason = |words: &str| match &status.reason {
        Some(reason) => format!("{words}: {reason}"),
        None => words.to_owned(),
    };
    if status.health == Health::Unhealthy && status.phase != Phase::Stopping {
        let why = status.reason.as_deref().unwrap_or("its health check fails");
        return Some(format!("is not healthy: {why}"));
    }
    if status.phase == Phase::Failed && status.container.is_some() {
        return Some(reason("failed"));
    }
    if status.restarts > 0 && status.failures >= ENDS {
        return Some(reason(&format!("does not stay up, it ended {} times", status.failures)));
    }
    (status.failures >= TRIES).then(|| reason("cannot be started"))
}
