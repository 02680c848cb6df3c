//! Takes a new Revision: why it would be refused, the compare-and-set at the App's Home, and copies
//! on other disks before anybody is told that it is stored.

mod addresses;
mod fixed;
mod images;
mod ports;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use self::ports::{ports_of, ports_of_others, without_sctp};
use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::preview::opened;
use super::rpc::{Answer, Request, encode};
use super::views;
use crate::api::{ApiError, Asker, Refusal, SubmitRequest, Submitted};
use crate::docker::Engine;
use crate::logic::Delta;
use crate::logic::core::Core;
use crate::model::{HostId, Intent, Liveness, PortMode, PublishedPort, Revision};
use crate::swarm::By;

/// How long a submit is tried in all: a dead Home is noticed well within it.
const SUBMIT: Duration = Duration::from_secs(15);
/// How long the Home of an App may take to answer: it writes to disk and asks one more host to.
const SUBMIT_TRY: Duration = Duration::from_secs(8);
/// Time between two tries.
const SUBMIT_PAUSE: Duration = Duration::from_millis(250);
/// How long a host may take to keep a Revision or to look at its ports.
pub(super) const ASK: Duration = Duration::from_secs(3);
/// Hosts that must have a Revision on disk before `up` says so, when so many live (decision 1).
const COPIES: u32 = 2;

/// Why a member was asked in vain.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// It did not answer; another host, or another try, may.
    #[error("{0}")]
    Silent(ApiError),
    /// It, or this host, said no.
    #[error(transparent)]
    Refused(#[from] ApiError),
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Silent(error) | AskError::Refused(error) => error,
        }
    }
}

impl<E: Engine> Agent<E> {
    /// Takes what a person submits here to the App's Home, unless it would be refused.
    pub(super) async fn submit_from_here(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        mut request: SubmitRequest,
    ) -> Result<Submitted, ApiError> {
        request.by = match asker {
            Asker::Local => None,
            Asker::Operator(caller) => Some(caller.name.clone()),
        };
        request.asked = Some(cluster.host.clone());
        // The others fetch from here what was built or loaded here a moment ago.
        cluster.observer.refresh().await;
        let refusals = self.refusals(cluster, &request.revision).await?;
        if let Some(refusal) = refusals.into_iter().next() {
            return Err(ApiError::user(refusal.message).hint_if(refusal.hint));
        }
        if request.revision.origin.host.as_str().is_empty() {
            let mut revision = opened(&request.revision)?;
            revision.origin.host = cluster.host.clone();
            request.revision = revision.into();
        }
        if let Some(revision) = self.with_platforms(cluster, &request.revision).await? {
            request.revision = revision.into();
        }
        // A Home that has just died is not known to be dead yet; the next one takes over in seconds.
        let deadline = Instant::now() + SUBMIT;
        loop {
            match self.submit_to_home(cluster, asker, &request).await {
                Err(AskError::Silent(error)) if Instant::now() < deadline => {
                    tracing::info!(%error, "the app's home does not answer; trying again");
                    tokio::time::sleep(SUBMIT_PAUSE).await;
                }
                answer => return answer.map_err(ApiError::from),
            }
        }
    }

    async fn submit_to_home(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        request: &SubmitRequest,
    ) -> Result<Submitted, AskError> {
        let app = request.revision.app.clone();
        let home = cluster.core.look(move |core| core.home(&app).clone()).await?;
        if home == cluster.host {
            return Ok(self.submit_here(cluster, &asker.by(), request.clone()).await?);
        }
        let request = Box::new(request.clone());
        let request = match asker {
            Asker::Local => Request::Submit(request),
            Asker::Operator(_) => Request::SubmitFor(asker.by(), request),
        };
        match self.ask(cluster, &home, &request, SUBMIT_TRY).await? {
            Answer::Submitted(submitted) => Ok(submitted),
            Answer::Stored
            | Answer::PortsTaken(_)
            | Answer::AddressesHeld(_)
            | Answer::ImageHere(_)
            | Answer::Clock(_)
            | Answer::Stats(_)
            | Answer::Paths(_)
            | Answer::Refused(_) => {
                Err(ApiError::cluster("the app's home gave another answer than asked for").into())
            }
        }
    }

    /// Asks a member; what it refuses is an error.
    pub(super) async fn ask(
        &self,
        cluster: &Cluster<E>,
        to: &HostId,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, AskError> {
        let host = to.clone();
        let found = cluster
            .core
            .look(move |core| (core.membership().address(&host), core.view().host_name(&host)));
        let (address, name) = found.await?;
        let address =
            address.ok_or_else(|| ApiError::cluster(format!("host `{name}` is not known here")))?;
        let unreachable = |error: crate::swarm::TransportError| {
            let silent = ApiError::cluster(format!("host `{name}` does not answer: {error}"));
            AskError::Silent(
                silent.hint("see `muster nodes`; try again once it is taken for dead, or back"),
            )
        };
        let answer = cluster.transport.request(to, address, encode(request), limit);
        let answer = answer.await.map_err(unreachable)?;
        match super::rpc::decode(&answer) {
            Ok(Answer::Refused(error)) => Err(error.into()),
            Ok(
                answer @ (Answer::Submitted(_)
                | Answer::Stored
                | Answer::PortsTaken(_)
                | Answer::AddressesHeld(_)
                | Answer::ImageHere(_)
                | Answer::Clock(_)
                | Answer::Stats(_)
                | Answer::Paths(_)),
            ) => Ok(answer),
            Err(error) => Err(ApiError::cluster(format!(
                "host `{name}` gave an answer this version cannot read: {error}"
            ))
            .into()),
        }
    }

    /// Takes a submit at the Home, and notes it.
    pub(super) async fn submit_here(
        &self,
        cluster: &Cluster<E>,
        by: &By,
        request: SubmitRequest,
    ) -> Result<Submitted, ApiError> {
        let app = request.revision.app.clone();
        let what = format!("{} {app}", request.command);
        let old = cluster
            .core
            .look(move |core| core.state().winner(&app).map(|winner| winner.id().clone()));
        let old = old.await?;
        let submitted = self.take_submit(cluster, request).await;
        let new = submitted.as_ref().map(|submitted| submitted.revision.to_string());
        let old = old.map(|id| id.to_string()).unwrap_or_default();
        let changed = Changed { what, old, new: new.unwrap_or_default() };
        self.note(by, changed, &submitted).await;
        submitted
    }

    /// Compare-and-set, then copies on other disks.
    async fn take_submit(
        &self,
        cluster: &Cluster<E>,
        request: SubmitRequest,
    ) -> Result<Submitted, ApiError> {
        let app = request.revision.app.clone();
        let made = cluster.core.submit(request).await?;
        let changed = made.is_some();
        let name = app.clone();
        let revision = cluster.core.look(move |core| core.state().winner(&name).cloned()).await?;
        let revision = revision.ok_or_else(|| views::unknown_app(&app))?;
        let delta = Delta { rows: Vec::new(), revisions: vec![(*revision).clone()] };
        let (stored, alive) = self.copy(cluster, delta).await?;
        let (id, sequence) = (revision.id().clone(), revision.sequence);
        Ok(Submitted { revision: id, sequence, changed, stored, alive })
    }

    /// Has other hosts keep on disk what this one has: until there are copies enough. Returns how
    /// many hosts have it, and how many live.
    pub(super) async fn copy(
        &self,
        cluster: &Cluster<E>,
        delta: Delta,
    ) -> Result<(u32, u32), ApiError> {
        let peers = cluster.core.look(alive).await?;
        let live = peers.len() as u32;
        let mut stored = 1;
        let request = Request::Store(Box::new(delta));
        for peer in peers.iter().filter(|peer| **peer != cluster.host) {
            if stored >= COPIES.min(live) {
                break;
            }
            match self.ask(cluster, peer, &request, ASK).await {
                Ok(_) => stored += 1,
                Err(error) => tracing::warn!(%peer, %error, "a copy could not be stored"),
            }
        }
        Ok((stored, live))
    }

    /// Why a Revision cannot run here: ports that are taken, images that are nowhere.
    pub(super) async fn refusals(
        &self,
        cluster: &Cluster<E>,
        revision: &Revision,
    ) -> Result<Vec<Refusal>, ApiError> {
        if revision.intent != Intent::Run {
            return Ok(Vec::new());
        }
        let mut refusals = self.ports_refused(cluster, revision).await?;
        let asked = revision.clone();
        refusals.extend(cluster.core.look(move |core| fixed::refused(core, &asked)).await?);
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
        let (lacking, others, ours, peers) = cluster
            .core
            .look(move |core| {
                let lacking = without_sctp(&core.view(), &asked);
                (lacking, ports_of_others(core, &app, &asked), ports_of(core, &app), alive(core))
            })
            .await?;
        let lacking = lacking.into_iter().map(|(port, hosts)| Refusal {
            message: format!(
                "port {}/sctp cannot be listened on: the kernel of host {hosts} has no SCTP",
                port.published
            ),
            hint: Some(
                "load the module there (`modprobe sctp`) and restart the agent, or use `tcp`"
                    .to_owned(),
            ),
            image: None,
        });
        let mut refusals: Vec<Refusal> = lacking
            .chain(others.into_iter().map(|(port, owner)| Refusal {
                message: format!(
                    "port {}/{} is already published by app `{owner}`",
                    port.published,
                    port.protocol.as_str()
                ),
                hint: Some("publish another port, or take that app down".to_owned()),
                image: None,
            }))
            .collect();
        // What this App publishes now is held by muster itself, wherever it leads.
        let is_ours = |port: &&PublishedPort| ours.iter().any(|ours| ours.collides(port));
        let new: Vec<PublishedPort> = wanted.iter().filter(|p| !is_ours(p)).cloned().collect();
        if new.is_empty() || !refusals.is_empty() {
            return Ok(refusals);
        }
        let nowhere = self.addresses_nowhere(cluster, &peers, &new).await;
        refusals.extend(nowhere.into_iter().map(ports::nowhere));
        let n_peers = peers.len();
        let mut found = Vec::new();
        for peer in peers {
            let taken = self.ports_taken_on(cluster, &peer, &new).await;
            let host = cluster.core.look(move |core| core.view().host_name(&peer)).await?;
            found.push((host, taken));
        }
        let on = |port: &PublishedPort| {
            found.iter().filter(|(_, taken)| taken.iter().any(|(one, _)| one == port)).count()
        };
        // Where only the host of a replica listens, it is placed where nobody else does.
        let matters = |port: &PublishedPort| port.mode == PortMode::Ingress || on(port) == n_peers;
        for (host, taken) in &found {
            let taken = taken.iter().filter(|(port, _)| matters(port));
            refusals.extend(taken.map(|(port, detail)| Refusal {
                message: format!(
                    "port {}/{} is taken on host `{host}`: {detail}",
                    port.published,
                    port.protocol.as_str()
                ),
                hint: Some(
                    "stop the program that listens there, or publish another port".to_owned(),
                ),
                image: None,
            }));
        }
        Ok(refusals)
    }

    /// What a live host says of ports; nothing when it does not answer in time.
    async fn ports_taken_on(
        &self,
        cluster: &Cluster<E>,
        host: &HostId,
        ports: &[PublishedPort],
    ) -> Vec<(PublishedPort, String)> {
        if *host == cluster.host {
            return cluster.ports_taken(ports);
        }
        match self.ask(cluster, host, &Request::CheckPorts(ports.to_vec()), ASK).await {
            Ok(Answer::PortsTaken(taken)) => taken,
            Ok(
                Answer::Submitted(_)
                | Answer::Stored
                | Answer::AddressesHeld(_)
                | Answer::ImageHere(_)
                | Answer::Clock(_)
                | Answer::Stats(_)
                | Answer::Paths(_)
                | Answer::Refused(_),
            ) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "cannot check the ports of a host");
                Vec::new()
            }
        }
    }
}

/// Live members, this host first.
pub(super) fn alive(core: &Core) -> Vec<HostId> {
    let members = core.membership().members().iter();
    let others = members.filter(|(_, m)| m.liveness == Liveness::Alive).map(|(host, _)| host);
    std::iter::once(core.me()).chain(others).cloned().collect()
}
