//! What the fake agent shows of its hosts and Apps. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{BROKEN, FakeState, HOSTS, PINNED, STUCK};
use crate::api::{
    Action, ApiError, AppDetail, AppSummary, Change, ErrorKind, NetworkReplica, NetworkService,
    NetworkView, Node, ReplicaView, ServiceView, Stays,
};
use crate::model::{
    AppName, Availability, Capacity, Deployment, Health, HostId, Liveness, NetworkName,
    NetworkSpec, Phase, ReplicaId, Replicas, Revision, SealedRevision, ServiceName,
};

/// What a replica is seen in, look by look.
const STEPS: [(Option<Phase>, bool); 4] = [
    (None, false),
    (Some(Phase::Pulling), false),
    (Some(Phase::Starting), false),
    (Some(Phase::Running), true),
];

pub(super) fn host_id(index: usize) -> HostId {
    HostId::new(format!("{:016x}", index + 1))
}

pub(super) fn node(index: usize) -> Node {
    let last = index + 1 == HOSTS.len();
    Node {
        id: host_id(index),
        name: HOSTS[index].to_owned(),
        address: ([192, 0, 2, index as u8 + 1], 7400).into(),
        liveness: if last { Liveness::Suspect } else { Liveness::Alive },
        availability: if last { Availability::Drain } else { Availability::Active },
        slice: None,
        platform: "linux/amd64".to_owned(),
        capacity: Capacity { cpu_millis: 4000, memory: 8 << 30 },
        reserved: Capacity { cpu_millis: 500, memory: 512 << 20 },
        replicas: index as u32,
        inventory: Default::default(),
        engine_version: "20.10.24".to_owned(),
        disk_full: false,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: BTreeMap::new(),
        this: index == 0,
    }
}

pub(super) fn index_of(host: &str) -> Result<usize, ApiError> {
    HOSTS.iter().position(|name| *name == host).ok_or_else(|| ApiError {
        kind: ErrorKind::NotFound,
        message: format!("no host `{host}` in this cluster"),
        hint: Some("`muster nodes` lists the hosts".to_owned()),
    })
}

/// What leaves a host that is drained, and what stays.
pub(super) fn leavers(state: &FakeState, host: usize) -> (Vec<ReplicaId>, Vec<Stays>) {
    let (mut leaving, mut stays) = (Vec::new(), Vec::new());
    let all = state.apps.values().flat_map(|(revision, _)| replicas_of(revision));
    for (replica, deployment) in all {
        if replica.index as usize % HOSTS.len() != host {
            continue;
        }
        if deployment.container.image.contains(PINNED) {
            let (reason, hint) = ("its data is there".to_owned(), "let it run on".to_owned());
            stays.push(Stays { replica, has_data: true, reason, hint });
        } else {
            leaving.push(replica);
        }
    }
    (leaving, stays)
}

pub(super) fn unknown(app: &AppName) -> ApiError {
    ApiError {
        kind: ErrorKind::NotFound,
        message: format!("no app `{app}` in this cluster"),
        hint: Some("`muster ls` lists the apps; `muster up` starts one".to_owned()),
    }
}

fn replicas_of(revision: &Revision) -> Vec<(ReplicaId, &Deployment)> {
    let one = |(service, deployment): (&ServiceName, &'_ Deployment)| {
        let count = match deployment.replicas {
            Replicas::Count(count) => count,
            Replicas::Global => HOSTS.len() as u32,
        };
        (1..=count).map(|index| (service.clone(), index)).collect::<Vec<_>>()
    };
    let all = revision.deployments.iter().flat_map(|entry| {
        let deployment = entry.1;
        one(entry).into_iter().map(move |(service, index)| {
            (ReplicaId { app: revision.app.clone(), service, index }, deployment)
        })
    });
    all.collect()
}

/// The networks of an App. Every service has its first replica on each of them.
pub(super) fn networks(revision: &Revision) -> Vec<NetworkView> {
    let service = |(service, deployment): (&ServiceName, &Deployment)| NetworkService {
        service: service.clone(),
        address: Some(Ipv4Addr::new(10, 223, 0, 1)),
        fixed: deployment.networks.values().find_map(|one| one.fixed),
        aliases: deployment.networks.values().flat_map(|one| one.aliases.clone()).collect(),
        replicas: vec![NetworkReplica {
            replica: ReplicaId { app: revision.app.clone(), service: service.clone(), index: 1 },
            host: HOSTS[0].to_owned(),
            address: Ipv4Addr::new(10, 208, 0, 66),
            ready: true,
        }],
    };
    let one = |(network, spec): (&NetworkName, &NetworkSpec)| NetworkView {
        app: revision.app.clone(),
        network: network.clone(),
        name: spec.name.clone(),
        shared: spec.shared.clone(),
        internal: spec.internal,
        blocks: [(HOSTS[0].to_owned(), "10.208.0.64/26".parse().expect("a network"))].into(),
        services: revision.deployments.iter().map(service).collect(),
    };
    revision.networks.iter().map(one).collect()
}

pub(super) fn changes(old: Option<&Revision>, new: &Revision) -> Vec<Change> {
    let before: BTreeMap<_, _> = old.map(replicas_of).unwrap_or_default().into_iter().collect();
    let after: BTreeMap<_, _> = replicas_of(new).into_iter().collect();
    let change = |replica: &ReplicaId, action, reason: &str| Change {
        action,
        subject: format!("{}/{}", replica.service, replica.index),
        host: HOSTS[replica.index as usize % HOSTS.len()].to_owned(),
        reason: reason.to_owned(),
    };
    let mut changes = Vec::new();
    for (replica, deployment) in &after {
        match before.get(replica) {
            None => changes.push(change(replica, Action::Create, "new")),
            Some(old) if old.container_hash() != deployment.container_hash() => {
                changes.push(change(replica, Action::Replace, "its spec changed"));
            }
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|replica| !after.contains_key(replica));
    changes.extend(gone.map(|replica| change(replica, Action::Remove, "no longer wanted")));
    changes
}

pub(super) fn detail(revision: &SealedRevision, looks: usize) -> AppDetail {
    let step = looks.min(STEPS.len() - 1);
    let all = replicas_of(revision);
    let replicas: Vec<ReplicaView> =
        all.into_iter().map(|(replica, deployment)| seen(replica, deployment, step)).collect();
    let services: Vec<ServiceView> = revision
        .deployments
        .iter()
        .map(|(service, deployment)| {
            let mine = replicas.iter().filter(|replica| replica.replica.service == *service);
            let (wanted, ready) = mine.fold((0, 0), |(wanted, ready), replica| {
                (wanted + 1, ready + u32::from(is_up(replica)))
            });
            let completed = replicas.iter().filter(|replica| {
                replica.replica.service == *service && replica.phase == Some(Phase::Completed)
            });
            let addresses =
                deployment.networks.keys().map(|n| (n.clone(), Ipv4Addr::new(10, 223, 0, 1)));
            ServiceView {
                service: service.clone(),
                addresses: addresses.collect(),
                ports: deployment.ports.clone(),
                ready,
                wanted,
                completed: completed.count() as u32,
                rollout: None,
                scaling: None,
            }
        })
        .collect();
    let summary = AppSummary {
        app: revision.app.clone(),
        revision: revision.id().clone(),
        sequence: revision.sequence,
        intent: revision.intent,
        wanted: services.iter().map(|service| service.wanted).sum(),
        ready: services.iter().map(|service| service.ready).sum(),
        conflicts: Vec::new(),
        home: Some(host_id(0)),
    };
    let settled = step > 0 && replicas.iter().all(is_up);
    let failed = replicas.iter().any(|replica| replica.phase == Some(Phase::Failed));
    AppDetail { summary, replicas, services, settled, watched_ms: None, failed }
}

fn is_up(replica: &ReplicaView) -> bool {
    replica.ready || replica.phase == Some(Phase::Completed)
}

fn seen(replica: ReplicaId, deployment: &Deployment, step: usize) -> ReplicaView {
    let (mut phase, mut ready) = STEPS[step];
    let mut reason = None;
    if ready && deployment.container.image.contains(STUCK) {
        (phase, ready) = (Some(Phase::Starting), false);
    }
    if ready && deployment.container.image.contains(BROKEN) {
        (phase, ready) = (Some(Phase::Failed), false);
        reason = Some("exited with code 1".to_owned());
    }
    if ready && deployment.is_one_shot() {
        (phase, ready) = (Some(Phase::Completed), false);
    }
    ReplicaView {
        host: HOSTS[replica.index as usize % HOSTS.len()].to_owned(),
        phase,
        health: Health::None,
        ready,
        current: true,
        image: deployment.container.image.clone(),
        addresses: deployment
            .networks
            .keys()
            .map(|network| (network.clone(), Ipv4Addr::new(10, 208, 0, replica.index as u8 + 1)))
            .collect(),
        restarts: 0,
        container: Some(format!("{}-{}-{}", replica.app, replica.service, replica.index)),
        age_seconds: 60,
        reason,
        stuck: false,
        replica,
    }
}
