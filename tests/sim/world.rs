//! All hosts of one run, and the heap of what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use muster::agent::preview::{Wish, next_revision};
use muster::api::Decided;
use muster::docker::EngineInfo;
use muster::docker::fake::{FakeHost, FakeImage};
use muster::logic::addresses::nth_slice;
use muster::logic::core::{Core, Effect, Event, Now, Start};
use muster::logic::fleet::{Ask, Reply};
use muster::logic::health::{Answer, ProbeId};
use muster::logic::membership::Timing;
use muster::logic::operation::OperationId;
use muster::logic::{Delta, Message, Rng};
use muster::model::{
    AppName, Availability, Capacity, Container, ContainerState, Generation, Health, HostFacts,
    HostId, Inventory, Liveness, Moment, NameTable, NetworkIntent, Record, ReplicaId, Revision,
    RevisionId, RolloutOrder, Row, RowKey, SealedRevision, WallSeconds,
};

use crate::disk::Disk;
use crate::fleet::Cloud;
use crate::hands::Then;
use crate::met::Met;
use crate::wires::Wires;

/// One simulated host.
pub(crate) struct SimHost {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) slice: Ipv4Net,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) availability: Availability,
    pub(crate) memory: u64,
    pub(crate) inventory: Inventory,
    /// The agent; none while it is down.
    pub(crate) core: Option<Core>,
    /// Rises with each start of the agent, so that what was meant for an earlier one is dropped.
    pub(crate) life: u64,
    /// The agent is stopped (SIGSTOP) until then.
    pub(crate) paused_until: Moment,
    pub(crate) disk: Disk,
    pub(crate) engine: FakeHost,
    /// The machine has power.
    pub(crate) powered: bool,
    /// Seconds its wall clock is wrong by.
    pub(crate) wall_error: i64,
    pub(crate) network: Option<NetworkIntent>,
    /// What its kernel goes by.
    pub(crate) in_place: Option<NetworkIntent>,
    pub(crate) names: Arc<NameTable>,
    /// Hosts it lets in no more.
    pub(crate) refused: BTreeSet<HostId>,
    /// When it made Plans, within the last second.
    planned: Vec<Moment>,
    /// When its timer rings; one that was set before for another moment is ignored.
    wake_at: Moment,
    /// When its engine is looked at next.
    pub(crate) look_at: Moment,
    /// The highest Generation of each replica that was ever made here, and by which container.
    pub(crate) made: BTreeMap<ReplicaId, (Generation, String)>,
}

/// What somebody is told who submits a Revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is kept.
    Taken,
    /// Somebody else was faster.
    Conflict,
    /// No disk took it; it was never there.
    NotKept,
    /// The Home does not answer.
    Unreachable,
}

/// What happens at some moment.
pub(crate) enum Item {
    Wake { host: usize, life: u64, at: Moment },
    Deliver { from: usize, to: usize, message: Message },
    Knocked { host: usize, life: u64, of: usize, answered: bool },
    Look { host: usize, life: u64, at: Moment },
    Continue { host: usize, life: u64, id: OperationId, then: Then },
    InPlace { host: usize, life: u64, intent: Box<NetworkIntent> },
    Answered { host: usize, life: u64, id: ProbeId, answer: Answer },
    Provided { host: usize, life: u64, ask: Box<Ask>, reply: Reply },
    Boot { machine: u64 },
}

/// All hosts, the network, and what happens next.
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) wires: Wires,
    pub(crate) rng: Rng,
    pub(crate) pool: Ipv4Net,
    pub(crate) met: Met,
    /// Where machines come from.
    pub(crate) cloud: Cloud,
    /// Something was done to an engine since the invariants were last checked.
    pub(crate) dirty: bool,
    /// Revisions that `up` said are kept.
    pub(crate) acknowledged: Vec<(AppName, RevisionId, u64)>,
    /// A host lost power that alone held the latest Plan: whoever goes on without it is as in a
    /// partition.
    pub(crate) apart: bool,
    /// Every kernel leads to so many replicas of `web` that serve, after each event.
    pub(crate) floor: Option<usize>,
    /// What the next submit decides of a rollout.
    order: Option<Decided>,
    /// Packets and bytes that were sent, once somebody counts them.
    pub(crate) sent: Option<(u64, u64)>,
    /// Events by kind: how many, and the real time that cores took for them.
    pub(crate) spent: BTreeMap<&'static str, (u32, Duration)>,
    pub(crate) index: BTreeMap<HostId, usize>,
    queue: BTreeMap<(Moment, u64), Item>,
    next_item: u64,
}

/// Slices of the pool. Of more hosts, which only figures have, some share one.
const SLICES: u32 = 240;

/// How long the answer to a knock is waited for.
pub(crate) const KNOCK_LIMIT: Duration = Duration::from_secs(2);

/// Plans that one host may make in a second: each is a step of an update, or of what follows it.
const PLANS_A_SECOND: usize = 30;

/// How long a kernel takes to go by what it is told.
const RULES: Duration = Duration::from_millis(30);

/// When simulated time begins for people: a fixed day.
const WALL: u64 = 1_800_000_000;

impl World {
    /// `n` hosts that know each other. `images` are on every host, `registry` can be pulled.
    pub(crate) fn new(
        seed: u64,
        n: usize,
        images: &[(&str, FakeImage)],
        registry: &[(&str, FakeImage)],
    ) -> Self {
        let mut rng = Rng::new(seed);
        let pool: Ipv4Net = "10.208.0.0/12".parse().unwrap();
        let mut hosts: Vec<SimHost> = (0..n).map(|index| SimHost::new(index, pool)).collect();
        for host in &mut hosts {
            for (reference, image) in images {
                host.engine.add_image(reference, image.clone());
            }
            for (reference, image) in registry {
                host.engine.add_to_registry(reference, image.clone());
            }
            host.wall_error = rng.below(200_000) as i64 - 100_000;
        }
        let mut world = Self {
            now: Moment(0),
            index: hosts.iter().enumerate().map(|(index, h)| (h.id.clone(), index)).collect(),
            hosts,
            wires: Wires::default(),
            pool,
            met: Met::default(),
            cloud: Cloud::default(),
            dirty: false,
            acknowledged: Vec::new(),
            apart: false,
            floor: None,
            order: None,
            sent: None,
            spent: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_item: 0,
            rng: Rng::new(rng.next_u64()),
        };
        let everyone: Vec<(HostId, SocketAddr)> =
            world.hosts.iter().map(|host| (host.id.clone(), host.address)).collect();
        for index in 0..n {
            let others = everyone.iter().filter(|(id, _)| *id != world.hosts[index].id);
            let others: Vec<_> = others.cloned().collect();
            world.hosts[index].disk = Disk::of(&others);
            world.start_agent(index);
        }
        world
    }

    fn both_clocks(&self, host: usize) -> Now {
        Now { moment: self.now, wall: self.wall(host) }
    }

    /// What the wall clock of a host says.
    pub(crate) fn wall(&self, host: usize) -> WallSeconds {
        let wall = WALL + self.now.0 / 1000;
        WallSeconds(wall.saturating_add_signed(self.hosts[host].wall_error))
    }

    pub(crate) fn put(&mut self, after: Duration, item: Item) {
        self.next_item += 1;
        self.queue.insert((self.now + after, self.next_item), item);
    }

    /// Runs until `until`, or until `done` says so after some event. Returns whether it did.
    pub(crate) fn run_until(
        &mut self,
        until: Moment,
        mut done: impl FnMut(&World) -> bool,
    ) -> bool {
        while let Some((&(moment, _), _)) = self.queue.first_key_value() {
            if moment > until {
                break;
            }
            let ((moment, _), item) = self.queue.pop_first().expect("it was just there");
            self.now = moment;
            self.met.events += 1;
            let engine_changed = self.dirty;
            self.step(item);
            if self.dirty || engine_changed || self.met.events.is_multiple_of(64) {
                self.dirty = false;
                crate::checks::always(self);
            }
            if let Some(floor) = self.floor {
                crate::checks::floor(self, floor);
            }
            if done(self) {
                return true;
            }
        }
        self.now = until;
        done(self)
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Runs until `done`, asked every 50 ms, for at most `limit`. Returns how long it took.
    pub(crate) fn wait_for(
        &mut self,
        limit: Duration,
        done: impl FnMut(&World) -> bool,
    ) -> Option<Duration> {
        self.wait_for_by(Duration::from_millis(50), limit, done)
    }

    /// The same, asked every `step`.
    pub(crate) fn wait_for_by(
        &mut self,
        step: Duration,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Option<Duration> {
        let began = self.now;
        while self.now.since(began) <= limit {
            if done(self) {
                return Some(self.now.since(began));
            }
            self.run_for(step);
        }
        None
    }

    fn step(&mut self, item: Item) {
        if let Some(until) = self.paused(&item) {
            let wait = until.since(self.now) + Duration::from_millis(1);
            return self.put(wait, item);
        }
        match item {
            Item::Wake { host, life, at } => {
                if self.lives(host, life) && self.hosts[host].wake_at == at {
                    self.hosts[host].wake_at = Moment(u64::MAX);
                    self.event(host, Event::Timer);
                }
            }
            Item::Look { host, life, at } => {
                if self.lives(host, life) && self.hosts[host].look_at == at {
                    self.look(host);
                }
            }
            Item::Continue { host, life, id, then } => {
                if self.lives(host, life) {
                    self.proceed(host, id, then);
                }
            }
            Item::InPlace { host, life, intent } => {
                if self.lives(host, life) {
                    self.hosts[host].in_place = Some((*intent).clone());
                    self.event(host, Event::InPlace(intent));
                }
            }
            Item::Answered { host, life, id, answer } => {
                if self.lives(host, life) {
                    self.event(host, Event::Answered(id, answer));
                }
            }
            Item::Provided { host, life, ask, reply } => {
                if self.lives(host, life) {
                    self.event(host, Event::Provided(ask, reply));
                }
            }
            Item::Boot { machine } => self.boot(machine),
            Item::Knocked { host, life, of, answered } => {
                if self.lives(host, life) {
                    let of = self.hosts[of].id.clone();
                    self.event(host, Event::Knocked { host: of, answered });
                }
            }
            Item::Deliver { from, to, .. } if self.refuses(to, from) => {
                // The transport delivers nothing of a removed host, and says why.
                let removed = self.hosts[from].id.clone();
                if !self.hosts[from].refused.contains(&removed) {
                    self.event(from, Event::Removed(removed));
                }
            }
            Item::Deliver { from, to, message } => {
                let sender = &self.hosts[from];
                let event =
                    Event::Received { from: sender.id.clone(), address: sender.address, message };
                self.event(to, event);
            }
        }
    }

    fn refuses(&self, host: usize, other: usize) -> bool {
        let host = &self.hosts[host];
        host.core.is_some() && host.refused.contains(&self.hosts[other].id)
    }

    /// Until when the host that an item is for does nothing.
    fn paused(&self, item: &Item) -> Option<Moment> {
        let host = match item {
            Item::Wake { host, .. }
            | Item::Look { host, .. }
            | Item::Knocked { host, .. }
            | Item::InPlace { host, .. }
            | Item::Answered { host, .. }
            | Item::Provided { host, .. }
            | Item::Continue { host, .. } => host,
            Item::Deliver { to, .. } => to,
            Item::Boot { .. } => return None,
        };
        let until = self.hosts[*host].paused_until;
        (until > self.now).then_some(until)
    }

    fn lives(&self, host: usize, life: u64) -> bool {
        self.hosts[host].core.is_some() && self.hosts[host].life == life
    }

    pub(crate) fn event(&mut self, index: usize, event: Event) {
        let now = self.both_clocks(index);
        let mut effects = Vec::new();
        let host = &mut self.hosts[index];
        let Some(core) = &mut host.core else { return };
        let kind = kind(&event);
        let began = std::time::Instant::now();
        core.handle(now, event, &mut effects);
        let spent = self.spent.entry(kind).or_default();
        *spent = (spent.0 + 1, spent.1 + began.elapsed());
        let deadline = core.next_deadline().max(self.now + Duration::from_millis(1));
        let life = host.life;
        if deadline != host.wake_at {
            host.wake_at = deadline;
            let wait = deadline.since(self.now);
            self.put(wait, Item::Wake { host: index, life, at: deadline });
        }
        for effect in effects {
            if self.hosts[index].core.is_none() {
                // The power went while it wrote; what would have followed does not.
                break;
            }
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Persist { record, durable } => {
                self.count_plan(index, &record);
                let kept = self.hosts[index].disk.write(&record, durable);
                self.see_write(index, kept);
            }
            Effect::Send { to, message, .. } => {
                let Some(to) = self.index.get(&to).copied() else { return };
                let reliable = !message.is_probe();
                if let Some((packets, bytes)) = &mut self.sent {
                    let length = serde_json::to_vec(&message).unwrap().len() as u64;
                    *packets += crate::weight::packets(length);
                    *bytes += length;
                }
                // What is sent must survive the wire form.
                let message = if self.met.events.is_multiple_of(16) {
                    let bytes = serde_json::to_vec(&message).unwrap();
                    serde_json::from_slice(&bytes).unwrap()
                } else {
                    message
                };
                let delays = self.wires.pass(index, to, reliable, &mut self.rng);
                for delay in delays {
                    let message = message.clone();
                    self.put(delay, Item::Deliver { from: index, to, message });
                }
            }
            Effect::Knock { to, .. } => self.knock(index, &to),
            Effect::Execute(id, operation) => self.execute(index, id, operation),
            Effect::Probe(probe) => self.ask(index, probe),
            Effect::Network(intent) => {
                let host = &mut self.hosts[index];
                host.network = Some(intent.clone());
                let life = host.life;
                self.put(RULES, Item::InPlace { host: index, life, intent: Box::new(intent) });
            }
            Effect::Names(names) => self.hosts[index].names = names,
            Effect::Know(_) => {}
            Effect::Provide(ask) => self.provide(index, *ask),
            Effect::Refuse(hosts) => self.hosts[index].refused = hosts,
        }
    }

    /// Notes whether a disk took a write; when it did not as the power went, the host is off.
    fn see_write(&mut self, index: usize, kept: bool) {
        if !kept && self.hosts[index].disk.files.is_off() {
            self.power_off(index);
            self.met.torn_writes += 1;
        } else if !kept {
            self.met.refused_writes += 1;
        }
    }

    /// Two hosts that both take themselves for the Home answer each Plan with another.
    fn count_plan(&mut self, index: usize, record: &Record) {
        let (now, host) = (self.now, &mut self.hosts[index]);
        if !matches!(record, Record::Row(Row { owner, key: RowKey::Plan(_), .. }) if *owner == host.id)
        {
            return;
        }
        host.planned.retain(|planned| now.since(*planned) < Duration::from_secs(1));
        host.planned.push(now);
        let n = host.planned.len();
        assert!(n <= PLANS_A_SECOND, "{} made {n} Plans within a second, at {now:?}", host.name);
    }

    /// A kernel answers as long as it has power, whatever its agent does.
    fn knock(&mut self, index: usize, to: &HostId) {
        let Some(of) = self.index.get(to).copied() else { return };
        let life = self.hosts[index].life;
        let mut way = |from, to| self.wires.pass(from, to, true, &mut self.rng).into_iter().min();
        let delay = way(index, of).zip(way(of, index)).map(|(there, back)| there + back);
        let delay = delay.filter(|_| self.hosts[of].powered);
        let answered = delay.filter(|delay| *delay < KNOCK_LIMIT).is_some();
        let after = delay.unwrap_or(KNOCK_LIMIT);
        self.put(after, Item::Knocked { host: index, life, of, answered });
    }

    /// Starts an agent from what is on its disk.
    pub(crate) fn start_agent(&mut self, index: usize) {
        let now = self.both_clocks(index);
        let seed = self.rng.next_u64();
        let host = &mut self.hosts[index];
        host.life += 1;
        host.wake_at = Moment(u64::MAX);
        host.paused_until = Moment(0);
        host.refused.clear();
        let saved = host.disk.start();
        let start = Start {
            me: host.id.clone(),
            pool: self.pool,
            facts: host.facts(),
            epoch: saved.epoch,
            rows: saved.rows,
            revisions: saved.revisions,
            blocks: saved.blocks,
            peers: saved.peers,
            seed,
            timing: Timing::default(),
        };
        host.core = Some(Core::new(now, start));
        let life = host.life;
        let look = Duration::from_millis(5);
        host.look_at = self.now + look;
        self.put(look, Item::Look { host: index, life, at: self.now + look });
        self.event(index, Event::Timer);
        self.event(index, Event::Provides(self.cloud.program.clone()));
    }

    /// The agent is gone at once; containers go on.
    pub(crate) fn kill_agent(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.core.take().is_some() {
            host.disk.crash(&mut self.rng);
            self.met.crashes += 1;
        }
    }

    /// The machine loses power.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.apart |= self.alone_holds_the_latest_plan(index);
        let host = &mut self.hosts[index];
        host.core = None;
        host.disk.crash(&mut self.rng);
        host.powered = false;
        host.engine.tick(self.now);
        host.engine.power_cycle();
        host.in_place = None;
        self.met.deaths += 1;
        self.dirty = true;
    }

    fn alone_holds_the_latest_plan(&self, index: usize) -> bool {
        let number = |host: &SimHost| {
            let core = host.core.as_ref()?;
            core.state().plan(&crate::apps::shop_name()).map(|plan| plan.number)
        };
        let others = self.hosts.iter().enumerate().filter(|(other, _)| *other != index);
        let others: Vec<_> = others.filter_map(|(_, host)| number(host)).collect();
        number(&self.hosts[index])
            .is_some_and(|mine| !others.is_empty() && others.iter().all(|theirs| *theirs < mine))
    }

    /// The machine gets power again; its agent starts, its containers do not.
    pub(crate) fn power_on(&mut self, index: usize) {
        self.hosts[index].powered = true;
        self.start_agent(index);
    }

    /// What the agent does for `up`: the Home makes the Revision and one more live host keeps it.
    /// False when no Home could be reached.
    pub(crate) fn submit(&mut self, at: usize, revision: Revision, command: &str) -> bool {
        self.submit_to_home(at, revision, None, command) == Told::Taken
    }

    /// The same with a decision of the rollout of `web`.
    pub(crate) fn decide(&mut self, at: usize, revision: Revision, order: RolloutOrder) -> bool {
        self.order = Some(Decided { service: "web".into(), order });
        let told = self.submit_to_home(at, revision, None, "rollout");
        self.order = None;
        told == Told::Taken
    }

    /// The same for whoever decided after seeing `seen`.
    pub(crate) fn submit_after(
        &mut self,
        at: usize,
        revision: Revision,
        seen: &SealedRevision,
    ) -> Told {
        self.submit_to_home(at, revision, Some(seen.id()), "up")
    }

    fn submit_to_home(
        &mut self,
        at: usize,
        revision: Revision,
        seen: Option<&RevisionId>,
        command: &str,
    ) -> Told {
        let Some(core) = &self.hosts[at].core else { return Told::Unreachable };
        let home = self.index[core.home(&revision.app)];
        let reachable = home == at || self.reaches(at, home);
        let there = self.hosts[home].paused_until <= self.now && reachable;
        let Some(core) = self.hosts[home].core.as_ref().filter(|_| there) else {
            return Told::Unreachable;
        };
        let wish = Wish {
            expected: seen,
            retry: command == "up",
            order: self.order.as_ref(),
            ..Wish::new(&self.hosts[at].id, command, WallSeconds(WALL))
        };
        let next = match next_revision(core.state(), revision, &wish) {
            Ok(Some(next)) => SealedRevision::new(next),
            // It is what is wanted already.
            Ok(None) => return Told::Taken,
            Err(_) => return Told::Conflict,
        };
        let members = core.membership().members().iter();
        let alive = members.filter(|(_, member)| member.liveness == Liveness::Alive);
        let peer = alive
            .map(|(id, _)| self.index[id])
            .find(|peer| self.reaches(home, *peer) && self.hosts[*peer].core.is_some());
        // As the agent does: on disk before anybody hears of it.
        let record = Record::Revision(Box::new(next.clone()));
        let kept = self.hosts[home].disk.write_or_refuse(&record);
        self.see_write(home, kept);
        if !kept {
            return Told::NotKept;
        }
        self.event(home, Event::Submitted(Box::new(next.clone())));
        if let Some(peer) = peer {
            let delta = Delta { rows: Vec::new(), revisions: vec![next.clone()] };
            self.event(peer, Event::Learned(Box::new(delta)));
        }
        self.met.submits += 1;
        self.acknowledged.push((next.app.clone(), next.id().clone(), next.sequence));
        Told::Taken
    }

    /// The Home of an App, as the first agent that runs sees it.
    pub(crate) fn home_of(&self, app: &AppName) -> usize {
        let core = self.running().next().and_then(|host| host.core.as_ref()).expect("one runs");
        self.index[core.home(app)]
    }

    /// Containers of a Service that run and are not known to be ill, agents or not.
    pub(crate) fn running_of(&self, service: &'static str) -> impl Iterator<Item = Container> {
        let powered = self.hosts.iter().filter(|host| host.powered);
        let containers = powered.flat_map(|host| host.engine.truth(self.now));
        containers.filter(move |container| {
            container.replica.service.as_str() == service
                && container.step.is_none()
                && container.state == ContainerState::Running
                && container.health != Health::Unhealthy
        })
    }

    /// How many containers of a Service there are, whatever they do, on all hosts but one.
    pub(crate) fn made_of(&self, service: &str, but: Option<usize>) -> usize {
        let hosts = self.hosts.iter().enumerate().filter(|(index, _)| Some(*index) != but);
        let powered = hosts.map(|(_, host)| host).filter(|host| host.powered);
        let containers = powered.flat_map(|host| host.engine.truth(self.now));
        let of_it = containers.filter(|container| container.step.is_none());
        of_it.filter(|container| container.replica.service.as_str() == service).count()
    }

    /// A host that has a container of a Service.
    pub(crate) fn host_with(&self, service: &str) -> usize {
        let has = |host: &SimHost| {
            let containers = host.engine.truth(self.now);
            containers.iter().any(|container| container.replica.service.as_str() == service)
        };
        self.hosts.iter().position(has).expect("it runs somewhere")
    }

    fn reaches(&self, a: usize, b: usize) -> bool {
        !self.wires.cut.contains(&(a, b)) && !self.wires.cut.contains(&(b, a))
    }

    /// Hosts whose agent runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = &SimHost> {
        self.hosts.iter().filter(|host| host.core.is_some())
    }

    /// Hosts that are dead in the eyes of some running agent, by who says so.
    pub(crate) fn called_dead(&self) -> BTreeSet<(usize, usize)> {
        let mut dead = BTreeSet::new();
        for (index, host) in self.hosts.iter().enumerate() {
            let Some(core) = &host.core else { continue };
            for (member, state) in core.membership().members() {
                if state.liveness == Liveness::Dead {
                    dead.insert((index, self.index[member]));
                }
            }
        }
        dead
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Timer => "timer",
        Event::Received { message, .. } => match message {
            Message::Probe(_) => "probe",
            Message::Summary(_) => "summary",
            Message::Digest(_) => "digest",
            Message::Have(_) => "have",
            Message::Want(_) => "want",
            Message::Delta(_) => "delta",
            Message::AskApplied(_) | Message::Applied(_) => "applied",
        },
        Event::Knocked { .. } => "knocked",
        Event::Facts(_) => "facts",
        Event::Observed(_) => "observed",
        Event::Progress(..) => "progress",
        Event::Finished(..) => "finished",
        Event::Answered(..) => "answered",
        Event::Joined(..) => "joined",
        Event::Removed(_) => "removed",
        Event::LetIn(..) => "let in",
        Event::Asked(..) => "asked",
        Event::Submitted(_) => "submitted",
        Event::Learned(_) => "learned",
        Event::Wanted(..) => "wanted",
        Event::Measured(_) => "measured",
        Event::InPlace(_) => "in place",
        Event::Provider(_) | Event::Provides(_) | Event::Provided(..) => "provider",
    }
}

pub(crate) fn host_id(index: usize) -> HostId {
    HostId::new(format!("{index:016x}"))
}

pub(crate) fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 77, (index / 250) as u8, (index % 250) as u8 + 1], 7400))
}

impl SimHost {
    pub(crate) fn new(index: usize, pool: Ipv4Net) -> Self {
        let engine = FakeHost::new(EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
            folder: std::path::PathBuf::new(),
            offers: Default::default(),
        });
        Self {
            id: host_id(index),
            name: format!("h{}", index + 1),
            address: address(index),
            slice: nth_slice(pool, index as u32 % SLICES).expect("the pool has so many"),
            labels: BTreeMap::new(),
            availability: Availability::Active,
            memory: 8 << 30,
            inventory: Inventory::default(),
            core: None,
            life: 0,
            paused_until: Moment(0),
            disk: Disk::default(),
            engine,
            powered: true,
            wall_error: 0,
            network: None,
            in_place: None,
            names: Arc::default(),
            refused: BTreeSet::new(),
            planned: Vec::new(),
            wake_at: Moment(u64::MAX),
            look_at: Moment(0),
            made: BTreeMap::new(),
        }
    }

    pub(crate) fn facts(&self) -> HostFacts {
        HostFacts {
            name: self.name.clone(),
            address: self.address,
            slice: self.slice,
            labels: self.labels.clone(),
            availability: self.availability,
            capacity: Capacity { cpu_millis: 4000, memory: self.memory },
            platform: "linux/amd64".to_owned(),
            engine_version: "20.10.24".to_owned(),
            agent_version: "0".to_owned(),
            disk_full: false,
            sctp: false,
            inventory: self.inventory.clone(),
            authority: None,
            volumes: Default::default(),
            images: Default::default(),
            blocks: Vec::new(),
        }
    }
}
