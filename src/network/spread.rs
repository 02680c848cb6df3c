//! Which endpoint a new connection gets, in the words of nftables. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::{Affinity, Published, stable_hash};

/// What holds while the agent was heard of. Every packet has the same version, which makes the set
/// a flag that expires.
const ALIVE: &str = "ip version @alive";

/// The rules that give a connection to a service its endpoint. With tunnels, `here` is this host's
/// slice.
pub(super) fn service_rules(
    endpoints: &BTreeSet<Ipv4Addr>,
    affinity: Affinity,
    here: Option<Ipv4Net>,
) -> Vec<String> {
    let to = |endpoints: &[&Ipv4Addr]| {
        format!("dnat to {}", spread(endpoints.iter().map(ToString::to_string), affinity))
    };
    choose(endpoints, here, |endpoint| *endpoint, to)
}

/// The same for a published port.
pub(super) fn port_rules(item: &Published, here: Option<Ipv4Net>) -> Vec<String> {
    let to = |endpoints: &[&(Ipv4Addr, u16)]| {
        let endpoints = endpoints.iter().map(|(address, port)| format!("{address} . {port}"));
        let protocol = item.protocol.as_str();
        format!("meta l4proto {protocol} dnat ip to {}", spread(endpoints, item.affinity))
    };
    choose(&item.endpoints, here, |(address, _)| *address, to)
}

/// Any of `endpoints`; those of this host alone while the agent carries nothing to the others.
fn choose<T>(
    endpoints: &BTreeSet<T>,
    here: Option<Ipv4Net>,
    address: impl Fn(&T) -> Ipv4Addr,
    to: impl Fn(&[&T]) -> String,
) -> Vec<String> {
    let all: Vec<&T> = endpoints.iter().collect();
    let is_near = |endpoint: &&T| here.is_some_and(|slice| slice.contains(&address(endpoint)));
    let near: Vec<&T> = endpoints.iter().filter(is_near).collect();
    if near.is_empty() || near.len() == all.len() {
        return vec![to(&all)];
    }
    vec![format!("{ALIVE} {}", to(&all)), to(&near)]
}

/// One of `targets`, each as likely as the others.
fn spread(targets: impl Iterator<Item = String>, affinity: Affinity) -> String {
    let targets: Vec<String> = targets.collect();
    let (chosen, targets) = match affinity {
        Affinity::None => (format!("numgen random mod {}", targets.len()), targets),
        Affinity::Client => (format!("jhash ip saddr mod {SHARES} seed {SEED}"), shares(&targets)),
    };
    let numbered =
        targets.iter().enumerate().map(|(number, target)| format!("{number} : {target}"));
    format!("{chosen} map {{ {} }}", numbered.collect::<Vec<_>>().join(", "))
}

/// Parts into which the addresses of clients fall.
const SHARES: u32 = 256;
/// Any number, if it is the same on all hosts: a client may come in by each of them.
const SEED: &str = "0x6d757374";

/// Who has each part: the one that draws the highest number for it (Thaler and Ravishankar 1998). So
/// clients of one that goes are shared out, and all others stay where they are.
fn shares(targets: &[String]) -> Vec<String> {
    let owner = |share: u32| {
        let draw = |target: &&String| stable_hash(&[&share.to_be_bytes(), target.as_bytes()]);
        targets.iter().max_by_key(draw).cloned()
    };
    (0..SHARES).filter_map(owner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stays_with_its_endpoint_when_another_one_goes() {
        let targets = ["10.208.0.66", "10.208.16.70", "10.208.32.71"].map(str::to_owned);
        let (all, left) = (shares(&targets), shares(&targets[..2]));
        assert_eq!((all.len(), left.len()), (256, 256));
        for (before, after) in all.iter().zip(&left) {
            assert!(before == after || *before == targets[2], "from {before} to {after}");
        }
        for target in &targets {
            let n = all.iter().filter(|owner| *owner == target).count();
            assert!((60..110).contains(&n), "{target} has {n} of 256 parts");
        }
    }
}
