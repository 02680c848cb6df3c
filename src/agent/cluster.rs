//! This host as a member of its cluster: the core with everything around it, and the task that
//! takes in what other members send.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};

use super::counts::Counts;
use super::driver::{self, Clock, CoreHandle, Hands};
use super::events::Events;
use super::executor::Executor;
use super::handle::Agent;
use super::images::ImageFetcher;
use super::measures::Measures;
use super::observer::ObserverHandle;
use super::probes::Prober;
use super::provider;
use super::renewal::Keys;
use super::resolver::Resolver;
use super::rpc::{Answer, decode, encode};
use super::{admission, authority, observer, paths, renewal, resolver, scaling};
use crate::api::ApiError;
use crate::api::server::Calls;
use crate::docker::Engine;
use crate::logic::core::{Core, Event, Start};
use crate::logic::membership::Timing;
use crate::model::{
    Availability, Capacity, HostFacts, HostId, NameTable, NetworkIntent, Overlay, PublishedPort,
    stable_hash,
};
use crate::network;
use crate::overlay::{self, Tunnels};
use crate::supervisor::Supervisor;
use crate::swarm::{
    By, Identity, Incoming, Purpose, Saved, Store, Terms, Tokens, Transport, TransportStart,
    Tunnel, WallClock,
};
use crate::telemetry::chain;

/// Tunnels that were opened and wait to be used.
const TUNNELS: usize = 64;

/// What `init` or `join` decided for this host; kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// The host's name.
    pub(super) name: String,
    /// Where other agents reach it.
    pub(super) advertise: SocketAddr,
    /// All addresses of the cluster.
    pub(super) pool: Ipv4Net,
    /// This host's part of them.
    pub(super) slice: Ipv4Net,
    /// How packets of containers get from host to host.
    #[serde(default, skip_serializing_if = "Overlay::is_direct")]
    pub(super) overlay: Overlay,
    /// Labels for placement.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// Members known when it joined; more are learned from them.
    #[serde(default)]
    pub(super) members: Vec<(HostId, SocketAddr)>,
}

/// This host as a member.
#[derive(Debug)]
pub(super) struct Cluster<E> {
    /// Who it is.
    pub(super) host: HostId,
    /// Its keys, as they were at the start.
    pub(super) identity: Identity,
    /// Who changes them.
    pub(super) keys: Keys,
    /// What was decided for it.
    pub(super) settings: Settings,
    /// What it knows and decides.
    pub(super) core: CoreHandle,
    /// Who looks at the engine.
    pub(super) observer: ObserverHandle,
    /// What happened here.
    pub(super) events: Events,
    /// What containers take here.
    pub(super) measures: Measures,
    /// What the agent does.
    pub(super) counts: Arc<Counts>,
    /// Its disk.
    pub(super) store: Store,
    /// Who tells containers names.
    pub(super) resolver: Resolver,
    /// Turns to try the ways to other hosts.
    pub(super) tries: Semaphore,
    /// The way to the others.
    pub(super) transport: Transport,
    /// The join tokens it issued.
    tokens: Tokens,
    /// The tunnels to other hosts; none in a cluster without.
    pub(super) tunnels: Option<Tunnels>,
    /// The slices given to hosts that joined here.
    pub(super) given: admission::Given,
    /// Whether this host was removed from the cluster.
    pub(super) removed: watch::Receiver<bool>,
    /// Its tasks.
    pub(super) supervisor: Supervisor,
    /// Its engine.
    pub(super) engine: Arc<E>,
}

/// Tells the core what the kernel goes by.
async fn tell_in_place(mut in_place: watch::Receiver<Option<NetworkIntent>>, core: CoreHandle) {
    while in_place.changed().await.is_ok() {
        let intent = in_place.borrow_and_update().clone();
        if let Some(intent) = intent {
            core.event(Event::InPlace(Box::new(intent))).await;
        }
    }
}

/// What a member starts from.
#[derive(Debug)]
pub(super) struct Member {
    /// Its keys.
    pub(super) identity: Identity,
    /// What was decided for it.
    pub(super) settings: Settings,
    /// Its disk.
    pub(super) store: Store,
    /// What was on the disk.
    pub(super) saved: Saved,
}

/// Starts all tasks of a member.
///
/// # Errors
///
/// When the UDP port cannot be listened on.
pub(super) fn start<E: Engine>(
    agent: &Agent<E>,
    member: Member,
) -> Result<Arc<Cluster<E>>, ApiError> {
    let Member { identity, settings, store, saved } = member;
    let supervisor = &agent.supervisor.part();
    let listen = agent.config.listen;
    let tokens = Tokens::new(store.clone(), agent.audit.clone());
    let identity = renewal::at_start(identity, &agent.config.data_dir);
    let start = TransportStart {
        identity: identity.clone(),
        listen,
        tokens: tokens.clone(),
        clock: WallClock::system(),
    };
    let (transport, incoming) = Transport::bind(start, supervisor)
        .map_err(|error| ApiError::user(chain(&error)).hint_if(error.hint()))?;
    let known = settings.members.iter().chain(&saved.peers).map(|(host, _)| host.clone());
    transport.set_known(known.collect());
    let mut facts = facts(&settings);
    facts.authority = Some(identity.authority_id());
    let clock = Clock::new();
    let core = Core::new(clock.now(), core_start(&identity, &settings, facts.clone(), saved));
    let (observer, requests) = observer::channel();
    let (network, intents) = watch::channel(None);
    let (names, tables) = watch::channel(Arc::<NameTable>::default());
    let (gone, removed) = watch::channel(false);
    let (provide, asks) = mpsc::channel(provider::QUEUE);
    let executor = Executor {
        engine: Arc::clone(&agent.engine),
        images: ImageFetcher::start(Arc::clone(&agent.engine), transport.clone(), supervisor),
        cluster: identity.cluster().to_owned(),
    };
    let events = Events::new();
    let counts = Arc::new(Counts::default());
    let hands = Hands {
        executor: Arc::new(executor),
        prober: Arc::new(Prober::new(Arc::clone(&agent.engine))),
        observer: observer.clone(),
        transport: transport.clone(),
        network,
        names,
        host: identity.host().clone(),
        counts: Arc::clone(&counts),
        provider: provide,
        removed: gone,
        supervisor: supervisor.clone(),
    };
    let core = driver::start(core, clock, store.clone(), events.reporter(), hands);
    let (told, _) = watch::channel(facts);
    let eyes = (Arc::clone(&agent.engine), transport.clone());
    observer::start(eyes, core.clone(), told, requests, supervisor);
    let measures = Measures::start(Arc::clone(&agent.engine), core.clone(), supervisor);
    scaling::start(Arc::clone(&agent.engine), core.clone(), measures.clone(), supervisor);
    let keys = Keys::new(agent.config.data_dir.clone(), transport.clone());
    supervisor.spawn_until_stop("renewal", keys.clone().renew());
    let (tunnel, opened) = mpsc::channel(TUNNELS);
    let tunnels = (settings.overlay == Overlay::Quic).then(|| {
        let me = identity.host().clone();
        overlay::start(me, transport.clone(), intents.clone(), opened, supervisor)
    });
    let port = tunnels.is_some().then(|| transport.local_address()).transpose();
    let port = port.map_err(|error| ApiError::user(chain(&error)))?;
    let in_place = network::start(intents, port.map(|address| address.port()), supervisor);
    supervisor.spawn_until_stop("in place", tell_in_place(in_place, core.clone()));
    let resolver = resolver::start(settings.pool, settings.slice, tables, supervisor);
    let cluster = Arc::new(Cluster {
        host: identity.host().clone(),
        identity,
        keys,
        settings,
        core,
        observer,
        events,
        measures,
        counts,
        store,
        resolver,
        tries: Semaphore::new(paths::TRIES),
        transport,
        tokens,
        tunnels,
        given: admission::Given::default(),
        removed,
        supervisor: supervisor.clone(),
        engine: Arc::clone(&agent.engine),
    });
    let receiver = Receiver { agent: agent.clone(), cluster: Arc::clone(&cluster), tunnel };
    supervisor.spawn_until_stop("incoming", receiver.run(incoming));
    supervisor.spawn_until_stop("provider", provider::serve(Arc::clone(&cluster), asks));
    let handing = authority::hand_on(agent.clone(), Arc::clone(&cluster));
    supervisor.spawn_until_stop("authority", handing);
    Ok(cluster)
}

fn facts(settings: &Settings) -> HostFacts {
    HostFacts {
        name: settings.name.clone(),
        address: settings.advertise,
        slice: settings.slice,
        labels: settings.labels.clone(),
        availability: Availability::Active,
        capacity: Capacity::default(),
        platform: String::new(),
        engine_version: String::new(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        disk_full: false,
        sctp: network::has_sctp(),
        inventory: Default::default(),
        authority: None,
        volumes: BTreeSet::new(),
        images: BTreeSet::new(),
        blocks: Vec::new(),
    }
}

fn core_start(identity: &Identity, settings: &Settings, facts: HostFacts, saved: Saved) -> Start {
    // A member met later may have moved; what was seen last counts.
    let mut peers: BTreeMap<HostId, SocketAddr> = settings.members.iter().cloned().collect();
    peers.extend(saved.peers);
    Start {
        me: identity.host().clone(),
        pool: settings.pool,
        facts,
        epoch: saved.epoch,
        rows: saved.rows,
        revisions: saved.revisions,
        blocks: saved.blocks,
        peers: peers.into_iter().collect(),
        // Differs between hosts and between starts, so that they do not act in step.
        seed: stable_hash(&[identity.host().as_str(), &saved.epoch.to_string()]),
        timing: Timing::default(),
    }
}

impl<E: Engine> Cluster<E> {
    /// Those of `ports` that cannot be listened on here, and who has them in words.
    pub(super) fn ports_taken(&self, ports: &[PublishedPort]) -> Vec<(PublishedPort, String)> {
        network::ports_taken(ports)
    }

    /// Issues a token that is good for `lifetime`, and a host's for so many hosts.
    ///
    /// # Errors
    ///
    /// When it cannot be written to disk.
    pub(super) async fn create_token(
        &self,
        lifetime: Duration,
        purpose: Purpose,
        uses: u32,
        by: By,
    ) -> Result<String, ApiError> {
        let (tokens, identity) = (self.tokens.clone(), self.transport.identity());
        let terms = Terms { now: self.core.now().wall, lifetime, uses };
        let issuer = self.settings.advertise;
        let issue = move || match purpose {
            Purpose::Host => tokens.issue(&identity, vec![issuer], terms, &by),
            Purpose::Operator(who) => tokens.invite(&identity, vec![issuer], terms, who, &by),
        };
        let token = tokio::task::spawn_blocking(issue).await;
        let token = token.map_err(|error| ApiError::cluster(error.to_string()))?;
        token.map(|token| token.to_string()).map_err(|error| {
            ApiError::cluster(format!("no token was issued: {}", chain(&error))).hint(error.hint())
        })
    }
}

/// Takes in what other members send.
struct Receiver<E> {
    agent: Agent<E>,
    cluster: Arc<Cluster<E>>,
    /// To whoever carries packets.
    tunnel: mpsc::Sender<Tunnel>,
}

impl<E: Engine> Receiver<E> {
    async fn run(self, mut incoming: mpsc::Receiver<Incoming>) {
        let calls = Calls::new(Arc::new(self.agent.clone()), &self.cluster.supervisor);
        while let Some(item) = incoming.recv().await {
            match item {
                Incoming::Message { from, address, bytes } => {
                    self.cluster.counts.received.add(bytes.len());
                    match decode(&bytes) {
                        Ok(message) => {
                            let event = Event::Received { from, address, message };
                            self.cluster.core.event(event).await;
                        }
                        Err(error) => tracing::warn!(%from, %error, "a message cannot be read"),
                    }
                }
                Incoming::Request { from, bytes, reply } => {
                    let (agent, cluster) = (self.agent.clone(), Arc::clone(&self.cluster));
                    self.cluster.supervisor.spawn_until_stop("answer", async move {
                        let answer = match decode(&bytes) {
                            Ok(request) => agent.answer(&cluster, from, request).await,
                            Err(error) => {
                                tracing::warn!(%from, %error, "a request cannot be read");
                                Answer::Refused(ApiError::cluster(
                                    "it does not know this request; its version is older",
                                ))
                            }
                        };
                        // Whoever asked may have given up.
                        let _ = reply.send(encode(&answer));
                    });
                }
                Incoming::Stream { from, header, send, receive } => {
                    self.agent.serve(&self.cluster, from, &header, (send, receive));
                }
                Incoming::Tunnel(tunnel) => {
                    // Nobody wants it in a cluster without tunnels. Else whoever dialled tries again.
                    if let Err(refused) = self.tunnel.try_send(tunnel) {
                        refused.into_inner().close();
                    }
                }
                Incoming::Call { caller, stream } => calls.answer(caller, stream),
                Incoming::Enrol { id, address, invitation, reply } => {
                    let (agent, cluster) = (self.agent.clone(), Arc::clone(&self.cluster));
                    self.cluster.supervisor.spawn_until_stop("enrol", async move {
                        let greeting = agent.enrol(&cluster, id, address, invitation).await;
                        // Whoever hung up tries again with another token.
                        let _ = reply.send(greeting);
                    });
                }
                Incoming::Removed { by } => {
                    tracing::info!(%by, "a member says that this host was removed");
                    self.cluster.core.event(Event::Removed(self.cluster.host.clone())).await;
                }
                Incoming::Join { address, hello, reply } => {
                    let cluster = Arc::clone(&self.cluster);
                    self.cluster.supervisor.spawn_until_stop("admit", async move {
                        let welcome = admission::admit(&cluster, address, hello).await;
                        // A joiner that hung up tries again with another token.
                        let _ = reply.send(welcome);
                    });
                }
            }
        }
    }
}
