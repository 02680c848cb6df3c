//! What a container takes of its host.

use serde::{Deserialize, Serialize};

/// What the engine counted of a running container. Times and bytes of the network only rise while
/// it runs, and begin anew when it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Time on CPUs, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory it holds, in bytes, without what the kernel can take back from its files.
    pub memory: u64,
    /// The most it may hold, in bytes: its own limit, else the host's memory.
    pub memory_limit: u64,
    /// Bytes received over all its networks.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Processes and threads.
    pub pids: u64,
}
