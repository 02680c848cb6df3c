//! Forgets flows that lead to an endpoint which is no longer one. Without this a client that
//! retries its first packet, or keeps sending UDP, goes on to where nobody answers: the kernel
//! remembers the endpoint it chose. So it does for 10 s after a connection was reset, and a new one
//! from the same port would follow the old. Connections that stand are left alone.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::netlink::{ACKNOWLEDGE, DUMP, Plain, attributes};
use super::{NetworkError, ruleset};
use crate::logic::addresses::service_range;
use crate::model::{NetworkIntent, Protocol};

/// Messages of ctnetlink: its number among the subsystems, then get and delete.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// Family IPv4, version 0, no resource.
const HEADER: [u8; 4] = [2, 0, 0, 0];
/// Attributes of an entry (`enum ctattr_type`), and of what they hold.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_STATE: u16 = 4;
const ID: u16 = 12;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE: u16 = 2;
const PROTO_DESTINATION: u16 = 3;
const OF_TCP: u16 = 1;
const TCP_STATE: u16 = 1;
/// State of a TCP connection that was reset (`enum tcp_conntrack`).
const TCP_CLOSE: u8 = 8;
/// Bits of the status (`enum ip_conntrack_status`).
const SEEN_REPLY: u32 = 1 << 1;
const DESTINATION_TRANSLATED: u32 = 1 << 5;
/// IP protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// One entry of the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Flow {
    protocol: u8,
    status: u32,
    /// A TCP connection that was reset.
    is_closed: bool,
    /// Who asked.
    client: Option<Ipv4Addr>,
    /// What the client asked for.
    asked: Option<(Ipv4Addr, u16)>,
    /// Who answers.
    answers: Option<(Ipv4Addr, u16)>,
    /// The attributes that name the entry, as the kernel gave them.
    name: Vec<u8>,
}

/// Forgets every flow that the intent would not make now, and gives their number.
pub(super) fn purge(intent: &NetworkIntent) -> Result<usize, NetworkError> {
    let failed = |cause| NetworkError::Kernel { action: "forget stale flows".to_owned(), cause };
    let socket = Plain::new(NETLINK_NETFILTER).map_err(failed)?;
    let mut stale = Vec::new();
    let take = |body: &[u8]| stale.extend(flow(body).filter(|flow| is_stale(intent, flow)));
    socket.request(GET, DUMP, &HEADER, take).map_err(failed)?;
    for flow in &stale {
        let body = [HEADER.as_slice(), &flow.name].concat();
        match socket.request(DELETE, ACKNOWLEDGE, &body, |_| {}) {
            Ok(()) => {}
            // It ended by itself meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(stale.len())
}

fn is_stale(intent: &NetworkIntent, flow: &Flow) -> bool {
    let (Some(asked), Some(answers)) = (flow.asked, flow.answers) else { return false };
    let stands = flow.protocol != UDP && flow.status & SEEN_REPLY != 0 && !flow.is_closed;
    if stands || flow.status & DESTINATION_TRANSLATED == 0 {
        return false;
    }
    let fixed = flow.client.and_then(|client| {
        let knows = |((block, at), _): &(&(Ipv4Net, Ipv4Addr), _)| {
            *at == asked.0 && block.contains(&client)
        };
        intent.fixed.iter().find(knows).map(|(_, service)| *service)
    });
    let service = fixed.unwrap_or(asked.0);
    if service_range(intent.pool).contains(&service) {
        let endpoints = intent.services.get(&service);
        return !endpoints.is_some_and(|endpoints| endpoints.contains(&answers.0));
    }
    // Translated from outside the pool into it: by nobody but our published ports.
    if intent.pool.contains(&asked.0) || !intent.pool.contains(&answers.0) {
        return false;
    }
    let protocol = match flow.protocol {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        SCTP => Protocol::Sctp,
        _ => return false,
    };
    let ports = ruleset::ports(intent);
    let exact = ports.get(&(Some(asked.0), protocol, asked.1));
    let item = exact.or_else(|| ports.get(&(None, protocol, asked.1)));
    !item.is_some_and(|item| item.endpoints.contains(&answers))
}

fn flow(body: &[u8]) -> Option<Flow> {
    let mut flow = Flow::default();
    for (kind, value, whole) in attributes(body.get(HEADER.len()..)?) {
        match kind {
            ORIGINAL => {
                let tuple = tuple(value)?;
                flow.protocol = tuple.protocol;
                flow.client = Some(tuple.source.0);
                flow.asked = Some(tuple.destination);
                flow.name.extend(whole);
            }
            REPLY => flow.answers = Some(tuple(value)?.source),
            STATUS => flow.status = u32::from_be_bytes(value.try_into().ok()?),
            PROTOCOL_STATE => flow.is_closed = tcp_state(value) == Some(TCP_CLOSE),
            ID => flow.name.extend(whole),
            _ => {}
        }
    }
    Some(flow)
}

/// Of what an entry has beside its tuples; none when it is not about TCP.
fn tcp_state(bytes: &[u8]) -> Option<u8> {
    let (_, of_tcp, _) = attributes(bytes).find(|(kind, ..)| *kind == OF_TCP)?;
    let (_, state, _) = attributes(of_tcp).find(|(kind, ..)| *kind == TCP_STATE)?;
    state.first().copied()
}

struct Tuple {
    protocol: u8,
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
}

/// A protocol without ports, such as ICMP, has 0 for them.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let (mut protocol, mut source, mut destination) = (None, None, None);
    let mut ports = (0, 0);
    for (kind, value, _) in attributes(bytes) {
        for (inner, value, _) in attributes(value) {
            match (kind, inner) {
                (TUPLE_IP, IP_SOURCE) => source = address(value),
                (TUPLE_IP, IP_DESTINATION) => destination = address(value),
                (TUPLE_PROTO, PROTO_NUMBER) => protocol = value.first().copied(),
                (TUPLE_PROTO, PROTO_SOURCE) => ports.0 = u16::from_be_bytes(value.try_into().ok()?),
                (TUPLE_PROTO, PROTO_DESTINATION) => {
                    ports.1 = u16::from_be_bytes(value.try_into().ok()?);
                }
                _ => {}
            }
        }
    }
    Some(Tuple {
        protocol: protocol?,
        source: (source?, ports.0),
        destination: (destination?, ports.1),
    })
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::model::{Affinity, Published};

    /// One service and one published port, both with the endpoint 10.208.0.66.
    fn intent() -> NetworkIntent {
        let endpoint: Ipv4Addr = "10.208.0.66".parse().unwrap();
        NetworkIntent {
            pool: "10.208.0.0/12".parse().unwrap(),
            slice: "10.208.0.0/20".parse().unwrap(),
            routes: BTreeMap::new(),
            networks: BTreeSet::new(),
            services: BTreeMap::from([("10.223.0.1".parse().unwrap(), BTreeSet::from([endpoint]))]),
            fixed: BTreeMap::from([(
                ("10.208.0.64/26".parse().unwrap(), "172.20.0.5".parse().unwrap()),
                "10.223.0.1".parse().unwrap(),
            )]),
            by_client: BTreeSet::new(),
            published: BTreeSet::from([Published {
                host_ip: None,
                port: 8053,
                protocol: Protocol::Udp,
                endpoints: BTreeSet::from([(endpoint, 53)]),
                affinity: Affinity::None,
            }]),
        }
    }

    #[track_caller]
    fn check(asked: &str, answers: &str, protocol: u8, status: u32, expected: bool) {
        check_flow(asked, answers, Flow { protocol, status, ..Flow::default() }, expected);
    }

    #[track_caller]
    fn check_flow(asked: &str, answers: &str, flow: Flow, expected: bool) {
        let part = |text: &str| {
            let parsed: std::net::SocketAddrV4 = text.parse().unwrap();
            Some((*parsed.ip(), parsed.port()))
        };
        let (asked, answers) = (part(asked), part(answers));
        let client = Some(Ipv4Addr::new(10, 208, 0, 70));
        let flow = Flow { client, asked, answers, ..flow };
        assert_eq!(is_stale(&intent(), &flow), expected, "{flow:?}");
    }

    #[test]
    fn an_unanswered_flow_to_an_endpoint_that_left_is_stale() {
        check("10.223.0.1:80", "10.208.0.67:80", TCP, DESTINATION_TRANSLATED, true);
        check("10.223.0.9:80", "10.208.0.66:80", TCP, DESTINATION_TRANSLATED, true);
        check("192.0.2.1:8053", "10.208.0.66:54", UDP, DESTINATION_TRANSLATED, true);
        check("192.0.2.1:8054", "10.208.0.66:53", UDP, DESTINATION_TRANSLATED, true);
    }

    #[test]
    fn a_flow_to_an_address_that_a_file_fixes_follows_the_service() {
        check("172.20.0.5:80", "10.208.0.66:80", UDP, DESTINATION_TRANSLATED, false);
        check("172.20.0.5:80", "10.208.0.67:80", UDP, DESTINATION_TRANSLATED, true);
        check("172.20.0.6:80", "10.208.0.66:80", UDP, DESTINATION_TRANSLATED, true);
    }

    #[test]
    fn a_udp_flow_is_stale_even_when_it_was_answered() {
        let status = DESTINATION_TRANSLATED | SEEN_REPLY;
        check("10.223.0.1:53", "10.208.0.67:53", UDP, status, true);
    }

    #[test]
    fn a_connection_that_stands_is_kept() {
        let status = DESTINATION_TRANSLATED | SEEN_REPLY;
        check("10.223.0.1:80", "10.208.0.67:80", SCTP, status, false);
        check("192.0.2.1:3868", "10.208.0.67:3868", SCTP, DESTINATION_TRANSLATED, true);
        check("10.223.0.1:80", "10.208.0.67:80", TCP, status, false);
    }

    #[test]
    fn a_connection_that_was_reset_is_stale() {
        let status = DESTINATION_TRANSLATED | SEEN_REPLY;
        let closed = || Flow { protocol: TCP, status, is_closed: true, ..Flow::default() };
        check_flow("10.223.0.1:80", "10.208.0.67:80", closed(), true);
        check_flow("10.223.0.1:80", "10.208.0.66:80", closed(), false);
    }

    #[test]
    fn flows_to_live_endpoints_and_of_others_are_kept() {
        let status = DESTINATION_TRANSLATED;
        check("10.223.0.1:53", "10.208.0.66:53", UDP, status, false);
        check("192.0.2.1:8053", "10.208.0.66:53", UDP, status, false);
        check("192.0.2.1:8080", "172.17.0.2:80", UDP, status, false);
        check("10.208.0.67:53", "10.208.0.67:53", UDP, 0, false);
    }
}
