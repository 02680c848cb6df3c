//! Ports listened on outside the cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::container::own_network_mode;
use super::scope::Scope;
use super::verdict::{Notes, Verdict};
use crate::compose::project::Port;
use crate::model::{Deployment, PortMode, Protocol, PublishedPort, ServiceName};

/// The ports of a service, by who may reach them.
pub(super) struct Ports {
    /// From outside the cluster.
    pub(super) outside: Vec<PublishedPort>,
    /// From the service's networks only, as `8080/tcp`.
    pub(super) inside_only: Vec<String>,
}

/// The ports of the service at hand.
pub(super) fn convert(scope: &mut Scope<'_>) -> Ports {
    let mut ports = Ports { outside: Vec::new(), inside_only: Vec::new() };
    if scope.service.ports.is_empty() {
        return ports;
    }
    if let Some(mode) = own_network_mode(scope.service) {
        let reason = match mode.as_str() {
            "host" => "on its host's own network the container itself listens, there alone",
            _ => "a container without a network cannot be reached",
        };
        scope.ignored("ports", reason, "");
        return ports;
    }
    for port in &scope.service.ports {
        let Some(protocol) = protocol(scope, port) else { continue };
        match port.published.as_deref().filter(|text| !text.is_empty() && *text != "0") {
            Some(published) => ports.outside.extend(listen(scope, port, published, protocol)),
            None => ports.inside_only.push(format!("{}/{}", port.target, protocol.as_str())),
        }
    }
    note_inside_only(scope, &ports.inside_only);
    ports.outside.sort();
    ports.outside.dedup();
    // `80:80` beside `[::]:80:80` says the same twice.
    let everywhere: Vec<PublishedPort> =
        ports.outside.iter().filter(|port| port.host_ip.is_none()).cloned().collect();
    ports.outside.retain(|port| {
        let same = PublishedPort { host_ip: None, ..port.clone() };
        port.host_ip.is_none_or(|address| !address.is_unspecified()) || !everywhere.contains(&same)
    });
    ports
}

fn listen(
    scope: &mut Scope<'_>,
    port: &Port,
    published: &str,
    protocol: Protocol,
) -> Option<PublishedPort> {
    let published = published_port(scope, published)?;
    let mode = match port.mode.as_deref() {
        None | Some("" | "ingress") => PortMode::Ingress,
        Some("host") => PortMode::Host,
        Some(other) => {
            let reason = format!("`{other}` is not a mode");
            scope.refused("ports.mode", reason, "use `ingress` or `host`");
            return None;
        }
    };
    let host_ip = match port.host_ip.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => Some(address.to_canonical()),
            Err(_) => {
                scope.refused("ports.host_ip", format!("`{text}` is not an address"), "");
                return None;
            }
        },
    };
    if protocol == Protocol::Sctp && host_ip.is_some_and(|address| address.is_ipv6()) {
        // What comes over IPv6 is relayed, and its many streams would become one.
        let reason = "SCTP is carried over IPv4 alone";
        scope.refused("ports.host_ip", reason, "name an IPv4 address, or none");
        return None;
    }
    Some(PublishedPort { host_ip, published, target: port.target, protocol, mode })
}

/// Docker would take a free port, another one at each start and on each host.
fn note_inside_only(scope: &mut Scope<'_>, ports: &[String]) {
    let Some(first) = ports.first().and_then(|port| port.split('/').next()) else { return };
    let reason =
        format!("no port outside is named for {}: only services reach it", ports.join(", "));
    let remedy = format!("name the port outside, such as `\"{first}:{first}\"`");
    scope.approximated("ports", reason, &remedy);
}

/// The first of a range.
fn published_port(scope: &mut Scope<'_>, text: &str) -> Option<u16> {
    let (first, range) = text.split_once('-').map_or((text, false), |(first, _)| (first, true));
    let Ok(number) = first.trim().parse::<u16>() else {
        scope.refused("ports.published", format!("`{text}` is not a port"), "");
        return None;
    };
    if range {
        let reason = format!("of the ports `{text}` the first one is taken, on every host");
        scope.approximated("ports.published", reason, "name one port");
    }
    Some(number)
}

fn protocol(scope: &mut Scope<'_>, port: &Port) -> Option<Protocol> {
    match port.protocol.as_deref() {
        None | Some("" | "tcp") => Some(Protocol::Tcp),
        Some(text) => {
            let found = Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == text);
            if found.is_none() {
                let reason = format!("`{text}` is not carried between hosts");
                scope.refused("ports.protocol", reason, "use `tcp`, `udp` or `sctp`");
            }
            found
        }
    }
}

/// Refuses a port that two Services, or two ports of one, would have to listen on at the same
/// address of the same host.
pub(super) fn refuse_conflicts(deployments: &BTreeMap<ServiceName, Deployment>, notes: &mut Notes) {
    let all: Vec<(&ServiceName, &PublishedPort)> = deployments
        .iter()
        .flat_map(|(name, deployment)| deployment.ports.iter().map(move |port| (name, port)))
        .collect();
    for (index, (name, port)) in all.iter().enumerate() {
        let earlier = all.iter().take(index).find(|(other, taken)| {
            // The scheduler keeps Services apart that only listen where they run.
            let are_apart =
                name != other && port.mode == PortMode::Host && taken.mode == PortMode::Host;
            port.collides(taken) && !are_apart
        });
        let Some((other, _)) = earlier else { continue };
        notes.add(
            format!("services.{name}.ports"),
            Verdict::Refused,
            format!(
                "port {}/{} outside is taken by service `{other}`",
                port.published,
                port.protocol.as_str()
            ),
            "choose another port outside",
        );
    }
}
