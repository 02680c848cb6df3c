//! How the pool is cut (network.md): a /20 slice a host, a /26 block a network on it, the last /16
//! for services. Pure arithmetic.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::model::{HostId, stable_hash};

/// Prefix length of a host's slice.
const SLICE_PREFIX: u8 = 20;
/// Prefix length of a network's block on one host.
const BLOCK_PREFIX: u8 = 26;
/// Prefix length of the part kept for Services, at the pool's end.
const SERVICE_PREFIX: u8 = 16;

/// The `index`-th slice of the pool; none when the pool ends before the services' part.
pub fn nth_slice(pool: Ipv4Net, index: u32) -> Option<Ipv4Net> {
    let slice = pool.subnets(SLICE_PREFIX).ok()?.nth(index as usize)?;
    (!service_range(pool).contains(&slice)).then_some(slice)
}

/// A slice for a host: always the same while it is free, else the next free one after it. Two hosts
/// admitted at the same moment by different members seldom get the same one.
pub fn slice_for(pool: Ipv4Net, host: &HostId, used: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
    let services = service_range(pool);
    let slices: Vec<Ipv4Net> =
        pool.subnets(SLICE_PREFIX).ok()?.filter(|slice| !services.contains(slice)).collect();
    let start = stable_hash(&[host.as_str()]) % (slices.len().max(1) as u64);
    let (before, after) = slices.split_at_checked(start as usize)?;
    after.iter().chain(before).find(|slice| !used.contains(slice)).copied()
}

/// The part of the pool that Services get their addresses from. A pool too small for a /16 of
/// services gives its upper half.
pub fn service_range(pool: Ipv4Net) -> Ipv4Net {
    let prefix = SERVICE_PREFIX.max(pool.prefix_len().saturating_add(1)).min(32);
    pool.subnets(prefix).ok().and_then(Iterator::last).unwrap_or(pool)
}

/// The first block of the slice that is not in use. Block 0 belongs to the host itself: its
/// resolver listens there.
pub fn free_block(slice: Ipv4Net, used: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
    slice.subnets(BLOCK_PREFIX).ok()?.skip(1).find(|block| !used.contains(block))
}

/// Where the host's resolver listens: the first address of its slice.
pub fn resolver_address(slice: Ipv4Net) -> Ipv4Addr {
    slice.hosts().next().unwrap_or(slice.network())
}

/// An address for a Service: always the same for the same words while it is free, else the next
/// free one after it. None when the range is full.
pub fn service_address(
    pool: Ipv4Net,
    words: &[&str],
    used: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let range = service_range(pool);
    let first = u32::from(range.network()).checked_add(1)?;
    let count = u32::from(range.broadcast()).checked_sub(first)?;
    let start = u32::try_from(stable_hash(words) % u64::from(count)).ok()?;
    (0..count)
        .map(|step| Ipv4Addr::from(first + (start + step) % count))
        .find(|address| !used.contains(address))
}

/// A Linux bridge name for a network of an App: stable, at most 15 bytes.
pub fn bridge_name(app: &str, network: &str) -> String {
    format!("mst{:012x}", stable_hash(&[app, network]) & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn slices_follow_each_other_and_stop_before_the_services() {
        let pool = net("10.208.0.0/12");
        assert_eq!(nth_slice(pool, 0), Some(net("10.208.0.0/20")));
        assert_eq!(nth_slice(pool, 17), Some(net("10.209.16.0/20")));
        assert_eq!(nth_slice(pool, 239), Some(net("10.222.240.0/20")));
        assert_eq!(nth_slice(pool, 240), None, "10.223/16 is the services'");
        assert_eq!(service_range(pool), net("10.223.0.0/16"));
    }

    #[test]
    fn a_given_slice_or_block_is_not_given_again() {
        let pool = net("10.208.0.0/12");
        let host = HostId::from("ab12");
        let first = slice_for(pool, &host, &BTreeSet::new()).unwrap();
        assert_eq!(slice_for(pool, &host, &BTreeSet::new()), Some(first));
        let second = slice_for(pool, &host, &BTreeSet::from([first])).unwrap();
        assert_ne!(first, second);
        let all: BTreeSet<Ipv4Net> = (0..240).filter_map(|n| nth_slice(pool, n)).collect();
        assert!(all.contains(&first) && all.contains(&second));
        assert_eq!(slice_for(pool, &host, &all), None);
        let used = BTreeSet::from([net("10.208.0.64/26")]);
        assert_eq!(free_block(net("10.208.0.0/20"), &used), Some(net("10.208.0.128/26")));
    }

    #[test]
    fn a_service_address_is_stable_and_yields_to_one_in_use() {
        let pool = net("10.208.0.0/12");
        let first = service_address(pool, &["shop", "default", "web"], &BTreeSet::new()).unwrap();
        assert!(service_range(pool).contains(&first));
        assert_eq!(
            service_address(pool, &["shop", "default", "web"], &BTreeSet::new()),
            Some(first)
        );
        let second = service_address(pool, &["shop", "default", "web"], &BTreeSet::from([first]));
        assert_ne!(second, Some(first));
    }

    #[test]
    fn bridge_names_fit_linux() {
        assert!(bridge_name("a-very-long-application-name", "backend").len() <= 15);
        assert_ne!(bridge_name("ab", "c"), bridge_name("a", "bc"));
    }
}
