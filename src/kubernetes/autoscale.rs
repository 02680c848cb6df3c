//! `x-autoscale` of a service: how many pods there are, by what they use. What the cluster reads of it is
//! read for pods as well; numbers that are not of pods need an adapter that nobody may have.

use super::draft::Draft;
use super::object::{AutoscalerSpec, Body, Metric, MetricTarget, ResourceMetric, Target};
use super::unit::Unit;
use super::workload::Kind;
use crate::model::{Autoscale, ScaleBehavior, ScaleMetric, ScaleRule, ScaleTarget};
use crate::translate::autoscale::{Asked, KEY, Problem, read, vertical};

/// Whether a service has a wish that an autoscaler can have.
pub(super) fn is_wanted(unit: &Unit) -> bool {
    let Asked { rules, vertical: _, problems } = read(&unit.key, &unit.service);
    problems.is_empty() && rules.is_some_and(|rules| rules.rules.iter().any(is_of_pods))
}

fn is_of_pods(rule: &ScaleRule) -> bool {
    let is_part = matches!(rule.target, ScaleTarget::Utilization(_));
    is_part && matches!(rule.metric, ScaleMetric::Cpu | ScaleMetric::Memory)
}

/// Adds the autoscaler of a unit, if it wants one.
pub(super) fn add(draft: &mut Draft<'_>, unit: &Unit, kind: Kind) {
    let Asked { rules, vertical, problems } = read(&unit.key, &unit.service);
    for Problem { key, reason, remedy } in &problems {
        draft.lost(unit, key, reason.as_str(), remedy);
    }
    if vertical.is_some() && draft.options.vpa.is_none() {
        let reason = "pods keep what they request";
        let remedy =
            "export with `--vpa in-place`: the Vertical Pod Autoscaler, an add-on, does it";
        draft.lost(unit, vertical::PATH, reason, remedy);
    }
    let Some(rules) = rules.filter(|_| problems.is_empty()) else { return };
    let metrics = metrics(draft, unit, &rules);
    if !is_wanted(unit) {
        return;
    }
    if rules.up != ScaleBehavior::up() || rules.down != ScaleBehavior::down() {
        draft.nearly(
            unit,
            KEY,
            "windows and steps are those of Kubernetes",
            "see `behavior` there",
        );
    }
    if rules.min == 0 {
        let reason = "an autoscaler keeps one pod, unless the cluster has `HPAScaleToZero` on";
        draft.nearly(unit, KEY, reason, "");
    }
    let kind = if kind == Kind::StatefulSet { "StatefulSet" } else { "Deployment" };
    let scale_target_ref = Target {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        name: unit.name.clone(),
    };
    let (min_replicas, max_replicas) = (Some(rules.min.max(1)), rules.max);
    let spec = AutoscalerSpec { scale_target_ref, min_replicas, max_replicas, metrics };
    draft.add(unit, &unit.name.clone(), Body::HorizontalPodAutoscaler { spec });
}

/// CPU and memory as parts of what is requested.
fn metrics(draft: &mut Draft<'_>, unit: &Unit, rules: &Autoscale) -> Vec<Metric> {
    let resources = super::resources::convert(draft, unit);
    let mut metrics = Vec::new();
    for rule in &rules.rules {
        let (key, percent) = match (&rule.metric, rule.target) {
            (ScaleMetric::Cpu, ScaleTarget::Utilization(percent)) => ("cpu", percent),
            (ScaleMetric::Memory, ScaleTarget::Utilization(percent)) => ("memory", percent),
            (metric, _) => {
                let reason =
                    format!("`{metric}` is no use of a resource, which autoscalers look at");
                let remedy = "give it to them with an adapter, or use KEDA";
                draft.lost(unit, KEY, reason, remedy);
                continue;
            }
        };
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
                    average_utilization: Some((percent.round() as u32).max(1)),
                },
            },
        });
    }
    metrics
}
