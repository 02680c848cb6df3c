//! Keeps a tunnel to every other host, and the device.
//!
//! Of two hosts the one with the lower id dials. The other one does too when nothing came for a
//! while: the first may not reach it, if it is behind a router that lets nothing in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use tokio::sync::{Mutex, mpsc, watch};
use tun_rs::{AsyncDevice, DeviceBuilder};

use super::peers::{Known, Peer, Peers};
use super::{DEVICE, carry};
use crate::model::{HostId, NetworkIntent};
use crate::supervisor::Supervisor;
use crate::swarm::{Transport, Tunnel};
use crate::telemetry::chain;

/// Time between two looks at all tunnels.
const PERIOD: Duration = Duration::from_millis(250);
/// How long the host with the higher id waits for the other one to dial.
const COURTESY: Duration = Duration::from_secs(3);
/// Of several tunnels that are older than this, one stays: by then each side uses the newest.
const RETIRE: Duration = Duration::from_secs(12);
/// The largest packet before anything is known: what a path of 1500 bytes carries.
const PACKET_MAX: u16 = 1420;
/// The smallest that every host takes (RFC 791 says 68, but nothing works with that).
const PACKET_MIN: u16 = 576;
/// Packets that wait in the device, each up to 64 KiB.
const QUEUE: u32 = 500;

pub(super) struct Keeper {
    me: HostId,
    transport: Transport,
    peers: Arc<Peers>,
    supervisor: Supervisor,
    device: Option<Device>,
    /// When the last try to have a device failed, why.
    failed: Option<(Instant, String)>,
    ours: Option<Ipv4Net>,
}

/// The device as it is.
struct Device {
    device: Arc<AsyncDevice>,
    writer: Arc<Mutex<carry::Writer>>,
    packet_max: u16,
    /// Somebody deleted it.
    gone: Arc<AtomicBool>,
}

impl Keeper {
    pub(super) fn new(
        me: HostId,
        transport: Transport,
        peers: Arc<Peers>,
        supervisor: Supervisor,
    ) -> Self {
        Self { me, transport, peers, supervisor, device: None, failed: None, ours: None }
    }

    pub(super) async fn run(
        mut self,
        mut intents: watch::Receiver<Option<NetworkIntent>>,
        mut opened: mpsc::Receiver<Tunnel>,
    ) {
        let (dialled, mut answers) = mpsc::channel(64);
        // Routes lead to it, and are set as soon as it is known which.
        self.look_at_device();
        let mut look = tokio::time::interval(PERIOD);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            // All are cancel-safe.
            tokio::select! {
                changed = intents.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let intent = intents.borrow_and_update().clone();
                    if let Some(intent) = intent {
                        self.take_in(&intent);
                    }
                }
                Some(tunnel) = opened.recv() => self.use_tunnel(tunnel, false),
                Some(tunnel) = answers.recv() => self.use_tunnel(tunnel, true),
                _ = look.tick() => self.look(&dialled),
            }
        }
    }

    /// Who the others are now.
    fn take_in(&mut self, intent: &NetworkIntent) {
        self.ours = Some(intent.slice);
        let before = self.peers.table();
        let peers = intent.routes.iter().map(|(slice, hop)| {
            let known = before.get(*slice).filter(|peer| peer.host == hop.host);
            let peer =
                known.cloned().unwrap_or_else(|| Peer::new(hop.host.clone(), *slice, hop.address));
            peer.moved_to(hop.address);
            (*slice, peer)
        });
        self.peers.set(peers.collect());
        let now = self.peers.table();
        for gone in before.iter() {
            let stays = now.get(gone.slice).is_some_and(|peer| Arc::ptr_eq(peer, gone));
            if !stays {
                gone.change(|ways| ways.tunnels.drain(..).for_each(|known| known.tunnel.close()));
            }
        }
    }

    /// Takes a tunnel into use.
    fn use_tunnel(&mut self, tunnel: Tunnel, dialled: bool) {
        let table = self.peers.table();
        let peer = table.iter().find(|peer| peer.host == *tunnel.peer()).cloned();
        let (Some(peer), Some(ours), Some(device)) = (peer, self.ours, &self.device) else {
            // It is dialled again when we know who it is, and have a device.
            tunnel.close();
            return;
        };
        let since = Instant::now();
        peer.change(|ways| ways.tunnels.push(Known { tunnel: tunnel.clone(), since, dialled }));
        let task = carry::inwards(tunnel, peer, ours, Arc::clone(&device.writer));
        self.supervisor.spawn_until_stop("packets-in", task);
    }

    /// Sees to it that everything is there that should be.
    fn look(&mut self, dialled: &mpsc::Sender<Tunnel>) {
        if self.ours.is_none() {
            return;
        }
        self.look_at_device();
        if self.device.is_none() {
            return;
        }
        let (now, table) = (Instant::now(), self.peers.table());
        for peer in table.iter() {
            self.look_at_peer(peer, now, dialled);
        }
        let found = table.iter().filter_map(|peer| peer.packet_max(now)).min();
        if let (Some(found), Some(device)) = (found, &mut self.device) {
            let found = u16::try_from(found).unwrap_or(u16::MAX).max(PACKET_MIN);
            if found != device.packet_max {
                match device.device.set_mtu(found) {
                    Ok(()) => device.packet_max = found,
                    Err(error) => tracing::warn!(%error, "cannot set the MTU of `{DEVICE}`"),
                }
            }
        }
    }

    fn look_at_peer(&self, peer: &Arc<Peer>, now: Instant, dialled: &mpsc::Sender<Tunnel>) {
        let lower_dials = self.me < peer.host;
        let alone = peer.change(|ways| {
            ways.tunnels.retain(|known| known.tunnel.is_open());
            retire(&mut ways.tunnels, now, lower_dials);
            if !ways.tunnels.is_empty() {
                ways.last = now;
            }
            ways.tunnels.is_empty().then(|| now.duration_since(ways.last))
        });
        let Some(alone) = alone else { return };
        if !lower_dials && alone < COURTESY || peer.dialling.swap(true, Ordering::Relaxed) {
            return;
        }
        let (peer, transport, dialled) =
            (Arc::clone(peer), self.transport.clone(), dialled.clone());
        self.supervisor.spawn_until_stop("dial-tunnel", async move {
            match transport.tunnel(&peer.host, peer.address()).await {
                // It fails only when the agent stops.
                Ok(tunnel) => drop(dialled.send(tunnel).await),
                Err(error) => {
                    tracing::debug!(host = %peer.host, error = chain(&error), "no tunnel");
                    tokio::time::sleep(PERIOD).await;
                }
            }
            peer.dialling.store(false, Ordering::Relaxed);
        });
    }

    /// Makes the device when there is none.
    fn look_at_device(&mut self) {
        if self.device.as_ref().is_some_and(|device| device.gone.load(Ordering::Relaxed)) {
            self.device = None;
        }
        let again = self.failed.as_ref().is_none_or(|(when, _)| when.elapsed() >= COURTESY);
        if self.device.is_some() || !again {
            return;
        }
        match make() {
            Ok(device) => {
                let device = Arc::new(device);
                let reading = carry::outwards(Arc::clone(&device), Arc::clone(&self.peers));
                let gone = Arc::new(AtomicBool::new(false));
                let is_gone = Arc::clone(&gone);
                self.supervisor.spawn_until_stop("packets-out", async move {
                    let error = reading.await;
                    tracing::warn!(%error, "the device `{DEVICE}` is gone");
                    is_gone.store(true, Ordering::Relaxed);
                });
                let writer = Arc::new(Mutex::new(carry::Writer::new(Arc::clone(&device))));
                self.device = Some(Device { device, writer, packet_max: PACKET_MAX, gone });
                self.failed = None;
            }
            Err(error) => {
                let why = error.to_string();
                if self.failed.as_ref().is_none_or(|(_, before)| *before != why) {
                    tracing::warn!(
                        %error,
                        "cannot make the device `{DEVICE}`: containers of other hosts are not reached"
                    );
                }
                self.failed = Some((Instant::now(), why));
            }
        }
    }
}

/// Of several old tunnels one stays: the newest of those that the host with the lower id opened,
/// else the newest.
fn retire(tunnels: &mut Vec<Known>, now: Instant, lower_dials: bool) {
    let old = |known: &Known| now.duration_since(known.since) >= RETIRE;
    if tunnels.len() < 2 || !tunnels.iter().all(old) {
        return;
    }
    let best = tunnels.iter().rposition(|known| known.dialled == lower_dials);
    let best = best.unwrap_or(tunnels.len() - 1);
    let best = tunnels.swap_remove(best);
    tunnels.drain(..).for_each(|known| known.tunnel.close());
    tunnels.push(best);
}

fn make() -> std::io::Result<AsyncDevice> {
    let builder =
        DeviceBuilder::new().name(DEVICE).mtu(PACKET_MAX).tx_queue_len(QUEUE).offload(true);
    let device = builder.build_async()?;
    device.persist()?;
    Ok(device)
}
