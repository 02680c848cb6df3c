//! What goes over the API, as JSON. Apart from the internal types, so that both can change.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::model::{
    AppName, Availability, Capacity, Health, HostId, Intent, Liveness, NetworkName, Overlay, Phase,
    PublishedPort, ReplicaId, RevisionId, SealedRevision, ServiceName,
};

mod authority;
mod history;
mod hosts;
mod inventory;
mod jobs;
mod logs;
mod operators;
mod provider;
mod scaling;

pub use authority::*;
pub use history::*;
pub use hosts::*;
pub use inventory::*;
pub use jobs::*;
pub use logs::*;
pub use operators::*;
pub use provider::*;
pub use scaling::*;

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The host's name.
    pub name: String,
    /// The host's id; none before `init` or `join`.
    pub host: Option<HostId>,
    /// The cluster's id; none before `init` or `join`.
    pub cluster: Option<String>,
    /// Where other agents reach it.
    pub address: Option<SocketAddr>,
    /// Its slice of the pool.
    pub slice: Option<Ipv4Net>,
    /// All addresses of the cluster.
    #[serde(default)]
    pub pool: Option<Ipv4Net>,
    /// How packets of containers get from host to host; none before `init` or `join`.
    #[serde(default)]
    pub overlay: Option<Overlay>,
    /// Docker's version; empty when Docker does not answer.
    pub engine_version: String,
    /// Live hosts, this one included.
    pub hosts_alive: u32,
    /// The cluster that this host was removed from, if it belongs to no other since.
    #[serde(default)]
    pub removed_from: Option<String>,
}

/// `muster init`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitRequest {
    /// The host's name; none means its hostname.
    pub name: Option<String>,
    /// Where other agents reach it; none means the address of the default route, else loopback.
    pub advertise: Option<SocketAddr>,
    /// The cluster's addresses; none means 10.208.0.0/12.
    pub pool: Option<Ipv4Net>,
    /// How packets of containers get from host to host; none means by tunnels.
    #[serde(default)]
    pub overlay: Option<Overlay>,
    /// Labels for placement.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// `muster join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The token as it was printed.
    pub token: String,
    /// The host's name; none means its hostname.
    pub name: Option<String>,
    /// Where other agents reach it; none means the address used to reach the token's issuer.
    pub advertise: Option<SocketAddr>,
    /// Labels for placement.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// One host in `muster nodes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Id.
    pub id: HostId,
    /// Name.
    pub name: String,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// What this agent thinks of it.
    pub liveness: Liveness,
    /// Whether it takes replicas.
    pub availability: Availability,
    /// Its slice of the pool.
    pub slice: Option<Ipv4Net>,
    /// `linux/amd64`.
    pub platform: String,
    /// What it has.
    pub capacity: Capacity,
    /// What replicas there reserve.
    pub reserved: Capacity,
    /// Replicas there.
    pub replicas: u32,
    /// GPUs and what else replicas reserve there.
    #[serde(default, skip_serializing_if = "NodeInventory::is_empty")]
    pub inventory: NodeInventory,
    /// Docker's version.
    pub engine_version: String,
    /// Docker's disk has no room for another image.
    #[serde(default)]
    pub disk_full: bool,
    /// The agent's version.
    pub agent_version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is the host that answers.
    pub this: bool,
}

/// One App in `muster ls`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppSummary {
    /// Name.
    pub app: AppName,
    /// The Revision that counts.
    pub revision: RevisionId,
    /// Its sequence.
    pub sequence: u64,
    /// Run, or being removed.
    pub intent: Intent,
    /// Replicas wanted.
    pub wanted: u32,
    /// Replicas ready (or completed).
    pub ready: u32,
    /// Other Revisions of the same App that lost a conflict; empty in a healthy cluster.
    pub conflicts: Vec<RevisionId>,
    /// The App's Home.
    pub home: Option<HostId>,
}

/// One App in `muster ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppDetail {
    /// The summary.
    pub summary: AppSummary,
    /// Every replica that is planned or still there.
    pub replicas: Vec<ReplicaView>,
    /// Every Service.
    pub services: Vec<ServiceView>,
    /// True when every wanted replica is ready or completed at the newest Revision, what has no
    /// health check has stayed up for as long as it is watched, and nothing is left over.
    pub settled: bool,
    /// Milliseconds for which it is still watched whether what has just come up stays up; none when
    /// something else is waited for, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_ms: Option<u64>,
    /// True when something failed in a way that will not mend by itself.
    pub failed: bool,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Which.
    pub replica: ReplicaId,
    /// The host's name, or its id when the name is not known; empty when it runs nowhere.
    pub host: String,
    /// How far it is; none when its host has said nothing of it yet.
    pub phase: Option<Phase>,
    /// What its health check says.
    pub health: Health,
    /// May be sent traffic.
    pub ready: bool,
    /// Runs the newest Revision's spec.
    pub current: bool,
    /// Its image.
    pub image: String,
    /// Addresses by network.
    pub addresses: BTreeMap<NetworkName, Ipv4Addr>,
    /// Times it was started again.
    pub restarts: u32,
    /// The container's name in Docker.
    pub container: Option<String>,
    /// Seconds it is in this phase, by its host's clock and ours.
    pub age_seconds: u64,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// It waits for something that only people can do.
    #[serde(default)]
    pub stuck: bool,
}

/// One Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Which.
    pub service: ServiceName,
    /// Stable address on each network.
    pub addresses: BTreeMap<NetworkName, Ipv4Addr>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// Ready replicas.
    pub ready: u32,
    /// Replicas wanted.
    pub wanted: u32,
    /// Ready ones that ended with exit code 0 and are not to run again.
    #[serde(default)]
    pub completed: u32,
    /// How its update goes; none when all replicas run what is wanted and have proved themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutView>,
    /// How its number of replicas follows what is measured; none when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingView>,
}

/// `muster up`, `down`, `scale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The Revision; its parents, sequence and origin are set by the agent.
    pub revision: SealedRevision,
    /// The Revision the person saw when deciding; refused with `conflict` when the App has moved
    /// on. None means whatever is there.
    pub expected: Option<RevisionId>,
    /// The verb, for the history.
    pub command: String,
    /// Try again what was rolled back or paused, although its container is the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// What is decided of a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Decided>,
    /// Who asked from elsewhere, and the host that was asked; whatever comes over the API is replaced
    /// by the agent, which knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// See `by`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<HostId>,
}

impl SubmitRequest {
    /// What a command submits: this Revision, as it is.
    pub fn new(
        revision: impl Into<SealedRevision>,
        expected: Option<RevisionId>,
        command: impl Into<String>,
    ) -> Self {
        let (revision, command) = (revision.into(), command.into());
        Self { revision, expected, command, retry: false, order: None, by: None, asked: None }
    }

    /// The same, and what was rolled back is tried again.
    #[must_use]
    pub fn retrying(self) -> Self {
        Self { retry: true, ..self }
    }
}

/// Answer to a submit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// Its id.
    pub revision: RevisionId,
    /// Its sequence.
    pub sequence: u64,
    /// False when the App already was at this state and nothing was written.
    pub changed: bool,
    /// Hosts that have it on disk.
    pub stored: u32,
    /// Live hosts.
    pub alive: u32,
}

/// What `muster plan` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanPreview {
    /// The App.
    pub app: AppName,
    /// The Revision that counts now.
    pub from: Option<RevisionId>,
    /// What would change.
    pub changes: Vec<Change>,
    /// Reasons a submit would be refused, such as a port that is taken.
    pub refusals: Vec<Refusal>,
}

/// One change of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// To what: a replica, a network, a volume, in words.
    pub subject: String,
    /// On which host, by name; empty when on none.
    pub host: String,
    /// Why, for people.
    pub reason: String,
}

/// What happens to the subject of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Made.
    Create,
    /// Made anew with another spec.
    Replace,
    /// Goes to another host.
    Move,
    /// Goes.
    Remove,
    /// Stays where it should not be.
    Stay,
    /// Cannot be placed yet.
    Wait,
}

/// Why a submit is refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The image that is missing, when that is what is wrong.
    #[serde(default)]
    pub image: Option<String>,
}

/// Where an image could come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageKnown {
    /// Hosts that have it, by name.
    pub hosts: Vec<String>,
}

/// An error as the API gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Whose fault, which is the exit code of the command line.
    pub kind: ErrorKind,
    /// What failed.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

impl ApiError {
    /// An error the user can mend.
    pub fn user(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::User, message: message.into(), hint: None }
    }

    /// An error of the cluster or of a host.
    pub fn cluster(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Cluster, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.hint_if(Some(hint))
    }

    /// The same with a hint where there is one.
    #[must_use]
    pub fn hint_if(self, hint: Option<impl Into<String>>) -> Self {
        let hint = hint.map(Into::into).or(self.hint);
        Self { hint, ..self }
    }
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The user's to mend; exit code 1.
    User,
    /// Whoever asks may not; exit code 1.
    Forbidden,
    /// The App has moved on since the user looked; exit code 1.
    Conflict,
    /// There is no such App, host or service; exit code 1.
    NotFound,
    /// This host belongs to no cluster; exit code 1.
    NotInCluster,
    /// The cluster's fault; exit code 3.
    Cluster,
}
