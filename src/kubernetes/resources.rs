//! What a container may use, and what is kept for it.

use super::draft::Draft;
use super::object::{Map, Resources};
use super::quantity::{bytes, cpus};
use super::unit::Unit;
use crate::compose::project::{DeployResource, DeviceRequest};

/// What is asked for where an autoscaler needs something to count in.
const REQUEST: &str = "100m";
/// What Docker counts as one CPU's worth of shares.
const SHARES_OF_A_CPU: f64 = 1024.0;

/// Requests and limits of a unit.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit) -> Resources {
    let service = &unit.service;
    let deploy = service.deploy.as_ref().map(|deploy| &deploy.resources);
    let limits = deploy.and_then(|resources| resources.limits.as_ref());
    let kept = deploy.and_then(|resources| resources.reservations.as_ref());
    let positive = |number: f64| (number > 0.0 && number.is_finite()).then_some(number);
    let cpu_limit =
        of(limits, |it| it.cpus).or(service.cpus).or_else(|| quota(unit)).and_then(positive);
    let shares = service.cpu_shares.filter(|shares| *shares > 0);
    let shares = shares.map(|shares| shares as f64 / SHARES_OF_A_CPU);
    let cpu_kept = of(kept, |it| it.cpus).or(shares).and_then(positive);
    let memory_limit = of(limits, |it| it.memory).or(service.mem_limit).filter(|size| *size > 0);
    let memory_kept = of(kept, |it| it.memory).or(service.mem_reservation).filter(|size| *size > 0);
    let cpu_kept = match (cpu_kept, cpu_limit) {
        (Some(kept), Some(limit)) if kept > limit => {
            draft.nearly(unit, "cpus", "a request above the limit is cut to the limit", "");
            Some(limit)
        }
        (kept, _) => kept,
    };
    let memory_kept = match (memory_kept, memory_limit) {
        (Some(kept), Some(limit)) if kept > limit => {
            draft.nearly(unit, "mem_limit", "a request above the limit is cut to the limit", "");
            Some(limit)
        }
        (kept, _) => kept,
    };
    let mut resources = Resources::default();
    put(&mut resources.limits, "cpu", cpu_limit.map(cpus));
    put(&mut resources.limits, "memory", memory_limit.map(bytes));
    put(&mut resources.requests, "cpu", cpu_kept.map(cpus));
    put(&mut resources.requests, "memory", memory_kept.map(bytes));
    devices(draft, unit, &mut resources);
    if super::autoscale::is_wanted(unit) && !resources.limits.contains_key("cpu") {
        let request = resources.requests.entry("cpu".to_owned());
        request.or_insert_with(|| REQUEST.to_owned());
    }
    resources
}

fn put(amounts: &mut Map, name: &str, amount: Option<String>) {
    if let Some(amount) = amount {
        amounts.insert(name.to_owned(), amount);
    }
}

fn of<T>(
    amount: Option<&DeployResource>,
    part: impl Fn(&DeployResource) -> Option<T>,
) -> Option<T> {
    amount.and_then(part)
}

/// `cpu_quota` of every `cpu_period`, which is 0.1 s unless it is given.
fn quota(unit: &Unit) -> Option<f64> {
    let quota = unit.service.cpu_quota.filter(|quota| *quota > 0)?;
    let period = unit.service.cpu_period.filter(|period| *period > 0).unwrap_or(100_000);
    Some(quota as f64 / period as f64)
}

/// GPUs, as the nodes' device plugins count them.
fn devices(draft: &mut Draft<'_>, unit: &Unit, resources: &mut Resources) {
    let mut wanted: Vec<(&str, DeviceRequest)> = Vec::new();
    let gpus = unit.service.other.get("gpus").cloned();
    let gpus = gpus.and_then(|value| serde_json::from_value::<Vec<DeviceRequest>>(value).ok());
    wanted.extend(gpus.into_iter().flatten().map(|request| ("gpus", request)));
    let deploy = unit.service.deploy.as_ref();
    let kept = deploy.and_then(|deploy| deploy.resources.reservations.as_ref());
    let key = "deploy.resources.reservations.devices";
    wanted.extend(kept.into_iter().flat_map(|kept| kept.devices.clone()).map(|it| (key, it)));
    for (key, request) in wanted {
        let driver = request.driver.as_deref().unwrap_or("nvidia");
        let is_gpu = key == "gpus" || request.capabilities.iter().any(|word| word == "gpu");
        if !is_gpu || !matches!(driver, "nvidia" | "amd" | "") {
            let reason = format!("devices of `{driver}` need a device plugin or a DRA driver");
            draft.lost(unit, key, reason, "add its resource to `resources.limits`");
            continue;
        }
        let n_named = i64::try_from(request.device_ids.len()).unwrap_or(i64::MAX);
        let count = match request.count {
            Some(count) if count > 0 => count,
            Some(_) | None if n_named > 0 => n_named,
            Some(_) | None => 1,
        };
        if request.count.is_none_or(|count| count < 0) || n_named > 0 {
            let reason =
                format!("{count} GPU of any is asked for: which ones cannot be chosen, nor all");
            draft.nearly(unit, key, reason, "set the number under `resources.limits`");
        }
        let resource = if driver == "amd" { "amd.com/gpu" } else { "nvidia.com/gpu" };
        resources.limits.insert(resource.to_owned(), count.to_string());
    }
}
