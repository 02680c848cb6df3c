//! What muster itself asks a replica to find out how it is (`x-health`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The checks of a Deployment. They are no part of its containers: a change replaces none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Checks {
    /// While it fails, nothing is sent to the replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Check>,
    /// When it fails, the replica is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Check>,
}

impl Checks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self { ready, live } = self;
        ready.is_none() && live.is_none()
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub ask: Ask,
    /// Time between two questions, milliseconds.
    pub interval_ms: u64,
    /// Longest wait for an answer, milliseconds.
    pub timeout_ms: u64,
    /// Failures in a row after which it counts as failed.
    pub retries: u32,
    /// Failures do not count for so long after the start, milliseconds.
    #[serde(default)]
    pub start_period_ms: u64,
    /// Time between two questions until the first good answer, milliseconds.
    pub start_interval_ms: u64,
}

impl Check {
    /// Longest wait for an answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// What is asked of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// GET over HTTP.
    Http {
        /// The port in the container.
        port: u16,
        /// Path and query.
        path: String,
        /// With TLS; whatever its certificate.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        tls: bool,
        /// The lowest and the highest status that is good.
        status: (u16, u16),
        /// Further headers.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
    /// Opening a connection.
    Tcp {
        /// The port in the container.
        port: u16,
    },
    /// A command in the container; 0 is good.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
}
