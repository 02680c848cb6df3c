//! Where a replica runs: filters that reject with a reason, then a score. Never looks at the clock
//! nor at what was asked before; the same input gives the same host.

mod devices;
mod load;
mod ranking;

use std::collections::BTreeMap;

pub use self::load::Load;
use self::load::{host_ports, service_key};
pub use self::ranking::Ranking;
use super::view::{ClusterView, HostView};
use crate::model::{
    Availability, Constraint, Deployment, Filter, HostId, Liveness, Protocol, ReplicaId, Waiting,
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

/// So many hosts that a filter rejected are named.
const NAMED_MAX: usize = 3;

/// Which hosts each filter rejected: how many, and the names where they are few.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejections {
    /// How many.
    pub counts: BTreeMap<Filter, u32>,
    names: BTreeMap<Filter, Vec<String>>,
}

impl Rejections {
    /// Of all live hosts that do not pass.
    fn of(request: Request<'_>, view: &ClusterView<'_>, load: &Load) -> Self {
        let mut all = Self::default();
        let service = service_key(request.replica);
        for (host, host_view) in view.hosts.iter().filter(|(_, h)| h.liveness == Liveness::Alive) {
            if let Some(filter) = reject_request(request, &service, host, host_view, load) {
                all.add(filter, &host_view.facts.name);
            }
        }
        all
    }

    /// One filter rejected every live host.
    pub fn everywhere(filter: Filter, view: &ClusterView<'_>) -> Self {
        let mut all = Self::default();
        for host in view.hosts.values().filter(|host| host.liveness == Liveness::Alive) {
            all.add(filter, &host.facts.name);
        }
        all
    }

    fn add(&mut self, filter: Filter, name: &str) {
        *self.counts.entry(filter).or_default() += 1;
        let names = self.names.entry(filter).or_default();
        // One more shows that there are too many.
        if names.len() <= NAMED_MAX {
            names.push(name.to_owned());
        }
    }
}

impl From<Rejections> for Waiting {
    fn from(Rejections { counts, mut names }: Rejections) -> Self {
        names.retain(|_, names| names.len() <= NAMED_MAX);
        names.values_mut().for_each(|names| names.sort());
        Self::NoHostFits { rejected: counts, hosts: names }
    }
}

/// The best host, or which hosts each filter rejected.
pub fn place<'a>(
    request: Request<'_>,
    view: &ClusterView<'a>,
    load: &Load,
) -> Result<&'a HostId, Rejections> {
    let refusal = || Rejections::of(request, view, load);
    if let Some(pinned) = request.pinned {
        let (host, host_view) = view.hosts.get_key_value(pinned).ok_or_else(refusal)?;
        let service = service_key(request.replica);
        let fits = host_view.liveness == Liveness::Alive
            && reject_request(request, &service, host, host_view, load).is_none();
        return fits.then_some(*host).ok_or_else(refusal);
    }
    let mut ranking = Ranking::new(view, request.replica, request.deployment, load);
    ranking.best(view, request.deployment, load, request.current).ok_or_else(refusal)
}

/// Whether a live host other than its own could take a replica that its own is no good for.
pub fn has_room_elsewhere(request: Request<'_>, view: &ClusterView<'_>, load: &Load) -> bool {
    let service = service_key(request.replica);
    view.hosts.iter().any(|(host, host_view)| {
        host_view.liveness == Liveness::Alive
            && !host_view.facts.disk_full
            && request.current != Some(host)
            && reject_request(request, &service, host, host_view, load).is_none()
    })
}

/// Whether one more replica of a Deployment may be on a host.
pub fn fits(request: Request<'_>, host: &HostId, view: &HostView<'_>, load: &Load) -> bool {
    reject_request(request, &service_key(request.replica), host, view, load).is_none()
}

/// The first filter that a host does not pass.
fn reject_request(
    request: Request<'_>,
    service: &str,
    host: &HostId,
    view: &HostView<'_>,
    load: &Load,
) -> Option<Filter> {
    if request.pinned.is_some_and(|pinned| pinned != host) {
        return Some(Filter::Data);
    }
    // What runs there with its data is replaced there; nothing else begins on a drained host.
    let held = request.pinned.is_some() && request.current == Some(host);
    if view.availability() == Availability::Drain && !held {
        return Some(Filter::Availability);
    }
    reject((request.deployment, service), host, view, load)
}

/// The first filter that a host does not pass, but for that people want it empty.
fn reject(
    (deployment, service): (&Deployment, &str),
    host: &HostId,
    view: &HostView<'_>,
    load: &Load,
) -> Option<Filter> {
    let (placement, facts) = (&deployment.placement, view.facts);
    if facts.engine_version.is_empty() {
        return Some(Filter::Engine);
    }
    let is_for = |wanted: &String| platform_fits(wanted, &facts.platform);
    let offered = &placement.offered;
    if !placement.platform.iter().all(is_for) || !(offered.is_empty() || offered.iter().any(is_for))
    {
        return Some(Filter::Platform);
    }
    if !constraints_hold(deployment, host, view) {
        return Some(Filter::Constraints);
    }
    if facts.inventory.no_pids_limit && deployment.container.resources.pids_limit.is_some() {
        return Some(Filter::Pids);
    }
    let carried = load.on(host);
    let most = placement.max_replicas_per_host.unwrap_or(u32::MAX);
    if carried.of_service(service) >= most {
        return Some(Filter::MaxReplicasPerHost);
    }
    let braked = load.brake && carried.braked(deployment) > facts.capacity.memory;
    if braked || !carried.has_room(deployment, facts.capacity) {
        return Some(Filter::Resources);
    }
    if !carried.has_resources(deployment, view) {
        return Some(Filter::GenericResources);
    }
    if carried.has_port_taken(deployment) || lost_port(deployment, view).is_some() {
        return Some(Filter::Ports);
    }
    carried.grant(deployment, view).is_none().then_some(Filter::Devices)
}

/// A port that a replica would listen on there, and that a program has which is not muster's.
pub fn lost_port(deployment: &Deployment, view: &HostView<'_>) -> Option<(u16, Protocol)> {
    let taken = &view.facts.inventory.taken_ports;
    host_ports(deployment).find(|port| taken.contains(port))
}

/// Whether what really runs on a host strains it. Counts for what is placed anew, and is never a
/// reason to move anything.
pub fn is_strained(view: &HostView<'_>) -> bool {
    super::busy::is_strained(view.facts.inventory.busy)
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

/// What a host is, by an attribute of constraints and preferences.
fn attribute<'v>(name: &str, host: &'v HostId, view: &HostView<'v>) -> Option<&'v str> {
    let facts = view.facts;
    let mut platform = facts.platform.split('/');
    match name {
        "node.id" => Some(host.as_str()),
        "node.hostname" => Some(&facts.name),
        // Every host of muster can do what a Swarm manager can.
        "node.role" => Some("manager"),
        "node.platform.os" => platform.next(),
        "node.platform.arch" => platform.nth(1),
        _ => {
            let (labels, key) = match name.strip_prefix("node.labels.") {
                Some(key) => (view.labels(), key),
                None => (&facts.inventory.engine_labels, name.strip_prefix("engine.labels.")?),
            };
            labels.get(key).map(String::as_str)
        }
    }
}

#[cfg(test)]
mod holding;
#[cfg(test)]
mod tests;
