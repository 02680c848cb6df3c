//! What goes over the API to operate the hosts of a cluster, as JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Change, Node, ReplicaView};
use crate::model::{AppName, Availability, Liveness, ReplicaId};

/// `muster node drain`, `activate` and `label`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostChange {
    /// The host's name or id.
    pub host: String,
    /// Whether it is to take replicas; none leaves that as it is.
    #[serde(default)]
    pub availability: Option<Availability>,
    /// Labels to set; one without a value is taken away.
    #[serde(default)]
    pub labels: BTreeMap<String, Option<String>>,
}

/// What a [`HostChange`] would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    /// The host's name.
    pub host: String,
    /// False when the host is as asked already.
    pub changed: bool,
    /// What would change, by replica: `app/service/1`.
    pub changes: Vec<Change>,
    /// Replicas that would leave the host.
    pub leaving: Vec<ReplicaId>,
    /// Replicas that cannot leave it.
    pub stays: Vec<Stays>,
}

/// A replica that cannot leave a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stays {
    /// Which.
    pub replica: ReplicaId,
    /// Whether its data holds it; else no other host fits now.
    pub has_data: bool,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// Answer to a [`HostChange`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostChanged {
    /// The host's name.
    pub host: String,
    /// False when the host was as asked already: nothing was written, and the counts are 0.
    pub changed: bool,
    /// Hosts that have it on disk.
    pub stored: u32,
    /// Live hosts.
    pub alive: u32,
}

/// One host with what runs there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostDetail {
    /// The host.
    pub node: Node,
    /// Every replica that is there.
    pub replicas: Vec<ReplicaView>,
    /// Those on their way to another host, or being stopped.
    pub leaving: Vec<ReplicaId>,
    /// Those that the host should not have and that cannot leave it.
    pub stays: Vec<Stays>,
}

/// `muster events`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EventsQuery {
    /// Only what happened to this App.
    #[serde(default)]
    pub app: Option<AppName>,
    /// Only what happened then or later, seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
    /// Go on with what happens.
    #[serde(default)]
    pub follow: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When, seconds since 1970 by the clock of the host that tells of it.
    pub at: u64,
    /// The host that tells of it, by name.
    pub host: String,
    /// What, for programs.
    pub kind: HappeningKind,
    /// To what: a host's name, an App, or a replica as `app/service/1`.
    pub subject: String,
    /// The App, where it is about one.
    #[serde(default)]
    pub app: Option<AppName>,
    /// What, for people.
    pub message: String,
}

/// What a [`Happening`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HappeningKind {
    /// An agent started.
    AgentStarted,
    /// A host answers (again).
    HostAlive,
    /// A host did not answer of late.
    HostSuspect,
    /// A host is taken for dead.
    HostDead,
    /// A host is dead for so long that its replicas are placed elsewhere.
    HostGone,
    /// Somebody drained, activated or labelled a host.
    HostChanged,
    /// Something was decided of adding or giving back hosts.
    FleetDecided,
    /// A host goes by a new authority.
    AuthorityChanged,
    /// Somebody changed an App.
    RevisionTaken,
    /// The Home of an App decided anew.
    PlanMade,
    /// The replicas of a service are being replaced.
    RolloutBegan,
    /// The first replicas of a service run well; somebody has to decide of the others.
    RolloutWaits,
    /// An update, or its undoing, failed and goes no further.
    RolloutPaused,
    /// The replicas of a service were replaced.
    RolloutDone,
    /// An update failed or was aborted, and is being undone.
    RollbackBegan,
    /// An update was undone.
    RolledBack,
    /// A service with rules is to have another number of replicas.
    Scaled,
    /// What the rules of a service look at is missing: it stays as it is.
    ScalingHeld,
    /// Replicas of a service are given other amounts of CPU or memory.
    Resized,
    /// A container keeps its limits although it should have others.
    NotResized,
    /// A replica's image is on the way.
    ReplicaPulling,
    /// A replica has its image, and its container is being made.
    ReplicaStarting,
    /// A replica's process runs.
    ReplicaRunning,
    /// A replica may be sent traffic.
    ReplicaReady,
    /// A replica may no longer be sent traffic.
    ReplicaUnready,
    /// A replica ended, and starts again.
    ReplicaRestarting,
    /// A replica ended with exit code 0 and is not to run again.
    ReplicaCompleted,
    /// A replica ended or cannot be made, and is not tried again.
    ReplicaFailed,
    /// A replica is being stopped.
    ReplicaStopping,
    /// A replica is gone from its host.
    ReplicaGone,
}

impl HappeningKind {
    /// Whether every host sees it: then one of them is enough to tell of it.
    pub fn is_seen_by_all(self) -> bool {
        match self {
            Self::HostAlive | Self::HostSuspect | Self::HostDead | Self::HostGone => true,
            Self::AgentStarted
            | Self::HostChanged
            | Self::FleetDecided
            | Self::AuthorityChanged
            | Self::RevisionTaken
            | Self::PlanMade
            | Self::Scaled
            | Self::ScalingHeld
            | Self::Resized
            | Self::NotResized
            | Self::RolloutBegan
            | Self::RolloutWaits
            | Self::RolloutPaused
            | Self::RolloutDone
            | Self::RollbackBegan
            | Self::RolledBack
            | Self::ReplicaPulling
            | Self::ReplicaStarting
            | Self::ReplicaRunning
            | Self::ReplicaReady
            | Self::ReplicaUnready
            | Self::ReplicaRestarting
            | Self::ReplicaCompleted
            | Self::ReplicaFailed
            | Self::ReplicaStopping
            | Self::ReplicaGone => false,
        }
    }
}

/// What an agent found out about another host, for `muster doctor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its name.
    pub name: String,
    /// Where its agent listens.
    pub address: SocketAddr,
    /// What this agent thinks of it.
    pub liveness: Liveness,
    /// Time from a question to its answer, in microseconds; none when it did not answer.
    pub round_trip_us: Option<u64>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub skew_ms: Option<i64>,
    /// The largest packet known to reach it, in bytes of UDP payload.
    pub mtu: Option<u16>,
    /// Why it did not answer.
    pub error: Option<String>,
    /// The tunnel for packets of containers; none in a cluster without.
    #[serde(default)]
    pub tunnel: Option<TunnelReport>,
}

/// The tunnel to another host, as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelReport {
    /// Whether there is one now.
    pub open: bool,
    /// The largest packet of a container that gets through, in bytes.
    pub packet_max: u64,
    /// Smoothed time from a packet to its confirmation, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Packets that this tunnel sent.
    pub sent: u64,
    /// Those of them that were lost on the way.
    pub lost: u64,
    /// Packets that containers sent, and their bytes, since the agent started.
    pub carried_out: (u64, u64),
    /// The same from there.
    pub carried_in: (u64, u64),
    /// Packets that were not carried: there was no tunnel, too many waited, or they were too large.
    pub dropped: u64,
    /// Packets from there that were not from its containers to ours, and were refused.
    pub refused: u64,
}
