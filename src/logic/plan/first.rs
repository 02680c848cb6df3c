//! Steps that a Deployment needs once before its first start (`pre_start` without `per_replica`): one
//! replica runs them, and the others of the same spec wait until it has started.

use super::Planner;
use crate::logic::targets::Target;
use crate::model::{Assignment, Phase, ReplicaId, ServiceName, Waiting};

/// Where a replica that is placed stands to the first steps of its Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstSteps {
    /// There are none, or they were run.
    Done,
    /// It runs them.
    Lead,
    /// Another one runs them now.
    Wait,
}

/// Why a replica is not placed while another one runs the first steps.
pub(super) fn waiting(service: &ServiceName) -> Waiting {
    let until = "has run its first steps (`pre_start`)".to_owned();
    Waiting::Dependency { service: service.clone(), until }
}

impl Planner<'_> {
    /// Where a replica stands that is to be placed with a spec.
    pub(super) fn first_steps(&self, replica: &ReplicaId, target: &Target<'_>) -> FirstSteps {
        // Companions run theirs where their leader runs its.
        let companions = target.revision.companions(&replica.service).iter();
        let mut pod = companions.chain([&replica.service]);
        let has_common_steps = |service: &ServiceName| {
            let deployment = target.revision.deployments.get(service);
            deployment.is_some_and(|one| one.container.hooks.has_common_steps())
        };
        if !pod.any(has_common_steps) {
            return FirstSteps::Done;
        }
        let others = self.of_service(&replica.service);
        let others =
            others.filter(|other| other.replica != *replica && other.spec_hash == target.spec_hash);
        let others: Vec<&Assignment> = others.collect();
        let is_led = others.iter().any(|other| other.leads);
        if others.iter().any(|other| self.has_started(other)) {
            FirstSteps::Done
        } else if is_led {
            FirstSteps::Wait
        } else {
            FirstSteps::Lead
        }
    }

    /// Whether its container was started once, so that the steps before it have passed.
    fn has_started(&self, assignment: &Assignment) -> bool {
        let status = self.view.last_status(assignment);
        assignment.done
            || status.is_some_and(|status| match status.phase {
                Phase::Running | Phase::Completed | Phase::Backoff | Phase::Stopping => true,
                Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Failed => {
                    status.restarts > 0
                }
            })
    }
}
