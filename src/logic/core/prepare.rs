//! From an assignment to the whole of what it takes to run it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Effect;
use crate::logic::addresses::{free_block, resolver_address};
use crate::logic::gang::environment;
use crate::logic::host::{Desired, Known};
use crate::logic::names::replica_name;
use crate::logic::operation::{Failure, RunReplica};
use crate::logic::targets::spec_of;
use crate::logic::vertical::size_spec;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, DeviceRequest, Generation, HostDevice, Liveness, NetworkBlock, NetworkName, Record,
    ReplicaId, ServiceName, Step,
};

/// This host's Slice of all Plans, with the Deployments it names.
pub(super) fn desired<'a>(view: &ClusterView<'a>) -> Vec<Desired<'a>> {
    let mut desired = Vec::new();
    for (app, plan) in &view.plans {
        for assignment in plan.assignments.iter().filter(|a| a.host == *view.me) {
            let Some(revision) = view.state.revision(app, &assignment.revision) else { continue };
            let Some(deployment) = spec_of(view.state, plan, assignment) else { continue };
            let joined = deployment.networks.keys();
            let names = joined.filter_map(|network| {
                Some((revision.networks.get(network)?.name.clone(), network.clone()))
            });
            let service = &assignment.replica.service;
            let companions = revision.companions(revision.leader(service));
            let devices = revision.own_devices(service, companions, &assignment.devices);
            let networks = names.collect();
            let size = plan.size(service);
            let capacity = view.hosts.get(view.me).map(|host| host.facts.capacity);
            let capacity = capacity.unwrap_or_default();
            desired.push(Desired { assignment, deployment, networks, devices, size, capacity });
        }
    }
    desired
}

/// What the Plans say of every App.
pub(super) fn known(view: &ClusterView<'_>) -> BTreeMap<AppName, Known> {
    let known = view.plans.iter().map(|(app, plan)| {
        let mut generations = BTreeMap::new();
        for assignment in &plan.assignments {
            let replica = assignment.replica.clone();
            Generation::raise(&mut generations, replica, assignment.generation);
        }
        // They go like those of an older one.
        for (service, of_service) in &plan.given_up {
            for (index, generation) in of_service {
                let (app, service, index) = (plan.app.clone(), service.clone(), *index);
                let replica = ReplicaId { app, service, index };
                Generation::raise(&mut generations, replica, *generation);
            }
        }
        let (intent, plan) = (plan.intent, plan.number);
        let known = Known { intent, generations, plan, applied: 0, drains: drains(view, app) };
        ((*app).clone(), known)
    });
    known.collect()
}

/// What leaves is of a Revision before the one that counts.
fn drains(view: &ClusterView<'_>, app: &AppName) -> BTreeMap<(ServiceName, String), Duration> {
    let mut drains = BTreeMap::new();
    for (_, revision) in view.state.revisions(app) {
        for (service, deployment) in &revision.deployments {
            let Some(drain) = deployment.update.drain_ms.map(Duration::from_millis) else {
                continue;
            };
            let hash = revision.container_hash(service).cloned().unwrap_or_default();
            let longest: &mut Duration = drains.entry((service.clone(), hash)).or_default();
            *longest = drain.max(*longest);
        }
    }
    drains
}

/// Makes [`RunReplica`]s, and gives blocks of this host's slice to networks on the way.
pub(super) struct Preparing<'p, 'v> {
    pub(super) view: &'p ClusterView<'v>,
    pub(super) slice: Ipv4Net,
    pub(super) blocks: &'p mut BTreeMap<(AppName, NetworkName), Ipv4Net>,
    pub(super) out: &'p mut Vec<Effect>,
}

impl Preparing<'_, '_> {
    /// The container of a Replica, or a step before it.
    pub(super) fn prepare(
        &mut self,
        desired: &Desired<'_>,
        step: Option<(u32, &Step)>,
    ) -> Result<RunReplica, Failure> {
        let assignment = desired.assignment;
        let app = &assignment.replica.app;
        let revision =
            self.view.state.revision(app, &assignment.revision).ok_or_else(|| {
                format!("revision `{}` has not arrived", assignment.revision.short())
            })?;
        let mut networks = Vec::new();
        let joins =
            |network: &&NetworkName| step.is_none_or(|(_, step)| step.networks.contains(network));
        for network in desired.deployment.networks.keys().filter(joins) {
            let spec = revision.networks.get(network).cloned().unwrap_or_default();
            let subnet = self.block(app, network)?;
            let block = NetworkBlock { app: app.clone(), network: network.clone(), subnet };
            networks.push((spec, block));
        }
        let wanted = desired.deployment.volumes();
        let volumes = revision.volumes.iter().filter(|(key, _)| wanted.contains(key.as_str()));
        let container = step.map_or(&desired.deployment.container, |(_, step)| &step.container);
        let image = &container.image;
        let sources = self.view.hosts.iter().filter(|(host, view)| {
            **host != self.view.me
                && view.liveness == Liveness::Alive
                && view.facts.images.contains(&normal_reference(image))
        });
        let replica = &assignment.replica;
        let name = |service: &ServiceName| {
            format!("{app}-{service}-{}.{}", replica.index, assignment.generation)
        };
        let mut container = container.clone();
        // A step before it is as in the file: nobody measures it.
        if step.is_none() {
            size_spec(&mut container, desired.size, desired.capacity);
        }
        let first = replica_name(app, &replica.service, 1);
        for (name, value) in environment(&desired.deployment, replica, &first) {
            container.environment.entry(name).or_insert(value);
        }
        Ok(RunReplica {
            replica: replica.clone(),
            generation: assignment.generation,
            revision: assignment.revision.clone(),
            spec_hash: assignment.spec_hash.clone(),
            name: name(&replica.service)
                + &step.map(|(n, _)| format!("-pre{}", n + 1)).unwrap_or_default(),
            joins: desired.deployment.joins.as_ref().map(name),
            container,
            networks,
            volumes: volumes.map(|(key, spec)| (key.clone(), spec.clone())).collect(),
            resolver: resolver_address(self.slice),
            devices: self.devices(desired)?,
            image_sources: sources.map(|(h, v)| ((*h).clone(), v.facts.address)).collect(),
            step: step.map(|(n, _)| n),
        })
    }

    /// The devices that the Plan gives a replica, as this host has them.
    fn devices(
        &self,
        desired: &Desired<'_>,
    ) -> Result<Vec<(DeviceRequest, Vec<HostDevice>)>, Failure> {
        let requests = &desired.deployment.container.device_requests;
        // A Home that knows nothing of devices made the Plan; the next one that does gives them.
        let given = desired.devices.ok_or_else(|| "it was given no device".to_owned())?;
        let ours = self.view.hosts.get(self.view.me).map(|host| &host.facts.inventory.devices);
        let find = |id: &String| {
            let device = ours.and_then(|ours| ours.iter().find(|device| device.id == *id));
            device.cloned().ok_or_else(|| Failure::from(format!("device `{id}` is gone")))
        };
        let both = requests.iter().zip(given).map(|(request, ids)| {
            let devices: Result<Vec<HostDevice>, Failure> = ids.iter().map(find).collect();
            Ok((request.clone(), devices?))
        });
        both.collect()
    }

    fn block(&mut self, app: &AppName, network: &NetworkName) -> Result<Ipv4Net, Failure> {
        let place = (app.clone(), network.clone());
        if let Some(subnet) = self.blocks.get(&place) {
            return Ok(*subnet);
        }
        let used: BTreeSet<Ipv4Net> = self.blocks.values().copied().collect();
        let subnet = free_block(self.slice, &used).ok_or_else(|| {
            format!("no addresses left on this host: {} networks are on it", used.len())
        })?;
        self.blocks.insert(place, subnet);
        let record =
            Record::Block(NetworkBlock { app: app.clone(), network: network.clone(), subnet });
        self.out.push(Effect::Persist { record, durable: true });
        Ok(subnet)
    }
}

/// `redis` is `redis:latest`: a reference as hosts list it.
pub fn normal_reference(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || reference.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}
