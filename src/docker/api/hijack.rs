//! Connections with the daemon that turn into plain bytes in both directions. Not by bollard: it guesses
//! from what a program writes whether there is a terminal, and waits for ever where that is wrong.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::error::one_sentence;
use super::session::{Link, START_LIMIT, bounded};
use crate::docker::{ATTACH_MAX, EngineError, Said};
use crate::telemetry::chain;

/// Containers that wait for somebody; the one that waits longest gives way.
const HELD_MAX: usize = 64;
/// A piece of output.
const PIECE: usize = 32 * 1024;
/// What stands before each piece of output where there is no terminal.
const HEAD: usize = 8;
/// The head of a piece of standard output begins with it.
const STDOUT: u8 = 1;

/// Bytes to a program and from it.
pub(super) type Hijacked = TokioIo<Upgraded>;

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

enum Answer {
    Ours(Upgraded),
    Refused(StatusCode, Bytes),
}

/// Asks for a connection of that kind at `path`. `action` completes "failed to …".
pub(super) async fn hijack(
    link: &Link,
    action: &str,
    path: &str,
    body: Bytes,
) -> Result<Hijacked, EngineError> {
    let api = link.session().await?.api;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/v{api}{path}"))
        .header(HOST, "docker")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("ids and numbers make a path");
    let answer = bounded(action, START_LIMIT, ask(link.socket(), request)).await?;
    let refused = |status: StatusCode, detail: &str| EngineError::Refused {
        action: action.to_owned(),
        status: status.as_u16(),
        detail: one_sentence(detail),
    };
    match answer {
        Ok(Answer::Ours(upgraded)) => Ok(TokioIo::new(upgraded)),
        Ok(Answer::Refused(status, body)) => Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => refused(status, &refusal.message),
            Err(_) => refused(status, &String::from_utf8_lossy(&body)),
        }),
        Err(error) => {
            link.forget();
            let socket = link.socket().to_owned();
            Err(EngineError::Unreachable { socket, detail: chain(&*error) })
        }
    }
}

async fn ask(
    socket: &str,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = pin!(connection.with_upgrades());
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return hyper::upgrade::on(response).await.map(Answer::Ours);
        }
        let body = response.into_body().collect().await?;
        Ok(Answer::Refused(status, body.to_bytes()))
    };
    let mut exchange = pin!(exchange);
    // Both are polled on: the connection ends where it becomes ours, or has broken.
    let answer = tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    };
    Ok(answer?)
}

/// What a program writes, as it comes on a connection.
#[derive(Debug)]
pub(super) struct Output<R> {
    from: R,
    terminal: bool,
    /// The output that this piece is of, and what is missing of it.
    piece: (u8, usize),
}

impl<R: AsyncRead + Unpin> Output<R> {
    pub(super) fn new(from: R, terminal: bool) -> Self {
        Self { from, terminal, piece: (0, 0) }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub(super) async fn next(&mut self) -> io::Result<Option<Said>> {
        if !self.terminal {
            while self.piece.1 == 0 {
                let Some(head) = self.head().await? else { return Ok(None) };
                let [kind, _, _, _, length @ ..] = head;
                self.piece = (kind, u32::from_be_bytes(length) as usize);
            }
        }
        let most = if self.terminal { PIECE } else { PIECE.min(self.piece.1) };
        let mut bytes = vec![0; most];
        let length = self.from.read(&mut bytes).await?;
        match (length, self.terminal) {
            (0, true) => return Ok(None),
            (0, false) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, true) => {}
            (length, false) => self.piece.1 -= length,
        }
        bytes.truncate(length);
        let bytes = Bytes::from(bytes);
        let is_output = self.terminal || self.piece.0 <= STDOUT;
        Ok(Some(if is_output { Said::Output(bytes) } else { Said::Errors(bytes) }))
    }

    async fn head(&mut self) -> io::Result<Option<[u8; HEAD]>> {
        let mut head = [0; HEAD];
        let mut n_read = 0;
        while n_read < HEAD {
            match self.from.read(&mut head[n_read..]).await? {
                0 if n_read == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => n_read += length,
            }
        }
        Ok(Some(head))
    }
}

/// A way to a container that has started, before anybody has asked for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) way: Hijacked,
    pub(super) terminal: bool,
    since: Instant,
}

/// Those that nobody has asked for yet, by the container's id.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<BTreeMap<String, Waiting>>);

impl Held {
    fn all(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it for whoever comes.
    pub(super) fn put(&self, id: &str, way: Hijacked, terminal: bool) {
        let mut all = self.all();
        let oldest = all.iter().min_by_key(|(_, held)| held.since).map(|(id, _)| id.clone());
        if let Some(oldest) = oldest.filter(|_| all.len() >= HELD_MAX) {
            tracing::warn!(container = oldest, "nobody came to it, and others wait");
            all.remove(&oldest);
        }
        all.insert(id.to_owned(), Waiting { way, terminal, since: Instant::now() });
    }

    /// Hands it out, once.
    pub(super) fn take(&self, id: &str) -> Option<Waiting> {
        self.all().remove(id)
    }

    /// Lets go of those that nobody came to in time: their programs are told that there is no input.
    pub(super) fn sweep(&self) {
        self.all().retain(|_, held| held.since.elapsed() < ATTACH_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], text.as_bytes()].concat()
    }

    async fn told(bytes: &[u8], terminal: bool) -> (String, io::Result<()>) {
        let (mut output, mut words) = (Output::new(bytes, terminal), String::new());
        loop {
            match output.next().await {
                Ok(Some(Said::Output(bytes))) => words += &format!("o{}", bytes.escape_ascii()),
                Ok(Some(Said::Errors(bytes))) => words += &format!("e{}", bytes.escape_ascii()),
                Ok(Some(Said::Ended(_))) => unreachable!("it is not told there"),
                Ok(None) => return (words, Ok(())),
                Err(error) => return (words, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn outputs_are_told_apart_and_empty_pieces_passed_over() {
        let bytes = [piece(1, "one"), piece(2, ""), piece(2, "two"), piece(1, "three")].concat();
        let (words, end) = told(&bytes, false).await;
        assert_eq!((words.as_str(), end.is_ok()), ("ooneetwoothree", true));
    }

    #[tokio::test]
    async fn a_piece_that_is_cut_off_is_an_error() {
        for cut in [1, 3, 9, 10] {
            let whole = piece(1, "word");
            assert!(told(&whole[..whole.len() - cut], false).await.1.is_err(), "{cut}");
        }
    }

    #[tokio::test]
    async fn what_a_terminal_shows_is_taken_as_it_is() {
        let (words, end) = told(b"\x01\x00\x02one", true).await;
        assert_eq!((words.as_str(), end.is_ok()), ("o\\x01\\x00\\x02one", true));
    }
}
