//! How a service is deployed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::text;

object! {
    /// How a service is deployed, `deploy`.
    pub struct Deploy {
        /// `replicated`, `global`, `replicated-job`, `global-job`.
        pub mode: Option<String>,
        /// How many replicas.
        pub replicas: Option<u32>,
        /// Labels of the Service, not of its containers.
        pub labels: BTreeMap<String, String>,
        /// How replicas are replaced.
        pub update_config: Option<UpdateConfig>,
        /// How replicas are replaced when an update is undone.
        pub rollback_config: Option<UpdateConfig>,
        /// Limits and reservations.
        pub resources: DeployResources,
        /// When a replica that ended is started again.
        pub restart_policy: Option<DeployRestartPolicy>,
        /// Where replicas may run.
        pub placement: DeployPlacement,
        /// `vip` or `dnsrr`.
        pub endpoint_mode: Option<String>,
    }
}

object! {
    /// How replicas are replaced.
    pub struct UpdateConfig {
        /// So many at a time; 0 means all at once.
        pub parallelism: Option<u32>,
        /// Pause between batches.
        #[serde(with = "text::duration")]
        pub delay: Option<Duration>,
        /// `continue`, `pause`, `rollback`.
        pub failure_action: Option<String>,
        /// How long a new replica is watched.
        #[serde(with = "text::duration")]
        pub monitor: Option<Duration>,
        /// Part of the replicas that may fail.
        #[serde(with = "text::decimal")]
        pub max_failure_ratio: Option<f64>,
        /// `stop-first` or `start-first`.
        pub order: Option<String>,
    }
}

object! {
    /// Limits and reservations.
    pub struct DeployResources {
        /// The most a replica may use.
        pub limits: Option<DeployResource>,
        /// What is kept for it.
        pub reservations: Option<DeployResource>,
    }
}

object! {
    /// An amount of resources.
    pub struct DeployResource {
        /// CPUs.
        #[serde(with = "text::decimal")]
        pub cpus: Option<f64>,
        /// Bytes.
        #[serde(with = "text::bytes")]
        pub memory: Option<u64>,
        /// Processes; -1 means no limit.
        pub pids: Option<i64>,
        /// Devices.
        pub devices: Vec<DeviceRequest>,
        /// Resources that an operator declared, canonical values.
        pub generic_resources: Vec<serde_json::Value>,
    }
}

object! {
    /// A wish for devices, `deploy.resources.reservations.devices` and `gpus`.
    pub struct DeviceRequest {
        /// What they must be able to do: `gpu`.
        pub capabilities: Vec<String>,
        /// Driver.
        pub driver: Option<String>,
        /// How many; -1 means all.
        pub count: Option<i64>,
        /// Which.
        pub device_ids: Vec<String>,
        /// Options of the driver.
        pub options: BTreeMap<String, String>,
    }
}

object! {
    /// When a replica that ended is started again.
    pub struct DeployRestartPolicy {
        /// `none`, `on-failure`, `any`.
        pub condition: Option<String>,
        /// Pause before it.
        #[serde(with = "text::duration")]
        pub delay: Option<Duration>,
        /// At most so often.
        pub max_attempts: Option<u32>,
        /// How long it must run to count as started.
        #[serde(with = "text::duration")]
        pub window: Option<Duration>,
    }
}

object! {
    /// Where replicas may run.
    pub struct DeployPlacement {
        /// All must hold: `node.labels.disk == ssd`.
        pub constraints: Vec<String>,
        /// Labels to spread over.
        pub preferences: Vec<Preference>,
        /// At most so many on one host.
        pub max_replicas_per_node: Option<u32>,
    }
}

object! {
    /// One label to spread over.
    pub struct Preference {
        /// `node.labels.zone`.
        pub spread: Option<String>,
    }
}
