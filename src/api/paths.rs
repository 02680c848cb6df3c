//! What the API shows of the ways between hosts, for `muster doctor --network`.

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::TunnelReport;
use crate::model::{Liveness, Overlay};

/// Every host and what it found out about its ways to the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// How packets of containers get from host to host.
    pub overlay: Overlay,
    /// By name.
    pub hosts: Vec<HostPaths>,
}

/// One host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostPaths {
    /// Its name.
    pub host: String,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// What the host that was asked thinks of it.
    pub liveness: Liveness,
    /// What it found out; none when it did not tell.
    pub found: Option<Found>,
    /// Why it did not tell.
    #[serde(default)]
    pub error: Option<String>,
}

/// What one host found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its ways to every other host that it knows, by name.
    pub paths: Vec<PathReport>,
    /// Its resolver.
    pub resolver: ResolverReport,
}

/// The way from one host to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathReport {
    /// The other's name.
    pub to: String,
    /// Questions to the agent there, on the connection between agents.
    pub agent: RoundTrips,
    /// Why its agent did not answer.
    #[serde(default)]
    pub agent_error: Option<String>,
    /// Packets to its pool address, on the way that those of containers take.
    pub packets: RoundTrips,
    /// Why packets could not be sent.
    #[serde(default)]
    pub packets_error: Option<String>,
    /// The largest packet that arrives there, in bytes with its IP header.
    pub mtu: Option<u16>,
    /// The tunnel that they take; none in a cluster without.
    #[serde(default)]
    pub tunnel: Option<TunnelReport>,
}

/// What was sent, and how long answers took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoundTrips {
    /// How many were sent.
    pub sent: u16,
    /// How many of them were answered.
    pub answered: u16,
    /// The shortest time to an answer, in microseconds.
    pub min_us: Option<u64>,
    /// The average.
    pub avg_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
}

/// How a host's resolver answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverReport {
    /// Where it listens.
    pub address: Ipv4Addr,
    /// A name of the cluster.
    pub cluster: NameReport,
    /// A name outside of it, which it has to ask another resolver for.
    pub outside: NameReport,
}

/// What became of a question to a resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameReport {
    /// What was asked for.
    pub name: String,
    /// Time to the answer, in microseconds; none without a good one.
    pub took_us: Option<u64>,
    /// Why there was none, in words.
    #[serde(default)]
    pub error: Option<String>,
}
