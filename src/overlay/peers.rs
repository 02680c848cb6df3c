//! The other hosts as both directions see them: their slices, the tunnels with them, and what was
//! carried.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use super::table::Table;
use crate::model::HostId;
use crate::swarm::Tunnel;

/// Younger tunnels are still finding out how large a packet may be.
const SETTLED: Duration = Duration::from_secs(2);

/// What was carried to and from one host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets taken in.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets for it while there was no tunnel.
    pub no_tunnel: u64,
    /// Packets for it while too many others waited.
    pub full: u64,
    /// Packets for it that were larger than its tunnel carries.
    pub too_large: u64,
    /// Packets from it that were not from its slice to ours.
    pub foreign: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) no_tunnel: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) foreign: AtomicU64,
}

/// Counts one more, or so many.
pub(super) fn count(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

impl Counters {
    fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            sent: read(&self.sent),
            sent_bytes: read(&self.sent_bytes),
            received: read(&self.received),
            received_bytes: read(&self.received_bytes),
            no_tunnel: read(&self.no_tunnel),
            full: read(&self.full),
            too_large: read(&self.too_large),
            foreign: read(&self.foreign),
        }
    }
}

/// One other host, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerState {
    /// Which.
    pub host: HostId,
    /// Its part of the pool.
    pub slice: Ipv4Net,
    /// Whether there is a tunnel with it.
    pub open: bool,
    /// The largest packet that gets through, in bytes; 0 without a tunnel.
    pub packet_max: usize,
    /// Smoothed round trip through the tunnel.
    pub round_trip: Option<Duration>,
    /// Packets of QUIC sent by the tunnel there is, and how many of them were lost.
    pub sent_and_lost: (u64, u64),
    /// What was carried since the agent started.
    pub counts: Counts,
}

/// A tunnel, since when, and whether this host opened it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) tunnel: Tunnel,
    pub(super) since: Instant,
    pub(super) dialled: bool,
}

/// The tunnels with one host.
#[derive(Debug)]
pub(super) struct Ways {
    /// In the order they were opened; the last one that is open is sent on.
    pub(super) tunnels: Vec<Known>,
    /// When there was one last; at first, since when the host is known.
    pub(super) last: Instant,
}

/// One other host.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) host: HostId,
    pub(super) slice: Ipv4Net,
    address: Mutex<SocketAddr>,
    ways: RwLock<Ways>,
    /// Packets waited for room in vain; until there is some, none waits again.
    pub(super) stuck: AtomicBool,
    /// Somebody dials.
    pub(super) dialling: AtomicBool,
    pub(super) counters: Counters,
}

impl Peer {
    pub(super) fn new(host: HostId, slice: Ipv4Net, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            host,
            slice,
            address: Mutex::new(address),
            ways: RwLock::new(Ways { tunnels: Vec::new(), last: Instant::now() }),
            stuck: AtomicBool::new(false),
            dialling: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        *self.locked()
    }

    pub(super) fn moved_to(&self, address: SocketAddr) {
        *self.locked() = address;
    }

    fn locked(&self) -> MutexGuard<'_, SocketAddr> {
        // An address is written whole.
        self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tunnel to send on.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        let ways = self.ways();
        let open = ways.tunnels.iter().rev().find(|known| known.tunnel.is_open());
        open.map(|known| known.tunnel.clone())
    }

    fn ways(&self) -> RwLockReadGuard<'_, Ways> {
        self.ways.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the list of tunnels.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ways) -> T) -> T {
        // A list of handles is whole whatever panicked while it was held.
        change(&mut self.ways.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The largest packet that its tunnel carries, once that is found out.
    pub(super) fn packet_max(&self, now: Instant) -> Option<usize> {
        let ways = self.ways();
        let settled = ways
            .tunnels
            .iter()
            .filter(|known| known.tunnel.is_open() && now.duration_since(known.since) >= SETTLED);
        settled.map(|known| known.tunnel.packet_max()).min()
    }

    fn state(&self) -> PeerState {
        let tunnel = self.tunnel();
        PeerState {
            host: self.host.clone(),
            slice: self.slice,
            open: tunnel.is_some(),
            packet_max: tunnel.as_ref().map_or(0, Tunnel::packet_max),
            round_trip: tunnel.as_ref().map(Tunnel::round_trip),
            sent_and_lost: tunnel.as_ref().map(Tunnel::sent_and_lost).unwrap_or_default(),
            counts: self.counters.read(),
        }
    }
}

/// All other hosts.
#[derive(Debug, Default)]
pub(super) struct Peers(RwLock<Arc<Table<Arc<Peer>>>>);

impl Peers {
    pub(super) fn table(&self) -> Arc<Table<Arc<Peer>>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, table: Table<Arc<Peer>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// The host that an address belongs to.
    pub(super) fn find(&self, address: Ipv4Addr) -> Option<Arc<Peer>> {
        self.table().find(address).cloned()
    }

    pub(super) fn states(&self) -> Vec<PeerState> {
        self.table().iter().map(|peer| peer.state()).collect()
    }
}
