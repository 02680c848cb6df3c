//! Connections: one in, one to an endpoint, until both sides are done. Each side may end its half.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::{Shutdown, sockopt};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::targets::Targets;
use super::{Room, end_of};
use crate::network::sockets::{Place, Shares, bound};
use crate::network::tell;

/// Connections that wait until we take them.
const BACKLOG: i32 = 1024;
/// Endpoints that are tried for one connection: one that has just gone is not known to be yet.
const TRIES: usize = 3;
/// One try. An endpoint is in the same cluster, and answers in milliseconds or not at all.
const TRY: Duration = Duration::from_secs(3);
/// After this silence the kernel asks whether the other side is still there, so that clients which
/// vanish do not fill the room.
const SILENCE: Duration = Duration::from_secs(60);
/// A pause after an error, which else could repeat without end.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// A port. Its socket stays bound while there is no endpoint, and then refuses.
#[derive(Debug)]
pub(super) struct Port {
    socket: TcpListener,
    room: Room,
    /// To whoever takes connections in; none when nobody does.
    targets: Option<watch::Sender<Targets>>,
}

impl Port {
    pub(super) fn open(place: Place, room: Room) -> io::Result<Self> {
        // Connections of the port's life before would keep us out.
        let socket = bound(place, Shares::WithLikeMinded)?.into();
        Ok(Self { socket, room, targets: None })
    }

    pub(super) fn set(&mut self, targets: Targets) -> io::Result<()> {
        if targets.is_empty() {
            self.refuse();
            return Ok(());
        }
        if let Some(sender) = &self.targets {
            tell(sender, targets);
            return Ok(());
        }
        rustix::net::listen(&self.socket, BACKLOG)?;
        let listener = tokio::net::TcpListener::from_std(self.socket.try_clone()?)?;
        let (sender, receiver) = watch::channel(targets);
        self.targets = Some(sender);
        let taking = take_in(listener, receiver, self.room.clone());
        self.room.supervisor.spawn_until_stop("relay", taking);
        Ok(())
    }

    /// Takes nothing more in. Connections that stand go on.
    fn refuse(&mut self) {
        if self.targets.take().is_some() {
            // Of a socket that listens, this ends the listening; the address stays ours.
            if let Err(error) = rustix::net::shutdown(&self.socket, Shutdown::Read) {
                tracing::debug!(%error, "cannot end to listen");
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.refuse();
    }
}

/// Takes connections in until the port has no endpoint, or is no longer published.
async fn take_in(
    listener: tokio::net::TcpListener,
    mut targets: watch::Receiver<Targets>,
    room: Room,
) {
    let mut turn = 0;
    let now = targets.clone();
    loop {
        let next = tokio::select! {
            // Both cancel-safe: what is dropped with them was not taken in yet.
            () = end_of(&mut targets) => return,
            next = next(&listener, &room) => next,
        };
        match next {
            Ok((client, from, permits)) => {
                turn += 1;
                let order = now.borrow().order(from.ip(), turn);
                room.supervisor.spawn_until_stop("relayed", async move {
                    let _permits = permits;
                    if let Err(error) = carry(client, &order).await {
                        tracing::debug!(%from, %error, "a relayed connection broke off");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot take a connection in");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
        }
    }
}

/// A connection, once there is room for one.
async fn next(
    listener: &tokio::net::TcpListener,
    room: &Room,
) -> io::Result<(TcpStream, SocketAddr, [OwnedSemaphorePermit; 2])> {
    let closed = |_| io::Error::other("the room is closed");
    let own = room.own.clone().acquire_owned().await.map_err(closed)?;
    let all = room.all.clone().acquire_owned().await.map_err(closed)?;
    let (client, from) = listener.accept().await?;
    Ok((client, from, [own, all]))
}

/// Carries both ways until both ends are reached.
async fn carry(mut client: TcpStream, order: &[std::net::SocketAddrV4]) -> io::Result<()> {
    let mut failed = io::Error::from(io::ErrorKind::NotConnected);
    for endpoint in order.iter().take(TRIES) {
        let connected = tokio::time::timeout(TRY, TcpStream::connect(endpoint)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(mut server) => {
                prepare(&client)?;
                prepare(&server)?;
                return copy_bidirectional(&mut client, &mut server).await.map(|_| ());
            }
            Err(error) => failed = error,
        }
    }
    // A reset, as from a container that does not listen: an end of file would look like an answer.
    sockopt::set_socket_linger(client.as_fd(), Some(Duration::ZERO))?;
    Err(failed)
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream.as_fd(), true)?;
    Ok(sockopt::set_tcp_keepidle(stream.as_fd(), SILENCE)?)
}
