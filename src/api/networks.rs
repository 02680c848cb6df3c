//! What the API shows of networks.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::{AppName, NetworkName, ReplicaId, ServiceName};

/// One network of an App, over all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Whose.
    pub app: AppName,
    /// Its key in the Compose file.
    pub network: NetworkName,
    /// Its name in Docker, on every host.
    pub name: String,
    /// The network of the whole cluster that it is a part of, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// No way out of the cluster.
    pub internal: bool,
    /// The addresses that each host gave it, by the host's name.
    pub blocks: BTreeMap<String, Ipv4Net>,
    /// What is on it.
    pub services: Vec<NetworkService>,
}

/// A Service on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkService {
    /// Which.
    pub service: ServiceName,
    /// Its stable address there; none with `endpoint_mode: dnsrr`, or before it has one.
    pub address: Option<Ipv4Addr>,
    /// The address that its file gives it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Ipv4Addr>,
    /// Further names it has there.
    pub aliases: Vec<String>,
    /// Its replicas that have an address there.
    pub replicas: Vec<NetworkReplica>,
}

/// A replica on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReplica {
    /// Which.
    pub replica: ReplicaId,
    /// The host's name.
    pub host: String,
    /// Its address there.
    pub address: Ipv4Addr,
    /// May be sent traffic.
    pub ready: bool,
}
