//! Which endpoint a client of a relayed port is led to. Pure.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddrV4};

use crate::model::{Affinity, Published, stable_hash};

/// The endpoints of a port, as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Targets {
    endpoints: Vec<SocketAddrV4>,
    affinity: Affinity,
}

impl Targets {
    pub(super) fn of(item: &Published) -> Self {
        let endpoints = item.endpoints.iter().map(|(at, port)| SocketAddrV4::new(*at, *port));
        Self { endpoints: endpoints.collect(), affinity: item.affinity }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    pub(super) fn contains(&self, endpoint: &SocketAddrV4) -> bool {
        self.endpoints.contains(endpoint)
    }

    /// All endpoints in the order in which they are tried: each one first in its `turn`, or for one
    /// client always the same one while it is there.
    pub(super) fn order(&self, client: IpAddr, turn: usize) -> Vec<SocketAddrV4> {
        let mut order = self.endpoints.clone();
        match self.affinity {
            Affinity::None if order.is_empty() => {}
            Affinity::None => order.rotate_left(turn % self.endpoints.len()),
            Affinity::Client => order.sort_by_key(|endpoint| {
                Reverse(stable_hash(&[client.to_string(), endpoint.to_string()]))
            }),
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(affinity: Affinity, n: u8) -> Targets {
        let endpoint = |n| SocketAddrV4::new([10, 208, 0, n].into(), 80);
        Targets { endpoints: (1..=n).map(endpoint).collect(), affinity }
    }

    fn client(n: u16) -> IpAddr {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])
    }

    #[test]
    fn each_endpoint_has_its_turn() {
        let targets = targets(Affinity::None, 3);
        let firsts: Vec<u8> =
            (0..6).map(|turn| targets.order(client(1), turn)[0].ip().octets()[3]).collect();
        assert_eq!(firsts, [1, 2, 3, 1, 2, 3]);
        assert_eq!(Targets::default().order(client(1), 5), []);
    }

    #[test]
    fn a_client_stays_with_its_endpoint_when_another_one_goes() {
        let (all, fewer) = (targets(Affinity::Client, 3), targets(Affinity::Client, 2));
        let mut seen = [0; 3];
        for n in 0..300 {
            let first = all.order(client(n), usize::from(n))[0];
            seen[usize::from(first.ip().octets()[3]) - 1] += 1;
            let then = fewer.order(client(n), 0)[0];
            assert!(then == first || !fewer.contains(&first), "client {n}");
        }
        assert!(seen.iter().all(|n| *n > 60), "{seen:?}");
    }
}
