//! Where traffic goes: from Plans and what hosts say of their replicas to what this host's kernel
//! should do. Never touches the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::targets::{deployment_of, deployments_of};
use super::view::ClusterView;
use crate::model::{
    Affinity, AppName, Assignment, Deployment, NetworkIntent, NetworkName, NextHop, Plan, PortMode,
    Published, PublishedPort, ServiceName,
};

/// What this host's kernel should do.
pub fn network_intent(view: &ClusterView<'_>, slice: Ipv4Net) -> NetworkIntent {
    let others = view.hosts.iter().filter(|(host, _)| **host != view.me);
    let routes = others.map(|(id, host)| {
        let hop = NextHop { host: (*id).clone(), address: host.facts.address };
        (host.facts.slice, hop)
    });
    let planned = view.plans.iter();
    let apps: Vec<App<'_>> =
        planned.map(|(app, plan)| (*app, *plan, deployments_of(view.state, plan))).collect();
    let networks = Networks::of(view);
    NetworkIntent {
        pool: view.pool,
        slice,
        routes: routes.collect(),
        services: services(view),
        fixed: fixed(&apps, &networks, slice),
        by_client: by_client(&apps),
        published: published(view, &apps),
        networks: networks.blocks.into_values().collect(),
    }
}

/// An App that runs: its Plan, and what that runs.
type App<'v> = (&'v AppName, &'v Plan, BTreeMap<&'v ServiceName, &'v Deployment>);

/// The networks of all Apps.
struct Networks<'v> {
    /// The common name of each place that is a part of a network of several Apps.
    common: BTreeMap<Place<'v>, &'v str>,
    /// The blocks of each network on all hosts.
    blocks: BTreeMap<Part<'v>, BTreeSet<Ipv4Net>>,
}

/// What a network is told by: its common name, or else its place.
type Part<'v> = (Option<&'v str>, Option<Place<'v>>);

impl<'v> Networks<'v> {
    fn of(view: &ClusterView<'v>) -> Self {
        let common = common_networks(view).into_iter();
        let common = common
            .flat_map(|(name, places)| places.into_iter().map(move |place| (place, name)))
            .collect();
        let mut networks = Self { common, blocks: BTreeMap::new() };
        for block in view.hosts.values().flat_map(|host| &host.facts.blocks) {
            let part = networks.part((&block.app, &block.network));
            networks.blocks.entry(part).or_default().insert(block.subnet);
        }
        networks
    }

    fn part<'p>(&self, place: Place<'p>) -> Part<'p>
    where
        'v: 'p,
    {
        self.common.get(&place).map_or((None, Some(place)), |name| (Some(*name), None))
    }
}

/// What containers of this host may ask for at an address that a file fixes.
fn fixed(
    apps: &[App<'_>],
    networks: &Networks<'_>,
    slice: Ipv4Net,
) -> BTreeMap<(Ipv4Net, Ipv4Addr), Ipv4Addr> {
    let mut all = BTreeMap::new();
    for (app, plan, deployments) in apps {
        for item in &plan.addresses {
            let attached =
                deployments.get(&item.service).and_then(|d| d.networks.get(&item.network));
            let Some(fixed) = attached.and_then(|attachment| attachment.fixed) else { continue };
            let of_it = networks.blocks.get(&networks.part((app, &item.network)));
            for block in of_it.into_iter().flatten().filter(|block| slice.contains(*block)) {
                // Two Apps with one address on one network are refused long before; else the first keeps it.
                all.entry((*block, fixed)).or_insert(item.address);
            }
        }
    }
    all
}

/// A network of an App.
pub(super) type Place<'v> = (&'v AppName, &'v NetworkName);

/// The networks that several Apps may join, by name: one of them says that it is not its own.
pub(super) fn common_networks<'v>(
    view: &ClusterView<'v>,
) -> BTreeMap<&'v str, BTreeSet<Place<'v>>> {
    let revisions = view.plans.iter().filter_map(|(app, plan)| {
        view.state.revision(app, &plan.revision).map(|revision| (*app, revision))
    });
    let all: Vec<_> = revisions
        .flat_map(|(app, revision)| revision.networks.iter().map(move |one| (app, one)))
        .collect();
    let asked = all.iter().filter_map(|(_, (_, spec))| spec.shared.as_deref());
    let mut common: BTreeMap<&str, BTreeSet<Place<'_>>> =
        asked.map(|name| (name, BTreeSet::new())).collect();
    for (app, (network, spec)) in all {
        if let Some(places) = common.get_mut(spec.common_name()) {
            places.insert((app, network));
        }
    }
    common
}

/// The ready replicas of a Service on a network, by their number.
pub fn ready<'v>(
    view: &'v ClusterView<'_>,
    app: &'v AppName,
    service: &'v ServiceName,
    network: &'v NetworkName,
) -> impl Iterator<Item = (&'v Assignment, Ipv4Addr)> {
    let mine = view.plans.get(app).map(|plan| plan.of_service(service)).unwrap_or_default();
    let mine = mine.iter().filter(move |a| view.serves(a));
    mine.filter_map(move |a| Some((a, *view.status(a)?.addresses.get(network)?)))
}

fn services(view: &ClusterView<'_>) -> BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>> {
    let mut services = BTreeMap::new();
    for (app, plan) in &view.plans {
        for item in &plan.addresses {
            let endpoints = ready(view, app, &item.service, &item.network);
            services.insert(item.address, endpoints.map(|(_, address)| address).collect());
        }
    }
    services
}

fn by_client(apps: &[App<'_>]) -> BTreeSet<Ipv4Addr> {
    let mut addresses = BTreeSet::new();
    for (_, plan, deployments) in apps {
        let stays = plan.addresses.iter().filter(|item| {
            let deployment = deployments.get(&item.service);
            deployment.is_some_and(|deployment| deployment.affinity == Affinity::Client)
        });
        addresses.extend(stays.map(|item| item.address));
    }
    addresses
}

/// Where a replica listens for a published port: as its own spec says, which during an update is not
/// everybody's.
fn target(view: &ClusterView<'_>, plan: &Plan, of: &Assignment, port: &PublishedPort) -> u16 {
    let own = deployment_of(view.state, plan, of).map(|own| own.ports.as_slice());
    let same = |own: &&PublishedPort| {
        (own.published, own.protocol, own.host_ip) == (port.published, port.protocol, port.host_ip)
    };
    own.unwrap_or_default().iter().find(same).map_or(port.target, |own| own.target)
}

fn published(view: &ClusterView<'_>, apps: &[App<'_>]) -> BTreeSet<Published> {
    let mut published = BTreeSet::new();
    for (app, plan, deployments) in apps {
        for (service, deployment) in deployments {
            // Any network will do: the ports are the container's. The first one by name is what
            // Docker makes the default route as well.
            let Some(network) = deployment.networks.keys().next() else { continue };
            for port in &deployment.ports {
                let endpoints: BTreeSet<(Ipv4Addr, u16)> = ready(view, app, service, network)
                    .filter(|(a, _)| port.mode == PortMode::Ingress || a.host == *view.me)
                    .map(|(a, address)| (address, target(view, plan, a, port)))
                    .collect();
                let listens = port.mode == PortMode::Ingress
                    || plan.of_service(service).iter().any(|a| a.host == *view.me);
                if listens {
                    published.insert(Published {
                        host_ip: port.host_ip,
                        port: port.published,
                        protocol: port.protocol,
                        endpoints,
                        affinity: deployment.affinity,
                    });
                }
            }
        }
    }
    published
}
