//! Sockets bound to one address of one family: what keeps a port, and what finds out whether it is
//! free. Never sends nor receives.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::model::Protocol;

/// A port on an address.
pub(super) type Place = (Protocol, SocketAddr);

/// Whether a socket lets others bind beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shares {
    /// It keeps everybody out.
    Never,
    /// Whoever does the same, while neither listens. For a while after another program listened
    /// there: its last connections would keep us out for a minute.
    WithLikeMinded,
}

/// Where a published port is listened on: without an address, on all of both families. What IPv6
/// brings is relayed, and of SCTP nothing is.
pub(super) fn places(host_ip: Option<IpAddr>, protocol: Protocol, port: u16) -> Vec<Place> {
    let everywhere: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let addresses = host_ip.map_or(everywhere.to_vec(), |address| vec![address.to_canonical()]);
    let addresses = addresses.into_iter();
    let carried = addresses.filter(|at| at.is_ipv4() || protocol != Protocol::Sctp);
    carried.map(|address| (protocol, SocketAddr::new(address, port))).collect()
}

/// A socket with the address that does not listen. One for IPv6 leaves IPv4 to others.
pub(super) fn bound((protocol, address): Place, shares: Shares) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, transport) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(transport))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // With UDP it would let two programs have one port.
    if protocol != Protocol::Udp {
        sockopt::set_socket_reuseaddr(&socket, shares == Shares::WithLikeMinded)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Whether somebody else could listen there now.
pub(super) fn is_free(place: Place) -> io::Result<()> {
    let socket = bound(place, Shares::WithLikeMinded)?;
    match place.0 {
        Protocol::Tcp | Protocol::Sctp => Ok(rustix::net::listen(&socket, 1)?),
        Protocol::Udp => Ok(()),
    }
}

/// Whether this host has nothing of the family or protocol at all.
pub(super) fn is_unknown(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    code.is_some_and(|code| {
        [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::PROTONOSUPPORT].contains(&code)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host_ip: Option<&str>, protocol: Protocol, expected: &[&str]) {
        let host_ip = host_ip.map(|text| text.parse().unwrap());
        let places = places(host_ip, protocol, 80).into_iter();
        let places: Vec<String> = places.map(|(_, at)| at.to_string()).collect();
        assert_eq!(places, expected, "{host_ip:?} {protocol:?}");
    }

    #[test]
    fn a_port_without_an_address_is_on_both_families() {
        check(None, Protocol::Tcp, &["0.0.0.0:80", "[::]:80"]);
        check(None, Protocol::Sctp, &["0.0.0.0:80"]);
        check(Some("0.0.0.0"), Protocol::Udp, &["0.0.0.0:80"]);
        check(Some("::"), Protocol::Tcp, &["[::]:80"]);
        check(Some("::1"), Protocol::Tcp, &["[::1]:80"]);
        check(Some("::ffff:127.0.0.1"), Protocol::Tcp, &["127.0.0.1:80"]);
        check(Some("::1"), Protocol::Sctp, &[]);
    }
}
