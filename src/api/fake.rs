//! A backend that keeps all in memory, for tests of the router, the client and the command line.
//! An App comes up by one step each time somebody looks at it.

mod consoles;
mod copies;
mod history;
mod hosts;
mod jobs;
mod provider;
mod seeing;
mod shown;
mod state;

use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use self::shown::{changes, detail, host_id, index_of, leavers, node, unknown};
pub use self::state::FakeState;
use super::{
    Action, ApiError, AppDetail, AppStats, AppSummary, Asker, AuditLog, Authority, AutoscaleView,
    Backend, Change, Difference, ErrorKind, EventsQuery, Happening, HostChange, HostChanged,
    HostDetail, HostPlan, ImageKnown, InitRequest, JoinRequest, LogLine, LogsQuery, NetworkReport,
    NetworkView, Node, OperatorRemoved, OperatorRequest, OperatorToken, OperatorView, PeerReport,
    PlanPreview, Removal, RemoveOperatorRequest, RemoveRequest, RenewRequest, Renewal,
    ResolverReport, RevisionView, Status, SubmitRequest, Submitted, Token, TokenRequest,
};
use crate::docker::{BoxStream, BuildImage};
use crate::model::{AppName, Intent, ReplicaId, SealedRevision};
use crate::swarm::Caller;

/// An image with this in its name never starts.
pub const BROKEN: &str = "broken";
/// An image with this in its name starts for ever.
pub const STUCK: &str = "stuck";
/// An image with this in its name has data on its host.
pub const PINNED: &str = "pinned";
/// Names of the hosts of the fake cluster; the first one answers.
pub const HOSTS: [&str; 3] = ["alpha", "beta", "gamma"];

/// The backend.
#[derive(Debug)]
pub struct FakeBackend {
    state: Mutex<FakeState>,
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
            pool: None,
            overlay: None,
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

    async fn create_token(&self, asker: &Asker, request: TokenRequest) -> Result<Token, ApiError> {
        self.ready()?.askers.push(asker.clone());
        let TokenRequest { ttl_seconds, uses } = request;
        Ok(Token { token: "good-token".to_owned(), ttl_seconds, uses })
    }

    async fn operators(&self) -> Result<Vec<OperatorView>, ApiError> {
        Ok(self.ready()?.operators.clone())
    }

    async fn create_operator(
        &self,
        asker: &Asker,
        request: OperatorRequest,
    ) -> Result<OperatorToken, ApiError> {
        self.ready()?.askers.push(asker.clone());
        let OperatorRequest { name, role, ttl_seconds } = request;
        Ok(OperatorToken { token: "good-invitation".to_owned(), name, role, ttl_seconds })
    }

    async fn remove_operator(
        &self,
        asker: &Asker,
        request: RemoveOperatorRequest,
    ) -> Result<OperatorRemoved, ApiError> {
        self.ready()?.askers.push(asker.clone());
        self.remove_one(&request.operator)
    }

    async fn authority(&self) -> Result<Authority, ApiError> {
        self.shown_authority()
    }

    async fn rotate_authority(&self, asker: &Asker) -> Result<Authority, ApiError> {
        let mut state = self.ready()?;
        state.askers.push(asker.clone());
        state.rotations += 1;
        drop(state);
        self.shown_authority()
    }

    async fn renew(&self, _: &Caller, _: RenewRequest) -> Result<Renewal, ApiError> {
        drop(self.ready()?);
        Ok(Renewal { grant: None, members: Vec::new() })
    }

    async fn note_refused(&self, asker: &Asker, what: &str, _: &ApiError) {
        self.state().refused.push((asker.clone(), what.to_owned()));
    }

    async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        let state = self.ready()?;
        let nodes = (0..HOSTS.len()).map(node);
        Ok(nodes.filter(|node| !state.removed.contains(&node.name)).collect())
    }

    async fn remove_node(
        &self,
        asker: &Asker,
        request: RemoveRequest,
    ) -> Result<Removal, ApiError> {
        if !request.dry_run {
            self.state().askers.push(asker.clone());
        }
        self.remove(&request)
    }

    async fn audit(&self, limit: usize) -> Result<AuditLog, ApiError> {
        self.audit_log(limit)
    }

    async fn peers(&self) -> Result<Vec<PeerReport>, ApiError> {
        drop(self.ready()?);
        Ok(seeing::peers())
    }

    async fn network_report(&self) -> Result<NetworkReport, ApiError> {
        drop(self.ready()?);
        Ok(seeing::network())
    }

    async fn resolver(&self) -> Result<ResolverReport, ApiError> {
        drop(self.ready()?);
        Ok(seeing::resolver(0))
    }

    async fn stats(&self, app: &AppName) -> Result<AppStats, ApiError> {
        let mut state = self.ready()?;
        state.measured += 1;
        let (revision, looks) = state.apps.get(app).ok_or_else(|| unknown(app))?;
        Ok(seeing::stats(&detail(revision, *looks), state.measured))
    }

    async fn autoscale(&self, app: &AppName) -> Result<Vec<AutoscaleView>, ApiError> {
        let state = self.ready()?;
        let (revision, looks) = state.apps.get(app).ok_or_else(|| unknown(app))?;
        Ok(seeing::autoscale(revision, &detail(revision, *looks)))
    }

    async fn metrics(&self) -> Result<String, ApiError> {
        drop(self.ready()?);
        Ok(seeing::metrics())
    }

    async fn networks(&self) -> Result<Vec<NetworkView>, ApiError> {
        let state = self.ready()?;
        Ok(state.apps.values().flat_map(|(revision, _)| shown::networks(revision)).collect())
    }

    async fn host(&self, host: &str) -> Result<HostDetail, ApiError> {
        let mut state = self.ready()?;
        let index = index_of(host)?;
        let (leaving, stays) = leavers(&state, index);
        let asked = state.host_changes.last().and_then(|change| change.availability);
        let moves = asked.is_some_and(|asked| asked != node(index).availability);
        let looks = if moves { state.host_looks } else { usize::MAX };
        let leaving = leaving.into_iter().skip(looks).collect();
        state.host_looks += 1;
        let node = node(index);
        let availability = asked.unwrap_or(node.availability);
        let node = Node { availability, ..node };
        Ok(HostDetail { node, replicas: Vec::new(), leaving, stays })
    }

    async fn plan_host(&self, change: HostChange) -> Result<HostPlan, ApiError> {
        let state = self.ready()?;
        let index = index_of(&change.host)?;
        let host = HOSTS[index].to_owned();
        if change.availability == Some(node(index).availability) {
            let (leaving, stays) = (Vec::new(), Vec::new());
            return Ok(HostPlan { host, changed: false, changes: Vec::new(), leaving, stays });
        }
        let (leaving, stays) = leavers(&state, index);
        let change = |replica: &ReplicaId, action, to: usize, reason: &str| Change {
            action,
            subject: replica.to_string(),
            host: HOSTS[to % HOSTS.len()].to_owned(),
            reason: reason.to_owned(),
        };
        let moves = leaving.iter().map(|one| change(one, Action::Move, index + 1, "drained"));
        let rest = stays.iter().map(|one| change(&one.replica, Action::Stay, index, &one.reason));
        let changes = moves.chain(rest).collect();
        Ok(HostPlan { host, changed: true, changes, leaving, stays })
    }

    async fn change_host(
        &self,
        asker: &Asker,
        change: HostChange,
    ) -> Result<HostChanged, ApiError> {
        let mut state = self.ready()?;
        state.askers.push(asker.clone());
        let index = index_of(&change.host)?;
        let changed = change.availability != Some(node(index).availability);
        state.host_changes.push(change);
        state.host_looks = 0;
        Ok(HostChanged { host: HOSTS[index].to_owned(), changed, stored: 2, alive: 3 })
    }

    async fn apps(&self) -> Result<Vec<AppSummary>, ApiError> {
        let state = self.ready()?;
        Ok(state.apps.values().map(|(revision, looks)| detail(revision, *looks).summary).collect())
    }

    async fn app(&self, app: &AppName) -> Result<AppDetail, ApiError> {
        let mut state = self.ready()?;
        let (revision, looks) = state.apps.get_mut(app).ok_or_else(|| unknown(app))?;
        let mut shown = detail(revision, *looks);
        *looks += 1;
        if shown.settled && revision.intent != Intent::Run {
            state.apps.remove(app);
        }
        for service in &mut shown.services {
            service.rollout = state.rollouts.get(&service.service).cloned();
        }
        Ok(shown)
    }

    async fn revision(&self, app: &AppName) -> Result<SealedRevision, ApiError> {
        let state = self.ready()?;
        state.apps.get(app).map(|(revision, _)| revision.clone()).ok_or_else(|| unknown(app))
    }

    async fn history(&self, app: &AppName) -> Result<Vec<RevisionView>, ApiError> {
        self.shown_history(app)
    }

    async fn revision_at(&self, app: &AppName, which: &str) -> Result<SealedRevision, ApiError> {
        self.kept_revision(app, which)
    }

    async fn diff(&self, app: &AppName, from: &str, to: &str) -> Result<Vec<Difference>, ApiError> {
        let (from, to) = (self.kept_revision(app, from)?, self.kept_revision(app, to)?);
        Ok(history::differences(&from, &to))
    }

    async fn plan(&self, revision: SealedRevision, _: bool) -> Result<PlanPreview, ApiError> {
        let state = self.ready()?;
        let old = state.apps.get(&revision.app).map(|(old, _)| old);
        Ok(PlanPreview {
            app: revision.app.clone(),
            from: old.map(|old| old.id().clone()),
            changes: changes(old.map(|old| &**old), &revision),
            refusals: state.refusals.clone(),
        })
    }

    async fn submit(&self, asker: &Asker, request: SubmitRequest) -> Result<Submitted, ApiError> {
        let mut state = self.ready()?;
        state.askers.push(asker.clone());
        let mut revision = request.revision.open().expect("it was made by this version");
        let old = state.apps.get(&revision.app).map(|(old, _)| old.clone());
        if request.expected.is_some()
            && request.expected.as_ref() != old.as_ref().map(|old| old.id())
        {
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
        let changed = !changes(old.as_deref(), &revision).is_empty();
        let revision = old.filter(|_| !changed).unwrap_or_else(|| {
            revision.sequence = old_sequence + 1;
            let revision = SealedRevision::new(revision);
            state.apps.insert(revision.app.clone(), (revision.clone(), 0));
            state.history.push(revision.clone());
            revision
        });
        let (id, sequence) = (revision.id().clone(), revision.sequence);
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
                let index = query.index.is_none_or(|index| index == line.replica.index);
                let services = &query.services;
                index && (services.is_empty() || services.contains(&line.replica.service))
            });
            std::future::ready(wanted)
        });
        if query.follow {
            return Ok(Box::pin(lines.chain(stream::pending())));
        }
        Ok(Box::pin(lines))
    }

    async fn events(
        &self,
        query: EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ApiError> {
        let all = self.ready()?.happenings.clone().into_iter();
        let asked = all.filter(move |one| query.app.is_none() || one.app == query.app).map(Ok);
        let asked = stream::iter(asked);
        if query.follow {
            return Ok(Box::pin(asked.chain(stream::pending())));
        }
        Ok(Box::pin(asked))
    }

    async fn build(
        &self,
        asker: &Asker,
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
        state.askers.push(asker.clone());
        state.builds.push((build, size));
        Ok(Box::pin(stream::iter(words)))
    }

    async fn image_known(&self, reference: &str) -> Result<ImageKnown, ApiError> {
        let known = self.ready()?.images.contains(reference);
        Ok(ImageKnown { hosts: known.then(|| HOSTS[0].to_owned()).into_iter().collect() })
    }
}
