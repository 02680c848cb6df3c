//! What goes over the API of services whose number of replicas follows what is measured, as JSON.

use serde::{Deserialize, Serialize};

use crate::model::ServiceName;

/// One such service in `muster autoscale`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AutoscaleView {
    /// Which.
    pub service: ServiceName,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas there are to be.
    pub target: u32,
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
    /// Seconds between two decisions.
    pub interval_seconds: f64,
    /// What is looked at, in the order of the file.
    pub rules: Vec<ScaleRuleView>,
    /// What a replica should reserve, by what replicas took; none while too little was seen.
    #[serde(default)]
    pub recommended: Option<RecommendedView>,
    /// Why nothing can be decided now.
    #[serde(default)]
    pub hold: Option<String>,
    /// The last decisions, newest first.
    pub decisions: Vec<ScaleDecisionView>,
}

/// What a replica should reserve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecommendedView {
    /// CPUs.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// A number that is looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScaleRuleView {
    /// What it is called.
    pub metric: String,
    /// What it is now: the mean of replicas, or one number for all; none when it is missing.
    pub value: Option<f64>,
    /// What it should be for each replica, in the same unit: per cent, CPUs, bytes, connections a second.
    pub aim: f64,
    /// The value for people.
    pub shown: String,
    /// The aim for people.
    pub target: String,
    /// Replicas it asks for, before windows and steps; none when it cannot say.
    pub wants: Option<u32>,
    /// Why it cannot say.
    #[serde(default)]
    pub problem: Option<String>,
}

/// Another number of replicas, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleDecisionView {
    /// When, seconds since 1970 by the clock of the host that decided.
    pub at: u64,
    /// How many there were to be.
    pub from: u32,
    /// How many there are to be.
    pub to: u32,
    /// Why.
    pub reason: String,
}

/// What `muster ps` says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingView {
    /// Fewest replicas.
    pub min: u32,
    /// Most.
    pub max: u32,
    /// Why nothing can be decided now.
    #[serde(default)]
    pub hold: Option<String>,
    /// Why there are as many as there are; none when it is where it began.
    #[serde(default)]
    pub last: Option<ScaleDecisionView>,
}
