//! Who is there: SWIM (Das, Gupta, Motivala 2002) with suspicion, changed where loss hurts.
//!
//! The changes: whatever a host says is proof that it lives, so any message of a suspect clears the
//! suspicion here; a suspect is asked again and again, directly and through others, before it is
//! called dead; that somebody else calls a host dead is no more than a suspicion here until we had
//! time to ask it ourselves; and a dead host is still asked now and then, so that a healed partition
//! is noticed by itself. A host whose own timer came late blames itself, not the others. Never
//! sends: it returns what to send through `out`.

mod silence;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use self::silence::Silence;
use self::spread::Spread;
use super::{MemberNews, Probe, ProbeKind, Rng};
use crate::model::{HostId, Liveness, Moment, stable_hash};

/// Timing. The defaults find a dead host of a small cluster in about 3 s.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Time between two rounds; each round probes two members.
    pub interval: Duration,
    /// How long a direct answer may take before others are asked to try; half of it later more are.
    pub direct_timeout: Duration,
    /// How long a suspect has to show that it lives. In a larger cluster the news takes longer to
    /// come round, so `log2(members)` times a quarter of it is added.
    pub suspicion: Duration,
    /// Time between two direct questions to a suspect.
    pub retry: Duration,
    /// Time between two questions to a dead member.
    pub revisit: Duration,
    /// A dead member that was silent for so long, counted from the first suspicion, is gone: its
    /// replicas are placed elsewhere. An agent paused for 8 s moves nothing.
    pub eviction: Duration,
    /// The same for a member whose kernel used to answer and is silent too: its host has no power
    /// or no cable. A cable that is out for 3 s moves nothing.
    pub silence: Duration,
    /// The same for a member not heard of since this agent started: after a power cut hosts come
    /// back one by one.
    pub first_eviction: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            direct_timeout: Duration::from_millis(250),
            suspicion: Duration::from_millis(1_500),
            retry: Duration::from_millis(250),
            revisit: Duration::from_millis(1_500),
            eviction: Duration::from_millis(7_600),
            silence: Duration::from_millis(4_500),
            first_eviction: Duration::from_secs(15),
        }
    }
}

/// Members probed in a round. With two, one of five is asked by somebody within a second, and one
/// of fifty nearly always is.
const PROBES: usize = 2;
/// Members asked to try in our place: first one, as the packet was most likely lost, then more, as
/// our path may be broken. All at once would double the traffic at 10 % loss.
const HELPERS: [usize; 2] = [1, 2];
/// News in one probe: keeps the datagram under QUIC's first path MTU of 1200 bytes.
const NEWS_MAX: usize = 6;
/// A timer this late means that we were paused, not the others.
const LATE: Duration = Duration::from_secs(1);
/// Questions asked for others that are waited for at once; the oldest is forgotten beyond.
const RELAYS_MAX: usize = 256;

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its agent listens.
    pub address: SocketAddr,
    /// The highest incarnation heard of.
    pub incarnation: u64,
    /// What we think of it.
    pub liveness: Liveness,
    /// Since when.
    pub since: Moment,
    /// Dead for so long that its replicas are placed elsewhere.
    pub gone: bool,
    silence: Silence,
    next_try: Moment,
    /// Of the news of it.
    hash: u64,
}

/// What to do towards a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Send a probe.
    Probe {
        /// To whom.
        to: HostId,
        /// Where.
        address: SocketAddr,
        /// What.
        probe: Probe,
    },
    /// See whether its kernel answers, and report with [`Membership::handle_knock`].
    Knock {
        /// Whose.
        to: HostId,
        /// Where its agent listens.
        address: SocketAddr,
    },
}

#[derive(Debug, Clone)]
struct Round {
    target: HostId,
    sequence: u64,
    began: Moment,
    /// How many times others were asked.
    stage: usize,
}

#[derive(Debug, Clone)]
struct Relay {
    asker: HostId,
    asker_sequence: u64,
}

/// One host's view of who is there.
#[derive(Debug, Clone)]
pub struct Membership {
    me: HostId,
    my_address: SocketAddr,
    my_incarnation: u64,
    timing: Timing,
    members: BTreeMap<HostId, Member>,
    /// Those of them that are suspected or dead: few, and looked at after every event.
    silent: BTreeSet<HostId>,
    /// Removed for good; whatever is said of them or by them is ignored.
    removed: BTreeSet<HostId>,
    order: Vec<HostId>,
    rounds: Vec<Round>,
    next_round: Moment,
    sequence: u64,
    relays: BTreeMap<u64, Relay>,
    spreading: Spread,
    changes: u64,
    rng: Rng,
}

impl Membership {
    /// A host alone.
    pub fn new(me: HostId, address: SocketAddr, timing: Timing, rng: Rng) -> Self {
        Self {
            me,
            my_address: address,
            my_incarnation: 1,
            timing,
            members: BTreeMap::new(),
            silent: BTreeSet::new(),
            removed: BTreeSet::new(),
            order: Vec::new(),
            rounds: Vec::new(),
            next_round: Moment::default(),
            sequence: 0,
            relays: BTreeMap::new(),
            spreading: Spread::default(),
            changes: 0,
            rng,
        }
    }

    /// The other members, dead ones included.
    pub fn members(&self) -> &BTreeMap<HostId, Member> {
        &self.members
    }

    /// A number that rises whenever somebody comes, goes, or is thought of otherwise.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What we think of a host; a host never heard of is dead, we ourselves are alive.
    pub fn liveness(&self, host: &HostId) -> Liveness {
        if *host == self.me {
            return Liveness::Alive;
        }
        self.members.get(host).map_or(Liveness::Dead, |member| member.liveness)
    }

    /// Where a member's agent listens.
    pub fn address(&self, host: &HostId) -> Option<SocketAddr> {
        self.members.get(host).map(|member| member.address)
    }

    /// Everything known, ourselves included, as told to others.
    pub fn news(&self) -> Vec<MemberNews> {
        let others = self.members.iter().map(|(host, member)| member_news(host, member));
        std::iter::once(self.my_news()).chain(others).collect()
    }

    /// A hash over [`Membership::news`]: equal for hosts that know the same.
    pub fn summary(&self) -> u64 {
        self.members.values().fold(hash(self.my_news()), |sum, member| sum ^ member.hash)
    }

    /// Adds a member that joined here, or that is remembered from before; it starts as dead and
    /// is asked at once, so that nothing is believed that was not seen.
    pub fn introduce(&mut self, now: Moment, host: HostId, address: SocketAddr) {
        let known = self.members.contains_key(&host) || self.removed.contains(&host);
        if host == self.me || known {
            return;
        }
        let mut member = Member {
            address,
            incarnation: 0,
            liveness: Liveness::Dead,
            since: now,
            gone: false,
            silence: Silence::unheard(now, &self.timing),
            next_try: now,
            hash: 0,
        };
        member.hash = hash(member_news(&host, &member));
        self.silent.insert(host.clone());
        self.members.insert(host, member);
        self.changes += 1;
    }

    /// Forgets a member for good: it does not come back, whoever speaks of it.
    pub fn remove(&mut self, host: &HostId) {
        if !self.removed.insert(host.clone()) {
            return;
        }
        self.members.remove(host);
        self.silent.remove(host);
        self.spreading.remove(host);
        self.rounds.retain(|round| round.target != *host);
        self.changes += 1;
    }

    /// Whether a member is dead for so long that its replicas are placed elsewhere; so is one never
    /// heard of.
    pub fn is_gone(&self, host: &HostId) -> bool {
        *host != self.me && self.members.get(host).is_none_or(|member| member.gone)
    }

    /// When [`Membership::handle_timer`] wants to be called next.
    pub fn next_deadline(&self) -> Moment {
        let direct = self.rounds.iter().filter_map(|round| self.late_at(round)).min();
        let suspicion = self.suspicion();
        let deadline = |member: &Member| match member.liveness {
            Liveness::Suspect => member.next_try.min(member.since + suspicion),
            Liveness::Dead if !member.gone => {
                member.next_try.min(member.silence.gone_at(&self.timing))
            }
            Liveness::Dead | Liveness::Alive => member.next_try,
        };
        // Asked after every event. While a large cluster starts, nearly all are silent; then going
        // through all is sooner done than finding each.
        let silent = if self.silent.len() > self.members.len() / 8 {
            let all = self.members.values();
            all.filter(|member| member.liveness != Liveness::Alive).map(deadline).min()
        } else {
            self.silent.iter().filter_map(|host| self.members.get(host)).map(deadline).min()
        };
        [direct, silent].into_iter().flatten().fold(self.next_round, Moment::min)
    }

    /// Advances to `now`: ends a round, begins the next one, asks suspects and the dead.
    pub fn handle_timer(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        self.excuse_lateness(now);
        self.ask_others_when_late(now, out);
        if now >= self.next_round {
            self.end_rounds(now);
            self.begin_rounds(now, out);
            self.next_round = now + self.timing.interval;
        }
        self.ask_the_silent(now, out);
        self.bury(now);
    }

    /// We were paused: what was not answered meanwhile may have been answered all the same. Everyone
    /// gets its time again.
    fn excuse_lateness(&mut self, now: Moment) {
        let late = now.since(self.next_round);
        if self.next_round == Moment::default() || late < LATE {
            return;
        }
        self.rounds.clear();
        for member in self.members.values_mut() {
            if member.liveness == Liveness::Suspect {
                member.since = now;
                member.next_try = now;
            }
            if !member.gone {
                member.silence.excuse(now, late);
            }
        }
    }

    /// Takes in a probe of `from`, whose identity the transport has proved. That it speaks at all
    /// is for [`Membership::hear_from`], which comes first.
    pub fn handle_probe(
        &mut self,
        now: Moment,
        from: &HostId,
        address: SocketAddr,
        probe: &Probe,
        out: &mut Vec<Outgoing>,
    ) {
        if self.removed.contains(from) {
            return;
        }
        for news in &probe.news {
            self.hear_of(now, news);
        }
        // The answer to a ping says it anyway.
        if !matches!(probe.kind, ProbeKind::Ping) {
            self.object(&probe.news, from, address, out);
        }
        match &probe.kind {
            ProbeKind::Ping => {
                let kind = ProbeKind::Ack { subject: self.me.clone() };
                self.send(from, address, kind, probe.sequence, out);
            }
            ProbeKind::PingFor { target, address: target_address } => {
                self.sequence += 1;
                let relay = Relay { asker: from.clone(), asker_sequence: probe.sequence };
                self.relays.insert(self.sequence, relay);
                if self.relays.len() > RELAYS_MAX {
                    self.relays.pop_first();
                }
                self.send(target, *target_address, ProbeKind::Ping, self.sequence, out);
            }
            ProbeKind::Ack { subject } => self.handle_ack(now, from, subject, probe.sequence, out),
        }
    }

    /// Takes in whether the kernel of a member answered.
    pub fn handle_knock(&mut self, now: Moment, host: &HostId, answered: bool) {
        if let Some(member) = self.members.get_mut(host) {
            let alive = member.liveness == Liveness::Alive;
            member.silence.handle_knock(now, answered, alive);
        }
    }

    /// Takes in what another member knows of the members, after [`Membership::hear_from`].
    pub fn handle_members(
        &mut self,
        now: Moment,
        from: &HostId,
        address: SocketAddr,
        news: &[MemberNews],
        out: &mut Vec<Outgoing>,
    ) {
        if self.removed.contains(from) {
            return;
        }
        for item in news {
            self.hear_of(now, item);
        }
        self.object(news, from, address, out);
    }

    /// Whoever takes us for dead plans without us: it hears at once that we live, not at its next
    /// question.
    fn object(
        &mut self,
        news: &[MemberNews],
        to: &HostId,
        address: SocketAddr,
        out: &mut Vec<Outgoing>,
    ) {
        let of_me = |news: &&MemberNews| news.host == self.me;
        if news.iter().find(of_me).is_some_and(|news| news.liveness != Liveness::Alive) {
            let me = self.me.clone();
            self.spread(&me);
            self.sequence += 1;
            self.send(to, address, ProbeKind::Ping, self.sequence, out);
        }
    }

    fn handle_ack(
        &mut self,
        now: Moment,
        from: &HostId,
        subject: &HostId,
        sequence: u64,
        out: &mut Vec<Outgoing>,
    ) {
        if let Some(relay) = self.relays.remove(&sequence) {
            if let Some(address) = self.address(&relay.asker) {
                let kind = ProbeKind::Ack { subject: from.clone() };
                self.send(&relay.asker, address, kind, relay.asker_sequence, out);
            }
            return;
        }
        self.rounds.retain(|round| round.sequence != sequence || round.target != *subject);
        // Somebody else reached it for us: it lives, although our own path is broken.
        if from != subject {
            self.clear_suspicion(now, subject);
        }
    }

    /// Whatever a host says itself is proof that it lives.
    pub fn hear_from(&mut self, now: Moment, from: &HostId, address: SocketAddr) {
        if *from == self.me || self.removed.contains(from) {
            return;
        }
        if !self.members.contains_key(from) {
            self.introduce(now, from.clone(), address);
        }
        self.clear_suspicion(now, from);
        // Still dead: somebody spread its death. It must hear of it, to contradict.
        if self.liveness(from) == Liveness::Dead {
            let never_alive = self.members.get(from).is_some_and(|member| member.incarnation == 0);
            if never_alive {
                self.set(now, from, 1, Liveness::Alive);
            }
            self.spread(from);
            self.ask_soon(now, from);
        }
    }

    /// A dead member seems to live: it is asked at once, but no more often than a suspect.
    pub fn ask_soon(&mut self, now: Moment, host: &HostId) {
        let just_asked = self.timing.revisit.saturating_sub(self.timing.retry);
        if let Some(member) = self.members.get_mut(host)
            && member.next_try.since(now) <= just_asked
        {
            member.next_try = now;
        }
    }

    fn clear_suspicion(&mut self, now: Moment, host: &HostId) {
        let suspect = self.members.get(host).filter(|m| m.liveness == Liveness::Suspect);
        if let Some(incarnation) = suspect.map(|member| member.incarnation) {
            self.set(now, host, incarnation, Liveness::Alive);
        }
    }

    fn hear_of(&mut self, now: Moment, news: &MemberNews) {
        if news.host == self.me {
            self.contradict(news);
            return;
        }
        if self.removed.contains(&news.host) {
            return;
        }
        let limit = self.suspicion();
        let Some(member) = self.members.get_mut(&news.host) else {
            let known_dead = news.liveness == Liveness::Dead;
            self.introduce(now, news.host.clone(), news.address);
            if !known_dead {
                self.set(now, &news.host, news.incarnation, news.liveness);
            }
            return;
        };
        let newer = news.incarnation > member.incarnation
            || (news.incarnation == member.incarnation && news.liveness > member.liveness);
        if !newer {
            return;
        }
        member.address = news.address;
        // Somebody else gave it up. We take that for a suspicion until we asked ourselves.
        let asked = member.liveness == Liveness::Dead
            || (member.liveness == Liveness::Suspect && now.since(member.since) * 2 >= limit);
        let liveness = match news.liveness {
            Liveness::Dead if !asked => Liveness::Suspect,
            liveness @ (Liveness::Alive | Liveness::Suspect | Liveness::Dead) => liveness,
        };
        self.set(now, &news.host, news.incarnation, liveness);
    }

    /// Somebody thinks ill of us: say that we live, with a higher incarnation.
    fn contradict(&mut self, news: &MemberNews) {
        if news.incarnation > self.my_incarnation
            || (news.incarnation == self.my_incarnation && news.liveness != Liveness::Alive)
        {
            self.my_incarnation = news.incarnation.saturating_add(1);
            let me = self.me.clone();
            self.spread(&me);
        }
    }

    fn set(&mut self, now: Moment, host: &HostId, incarnation: u64, liveness: Liveness) {
        let Some(member) = self.members.get_mut(host) else { return };
        debug_assert!(incarnation >= member.incarnation, "an incarnation only rises");
        if member.liveness != liveness {
            match liveness {
                Liveness::Alive => member.gone = false,
                Liveness::Suspect => member.silence.begin(now, &self.timing),
                Liveness::Dead if member.liveness == Liveness::Alive => {
                    member.silence.begin(now, &self.timing);
                }
                Liveness::Dead => {}
            }
            member.since = now;
            member.next_try = now;
            self.changes += 1;
            if liveness == Liveness::Alive {
                self.silent.remove(host);
            } else {
                self.silent.insert(host.clone());
            }
        }
        member.incarnation = incarnation;
        member.liveness = liveness;
        member.hash = hash(member_news(host, member));
        self.spread(host);
    }

    fn ask_others_when_late(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        let mut late = Vec::new();
        for index in 0..self.rounds.len() {
            if self.late_at(&self.rounds[index]).is_none_or(|late| now < late) {
                continue;
            }
            let round = &mut self.rounds[index];
            late.push((round.target.clone(), round.sequence, HELPERS[round.stage]));
            round.stage += 1;
        }
        for (target, sequence, n_helpers) in late {
            let Some(address) = self.address(&target) else { continue };
            let mut helpers: Vec<HostId> =
                self.alive().filter(|host| **host != target).cloned().collect();
            self.rng.shuffle(&mut helpers);
            for helper in helpers.into_iter().take(n_helpers) {
                let Some(helper_address) = self.address(&helper) else { continue };
                let kind = ProbeKind::PingFor { target: target.clone(), address };
                self.send(&helper, helper_address, kind, sequence, out);
            }
            // The first answer may only be late, or the question lost: ask again ourselves.
            self.send(&target, address, ProbeKind::Ping, sequence, out);
        }
    }

    /// When others are asked next for a round's target.
    fn late_at(&self, round: &Round) -> Option<Moment> {
        let patience = self.timing.direct_timeout;
        let stage = u32::try_from(round.stage).ok().filter(|_| round.stage < HELPERS.len())?;
        Some(round.began + patience + patience / 2 * stage)
    }

    fn end_rounds(&mut self, now: Moment) {
        for round in std::mem::take(&mut self.rounds) {
            let alive = self.members.get(&round.target).filter(|m| m.liveness == Liveness::Alive);
            if let Some(incarnation) = alive.map(|member| member.incarnation) {
                self.set(now, &round.target, incarnation, Liveness::Suspect);
            }
        }
    }

    fn begin_rounds(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        for _ in 0..PROBES {
            let Some(target) = self.next_target() else { return };
            let Some(address) = self.address(&target) else { return };
            self.sequence += 1;
            let sequence = self.sequence;
            let round = Round { target: target.clone(), sequence, began: now, stage: 0 };
            self.rounds.push(round);
            self.send(&target, address, ProbeKind::Ping, sequence, out);
            self.knock(now, &target, out);
        }
    }

    fn knock(&mut self, now: Moment, host: &HostId, out: &mut Vec<Outgoing>) {
        let Some(member) = self.members.get_mut(host) else { return };
        if !member.gone && member.silence.knocks(now, member.liveness == Liveness::Alive) {
            out.push(Outgoing::Knock { to: host.clone(), address: member.address });
        }
    }

    /// Members in random order, each once before any comes again. None when all are being asked.
    fn next_target(&mut self) -> Option<HostId> {
        for _ in 0..2 {
            while let Some(host) = self.order.pop() {
                let asked = self.rounds.iter().any(|round| round.target == host);
                if !asked && self.liveness(&host) == Liveness::Alive {
                    return Some(host);
                }
            }
            self.order = self.alive().cloned().collect();
            self.rng.shuffle(&mut self.order);
        }
        None
    }

    /// Suspects are asked often, the dead now and then.
    fn ask_the_silent(&mut self, now: Moment, out: &mut Vec<Outgoing>) {
        let (retry, revisit) = (self.timing.retry, self.timing.revisit);
        let mut due = Vec::new();
        for host in &self.silent {
            let Some(member) = self.members.get_mut(host) else { continue };
            let pause = match member.liveness {
                Liveness::Alive => continue,
                Liveness::Suspect => retry,
                Liveness::Dead => revisit,
            };
            if member.next_try <= now {
                member.next_try = now + pause;
                due.push((host.clone(), member.address));
            }
        }
        for (host, address) in due {
            self.sequence += 1;
            let sequence = self.sequence;
            // The news must say what we think of it, or it cannot contradict.
            self.spread(&host);
            self.send(&host, address, ProbeKind::Ping, sequence, out);
            self.knock(now, &host, out);
            if self.liveness(&host) == Liveness::Suspect {
                self.ask_through_another(&host, address, sequence, out);
            }
        }
    }

    /// Our own path to a suspect may be what is broken.
    fn ask_through_another(
        &mut self,
        host: &HostId,
        address: SocketAddr,
        sequence: u64,
        out: &mut Vec<Outgoing>,
    ) {
        let n_alive = self.alive().count() as u64;
        let chosen = self.rng.below(n_alive) as usize;
        let helper = self.alive().nth(chosen).cloned();
        if let Some((helper, helper_address)) =
            helper.and_then(|helper| self.address(&helper).map(|address| (helper, address)))
        {
            let kind = ProbeKind::PingFor { target: host.clone(), address };
            self.send(&helper, helper_address, kind, sequence, out);
        }
    }

    fn bury(&mut self, now: Moment) {
        let limit = self.suspicion();
        let overdue = |member: &Member| {
            member.liveness == Liveness::Suspect && now.since(member.since) >= limit
        };
        let overdue: Vec<(HostId, u64)> = self
            .silent
            .iter()
            .filter_map(|host| self.members.get(host).map(|member| (host, member)))
            .filter(|(_, member)| overdue(member))
            .map(|(host, member)| (host.clone(), member.incarnation))
            .collect();
        for (host, incarnation) in overdue {
            self.set(now, &host, incarnation, Liveness::Dead);
        }
        for host in &self.silent {
            let Some(member) = self.members.get_mut(host) else { continue };
            let due = now >= member.silence.gone_at(&self.timing);
            if due && member.liveness == Liveness::Dead && !member.gone {
                member.gone = true;
                self.changes += 1;
            }
        }
    }

    fn suspicion(&self) -> Duration {
        let doublings = (self.members.len() as u32 + 1).ilog2().saturating_sub(1);
        self.timing.suspicion + self.timing.suspicion / 4 * doublings
    }

    fn alive(&self) -> impl Iterator<Item = &HostId> {
        let alive = self.members.iter().filter(|(_, m)| m.liveness == Liveness::Alive);
        alive.map(|(host, _)| host)
    }

    fn my_news(&self) -> MemberNews {
        MemberNews {
            host: self.me.clone(),
            address: self.my_address,
            incarnation: self.my_incarnation,
            liveness: Liveness::Alive,
        }
    }

    /// Each news rides on `3 log2(n)` probes, enough to reach all with high probability (SWIM 4.1).
    fn spread(&mut self, host: &HostId) {
        let rides = 3 * ((self.members.len() as u32 + 2).ilog2() + 1);
        self.spreading.insert(host, rides);
    }

    fn send(
        &mut self,
        to: &HostId,
        address: SocketAddr,
        kind: ProbeKind,
        sequence: u64,
        out: &mut Vec<Outgoing>,
    ) {
        let news = self.pick_news(to);
        let probe = Probe { kind, sequence, news };
        out.push(Outgoing::Probe { to: to.clone(), address, probe });
    }

    fn pick_news(&mut self, to: &HostId) -> Vec<MemberNews> {
        let hosts = self.spreading.take(to, NEWS_MAX);
        let news = hosts.iter().filter_map(|host| {
            if *host == self.me {
                return Some(self.my_news());
            }
            self.members.get(host).map(|member| member_news(host, member))
        });
        news.collect()
    }
}

fn hash(news: MemberNews) -> u64 {
    let MemberNews { host, address, incarnation, liveness } = news;
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let rest = [u64::from(address.port()), incarnation, liveness as u64];
    let rest = rest.map(u64::to_be_bytes).concat();
    stable_hash(&[host.as_str().as_bytes(), &ip, &rest])
}

fn member_news(host: &HostId, member: &Member) -> MemberNews {
    MemberNews {
        host: host.clone(),
        address: member.address,
        incarnation: member.incarnation,
        liveness: member.liveness,
    }
}

#[cfg(test)]
mod tests;
