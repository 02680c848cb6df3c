//! Packets of containers between hosts: from the kernel by a TUN device into tunnels
//! ([`crate::swarm::Tunnel`]), and back. Only in a cluster whose overlay is
//! [`Overlay::Quic`](crate::model::Overlay); in others the kernel sends packets itself.
//!
//! Carries packets to the host whose slice they are for, and lets in what a host sends from its own
//! slice to ours. Sets no route ([`crate::network`] does) and knows no App. The only user of tun-rs.
//!
//! Reading order: [`keeper`] keeps a tunnel to every other host; [`carry`] moves packets; [`peers`]
//! is what both know of the others; [`table`] finds the host for a packet, and is pure.
//!
//! The device outlives the agent, so that routes stay and connections only wait while it restarts.

mod carry;
pub mod fuzzing;
mod keeper;
mod peers;
mod table;

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::model::{HostId, NetworkIntent};
use crate::supervisor::Supervisor;
use crate::swarm::{Transport, Tunnel};

use keeper::Keeper;
use peers::Peers;
pub use peers::{Counts, PeerState};

/// The TUN device.
pub const DEVICE: &str = "muster1";
/// Where the kernel makes them.
const MAKER: &str = "/dev/net/tun";

/// What is known of the tunnels. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tunnels {
    peers: Arc<Peers>,
}

impl Tunnels {
    /// Every other host that packets can be for, as it is now.
    pub fn states(&self) -> Vec<PeerState> {
        self.peers.states()
    }
}

/// Carries packets from now on, as the newest intent says. Tunnels that other members open come in
/// by `opened`.
pub fn start(
    me: HostId,
    transport: Transport,
    intents: watch::Receiver<Option<NetworkIntent>>,
    opened: mpsc::Receiver<Tunnel>,
    supervisor: &Supervisor,
) -> Tunnels {
    let peers = Arc::new(Peers::default());
    // What is spawned here, and by that, runs there.
    let thread = transport.packet_thread().clone();
    let _on = thread.enter();
    let keeper = Keeper::new(me, transport, Arc::clone(&peers), supervisor.clone());
    supervisor.spawn_until_stop("tunnels", keeper.run(intents, opened));
    Tunnels { peers }
}

/// Whether this host can have a TUN device. Changes nothing.
///
/// # Errors
///
/// Why it cannot.
pub fn preflight() -> io::Result<()> {
    std::fs::OpenOptions::new().read(true).write(true).open(MAKER).map(drop)
}
