//! Published ports over IPv6. Containers have IPv4 addresses alone, and the kernel does not
//! translate from one family into the other: the agent takes a connection in and opens another one
//! to an endpoint, as Docker's own proxy does for such containers.
//!
//! So a container sees this host in place of the client, and connections end with the agent, which
//! those over IPv4 do not. What goes is bounded ([`ROOM`]); a port that is no longer published, or
//! has other endpoints, keeps the connections it has. Makes no rule and reads nothing of what it
//! carries.

mod targets;
mod tcp;
mod udp;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use self::targets::Targets;
use super::sockets::{Place, is_unknown, places};
use super::{NetworkError, listeners};
use crate::model::{Protocol, Published};
use crate::supervisor::Supervisor;

/// Connections, and clients over UDP, at once on this host. Each takes two files of the 65536 that the
/// agent may have, and 16 KiB.
const ROOM: usize = 4096;
/// The same of one port, so that one cannot keep the others from theirs.
const ROOM_OF_ONE: usize = 2048;

/// The ports we relay.
#[derive(Debug)]
pub(super) struct Relays {
    supervisor: Supervisor,
    room: Arc<Semaphore>,
    at: BTreeMap<Place, Relay>,
}

impl Default for Relays {
    fn default() -> Self {
        Self::new(Supervisor::default())
    }
}

/// One port on one address.
#[derive(Debug)]
enum Relay {
    Tcp(tcp::Port),
    Udp(udp::Port),
}

/// What a port's tasks share.
#[derive(Debug, Clone)]
struct Room {
    supervisor: Supervisor,
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

impl Relays {
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, room: Arc::new(Semaphore::new(ROOM)), at: BTreeMap::new() }
    }

    /// Relays what comes to the IPv6 addresses of `published`, and ends the others. Gives what could
    /// not be listened on.
    pub(super) fn ensure(&mut self, published: &BTreeSet<Published>) -> Vec<NetworkError> {
        let (wanted, explicit) = wanted(published, own_addresses);
        self.at.retain(|place, _| wanted.contains_key(place));
        let mut problems = Vec::new();
        for (place, targets) in wanted {
            let made = match self.at.get_mut(&place) {
                Some(relay) => relay.set(targets),
                None => self.open(place, targets),
            };
            let Err(cause) = made else { continue };
            let (protocol, address) = place;
            if is_unknown(&cause) {
                // A host without IPv6 is not asked for it, unless by its address.
                if explicit.contains(&place) {
                    problems.push(NetworkError::NoIpv6 { address });
                }
            } else if cause.kind() == io::ErrorKind::AddrNotAvailable {
                tracing::trace!(%address, "not an address of this host");
            } else if let Some(holder) = listeners::taken(protocol, address) {
                problems.push(NetworkError::Taken { protocol: protocol.as_str(), address, holder });
            }
        }
        problems
    }

    fn open(&mut self, place: Place, targets: Targets) -> io::Result<()> {
        let own = Arc::new(Semaphore::new(ROOM_OF_ONE));
        let room = Room { supervisor: self.supervisor.clone(), all: Arc::clone(&self.room), own };
        let mut relay = match place.0 {
            Protocol::Udp => Relay::Udp(udp::Port::open(place, room)?),
            // There is no place for SCTP.
            Protocol::Tcp | Protocol::Sctp => Relay::Tcp(tcp::Port::open(place, room)?),
        };
        relay.set(targets)?;
        self.at.insert(place, relay);
        Ok(())
    }
}

impl Relay {
    fn set(&mut self, targets: Targets) -> io::Result<()> {
        match self {
            Self::Tcp(port) => port.set(targets),
            Self::Udp(port) => {
                port.set(targets);
                Ok(())
            }
        }
    }
}

/// Completes when nobody gives targets any more. Cancel-safe.
async fn end_of(targets: &mut watch::Receiver<Targets>) {
    while targets.changed().await.is_ok() {}
}

/// What to relay, and what of it has an address in the file. A reply by UDP must come from the
/// address that was asked, so that each of ours has a socket of its own.
fn wanted(
    published: &BTreeSet<Published>,
    own: impl Fn() -> Vec<Ipv6Addr>,
) -> (BTreeMap<Place, Targets>, BTreeSet<Place>) {
    let mut wanted = BTreeMap::new();
    let mut explicit = BTreeSet::new();
    for item in published {
        for (protocol, at) in places(item.host_ip, item.protocol, item.port) {
            let IpAddr::V6(address) = at.ip() else { continue };
            let all = protocol == Protocol::Udp && address.is_unspecified();
            let addresses = if all { own() } else { vec![address] };
            for address in addresses {
                let place = (protocol, SocketAddr::from((address, at.port())));
                if item.host_ip.is_some() && !all {
                    explicit.insert(place);
                }
                // One that names an address comes after one that means all.
                wanted.entry(place).or_insert_with(|| Targets::of(item));
            }
        }
    }
    // Where all are listened on, one of them is not listened on beside it.
    let everywhere =
        |(protocol, at): &Place| (*protocol, SocketAddr::from((Ipv6Addr::UNSPECIFIED, at.port())));
    let all: BTreeSet<Place> = wanted.keys().copied().collect();
    wanted.retain(|place, _| everywhere(place) == *place || !all.contains(&everywhere(place)));
    (wanted, explicit)
}

/// This host's IPv6 addresses. Those of a link alone are left out: they are on every bridge, and
/// mean nothing without a device.
fn own_addresses() -> Vec<Ipv6Addr> {
    // Of this thread, not of the process: they may differ in their network namespace.
    let list = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    list.lines().filter_map(listed).filter(|address| !address.is_unicast_link_local()).collect()
}

/// The address in a line such as `fe80…0001 02 40 20 80 eth0`.
fn listed(line: &str) -> Option<Ipv6Addr> {
    let digits = line.split_whitespace().next().filter(|digits| digits.len() == 32)?;
    u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests;
