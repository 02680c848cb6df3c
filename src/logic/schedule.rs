//! Where a replica runs: filters that reject with a reason, then a score. Never looks at the clock
//! nor at what was asked before; the same input gives the same host.

mod devices;
mod load;

use std::collections::BTreeMap;

pub use self::load::Load;
use super::home::weight;
use super::view::{ClusterView, HostView};
use crate::model::{
    Availability, Capacity, Constraint, Deployment, Filter, HostFacts, HostId, Liveness, ReplicaId,
};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Which replica.
    pub replica: &'a ReplicaId,
    /// Its Deployment.
    pub deployment: &'a Deployment,
    /// The only host that has its data, if it has any.
    pub pinned: Option<&'a HostId>,
    /// Where it runs now: kept when it still fits, for its image is there.
    pub current: Option<&'a HostId>,
}

/// The best host, or how many hosts each filter rejected.
pub fn place(
    request: Request<'_>,
    view: &ClusterView<'_>,
    load: &Load,
) -> Result<HostId, BTreeMap<Filter, u32>> {
    let mut rejected: BTreeMap<Filter, u32> = BTreeMap::new();
    let mut best: Option<(Score, &HostId)> = None;
    for (host, host_view) in &view.hosts {
        if host_view.liveness != Liveness::Alive {
            continue;
        }
        if let Some(filter) = reject(request, host, host_view, load) {
            *rejected.entry(filter).or_default() += 1;
            continue;
        }
        let score = score(request, host, host_view, view, load);
        if best.as_ref().is_none_or(|(other, _)| score < *other) {
            best = Some((score, host));
        }
    }
    best.map(|(_, host)| host.clone()).ok_or(rejected)
}

/// Whether a live host other than its own could take a replica that its own has no room for.
pub fn has_room_elsewhere(request: Request<'_>, view: &ClusterView<'_>, load: &Load) -> bool {
    view.hosts.iter().any(|(host, host_view)| {
        host_view.liveness == Liveness::Alive
            && !host_view.facts.disk_full
            && request.current != Some(host)
            && reject(request, host, host_view, load).is_none()
    })
}

/// The first filter a host does not pass.
pub fn reject(
    request: Request<'_>,
    host: &HostId,
    view: &HostView<'_>,
    load: &Load,
) -> Option<Filter> {
    let placement = &request.deployment.placement;
    let facts = view.facts;
    if request.pinned.is_some_and(|pinned| pinned != host) {
        return Some(Filter::Data);
    }
    // What runs there with its data is replaced there; nothing else begins on a drained host.
    let held = request.pinned.is_some() && request.current == Some(host);
    if view.availability() == Availability::Drain && !held {
        return Some(Filter::Availability);
    }
    if facts.engine_version.is_empty() {
        return Some(Filter::Engine);
    }
    if placement.platform.as_ref().is_some_and(|wanted| !platform_fits(wanted, &facts.platform)) {
        return Some(Filter::Platform);
    }
    if !constraints_hold(request.deployment, host, view) {
        return Some(Filter::Constraints);
    }
    let most = placement.max_replicas_per_host.unwrap_or(u32::MAX);
    if load.of_service(host, request.replica) >= most {
        return Some(Filter::MaxReplicasPerHost);
    }
    let braked = load.brake && load.braked(host, request.deployment) > facts.capacity.memory;
    if braked || !resources_fit(request.deployment, facts, load.reserved(host)) {
        return Some(Filter::Resources);
    }
    if !load.has_resources(host, request.deployment, view) {
        return Some(Filter::GenericResources);
    }
    if load.has_port_taken(host, request.deployment) {
        return Some(Filter::Ports);
    }
    if load.grant(host, request.deployment, view).is_none() {
        return Some(Filter::Devices);
    }
    None
}

/// Lower is better, compared from the first field on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    /// Its disk is full: what it lacks, it cannot take in.
    full: bool,
    /// Replicas of the same Deployment on hosts with the same labels, by spread preference.
    spread: Vec<u32>,
    /// Replicas of the same Deployment on the host.
    same: u32,
    /// Not where it runs now.
    elsewhere: bool,
    /// All replicas on the host.
    all: u32,
    /// Thousandths of the memory that are reserved.
    memory: u64,
    /// Breaks ties alike on every host, yet differently for each replica.
    tie: std::cmp::Reverse<u64>,
}

fn score(
    request: Request<'_>,
    host: &HostId,
    host_view: &HostView<'_>,
    view: &ClusterView<'_>,
    load: &Load,
) -> Score {
    let facts = host_view.facts;
    let alike = |label: &str| {
        let value = attribute(label, host, host_view);
        let same = view.hosts.iter().filter(|(id, other)| attribute(label, id, other) == value);
        same.map(|(id, _)| load.of_service(id, request.replica)).sum()
    };
    let memory = facts.capacity.memory.max(1);
    Score {
        full: facts.disk_full,
        spread: request.deployment.placement.spread.iter().map(|label| alike(label)).collect(),
        same: load.of_service(host, request.replica),
        elsewhere: request.current != Some(host),
        all: load.replicas(host),
        memory: load.reserved(host).memory.saturating_mul(1000) / memory,
        tie: std::cmp::Reverse(weight(&request.replica.to_string(), host)),
    }
}

fn resources_fit(deployment: &Deployment, facts: &HostFacts, reserved: Capacity) -> bool {
    let wanted = &deployment.container.resources;
    let cpu = wanted.cpu_reserved_millis == 0
        || reserved.cpu_millis + wanted.cpu_reserved_millis <= facts.capacity.cpu_millis;
    let memory = wanted.memory_reserved == 0
        || reserved.memory + wanted.memory_reserved <= facts.capacity.memory;
    cpu && memory
}

/// `linux/arm64` fits `linux/arm64/v8`; the variant counts only when both name one.
fn platform_fits(wanted: &str, offered: &str) -> bool {
    let (mut wanted, mut offered) = (wanted.split('/'), offered.split('/'));
    (0..3).all(|part| match (wanted.next(), offered.next()) {
        (Some(wanted), Some(offered)) => wanted.eq_ignore_ascii_case(offered),
        (None, _) => true,
        (Some(_), None) => part == 2,
    })
}

/// Why a replica may not go on running where it runs: people want the host empty, or gave it labels
/// that the Deployment does not want. What a host lacks otherwise is no reason to move.
pub fn unfit(deployment: &Deployment, host: &HostId, view: &HostView<'_>) -> Option<Filter> {
    if view.availability() == Availability::Drain {
        return Some(Filter::Availability);
    }
    // A host whose Docker does not answer has not said what it is.
    let is_known = !view.facts.engine_version.is_empty();
    (is_known && !constraints_hold(deployment, host, view)).then_some(Filter::Constraints)
}

fn constraints_hold(deployment: &Deployment, host: &HostId, view: &HostView<'_>) -> bool {
    deployment.placement.constraints.iter().all(|constraint| holds(constraint, host, view))
}

/// Swarm's constraint language, `node.*` attributes.
fn holds(constraint: &Constraint, host: &HostId, view: &HostView<'_>) -> bool {
    let value = attribute(&constraint.attribute, host, view).unwrap_or_default();
    value.eq_ignore_ascii_case(&constraint.value) == constraint.equal
}

fn attribute(name: &str, host: &HostId, view: &HostView<'_>) -> Option<String> {
    let facts = view.facts;
    let mut platform = facts.platform.split('/');
    let (os, arch) = (platform.next(), platform.next());
    match name {
        "node.id" => Some(host.to_string()),
        "node.hostname" => Some(facts.name.clone()),
        // Every host of muster can do what a Swarm manager can.
        "node.role" => Some("manager".to_owned()),
        "node.platform.os" => os.map(str::to_owned),
        "node.platform.arch" => arch.map(str::to_owned),
        _ => view.labels().get(name.strip_prefix("node.labels.")?).cloned(),
    }
}

#[cfg(test)]
mod holding;
#[cfg(test)]
mod tests;
