//! What is done to a cluster in a run, drawn from the seed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use muster::logic::Rng;
use muster::model::{
    AppName, Condition, ContainerSpec, Dependency, Deployment, EndpointMode, HostId, Intent, Mount,
    MountSource, NetworkSpec, Origin, Placement, Replicas, RestartPolicy, Revision, ServiceName,
    UpdatePolicy, VolumeSpec, WallSeconds,
};

use crate::checks::{converged, settled};
use crate::world::World;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Calm,
    Deaths,
    Partitions,
    Loss,
    AgentCrashes,
    Chaos,
}

/// How often each fault was really met; a run that meets none proves nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met {
    pub(crate) submits: u64,
    pub(crate) deaths: u64,
    pub(crate) moved: u64,
    pub(crate) partitions: u64,
    pub(crate) crashes: u64,
    pub(crate) lost: u64,
    pub(crate) events: u64,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Met) {
        self.submits += other.submits;
        self.deaths += other.deaths;
        self.moved += other.moved;
        self.partitions += other.partitions;
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.events += other.events;
    }

    /// Fails when a kind of run never met the fault it is about.
    pub(crate) fn require(&self, kind: Kind, seeds: u64) {
        let met = match kind {
            Kind::Calm => self.submits,
            Kind::Deaths => self.deaths.min(self.moved),
            Kind::Partitions => self.partitions,
            Kind::Loss => self.lost,
            Kind::AgentCrashes => self.crashes,
            Kind::Chaos => self.deaths.min(self.partitions).min(self.crashes).min(self.lost),
        };
        assert!(met > 0, "{kind:?}: {seeds} seeds met none of the faults they are about: {self}");
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} submits, {} deaths, {} replicas moved, {} partitions, {} agent crashes, \
             {} messages lost, {} events",
            self.submits,
            self.deaths,
            self.moved,
            self.partitions,
            self.crashes,
            self.lost,
            self.events
        )
    }
}

/// Time for a cluster to form and for anything to be repaired.
const LONG: Duration = Duration::from_secs(90);

/// One run. Panics, with the seed, when something that must hold does not.
pub(crate) fn run(kind: Kind, seed: u64, hosts: usize) -> Met {
    let told = Told { kind, seed, hosts };
    let mut run =
        Run { world: World::new(seed, hosts), rng: Rng::new(seed ^ 0xfa17), met: Met::default() };
    run.settle_hosts();
    run.up(&shop(3, "1"), "up");
    run.expect_settled("after the first up");
    match kind {
        Kind::Calm => run.calm(),
        Kind::Deaths => run.deaths(),
        Kind::Partitions => run.partitions(),
        Kind::Loss => run.loss(),
        Kind::AgentCrashes => run.crashes(),
        Kind::Chaos => run.chaos(),
    }
    run.met.lost = run.world.wires.lost;
    run.met.events = run.world.events;
    std::mem::forget(told);
    run.met
}

/// Says which run failed when it is dropped by a panic.
struct Told {
    kind: Kind,
    seed: u64,
    hosts: usize,
}

impl Drop for Told {
    fn drop(&mut self) {
        let Self { kind, seed, hosts } = self;
        println!("failed: {kind:?} with seed {seed} on {hosts} hosts");
        println!("replay: MUSTER_SIM_SEED={seed} MUSTER_SIM_SEEDS=1 MUSTER_SIM_HOSTS={hosts}");
    }
}

struct Run {
    world: World,
    rng: Rng,
    met: Met,
}

impl Run {
    fn app() -> AppName {
        AppName::from("shop")
    }

    fn settle_hosts(&mut self) {
        let n = self.world.hosts.len();
        let limit = self.world.now + LONG;
        let all = self.world.run_until(limit, |world| {
            world.running().all(|host| {
                let view = host.core.as_ref().map(|core| core.view().hosts.len());
                view == Some(n)
            })
        });
        assert!(all, "{n} hosts did not find each other");
    }

    /// Submits from some host until one takes it.
    fn up(&mut self, revision: &Revision, command: &str) {
        for _ in 0..100 {
            let at = self.rng.below(self.world.hosts.len() as u64) as usize;
            if self.world.submit(at, revision.clone(), command) {
                self.met.submits += 1;
                return;
            }
            self.world.run_for(Duration::from_millis(200));
        }
        panic!("nobody took `{command}`");
    }

    fn expect_settled(&mut self, when: &str) {
        let app = Self::app();
        let limit = self.world.now + LONG;
        // Two looks a while apart: settled must be where it stays, not a moment between two steps.
        for _ in 0..2 {
            let done = self.world.run_until(limit, |world| settled(world, &app));
            assert!(done, "not settled {when}: {}", self.describe());
            self.world.run_for(Duration::from_secs(3));
        }
        assert!(settled(&self.world, &app), "settled did not last {when}: {}", self.describe());
        converged(&self.world, &app);
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for host in &self.world.hosts {
            text += &format!("\n{} powered={} ", host.name, host.powered);
            if let Some(core) = &host.core {
                let detail = muster::agent::views::app(core, &Self::app(), WallSeconds(0));
                let plan = core.state().plan(&Self::app());
                text += &format!("plan={plan:?} detail={detail:?}");
            }
        }
        text
    }

    fn calm(&mut self) {
        for replicas in [5, 1, 4] {
            self.up(&shop(replicas, "1"), "scale");
            self.expect_settled("after scaling");
        }
        self.up(&shop(4, "2"), "up");
        let app = Self::app();
        // While the update runs, all but one of the old or new replicas serve.
        let limit = self.world.now + LONG;
        let mut least = u32::MAX;
        let done = self.world.run_until(limit, |world| {
            least = least.min(serving(world, &app));
            settled(world, &app)
        });
        assert!(done && least >= 3, "the update left {least} of 4 serving: {}", self.describe());
        self.expect_settled("after the update");
        self.up(&removed(), "down");
        self.expect_settled("after down");
        for host in self.world.running() {
            let left = host.engine.containers().expect("up").len()
                + host.engine.networks().expect("up").len();
            assert_eq!(left, 0, "{} keeps something after down", host.name);
        }
        self.up(&shop(2, "1"), "up");
        self.expect_settled("after the App came again");
    }

    fn deaths(&mut self) {
        let n = self.world.hosts.len() as u64;
        for _ in 0..2 {
            let victim = self.rng.below(n) as usize;
            let before = self.world.hosts[victim].engine.containers().expect("up").len() as u64;
            self.world.power_off(victim);
            self.met.deaths += 1;
            self.met.moved += before;
            // The database may be on the dead host: then it waits, and so the App does not settle.
            self.world.run_for(Duration::from_secs(20));
            self.expect_elsewhere(victim);
            self.world.power_on(victim);
            self.expect_settled("after the host came back");
        }
    }

    /// Every replica without data runs on a host that lives.
    fn expect_elsewhere(&self, dead: usize) {
        for host in self.world.running() {
            let core = host.core.as_ref().expect("it runs");
            let plan = core.state().plan(&Self::app()).expect("the App has a Plan");
            let web: Vec<_> =
                plan.assignments.iter().filter(|a| a.replica.service.as_str() == "web").collect();
            assert_eq!(web.len(), 3, "{} of 3 are planned: {}", web.len(), self.describe());
            for assignment in web {
                let lives = assignment.host != self.world.hosts[dead].id;
                let ready = core.view().serves(assignment);
                assert!(lives && ready, "{} is not back: {}", assignment.replica, self.describe());
            }
        }
    }

    fn partitions(&mut self) {
        let n = self.world.hosts.len();
        for _ in 0..2 {
            let mut order: Vec<usize> = (0..n).collect();
            self.rng.shuffle(&mut order);
            let (a, b) = order.split_at(1 + self.rng.below(n as u64 - 1) as usize);
            self.world.wires.partition(a, b);
            self.met.partitions += 1;
            self.world.run_for(Duration::from_secs(5 + self.rng.below(15)));
            // Both sides may be changed meanwhile.
            let (left, right) = (a[0], b[0]);
            if self.world.submit(left, shop(4, "left"), "up") {
                self.met.submits += 1;
            }
            if self.rng.below(2) == 0 && self.world.submit(right, shop(5, "right"), "up") {
                self.met.submits += 1;
            }
            self.world.run_for(Duration::from_secs(10));
            self.world.wires.cut.clear();
            self.expect_settled("after the partition healed");
            self.up(&shop(3, "1"), "up");
            self.expect_settled("after the conflict was resolved");
        }
    }

    fn loss(&mut self) {
        self.world.wires.loss = 100;
        self.world.wires.jitter = Duration::from_millis(40);
        let limit = self.world.now + Duration::from_secs(300);
        let dead = self.world.run_until(limit, |world| {
            world.running().any(|host| {
                let members = host.core.as_ref().expect("it runs").membership().members();
                members.values().any(|m| m.liveness == muster::model::Liveness::Dead)
            })
        });
        assert!(!dead, "a host that lives was called dead at 10 % loss");
        self.up(&shop(6, "2"), "up");
        self.expect_settled("at 10 % loss");
    }

    fn crashes(&mut self) {
        let n = self.world.hosts.len() as u64;
        for _ in 0..4 {
            let victim = self.rng.below(n) as usize;
            let before = ids(&self.world, victim);
            self.world.kill_agent(victim);
            self.met.crashes += 1;
            self.world.run_for(Duration::from_millis(200 + self.rng.below(2_000)));
            assert_eq!(before, ids(&self.world, victim), "a crash of the agent touched containers");
            self.world.start_agent(victim);
            self.expect_settled("after the agent came back");
        }
        // An agent may die at any step of an update.
        self.up(&shop(3, "2"), "up");
        for _ in 0..6 {
            let victim = self.rng.below(n) as usize;
            self.world.run_for(Duration::from_millis(self.rng.below(600)));
            self.world.kill_agent(victim);
            self.met.crashes += 1;
            self.world.run_for(Duration::from_millis(self.rng.below(1_500)));
            self.world.start_agent(victim);
        }
        self.expect_settled("after an update with crashes");
    }

    fn chaos(&mut self) {
        let n = self.world.hosts.len();
        self.world.wires.loss = 50;
        for round in 0..12 {
            let victim = self.rng.below(n as u64) as usize;
            match self.rng.below(5) {
                0 if self.world.hosts[victim].powered => {
                    self.world.power_off(victim);
                    self.met.deaths += 1;
                }
                1 if self.world.hosts[victim].core.is_some() => {
                    self.world.kill_agent(victim);
                    self.met.crashes += 1;
                }
                2 => {
                    let rest: Vec<usize> = (0..n).filter(|host| *host != victim).collect();
                    self.world.wires.partition(&[victim], &rest);
                    self.met.partitions += 1;
                }
                3 => {
                    let tag = format!("{round}");
                    if self.world.submit(victim, shop(2 + self.rng.below(5) as u32, &tag), "up") {
                        self.met.submits += 1;
                    }
                }
                _ => self.mend(),
            }
            self.world.run_for(Duration::from_millis(200 + self.rng.below(8_000)));
        }
        self.mend();
        self.world.wires.loss = 0;
        self.expect_settled("after everything was mended");
    }

    fn mend(&mut self) {
        self.world.wires.cut.clear();
        for index in 0..self.world.hosts.len() {
            if !self.world.hosts[index].powered {
                self.world.power_on(index);
            } else if self.world.hosts[index].core.is_none() {
                self.world.start_agent(index);
            }
        }
    }
}

fn ids(world: &World, host: usize) -> Vec<String> {
    let mut engine = world.hosts[host].engine.clone();
    engine.tick(world.now);
    engine.containers().expect("up").into_iter().map(|container| container.id).collect()
}

/// Replicas of `web` that some agent would send traffic to.
fn serving(world: &World, app: &AppName) -> u32 {
    let count = |host: &crate::world::SimHost| {
        let core = host.core.as_ref().expect("it runs");
        let view = core.view();
        let plan = core.state().plan(app).map(|plan| plan.assignments.clone());
        let web = plan.unwrap_or_default();
        web.iter().filter(|a| a.replica.service.as_str() == "web" && view.serves(a)).count() as u32
    };
    world.running().map(count).min().unwrap_or(0)
}

/// A web service in front of a database with a volume, as in the examples.
pub(crate) fn shop(replicas: u32, tag: &str) -> Revision {
    let web = ContainerSpec {
        image: "app:1".to_owned(),
        environment: BTreeMap::from([("TAG".to_owned(), tag.to_owned())]),
        ..ContainerSpec::default()
    };
    let data = Mount {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Volume { name: "data".to_owned(), nocopy: false, subpath: None },
    };
    let db =
        ContainerSpec { image: "db:1".to_owned(), mounts: vec![data], ..ContainerSpec::default() };
    let healthy = Dependency { condition: Condition::Healthy, required: true };
    let mut web = deployment(web, replicas);
    web.depends_on.insert(ServiceName::from("db"), healthy);
    let deployments = BTreeMap::from([
        (ServiceName::from("web"), web),
        (ServiceName::from("db"), deployment(db, 1)),
    ]);
    let network = NetworkSpec { name: "shop_default".to_owned(), ..NetworkSpec::default() };
    let volume = VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() };
    Revision {
        deployments,
        networks: BTreeMap::from([("default".into(), network)]),
        volumes: BTreeMap::from([("data".to_owned(), volume)]),
        ..removed_as(Intent::Run)
    }
}

fn removed() -> Revision {
    removed_as(Intent::Remove)
}

fn removed_as(intent: Intent) -> Revision {
    Revision {
        app: AppName::from("shop"),
        sequence: 0,
        parents: Vec::new(),
        intent,
        deployments: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        origin: Origin { host: HostId::from(""), command: String::new(), at: WallSeconds(0) },
    }
}

fn deployment(container: ContainerSpec, replicas: u32) -> Deployment {
    Deployment {
        replicas: Replicas::Count(replicas),
        container,
        depends_on: BTreeMap::new(),
        restart: RestartPolicy::Always,
        placement: Placement::default(),
        update: UpdatePolicy::default(),
        ports: Vec::new(),
        networks: BTreeMap::from([("default".into(), Default::default())]),
        endpoint_mode: EndpointMode::Vip,
    }
}
