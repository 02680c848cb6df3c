//! What each host already carries, as far as placing has to know.

use std::collections::{BTreeMap, BTreeSet};

use super::devices::grant;
use crate::logic::view::HostView;
use crate::model::{Capacity, Deployment, HostId, PortMode, Protocol, ReplicaId};

/// Bytes that a replica without a reservation counts for while the brake is on.
const BRAKE_MEMORY: u64 = 128 << 20;

/// What a host carries of which nothing is known.
static NOTHING: Carried = Carried {
    reserved: Capacity { cpu_millis: 0, memory: 0 },
    replicas: 0,
    unreserved: 0,
    by_service: BTreeMap::new(),
    host_ports: BTreeMap::new(),
    resources: BTreeMap::new(),
    devices: BTreeSet::new(),
};

/// What each host already carries.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Most hosts are gone at once: a replica that reserves no memory counts as
    /// [`BRAKE_MEMORY`], so that the survivors are not given all there was.
    pub brake: bool,
    /// Hosts that are the last choice for a Deployment, by [`service_key`].
    shunned: BTreeSet<(String, HostId)>,
    hosts: BTreeMap<HostId, Carried>,
    /// Every host whose load changed, in turn, for whoever ranked the hosts before.
    changes: Vec<HostId>,
}

/// What one host carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    pub(super) reserved: Capacity,
    pub(super) replicas: u32,
    /// Those that reserve no memory.
    unreserved: u64,
    /// Replicas by `app/service`.
    by_service: BTreeMap<String, u32>,
    /// How many replicas listen on each port of the host: during an update they may be two.
    host_ports: BTreeMap<(u16, Protocol), u32>,
    /// Reserved generic resources, by kind.
    resources: BTreeMap<String, u64>,
    /// Devices that some replica has alone, by id.
    devices: BTreeSet<String>,
}

impl Load {
    /// Counts one replica of `deployment` on `host`, which has these devices alone.
    pub fn add(
        &mut self,
        host: &HostId,
        replica: &ReplicaId,
        deployment: &Deployment,
        devices: &[Vec<String>],
    ) {
        let load = self.change(host);
        let resources = &deployment.container.resources;
        let (cpu, memory) = (resources.cpu_reserved_millis, resources.memory_reserved);
        load.reserved.cpu_millis = load.reserved.cpu_millis.saturating_add(cpu);
        load.reserved.memory = load.reserved.memory.saturating_add(memory);
        load.replicas += 1;
        load.unreserved += u64::from(memory == 0);
        *load.by_service.entry(service_key(replica)).or_default() += 1;
        for port in host_ports(deployment) {
            *load.host_ports.entry(port).or_default() += 1;
        }
        for (kind, amount) in &deployment.placement.resources {
            let used = load.resources.entry(kind.clone()).or_default();
            *used = used.saturating_add(*amount);
        }
        load.devices.extend(devices.iter().flatten().cloned());
    }

    /// Takes back one [`Load::add`].
    pub fn remove(
        &mut self,
        host: &HostId,
        replica: &ReplicaId,
        deployment: &Deployment,
        devices: &[Vec<String>],
    ) {
        let load = self.change(host);
        let resources = &deployment.container.resources;
        let (cpu, memory) = (resources.cpu_reserved_millis, resources.memory_reserved);
        load.reserved.cpu_millis = load.reserved.cpu_millis.saturating_sub(cpu);
        load.reserved.memory = load.reserved.memory.saturating_sub(memory);
        load.replicas = load.replicas.saturating_sub(1);
        load.unreserved = load.unreserved.saturating_sub(u64::from(memory == 0));
        let less = |count: &mut u32| *count = count.saturating_sub(1);
        load.by_service.entry(service_key(replica)).and_modify(less);
        for port in host_ports(deployment) {
            load.host_ports.entry(port).and_modify(less);
        }
        for (kind, amount) in &deployment.placement.resources {
            let less = |used: &mut u64| *used = used.saturating_sub(*amount);
            load.resources.entry(kind.clone()).and_modify(less);
        }
        self.release(host, devices);
    }

    /// Makes a host the last choice for the Deployment that a replica is of.
    pub fn shun(&mut self, replica: &ReplicaId, host: &HostId) {
        self.shunned.insert((service_key(replica), host.clone()));
    }

    /// Whether a host is the last choice for the Deployment that a replica is of.
    pub fn shuns(&self, replica: &ReplicaId, host: &HostId) -> bool {
        self.shuns_for(&service_key(replica), host)
    }

    /// The same by [`service_key`].
    pub(super) fn shuns_for(&self, key: &str, host: &HostId) -> bool {
        // Nearly always there are none.
        !self.shunned.is_empty() && self.shunned.contains(&(key.to_owned(), host.clone()))
    }

    /// Keeps devices from being given to others: what has them is on its way out.
    pub fn hold(&mut self, host: &HostId, devices: &[Vec<String>]) {
        if !devices.is_empty() {
            self.change(host).devices.extend(devices.iter().flatten().cloned());
        }
    }

    /// Takes back one [`Load::hold`].
    pub fn release(&mut self, host: &HostId, devices: &[Vec<String>]) {
        if !devices.is_empty() {
            let held = &mut self.change(host).devices;
            held.retain(|held| !devices.iter().flatten().any(|id| id == held));
        }
    }

    /// The devices of a host that a replica would have alone; none when too few are free.
    pub fn grant(
        &self,
        host: &HostId,
        deployment: &Deployment,
        view: &HostView<'_>,
    ) -> Option<Vec<Vec<String>>> {
        self.on(host).grant(deployment, view)
    }

    /// What is reserved on a host.
    pub fn reserved(&self, host: &HostId) -> Capacity {
        self.on(host).reserved
    }

    /// Replicas on a host of the Deployment that this one is of.
    pub fn of_service(&self, host: &HostId, replica: &ReplicaId) -> u32 {
        self.on(host).of_service(&service_key(replica))
    }

    /// How much of a generic resource is reserved on a host.
    pub fn reserved_of(&self, host: &HostId, kind: &str) -> u64 {
        self.on(host).reserved_of(kind)
    }

    /// Replicas on a host.
    pub fn replicas(&self, host: &HostId) -> u32 {
        self.on(host).replicas
    }

    /// What one host carries.
    pub(super) fn on(&self, host: &HostId) -> &Carried {
        self.hosts.get(host).unwrap_or(&NOTHING)
    }

    /// The hosts whose load has changed since so many changes were seen.
    pub(super) fn changes_since(&self, seen: usize) -> &[HostId] {
        self.changes.get(seen..).unwrap_or_default()
    }

    /// How many changes there were.
    pub(super) fn n_changes(&self) -> usize {
        self.changes.len()
    }

    fn change(&mut self, host: &HostId) -> &mut Carried {
        self.changes.push(host.clone());
        self.hosts.entry(host.clone()).or_default()
    }
}

impl Carried {
    /// Replicas of one Deployment, by [`service_key`].
    pub(super) fn of_service(&self, key: &str) -> u32 {
        self.by_service.get(key).copied().unwrap_or_default()
    }

    /// Memory the host would be taken for with one more, while the brake is on.
    pub(super) fn braked(&self, deployment: &Deployment) -> u64 {
        let wanted = deployment.container.resources.memory_reserved;
        let one = if wanted == 0 { BRAKE_MEMORY } else { wanted };
        let others = self.unreserved.saturating_mul(BRAKE_MEMORY);
        self.reserved.memory.saturating_add(others).saturating_add(one)
    }

    /// Whether what a replica reserves is left.
    pub(super) fn has_room(&self, deployment: &Deployment, capacity: Capacity) -> bool {
        let wanted = &deployment.container.resources;
        let fits = |wanted: u64, reserved: u64, all: u64| {
            wanted == 0 || reserved.saturating_add(wanted) <= all
        };
        fits(wanted.cpu_reserved_millis, self.reserved.cpu_millis, capacity.cpu_millis)
            && fits(wanted.memory_reserved, self.reserved.memory, capacity.memory)
    }

    /// Whether so much of each generic resource is left.
    pub(super) fn has_resources(&self, deployment: &Deployment, view: &HostView<'_>) -> bool {
        let wanted = &deployment.placement.resources;
        if wanted.is_empty() {
            return true;
        }
        let all = view.resources();
        wanted.iter().all(|(kind, amount)| {
            let needed = self.reserved_of(kind).saturating_add(*amount);
            needed <= all.get(kind.as_str()).copied().unwrap_or_default()
        })
    }

    /// Whether a replica listens on a host-mode port of a Deployment.
    pub(super) fn has_port_taken(&self, deployment: &Deployment) -> bool {
        host_ports(deployment).any(|port| self.host_ports.get(&port).is_some_and(|n| *n > 0))
    }

    pub(super) fn grant(
        &self,
        deployment: &Deployment,
        view: &HostView<'_>,
    ) -> Option<Vec<Vec<String>>> {
        let requests = &deployment.container.device_requests;
        if requests.is_empty() {
            return Some(Vec::new());
        }
        grant(requests, &view.facts.inventory.devices, &self.devices)
    }

    fn reserved_of(&self, kind: &str) -> u64 {
        self.resources.get(kind).copied().unwrap_or_default()
    }
}

/// Under which the replicas of one Deployment are counted.
pub(super) fn service_key(replica: &ReplicaId) -> String {
    format!("{}/{}", replica.app, replica.service)
}

/// The ports that a replica listens on where it is.
pub(super) fn host_ports(deployment: &Deployment) -> impl Iterator<Item = (u16, Protocol)> {
    let ports = deployment.ports.iter().filter(|port| port.mode == PortMode::Host);
    ports.map(|port| (port.published, port.protocol))
}
