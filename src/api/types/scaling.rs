//! What goes over the API of services whose number of replicas follows what is measured, as JSON.

use serde::{Deserialize, Serialize};

use crate::model::{ReplicaId, ServiceName};

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
    /// What its replicas are given while they run; none where that is as in the file.
    #[serde(default)]
    pub vertical: Option<VerticalView>,
}

/// What replicas of a service are given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerticalView {
    /// What each is given now.
    pub size: SizeView,
    /// The least.
    pub min: SizeView,
    /// The most.
    pub max: SizeView,
    /// At most one change in so many seconds.
    pub window_seconds: f64,
    /// Why nothing can be decided now.
    #[serde(default)]
    pub hold: Option<String>,
    /// Replicas whose limits are other ones, and why.
    #[serde(default)]
    pub problems: Vec<SizeProblem>,
    /// The last decisions, newest first.
    pub decisions: Vec<SizeDecisionView>,
}

/// CPUs and memory; what is none is not limited, or not changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SizeView {
    /// CPUs.
    #[serde(default)]
    pub cpus: Option<f64>,
    /// Bytes of memory.
    #[serde(default)]
    pub memory: Option<u64>,
}

/// A replica whose limits are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeProblem {
    /// Which.
    pub replica: ReplicaId,
    /// Its host's name.
    pub host: String,
    /// Why.
    pub reason: String,
}

/// Another size, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeDecisionView {
    /// When, seconds since 1970 by the clock of the host that decided.
    pub at: u64,
    /// What was given.
    pub from: SizeView,
    /// What is given.
    pub to: SizeView,
    /// Why.
    pub reason: String,
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
