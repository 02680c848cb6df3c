//! `--vpa`: how much pods request, by what they use: a VerticalPodAutoscaler for each workload that is
//! kept running. It is an add-on, which has to be in the cluster.
//!
//! It changes requests alone: limits stay those of the file, and are the most that is requested. What a
//! HorizontalPodAutoscaler goes by is left to that one, for each would undo what the other does. Where a
//! service has `x-autoscale.vertical`, its bounds hold, and without `apply: true` it is only watched.

use super::draft::Draft;
use super::object::{
    Body, ContainerPolicy, Map, ResourcePolicy, Target, UpdatePolicy, VerticalSpec,
};
use super::unit::Unit;
use super::{Vpa, quantity};
use crate::model::{Bounds, Vertical};
use crate::translate::autoscale::{self, vertical};

/// What has to be in the cluster.
const KIND: &str = "CustomResourceDefinition/verticalpodautoscalers.autoscaling.k8s.io";
/// What it may change.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// Adds the autoscaler of a unit's workload, if one is wanted.
pub(super) fn add(draft: &mut Draft<'_>, unit: &Unit) {
    let Some(wanted) = draft.options.vpa else { return };
    let scaled = scaled(draft, unit);
    let asked = autoscale::read(&unit.key, &unit.service).vertical;
    let wanted = if asked.is_none() && is_only_watched(unit) { Vpa::Recommend } else { wanted };
    if asked.is_some() {
        let reason = "how often it changes is the autoscaler's own affair, whatever `window` says";
        draft.nearly(unit, vertical::PATH, reason, "");
    }
    let free: Vec<&str> =
        RESOURCES.into_iter().filter(|name| scaled.iter().all(|it| it != name)).collect();
    let wanted = if free.is_empty() && wanted != Vpa::Recommend {
        let reason = "the number of pods goes by CPU and memory: what they request is only watched";
        draft.nearly(unit, autoscale::KEY, reason, "leave one of the two to it");
        Vpa::Recommend
    } else {
        wanted
    };
    let mut controlled = if free.is_empty() { RESOURCES.to_vec() } else { free };
    // What the file does not name stays as it is.
    controlled.retain(|name| asked.is_none_or(|asked| bounds(&asked, name).is_some()));
    if controlled.is_empty() {
        return;
    }
    let wish = (controlled.as_slice(), asked.as_ref());
    let Some((target_ref, container_policies)) = target(draft, unit, wish) else { return };
    let (mode, min_replicas) = match wanted {
        Vpa::Recommend => ("Off", None),
        Vpa::Initial => ("Initial", None),
        // Unless it says so, nothing that runs once is replaced.
        Vpa::Recreate => ("Recreate", Some(1)),
        Vpa::InPlace => ("InPlaceOrRecreate", Some(1)),
    };
    let spec = VerticalSpec {
        target_ref,
        update_policy: UpdatePolicy { update_mode: mode.to_owned(), min_replicas },
        resource_policy: ResourcePolicy { container_policies },
    };
    draft.add(unit, &unit.name.clone(), Body::VerticalPodAutoscaler { spec });
    if !draft.expected.iter().any(|what| what == KIND) {
        draft.expected.push(KIND.to_owned());
    }
}

/// What the HorizontalPodAutoscaler of the unit goes by.
fn scaled(draft: &Draft<'_>, unit: &Unit) -> Vec<String> {
    let of_unit = draft.entries.iter().filter(|entry| entry.object.metadata.name == unit.name);
    let metrics = of_unit.filter_map(|entry| match &entry.object.body {
        Body::HorizontalPodAutoscaler { spec } => Some(&spec.metrics),
        _ => None,
    });
    metrics.flatten().map(|metric| metric.resource.name.clone()).collect()
}

/// Whether a service says `vertical`, and not `apply: true`.
fn is_only_watched(unit: &Unit) -> bool {
    let said = unit.service.other.get(autoscale::KEY);
    said.is_some_and(|said| said.get("vertical").is_some())
}

/// Within which bounds a service is given something.
fn bounds(asked: &Vertical, name: &str) -> Option<Bounds> {
    if name == "cpu" { asked.cpu_millis } else { asked.memory }
}

/// An amount of it, as Kubernetes writes it.
fn amount(name: &str, value: u64) -> String {
    if name == "cpu" { quantity::cpus(value as f64 / 1000.0) } else { quantity::bytes(value) }
}

/// The workload, and a policy for each of its containers.
fn target(
    draft: &Draft<'_>,
    unit: &Unit,
    (controlled, asked): (&[&str], Option<&Vertical>),
) -> Option<(Target, Vec<ContainerPolicy>)> {
    let entry = draft.entries.iter().find(|entry| {
        entry.object.metadata.name == unit.name && entry.object.body.template().is_some()
    })?;
    let (api_version, kind) = entry.object.body.kind();
    let template = entry.object.body.template()?;
    let side = |get: fn(Bounds) -> u64| -> Map {
        let of = |name: &&str| Some((name.to_string(), amount(name, get(bounds(asked?, name)?))));
        controlled.iter().filter_map(of).collect()
    };
    let (least, most) = (side(|bounds| bounds.min), side(|bounds| bounds.max));
    let policy = |container: &super::object::Container| ContainerPolicy {
        container_name: container.name.clone(),
        controlled_resources: controlled.iter().map(|name| (*name).to_owned()).collect(),
        // Limits of the file are kept, unless it says itself that they change.
        controlled_values: match asked {
            Some(_) => "RequestsAndLimits".to_owned(),
            None => "RequestsOnly".to_owned(),
        },
        min_allowed: least.clone(),
        max_allowed: match asked {
            Some(_) => most.clone(),
            None => only(&container.resources.limits, controlled),
        },
    };
    let target = Target {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: unit.name.clone(),
    };
    Some((target, template.spec.containers.iter().map(policy).collect()))
}

fn only(amounts: &Map, names: &[&str]) -> Map {
    let mut amounts = amounts.clone();
    amounts.retain(|name, _| names.contains(&name.as_str()));
    amounts
}
