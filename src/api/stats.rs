//! What the API shows of what replicas take and who is asked how often.

use serde::{Deserialize, Serialize};

use crate::model::{AppName, ReplicaId, ServiceName, Usage};

/// What an App takes, over all hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppStats {
    /// Which.
    pub app: AppName,
    /// Its Services, by name.
    pub services: Vec<ServiceStats>,
    /// Its running containers, by replica and host.
    pub replicas: Vec<ReplicaStats>,
    /// Hosts that did not tell what runs there.
    pub silent: Vec<SilentHost>,
}

/// One Service, over all hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStats {
    /// Which.
    pub service: ServiceName,
    /// Replicas that may be sent traffic.
    pub ready: u32,
    /// Replicas there should be.
    pub wanted: u32,
    /// Containers that were measured.
    pub measured: u32,
    /// CPUs they take together.
    pub cpus: f64,
    /// Bytes of memory they hold together.
    pub memory: u64,
    /// Bytes received by them each second.
    pub received_per_second: f64,
    /// Bytes sent by them each second.
    pub sent_per_second: f64,
    /// Connections handed out to it by all hosts, by its address and its published ports.
    pub connections: u64,
    /// How many more each second.
    pub connections_per_second: f64,
}

/// One running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStats {
    /// Which.
    pub replica: ReplicaId,
    /// The host's name.
    pub host: String,
    /// Its name in Docker.
    pub container: String,
    /// What it took since it was started.
    pub usage: Usage,
    /// CPUs it takes; none until it was measured twice.
    pub cpus: Option<f64>,
    /// Bytes it receives each second.
    pub received_per_second: Option<f64>,
    /// Bytes it sends each second.
    pub sent_per_second: Option<f64>,
    /// Connections handed out to it by all hosts.
    #[serde(default)]
    pub connections: u64,
}

/// A host that did not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentHost {
    /// Its name.
    pub host: String,
    /// Why, in words.
    pub reason: String,
}

/// What one host measured and counted of an App.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostStats {
    /// Containers that run there.
    pub replicas: Vec<ReplicaStats>,
    /// Connections that it handed out, wherever they went.
    pub services: Vec<HandedOutTo>,
    /// The same by replica.
    pub endpoints: Vec<(ReplicaId, u64)>,
}

/// Connections to a Service that one host handed out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandedOutTo {
    /// Which App.
    pub app: AppName,
    /// Which Service.
    pub service: ServiceName,
    /// By a published port, and not by the Service's address.
    pub by_port: bool,
    /// How many.
    pub connections: u64,
    /// How many more each second.
    #[serde(default)]
    pub per_second: Option<f64>,
}
