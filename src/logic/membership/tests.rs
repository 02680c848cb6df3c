//! A few members over a network that is a queue.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::*;

fn id(n: usize) -> HostId {
    HostId::new(format!("m{n}"))
}

fn number(host: &HostId) -> usize {
    host.as_str()[1..].parse().unwrap()
}

fn asks(outgoing: &Outgoing, whom: usize) -> bool {
    matches!(outgoing, Outgoing::Probe { to, .. } if number(to) == whom)
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n as u8], 7400))
}

/// Members 1 to n with a network without delay.
struct Net {
    members: BTreeMap<usize, Membership>,
    now: Moment,
    cut: BTreeSet<(usize, usize)>,
    /// Members that do nothing, but whose kernel goes on.
    stopped: BTreeMap<usize, Membership>,
    /// Kernels do not answer knocks.
    firewalled: bool,
}

impl Net {
    fn new(n: usize) -> Self {
        Self::with_firewall(n, false)
    }

    fn with_firewall(n: usize, firewalled: bool) -> Self {
        let (members, stopped) = (BTreeMap::new(), BTreeMap::new());
        let (now, cut) = (Moment(1), BTreeSet::new());
        let mut net = Self { members, now, cut, stopped, firewalled };
        for me in 1..=n {
            net.start(me, (1..=n).collect());
        }
        net.run(3_000);
        net
    }

    fn start(&mut self, me: usize, known: Vec<usize>) {
        let rng = Rng::new(me as u64);
        let mut member = Membership::new(id(me), address(me), Timing::default(), rng);
        for other in known {
            member.introduce(self.now, id(other), address(other));
        }
        self.members.insert(me, member);
    }

    fn deliver(&mut self, from: usize, outgoing: Vec<Outgoing>) {
        let mut queue: Vec<(usize, Outgoing)> = outgoing.into_iter().map(|o| (from, o)).collect();
        let mut n_delivered = 0;
        while let Some((from, outgoing)) = queue.pop() {
            n_delivered += 1;
            assert!(n_delivered < 10_000, "messages beget messages without end");
            let (to, probe) = match outgoing {
                Outgoing::Probe { to, probe, .. } => (number(&to), probe),
                Outgoing::Knock { to, .. } => {
                    let answered = self.answers(from, number(&to));
                    let member = self.members.get_mut(&from).unwrap();
                    member.handle_knock(self.now, &to, answered);
                    continue;
                }
            };
            if self.cut.contains(&(from, to)) {
                continue;
            }
            let Some(member) = self.members.get_mut(&to) else { continue };
            let mut out = Vec::new();
            member.hear_from(self.now, &id(from), address(from));
            member.handle_probe(self.now, &id(from), address(from), &probe, &mut out);
            queue.extend(out.into_iter().map(|outgoing| (to, outgoing)));
        }
    }

    fn answers(&self, from: usize, to: usize) -> bool {
        let there = self.members.contains_key(&to) || self.stopped.contains_key(&to);
        there
            && !self.firewalled
            && !self.cut.contains(&(from, to))
            && !self.cut.contains(&(to, from))
    }

    fn stop(&mut self, me: usize) {
        let member = self.members.remove(&me).unwrap();
        self.stopped.insert(me, member);
    }

    /// Whether all others gave it up.
    fn all_gave_up(&self, of: usize) -> bool {
        self.members.values().all(|member| member.is_gone(&id(of)))
    }

    fn nobody_gave_up(&self, of: usize) -> bool {
        self.members.values().all(|member| !member.is_gone(&id(of)))
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 50 {
            self.now = self.now + Duration::from_millis(50);
            let all: Vec<usize> = self.members.keys().copied().collect();
            for me in all {
                let Some(member) = self.members.get_mut(&me) else { continue };
                if member.next_deadline() <= self.now {
                    let mut out = Vec::new();
                    member.handle_timer(self.now, &mut out);
                    self.deliver(me, out);
                }
            }
        }
        for member in self.members.values() {
            let of_news = member.news().into_iter().fold(0, |sum, news| sum ^ hash(news));
            assert_eq!(member.summary(), of_news, "a kept hash is not that of the news");
        }
    }

    fn seen(&self, by: usize, of: usize) -> Liveness {
        self.members[&by].liveness(&id(of))
    }

    #[track_caller]
    fn all_see(&self, of: usize, expected: Liveness) {
        for by in self.members.keys().filter(|by| **by != of) {
            assert_eq!(self.seen(*by, of), expected, "m{by} of m{of} at {:?}", self.now);
        }
    }

    fn incarnation(&self, by: usize, of: usize) -> u64 {
        self.members[&by].members()[&id(of)].incarnation
    }
}

/// Member 2 tells it.
fn tell(member: &mut Membership, now: Moment, news: &MemberNews) -> Vec<Outgoing> {
    let mut out = Vec::new();
    member.hear_from(now, &id(2), address(2));
    member.handle_members(now, &id(2), address(2), std::slice::from_ref(news), &mut out);
    out
}

#[test]
fn members_find_each_other() {
    let net = Net::new(5);
    for of in 1..=5 {
        net.all_see(of, Liveness::Alive);
    }
}

#[test]
fn a_host_without_power_is_dead_for_all_in_four_seconds_and_soon_given_up() {
    let mut net = Net::new(5);
    net.members.remove(&3);
    net.run(4_000);
    net.all_see(3, Liveness::Dead);
    assert!(net.nobody_gave_up(3), "after 4 s");
    net.run(2_000);
    assert!(net.all_gave_up(3), "after 6 s");
}

#[test]
fn a_stopped_agent_whose_kernel_answers_is_given_up_after_eight_seconds() {
    for firewalled in [false, true] {
        let mut net = Net::with_firewall(5, firewalled);
        net.stop(3);
        net.run(8_000);
        assert!(net.nobody_gave_up(3), "after 8 s, firewalled: {firewalled}");
        net.run(1_500);
        assert!(net.all_gave_up(3), "after 9.5 s, firewalled: {firewalled}");
    }
}

#[test]
fn a_host_that_loses_power_while_its_agent_is_stopped_is_given_up_soon() {
    let mut net = Net::new(3);
    net.stop(3);
    net.run(2_000);
    net.stopped.clear();
    net.run(3_000);
    assert!(net.nobody_gave_up(3), "it answered 3 s ago");
    net.run(2_000);
    assert!(net.all_gave_up(3), "it answered 5 s ago");
}

#[test]
fn a_cable_out_for_three_seconds_moves_nothing() {
    let mut net = Net::new(3);
    for other in [1, 2] {
        net.cut.extend([(3, other), (other, 3)]);
    }
    for _ in 0..60 {
        net.run(50);
        assert!(net.nobody_gave_up(3));
    }
    net.cut.clear();
    net.run(4_000);
    net.all_see(3, Liveness::Alive);
}

#[test]
fn a_false_suspicion_is_refuted() {
    let mut net = Net::new(3);
    let before = net.incarnation(1, 3);
    let news = MemberNews {
        host: id(3),
        address: address(3),
        incarnation: before,
        liveness: Liveness::Suspect,
    };
    let now = net.now;
    tell(net.members.get_mut(&1).unwrap(), now, &news);
    assert_eq!(net.seen(1, 3), Liveness::Suspect);
    net.run(1_500);
    net.all_see(3, Liveness::Alive);
    let told = net.members.get_mut(&3).unwrap();
    let said = tell(told, now, &news);
    let me = |news: &MemberNews| news.host == id(3) && news.incarnation > before;
    let objects =
        |o: &Outgoing| matches!(o, Outgoing::Probe { probe, .. } if probe.news.iter().any(me));
    assert!(said.iter().any(|o| asks(o, 2) && objects(o)), "it contradicts at once");
    net.deliver(3, said);
    net.run(4_000);
    assert!(net.incarnation(1, 3) > before, "it contradicts with a higher incarnation");
}

#[test]
fn that_others_call_a_member_dead_is_no_proof() {
    let mut net = Net::new(3);
    let news = MemberNews {
        host: id(3),
        address: address(3),
        incarnation: net.incarnation(1, 3),
        liveness: Liveness::Dead,
    };
    let now = net.now;
    tell(net.members.get_mut(&1).unwrap(), now, &news);
    assert_eq!(net.seen(1, 3), Liveness::Suspect);
    net.run(1_000);
    net.all_see(3, Liveness::Alive);
}

#[test]
fn a_suspect_is_asked_again_and_again_before_it_is_called_dead() {
    let mut net = Net::new(2);
    net.members.remove(&2);
    let mut n_asked = 0;
    while net.seen(1, 2) != Liveness::Dead {
        net.now = net.now + Duration::from_millis(50);
        let mut out = Vec::new();
        let suspected = net.seen(1, 2) == Liveness::Suspect;
        net.members.get_mut(&1).unwrap().handle_timer(net.now, &mut out);
        n_asked += out.iter().filter(|o| suspected && asks(o, 2)).count();
        assert!(net.now < Moment(20_000));
    }
    assert!(n_asked >= 5, "asked {n_asked} times");
}

#[test]
fn a_cut_between_two_kills_nobody_when_a_third_sees_both() {
    for both_ways in [false, true] {
        let mut net = Net::new(3);
        net.cut.insert((1, 2));
        if both_ways {
            net.cut.insert((2, 1));
        }
        for _ in 0..200 {
            net.run(100);
            assert_ne!(net.seen(1, 2), Liveness::Dead, "both ways: {both_ways}");
            assert_ne!(net.seen(2, 1), Liveness::Dead, "both ways: {both_ways}");
        }
    }
}

#[test]
fn a_member_comes_back_after_any_absence_with_a_new_incarnation() {
    let mut net = Net::new(3);
    let before = net.incarnation(1, 3);
    net.members.remove(&3);
    net.run(20_000);
    net.now = net.now + Duration::from_secs(5 * 365 * 24 * 3600);
    net.run(3_000);
    net.all_see(3, Liveness::Dead);
    net.start(3, vec![1]);
    net.run(4_000);
    net.all_see(3, Liveness::Alive);
    assert!(net.incarnation(1, 3) > before);
    assert!(!net.members[&1].is_gone(&id(3)));
    assert_eq!(net.seen(3, 2), Liveness::Alive, "it learns of those it did not know");
}

#[test]
fn a_removed_member_stays_removed() {
    let mut net = Net::new(3);
    net.members.get_mut(&1).unwrap().remove(&id(3));
    net.run(5_000);
    assert!(!net.members[&1].members().contains_key(&id(3)), "whoever speaks of it");
    let now = net.now;
    let member = net.members.get_mut(&1).unwrap();
    member.introduce(now, id(3), address(3));
    assert!(!member.members().contains_key(&id(3)));
    assert!(member.is_gone(&id(3)));
}

#[test]
fn a_member_that_was_paused_blames_itself() {
    let mut net = Net::new(3);
    // Member 1 had just begun to suspect when it was stopped for half a minute.
    let now = net.now;
    let news = MemberNews {
        host: id(3),
        address: address(3),
        incarnation: net.incarnation(1, 3),
        liveness: Liveness::Suspect,
    };
    let member = net.members.get_mut(&1).unwrap();
    tell(member, now, &news);
    net.now = now + Duration::from_secs(30);
    let mut out = Vec::new();
    net.members.get_mut(&1).unwrap().handle_timer(net.now, &mut out);
    assert_ne!(net.seen(1, 3), Liveness::Dead);
    net.deliver(1, out);
    assert_eq!(net.seen(1, 3), Liveness::Alive);
}

#[test]
fn two_parts_that_called_each_other_dead_meet_again() {
    let mut net = Net::new(4);
    for (a, b) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        net.cut.insert((a, b));
        net.cut.insert((b, a));
    }
    net.run(30_000);
    assert_eq!((net.seen(1, 3), net.seen(1, 2)), (Liveness::Dead, Liveness::Alive));
    net.cut.clear();
    net.run(4_000);
    for of in 1..=4 {
        net.all_see(of, Liveness::Alive);
    }
}
