//! Which host a packet is for, and which packets a host may send us. Pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Length of an IPv4 header without options, in bytes (RFC 791, 3.1).
const HEADER: usize = 20;

/// Source and destination of an IPv4 packet; none when it is something else, or cut off.
pub(super) fn ends(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let header: &[u8; HEADER] = packet.first_chunk()?;
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    (header[0] >> 4 == 4).then(|| (address(12), address(16)))
}

/// Whether a host that has `theirs` may send this packet to us, who have `ours`: only from what is
/// its own, only to what is ours.
pub(super) fn admits(theirs: Ipv4Net, ours: Ipv4Net, packet: &[u8]) -> bool {
    ends(packet).is_some_and(|(source, destination)| {
        theirs.contains(&source) && ours.contains(&destination)
    })
}

/// What stands behind each slice.
#[derive(Debug, Clone)]
pub(super) struct Table<T>(BTreeMap<Ipv4Addr, (Ipv4Net, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> FromIterator<(Ipv4Net, T)> for Table<T> {
    fn from_iter<I: IntoIterator<Item = (Ipv4Net, T)>>(slices: I) -> Self {
        Self(slices.into_iter().map(|(slice, item)| (slice.network(), (slice, item))).collect())
    }
}

impl<T> Table<T> {
    /// What stands behind the slice with this address. Slices do not overlap.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<&T> {
        let (_, (slice, item)) = self.0.range(..=address).next_back()?;
        slice.contains(&address).then_some(item)
    }

    pub(super) fn get(&self, slice: Ipv4Net) -> Option<&T> {
        let (known, item) = self.0.get(&slice.network())?;
        (*known == slice).then_some(item)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn packet(source: &str, destination: &str) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&source.parse::<Ipv4Addr>().unwrap().octets());
        packet[16..20].copy_from_slice(&destination.parse::<Ipv4Addr>().unwrap().octets());
        packet
    }

    #[test]
    fn a_packet_finds_the_host_whose_slice_it_is_for() {
        let slices = [("10.208.16.0/20", 1), ("10.208.48.0/20", 3)];
        let table: Table<u8> = slices.into_iter().map(|(slice, item)| (net(slice), item)).collect();
        for (address, found) in [
            ("10.208.16.0", Some(1)),
            ("10.208.31.255", Some(1)),
            ("10.208.32.0", None),
            ("10.208.15.255", None),
            ("10.208.48.9", Some(3)),
            ("255.255.255.255", None),
        ] {
            assert_eq!(table.find(address.parse().unwrap()).copied(), found, "{address}");
        }
        assert_eq!(table.get(net("10.208.48.0/20")), Some(&3));
        assert_eq!(table.get(net("10.208.48.0/21")), None);
    }

    #[test]
    fn a_host_speaks_for_its_own_slice_and_to_ours_alone() {
        let (theirs, ours) = (net("10.208.16.0/20"), net("10.208.0.0/20"));
        let admits = |source, destination| admits(theirs, ours, &packet(source, destination));
        assert!(admits("10.208.16.66", "10.208.0.66"));
        assert!(!admits("10.208.32.66", "10.208.0.66"), "it speaks for a third host");
        assert!(!admits("10.208.0.66", "10.208.0.67"), "it speaks for us");
        assert!(!admits("10.208.16.66", "10.208.32.66"), "it is not for us");
        assert!(!admits("10.208.16.66", "192.0.2.1"), "it is for the world");
    }

    #[test]
    fn what_is_no_packet_has_no_ends() {
        assert_eq!(ends(&[]), None);
        let whole = packet("10.208.16.66", "10.208.0.66");
        assert!(ends(&whole).is_some());
        assert_eq!(ends(&whole[..19]), None);
        let mut six = whole;
        six[0] = 0x60;
        assert_eq!(ends(&six), None);
    }
}
