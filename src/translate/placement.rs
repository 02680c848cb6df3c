//! Where replicas may run.

use std::collections::BTreeSet;

use super::devices;
use super::scope::Scope;
use crate::model::{Constraint, Placement};

/// Attributes a host has beside its labels.
const ATTRIBUTES: [&str; 4] =
    ["node.id", "node.hostname", "node.platform.os", "node.platform.arch"];
/// What their labels, and those of their Docker, begin with.
const LABELS: [&str; 2] = ["node.labels.", "engine.labels."];

/// Where replicas of the service at hand may run.
pub(super) fn convert(scope: &mut Scope<'_>) -> Placement {
    let platform = scope.service.platform.clone();
    let Some(deploy) = scope.service.deploy.as_ref() else {
        return Placement { platform, ..Placement::default() };
    };
    let resources = devices::resources(scope);
    let placement = &deploy.placement;
    let constraints = placement.constraints.iter().filter_map(|text| constraint(scope, text));
    Placement {
        constraints: constraints.collect(),
        spread: placement
            .preferences
            .iter()
            .filter_map(|preference| spread(scope, preference.spread.as_deref()?))
            .collect(),
        max_replicas_per_host: placement.max_replicas_per_node.filter(|most| *most > 0),
        platform,
        // The agent that takes the Revision finds out.
        offered: BTreeSet::new(),
        resources,
    }
}

fn constraint(scope: &mut Scope<'_>, text: &str) -> Option<Constraint> {
    const KEY: &str = "deploy.placement.constraints";
    let parsed = text
        .split_once("==")
        .map(|(attribute, value)| (attribute, true, value))
        .or_else(|| text.split_once("!=").map(|(attribute, value)| (attribute, false, value)));
    let Some((attribute, equal, value)) = parsed else {
        let reason = format!("`{text}` compares nothing");
        scope.refused(KEY, reason, "write it as `node.labels.disk == ssd`");
        return None;
    };
    let (attribute, value) = (attribute.trim(), value.trim());
    if attribute == "node.role" {
        let reason = format!("`{text}`: every host is both manager and worker, so it always holds");
        scope.approximated(KEY, reason, "label the hosts that are meant: `node.labels.X == Y`");
        return None;
    }
    if !is_known(attribute) {
        let reason = format!("`{text}`: hosts have no attribute `{attribute}`");
        scope.refused(KEY, reason, "label the hosts, and use `node.labels.X == Y`");
        return None;
    }
    Some(Constraint { attribute: attribute.to_owned(), equal, value: value.to_owned() })
}

fn spread(scope: &mut Scope<'_>, label: &str) -> Option<String> {
    if is_known(label) {
        return Some(label.to_owned());
    }
    let reason = format!("hosts have no attribute `{label}` to spread over");
    scope.ignored("deploy.placement.preferences", reason, "use `node.labels.X`");
    None
}

fn is_known(attribute: &str) -> bool {
    let mut labels = LABELS.iter().filter_map(|begin| attribute.strip_prefix(begin));
    ATTRIBUTES.contains(&attribute) || labels.any(|label| !label.is_empty())
}
