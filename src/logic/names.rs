//! Which names this host's resolver answers, and to whom (network.md "Names").
//!
//! A container sees the names of its own App on the networks it has joined. Never serves a name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::endpoints::ready;
use super::targets::deployments_of;
use super::view::ClusterView;
use crate::model::{
    AppName, Attachment, Deployment, NameTable, NetworkName, Plan, Protocol, Scope, ServiceName,
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
    for (app, plan) in &view.plans {
        table.suffixes.insert(app.to_string());
        let deployments = deployments_of(view.state, plan);
        add_askers(view, app, plan, &mut table);
        let scopes: Vec<Scope> = table.views.keys().filter(|s| s.app == **app).cloned().collect();
        for scope in scopes {
            let names = names(view, &scope, plan, &deployments);
            let listening = listening(view, &scope, &deployments);
            table.listening.insert(scope.clone(), listening);
            table.views.insert(scope, names);
        }
    }
    table
}

/// Every address of every replica here asks for the networks of its Deployment.
fn add_askers(view: &ClusterView<'_>, app: &AppName, plan: &Plan, table: &mut NameTable) {
    for assignment in &plan.assignments {
        let Some(status) = view.status(assignment) else { continue };
        for address in status.addresses.values() {
            let name = format!(
                "{}.{}.{app}.{SUFFIX}",
                assignment.replica.index, assignment.replica.service
            );
            table.reverse.insert(*address, name);
        }
        if assignment.host != *view.me {
            continue;
        }
        let revision = view.state.revision(app, &assignment.revision);
        let deployment = revision.and_then(|r| r.deployments.get(&assignment.replica.service));
        let Some(deployment) = deployment else { continue };
        let networks: BTreeSet<NetworkName> = deployment.networks.keys().cloned().collect();
        let scope = Scope { app: app.clone(), networks };
        for address in status.addresses.values() {
            table.askers.insert(*address, scope.clone());
        }
        table.views.entry(scope).or_default();
    }
}

fn names(
    view: &ClusterView<'_>,
    scope: &Scope,
    plan: &Plan,
    deployments: &Deployments<'_>,
) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    let mut names: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    let app = &scope.app;
    for (service, deployment) in deployments {
        let Some((network, attachment)) = shared(scope, deployment) else { continue };
        let replicas: BTreeMap<u32, Ipv4Addr> = ready(view, app, service, network)
            .map(|(assignment, address)| (assignment.replica.index, address))
            .collect();
        let all: BTreeSet<Ipv4Addr> = replicas.values().copied().collect();
        let stable = stable_address(plan, service, network);
        let answer = stable.map_or_else(|| all.clone(), |address| BTreeSet::from([address]));
        let mut say = |name: &str, addresses: &BTreeSet<Ipv4Addr>| {
            for full in forms(name, app) {
                names.entry(full).or_default().extend(addresses);
            }
        };
        say(service.as_str(), &answer);
        for alias in further_names(deployment, &attachment.aliases) {
            say(alias, &answer);
        }
        say(&format!("tasks.{service}"), &all);
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
        let protocol =
            [Protocol::Tcp, Protocol::Udp].into_iter().find(|p| p.as_str() == protocol)?;
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
    [format!("{name}.{app}"), format!("{name}.{app}.{SUFFIX}"), name]
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
