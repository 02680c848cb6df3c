//! Measures what the rules of services look at, and tells the core: each host its own replicas and the
//! connections it handed out, the host of a replica what a command in it writes, the Home what pages say.
//! Never decides how many replicas there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::driver::CoreHandle;
use super::measures::{Measures, Taken};
use super::numbers::{Source, fetch};
use crate::docker::Engine;
use crate::logic::autoscale::{Basis, aim, rounded, serving, with_rules};
use crate::logic::core::{Core, Event};
use crate::logic::vertical::with_sizes;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Autoscale, Bounds, ContainerState, Fetched, Generation, HttpUrl, Intent, Measured,
    MeasuredReplica, Moment, Peak, Plan, ReplicaId, Resources, Revision, ScaleMetric, ServiceName,
    Size, Vertical,
};
use crate::supervisor::Supervisor;

/// What is measured is told at least so often, and at most; a third of the time between two decisions.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(5);
/// Time between two looks for rules when there are none.
const IDLE: Duration = Duration::from_secs(2);
/// Measurements that failed so often in a row are too old to be told again.
const ROUNDS: u32 = 3;
/// Numbers that are fetched at a time.
const AT_ONCE: usize = 8;

/// Starts to measure for rules.
pub(super) fn start<E: Engine>(
    engine: Arc<E>,
    core: CoreHandle,
    measures: Measures,
    supervisor: &Supervisor,
) {
    let gauge = Gauge { engine, core, measures };
    supervisor.spawn_until_stop("scaling", gauge.run());
}

struct Gauge<E> {
    engine: Arc<E>,
    core: CoreHandle,
    measures: Measures,
}

/// What is to be measured here.
#[derive(Debug, Default)]
struct Wishes {
    /// Time between two rounds.
    every: Duration,
    replicas: Vec<Wish>,
    connections: Vec<(AppName, ServiceName, f64)>,
    numbers: Vec<Wanted>,
    /// Services with rules that have replicas here.
    here: Vec<(AppName, ServiceName)>,
}

/// A replica here whose use is looked at.
#[derive(Debug)]
struct Wish {
    replica: ReplicaId,
    generation: Generation,
    container: String,
    /// What is aimed at, where it is looked at.
    cpus: Option<f64>,
    memory: Option<f64>,
}

/// A number to fetch.
#[derive(Debug)]
struct Wanted {
    app: AppName,
    service: ServiceName,
    metric: ScaleMetric,
    aim: f64,
    source: Source,
}

impl<E: Engine> Gauge<E> {
    async fn run(self) {
        // Others may hold what the agent before said.
        let mut told = true;
        loop {
            // The core goes only when the agent stops.
            let Ok(wishes) = self.core.look(wishes).await else { return };
            if wishes.is_empty() {
                if std::mem::take(&mut told) {
                    self.core.event(Event::Measured(BTreeMap::new())).await;
                }
                sleep(IDLE).await;
                continue;
            }
            let every = wishes.every;
            let measured = self.round(wishes).await;
            told = true;
            self.core.event(Event::Measured(measured)).await;
            sleep(every).await;
        }
    }

    async fn round(&self, wishes: Wishes) -> BTreeMap<AppName, Measured> {
        let Wishes { every, replicas, connections, numbers, here } = wishes;
        let mut all: BTreeMap<AppName, Measured> = BTreeMap::new();
        if !(replicas.is_empty() && connections.is_empty()) {
            self.measures.refresh().await;
        }
        let now = self.core.now().moment;
        let age = u64::try_from((every * ROUNDS).as_millis()).unwrap_or(u64::MAX);
        let since = Moment(now.0.saturating_sub(age));
        for wish in replicas {
            let taken = self.measures.taken(&wish.container, every, since);
            let one = measured(&wish, taken);
            all.entry(wish.replica.app).or_default().replicas.push(one);
        }
        for (app, service, aim) in connections {
            let rate = self.measures.handed_out((&app, &service), every, since);
            if let Some(rate) = rate {
                all.entry(app).or_default().connections.insert(service, rounded(rate, aim));
            }
        }
        for (app, service) in here {
            if let Some(Peak { cpus, memory }) = self.measures.peak(&app, &service) {
                let peak = Peak { cpus: rounded(cpus, cpus), memory: rounded(memory, memory) };
                all.entry(app).or_default().peaks.insert(service, peak);
            }
        }
        let fetched = stream::iter(numbers).map(async |wanted| {
            let fetched = fetch(&*self.engine, &wanted.metric, &wanted.source).await;
            (wanted, fetched)
        });
        let fetched: Vec<_> = fetched.buffer_unordered(AT_ONCE).collect().await;
        for (Wanted { app, service, metric, aim, source: _ }, fetched) in fetched {
            let fetched = match fetched {
                Fetched::Number(number) => Fetched::of(rounded(number, aim)),
                Fetched::Failed(reason) => Fetched::Failed(reason),
            };
            let numbers = &mut all.entry(app).or_default().numbers;
            numbers.entry(service).or_default().insert(metric.key(), fetched);
        }
        all
    }
}

impl Wishes {
    fn is_empty(&self) -> bool {
        let Self { every: _, replicas, connections, numbers, here } = self;
        [replicas.is_empty(), connections.is_empty(), numbers.is_empty(), here.is_empty()]
            == [true; 4]
    }
}

fn measured(wish: &Wish, taken: Taken) -> MeasuredReplica {
    let part = |taken: Option<f64>, aim: Option<f64>| Some(rounded(taken?, aim?));
    MeasuredReplica {
        replica: wish.replica.clone(),
        generation: wish.generation,
        cpus: part(taken.cpus, wish.cpus),
        memory: part(taken.memory, wish.memory),
    }
}

/// Whether anything of it follows what is measured.
fn is_measured(revision: &Revision) -> bool {
    with_rules(revision).next().is_some() || with_sizes(revision).next().is_some()
}

/// What this host has to measure for all rules.
fn wishes(core: &Core) -> Wishes {
    let mut wishes = Wishes { every: SELDOM, ..Wishes::default() };
    let state = core.state();
    // Most clusters have no rules; then nothing else is looked at.
    let apps: Vec<&AppName> = state
        .apps()
        .filter(|app| {
            let revision = state.winner(app).filter(|winner| winner.intent == Intent::Run);
            revision.is_some_and(|revision| is_measured(revision))
        })
        .collect();
    if apps.is_empty() {
        return wishes;
    }
    let view = core.view();
    for app in apps {
        let Some(revision) = state.winner(app) else { continue };
        let plan = view.plans.get(app).copied();
        let scene = Scene { core, view: &view, app, revision, plan };
        let sized = with_sizes(revision).map(|(service, ..)| service);
        let all: BTreeSet<_> = with_rules(revision).map(|(s, ..)| s).chain(sized).collect();
        for service in all {
            scene.add(service, &mut wishes);
        }
    }
    wishes
}

/// One App.
struct Scene<'a> {
    core: &'a Core,
    view: &'a ClusterView<'a>,
    app: &'a AppName,
    revision: &'a Revision,
    plan: Option<&'a Plan>,
}

impl Scene<'_> {
    fn add(&self, service: &ServiceName, wishes: &mut Wishes) {
        let deployment = &self.revision.deployments[service];
        let (rules, vertical) = (deployment.autoscale.as_ref(), deployment.vertical);
        let intervals = [rules.map(Autoscale::interval), vertical.map(|one| one.interval())];
        for interval in intervals.into_iter().flatten() {
            wishes.every = wishes.every.min((interval / 3).max(OFTEN));
        }
        let resources = &deployment.container.resources;
        let basis = Basis::of(resources);
        let of = |metric: &ScaleMetric| {
            let rule = rules?.rules.iter().find(|rule| rule.metric == *metric)?;
            basis.aim(rule)
        };
        let given = vertical.map(|vertical| self.given(service, resources, vertical));
        let cpus = of(&ScaleMetric::Cpu).or(given.map(|given| given.cpus));
        let memory = of(&ScaleMetric::Memory).or(given.map(|given| given.memory));
        let here = self.core.machine().seen().containers.iter().filter(|container| {
            let replica = &container.replica;
            replica.app == *self.app
                && replica.service == *service
                && container.state == ContainerState::Running
        });
        if here.clone().next().is_some() {
            wishes.here.push((self.app.clone(), service.clone()));
        }
        if cpus.is_some() || memory.is_some() {
            wishes.replicas.extend(here.map(|container| Wish {
                replica: container.replica.clone(),
                generation: container.generation,
                container: container.id.clone(),
                cpus,
                memory,
            }));
        }
        if let Some(aim) = of(&ScaleMetric::Connections) {
            wishes.connections.push((self.app.clone(), service.clone(), aim));
        }
        for rule in rules.iter().flat_map(|rules| &rules.rules) {
            if let Some(source) = self.source(service, &rule.metric) {
                wishes.numbers.push(Wanted {
                    app: self.app.clone(),
                    service: service.clone(),
                    metric: rule.metric.clone(),
                    aim: aim(rule),
                    source,
                });
            }
        }
    }

    /// What replicas are given: as that is what is aimed at, what is taken is told in parts of it.
    fn given(&self, service: &ServiceName, file: &Resources, vertical: Vertical) -> Peak {
        let given = self.plan.map(|plan| plan.size(service)).unwrap_or_default();
        let given = given.or(Size::of(file));
        let most = |given: Option<u64>, bounds: Option<Bounds>, else_: u64| {
            given.or(bounds.map(|bounds| bounds.max)).unwrap_or(else_) as f64
        };
        Peak {
            cpus: most(given.cpu_millis, vertical.cpu_millis, 1_000) / 1_000.0,
            memory: most(given.memory, vertical.memory, 256 << 20),
        }
    }

    /// Where this host gets a number; none when another one does.
    fn source(&self, service: &ServiceName, metric: &ScaleMetric) -> Option<Source> {
        match metric {
            ScaleMetric::Cpu | ScaleMetric::Memory | ScaleMetric::Connections => None,
            ScaleMetric::Prometheus { url, .. } | ScaleMetric::Json { url, .. } => {
                let is_mine = self.core.home(self.app) == self.core.me();
                is_mine.then(|| self.pages(service, url))
            }
            ScaleMetric::Exec { service: of, command } => self.command(of, command),
        }
    }

    /// A name of a service means its replicas. Of the service itself all are asked, as each may tell of
    /// its own part; of another one the first, as its replicas may tell of the same thing.
    fn pages(&self, service: &ServiceName, url: &str) -> Source {
        let url = match HttpUrl::parse(url) {
            Ok(url) => url,
            Err(reason) => return Source::Nowhere(reason.to_owned()),
        };
        let Some(named) = self.named(&url.host) else {
            return Source::Pages { url, of: Vec::new() };
        };
        let mut of: Vec<IpAddr> = self.addresses(named);
        if of.is_empty() {
            return Source::Nowhere(format!("no replica of `{named}` is ready"));
        }
        if named != service {
            of.truncate(1);
        }
        Source::Pages { url, of }
    }

    /// The service of the App that a name means: its own name, with or without that of the App, or
    /// another one that it has on a network.
    fn named(&self, host: &str) -> Option<&ServiceName> {
        let bare = host.strip_suffix(".internal").unwrap_or(host);
        let bare = bare.strip_suffix(&format!(".{}", self.app)).unwrap_or(bare);
        let has = |(name, deployment): &(&ServiceName, &crate::model::Deployment)| {
            let mut aliases = deployment.networks.values().flat_map(|network| &network.aliases);
            name.as_str() == bare || aliases.any(|alias| alias == host)
        };
        self.revision.deployments.iter().find(has).map(|(name, _)| name)
    }

    fn addresses(&self, service: &ServiceName) -> Vec<IpAddr> {
        let serving = self.plan.map(|plan| serving(self.view, plan, service)).unwrap_or_default();
        let address = |assignment| self.view.status(assignment)?.addresses.values().next().copied();
        serving.into_iter().filter_map(address).map(IpAddr::V4).collect()
    }

    /// The host of the first replica runs it.
    fn command(&self, of: &ServiceName, command: &[String]) -> Option<Source> {
        let serving = self.plan.map(|plan| serving(self.view, plan, of)).unwrap_or_default();
        let Some(first) = serving.first() else {
            let is_mine = self.core.home(self.app) == self.core.me();
            return is_mine.then(|| Source::Nowhere(format!("no replica of `{of}` is ready")));
        };
        if first.host != *self.core.me() {
            return None;
        }
        let seen = &self.core.machine().seen().containers;
        let container = seen.iter().find(|container| {
            container.replica == first.replica
                && container.generation == first.generation
                && container.state == ContainerState::Running
        })?;
        Some(Source::Command { container: container.id.clone(), command: command.to_vec() })
    }
}

#[cfg(test)]
mod tests;
