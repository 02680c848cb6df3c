//! What is done at the start and at the end of a container, beside its own program.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ContainerSpec, NetworkName};

/// The hooks of a Deployment, Compose `pre_start`, `post_start` and `pre_stop`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hooks {
    /// Containers that run one after the other before the container of a replica is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_start: Vec<Step>,
    /// Run in the container after each start; until then it gets no traffic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// Run in the container before muster sends its stop signal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
}

impl Hooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self { pre_start, post_start, pre_stop } = self;
        pre_start.is_empty() && post_start.is_empty() && pre_stop.is_empty()
    }

    /// The steps that run before a replica's container, by their place in the list. Those that are
    /// for all replicas together run with the one that `leads`.
    pub fn steps(&self, leads: bool) -> impl Iterator<Item = (u32, &Step)> {
        let all = (0..).zip(&self.pre_start);
        all.filter(move |(_, step)| step.per_replica || leads)
    }

    /// Whether some step runs once for all replicas.
    pub fn has_common_steps(&self) -> bool {
        self.pre_start.iter().any(|step| !step.per_replica)
    }
}

/// A command in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hook {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `user[:group]`; none means the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// All privileges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Working directory; none means the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Variables beside the container's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

/// A container that runs to its end before another one is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What runs.
    pub container: ContainerSpec,
    /// The networks of the Deployment that it joins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkName>,
    /// Before each replica rather than once for all of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_replica: bool,
}

/// What is done before a container is asked to stop. It travels with the container, as a label: who
/// stops it need not know its Revision any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// One after the other.
    pub hooks: Vec<Hook>,
    /// Milliseconds that all of them may take together: the container's grace period.
    pub limit_ms: u64,
}

impl Farewell {
    /// What a container of this kind takes with it; none without `pre_stop`.
    pub fn of(spec: &ContainerSpec) -> Option<Self> {
        let hooks = spec.hooks.pre_stop.clone();
        let limit_ms = u64::try_from(spec.stop_grace().as_millis()).unwrap_or(u64::MAX);
        (!hooks.is_empty()).then_some(Self { hooks, limit_ms })
    }

    /// The time that all hooks may take together.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms)
    }
}
