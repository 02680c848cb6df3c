//! What a container engine reports, reduced to what muster decides by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Farewell, Generation, Limits, ReplicaId};

/// A container that carries muster's labels, as its engine sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The engine's name, without the leading slash.
    pub name: String,
    /// The Replica it is a copy of, from its labels.
    pub replica: ReplicaId,
    /// The Generation it was made for, from its labels.
    pub generation: Generation,
    /// Hash of the spec it was made from, from its labels.
    pub spec_hash: String,
    /// Where it is in its life.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// Its address on each Docker network, by the network's name in Docker.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// The image reference it was made from.
    pub image: String,
    /// When it was last started by the engine's clock, nanoseconds since 1970; 0 means never. Good
    /// for telling which of two containers of one engine started later, and for nothing else.
    pub started: i64,
    /// Devices that are its alone, by their ids on its host, from its labels.
    pub devices: BTreeSet<String>,
    /// Which step before the start of the Replica it is, from its labels; none of the Replica's own
    /// container.
    pub step: Option<u32>,
    /// What is done before it is stopped, from its labels.
    pub farewell: Option<Farewell>,
    /// What the engine holds it to.
    pub limits: Limits,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process runs.
    Running,
    /// Frozen by somebody.
    Paused,
    /// The engine is starting it again, or removing it.
    Changing,
    /// Its process ended.
    Exited {
        /// Exit code.
        code: i64,
        /// Killed for want of memory.
        oom_killed: bool,
    },
    /// The engine cannot start nor remove it.
    Dead,
}

impl ContainerState {
    /// What its process ended with; none while it has not.
    pub fn exit_code(&self) -> Option<i64> {
        match self {
            Self::Exited { code, .. } => Some(*code),
            Self::Created | Self::Running | Self::Paused | Self::Changing | Self::Dead => None,
        }
    }
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// There is none.
    None,
    /// No verdict yet.
    Starting,
    /// Passing.
    Healthy,
    /// Failing.
    Unhealthy,
}
