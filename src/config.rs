//! Settings of an agent and of the command line, with their defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

/// UDP port of an agent when none is given.
pub const DEFAULT_PORT: u16 = 7400;

/// Addresses of a cluster when `init` names none (network.md).
pub const DEFAULT_POOL: &str = "10.208.0.0/12";

/// Where an agent keeps its state when nothing is said.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/muster";

/// Where an agent listens for the local command line when nothing is said.
pub const DEFAULT_SOCKET: &str = "/run/muster.sock";

/// Where an agent tells its metrics when it is to, and no address is given: on this machine alone.
pub const DEFAULT_METRICS: &str = "127.0.0.1:7401";

/// Docker's socket when nothing is said.
pub const DEFAULT_DOCKER: &str = "unix:///var/run/docker.sock";

/// What an agent is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// State: identity, store.
    pub data_dir: PathBuf,
    /// Unix socket for the command line.
    pub socket: PathBuf,
    /// Docker's address, `unix://…`.
    pub docker: String,
    /// UDP address for other agents.
    pub listen: SocketAddr,
    /// TCP address for Prometheus; none listens nowhere.
    pub metrics: Option<SocketAddr>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
            socket: PathBuf::from(DEFAULT_SOCKET),
            docker: DEFAULT_DOCKER.to_owned(),
            listen: SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)),
            metrics: None,
        }
    }
}

/// The default pool, parsed.
pub fn default_pool() -> Ipv4Net {
    DEFAULT_POOL.parse().expect("the constant is a network")
}
