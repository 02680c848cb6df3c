//! Gangs: replicas that run together or not at all, and how far one is.

use serde::{Deserialize, Serialize};

/// That all replicas of a Deployment run at once or none (`x-gang`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gang {
    /// How long it waits until there is room for all, in milliseconds; none means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The port that members meet at on the first of them.
    pub port: u16,
}

impl Gang {
    /// The port that PyTorch uses when it is told none.
    pub const PORT: u16 = 29_500;
}

/// How far a gang is, in the Plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GangState {
    /// Hash of what its members run.
    pub spec_hash: String,
    /// How many they are.
    pub size: u32,
    /// The try that people asked for, as the Deployment's.
    #[serde(default)]
    pub attempt: u32,
    /// How often a member failed, and all with it.
    #[serde(default)]
    pub failures: u32,
    /// How far it is.
    pub stage: GangStage,
    /// Why it begins again, or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far a gang is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GangStage {
    /// None of it runs: there is not room for all, or what is left of them has to go first.
    Waiting,
    /// All were given to hosts.
    Running,
    /// All ended with exit code 0.
    Done,
    /// Members failed more often than they may.
    Failed,
    /// There was not room for all for too long.
    TimedOut,
}
