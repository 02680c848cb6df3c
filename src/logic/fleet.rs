//! Adds hosts and gives them back (decision 41): what is asked of the Provider, by which host, and what
//! follows from its answers. Never runs the program, never reads a clock.
//!
//! `ask` is what is asked and answered, `sight` what counts of the cluster, `step` how what goes on goes on.

mod ask;
mod sight;
mod step;

use std::collections::BTreeMap;
use std::time::Duration;

pub use self::ask::{Ask, Follow, Reply, Verb};
use self::sight::{Sight, machine};
use self::step::place;
use super::home::weight;
use super::view::{ClusterView, HostView};
use crate::model::{
    Availability, FLEET_DECISIONS, Fleet, FleetDecision, FleetStage, FleetStep, HostId, HostNeed,
    Liveness, Moment, Provider, WallSeconds,
};

/// The first pause after something came to nothing; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// The longest pause, also of those that the Provider asks for.
const PAUSE_MOST: Duration = Duration::from_secs(1800);
/// Machines that may be there without having joined; with so many, no other one is asked for.
const OPEN_MOST: usize = 3;
/// A host that is drained is empty within this time, or is left alone.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
/// A host of the Provider is dead for so long before that is asked whether it still has it.
const DEAD: Duration = Duration::from_secs(300);
/// Time between two such questions.
const LIST_EVERY: Duration = Duration::from_secs(600);

/// What a look came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The Fleet to be written, where it changed.
    pub fleet: Option<Fleet>,
    /// What is to be done after it was written, in order.
    pub follow: Vec<Follow>,
    /// When another look may come to something else although nothing else changed.
    pub again: Option<Moment>,
}

/// The host that decides: whoever did last, while it can; else the first in rendezvous order that can. One that
/// the Provider added leaves it to one that stays, once nothing goes on: else it could not be given back.
pub fn decider<'a>(
    view: &ClusterView<'a>,
    provider: &Provider,
    fleet: Option<&Fleet>,
) -> Option<&'a HostId> {
    let command = provider.command.as_ref()?;
    let can = |host: &HostView<'_>| {
        host.liveness != Liveness::Dead
            && host.availability() == Availability::Active
            && host.facts.inventory.provider.as_ref() == Some(command)
    };
    let able = view.hosts.iter().filter(|(_, host)| can(host));
    let last = fleet.and_then(|fleet| fleet.by.as_ref());
    let goes_on = fleet.is_some_and(|fleet| fleet.step.is_some());
    let rank = |id: &'a HostId, host: &HostView<'_>| {
        let (was, own) = (Some(id) == last, machine(host).is_none());
        (was && goes_on, own, was, weight("provider", id), id)
    };
    able.map(|(id, host)| rank(id, host)).max().map(|(.., id)| id)
}

/// What the host that decides keeps from one look to the next. All of it can be lost: then things take
/// longer.
#[derive(Debug, Clone, Default)]
pub struct Keeper {
    /// Since when each replica has no room, by App and name.
    pending: BTreeMap<String, Moment>,
    /// Since when each host is empty.
    empty: BTreeMap<HostId, Moment>,
    /// Since when each host of the Provider is dead.
    dead: BTreeMap<HostId, Moment>,
    /// Since when there are too few hosts.
    few: Option<Moment>,
    /// The Fleet that was gone on from: its number and writer.
    follows: Option<(u64, Option<HostId>)>,
    step_since: Moment,
    /// The Provider refused to take back what it was last asked to: it is there as before.
    kept: bool,
    pause_until: Moment,
    /// When it may be asked which machines there are.
    list_at: Moment,
    /// What runs here now.
    asked: Option<Ask>,
    answer: Option<Reply>,
}

impl Keeper {
    /// The program answered what it was asked here.
    pub fn answered(&mut self, ask: &Ask, reply: Reply) {
        // Of an answer to what somebody else took over meanwhile, nothing follows.
        if self.asked.as_ref() == Some(ask) {
            self.answer = Some(reply);
        }
    }

    /// Decides what is due.
    pub fn look(
        &mut self,
        view: &ClusterView<'_>,
        provider: &Provider,
        fleet: Option<&Fleet>,
        now: (Moment, WallSeconds),
    ) -> Outcome {
        if decider(view, provider, fleet) != Some(view.me) {
            *self = Self::default();
            return Outcome::default();
        }
        let before = fleet.cloned().unwrap_or_default();
        self.go_on_from(&before, now.0);
        let sight = Sight::new(view, provider, &before);
        self.watch(&sight, now.0);
        let mut deciding = Deciding {
            keeper: self,
            sight: &sight,
            provider,
            now: now.0,
            wall: now.1,
            fleet: before.clone(),
            follow: Vec::new(),
            again: None,
        };
        deciding.decide();
        let Deciding { mut fleet, follow, again, .. } = deciding;
        if fleet == before {
            return Outcome { fleet: None, follow, again };
        }
        fleet.number = before.number.saturating_add(1);
        fleet.by = Some(view.me.clone());
        fleet.pause_ms = millis(self.pause_until.since(now.0));
        self.follows = Some((fleet.number, fleet.by.clone()));
        Outcome { fleet: Some(fleet), follow, again }
    }

    /// Somebody else decided meanwhile: what it came to counts.
    fn go_on_from(&mut self, fleet: &Fleet, now: Moment) {
        let what = Some((fleet.number, fleet.by.clone()));
        if self.follows == what {
            return;
        }
        self.follows = what;
        (self.asked, self.answer, self.step_since) = (None, None, now);
        self.pause_until = now + Duration::from_millis(fleet.pause_ms).min(PAUSE_MOST);
    }

    /// Notes since when things are as they are.
    fn watch(&mut self, sight: &Sight<'_>, now: Moment) {
        keep(&mut self.pending, sight.pending.keys().cloned(), now);
        keep(&mut self.empty, sight.empty.iter().map(|host| (*host).clone()), now);
        keep(&mut self.dead, sight.dead.values().map(|host| (*host).clone()), now);
        self.few = sight.too_few.then(|| self.few.unwrap_or(now));
    }
}

fn keep<K: Ord>(since: &mut BTreeMap<K, Moment>, now_there: impl Iterator<Item = K>, now: Moment) {
    let mut before = std::mem::take(since);
    since.extend(now_there.map(|key| {
        let began = before.remove(&key).unwrap_or(now);
        (key, began)
    }));
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One look.
struct Deciding<'k, 'v> {
    keeper: &'k mut Keeper,
    sight: &'k Sight<'v>,
    provider: &'k Provider,
    now: Moment,
    wall: WallSeconds,
    fleet: Fleet,
    follow: Vec<Follow>,
    again: Option<Moment>,
}

impl Deciding<'_, '_> {
    fn decide(&mut self) {
        if self.fleet.setting != self.provider.number {
            // Whoever sets it anew wants it tried at once.
            self.fleet.setting = self.provider.number;
            (self.fleet.failures, self.fleet.problem) = (0, None);
            self.fleet.futile.clear();
            self.keeper.pause_until = self.now;
        }
        // Whatever was said of it, it is there.
        let joined = &self.sight.machines;
        self.fleet.open.retain(|machine| !joined.contains_key(machine));
        let sight = self.sight;
        self.fleet.unused.retain(|machine, _| {
            sight.machines.get(machine).is_some_and(|host| sight.is_empty(host))
        });
        self.fleet.futile.retain(|place, tried| sight.revision_of(place) == Some(&*tried));
        if let Some(reply) = self.keeper.answer.take() {
            self.keeper.asked = None;
            self.take_answer(reply);
        }
        if self.fleet.step.is_some() {
            self.go_on();
        }
        if self.fleet.step.is_none() {
            self.begin();
        }
    }

    /// Nothing goes on: is there anything to do?
    fn begin(&mut self) {
        if self.must_wait() {
            return;
        }
        // One that is not taken back must not keep another one from coming, nor be forgotten for it.
        let goes_first = !std::mem::take(&mut self.keeper.kept);
        let add = self.why_add();
        if let Some(machine) = self.fleet.open.first().copied()
            && self.sight.all_alive
            && (goes_first || !matches!(add, Some(Ok(_))))
        {
            let reason = format!("machine {machine} did not join");
            return self.start(FleetStage::Remove, Some(machine), None, reason);
        }
        match add {
            Some(Ok((need, _))) if !self.sight.too_few && self.has_unused() => {
                // What an empty machine has no room for, another one has none for either.
                let services = need.services.iter().map(place).collect();
                self.in_vain(services, "a machine that is empty has no room");
            }
            Some(Ok((need, reason))) => {
                let machine = self.fleet.machines.max(self.sight.highest).saturating_add(1);
                self.fleet.problem = None;
                self.start(FleetStage::Add, Some(machine), None, reason);
                if let Some(step) = &mut self.fleet.step {
                    step.need = Some(need);
                }
                return self.go_on();
            }
            Some(Err(problem)) => self.fleet.problem = Some(problem),
            None if self.fleet.failures == 0 => self.fleet.problem = None,
            None => {}
        }
        if let Some(host) = self.surplus_host() {
            let name = self.sight.name(&host);
            let empty = Duration::from_millis(self.provider.empty_ms).as_secs();
            let reason = format!("nothing has run on `{name}` for {empty} s");
            let machine = self.sight.machine_of(&host);
            self.follow.push(Follow::Want(host.clone(), Availability::Drain));
            return self.start(FleetStage::Drain, machine, Some(host), reason);
        }
        self.ask_after_the_dead();
    }

    /// Whether a machine of the Provider runs nothing since it joined.
    fn has_unused(&self) -> bool {
        self.fleet.unused.keys().any(|machine| {
            let host = self.sight.machines.get(machine).and_then(|host| self.sight.host(host));
            host.is_some_and(|host| host.liveness == Liveness::Alive)
        })
    }

    /// Whether it is too early, and until when.
    fn must_wait(&mut self) -> bool {
        let until = self.keeper.pause_until;
        if self.now < until {
            self.look_again(until);
        }
        self.now < until
    }

    /// Why a host should be added, or why it is not although it should.
    fn why_add(&mut self) -> Option<Result<(HostNeed, String), String>> {
        let (provider, sight) = (self.provider, self.sight);
        let wait = Duration::from_millis(provider.pending_ms);
        let due: Vec<Moment> = self.keeper.pending.values().map(|since| *since + wait).collect();
        let few = self.keeper.few.map(|since| since + wait);
        due.iter().chain(&few).filter(|due| **due > self.now).for_each(|due| {
            self.again = Some(self.again.map_or(*due, |again| again.min(*due)));
        });
        let reason = if due.iter().any(|due| *due <= self.now) {
            let (first, why) = sight.pending.first_key_value()?;
            match sight.pending.len() {
                1 => format!("`{first}` has no room: {why}"),
                n => format!("{n} replicas have no room, such as `{first}`: {why}"),
            }
        } else if few.is_some_and(|due| due <= self.now) {
            format!("{} hosts are alive, at least {} are wanted", sight.alive, provider.hosts_min)
        } else {
            return None;
        };
        let there = sight.known + self.fleet.open.len();
        let most = provider.hosts_max as usize;
        if there >= most {
            return Some(Err(format!(
                "{reason}; but there are {there} hosts, at most {most} may be"
            )));
        }
        if self.fleet.open.len() >= OPEN_MOST {
            let open = self.fleet.open.len();
            return Some(Err(format!("{reason}; but {open} machines have not joined")));
        }
        if sight.dead_or_silent * 2 >= sight.known && sight.dead_or_silent > 0 {
            let (dead, known) = (sight.dead_or_silent, sight.known);
            let words = format!("{dead} of {known} hosts do not answer, which may be the network");
            return Some(Err(format!("{reason}; but {words}")));
        }
        Some(Ok((sight.need.clone(), reason)))
    }

    /// A host that has been empty for long enough, while nothing waits.
    fn surplus_host(&mut self) -> Option<HostId> {
        let sight = self.sight;
        let spare = sight.alive > self.provider.hosts_min as usize;
        if !sight.pending.is_empty() || !sight.all_alive || !spare {
            return None;
        }
        let wait = Duration::from_millis(self.provider.empty_ms);
        let due: Vec<(Moment, HostId)> =
            self.keeper.empty.iter().map(|(host, since)| (*since + wait, host.clone())).collect();
        let (first, host) = due.into_iter().min()?;
        if first > self.now {
            self.look_again(first);
        }
        (first <= self.now).then_some(host)
    }

    /// Whether the Provider still has hosts that are dead.
    fn ask_after_the_dead(&mut self) {
        let Some(since) = self.keeper.dead.values().min().copied() else { return };
        let due = (since + DEAD).max(self.keeper.list_at);
        if due > self.now {
            return self.look_again(due);
        }
        self.keeper.list_at = self.now + LIST_EVERY;
        let reason = "a host of the provider is dead".to_owned();
        self.start(FleetStage::List, None, None, reason);
    }

    fn start(
        &mut self,
        stage: FleetStage,
        machine: Option<u64>,
        host: Option<HostId>,
        reason: String,
    ) {
        if stage != FleetStage::List {
            let subject = match (&host, machine) {
                (Some(host), _) => format!("`{}`", self.sight.name(host)),
                (None, Some(machine)) => format!("machine {machine}"),
                (None, None) => String::new(),
            };
            self.note(format!("{stage}: {subject}: {reason}"));
        }
        self.keeper.step_since = self.now;
        self.fleet.step = Some(FleetStep { stage, machine, host, need: None, reason });
        if stage != FleetStage::Add {
            self.go_on();
        }
    }

    fn note(&mut self, what: String) {
        let decisions = &mut self.fleet.decisions;
        decisions.push(FleetDecision { at: self.wall, what });
        let surplus = decisions.len().saturating_sub(FLEET_DECISIONS);
        decisions.drain(..surplus);
    }

    fn look_again(&mut self, at: Moment) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }
}

#[cfg(test)]
mod tests;
