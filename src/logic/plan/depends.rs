//! `depends_on`: what must have come so far before a replica starts, which replicas are replaced since
//! one that they depend on was, and in which order services that are removed go.

use std::collections::{BTreeMap, BTreeSet};

use super::Planner;
use crate::model::{
    Assignment, Condition, Dependency, Deployment, Health, Liveness, Phase, ReplicaStatus,
    SealedRevision, ServiceName, Waiting,
};

impl<'a> Planner<'a> {
    /// The first dependency that has not come so far; in a pod its own copies count.
    pub(in crate::logic) fn unmet(
        &self,
        depends_on: &BTreeMap<ServiceName, Dependency>,
        pod: Option<&Assignment>,
    ) -> Option<Waiting> {
        depends_on.iter().find_map(|(service, dependency)| {
            if !self.revision.deployments.contains_key(service) {
                return None;
            }
            let (met, until) = self.is_met(service, *dependency, pod);
            (!met).then(|| Waiting::Dependency { service: service.clone(), until })
        })
    }

    fn is_met(
        &self,
        service: &ServiceName,
        dependency: Dependency,
        pod: Option<&Assignment>,
    ) -> (bool, String) {
        let copies = self.copies(service, pod);
        let replicas = || copies.iter().map(|copy| &**copy);
        let status = |a: &Assignment| self.view.last_status(a);
        let phase = |a: &Assignment| status(a).map(|status| status.phase);
        let completed = |a: &Assignment| a.done || phase(a) == Some(Phase::Completed);
        let none = replicas().next().is_none();
        let failed = |a: &Assignment| phase(a) == Some(Phase::Failed);
        let ill = |a: &Assignment| status(a).is_some_and(|s| s.health == Health::Unhealthy);
        let (met, until) = match dependency.condition {
            Condition::Started => (
                replicas().any(|a| completed(a) || phase(a) == Some(Phase::Running)),
                "has started",
            ),
            Condition::Healthy => (
                replicas().any(|a| self.view.status(a).is_some_and(|status| status.ready)),
                "is healthy",
            ),
            Condition::CompletedSuccessfully => {
                (!none && replicas().all(completed), "has completed")
            }
        };
        let has_failed = !none && replicas().all(failed);
        let is_ill = !none && replicas().all(|a| failed(a) || ill(a));
        // What is not required may fail, be ill, or find no place.
        let excused = has_failed || is_ill || none && self.finds_no_place(service);
        let until = match dependency.condition {
            _ if has_failed => format!("{until}; it failed"),
            Condition::Healthy if is_ill => format!("{until}; its health check fails"),
            Condition::Healthy | Condition::Started | Condition::CompletedSuccessfully => {
                until.to_owned()
            }
        };
        (met || excused && !dependency.required, until)
    }

    /// Whether the replicas of a Service wait for what only people can do.
    fn finds_no_place(&self, service: &ServiceName) -> bool {
        let before = self.previous.iter().flat_map(|plan| &plan.waiting);
        let prefix = format!("{}/{service}/", self.app);
        let mut waiting = before.chain(&self.waiting).filter(|(name, _)| name.starts_with(&prefix));
        waiting.any(|(_, waiting)| waiting.needs_somebody())
    }

    /// The specs of those that a Deployment is replaced with (`restart: true`), where all of them run
    /// what is wanted.
    pub(super) fn follows(&self, deployment: &Deployment) -> BTreeMap<ServiceName, String> {
        let followed = deployment.depends_on.iter().filter(|(_, dependency)| dependency.restart);
        let specs =
            followed.filter_map(|(service, _)| Some((service.clone(), self.spec_of(service)?)));
        specs.collect()
    }

    /// The spec that all replicas of a Service run; none while it is being replaced.
    fn spec_of(&self, service: &ServiceName) -> Option<String> {
        let target = self.targets.get(service)?;
        let is_new = |a: &Assignment| {
            a.spec_hash == target.spec_hash
                && !self.stale.contains(&a.replica)
                && self.view.is_up(a)
        };
        let leaving = self.outgoing.iter().any(|a| a.replica.service == *service);
        let settled = !leaving && self.of_service(service).all(is_new);
        (settled && !self.is_updating(service)).then(|| target.spec_hash.to_owned())
    }

    fn is_updating(&self, service: &ServiceName) -> bool {
        self.rollouts.get(service).is_some_and(|rollout| rollout.stage.is_moving())
    }

    /// The first of those that a Deployment is replaced with which is being updated: it goes after it,
    /// so that it is replaced once.
    pub(in crate::logic) fn updated_before(&self, deployment: &Deployment) -> Option<Waiting> {
        let mut followed =
            deployment.depends_on.iter().filter(|(_, dependency)| dependency.restart);
        let (service, _) = followed.find(|(service, _)| self.is_updating(service))?;
        let until = "has been updated".to_owned();
        Some(Waiting::Dependency { service: service.clone(), until })
    }

    /// Marks the replicas of a Service that were started beside another spec of one they follow.
    pub(in crate::logic) fn note_followed(&mut self, service: &ServiceName) {
        let Some(target) = self.targets.get(service) else { return };
        let specs = self.follows(&target.deployment);
        if specs.is_empty() {
            return;
        }
        let mine = self.assignments.values_mut().filter(|a| a.replica.service == *service);
        // What runs another spec is replaced anyway.
        for assignment in mine.filter(|a| !a.done && a.spec_hash == target.spec_hash) {
            for (followed, spec) in &specs {
                let known = assignment.follows.entry(followed.clone());
                if known.or_insert_with(|| spec.clone()) != spec {
                    self.stale.insert(assignment.replica.clone());
                }
            }
        }
    }

    /// Keeps replicas of Services that are removed while others are there that depend on them. A pod
    /// goes as one.
    pub(super) fn wind_down(&mut self) {
        let before = self.previous.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
        let going = before.iter().filter(|a| self.is_removed(&a.replica.service) && !a.outgoing);
        let going: Vec<&Assignment> = going.collect();
        if going.is_empty() {
            return;
        }
        let left = self.left_over();
        for assignment in going {
            let service = &assignment.replica.service;
            let status = self.view.status(assignment);
            let is_there = status.is_some_and(|status| status.container.is_some())
                && self.view.liveness(&assignment.host) != Liveness::Dead;
            let Some(revision) = self.view.state.revision(self.app, &assignment.revision) else {
                continue;
            };
            let Some(deployment) = revision.deployments.get(service) else { continue };
            if !is_there || revision.leader(service) != service {
                continue;
            }
            if dependents(revision, service).intersection(&left).next().is_some() {
                let Assignment { host, replica, devices, .. } = &assignment;
                self.load.add(host, replica, deployment, devices);
                self.assignments.insert(assignment.replica.clone(), assignment.clone());
            }
        }
    }

    /// Whether a Service that once was is not wanted any more.
    pub(super) fn is_removed(&self, service: &ServiceName) -> bool {
        !self.revision.deployments.contains_key(service)
    }

    /// Services that are removed and of which some host still has a container.
    fn left_over(&self) -> BTreeSet<&'a ServiceName> {
        let is_left = |status: &ReplicaStatus| {
            status.replica.app == *self.app
                && status.container.is_some()
                && self.is_removed(&status.replica.service)
        };
        let statuses = self.view.statuses().filter(|(host, status)| {
            // Where Docker does not answer, nothing goes for now.
            let host = self.view.hosts.get(*host);
            is_left(status) && host.is_some_and(|host| !host.facts.engine_version.is_empty())
        });
        statuses.map(|(_, status)| &status.replica.service).collect()
    }
}

/// All that depend on the pod of a Service, over any number of others, but for itself.
fn dependents<'r>(revision: &'r SealedRevision, leader: &ServiceName) -> BTreeSet<&'r ServiceName> {
    let is_own = |name: &ServiceName| revision.leader(name) == leader;
    let mut found: BTreeSet<&ServiceName> = BTreeSet::new();
    loop {
        let more = revision.deployments.iter().filter(|(name, deployment)| {
            let mut on = deployment.depends_on.keys();
            !is_own(name) && !found.contains(name) && on.any(|on| is_own(on) || found.contains(on))
        });
        let more: Vec<&ServiceName> = more.map(|(name, _)| name).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
