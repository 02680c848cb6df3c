//! Packets of containers between two members, each in a QUIC datagram on a connection of its own, so
//! that they neither delay the messages of the core nor wait for an image.
//!
//! Such a connection keeps no pace: what is in the packets keeps its own (TCP does), and two control
//! loops inside each other make each other slow. So it is with WireGuard, which sends what it is given.
//!
//! Reads no packet; chooses no route.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::{Connection, SendDatagramError};

use super::connection::{BUSY, REFUSED, SUPERFLUOUS};
use super::endpoint;
use super::transport::{Incoming, Shared, Transport, TransportError, refuses};
use crate::model::HostId;

/// Bytes on their way that nobody has confirmed yet: 10 Gbit/s at 25 ms. Beyond, the other side is
/// taken to be away, and packets wait.
const WINDOW: u64 = 32 * 1024 * 1024;
/// Tunnels with one member: one that each side dialled, and as many that are about to be noticed as
/// dead.
const TUNNELS_OF_ONE_MAX: usize = 4;
/// As many members as a pool has slices, twice.
const TUNNELS_MAX: usize = 8192;

/// A way for packets to another member. Cheap to clone; stays open until [`Tunnel::close`].
#[derive(Debug, Clone)]
pub struct Tunnel {
    peer: HostId,
    connection: Connection,
}

/// Why a packet was not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent {
    /// So many wait already that this one must wait too.
    Full(Bytes),
    /// It is larger than [`Tunnel::packet_max`].
    TooLarge,
    /// The tunnel is gone.
    Ended,
}

impl Tunnel {
    /// Whose certificate the other side showed.
    pub fn peer(&self) -> &HostId {
        &self.peer
    }

    /// The largest packet that gets through now, in bytes. It grows in the first second, as the path
    /// is tried, and may shrink when the path changes.
    pub fn packet_max(&self) -> usize {
        self.connection.max_datagram_size().unwrap_or_default()
    }

    /// Smoothed time from a packet to its confirmation.
    pub fn round_trip(&self) -> Duration {
        self.connection.rtt()
    }

    /// Packets of QUIC sent, and how many of them were lost.
    pub fn sent_and_lost(&self) -> (u64, u64) {
        let path = self.connection.stats().path;
        (path.sent_packets, path.lost_packets)
    }

    /// Sends a packet, which may be lost. Never waits.
    ///
    /// # Errors
    ///
    /// See [`Unsent`].
    pub fn send(&self, packet: Bytes) -> Result<(), Unsent> {
        if self.connection.datagram_send_buffer_space() < packet.len() {
            return Err(Unsent::Full(packet));
        }
        self.connection.send_datagram(packet).map_err(unsent)
    }

    /// Sends a packet once there is room for it.
    ///
    /// # Errors
    ///
    /// See [`Unsent`]; never `Full`.
    pub async fn send_when_room(&self, packet: Bytes) -> Result<(), Unsent> {
        self.connection.send_datagram_wait(packet).await.map_err(unsent)
    }

    /// The next packet; none when the tunnel is gone. Cancel-safe.
    pub async fn receive(&self) -> Option<Bytes> {
        self.connection.read_datagram().await.ok()
    }

    /// A packet that is there already.
    pub fn receive_now(&self) -> Option<Bytes> {
        self.connection.read_datagram().now_or_never()?.ok()
    }

    /// Whether it can be sent on.
    pub fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Completes when it is gone.
    pub async fn ended(&self) {
        self.connection.closed().await;
    }

    /// Closes it: there is a better one.
    pub fn close(&self) {
        self.connection.close(SUPERFLUOUS, b"there is a better tunnel");
    }
}

fn unsent(error: SendDatagramError) -> Unsent {
    match error {
        SendDatagramError::TooLarge => Unsent::TooLarge,
        SendDatagramError::UnsupportedByPeer
        | SendDatagramError::Disabled
        | SendDatagramError::ConnectionLost(_) => Unsent::Ended,
    }
}

impl Transport {
    /// Where whoever sends and receives packets runs best: on the thread that has the socket.
    pub fn packet_thread(&self) -> &tokio::runtime::Handle {
        self.shared.thread.handle()
    }

    /// Opens a tunnel to a member: one attempt. The other side hands it in as
    /// [`Incoming::Tunnel`]. Closed when a member is refused.
    ///
    /// # Errors
    ///
    /// `Unreachable` after four seconds, `Refused` when one side does not want the other.
    pub async fn tunnel(&self, to: &HostId, address: SocketAddr) -> Result<Tunnel, TransportError> {
        let shared = &self.shared;
        let config = endpoint::tunnel_to(&shared.dial_tunnel, address);
        let connected = endpoint::attempt(&shared.endpoint, &config, to, address).await;
        let connection = connected.map_err(|error| match refuses(&error) {
            true => TransportError::Refused { address, cause: error.into() },
            false => TransportError::Unreachable { address },
        })?;
        let refused = || TransportError::Refused { address, cause: "too many tunnels".into() };
        shared.take_tunnel(connection, to.clone()).ok_or_else(refused)
    }
}

impl Shared {
    /// A tunnel in use, unless there are too many with that member or it is refused.
    fn take_tunnel(&self, connection: Connection, peer: HostId) -> Option<Tunnel> {
        if !self.tunnels.take(&peer, &connection, TUNNELS_MAX, TUNNELS_OF_ONE_MAX) {
            connection.close(BUSY, b"too many tunnels");
            return None;
        }
        // Only now: whoever refuses it from here on closes what was taken in.
        if self.is_refused(&peer) {
            connection.close(REFUSED, b"removed from the cluster");
            return None;
        }
        Some(Tunnel { peer, connection })
    }

    /// Hands in a tunnel that a member opened. TLS has checked the certificate.
    pub(super) async fn welcome_tunnel(&self, connection: Connection, peer: HostId) {
        if let Some(tunnel) = self.take_tunnel(connection, peer) {
            // It fails only when the agent stops.
            let _ = self.hand_in(Incoming::Tunnel(tunnel)).await;
        }
    }
}

/// Sends at any pace, up to [`WINDOW`] bytes that are not confirmed.
#[derive(Debug, Clone)]
pub(super) struct NoPace;

impl ControllerFactory for NoPace {
    fn build(self: Arc<Self>, _: Instant, _: u16) -> Box<dyn Controller> {
        Box::new(Self)
    }
}

impl Controller for NoPace {
    fn on_congestion_event(&mut self, _: Instant, _: Instant, _: bool, _: u64) {}

    fn on_mtu_update(&mut self, _: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The first bytes of the first destination id of a connection that is to be a tunnel: it tells
/// the other side, before anything is known of the caller, which limits to take it in with. It
/// allows nothing; what may be spoken is decided by TLS.
const MARK: [u8; 4] = *b"mstT";

/// How a caller marks a connection that is to be a tunnel.
pub(super) fn marked_id() -> quinn::ConnectionId {
    let mut bytes = endpoint::random_id();
    bytes[..MARK.len()].copy_from_slice(&MARK);
    quinn::ConnectionId::new(&bytes)
}

/// Whether whoever calls says that it is to be a tunnel.
pub(super) fn is_marked(incoming: &quinn::Incoming) -> bool {
    incoming.orig_dst_cid().starts_with(&MARK)
}

#[cfg(test)]
mod tests;
