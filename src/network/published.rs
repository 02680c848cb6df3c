//! Reserves published ports, so that no other program can listen where our rules take every packet
//! away from it. The sockets are bound and never listen: should the rules be missing for a moment,
//! a client is refused and does not hang.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpSocket;

use super::NetworkError;
use crate::model::{Protocol, Published};

/// A socket that is kept for its address alone.
#[derive(Debug)]
enum Held {
    Tcp { _socket: TcpSocket },
    Udp { _socket: UdpSocket },
}

/// The ports we keep.
#[derive(Debug, Default)]
pub(super) struct Holder {
    held: BTreeMap<(Protocol, SocketAddr), Held>,
}

impl Holder {
    /// Reserves the ports of `published` and lets go of the others. The failures do no harm to
    /// the ports that were reserved.
    pub(super) fn ensure(&mut self, published: &BTreeSet<Published>) -> Vec<NetworkError> {
        let (wanted, mut problems) = wanted(published);
        self.held.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if self.held.contains_key(&key) {
                continue;
            }
            let (protocol, address) = key;
            match hold(protocol, address) {
                Ok(held) => {
                    self.held.insert(key, held);
                }
                // With `host_ip` a port is meant for the one host that has the address.
                Err(cause) if cause.kind() == io::ErrorKind::AddrNotAvailable => {
                    tracing::debug!(%address, "not an address of this host");
                }
                Err(cause) => {
                    let protocol = protocol.as_str();
                    problems.push(NetworkError::Hold { protocol, address, cause });
                }
            }
        }
        problems
    }
}

/// What to reserve: an address of its own is not, where all addresses are.
fn wanted(
    published: &BTreeSet<Published>,
) -> (BTreeSet<(Protocol, SocketAddr)>, Vec<NetworkError>) {
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

fn hold(protocol: Protocol, address: SocketAddr) -> io::Result<Held> {
    match protocol {
        // Without `SO_REUSEADDR`, which would let others bind beside a socket that does not listen.
        Protocol::Tcp => {
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            Ok(Held::Tcp { _socket: socket })
        }
        Protocol::Udp => Ok(Held::Udp { _socket: UdpSocket::bind(address)? }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn published(port: u16, protocol: Protocol) -> BTreeSet<Published> {
        let host_ip = Some(Ipv4Addr::LOCALHOST.into());
        BTreeSet::from([Published { host_ip, port, protocol, endpoints: BTreeSet::new() }])
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
            assert!(holder.ensure(&published(port, protocol)).is_empty());
            let bound = match protocol {
                Protocol::Tcp => TcpListener::bind(("127.0.0.1", port)).map(|_| ()),
                Protocol::Udp => UdpSocket::bind(("127.0.0.1", port)).map(|_| ()),
            };
            assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        assert!(holder.ensure(&BTreeSet::new()).is_empty());
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_and_does_not_hang() {
        let port = free_port();
        let mut holder = Holder::default();
        assert!(holder.ensure(&published(port, Protocol::Tcp)).is_empty());
        let error = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_port_that_another_has_is_reported() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let problems = Holder::default().ensure(&published(port, Protocol::Tcp));
        assert!(matches!(problems.as_slice(), [NetworkError::Hold { .. }]), "{problems:?}");
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
