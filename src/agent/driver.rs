//! The task that owns the core: one event at a time goes in, its effects are carried out in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::executor::{Executor, Progress};
use super::observer::ObserverHandle;
use super::preview::next_revision;
use super::rpc::encode;
use crate::api::{ApiError, SubmitRequest};
use crate::docker::Engine;
use crate::logic::core::{Core, Effect, Event, Now};
use crate::logic::operation::{Operation, OperationId};
use crate::model::{HostId, Moment, NameTable, NetworkIntent, Record, Revision, WallSeconds};
use crate::supervisor::Supervisor;
use crate::swarm::{Durability, Store, Transport, knock};

/// Events that wait for the core; beyond, senders wait.
const QUEUE: usize = 1024;

/// The two clocks of this host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Now on both clocks.
    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { moment: Moment(millis), wall: WallSeconds(wall) }
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.began + Duration::from_millis(moment.0)
    }
}

type Look = Box<dyn FnOnce(&Core) + Send>;
type SubmitReply = oneshot::Sender<Result<Option<Revision>, ApiError>>;

enum Command {
    Event(Event),
    Look(Look),
    Submit(Box<SubmitRequest>, SubmitReply),
    /// Answered once what must be kept of it is on disk.
    Keep(Event, oneshot::Sender<Result<(), String>>),
}

/// Speaks to the task that owns the core.
#[derive(Clone)]
pub(super) struct CoreHandle {
    commands: mpsc::Sender<Command>,
    clock: Clock,
}

impl std::fmt::Debug for CoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CoreHandle")
    }
}

impl CoreHandle {
    /// Hands in an event; waits when the core is behind.
    pub(super) async fn event(&self, event: Event) {
        // The core goes only when the agent stops; then nobody needs the event.
        let _ = self.commands.send(Command::Event(event)).await;
    }

    /// Looks at the core between two events.
    ///
    /// # Errors
    ///
    /// When the agent is stopping.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |core| {
            // Whoever asked may have gone.
            let _ = reply.send(look(core));
        });
        self.commands.send(Command::Look(look)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Makes a Revision of what is asked for and stores it here; none when nothing changes.
    ///
    /// # Errors
    ///
    /// `Conflict`, or why it could not be stored.
    pub(super) async fn submit(
        &self,
        request: SubmitRequest,
    ) -> Result<Option<Revision>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Submit(Box::new(request), reply);
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Hands in an event and returns once what must be kept of it is on disk.
    ///
    /// # Errors
    ///
    /// Why it could not be stored.
    pub(super) async fn keep(&self, event: Event) -> Result<(), ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Keep(event, reply);
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?.map_err(ApiError::cluster)
    }

    /// Now on this host's clocks.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }
}

fn stopping() -> ApiError {
    ApiError::cluster("the agent is stopping")
}

/// What the core's effects act on.
#[derive(Debug)]
pub(super) struct Hands<E> {
    /// Operations.
    pub(super) executor: Arc<Executor<E>>,
    /// Who looks at the engine.
    pub(super) observer: ObserverHandle,
    /// Messages.
    pub(super) transport: Transport,
    /// Records.
    pub(super) store: Store,
    /// What the kernel should do.
    pub(super) network: watch::Sender<Option<NetworkIntent>>,
    /// What the resolver answers.
    pub(super) names: watch::Sender<NameTable>,
    /// Whether this host was removed from the cluster.
    pub(super) removed: watch::Sender<bool>,
    /// Tasks.
    pub(super) supervisor: Supervisor,
}

/// Starts the task that owns the core.
pub(super) fn start<E: Engine>(core: Core, clock: Clock, hands: Hands<E>) -> CoreHandle {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let handle = CoreHandle { commands, clock };
    let supervisor = hands.supervisor.clone();
    let driver = Driver { core, clock, hands, handle: handle.clone() };
    supervisor.spawn_until_stop("core", driver.run(inbox));
    handle
}

struct Driver<E> {
    core: Core,
    clock: Clock,
    hands: Hands<E>,
    handle: CoreHandle,
}

impl<E: Engine> Driver<E> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            let deadline = self.clock.instant(self.core.next_deadline());
            // Both are cancel-safe: a command stays in the channel until it is received.
            let command = tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => command,
                    None => return,
                },
                () = tokio::time::sleep_until(deadline.into()) => Command::Event(Event::Timer),
            };
            self.handle(command).await;
        }
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Event(event) => {
                // A store that fails is logged where it fails; the next record tries again.
                let _ = self.event(event).await;
            }
            Command::Look(look) => look(&self.core),
            Command::Submit(request, reply) => {
                let answer = self.submit(*request).await;
                let _ = reply.send(answer);
            }
            Command::Keep(event, reply) => {
                let stored = self.event(event).await;
                let _ = reply.send(stored);
            }
        }
    }

    async fn submit(&mut self, request: SubmitRequest) -> Result<Option<Revision>, ApiError> {
        let origin = (self.core.me(), request.command.as_str(), self.clock.now().wall);
        let expected = request.expected.as_ref();
        let next = next_revision(self.core.state(), request.revision, expected, origin)?;
        if let Some(revision) = &next {
            let event = Event::Submitted(Box::new(revision.clone()));
            self.event(event).await.map_err(|error| {
                ApiError::cluster(format!("the revision was not stored: {error}"))
                    .hint("see whether the disk of this host is full")
            })?;
        }
        Ok(next)
    }

    /// Handles one event and carries out its effects: the disk first, then the rest.
    async fn event(&mut self, event: Event) -> Result<(), String> {
        let mut effects = Vec::new();
        self.core.handle(self.clock.now(), event, &mut effects);
        let mut records = Vec::new();
        let mut durability = Durability::Lazy;
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { record, durable } => {
                    records.push(record);
                    if durable {
                        durability = Durability::Synced;
                    }
                }
                other @ (Effect::Send { .. }
                | Effect::Knock { .. }
                | Effect::Execute(..)
                | Effect::Network(_)
                | Effect::Names(_)
                | Effect::Know(_)
                | Effect::Refuse(_)) => others.push(other),
            }
        }
        let stored = self.persist(records, durability).await;
        for effect in others {
            self.carry_out(effect);
        }
        stored
    }

    async fn persist(&self, records: Vec<Record>, durability: Durability) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        let store = self.hands.store.clone();
        let write = tokio::task::spawn_blocking(move || store.write(&records, durability));
        let result = write.await.map_err(|error| error.to_string())?;
        result.map_err(|error| {
            let words = crate::telemetry::chain(&error);
            tracing::error!(error = words, "cannot write the store");
            words
        })
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send { to, address, message } => {
                let bytes = encode(&message);
                if message.is_probe() {
                    self.hands.transport.send_datagram(&to, address, bytes);
                } else {
                    self.hands.transport.send(&to, address, bytes);
                }
            }
            Effect::Knock { to, address } => self.knock(to, address),
            Effect::Execute(id, operation) => self.execute(id, operation),
            Effect::Network(intent) => {
                self.hands.network.send_replace(Some(intent));
            }
            Effect::Names(names) => {
                self.hands.names.send_replace(names);
            }
            Effect::Know(hosts) => self.hands.transport.set_known(hosts),
            Effect::Refuse(hosts) => {
                if hosts.contains(self.core.me()) && !self.hands.removed.send_replace(true) {
                    tracing::warn!(
                        "this host was removed from its cluster: its containers are removed, what \
                         is in volumes stays; `muster join TOKEN` joins again, as a new host"
                    );
                }
                self.hands.transport.set_refused(hosts);
            }
            Effect::Persist { .. } => {
                debug_assert!(false, "bug: records are written before");
            }
        }
    }

    fn knock(&self, host: HostId, address: SocketAddr) {
        let core = self.handle.clone();
        self.hands.supervisor.spawn_until_stop("knock", async move {
            let answered = knock(address).await;
            core.event(Event::Knocked { host, answered }).await;
        });
    }

    fn execute(&self, id: OperationId, operation: Operation) {
        let executor = Arc::clone(&self.hands.executor);
        let observer = self.hands.observer.clone();
        let core = self.handle.clone();
        tracing::debug!(?operation, "operation");
        self.hands.supervisor.spawn_until_stop("operation", async move {
            let progress = Progress { id, core: core.clone() };
            let result = executor.execute(operation, &progress).await;
            if let Err(failure) = &result {
                tracing::warn!(reason = failure.reason, "operation failed");
            }
            // What the engine holds now comes first, or the core would do it again.
            observer.look().await;
            core.event(Event::Finished(id, result)).await;
        });
    }
}
