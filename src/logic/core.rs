//! One host held together: membership, state, planning and the host machine behind one door.
//!
//! Events go in with the time; [`Effect`]s come out in the order they must happen: what goes to
//! disk comes before what tells others of it. Never does anything itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::addresses::{free_block, resolver_address};
use super::endpoints::network_intent;
use super::home::home;
use super::host::{Desired, HostMachine, Known};
use super::membership::{Membership, Outgoing, Timing};
use super::names::name_table;
use super::operation::{Failure, Observation, Operation, OperationId, RunReplica};
use super::plan::plan;
use super::state::{Merged, State};
use super::view::ClusterView;
use super::{Delta, Message, Rng, Want};
use crate::model::{
    AppName, Fact, HostFacts, HostId, Intent, Liveness, Moment, NameTable, NetworkBlock,
    NetworkIntent, NetworkName, Phase, Record, ReplicaStatus, Revision, Row, RowKey, WallSeconds,
};

/// Time between two exchanges of digests with a random member: repairs whatever was lost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a start, or after a host came back, nothing is planned or started before digests were
/// exchanged with it, or this long.
const SETTLE: Duration = Duration::from_secs(2);
/// Members that news is told at once; with more, the rest hears of it from them.
const FANOUT: usize = 8;

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Decides.
    pub moment: Moment,
    /// Is only shown.
    pub wall: WallSeconds,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The moment of [`Core::next_deadline`] has come.
    Timer,
    /// A message came from a host whose identity the transport has proved.
    Received {
        /// Who.
        from: HostId,
        /// From where.
        address: SocketAddr,
        /// What.
        message: Message,
    },
    /// What this host is has changed.
    Facts(Box<HostFacts>),
    /// What the engine holds now.
    Observed(Observation),
    /// An operation is so far.
    Progress(OperationId, Phase),
    /// An operation ended; [`Event::Observed`] with what it changed came before.
    Finished(OperationId, Result<(), Failure>),
    /// A host joined here.
    Joined(HostId, SocketAddr),
    /// Somebody changed an App here, at its Home.
    Submitted(Box<Revision>),
    /// Rows and Revisions came another way than as a message.
    Learned(Box<Delta>),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write to disk before any later [`Effect::Send`] leaves.
    Persist {
        /// What.
        record: Record,
        /// Whether it must survive a power cut from here on.
        durable: bool,
    },
    /// Send a message.
    Send {
        /// To whom.
        to: HostId,
        /// Where.
        address: SocketAddr,
        /// What.
        message: Message,
    },
    /// Carry out an operation and report with [`Event::Finished`].
    Execute(OperationId, Operation),
    /// Make the kernel do this.
    Network(NetworkIntent),
    /// Answer these names.
    Names(NameTable),
}

/// What a host is at its start.
#[derive(Debug, Clone)]
pub struct Start {
    /// What the host is.
    pub me: HostId,
    /// All addresses of the cluster.
    pub pool: Ipv4Net,
    /// What it says of itself.
    pub facts: HostFacts,
    /// Boot epoch.
    pub epoch: u64,
    /// Rows from disk.
    pub rows: Vec<Row>,
    /// Revisions from disk.
    pub revisions: Vec<Revision>,
    /// Blocks from disk.
    pub blocks: Vec<NetworkBlock>,
    /// Members from disk.
    pub peers: Vec<(HostId, SocketAddr)>,
    /// Where randomness begins.
    pub seed: u64,
    /// Timing of membership.
    pub timing: Timing,
}

/// Changes whenever something that decisions are derived from changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    state: u64,
    membership: u64,
    settled: bool,
}

/// Rounds of deriving after one event: a Row of our own can change what we plan. Each round makes
/// at least one step, and a step that is left over is made at the next event.
const ROUNDS_MAX: usize = 4;

/// One host.
#[derive(Debug, Clone)]
pub struct Core {
    me: HostId,
    pool: Ipv4Net,
    facts: HostFacts,
    membership: Membership,
    state: State,
    machine: HostMachine,
    blocks: BTreeMap<(AppName, NetworkName), Ipv4Net>,
    next_sync: Moment,
    /// The moment of the last event.
    last: Moment,
    /// Hosts not yet heard in full since they came (back), and until when that is waited for.
    unsettled: BTreeMap<HostId, Moment>,
    /// Hosts that were asked for what we lack.
    asked: BTreeSet<HostId>,
    /// The first settling after a start.
    settle_until: Moment,
    observed: bool,
    alive_before: BTreeSet<HostId>,
    /// What Plans, operations and names were last derived from.
    derived_from: Option<Stamp>,
    network: Option<NetworkIntent>,
    names: Option<NameTable>,
    rng: Rng,
}

impl Core {
    /// A host that starts now. Nothing is known of its engine yet.
    pub fn new(now: Now, start: Start) -> Self {
        let Start { me, pool, facts, epoch, rows, revisions, blocks, peers, seed, timing } = start;
        let mut rng = Rng::new(seed);
        let mut membership =
            Membership::new(me.clone(), facts.address, timing, Rng::new(rng.next_u64()));
        let alone = peers.is_empty();
        for (host, address) in peers {
            membership.introduce(now.moment, host, address);
        }
        let settle = if alone { Duration::ZERO } else { SETTLE };
        Self {
            state: State::new(me.clone(), epoch, rows, revisions),
            machine: HostMachine::new(Rng::new(rng.next_u64())),
            blocks: blocks.into_iter().map(|b| ((b.app, b.network), b.subnet)).collect(),
            next_sync: now.moment,
            last: now.moment,
            unsettled: BTreeMap::new(),
            asked: BTreeSet::new(),
            derived_from: None,
            settle_until: now.moment + settle,
            observed: false,
            alive_before: BTreeSet::new(),
            network: None,
            names: None,
            me,
            pool,
            facts,
            membership,
            rng,
        }
    }

    /// When [`Event::Timer`] is due.
    pub fn next_deadline(&self) -> Moment {
        let settle = [self.settle_until].into_iter().chain(self.unsettled.values().copied());
        let settle = settle.filter(|moment| *moment > self.last).min();
        let all = [Some(self.next_sync), self.machine.next_deadline(), settle];
        all.into_iter().flatten().fold(self.membership.next_deadline(), Moment::min)
    }

    /// The cluster as this host sees it.
    pub fn view(&self) -> ClusterView<'_> {
        ClusterView::new(self.pool, &self.me, &self.state, &self.membership)
    }

    /// Who this is.
    pub fn me(&self) -> &HostId {
        &self.me
    }

    /// Who is there.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Rows and Revisions.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What this host runs.
    pub fn machine(&self) -> &HostMachine {
        &self.machine
    }

    /// The Home of an App: the first live host in rendezvous order.
    pub fn home(&self, app: &AppName) -> &HostId {
        let members = self.membership.members().iter();
        let live = members.filter(|(_, m)| m.liveness != Liveness::Dead).map(|(host, _)| host);
        home(app, live.chain([&self.me])).unwrap_or(&self.me)
    }

    /// Takes in what happened; what is to be done is put into `out`, in order.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        self.last = now.moment;
        let local = !matches!(event, Event::Timer | Event::Received { .. });
        match event {
            Event::Timer => self.handle_timer(now, out),
            Event::Received { from, address, message } => {
                self.handle_message(now, &from, address, message, out);
            }
            Event::Facts(facts) => self.facts = *facts,
            Event::Observed(observation) => {
                self.observed = true;
                self.machine.handle_observed(observation);
            }
            Event::Progress(operation, phase) => self.machine.handle_progress(operation, phase),
            Event::Finished(operation, result) => {
                self.machine.handle_finished(now.moment, operation, result);
            }
            Event::Joined(host, address) => {
                self.membership.introduce(now.moment, host.clone(), address);
                out.push(Effect::Persist { record: Record::Peer { host, address }, durable: true });
            }
            Event::Submitted(revision) => {
                let merged = self.state.add_revision(*revision);
                self.tell(merged, None, out);
            }
            Event::Learned(delta) => {
                let merged = self.state.merge(*delta);
                self.tell(merged, None, out);
            }
        }
        self.notice_members(now, out);
        let due = self.machine.next_deadline().is_some_and(|deadline| deadline <= now.moment);
        if local || due {
            self.derived_from = None;
        }
        for _ in 0..ROUNDS_MAX {
            let stamp = self.stamp(now);
            if self.derived_from == Some(stamp) {
                break;
            }
            self.derived_from = Some(stamp);
            self.plan_mine(now, out);
            self.reconcile(now, out);
            self.publish(out);
        }
    }

    fn stamp(&self, now: Now) -> Stamp {
        Stamp {
            state: self.state.changes(),
            membership: self.membership.changes(),
            settled: self.is_settled(now),
        }
    }

    fn handle_timer(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut probes = Vec::new();
        self.membership.handle_timer(now.moment, &mut probes);
        send_probes(probes, out);
        if now.moment >= self.next_sync {
            self.next_sync = now.moment + SYNC_EVERY;
            let alive: Vec<HostId> = self.alive().cloned().collect();
            let chosen = self.rng.below(alive.len() as u64) as usize;
            if let Some(peer) = alive.get(chosen) {
                self.send_digest(peer, true, out);
            }
        }
    }

    fn handle_message(
        &mut self,
        now: Now,
        from: &HostId,
        address: SocketAddr,
        message: Message,
        out: &mut Vec<Effect>,
    ) {
        match message {
            Message::Probe(probe) => {
                let mut probes = Vec::new();
                self.membership.handle_probe(now.moment, from, address, &probe, &mut probes);
                send_probes(probes, out);
            }
            Message::Digest(digest) => {
                self.membership.handle_members(now.moment, from, &digest.members);
                match self.state.differences(&digest) {
                    Some(have) => self.send(from, Message::Have(have), out),
                    None => self.settle(now, from),
                }
                if digest.answer {
                    self.send_digest(from, false, out);
                }
            }
            Message::Have(have) => {
                let (give, want) = self.state.exchange(&have);
                if want == Want::default() {
                    self.settle(now, from);
                } else {
                    self.asked.insert(from.clone());
                    self.send(from, Message::Want(want), out);
                }
                if give != Delta::default() {
                    self.send(from, Message::Delta(give), out);
                }
            }
            Message::Want(want) => {
                let delta = self.state.supply(&want);
                self.send(from, Message::Delta(delta), out);
            }
            Message::Delta(delta) => {
                let merged = self.state.merge(delta);
                self.tell(merged, Some(from), out);
                if self.asked.remove(from) {
                    self.settle(now, from);
                }
            }
        }
    }

    /// We hold all that this host holds.
    fn settle(&mut self, now: Now, with: &HostId) {
        self.unsettled.remove(with);
        self.settle_until = self.settle_until.min(now.moment);
    }

    /// Keeps on disk and tells others what was new. Whoever told us knows it already.
    fn tell(&mut self, merged: Merged, heard_from: Option<&HostId>, out: &mut Vec<Effect>) {
        if merged.is_empty() && merged.records.is_empty() {
            return;
        }
        for record in merged.records {
            let durable = !matches!(&record, Record::Row(row) if row.owner != self.me);
            out.push(Effect::Persist { record, durable });
        }
        self.spread(merged.news, heard_from, out);
    }

    fn spread(&mut self, news: Delta, except: Option<&HostId>, out: &mut Vec<Effect>) {
        if news == Delta::default() {
            return;
        }
        let mut alive: Vec<HostId> =
            self.alive().filter(|host| Some(*host) != except).cloned().collect();
        if alive.len() > FANOUT {
            self.rng.shuffle(&mut alive);
            alive.truncate(FANOUT);
        }
        for host in alive {
            self.send(&host, Message::Delta(news.clone()), out);
        }
    }

    fn write_row(&mut self, row: Option<Row>, out: &mut Vec<Effect>) {
        let Some(row) = row else { return };
        let durable = !matches!(row.key, RowKey::Replicas(_));
        out.push(Effect::Persist { record: Record::Row(row.clone()), durable });
        self.spread(Delta { rows: vec![row], revisions: Vec::new() }, None, out);
    }

    /// A member that came (back) is heard in full before anything is planned.
    fn notice_members(&mut self, now: Now, out: &mut Vec<Effect>) {
        let alive: BTreeSet<HostId> = self.not_dead().cloned().collect();
        let come: Vec<HostId> = alive.difference(&self.alive_before).cloned().collect();
        for host in come {
            if let Some(address) = self.membership.address(&host) {
                let record = Record::Peer { host: host.clone(), address };
                out.push(Effect::Persist { record, durable: false });
            }
            self.unsettled.insert(host.clone(), now.moment + SETTLE);
            self.send_digest(&host, true, out);
        }
        self.unsettled.retain(|host, until| alive.contains(host) && *until > now.moment);
        self.alive_before = alive;
    }

    fn is_settled(&self, now: Now) -> bool {
        self.observed && now.moment >= self.settle_until && self.unsettled.is_empty()
    }

    /// Plans the Apps this host is the Home of.
    fn plan_mine(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_settled(now) {
            return;
        }
        let apps: Vec<AppName> =
            self.state.apps().filter(|app| *self.home(app) == self.me).cloned().collect();
        for app in apps {
            let Some(revision) = self.state.winner(&app).cloned() else { continue };
            let next = plan(&self.view(), &app, &revision);
            if let Some(next) = next {
                let row = self.state.write(RowKey::Plan(app), &Fact::Plan(Box::new(next)));
                self.write_row(row, out);
            }
        }
    }

    /// Brings this host to what the Plans give it.
    fn reconcile(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.observed {
            return;
        }
        self.free_blocks(out);
        let settled = self.is_settled(now);
        let machine = &mut self.machine;
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let desired = desired(&view);
        if settled {
            let known = known(&view);
            let mut preparing =
                Preparing { view: &view, slice: self.facts.slice, blocks: &mut self.blocks, out };
            let operations = machine
                .reconcile(now.moment, &desired, &known, &mut |desired| preparing.prepare(desired));
            out.extend(operations.into_iter().map(|(id, what)| Effect::Execute(id, what)));
        }
        let statuses = machine.statuses(now.wall, &desired);
        self.write_statuses(statuses, out);
    }

    fn write_statuses(
        &mut self,
        statuses: BTreeMap<AppName, Vec<ReplicaStatus>>,
        out: &mut Vec<Effect>,
    ) {
        let said: Vec<AppName> = self
            .state
            .facts()
            .filter_map(|(owner, key, _)| match key {
                RowKey::Replicas(app) if *owner == self.me => Some(app.clone()),
                RowKey::Replicas(_) | RowKey::Host | RowKey::Plan(_) => None,
            })
            .collect();
        for app in said.into_iter().filter(|app| !statuses.contains_key(app)) {
            let row = self.state.withdraw(RowKey::Replicas(app));
            self.write_row(row, out);
        }
        for (app, statuses) in statuses {
            let row = self.state.write(RowKey::Replicas(app), &Fact::Replicas(statuses));
            self.write_row(row, out);
        }
        let blocks = self.blocks.iter().map(|((app, network), subnet)| NetworkBlock {
            app: app.clone(),
            network: network.clone(),
            subnet: *subnet,
        });
        let facts = HostFacts { blocks: blocks.collect(), ..self.facts.clone() };
        let row = self.state.write(RowKey::Host, &Fact::Host(Box::new(facts)));
        self.write_row(row, out);
    }

    /// Blocks of Apps that are gone from here can be given again.
    fn free_blocks(&mut self, out: &mut Vec<Effect>) {
        let seen = self.machine.seen();
        let gone: Vec<(AppName, NetworkName)> = self
            .blocks
            .keys()
            .filter(|(app, _)| {
                let going = self.state.winner(app).is_none_or(|r| r.intent != Intent::Run);
                going && !seen.networks.iter().any(|(_, owner)| owner == app)
            })
            .cloned()
            .collect();
        for (app, network) in gone {
            self.blocks.remove(&(app.clone(), network.clone()));
            let record = Record::ForgetBlock { app, network };
            out.push(Effect::Persist { record, durable: false });
        }
    }

    /// Tells the kernel and the resolver what follows, when it differs from what they were told.
    fn publish(&mut self, out: &mut Vec<Effect>) {
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        let network = network_intent(&view, self.facts.slice);
        let names = name_table(&view);
        if self.network.as_ref() != Some(&network) {
            self.network = Some(network.clone());
            out.push(Effect::Network(network));
        }
        if self.names.as_ref() != Some(&names) {
            self.names = Some(names.clone());
            out.push(Effect::Names(names));
        }
    }

    fn alive(&self) -> impl Iterator<Item = &HostId> {
        let members = self.membership.members().iter();
        members.filter(|(_, m)| m.liveness == Liveness::Alive).map(|(host, _)| host)
    }

    fn not_dead(&self) -> impl Iterator<Item = &HostId> {
        let members = self.membership.members().iter();
        members.filter(|(_, m)| m.liveness != Liveness::Dead).map(|(host, _)| host)
    }

    fn send_digest(&self, to: &HostId, answer: bool, out: &mut Vec<Effect>) {
        let digest = self.state.digest(self.membership.news(), answer);
        self.send(to, Message::Digest(digest), out);
    }

    fn send(&self, to: &HostId, message: Message, out: &mut Vec<Effect>) {
        if let Some(address) = self.membership.address(to) {
            out.push(Effect::Send { to: to.clone(), address, message });
        }
    }
}

/// This host's Slice of all Plans, with the Deployments it names.
fn desired<'a>(view: &ClusterView<'a>) -> Vec<Desired<'a>> {
    let mut desired = Vec::new();
    for (app, plan) in &view.plans {
        for assignment in plan.assignments.iter().filter(|a| a.host == *view.me) {
            let Some(revision) = view.state.revision(app, &assignment.revision) else { continue };
            let Some(deployment) = revision.deployments.get(&assignment.replica.service) else {
                continue;
            };
            let joined = deployment.networks.keys();
            let names = joined.filter_map(|network| {
                Some((revision.networks.get(network)?.name.clone(), network.clone()))
            });
            desired.push(Desired { assignment, deployment, networks: names.collect() });
        }
    }
    desired
}

fn known(view: &ClusterView<'_>) -> BTreeMap<AppName, Known> {
    let known = view.plans.iter().map(|(app, plan)| {
        let mut generations = BTreeMap::new();
        for assignment in &plan.assignments {
            let highest = generations.entry(assignment.replica.clone()).or_default();
            *highest = assignment.generation.max(*highest);
        }
        ((*app).clone(), Known { intent: plan.intent, generations })
    });
    known.collect()
}

struct Preparing<'p, 'v> {
    view: &'p ClusterView<'v>,
    slice: Ipv4Net,
    blocks: &'p mut BTreeMap<(AppName, NetworkName), Ipv4Net>,
    out: &'p mut Vec<Effect>,
}

impl Preparing<'_, '_> {
    fn prepare(&mut self, desired: &Desired<'_>) -> Result<RunReplica, Failure> {
        let assignment = desired.assignment;
        let app = &assignment.replica.app;
        let revision =
            self.view.state.revision(app, &assignment.revision).ok_or_else(|| Failure {
                reason: format!("revision `{}` has not arrived", assignment.revision.short()),
            })?;
        let mut networks = Vec::new();
        for network in desired.deployment.networks.keys() {
            let spec = revision.networks.get(network).cloned().unwrap_or_default();
            let subnet = self.block(app, network)?;
            let block = NetworkBlock { app: app.clone(), network: network.clone(), subnet };
            networks.push((spec, block));
        }
        let wanted = desired.deployment.volumes();
        let volumes = revision.volumes.iter().filter(|(key, _)| wanted.contains(key.as_str()));
        let image = &desired.deployment.container.image;
        let sources = self.view.hosts.iter().filter(|(host, view)| {
            **host != self.view.me
                && view.liveness == Liveness::Alive
                && view.facts.images.contains(&normal_reference(image))
        });
        let replica = &assignment.replica;
        Ok(RunReplica {
            replica: replica.clone(),
            generation: assignment.generation,
            revision: assignment.revision.clone(),
            spec_hash: assignment.spec_hash.clone(),
            name: format!("{app}-{}-{}.{}", replica.service, replica.index, assignment.generation),
            container: desired.deployment.container.clone(),
            networks,
            volumes: volumes.map(|(key, spec)| (key.clone(), spec.clone())).collect(),
            resolver: resolver_address(self.slice),
            image_sources: sources.map(|(h, v)| ((*h).clone(), v.facts.address)).collect(),
        })
    }

    fn block(&mut self, app: &AppName, network: &NetworkName) -> Result<Ipv4Net, Failure> {
        let place = (app.clone(), network.clone());
        if let Some(subnet) = self.blocks.get(&place) {
            return Ok(*subnet);
        }
        let used: BTreeSet<Ipv4Net> = self.blocks.values().copied().collect();
        let subnet = free_block(self.slice, &used).ok_or_else(|| Failure {
            reason: format!("no addresses left on this host: {} networks are on it", used.len()),
        })?;
        self.blocks.insert(place, subnet);
        let record =
            Record::Block(NetworkBlock { app: app.clone(), network: network.clone(), subnet });
        self.out.push(Effect::Persist { record, durable: true });
        Ok(subnet)
    }
}

/// `redis` is `redis:latest`: a reference as hosts list it.
pub fn normal_reference(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || reference.contains('@') {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

fn send_probes(probes: Vec<Outgoing>, out: &mut Vec<Effect>) {
    out.extend(probes.into_iter().map(|Outgoing { to, address, probe }| Effect::Send {
        to,
        address,
        message: Message::Probe(probe),
    }));
}
