//! Questions over TCP (RFC 7766): a bounded number of connections, each answered in order, none
//! kept waiting without end. Never reads a question from outside the allowed networks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::shared::{Shared, Step, count};
use crate::wire::{self, Incoming, QUESTION_MAX};

/// A pause after a failed accept, such as for want of file descriptors.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

enum Event {
    Connection(TcpStream, IpAddr),
    Failed(std::io::Error),
    Closed,
    Stop,
}

/// Takes connections until told to stop, then waits for those open to finish their answer.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let stops = stopped.clone();
    loop {
        let event = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => Event::Stop,
            Some(_) = connections.join_next() => Event::Closed, // Cancel-safe: see `join_next`.
            // Cancel-safe: see `accept`.
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => Event::Connection(stream, from.ip().to_canonical()),
                Err(error) => Event::Failed(error),
            },
        };
        match event {
            Event::Connection(stream, source) => {
                if !shared.allows(source) {
                    count(&shared.tally.refused);
                    continue;
                }
                let Some(place) = shared.connect(source) else {
                    tracing::debug!(%source, "too many connections");
                    count(&shared.tally.limited);
                    continue;
                };
                let (shared, stops) = (shared.clone(), stops.clone());
                connections.spawn(async move {
                    converse(stream, source, &shared, stops).await;
                    drop(place);
                });
            }
            Event::Failed(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ERROR_PAUSE).await;
            }
            Event::Closed => {}
            Event::Stop => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Answers one question after another until the asker closes, idles, errs or asks too much.
async fn converse(
    mut stream: TcpStream,
    source: IpAddr,
    shared: &Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let idle = shared.limits.tcp_idle;
    loop {
        let question = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => None,
            question = timeout(idle, read_question(&mut stream)) => question.ok().flatten(),
        };
        // Not cancel-safe: after a question that was cut, the connection is closed.
        let Some(question) = question else { return };
        if !shared.within_rate(source, true) {
            return;
        }
        let Some(bytes) = reply(&question, source, shared).await else { return };
        match timeout(idle, stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// One question without its length; `None` when the asker closed or sends nonsense.
async fn read_question(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = usize::from(stream.read_u16().await.ok()?);
    if length > QUESTION_MAX {
        return None;
    }
    let mut question = vec![0; length];
    stream.read_exact(&mut question).await.ok()?;
    Some(question)
}

/// The answer with its length in front; `None` to close the connection.
async fn reply(question: &[u8], source: IpAddr, shared: &Arc<Shared>) -> Option<Vec<u8>> {
    let message = match wire::read(question) {
        Incoming::Ignore => {
            count(&shared.tally.malformed);
            return None;
        }
        Incoming::Reply(message) => {
            count(&shared.tally.malformed);
            *message
        }
        Incoming::Ask(request) => {
            let reply = match shared.step(&request, source) {
                Step::Reply(reply) => reply,
                Step::Forward(place) => {
                    let reply = shared.forward(&request, source).await;
                    drop(place);
                    reply
                }
                Step::Wait(place) => {
                    let reply = shared.reply_to_newcomer(&request, source).await;
                    drop(place);
                    reply
                }
            };
            request.reply(reply, shared.forwards(source))
        }
    };
    let encoded = wire::encode(message, u16::MAX)?;
    if encoded.truncated {
        count(&shared.tally.truncated);
    }
    let length = u16::try_from(encoded.bytes.len()).expect("encode keeps to its bound");
    let mut bytes = Vec::with_capacity(encoded.bytes.len() + 2);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&encoded.bytes);
    Some(bytes)
}
