//! Looks at the engine: after every hint that something changed, after every operation, and now
//! and then. One look at a time, so that an older one never overtakes a newer one.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::devices;
use super::driver::CoreHandle;
use super::gauge::Gauge;
use crate::docker::{Engine, EngineInfo, Offers};
use crate::doctor::space_of;
use crate::logic::busy::Busy;
use crate::logic::core::{Core, Event};
use crate::logic::operation::Observation;
use crate::logic::room::Room;
use crate::model::{AppName, Capacity, HostFacts, Inventory, PortMode, Protocol, PublishedPort};
use crate::network;
use crate::supervisor::Supervisor;
use crate::swarm::Transport;

/// Time between two looks when nothing happens: an event stream may lose events.
const RESYNC: Duration = Duration::from_secs(5);
/// Requests for a look that wait; all are answered by one look.
const QUEUE: usize = 256;
/// Engine changes come in bursts; one look serves all that come within this time. Short enough for
/// an endpoint to be out of every host's lists a quarter of a second after its container ended.
const BURST: Duration = Duration::from_millis(50);

/// What is looked at for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Containers, networks and volumes.
    Usual,
    /// Which images there are, too: the daemon takes long to say.
    Images,
    /// Its disk, too: something did not fit there.
    Room,
}

/// A look somebody waits for.
#[derive(Debug)]
struct Request {
    what: What,
    reply: oneshot::Sender<()>,
}

/// Asks for a look at the engine.
#[derive(Debug, Clone)]
pub(super) struct ObserverHandle {
    requests: mpsc::Sender<Request>,
}

impl ObserverHandle {
    /// Returns once the core was told what the engine held after this call, images included.
    pub(super) async fn refresh(&self) {
        self.ask(What::Images).await;
    }

    /// Returns once the core was told which containers, networks and volumes there were after this
    /// call.
    pub(super) async fn look(&self) {
        self.ask(What::Usual).await;
    }

    /// The same when something did not fit on the engine's disk: the core was told that it is full.
    pub(super) async fn out_of_room(&self) {
        self.ask(What::Room).await;
    }

    async fn ask(&self, what: What) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(Request { what, reply }).await.is_ok() {
            // The observer goes only when the agent stops.
            let _ = done.await;
        }
    }
}

/// The requests of an [`ObserverHandle`], before the task that answers them is started.
#[derive(Debug)]
pub(super) struct Requests(mpsc::Receiver<Request>);

/// A handle and the requests it will make.
pub(super) fn channel() -> (ObserverHandle, Requests) {
    let (requests, inbox) = mpsc::channel(QUEUE);
    (ObserverHandle { requests }, Requests(inbox))
}

/// Starts the task that looks.
pub(super) fn start<E: Engine>(
    (engine, transport): (Arc<E>, Transport),
    core: CoreHandle,
    facts: watch::Sender<HostFacts>,
    requests: Requests,
    supervisor: &Supervisor,
) {
    let observer = Observer {
        engine,
        transport,
        core,
        facts,
        seen: Observation::default(),
        room: Room::default(),
        gauge: Gauge::default(),
        busy: Busy::default(),
        folder: PathBuf::new(),
    };
    supervisor.spawn_until_stop("observer", observer.run(requests.0));
}

struct Observer<E> {
    engine: Arc<E>,
    /// Knows which authority this host goes by.
    transport: Transport,
    core: CoreHandle,
    facts: watch::Sender<HostFacts>,
    /// What was last seen.
    seen: Observation,
    room: Room,
    gauge: Gauge,
    busy: Busy,
    /// Where the engine keeps images; empty while it has not said.
    folder: PathBuf,
}

enum Cause {
    Asked(Request),
    Hint,
    Resync,
}

impl<E: Engine> Observer<E> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut hints = self.engine.changes();
        // First, so that the answer to the first request knows the whole host.
        self.look_at_host().await;
        self.look().await;
        let mut resync = tokio::time::interval_at(Instant::now() + RESYNC, RESYNC);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // Channel, stream and interval are cancel-safe.
            let cause = tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(request) => Cause::Asked(request),
                    None => return,
                },
                Some(()) = hints.next() => Cause::Hint,
                _ = resync.tick() => Cause::Resync,
            };
            let mut requests = Vec::new();
            let is_hint = matches!(cause, Cause::Hint);
            match cause {
                Cause::Asked(request) => requests.push(request),
                Cause::Hint => tokio::time::sleep(BURST).await,
                Cause::Resync => self.look_at_host().await,
            }
            while let Ok(request) = inbox.try_recv() {
                requests.push(request);
            }
            // The look that begins now sees what these hint at.
            while hints.next().now_or_never().flatten().is_some() {}
            if is_hint && requests.is_empty() {
                self.look_at_containers().await;
            } else {
                self.look().await;
            }
            if requests.iter().any(|request| request.what == What::Images) {
                self.look_at_images().await;
            }
            if requests.iter().any(|request| request.what == What::Room) {
                self.look_at_room(true).await;
            }
            for request in requests {
                // Whoever asked may have gone.
                let _ = request.reply.send(());
            }
        }
    }

    /// Containers, networks, volumes.
    async fn look(&mut self) {
        let all = tokio::try_join!(
            self.engine.containers(),
            self.engine.networks(),
            self.engine.volumes()
        );
        let app = |name: &str| AppName::from(name);
        match all {
            Ok((containers, networks, volumes)) => {
                let names = volumes.iter().map(|volume| volume.name.clone()).collect();
                self.set_facts(|facts| facts.volumes = names).await;
                self.seen = Observation {
                    networks: networks.into_iter().map(|n| (n.name, app(&n.app))).collect(),
                    volumes: volumes.into_iter().map(|v| (v.name, app(&v.app))).collect(),
                    ..Observation::default()
                };
                self.seen.set_containers(containers);
                self.core.event(Event::Observed(self.seen.clone())).await;
            }
            Err(error) => tracing::warn!(%error, "cannot look at the engine"),
        }
    }

    /// Containers alone: they end and turn sick by themselves, networks and volumes do not.
    async fn look_at_containers(&mut self) {
        match self.engine.containers().await {
            Ok(containers) => {
                self.seen.set_containers(containers);
                self.core.event(Event::Observed(self.seen.clone())).await;
            }
            Err(error) => tracing::warn!(%error, "cannot look at the engine"),
        }
    }

    /// The engine itself, and its images.
    async fn look_at_host(&mut self) {
        let info = match self.engine.info().await {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(%error, "Docker does not answer");
                EngineInfo { version: String::new(), ..unknown_engine() }
            }
        };
        let offers = info.offers;
        let (resources, labels) = (offers.resources.clone(), offers.labels.clone());
        let (no_pids_limit, root) = (offers.no_pids_limit, PathBuf::from("/"));
        let taken_ports = self.taken_ports().await;
        let busy = match self.gauge.part_in_use() {
            Some(part) => self.busy.measured(part),
            None => self.facts.borrow().inventory.busy,
        };
        // A device that hangs may keep its files from being read.
        let devices = tokio::task::spawn_blocking(move || devices::find(&root, &offers)).await;
        self.set_facts(|facts| {
            facts.engine_version.clone_from(&info.version);
            if !info.version.is_empty() {
                facts.platform.clone_from(&info.platform);
                facts.capacity = Capacity { cpu_millis: info.cpu_millis, memory: info.memory };
                facts.inventory = Inventory {
                    devices: devices.unwrap_or_default(),
                    resources,
                    engine_labels: labels,
                    no_pids_limit,
                    busy,
                    taken_ports,
                    // The core is told by whoever looks for it.
                    provider: None,
                };
            }
        })
        .await;
        if !info.folder.as_os_str().is_empty() {
            self.folder = info.folder;
        }
        self.look_at_room(false).await;
        self.look_at_images().await;
    }

    /// Ports that replicas are to listen on where they are, and that other programs have here.
    async fn taken_ports(&self) -> BTreeSet<(u16, Protocol)> {
        // The core goes only when the agent stops.
        let Ok(wanted) = self.core.look(host_ports).await else { return BTreeSet::new() };
        if wanted.is_empty() {
            return BTreeSet::new();
        }
        let looked = tokio::task::spawn_blocking(move || network::ports_of_others(&wanted)).await;
        looked.unwrap_or_default()
    }

    /// The disk the images are on, where this agent can see it.
    async fn look_at_room(&mut self, refused: bool) {
        let folder = self.folder.clone();
        // A file system of the network may take its time.
        let measured = tokio::task::spawn_blocking(move || space_of(&folder)).await;
        let Ok(Some(space)) = measured else { return };
        let full = if refused { self.room.refused(space) } else { self.room.measured(space) };
        if full != self.facts.borrow().disk_full {
            tracing::warn!(full, free = space.free, "room on Docker's disk");
        }
        self.set_facts(|facts| facts.disk_full = full).await;
    }

    async fn look_at_images(&self) {
        match self.engine.images().await {
            Ok(images) => self.set_facts(|facts| facts.images = images).await,
            Err(error) => tracing::debug!(%error, "cannot list images"),
        }
    }

    async fn set_facts(&self, change: impl FnOnce(&mut HostFacts)) {
        let changed = self.facts.send_if_modified(|facts| {
            let before = facts.clone();
            facts.authority = Some(self.transport.identity().authority_id());
            change(facts);
            *facts != before
        });
        if changed {
            let facts = self.facts.borrow().clone();
            self.core.event(Event::Facts(Box::new(facts))).await;
        }
    }
}

/// Every port that some App wants on the host of a replica alone.
fn host_ports(core: &Core) -> BTreeSet<PublishedPort> {
    let apps = core.state().apps().filter_map(|app| core.state().winner(app));
    let ports = apps.flat_map(|revision| revision.deployments.values()).flat_map(|d| &d.ports);
    ports.filter(|port| port.mode == PortMode::Host).cloned().collect()
}

fn unknown_engine() -> EngineInfo {
    EngineInfo {
        version: String::new(),
        api_version: String::new(),
        platform: String::new(),
        cpu_millis: 0,
        memory: 0,
        folder: PathBuf::new(),
        offers: Offers::default(),
    }
}
