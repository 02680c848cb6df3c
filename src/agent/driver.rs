//! The task that owns the core: one event at a time goes in, its effects are carried out in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};

use super::counts::Counts;
use super::events::Reporter;
use super::executor::{Executor, Progress};
use super::hosts::next_wanted;
use super::ledger::{Disk, Kept, Ledger};
use super::observer::ObserverHandle;
use super::preview::{Wish, next_revision, opened};
use super::probes::Prober;
use super::rpc::encode;
use crate::api::{ApiError, HostChange, SubmitRequest};
use crate::docker::Engine;
use crate::logic::core::{Core, Effect, Event, Now};
use crate::logic::fleet::{Ask, Reply};
use crate::logic::operation::{Operation, OperationId};
use crate::logic::{Delta, Want};
use crate::model::{
    AppName, HostId, Moment, NameTable, NetworkIntent, Record, RowKey, RunRequest, RunWish,
    SealedRevision, WallSeconds,
};
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
type SubmitReply = oneshot::Sender<Result<Option<SealedRevision>, ApiError>>;

enum Command {
    Event(Event),
    Look(Look),
    Submit(Box<SubmitRequest>, SubmitReply),
    ChangeHost(Box<HostChange>, oneshot::Sender<Result<Option<Delta>, ApiError>>),
    Ask(AppName, RunWish, Option<String>, oneshot::Sender<Result<(u64, Delta), ApiError>>),
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
    ) -> Result<Option<SealedRevision>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Submit(Box::new(request), reply);
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Writes what is asked of a host; returns the Row, or none when nothing changes.
    ///
    /// # Errors
    ///
    /// When there is no such host, or why it could not be stored.
    pub(super) async fn change_host(&self, change: HostChange) -> Result<Option<Delta>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::ChangeHost(Box::new(change), reply);
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Writes what the Home of an App is to run or to forget; returns the number of the request, and
    /// the Row.
    ///
    /// # Errors
    ///
    /// Why it could not be stored.
    pub(super) async fn ask(
        &self,
        app: AppName,
        wish: RunWish,
        by: Option<String>,
    ) -> Result<(u64, Delta), ApiError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Ask(app, wish, by, reply);
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

    /// A core that takes what it is asked and never does it.
    #[cfg(test)]
    pub(super) fn stalled() -> Self {
        let (commands, inbox) = mpsc::channel(QUEUE);
        // Dropped, it would refuse what it is asked.
        std::mem::forget(inbox);
        Self { commands, clock: Clock::new() }
    }

    /// Now on this host's clocks.
    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }
}

fn not_stored(what: &str, error: &str) -> ApiError {
    ApiError::cluster(format!("{what} was not stored: {error}"))
        .hint("see whether the disk of this host is full")
}

fn stopping() -> ApiError {
    ApiError::cluster("the agent is stopping")
}

/// What the core's effects act on.
#[derive(Debug)]
pub(super) struct Hands<E> {
    /// Operations.
    pub(super) executor: Arc<Executor<E>>,
    /// Questions to replicas.
    pub(super) prober: Arc<Prober<E>>,
    /// Who looks at the engine.
    pub(super) observer: ObserverHandle,
    /// Messages.
    pub(super) transport: Transport,
    /// What the kernel should do.
    pub(super) network: watch::Sender<Option<NetworkIntent>>,
    /// What the resolver answers.
    pub(super) names: watch::Sender<Arc<NameTable>>,
    /// This host.
    pub(super) host: HostId,
    /// What is sent is counted there.
    pub(super) counts: Arc<Counts>,
    /// Who runs the Provider's program.
    pub(super) provider: mpsc::Sender<Ask>,
    /// Whether it was removed from the cluster.
    pub(super) removed: watch::Sender<bool>,
    /// Tasks.
    pub(super) supervisor: Supervisor,
}

/// Starts the task that owns the core. Records go to `store`; `reporter` tells what happens.
pub(super) fn start<E: Engine>(
    core: Core,
    clock: Clock,
    store: Store,
    reporter: Reporter,
    hands: Hands<E>,
) -> CoreHandle {
    let (commands, inbox) = mpsc::channel(QUEUE);
    let handle = CoreHandle { commands, clock };
    let supervisor = hands.supervisor.clone();
    let core_handle = handle.clone();
    let carry_out: Box<dyn Fn(Effect) + Send + Sync> =
        Box::new(move |effect| hands.carry_out(effect, &core_handle));
    let ledger = Ledger::start(Arc::new(store.clone()), carry_out, &supervisor);
    let driver = Driver { core, clock, store, reporter, ledger };
    supervisor.spawn_until_stop("core", driver.run(inbox));
    handle
}

struct Driver {
    core: Core,
    clock: Clock,
    store: Store,
    reporter: Reporter,
    ledger: Ledger<Box<dyn Fn(Effect) + Send + Sync>>,
}

impl Driver {
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
            // A store that fails is logged where it fails; the next record tries again.
            Command::Event(event) => self.event(event, None).await,
            Command::Look(look) => look(&self.core),
            Command::Submit(request, reply) => {
                let answer = self.submit(*request).await;
                let _ = reply.send(answer);
            }
            Command::ChangeHost(change, reply) => {
                let answer = self.change_host(&change).await;
                let _ = reply.send(answer);
            }
            Command::Ask(app, wish, by, reply) => {
                let answer = self.ask(app, wish, by).await;
                let _ = reply.send(answer);
            }
            Command::Keep(event, reply) => self.event(event, Some(reply)).await,
        }
    }

    async fn submit(&mut self, request: SubmitRequest) -> Result<Option<SealedRevision>, ApiError> {
        let asked = opened(&request.revision)?;
        let wish = Wish {
            expected: request.expected.as_ref(),
            retry: request.retry,
            order: request.order.as_ref(),
            by: request.by.as_deref(),
            asked: request.asked.as_ref(),
            ..Wish::new(self.core.me(), &request.command, self.clock.now().wall)
        };
        let next = next_revision(self.core.state(), asked, &wish)?;
        let next = next.map(SealedRevision::new);
        if let Some(revision) = &next {
            // It is on disk before anybody hears of it: what cannot be kept was never there. The
            // core waits meanwhile, so that no other change comes in between.
            self.keep(revision.clone())
                .await
                .map_err(|error| not_stored("the revision", &error))?;
            self.event(Event::Submitted(Box::new(revision.clone())), None).await;
        }
        Ok(next)
    }

    async fn keep(&self, revision: SealedRevision) -> Result<(), String> {
        let store = self.store.clone();
        let record = Record::Revision(Box::new(revision));
        let write = tokio::task::spawn_blocking(move || store.write_or_refuse(&record));
        let result = write.await.map_err(|error| error.to_string())?;
        result.map_err(|error| crate::telemetry::chain(&error))
    }

    async fn change_host(&mut self, change: &HostChange) -> Result<Option<Delta>, ApiError> {
        let Some((host, wanted)) = next_wanted(&self.core, change)? else { return Ok(None) };
        let event = Event::Wanted(host.clone(), wanted);
        let said = self.say(event, RowKey::Wanted(host), "what is asked of the host").await?;
        Ok(Some(said))
    }

    async fn ask(
        &mut self,
        app: AppName,
        wish: RunWish,
        by: Option<String>,
    ) -> Result<(u64, Delta), ApiError> {
        let number = self.core.next_request(&app);
        let event = Event::Asked(app.clone(), RunRequest { number, wish, by });
        let said = self.say(event, RowKey::Asked(app), "what is asked of the app").await?;
        Ok((number, said))
    }

    /// Has the core write a Row of this host; returns it once it is on disk.
    async fn say(&mut self, event: Event, key: RowKey, what: &str) -> Result<Delta, ApiError> {
        let (kept, was_kept) = oneshot::channel();
        self.event(event, Some(kept)).await;
        let stored = was_kept.await.unwrap_or_else(|_| Err("the agent is stopping".to_owned()));
        stored.map_err(|error| not_stored(what, &error))?;
        let want = Want { rows: vec![(self.core.me().clone(), key)], revisions: Vec::new() };
        Ok(self.core.state().supply(&want))
    }

    /// Handles one event; its effects are carried out in order, the disk first.
    async fn event(&mut self, event: Event, kept: Option<Kept>) {
        let (now, mut effects) = (self.clock.now(), Vec::new());
        self.core.handle(now, event, &mut effects);
        self.reporter.look(&self.core, now.wall);
        self.ledger.enter(effects, kept).await;
    }
}

impl Disk for Store {
    fn write(&self, records: &[Record], durability: Durability) -> Result<(), String> {
        Store::write(self, records, durability).map_err(|error| crate::telemetry::chain(&error))
    }
}

impl<E: Engine> Hands<E> {
    fn carry_out(&self, effect: Effect, core: &CoreHandle) {
        match effect {
            Effect::Send { to, address, message } => {
                let bytes = encode(&message);
                if message.is_probe() {
                    self.counts.probes_sent.add(bytes.len());
                    self.transport.send_datagram(&to, address, bytes);
                } else {
                    self.counts.messages_sent.add(bytes.len());
                    self.transport.send(&to, address, bytes);
                }
            }
            Effect::Knock { to, address } => self.knock(to, address, core.clone()),
            Effect::Execute(id, operation) => self.execute(id, operation, core.clone()),
            Effect::Probe(probe) => self.prober.ask(probe, core.clone(), &self.supervisor),
            Effect::Network(intent) => {
                self.network.send_replace(Some(intent));
            }
            Effect::Names(names) => {
                self.names.send_replace(names);
            }
            Effect::Know(hosts) => self.transport.set_known(hosts),
            Effect::Provide(ask) => self.provide(*ask, core.clone()),
            Effect::Refuse(hosts) => {
                if hosts.contains(&self.host) && !self.removed.send_replace(true) {
                    tracing::warn!(
                        "this host was removed from its cluster: its containers are removed, what \
                         is in volumes stays; `muster join TOKEN` joins again, as a new host"
                    );
                }
                self.transport.set_refused(hosts);
            }
            Effect::Persist { .. } => {
                debug_assert!(false, "bug: records are written before");
            }
        }
    }

    fn provide(&self, ask: Ask, core: CoreHandle) {
        // The logic asks one at a time; it must hear of one that has no turn all the same.
        if let Err(refused) = self.provider.try_send(ask) {
            let ask = Box::new(refused.into_inner());
            let reply =
                Reply::Refused { reason: "the agent is busy".to_owned(), retry_after: None };
            self.supervisor.spawn_until_stop("provider", async move {
                core.event(Event::Provided(ask, reply)).await;
            });
        }
    }

    fn knock(&self, host: HostId, address: SocketAddr, core: CoreHandle) {
        self.supervisor.spawn_until_stop("knock", async move {
            let answered = knock(address).await;
            core.event(Event::Knocked { host, answered }).await;
        });
    }

    fn execute(&self, id: OperationId, operation: Operation, core: CoreHandle) {
        let executor = Arc::clone(&self.executor);
        let observer = self.observer.clone();
        tracing::debug!(?operation, "operation");
        self.supervisor.spawn_until_stop("operation", async move {
            let progress = Progress { id, core: core.clone() };
            let result = executor.execute(operation, &progress).await;
            if let Err(failure) = &result {
                tracing::warn!(reason = failure.reason, "operation failed");
            }
            // What the engine holds now comes first, or the core would do it again.
            match &result {
                Err(failure) if failure.no_room => observer.out_of_room().await,
                Ok(()) | Err(_) => observer.look().await,
            }
            core.event(Event::Finished(id, result)).await;
        });
    }
}
