//! Rows: facts that one Host owns and only it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{
    AppName, Fleet, Generation, Health, HostId, Inventory, Measured, NetworkName, Operator, Plan,
    Provider, ReplicaId, RowBody, RunRequest, WallSeconds,
};

/// Orders the writes of one Host: the boot epoch, then a counter within it. Both only rise.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Version {
    /// Rises by one at each start of the agent; kept on disk before the first Row is sent.
    pub epoch: u64,
    /// Rises by one at each write.
    pub counter: u64,
}

/// Which fact a Row states.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKey {
    /// What the host is: [`HostFacts`].
    Host,
    /// The host's replicas of one App: [`Vec<ReplicaStatus>`].
    Replicas(AppName),
    /// The Plan the host made for an App as its Home.
    Plan(AppName),
    /// That another host was removed from the cluster for good: the body is `true`.
    Removed(HostId),
    /// What somebody asked of a host here: [`HostWanted`]. It outlives the one it was asked of.
    Wanted(HostId),
    /// Who was let in here to work on the cluster from elsewhere, by the id of the key: [`Operator`].
    Operator(HostId),
    /// What the host measured for the rules of an App that say how many replicas it has: [`Measured`].
    Measured(AppName),
    /// The runs of an App that were asked for here and not begun yet: [`Vec<RunRequest>`].
    Asked(AppName),
    /// Which command adds hosts, as somebody asked here: [`Provider`].
    Provider,
    /// What the host decided that calls it: [`Fleet`].
    Fleet,
    /// A kind of a newer agent's, which this one keeps and passes on.
    #[serde(untagged)]
    Other(OtherKey),
}

/// A [`RowKey`] that this version does not know, as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OtherKey {
    /// `"kind"`.
    Kind(String),
    /// `{"kind": "of what"}`.
    Of(BTreeMap<String, String>),
}

/// A Row as it is kept and sent. The body stays as it came, so that a field a newer agent wrote
/// survives its way through an older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The only writer.
    pub owner: HostId,
    /// Which fact.
    pub key: RowKey,
    /// When it was written.
    pub version: Version,
    /// The fact; JSON null means the owner withdrew it.
    pub body: RowBody,
}

/// A Row's body, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Body of [`RowKey::Host`].
    Host(Box<HostFacts>),
    /// Body of [`RowKey::Replicas`].
    Replicas(Vec<ReplicaStatus>),
    /// Body of [`RowKey::Plan`].
    Plan(Box<Plan>),
    /// Body of [`RowKey::Removed`].
    Removed,
    /// Body of [`RowKey::Wanted`].
    Wanted(HostWanted),
    /// Body of [`RowKey::Operator`].
    Operator(Operator),
    /// Body of [`RowKey::Measured`].
    Measured(Measured),
    /// Body of [`RowKey::Asked`].
    Asked(Vec<RunRequest>),
    /// Body of [`RowKey::Provider`].
    Provider(Provider),
    /// Body of [`RowKey::Fleet`].
    Fleet(Box<Fleet>),
}

/// What people want of a host: a register that any member writes, in a Row of its own, so that it
/// works while the host is down. The highest number counts, then the highest writer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostWanted {
    /// One more than the number that counted when this was written.
    pub number: u64,
    /// Whether it is to take replicas.
    #[serde(default)]
    pub availability: Availability,
    /// Its labels, all of them; none means those that it was given at `init` or `join`.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The name people use; unique in a healthy cluster.
    pub name: String,
    /// Where its agent listens for other agents (UDP).
    pub address: SocketAddr,
    /// Its slice of the pool: container addresses and the resolver are in it.
    pub slice: Ipv4Net,
    /// Labels for `node.labels.X`, unless [`HostWanted`] has others.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it takes new replicas, unless [`HostWanted`] says otherwise.
    #[serde(default)]
    pub availability: Availability,
    /// What it has.
    pub capacity: Capacity,
    /// `linux/amd64`.
    pub platform: String,
    /// Docker's version; empty while Docker does not answer.
    #[serde(default)]
    pub engine_version: String,
    /// The agent's version.
    #[serde(default)]
    pub agent_version: String,
    /// Docker's disk has no room for another image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
    /// Its kernel has SCTP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sctp: bool,
    /// What else replicas ask for.
    #[serde(default, skip_serializing_if = "Inventory::is_empty")]
    pub inventory: Inventory,
    /// The authority it goes by; none says an agent that knows of one alone.
    #[serde(default)]
    pub authority: Option<AuthorityId>,
    /// Volumes of muster's that exist here, by their name in Docker.
    #[serde(default)]
    pub volumes: BTreeSet<String>,
    /// Images present here by every reference they have; peers fetch from here.
    #[serde(default)]
    pub images: BTreeSet<String>,
    /// The block of the slice given to each network, by App and network.
    #[serde(default)]
    pub blocks: Vec<NetworkBlock>,
}

/// Which authority of the cluster: the higher number counts, then the higher fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AuthorityId {
    /// The first one of a cluster has 1.
    pub number: u64,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
}

/// The addresses of one network on one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkBlock {
    /// The App.
    pub app: AppName,
    /// The network.
    pub network: NetworkName,
    /// The addresses; the first one is the bridge.
    pub subnet: Ipv4Net,
}

/// Whether a host takes new replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It does.
    #[default]
    Active,
    /// It does not, and those it has move away.
    Drain,
}

/// What one host thinks of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer of late; nothing new is sent to its replicas.
    Suspect,
    /// It is taken for dead; its replicas are placed elsewhere.
    Dead,
}

/// What a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// One replica as its host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Which.
    pub replica: ReplicaId,
    /// Of which Generation.
    pub generation: Generation,
    /// Hash of the spec it runs.
    pub spec_hash: String,
    /// How far it is.
    pub phase: Phase,
    /// What its health check says.
    pub health: Health,
    /// May be sent traffic.
    pub ready: bool,
    /// Addresses by the App's network.
    #[serde(default)]
    pub addresses: BTreeMap<NetworkName, Ipv4Addr>,
    /// Times it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Tries in a row that did not bring it to run steadily.
    #[serde(default)]
    pub failures: u32,
    /// Why it is not ready, for people.
    #[serde(default)]
    pub reason: Option<String>,
    /// The container's name in Docker, once made.
    #[serde(default)]
    pub container: Option<String>,
    /// Since when it is in this phase, for people.
    #[serde(default)]
    pub since: WallSeconds,
    /// When it is tried again, for people; none when nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<WallSeconds>,
    /// Why its limits are not those of the Plan, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_resized: Option<String>,
    /// What its process ended with, when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
}

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its host was told and waits for its turn.
    Pending,
    /// Its image is on the way.
    Pulling,
    /// Its container is being made or started.
    Starting,
    /// Its process runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It ended with exit code 0 and is not to run again.
    Completed,
    /// It ended and is not to run again, or it cannot be made.
    Failed,
    /// It ended and starts again after a pause.
    Backoff,
}
