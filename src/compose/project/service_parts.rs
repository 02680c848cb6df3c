//! The objects inside a service.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Other, text};

object! {
    /// One port. Ranges of the short form are already several of these.
    pub struct Port {
        /// A name for people.
        pub name: Option<String>,
        /// `ingress` or `host`.
        pub mode: Option<String>,
        /// The address listened on.
        pub host_ip: Option<String>,
        /// The port in the container.
        pub target: u16,
        /// The port outside: a number or a range; none means any.
        pub published: Option<String>,
        /// `tcp`, `udp`, `sctp`.
        pub protocol: Option<String>,
        /// What is spoken on it.
        pub app_protocol: Option<String>,
    }
}

/// Kind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A volume; without a source it has no name.
    #[default]
    Volume,
    /// A path of the host.
    Bind,
    /// A memory file system.
    Tmpfs,
    /// A Windows named pipe.
    Npipe,
    /// A Swarm cluster volume.
    Cluster,
    /// The content of an image.
    Image,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: MountType,
    /// Volume key, absolute path on the host, or image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Path inside the container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// No writing.
    #[serde(skip_serializing_if = "super::absent")]
    pub read_only: bool,
    /// Hint for Docker Desktop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// Options of a bind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// Options of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// Options of a memory file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
    /// Options of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageOptions>,
    /// Valid keys without a field here, and `x-` keys.
    #[serde(flatten)]
    pub other: Other,
}

object! {
    /// Options of a bind.
    pub struct BindOptions {
        /// `rprivate`, `rshared` …
        pub propagation: Option<String>,
        /// Make a folder there when nothing is; none means yes.
        pub create_host_path: Option<bool>,
        /// What to do with mounts below: `enabled`, `disabled`, `writable`, `readonly`.
        pub recursive: Option<String>,
        /// `z` (shared) or `Z` (private).
        pub selinux: Option<String>,
    }
}

object! {
    /// Options of a volume.
    pub struct VolumeOptions {
        /// Labels, when the mount makes the volume.
        pub labels: BTreeMap<String, String>,
        /// Do not fill an empty volume from the image.
        pub nocopy: bool,
        /// A folder of the volume.
        pub subpath: Option<String>,
    }
}

object! {
    /// Options of a memory file system.
    pub struct TmpfsOptions {
        /// Bytes; none means no limit.
        #[serde(with = "text::bytes")]
        pub size: Option<u64>,
        /// Permission bits.
        pub mode: Option<u32>,
    }
}

object! {
    /// Options of an image mount.
    pub struct ImageOptions {
        /// A folder of the image.
        pub subpath: Option<String>,
    }
}

object! {
    /// How a service joins a network.
    pub struct Attachment {
        /// Further names on this network.
        pub aliases: Vec<String>,
        /// Options of the driver.
        pub driver_opts: BTreeMap<String, String>,
        /// Which network is the way out: the highest.
        pub gw_priority: i64,
        /// Name of the interface inside the container.
        pub interface_name: Option<String>,
        /// A fixed address.
        pub ipv4_address: Option<String>,
        /// A fixed address.
        pub ipv6_address: Option<String>,
        /// Link-local addresses.
        pub link_local_ips: Vec<String>,
        /// A fixed MAC address.
        pub mac_address: Option<String>,
        /// Order in which networks are joined: the highest first.
        pub priority: i64,
        /// Whether the file wrote a mapping, which is printed even when it is empty.
        #[serde(skip)]
        pub written: bool,
    }
}

/// What must have happened to another service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependsOn {
    /// What.
    #[serde(default)]
    pub condition: DependsOnCondition,
    /// Restart this service when that one was updated.
    #[serde(default, skip_serializing_if = "super::absent")]
    pub restart: bool,
    /// Whether a missing service is an error.
    #[serde(default = "yes")]
    pub required: bool,
}

fn yes() -> bool {
    true
}

impl Default for DependsOn {
    fn default() -> Self {
        Self { condition: DependsOnCondition::default(), restart: false, required: true }
    }
}

/// `depends_on.condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DependsOnCondition {
    /// It was started.
    #[default]
    #[serde(rename = "service_started")]
    Started,
    /// It is healthy.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It ended with exit code 0.
    #[serde(rename = "service_completed_successfully")]
    CompletedSuccessfully,
}

object! {
    /// A health check.
    pub struct Healthcheck {
        /// `["CMD", …]`, `["CMD-SHELL", line]`, `["NONE"]`; the text form is already the second.
        pub test: Option<Vec<String>>,
        /// Time between checks.
        #[serde(with = "text::duration")]
        pub interval: Option<Duration>,
        /// Longest run of one check.
        #[serde(with = "text::duration")]
        pub timeout: Option<Duration>,
        /// Failures in a row that make it unhealthy.
        pub retries: Option<u32>,
        /// Failures do not count for so long after the start.
        #[serde(with = "text::duration")]
        pub start_period: Option<Duration>,
        /// Interval during the start period.
        #[serde(with = "text::duration")]
        pub start_interval: Option<Duration>,
        /// No check at all, also not the image's.
        pub disable: bool,
    }
}

/// A file with variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFile {
    /// Absolute path.
    pub path: String,
    /// Whether a missing file is an error.
    #[serde(default = "yes")]
    pub required: bool,
    /// `raw`: values are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

object! {
    /// A config or a secret put into a container or a build.
    pub struct FileReference {
        /// Its key.
        pub source: String,
        /// Path inside the container.
        pub target: Option<String>,
        /// Owner.
        pub uid: Option<String>,
        /// Group.
        pub gid: Option<String>,
        /// Permission bits.
        #[serde(with = "text::mode")]
        pub mode: Option<u32>,
    }
}

object! {
    /// A device of the host.
    pub struct Device {
        /// Path on the host, or the name of a CDI device.
        pub source: String,
        /// Path inside the container.
        pub target: Option<String>,
        /// Some of `rwm`.
        pub permissions: Option<String>,
    }
}

object! {
    /// Where output goes.
    pub struct Logging {
        /// Log driver.
        pub driver: Option<String>,
        /// Its options.
        pub options: BTreeMap<String, String>,
    }
}

object! {
    /// Shares and limits of disks.
    pub struct BlkioConfig {
        /// Share of every disk, 10 to 1000.
        pub weight: Option<u16>,
        /// Share of one disk.
        pub weight_device: Vec<WeightDevice>,
        /// Bytes a second read from one disk.
        pub device_read_bps: Vec<ThrottleDevice>,
        /// Operations a second.
        pub device_read_iops: Vec<ThrottleDevice>,
        /// Bytes a second written to one disk.
        pub device_write_bps: Vec<ThrottleDevice>,
        /// Operations a second.
        pub device_write_iops: Vec<ThrottleDevice>,
    }
}

/// Share of one disk. Printed with capitals, as Compose does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightDevice {
    /// Path of the device on the host.
    #[serde(rename = "Path", alias = "path")]
    pub path: String,
    /// Its share, 10 to 1000.
    #[serde(rename = "Weight", alias = "weight")]
    pub weight: u16,
}

/// Limit of one disk. Printed with capitals, as Compose does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThrottleDevice {
    /// Path of the device on the host.
    #[serde(rename = "Path", alias = "path")]
    pub path: String,
    /// Bytes or operations a second.
    #[serde(rename = "Rate", alias = "rate", default, with = "text::bytes")]
    pub rate: Option<u64>,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    /// Soft and hard alike.
    Single(i64),
    /// Both.
    Range {
        /// May be raised by the process up to `hard`.
        soft: i64,
        /// The most.
        hard: i64,
    },
}
