//! Hosts that a Provider adds and takes back: a cloud that makes one machine a number, or fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster::logic::core::Event;
use muster::logic::fleet::{Ask, Reply, Verb};
use muster::model::{HostId, PROVIDER_LABEL, Provider, Resources, Revision};

use crate::apps::{images, shop};
use crate::disk::Disk;
use crate::run::Run;
use crate::world::{Item, SimHost, World};

const PROGRAM: &str = "/etc/muster/provider";
/// How long the program takes to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a machine takes until its agent joins.
const BOOT: Duration = Duration::from_secs(20);

/// What a Provider does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// What it is asked for.
    #[default]
    Works,
    /// It says no.
    Refuses,
    /// It says yes, and nothing comes of it.
    Lies,
    /// Nobody understands what it says.
    Babbles,
}

/// A machine that somebody asked for.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// Who issued the token it has last.
    issuer: usize,
    /// The host that it became.
    host: Option<usize>,
}

/// Where machines come from.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    /// The program, once there is one on all hosts.
    pub(crate) program: Option<String>,
    mood: Mood,
    machines: BTreeMap<u64, Machine>,
    /// Who asked what, call by call.
    asked: Vec<(usize, Verb, Option<u64>)>,
}

impl Cloud {
    fn asked(&self, verb: Verb) -> usize {
        self.asked.iter().filter(|(_, one, _)| *one == verb).count()
    }
}

impl World {
    /// Runs the program on a host.
    pub(crate) fn provide(&mut self, host: usize, ask: Ask) {
        self.cloud.asked.push((host, ask.verb, ask.machine));
        let reply = match (self.cloud.mood, ask.verb, ask.machine) {
            (Mood::Refuses, ..) => {
                Reply::Refused { reason: "no machines left".to_owned(), retry_after: None }
            }
            (Mood::Babbles, ..) => Reply::Unclear("it said NaN".to_owned()),
            (Mood::Works, Verb::Add, Some(machine)) => {
                let known = self.cloud.machines.entry(machine);
                known.or_insert(Machine { issuer: host, host: None }).issuer = host;
                self.put(BOOT, Item::Boot { machine });
                Reply::Accepted(BTreeSet::new())
            }
            (Mood::Works | Mood::Lies, Verb::Remove, Some(machine)) => {
                let gone = self.cloud.machines.remove(&machine).and_then(|gone| gone.host);
                if let Some(host) = gone {
                    self.power_off(host);
                    // It is no death that anybody has to bear.
                    self.met.deaths -= 1;
                }
                Reply::Accepted(BTreeSet::new())
            }
            (Mood::Works | Mood::Lies, Verb::Add | Verb::Remove, _) => {
                Reply::Accepted(BTreeSet::new())
            }
            (Mood::Works | Mood::Lies, Verb::List, _) => {
                Reply::Accepted(self.cloud.machines.keys().copied().collect())
            }
        };
        let life = self.hosts[host].life;
        self.put(ANSWER, Item::Provided { host, life, ask: Box::new(ask), reply });
    }

    /// A machine is up and joins, if whoever issued its token is there.
    pub(crate) fn boot(&mut self, machine: u64) {
        let Some(known) = self.cloud.machines.get(&machine).copied() else { return };
        if known.host.is_some() || self.hosts[known.issuer].core.is_none() {
            return;
        }
        let index = self.hosts.len();
        let mut host = SimHost::new(index, self.pool);
        host.labels.insert(PROVIDER_LABEL.to_owned(), machine.to_string());
        for (reference, image) in images() {
            host.engine.add_image(reference, image);
        }
        let issuer = &self.hosts[known.issuer];
        let known_there = issuer.core.iter().flat_map(|core| core.membership().members());
        let mut peers: Vec<_> =
            known_there.map(|(id, member)| (id.clone(), member.address)).collect();
        peers.push((issuer.id.clone(), issuer.address));
        host.disk = Disk::of(&peers);
        let (id, address) = (host.id.clone(), host.address);
        self.index.insert(id.clone(), index);
        self.hosts.push(host);
        if let Some(known) = self.cloud.machines.get_mut(&machine) {
            known.host = Some(index);
        }
        self.met.machines += 1;
        self.event(known.issuer, Event::Joined(id, address));
        self.start_agent(index);
    }
}

/// The shop whose `web` reserves half a host for each replica.
fn hungry(replicas: u32) -> Revision {
    let mut revision = shop(replicas, "1");
    let web = revision.deployments.get_mut(&"web".into()).expect("the shop has one");
    web.container.resources = Resources { cpu_reserved_millis: 2000, ..Resources::default() };
    revision
}

/// How many replicas have room on so many hosts.
fn room(hosts: usize) -> u32 {
    2 * hosts as u32
}

/// Sets the Provider, which all hosts have, when replicas run that reserve something.
fn begin(run: &mut Run, change: impl FnOnce(&mut Provider)) {
    run.up(&hungry(2), "up");
    run.expect_settled("with reservations");
    run.world.cloud.program = Some(PROGRAM.to_owned());
    for host in 0..run.n() {
        run.world.event(host, Event::Provides(Some(PROGRAM.to_owned())));
    }
    let mut provider = Provider {
        number: 1,
        command: Some(PROGRAM.to_owned()),
        hosts_max: run.n() as u32 + 4,
        pending_ms: 20_000,
        empty_ms: 120_000,
        pause_ms: 20_000,
        join_ms: 120_000,
        ..Provider::default()
    };
    change(&mut provider);
    let at = run.any();
    run.world.event(at, Event::Provider(provider));
}

/// What somebody who runs knows of the problem.
fn problem(run: &Run) -> String {
    let fleets = run.world.running().filter_map(|host| host.core.as_ref()?.state().fleet());
    let last = fleets.max_by_key(|fleet| fleet.number);
    last.and_then(|fleet| fleet.problem.clone()).unwrap_or_default()
}

fn wait_for(run: &mut Run, what: &str, limit: Duration, done: impl FnMut(&World) -> bool) {
    let found = run.world.wait_for(limit, done).is_some();
    assert!(found, "{what}: {:?} {}", run.world.cloud, run.describe());
}

const LONG: Duration = Duration::from_secs(900);

/// Replicas have no room; whoever asks for a host dies, at any moment until that is there.
pub(crate) fn grows(run: &mut Run) {
    begin(run, |_| {});
    let before = run.n();
    run.up(&hungry(room(before) + 1), "up");
    wait_for(run, "a machine is asked for", LONG, |world| world.cloud.asked(Verb::Add) > 0);
    let (decider, ..) = run.world.cloud.asked[0];
    let wait = run.millis(0, 25_000);
    run.world.run_for(wait);
    run.world.kill_agent(decider);
    run.world.met.homes_killed += 1;
    // Long enough for others to take over, too short for its replicas to be placed elsewhere.
    let wait = run.millis(1_000, 8_000);
    run.world.run_for(wait);
    run.world.start_agent(decider);
    run.expect_settled("with a host more");
    assert_eq!(run.world.met.machines, 1, "one was enough: {:?}", run.world.cloud);
    let numbers = run.world.cloud.asked.iter().filter(|(_, verb, _)| *verb == Verb::Add);
    assert!(numbers.clone().all(|(.., number)| *number == Some(1)), "{:?}", run.world.cloud);
    run.world.run_for(LONG);
    assert_eq!(run.world.met.machines, 1, "{:?}", run.world.cloud);

    run.up(&hungry(2), "scale");
    wait_for(run, "the machine is given back", LONG, |world| world.cloud.machines.is_empty());
    run.expect_settled("with the old hosts");
    let gone: Vec<HostId> = run.world.hosts[before..].iter().map(|host| host.id.clone()).collect();
    for host in run.world.running() {
        let core = host.core.as_ref().expect("it runs");
        assert!(gone.iter().all(|id| core.state().is_removed(id)), "{} keeps it", host.name);
    }
    assert_eq!(run.world.running().count(), before, "nobody else was taken back");
}

/// Replicas swing around what there is room for, faster than hosts are taken back.
pub(crate) fn swings(run: &mut Run) {
    begin(run, |provider| provider.empty_ms = 600_000);
    let (before, period) = (run.n(), 240.0);
    let middle = f64::from(room(before));
    for step in 0..96_u32 {
        let turn = f64::from(step) * 25.0 / period * std::f64::consts::TAU;
        let replicas = (middle + 3.0 * turn.sin()).round() as u32;
        run.up(&hungry(replicas), "scale");
        run.world.run_for(Duration::from_secs(25));
    }
    let machines = run.world.met.machines;
    assert!((1..=2).contains(&machines), "three more need two hosts: {:?}", run.world.cloud);
    assert_eq!(run.world.cloud.asked(Verb::Remove), 0, "it swings still: {:?}", run.world.cloud);
}

/// A Provider that fails in each way for long, and then works.
pub(crate) fn fails(run: &mut Run) {
    begin(run, |_| {});
    let before = run.n();
    run.up(&hungry(room(before) + 1), "up");
    for mood in [Mood::Refuses, Mood::Lies, Mood::Babbles] {
        run.world.cloud.mood = mood;
        run.world.cloud.asked.clear();
        run.world.run_for(Duration::from_secs(5400));
        let asked = run.world.cloud.asked.len();
        assert!((3..=14).contains(&asked), "{mood:?}: asked {asked} times in 90 min");
        assert!(!problem(run).is_empty(), "{mood:?}: nobody says why");
    }
    assert_eq!(run.world.met.machines, 0);
    run.world.cloud.mood = Mood::Works;
    wait_for(run, "it joins at last", Duration::from_secs(7200), |world| world.met.machines > 0);
    run.expect_settled("with a host more");
    assert_eq!(problem(run), "");
    assert_eq!(run.world.met.machines, 1, "{:?}", run.world.cloud);
}

/// Both sides of a partition lack room.
pub(crate) fn partition(run: &mut Run) {
    begin(run, |_| {});
    let before = run.n();
    run.up(&hungry(room(before) + 1), "up");
    let wait = run.millis(0, 50_000);
    run.world.run_for(wait);
    let (a, b) = run.two_parts();
    run.world.wires.partition(&a, &b);
    run.world.met.partitions += 1;
    let wait = run.millis(5_000, 60_000);
    run.world.run_for(wait);
    run.world.wires.cut.clear();
    run.world.run_for(LONG);
    run.expect_settled("after the heal");
    let running = run.world.running().count();
    let made = run.world.met.machines as usize;
    assert!(running - before >= 1 && made <= 2, "{:?}", run.world.cloud);
    // Who is there is who the cloud has, and nobody was taken away who was needed.
    let there = run.world.cloud.machines.values().filter(|machine| machine.host.is_some()).count();
    assert_eq!(running - before, there, "{:?}", run.world.cloud);
}
