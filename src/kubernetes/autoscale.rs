//! `x-autoscale` of a service: how many pods there are, by what they use.
//!
//! ```yaml
//! x-autoscale: {min: 2, max: 10, cpu: 70, memory: 80} # per cent of what is requested
//! ```

use serde_json::Value;

use super::draft::Draft;
use super::object::{AutoscalerSpec, Body, Metric, MetricTarget, ResourceMetric, Target};
use super::unit::Unit;
use super::workload::{Kind, replicas};

const KEY: &str = "x-autoscale";
/// Per cent of the CPU where the file names nothing to look at.
const CPU: u32 = 80;

/// Whether a service has a valid wish.
pub(super) fn is_wanted(unit: &Unit) -> bool {
    wish(unit).is_some()
}

/// The least and the most pods.
fn wish(unit: &Unit) -> Option<(u32, u32)> {
    let value = unit.service.other.get(KEY)?;
    let number =
        |key: &str| value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let max = number("max").filter(|max| *max > 0)?;
    let min = number("min").unwrap_or_else(|| replicas(&unit.service)).clamp(1, max);
    Some((min, max))
}

/// Adds the autoscaler of a unit, if it wants one.
pub(super) fn add(draft: &mut Draft<'_>, unit: &Unit, kind: Kind) {
    let Some(value) = unit.service.other.get(KEY).cloned() else { return };
    let Some((min, max)) = wish(unit) else {
        draft.lost(unit, KEY, "it has no `max`", "say `x-autoscale: {min: 1, max: 5, cpu: 80}`");
        return;
    };
    let resources = super::resources::convert(draft, unit);
    let mut metrics = Vec::new();
    for (key, default) in [("cpu", Some(CPU)), ("memory", None)] {
        let wanted = value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let alone = default.filter(|_| value.get("memory").is_none());
        let Some(per_cent) = wanted.or(alone).filter(|per_cent| *per_cent > 0) else { continue };
        if !resources.requests.contains_key(key) && !resources.limits.contains_key(key) {
            let reason = format!("`{key}` is a part of what is requested, and nothing is");
            draft.lost(unit, KEY, reason, "give it under `deploy.resources.reservations`");
            continue;
        }
        metrics.push(Metric {
            kind: "Resource".to_owned(),
            resource: ResourceMetric {
                name: key.to_owned(),
                target: MetricTarget {
                    kind: "Utilization".to_owned(),
                    average_utilization: Some(per_cent),
                },
            },
        });
    }
    let kind = if kind == Kind::StatefulSet { "StatefulSet" } else { "Deployment" };
    let scale_target_ref = Target {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        name: unit.name.clone(),
    };
    let (min_replicas, max_replicas) = (Some(min), max);
    let spec = AutoscalerSpec { scale_target_ref, min_replicas, max_replicas, metrics };
    draft.add(unit, &unit.name.clone(), Body::HorizontalPodAutoscaler { spec });
}
