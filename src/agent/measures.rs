//! Measures what this host's containers take, and reads whom it handed connections to: now and then by
//! itself, and at once when somebody wants to know. Keeps a short history; decides nothing by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::driver::CoreHandle;
use crate::api::{HandedOutTo, HostStats, ReplicaStats};
use crate::docker::Engine;
use crate::logic::addresses::service_range;
use crate::logic::core::Core;
use crate::logic::peak::Observed;
use crate::logic::usage::{History, Tally, Way, Whose};
use crate::model::{
    AppName, Container, ContainerState, Moment, Peak, ReplicaId, ServiceName, Usage,
};
use crate::network;
use crate::supervisor::Supervisor;

/// Time between two rounds when nobody asks. A round costs the daemon some milliseconds a container;
/// whoever asks gets the average since the last one.
const PERIOD: Duration = Duration::from_secs(10);
/// What was measured within this time is new enough for whoever asks.
const FRESH: Duration = Duration::from_secs(1);
/// The longest that whoever asks waits for a round.
const WAIT: Duration = Duration::from_secs(3);
/// The longest wait for one container: a daemon that hangs must not keep the others from being shown.
const EACH: Duration = Duration::from_secs(2);
/// Containers measured at a time, as many as are inspected.
const AT_ONCE: usize = 8;
/// Who wait for a round; all are answered by one.
const QUEUE: usize = 64;

/// What was measured; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Measures {
    kept: Arc<Mutex<Kept>>,
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// When the last round ended.
    last: Option<Instant>,
    /// By the engine's id.
    containers: BTreeMap<String, Measured>,
    tally: Tally,
    /// What replicas took, by service.
    observed: BTreeMap<(AppName, ServiceName), Observed>,
    /// When connections were read last.
    counted: Option<Moment>,
}

/// What a container takes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Taken {
    /// CPUs; none until it was measured twice.
    pub(super) cpus: Option<f64>,
    /// Bytes of memory.
    pub(super) memory: Option<f64>,
}

/// One running container.
#[derive(Debug)]
struct Measured {
    replica: ReplicaId,
    name: String,
    history: History<Usage>,
}

impl Measures {
    /// Starts to measure.
    pub(super) fn start<E: Engine>(
        engine: Arc<E>,
        core: CoreHandle,
        supervisor: &Supervisor,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let measures = Self { kept: Arc::default(), requests };
        let surveyor = Surveyor { engine, core, kept: Arc::clone(&measures.kept) };
        supervisor.spawn_until_stop("measures", surveyor.run(inbox));
        measures
    }

    /// Returns once there is something new, or it takes too long.
    pub(super) async fn refresh(&self) {
        if self.locked().last.is_some_and(|last| last.elapsed() < FRESH) {
            return;
        }
        let (reply, done) = oneshot::channel();
        if self.requests.try_send(reply).is_ok() {
            // What there is will do.
            let _ = timeout(WAIT, done).await;
        }
    }

    /// What is known of one App, or of all. `host` is this one's name.
    pub(super) fn of(&self, app: Option<&AppName>, host: &str) -> HostStats {
        let kept = self.locked();
        let is_wanted = |of: &AppName| app.is_none_or(|app| app == of);
        let containers = kept.containers.values().filter(|one| is_wanted(&one.replica.app));
        let services = kept.tally.services().filter(|((app, ..), ..)| is_wanted(app));
        let endpoints = kept.tally.replicas().filter(|(replica, _)| is_wanted(&replica.app));
        HostStats {
            replicas: containers.filter_map(|one| one.shown(host)).collect(),
            services: services
                .map(|((app, service, way), connections, per_second)| HandedOutTo {
                    app: app.clone(),
                    service: service.clone(),
                    by_port: *way == Way::Port,
                    connections,
                    per_second,
                })
                .collect(),
            endpoints: endpoints.map(|(replica, total)| (replica.clone(), total)).collect(),
        }
    }

    /// What a container took over the last `least`, by the engine's id. What was measured before `since`
    /// is too old.
    pub(super) fn taken(&self, container: &str, least: Duration, since: Moment) -> Taken {
        let kept = self.locked();
        let history = kept.containers.get(container).map(|one| &one.history);
        let history = history.filter(|h| h.latest().is_some_and(|(at, _)| at >= since));
        Taken {
            cpus: history.and_then(|h| h.rates_over(least)).map(|rates| rates.cpus),
            memory: history.and_then(History::latest).map(|(_, usage)| usage.memory as f64),
        }
    }

    /// What sufficed for a replica of a service here; none while too little was seen.
    pub(super) fn peak(&self, app: &AppName, service: &ServiceName) -> Option<Peak> {
        self.locked().observed.get(&(app.clone(), service.clone())).and_then(Observed::peak)
    }

    /// New connections a second that this host handed out to a Service, over the last `least`.
    pub(super) fn handed_out(
        &self,
        (app, service): (&AppName, &ServiceName),
        least: Duration,
        since: Moment,
    ) -> Option<f64> {
        let kept = self.locked();
        kept.counted.filter(|at| *at >= since)?;
        kept.tally.rate_of(app, service, least)
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        locked(&self.kept)
    }
}

fn locked(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // What a panic leaves half added is measured anew.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Measured {
    fn shown(&self, host: &str) -> Option<ReplicaStats> {
        let (_, usage) = self.history.latest()?;
        let rates = self.history.rates();
        Some(ReplicaStats {
            replica: self.replica.clone(),
            host: host.to_owned(),
            container: self.name.clone(),
            usage,
            cpus: rates.map(|rates| rates.cpus),
            received_per_second: rates.map(|rates| rates.received),
            sent_per_second: rates.map(|rates| rates.sent),
            connections: 0,
        })
    }
}

struct Surveyor<E> {
    engine: Arc<E>,
    core: CoreHandle,
    kept: Arc<Mutex<Kept>>,
}

impl<E: Engine> Surveyor<E> {
    async fn run(self, mut inbox: mpsc::Receiver<oneshot::Sender<()>>) {
        let mut next = Instant::now();
        loop {
            // Both are cancel-safe.
            let asked = tokio::select! {
                asked = inbox.recv() => match asked {
                    Some(reply) => Some(reply),
                    None => return,
                },
                () = sleep_until(next) => None,
            };
            let mut asked: Vec<_> = asked.into_iter().collect();
            while let Ok(reply) = inbox.try_recv() {
                asked.push(reply);
            }
            self.round().await;
            next = Instant::now() + PERIOD;
            for reply in asked {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
    }

    async fn round(&self) {
        // The core goes only when the agent stops.
        let Ok(Known { running, killed, whose }) = self.core.look(known).await else { return };
        // First, as connections come in while containers are measured.
        let counted = tokio::task::spawn_blocking(network::handed_out).await;
        let counted_at = self.core.now().moment;
        let measured: Vec<(Container, Moment, Usage)> = stream::iter(running.iter().cloned())
            .map(|container| self.measure(container))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let mut kept = locked(&self.kept);
        match counted {
            Ok(Ok(counted)) => {
                let counted: Vec<_> = counted
                    .into_iter()
                    .map(|one| (one.asked, one.endpoint, one.connections))
                    .collect();
                kept.tally.add(counted_at, &counted, &whose);
                kept.counted = Some(counted_at);
            }
            Ok(Err(error)) => tracing::debug!(%error, "connections cannot be counted now"),
            Err(error) => tracing::debug!(%error, "connections were not counted"),
        }
        kept.containers.retain(|id, _| running.iter().any(|container| container.id == *id));
        for (container, at, usage) in measured {
            let Container { id, name, replica, .. } = container;
            let history = History::default();
            let of_it = kept.containers.entry(id).or_insert(Measured { replica, name, history });
            of_it.history.add(at, usage);
            if let Some(rates) = of_it.history.rates_over(PERIOD) {
                let place = (of_it.replica.app.clone(), of_it.replica.service.clone());
                let observed = kept.observed.entry(place).or_default();
                observed.add(at, rates.cpus, usage.memory as f64);
            }
        }
        for (app, service, limit) in killed {
            kept.observed.entry((app, service)).or_default().add_killed(limit as f64);
        }
        kept.observed.retain(|(app, _), _| whose.apps.contains(app));
        kept.last = Some(Instant::now());
    }

    async fn measure(&self, container: Container) -> Option<(Container, Moment, Usage)> {
        let measured = timeout(EACH, self.engine.usage(&container.id)).await;
        match measured {
            Ok(Ok(usage)) => usage.map(|usage| (container, self.core.now().moment, usage)),
            Ok(Err(error)) => {
                tracing::debug!(replica = %container.replica, %error, "cannot be measured");
                None
            }
            Err(_) => {
                tracing::debug!(replica = %container.replica, "took too long to be measured");
                None
            }
        }
    }
}

/// What a round begins with.
struct Known {
    /// The containers that run here.
    running: Vec<Container>,
    /// Services of which one was killed for want of memory, and what it might hold.
    killed: Vec<(AppName, ServiceName, u64)>,
    /// Who has which address anywhere.
    whose: Whose,
}

fn known(core: &Core) -> Known {
    let containers = core.machine().seen().containers.iter();
    let killed = containers.clone().filter_map(|container| {
        let was_killed = matches!(container.state, ContainerState::Exited { oom_killed: true, .. });
        let ReplicaId { app, service, .. } = &container.replica;
        Some((app.clone(), service.clone(), container.limits.memory.filter(|_| was_killed)?))
    });
    let killed = killed.collect();
    let running = containers.filter(|container| container.state == ContainerState::Running);
    let view = core.view();
    let mut whose = Whose { range: Some(service_range(view.pool)), ..Whose::default() };
    whose.apps.extend(core.state().apps().cloned());
    for (app, plan) in &view.plans {
        let of_app = plan.addresses.iter();
        let of_app = of_app.map(|one| (one.address, ((*app).clone(), one.service.clone())));
        whose.services.extend(of_app);
    }
    for (_, status) in view.statuses() {
        let addresses = status.addresses.values();
        whose.replicas.extend(addresses.map(|address| (*address, status.replica.clone())));
    }
    Known { running: running.cloned().collect(), killed, whose }
}
