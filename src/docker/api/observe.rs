//! From what Docker tells of a container to [`Container`]. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerInspectResponse, ContainerState as State, ContainerStateStatusEnum as Status,
    ContainerSummary, ContainerSummaryStateEnum, EndpointSettings, HealthStatusEnum, HostConfig,
};

use crate::docker::label;
use crate::model::{Container, ContainerState, Farewell, Generation, Health, Limits, ReplicaId};

/// What a listing tells of a running container. While it stays the same, so does the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glance {
    name: Vec<String>,
    health: String,
    addresses: BTreeMap<String, Ipv4Addr>,
    /// Docker's ids of its places in networks: it gets new ones each time it starts.
    places: BTreeMap<String, String>,
}

/// The glance at a running container; none at any other, whose exit code a listing does not tell.
pub(super) fn glance(summary: &ContainerSummary) -> Option<Glance> {
    if summary.state != Some(ContainerSummaryStateEnum::RUNNING) {
        return None;
    }
    // `Up 5 minutes (healthy)`: the words in brackets are the health, the others only time.
    let status = summary.status.as_deref().unwrap_or_default();
    let health = status.split_once('(').map_or("", |(_, health)| health).to_owned();
    let networks = summary.network_settings.as_ref().and_then(|network| network.networks.as_ref());
    Some(Glance {
        name: summary.names.clone().unwrap_or_default(),
        health,
        addresses: networks.map(addresses).unwrap_or_default(),
        places: networks.map(places).unwrap_or_default(),
    })
}

/// The container, or what is wrong with its labels.
pub(super) fn container(told: ContainerInspectResponse) -> Result<Container, String> {
    let config = told.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let state = told.state.unwrap_or_default();
    let limits = told.host_config.as_ref().map(limits).unwrap_or_default();
    let networks = told.network_settings.and_then(|network| network.networks);
    Ok(Container {
        id: told.id.unwrap_or_default(),
        name: told.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        replica: replica(&labels)?,
        generation: generation(&labels)?,
        spec_hash: text(&labels, label::SPEC)?.to_owned(),
        health: health(&state),
        state: container_state(&state),
        addresses: networks.as_ref().map(addresses).unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        started: started(&state),
        devices: devices(&labels),
        step: step(&labels)?,
        farewell: labels.get(label::FAREWELL).and_then(|text| farewell(text)),
        limits,
    })
}

/// Docker says 0 of what has no limit.
fn limits(config: &HostConfig) -> Limits {
    let some = |amount: Option<i64>| {
        amount.and_then(|amount| u64::try_from(amount).ok()).filter(|amount| *amount > 0)
    };
    Limits {
        cpu_millis: some(config.nano_cpus).map(|nanos| nanos / 1_000_000),
        memory: some(config.memory),
    }
}

fn text<'a>(labels: &'a HashMap<String, String>, key: &str) -> Result<&'a str, String> {
    labels.get(key).map(String::as_str).ok_or_else(|| format!("label `{key}` is missing"))
}

fn devices(labels: &HashMap<String, String>) -> BTreeSet<String> {
    let ids = labels.get(label::DEVICES).map(String::as_str).unwrap_or_default();
    ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// The Replica named by labels.
pub(super) fn replica(labels: &HashMap<String, String>) -> Result<ReplicaId, String> {
    let index = text(labels, label::REPLICA)?;
    Ok(ReplicaId {
        app: text(labels, label::APP)?.into(),
        service: text(labels, label::SERVICE)?.into(),
        index: index.parse().map_err(|_| format!("label `{}` is no number", label::REPLICA))?,
    })
}

/// The Generation named by labels.
pub(super) fn generation(labels: &HashMap<String, String>) -> Result<Generation, String> {
    let number = text(labels, label::GENERATION)?;
    let number =
        number.parse().map_err(|_| format!("label `{}` is no number", label::GENERATION))?;
    Ok(Generation(number))
}

/// The step named by a label.
fn step(labels: &HashMap<String, String>) -> Result<Option<u32>, String> {
    let text = labels.get(label::STEP);
    text.map(|text| text.parse())
        .transpose()
        .map_err(|_| format!("label `{}` is no number", label::STEP))
}

/// What is said before the end; a text that nobody can read is as good as none.
fn farewell(text: &str) -> Option<Farewell> {
    match serde_json::from_str(text) {
        Ok(farewell) => Some(farewell),
        Err(error) => {
            tracing::warn!(%error, "label `{}` cannot be read", label::FAREWELL);
            None
        }
    }
}

fn addresses(networks: &HashMap<String, EndpointSettings>) -> BTreeMap<String, Ipv4Addr> {
    networks
        .iter()
        .filter_map(|(name, endpoint)| {
            // Empty while the container does not run.
            Some((name.clone(), endpoint.ip_address.as_deref()?.parse().ok()?))
        })
        .collect()
}

fn places(networks: &HashMap<String, EndpointSettings>) -> BTreeMap<String, String> {
    let places = networks.iter();
    places.filter_map(|(name, place)| Some((name.clone(), place.endpoint_id.clone()?))).collect()
}

/// Docker says the year 1 of what was never started.
fn started(state: &State) -> i64 {
    let told = state.started_at.as_deref().unwrap_or_default();
    let nanos = told.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_nanosecond);
    i64::try_from(nanos).unwrap_or_default().max(0)
}

fn container_state(state: &State) -> ContainerState {
    match state.status.unwrap_or(Status::EMPTY) {
        Status::EMPTY | Status::CREATED => ContainerState::Created,
        Status::RUNNING => ContainerState::Running,
        Status::PAUSED => ContainerState::Paused,
        Status::RESTARTING | Status::REMOVING | Status::STOPPING => ContainerState::Changing,
        Status::EXITED => ContainerState::Exited {
            code: state.exit_code.unwrap_or_default(),
            oom_killed: state.oom_killed.unwrap_or_default(),
        },
        Status::DEAD => ContainerState::Dead,
    }
}

fn health(state: &State) -> Health {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}
