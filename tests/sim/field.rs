//! Membership alone, of many hosts for many hours: what the figures of detection and of false deaths
//! are measured on. The machines are the real ones; Rows, Plans and engines are left out.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::logic::membership::{Membership, Outgoing, Timing};
use muster::logic::{MemberNews, Probe, Rng};
use muster::model::{HostId, Liveness, Moment};

use crate::world::{KNOCK_LIMIT, address, host_id};

/// Time between two exchanges of all that is known of members, as in the core.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// What a lost packet of a stream costs until it is sent again.
const RETRANSMIT: Duration = Duration::from_millis(50);
/// A knock that is lost is repeated by the kernel after this.
const SYN_AGAIN: Duration = Duration::from_secs(1);

/// What the network loses, of a million packets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// Each packet for itself.
    Even(u64),
    /// Bursts (Gilbert 1960, Elliott 1963): each direction of a pair is good or bad for a while.
    /// The times are the means of geometric ones.
    Bursts {
        /// How long it stays good.
        good: Duration,
        /// How long it stays bad.
        bad: Duration,
        /// Lost of a million while bad; nothing is lost while good.
        lost: u64,
    },
}

enum What {
    Wake(usize),
    Probe { from: usize, to: usize, probe: Probe },
    Members { from: usize, to: usize, summary: u64, news: Vec<MemberNews>, answer: bool },
    Knocked { by: usize, of: usize, answered: bool },
}

struct Seat {
    /// None while the host has no power.
    machine: Option<Membership>,
    wakes_at: Moment,
    next_sync: Moment,
    /// Its machine's count of changes when it was last looked at.
    changes: u64,
}

/// The hosts and the network between them.
pub(crate) struct Field {
    pub(crate) now: Moment,
    seats: Vec<Seat>,
    ids: Vec<HostId>,
    index: BTreeMap<HostId, usize>,
    loss: Loss,
    /// Until when a direction is in the state it is in, and whether that is bad.
    weather: BTreeMap<(usize, usize), (Moment, bool)>,
    rng: Rng,
    queue: BTreeMap<(Moment, u64), What>,
    next_item: u64,
    /// Datagrams sent.
    pub(crate) datagrams: u64,
    /// Times a host that lives was called dead by another one.
    pub(crate) false_deaths: u64,
}

impl Field {
    /// Hosts that know each other and all live; nothing was lost so far.
    pub(crate) fn new(n: usize, loss: Loss, seed: u64) -> Self {
        let ids: Vec<HostId> = (0..n).map(host_id).collect();
        let index = ids.iter().enumerate().map(|(index, id)| (id.clone(), index)).collect();
        let seat = |_| Seat {
            machine: None,
            wakes_at: Moment(u64::MAX),
            next_sync: Moment(0),
            changes: 0,
        };
        let mut field = Self {
            now: Moment(1),
            seats: (0..n).map(seat).collect(),
            ids,
            index,
            loss: Loss::Even(0),
            weather: BTreeMap::new(),
            rng: Rng::new(seed),
            queue: BTreeMap::new(),
            next_item: 0,
            datagrams: 0,
            false_deaths: 0,
        };
        for index in 0..n {
            field.start(index);
        }
        assert!(field.run_until(Duration::from_secs(60), Self::all_agree), "they did not meet");
        field.loss = loss;
        field.datagrams = 0;
        field.false_deaths = 0;
        field
    }

    /// The host gets power; its agent remembers the others.
    pub(crate) fn start(&mut self, index: usize) {
        let rng = Rng::new(self.rng.next_u64());
        let me = self.ids[index].clone();
        let mut machine = Membership::new(me, address(index), Timing::default(), rng);
        for (other, id) in self.ids.iter().enumerate() {
            machine.introduce(self.now, id.clone(), address(other));
        }
        let spread = self.rng.below(SYNC_EVERY.as_millis() as u64);
        let seat = &mut self.seats[index];
        seat.changes = machine.changes();
        seat.machine = Some(machine);
        seat.next_sync = self.now + Duration::from_millis(spread);
        self.rest(index);
    }

    /// The host loses power.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.seats[index].machine = None;
        self.seats[index].wakes_at = Moment(u64::MAX);
    }

    pub(crate) fn n(&self) -> usize {
        self.seats.len()
    }

    /// A number below `bound`, of the field's own sequence.
    pub(crate) fn draw(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    /// What each host with power thinks of one.
    pub(crate) fn seen(&self, of: usize) -> impl Iterator<Item = Liveness> {
        let others = self.seats.iter().enumerate().filter(move |(index, _)| *index != of);
        let machines = others.filter_map(|(_, seat)| seat.machine.as_ref());
        machines.map(move |machine| machine.liveness(&self.ids[of]))
    }

    /// Whether all hosts have power and everyone thinks so.
    pub(crate) fn all_agree(&self) -> bool {
        self.seats.iter().all(|seat| {
            seat.machine.as_ref().is_some_and(|machine| {
                machine.members().len() + 1 == self.seats.len()
                    && machine.members().values().all(|m| m.liveness == Liveness::Alive)
            })
        })
    }

    /// Runs until `done`, asked every 50 ms of the field's time, for at most `limit`.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now + limit;
        while self.now < end {
            if done(self) {
                return true;
            }
            self.run_for(Duration::from_millis(50));
        }
        done(self)
    }

    /// Runs for so long.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.queue.first_key_value().is_some_and(|((moment, _), _)| *moment <= until) {
            let Some(((moment, _), what)) = self.queue.pop_first() else { break };
            self.now = moment;
            self.step(what);
        }
        self.now = until;
    }

    fn put(&mut self, after: Duration, what: What) {
        self.next_item += 1;
        self.queue.insert((self.now + after, self.next_item), what);
    }

    fn step(&mut self, what: What) {
        let now = self.now;
        let mut out = Vec::new();
        let index = match what {
            What::Wake(index) => {
                if self.seats[index].wakes_at != now {
                    return;
                }
                self.sync(index);
                let Some(machine) = &mut self.seats[index].machine else { return };
                machine.handle_timer(now, &mut out);
                index
            }
            What::Probe { from, to, probe } => {
                let id = &self.ids[from];
                let Some(machine) = &mut self.seats[to].machine else { return };
                machine.hear_from(now, id, address(from));
                machine.handle_probe(now, id, address(from), &probe, &mut out);
                to
            }
            What::Members { from, to, summary, news, answer } => {
                let id = &self.ids[from];
                let Some(machine) = &mut self.seats[to].machine else { return };
                machine.hear_from(now, id, address(from));
                machine.handle_members(now, id, address(from), &news, &mut out);
                // As `Core` does.
                let (differs, untold) = (machine.summary() != summary, news.is_empty());
                if differs && (untold || answer) {
                    let news = machine.news();
                    self.tell_members(to, from, news, untold);
                }
                to
            }
            What::Knocked { by, of, answered } => {
                let id = &self.ids[of];
                let Some(machine) = &mut self.seats[by].machine else { return };
                machine.handle_knock(now, id, answered);
                by
            }
        };
        for outgoing in out {
            self.send(index, outgoing);
        }
        self.count_false_deaths(index);
        self.rest(index);
    }

    /// Tells a random member all that is known of members, now and then.
    fn sync(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(machine) = seat.machine.as_ref().filter(|_| seat.next_sync <= self.now) else {
            return;
        };
        seat.next_sync = self.now + SYNC_EVERY;
        let alive = machine.members().iter().filter(|(_, m)| m.liveness == Liveness::Alive);
        let alive: Vec<&HostId> = alive.map(|(id, _)| id).collect();
        if !alive.is_empty() {
            let peer = self.index[alive[self.rng.below(alive.len() as u64) as usize]];
            self.tell_members(index, peer, Vec::new(), true);
        }
    }

    fn tell_members(&mut self, from: usize, to: usize, news: Vec<MemberNews>, answer: bool) {
        let Some(summary) = self.seats[from].machine.as_ref().map(Membership::summary) else {
            return;
        };
        let mut delay = self.delay();
        while self.loses(from, to) {
            delay += RETRANSMIT;
        }
        self.put(delay, What::Members { from, to, summary, news, answer });
    }

    fn send(&mut self, from: usize, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Probe { to, probe, .. } => {
                self.datagrams += 1;
                let to = self.index[&to];
                if !self.loses(from, to) {
                    let delay = self.delay();
                    self.put(delay, What::Probe { from, to, probe });
                }
            }
            Outgoing::Knock { to, .. } => {
                let of = self.index[&to];
                let mut after = Duration::ZERO;
                let mut answered = false;
                while self.seats[of].machine.is_some() && after < KNOCK_LIMIT && !answered {
                    answered = !self.loses(from, of) && !self.loses(of, from);
                    after += if answered { self.delay() } else { SYN_AGAIN };
                }
                let after = if answered { after } else { KNOCK_LIMIT };
                self.put(after, What::Knocked { by: from, of, answered });
            }
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(1 + self.rng.below(3))
    }

    fn loses(&mut self, from: usize, to: usize) -> bool {
        match self.loss {
            Loss::Even(lost) => self.rng.below(1_000_000) < lost,
            Loss::Bursts { good, bad, lost } => {
                let before = self.weather.get(&(from, to)).copied();
                let (mut until, mut is_bad) = before.unwrap_or((self.now, true));
                while until <= self.now {
                    is_bad = !is_bad;
                    let mean = if is_bad { bad } else { good };
                    until = until + self.geometric(mean);
                }
                self.weather.insert((from, to), (until, is_bad));
                is_bad && self.rng.below(1_000_000) < lost
            }
        }
    }

    /// A time with this mean, at least a millisecond.
    fn geometric(&mut self, mean: Duration) -> Duration {
        // The top 53 bits make a fraction of (0, 1].
        let fraction = ((self.rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64(-fraction.ln()).max(Duration::from_millis(1))
    }

    fn count_false_deaths(&mut self, by: usize) {
        let Some(machine) = &self.seats[by].machine else { return };
        if machine.changes() == self.seats[by].changes {
            return;
        }
        let (now, changes) = (self.now, machine.changes());
        // A member just introduced is dead until it is heard; that is nobody's false alarm.
        let called = machine.members().iter().filter(|(_, member)| {
            member.liveness == Liveness::Dead && member.since == now && member.incarnation > 0
        });
        let lives = |(id, _): &(&HostId, _)| self.seats[self.index[*id]].machine.is_some();
        self.false_deaths += called.filter(lives).count() as u64;
        self.seats[by].changes = changes;
    }

    fn rest(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        let Some(machine) = &seat.machine else { return };
        let next = machine.next_deadline().min(seat.next_sync);
        let next = next.max(self.now + Duration::from_millis(1));
        if seat.wakes_at != next {
            seat.wakes_at = next;
            let wait = next.since(self.now);
            self.put(wait, What::Wake(index));
        }
    }
}
