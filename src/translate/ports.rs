//! Ports listened on outside the cluster.

use std::net::IpAddr;

use super::container::own_network_mode;
use super::scope::Scope;
use crate::compose::project::Port;
use crate::model::{PortMode, Protocol, PublishedPort};

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
        match published(scope, port) {
            Some(published) => ports.outside.extend(listen(scope, port, published, protocol)),
            None => ports.inside_only.push(format!("{}/{}", port.target, protocol.as_str())),
        }
    }
    ports.outside.sort();
    ports.outside.dedup();
    ports
}

fn listen(
    scope: &mut Scope<'_>,
    port: &Port,
    published: u16,
    protocol: Protocol,
) -> Option<PublishedPort> {
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
            // All addresses of one family are all addresses.
            Ok(address) => (!address.is_unspecified()).then_some(address),
            Err(_) => {
                scope.refused("ports.host_ip", format!("`{text}` is not an address"), "");
                return None;
            }
        },
    };
    Some(PublishedPort { host_ip, published, target: port.target, protocol, mode })
}

/// The port outside; none when the file leaves it to Docker.
fn published(scope: &mut Scope<'_>, port: &Port) -> Option<u16> {
    let text = port.published.as_deref().filter(|text| !text.is_empty() && *text != "0");
    let Some(text) = text else {
        let reason = format!(
            "port {} has no port outside, and one that changes with each start helps nobody; \
             the other services reach it",
            port.target
        );
        let remedy = format!("name the port outside: `\"{0}:{0}\"`", port.target);
        scope.approximated("ports", reason, &remedy);
        return None;
    };
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
        Some("udp") => Some(Protocol::Udp),
        Some(other) => {
            let reason = format!("`{other}` is not carried between hosts");
            scope.refused("ports.protocol", reason, "use `tcp` or `udp`");
            None
        }
    }
}
