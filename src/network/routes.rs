//! Kernel routes: one for every other host's slice, one that brings service addresses to our
//! rules, and one that stops what belongs to nobody. All carry a protocol number of our own, by
//! which those that are no longer wanted are found.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_core::Parseable;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::{Handle, RouteMessageBuilder};

use super::netlink::{DUMP, Plain, failed};
use super::{BRIDGE_PREFIX, DEVICE, NetworkError};
use crate::logic::addresses::{resolver_address, service_range};
use crate::model::NetworkIntent;
use crate::overlay::DEVICE as TUN;

/// Our mark on routes. Not in the list that iproute2 knows (`/etc/iproute2/rt_protos`).
const PROTOCOL: RouteProtocol = RouteProtocol::Other(77);
/// Priority of the route that stops strays: behind any that somebody sets for the same network.
const LAST: u32 = 4_000_000_000;
/// RTM_GETROUTE.
const GET: u16 = 26;

/// What we want of, or find in, a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    kind: Kind,
    source: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Through(Ipv4Addr),
    Device(u32),
    Stopped,
}

/// How packets for other hosts leave this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the other host's own address.
    Routes,
    /// Into the device with this index, for the tunnels.
    Tun(u32),
    /// Not at all: the device for the tunnels is not there.
    None,
}

/// Makes our routes those of the intent. `device` is the index of the device with our address.
/// One that cannot be made does not keep the others from being made.
pub(super) async fn ensure(
    handle: &Handle,
    intent: &NetworkIntent,
    device: u32,
    way: Way,
) -> Result<Vec<NetworkError>, NetworkError> {
    let (wanted, mut problems) = wanted(intent, device, way);
    let mut missing = wanted.clone();
    for message in ours(handle).await? {
        match parse(&message) {
            Some((network, route)) if wanted.get(&network) == Some(&route) => {
                missing.remove(&network);
            }
            Some((network, _)) if wanted.contains_key(&network) => {}
            Some(_) | None => {
                let removed = handle.route().del(message).execute().await;
                removed.map_err(failed("remove a route that is no longer wanted"))?;
            }
        }
    }
    for (network, route) in missing {
        let host = intent.routes.get(&network).map(|hop| hop.address.ip());
        if let Err(problem) = add(handle, network, &route, host).await {
            problems.push(problem);
        }
    }
    Ok(problems)
}

fn wanted(
    intent: &NetworkIntent,
    device: u32,
    way: Way,
) -> (BTreeMap<Ipv4Net, Route>, Vec<NetworkError>) {
    // With our pool address as their source, packets of this host itself are let in over there.
    let source = Some(resolver_address(intent.slice));
    let mut wanted = BTreeMap::from([
        (intent.pool, Route { kind: Kind::Stopped, source: None }),
        (service_range(intent.pool), Route { kind: Kind::Device(device), source }),
    ]);
    let mut problems = Vec::new();
    for (slice, hop) in &intent.routes {
        let kind = match (way, hop.address.ip()) {
            (Way::Tun(tun), _) => Kind::Device(tun),
            (Way::Routes, IpAddr::V4(host)) => Kind::Through(host),
            (Way::Routes, host @ IpAddr::V6(_)) => {
                let reason = "it has an IPv6 address and containers have IPv4 ones".to_owned();
                problems.push(NetworkError::NextHop { host, reason });
                continue;
            }
            (Way::None, _) => continue,
        };
        wanted.insert(*slice, Route { kind, source });
    }
    if way == Way::None && !intent.routes.is_empty() {
        problems.push(NetworkError::NoDevice);
    }
    (wanted, problems)
}

async fn add(
    handle: &Handle,
    network: Ipv4Net,
    route: &Route,
    host: Option<IpAddr>,
) -> Result<(), NetworkError> {
    let mut message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network.network(), network.prefix_len())
        .protocol(PROTOCOL);
    match route.kind {
        Kind::Through(next_hop) => {
            check_next_hop(handle, next_hop).await?;
            message = message.gateway(next_hop);
        }
        Kind::Device(index) => message = message.output_interface(index).scope(RouteScope::Link),
        Kind::Stopped => message = message.kind(RouteType::Unreachable).priority(LAST),
    }
    if let Some(source) = route.source {
        message = message.pref_source(source);
    }
    let added = handle.route().add(message.build()).replace().execute().await;
    added.map_err(failed(match host {
        Some(host) => format!("route `{network}` through the host at `{host}`"),
        None => format!("add the route to `{network}`"),
    }))
}

/// The kernel's own words for this are "Network is unreachable"; ours say what is wrong.
async fn check_next_hop(handle: &Handle, host: Ipv4Addr) -> Result<(), NetworkError> {
    let refused = |reason: String| NetworkError::NextHop { host: IpAddr::V4(host), reason };
    let question = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(host, 32).build();
    let answers: Result<Vec<_>, _> = handle.route().get(question).execute().try_collect().await;
    let Ok(answers) = answers else {
        return Err(refused("this machine has no route to it".to_owned()));
    };
    for answer in answers {
        if answer.header.kind == RouteType::Local {
            return Err(refused("it is an address of this machine too".to_owned()));
        }
        if let Some(gateway) = answer.attributes.iter().find_map(gateway) {
            let reason =
                format!("it is behind the router `{gateway}`, not on a network of this machine");
            return Err(refused(reason));
        }
    }
    Ok(())
}

/// Every IPv4 route of the main table that has our mark.
async fn ours(handle: &Handle) -> Result<Vec<RouteMessage>, NetworkError> {
    let everything = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let routes = handle.route().get(everything).execute();
    let ours = routes.try_filter(|message| std::future::ready(is_ours(message)));
    ours.try_collect().await.map_err(failed("list the routes"))
}

fn is_ours(message: &RouteMessage) -> bool {
    message.header.protocol == PROTOCOL && is_main(message)
}

fn is_main(message: &RouteMessage) -> bool {
    message.header.table == RouteHeader::RT_TABLE_MAIN
}

fn parse(message: &RouteMessage) -> Option<(Ipv4Net, Route)> {
    let network = destination(message)?;
    let gateway = message.attributes.iter().find_map(gateway);
    let kind = match (message.header.kind, gateway) {
        (RouteType::Unreachable, _) => Kind::Stopped,
        (_, Some(gateway)) => Kind::Through(gateway),
        (_, None) => Kind::Device(device(message)?),
    };
    let source = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::PrefSource(RouteAddress::Inet(source)) => Some(*source),
        _ => None,
    });
    Some((network, Route { kind, source }))
}

/// None for the default route.
fn destination(message: &RouteMessage) -> Option<Ipv4Net> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    Ipv4Net::new(address, message.header.destination_prefix_length).ok()
}

fn gateway(attribute: &RouteAttribute) -> Option<Ipv4Addr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(*gateway),
        _ => None,
    }
}

fn device(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

/// The devices, not ours, by which our routes leave this host.
pub(super) async fn ways_out(handle: &Handle) -> Result<BTreeSet<u32>, NetworkError> {
    let ours = ours(handle).await?;
    let through = ours.iter().filter(|route| route.attributes.iter().any(|a| gateway(a).is_some()));
    Ok(through.filter_map(device).collect())
}

/// Removes every route of ours, and gives the devices that those to other hosts led to.
pub(super) async fn remove(handle: &Handle) -> Result<BTreeSet<u32>, NetworkError> {
    let ways_out = ways_out(handle).await?;
    for message in ours(handle).await? {
        let gone = handle.route().del(message).execute().await;
        gone.map_err(failed("remove a route"))?;
    }
    Ok(ways_out)
}

/// The first route of this machine that overlaps the pool and is not ours, with its device.
/// A default route overlaps nothing: it is for what no other route names.
pub(super) fn overlap(pool: Ipv4Net) -> Result<Option<(Ipv4Net, Option<String>)>, NetworkError> {
    let failed = |cause| NetworkError::Kernel { action: "list the routes".to_owned(), cause };
    let mut found = Vec::new();
    // The header of a route message, empty but for the family.
    let question = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let socket = Plain::new(NETLINK_ROUTE).map_err(failed)?;
    let take = |body: &[u8]| found.extend(RouteMessage::parse(body).ok());
    socket.request(GET, DUMP, &question, take).map_err(failed)?;
    let overlapping = found.iter().filter(|message| is_main(message) && !is_ours(message));
    for message in overlapping {
        let Some(network) = destination(message).filter(|network| network.prefix_len() > 0) else {
            continue;
        };
        if !network.contains(&pool) && !pool.contains(&network) {
            continue;
        }
        let device = device(message).and_then(device_name);
        let ours = |name: &String| name.starts_with(BRIDGE_PREFIX) || name == DEVICE || name == TUN;
        if !device.as_ref().is_some_and(ours) {
            return Ok(Some((network, device)));
        }
    }
    Ok(None)
}

/// The name of a device, without a runtime.
fn device_name(index: u32) -> Option<String> {
    /// RTM_GETLINK, and the attribute with the name.
    const GET_LINK: u16 = 18;
    const NAME: u16 = 3;
    /// Length of the header of a link message; the index is at 4.
    const HEADER: usize = 16;
    let mut question = [0; HEADER];
    question[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut name = None;
    let socket = Plain::new(NETLINK_ROUTE).ok()?;
    let answered: io::Result<()> =
        socket.request(GET_LINK, super::netlink::ACKNOWLEDGE, &question, |body| {
            let mut attributes = super::netlink::attributes(body.get(HEADER..).unwrap_or_default());
            let bytes = attributes.find(|(kind, ..)| *kind == NAME).map(|(_, value, _)| value);
            name =
                bytes.map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
        });
    answered.ok()?;
    name
}
