//! Devices and other resources that a host has for one replica at a time, and what a container asks
//! for of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Protocol;

/// A label of a host that begins so declares a generic resource: `muster.resource.zigbee=1`.
pub const RESOURCE_LABEL: &str = "muster.resource.";

/// What capabilities of a request any GPU has, beside `gpu`: those that Docker's drivers know.
const OF_GPUS: [&str; 7] =
    ["compute", "compat32", "display", "graphics", "ngx", "utility", "video"];

/// What a host has beside CPU and memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    /// Devices that are given whole, to one replica at a time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<HostDevice>,
    /// Generic resources that its engine was told of (`node-generic-resources`), by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, u64>,
    /// Labels of its engine, for `engine.labels.X`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub engine_labels: BTreeMap<String, String>,
    /// Its kernel cannot limit how many processes a container has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_pids_limit: bool,
    /// Quarters of its CPU or memory, whichever is more, that were in use of late: 0 to 4.
    #[serde(skip_serializing_if = "is_idle")]
    pub busy: u8,
    /// Ports on which programs listen that are not muster's, of those that replicas would listen on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub taken_ports: BTreeSet<(u16, Protocol)>,
    /// The program of the Provider that is there and may be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

impl Inventory {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_idle(busy: &u8) -> bool {
    *busy == 0
}

/// A device of a host, such as a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDevice {
    /// What it is called there for good: `GPU-<uuid>`, `renderD128`, `vendor.com/class=name`.
    pub id: String,
    /// Other words for it in `device_ids`: its number, its place on the bus, its name in CDI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// `nvidia`, `amd`, `intel`; else the vendor in its name.
    pub driver: String,
    /// `gpu`; else the class in its name.
    pub class: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How a container gets it.
    pub by: Handover,
}

/// How a container gets a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handover {
    /// Docker's device driver of that name is asked for it by its id.
    Driver(String),
    /// Docker is asked for it by this name of the Container Device Interface.
    Cdi(String),
    /// It is a few nodes in `/dev`.
    Nodes {
        /// Their paths.
        paths: Vec<String>,
        /// The groups that may open them.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        groups: BTreeSet<u32>,
    },
}

/// What a container asks for (`gpus`, `deploy.resources.reservations.devices`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// How many, or which.
    pub share: DeviceShare,
    /// What each must be able to do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub capabilities: BTreeSet<String>,
    /// `nvidia`, `amd`, `intel`, `cdi`; none means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Options for Docker's device driver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How many devices, or which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceShare {
    /// These, by any of their words.
    These(Vec<String>),
    /// So many.
    Count(u32),
    /// All that the host has, at least one.
    All,
}

impl DeviceRequest {
    /// Whether a device is one of those that are asked for, whoever has it.
    pub fn fits(&self, device: &HostDevice) -> bool {
        let driver = self.driver.as_deref();
        let is_driver = driver.is_none_or(|driver| match driver {
            "cdi" => device.cdi_name().is_some(),
            driver => device.driver == driver,
        });
        is_driver && self.capabilities.iter().all(|capability| device.can(capability))
    }
}

impl HostDevice {
    /// Whether a word of `device_ids` means it.
    pub fn is_called(&self, word: &str) -> bool {
        self.id == word || self.names.iter().any(|name| name == word)
    }

    fn cdi_name(&self) -> Option<&str> {
        match &self.by {
            Handover::Cdi(name) => Some(name),
            Handover::Driver(_) | Handover::Nodes { .. } => None,
        }
    }

    fn can(&self, capability: &str) -> bool {
        let is_gpu = self.class == "gpu";
        self.class == capability
            || self.driver == capability
            || is_gpu && OF_GPUS.contains(&capability)
    }
}

/// The kind and amount that a label of a host declares; none when it is a label like others.
///
/// # Errors
///
/// In words, when it is meant to declare something and does not.
pub fn declared_resource<'l>(key: &'l str, value: &str) -> Result<Option<(&'l str, u64)>, String> {
    let Some(kind) = key.strip_prefix(RESOURCE_LABEL) else { return Ok(None) };
    if kind.is_empty() {
        return Err(format!("`{key}` names no resource; as in `{RESOURCE_LABEL}zigbee=1`"));
    }
    let amount = value
        .parse()
        .map_err(|_| format!("`{value}` is not how many `{kind}` a host has; as in `{key}=1`"))?;
    Ok(Some((kind, amount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_declares_a_resource_or_says_why_not() {
        assert_eq!(declared_resource("disk", "ssd"), Ok(None));
        assert_eq!(declared_resource("muster.resource.zigbee", "2"), Ok(Some(("zigbee", 2))));
        for (key, value) in [("muster.resource.", "1"), ("muster.resource.zigbee", "lots")] {
            assert!(declared_resource(key, value).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn what_an_older_agent_says_has_no_inventory() {
        let old: Inventory = serde_json::from_str("{}").unwrap();
        assert!(old.is_empty());
        assert_eq!(serde_json::to_string(&old).unwrap(), "{}");
    }
}
