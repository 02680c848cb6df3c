//! What the Home of an App decided, and why it could not decide more.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{
    AppName, GangState, Generation, HostId, Intent, NetworkName, ReplicaId, RevisionId, Rollout,
    Run, Runs, Scaling, ServiceName, Setback, Size, Sizing,
};

/// The Plan of one App. It leaves no choice to whoever carries it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The App.
    pub app: AppName,
    /// Rises with each Plan of this App, whoever makes it; the highest counts.
    pub number: u64,
    /// Who made it.
    pub home: HostId,
    /// The Revision it works towards.
    pub revision: RevisionId,
    /// Whether the App is to run or to go.
    pub intent: Intent,
    /// What runs where.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
    /// The stable address of each Service on each network.
    #[serde(default)]
    pub addresses: Vec<ServiceAddress>,
    /// Replicas that run nowhere, and why.
    #[serde(default)]
    pub waiting: BTreeMap<String, Waiting>,
    /// The only host that may write each local volume, by its name in Docker. Decided before the
    /// first replica that mounts it is, and kept when none does any more: the bytes are there.
    #[serde(default)]
    pub pins: BTreeMap<String, HostId>,
    /// The highest Generation of the Replicas that are gone; a new one begins above it.
    #[serde(default)]
    pub retired: Generation,
    /// The highest number of every Home's Plan that this one took into account. A Plan of another
    /// Home that is not covered was made on the other side of a cut.
    #[serde(default)]
    pub seen: BTreeMap<HostId, u64>,
    /// Deployments whose spec is on its way, was paused, or was rolled back.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rollouts: BTreeMap<ServiceName, Rollout>,
    /// Revisions, of those that are kept, that had something rolled back, and what and why in words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undone: BTreeMap<RevisionId, String>,
    /// Deployments whose number of replicas follows what is measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scalings: BTreeMap<ServiceName, Scaling>,
    /// Deployments whose replicas are given what is measured that they need.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sizes: BTreeMap<ServiceName, Sizing>,
    /// Runs of jobs, and of single containers of services, by the name their replicas have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<ServiceName, Runs>,
    /// How far each gang is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gangs: BTreeMap<ServiceName, GangState>,
    /// Hosts on which copies of a Service that were to move there did not come up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub setbacks: BTreeMap<ServiceName, BTreeMap<HostId, Setback>>,
    /// Generations of such copies, by Service and index: above what counts, and to be removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given_up: BTreeMap<ServiceName, BTreeMap<u32, Generation>>,
    /// The number of the last request of each host that was answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<HostId, u64>,
}

impl Plan {
    /// What it says of one replica: its assignment, and before it those on their way out.
    pub fn of_replica(&self, replica: &ReplicaId) -> &[Assignment] {
        // Whoever plans puts them in order.
        let begin = self.assignments.partition_point(|a| a.replica < *replica);
        let rest = self.assignments.get(begin..).unwrap_or_default();
        let n = rest.iter().take_while(|a| a.replica == *replica).count();
        rest.get(..n).unwrap_or_default()
    }

    /// Every assignment of one Service, in order.
    pub fn of_service(&self, service: &ServiceName) -> &[Assignment] {
        let begin = self.assignments.partition_point(|a| a.replica.service < *service);
        let rest = self.assignments.get(begin..).unwrap_or_default();
        let n = rest.iter().take_while(|a| a.replica.service == *service).count();
        rest.get(..n).unwrap_or_default()
    }

    /// Copies that are on their way to another host as they are: the new one, and the one that goes on
    /// until it is ready.
    pub fn moves(&self) -> impl Iterator<Item = (&Assignment, &Assignment)> {
        let outgoing = self.assignments.iter().filter(|assignment| assignment.outgoing);
        outgoing.filter_map(|old| {
            let new = self.of_replica(&old.replica).iter().find(|new| !new.outgoing)?;
            let moves = new.host != old.host && new.spec_hash == old.spec_hash;
            moves.then_some((new, old))
        })
    }

    /// Every Revision that is needed to carry it out, and to go back; some more than once.
    pub fn revisions(&self) -> impl Iterator<Item = &RevisionId> {
        let running = self.assignments.iter().map(|assignment| &assignment.revision);
        let former = self.rollouts.values().map(|rollout| &rollout.from.revision);
        std::iter::once(&self.revision).chain(running).chain(former)
    }

    /// What each replica of a Service is given; what is none is as in its spec.
    pub fn size(&self, service: &ServiceName) -> Size {
        self.sizes.get(service).map(|sizing| sizing.size).unwrap_or_default()
    }

    /// The run that a replica is, if it is one.
    pub fn run(&self, replica: &ReplicaId) -> Option<&Run> {
        self.runs.get(&replica.service)?.runs.get(&replica.index)
    }
}

/// One Replica on one Host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Which.
    pub replica: ReplicaId,
    /// Where.
    pub host: HostId,
    /// Rises each time the Replica moves or changes.
    pub generation: Generation,
    /// The Revision that holds its spec.
    pub revision: RevisionId,
    /// Hash of that spec.
    pub spec_hash: String,
    /// On its way out: runs until its successor (same Replica, higher Generation) is ready.
    #[serde(default)]
    pub outgoing: bool,
    /// It ended with exit code 0 and is not to run again, whatever becomes of its host.
    #[serde(default)]
    pub done: bool,
    /// The host's devices that are this replica's alone, by their ids, for each request of its
    /// container in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Vec<String>>,
    /// It runs the steps that its Deployment needs once before its first start (`pre_start`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leads: bool,
    /// The specs of the Services it depends on with `restart: true`, as they were when it was made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub follows: BTreeMap<ServiceName, String>,
    /// It is a one-shot that ended otherwise, as often as it may, and is not to run again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

impl Assignment {
    /// Whether it ended and is not to run again, whatever becomes of its host.
    pub fn is_over(&self) -> bool {
        self.done || self.failed
    }
}

/// The stable address of a Service on a network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The network.
    pub network: NetworkName,
    /// The Service.
    pub service: ServiceName,
    /// The address, from the pool's last /16.
    pub address: Ipv4Addr,
}

/// Why a Replica runs nowhere yet, or is not replaced yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// No live host passed every filter; how many each filter rejected.
    NoHostFits {
        /// By filter.
        rejected: BTreeMap<Filter, u32>,
        /// The names of those hosts, where they are few.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        hosts: BTreeMap<Filter, Vec<String>>,
    },
    /// Its data is on a host that does not answer; nothing is started elsewhere.
    DataOnDeadHost {
        /// The volume, or the bind's path.
        data: String,
        /// The host's name, or its id when the name is not known.
        host: String,
    },
    /// A dependency has not come so far.
    Dependency {
        /// The Service waited for.
        service: ServiceName,
        /// What is waited for, in words.
        until: String,
    },
    /// It runs where it is not to stay, and a copy did not come up on the host it was to move to.
    DidNotComeUp {
        /// The host's name, or its id when the name is not known.
        host: String,
        /// Why, in words.
        reason: String,
    },
    /// Other replicas of the Deployment are replaced first.
    RollingUpdate,
    /// Another run of the job is not over.
    Run {
        /// Its number.
        run: u32,
    },
    /// There is not room for all members of the gang at once.
    Gang {
        /// How many would fit.
        fit: u32,
        /// How many they are.
        of: u32,
        /// How many hosts each filter rejected for the next.
        rejected: BTreeMap<Filter, u32>,
    },
    /// There was not room for all members of the gang for too long.
    GangTimedOut {
        /// For so long it was waited.
        seconds: u64,
    },
    /// The gang begins again once all of its members are gone.
    GangLeaves,
    /// Members of the gang failed more often than they may.
    GangFailed {
        /// The last one, and why.
        reason: String,
    },
    /// More than half of all hosts are gone at once: the rest takes their replicas over a few at a
    /// time.
    MassFailure {
        /// Hosts that do not answer.
        dead: u32,
        /// All hosts.
        known: u32,
    },
}

impl Waiting {
    /// Whether it lasts until somebody does something: adds a host, brings one back, asks for less.
    pub fn needs_somebody(&self) -> bool {
        match self {
            Self::NoHostFits { .. }
            | Self::DataOnDeadHost { .. }
            | Self::Gang { .. }
            | Self::GangTimedOut { .. }
            | Self::GangFailed { .. } => true,
            Self::Dependency { .. }
            | Self::DidNotComeUp { .. }
            | Self::RollingUpdate
            | Self::Run { .. }
            | Self::GangLeaves
            | Self::MassFailure { .. } => false,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHostFits { rejected, .. } if rejected.is_empty() => {
                f.write_str("no live host in the cluster")
            }
            Self::NoHostFits { rejected, hosts } => {
                f.write_str("no host fits: ")?;
                write_rejected(f, rejected, hosts)
            }
            Self::Gang { fit, of, rejected } => {
                write!(f, "only {fit} of {of} fit, and all run together or none")?;
                f.write_str(if rejected.is_empty() { "" } else { ": " })?;
                write_rejected(f, rejected, &BTreeMap::new())
            }
            Self::GangTimedOut { seconds } => {
                write!(f, "there was not room for all within {seconds} s; `muster up` tries again")
            }
            Self::GangLeaves => f.write_str("all begin again once the others are gone"),
            Self::GangFailed { reason } => {
                write!(f, "{reason}; all run together or none, and `muster up` tries again")
            }
            Self::DataOnDeadHost { data, host } => {
                write!(f, "`{data}` is on `{host}`, which does not answer")
            }
            Self::Dependency { service, until } => write!(f, "waits until `{service}` {until}"),
            Self::DidNotComeUp { host, reason } => {
                write!(f, "stays for now: on `{host}` it {reason}")
            }
            Self::RollingUpdate => f.write_str("waits for its turn in the rolling update"),
            Self::Run { run } => write!(f, "waits for the end of run {run}"),
            Self::MassFailure { dead, known } => {
                write!(f, "{dead} of {known} hosts are gone; the others take over step by step")
            }
        }
    }
}

fn write_rejected(
    f: &mut fmt::Formatter<'_>,
    rejected: &BTreeMap<Filter, u32>,
    hosts: &BTreeMap<Filter, Vec<String>>,
) -> fmt::Result {
    for (index, (filter, count)) in rejected.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let plural = if *count == 1 { "host" } else { "hosts" };
        match hosts.get(filter) {
            Some(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "{comma}{filter} ({})", names.join(", "))?;
            }
            None => write!(f, "{comma}{filter} ({count} {plural})")?,
        }
    }
    Ok(())
}

/// What a host must pass to be given a Replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// It is active, not drained.
    Availability,
    /// Its agent has said what it is, and Docker answers there.
    Engine,
    /// Its platform is the one asked for, and one that the image is for.
    Platform,
    /// Its kernel can limit processes, where a limit is asked for.
    Pids,
    /// Every constraint holds.
    Constraints,
    /// What is reserved fits.
    Resources,
    /// Enough of each generic resource is left.
    GenericResources,
    /// Enough devices are free.
    Devices,
    /// Host-mode ports are free.
    Ports,
    /// The data is there.
    Data,
    /// Below the number allowed on one host.
    MaxReplicasPerHost,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Availability => "drained",
            Self::Engine => "Docker does not answer",
            Self::Platform => "other platform",
            Self::Pids => "its kernel cannot limit processes",
            Self::Constraints => "placement constraint not met",
            Self::Resources => "not enough CPU or memory left",
            Self::GenericResources => "not enough of a generic resource left",
            Self::Devices => "no such device is free",
            Self::Ports => "port taken",
            Self::Data => "its data is on another host",
            Self::MaxReplicasPerHost => "max_replicas_per_node reached",
        })
    }
}
