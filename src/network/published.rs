//! Reserves published ports, so that no other program can listen where our rules take every packet
//! away from it. The sockets are bound and never listen: should the rules be missing for a moment,
//! a client is refused and does not hang.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use super::sockets::{Place, Shares, bound, is_unknown, places};
use super::{NetworkError, listeners};
use crate::model::{Protocol, Published};

/// A socket that is kept for its address alone.
#[derive(Debug)]
struct Held {
    _socket: OwnedFd,
    shares: Shares,
}

impl Held {
    /// Whether it needs no second try.
    fn is_firm(&self) -> bool {
        self.shares == Shares::Never
    }
}

/// The IPv4 ports we keep; [`super::relay`] listens on those of IPv6.
#[derive(Debug, Default)]
pub(super) struct Holder {
    held: BTreeMap<Place, Held>,
}

impl Holder {
    /// Reserves the ports of `published` and lets go of the others. Gives those that another
    /// program has: what comes to them is not to be taken away from it.
    pub(super) fn ensure(
        &mut self,
        published: &BTreeSet<Published>,
    ) -> (BTreeSet<Place>, Vec<NetworkError>) {
        let wanted = wanted(published);
        self.held.retain(|place, held| wanted.contains(place) && held.is_firm());
        let (mut taken, mut problems) = (BTreeSet::new(), Vec::new());
        for place in wanted {
            if self.held.contains_key(&place) {
                continue;
            }
            let (protocol, address) = place;
            match hold(place) {
                Ok(held) => {
                    self.held.insert(place, held);
                }
                // With `host_ip` a port is meant for the one host that has the address.
                Err(cause) if cause.kind() == io::ErrorKind::AddrNotAvailable => {
                    tracing::trace!(%address, "not an address of this host");
                }
                Err(cause) if is_unknown(&cause) => problems.push(NetworkError::NoSctp { address }),
                Err(_) => {
                    // None when it is our own resolver, or the other has just gone.
                    let Some(holder) = listeners::taken(protocol, address) else { continue };
                    let protocol = protocol.as_str();
                    problems.push(NetworkError::Taken { protocol, address, holder });
                    taken.insert(place);
                }
            }
        }
        (taken, problems)
    }
}

/// Whether `item` is on an IPv4 place that another program has.
pub(super) fn is_taken(taken: &BTreeSet<Place>, item: &Published) -> bool {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, item.port));
    let mut places = places(item.host_ip, item.protocol, item.port).into_iter();
    let is_v4 = |(_, at): &Place| at.is_ipv4();
    places.any(|place| {
        is_v4(&place) && (taken.contains(&place) || taken.contains(&(item.protocol, everywhere)))
    })
}

/// What to reserve: an address of its own is not, where all addresses are.
fn wanted(published: &BTreeSet<Published>) -> BTreeSet<Place> {
    let all = published.iter().flat_map(|item| places(item.host_ip, item.protocol, item.port));
    let mut wanted: BTreeSet<Place> = all.filter(|(_, at)| at.is_ipv4()).collect();
    let all = wanted.clone();
    wanted.retain(|(protocol, address)| {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        *address == everywhere || !all.contains(&(*protocol, everywhere))
    });
    wanted
}

fn hold(place: Place) -> io::Result<Held> {
    let bound = |shares| Ok(Held { _socket: bound(place, shares)?, shares });
    match place.0 {
        Protocol::Tcp | Protocol::Sctp => {
            bound(Shares::Never).or_else(|_: io::Error| bound(Shares::WithLikeMinded))
        }
        Protocol::Udp => bound(Shares::Never),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::model::Affinity;

    fn published(port: u16, protocol: Protocol) -> BTreeSet<Published> {
        let host_ip = Some(Ipv4Addr::LOCALHOST.into());
        let (endpoints, affinity) = (BTreeSet::new(), Affinity::None);
        BTreeSet::from([Published { host_ip, port, protocol, endpoints, affinity }])
    }

    /// A port that nobody listens on now.
    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn nobody_else_can_listen_on_a_reserved_port_until_it_is_let_go() {
        let port = free_port();
        let mut holder = Holder::default();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert!(holder.ensure(&published(port, protocol)).1.is_empty());
            let bound = match protocol {
                Protocol::Tcp => TcpListener::bind(("127.0.0.1", port)).map(|_| ()),
                Protocol::Udp => UdpSocket::bind(("127.0.0.1", port)).map(|_| ()),
                Protocol::Sctp => unreachable!("not every kernel has it"),
            };
            assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        assert!(holder.ensure(&BTreeSet::new()).1.is_empty());
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_and_does_not_hang() {
        let port = free_port();
        let mut holder = Holder::default();
        assert!(holder.ensure(&published(port, Protocol::Tcp)).1.is_empty());
        let error = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_port_that_another_has_is_reported() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let items = published(port, Protocol::Tcp);
        let (taken, problems) = Holder::default().ensure(&items);
        let [NetworkError::Taken { holder, .. }] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert!(holder.ends_with(&format!("(process {})", std::process::id())), "{holder}");
        assert!(items.iter().all(|item| is_taken(&taken, item)));
    }

    #[tokio::test]
    async fn ended_connections_of_another_program_do_not_keep_a_port_from_us() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let mut client = std::net::TcpStream::connect(address).unwrap();
        // Who ends first has to wait: here the server.
        drop(other.accept().unwrap());
        assert_eq!(std::io::Read::read(&mut client, &mut [0]).unwrap(), 0);
        drop((client, other));
        let mut holder = Holder::default();
        for _ in 0..2 {
            let (taken, problems) = holder.ensure(&published(address.port(), Protocol::Tcp));
            assert!(taken.is_empty() && problems.is_empty(), "{problems:?}");
        }
        assert!(holder.held.values().all(|held| !held.is_firm()), "it is tried again");
    }

    #[test]
    fn one_address_is_not_reserved_beside_all() {
        let mut items = published(8080, Protocol::Tcp);
        let all = Published { host_ip: None, ..items.first().unwrap().clone() };
        items.insert(all);
        let everywhere = (Protocol::Tcp, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(wanted(&items), BTreeSet::from([everywhere]));
    }
    #[test]
    fn a_program_on_ipv4_leaves_a_port_of_ipv6_alone() {
        let items = published(8080, Protocol::Tcp);
        let item = items.first().unwrap();
        let taken = BTreeSet::from([(Protocol::Tcp, "0.0.0.0:8080".parse().unwrap())]);
        assert!(is_taken(&taken, item));
        let v6 = Published { host_ip: Some("::1".parse().unwrap()), ..item.clone() };
        assert!(!is_taken(&taken, &v6));
    }
}
