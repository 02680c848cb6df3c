//! Messages, requests and streams to a host by its id. One UDP port for both directions; a peer is
//! dialled when there is something for it, and its connection is kept.
//!
//! Gives no meaning to the bytes, and does not choose whom to talk to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::clock::WallClock;
use super::connection::{HEADER_MAX, Link, LinkError, NOT_A_MEMBER, REFUSED, Reader, STOPPING};
use super::endpoint::{self, INCOMING_MAX};
use super::identity::Identity;
use super::join::{Issuer, JoinHello, JoinRefused};
use super::open::Open;
use super::peer::{Outgoing, Peer};
use super::people::Caller;
use super::stream::{CallStream, RecvStream, SendStream};
use super::thread::PacketThread;
use super::tls::{self, ALPN_MEMBER, ALPN_TUNNEL, Bearer, Ground, Members, Protocol, Trust};
use super::tokens::{Invitation, Tokens};
use super::tunnel::{self, Tunnel};
use crate::model::HostId;
use crate::supervisor::Supervisor;

/// The largest message, request or answer, in bytes.
pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// What waits for the agent; beyond, peers wait.
const QUEUE: usize = 1024;
/// A handshake that takes longer is dropped.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// With so many handshakes under way, callers must first show that their address is theirs.
const UNVALIDATED_MAX: usize = 32;
/// How long [`Transport::open`] tries to reach a host.
const OPEN: Duration = Duration::from_secs(10);
/// How long the end of the connections may take when the agent stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why another host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The UDP address could not be listened on.
    #[error("cannot listen on UDP {address}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The identity cannot be used for TLS.
    #[error("the identity of this host cannot be used")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing answered. Nothing was sent.
    #[error("nothing answers at UDP {address}")]
    Unreachable {
        /// Where.
        address: SocketAddr,
    },
    /// Something answered, and one side refused the other. Nothing was sent.
    #[error("the host at {address} was refused, or refuses this one")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke after the request was sent: whether it was carried out is not known.
    #[error("the connection to {address} broke")]
    Lost {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The host has the request and gave no answer in time.
    #[error("the host at {address} gave no answer within {} s", limit.as_secs_f32())]
    Late {
        /// Where.
        address: SocketAddr,
        /// What it had.
        limit: Duration,
    },
    /// The host does not know such requests, or could not answer.
    #[error("the host at {address} does not answer this request")]
    NoAnswer {
        /// Where.
        address: SocketAddr,
    },
    /// More than [`MESSAGE_MAX`] bytes. It was not sent.
    #[error("more than {MESSAGE_MAX} bytes in one message")]
    TooLarge,
}

impl TransportError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some(
                "see whether another program has the port (`ss -lunp`), or give `--listen`"
                    .to_owned(),
            ),
            Self::Unreachable { address } => Some(format!(
                "see whether the agent runs there and UDP port {} is open in between",
                address.port()
            )),
            Self::Identity(_)
            | Self::Refused { .. }
            | Self::Lost { .. }
            | Self::Late { .. }
            | Self::NoAnswer { .. }
            | Self::TooLarge => None,
        }
    }
}

/// What comes in.
#[derive(Debug)]
pub enum Incoming {
    /// A message, by datagram or stream.
    Message {
        /// Whose certificate the connection has.
        from: HostId,
        /// Where it was sent from.
        address: SocketAddr,
        /// The message.
        bytes: Bytes,
    },
    /// A request with one answer. Dropping `reply` refuses it; it is closed when nobody waits.
    Request {
        /// Whose certificate the connection has.
        from: HostId,
        /// The request.
        bytes: Bytes,
        /// Where the answer goes; at most [`MESSAGE_MAX`] bytes.
        reply: oneshot::Sender<Bytes>,
    },
    /// A long stream.
    Stream {
        /// Whose certificate the connection has.
        from: HostId,
        /// What it is for.
        header: Bytes,
        /// To the other side; end it with `shutdown`.
        send: SendStream,
        /// From the other side.
        receive: RecvStream,
    },
    /// A member ended the connection because this host was removed from the cluster.
    Removed {
        /// Who says so.
        by: HostId,
    },
    /// A member opened a tunnel.
    Tunnel(Tunnel),
    /// An operator opened a connection of the API.
    Call {
        /// Who.
        caller: Caller,
        /// HTTP.
        stream: CallStream,
    },
    /// Somebody whose token is good is to work on the cluster as an operator.
    Enrol {
        /// By the key it proved to hold.
        id: HostId,
        /// Where it asks from.
        address: SocketAddr,
        /// What the token says of it.
        invitation: Invitation,
        /// As for [`Incoming::Join`].
        reply: oneshot::Sender<Result<Bytes, JoinRefused>>,
    },
    /// A host whose token is good wants to join.
    Join {
        /// Where it will listen: what it said, else where it was seen, with its port.
        address: SocketAddr,
        /// What it says of itself.
        hello: JoinHello,
        /// What it is to know, in the agent's own form, or why it may not join. A refused host's
        /// token stays good.
        reply: oneshot::Sender<Result<Bytes, JoinRefused>>,
    },
}

/// What a transport starts from.
#[derive(Debug)]
pub struct TransportStart {
    /// Who this host is.
    pub identity: Identity,
    /// The UDP address.
    pub listen: SocketAddr,
    /// Hosts that hold one of these can join.
    pub tokens: Tokens,
    /// What certificates are judged by.
    pub clock: WallClock,
}

/// Speaks to other hosts. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) me: HostId,
    pub(super) endpoint: quinn::Endpoint,
    pub(super) thread: PacketThread,
    pub(super) dial: quinn::ClientConfig,
    pub(super) supervisor: Supervisor,
    incoming: mpsc::Sender<Incoming>,
    peers: Mutex<BTreeMap<HostId, Arc<Peer>>>,
    members: watch::Sender<Members>,
    identity: watch::Sender<Identity>,
    shown: watch::Sender<Arc<CertifiedKey>>,
    issuer: Issuer,
    pub(super) people: Open,
    pub(super) tunnels: Open,
    pub(super) dial_tunnel: quinn::ClientConfig,
    take_tunnels: Arc<quinn::ServerConfig>,
    handshakes: Arc<Semaphore>,
    trust: watch::Sender<Trust>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("me", &self.shared.me).finish_non_exhaustive()
    }
}

impl Transport {
    /// Listens, and starts the tasks that serve.
    ///
    /// # Errors
    ///
    /// `Bind` when the address is taken; `Identity` when TLS refuses the key.
    pub fn bind(
        start: TransportStart,
        supervisor: &Supervisor,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), TransportError> {
        let TransportStart { identity, listen, tokens, clock } = start;
        let (members, watched) = watch::channel(Members::default());
        let certified = tls::certified(&identity).map_err(unusable)?;
        let (shown, watched_shown) = watch::channel(certified);
        let (current, watched_identity) = watch::channel(identity.clone());
        let trust = identity.trust().map_err(unusable)?;
        let (trust, watched_trust) = watch::channel(trust);
        let ground = Ground {
            trust: watched_trust,
            shown: watched_shown,
            members: watched,
            clock: clock.clone(),
        };
        let server = tls::server(&ground).map_err(unusable)?;
        let dial = tls::client(&ground, ALPN_MEMBER).map_err(unusable)?;
        let dial_tunnel = tls::client(&ground, ALPN_TUNNEL).map_err(unusable)?;
        let take_tunnels = tls::tunnel_server(&ground).map_err(unusable)?;
        let dial = endpoint::client_config(dial).map_err(unusable)?;
        let dial_tunnel = endpoint::tunnel_client(dial_tunnel).map_err(unusable)?;
        let take_tunnels = endpoint::tunnel_server(take_tunnels).map_err(unusable)?;
        let thread = PacketThread::start();
        let bound = thread
            .and_then(|thread| Ok((endpoint::bind(&identity, server, listen, &thread)?, thread)));
        let (endpoint, thread) =
            bound.map_err(|cause| TransportError::Bind { address: listen, cause })?;
        let (incoming, inbox) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            me: identity.host().clone(),
            endpoint,
            thread,
            dial,
            supervisor: supervisor.clone(),
            incoming: incoming.clone(),
            peers: Mutex::default(),
            members,
            identity: current,
            shown,
            issuer: Issuer::new(watched_identity, tokens, clock, incoming),
            people: Open::default(),
            tunnels: Open::default(),
            dial_tunnel,
            take_tunnels: Arc::new(take_tunnels),
            handshakes: Arc::new(Semaphore::new(INCOMING_MAX)),
            trust,
        });
        supervisor.spawn_until_stop("accept", Arc::clone(&shared).accept());
        let stop = supervisor.stop_token();
        let ending = shared.endpoint.clone();
        supervisor.spawn("farewell", async move {
            stop.cancelled().await;
            // Peers learn at once that this agent stops, and need not wait for silence.
            ending.close(STOPPING, b"the agent stops");
            // A peer that does not confirm is dead; there is nobody to tell.
            let _ = tokio::time::timeout(FAREWELL, ending.wait_idle()).await;
        });
        Ok((Self { shared }, inbox))
    }

    /// Where this host listens; tells the port when it was bound to port 0.
    ///
    /// # Errors
    ///
    /// `Bind` when the system cannot say.
    pub fn local_address(&self) -> Result<SocketAddr, TransportError> {
        self.shared.endpoint.local_addr().map_err(|cause| TransportError::Bind {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            cause,
        })
    }

    /// Sends a message that may be lost, in a datagram when it fits. Never waits.
    pub fn send_datagram(&self, to: &HostId, address: SocketAddr, bytes: Bytes) {
        let peer = self.shared.peer(to);
        let bytes = match peer.link() {
            Some(link) => match link.datagram(bytes) {
                Ok(()) => return,
                Err(bytes) => bytes,
            },
            None => bytes,
        };
        self.shared.enqueue(&peer, address, Outgoing::datagram(bytes));
    }

    /// Sends a message on a stream. It is lost when the host cannot be reached for ten seconds, or
    /// when too many wait for it. Never waits; messages may overtake each other.
    pub fn send(&self, to: &HostId, address: SocketAddr, bytes: Bytes) {
        if bytes.len() > MESSAGE_MAX {
            tracing::error!(%to, bytes = bytes.len(), "bug: a message is too large to send");
            return;
        }
        let peer = self.shared.peer(to);
        self.shared.enqueue(&peer, address, Outgoing::message(bytes));
    }

    /// Asks a host and waits for its answer, at most `limit` in all.
    ///
    /// # Errors
    ///
    /// See [`TransportError`]; only after `Lost` and `Late` the request may have been carried out.
    pub async fn request(
        &self,
        to: &HostId,
        address: SocketAddr,
        bytes: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        if bytes.len() > MESSAGE_MAX {
            return Err(TransportError::TooLarge);
        }
        let deadline = Instant::now() + limit;
        loop {
            let link = self.shared.reach(to, address, deadline).await?;
            let answer = tokio::time::timeout_at(deadline, link.request(bytes.clone())).await;
            match answer {
                Ok(Ok(answer)) => return Ok(answer),
                // The other side had forgotten the connection, so it cannot have read this.
                Ok(Err(LinkError::Lost(quinn::ConnectionError::Reset))) => {}
                Ok(Err(error)) => return Err(failed(address, error)),
                Err(_) => return Err(TransportError::Late { address, limit }),
            }
        }
    }

    /// Opens a long stream to a host, which first gets `header` (at most 64 KiB).
    ///
    /// # Errors
    ///
    /// When the host cannot be reached within ten seconds.
    pub async fn open(
        &self,
        to: &HostId,
        address: SocketAddr,
        header: Bytes,
    ) -> Result<(SendStream, RecvStream), TransportError> {
        if header.len() > HEADER_MAX {
            return Err(TransportError::TooLarge);
        }
        let deadline = Instant::now() + OPEN;
        loop {
            let link = self.shared.reach(to, address, deadline).await?;
            match tokio::time::timeout_at(deadline, link.open(header.clone())).await {
                Ok(Ok(streams)) => return Ok(streams),
                Ok(Err(LinkError::Lost(quinn::ConnectionError::Reset))) => {}
                Ok(Err(error)) => return Err(failed(address, error)),
                Err(_) => return Err(TransportError::Late { address, limit: OPEN }),
            }
        }
    }

    /// The largest packet known to reach a host, in bytes; none without a connection. It is found
    /// out in the first seconds of one.
    pub fn mtu(&self, to: &HostId) -> Option<u16> {
        let link = self.shared.peer(to).link()?;
        Some(link.connection.stats().path.current_mtu)
    }

    /// Refuses these hosts from now on, though their certificates are good, and closes the
    /// connections with them. Hosts that are not in `hosts` are no longer refused.
    pub fn set_refused(&self, hosts: BTreeSet<HostId>) {
        // First the list, so that a host whose connection is closed cannot come back meanwhile.
        self.shared.members.send_modify(|members| members.refused = hosts.clone());
        for host in &hosts {
            let peer = self.shared.peers().get(host).cloned();
            if let Some(peer) = peer {
                peer.close(REFUSED, b"removed from the cluster");
            }
            self.shared.people.close(host, REFUSED, b"removed from the cluster");
            self.shared.tunnels.close(host, REFUSED, b"removed from the cluster");
        }
    }
}

impl Transport {
    /// These hosts are members: the dates of their certificates do not matter.
    pub fn set_known(&self, hosts: BTreeSet<HostId>) {
        self.shared.members.send_modify(|members| members.known = hosts);
    }

    /// Who this host is, with the certificate that it shows now.
    pub fn identity(&self) -> Identity {
        self.shared.identity.borrow().clone()
    }

    /// Shows another certificate of the same host from now on, and goes by its authority; connections
    /// stay.
    ///
    /// # Errors
    ///
    /// `Identity` when TLS refuses it; the old one is shown on.
    pub fn set_identity(&self, identity: Identity) -> Result<(), TransportError> {
        let certified = tls::certified(&identity).map_err(unusable)?;
        let trust = identity.trust().map_err(unusable)?;
        self.shared.trust.send_replace(trust);
        self.shared.shown.send_replace(certified);
        self.shared.identity.send_replace(identity);
        Ok(())
    }
}

fn unusable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TransportError {
    TransportError::Identity(cause.into())
}

fn failed(address: SocketAddr, error: LinkError) -> TransportError {
    match error {
        LinkError::Lost(cause) if refuses(&cause) => {
            TransportError::Refused { address, cause: cause.into() }
        }
        LinkError::Lost(cause) => TransportError::Lost { address, cause: cause.into() },
        LinkError::NoAnswer => TransportError::NoAnswer { address },
        LinkError::TooLarge => TransportError::TooLarge,
    }
}

/// Whether a connection ended because one side does not want the other: trying again is useless.
pub(super) fn refuses(error: &quinn::ConnectionError) -> bool {
    // TLS alerts are the codes 0x100 to 0x1ff (RFC 9001, 4.8).
    let alert = |code: quinn::TransportErrorCode| (0x100..0x200).contains(&u64::from(code));
    match error {
        quinn::ConnectionError::TransportError(error) => alert(error.code),
        quinn::ConnectionError::ConnectionClosed(close) => alert(close.error_code),
        quinn::ConnectionError::ApplicationClosed(close) => {
            [NOT_A_MEMBER, REFUSED].contains(&close.error_code)
        }
        quinn::ConnectionError::VersionMismatch => true,
        quinn::ConnectionError::Reset
        | quinn::ConnectionError::TimedOut
        | quinn::ConnectionError::LocallyClosed
        | quinn::ConnectionError::CidsExhausted => false,
    }
}

/// Whether a connection ended because the other side knows this host as removed. Its certificate
/// was checked before, so nobody else can say this.
fn tells_of_removal(reason: &quinn::ConnectionError) -> bool {
    // The TLS alert `certificate_revoked` (RFC 8446, 6.2), as QUIC carries it (RFC 9001, 4.8).
    const REVOKED: u64 = 0x100 + 44;
    match reason {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code == REFUSED,
        quinn::ConnectionError::ConnectionClosed(close) => u64::from(close.error_code) == REVOKED,
        quinn::ConnectionError::TransportError(_)
        | quinn::ConnectionError::VersionMismatch
        | quinn::ConnectionError::Reset
        | quinn::ConnectionError::TimedOut
        | quinn::ConnectionError::LocallyClosed
        | quinn::ConnectionError::CidsExhausted => false,
    }
}

impl Shared {
    fn peers(&self) -> std::sync::MutexGuard<'_, BTreeMap<HostId, Arc<Peer>>> {
        // Nothing is left half done in the map by a panic.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peer(&self, host: &HostId) -> Arc<Peer> {
        let mut peers = self.peers();
        if let Some(peer) = peers.get(host) {
            return Arc::clone(peer);
        }
        let peer = Arc::new(Peer::new(host.clone()));
        peers.insert(host.clone(), Arc::clone(&peer));
        peer
    }

    /// Takes a connection into use: reads it, and sends on it. One that came in is only sent on
    /// after its dialler used it: of several that it tried, it keeps one.
    pub(super) fn take(self: &Arc<Self>, link: &Arc<Link>) {
        let peer = self.peer(&link.peer);
        peer.remember(link);
        // Only now: whoever refuses the host from here on closes what was remembered.
        if self.is_refused(&link.peer) {
            link.connection.close(REFUSED, b"removed from the cluster");
            return;
        }
        if link.dialled_by == self.me {
            self.adopt(&peer, link);
        }
        let shared = Arc::clone(self);
        let reader = Reader {
            link: Arc::clone(link),
            incoming: self.incoming.clone(),
            supervisor: self.supervisor.clone(),
        };
        let link = Arc::clone(link);
        self.supervisor.spawn_until_stop("connection", async move {
            let adopting = (Arc::clone(&shared), Arc::clone(&peer), Arc::clone(&link));
            let reason = reader.run(move || adopting.0.adopt(&adopting.1, &adopting.2)).await;
            tracing::debug!(peer = %link.peer, %reason, "connection ended");
            peer.forget(&link);
            if tells_of_removal(&reason) {
                // It fails only when the agent stops.
                let _ = shared.incoming.send(Incoming::Removed { by: link.peer.clone() }).await;
            }
        });
    }

    async fn accept(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let under_way = INCOMING_MAX - self.handshakes.available_permits();
            if under_way > UNVALIDATED_MAX && incoming.may_retry() {
                // It cannot fail after `may_retry`, and if it did the caller would ask again.
                let _ = incoming.retry();
                continue;
            }
            let task = Arc::clone(&self).handshake(incoming, permit);
            self.supervisor.spawn_until_stop("handshake", task);
        }
    }

    async fn handshake(self: Arc<Self>, incoming: quinn::Incoming, permit: OwnedSemaphorePermit) {
        let address = incoming.remote_address();
        let accepted = if tunnel::is_marked(&incoming) {
            incoming.accept_with(endpoint::tunnel_from(&self.take_tunnels, address))
        } else {
            incoming.accept()
        };
        let connection = match accepted {
            Ok(connecting) => tokio::time::timeout(HANDSHAKE, connecting).await,
            Err(error) => Ok(Err(error)),
        };
        drop(permit);
        let connection = match connection {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%address, %error, "connection refused");
                return;
            }
            Err(_) => return,
        };
        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<quinn::crypto::rustls::HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match tls::protocol(protocol.as_deref(), bearer(&connection)) {
            Some(Protocol::Member(host)) if host != self.me => self.welcome(connection, host),
            Some(Protocol::Tunnel(host)) if host != self.me => {
                self.welcome_tunnel(connection, host).await;
            }
            Some(Protocol::Api(bearer)) => self.serve_operator(connection, bearer).await,
            Some(Protocol::Join) => self.issuer.serve(connection).await,
            Some(Protocol::Member(_) | Protocol::Tunnel(_)) | None => {
                tracing::debug!(%address, "connection refused: no certificate for that protocol");
                connection.close(NOT_A_MEMBER, b"no certificate for this protocol");
            }
        }
    }

    /// Hands something to the agent; waits while it is behind.
    pub(super) async fn hand_in(
        &self,
        incoming: Incoming,
    ) -> Result<(), mpsc::error::SendError<Incoming>> {
        self.incoming.send(incoming).await
    }

    /// Whether somebody was removed.
    pub(super) fn is_refused(&self, id: &HostId) -> bool {
        self.members.borrow().refused.contains(id)
    }

    /// Takes in a member's connection; TLS has checked the certificate.
    fn welcome(self: &Arc<Self>, connection: quinn::Connection, host: HostId) {
        endpoint::widen(&connection);
        let link = Link::new(connection, host.clone(), host);
        self.take(&link);
    }
}

/// Whose certificate the other side showed.
fn bearer(connection: &quinn::Connection) -> Option<Bearer> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::bearer_of(chain.first()?, None).ok()
}

#[cfg(test)]
mod tests;
