//! What the logic wants of this host's network and names. Made whole each time; the drivers find
//! out what differs from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{Affinity, AppName, HostId, NetworkName, Protocol};

/// What this host's kernel should do with packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIntent {
    /// All addresses of the cluster: containers and services.
    pub pool: Ipv4Net,
    /// This host's part of it.
    pub slice: Ipv4Net,
    /// Where every other host's part is reached.
    pub routes: BTreeMap<Ipv4Net, NextHop>,
    /// The addresses of each network on all hosts. Containers reach each other only within one.
    pub networks: BTreeSet<BTreeSet<Ipv4Net>>,
    /// Service addresses and the ready endpoints behind each; an empty set means nobody is ready.
    pub services: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>>,
    /// Addresses that files give to services, by the block whose containers may ask for them: each leads
    /// to what the service's own address leads to.
    pub fixed: BTreeMap<(Ipv4Net, Ipv4Addr), Ipv4Addr>,
    /// Those of the service addresses where a client stays with one endpoint.
    pub by_client: BTreeSet<Ipv4Addr>,
    /// Ports listened on outside the cluster on this host.
    pub published: BTreeSet<Published>,
}

/// Another host as packets reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Which.
    pub host: HostId,
    /// Where its agent listens.
    pub address: SocketAddr,
}

/// How packets of containers get from host to host: one way for a whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// Encrypted, in QUIC datagrams between the agents; over any network.
    Quic,
    /// As they are, by routes of the kernel; only within one layer-2 network.
    // The only one there was when settings did not name it.
    #[default]
    Direct,
}

impl Overlay {
    /// Whether it is what settings without the field mean, and needs no mention.
    pub fn is_direct(&self) -> bool {
        *self == Self::Direct
    }
}

/// One port that this host listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The address listened on; none means all, `0.0.0.0` all of IPv4 and `::` all of IPv6.
    pub host_ip: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Ready endpoints: container address and port.
    pub endpoints: BTreeSet<(Ipv4Addr, u16)>,
    /// Which of them a connection goes to.
    pub affinity: Affinity,
}

/// Every name this host's resolver answers, by who asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameTable {
    /// The container addresses of this host, and which names each may see.
    pub askers: BTreeMap<Ipv4Addr, Scope>,
    /// Whom to ask for names that are not ours, for those of them that have servers of their own.
    pub servers: BTreeMap<Ipv4Addr, Vec<IpAddr>>,
    /// The names by scope.
    pub views: BTreeMap<Scope, BTreeMap<String, BTreeSet<Ipv4Addr>>>,
    /// Where services listen (RFC 2782), by scope and name, such as `_80._tcp.web`: a replica's name
    /// and the port in its container.
    pub listening: BTreeMap<Scope, BTreeMap<String, BTreeSet<(String, u16)>>>,
    /// Name of an address, for reverse look-ups.
    pub reverse: BTreeMap<Ipv4Addr, String>,
    /// Suffixes that are ours and never asked outside: `internal` and the App names.
    pub suffixes: BTreeSet<String>,
}

/// What an asker may see: the networks of its App that it is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The App.
    pub app: AppName,
    /// Its networks.
    pub networks: BTreeSet<NetworkName>,
}
