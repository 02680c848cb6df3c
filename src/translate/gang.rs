//! Gangs: replicas that run together or not at all. Our own key, as Compose has no word for it.

use serde_json::Value;

use super::pods;
use super::scope::{Scope, millis};
use crate::compose::project::parse_duration;
use crate::model::Gang;

const KEY: &str = "x-gang";

/// The gang that the replicas of the service at hand are, if they are one.
pub(super) fn convert(scope: &mut Scope<'_>) -> Option<Gang> {
    let value = scope.service.other.get(KEY)?.clone();
    if value == Value::Bool(false) {
        return None;
    }
    let Some(gang) = read(&value) else {
        let reason = format!("`{value}` says nothing of a gang");
        let remedy = "as in `x-gang: {timeout: 10m, port: 29500}`, or `x-gang: true`";
        scope.refused(KEY, reason, remedy);
        return None;
    };
    let mode = scope.service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    if mode != Some("replicated-job") {
        let reason = "replicas that run for ever, or one on each host, are no gang";
        scope.refused(KEY, reason, "add `deploy: {mode: replicated-job, replicas: N}`");
        return None;
    }
    let leads = |other: &String| {
        pods::leader(scope.project, other).is_some_and(|leader| leader.as_str() == scope.key)
    };
    let joins = pods::leader(scope.project, scope.key).is_some();
    if joins || scope.project.services.keys().any(leads) {
        let reason = "services that share a network are no gang";
        scope.refused(KEY, reason, "let them reach each other by their names");
        return None;
    }
    Some(gang)
}

fn read(value: &Value) -> Option<Gang> {
    let mut gang = Gang { timeout_ms: None, port: Gang::PORT };
    if *value == Value::Bool(true) {
        return Some(gang);
    }
    for (key, value) in value.as_object()? {
        match key.as_str() {
            "timeout" => {
                let timeout = value.as_str().and_then(parse_duration).map(millis);
                gang.timeout_ms = Some(timeout.filter(|timeout| *timeout > 0)?);
            }
            "port" => {
                let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
                gang.port =
                    number.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)?;
            }
            _ => return None,
        }
    }
    Some(gang)
}
