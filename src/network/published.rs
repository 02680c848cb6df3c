//! Reserves published ports, so that no other program can listen where our rules take every packet
//! away from it. The sockets are bound and never listen: should the rules be missing for a moment,
//! a client is refused and does not hang.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

use super::{NetworkError, listeners};
use crate::model::{Protocol, Published};

/// A socket that is kept for its address alone.
#[derive(Debug)]
enum Held {
    Tcp { _socket: TcpSocket, shares: Shares },
    Udp { _socket: UdpSocket },
}

impl Held {
    /// Whether it needs no second try.
    fn is_firm(&self) -> bool {
        match self {
            Self::Tcp { shares, .. } => *shares == Shares::Never,
            Self::Udp { .. } => true,
        }
    }
}

/// Whether a socket lets others bind beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shares {
    /// It keeps everybody out.
    Never,
    /// Whoever does the same. For a while after another program listened there: its last
    /// connections would keep us out for a minute.
    WithLikeMinded,
}

/// A port on an address.
pub(super) type Place = (Protocol, SocketAddr);

/// The ports we keep.
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
        let (wanted, mut problems) = wanted(published);
        self.held.retain(|place, held| wanted.contains(place) && held.is_firm());
        let mut taken = BTreeSet::new();
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

/// Whether `item` is on a place that another program has.
pub(super) fn is_taken(taken: &BTreeSet<Place>, item: &Published) -> bool {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, item.port));
    let place = SocketAddr::new(address(item.host_ip), item.port);
    taken.contains(&(item.protocol, place)) || taken.contains(&(item.protocol, everywhere))
}

/// What to reserve: an address of its own is not, where all addresses are.
fn wanted(published: &BTreeSet<Published>) -> (BTreeSet<Place>, Vec<NetworkError>) {
    let mut wanted = BTreeSet::new();
    let mut problems = Vec::new();
    for item in published {
        let address = SocketAddr::new(address(item.host_ip), item.port);
        match address {
            SocketAddr::V4(_) => {
                wanted.insert((item.protocol, address));
            }
            SocketAddr::V6(_) => problems.push(NetworkError::NoIpv6 { address }),
        }
    }
    let all = wanted.clone();
    wanted.retain(|(protocol, address)| {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        *address == everywhere || !all.contains(&(*protocol, everywhere))
    });
    (wanted, problems)
}

/// The address listened on; `::` stands for all addresses, of which we serve the IPv4 ones.
pub(super) fn address(host_ip: Option<IpAddr>) -> IpAddr {
    match host_ip.map(|address| address.to_canonical()) {
        None => Ipv4Addr::UNSPECIFIED.into(),
        Some(address) if address.is_unspecified() => Ipv4Addr::UNSPECIFIED.into(),
        Some(address) => address,
    }
}

fn hold((protocol, address): Place) -> io::Result<Held> {
    match protocol {
        Protocol::Tcp => {
            bind(address, Shares::Never).or_else(|_| bind(address, Shares::WithLikeMinded))
        }
        Protocol::Udp => Ok(Held::Udp { _socket: UdpSocket::bind(address)? }),
    }
}

fn bind(address: SocketAddr, shares: Shares) -> io::Result<Held> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(shares == Shares::WithLikeMinded)?;
    socket.bind(address)?;
    Ok(Held::Tcp { _socket: socket, shares })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

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
        let (wanted, problems) = wanted(&items);
        assert!(problems.is_empty());
        let everywhere = (Protocol::Tcp, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(wanted, BTreeSet::from([everywhere]));
    }
}
