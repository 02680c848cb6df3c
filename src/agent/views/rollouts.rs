//! What of an App is wanted while it is updated, and how that goes. Pure.

use std::collections::BTreeMap;

use crate::api::RolloutView;
use crate::logic::targets::{Targets, targets};
use crate::logic::view::ClusterView;
use crate::model::{Assignment, Plan, SealedRevision, ServiceName};

/// What is wanted of each Deployment, as the Home last decided.
pub(super) fn targets_now<'v>(
    view: &ClusterView<'v>,
    revision: &'v SealedRevision,
    plan: Option<&Plan>,
) -> Targets<'v> {
    let (no_rollout, no_scaling) = (BTreeMap::new(), BTreeMap::new());
    let scalings = plan.map_or(&no_scaling, |plan| &plan.scalings);
    // What was decided of an update of an older Revision may be otherwise now.
    let plan = plan.filter(|plan| plan.revision == *revision.id());
    targets(view.state, revision, plan.map_or(&no_rollout, |plan| &plan.rollouts), scalings)
}

/// How the update of a service goes.
pub(super) fn rollout(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    plan: &Plan,
    service: &ServiceName,
) -> Option<RolloutView> {
    let rollout = plan.rollouts.get(service).filter(|_| plan.revision == *revision.id())?;
    let mine: Vec<&Assignment> = super::of_service(Some(plan), service).collect();
    let updated = mine.iter().filter(|a| a.spec_hash == rollout.spec_hash).count();
    Some(RolloutView {
        stage: rollout.stage,
        from: view.state.revision(&plan.app, &rollout.from.revision).map(|from| from.sequence),
        updated: updated as u32,
        total: mine.len() as u32,
        failed: rollout.failed.len() as u32,
        reason: rollout.reason.clone(),
    })
}
