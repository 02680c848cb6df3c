//! Looks at the engine: after every hint that something changed, after every operation, and now
//! and then. One look at a time, so that an older one never overtakes a newer one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::driver::CoreHandle;
use crate::docker::{Engine, EngineError, EngineInfo};
use crate::logic::core::Event;
use crate::logic::operation::Observation;
use crate::model::{AppName, Capacity, HostFacts};
use crate::supervisor::Supervisor;

/// Time between two looks when nothing happens: an event stream may lose events.
const RESYNC: Duration = Duration::from_secs(5);
/// Requests for a look that wait; all are answered by one look.
const QUEUE: usize = 256;
/// Engine changes come in bursts; one look serves all that come within this time.
const BURST: Duration = Duration::from_millis(20);

/// Asks for a look at the engine.
#[derive(Debug, Clone)]
pub(super) struct ObserverHandle {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl ObserverHandle {
    /// Returns once the core was told what the engine held after this call.
    pub(super) async fn refresh(&self) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(reply).await.is_ok() {
            // The observer goes only when the agent stops.
            let _ = done.await;
        }
    }
}

/// The requests of an [`ObserverHandle`], before the task that answers them is started.
#[derive(Debug)]
pub(super) struct Requests(mpsc::Receiver<oneshot::Sender<()>>);

/// A handle and the requests it will make.
pub(super) fn channel() -> (ObserverHandle, Requests) {
    let (requests, inbox) = mpsc::channel(QUEUE);
    (ObserverHandle { requests }, Requests(inbox))
}

/// Starts the task that looks.
pub(super) fn start<E: Engine>(
    engine: Arc<E>,
    core: CoreHandle,
    facts: watch::Sender<HostFacts>,
    requests: Requests,
    supervisor: &Supervisor,
) {
    let observer = Observer { engine, core, facts };
    supervisor.spawn_until_stop("observer", observer.run(requests.0));
}

struct Observer<E> {
    engine: Arc<E>,
    core: CoreHandle,
    facts: watch::Sender<HostFacts>,
}

enum Cause {
    Asked(oneshot::Sender<()>),
    Hint,
    Resync,
}

impl<E: Engine> Observer<E> {
    async fn run(self, mut inbox: mpsc::Receiver<oneshot::Sender<()>>) {
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
                    Some(reply) => Cause::Asked(reply),
                    None => return,
                },
                Some(()) = hints.next() => Cause::Hint,
                _ = resync.tick() => Cause::Resync,
            };
            let mut replies = Vec::new();
            match cause {
                Cause::Asked(reply) => replies.push(reply),
                Cause::Hint => tokio::time::sleep(BURST).await,
                Cause::Resync => self.look_at_host().await,
            }
            while let Ok(reply) = inbox.try_recv() {
                replies.push(reply);
            }
            self.look().await;
            if !replies.is_empty() {
                self.look_at_images().await;
            }
            for reply in replies {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
    }

    /// Containers, networks, volumes.
    async fn look(&self) {
        match self.observation().await {
            Ok(observation) => self.core.event(Event::Observed(observation)).await,
            Err(error) => tracing::warn!(%error, "cannot look at the engine"),
        }
    }

    async fn observation(&self) -> Result<Observation, EngineError> {
        let (containers, networks, volumes) = tokio::try_join!(
            self.engine.containers(),
            self.engine.networks(),
            self.engine.volumes()
        )?;
        let names: BTreeSet<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
        self.set_facts(|facts| facts.volumes = names).await;
        let app = |name: &str| AppName::from(name);
        Ok(Observation {
            containers,
            networks: networks.into_iter().map(|n| (n.name, app(&n.app))).collect(),
            volumes: volumes.into_iter().map(|v| (v.name, app(&v.app))).collect(),
        })
    }

    /// The engine itself, and its images.
    async fn look_at_host(&self) {
        let info = match self.engine.info().await {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(%error, "Docker does not answer");
                EngineInfo { version: String::new(), ..unknown_engine() }
            }
        };
        self.set_facts(|facts| {
            facts.engine_version.clone_from(&info.version);
            if !info.version.is_empty() {
                facts.platform.clone_from(&info.platform);
                facts.capacity = Capacity { cpu_millis: info.cpu_millis, memory: info.memory };
            }
        })
        .await;
        self.look_at_images().await;
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
            change(facts);
            *facts != before
        });
        if changed {
            let facts = self.facts.borrow().clone();
            self.core.event(Event::Facts(Box::new(facts))).await;
        }
    }
}

fn unknown_engine() -> EngineInfo {
    EngineInfo {
        version: String::new(),
        api_version: String::new(),
        platform: String::new(),
        cpu_millis: 0,
        memory: 0,
    }
}
