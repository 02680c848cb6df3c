//! What counts of the cluster when hosts are added and given back. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::logic::pins::data_of;
use crate::logic::targets::{Targets, spec_of, targets_of};
use crate::logic::view::{ClusterView, HostView};
use crate::model::{
    AppName, Availability, Capacity, Deployment, Filter, Fleet, HostId, HostNeed, Liveness,
    PROVIDER_LABEL, Phase, Plan, Provider, Replicas, RevisionId, SealedRevision, ServiceName,
    ServiceNeed, Waiting,
};

/// The cluster, as far as it counts.
pub(super) struct Sight<'a> {
    view: &'a ClusterView<'a>,
    /// Hosts that the Provider added, by the number of their machine.
    pub(super) machines: BTreeMap<u64, &'a HostId>,
    /// The highest of these numbers.
    pub(super) highest: u64,
    /// Replicas for which a host would make room, and why they have none.
    pub(super) pending: BTreeMap<String, String>,
    /// What they lack.
    pub(super) need: HostNeed,
    /// Hosts that may be given back: nothing runs there that another host would have to run.
    pub(super) empty: Vec<&'a HostId>,
    /// Hosts of the Provider that are dead and hold nothing that could be lost, by their machine.
    pub(super) dead: BTreeMap<u64, &'a HostId>,
    /// All hosts.
    pub(super) known: usize,
    /// Those that live.
    pub(super) alive: usize,
    /// Those that are dead or suspect.
    pub(super) dead_or_silent: usize,
    /// Nobody is dead or suspect.
    pub(super) all_alive: bool,
    /// Fewer live than are wanted.
    pub(super) too_few: bool,
}

impl<'a> Sight<'a> {
    pub(super) fn new(view: &'a ClusterView<'a>, provider: &Provider, fleet: &Fleet) -> Self {
        let machines: BTreeMap<u64, &HostId> =
            view.hosts.iter().filter_map(|(id, host)| Some((machine(host)?, *id))).collect();
        let alive = view.hosts.values().filter(|h| h.liveness == Liveness::Alive).count();
        let not_dead = view.hosts.values().filter(|h| h.liveness != Liveness::Dead).count();
        let known = view.hosts.len();
        let mut sight = Self {
            view,
            highest: machines.keys().next_back().copied().unwrap_or_default(),
            pending: BTreeMap::new(),
            need: HostNeed::default(),
            empty: Vec::new(),
            dead: BTreeMap::new(),
            known,
            alive,
            dead_or_silent: known - alive,
            all_alive: known == alive,
            too_few: not_dead < provider.hosts_min as usize,
            machines,
        };
        for (app, plan) in &view.plans {
            sight.look_at_waiting(app, plan, fleet);
        }
        let candidates: Vec<&HostId> = view
            .hosts
            .iter()
            .filter(|(id, host)| {
                **id != view.me
                    && (provider.any_host || machine(host).is_some())
                    && host.availability() == Availability::Active
                    && host.facts.volumes.is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        let held = sight.held();
        for id in candidates.into_iter().filter(|id| !held.contains(*id)) {
            match (view.liveness(id), sight.machine_of(id)) {
                (Liveness::Alive, _) if sight.is_empty(id) => sight.empty.push(id),
                (Liveness::Dead, Some(machine)) => {
                    sight.dead.insert(machine, id);
                }
                (Liveness::Alive | Liveness::Suspect | Liveness::Dead, _) => {}
            }
        }
        sight
    }

    pub(super) fn host(&self, id: &HostId) -> Option<&HostView<'a>> {
        self.view.hosts.get(id)
    }

    pub(super) fn name(&self, id: &HostId) -> String {
        self.view.host_name(id)
    }

    pub(super) fn machine_of(&self, id: &HostId) -> Option<u64> {
        machine(self.view.hosts.get(id)?)
    }

    /// Replicas of an App that another host would make room for.
    fn look_at_waiting(&mut self, app: &AppName, plan: &Plan, fleet: &Fleet) {
        let mut lack = plan.waiting.iter().filter(|(_, why)| is_for_want_of_room(why)).peekable();
        if lack.peek().is_none() {
            return;
        }
        let Some(revision) = self.view.state.winner(app) else { return };
        let targets = targets_of(self.view.state, revision, plan);
        for (name, why) in lack {
            let Some(service) = service_of(name) else { continue };
            let Some(deployment) = wanted(&targets, revision, &service) else { continue };
            let reserved = reserved(deployment);
            let place = format!("{app}/{service}");
            let futile = fleet.futile.get(&place) == Some(revision.id());
            if futile || is_bound(deployment) || has_data(revision, plan, deployment) {
                continue;
            }
            self.pending.insert(name.clone(), why.to_string());
            let need = &mut self.need;
            need.replicas = need.replicas.saturating_add(1);
            need.largest.cpu_millis = need.largest.cpu_millis.max(reserved.cpu_millis);
            need.largest.memory = need.largest.memory.max(reserved.memory);
            need.total.cpu_millis = need.total.cpu_millis.saturating_add(reserved.cpu_millis);
            need.total.memory = need.total.memory.saturating_add(reserved.memory);
            let revision = revision.id().clone();
            need.services.insert(place, ServiceNeed { reserves: reserved, revision });
            let constraints = deployment.placement.constraints.iter().filter(|one| one.equal);
            need.labels.extend(constraints.filter_map(|one| {
                let label = one.attribute.strip_prefix("node.labels.")?;
                Some((label.to_owned(), one.value.clone()))
            }));
        }
    }

    /// Hosts that some App has data on, or is bound to.
    fn held(&self) -> BTreeSet<HostId> {
        let mut held = BTreeSet::new();
        for (app, plan) in &self.view.plans {
            held.extend(plan.pins.values().cloned());
            let Some(revision) = self.view.state.winner(app) else { continue };
            for (_, deployment) in revision.all_deployments() {
                let data = data_of(revision, &plan.pins, deployment);
                held.extend(data.into_iter().map(|(_, host)| host));
            }
        }
        held
    }

    /// The Revision of a service (`app/service`) that counts.
    pub(super) fn revision_of(&self, place: &str) -> Option<&RevisionId> {
        let (app, _) = place.split_once('/')?;
        self.view.state.winner(&AppName::new(app)).map(|revision| revision.id())
    }

    /// Whether nothing runs on a host but what runs on every one.
    pub(super) fn is_empty(&self, id: &HostId) -> bool {
        let runs = |plan: &Plan| {
            plan.assignments.iter().filter(|a| a.host == *id).any(|assignment| {
                let over = plan.run(&assignment.replica).is_some_and(|run| run.state.is_over());
                let spec = spec_of(self.view.state, plan, assignment);
                let global = spec.is_some_and(|spec| spec.replicas == Replicas::Global);
                !over && !assignment.is_over() && !global
            })
        };
        !self.view.plans.values().any(|plan| runs(plan))
    }

    /// Whether nothing at all runs on a host that was drained, or will.
    pub(super) fn has_left(&self, id: &HostId) -> bool {
        let planned = self.view.plans.values().any(|plan| {
            let mine = plan.assignments.iter().filter(|a| a.host == *id);
            mine.into_iter().any(|a| {
                let over = plan.run(&a.replica).is_some_and(|run| run.state.is_over());
                !over && !a.is_over()
            })
        });
        let runs = |phase: Phase| !matches!(phase, Phase::Completed | Phase::Failed);
        let there = self.view.statuses().any(|(host, status)| host == id && runs(status.phase));
        !planned && !there
    }
}

/// The number of a machine that the Provider got, by the label it joined with.
pub(super) fn machine(host: &HostView<'_>) -> Option<u64> {
    // What people label a host with later does not count.
    host.facts.labels.get(PROVIDER_LABEL)?.parse().ok()
}

/// `app/service/1`.
fn service_of(name: &str) -> Option<ServiceName> {
    let (rest, _) = name.rsplit_once('/')?;
    Some(ServiceName::new(rest.split_once('/')?.1))
}

fn wanted<'t>(
    targets: &'t Targets<'_>,
    revision: &'t SealedRevision,
    service: &ServiceName,
) -> Option<&'t Deployment> {
    let target = targets.get(service).map(|target| &*target.deployment);
    target.or_else(|| revision.deployment(service))
}

/// What every host that has no room lacks is something that a further one brings along. One that is
/// drained says nothing of that.
fn is_for_want_of_room(waiting: &Waiting) -> bool {
    let (Waiting::NoHostFits { rejected, .. } | Waiting::Gang { rejected, .. }) = waiting else {
        return false;
    };
    let mut others = rejected.keys().filter(|filter| **filter != Filter::Availability).peekable();
    let is_room = |filter: &Filter| match filter {
        Filter::Resources | Filter::Ports | Filter::MaxReplicasPerHost => true,
        Filter::Availability
        | Filter::Engine
        | Filter::Platform
        | Filter::Pids
        | Filter::Constraints
        | Filter::GenericResources
        | Filter::Devices
        | Filter::Data => false,
    };
    others.peek().is_some() && others.all(is_room)
}

/// Whether it may only run on one host that is there already.
fn is_bound(deployment: &Deployment) -> bool {
    let named = |attribute: &str| matches!(attribute, "node.id" | "node.hostname");
    deployment.placement.constraints.iter().any(|one| one.equal && named(&one.attribute))
}

fn has_data(revision: &SealedRevision, plan: &Plan, deployment: &Deployment) -> bool {
    !data_of(revision, &plan.pins, deployment).is_empty()
}

pub(super) fn reserved(deployment: &Deployment) -> Capacity {
    let resources = &deployment.container.resources;
    Capacity { cpu_millis: resources.cpu_reserved_millis, memory: resources.memory_reserved }
}

/// Whether so much is more than this has, in either way.
pub(super) fn exceeds(wanted: &Capacity, has: &Capacity) -> bool {
    wanted.cpu_millis > has.cpu_millis || wanted.memory > has.memory
}
