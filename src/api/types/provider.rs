//! What goes over the API of the command that adds hosts, as JSON.

use serde::{Deserialize, Serialize};

use crate::model::FleetStage;

/// `muster node provider set` and `off`. What is none stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderChange {
    /// The program.
    pub command: Option<String>,
    /// No program is asked any more.
    pub off: bool,
    /// Fewest live hosts.
    pub hosts_min: Option<u32>,
    /// Most hosts.
    pub hosts_max: Option<u32>,
    /// Hosts that it did not add may be given back, too.
    pub any_host: Option<bool>,
    /// How long something has no room before a host is added.
    pub pending_seconds: Option<u64>,
    /// How long a host is empty before it is given back.
    pub empty_seconds: Option<u64>,
    /// How long nothing is begun after something came about.
    pub pause_seconds: Option<u64>,
    /// How long a machine may take to join.
    pub join_seconds: Option<u64>,
    /// How long the program may take to answer.
    pub answer_seconds: Option<u64>,
}

/// `muster node provider`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderView {
    /// The program; none adds no hosts.
    pub command: Option<String>,
    /// Fewest live hosts.
    pub hosts_min: u32,
    /// Most hosts.
    pub hosts_max: u32,
    /// Hosts that it did not add may be given back, too.
    pub any_host: bool,
    /// How long something has no room before a host is added.
    pub pending_seconds: u64,
    /// How long a host is empty before it is given back.
    pub empty_seconds: u64,
    /// How long nothing is begun after something came about.
    pub pause_seconds: u64,
    /// How long a machine may take to join.
    pub join_seconds: u64,
    /// How long the program may take to answer.
    pub answer_seconds: u64,
    /// Hosts that are known.
    pub hosts: u32,
    /// The host that decides and runs the program.
    pub decides: Option<String>,
    /// Hosts without the program.
    pub lacking: Vec<String>,
    /// What goes on.
    pub step: Option<ProviderStepView>,
    /// Machines that may be there, and have not joined.
    pub open: Vec<u64>,
    /// Tries in a row that came to nothing.
    pub failures: u32,
    /// Why what should be done is not.
    pub problem: Option<String>,
    /// Services (`app/service`) for which a machine came in vain.
    pub in_vain: Vec<String>,
    /// The last decisions, the newest last.
    pub decisions: Vec<ProviderDecisionView>,
}

/// What goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStepView {
    /// How far it is.
    pub stage: FleetStage,
    /// Of which machine.
    pub machine: Option<u64>,
    /// Of which host, by name.
    pub host: Option<String>,
    /// Why.
    pub reason: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderDecisionView {
    /// When, seconds since 1970.
    pub at: u64,
    /// What and why.
    pub what: String,
}
