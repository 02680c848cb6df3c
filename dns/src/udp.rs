//! Questions in UDP packets: one loop for each socket. Answers from the zone leave at once; a
//! question for a resolver waits in a task of its own, a bounded number of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use rustix::net::sockopt;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::shared::{Shared, Step, count};
use crate::wire::{self, Incoming, QUESTION_MAX, Reply, Request};

/// A pause after a socket error, which else could repeat without end.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that wait in the socket. The kernel doubles and counts its own, so that is some 2700
/// questions, or 30 ms of work. The usual 250 overflow when a flood comes while the core does
/// something else, and a container whose question is lost asks again only after 5 s.
const QUEUE: usize = 1024 * 1024;

enum Event {
    Packet(usize, SocketAddr),
    Failed(std::io::Error),
    Forwarded,
    Stop,
}

/// Lets more questions wait in `socket`.
pub(crate) fn widen_queue(socket: &UdpSocket) {
    // Beyond what the system allows everybody, which only root may.
    if sockopt::set_socket_recv_buffer_size_force(socket, QUEUE).is_err() {
        // As much as the system allows is what there is.
        let _ = sockopt::set_socket_recv_buffer_size(socket, QUEUE);
    }
}

/// Answers on `socket` until told to stop, then waits for the forwards under way.
pub(crate) async fn serve(
    socket: Arc<UdpSocket>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut forwards = JoinSet::new();
    // One byte more than we read, to tell a question that is too long from one that fits.
    let mut buffer = vec![0; QUESTION_MAX + 1];
    loop {
        let event = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Event::Stop,
            Some(_) = forwards.join_next() => Event::Forwarded, // Cancel-safe: see `join_next`.
            // Cancel-safe: see `recv_from`.
            packet = socket.recv_from(&mut buffer) => match packet {
                Ok((length, from)) => Event::Packet(length, from),
                Err(error) => Event::Failed(error),
            },
        };
        match event {
            Event::Packet(length, from) => {
                if let Some(message) =
                    take(&buffer[..length], from, &socket, &shared, &mut forwards)
                {
                    send(&socket, &shared, message, from).await;
                }
            }
            Event::Failed(error) => {
                tracing::warn!(%error, "failed to receive");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
            Event::Forwarded => {}
            Event::Stop => break,
        }
    }
    while forwards.join_next().await.is_some() {}
}

/// A message and the most bytes that it may have.
type Sized = (Message, u16);

/// Judges one packet: gives what to send at once, starts a forward, or drops it.
fn take(
    packet: &[u8],
    from: SocketAddr,
    socket: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
    forwards: &mut JoinSet<()>,
) -> Option<Sized> {
    let source = from.ip().to_canonical();
    let is_allowed = shared.allows(source);
    if from.port() == 0 || !shared.within_rate(source, is_allowed) {
        return None;
    }
    let incoming = match packet.len() > QUESTION_MAX {
        true => Incoming::Ignore,
        false => wire::read(packet),
    };
    let request = match incoming {
        Incoming::Ask(request) => request,
        Incoming::Reply(message) if is_allowed => {
            count(&shared.tally.malformed);
            return Some((*message, wire::UDP_MAX));
        }
        Incoming::Reply(_) | Incoming::Ignore => {
            count(&shared.tally.malformed);
            return None;
        }
    };
    let max = request.udp_max();
    if !is_allowed {
        count(&shared.tally.refused);
        return Some((request.reply(Reply::Code(ResponseCode::Refused), false), max));
    }
    match shared.step(&request, source) {
        Step::Reply(reply) => Some((request.reply(reply, shared.forwards(source)), max)),
        Step::Forward(place) => {
            let (socket, shared) = (socket.clone(), shared.clone());
            forwards.spawn(async move {
                forward(&request, &socket, &shared, from).await;
                drop(place);
            });
            None
        }
        Step::Wait(place) => {
            let (socket, shared) = (socket.clone(), shared.clone());
            forwards.spawn(async move {
                let reply = shared.reply_to_newcomer(&request, source).await;
                let message = request.reply(reply, shared.forwards(source));
                send(&socket, &shared, (message, request.udp_max()), from).await;
                drop(place);
            });
            None
        }
    }
}

async fn forward(request: &Request, socket: &UdpSocket, shared: &Shared, to: SocketAddr) {
    let reply = shared.forward(request, to.ip().to_canonical()).await;
    send(socket, shared, (request.reply(reply, true), request.udp_max()), to).await;
}

async fn send(socket: &UdpSocket, shared: &Shared, (message, max): Sized, to: SocketAddr) {
    let id = message.metadata.id;
    let Some(encoded) = wire::encode(message, max) else {
        tracing::warn!(%to, id, "failed to write an answer");
        return;
    };
    if encoded.truncated {
        count(&shared.tally.truncated);
    }
    // The asker may be gone; it asks again if it is not.
    if let Err(error) = socket.send_to(&encoded.bytes, to).await {
        tracing::debug!(%to, %error, "failed to send an answer");
    }
}
