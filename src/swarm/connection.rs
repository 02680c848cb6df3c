//! One connection with one member: reads what comes in on it, and frames what goes out.
//!
//! Every stream and datagram begins with one byte that says what it is; an unknown one is refused,
//! so that a newer agent may try something else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::endpoint::STREAMS_MAX;
use super::stream::{RecvStream, SendStream};
use super::transport::{Incoming, MESSAGE_MAX};
use crate::model::HostId;
use crate::supervisor::Supervisor;

/// Stream code: whoever sent it gave up.
pub(super) const GIVEN_UP: VarInt = VarInt::from_u32(1);
/// Stream code: there is no answer.
const NO_ANSWER: VarInt = VarInt::from_u32(2);
/// Stream code: this agent does not know that kind of stream.
const UNKNOWN_KIND: VarInt = VarInt::from_u32(3);

/// Connection code: the agent stops.
pub(super) const STOPPING: VarInt = VarInt::from_u32(1);
/// Connection code: there is a better connection between the two hosts.
pub(super) const SUPERFLUOUS: VarInt = VarInt::from_u32(2);
/// Connection code: no certificate of a member was shown.
pub(super) const NOT_A_MEMBER: VarInt = VarInt::from_u32(3);
/// Connection code: too many hosts join at once.
pub(super) const BUSY: VarInt = VarInt::from_u32(5);
/// Connection code: the host was removed from the cluster.
pub(super) const REFUSED: VarInt = VarInt::from_u32(4);

const KIND_MESSAGE: u8 = 1;
const KIND_REQUEST: u8 = 2;
const KIND_STREAM: u8 = 3;

/// Messages of the core go before everything else (decision 4).
const PRIORITY_MESSAGE: i32 = 20;
const PRIORITY_REQUEST: i32 = 10;
const PRIORITY_STREAM: i32 = 0;

/// Bytes that say what a stream is for.
pub(super) const HEADER_MAX: usize = 64 * 1024;
/// A message, a request or a header comes whole within this time.
const READ: Duration = Duration::from_secs(30);
/// Long streams this host opens on a connection. Fewer than the peer allows, so that followed logs
/// cannot leave requests without a stream.
const OPENED_MAX: usize = STREAMS_MAX as usize * 3 / 4;
/// Messages on their way at once; the others wait in the queue, where old ones can be dropped.
const MESSAGES_MAX: usize = STREAMS_MAX as usize / 2;

/// A connection with a member whose certificate was checked.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// The other side.
    pub(super) peer: HostId,
    /// Which of the two dialled.
    pub(super) dialled_by: HostId,
    pub(super) messages: Arc<Semaphore>,
    opened: Arc<Semaphore>,
    streams: Arc<AtomicUsize>,
    used: AtomicBool,
}

/// Held by both halves of a stream: a connection with such is not closed as superfluous.
#[derive(Debug)]
pub(super) struct Busy {
    streams: Arc<AtomicUsize>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Busy {
    fn new(link: &Link, permit: Option<OwnedSemaphorePermit>) -> Arc<Self> {
        link.streams.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { streams: Arc::clone(&link.streams), _permit: permit })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why something did not get through on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkError {
    /// The connection is gone.
    Lost(ConnectionError),
    /// The other side refused this one stream.
    NoAnswer,
    /// The answer is larger than [`MESSAGE_MAX`].
    TooLarge,
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        Self::Lost(error)
    }
}

impl From<quinn::WriteError> for LinkError {
    fn from(error: quinn::WriteError) -> Self {
        match error {
            quinn::WriteError::ConnectionLost(error) => Self::Lost(error),
            quinn::WriteError::Stopped(_)
            | quinn::WriteError::ClosedStream
            | quinn::WriteError::ZeroRttRejected => Self::NoAnswer,
        }
    }
}

impl From<quinn::ReadToEndError> for LinkError {
    fn from(error: quinn::ReadToEndError) -> Self {
        match error {
            quinn::ReadToEndError::TooLong => Self::TooLarge,
            quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(error)) => {
                Self::Lost(error)
            }
            quinn::ReadToEndError::Read(_) => Self::NoAnswer,
        }
    }
}

impl Link {
    pub(super) fn new(connection: Connection, peer: HostId, dialled_by: HostId) -> Arc<Self> {
        Arc::new(Self {
            connection,
            peer,
            dialled_by,
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
            opened: Arc::new(Semaphore::new(OPENED_MAX)),
            streams: Arc::new(AtomicUsize::new(0)),
            used: AtomicBool::new(false),
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Whether this host may send on it.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn use_it(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Whether a stream or request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// Sends a datagram; gives the bytes back when they need a stream.
    pub(super) fn datagram(&self, bytes: Bytes) -> Result<(), Bytes> {
        let fits = self.connection.max_datagram_size().is_some_and(|max| bytes.len() < max);
        if !fits {
            return Err(bytes);
        }
        let mut framed = BytesMut::with_capacity(1 + bytes.len());
        framed.extend_from_slice(&[KIND_MESSAGE]);
        framed.extend_from_slice(&bytes);
        // A datagram may be lost anyway: here when the connection went this moment.
        let _ = self.connection.send_datagram(framed.freeze());
        Ok(())
    }

    /// Sends a message and waits until the other side has it.
    pub(super) async fn message(&self, bytes: Bytes) -> Result<(), LinkError> {
        let mut stream = self.connection.open_uni().await?;
        prioritise(&stream, PRIORITY_MESSAGE);
        write(&mut stream, KIND_MESSAGE, bytes).await?;
        // It was just opened, so it is not finished yet.
        let _ = stream.finish();
        match stream.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(LinkError::NoAnswer),
            Err(quinn::StoppedError::ConnectionLost(error)) => Err(LinkError::Lost(error)),
            Err(quinn::StoppedError::ZeroRttRejected) => Err(LinkError::NoAnswer),
        }
    }

    /// Sends a request and reads the answer.
    pub(super) async fn request(&self, bytes: Bytes) -> Result<Bytes, LinkError> {
        let _busy = Busy::new(self, None);
        let (mut send, mut receive) = self.connection.open_bi().await?;
        prioritise(&send, PRIORITY_REQUEST);
        write(&mut send, KIND_REQUEST, bytes).await?;
        // It was just opened, so it is not finished yet.
        let _ = send.finish();
        Ok(Bytes::from(receive.read_to_end(MESSAGE_MAX).await?))
    }

    /// Opens a long stream.
    pub(super) async fn open(&self, header: Bytes) -> Result<(SendStream, RecvStream), LinkError> {
        let permit = Arc::clone(&self.opened).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let busy = Busy::new(self, Some(permit));
        let (mut send, receive) = self.connection.open_bi().await?;
        prioritise(&send, PRIORITY_STREAM);
        let length = u32::try_from(header.len()).map_err(|_| LinkError::TooLarge)?;
        let mut framed = BytesMut::with_capacity(4 + header.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&header);
        write(&mut send, KIND_STREAM, framed.freeze()).await?;
        Ok((SendStream::opened(send, Arc::clone(&busy)), RecvStream::new(receive, busy)))
    }
}

fn prioritise(stream: &quinn::SendStream, priority: i32) {
    // It fails only on a stream that is closed, and then there is nothing to prioritise.
    let _ = stream.set_priority(priority);
}

async fn write(stream: &mut quinn::SendStream, kind: u8, bytes: Bytes) -> Result<(), LinkError> {
    let mut parts = [Bytes::copy_from_slice(&[kind]), bytes];
    Ok(stream.write_all_chunks(&mut parts).await?)
}

/// Reads a connection until it ends.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) link: Arc<Link>,
    pub(super) incoming: mpsc::Sender<Incoming>,
    pub(super) supervisor: Supervisor,
}

enum Arrived {
    Datagram(Bytes),
    Uni(quinn::RecvStream),
    Bi(quinn::SendStream, quinn::RecvStream),
    Closed(ConnectionError),
}

impl Reader {
    /// Reads until the connection ends and says why it did. `first` is called when the other side
    /// first uses it.
    pub(super) async fn run(self, first: impl FnOnce() + Send) -> ConnectionError {
        let mut first = Some(first);
        loop {
            let connection = &self.link.connection;
            // All are cancel-safe: what was not accepted stays with the connection.
            let arrived = tokio::select! {
                datagram = connection.read_datagram() =>
                    datagram.map_or_else(Arrived::Closed, Arrived::Datagram),
                stream = connection.accept_uni() =>
                    stream.map_or_else(Arrived::Closed, Arrived::Uni),
                streams = connection.accept_bi() =>
                    streams.map_or_else(Arrived::Closed, |(send, receive)| Arrived::Bi(send, receive)),
            };
            if let Arrived::Closed(reason) = arrived {
                return reason;
            }
            if let Some(first) = first.take() {
                first();
            }
            // QUIC itself bounds how many of these tasks there are: by the streams it allows.
            match arrived {
                Arrived::Datagram(bytes) => self.datagram(bytes),
                Arrived::Uni(stream) => {
                    self.supervisor.spawn_until_stop("message", self.clone().message(stream));
                }
                Arrived::Bi(send, receive) => {
                    let task = self.clone().stream(send, receive);
                    self.supervisor.spawn_until_stop("stream", task);
                }
                Arrived::Closed(reason) => return reason,
            }
        }
    }

    fn datagram(&self, mut bytes: Bytes) {
        if bytes.first() != Some(&KIND_MESSAGE) {
            tracing::debug!(from = %self.link.peer, "datagram of an unknown kind");
            return;
        }
        let message = self.incoming_message(bytes.split_off(1));
        // A datagram may be lost; this one is when the agent is behind.
        if self.incoming.try_send(message).is_err() {
            tracing::debug!(from = %self.link.peer, "datagram dropped: the agent is behind");
        }
    }

    fn incoming_message(&self, bytes: Bytes) -> Incoming {
        // An endpoint on `[::]` sees IPv4 hosts under mapped addresses.
        let seen = self.link.connection.remote_address();
        let address = SocketAddr::new(seen.ip().to_canonical(), seen.port());
        Incoming::Message { from: self.link.peer.clone(), address, bytes }
    }

    async fn message(self, mut stream: quinn::RecvStream) {
        let read = tokio::time::timeout(READ, stream.read_to_end(1 + MESSAGE_MAX)).await;
        let Ok(Ok(bytes)) = read else {
            tracing::debug!(from = %self.link.peer, "message broke off");
            return;
        };
        let mut bytes = Bytes::from(bytes);
        if bytes.first() != Some(&KIND_MESSAGE) {
            tracing::debug!(from = %self.link.peer, "message of an unknown kind");
            return;
        }
        let message = self.incoming_message(bytes.split_off(1));
        // It fails only when the agent stops.
        let _ = self.incoming.send(message).await;
    }

    async fn stream(self, mut send: quinn::SendStream, mut receive: quinn::RecvStream) {
        let mut kind = [0];
        let read = tokio::time::timeout(READ, receive.read_exact(&mut kind)).await;
        match (read, kind[0]) {
            (Ok(Ok(())), KIND_REQUEST) => self.request(send, receive).await,
            (Ok(Ok(())), KIND_STREAM) => self.long_stream(send, receive).await,
            (Ok(Ok(())), kind) => {
                tracing::debug!(from = %self.link.peer, kind, "stream of an unknown kind");
                let _ = send.reset(UNKNOWN_KIND);
                let _ = receive.stop(UNKNOWN_KIND);
            }
            (Ok(Err(_)) | Err(_), _) => {
                let _ = send.reset(GIVEN_UP);
            }
        }
    }

    async fn request(self, mut send: quinn::SendStream, mut receive: quinn::RecvStream) {
        let _busy = Busy::new(&self.link, None);
        prioritise(&send, PRIORITY_REQUEST);
        let read = tokio::time::timeout(READ, receive.read_to_end(MESSAGE_MAX)).await;
        let Ok(Ok(bytes)) = read else {
            let _ = send.reset(GIVEN_UP);
            return;
        };
        let (reply, answer) = oneshot::channel();
        let request =
            Incoming::Request { from: self.link.peer.clone(), bytes: Bytes::from(bytes), reply };
        if self.incoming.send(request).await.is_err() {
            let _ = send.reset(NO_ANSWER);
            return;
        }
        let stopped = send.stopped();
        // Dropping `answer` tells the agent that nobody waits any more.
        let answer = tokio::select! {
            answer = answer => answer.ok(),
            _ = stopped => return,
        };
        let sent = match answer {
            Some(bytes) if bytes.len() <= MESSAGE_MAX => send.write_chunk(bytes).await.is_ok(),
            Some(_) | None => false,
        };
        // Whoever asked may have gone.
        let _ = if sent { send.finish() } else { send.reset(NO_ANSWER) };
    }

    async fn long_stream(self, mut send: quinn::SendStream, mut receive: quinn::RecvStream) {
        let busy = Busy::new(&self.link, None);
        prioritise(&send, PRIORITY_STREAM);
        let header = tokio::time::timeout(READ, read_header(&mut receive)).await;
        let Ok(Some(header)) = header else {
            let _ = send.reset(UNKNOWN_KIND);
            return;
        };
        let stream = Incoming::Stream {
            from: self.link.peer.clone(),
            header,
            send: SendStream::accepted(send, Arc::clone(&busy)),
            receive: RecvStream::new(receive, busy),
        };
        // It fails only when the agent stops; dropping the stream then breaks it off.
        let _ = self.incoming.send(stream).await;
    }
}

async fn read_header(receive: &mut quinn::RecvStream) -> Option<Bytes> {
    let mut length = [0; 4];
    receive.read_exact(&mut length).await.ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if length > HEADER_MAX {
        return None;
    }
    let mut header = vec![0; length];
    receive.read_exact(&mut header).await.ok()?;
    Some(Bytes::from(header))
}
