//! The agent as the API sees it: before it belongs to a cluster, and after.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, watch};

use super::audit::{Changed, Refusals};
use super::cluster::Cluster;
use super::consoles::Seats;
use super::submit::alive;
use super::{history, hosts, networks, operators, peers, preview, setup, views};
use crate::api::{
    ApiError, AppDetail, AppStats, AppSummary, Asker, AuditLog, Authority, AutoscaleView, Backend,
    Difference, ErrorKind, EventsQuery, Happening, HostChange, HostChanged, HostDetail, HostPlan,
    ImageKnown, InitRequest, JoinRequest, LogLine, LogsQuery, NetworkReport, NetworkView, Node,
    OperatorRemoved, OperatorRequest, OperatorToken, OperatorView, PeerReport, PlanPreview,
    Removal, RemoveOperatorRequest, RemoveRequest, RenewRequest, Renewal, ResolverReport,
    RevisionView, Status, SubmitRequest, Submitted, Token, TokenRequest,
};
use crate::config::AgentConfig;
use crate::docker::{BoxStream, BuildImage, Engine};
use crate::logic::core::Core;
use crate::model::{AppName, SealedRevision, WallSeconds};
use crate::supervisor::Supervisor;
use crate::swarm::{Audit, By, Caller, Purpose};

/// How long a host that joined waits to hear of another member.
const MEETING: Duration = Duration::from_secs(3);
/// Time between two looks for one.
const MEETING_LOOK: Duration = Duration::from_millis(20);

/// The agent; clones are the same agent.
#[derive(Debug)]
pub struct Agent<E> {
    /// What it was started with.
    pub(super) config: AgentConfig,
    /// Its engine.
    pub(super) engine: Arc<E>,
    /// Its tasks.
    pub(super) supervisor: Supervisor,
    /// Who changed what here.
    pub(super) audit: Audit,
    /// How often somebody was refused of late.
    pub(super) refusals: Arc<Refusals>,
    /// Who sits in front of programs.
    pub(super) seats: Arc<Seats>,
    /// When it was started, in seconds since 1970.
    pub(super) started: f64,
    cluster: watch::Sender<Option<Arc<Cluster<E>>>>,
    /// One `init` or `join` at a time.
    setting_up: Arc<Semaphore>,
}

impl<E> Clone for Agent<E> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            engine: Arc::clone(&self.engine),
            supervisor: self.supervisor.clone(),
            audit: self.audit.clone(),
            refusals: Arc::clone(&self.refusals),
            seats: Arc::clone(&self.seats),
            started: self.started,
            cluster: self.cluster.clone(),
            setting_up: Arc::clone(&self.setting_up),
        }
    }
}

impl<E: Engine> Agent<E> {
    /// An agent that belongs to no cluster yet.
    pub fn new(config: AgentConfig, engine: Arc<E>, supervisor: Supervisor) -> Self {
        let (cluster, _) = watch::channel(None);
        let (audit, setting_up) = (Audit::new(&config.data_dir), Arc::new(Semaphore::new(1)));
        let (refusals, seats) = (Arc::default(), Arc::default());
        let started = peers::wall_millis() as f64 / 1000.0;
        Self { config, engine, supervisor, audit, refusals, seats, started, cluster, setting_up }
    }

    /// Goes on as the member that this host's disk says it is, if any.
    ///
    /// # Errors
    ///
    /// When its state cannot be read or its port cannot be listened on.
    pub async fn resume(&self) -> Result<(), ApiError> {
        if let Some(cluster) = setup::resume(self).await? {
            self.cluster.send_replace(Some(cluster));
        }
        Ok(())
    }

    /// Returns once the core has come to a question; at once when there is none yet.
    pub(super) async fn answers(&self) {
        let cluster = self.cluster.borrow().clone();
        if let Some(cluster) = cluster {
            // An agent that stops is well.
            let _ = cluster.core.look(|_| ()).await;
        }
    }

    pub(super) fn cluster(&self) -> Result<Arc<Cluster<E>>, ApiError> {
        let cluster = self.cluster.borrow().clone().ok_or_else(|| ApiError {
            kind: ErrorKind::NotInCluster,
            message: "this host belongs to no cluster".to_owned(),
            hint: Some("`muster init` makes one, `muster join TOKEN` joins one".to_owned()),
        })?;
        if *cluster.removed.borrow() {
            return Err(ApiError {
                kind: ErrorKind::NotInCluster,
                message: format!(
                    "this host was removed from cluster `{}`; its containers were removed here, \
                     what is in volumes stays",
                    cluster.identity.cluster()
                ),
                hint: Some("`muster join TOKEN` joins again, as a new host".to_owned()),
            });
        }
        Ok(cluster)
    }
}

/// What an engine answers without delay: one that hangs must not hold up whoever only looks.
pub(super) async fn at_once<T>(answer: impl Future<Output = T>) -> Option<T> {
    const LIMIT: Duration = Duration::from_secs(2);
    tokio::time::timeout(LIMIT, answer).await.ok()
}

#[async_trait]
impl<E: Engine> Backend for Agent<E> {
    async fn status(&self) -> Result<Status, ApiError> {
        let info = at_once(self.engine.info()).await;
        let engine_version = info.and_then(Result::ok).map(|info| info.version).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let Ok(cluster) = self.cluster() else {
            let was = self.cluster.borrow().as_ref().map(|c| c.identity.cluster().to_owned());
            return Ok(Status {
                version,
                name: setup::host_name(),
                host: None,
                cluster: None,
                address: None,
                slice: None,
                pool: None,
                overlay: None,
                engine_version,
                hosts_alive: 0,
                removed_from: was,
            });
        };
        let hosts_alive = cluster.core.look(|core| alive(core).len() as u32).await?;
        Ok(Status {
            version,
            name: cluster.settings.name.clone(),
            host: Some(cluster.host.clone()),
            cluster: Some(cluster.identity.cluster().to_owned()),
            address: Some(cluster.settings.advertise),
            slice: Some(cluster.settings.slice),
            pool: Some(cluster.settings.pool),
            overlay: Some(cluster.settings.overlay),
            engine_version,
            hosts_alive,
            removed_from: None,
        })
    }

    async fn init(&self, request: InitRequest) -> Result<Status, ApiError> {
        let _one = self.setting_up.try_acquire().map_err(|_| busy())?;
        self.become_alone().await?;
        let made = setup::init(self, request).await;
        self.note_membership("init", &made).await;
        let cluster = made?;
        // An `up` may follow at once, and needs to know what this host has.
        cluster.observer.refresh().await;
        self.cluster.send_replace(Some(cluster));
        self.status().await
    }

    async fn join(&self, request: JoinRequest) -> Result<Status, ApiError> {
        let _one = self.setting_up.try_acquire().map_err(|_| busy())?;
        self.become_alone().await?;
        let joined = setup::join(self, request).await;
        self.note_membership("join", &joined).await;
        let cluster = joined?;
        cluster.observer.refresh().await;
        // Whoever reads "joined" expects to see the others.
        let met = async {
            while cluster.core.look(|core| alive(core).len() < 2).await.unwrap_or(false) {
                tokio::time::sleep(MEETING_LOOK).await;
            }
        };
        // They may be behind a closed port towards us; the status then says so.
        let _ = tokio::time::timeout(MEETING, met).await;
        self.cluster.send_replace(Some(cluster));
        self.status().await
    }

    async fn create_token(&self, asker: &Asker, request: TokenRequest) -> Result<Token, ApiError> {
        let cluster = self.cluster()?;
        let TokenRequest { ttl_seconds, uses } = request;
        if uses == 0 || ttl_seconds == 0 {
            return Err(ApiError::user("a token must be good for a host and a second at least"));
        }
        let lifetime = Duration::from_secs(ttl_seconds);
        let token = cluster.create_token(lifetime, Purpose::Host, uses, asker.by()).await?;
        Ok(Token { token, ttl_seconds, uses })
    }

    async fn operators(&self) -> Result<Vec<OperatorView>, ApiError> {
        self.cluster()?.core.look(operators::all).await
    }

    async fn create_operator(
        &self,
        asker: &Asker,
        request: OperatorRequest,
    ) -> Result<OperatorToken, ApiError> {
        operators::invite(&*self.cluster()?, asker, request).await
    }

    async fn remove_operator(
        &self,
        asker: &Asker,
        request: RemoveOperatorRequest,
    ) -> Result<OperatorRemoved, ApiError> {
        let cluster = self.cluster()?;
        self.remove_person(&cluster, asker, &request.operator).await
    }

    async fn authority(&self) -> Result<Authority, ApiError> {
        let cluster = self.cluster()?;
        self.authority_here(&cluster, &[].into()).await
    }

    async fn rotate_authority(&self, asker: &Asker) -> Result<Authority, ApiError> {
        let cluster = self.cluster()?;
        self.rotate(&cluster, &asker.by()).await
    }

    async fn renew(&self, caller: &Caller, request: RenewRequest) -> Result<Renewal, ApiError> {
        let cluster = self.cluster()?;
        self.renew_person(&cluster, caller, request).await
    }

    async fn note_refused(&self, asker: &Asker, what: &str, error: &ApiError) {
        self.note_refusal(&asker.by(), what, error).await;
    }

    async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        self.cluster()?.core.look(views::nodes).await
    }

    async fn peers(&self) -> Result<Vec<PeerReport>, ApiError> {
        let cluster = self.cluster()?;
        self.look_at_peers(&cluster).await
    }

    async fn network_report(&self) -> Result<NetworkReport, ApiError> {
        let cluster = self.cluster()?;
        self.look_at_network(&cluster).await
    }

    async fn resolver(&self) -> Result<ResolverReport, ApiError> {
        let cluster = self.cluster()?;
        Ok(self.look_at_resolver(&cluster).await)
    }

    async fn stats(&self, app: &AppName) -> Result<AppStats, ApiError> {
        let cluster = self.cluster()?;
        self.merged_stats(&cluster, app).await
    }

    async fn autoscale(&self, app: &AppName) -> Result<Vec<AutoscaleView>, ApiError> {
        let app = app.clone();
        self.cluster()?.core.look(move |core| views::autoscale(core, &app)).await?
    }

    async fn metrics(&self) -> Result<String, ApiError> {
        let cluster = self.cluster().ok();
        self.metrics_text(cluster.as_deref()).await
    }

    async fn networks(&self) -> Result<Vec<NetworkView>, ApiError> {
        self.cluster()?.core.look(networks::networks).await
    }

    async fn host(&self, host: &str) -> Result<HostDetail, ApiError> {
        let cluster = self.cluster()?;
        let (host, wall) = (host.to_owned(), cluster.core.now().wall);
        cluster.core.look(move |core| hosts::host_detail(core, &host, wall)).await?
    }

    async fn plan_host(&self, change: HostChange) -> Result<HostPlan, ApiError> {
        self.cluster()?.core.look(move |core| hosts::host_plan(core, &change)).await?
    }

    async fn change_host(
        &self,
        asker: &Asker,
        change: HostChange,
    ) -> Result<HostChanged, ApiError> {
        let cluster = self.cluster()?;
        self.change_host_from_here(&cluster, &asker.by(), change).await
    }

    async fn remove_node(
        &self,
        asker: &Asker,
        request: RemoveRequest,
    ) -> Result<Removal, ApiError> {
        let cluster = self.cluster()?;
        let (what, dry_run) = (format!("node rm {}", request.host), request.dry_run);
        let removal = self.remove_from(&cluster, request).await;
        if !dry_run {
            let id = removal.as_ref().map(|removal| removal.id.to_string());
            let changed = Changed { what, old: id.unwrap_or_default(), ..Changed::default() };
            self.note(&asker.by(), changed, &removal).await;
        }
        removal
    }

    async fn audit(&self, limit: usize) -> Result<AuditLog, ApiError> {
        self.audit_log(limit).await
    }

    async fn apps(&self) -> Result<Vec<AppSummary>, ApiError> {
        self.cluster()?.core.look(views::apps).await
    }

    async fn app(&self, app: &AppName) -> Result<AppDetail, ApiError> {
        let cluster = self.cluster()?;
        let wall: WallSeconds = cluster.core.now().wall;
        let app = app.clone();
        cluster.core.look(move |core| views::app(core, &app, wall)).await?
    }

    async fn revision(&self, app: &AppName) -> Result<SealedRevision, ApiError> {
        let cluster = self.cluster()?;
        let name = app.clone();
        let revision = cluster.core.look(move |core| core.state().winner(&name).cloned()).await?;
        revision.map(|revision| (*revision).clone()).ok_or_else(|| views::unknown_app(app))
    }

    async fn history(&self, app: &AppName) -> Result<Vec<RevisionView>, ApiError> {
        let app = app.clone();
        self.cluster()?.core.look(move |core| history::history(core, &app)).await?
    }

    async fn revision_at(&self, app: &AppName, which: &str) -> Result<SealedRevision, ApiError> {
        let (app, which) = (app.clone(), which.to_owned());
        let look = move |core: &Core| {
            history::find(core.state(), &app, &which).map(|found| (**found).clone())
        };
        self.cluster()?.core.look(look).await?
    }

    async fn diff(&self, app: &AppName, from: &str, to: &str) -> Result<Vec<Difference>, ApiError> {
        let (app, from, to) = (app.clone(), from.to_owned(), to.to_owned());
        let look = move |core: &Core| {
            let from = history::find(core.state(), &app, &from)?;
            Ok(history::differences(Some(from), history::find(core.state(), &app, &to)?))
        };
        self.cluster()?.core.look(look).await?
    }

    async fn plan(&self, revision: SealedRevision, retry: bool) -> Result<PlanPreview, ApiError> {
        let cluster = self.cluster()?;
        let refusals = self.refusals(&cluster, &revision).await?;
        let known = self.with_platforms(&cluster, &revision).await?;
        let revision = known.map_or_else(|| preview::opened(&revision), Ok)?;
        let wall = cluster.core.now().wall;
        cluster.core.look(move |core| preview::shown(core, revision, retry, wall, refusals)).await?
    }

    async fn submit(&self, asker: &Asker, request: SubmitRequest) -> Result<Submitted, ApiError> {
        let cluster = self.cluster()?;
        self.submit_from_here(&cluster, asker, request).await
    }

    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ApiError> {
        let cluster = self.cluster()?;
        self.merged_logs(&cluster, query).await
    }

    async fn events(
        &self,
        query: EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ApiError> {
        let cluster = self.cluster()?;
        self.merged_events(&cluster, query).await
    }

    async fn build(
        &self,
        asker: &Asker,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ApiError> {
        let what = format!("build {}", build.reference);
        self.note(&asker.by(), Changed { what, ..Changed::default() }, &Ok(())).await;
        let stream = self.engine.build_image(build, context);
        Ok(Box::pin(stream.map(|item| item.map_err(|error| ApiError::user(error.sentence())))))
    }

    async fn image_known(&self, reference: &str) -> Result<ImageKnown, ApiError> {
        let cluster = self.cluster()?;
        Ok(ImageKnown { hosts: self.hosts_with(&cluster, reference).await? })
    }
}

impl<E: Engine> Agent<E> {
    async fn note_membership(&self, what: &str, made: &Result<Arc<Cluster<E>>, ApiError>) {
        let new = made.as_ref().map(|cluster| cluster.identity.cluster().to_owned());
        let (what, new) = (what.to_owned(), new.unwrap_or_default());
        self.note(&By::local(), Changed { what, new, ..Changed::default() }, made).await;
    }

    /// Leaves a cluster that this host was removed from.
    ///
    /// # Errors
    ///
    /// When it is a member of one, or cannot leave yet.
    async fn become_alone(&self) -> Result<(), ApiError> {
        let Some(cluster) = self.cluster.borrow().clone() else { return Ok(()) };
        if !*cluster.removed.borrow() {
            return Err(ApiError::user(format!(
                "this host already belongs to cluster `{}`",
                cluster.identity.cluster()
            ))
            .hint("`muster nodes` shows its hosts"));
        }
        setup::leave(self, &cluster).await?;
        drop(cluster);
        self.cluster.send_replace(None);
        setup::await_port(self).await
    }
}

fn busy() -> ApiError {
    ApiError::user("another `init` or `join` is under way on this host")
}
