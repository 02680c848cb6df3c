//! What fuzzing calls for packets that other hosts send: they are members, and may be broken or
//! hostile all the same.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use tun_rs::{VIRTIO_NET_HDR_LEN, handle_gro};

use super::table::{admits, ends};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 1] = [("packets", packets_target)];

/// Packets, each behind its length in two bytes (big-endian), are let in or not and joined as those of
/// a tunnel are. What is let in is from the sender's slice and for ours; joining never panics, makes
/// up no packet and no byte.
pub fn packets_target(bytes: &[u8]) {
    let theirs = Ipv4Net::new_assert(Ipv4Addr::new(10, 208, 16, 0), 20);
    let ours = Ipv4Net::new_assert(Ipv4Addr::new(10, 208, 0, 0), 20);
    let mut rest = bytes;
    let mut packets: Vec<Vec<u8>> = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        if admits(theirs, ours, packet) {
            let (source, destination) = ends(packet).expect("it was let in by its ends");
            assert!(theirs.contains(&source) && ours.contains(&destination));
            let mut room = Vec::with_capacity(VIRTIO_NET_HDR_LEN * 2 + 65_535);
            room.resize(VIRTIO_NET_HDR_LEN, 0);
            room.extend_from_slice(packet);
            packets.push(room);
        }
    }
    let before: usize = packets.iter().map(|packet| packet.len() - VIRTIO_NET_HDR_LEN).sum();
    let mut to_write = Vec::new();
    let (mut tcp, mut udp) = (Default::default(), Default::default());
    let joined =
        handle_gro(&mut packets, VIRTIO_NET_HDR_LEN, &mut tcp, &mut udp, true, &mut to_write);
    if joined.is_ok() {
        let written = to_write.iter().map(|index| packets[*index].len() - VIRTIO_NET_HDR_LEN);
        assert!(written.sum::<usize>() <= before, "joining made bytes up");
        to_write.sort_unstable();
        to_write.dedup();
        assert!(to_write.len() <= packets.len());
    }
}
