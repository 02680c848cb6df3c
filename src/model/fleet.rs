//! The Provider, a command that gets machines and gives them back, and the Fleet: what was asked of it
//! and what came of that. Registers, as what is wanted of a host: the highest number counts, then the
//! highest writer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Capacity, HostId, RevisionId, WallSeconds};

/// The label under which a host of the Provider joins; its value is the number of the machine.
pub const PROVIDER_LABEL: &str = "muster.provider";

/// Decisions that are kept, for people.
pub const FLEET_DECISIONS: usize = 10;

/// What people want: any member writes it in a Row of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// One more than the number that counted when this was written.
    pub number: u64,
    /// Path of the program on the hosts; none adds and gives back no host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Fewest live hosts.
    pub hosts_min: u32,
    /// Most hosts that are known, dead ones and machines that have not joined included.
    pub hosts_max: u32,
    /// Hosts that it did not add may be given back, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_host: bool,
    /// For so long a replica has no room, or hosts are too few, before one is added (milliseconds).
    pub pending_ms: u64,
    /// For so long a host is empty before it is given back (milliseconds).
    pub empty_ms: u64,
    /// After something came about, nothing else is begun for so long (milliseconds).
    pub pause_ms: u64,
    /// A machine joins within this time (milliseconds).
    pub join_ms: u64,
    /// The program answers within this time (milliseconds).
    pub answer_ms: u64,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            number: 0,
            command: None,
            hosts_min: 1,
            hosts_max: 10,
            any_host: false,
            // A replica that is replaced or whose host is back soon has room within seconds.
            pending_ms: 60_000,
            empty_ms: 600_000,
            // What waits is placed within a second; what is measured of it takes some more.
            pause_ms: 60_000,
            // Clouds start a machine within minutes; one that installs Docker first takes longer.
            join_ms: 600_000,
            answer_ms: 120_000,
        }
    }
}

impl Provider {
    /// More hosts than anybody has: a typing error.
    pub const HOSTS_MOST: u32 = 10_000;
    /// Longest time that can be asked for.
    pub const TIME_MOST: Duration = Duration::from_secs(24 * 3600);

    /// Why it cannot be used as it is, in words, and what to do about it.
    ///
    /// # Errors
    ///
    /// When a path is not absolute, numbers contradict each other or a time is absurd.
    pub fn check(&self) -> Result<(), (String, &'static str)> {
        let path = self.command.as_deref().unwrap_or("/");
        if !path.starts_with('/') || path.chars().any(char::is_control) {
            return Err((
                format!("`{path}` is no absolute path"),
                "give the program as it is found on every host, as in `/etc/muster/provider`",
            ));
        }
        let (min, max) = (self.hosts_min, self.hosts_max);
        if min == 0 || max > Self::HOSTS_MOST {
            let words = format!("{min} to {max} hosts are not between 1 and {}", Self::HOSTS_MOST);
            return Err((words, "give another `--min` or `--max`"));
        }
        if min > max {
            return Err((
                format!("at least {min} hosts are more than the {max} that are allowed at most"),
                "lower `--min`, or raise `--max`",
            ));
        }
        let times = [self.pending_ms, self.empty_ms, self.pause_ms, self.join_ms, self.answer_ms];
        for time in times.map(Duration::from_millis) {
            if time < Duration::from_secs(1) || time > Self::TIME_MOST {
                return Err((
                    format!("{} s is no time to go by", time.as_secs_f64()),
                    "times are between a second and a day",
                ));
            }
        }
        Ok(())
    }
}

/// What was decided of hosts, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fleet {
    /// Rises with each that is written, whoever writes it.
    pub number: u64,
    /// Who decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<HostId>,
    /// The number of the [`Provider`] that it goes by.
    pub setting: u64,
    /// The highest number of a machine that was asked for and not refused.
    pub machines: u64,
    /// What goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<FleetStep>,
    /// Machines that may be there, and have not joined.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub open: BTreeSet<u64>,
    /// Tries in a row that came to nothing.
    pub failures: u32,
    /// For so long from when it was written nothing is begun (milliseconds).
    pub pause_ms: u64,
    /// Why what should be done is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Machines that joined and have had no replica yet, and the services (`app/service`) they are for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unused: BTreeMap<u64, BTreeMap<String, RevisionId>>,
    /// Services for which a machine came in vain, by the Revision they had: it is not tried again with it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub futile: BTreeMap<String, RevisionId>,
    /// The last decisions, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<FleetDecision>,
}

/// One thing that goes on. There is one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStep {
    /// How far it is.
    pub stage: FleetStage,
    /// Of which machine; none of a host that the Provider did not add.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<u64>,
    /// Of which host, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// What is missing, where a machine is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<HostNeed>,
    /// Why, for people.
    pub reason: String,
}

/// How far a [`FleetStep`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FleetStage {
    /// The Provider is asked for a machine.
    Add,
    /// It said yes; the machine has not joined yet.
    Join,
    /// A host is drained.
    Drain,
    /// The Provider is asked to take a machine away.
    Remove,
    /// It is asked which machines it has.
    List,
}

impl fmt::Display for FleetStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "asks for a machine",
            Self::Join => "waits for it to join",
            Self::Drain => "drains a host",
            Self::Remove => "gives a machine back",
            Self::List => "asks which machines there are",
        })
    }
}

/// What the replicas that wait lack. A machine must have at least what the largest reserves, and these
/// labels, to be of use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNeed {
    /// How many replicas wait.
    pub replicas: u32,
    /// What the largest reserves, of CPU and of memory.
    pub largest: Capacity,
    /// What all reserve together.
    pub total: Capacity,
    /// Labels that placement constraints of all of them ask for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Their services (`app/service`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, ServiceNeed>,
}

/// What one replica of a service lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNeed {
    /// What it reserves.
    pub reserves: Capacity,
    /// The Revision that asks for it.
    pub revision: RevisionId,
}

/// One decision, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetDecision {
    /// When.
    pub at: WallSeconds,
    /// What and why.
    pub what: String,
}
