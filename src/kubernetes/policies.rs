//! Networks of the file as NetworkPolicies: who shares a network may speak, others may not. Names
//! are always resolved. What is published is open to all; an `internal` network has no way out.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::names;
use super::object::{
    Body, LabelSelector, Map, Peer, PolicyEgress, PolicyIngress, PolicyPort, PolicySpec,
};
use super::unit::{Unit, Units};

/// The label that pods of a network have.
pub(super) fn label(network: &str) -> String {
    format!("network.muster.dev/{}", names::label(network))
}

/// The networks a unit is on.
pub(super) fn networks(unit: &Unit) -> Vec<String> {
    match unit.service.network_mode.as_deref() {
        Some(_) => Vec::new(),
        None if unit.service.networks.is_empty() => vec!["default".to_owned()],
        None => unit.service.networks.keys().cloned().collect(),
    }
}

/// Adds a policy for each workload, and one for each that has no network at all.
pub(super) fn add(draft: &mut Draft<'_>, units: &Units) {
    for own in units.pods() {
        let Some(leader) = own.first() else { continue };
        let match_labels = super::draft::selector(&draft.instance(), &leader.name);
        let pod_selector = LabelSelector { match_labels };
        if leader.service.network_mode.as_deref() == Some("none") {
            let policy_types = ["Ingress", "Egress"].map(str::to_owned).into();
            let spec = PolicySpec { pod_selector, policy_types, ..PolicySpec::default() };
            draft.add(leader, &leader.name.clone(), Body::NetworkPolicy { spec });
            draft.comment("It has no network (network_mode: none).");
        } else if draft.options.network_policies && leader.service.network_mode.is_none() {
            let spec = policy(draft, leader, pod_selector);
            draft.add(leader, &leader.name.clone(), Body::NetworkPolicy { spec });
        }
    }
}

/// Says that networks keep nothing apart, where the file has several.
pub(super) fn note_open(draft: &mut Draft<'_>, units: &Units) {
    let used: std::collections::BTreeSet<String> = units.iter().flat_map(networks).collect();
    if draft.options.network_policies || used.len() < 2 {
        return;
    }
    for network in used.iter().filter(|network| draft.project.networks.contains_key(*network)) {
        let verdict = crate::translate::Verdict::Approximated;
        let reason = "all pods reach each other, whichever network they are on in the file";
        let remedy = "export with `--network-policies`";
        draft.notes.add(format!("networks.{network}"), verdict, reason, remedy);
    }
}

fn policy(draft: &Draft<'_>, unit: &Unit, pod_selector: LabelSelector) -> PolicySpec {
    let peer = |network: &String| Peer {
        pod_selector: Some(LabelSelector {
            match_labels: BTreeMap::from([(label(network), "true".to_owned())]),
        }),
        namespace_selector: None,
    };
    let networks = networks(unit);
    let peers: Vec<Peer> = networks.iter().map(peer).collect();
    let mut ingress = vec![PolicyIngress { from: peers.clone(), ports: Vec::new() }];
    let ports: Vec<PolicyPort> = super::traffic::ports(draft, unit)
        .into_iter()
        .filter(|port| unit.service.ports.iter().any(|it| it.target == port.port))
        .map(|port| PolicyPort { port: port.port, protocol: port.protocol })
        .collect();
    if !ports.is_empty() {
        ingress.push(PolicyIngress { from: Vec::new(), ports });
    }
    let is_internal =
        |name: &String| draft.project.networks.get(name).is_some_and(|network| network.internal);
    let mut policy_types = vec!["Ingress".to_owned()];
    let mut egress = Vec::new();
    if !networks.is_empty() && networks.iter().all(is_internal) {
        policy_types.push("Egress".to_owned());
        egress.push(PolicyEgress { to: peers, ports: Vec::new() });
        let port = |protocol: &str| PolicyPort { port: 53, protocol: Some(protocol.to_owned()) };
        let namespace =
            Map::from([("kubernetes.io/metadata.name".to_owned(), "kube-system".to_owned())]);
        let to = Peer {
            pod_selector: None,
            namespace_selector: Some(LabelSelector { match_labels: namespace }),
        };
        egress.push(PolicyEgress { to: vec![to], ports: vec![port("UDP"), port("TCP")] });
    }
    PolicySpec { pod_selector, policy_types, ingress, egress }
}
