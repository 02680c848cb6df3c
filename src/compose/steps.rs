//! `pre_start`: a step is a container like its service's, except for what it says itself.

use super::budget::COPIED_NODES_MAX;
use super::merge::merge;
use super::normalise::{count_all, place_secret};
use super::raw::join_pairs;
use super::schema::{Merge, PRE_START, Shape};
use super::source::Report;
use super::tree::{Map, Node, Value};

static SHAPE: Shape = Shape::Object(&PRE_START);

/// Lays every step on top of what it inherits from its service. Mounts are not inherited. In a tree
/// that is `raw`, values are as they were written.
pub(crate) fn inherit(tree: &mut Node, raw: bool, report: &mut Report) {
    let services = tree.as_map_mut().and_then(|map| map.get_mut("services"));
    let services = services.and_then(|entry| entry.value.as_map_mut());
    for entry in services.into_iter().flat_map(Map::values_mut) {
        let Some(service) = entry.value.as_map_mut() else { continue };
        if !service.contains_key("pre_start") {
            continue;
        }
        let inherited = |key: &str| key != "volumes" && PRE_START.key(key).is_some();
        let mut base: Map = service
            .iter()
            .filter(|(key, _)| inherited(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        fill_defaults(&mut base, raw);
        let steps = service.get_mut("pre_start").map(|entry| &mut entry.value.value);
        let Some(Value::List(steps)) = steps else { continue };
        let n_nodes: usize = base.values().map(|entry| entry.value.n_nodes()).sum();
        for step in steps {
            if !report.budgets.copied.take(n_nodes) {
                let message = format!("steps inherit more than {COPIED_NODES_MAX} values");
                let hint = "say less in the services that have `pre_start`, or have fewer steps";
                drop(report.error(step.at, message).hint(hint));
                return;
            }
            let mut whole = Node::new(Value::Map(base.clone()), step.at);
            let mut over = std::mem::replace(step, Node::null(step.at));
            if raw {
                join_pairs(&mut whole, &mut over, &SHAPE);
            }
            merge(&mut whole, over, &SHAPE, Merge::Deep);
            *step = whole;
        }
    }
}

/// What a service leaves out is filled in before its steps inherit it; what a step leaves out is not.
fn fill_defaults(service: &mut Map, raw: bool) {
    for request in items(service, "gpus") {
        if let Some(request) = request.as_map_mut() {
            count_all(request, raw);
        }
    }
    for secret in items(service, "secrets") {
        if let Some(secret) = secret.as_map_mut() {
            place_secret(secret);
        }
    }
}

fn items<'m>(service: &'m mut Map, key: &str) -> impl Iterator<Item = &'m mut Node> {
    match service.get_mut(key).map(|entry| &mut entry.value.value) {
        Some(Value::List(items)) => items.iter_mut(),
        Some(Value::Map(_) | Value::Scalar(_)) | None => [].iter_mut(),
    }
}
