//! Companions of a service go where it goes: same host, same Generation, replaced together. The
//! planner places leaders alone, by what the whole pod needs; this adds the rest. Never places.

use std::borrow::Cow;

use super::plan::Planner;
use super::view::ClusterView;
use crate::model::{Assignment, Phase, ServiceName, Waiting};

impl<'a> ClusterView<'a> {
    /// The assignments that come with one: those of its companions.
    pub fn companions(&self, of: &Assignment) -> impl Iterator<Item = Assignment> + use<'a> {
        let revision = self.state.revision(&of.replica.app, &of.revision);
        let companions = revision.map(|r| r.companions(&of.replica.service)).unwrap_or_default();
        let of = (!companions.is_empty()).then(|| of.clone());
        of.into_iter()
            .flat_map(move |of| companions.iter().map(move |service| companion(&of, service)))
    }
}

/// The assignment of a companion: its leader's, under its own name.
fn companion(of: &Assignment, service: &ServiceName) -> Assignment {
    let mut own = Assignment { done: false, failed: false, ..of.clone() };
    own.replica.service = service.clone();
    own
}

impl Planner<'_> {
    /// The assignments of all companions. One whose dependencies have not come so far waits.
    pub(super) fn companions(&mut self) -> Vec<Assignment> {
        let leads = |one: &&Assignment| self.view.companions(one).next().is_some();
        let leaders = self.assignments.values().chain(&self.outgoing).filter(leads);
        let leaders: Vec<Assignment> = leaders.cloned().collect();
        let mut all = Vec::new();
        for leader in &leaders {
            for mut own in self.view.companions(leader) {
                let before = self.planned_before(&own);
                let last = self.view.last_status(&own).map(|status| status.phase);
                own.done =
                    before.is_some_and(|before| before.done) || last == Some(Phase::Completed);
                if before.is_none()
                    && let Some(waiting) = self.waits(leader, &own)
                {
                    self.waiting.insert(own.replica.to_string(), waiting);
                    continue;
                }
                all.push(own);
            }
        }
        all
    }

    /// What the last Plan, or one across a cut, says of this very Generation.
    fn planned_before(&self, own: &Assignment) -> Option<&Assignment> {
        let plans = self.previous.into_iter().chain(self.rivals.iter().copied());
        plans
            .flat_map(|plan| plan.of_replica(&own.replica))
            .find(|before| before.generation == own.generation && before.host == own.host)
    }

    /// What a companion that is new on its host waits for. Of its own pod it waits each time, for
    /// these are new as well; of others only the first time.
    fn waits(&self, leader: &Assignment, own: &Assignment) -> Option<Waiting> {
        let revision = self.view.state.revision(self.app, &own.revision)?;
        let mut depends_on = revision.deployments.get(&own.replica.service)?.depends_on.clone();
        let ran_before = self.highest.contains_key(&own.replica);
        let mine = |service: &ServiceName| {
            *service == leader.replica.service
                || revision.companions(&leader.replica.service).contains(service)
        };
        depends_on.retain(|service, _| mine(service) || !ran_before);
        self.unmet(&depends_on, Some(leader))
    }

    /// The copies of a service that a dependency is about: those in the pod of `leader`, if one is
    /// given and the service is in it, else all.
    pub(super) fn copies<'s>(
        &'s self,
        service: &ServiceName,
        pod: Option<&'s Assignment>,
    ) -> Vec<Cow<'s, Assignment>> {
        if let Some(own) = pod.and_then(|leader| self.copy(leader, service)) {
            return vec![own];
        }
        let leader = self.revision.leader(service);
        self.of_service(leader).filter_map(|leader| self.copy(leader, service)).collect()
    }

    /// The copy of a service that is in the pod of `leader`.
    fn copy<'s>(
        &self,
        leader: &'s Assignment,
        service: &ServiceName,
    ) -> Option<Cow<'s, Assignment>> {
        if leader.replica.service == *service {
            return Some(Cow::Borrowed(leader));
        }
        let mut own = self.view.companions(leader).find(|own| own.replica.service == *service)?;
        own.done = self.planned_before(&own).is_some_and(|before| before.done);
        Some(Cow::Owned(own))
    }
}

#[cfg(test)]
mod tests;
