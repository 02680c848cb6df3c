//! Addresses that a file fixes. Containers get theirs from the cluster's pool; what a file fixes becomes a
//! further address of the service, by which the others on that network reach it. Refused is what nobody
//! could reach.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use super::container::own_network_mode;
use super::networks::is_shared;
use super::scope::Scope;
use super::verdict::{Notes, Verdict};
use crate::compose::project::{Attachment, Ipam, Project, Service};

/// The address that a service gets on a network. What cannot be one has a note of [`check`].
pub(super) fn fixed(attachment: &Attachment) -> Option<Ipv4Addr> {
    attachment.ipv4_address.as_deref()?.parse().ok()
}

/// Refuses addresses that cannot be had, and those that are written where nobody could reach them.
pub(super) fn check(project: &Project, notes: &mut Notes) {
    let mut taken: BTreeMap<(&str, Ipv4Addr), &str> = BTreeMap::new();
    for (name, service) in &project.services {
        for (network, attachment) in &service.networks {
            let Some(text) = attachment.ipv4_address.as_deref() else { continue };
            let problem = match text.parse::<Ipv4Addr>() {
                Err(_) => {
                    Some((format!("`{text}` is not an IPv4 address"), ONE_OF_SUBNET.to_owned()))
                }
                Ok(fixed) => {
                    let other = taken.insert((network, fixed), name);
                    impossible(project, service, network, fixed)
                        .or_else(|| other.map(|other| twice(other, network, fixed)))
                        .or_else(|| out_of_reach(project, name, network, fixed))
                }
            };
            if let Some((reason, remedy)) = problem {
                let path = format!("services.{name}.networks.{network}.ipv4_address");
                notes.add(path, Verdict::Refused, reason, &remedy);
            }
        }
    }
}

/// The name servers that are asked for a service on the cluster's networks, by this host's resolver.
pub(super) fn name_servers(scope: &mut Scope<'_>) -> Vec<IpAddr> {
    let service = scope.service;
    if own_network_mode(service).is_some() || service.network_mode.as_deref().is_some_and(is_shared)
    {
        return Vec::new();
    }
    let mut servers = Vec::new();
    for text in &service.dns {
        match text.parse::<IpAddr>() {
            Err(_) => {
                let reason = format!("`{text}` is not the address of a name server");
                scope.refused("dns", reason, "write an IP address");
            }
            Ok(server) if server.is_loopback() || server.is_unspecified() => scope.approximated(
                "dns",
                format!(
                    "`{text}` is the container itself, which the resolver cannot ask; left out"
                ),
                "name another server",
            ),
            Ok(server) if servers.contains(&server) => {}
            Ok(server) => servers.push(server),
        }
    }
    servers
}

const ONE_OF_SUBNET: &str = "write an address of the network's subnet, or leave it out";

/// Why, and what to do.
type Problem = (String, String);

fn impossible(
    project: &Project,
    service: &Service,
    network: &str,
    fixed: Ipv4Addr,
) -> Option<Problem> {
    let not_for_one = fixed.is_loopback()
        || fixed.is_unspecified()
        || fixed.is_multicast()
        || fixed.is_broadcast()
        || fixed.is_link_local();
    if not_for_one {
        return Some((format!("`{fixed}` is no address of a container"), ONE_OF_SUBNET.to_owned()));
    }
    let deploy = service.deploy.as_ref();
    if deploy.and_then(|deploy| deploy.endpoint_mode.as_deref()) == Some("dnsrr") {
        return Some((
            "`endpoint_mode: dnsrr` says that the service has no address".to_owned(),
            "leave one of the two out".to_owned(),
        ));
    }
    let ipam = project.networks.get(network).and_then(|network| network.ipam.as_ref());
    let subnets = ipam.map(subnets).unwrap_or_default();
    let of_network = |subnet: &Ipv4Net| {
        let ends = [subnet.network(), subnet.broadcast()];
        subnet.contains(&fixed) && (subnet.prefix_len() > 30 || !ends.contains(&fixed))
    };
    if !subnets.is_empty() && !subnets.iter().any(of_network) {
        let subnets: Vec<String> = subnets.iter().map(|subnet| format!("`{subnet}`")).collect();
        let reason = format!(
            "`{fixed}` is not in {}, which `networks.{network}.ipam` gives the network",
            subnets.join(" or ")
        );
        return Some((reason, ONE_OF_SUBNET.to_owned()));
    }
    let is_gateway = |text: &str| text.parse() == Ok(fixed);
    let gateways = ipam.into_iter().flat_map(|ipam| &ipam.config);
    let mut gateways = gateways.filter_map(|pool| pool.gateway.as_deref());
    gateways
        .any(is_gateway)
        .then(|| (format!("`{fixed}` is the gateway of the network"), ONE_OF_SUBNET.to_owned()))
}

fn subnets(ipam: &Ipam) -> Vec<Ipv4Net> {
    let texts = ipam.config.iter().filter_map(|pool| pool.subnet.as_deref());
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn twice(other: &str, network: &str, fixed: Ipv4Addr) -> Problem {
    let reason = format!("`{fixed}` is the address of `{other}` on `{network}` already");
    (reason, "give each service one of its own".to_owned())
}

/// A service that writes the address and is not on the network: containers alone know it there.
fn out_of_reach(project: &Project, name: &str, network: &str, fixed: Ipv4Addr) -> Option<Problem> {
    let outside = project.services.iter().filter(|(_, user)| !is_on(project, user, network));
    let (user, key) = outside.into_iter().find_map(|(user, service)| {
        Some((user, places(service).find(|(_, text)| mentions(text, fixed))?.0))
    })?;
    let reason = format!(
        "`{fixed}` is known on the network `{network}` alone, and `services.{user}.{key}` uses it \
         without being on it"
    );
    Some((
        reason,
        format!("put `{user}` on `{network}` too, or write `{name}` in place of the address"),
    ))
}

/// Whether a service joins a network, itself or with the one whose network it has.
fn is_on(project: &Project, service: &Service, network: &str) -> bool {
    let leader = service.network_mode.as_deref().and_then(|mode| mode.strip_prefix("service:"));
    let led_by = leader.and_then(|leader| project.services.get(leader));
    led_by.unwrap_or(service).networks.contains_key(network)
}

/// Where a service may name another one's address, with the key.
fn places(service: &Service) -> impl Iterator<Item = (&'static str, &str)> {
    let environment = service.environment.values().flatten().map(|text| ("environment", text));
    let command = service.command.iter().flatten().map(|text| ("command", text));
    let entrypoint = service.entrypoint.iter().flatten().map(|text| ("entrypoint", text));
    let hosts = service.extra_hosts.iter().map(|text| ("extra_hosts", text));
    let dns = service.dns.iter().map(|text| ("dns", text));
    let all = environment.chain(command).chain(entrypoint).chain(hosts).chain(dns);
    all.map(|(key, text)| (key, text.as_str()))
}

/// Whether the address stands in a text on its own: not as a part of another one, nor of a network
/// such as `172.20.0.0/24`.
fn mentions(text: &str, address: Ipv4Addr) -> bool {
    let address = address.to_string();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let is_digit = |c: char| c.is_ascii_digit();
    text.match_indices(&address).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + address.len()..]);
        let in_url = before.ends_with(['/', '@']);
        let goes_on = after.starts_with(is_digit)
            || after.strip_prefix('.').is_some_and(|rest| rest.starts_with(is_part))
            || !in_url && after.strip_prefix('/').is_some_and(|rest| rest.starts_with(is_digit));
        !before.ends_with(is_part) && !goes_on
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_where_it_stands_alone() {
        let at = |text: &str| mentions(text, Ipv4Addr::new(172, 20, 0, 5));
        for text in [
            "172.20.0.5",
            "http://172.20.0.5:80",
            "db:172.20.0.5,x",
            "at 172.20.0.5.",
            "redis://172.20.0.5/0",
        ] {
            assert!(at(text), "{text}");
        }
        for text in ["172.20.0.50", "1172.20.0.5", "172.20.0.5.6", "172.20.0.5/24", "172.20.0.6"] {
            assert!(!at(text), "{text}");
        }
    }
}
