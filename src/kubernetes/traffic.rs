//! A Service for every name that is called.
//!
//! Its ports are those of the container, for these are what other services use in Compose; what is
//! published on a machine is another thing, and gets a Service of its own when it is asked for.
//! Where no port is known the Service has no address (`clusterIP: None`): its name leads to the pods
//! themselves, at any port.

use std::collections::BTreeSet;

use super::container::{exposed, protocol};
use super::draft::{self, Draft};
use super::names;
use super::object::{Body, ServicePort, ServiceSpec};
use super::unit::{Task, Unit, Units};
use super::{Publish, calls};

/// Ports that images of this name listen on, where the file says nothing.
const KNOWN: &[(&str, u16)] = &[
    ("postgres", 5432),
    ("postgis", 5432),
    ("pgvector", 5432),
    ("timescaledb", 5432),
    ("mysql", 3306),
    ("mariadb", 3306),
    ("redis", 6379),
    ("valkey", 6379),
    ("keydb", 6379),
    ("mongo", 27017),
    ("rabbitmq", 5672),
    ("memcached", 11211),
    ("elasticsearch", 9200),
    ("opensearch", 9200),
    ("zookeeper", 2181),
    ("minio", 9000),
    ("nginx", 80),
    ("httpd", 80),
    ("influxdb", 8086),
];

/// The name that resolves only while a unit is ready, for those that wait for it.
pub(super) fn ready_name(
    draft: &mut Draft<'_>,
    units: &Units,
    unit: &Unit,
    waiting: impl Iterator<Item = String>,
) -> String {
    let leader = units.leader(&unit.key).to_owned();
    let leader = units.get(&leader).cloned().unwrap_or_else(|| unit.clone());
    if is_headless(draft, &leader) {
        return leader.name;
    }
    let name = draft.names.of("pod", &format!("{}-ready", leader.name));
    let awaited = draft.awaited.entry(leader.key).or_insert_with(|| (name.clone(), Vec::new()));
    awaited.1.extend(waiting);
    name
}

/// Whether its name leads to the pods themselves.
fn is_headless(draft: &Draft<'_>, unit: &Unit) -> bool {
    let deploy = unit.service.deploy.as_ref();
    draft.templates.contains_key(&unit.key)
        || deploy.and_then(|deploy| deploy.endpoint_mode.as_deref()) == Some("dnsrr")
        || ports(draft, unit).is_empty()
}

/// Adds the Services of a unit.
pub(super) fn add(draft: &mut Draft<'_>, units: &Units, unit: &Unit) {
    if unit.task != Task::Keep {
        return;
    }
    let ports = ports(draft, unit);
    let call = draft.calls.get(&unit.key).cloned().unwrap_or_default();
    let is_called = !call.names.is_empty();
    let is_stateful = draft.templates.contains_key(&unit.key);
    let is_named = unit.service.networks.values().any(|network| !network.aliases.is_empty())
        || unit.service.deploy.as_ref().is_some_and(|deploy| deploy.endpoint_mode.is_some());
    let has_own = is_named
        || is_called
        || is_stateful
        || !ports.is_empty()
        || draft.awaited.contains_key(&unit.key);
    if !has_own {
        return;
    }
    let none = || Some("None".to_owned());
    let cluster_ip = none().filter(|_| is_headless(draft, unit));
    let selector = draft::selector(&draft.instance(), &unit.name);
    let spec = ServiceSpec { cluster_ip, selector, ports: ports.clone(), ..ServiceSpec::default() };
    draft.add(unit, &unit.name.clone(), Body::Service { spec: spec.clone() });
    aliases(draft, units, unit, &spec);
    if let Some((name, waiting)) = draft.awaited.get(&unit.key).cloned() {
        let spec = ServiceSpec { cluster_ip: none(), ports: Vec::new(), ..spec.clone() };
        let (body, path) = (Body::Service { spec }, unit.path.clone());
        // It goes with those that wait, which a profile may leave out.
        draft.add_at(waiting, &unit.name, &name, body, path);
        draft.comment(format!(
            "Resolves only while {} is ready: what init containers wait for.",
            unit.name
        ));
    }
    published(draft, unit, &spec);
}

/// Further names: aliases and links always, others when somebody calls them.
fn aliases(draft: &mut Draft<'_>, units: &Units, unit: &Unit, spec: &ServiceSpec) {
    let called = draft.calls.get(&unit.key).map(|call| call.names.clone()).unwrap_or_default();
    let optional = [&unit.service.container_name, &unit.service.hostname];
    let mut seen = BTreeSet::from([unit.name.clone(), unit.key.clone()]);
    for name in calls::names_of(units, unit) {
        if !seen.insert(name.clone()) {
            continue;
        }
        let is_optional = optional.iter().any(|it| it.as_deref() == Some(name.as_str()));
        if is_optional && !called.contains(&name) {
            continue;
        }
        let lower = name.to_ascii_lowercase();
        if !names::is_label(&lower) {
            let reason = format!("`{name}` is no name of a Service, so it does not resolve");
            draft.lost(unit, "networks", reason, "call the service by its own name");
            continue;
        }
        let is_taken = units.iter().any(|other| other.name == lower || other.key == name);
        if is_taken || draft.has("Service", &lower) {
            continue;
        }
        draft.add(unit, &lower, Body::Service { spec: spec.clone() });
        draft.comment(format!("Another name of {}.", unit.name));
    }
}

/// The ports of a unit: what it publishes, exposes, is called at; else what its image is known for.
pub(super) fn ports(draft: &Draft<'_>, unit: &Unit) -> Vec<ServicePort> {
    let mut found: Vec<ServicePort> = Vec::new();
    let mut add = |name: Option<String>, port: u16, kind: Option<String>, app: Option<String>| {
        if port == 0 || found.iter().any(|it| it.port == port && it.protocol == kind) {
            return;
        }
        let name = name.filter(|name| found.iter().all(|it| it.name.as_ref() != Some(name)));
        let name = name.unwrap_or_else(|| port_name(port, kind.as_deref()));
        let name = Some(name).filter(|name| found.iter().all(|it| it.name.as_ref() != Some(name)));
        let name = name.or_else(|| Some(format!("p-{port}")));
        found.push(ServicePort {
            name,
            port,
            target_port: None,
            protocol: kind,
            app_protocol: app,
        });
    };
    for port in &unit.service.ports {
        let app = port.app_protocol.clone().filter(|text| names::is_label_key(text));
        let name = port.name.as_deref().and_then(names::port);
        add(name, port.target, protocol(port.protocol.as_deref()), app);
    }
    for (port, kind) in unit.service.expose.iter().flat_map(|text| exposed(text)) {
        add(None, port, kind, None);
    }
    let called = draft.calls.get(&unit.key).map(|call| call.ports.clone()).unwrap_or_default();
    for port in called {
        let is_udp = found.iter().any(|it| it.port == port);
        if !is_udp {
            found.push(ServicePort {
                name: Some(port_name(port, None)),
                port,
                ..ServicePort::default()
            });
        }
    }
    if found.is_empty()
        && let Some(port) = known_port(unit)
    {
        found.push(ServicePort {
            name: Some(port_name(port, None)),
            port,
            ..ServicePort::default()
        });
    }
    found
}

fn known_port(unit: &Unit) -> Option<u16> {
    let image = unit.service.image.as_deref()?;
    let name = image.split('@').next()?.rsplit('/').next()?.split(':').next()?;
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, port)| *port)
}

fn port_name(port: u16, protocol: Option<&str>) -> String {
    let kind = protocol.unwrap_or("tcp").to_ascii_lowercase();
    match (port, kind.as_str()) {
        (80, "tcp") => "http".to_owned(),
        (443, "tcp") => "https".to_owned(),
        _ => format!("{kind}-{port}"),
    }
}

/// What is published on machines, when the outside is to reach it.
fn published(draft: &mut Draft<'_>, unit: &Unit, spec: &ServiceSpec) {
    let kind = match draft.options.publish {
        Publish::Inside => return,
        Publish::NodePort => "NodePort",
        Publish::LoadBalancer => "LoadBalancer",
    };
    let mut ports: Vec<ServicePort> = Vec::new();
    for port in unit.service.ports.iter().filter(|port| port.target > 0) {
        if port.host_ip.as_deref().is_some_and(|ip| ip.starts_with("127.") || ip == "::1") {
            continue;
        }
        let published = port.published.as_deref().and_then(|text| text.split('-').next());
        let published = published.and_then(|text| text.parse().ok()).filter(|port: &u16| *port > 0);
        let number = published.unwrap_or(port.target);
        let kind = protocol(port.protocol.as_deref());
        if ports.iter().any(|it| it.port == number && it.protocol == kind) {
            continue;
        }
        let name = Some(port_name(number, kind.as_deref()));
        let target_port = Some(port.target);
        ports.push(ServicePort {
            name,
            port: number,
            target_port,
            protocol: kind,
            app_protocol: None,
        });
    }
    if ports.is_empty() {
        return;
    }
    let name = draft.names.of("pod", &format!("{}-published", unit.name));
    let kind = Some(kind.to_owned());
    let spec = ServiceSpec { kind, cluster_ip: None, ports, ..spec.clone() };
    draft.add(unit, &name, Body::Service { spec });
}
