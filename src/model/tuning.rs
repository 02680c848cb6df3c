//! The rarer settings of a container, which most Revisions do without.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings that few files have. All unset means Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// Annotations for the runtime (Engine API 1.43).
    pub annotations: BTreeMap<String, String>,
    /// Control group namespace: `host`, `private`.
    pub cgroup: Option<String>,
    /// The control group the container's is in.
    pub cgroup_parent: Option<String>,
    /// Length of a scheduler period, microseconds.
    pub cpu_period: Option<i64>,
    /// CPU time in each period, microseconds.
    pub cpu_quota: Option<i64>,
    /// Length of a real-time period, microseconds.
    pub cpu_rt_period: Option<i64>,
    /// Real-time CPU time in each period, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs it may run on: `0-3,5`.
    pub cpuset: Option<String>,
    /// Rules of the device control group, as Docker spells them.
    pub device_cgroup_rules: Vec<String>,
    /// Limit of memory and swap together in bytes; -1 means no limit.
    pub memory_swap: Option<i64>,
    /// How readily its memory is swapped out, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// The kernel does not kill it for want of memory.
    pub oom_kill_disable: bool,
    /// Options of the storage driver.
    pub storage_opt: BTreeMap<String, String>,
    /// Host name namespace: `host`.
    pub uts: Option<String>,
    /// Shares and limits of disks.
    pub block_io: BlockIo,
}

impl Tuning {
    /// Whether nothing is set; then it is not written, so that ids of Revisions made before it
    /// was known stay what they were.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Shares and limits of disks. Devices are paths on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// Share of every disk, 10 to 1000.
    pub weight: Option<u16>,
    /// Share of one disk.
    pub weight_device: Vec<(String, u16)>,
    /// Bytes a second.
    pub read_bps: Vec<(String, u64)>,
    /// Operations a second.
    pub read_iops: Vec<(String, u64)>,
    /// Bytes a second.
    pub write_bps: Vec<(String, u64)>,
    /// Operations a second.
    pub write_iops: Vec<(String, u64)>,
}
