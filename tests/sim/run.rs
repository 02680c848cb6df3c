//! One run: a cluster that was brought up, and what a scenario does to it and expects of it.

use std::time::Duration;

use muster::logic::Rng;
use muster::model::{AppName, Assignment, Liveness, Revision, WallSeconds};

use crate::apps::{images, registry, shop, shop_name};
use crate::checks::{agree, converged, serving, settled};
use crate::met::Met;
use crate::world::World;

/// Time for a cluster to form and for anything to be repaired.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Time between two looks at all there is, when nobody measures how long it takes.
const SELDOM: Duration = Duration::from_millis(250);

/// One run.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) rng: Rng,
}

/// A scenario: what is done in a run. Panics when something that must hold does not.
pub(crate) type Scenario = fn(&mut Run);

/// Makes one run. Panics, with the seed, when something that must hold does not.
pub(crate) fn run(name: &'static str, scenario: Scenario, seed: u64, hosts: usize) -> Met {
    let told = Told { name, seed, hosts };
    let mut run = Run::begin(seed, hosts);
    scenario(&mut run);
    std::mem::forget(told);
    let mut met = run.world.met;
    met.lost = run.world.wires.lost;
    met.duplicated = run.world.wires.duplicated;
    met.overtaken = run.world.wires.overtaken;
    met.records_lost = run.world.hosts.iter().map(|host| host.disk.lost).sum();
    met.damaged = run.world.hosts.iter().map(|host| host.disk.damaged).sum();
    met
}

/// Prints what a core spends on each kind of event: while many replicas come up, and when idle.
pub(crate) fn measure(hosts: usize, replicas: u32) {
    let world = World::new(1, hosts, &images(), &registry());
    let mut run = Run { world, rng: Rng::new(1) };
    run.settle_hosts();
    run.up(&shop(replicas, "1"), "up");
    run.expect_settled("with many replicas");
    print("while they come up", &mut run.world);
    run.world.run_for(Duration::from_secs(20));
    let busy: Duration = run.world.spent.values().map(|(_, spent)| *spent).sum();
    print("idle for 20 s", &mut run.world);
    let share = busy.as_secs_f64() / 20.0 / hosts as f64 * 100.0;
    println!("idle: {share:.3} % of one CPU for a host of {hosts}, {replicas} replicas");
}

fn print(when: &str, world: &mut World) {
    println!("{when}:");
    for (kind, (count, spent)) in std::mem::take(&mut world.spent) {
        println!(
            "  {count:>8} {kind:<10} {:>9.1} us each",
            spent.as_secs_f64() * 1e6 / f64::from(count)
        );
    }
}

/// Says which run failed when it is dropped by a panic.
struct Told {
    name: &'static str,
    seed: u64,
    hosts: usize,
}

impl Drop for Told {
    fn drop(&mut self) {
        let Self { name, seed, hosts } = self;
        println!("failed: {name} with seed {seed} on {hosts} hosts");
        println!("replay: make sim SEEDS=1 SEED={seed} HOSTS={hosts}");
        println!(
            "    or: MUSTER_SIM_SEEDS=1 MUSTER_SIM_SEED={seed} MUSTER_SIM_HOSTS={hosts} \
             cargo test -p muster --test sim {name}"
        );
    }
}

impl Run {
    /// A cluster that runs the App.
    pub(crate) fn begin(seed: u64, hosts: usize) -> Self {
        let world = World::new(seed, hosts, &images(), &registry());
        let mut run = Self { world, rng: Rng::new(seed ^ 0xfa17) };
        run.settle_hosts();
        run.up(&shop(3, "1"), "up");
        run.expect_settled("after the first up");
        run
    }

    pub(crate) fn n(&self) -> usize {
        self.world.hosts.len()
    }

    /// Some host.
    pub(crate) fn any(&mut self) -> usize {
        let n = self.n() as u64;
        self.rng.below(n) as usize
    }

    /// All hosts, in some order.
    pub(crate) fn shuffled(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.n()).collect();
        self.rng.shuffle(&mut order);
        order
    }

    /// All hosts in two parts, neither of them empty.
    pub(crate) fn two_parts(&mut self) -> (Vec<usize>, Vec<usize>) {
        let mut one = self.shuffled();
        let at = 1 + self.rng.below(self.n() as u64 - 1) as usize;
        let other = one.split_off(at);
        (one, other)
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.rng.below(most - least))
    }

    fn settle_hosts(&mut self) {
        let n = self.n();
        let limit = self.world.now + LONG;
        // Nobody is forgotten meanwhile, so who has found all need not be asked again: of hundreds
        // of hosts that would take most of the time.
        let mut found = 0;
        let all = self.world.run_until(limit, |world| {
            let mut rest = world.running().skip(found);
            let behind = rest.position(|host| {
                let view = host.core.as_ref().map(|core| core.view().hosts.len());
                view != Some(n)
            });
            found += behind.unwrap_or_default();
            behind.is_none()
        });
        assert!(all, "{n} hosts did not find each other");
    }

    /// Submits from some host until one takes it.
    pub(crate) fn up(&mut self, revision: &Revision, command: &str) {
        for _ in 0..100 {
            let at = self.any();
            if self.world.submit(at, revision.clone(), command) {
                return;
            }
            self.world.run_for(Duration::from_millis(200));
        }
        panic!("nobody took `{command}`");
    }

    pub(crate) fn expect_settled(&mut self, when: &str) {
        let app = shop_name();
        // Two looks a while apart: settled must be where it stays, not a moment between two steps.
        for _ in 0..2 {
            let done = self.world.wait_for_by(SELDOM, LONG, |world| settled(world, &app)).is_some();
            assert!(done, "not settled {when}: {}", self.describe());
            self.world.run_for(Duration::from_secs(4));
        }
        assert!(settled(&self.world, &app), "settled did not last {when}: {}", self.describe());
        let agreed = self.world.wait_for(Duration::from_secs(5), agree).is_some();
        assert!(agreed, "the hosts hold different things {when}: {}", self.describe());
        converged(&self.world, &app);
    }

    /// The same while the agent of a host that was removed runs: nobody else minds it.
    pub(crate) fn expect_settled_beside(&mut self, removed: usize, when: &str) {
        let core = self.world.hosts[removed].core.take();
        self.expect_settled(when);
        self.world.hosts[removed].core = core;
    }

    /// All hold the same within 5 s of virtual time after a heal.
    pub(crate) fn expect_agreement(&mut self, when: &str) {
        let limit = Duration::from_secs(if self.n() > 10 { 8 } else { 5 });
        let took = self.world.wait_for(limit, agree);
        let took = took.unwrap_or_else(|| panic!("no agreement {when}: {}", self.describe()));
        self.world.met.heal = self.world.met.heal.max(took);
    }

    /// Runs for so many seconds; after none of them is a host dead in the eyes of another.
    #[track_caller]
    pub(crate) fn expect_all_alive(&mut self, seconds: u64, when: &str) {
        for _ in 0..seconds {
            self.world.run_for(Duration::from_secs(1));
            let dead = self.world.called_dead();
            assert!(dead.is_empty(), "called dead {when}, by whom and who: {dead:?}");
        }
    }

    /// Runs for so long; on no host that runs do fewer of `web` ever serve.
    pub(crate) fn expect_serving(&mut self, least: u32, time: Duration, when: &str) {
        let (app, limit) = (shop_name(), self.world.now + time);
        let mut found = None;
        let below = self.world.run_until(limit, |world| {
            let mut hosts = (0..world.hosts.len()).filter(|host| world.hosts[*host].core.is_some());
            found = hosts.find(|host| serving(world, *host, &app) < least);
            found.is_some()
        });
        if let Some(host) = found.filter(|_| below) {
            let now = serving(&self.world, host, &app);
            let (name, at) = (self.world.hosts[host].name.clone(), self.world.now);
            panic!("{now} serve {when} on {name} at {at:?}: {}", self.describe());
        }
    }

    pub(crate) fn web(&self) -> Vec<Assignment> {
        let host = self.world.running().next().expect("some agent runs");
        let core = host.core.as_ref().expect("it runs");
        let plan = core.state().plan(&shop_name()).expect("the App has a Plan");
        let web = plan.assignments.iter().filter(|a| a.replica.service.as_str() == "web");
        web.filter(|a| !a.outgoing).cloned().collect()
    }

    /// Kills the agent of some host within `most` milliseconds, and starts it again within 1.5 s.
    pub(crate) fn crash_an_agent(&mut self, most: u64) {
        let victim = self.any();
        let wait = self.millis(0, most);
        self.world.run_for(wait);
        self.world.kill_agent(victim);
        let wait = self.millis(0, 1_500);
        self.world.run_for(wait);
        self.world.start_agent(victim);
    }

    /// Cuts the power of a host and expects what follows: all know of it, no traffic goes there,
    /// and its replicas without data run elsewhere.
    pub(crate) fn lose_power(&mut self, victim: usize) {
        let id = self.world.hosts[victim].id.clone();
        let wanted = self.web().len();
        self.world.met.moved += self.web().iter().filter(|a| a.host == id).count() as u64;
        self.world.power_off(victim);
        let died = self.world.now;
        let large = self.n() > 10;
        let limit = Duration::from_secs(if large { 6 } else { 4 });
        let knows = |world: &World, worst: Liveness| {
            let said = |host: &crate::world::SimHost| {
                host.core.as_ref().map(|core| core.membership().liveness(&id))
            };
            world.running().all(|host| said(host).is_some_and(|liveness| liveness >= worst))
        };
        let took = self.world.wait_for(limit, |world| knows(world, Liveness::Dead));
        let took = took.unwrap_or_else(|| panic!("not all know of a death: {}", self.describe()));
        self.world.met.detect = self.world.met.detect.max(took);
        self.expect_no_traffic_to(victim);
        let elsewhere = |world: &World| {
            world.running().all(|host| {
                let core = host.core.as_ref().expect("it runs");
                let view = core.view();
                let plan = view.plans.get(&shop_name());
                let assignments = plan.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
                let web = assignments.iter().filter(|a| a.replica.service.as_str() == "web");
                web.filter(|a| a.host != id && view.serves(a)).count() == wanted
            })
        };
        let rest = Duration::from_secs(10).saturating_sub(self.world.now.since(died));
        let done = self.world.wait_for(rest, elsewhere).is_some();
        assert!(done, "not all run elsewhere: {}", self.describe());
        let took = self.world.now.since(died);
        self.world.met.failover = self.world.met.failover.max(took);
    }

    /// No host that runs sends packets to a host that lost its power.
    fn expect_no_traffic_to(&self, dead: usize) {
        let slice = self.world.hosts[dead].slice;
        for host in self.world.running() {
            let services = host.network.iter().flat_map(|network| network.services.values());
            let there = services.flatten().find(|address| slice.contains(*address));
            assert_eq!(there, None, "{} sends packets to a dead host", host.name);
        }
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = format!("at {:?}", self.world.now);
        for host in &self.world.hosts {
            text += &format!("\n{} {} powered={} ", host.name, host.id, host.powered);
            if let Some(core) = &host.core {
                let members = core.membership().members().iter();
                let members: Vec<_> =
                    members.map(|(id, m)| (id.as_str(), m.liveness, m.incarnation)).collect();
                let detail = muster::agent::views::app(core, &shop_name(), WallSeconds(0));
                let plan = core.state().plan(&shop_name());
                text += &format!("members={members:?}\n  plan={plan:?}\n  detail={detail:?}");
            }
            let containers = host.engine.truth(self.world.now);
            let containers = containers.iter().map(|c| {
                format!("\n  {} {} {:?} {:?}", c.replica, c.generation, c.state, c.health)
            });
            text += &containers.collect::<String>();
        }
        text
    }

    /// The App's name.
    pub(crate) fn app() -> AppName {
        shop_name()
    }
}
