//! One member as this host sees it: what waits for it, the connections with it, and dialling.
//!
//! A peer has no task while nothing waits for it. Several connections are normal: both sides may
//! dial at once, and a host that was restarted dials while the old connection still seems alive.
//! The newest is sent on; after a while both sides agree which of several live ones to close.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::connection::{Link, LinkError, SUPERFLUOUS};
use super::endpoint;
use super::transport::{Shared, TransportError, refuses};
use crate::model::HostId;

/// Messages that wait for a peer; when one more comes, the oldest is dropped.
const QUEUE_MAX: usize = 64;
/// Bytes that wait for a peer; likewise.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A message that waited longer is dropped: what it says is old, and newer ones follow.
const PATIENCE: Duration = Duration::from_secs(10);
/// A message that is not acknowledged within this time is given up.
const DELIVERY: Duration = Duration::from_secs(30);
/// Pause before dialling again; doubles from the first to the second. The second bounds how long a
/// host that came back stays unreachable.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Longer than a connection can seem alive without being so.
const RETIRE: Duration = Duration::from_secs(12);
/// Connections with one peer; beyond, the oldest is closed.
const LINKS_MAX: usize = 4;

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Bytes,
    datagram: bool,
    since: Instant,
    /// It was given to a connection that broke.
    again: bool,
}

impl Outgoing {
    /// A message that may be lost.
    pub(super) fn datagram(bytes: Bytes) -> Self {
        Self { bytes, datagram: true, since: Instant::now(), again: false }
    }

    /// A message that should not be lost.
    pub(super) fn message(bytes: Bytes) -> Self {
        Self { bytes, datagram: false, since: Instant::now(), again: false }
    }
}

/// A member.
pub(super) struct Peer {
    host: HostId,
    state: Mutex<State>,
    news: watch::Sender<News>,
}

#[derive(Default)]
struct State {
    address: Option<SocketAddr>,
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// All connections with it, in the order they were made or first used; some may have ended.
    links: Vec<Arc<Link>>,
    /// It was said that this peer is refused, or refuses us; not again before that changes.
    refusal_said: bool,
    /// Callers of [`Shared::reach`].
    waiting: usize,
    /// Which tasks run.
    sending: bool,
    dialling: bool,
    retiring: bool,
}

/// Sent whenever a connection is taken into use or a dial is refused.
#[derive(Debug, Clone, Default)]
struct News {
    refusal: Option<ConnectionError>,
}

impl State {
    fn link(&self) -> Option<&Arc<Link>> {
        self.links.iter().rev().find(|link| link.is_used() && link.is_live())
    }

    fn drop_oldest_beyond_limits(&mut self) -> usize {
        let mut n_dropped = 0;
        while self.queue.len() > QUEUE_MAX || self.bytes > QUEUE_BYTES_MAX {
            let Some(oldest) = self.queue.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
            n_dropped += 1;
        }
        n_dropped
    }
}

impl Peer {
    pub(super) fn new(host: HostId) -> Self {
        Self { host, state: Mutex::default(), news: watch::channel(News::default()).0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest connection that lives.
    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.state().link().cloned()
    }

    /// There is a connection with it, which is not sent on before [`Shared::adopt`].
    pub(super) fn remember(&self, link: &Arc<Link>) {
        let oldest = {
            let mut state = self.state();
            state.links.retain(|link| link.is_live());
            state.links.push(Arc::clone(link));
            (state.links.len() > LINKS_MAX).then(|| state.links.remove(0))
        };
        if let Some(oldest) = oldest {
            oldest.connection.close(SUPERFLUOUS, b"too many connections");
        }
    }

    /// A connection ended.
    pub(super) fn forget(&self, link: &Arc<Link>) {
        self.state().links.retain(|other| !Arc::ptr_eq(other, link));
    }

    /// Whether there is no connection at all.
    #[cfg(test)]
    pub(super) fn is_alone(&self) -> bool {
        self.state().links.is_empty()
    }

    /// Closes all connections.
    pub(super) fn close(&self, code: VarInt, reason: &[u8]) {
        for link in &self.state().links {
            link.connection.close(code, reason);
        }
    }

    /// Where to dial, as long as somebody waits and there is no connection.
    fn wanted(&self) -> Option<SocketAddr> {
        let mut state = self.state();
        let wanted = state.waiting > 0 && state.link().is_none();
        let address = state.address.filter(|_| wanted);
        state.dialling = address.is_some();
        address
    }

    /// Where the next message goes; none when there is none, and then sending is over.
    fn pending(&self) -> Option<SocketAddr> {
        let mut state = self.state();
        while let Some(oldest) = state.queue.front() {
            if oldest.since.elapsed() < PATIENCE {
                break;
            }
            state.bytes -= oldest.bytes.len();
            state.queue.pop_front();
            tracing::debug!(peer = %self.host, "message dropped: it waited too long");
        }
        let address = state.address.filter(|_| !state.queue.is_empty());
        state.sending = address.is_some();
        address
    }

    fn pop(&self) -> Option<Outgoing> {
        let mut state = self.state();
        let next = state.queue.pop_front()?;
        state.bytes -= next.bytes.len();
        Some(next)
    }

    fn drop_all(&self) -> usize {
        let mut state = self.state();
        state.bytes = 0;
        std::mem::take(&mut state.queue).len()
    }

    /// Live connections that another one makes superfluous, and that nothing uses; none when there
    /// is but one, and then retiring is over. Both sides come to the same choice: of two that
    /// different sides dialled, the one of the lower host stays.
    pub(super) fn superfluous(&self) -> Option<Vec<Arc<Link>>> {
        let mut state = self.state();
        let live: Vec<_> = state.links.iter().filter(|link| link.is_live()).cloned().collect();
        state.retiring = live.len() > 1;
        if !state.retiring {
            return None;
        }
        // Of equal ones the first is taken, which is the newest.
        let best = live.iter().rev().min_by(|a, b| a.dialled_by.cmp(&b.dialled_by)).cloned();
        let others = live.into_iter().filter(|link| {
            !best.as_ref().is_some_and(|best| Arc::ptr_eq(best, link)) && !link.is_busy()
        });
        Some(others.collect())
    }
}

/// Counts a caller that waits for a connection, until it is dropped.
struct Waiting<'a>(&'a Peer);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Shared {
    /// Puts a message in the queue of a peer and sees to it that somebody sends it.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        address: SocketAddr,
        message: Outgoing,
    ) {
        let (n_dropped, begin) = {
            let mut state = peer.state();
            state.address = Some(address);
            state.bytes += message.bytes.len();
            state.queue.push_back(message);
            let n_dropped = state.drop_oldest_beyond_limits();
            (n_dropped, !std::mem::replace(&mut state.sending, true))
        };
        if n_dropped > 0 {
            tracing::debug!(peer = %peer.host, n_dropped, "messages dropped: too many wait");
        }
        if begin {
            let task = Arc::clone(self).send_all(Arc::clone(peer));
            self.supervisor.spawn_until_stop("send", task);
        }
    }

    /// Takes a connection into use for sending.
    pub(super) fn adopt(self: &Arc<Self>, peer: &Arc<Peer>, link: &Arc<Link>) {
        let retire = {
            let mut state = peer.state();
            // It may have been closed as one too many.
            if !state.links.iter().any(|other| Arc::ptr_eq(other, link)) {
                return;
            }
            state.links.retain(|other| other.is_live() && !Arc::ptr_eq(other, link));
            state.links.push(Arc::clone(link));
            link.use_it();
            state.refusal_said = false;
            let several = state.links.len() > 1;
            several && !std::mem::replace(&mut state.retiring, several)
        };
        peer.news.send_replace(News::default());
        if retire {
            let peer = Arc::clone(peer);
            self.supervisor.spawn_until_stop("retire", async move {
                tokio::time::sleep(RETIRE).await;
                while let Some(superfluous) = peer.superfluous() {
                    for link in superfluous {
                        link.connection.close(SUPERFLUOUS, b"there is a better connection");
                    }
                    tokio::time::sleep(RETIRE).await;
                }
            });
        }
    }

    /// A connection with a host: the one there is, or a new one.
    pub(super) async fn reach(
        self: &Arc<Self>,
        to: &HostId,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Arc<Link>, TransportError> {
        let peer = self.peer(to);
        let mut news = peer.news.subscribe();
        peer.state().waiting += 1;
        let _waiting = Waiting(&peer);
        loop {
            let begin = {
                let mut state = peer.state();
                if let Some(link) = state.link() {
                    return Ok(Arc::clone(link));
                }
                state.address = Some(address);
                !std::mem::replace(&mut state.dialling, true)
            };
            if begin {
                let task = Arc::clone(self).dial(Arc::clone(&peer));
                self.supervisor.spawn_until_stop("dial", task);
            }
            match tokio::time::timeout_at(deadline, news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(TransportError::Unreachable { address }),
            }
            let refusal = news.borrow_and_update().refusal.clone();
            if let Some(cause) = refusal {
                return Err(TransportError::Refused { address, cause: cause.into() });
            }
        }
    }

    async fn dial(self: Arc<Self>, peer: Arc<Peer>) {
        let mut news = peer.news.subscribe();
        let mut attempts = FuturesUnordered::new();
        let mut pause = PAUSE_MIN;
        while let Some(address) = peer.wanted() {
            attempts.push(endpoint::attempt(&self.endpoint, &self.dial, &peer.host, address));
            match round(&mut attempts, &mut news, Instant::now() + pause).await {
                Round::Connected(connection) => {
                    let link = Link::new(connection, peer.host.clone(), self.me.clone());
                    self.take(&link);
                }
                Round::Refused(error) => {
                    let said = {
                        let mut state = peer.state();
                        state.dialling = false;
                        std::mem::replace(&mut state.refusal_said, true)
                    };
                    if !said {
                        tracing::warn!(peer = %peer.host, %address, %error, "host refused");
                    }
                    peer.news.send_replace(News { refusal: Some(error) });
                    return;
                }
                Round::Over => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
    }

    /// Sends what waits for a peer until nothing does.
    async fn send_all(self: Arc<Self>, peer: Arc<Peer>) {
        let mut news = peer.news.subscribe();
        while let Some(address) = peer.pending() {
            let link = match self.reach(&peer.host, address, Instant::now() + PATIENCE).await {
                Ok(link) => link,
                Err(error) => {
                    let n_dropped = peer.drop_all();
                    tracing::debug!(peer = %peer.host, %error, n_dropped, "messages dropped");
                    continue;
                }
            };
            news.mark_unchanged();
            // Both are cancel-safe. A connection that hangs must not hold up a newer one.
            let permit = tokio::select! {
                permit = Arc::clone(&link.messages).acquire_owned() => permit,
                _ = news.changed() => continue,
            };
            let permit = permit.expect("the semaphore is never closed");
            let Some(mut message) = peer.pop() else { continue };
            if message.datagram {
                match link.datagram(message.bytes) {
                    Ok(()) => continue,
                    Err(bytes) => message.bytes = bytes,
                }
            }
            let task = Arc::clone(&self).deliver(Arc::clone(&peer), link, message, permit);
            self.supervisor.spawn_until_stop("deliver", task);
        }
    }

    async fn deliver(
        self: Arc<Self>,
        peer: Arc<Peer>,
        link: Arc<Link>,
        message: Outgoing,
        _permit: OwnedSemaphorePermit,
    ) {
        let address = link.connection.remote_address();
        match tokio::time::timeout(DELIVERY, link.message(message.bytes.clone())).await {
            Ok(Ok(())) => {}
            Ok(Err(LinkError::Lost(_))) if !message.again => {
                // Messages may come twice: a receiver takes in nothing twice.
                let address = peer.state().address.unwrap_or(address);
                self.enqueue(&peer, address, Outgoing { again: true, ..message });
            }
            Ok(Err(error)) => tracing::debug!(peer = %peer.host, ?error, "message lost"),
            Err(_) => tracing::debug!(peer = %peer.host, "message lost: not acknowledged"),
        }
    }
}

enum Round {
    Connected(Connection),
    Refused(ConnectionError),
    Over,
}

/// Waits until an attempt succeeds or is refused, the peer connects by itself, or time is up.
async fn round(
    attempts: &mut FuturesUnordered<BoxFuture<'static, Result<Connection, ConnectionError>>>,
    news: &mut watch::Receiver<News>,
    until: Instant,
) -> Round {
    loop {
        // All are cancel-safe: an attempt stays in the set until it has ended.
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(connection) => return Round::Connected(connection),
                Err(error) if refuses(&error) => return Round::Refused(error),
                Err(error) => tracing::trace!(%error, "attempt failed"),
            },
            _ = news.changed() => return Round::Over,
            () = tokio::time::sleep_until(until) => return Round::Over,
        }
    }
}
