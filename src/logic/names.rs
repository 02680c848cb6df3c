//! Which names this host's resolver answers, and to whom (network.md "Names").
//!
//! A container sees the names of its own App on the networks it has joined, and those of other Apps on
//! networks that several have joined. Never serves a name.

mod forms;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use self::forms::spoken;
pub use self::forms::{host_form, host_forms, unresolvable};
use super::endpoints::{Place, common_networks, ready};
use super::targets::{deployments_of, spec_of};
use super::view::ClusterView;
use crate::model::{
    AppName, Attachment, Deployment, Fact, NameTable, NetworkName, Plan, Protocol, ReplicaStatus,
    RowKey, Scope, ServiceAddress, ServiceName,
};

/// Ports of one service that have a name of their own. Files that expose thousands mean a range.
const PORTS_MAX: usize = 64;

/// The suffix that is always ours.
const SUFFIX: &str = "internal";

type Deployments<'a> = BTreeMap<&'a ServiceName, &'a Deployment>;

/// The names this host's resolver answers.
pub fn name_table(view: &ClusterView<'_>) -> NameTable {
    let mut table = NameTable::default();
    table.suffixes.insert(SUFFIX.to_owned());
    let common = common_networks(view);
    let here: BTreeMap<&AppName, &Vec<ReplicaStatus>> =
        view.state.facts_of(view.me).filter_map(replicas).collect();
    for (app, plan) in &view.plans {
        table.suffixes.insert(app.to_string());
        let deployments = deployments_of(view.state, plan);
        add_askers(view, app, plan, &deployments, &mut table);
        let here = here.get(*app).into_iter().flat_map(|statuses| statuses.iter());
        add_leaving(here, app, plan, &deployments, &mut table);
        let scopes: Vec<Scope> = table.views.keys().filter(|s| s.app == **app).cloned().collect();
        for scope in scopes {
            let mut own = names(view, &scope, plan, &deployments);
            let mut own_ports = listening(view, &scope, &deployments);
            let (mut others, mut their_ports) = (BTreeMap::new(), BTreeMap::new());
            for theirs in neighbours(&common, &scope) {
                let Some(plan) = view.plans.get(&theirs.app) else { continue };
                let deployments = deployments_of(view.state, plan);
                join(&mut others, names(view, &theirs, plan, &deployments));
                join(&mut their_ports, listening(view, &theirs, &deployments));
            }
            // A name of its own comes before the same of others; those share it, as in Docker.
            others.append(&mut own);
            their_ports.append(&mut own_ports);
            table.listening.insert(scope.clone(), their_ports);
            table.views.insert(scope, others);
        }
    }
    table
}

/// The full name of one replica.
pub fn replica_name(app: &AppName, service: &ServiceName, index: u32) -> String {
    format!("{index}.{}.{app}.{SUFFIX}", spoken(service))
}

/// The other Apps on networks that a scope has joined, each with those.
fn neighbours(common: &BTreeMap<&str, BTreeSet<Place<'_>>>, scope: &Scope) -> Vec<Scope> {
    let mut found: BTreeMap<&AppName, BTreeSet<NetworkName>> = BTreeMap::new();
    for places in common.values() {
        let joined =
            |(app, network): &Place<'_>| **app == scope.app && scope.networks.contains(*network);
        if places.iter().any(joined) {
            for (app, network) in places.iter().filter(|(app, _)| **app != scope.app) {
                found.entry(app).or_default().insert((*network).clone());
            }
        }
    }
    let scopes = found.into_iter();
    scopes.map(|(app, networks)| Scope { app: app.clone(), networks }).collect()
}

fn join<T: Ord>(all: &mut BTreeMap<String, BTreeSet<T>>, more: BTreeMap<String, BTreeSet<T>>) {
    for (name, found) in more {
        all.entry(name).or_default().extend(found);
    }
}

/// Every address of every replica here asks for the networks of its Deployment.
fn add_askers(
    view: &ClusterView<'_>,
    app: &AppName,
    plan: &Plan,
    deployments: &Deployments<'_>,
    table: &mut NameTable,
) {
    for assignment in &plan.assignments {
        let Some(status) = view.status(assignment) else { continue };
        for address in status.addresses.values() {
            let name = replica_name(app, &assignment.replica.service, assignment.replica.index);
            table.reverse.insert(*address, name);
        }
        if assignment.host != *view.me {
            continue;
        }
        let Some(deployment) = spec_of(view.state, plan, assignment) else { continue };
        add_asker(status, (app, plan), &deployment, deployments, table);
    }
}

/// What the Plan has no more goes on with what it has begun until it is stopped, and asks for names
/// meanwhile.
fn add_leaving<'s>(
    here: impl Iterator<Item = &'s ReplicaStatus>,
    app: &AppName,
    plan: &Plan,
    deployments: &Deployments<'_>,
    table: &mut NameTable,
) {
    for status in here {
        let is_known = status.addresses.values().any(|address| table.askers.contains_key(address));
        let deployment = deployments.get(&status.replica.service);
        if let Some(deployment) = deployment.filter(|_| !is_known) {
            add_asker(status, (app, plan), deployment, deployments, table);
        }
    }
}

fn add_asker(
    status: &ReplicaStatus,
    (app, plan): (&AppName, &Plan),
    deployment: &Deployment,
    deployments: &Deployments<'_>,
    table: &mut NameTable,
) {
    let networks: BTreeSet<NetworkName> = deployment.networks.keys().cloned().collect();
    let scope = Scope { app: app.clone(), networks };
    let servers = deployment.name_servers.iter();
    let servers: Vec<IpAddr> =
        servers.map(|at| reached(plan, deployment, deployments, *at)).collect();
    for address in status.addresses.values() {
        table.askers.insert(*address, scope.clone());
        if !servers.is_empty() {
            table.servers.insert(*address, servers.clone());
        }
    }
    table.views.entry(scope).or_default();
}

/// The replicas in a Row, and of which App.
fn replicas<'a>(
    (key, fact): (&'a RowKey, &'a Fact),
) -> Option<(&'a AppName, &'a Vec<ReplicaStatus>)> {
    match (key, fact) {
        (RowKey::Replicas(app), Fact::Replicas(statuses)) => Some((app, statuses)),
        _ => None,
    }
}

/// Where this host asks a name server of a Deployment. An address that the file fixes is known to
/// containers alone; a host reaches what is behind it by the Service's own.
fn reached(
    plan: &Plan,
    asker: &Deployment,
    deployments: &Deployments<'_>,
    server: IpAddr,
) -> IpAddr {
    let is_fixed = |item: &&ServiceAddress| {
        let attached = deployments.get(&item.service).and_then(|d| d.networks.get(&item.network));
        let fixed = attached.and_then(|attachment| attachment.fixed);
        asker.networks.contains_key(&item.network) && fixed.map(IpAddr::V4) == Some(server)
    };
    plan.addresses.iter().find(is_fixed).map_or(server, |item| IpAddr::V4(item.address))
}

fn names(
    view: &ClusterView<'_>,
    scope: &Scope,
    plan: &Plan,
    deployments: &Deployments<'_>,
) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    let mut names: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    let app = &scope.app;
    let host_forms = host_forms(deployments.iter().map(|(name, deployment)| (*name, *deployment)));
    for (service, deployment) in deployments {
        let Some((network, attachment)) = shared(scope, deployment) else { continue };
        let replicas: BTreeMap<u32, Ipv4Addr> = ready(view, app, service, network)
            .map(|(assignment, address)| (assignment.replica.index, address))
            .collect();
        let all: BTreeSet<Ipv4Addr> = replicas.values().copied().collect();
        let stable = stable_address(plan, service, network);
        let answer = stable.map_or_else(|| all.clone(), |address| BTreeSet::from([address]));
        let mut say = |name: &str, addresses: &BTreeSet<Ipv4Addr>| {
            // Whoever wrote the name was told that it cannot be found.
            if unresolvable(name).is_some() {
                return;
            }
            for full in forms(name, app) {
                names.entry(full).or_default().extend(addresses);
            }
        };
        say(service.as_str(), &answer);
        let host_form = host_forms.get(service).map(String::as_str);
        for alias in further_names(deployment, &attachment.aliases).chain(host_form) {
            say(alias, &answer);
        }
        let service = spoken(service);
        say(&["tasks.", &service].concat(), &all);
        for (index, address) in replicas {
            say(&format!("{index}.{service}"), &BTreeSet::from([address]));
        }
    }
    names
}

/// Under `_PORT._PROTOCOL.SERVICE` the names of the ready replicas, with the port. Compose gives ports
/// no names, so a number stands for the service's own (RFC 2782).
fn listening(
    view: &ClusterView<'_>,
    scope: &Scope,
    deployments: &Deployments<'_>,
) -> BTreeMap<String, BTreeSet<(String, u16)>> {
    let mut all: BTreeMap<String, BTreeSet<(String, u16)>> = BTreeMap::new();
    let app = &scope.app;
    for (service, deployment) in deployments {
        let Some((network, _)) = shared(scope, deployment) else { continue };
        let replicas = ready(view, app, service, network);
        let service = spoken(service);
        let replicas: Vec<String> = replicas
            .map(|(a, _)| format!("{}.{service}.{app}.{SUFFIX}", a.replica.index))
            .collect();
        for (port, protocol) in ports(deployment).into_iter().take(PORTS_MAX) {
            let replicas: BTreeSet<(String, u16)> =
                replicas.iter().map(|replica| (replica.clone(), port)).collect();
            for full in forms(&format!("_{port}._{}.{service}", protocol.as_str()), app) {
                all.insert(full, replicas.clone());
            }
        }
    }
    all
}

/// The ports its containers listen on, as far as the file says.
fn ports(deployment: &Deployment) -> BTreeSet<(u16, Protocol)> {
    let published = deployment.ports.iter().map(|port| (port.target, port.protocol));
    let exposed = deployment.container.expose.iter().filter_map(|text| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::ALL.into_iter().find(|p| p.as_str() == protocol)?;
        Some((port.parse().ok()?, protocol))
    });
    published.chain(exposed).collect()
}

/// The first network that a scope and a Deployment share: so a name has one address.
fn shared<'d>(
    scope: &Scope,
    deployment: &'d Deployment,
) -> Option<(&'d NetworkName, &'d Attachment)> {
    deployment.networks.iter().find(|(name, _)| scope.networks.contains(*name))
}

/// A name as it may be written.
fn forms(name: &str, app: &AppName) -> [String; 3] {
    let name = name.to_ascii_lowercase();
    // Not by `format!`, which grows each text step by step: there are many of them at each change.
    let with_app = [&name, ".", app.as_str()].concat();
    let full = [&with_app, ".", SUFFIX].concat();
    [with_app, full, name]
}

fn further_names<'d>(
    deployment: &'d Deployment,
    aliases: &'d [String],
) -> impl Iterator<Item = &'d str> {
    let hostname = deployment.container.hostname.iter();
    aliases.iter().chain(hostname).map(String::as_str)
}

fn stable_address(plan: &Plan, service: &ServiceName, network: &NetworkName) -> Option<Ipv4Addr> {
    let mut addresses = plan.addresses.iter();
    addresses.find(|a| a.service == *service && a.network == *network).map(|a| a.address)
}

#[cfg(test)]
mod tests;
