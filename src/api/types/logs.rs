//! What containers write.

use serde::{Deserialize, Serialize};

use crate::model::{AppName, ReplicaId, ServiceName};

/// Which output to print.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogsQuery {
    /// The App.
    pub app: AppName,
    /// Only these Services; empty means all.
    #[serde(default)]
    pub services: Vec<ServiceName>,
    /// Go on with what comes.
    #[serde(default)]
    pub follow: bool,
    /// Only so many of the last lines of each replica.
    #[serde(default)]
    pub tail: Option<u32>,
    /// Begin each line with its time.
    #[serde(default)]
    pub timestamps: bool,
    /// Only what came after, seconds since 1970.
    #[serde(default)]
    pub since: Option<u64>,
    /// Only replicas of this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

/// One line of one replica's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Which replica.
    pub replica: ReplicaId,
    /// On which host, by name.
    pub host: String,
    /// From standard error.
    pub stderr: bool,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub line: String,
}
