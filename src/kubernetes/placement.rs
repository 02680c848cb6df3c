//! Where pods go: constraints as node affinity, preferences as topology spread.

use super::draft::Draft;
use super::object::{
    Affinity, LabelSelector, Map, NodeAffinity, NodeRule, NodeSelector, NodeTerm, PodAntiAffinity,
    PodSpec, PodTerm, TopologySpread,
};
use super::unit::Unit;
use super::workload::replicas;

const HOST: &str = "kubernetes.io/hostname";

/// Sets what a pod says of nodes. `selector` finds the pods of the same workload.
pub(super) fn set(draft: &mut Draft<'_>, unit: &Unit, selector: &Map, spec: &mut PodSpec) {
    platform(draft, unit, &mut spec.node_selector);
    let deploy = unit.service.deploy.as_ref();
    let is_global = deploy.is_some_and(|deploy| deploy.mode.as_deref() == Some("global"));
    let placement = deploy.map(|deploy| deploy.placement.clone()).unwrap_or_default();
    let mut rules = Vec::new();
    for text in &placement.constraints {
        rules.extend(rule(draft, unit, text));
    }
    let same = LabelSelector { match_labels: selector.clone() };
    let mut affinity = Affinity::default();
    if !rules.is_empty() {
        let terms = vec![NodeTerm { match_expressions: rules }];
        let required = Some(NodeSelector { node_selector_terms: terms });
        affinity.node_affinity = Some(NodeAffinity { required });
    }
    let spread = |key: &str, when: &str| TopologySpread {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: when.to_owned(),
        label_selector: same.clone(),
    };
    let per_node = placement.max_replicas_per_node.filter(|count| *count > 0);
    if per_node == Some(1) {
        let term = PodTerm { label_selector: same.clone(), topology_key: HOST.to_owned() };
        affinity.pod_anti_affinity = Some(PodAntiAffinity { required: vec![term] });
    } else if let Some(count) = per_node {
        let key = "deploy.placement.max_replicas_per_node";
        let reason =
            format!("pods are spread evenly over nodes; at most {count} on one is not enforced");
        draft.nearly(unit, key, reason, "");
    }
    if !is_global && replicas(&unit.service) > 1 {
        for preference in &placement.preferences {
            let Some(text) = &preference.spread else { continue };
            match label(text) {
                Some(key) if key != HOST => {
                    spec.topology_spread_constraints.push(spread(&key, "ScheduleAnyway"));
                }
                Some(_) => {}
                None => {
                    let reason = format!("`{text}` is no label of a node");
                    draft.lost(unit, "deploy.placement.preferences", reason, "");
                }
            }
        }
        if per_node != Some(1) {
            spec.topology_spread_constraints.push(spread(HOST, "ScheduleAnyway"));
        }
    } else if !placement.preferences.is_empty() {
        let reason = "there is one pod, or one on each node: nothing to spread";
        draft.lost(unit, "deploy.placement.preferences", reason, "");
    }
    spec.affinity = (affinity != Affinity::default()).then_some(affinity);
}

/// The label of nodes that Swarm's name stands for.
fn label(text: &str) -> Option<String> {
    let name = text.trim();
    let key = match name {
        "node.hostname" => HOST,
        "node.platform.os" => "kubernetes.io/os",
        "node.platform.arch" => "kubernetes.io/arch",
        _ => name.strip_prefix("node.labels.").or(name.strip_prefix("engine.labels."))?,
    };
    super::names::is_label_key(key).then(|| key.to_owned())
}

/// `node.labels.disk == ssd`.
fn rule(draft: &mut Draft<'_>, unit: &Unit, text: &str) -> Option<NodeRule> {
    let key = "deploy.placement.constraints";
    let (name, operator, value) = match (text.split_once("!="), text.split_once("==")) {
        (Some((name, value)), _) => (name, "NotIn", value.trim()),
        (None, Some((name, value))) => (name, "In", value.trim()),
        (None, None) => {
            draft.lost(unit, key, format!("`{text}` is no constraint"), "");
            return None;
        }
    };
    let Some(label) = label(name).filter(|_| super::names::is_label_value(value)) else {
        let reason = format!("`{text}` says nothing of nodes of Kubernetes");
        draft.lost(unit, key, reason, "label the nodes and use `node.labels.NAME == VALUE`");
        return None;
    };
    if label != HOST && !label.starts_with("kubernetes.io/") {
        let reason = format!("the nodes must have the label `{label}`");
        draft.nearly(unit, key, reason, "label them with `kubectl label node`");
    }
    Some(NodeRule { key: label, operator: operator.to_owned(), values: vec![value.to_owned()] })
}

/// `linux/arm64/v8`.
fn platform(draft: &mut Draft<'_>, unit: &Unit, selector: &mut Map) {
    let Some(platform) = unit.service.platform.as_deref().filter(|text| !text.is_empty()) else {
        return;
    };
    let mut parts = platform.split('/');
    let first = parts.next().unwrap_or_default();
    let (os, arch) = match parts.next() {
        Some(arch) => (first, arch),
        None if matches!(first, "linux" | "windows") => (first, ""),
        None => ("linux", first),
    };
    let arch = match arch {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    for (key, value) in [("kubernetes.io/os", os), ("kubernetes.io/arch", arch)] {
        if !value.is_empty() && super::names::is_label_value(value) {
            selector.insert(key.to_owned(), value.to_owned());
        }
    }
    if let Some(variant) = parts.next() {
        let reason = format!("nodes have no label for the variant `{variant}`");
        draft.nearly(unit, "platform", reason, "");
    }
}
