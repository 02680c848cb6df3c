//! What the Home of an App decides: which Replica runs where, at which Generation, and which step
//! of a rolling update is next.
//!
//! A pure function of the view: the same view gives the same Plan on any host, and a view in which
//! everything is as wanted gives none. Never acts; never reads a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::addresses::service_address;
use super::schedule::{self, Load, Request};
use super::view::ClusterView;
use crate::model::{
    AppName, Assignment, Availability, Condition, Deployment, EndpointMode, Generation, HostId,
    Intent, Liveness, MountSource, Phase, Plan, PortMode, ReplicaId, Replicas, Revision,
    RevisionId, ServiceAddress, ServiceName, Waiting,
};

/// The next Plan of `app` towards `revision`; none when the one that counts stands.
pub fn plan(view: &ClusterView<'_>, app: &AppName, revision: &Revision) -> Option<Plan> {
    let previous = view.plans.get(app).copied();
    let mut planner = Planner::new(view, app, revision, previous);
    if revision.intent == Intent::Run {
        planner.keep();
        planner.update();
        planner.fill();
        planner.drop_outgoing();
        planner.allocate_addresses();
    }
    let next = planner.finish();
    let stands = previous.is_some_and(|previous| {
        previous.revision == next.revision
            && previous.intent == next.intent
            && previous.assignments == next.assignments
            && previous.addresses == next.addresses
            && previous.waiting == next.waiting
    });
    (!stands).then_some(next)
}

/// What every host carries for the Apps other than `except`.
pub fn load_of_others(view: &ClusterView<'_>, except: Option<&AppName>) -> Load {
    let mut load = Load::default();
    for (app, plan) in &view.plans {
        if Some(*app) == except {
            continue;
        }
        for assignment in &plan.assignments {
            let revision = view.state.revision(app, &assignment.revision);
            let deployment = revision.and_then(|r| r.deployments.get(&assignment.replica.service));
            if let Some(deployment) = deployment {
                load.add(&assignment.host, &assignment.replica, deployment);
            }
        }
    }
    load
}

struct Planner<'a> {
    view: &'a ClusterView<'a>,
    app: &'a AppName,
    revision: &'a Revision,
    id: RevisionId,
    previous: Option<&'a Plan>,
    load: Load,
    /// Spec hash of each Deployment.
    hashes: BTreeMap<&'a ServiceName, String>,
    assignments: BTreeMap<ReplicaId, Assignment>,
    /// Runs on until its successor is ready.
    outgoing: Vec<Assignment>,
    addresses: Vec<ServiceAddress>,
    waiting: BTreeMap<String, Waiting>,
}

impl<'a> Planner<'a> {
    fn new(
        view: &'a ClusterView<'a>,
        app: &'a AppName,
        revision: &'a Revision,
        previous: Option<&'a Plan>,
    ) -> Self {
        let hashes = revision.deployments.iter().map(|(name, d)| (name, d.container_hash()));
        Self {
            view,
            app,
            revision,
            id: revision.id(),
            previous,
            load: load_of_others(view, Some(app)),
            hashes: hashes.collect(),
            assignments: BTreeMap::new(),
            outgoing: Vec::new(),
            addresses: Vec::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Keeps what runs where it may go on running.
    fn keep(&mut self) {
        for assignment in self.previous.map(|plan| plan.assignments.as_slice()).unwrap_or_default()
        {
            let service = &assignment.replica.service;
            let Some(deployment) = self.revision.deployments.get(service) else { continue };
            if let Replicas::Count(count) = deployment.replicas
                && assignment.replica.index > count
            {
                continue;
            }
            if assignment.outgoing {
                if self.view.liveness(&assignment.host) != Liveness::Dead {
                    self.outgoing.push(assignment.clone());
                }
                continue;
            }
            if self.must_leave(assignment, deployment) {
                continue;
            }
            let mut kept = assignment.clone();
            if self.hashes.get(service) == Some(&kept.spec_hash) {
                kept.revision = self.id.clone();
            }
            self.load.add(&kept.host, &kept.replica, deployment);
            self.assignments.insert(kept.replica.clone(), kept);
        }
    }

    /// Whether a replica has to go from its host: the host is dead or drained, and nothing holds
    /// the replica there.
    fn must_leave(&mut self, assignment: &Assignment, deployment: &Deployment) -> bool {
        let host = self.view.hosts.get(&assignment.host);
        let dead = self.view.liveness(&assignment.host) == Liveness::Dead;
        let drained =
            host.is_some_and(|host| host.facts.availability == Availability::Drain) && !dead;
        if !dead && !drained {
            return false;
        }
        if let Some((data, _)) = self.pin(deployment) {
            if dead {
                let host = self.view.host_name(&assignment.host);
                let waiting = Waiting::DataOnDeadHost { data, host };
                self.waiting.insert(assignment.replica.to_string(), waiting);
            }
            return false;
        }
        // A finished one-shot is not run again because its host died.
        let finished = self.view.status(assignment).is_some_and(|s| s.phase == Phase::Completed);
        !finished
    }

    /// Replaces what runs an older spec, a few at a time.
    fn update(&mut self) {
        for (service, deployment) in &self.revision.deployments {
            let mine = |a: &&Assignment| a.replica.service == *service;
            let wanted = self.hashes.get(service).cloned().unwrap_or_default();
            let (current, old): (Vec<_>, Vec<_>) = self
                .assignments
                .values()
                .filter(mine)
                .cloned()
                .partition(|a| a.spec_hash == wanted);
            let unready = current.iter().filter(|a| !self.is_up(a)).count();
            let parallel = match deployment.update.parallelism {
                0 => usize::MAX,
                parallelism => parallelism as usize,
            };
            let mut budget = parallel.saturating_sub(unready);
            let (up, down): (Vec<_>, Vec<_>) = old.into_iter().partition(|a| self.is_up(a));
            for assignment in down {
                self.replace(&assignment, deployment);
            }
            for assignment in up {
                if budget == 0 {
                    let name = assignment.replica.to_string();
                    self.waiting.insert(name, Waiting::RollingUpdate);
                    continue;
                }
                budget -= 1;
                self.replace(&assignment, deployment);
            }
        }
    }

    fn replace(&mut self, old: &Assignment, deployment: &Deployment) {
        // A spec that cannot run beside its old self stops first, as does one that is not up.
        let start_first = self.is_up(old)
            && self.pin(deployment).is_none()
            && deployment.ports.iter().all(|port| port.mode != PortMode::Host)
            && deployment.update.start_first.unwrap_or(true);
        self.assignments.remove(&old.replica);
        self.load.remove(&old.host, &old.replica, deployment);
        let placed = self.assign(&old.replica, deployment, Some(&old.host));
        if !placed || start_first {
            let outgoing = Assignment { outgoing: placed, ..old.clone() };
            if placed {
                self.outgoing.push(outgoing);
            } else {
                self.load.add(&old.host, &old.replica, deployment);
                self.assignments.insert(old.replica.clone(), outgoing);
            }
        }
    }

    /// Places what is missing.
    fn fill(&mut self) {
        for (service, deployment) in &self.revision.deployments {
            match deployment.replicas {
                Replicas::Count(count) => {
                    for index in 1..=count {
                        let replica = self.replica(service, index);
                        if !self.assignments.contains_key(&replica) {
                            self.place_when_allowed(&replica, deployment);
                        }
                    }
                }
                Replicas::Global => self.fill_global(service, deployment),
            }
        }
    }

    fn place_when_allowed(&mut self, replica: &ReplicaId, deployment: &'a Deployment) {
        // What ran before does not wait again: its dependency may be what died with its host.
        let ran_before = self.last_assignment(replica).is_some();
        if !ran_before && let Some(waiting) = self.unmet(deployment) {
            self.waiting.insert(replica.to_string(), waiting);
            return;
        }
        self.assign(replica, deployment, None);
    }

    fn fill_global(&mut self, service: &ServiceName, deployment: &'a Deployment) {
        let covered: BTreeSet<HostId> = self
            .assignments
            .values()
            .filter(|assignment| assignment.replica.service == *service)
            .map(|assignment| assignment.host.clone())
            .collect();
        let hosts: Vec<HostId> = self.view.hosts.keys().map(|host| (*host).clone()).collect();
        for host in hosts.iter().filter(|host| !covered.contains(*host)) {
            if self.view.liveness(host) != Liveness::Alive {
                continue;
            }
            let index =
                (1..).find(|index| !self.assignments.contains_key(&self.replica(service, *index)));
            let replica = self.replica(service, index.unwrap_or(1));
            let view = &self.view.hosts[host];
            let request =
                Request { replica: &replica, deployment, pinned: None, current: Some(host) };
            if schedule::reject(request, host, view, &self.load).is_some() {
                continue;
            }
            if let Some(waiting) = self.unmet(deployment) {
                self.waiting.insert(replica.to_string(), waiting);
                return;
            }
            self.put(&replica, deployment, host.clone());
        }
    }

    /// Places one replica, or notes why it cannot be. Returns whether it was placed.
    fn assign(
        &mut self,
        replica: &ReplicaId,
        deployment: &Deployment,
        current: Option<&HostId>,
    ) -> bool {
        let pin = self.pin(deployment);
        if let Some((data, host)) = &pin
            && self.view.liveness(host) != Liveness::Alive
        {
            let waiting =
                Waiting::DataOnDeadHost { data: data.clone(), host: self.view.host_name(host) };
            self.waiting.insert(replica.to_string(), waiting);
            return false;
        }
        let pinned = pin.as_ref().map(|(_, host)| host);
        let request = Request { replica, deployment, pinned, current };
        match schedule::place(request, self.view, &self.load) {
            Ok(host) => {
                self.put(replica, deployment, host);
                true
            }
            Err(rejected) => {
                self.waiting.insert(replica.to_string(), Waiting::NoHostFits { rejected });
                false
            }
        }
    }

    fn put(&mut self, replica: &ReplicaId, deployment: &Deployment, host: HostId) {
        self.load.add(&host, replica, deployment);
        let assignment = Assignment {
            replica: replica.clone(),
            host,
            generation: self.next_generation(replica),
            revision: self.id.clone(),
            spec_hash: self.hashes.get(&replica.service).cloned().unwrap_or_default(),
            outgoing: false,
        };
        self.assignments.insert(replica.clone(), assignment);
    }

    /// Above everything any Plan gave or any host runs.
    fn next_generation(&self, replica: &ReplicaId) -> Generation {
        let planned = self.previous.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
        let planned = planned.iter().filter(|a| a.replica == *replica).map(|a| a.generation);
        let seen = self.view.statuses().filter(|(_, status)| status.replica == *replica);
        let seen = seen.map(|(_, status)| status.generation);
        planned.chain(seen).max().unwrap_or_default().next()
    }

    /// An old copy goes when its successor is up, or when there is none.
    fn drop_outgoing(&mut self) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        outgoing.retain(|old| {
            let successor = self.assignments.get(&old.replica);
            successor.is_some_and(|new| new.generation > old.generation && !self.is_up(new))
        });
        self.outgoing = outgoing;
    }

    /// The host that holds a Deployment's data, and which data: local volumes and binds pin
    /// (decision 3).
    fn pin(&self, deployment: &Deployment) -> Option<(String, HostId)> {
        for volume in deployment.volumes() {
            let spec = self.revision.volumes.get(volume);
            if spec.is_some_and(|spec| spec.external) {
                return Some((volume.to_owned(), self.revision.origin.host.clone()));
            }
            let name = spec.map_or(volume, |spec| spec.name.as_str());
            if let Some(host) = self.holder(volume, name) {
                return Some((name.to_owned(), host));
            }
        }
        let bind = deployment.container.mounts.iter().find_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(path.clone()),
            MountSource::Volume { .. } | MountSource::Tmpfs { .. } | MountSource::Anonymous => None,
        });
        bind.map(|path| (path, self.revision.origin.host.clone()))
    }

    /// Who has a volume: whoever runs, or ran last, a replica that mounts it, else whoever says it
    /// has one of that name.
    fn holder(&self, volume: &str, name: &str) -> Option<HostId> {
        let mounts = |assignment: &&Assignment| {
            let deployment = self.revision.deployments.get(&assignment.replica.service);
            deployment.is_some_and(|deployment| deployment.volumes().contains(volume))
        };
        let now = self.assignments.values().find(mounts);
        let before = self.previous.and_then(|plan| plan.assignments.iter().find(mounts));
        if let Some(assignment) = now.or(before) {
            return Some(assignment.host.clone());
        }
        let holders = self.view.hosts.iter().filter(|(_, host)| host.facts.volumes.contains(name));
        let holders = holders.map(|(id, host)| (host.liveness, *id));
        holders.min().map(|(_, host)| host.clone())
    }

    /// The first dependency that has not come so far.
    fn unmet(&self, deployment: &Deployment) -> Option<Waiting> {
        deployment.depends_on.iter().find_map(|(service, dependency)| {
            let replicas: Vec<&Assignment> =
                self.assignments.values().filter(|a| a.replica.service == *service).collect();
            if !self.revision.deployments.contains_key(service) {
                return None;
            }
            let phases: Vec<Option<Phase>> =
                replicas.iter().map(|a| self.view.status(a).map(|status| status.phase)).collect();
            let (met, until) = match dependency.condition {
                Condition::Started => (
                    phases.iter().any(|p| matches!(p, Some(Phase::Running | Phase::Completed))),
                    "has started",
                ),
                Condition::Healthy => (
                    replicas.iter().any(|a| self.view.status(a).is_some_and(|status| status.ready)),
                    "is healthy",
                ),
                Condition::CompletedSuccessfully => (
                    !phases.is_empty() && phases.iter().all(|p| *p == Some(Phase::Completed)),
                    "has completed",
                ),
            };
            let waiting = Waiting::Dependency { service: service.clone(), until: until.to_owned() };
            (!met).then_some(waiting)
        })
    }

    /// Ready, or done for good: taking another one out leaves at least this one.
    fn is_up(&self, assignment: &Assignment) -> bool {
        let status = self.view.status(assignment);
        status.is_some_and(|status| status.ready || status.phase == Phase::Completed)
    }

    fn last_assignment(&self, replica: &ReplicaId) -> Option<&Assignment> {
        self.previous?.assignments.iter().find(|assignment| assignment.replica == *replica)
    }

    fn replica(&self, service: &ServiceName, index: u32) -> ReplicaId {
        ReplicaId { app: self.app.clone(), service: service.clone(), index }
    }

    /// Every Service has one address on each of its networks, for as long as the App lives.
    fn allocate_addresses(&mut self) {
        let plans = self.view.plans.values();
        let mut used: BTreeSet<Ipv4Addr> =
            plans.flat_map(|plan| plan.addresses.iter().map(|address| address.address)).collect();
        let before = self.previous.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
        for (service, deployment) in &self.revision.deployments {
            if deployment.endpoint_mode == EndpointMode::Dnsrr {
                continue;
            }
            for network in deployment.networks.keys() {
                let known = before.iter().find(|a| a.service == *service && a.network == *network);
                if let Some(known) = known {
                    self.addresses.push(known.clone());
                    continue;
                }
                let words = [self.app.as_str(), network.as_str(), service.as_str()];
                if let Some(address) = service_address(self.view.pool, &words, &used) {
                    used.insert(address);
                    self.addresses.push(ServiceAddress {
                        network: network.clone(),
                        service: service.clone(),
                        address,
                    });
                }
            }
        }
    }

    fn finish(self) -> Plan {
        let mut assignments: Vec<Assignment> = self.assignments.into_values().collect();
        assignments.extend(self.outgoing);
        assignments.sort_by(|a, b| (&a.replica, a.generation).cmp(&(&b.replica, b.generation)));
        Plan {
            app: self.app.clone(),
            number: self.previous.map_or(0, |plan| plan.number) + 1,
            home: self.view.me.clone(),
            revision: self.id,
            intent: self.revision.intent,
            assignments,
            addresses: self.addresses,
            waiting: self.waiting,
        }
    }
}
