//! What each host already carries, as far as placing has to know.

use std::collections::{BTreeMap, BTreeSet};

use super::devices::grant;
use crate::logic::view::HostView;
use crate::model::{Capacity, Deployment, HostId, PortMode, Protocol, ReplicaId};

/// Bytes that a replica without a reservation counts for while the brake is on.
const BRAKE_MEMORY: u64 = 128 << 20;

/// What each host already carries.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// Most hosts are gone at once: a replica that reserves no memory counts as
    /// [`BRAKE_MEMORY`], so that the survivors are not given all there was.
    pub brake: bool,
    hosts: BTreeMap<HostId, HostLoad>,
}

#[derive(Debug, Clone, Default)]
struct HostLoad {
    reserved: Capacity,
    replicas: u32,
    /// Those that reserve no memory.
    unreserved: u64,
    /// Replicas by `app/service`.
    by_service: BTreeMap<String, u32>,
    host_ports: BTreeSet<(u16, Protocol)>,
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
        let load = self.hosts.entry(host.clone()).or_default();
        let resources = &deployment.container.resources;
        load.reserved.cpu_millis += resources.cpu_reserved_millis;
        load.reserved.memory += resources.memory_reserved;
        load.replicas += 1;
        load.unreserved += u64::from(resources.memory_reserved == 0);
        *load.by_service.entry(service_key(replica)).or_default() += 1;
        load.host_ports.extend(host_ports(deployment));
        for (kind, amount) in &deployment.placement.resources {
            *load.resources.entry(kind.clone()).or_default() += amount;
        }
        load.devices.extend(devices.iter().flatten().cloned());
    }

    /// Keeps devices from being given to others: what has them is on its way out.
    pub fn hold(&mut self, host: &HostId, devices: &[Vec<String>]) {
        let devices = devices.iter().flatten().cloned();
        self.hosts.entry(host.clone()).or_default().devices.extend(devices);
    }

    /// Takes back one [`Load::hold`].
    pub fn release(&mut self, host: &HostId, devices: &[Vec<String>]) {
        let Some(load) = self.hosts.get_mut(host) else { return };
        for id in devices.iter().flatten() {
            load.devices.remove(id);
        }
    }

    /// Takes back one [`Load::add`].
    pub fn remove(
        &mut self,
        host: &HostId,
        replica: &ReplicaId,
        deployment: &Deployment,
        devices: &[Vec<String>],
    ) {
        let Some(load) = self.hosts.get_mut(host) else { return };
        let resources = &deployment.container.resources;
        load.reserved.cpu_millis =
            load.reserved.cpu_millis.saturating_sub(resources.cpu_reserved_millis);
        load.reserved.memory = load.reserved.memory.saturating_sub(resources.memory_reserved);
        load.replicas = load.replicas.saturating_sub(1);
        let unreserved = u64::from(resources.memory_reserved == 0);
        load.unreserved = load.unreserved.saturating_sub(unreserved);
        if let Some(count) = load.by_service.get_mut(&service_key(replica)) {
            *count = count.saturating_sub(1);
        }
        for port in host_ports(deployment) {
            load.host_ports.remove(&port);
        }
        for (kind, amount) in &deployment.placement.resources {
            if let Some(used) = load.resources.get_mut(kind) {
                *used = used.saturating_sub(*amount);
            }
        }
        self.release(host, devices);
    }

    /// Whether so much of each generic resource is left on a host.
    pub(super) fn has_resources(
        &self,
        host: &HostId,
        deployment: &Deployment,
        view: &HostView<'_>,
    ) -> bool {
        let wanted = &deployment.placement.resources;
        if wanted.is_empty() {
            return true;
        }
        let all = view.resources();
        wanted.iter().all(|(kind, amount)| {
            let needed = self.reserved_of(host, kind).saturating_add(*amount);
            needed <= all.get(kind.as_str()).copied().unwrap_or_default()
        })
    }

    /// The devices of a host that a replica would have alone; none when too few are free.
    pub fn grant(
        &self,
        host: &HostId,
        deployment: &Deployment,
        view: &HostView<'_>,
    ) -> Option<Vec<Vec<String>>> {
        let requests = &deployment.container.device_requests;
        if requests.is_empty() {
            return Some(Vec::new());
        }
        static NONE: BTreeSet<String> = BTreeSet::new();
        let taken = self.hosts.get(host).map_or(&NONE, |load| &load.devices);
        grant(requests, &view.facts.inventory.devices, taken)
    }

    /// What is reserved on a host.
    pub fn reserved(&self, host: &HostId) -> Capacity {
        self.hosts.get(host).map(|load| load.reserved).unwrap_or_default()
    }

    /// How much of a generic resource is reserved on a host.
    pub fn reserved_of(&self, host: &HostId, kind: &str) -> u64 {
        let used = self.hosts.get(host).and_then(|load| load.resources.get(kind));
        used.copied().unwrap_or_default()
    }

    /// Replicas on a host.
    pub fn replicas(&self, host: &HostId) -> u32 {
        self.hosts.get(host).map_or(0, |load| load.replicas)
    }

    /// Memory a host would be taken for with one more, while the brake is on.
    pub(super) fn braked(&self, host: &HostId, deployment: &Deployment) -> u64 {
        let unreserved = self.hosts.get(host).map_or(0, |load| load.unreserved);
        let wanted = deployment.container.resources.memory_reserved;
        let one = if wanted == 0 { BRAKE_MEMORY } else { wanted };
        self.reserved(host).memory + unreserved * BRAKE_MEMORY + one
    }

    pub(super) fn of_service(&self, host: &HostId, replica: &ReplicaId) -> u32 {
        let load = self.hosts.get(host);
        load.and_then(|load| load.by_service.get(&service_key(replica))).copied().unwrap_or(0)
    }

    /// Whether a host-mode port of a Deployment is given on a host.
    pub(super) fn has_port_taken(&self, host: &HostId, deployment: &Deployment) -> bool {
        let taken = self.hosts.get(host).map(|load| &load.host_ports);
        taken.is_some_and(|taken| host_ports(deployment).any(|port| taken.contains(&port)))
    }
}

fn service_key(replica: &ReplicaId) -> String {
    format!("{}/{}", replica.app, replica.service)
}

fn host_ports(deployment: &Deployment) -> impl Iterator<Item = (u16, Protocol)> {
    let ports = deployment.ports.iter().filter(|port| port.mode == PortMode::Host);
    ports.map(|port| (port.published, port.protocol))
}
