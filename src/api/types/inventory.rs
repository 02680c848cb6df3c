//! What goes over the API about what a host has beside CPU and memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::ReplicaId;

/// What replicas reserve on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeInventory {
    /// Devices that are given whole.
    pub devices: Vec<NodeDevice>,
    /// Generic resources by kind.
    pub resources: BTreeMap<String, Reserved>,
}

impl NodeInventory {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.resources.is_empty()
    }
}

/// A device that one replica at a time has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDevice {
    /// What `device_ids` of a file may call it.
    pub id: String,
    /// `nvidia`, `amd`, `intel`, or another vendor.
    pub driver: String,
    /// `gpu`, or another class.
    pub class: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<ReplicaId>,
}

/// How much of something is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reserved {
    /// So much.
    pub reserved: u64,
    /// Of so much.
    pub all: u64,
}
