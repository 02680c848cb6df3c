//! One service.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;

use super::text;
use super::{
    Attachment, BlkioConfig, Build, DependsOn, Deploy, Device, EnvFile, FileReference, Healthcheck,
    Logging, Port, Ulimit, VolumeMount,
};

object! {
    /// One service. A key that is not set is `None`, empty or false; a key of the Specification
    /// without a field is in `other`.
    pub struct Service {
        /// Profiles that switch it on; empty means always on.
        pub profiles: Vec<String>,
        /// Annotations of the container.
        pub annotations: BTreeMap<String, String>,
        /// How its image is built.
        pub build: Option<Build>,
        /// Shares and limits of disks.
        pub blkio_config: Option<BlkioConfig>,
        /// Capabilities added.
        pub cap_add: Vec<String>,
        /// Capabilities dropped.
        pub cap_drop: Vec<String>,
        /// Control group namespace: `host`, `private`.
        pub cgroup: Option<String>,
        /// The control group the container's is in.
        pub cgroup_parent: Option<String>,
        /// Replaces the image's command; empty clears it. The shell form is already split.
        pub command: Option<Vec<String>>,
        /// Configs put into the container.
        pub configs: Vec<FileReference>,
        /// A name for the container.
        pub container_name: Option<String>,
        /// Length of a scheduler period, microseconds.
        pub cpu_period: Option<i64>,
        /// CPU time in each period, microseconds.
        pub cpu_quota: Option<i64>,
        /// Length of a real-time period, microseconds.
        pub cpu_rt_period: Option<i64>,
        /// Real-time CPU time in each period, microseconds.
        pub cpu_rt_runtime: Option<i64>,
        /// Relative CPU weight.
        pub cpu_shares: Option<i64>,
        /// Limit in CPUs.
        #[serde(with = "text::decimal")]
        pub cpus: Option<f64>,
        /// CPUs it may run on: `0-3,5`.
        pub cpuset: Option<String>,
        /// What must have happened before it starts, by service.
        pub depends_on: IndexMap<String, DependsOn>,
        /// How it is deployed.
        pub deploy: Option<Deploy>,
        /// Rules of the device control group.
        pub device_cgroup_rules: Vec<String>,
        /// Devices of the host.
        pub devices: Vec<Device>,
        /// Name servers.
        pub dns: Vec<String>,
        /// Resolver options.
        pub dns_opt: Vec<String>,
        /// Search domains.
        pub dns_search: Vec<String>,
        /// Domain name inside the container.
        pub domainname: Option<String>,
        /// Replaces the image's entrypoint; empty clears it. The shell form is already split.
        pub entrypoint: Option<Vec<String>>,
        /// Files that were read into `environment`; empty once they were.
        pub env_file: Vec<EnvFile>,
        /// The environment; none means the variable is not set where the project was loaded.
        pub environment: BTreeMap<String, Option<String>>,
        /// Ports the container is said to listen on: `3000`, `4000/udp`.
        pub expose: Vec<String>,
        /// `host=address` lines for /etc/hosts.
        pub extra_hosts: Vec<String>,
        /// Further groups.
        pub group_add: Vec<String>,
        /// Health check.
        pub healthcheck: Option<Healthcheck>,
        /// Host name inside the container.
        pub hostname: Option<String>,
        /// Image reference.
        pub image: Option<String>,
        /// Runs an init inside.
        pub init: Option<bool>,
        /// IPC namespace.
        pub ipc: Option<String>,
        /// Labels of the container.
        pub labels: BTreeMap<String, String>,
        /// `service` or `service:alias`.
        pub links: Vec<String>,
        /// Where its output goes.
        pub logging: Option<Logging>,
        /// MAC address on the first network.
        pub mac_address: Option<String>,
        /// Limit in bytes.
        #[serde(with = "text::bytes")]
        pub mem_limit: Option<u64>,
        /// Reserved bytes.
        #[serde(with = "text::bytes")]
        pub mem_reservation: Option<u64>,
        /// How readily its memory is swapped out, 0 to 100.
        #[serde(with = "text::signed_bytes")]
        pub mem_swappiness: Option<i64>,
        /// Limit of memory and swap together in bytes; -1 means no limit.
        #[serde(with = "text::signed_bytes")]
        pub memswap_limit: Option<i64>,
        /// `host`, `none`, `bridge`, `service:name`, `container:name`.
        pub network_mode: Option<String>,
        /// Networks joined, by key; `default` when the file names none and no network mode.
        #[serde(with = "text::nullable")]
        pub networks: IndexMap<String, Attachment>,
        /// The kernel does not kill it for want of memory.
        pub oom_kill_disable: bool,
        /// OOM score adjustment.
        pub oom_score_adj: Option<i64>,
        /// Process namespace.
        pub pid: Option<String>,
        /// Limit in processes; -1 means none.
        pub pids_limit: Option<i64>,
        /// `os/arch[/variant]`.
        pub platform: Option<String>,
        /// Ports.
        pub ports: Vec<Port>,
        /// All privileges.
        pub privileged: bool,
        /// `always`, `never`, `missing`, `build`, `daily`, `weekly`, `every_<duration>`.
        pub pull_policy: Option<String>,
        /// Root file system is read-only.
        pub read_only: bool,
        /// `no`, `always`, `on-failure[:n]`, `unless-stopped`.
        pub restart: Option<String>,
        /// OCI runtime.
        pub runtime: Option<String>,
        /// How many containers.
        pub scale: Option<u32>,
        /// Secrets put into the container.
        pub secrets: Vec<FileReference>,
        /// Security options.
        pub security_opt: Vec<String>,
        /// Size of /dev/shm in bytes.
        #[serde(with = "text::bytes")]
        pub shm_size: Option<u64>,
        /// Keeps standard input open.
        pub stdin_open: bool,
        /// Time between the stop signal and SIGKILL.
        #[serde(with = "text::duration")]
        pub stop_grace_period: Option<Duration>,
        /// Signal that asks the container to stop.
        pub stop_signal: Option<String>,
        /// Options of the storage driver.
        pub storage_opt: BTreeMap<String, String>,
        /// Kernel settings of the container.
        pub sysctls: BTreeMap<String, String>,
        /// Memory file systems: `path` or `path:options`.
        pub tmpfs: Vec<String>,
        /// Allocates a terminal.
        pub tty: bool,
        /// Resource limits by name.
        pub ulimits: BTreeMap<String, Ulimit>,
        /// `user[:group]`.
        pub user: Option<String>,
        /// User namespace.
        pub userns_mode: Option<String>,
        /// Host name namespace: `host`.
        pub uts: Option<String>,
        /// Mounts.
        pub volumes: Vec<VolumeMount>,
        /// Containers and services whose mounts are shared.
        pub volumes_from: Vec<String>,
        /// Working directory.
        pub working_dir: Option<String>,
    }
}
