//! Which members there is news of to tell, and how often yet. Knows nothing of the news itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::HostId;

/// News that rides on probes (SWIM 4.1). What was told least often goes first: a probe takes few of
/// many, and must not cost what all of them do.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread {
    /// How often each may still ride.
    rides: BTreeMap<HostId, u32>,
    /// The same, in the order in which they go.
    order: BTreeSet<(Reverse<u32>, HostId)>,
}

impl Spread {
    /// There is something new of `host`, to be told so many times.
    pub(super) fn insert(&mut self, host: &HostId, rides: u32) {
        self.remove(host);
        if rides > 0 {
            self.rides.insert(host.clone(), rides);
            self.order.insert((Reverse(rides), host.clone()));
        }
    }

    pub(super) fn remove(&mut self, host: &HostId) {
        if let Some(rides) = self.rides.remove(host) {
            self.order.remove(&(Reverse(rides), host.clone()));
        }
    }

    /// Those that ride on a probe, at most so many: what concerns its receiver first.
    pub(super) fn take(&mut self, to: &HostId, max: usize) -> Vec<HostId> {
        let first =
            self.rides.get_key_value(to).map(|(host, rides)| (Reverse(*rides), host.clone()));
        let others = self.order.iter().filter(|(_, host)| host != to);
        let taken: Vec<_> = first.into_iter().chain(others.cloned()).take(max).collect();
        for (Reverse(rides), host) in &taken {
            self.insert(host, rides - 1);
        }
        taken.into_iter().map(|(_, host)| host).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HostId {
        HostId::new(name)
    }

    #[test]
    fn the_receiver_comes_first_then_what_was_told_least_often() {
        let mut spread = Spread::default();
        for (name, rides) in [("a", 1), ("b", 3), ("c", 2), ("d", 2)] {
            spread.insert(&host(name), rides);
        }
        let mut take = |to: &str| spread.take(&host(to), 2);
        assert_eq!(take("a"), [host("a"), host("b")]);
        assert_eq!(take("x"), [host("b"), host("c")]);
        assert_eq!(take("c"), [host("c"), host("d")]);
        assert_eq!(take("x"), [host("b"), host("d")]);
        assert_eq!(take("x"), []);
    }

    #[test]
    fn something_newer_is_told_as_often_as_if_it_were_the_first() {
        let mut spread = Spread::default();
        spread.insert(&host("a"), 1);
        spread.insert(&host("a"), 2);
        spread.insert(&host("b"), 2);
        spread.remove(&host("b"));
        let rides = std::iter::from_fn(|| spread.take(&host("x"), 9).pop());
        assert_eq!(rides.count(), 2);
    }
}
