//! Moves packets: from the device into tunnels, from a tunnel to the device. What cannot be sent is
//! dropped and counted, as a router does; who sent it finds out by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ipnet::Ipv4Net;
use tokio::sync::Mutex;
use tun_rs::{AsyncDevice, GROTable, VIRTIO_NET_HDR_LEN};

use super::peers::{Peer, Peers, count};
use super::table::{admits, ends};
use crate::swarm::{Tunnel, Unsent};

/// The largest packet that the kernel hands over in one piece, and the header before it.
const WHOLE: usize = VIRTIO_NET_HDR_LEN + 65_535;
/// Packets that such a piece is cut into at most.
const PIECES: usize = 256;
/// Room for one packet. The device's own limit is lower: it is what a tunnel carries.
const PIECE: usize = 6656;
/// Packets of a tunnel that go to the kernel together, as one piece where they belong together.
const TOGETHER: usize = 128;
/// How long a packet waits for room. As long as the device is not read, the kernel holds back, which
/// is better than losing what it sends; but one host must not hold up the packets for all others.
const PATIENCE: Duration = Duration::from_millis(2);

/// Carries what the kernel has for other hosts. Ends when the device does.
pub(super) async fn outwards(device: Arc<AsyncDevice>, peers: Arc<Peers>) -> io::Error {
    let mut whole = vec![0; WHOLE];
    // What is not used of it stays without memory.
    let mut pieces: Vec<Vec<u8>> = std::iter::repeat_with(|| vec![0; PIECE]).take(PIECES).collect();
    let mut sizes = vec![0; PIECES];
    loop {
        let read = device.recv_multiple(&mut whole, &mut pieces, &mut sizes, 0).await;
        let n = match read {
            Ok(n) => n,
            // The device is gone, or was never one. Anything else is about one packet.
            Err(error) if is_fatal(&error) => return error,
            Err(error) => {
                tracing::debug!(%error, "a packet of the kernel cannot be read");
                continue;
            }
        };
        let packets = pieces.iter().zip(&sizes).take(n).map(|(piece, size)| &piece[..*size]);
        // What was read is one packet, or what one was cut into: all of it is for one host.
        let to = packets.clone().next().and_then(ends);
        let Some(peer) = to.and_then(|(_, to)| peers.find(to)) else { continue };
        let Some(tunnel) = peer.tunnel() else {
            count(&peer.counters.no_tunnel, n);
            continue;
        };
        for packet in packets {
            send(&peer, &tunnel, Bytes::copy_from_slice(packet)).await;
        }
    }
}

fn is_fatal(error: &io::Error) -> bool {
    // EBADF, EBADFD and EIO: what is left of a device that somebody deleted.
    matches!(error.raw_os_error(), Some(9 | 77 | 5))
}

async fn send(peer: &Peer, tunnel: &Tunnel, packet: Bytes) {
    let counters = &peer.counters;
    let length = packet.len();
    let sent = match tunnel.send(packet) {
        Err(Unsent::Full(packet)) if !peer.stuck.load(Ordering::Relaxed) => {
            let sent = tokio::time::timeout(PATIENCE, tunnel.send_when_room(packet)).await;
            sent.unwrap_or_else(|_| Err(Unsent::Full(Bytes::new())))
        }
        sent => sent,
    };
    let stuck = matches!(sent, Err(Unsent::Full(_)));
    peer.stuck.store(stuck, Ordering::Relaxed);
    match sent {
        Ok(()) => {
            count(&counters.sent, 1);
            count(&counters.sent_bytes, length);
        }
        Err(Unsent::Full(_)) => count(&counters.full, 1),
        Err(Unsent::TooLarge) => count(&counters.too_large, 1),
        Err(Unsent::Ended) => count(&counters.no_tunnel, 1),
    }
}

/// Hands packets to the kernel. One for all tunnels: it keeps room to join many packets.
pub(super) struct Writer {
    device: Arc<AsyncDevice>,
    table: GROTable,
    rooms: Vec<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(device: Arc<AsyncDevice>) -> Self {
        // The first of several packets that belong together takes in the others, and only if it has
        // the room for them beforehand. What is not used of it stays without memory.
        let room = || Vec::with_capacity(WHOLE + VIRTIO_NET_HDR_LEN);
        let rooms = std::iter::repeat_with(room).take(TOGETHER).collect();
        Self { device, table: GROTable::default(), rooms }
    }

    /// Hands over at most [`TOGETHER`] packets.
    async fn write(&mut self, packets: &[Bytes]) {
        for (room, packet) in self.rooms.iter_mut().zip(packets) {
            room.clear();
            room.resize(VIRTIO_NET_HDR_LEN, 0);
            room.extend_from_slice(packet);
        }
        let n = packets.len().min(self.rooms.len());
        let filled = &mut self.rooms[..n];
        let sent = self.device.send_multiple(&mut self.table, filled, VIRTIO_NET_HDR_LEN).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "the kernel did not take a packet");
        }
    }
}

/// A tunnel that nobody reads any more is closed, so that another one takes its place: whatever ends
/// the reading, a packet that ends the task included.
struct Closes(Tunnel);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Carries what a host sends us, until the tunnel ends.
pub(super) async fn inwards(
    tunnel: Tunnel,
    peer: Arc<Peer>,
    ours: Ipv4Net,
    writer: Arc<Mutex<Writer>>,
) {
    let _closes = Closes(tunnel.clone());
    let mut packets = Vec::with_capacity(TOGETHER);
    while let Some(first) = tunnel.receive().await {
        packets.clear();
        let mut next = Some(first);
        while let Some(packet) = next {
            if admits(peer.slice, ours, &packet) {
                count(&peer.counters.received, 1);
                count(&peer.counters.received_bytes, packet.len());
                packets.push(packet);
            } else {
                count(&peer.counters.foreign, 1);
            }
            next = if packets.len() < TOGETHER { tunnel.receive_now() } else { None };
        }
        writer.lock().await.write(&packets).await;
    }
}
