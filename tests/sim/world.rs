//! All hosts of one run, and the heap of what happens next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::Ipv4Net;
use muster::agent::preview::next_revision;
use muster::agent::requests::{container, networks, volumes};
use muster::docker::EngineInfo;
use muster::docker::fake::{Behaviour, FakeHealth, FakeHost, FakeImage};
use muster::logic::addresses::nth_slice;
use muster::logic::core::{Core, Effect, Event, Now, Start};
use muster::logic::membership::Timing;
use muster::logic::operation::{Failure, Observation, Operation, OperationId};
use muster::logic::{Delta, Message, Rng};
use muster::model::{
    AppName, Availability, Capacity, Health, HostFacts, HostId, Liveness, Moment, NameTable,
    NetworkBlock, NetworkIntent, Record, Revision, Row, RowKey, WallSeconds,
};

use crate::wires::Wires;

/// What survives a crash of an agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    epoch: u64,
    rows: BTreeMap<(HostId, RowKey), Row>,
    revisions: BTreeMap<String, Revision>,
    blocks: BTreeMap<String, NetworkBlock>,
    peers: BTreeMap<HostId, SocketAddr>,
}

impl Disk {
    fn write(&mut self, record: Record) {
        match record {
            Record::Row(row) => {
                self.rows.insert((row.owner.clone(), row.key.clone()), row);
            }
            Record::ForgetRow { owner, key } => {
                self.rows.remove(&(owner, key));
            }
            Record::Revision(revision) => {
                self.revisions.insert(revision.id().to_string(), *revision);
            }
            Record::ForgetRevision { id, .. } => {
                self.revisions.remove(&id.to_string());
            }
            Record::Block(block) => {
                self.blocks.insert(format!("{}/{}", block.app, block.network), block);
            }
            Record::ForgetBlock { app, network } => {
                self.blocks.remove(&format!("{app}/{network}"));
            }
            Record::Peer { host, address } => {
                self.peers.insert(host, address);
            }
            Record::ForgetPeer { host } => {
                self.peers.remove(&host);
            }
        }
    }
}

/// One simulated host.
pub(crate) struct SimHost {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) slice: Ipv4Net,
    /// The agent; none while it is down.
    pub(crate) core: Option<Core>,
    /// Rises with each start of the agent, so that what was meant for an earlier one is dropped.
    pub(crate) life: u64,
    pub(crate) disk: Disk,
    pub(crate) engine: FakeHost,
    /// The machine has power.
    pub(crate) powered: bool,
    pub(crate) network: Option<NetworkIntent>,
    pub(crate) names: NameTable,
    engine_seen: u64,
}

/// What happens at some moment.
enum Item {
    Wake { host: usize, life: u64 },
    Deliver { from: usize, to: usize, message: Message },
    Look { host: usize, life: u64 },
    Continue { host: usize, life: u64, id: OperationId, then: Then },
}

/// The rest of an operation that takes time.
enum Then {
    Finish(Result<(), Failure>),
    Remove(String),
    Start(String),
}

/// All hosts, the network, and what happens next.
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) wires: Wires,
    pub(crate) rng: Rng,
    pub(crate) pool: Ipv4Net,
    queue: BTreeMap<(Moment, u64), Item>,
    next_item: u64,
    pub(crate) events: u64,
    images: BTreeMap<String, FakeImage>,
}

/// When simulated time begins for people: a fixed day.
const WALL: u64 = 1_800_000_000;

impl World {
    /// `n` hosts that know each other, with some images in the registry.
    pub(crate) fn new(seed: u64, n: usize) -> Self {
        let mut rng = Rng::new(seed);
        let pool: Ipv4Net = "10.208.0.0/12".parse().unwrap();
        let healthy = FakeHealth { after: Duration::from_millis(300), verdict: Health::Healthy };
        let run = Behaviour { start_delay: Duration::from_millis(50), ..Behaviour::default() };
        let images = BTreeMap::from([
            ("app:1".to_owned(), FakeImage::new(run.clone())),
            ("db:1".to_owned(), FakeImage::new(Behaviour { health: Some(healthy), ..run })),
        ]);
        let hosts = (0..n).map(|index| SimHost::new(index, pool, &images)).collect::<Vec<_>>();
        let mut world = Self {
            now: Moment(0),
            hosts,
            wires: Wires::default(),
            pool,
            queue: BTreeMap::new(),
            next_item: 0,
            events: 0,
            images,
            rng: Rng::new(rng.next_u64()),
        };
        let everyone: Vec<(HostId, SocketAddr)> =
            world.hosts.iter().map(|host| (host.id.clone(), host.address)).collect();
        for index in 0..n {
            let others = everyone.iter().filter(|(id, _)| *id != world.hosts[index].id);
            world.hosts[index].disk.peers = others.cloned().collect();
            world.start_agent(index);
        }
        world
    }

    fn both_clocks(&self) -> Now {
        Now { moment: self.now, wall: WallSeconds(WALL + self.now.0 / 1000) }
    }

    fn put(&mut self, after: Duration, item: Item) {
        self.next_item += 1;
        self.queue.insert((self.now + after, self.next_item), item);
    }

    /// Runs until `until`, or until `done` says so after some event. Returns whether it did.
    pub(crate) fn run_until(
        &mut self,
        until: Moment,
        mut done: impl FnMut(&World) -> bool,
    ) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some((&(moment, _), _)) = self.queue.first_key_value() else { break };
            if moment > until {
                break;
            }
            let ((moment, _), item) = self.queue.pop_first().expect("it was just there");
            self.now = moment;
            self.events += 1;
            self.step(item);
            crate::checks::always(self);
        }
        self.now = until;
        done(self)
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    fn step(&mut self, item: Item) {
        match item {
            Item::Wake { host, life } if self.lives(host, life) => self.event(host, Event::Timer),
            Item::Look { host, life } if self.lives(host, life) => self.look(host),
            Item::Continue { host, life, id, then } if self.lives(host, life) => {
                self.proceed(host, id, then);
            }
            Item::Deliver { from, to, message } if self.hosts[to].core.is_some() => {
                let sender = &self.hosts[from];
                let event =
                    Event::Received { from: sender.id.clone(), address: sender.address, message };
                self.event(to, event);
            }
            // Meant for an agent that is gone.
            Item::Wake { .. }
            | Item::Look { .. }
            | Item::Continue { .. }
            | Item::Deliver { .. } => {}
        }
    }

    fn lives(&self, host: usize, life: u64) -> bool {
        self.hosts[host].core.is_some() && self.hosts[host].life == life
    }

    fn event(&mut self, index: usize, event: Event) {
        let now = self.both_clocks();
        let mut effects = Vec::new();
        let host = &mut self.hosts[index];
        let Some(core) = &mut host.core else { return };
        core.handle(now, event, &mut effects);
        let deadline = core.next_deadline();
        let life = host.life;
        let wait = deadline.since(self.now).max(Duration::from_millis(1));
        self.put(wait, Item::Wake { host: index, life });
        for effect in effects {
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Persist { record, .. } => self.hosts[index].disk.write(record),
            Effect::Send { to, message, .. } => {
                let Some(to) = self.hosts.iter().position(|host| host.id == to) else { return };
                let reliable = !message.is_probe();
                // What is sent must survive the wire form.
                let bytes = serde_json::to_vec(&message).unwrap();
                let message = serde_json::from_slice(&bytes).unwrap();
                if let Some(delay) = self.wires.pass(index, to, reliable, &mut self.rng) {
                    self.put(delay, Item::Deliver { from: index, to, message });
                }
            }
            Effect::Execute(id, operation) => self.execute(index, id, operation),
            Effect::Network(intent) => self.hosts[index].network = Some(intent),
            Effect::Names(names) => self.hosts[index].names = names,
        }
    }

    fn execute(&mut self, index: usize, id: OperationId, operation: Operation) {
        let life = self.hosts[index].life;
        let now = self.now;
        let images = &self.images;
        let engine = &mut self.hosts[index].engine;
        engine.tick(now);
        let words = |error: muster::docker::EngineError| Failure { reason: error.to_string() };
        let (after, then) = match operation {
            Operation::Run(run) => {
                if let Some(image) = images.get(&run.container.image) {
                    engine.add_image(&run.container.image, image.clone());
                }
                let result = networks(&run)
                    .iter()
                    .try_for_each(|network| engine.ensure_network(network))
                    .and_then(|()| volumes(&run).iter().try_for_each(|v| engine.ensure_volume(v)))
                    .and_then(|()| engine.run(&container(&run, "sim")).map(|_| ()));
                (Duration::from_millis(120), Then::Finish(result.map_err(words)))
            }
            Operation::Start { container } => {
                let result = engine.start(&container).map_err(words);
                (Duration::from_millis(60), Then::Finish(result))
            }
            Operation::Restart { container } => match engine.stop(&container, GRACE) {
                Ok(end) => (end.since(now), Then::Start(container)),
                Err(error) => (Duration::ZERO, Then::Finish(Err(words(error)))),
            },
            Operation::Remove { container } => match engine.stop(&container, GRACE) {
                Ok(end) => (end.since(now), Then::Remove(container)),
                Err(error) => (Duration::ZERO, Then::Finish(Err(words(error)))),
            },
            Operation::RemoveNetwork { name } => {
                let result = engine.remove_network(&name).map_err(words);
                (Duration::from_millis(20), Then::Finish(result))
            }
            Operation::RemoveVolume { name } => {
                let result = engine.remove_volume(&name).map_err(words);
                (Duration::from_millis(20), Then::Finish(result))
            }
        };
        self.put(after, Item::Continue { host: index, life, id, then });
    }

    fn proceed(&mut self, index: usize, id: OperationId, then: Then) {
        let engine = &mut self.hosts[index].engine;
        engine.tick(self.now);
        let words = |error: muster::docker::EngineError| Failure { reason: error.to_string() };
        let result = match then {
            Then::Finish(result) => result,
            Then::Remove(container) => engine.remove(&container).map_err(words),
            Then::Start(container) => engine.start(&container).map_err(words),
        };
        self.look(index);
        self.event(index, Event::Finished(id, result));
    }

    /// Tells a host's core what its engine holds.
    fn look(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.engine.tick(self.now);
        host.engine_seen = host.engine.version();
        let life = host.life;
        let soonest = host.engine.next_change().map(|moment| moment.since(self.now));
        let wait = soonest.unwrap_or(RESYNC).clamp(Duration::from_millis(1), RESYNC);
        let (Ok(containers), Ok(networks), Ok(volumes)) =
            (host.engine.containers(), host.engine.networks(), host.engine.volumes())
        else {
            return self.put(wait, Item::Look { host: index, life });
        };
        let facts = HostFacts {
            volumes: volumes.iter().map(|volume| volume.name.clone()).collect(),
            ..host.facts()
        };
        let app = |name: &str| AppName::from(name);
        let observation = Observation {
            containers,
            networks: networks.into_iter().map(|n| (n.name, app(&n.app))).collect(),
            volumes: volumes.into_iter().map(|v| (v.name, app(&v.app))).collect(),
        };
        self.event(index, Event::Facts(Box::new(facts)));
        self.event(index, Event::Observed(observation));
        self.put(wait, Item::Look { host: index, life });
    }

    /// Starts an agent from what is on its disk.
    pub(crate) fn start_agent(&mut self, index: usize) {
        let now = self.both_clocks();
        let seed = self.rng.next_u64();
        let host = &mut self.hosts[index];
        host.life += 1;
        host.disk.epoch += 1;
        let disk = host.disk.clone();
        let start = Start {
            me: host.id.clone(),
            pool: self.pool,
            facts: host.facts(),
            epoch: disk.epoch,
            rows: disk.rows.into_values().collect(),
            revisions: disk.revisions.into_values().collect(),
            blocks: disk.blocks.into_values().collect(),
            peers: disk.peers.into_iter().collect(),
            seed,
            timing: Timing::default(),
        };
        host.core = Some(Core::new(now, start));
        let life = host.life;
        self.put(Duration::from_millis(5), Item::Look { host: index, life });
        self.put(Duration::from_millis(1), Item::Wake { host: index, life });
    }

    /// The agent is gone at once; containers go on.
    pub(crate) fn kill_agent(&mut self, index: usize) {
        self.hosts[index].core = None;
    }

    /// The machine loses power.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.kill_agent(index);
        let host = &mut self.hosts[index];
        host.powered = false;
        host.engine.tick(self.now);
        host.engine.power_cycle();
    }

    /// The machine gets power again; its agent starts, its containers do not.
    pub(crate) fn power_on(&mut self, index: usize) {
        self.hosts[index].powered = true;
        self.start_agent(index);
    }

    /// What the agent does for `up`: the Home makes the Revision and one more live host keeps it.
    /// False when no Home could be reached.
    pub(crate) fn submit(&mut self, at: usize, revision: Revision, command: &str) -> bool {
        let Some(core) = &self.hosts[at].core else { return false };
        let home = core.home(&revision.app).clone();
        let Some(home) = self.hosts.iter().position(|host| host.id == home) else { return false };
        let reachable = home == at || !self.wires.cut.contains(&(at, home));
        let Some(core) = self.hosts[home].core.as_ref().filter(|_| reachable) else { return false };
        let origin = (&self.hosts[at].id, command, WallSeconds(WALL));
        let Ok(Some(next)) = next_revision(core.state(), revision, None, origin) else {
            return false;
        };
        let peer = core
            .membership()
            .members()
            .iter()
            .find(|(_, member)| member.liveness == Liveness::Alive)
            .and_then(|(id, _)| self.hosts.iter().position(|host| host.id == *id))
            .filter(|peer| !self.wires.cut.contains(&(home, *peer)));
        self.event(home, Event::Submitted(Box::new(next.clone())));
        if let Some(peer) = peer {
            let delta = Delta { rows: Vec::new(), revisions: vec![next] };
            self.event(peer, Event::Learned(Box::new(delta)));
        }
        true
    }

    /// Hosts whose agent runs.
    pub(crate) fn running(&self) -> impl Iterator<Item = &SimHost> {
        self.hosts.iter().filter(|host| host.core.is_some())
    }
}

/// Time between two looks at an engine that tells of nothing.
const RESYNC: Duration = Duration::from_secs(5);
/// The stop grace of every simulated container.
const GRACE: Duration = Duration::from_secs(10);

impl SimHost {
    fn new(index: usize, pool: Ipv4Net, images: &BTreeMap<String, FakeImage>) -> Self {
        let mut engine = FakeHost::new(EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
        });
        for (reference, image) in images {
            engine.add_image(reference, image.clone());
        }
        Self {
            id: HostId::new(format!("{index:016x}")),
            name: format!("h{}", index + 1),
            address: SocketAddr::from((
                [10, 77, (index / 250) as u8, (index % 250) as u8 + 1],
                7400,
            )),
            slice: nth_slice(pool, index as u32).expect("the pool has 240 slices"),
            core: None,
            life: 0,
            disk: Disk::default(),
            engine,
            powered: true,
            network: None,
            names: NameTable::default(),
            engine_seen: 0,
        }
    }

    fn facts(&self) -> HostFacts {
        HostFacts {
            name: self.name.clone(),
            address: self.address,
            slice: self.slice,
            labels: BTreeMap::new(),
            availability: Availability::Active,
            capacity: Capacity { cpu_millis: 4000, memory: 8 << 30 },
            platform: "linux/amd64".to_owned(),
            engine_version: "20.10.24".to_owned(),
            agent_version: "0".to_owned(),
            volumes: Default::default(),
            images: Default::default(),
            blocks: Vec::new(),
        }
    }
}
