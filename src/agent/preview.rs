//! What a Revision would change, found by planning it without keeping the Plan. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Action, ApiError, Change, Decided, ErrorKind, PlanPreview, Refusal};
use crate::logic::core::Core;
use crate::logic::plan::plan;
use crate::logic::state::State;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, AskedReplicas, Assignment, GangStage, HostId, Intent, Plan, PublishedPort, ReplicaId,
    Revision, RevisionId, Rollout, RolloutOrder, SealedRevision, ServiceName, Stage, Waiting,
    WallSeconds,
};

/// What submitting would change, in the order people read it. Empty when nothing.
pub fn changes(core: &Core, revision: &SealedRevision) -> Vec<Change> {
    changes_of(&core.view(), revision)
}

fn changes_of(view: &ClusterView<'_>, revision: &SealedRevision) -> Vec<Change> {
    let before = view.plans.get(&revision.app).copied();
    let running = view.state.winner(&revision.app).filter(|old| old.intent == Intent::Run);
    let mut changes = objects(running.map(|old| &***old), revision);
    if let Some(mut after) = plan(view, &revision.app, revision) {
        // The first Plan keeps what others depend on until these are gone.
        let is_wanted = |a: &Assignment| revision.deployments.contains_key(&a.replica.service);
        after.assignments.retain(is_wanted);
        changes.extend(replicas(view, before, &after));
    }
    changes.extend(ports(running.map(|old| &***old), revision));
    changes
}

/// What submitting would change, and why it would be refused, for `muster plan`.
///
/// # Errors
///
/// See [`next_revision`].
pub fn shown(
    core: &Core,
    revision: Revision,
    retry: bool,
    at: WallSeconds,
    refusals: Vec<Refusal>,
) -> Result<PlanPreview, ApiError> {
    let app = revision.app.clone();
    let from = core.state().winner(&app).map(|winner| winner.id().clone());
    let wish = Wish { retry, ..Wish::new(core.me(), "plan", at) };
    let next = next_revision(core.state(), revision, &wish)?;
    let changes = next.map(|next| changes(core, &next.into())).unwrap_or_default();
    Ok(PlanPreview { app, from, changes, refusals })
}

/// What becomes of an App's replicas when a host is removed: `after` is the core without it.
pub fn moves(core: &Core, after: &Core, app: &AppName) -> Vec<Change> {
    let view = core.view();
    let Some(revision) = core.state().winner(app) else { return Vec::new() };
    let Some(next) = plan(&after.view(), app, revision) else { return Vec::new() };
    let changes = replicas(&view, view.plans.get(app).copied(), &next).into_iter();
    changes
        .map(|change| Change { subject: format!("{app}/{}", change.subject), ..change })
        .collect()
}

/// What another Plan changes of replicas.
pub(super) fn replicas(view: &ClusterView<'_>, before: Option<&Plan>, after: &Plan) -> Vec<Change> {
    let old = before.map(by_replica).unwrap_or_default();
    let new = by_replica(after);
    let mut changes = Vec::new();
    for (replica, now) in &new {
        let host = view.host_name(&now.host);
        let change = match old.get(replica) {
            None => Some((Action::Create, "new")),
            Some(then) if then.spec_hash != now.spec_hash => {
                Some((Action::Replace, "its spec changed"))
            }
            Some(then) if then.host != now.host => {
                Some((Action::Move, "its host is gone, drained or no longer fits"))
            }
            Some(_) => match after.waiting.get(&replica.to_string()) {
                Some(Waiting::RollingUpdate) => {
                    Some((Action::Replace, "its spec changed; after the others"))
                }
                Some(
                    Waiting::NoHostFits { .. }
                    | Waiting::DataOnDeadHost { .. }
                    | Waiting::Dependency { .. }
                    | Waiting::DidNotComeUp { .. }
                    | Waiting::Run { .. }
                    | Waiting::Gang { .. }
                    | Waiting::GangTimedOut { .. }
                    | Waiting::GangLeaves
                    | Waiting::GangFailed { .. }
                    | Waiting::MassFailure { .. },
                )
                | None => None,
            },
        };
        if let Some((action, reason)) = change {
            changes.push(change_of(action, replica, host, reason.to_owned()));
        }
    }
    let placed: BTreeSet<String> = new.keys().map(|replica| replica.to_string()).collect();
    for (name, reason) in &after.waiting {
        let unplaced = !placed.contains(name);
        match reason {
            Waiting::Dependency { .. } if unplaced => {
                let subject = short(name);
                let reason = reason.to_string();
                changes.push(Change {
                    action: Action::Create,
                    subject,
                    host: String::new(),
                    reason,
                });
            }
            Waiting::RollingUpdate | Waiting::Run { .. } => {}
            Waiting::NoHostFits { .. }
            | Waiting::DataOnDeadHost { .. }
            | Waiting::MassFailure { .. }
            | Waiting::Gang { .. }
            | Waiting::GangTimedOut { .. }
            | Waiting::GangLeaves
            | Waiting::GangFailed { .. }
            | Waiting::DidNotComeUp { .. }
            | Waiting::Dependency { .. } => changes.push(Change {
                action: Action::Wait,
                subject: short(name),
                host: String::new(),
                reason: reason.to_string(),
            }),
        }
    }
    for (replica, then) in &old {
        if !new.contains_key(replica) && !after.waiting.contains_key(&replica.to_string()) {
            let host = view.host_name(&then.host);
            changes.push(change_of(Action::Remove, replica, host, "no longer wanted".to_owned()));
        }
    }
    changes
}

fn by_replica(plan: &Plan) -> BTreeMap<&ReplicaId, &Assignment> {
    let current = plan.assignments.iter().filter(|assignment| !assignment.outgoing);
    current.map(|assignment| (&assignment.replica, assignment)).collect()
}

fn change_of(action: Action, replica: &ReplicaId, host: String, reason: String) -> Change {
    Change { action, subject: short(&replica.to_string()), host, reason }
}

/// `shop/web/1` is `web/1` to somebody who looks at one App.
fn short(replica: &str) -> String {
    replica.split_once('/').map_or(replica, |(_, rest)| rest).to_owned()
}

/// Networks and volumes that come or go.
fn objects(old: Option<&Revision>, new: &Revision) -> Vec<Change> {
    let names = |revision: Option<&Revision>| -> BTreeSet<String> {
        let networks = revision.into_iter().flat_map(|r| r.networks.values());
        let volumes = revision.into_iter().flat_map(|r| r.volumes.values());
        let volumes = volumes.filter(|volume| !volume.external);
        let networks = networks.map(|network| format!("network {}", network.name));
        networks.chain(volumes.map(|volume| format!("volume {}", volume.name))).collect()
    };
    let (before, after) = (names(old), names(Some(new)));
    let change = |action, subject: &String, reason: &str| Change {
        action,
        subject: subject.clone(),
        host: String::new(),
        reason: reason.to_owned(),
    };
    let mut changes: Vec<Change> =
        after.difference(&before).map(|subject| change(Action::Create, subject, "new")).collect();
    for subject in before.difference(&after) {
        let kept = subject.starts_with("volume ") && new.intent != Intent::RemoveWithVolumes;
        if !kept && new.intent != Intent::Run {
            changes.push(change(Action::Remove, subject, "no longer wanted"));
        }
    }
    changes
}

/// Published ports that come or go.
fn ports(old: Option<&Revision>, new: &Revision) -> Vec<Change> {
    let ports = |revision: Option<&Revision>| -> BTreeSet<(ServiceName, PublishedPort)> {
        let deployments = revision.into_iter().flat_map(|r| &r.deployments);
        let ports = deployments
            .flat_map(|(name, d)| d.ports.iter().map(|port| (name.clone(), port.clone())));
        ports.collect()
    };
    let (before, after) = (ports(old), ports(Some(new)));
    let change = |action, (service, port): &(ServiceName, PublishedPort), reason: &str| Change {
        action,
        subject: format!("port {}/{}", port.published, port.protocol.as_str()),
        host: String::new(),
        reason: format!("{reason} `{service}` port {}", port.target),
    };
    let come = after.difference(&before).map(|port| change(Action::Create, port, "leads to"));
    let go = before.difference(&after).map(|port| change(Action::Remove, port, "led to"));
    come.chain(go).collect()
}

/// What was asked for, to make a Revision of.
///
/// # Errors
///
/// `User` when a newer muster asked for what this one does not know; it must not get lost.
pub fn opened(asked: &SealedRevision) -> Result<Revision, ApiError> {
    asked.open().map_err(|error| {
        let message = format!("app `{}` cannot be changed here: {error}", asked.app);
        ApiError::user(message).hint("update muster on all hosts, then repeat")
    })
}

/// What somebody wants of an App, beside its content.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The host that takes it, if nobody said where its files are.
    pub host: &'a HostId,
    /// The verb.
    pub command: &'a str,
    /// When.
    pub at: WallSeconds,
    /// The Revision the person saw; none means whatever is there.
    pub expected: Option<&'a RevisionId>,
    /// What was rolled back or paused is tried again.
    pub retry: bool,
    /// What is decided of a rollout.
    pub order: Option<&'a Decided>,
    /// Who asked from elsewhere.
    pub by: Option<&'a str>,
    /// The host that was asked.
    pub asked: Option<&'a HostId>,
}

impl<'a> Wish<'a> {
    /// A plain one.
    pub fn new(host: &'a HostId, command: &'a str, at: WallSeconds) -> Self {
        let (expected, order, by, asked) = (None, None, None, None);
        Self { host, command, at, expected, retry: false, order, by, asked }
    }
}

/// The Revision that a submit makes of what was asked for: its parents and sequence follow from
/// what is there. None when the App already is in this state.
///
/// # Errors
///
/// `Conflict` when the App is no longer as expected, `User` when there is nothing to decide of a
/// rollout; nothing was changed.
pub fn next_revision(
    state: &State,
    mut asked: Revision,
    wish: &Wish<'_>,
) -> Result<Option<Revision>, ApiError> {
    let winner = state.winner(&asked.app);
    if let Some(expected) = wish.expected
        && winner.is_none_or(|winner| winner.id() != expected)
    {
        return Err(ApiError {
            kind: ErrorKind::Conflict,
            message: format!("app `{}` was changed by somebody else meanwhile", asked.app),
            hint: Some("look at it again with `muster plan`, then repeat".to_owned()),
        });
    }
    if asked.origin.host.as_str().is_empty() {
        asked.origin.host = wish.host.clone();
    }
    asked.origin.command = wish.command.to_owned();
    asked.origin.at = wish.at;
    asked.origin.by = wish.by.map(str::to_owned);
    asked.origin.asked = wish.asked.filter(|asker| **asker != asked.origin.host).cloned();
    let Some(winner) = winner else {
        if asked.intent != Intent::Run {
            return Err(super::views::unknown_app(&asked.app));
        }
        for rules in asked.deployments.values_mut().filter_map(|d| d.autoscale.as_mut()) {
            rules.asked = rules.asked.map(|new| AskedReplicas { number: 1, ..new });
        }
        asked.sequence = 1;
        asked.parents = Vec::new();
        return Ok(Some(asked));
    };
    go_on_with_rollouts(state, winner, &mut asked, wish)?;
    go_on_with_rules(winner, &mut asked);
    let conflicts = state.conflicts(&asked.app);
    asked.sequence = winner.sequence.saturating_add(1);
    asked.parents = std::iter::once(winner.id().clone()).chain(conflicts.iter().cloned()).collect();
    let same = Revision {
        sequence: winner.sequence,
        parents: winner.parents.clone(),
        origin: winner.origin.clone(),
        ..asked.clone()
    };
    // The host matters when files of it are mounted: the same file from another host is a change.
    let moved = asked.origin.host != winner.origin.host
        && asked.all_deployments().any(|(_, deployment)| deployment.has_binds());
    // What this version cannot see of the winner may be another thing.
    let same = winner.open().is_ok_and(|winner| winner == same);
    if same && conflicts.is_empty() && !moved {
        return Ok(None);
    }
    Ok(Some(asked))
}

/// A container that stays as it is goes on with its rollout, and with what was decided of it.
fn go_on_with_rollouts(
    state: &State,
    winner: &SealedRevision,
    asked: &mut Revision,
    wish: &Wish<'_>,
) -> Result<(), ApiError> {
    let plan = state.plan(&asked.app);
    let hashes = asked.container_hashes();
    for (service, deployment) in &mut asked.deployments {
        let hash = &hashes[service];
        let before = winner.deployments.get(service);
        let before = before.filter(|_| winner.container_hash(service) == Some(hash));
        deployment.attempt = before.map_or(0, |before| before.attempt);
        // A registry that does not answer now takes nothing back.
        if let Some(before) = before.filter(|_| deployment.placement.offered.is_empty()) {
            deployment.placement.offered.clone_from(&before.placement.offered);
        }
        deployment.order = before.and_then(|before| before.order);
        let rollout = plan.and_then(|plan| plan.rollouts.get(service));
        let rollout = rollout.filter(|r| r.spec_hash == *hash && r.attempt >= deployment.attempt);
        if let Some(decided) = wish.order.filter(|decided| decided.service == *service) {
            let rollout = rollout.filter(|r| r.attempt == deployment.attempt);
            deployment.order = Some(decision(decided, rollout)?);
        } else if wish.retry && rollout.is_some_and(|rollout| has_ended(rollout.stage)) {
            deployment.attempt = rollout.map_or(0, |rollout| rollout.attempt) + 1;
            deployment.order = None;
        } else if wish.retry && plan.is_some_and(|plan| has_failed(plan, service, hash)) {
            deployment.attempt += 1;
        }
    }
    match wish.order {
        Some(decided) if !asked.deployments.contains_key(&decided.service) => {
            let (app, service) = (&asked.app, &decided.service);
            Err(ApiError::user(format!("app `{app}` has no service `{service}`")))
        }
        Some(_) | None => Ok(()),
    }
}

/// A number of replicas that somebody asked for by hand of a service with rules stays asked for, and is
/// told from the one before: 0 is the number of one that is new.
fn go_on_with_rules(winner: &SealedRevision, asked: &mut Revision) {
    for (service, deployment) in &mut asked.deployments {
        let Some(rules) = &mut deployment.autoscale else { continue };
        let before = winner.deployments.get(service).and_then(|d| d.autoscale.as_ref());
        let before = before.and_then(|rules| rules.asked);
        let last = before.map_or(0, |before| before.number);
        rules.asked = match rules.asked {
            Some(new) if new.number == 0 => Some(AskedReplicas { number: last + 1, ..new }),
            Some(old) if old.number > last => Some(old),
            Some(_) | None => before,
        };
    }
}

/// Whether a one-shot ended with failure, and is not run again unless somebody asks for it.
fn has_failed(plan: &Plan, service: &ServiceName, hash: &str) -> bool {
    let gang = plan.gangs.get(service).filter(|gang| gang.spec_hash == hash);
    let has_ended = gang.is_some_and(|gang| match gang.stage {
        GangStage::Failed | GangStage::TimedOut => true,
        GangStage::Waiting | GangStage::Running | GangStage::Done => false,
    });
    let mut mine = plan.assignments.iter().filter(|a| a.replica.service == *service);
    has_ended || mine.any(|a| a.failed && a.spec_hash == hash)
}

/// Whether a rollout does not go on unless it is tried again.
fn has_ended(stage: Stage) -> bool {
    match stage {
        Stage::Paused | Stage::RollingBack | Stage::RollbackPaused | Stage::RolledBack => true,
        Stage::Rolling | Stage::Canary => false,
    }
}

/// What is written of a decision, by how far the rollout is.
fn decision(decided: &Decided, rollout: Option<&Rollout>) -> Result<RolloutOrder, ApiError> {
    let service = &decided.service;
    let Some(rollout) = rollout else {
        return Err(ApiError::user(format!("service `{service}` is not being updated"))
            .hint("`muster rollout status` shows what is"));
    };
    match (decided.order, rollout.stage) {
        (RolloutOrder::Abort, Stage::Rolling | Stage::Canary | Stage::Paused) => {
            Ok(RolloutOrder::Abort)
        }
        (RolloutOrder::Promote, Stage::Rolling | Stage::Canary) => Ok(RolloutOrder::Promote),
        (RolloutOrder::Promote, Stage::Paused)
        | (RolloutOrder::Force, Stage::Rolling | Stage::Canary | Stage::Paused) => {
            Ok(RolloutOrder::Force)
        }
        (_, Stage::RollingBack | Stage::RollbackPaused | Stage::RolledBack) => {
            Err(ApiError::user(format!("the update of service `{service}` is undone already"))
                .hint("`muster up` tries it again"))
        }
    }
}

#[cfg(test)]
mod tests;
