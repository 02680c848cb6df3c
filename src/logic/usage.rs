//! From what was counted to rates, and to whom connections went. Never measures anything itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::model::{AppName, Moment, ReplicaId, ServiceName, Usage};

/// Measurements that are kept of each thing.
const KEPT_MAX: usize = 64;
/// Older measurements are forgotten.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// Less time between two measurements tells no rate.
const SPAN_MIN: Duration = Duration::from_millis(800);

/// What only rises, or begins anew.
pub trait Counted {
    /// Whether this can have come after `before` without beginning anew.
    fn goes_on_from(&self, before: &Self) -> bool;
}

impl Counted for u64 {
    fn goes_on_from(&self, before: &Self) -> bool {
        self >= before
    }
}

impl Counted for Usage {
    fn goes_on_from(&self, before: &Self) -> bool {
        // Memory and processes come and go; a network may be left, which takes its bytes away.
        self.cpu_nanos >= before.cpu_nanos
    }
}

/// Measurements of one thing, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<T> {
    kept: VecDeque<(Moment, T)>,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new() }
    }
}

impl<T: Counted + Copy> History<T> {
    /// Adds a measurement. One that begins anew ends what was before.
    pub fn add(&mut self, at: Moment, value: T) {
        if self.kept.back().is_some_and(|(_, last)| !value.goes_on_from(last)) {
            self.kept.clear();
        }
        self.kept.push_back((at, value));
        let is_old = |kept: &VecDeque<(Moment, T)>| {
            kept.front().is_some_and(|(oldest, _)| at.since(*oldest) > KEPT_FOR)
        };
        while self.kept.len() > KEPT_MAX || is_old(&self.kept) {
            self.kept.pop_front();
        }
    }

    /// The newest measurement and when it was made.
    pub fn latest(&self) -> Option<(Moment, T)> {
        self.kept.back().copied()
    }

    /// The newest measurement, the last one before that is far enough from it, and the time between.
    pub fn span(&self) -> Option<(T, T, Duration)> {
        self.span_of(SPAN_MIN)
    }

    /// The same over `least`, or, of what is not known for so long, over as long as it is.
    pub fn span_of(&self, least: Duration) -> Option<(T, T, Duration)> {
        let (end, last) = self.latest()?;
        let far = |by: Duration| move |(at, _): &&(Moment, T)| end.since(*at) >= by;
        let before = self.kept.iter().rev().find(far(least.max(SPAN_MIN)));
        let before = before.or_else(|| self.kept.front().filter(far(SPAN_MIN)))?;
        Some((before.1, last, end.since(before.0)))
    }
}

impl History<u64> {
    /// How much more each second.
    pub fn per_second(&self) -> Option<f64> {
        self.per_second_over(SPAN_MIN)
    }

    /// The same over `least`, where it is known for so long.
    pub fn per_second_over(&self, least: Duration) -> Option<f64> {
        let (before, last, time) = self.span_of(least)?;
        Some(rate(last - before, time))
    }
}

/// What a container takes each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// CPUs: 0.5 is half of one.
    pub cpus: f64,
    /// Bytes received.
    pub received: f64,
    /// Bytes sent.
    pub sent: f64,
}

impl History<Usage> {
    /// What it takes each second.
    pub fn rates(&self) -> Option<Rates> {
        self.rates_over(SPAN_MIN)
    }

    /// The same over `least`, where it is known for so long.
    pub fn rates_over(&self, least: Duration) -> Option<Rates> {
        let (before, last, time) = self.span_of(least)?;
        Some(Rates {
            cpus: rate(last.cpu_nanos - before.cpu_nanos, time) / 1e9,
            received: rate(last.received.saturating_sub(before.received), time),
            sent: rate(last.sent.saturating_sub(before.sent), time),
        })
    }
}

fn rate(more: u64, time: Duration) -> f64 {
    more as f64 / time.as_secs_f64()
}

/// By what a connection asked for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The Service's address.
    Address,
    /// A published port.
    Port,
}

/// Who has which address now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whose {
    /// Where the addresses of Services are.
    pub range: Option<Ipv4Net>,
    /// Apps that are there.
    pub apps: BTreeSet<AppName>,
    /// The Services behind their addresses.
    pub services: BTreeMap<Ipv4Addr, (AppName, ServiceName)>,
    /// The Replicas at theirs.
    pub replicas: BTreeMap<Ipv4Addr, ReplicaId>,
}

/// A Service, and a way to it.
pub type Door = (AppName, ServiceName, Way);

/// Connections that a host handed out, by Service and by Replica. What the kernel counted is added up
/// here, so that nothing is lost when its counters begin anew or an address passes to another one.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// What the kernel said last, by address asked for and endpoint.
    seen: BTreeMap<(Ipv4Addr, Ipv4Addr), u64>,
    /// Who had an address last.
    had: BTreeMap<Ipv4Addr, ReplicaId>,
    services: BTreeMap<Door, History<u64>>,
    replicas: BTreeMap<ReplicaId, u64>,
}

impl Tally {
    /// Takes in what the kernel counted: for an address asked for and an endpoint, connections.
    pub fn add(&mut self, now: Moment, counted: &[(Ipv4Addr, Ipv4Addr, u64)], whose: &Whose) {
        let mut more: BTreeMap<Door, u64> = BTreeMap::new();
        for (address, replica) in &whose.replicas {
            self.had.insert(*address, replica.clone());
        }
        let mut seen = BTreeMap::new();
        for (asked, endpoint, connections) in counted {
            let pair = (*asked, *endpoint);
            let before = self.seen.get(&pair).copied().unwrap_or_default();
            let replica = self.had.get(endpoint);
            let by_address = whose.range.is_some_and(|range| range.contains(asked));
            let way = if by_address { Way::Address } else { Way::Port };
            let by_replica = replica.map(|one| (one.app.clone(), one.service.clone()));
            let Some((app, service)) = whose.services.get(asked).cloned().or(by_replica) else {
                // Nobody knows yet whose it is: counted once somebody does.
                seen.insert(pair, before.min(*connections));
                continue;
            };
            let new = if *connections >= before { connections - before } else { *connections };
            seen.insert(pair, *connections);
            *more.entry((app, service, way)).or_default() += new;
            if let Some(replica) = replica.filter(|_| new > 0) {
                *self.replicas.entry(replica.clone()).or_default() += new;
            }
        }
        self.seen = seen;
        for (door, new) in more {
            self.services.entry(door.clone()).or_default();
            let total = self.total(&door) + new;
            self.services.entry(door).or_default().add(now, total);
        }
        // What nobody asked for in this round has a rate as well: none.
        for history in self.services.values_mut() {
            if let Some((_, total)) = history.latest().filter(|(at, _)| *at != now) {
                history.add(now, total);
            }
        }
        self.forget(counted, whose);
    }

    fn total(&self, door: &Door) -> u64 {
        let history = self.services.get(door);
        history.and_then(History::latest).map_or(0, |(_, total)| total)
    }

    /// Forgets Apps that are gone, and who had addresses that no longer matter.
    fn forget(&mut self, counted: &[(Ipv4Addr, Ipv4Addr, u64)], whose: &Whose) {
        self.services.retain(|(app, ..), _| whose.apps.contains(app));
        self.replicas.retain(|replica, _| whose.apps.contains(&replica.app));
        let used: BTreeSet<Ipv4Addr> = counted.iter().map(|(_, endpoint, _)| *endpoint).collect();
        self.had.retain(|at, _| used.contains(at) || whose.replicas.contains_key(at));
    }

    /// Connections to each Service by each way, and how many more each second.
    pub fn services(&self) -> impl Iterator<Item = (&Door, u64, Option<f64>)> {
        self.services.iter().map(|(door, history)| {
            (door, history.latest().map_or(0, |(_, total)| total), history.per_second())
        })
    }

    /// New connections a second to a Service by all ways, over `least`. Nobody asked for one that is not
    /// known; none while it is known for too short a time.
    pub fn rate_of(&self, app: &AppName, service: &ServiceName, least: Duration) -> Option<f64> {
        let doors = [Way::Address, Way::Port].map(|way| (app.clone(), service.clone(), way));
        let known = doors.iter().filter_map(|door| self.services.get(door));
        known.map(|history| history.per_second_over(least)).sum()
    }

    /// Connections to each Replica, wherever it runs.
    pub fn replicas(&self) -> impl Iterator<Item = (&ReplicaId, u64)> {
        self.replicas.iter().map(|(replica, total)| (replica, *total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 223, 0, 7);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const FIRST: Ipv4Addr = Ipv4Addr::new(10, 208, 0, 66);
    const SECOND: Ipv4Addr = Ipv4Addr::new(10, 208, 0, 67);

    fn replica(service: &str, index: u32) -> ReplicaId {
        ReplicaId { app: "shop".into(), service: service.into(), index }
    }

    fn whose(replicas: &[(Ipv4Addr, ReplicaId)]) -> Whose {
        Whose {
            range: Some("10.223.0.0/16".parse().unwrap()),
            apps: ["shop".into()].into(),
            services: [(SERVICE, ("shop".into(), "web".into()))].into(),
            replicas: replicas.iter().cloned().collect(),
        }
    }

    /// Connections by address and by port, then by replica.
    #[track_caller]
    fn check(tally: &Tally, services: &[(Way, u64)], replicas: &[(u32, u64)]) {
        let found: Vec<_> = tally.services().map(|((_, _, way), n, _)| (*way, n)).collect();
        assert_eq!(found, services);
        let found: Vec<_> = tally.replicas().map(|(replica, n)| (replica.index, n)).collect();
        assert_eq!(found, replicas);
    }

    #[test]
    fn connections_are_added_up_over_counters_that_begin_anew() {
        let web = whose(&[(FIRST, replica("web", 1)), (SECOND, replica("web", 2))]);
        let mut tally = Tally::default();
        tally.add(Moment(0), &[(SERVICE, FIRST, 5), (HOST, SECOND, 2)], &web);
        check(&tally, &[(Way::Address, 5), (Way::Port, 2)], &[(1, 5), (2, 2)]);
        tally.add(Moment(1_000), &[(SERVICE, FIRST, 9), (HOST, SECOND, 2)], &web);
        check(&tally, &[(Way::Address, 9), (Way::Port, 2)], &[(1, 9), (2, 2)]);
        // Somebody took the table away; since then there were three and one.
        tally.add(Moment(2_000), &[(SERVICE, FIRST, 3), (SERVICE, SECOND, 1)], &web);
        check(&tally, &[(Way::Address, 13), (Way::Port, 2)], &[(1, 12), (2, 3)]);
        // The kernel forgot a pair, which then comes back.
        tally.add(Moment(3_000), &[], &web);
        tally.add(Moment(4_000), &[(SERVICE, FIRST, 2)], &web);
        check(&tally, &[(Way::Address, 15), (Way::Port, 2)], &[(1, 14), (2, 3)]);
    }

    #[test]
    fn connections_belong_to_whoever_had_the_address() {
        let mut tally = Tally::default();
        tally.add(Moment(0), &[(SERVICE, FIRST, 5)], &whose(&[(FIRST, replica("web", 1))]));
        // It ended; what it was given before that is its own.
        tally.add(Moment(1_000), &[(SERVICE, FIRST, 6)], &whose(&[]));
        check(&tally, &[(Way::Address, 6)], &[(1, 6)]);
        // Another one has the address now.
        tally.add(Moment(2_000), &[(SERVICE, FIRST, 8)], &whose(&[(FIRST, replica("web", 2))]));
        check(&tally, &[(Way::Address, 8)], &[(1, 6), (2, 2)]);
        // The App goes, and so does what was counted of it.
        tally.add(Moment(3_000), &[(SERVICE, FIRST, 9)], &Whose::default());
        check(&tally, &[], &[]);
    }

    #[test]
    fn what_came_before_anybody_knew_whose_it_is_is_counted_later() {
        let mut tally = Tally::default();
        tally.add(Moment(0), &[(HOST, FIRST, 5)], &Whose::default());
        check(&tally, &[], &[]);
        tally.add(Moment(1_000), &[(HOST, FIRST, 7)], &whose(&[(FIRST, replica("web", 1))]));
        check(&tally, &[(Way::Port, 7)], &[(1, 7)]);
    }

    #[test]
    fn a_service_nobody_asks_for_any_more_comes_to_rest() {
        let web = whose(&[(FIRST, replica("web", 1))]);
        let mut tally = Tally::default();
        let mut rate = |at, connections| {
            tally.add(Moment(at), &[(SERVICE, FIRST, connections)], &web);
            tally.services().next().and_then(|(_, _, rate)| rate)
        };
        assert_eq!(rate(0, 100), None);
        assert_eq!(rate(2_000, 300), Some(100.0));
        assert_eq!(rate(4_000, 300), Some(0.0));
    }

    #[test]
    fn rates_need_two_measurements_that_are_far_enough_apart() {
        let usage = |cpu_nanos, sent| Usage { cpu_nanos, sent, ..Usage::default() };
        let mut history = History::default();
        history.add(Moment(0), usage(1_000_000_000, 0));
        assert_eq!(history.rates(), None);
        history.add(Moment(1_900), usage(1_950_000_000, 100));
        history.add(Moment(2_000), usage(2_000_000_000, 200));
        let rates = history.rates().expect("two seconds tell it");
        assert_eq!((rates.cpus, rates.sent), (0.5, 100.0));
        // It was started anew.
        history.add(Moment(4_000), usage(1_000, 0));
        assert_eq!(history.rates(), None);
        assert_eq!(history.latest().map(|(at, _)| at), Some(Moment(4_000)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut history = History::default();
        for n in 0..1_000 {
            history.add(Moment(n * 1_000), n);
        }
        assert_eq!(history.kept.len(), KEPT_MAX);
        history.add(Moment(10_000_000), 1_000);
        assert_eq!(history.kept.len(), 1);
    }
}
