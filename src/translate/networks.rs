//! Networks of an App and how services join them.

use std::collections::{BTreeMap, BTreeSet};

use super::container::own_network_mode;
use super::scope::Scope;
use super::verdict::{Notes, Verdict};
use super::{addresses, pods};
use crate::compose::project::{Network, Project};
use crate::model::{Attachment, Deployment, Job, NetworkName, NetworkSpec, ServiceName};

/// The network of a service that names none.
const DEFAULT: &str = "default";
/// Drivers that give containers an address of the hosts' own network. Others reach them there, so
/// that another kind of network in their place would be wrong.
const OUTER_DRIVERS: [&str; 4] = ["macvlan", "ipvlan", "host", "none"];

/// The networks the service at hand joins.
pub(super) fn attachments(scope: &mut Scope<'_>) -> BTreeMap<NetworkName, Attachment> {
    if own_network_mode(scope.service).is_some() {
        return BTreeMap::new();
    }
    match scope.service.network_mode.as_deref() {
        None | Some("" | "default") => {}
        Some("bridge") => scope.approximated(
            "network_mode",
            "there is no network that all projects share; the service joins the project's \
             `default` network",
            "",
        ),
        Some(mode) if is_shared(mode) => {
            if !pods::check(scope) {
                pods::refuse(scope, mode);
            }
            return BTreeMap::new();
        }
        Some(mode) => scope.refused(
            "network_mode",
            format!("`{mode}` is neither a mode nor a network of the project"),
            "use `host` or `none`, or name networks under `networks`",
        ),
    }
    let container_name = container_name(scope);
    let mut joined: BTreeMap<NetworkName, Attachment> = BTreeMap::new();
    for (key, attachment) in &scope.service.networks {
        let aliases = attachment.aliases.iter().chain(&container_name);
        let attached = Attachment { aliases: unique(aliases), fixed: addresses::fixed(attachment) };
        joined.insert(NetworkName::new(key), attached);
    }
    if joined.is_empty() {
        let aliases = unique(container_name.iter());
        joined.insert(NetworkName::new(DEFAULT), Attachment { aliases, fixed: None });
    }
    joined
}

/// Whether the mode is another container's network.
pub(super) fn is_shared(mode: &str) -> bool {
    mode.starts_with("service:") || mode.starts_with("container:")
}

fn unique<'a>(aliases: impl Iterator<Item = &'a String>) -> Vec<String> {
    let aliases: BTreeSet<&String> = aliases.collect();
    aliases.into_iter().cloned().collect()
}

/// The container's name as a further name, unless it names another service.
fn container_name(scope: &mut Scope<'_>) -> Option<String> {
    let name = scope.service.container_name.as_ref().filter(|name| *name != scope.key)?;
    if scope.project.services.contains_key(name) {
        let reason = format!("the name `{name}` leads to the service of that name");
        scope.ignored("container_name", reason, "");
        return None;
    }
    Some(name.clone())
}

/// Gives the aliases of `links` to the services they lead to.
pub(super) fn add_links(
    project: &Project,
    deployments: &mut BTreeMap<ServiceName, Deployment>,
    notes: &mut Notes,
) {
    for (key, service) in &project.services {
        let own = deployments.get(&ServiceName::new(key)).map(|deployment| &deployment.networks);
        let own: BTreeSet<NetworkName> = own.into_iter().flat_map(|n| n.keys().cloned()).collect();
        for link in &service.links {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            let mut say = |verdict, reason: &str, remedy| {
                let path = format!("services.{key}.links");
                notes.add(path, verdict, format!("`{link}`: {reason}"), remedy);
            };
            let Some(deployment) = deployments.get_mut(&ServiceName::new(target)) else {
                say(Verdict::Refused, "there is no such service", "");
                continue;
            };
            let shared = deployment.networks.iter_mut().filter(|(name, _)| own.contains(*name));
            let shared: Vec<&mut Attachment> = shared.map(|(_, attachment)| attachment).collect();
            if shared.is_empty() {
                say(Verdict::Ignored, "the services share no network", "let both join one");
                continue;
            }
            if alias == target {
                continue;
            }
            if project.services.contains_key(alias) {
                say(Verdict::Ignored, "the alias leads to the service of that name", "");
                continue;
            }
            say(Verdict::Approximated, "every service on the shared networks sees the alias", "");
            for attachment in shared {
                attachment.aliases = unique(attachment.aliases.iter().chain([&alias.to_owned()]));
            }
        }
    }
}

/// The networks that some Deployment joins.
pub(super) fn joined(
    project: &Project,
    deployments: &BTreeMap<ServiceName, Deployment>,
    jobs: &BTreeMap<ServiceName, Job>,
    notes: &mut Notes,
) -> BTreeMap<NetworkName, NetworkSpec> {
    let all = deployments.values().chain(jobs.values().map(|job| &job.deployment));
    let names: BTreeSet<&NetworkName> =
        all.flat_map(|deployment| deployment.networks.keys()).collect();
    let none = Network::default();
    let mut specs = BTreeMap::new();
    for key in names {
        let network = project.networks.get(key.as_str()).unwrap_or(&none);
        let driver = network.driver.as_deref().unwrap_or_default();
        if OUTER_DRIVERS.contains(&driver) {
            notes.add(
                format!("networks.{key}.driver"),
                Verdict::Refused,
                format!("`{driver}` puts containers on the hosts' own network"),
                "publish ports, or use `network_mode: host`",
            );
        }
        if network.enable_ipv4 == Some(false) {
            let path = format!("networks.{key}.enable_ipv4");
            notes.add(path, Verdict::Ignored, "networks are IPv4 only", "leave it out");
        }
        let own = format!("{}_{key}", project.name);
        let (name, shared) = match (network.external, network.name.as_str()) {
            // Each project has a bridge of its own on a host, and packets pass between them.
            (true, "") => (own, Some(key.to_string())),
            (true, name) => (own, Some(name.to_owned())),
            (false, "") => (own, None),
            (false, name) => (name.to_owned(), None),
        };
        let (internal, labels) = (network.internal, network.labels.clone());
        specs.insert(key.clone(), NetworkSpec { name, internal, labels, shared });
    }
    specs
}
