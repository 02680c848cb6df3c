//! A backend that keeps all in memory, for tests of the router, the client and the command line.
//! An App comes up by one step each time somebody looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    Action, ApiError, AppDetail, AppSummary, AuditLog, Backend, Change, ErrorKind, ImageKnown,
    InitRequest, JoinRequest, LogLine, LogsQuery, Node, PlanPreview, Refusal, Removal,
    RemoveRequest, ReplicaView, ServiceView, Status, SubmitRequest, Submitted, Token, TokenRequest,
};
use crate::docker::{BoxStream, BuildImage};
use crate::model::{
    AppName, Deployment, Health, Intent, Phase, ReplicaId, Replicas, Revision, ServiceName,
};

mod hosts;

use hosts::{host_id, node};

/// An image with this in its name never starts.
pub const BROKEN: &str = "broken";
/// An image with this in its name starts for ever.
pub const STUCK: &str = "stuck";
/// Names of the hosts of the fake cluster; the first one answers.
pub const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a replica is seen in, look by look.
const STEPS: [(Option<Phase>, bool); 4] = [
    (None, false),
    (Some(Phase::Pulling), false),
    (Some(Phase::Starting), false),
    (Some(Phase::Running), true),
];

/// The backend.
#[derive(Debug)]
pub struct FakeBackend {
    state: Mutex<FakeState>,
}

/// What the fake knows; tests read and set it.
#[derive(Debug, Default)]
pub struct FakeState {
    /// Whether the host belongs to a cluster.
    pub in_cluster: bool,
    /// Apps: the Revision, and how often it was looked at since.
    pub apps: BTreeMap<AppName, (Revision, usize)>,
    /// Every submit, oldest first.
    pub submitted: Vec<SubmitRequest>,
    /// Images that some host has.
    pub images: BTreeSet<String>,
    /// Every build and the size of its context.
    pub builds: Vec<(BuildImage, usize)>,
    /// What `logs` gives; an error ends it.
    pub logs: Vec<Result<LogLine, ApiError>>,
    /// What `plan` refuses with.
    pub refusals: Vec<Refusal>,
    /// Where its audit log was altered.
    pub altered: Option<String>,
    /// Hosts that were removed, by name.
    pub removed: BTreeSet<String>,
    /// What the next call of any kind answers with, in place of its answer.
    pub next_error: Option<ApiError>,
}

impl FakeBackend {
    /// A host in a cluster of three, with no App.
    pub fn new() -> Self {
        Self { state: Mutex::new(FakeState { in_cluster: true, ..FakeState::default() }) }
    }

    /// What it knows.
    pub fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().expect("no test panics while it holds the state")
    }

    /// The state for a call that needs a cluster.
    fn ready(&self) -> Result<MutexGuard<'_, FakeState>, ApiError> {
        let mut state = self.state();
        if let Some(error) = state.next_error.take() {
            return Err(error);
        }
        if !state.in_cluster {
            return Err(ApiError {
                kind: ErrorKind::NotInCluster,
                message: "this host belongs to no cluster".to_owned(),
                hint: Some("`muster init` makes one, `muster join TOKEN` joins one".to_owned()),
            });
        }
        Ok(state)
    }

    fn enter(&self, in_cluster: bool) -> Result<(), ApiError> {
        let mut state = self.state();
        if state.in_cluster && in_cluster {
            return Err(ApiError::user("this host already belongs to cluster `fake`"));
        }
        state.in_cluster = in_cluster;
        Ok(())
    }

    fn status_now(&self) -> Status {
        let in_cluster = self.state().in_cluster;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: HOSTS[0].to_owned(),
            host: in_cluster.then(|| host_id(0)),
            cluster: in_cluster.then(|| "fake".to_owned()),
            address: in_cluster.then(|| ([192, 0, 2, 1], 7400).into()),
            slice: None,
            engine_version: "20.10.24".to_owned(),
            hosts_alive: if in_cluster { HOSTS.len() as u32 } else { 0 },
            removed_from: None,
        }
    }
}

impl Default for FakeBackend {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Backend for FakeBackend {
    async fn status(&self) -> Result<Status, ApiError> {
        Ok(self.status_now())
    }

    async fn init(&self, _: InitRequest) -> Result<Status, ApiError> {
        self.enter(true)?;
        Ok(self.status_now())
    }

    async fn join(&self, request: JoinRequest) -> Result<Status, ApiError> {
        if request.token != "good-token" {
            return Err(ApiError::user("the token is unknown or was used")
                .hint("make another one with `muster token create`"));
        }
        self.enter(true)?;
        Ok(self.status_now())
    }

    async fn create_token(&self, request: TokenRequest) -> Result<Token, ApiError> {
        drop(self.ready()?);
        let TokenRequest { ttl_seconds, uses } = request;
        Ok(Token { token: "good-token".to_owned(), ttl_seconds, uses })
    }

    async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        let state = self.ready()?;
        let nodes = (0..HOSTS.len()).map(node);
        Ok(nodes.filter(|node| !state.removed.contains(&node.name)).collect())
    }

    async fn remove_node(&self, request: RemoveRequest) -> Result<Removal, ApiError> {
        self.remove(&request)
    }

    async fn audit(&self, limit: usize) -> Result<AuditLog, ApiError> {
        self.audit_log(limit)
    }

    async fn apps(&self) -> Result<Vec<AppSummary>, ApiError> {
        let state = self.ready()?;
        Ok(state.apps.values().map(|(revision, looks)| detail(revision, *looks).summary).collect())
    }

    async fn app(&self, app: &AppName) -> Result<AppDetail, ApiError> {
        let mut state = self.ready()?;
        let (revision, looks) = state.apps.get_mut(app).ok_or_else(|| unknown(app))?;
        let shown = detail(revision, *looks);
        *looks += 1;
        if shown.settled && revision.intent != Intent::Run {
            state.apps.remove(app);
        }
        Ok(shown)
    }

    async fn revision(&self, app: &AppName) -> Result<Revision, ApiError> {
        let state = self.ready()?;
        state.apps.get(app).map(|(revision, _)| revision.clone()).ok_or_else(|| unknown(app))
    }

    async fn plan(&self, revision: Revision) -> Result<PlanPreview, ApiError> {
        let state = self.ready()?;
        let old = state.apps.get(&revision.app).map(|(old, _)| old);
        Ok(PlanPreview {
            app: revision.app.clone(),
            from: old.map(Revision::id),
            changes: changes(old, &revision),
            refusals: state.refusals.clone(),
        })
    }

    async fn submit(&self, request: SubmitRequest) -> Result<Submitted, ApiError> {
        let mut state = self.ready()?;
        let mut revision = request.revision.clone();
        let old = state.apps.get(&revision.app).map(|(old, _)| old.clone());
        if request.expected.is_some() && request.expected != old.as_ref().map(Revision::id) {
            return Err(ApiError {
                kind: ErrorKind::Conflict,
                message: format!("app `{}` was changed by somebody else meanwhile", revision.app),
                hint: None,
            });
        }
        if old.is_none() && revision.intent != Intent::Run {
            return Err(unknown(&revision.app));
        }
        state.submitted.push(request);
        let old_sequence = old.as_ref().map_or(0, |old| old.sequence);
        let changed = !changes(old.as_ref(), &revision).is_empty();
        if let Some(old) = old.filter(|_| !changed) {
            revision = old;
        } else {
            revision.sequence = old_sequence + 1;
            state.apps.insert(revision.app.clone(), (revision.clone(), 0));
        }
        let (id, sequence) = (revision.id(), revision.sequence);
        let alive = HOSTS.len() as u32;
        Ok(Submitted { revision: id, sequence, changed, stored: 2, alive })
    }

    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ApiError> {
        let lines = self.ready()?.logs.clone();
        let lines = stream::iter(lines).filter(move |line| {
            let wanted = line.as_ref().map_or(true, |line| {
                query.services.is_empty() || query.services.contains(&line.replica.service)
            });
            std::future::ready(wanted)
        });
        if query.follow {
            return Ok(Box::pin(lines.chain(stream::pending())));
        }
        Ok(Box::pin(lines))
    }

    async fn build(
        &self,
        build: BuildImage,
        mut context: BoxStream<Bytes>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ApiError> {
        let mut size = 0;
        while let Some(piece) = context.next().await {
            size += piece.len();
        }
        let mut state = self.ready()?;
        let mut words = vec![Ok("Step 1/1 : FROM scratch".to_owned())];
        if build.target.as_deref() == Some(BROKEN) {
            words.push(Err(ApiError::user("failed to build: no stage `broken`")));
        } else {
            state.images.insert(build.reference.clone());
        }
        state.builds.push((build, size));
        Ok(Box::pin(stream::iter(words)))
    }

    async fn image_known(&self, reference: &str) -> Result<ImageKnown, ApiError> {
        let known = self.ready()?.images.contains(reference);
        Ok(ImageKnown { hosts: known.then(|| HOSTS[0].to_owned()).into_iter().collect() })
    }
}

fn unknown(app: &AppName) -> ApiError {
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

fn changes(old: Option<&Revision>, new: &Revision) -> Vec<Change> {
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

fn detail(revision: &Revision, looks: usize) -> AppDetail {
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
                (wanted + 1, ready + u32::from(replica.ready))
            });
            let addresses =
                deployment.networks.keys().map(|n| (n.clone(), Ipv4Addr::new(10, 223, 0, 1)));
            ServiceView {
                service: service.clone(),
                addresses: addresses.collect(),
                ports: deployment.ports.clone(),
                ready,
                wanted,
            }
        })
        .collect();
    let summary = AppSummary {
        app: revision.app.clone(),
        revision: revision.id(),
        sequence: revision.sequence,
        intent: revision.intent,
        wanted: services.iter().map(|service| service.wanted).sum(),
        ready: services.iter().map(|service| service.ready).sum(),
        conflicts: Vec::new(),
        home: Some(host_id(0)),
    };
    let settled = step > 0 && replicas.iter().all(|replica| replica.ready);
    let failed = replicas.iter().any(|replica| replica.phase == Some(Phase::Failed));
    AppDetail { summary, replicas, services, settled, failed }
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
        replica,
    }
}
