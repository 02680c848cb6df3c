//! `pre_start`: a step is a container like its service's, except for what it says itself.

use super::merge::merge;
use super::schema::{Merge, PRE_START, Shape};
use super::tree::{Map, Node, Value};

static SHAPE: Shape = Shape::Object(&PRE_START);

/// Lays every step on top of what it inherits from its service. Mounts are not inherited.
pub(crate) fn inherit(tree: &mut Node) {
    let services = tree.as_map_mut().and_then(|map| map.get_mut("services"));
    let services = services.and_then(|entry| entry.value.as_map_mut());
    for entry in services.into_iter().flat_map(Map::values_mut) {
        let Some(service) = entry.value.as_map_mut() else { continue };
        if !service.contains_key("pre_start") {
            continue;
        }
        let inherited = |key: &str| key != "volumes" && PRE_START.key(key).is_some();
        let base: Map = service
            .iter()
            .filter(|(key, _)| inherited(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        let steps = service.get_mut("pre_start").map(|entry| &mut entry.value.value);
        let Some(Value::List(steps)) = steps else { continue };
        for step in steps {
            let mut whole = Node::new(Value::Map(base.clone()), step.at);
            let over = std::mem::replace(step, Node::null(step.at));
            merge(&mut whole, over, &SHAPE, Merge::Deep);
            *step = whole;
        }
    }
}
