//! `network_mode: service:x`.

use serde_json::{Value, json};

use super::super::*;
use super::{context, project};
use crate::model::{Deployment, Replicas};

fn translated(services: Value) -> Translation {
    translate(&project(json!({"services": services})), &context())
}

fn of<'t>(translation: &'t Translation, service: &str) -> &'t Deployment {
    &translation.revision.deployments[&ServiceName::new(service)]
}

fn said(translation: &Translation) -> Vec<String> {
    let notes = translation.notes.iter().chain(&translation.refusals);
    notes.map(|note| format!("{} {}", note.verdict, note.path)).collect()
}

#[test]
fn a_service_that_joins_another_has_its_network_and_its_number_of_replicas() {
    let translation = translated(json!({
        "vpn": {"image": "vpn", "deploy": {"replicas": 2}, "ports": [{"target": 80, "published": "80"}]},
        "app": {"image": "app", "network_mode": "service:vpn", "hostname": "app"},
        "side": {"image": "side", "network_mode": "service:app"},
    }));
    assert_eq!(translation.refusals, []);
    for service in ["app", "side"] {
        let own = of(&translation, service);
        assert_eq!(own.joins, Some(ServiceName::new("vpn")), "{service}");
        assert!(own.networks.is_empty());
        assert_eq!(own.replicas, Replicas::Count(2));
    }
    assert_eq!(of(&translation, "vpn").joins, None);
    let notes = [
        "approximated services.app.deploy.replicas",
        "ignored services.app.hostname",
        "approximated services.side.deploy.replicas",
    ];
    let mut said = said(&translation);
    said.sort();
    let mut notes = notes.map(str::to_owned).to_vec();
    notes.sort();
    assert_eq!(said, notes);
}

#[test]
fn a_container_of_the_project_is_joined_by_its_name() {
    let translation = translated(json!({
        "vpn": {"image": "vpn", "container_name": "tunnel"},
        "app": {"image": "app", "network_mode": "container:tunnel"},
    }));
    assert_eq!(of(&translation, "app").joins, Some(ServiceName::new("vpn")));
}

#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    let ports = translated(json!({
        "vpn": {"image": "vpn"},
        "app": {"image": "app", "network_mode": "service:vpn",
                "ports": [{"target": 80, "published": "80"}]},
    }));
    assert_eq!(said(&ports), ["refused services.app.ports"]);
    assert_eq!(ports.refusals[0].remedy.as_deref(), Some("publish them on `vpn`"));
    let circle = translated(json!({
        "a": {"image": "a", "network_mode": "service:b"},
        "b": {"image": "b", "network_mode": "service:a"},
    }));
    assert_eq!(circle.refusals.len(), 2);
    assert_eq!(circle.refusals[0].reason, "`service:b` leads back to the service itself");
    let waits = translated(json!({
        "vpn": {"image": "vpn", "depends_on": {"app": {"condition": "service_started", "required": true}}},
        "app": {"image": "app", "network_mode": "service:vpn"},
    }));
    assert_eq!(said(&waits), ["refused services.app.network_mode"]);
}
