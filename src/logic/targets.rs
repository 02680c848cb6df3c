//! Which spec of each Deployment is wanted: that of the Revision that counts, or, where it was
//! rolled back, the one before; and of how many replicas, where rules say so. Never decides which of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::State;
use super::vertical;
use crate::model::{
    Assignment, Attended, Deployment, Life, Plan, Replicas, RestartPolicy, Revision, RevisionId,
    Rollout, Run, Scaling, SealedRevision, ServiceName, Sizing, UpdatePolicy, Variant,
};

/// What is wanted of one Deployment.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The spec, with as many replicas as the Revision that counts asks for, or its rules do, and with
    /// what its companions mount, reserve and demand.
    pub deployment: Cow<'a, Deployment>,
    /// The Revision that holds the spec.
    pub revision: &'a SealedRevision,
    /// Hash of the spec.
    pub spec_hash: &'a str,
    /// How its replicas are replaced.
    pub policy: UpdatePolicy,
}

/// By Service.
pub type Targets<'a> = BTreeMap<&'a ServiceName, Target<'a>>;

/// What is wanted of every Deployment of `revision`, by what became of the rollouts so far, and by what
/// was decided of those with rules.
pub fn targets<'a>(
    state: &'a State,
    revision: &'a SealedRevision,
    rollouts: &BTreeMap<ServiceName, Rollout>,
    scalings: &BTreeMap<ServiceName, Scaling>,
) -> Targets<'a> {
    let one = |(service, deployment): (&'a ServiceName, &'a Deployment)| {
        // Companions go back together with their leader.
        let leader = revision.leader(service);
        let rollout = rollouts.get(leader);
        let rollout = rollout.filter(|rollout| rollout.stage.is_back());
        let former = rollout.and_then(|rollout| former(state, revision, service, rollout));
        let mut target = former.unwrap_or_else(|| Target {
            deployment: revision.pod(service).unwrap_or(Cow::Borrowed(deployment)),
            revision,
            spec_hash: revision.container_hash(service).map_or("", String::as_str),
            policy: deployment.update,
        });
        let has_rules = revision.deployments.get(leader).is_some_and(|d| d.autoscale.is_some());
        let scaling = scalings.get(leader).filter(|_| has_rules);
        if let (Some(scaling), Replicas::Count(_)) = (scaling, deployment.replicas) {
            target.deployment.to_mut().replicas = Replicas::Count(scaling.target);
        }
        (service, target)
    };
    revision.deployments.iter().map(one).collect()
}

/// The same by what a Plan says.
pub fn targets_of<'a>(state: &'a State, revision: &'a SealedRevision, plan: &Plan) -> Targets<'a> {
    let mut targets = targets(state, revision, &plan.rollouts, &plan.scalings);
    reserve_sizes(&mut targets, &plan.sizes);
    targets
}

/// Reserves what replicas are given in place of what the file reserves.
pub fn reserve_sizes(targets: &mut Targets<'_>, sizes: &BTreeMap<ServiceName, Sizing>) {
    if sizes.is_empty() {
        return;
    }
    for (service, target) in targets {
        let members = target.revision.companions(service).iter().chain([*service]);
        let members = members.filter_map(|member| {
            let resources = &target.revision.deployments.get(member)?.container.resources;
            Some((resources, sizes.get(member)?.size))
        });
        let members: Vec<_> = members.collect();
        if !members.is_empty() {
            vertical::reserve(target.deployment.to_mut(), members.into_iter());
        }
    }
}

/// The spec that is gone back to; none when it is not there any more.
fn former<'a>(
    state: &'a State,
    revision: &'a SealedRevision,
    service: &'a ServiceName,
    rollout: &Rollout,
) -> Option<Target<'a>> {
    let asked = revision.deployments.get(service)?;
    let from = state.revision(&revision.app, &rollout.from.revision)?;
    let deployment = from.pod(service)?.into_owned();
    Some(Target {
        deployment: Cow::Owned(Deployment { replicas: asked.replicas, ..deployment }),
        revision: from,
        spec_hash: from.container_hash(service).map_or("", String::as_str),
        policy: asked.rollback_policy(),
    })
}

/// The Deployment that names and packets of a Service go by while a Plan counts.
pub fn deployments_of<'a>(
    state: &'a State,
    plan: &'a Plan,
) -> BTreeMap<&'a ServiceName, &'a Deployment> {
    let Some(revision) = state.revision(&plan.app, &plan.revision) else { return BTreeMap::new() };
    // What is removed, and kept while others that depend on it go.
    let is_going = |a: &&Assignment| !revision.deployments.contains_key(&a.replica.service);
    let going = plan.assignments.iter().filter(is_going);
    let going = going.filter_map(|a| Some((&a.replica.service, deployment_of(state, plan, a)?)));
    let one = |(service, deployment): (&'a ServiceName, &'a Deployment)| {
        let rollout = plan.rollouts.get(service).filter(|rollout| rollout.stage.is_back());
        let from = rollout.and_then(|r| deployment_in(state, plan, &r.from.revision, service));
        (service, from.unwrap_or(deployment))
    };
    revision.deployments.iter().map(one).chain(going).collect()
}

/// The Deployment that an assignment runs.
pub fn deployment_of<'a>(
    state: &'a State,
    plan: &Plan,
    assignment: &Assignment,
) -> Option<&'a Deployment> {
    deployment_in(state, plan, &assignment.revision, &assignment.replica.service)
}

/// What an assignment runs, be it a replica of a Deployment or a run.
pub fn spec_of<'a>(
    state: &'a State,
    plan: &Plan,
    assignment: &Assignment,
) -> Option<Cow<'a, Deployment>> {
    let replica = &assignment.replica;
    let revision: &Revision = state.revision(&plan.app, &assignment.revision)?;
    match plan.run(replica) {
        Some(run) => run_of(revision, run),
        None => revision.deployments.get(&replica.service).map(member_of),
    }
}

/// A member of a gang is not started again alone.
fn member_of(deployment: &Deployment) -> Cow<'_, Deployment> {
    match &deployment.gang {
        None => Cow::Borrowed(deployment),
        Some(_) => Cow::Owned(Deployment { restart: RestartPolicy::Never, ..deployment.clone() }),
    }
}

/// What a run of a Revision is.
pub fn run_of<'a>(revision: &'a Revision, run: &Run) -> Option<Cow<'a, Deployment>> {
    let base = revision.deployment(&run.of)?;
    let is_job = !revision.deployments.contains_key(&run.of);
    if is_job && run.variant.is_empty() {
        return Some(Cow::Borrowed(base));
    }
    let Variant { command, entrypoint, environment, user, working_dir, attended } = &run.variant;
    let mut one = base.clone();
    // One container that serves nobody: others do not find it by the service's name.
    (one.replicas, one.restart, one.life) =
        (Replicas::Count(1), RestartPolicy::Never, Life::OneShot);
    one.ports.clear();
    one.placement.max_replicas_per_host = None;
    for attachment in one.networks.values_mut() {
        attachment.aliases.clear();
    }
    let container = &mut one.container;
    container.command = command.clone().or_else(|| container.command.take());
    // Another entrypoint does not get the arguments of the one before, as in Docker.
    if let Some(entrypoint) = entrypoint {
        container.entrypoint = Some(entrypoint.clone());
        container.command.clone_from(command);
    }
    container.environment.extend(environment.clone());
    container.user = user.clone().or_else(|| container.user.take());
    container.working_dir = working_dir.clone().or_else(|| container.working_dir.take());
    if let Some(attended) = attended {
        (container.stdin_open, container.stdin_once) = (true, true);
        container.tty = *attended == Attended::Terminal;
    }
    Some(Cow::Owned(one))
}

fn deployment_in<'a>(
    state: &'a State,
    plan: &Plan,
    revision: &RevisionId,
    service: &ServiceName,
) -> Option<&'a Deployment> {
    let revision: &Arc<SealedRevision> = state.revision(&plan.app, revision)?;
    let revision: &Revision = revision;
    revision.deployments.get(service)
}
