//! Devices and generic resources that a replica is to have alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::scope::Scope;
use crate::compose::project::{DeployResource, DeviceRequest as Asked, Service};
use crate::model::{DeviceRequest, DeviceShare};

/// Where generic resources are asked for.
const GENERIC: &str = "deploy.resources.reservations.generic_resources";
/// What every request of `gpus` is about.
const GPU: &str = "gpu";

fn reserved(service: &Service) -> Option<&DeployResource> {
    service.deploy.as_ref().and_then(|deploy| deploy.resources.reservations.as_ref())
}

/// The devices asked for by `gpus` and by reservations.
pub(super) fn requests(service: &Service) -> Vec<DeviceRequest> {
    let gpus = service.other.get("gpus").and_then(Value::as_array).into_iter().flatten();
    // The loader has seen to it that each is a request.
    let gpus = gpus.filter_map(|asked| serde_json::from_value::<Asked>(asked.clone()).ok());
    let gpus = gpus.map(|asked| {
        let mut request = request(&asked);
        request.capabilities.insert(GPU.to_owned());
        request
    });
    let reserved = reserved(service).into_iter().flat_map(|reserved| &reserved.devices);
    gpus.chain(reserved.map(request)).collect()
}

fn request(asked: &Asked) -> DeviceRequest {
    DeviceRequest {
        share: share(asked),
        capabilities: asked.capabilities.iter().cloned().collect::<BTreeSet<_>>(),
        driver: asked.driver.clone().filter(|driver| !driver.is_empty()),
        options: asked.options.clone(),
    }
}

/// The loader writes -1 where a file says nothing of how many.
fn share(asked: &Asked) -> DeviceShare {
    let is_all = |id: &String| id == "all" || id.ends_with("=all");
    match asked.count {
        _ if asked.device_ids.iter().any(is_all) => DeviceShare::All,
        _ if !asked.device_ids.is_empty() => DeviceShare::These(asked.device_ids.clone()),
        // More than there are fit nowhere, and the plan says so.
        Some(count @ 0..) => DeviceShare::Count(u32::try_from(count).unwrap_or(u32::MAX)),
        Some(_) | None => DeviceShare::All,
    }
}

/// Reserved generic resources by kind.
pub(super) fn resources(scope: &mut Scope<'_>) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    let service = scope.service;
    for one in reserved(service).into_iter().flat_map(|reserved| &reserved.generic_resources) {
        let spec = &one["discrete_resource_spec"];
        let amount = spec["value"].as_u64().or_else(|| spec["value"].as_str()?.parse().ok());
        match (spec["kind"].as_str().filter(|kind| !kind.is_empty()), amount) {
            (Some(kind), Some(amount)) => {
                let sum = all.entry(kind.to_owned()).or_default();
                *sum = sum.saturating_add(amount);
            }
            _ => {
                let reason = format!("`{one}` does not say how many of what are reserved");
                let remedy = "as in `discrete_resource_spec: {kind: zigbee, value: 1}`";
                scope.refused(GENERIC, reason, remedy);
            }
        }
    }
    all
}
