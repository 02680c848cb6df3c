//! The agent as the API sees it: before it belongs to a cluster, and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc, watch};

use super::cluster::Cluster;
use super::rpc::{Answer, Header, Request, encode};
use super::{logs, preview, setup, views};
use crate::api::{
    ApiError, AppDetail, AppSummary, Backend, ErrorKind, ImageKnown, InitRequest, JoinRequest,
    LogLine, LogsQuery, Node, PlanPreview, Refusal, Status, SubmitRequest, Submitted, Token,
    TokenRequest,
};
use crate::config::AgentConfig;
use crate::docker::{BoxStream, BuildImage, Engine};
use crate::logic::Delta;
use crate::logic::core::{Core, normal_reference};
use crate::model::{
    AppName, HostId, Intent, Liveness, PublishedPort, PullPolicy, Revision, WallSeconds,
};
use crate::supervisor::Supervisor;

/// How long the Home of an App may take to answer a submit: it writes to disk and asks one more
/// host to.
const SUBMIT: Duration = Duration::from_secs(15);
/// How long a host may take to keep a Revision or to look at its ports.
const ASK: Duration = Duration::from_secs(3);
/// Hosts that must have a Revision on disk before `up` says so, when so many live (decision 1).
const COPIES: u32 = 2;

/// The agent; clones are the same agent.
#[derive(Debug)]
pub struct Agent<E> {
    /// What it was started with.
    pub(super) config: AgentConfig,
    /// Its engine.
    pub(super) engine: Arc<E>,
    /// Its tasks.
    pub(super) supervisor: Supervisor,
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
            cluster: self.cluster.clone(),
            setting_up: Arc::clone(&self.setting_up),
        }
    }
}

impl<E: Engine> Agent<E> {
    /// An agent that belongs to no cluster yet.
    pub fn new(config: AgentConfig, engine: Arc<E>, supervisor: Supervisor) -> Self {
        let (cluster, _) = watch::channel(None);
        Self { config, engine, supervisor, cluster, setting_up: Arc::new(Semaphore::new(1)) }
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

    fn cluster(&self) -> Result<Arc<Cluster<E>>, ApiError> {
        self.cluster.borrow().clone().ok_or_else(|| ApiError {
            kind: ErrorKind::NotInCluster,
            message: "this host belongs to no cluster".to_owned(),
            hint: Some("`muster init` makes one, `muster join TOKEN` joins one".to_owned()),
        })
    }

    /// Asks a member; what it refuses is an error.
    async fn ask(
        &self,
        cluster: &Cluster<E>,
        to: &HostId,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, ApiError> {
        let host = to.clone();
        let found = cluster
            .core
            .look(move |core| (core.membership().address(&host), core.view().host_name(&host)));
        let (address, name) = found.await?;
        let address =
            address.ok_or_else(|| ApiError::cluster(format!("host `{name}` is not known here")))?;
        let unreachable = |error: crate::swarm::TransportError| {
            ApiError::cluster(format!("host `{name}` does not answer: {error}"))
                .hint("see `muster nodes`; try again once it is taken for dead, or back")
        };
        let answer = cluster.transport.request(to, address, encode(request), limit);
        let answer = answer.await.map_err(unreachable)?;
        match super::rpc::decode(&answer) {
            Ok(Answer::Refused(error)) => Err(error),
            Ok(answer @ (Answer::Submitted(_) | Answer::Stored | Answer::PortsTaken(_))) => {
                Ok(answer)
            }
            Err(error) => Err(ApiError::cluster(format!(
                "host `{name}` gave an answer this version cannot read: {error}"
            ))),
        }
    }

    /// Takes a submit at the Home: compare-and-set, then copies on other disks.
    pub(super) async fn submit_here(
        &self,
        cluster: &Cluster<E>,
        request: SubmitRequest,
    ) -> Result<Submitted, ApiError> {
        let app = request.revision.app.clone();
        let made = cluster.core.submit(request).await?;
        let changed = made.is_some();
        let me = cluster.host.clone();
        let name = app.clone();
        let (revision, peers) = cluster
            .core
            .look(move |core| (core.state().winner(&name).cloned(), alive(core)))
            .await?;
        let revision = revision.ok_or_else(|| views::unknown_app(&app))?;
        let live = peers.len() as u32;
        let mut stored = 1;
        for peer in peers.iter().filter(|peer| **peer != me) {
            if stored >= COPIES.min(live) {
                break;
            }
            let request = Request::Store(Box::new((*revision).clone()));
            match self.ask(cluster, peer, &request, ASK).await {
                Ok(_) => stored += 1,
                Err(error) => tracing::warn!(%peer, %error, "a copy could not be stored"),
            }
        }
        Ok(Submitted {
            revision: revision.id(),
            sequence: revision.sequence,
            changed,
            stored,
            alive: live,
        })
    }

    /// Answers what another member asks.
    pub(super) async fn answer(&self, cluster: &Cluster<E>, request: Request) -> Answer {
        match request {
            Request::Submit(request) => match self.submit_here(cluster, *request).await {
                Ok(submitted) => Answer::Submitted(submitted),
                Err(error) => Answer::Refused(error),
            },
            Request::Store(revision) => {
                let delta = Delta { rows: Vec::new(), revisions: vec![*revision] };
                match cluster.core.learn(delta).await {
                    Ok(()) => Answer::Stored,
                    Err(error) => Answer::Refused(error),
                }
            }
            Request::CheckPorts(ports) => Answer::PortsTaken(cluster.ports_taken(&ports)),
        }
    }

    /// Why a Revision cannot run here: ports that are taken, images that are nowhere.
    async fn refusals(
        &self,
        cluster: &Cluster<E>,
        revision: &Revision,
    ) -> Result<Vec<Refusal>, ApiError> {
        if revision.intent != Intent::Run {
            return Ok(Vec::new());
        }
        let mut refusals = self.ports_refused(cluster, revision).await?;
        refusals.extend(self.images_refused(cluster, revision).await?);
        Ok(refusals)
    }

    async fn ports_refused(
        &self,
        cluster: &Cluster<E>,
        revision: &Revision,
    ) -> Result<Vec<Refusal>, ApiError> {
        let wanted: BTreeSet<PublishedPort> =
            revision.deployments.values().flat_map(|d| d.ports.iter().cloned()).collect();
        let app = revision.app.clone();
        let asked = wanted.clone();
        let (others, ours, peers) = cluster
            .core
            .look(move |core| {
                (ports_of_others(core, &app, &asked), ports_of(core, &app), alive(core))
            })
            .await?;
        let mut refusals: Vec<Refusal> = others
            .into_iter()
            .map(|(port, owner)| Refusal {
                message: format!(
                    "port {}/{} is already published by app `{owner}`",
                    port.published,
                    port.protocol.as_str()
                ),
                hint: Some("publish another port, or take that app down".to_owned()),
            })
            .collect();
        // What this App publishes now is held by muster itself.
        let new: Vec<PublishedPort> = wanted.difference(&ours).cloned().collect();
        if new.is_empty() || !refusals.is_empty() {
            return Ok(refusals);
        }
        for peer in peers {
            let taken = if peer == cluster.host {
                cluster.ports_taken(&new)
            } else {
                match self.ask(cluster, &peer, &Request::CheckPorts(new.clone()), ASK).await {
                    Ok(Answer::PortsTaken(taken)) => taken,
                    Ok(Answer::Submitted(_) | Answer::Stored | Answer::Refused(_)) => Vec::new(),
                    Err(error) => {
                        tracing::warn!(%error, "cannot check the ports of a host");
                        Vec::new()
                    }
                }
            };
            let host = cluster.core.look(move |core| core.view().host_name(&peer)).await?;
            refusals.extend(taken.into_iter().map(|(port, detail)| Refusal {
                message: format!(
                    "port {}/{} is taken on host `{host}`: {detail}",
                    port.published,
                    port.protocol.as_str()
                ),
                hint: Some(
                    "stop the program that listens there, or publish another port".to_owned(),
                ),
            }));
        }
        Ok(refusals)
    }

    async fn images_refused(
        &self,
        cluster: &Cluster<E>,
        revision: &Revision,
    ) -> Result<Vec<Refusal>, ApiError> {
        let images: BTreeMap<&str, PullPolicy> = revision
            .deployments
            .values()
            .map(|deployment| {
                (deployment.container.image.as_str(), deployment.container.pull_policy)
            })
            .collect();
        let mut refusals = Vec::new();
        for (image, policy) in images {
            let known = self.hosts_with(cluster, image).await?;
            if !known.is_empty() && policy != PullPolicy::Always {
                continue;
            }
            if policy == PullPolicy::Never {
                refusals.push(Refusal {
                    message: format!("no host has image `{image}`, and `pull_policy: never`"),
                    hint: Some("load it on one host: `docker load`, or `docker build`".to_owned()),
                });
                continue;
            }
            if let Err(error) = self.engine.registry_has(image).await {
                refusals.push(Refusal {
                    message: error.sentence(),
                    hint: Some(
                        "check the name; or load the image on one host with `docker load`, the \
                         others get it from there"
                            .to_owned(),
                    ),
                });
            }
        }
        Ok(refusals)
    }

    /// Names of the live hosts that have an image.
    async fn hosts_with(
        &self,
        cluster: &Cluster<E>,
        reference: &str,
    ) -> Result<Vec<String>, ApiError> {
        // This host may have got it a moment ago.
        let here = self.engine.image(reference).await.is_ok_and(|image| image.is_some());
        let reference = normal_reference(reference);
        cluster
            .core
            .look(move |core| {
                let view = core.view();
                let hosts = view.hosts.iter().filter(|&(id, host)| {
                    host.liveness == Liveness::Alive
                        && (host.facts.images.contains(&reference) || (here && *id == core.me()))
                });
                hosts.map(|(_, host)| host.facts.name.clone()).collect()
            })
            .await
    }
}

#[async_trait]
impl<E: Engine> Backend for Agent<E> {
    async fn status(&self) -> Result<Status, ApiError> {
        let engine_version = self.engine.info().await.map(|info| info.version).unwrap_or_default();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let Ok(cluster) = self.cluster() else {
            return Ok(Status {
                version,
                name: setup::host_name(),
                host: None,
                cluster: None,
                address: None,
                slice: None,
                engine_version,
                hosts_alive: 0,
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
            engine_version,
            hosts_alive,
        })
    }

    async fn init(&self, request: InitRequest) -> Result<Status, ApiError> {
        let _one = self.setting_up.try_acquire().map_err(|_| busy())?;
        self.must_be_alone()?;
        let cluster = setup::init(self, request).await?;
        self.cluster.send_replace(Some(cluster));
        self.status().await
    }

    async fn join(&self, request: JoinRequest) -> Result<Status, ApiError> {
        let _one = self.setting_up.try_acquire().map_err(|_| busy())?;
        self.must_be_alone()?;
        let cluster = setup::join(self, request).await?;
        self.cluster.send_replace(Some(cluster));
        self.status().await
    }

    async fn create_token(&self, request: TokenRequest) -> Result<Token, ApiError> {
        let cluster = self.cluster()?;
        let token = cluster.create_token(Duration::from_secs(request.ttl_seconds)).await?;
        Ok(Token { token, ttl_seconds: request.ttl_seconds })
    }

    async fn nodes(&self) -> Result<Vec<Node>, ApiError> {
        self.cluster()?.core.look(views::nodes).await
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

    async fn revision(&self, app: &AppName) -> Result<Revision, ApiError> {
        let cluster = self.cluster()?;
        let name = app.clone();
        let revision = cluster.core.look(move |core| core.state().winner(&name).cloned()).await?;
        revision.map(|revision| (*revision).clone()).ok_or_else(|| views::unknown_app(app))
    }

    async fn plan(&self, revision: Revision) -> Result<PlanPreview, ApiError> {
        let cluster = self.cluster()?;
        let refusals = self.refusals(&cluster, &revision).await?;
        let wall = cluster.core.now().wall;
        cluster
            .core
            .look(move |core| {
                let app = revision.app.clone();
                let from = core.state().winner(&app).map(|winner| winner.id());
                let origin = (core.me(), "plan", wall);
                let next = preview::next_revision(core.state(), revision, None, origin)?;
                let changes = next.map(|next| preview::changes(core, &next)).unwrap_or_default();
                Ok(PlanPreview { app, from, changes, refusals })
            })
            .await?
    }

    async fn submit(&self, mut request: SubmitRequest) -> Result<Submitted, ApiError> {
        let cluster = self.cluster()?;
        // The others fetch from here what was built or loaded here a moment ago.
        cluster.observer.refresh().await;
        let refusals = self.refusals(&cluster, &request.revision).await?;
        if let Some(refusal) = refusals.into_iter().next() {
            let error = ApiError::user(refusal.message);
            return Err(ApiError { hint: refusal.hint, ..error });
        }
        if request.revision.origin.host.as_str().is_empty() {
            request.revision.origin.host = cluster.host.clone();
        }
        let app = request.revision.app.clone();
        let home = cluster.core.look(move |core| core.home(&app).clone()).await?;
        if home == cluster.host {
            return self.submit_here(&cluster, request).await;
        }
        let request = Request::Submit(Box::new(request));
        match self.ask(&cluster, &home, &request, SUBMIT).await? {
            Answer::Submitted(submitted) => Ok(submitted),
            Answer::Stored | Answer::PortsTaken(_) | Answer::Refused(_) => {
                Err(ApiError::cluster("the app's home gave another answer than asked for"))
            }
        }
    }

    async fn logs(
        &self,
        query: LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ApiError> {
        let cluster = self.cluster()?;
        let app = query.app.clone();
        let peers = cluster
            .core
            .look(move |core| {
                core.state().winner(&app).ok_or_else(|| views::unknown_app(&app))?;
                let addresses = alive(core)
                    .into_iter()
                    .filter_map(|host| Some((host.clone(), core.membership().address(&host)?)));
                Ok::<_, ApiError>(addresses.collect::<Vec<_>>())
            })
            .await??;
        let (lines, inbox) = mpsc::channel(logs::LINES);
        let mut local = logs::local(
            Arc::clone(&self.engine),
            cluster.core.clone(),
            cluster.settings.name.clone(),
            query.clone(),
            &self.supervisor,
        );
        let here = lines.clone();
        self.supervisor.spawn_until_stop("logs-here", async move {
            while let Some(line) = local.recv().await {
                if here.send(Ok(line)).await.is_err() {
                    return;
                }
            }
        });
        for (host, address) in peers {
            let header = encode(&Header::Logs(query.clone()));
            let transport = cluster.transport.clone();
            let lines = lines.clone();
            self.supervisor.spawn_until_stop("logs-there", async move {
                match transport.open(&host, address, header).await {
                    Ok((_, from)) => logs::receive(from, lines).await,
                    Err(error) => tracing::warn!(%host, %error, "no logs from a host"),
                }
            });
        }
        Ok(stream_of(inbox))
    }

    async fn build(
        &self,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ApiError> {
        let stream = self.engine.build_image(build, context);
        Ok(Box::pin(stream.map(|item| item.map_err(|error| ApiError::user(error.sentence())))))
    }

    async fn image_known(&self, reference: &str) -> Result<ImageKnown, ApiError> {
        let cluster = self.cluster()?;
        Ok(ImageKnown { hosts: self.hosts_with(&cluster, reference).await? })
    }
}

impl<E: Engine> Agent<E> {
    fn must_be_alone(&self) -> Result<(), ApiError> {
        match &*self.cluster.borrow() {
            None => Ok(()),
            Some(cluster) => Err(ApiError::user(format!(
                "this host already belongs to cluster `{}`",
                cluster.identity.cluster()
            ))
            .hint("`muster nodes` shows its hosts")),
        }
    }
}

fn busy() -> ApiError {
    ApiError::user("another `init` or `join` is under way on this host")
}

/// A stream of what a channel receives.
pub(super) fn stream_of<T: Send + 'static>(inbox: mpsc::Receiver<T>) -> BoxStream<T> {
    Box::pin(futures_util::stream::unfold(inbox, async |mut inbox| {
        inbox.recv().await.map(|item| (item, inbox))
    }))
}

/// Live members, this host first.
fn alive(core: &Core) -> Vec<HostId> {
    let members = core.membership().members().iter();
    let others = members.filter(|(_, m)| m.liveness == Liveness::Alive).map(|(host, _)| host);
    std::iter::once(core.me()).chain(others).cloned().collect()
}

/// The ports an App publishes now.
fn ports_of(core: &Core, app: &AppName) -> BTreeSet<PublishedPort> {
    let winner = core.state().winner(app);
    let deployments = winner.into_iter().flat_map(|revision| revision.deployments.values());
    deployments.flat_map(|deployment| deployment.ports.iter().cloned()).collect()
}

/// Those of `wanted` that another App publishes, and which.
fn ports_of_others(
    core: &Core,
    app: &AppName,
    wanted: &BTreeSet<PublishedPort>,
) -> Vec<(PublishedPort, AppName)> {
    let mut taken = Vec::new();
    for other in core.state().apps().filter(|other| *other != app) {
        for port in ports_of(core, other) {
            let clash = wanted.iter().find(|wanted| {
                wanted.published == port.published
                    && wanted.protocol == port.protocol
                    && (wanted.host_ip.is_none()
                        || port.host_ip.is_none()
                        || wanted.host_ip == port.host_ip)
            });
            taken.extend(clash.map(|clash| (clash.clone(), other.clone())));
        }
    }
    taken
}
