//! Datagrams: each client has a socket of its own towards an endpoint, for as long as it speaks.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::targets::Targets;
use super::{ROOM_OF_ONE, Room, end_of};
use crate::network::sockets::{Place, Shares, bound};
use crate::network::tell;

/// A client that is silent for so long, and is sent nothing, is forgotten: as the kernel forgets a
/// flow that was answered.
const SILENCE: Duration = Duration::from_secs(120);
/// Datagrams of one client that wait; what comes beyond is lost, as in a socket.
const WAITING: usize = 64;
/// The largest datagram.
const LARGEST: usize = 65_535;
/// A pause after an error, which else could repeat without end.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A port on one address.
#[derive(Debug)]
pub(super) struct Port {
    targets: watch::Sender<Targets>,
}

impl Port {
    pub(super) fn open(place: Place, room: Room) -> io::Result<Self> {
        let socket = UdpSocket::from_std(bound(place, Shares::Never)?.into())?;
        let (targets, receiver) = watch::channel(Targets::default());
        let supervisor = room.supervisor.clone();
        supervisor.spawn_until_stop("relay", take_in(Arc::new(socket), receiver, room));
        Ok(Self { targets })
    }

    pub(super) fn set(&mut self, targets: Targets) {
        tell(&self.targets, targets);
    }
}

/// Takes datagrams in until the port is no longer published.
async fn take_in(socket: Arc<UdpSocket>, mut targets: watch::Receiver<Targets>, room: Room) {
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let now = targets.clone();
    let mut buffer = vec![0; LARGEST];
    let mut turn = 0;
    loop {
        let received = tokio::select! {
            // Both cancel-safe.
            () = end_of(&mut targets) => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "cannot receive");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let datagram = buffer[..length].to_vec();
        let datagram = match clients.get(&from).map(|client| client.try_send(datagram)) {
            Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => continue,
            Some(Err(mpsc::error::TrySendError::Closed(datagram))) => datagram,
            None => buffer[..length].to_vec(),
        };
        if clients.len() >= ROOM_OF_ONE {
            clients.retain(|_, client| !client.is_closed());
        }
        // Without room it is lost, as datagrams may be.
        let Ok(all) = room.all.clone().try_acquire_owned() else { continue };
        let Ok(own) = room.own.clone().try_acquire_owned() else { continue };
        turn += 1;
        let (sender, datagrams) = mpsc::channel(WAITING);
        // There is room for the first one.
        let _ = sender.try_send(datagram);
        clients.insert(from, sender);
        let client = Client { from, turn, outside: Arc::clone(&socket), targets: now.clone() };
        room.supervisor.spawn_until_stop("relayed", async move {
            let _permits = [all, own];
            if let Err(error) = client.carry(datagrams).await {
                tracing::debug!(%from, %error, "datagrams are no longer relayed");
            }
        });
    }
}

/// One client.
struct Client {
    from: SocketAddr,
    turn: usize,
    outside: Arc<UdpSocket>,
    targets: watch::Receiver<Targets>,
}

impl Client {
    /// Carries both ways until nothing comes any more.
    async fn carry(self, mut datagrams: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        let inside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let mut endpoint: Option<SocketAddrV4> = None;
        let mut buffer = vec![0; LARGEST];
        loop {
            tokio::select! {
                // All cancel-safe.
                datagram = datagrams.recv() => {
                    let Some(datagram) = datagram else { return Ok(()) };
                    let chosen = self.choose(endpoint);
                    if chosen != endpoint {
                        endpoint = chosen;
                        if let Some(endpoint) = chosen {
                            inside.connect(endpoint).await?;
                        }
                    }
                    if endpoint.is_some() {
                        // An error tells of one before; the client finds out as with any loss.
                        let _ = inside.send(&datagram).await;
                    }
                }
                answer = inside.recv(&mut buffer), if endpoint.is_some() => {
                    if let Ok(length) = answer {
                        self.outside.send_to(&buffer[..length], self.from).await?;
                    }
                }
                () = tokio::time::sleep(SILENCE) => return Ok(()),
            }
        }
    }

    /// The endpoint it has as long as it is one, else another.
    fn choose(&self, now: Option<SocketAddrV4>) -> Option<SocketAddrV4> {
        let targets = self.targets.borrow();
        now.filter(|endpoint| targets.contains(endpoint))
            .or_else(|| targets.order(self.from.ip(), self.turn).into_iter().next())
    }
}
