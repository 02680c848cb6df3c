//! One host held together: membership, state, planning and the host machine behind one door.
//!
//! Events go in with the time; [`Effect`]s come out in the order they must happen: what goes to
//! disk comes before what tells others of it. Never does anything itself.
//!
//! `event` is what goes in and out, `exchange` what is said between hosts, `derive` what follows from
//! what is known, `applied` whether that is so everywhere, `scale` how many replicas services with rules
//! have, `fleet` whether hosts are added or given back.

mod applied;
mod derive;
mod event;
mod exchange;
mod fleet;
mod prepare;
mod requests;
mod scale;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use self::applied::Acknowledgements;
pub use self::event::{Effect, Event};
pub use self::prepare::normal_reference;
use self::scale::Scalers;
pub use self::start::Start;
use super::fleet::Keeper;
use super::home::home;
use super::host::HostMachine;
use super::membership::Membership;
use super::state::State;
use super::view::{AnnouncedSince, ClusterView, Watched};
use super::{Delta, Rng, Want};
use crate::model::{
    AppName, Fact, HostFacts, HostId, Moment, NameTable, NetworkIntent, NetworkName, Record,
    RowKey, WallSeconds,
};

/// Time between two exchanges of digests with a random member: repairs whatever was lost.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// After a start, or a return, nothing is planned or started before digests were exchanged, or this long.
const SETTLE: Duration = Duration::from_secs(2);
/// An event this long after the one before means that this agent was paused: it hears what happened
/// meanwhile before it decides anything. Timers alone come several times a second.
const LATE: Duration = Duration::from_secs(3);
/// Rounds of deriving after one event: a Row of our own can change what we plan. Each round makes
/// at least one step, and a step that is left over is made at the next event.
const ROUNDS_MAX: usize = 4;

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// Decides.
    pub moment: Moment,
    /// Is only shown, but for when a job is due.
    pub wall: WallSeconds,
}

/// Changes whenever something that decisions are derived from changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    state: u64,
    membership: u64,
    settled: bool,
    acknowledged: u64,
}

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
    /// Hosts that were asked for what we lack, and what of it they have not given yet.
    asked: BTreeMap<HostId, Want>,
    /// The first settling after a start.
    settle_until: Moment,
    observed: bool,
    alive_before: BTreeSet<HostId>,
    /// Membership when `alive_before` was taken.
    noticed: Option<u64>,
    /// The Apps this host is the Home of, by what was known of members and Apps then.
    homes: Option<((u64, usize), Vec<AppName>)>,
    /// What others are told at the end of an event, and who need not be.
    outbox: Vec<(Option<HostId>, Delta)>,
    watched: Watched,
    announced_since: AnnouncedSince,
    /// When a Plan of another host was last heard, by App.
    plans_heard: BTreeMap<AppName, Moment>,
    /// When a Plan may come out otherwise although nothing else changed.
    plan_again: Option<Moment>,
    /// What Plans, operations and names were last derived from.
    derived_from: Option<Stamp>,
    network: Option<NetworkIntent>,
    /// What the kernel goes by.
    in_place: Option<NetworkIntent>,
    acknowledgements: Acknowledgements,
    scalers: Scalers,
    keeper: Keeper,
    /// The Provider's program that is here.
    provides: Option<String>,
    names: Option<Arc<NameTable>>,
    refused: BTreeSet<HostId>,
    members: BTreeSet<HostId>,
    rng: Rng,
}

impl Core {
    /// A host that starts now. Nothing is known of its engine yet.
    pub fn new(now: Now, start: Start) -> Self {
        let Start { me, pool, facts, epoch, rows, revisions, blocks, peers, seed, timing } = start;
        let mut rng = Rng::new(seed);
        let state = State::new(me.clone(), epoch, rows, revisions);
        let mut membership =
            Membership::new(me.clone(), facts.address, timing, Rng::new(rng.next_u64()));
        for host in state.removed() {
            membership.remove(host);
        }
        // Nobody listens to a host that was removed.
        let peers = peers.into_iter().filter(|_| !state.is_removed(&me));
        for (host, address) in peers {
            membership.introduce(now.moment, host, address);
        }
        let mut machine = HostMachine::new(Rng::new(rng.next_u64()));
        machine.recall(state.facts_of(&me).filter_map(|(_, fact)| match fact {
            Fact::Replicas(statuses) => Some(statuses.as_slice()),
            Fact::Host(_)
            | Fact::Plan(_)
            | Fact::Removed
            | Fact::Wanted(_)
            | Fact::Operator(_)
            | Fact::Measured(_)
            | Fact::Asked(_)
            | Fact::Provider(_)
            | Fact::Fleet(_) => None,
        }));
        let settle = if membership.members().is_empty() { Duration::ZERO } else { SETTLE };
        Self {
            state,
            machine,
            blocks: blocks.into_iter().map(|b| ((b.app, b.network), b.subnet)).collect(),
            next_sync: now.moment,
            last: now.moment,
            unsettled: BTreeMap::new(),
            asked: BTreeMap::new(),
            derived_from: None,
            settle_until: now.moment + settle,
            observed: false,
            alive_before: BTreeSet::new(),
            noticed: None,
            homes: None,
            outbox: Vec::new(),
            watched: Watched::default(),
            announced_since: AnnouncedSince::new(),
            plans_heard: BTreeMap::new(),
            plan_again: None,
            network: None,
            in_place: None,
            acknowledgements: Acknowledgements::default(),
            scalers: Scalers::default(),
            keeper: Keeper::default(),
            provides: None,
            names: None,
            refused: BTreeSet::new(),
            members: BTreeSet::new(),
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
        let machine = [self.machine.next_deadline(), self.machine.next_probe()];
        let all = [Some(self.next_sync), settle, self.plan_again];
        let all = all.into_iter().chain(machine);
        all.flatten().fold(self.membership.next_deadline(), Moment::min)
    }

    /// The cluster as this host sees it.
    pub fn view(&self) -> ClusterView<'_> {
        let view = ClusterView::new(self.pool, &self.me, &self.state, &self.membership);
        view.with_times(self.last, &self.watched)
    }

    /// Who this is.
    pub fn me(&self) -> &HostId {
        &self.me
    }

    /// What this host says of itself.
    pub fn facts(&self) -> &HostFacts {
        &self.facts
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
        home(app, self.not_dead().chain([&self.me])).unwrap_or(&self.me)
    }

    /// What this host would know if another one were removed from the cluster.
    #[must_use]
    pub fn without(&self, host: &HostId) -> Self {
        let mut after = self.clone();
        after.state.write(RowKey::Removed(host.clone()), &Fact::Removed);
        after.membership.remove(host);
        after
    }

    /// Takes in what happened; what is to be done is put into `out`, in order.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let paused = now.moment.since(self.last) >= LATE;
        self.last = now.moment;
        if paused {
            self.catch_up(now, out);
        }
        let local = self.is_news(&event);
        self.take_in(now, event, out);
        self.notice_members(now, out);
        let due = [self.machine.next_deadline(), self.plan_again];
        if local || due.into_iter().flatten().any(|deadline| deadline <= now.moment) {
            self.derived_from = None;
        }
        let mut derived = false;
        for _ in 0..ROUNDS_MAX {
            let stamp = self.stamp(now);
            if self.derived_from == Some(stamp) {
                break;
            }
            self.derived_from = Some(stamp);
            self.derive(now, out);
            derived = true;
        }
        if derived {
            self.publish(out);
        }
        // What our own kernel goes by is known only now.
        if self.note_own() {
            self.derive(now, out);
            self.derived_from = Some(self.stamp(now));
        }
        let probes = self.machine.probes(now.moment);
        out.extend(probes.into_iter().map(Effect::Probe));
        self.ask_applied(now, out);
        self.answer_applied(out);
        for record in self.state.take_forgotten() {
            out.push(Effect::Persist { record, durable: false });
        }
        self.tell_all(out);
    }

    /// Whether an event of this host itself tells anything new. An engine is looked at often, and
    /// nearly always finds what was there before.
    fn is_news(&self, event: &Event) -> bool {
        match event {
            // What follows from an answer is known only once it was taken in.
            Event::Timer
            | Event::Received { .. }
            | Event::Knocked { .. }
            | Event::InPlace(_)
            | Event::Answered(..) => false,
            Event::Facts(facts) => **facts != self.facts,
            Event::Observed(seen) => !self.observed || seen != self.machine.seen(),
            Event::Progress(..)
            | Event::Finished(..)
            | Event::Joined(..)
            | Event::Removed(_)
            | Event::Wanted(..)
            | Event::Asked(..)
            | Event::LetIn(..)
            | Event::Submitted(_)
            | Event::Learned(_)
            | Event::Provider(_)
            | Event::Provided(..) => true,
            Event::Provides(program) => *program != self.provides,
            // What it says of them counts at the next decision, and is no news until then.
            Event::Measured(_) => false,
        }
    }

    fn take_in(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Timer => self.handle_timer(now, out),
            Event::Received { from, address, message } => {
                self.handle_message(now, &from, address, message, out);
            }
            Event::Knocked { host, answered } => {
                self.membership.handle_knock(now.moment, &host, answered);
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
            Event::Answered(probe, answer) => {
                if self.machine.handle_answer(now.moment, probe, answer) {
                    self.derived_from = None;
                }
            }
            Event::Joined(host, address) => {
                self.membership.introduce(now.moment, host.clone(), address);
                out.push(Effect::Persist { record: Record::Peer { host, address }, durable: true });
            }
            Event::Removed(host) => {
                self.say(RowKey::Removed(host.clone()), &Fact::Removed, out);
                self.forget(&host, out);
            }
            Event::Wanted(host, asked) => {
                self.say(RowKey::Wanted(host), &Fact::Wanted(asked), out);
            }
            Event::Asked(app, request) => self.ask_for(app, request, out),
            Event::LetIn(id, who) => self.say(RowKey::Operator(id), &Fact::Operator(who), out),
            Event::Submitted(revision) => {
                let merged = self.state.add_revision(*revision);
                self.tell(merged, None, out);
            }
            Event::Learned(delta) => {
                let merged = self.state.merge(*delta);
                self.tell(merged, None, out);
            }
            Event::Measured(measured) => self.measured(measured, out),
            Event::InPlace(intent) => self.in_place = Some(*intent),
            Event::Provider(provider) => {
                self.say(RowKey::Provider, &Fact::Provider(provider), out);
            }
            Event::Provides(program) => self.provides = program,
            Event::Provided(ask, reply) => self.keeper.answered(&ask, reply),
        }
    }

    fn stamp(&self, now: Now) -> Stamp {
        Stamp {
            state: self.state.changes(),
            membership: self.membership.changes(),
            settled: self.is_settled(now),
            acknowledged: self.acknowledgements.changes(),
        }
    }

    fn is_settled(&self, now: Now) -> bool {
        self.observed && now.moment >= self.settle_until && self.unsettled.is_empty()
    }

    /// A removed host is as good as unknown.
    fn forget(&mut self, host: &HostId, out: &mut Vec<Effect>) {
        self.membership.remove(host);
        if *host == self.me {
            // It is us: nobody listens to us any more.
            let others: Vec<HostId> = self.membership.members().keys().cloned().collect();
            for other in others {
                self.membership.remove(&other);
            }
        }
        let record = Record::ForgetPeer { host: host.clone() };
        out.push(Effect::Persist { record, durable: false });
    }
}

#[cfg(test)]
mod tests;
