//! The server: sockets, limits, counts, and the current zone behind a [`Handle`].
//!
//! It carries questions to [`answer`](crate::answer::answer()) or to the
//! [`Forwarder`](crate::forward::Forwarder) and answers back. It never decides what a name means,
//! never answers outside the allowed networks, and all its tasks end with [`Server::run`].
//!
//! The loops are our own over hickory's message types rather than `hickory-server`'s: that one
//! spawns a task for each packet before any limit can apply, does not bound TCP connections, and
//! does not let a handler choose the size of an answer.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::forward::{ForwardError, ForwardOptions};
use crate::forwarders::Forwarders;
use crate::network::Network;
use crate::shared::Shared;
use crate::zone::Zone;
use crate::{tcp, udp};

/// How long answers under way may take after the stop before they are cut.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Tries to find a port that is free for UDP and TCP alike, when the system chooses it.
const PORT_TRIES_MAX: u32 = 16;

/// Where to listen, whom to answer, whom to ask.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to answer on, over UDP and TCP; port 0 lets the system choose one port for both.
    pub listen: Vec<SocketAddr>,
    /// Source networks that are answered. Everybody else gets REFUSED over UDP and a closed
    /// connection over TCP. An empty list answers nobody.
    pub allowed: Vec<Network>,
    /// Resolvers for names that are not ours, in order of preference; those that are this server
    /// itself are left out with a warning. With none, such names are refused.
    pub upstreams: Vec<SocketAddr>,
    /// How patiently to ask them.
    pub forward: ForwardOptions,
    /// Bounds for askers.
    pub limits: Limits,
}

impl Config {
    /// Answers `allowed` askers on `listen`, asks nobody, with the default limits.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, allowed: Vec<Network>) -> Self {
        Self {
            listen,
            allowed,
            upstreams: Vec::new(),
            forward: ForwardOptions::default(),
            limits: Limits::default(),
        }
    }
}

/// What askers may use. The defaults bound the memory of a full attack to a few megabytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Questions a second from one source, on average: 1000. A container that resolves names for
    /// each request stays far below; one in a loop cannot take the machine.
    pub rate: u32,
    /// Questions at once from one source: 2000. Programs start with many lookups.
    pub burst: u32,
    /// TCP connections of one source: 16.
    pub connections_each: usize,
    /// TCP connections of all sources: 256, half of them at most of sources the zone does not know.
    pub connections: usize,
    /// Questions of one source that wait for a resolver: 64.
    pub forwards_each: usize,
    /// Questions of all sources that wait for a resolver: 1024, half of them at most of sources
    /// the zone does not know.
    pub forwards: usize,
    /// The longest that a TCP connection waits for a whole question, or to send an answer: 10 s.
    pub tcp_idle: Duration,
    /// The longest that a question for one of our names waits until the zone knows its asker, which
    /// may be newer than the zone: not at all. It takes the place of one that waits for a resolver.
    pub newcomer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: 1000,
            burst: 2000,
            connections_each: 16,
            connections: 256,
            forwards_each: 64,
            forwards: 1024,
            tcp_idle: Duration::from_secs(10),
            newcomer: Duration::ZERO,
        }
    }
}

/// How questions travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One packet each way.
    Udp,
    /// A connection.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// Why the server cannot start. No socket stays open.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on: in use, not on this machine, or not permitted.
    #[error("failed to listen on {address} ({transport})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The transport.
        transport: Transport,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The upstream resolvers cannot be set up.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// A server that listens; it answers while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct Server {
    sockets: Vec<(Arc<UdpSocket>, TcpListener)>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

impl Server {
    /// Listens on every address of `config`, over UDP and TCP, and starts with `zone`.
    ///
    /// # Errors
    /// [`BindError::Listen`] names the address that failed; nothing is left open then.
    pub async fn bind(config: Config, zone: Zone) -> Result<Self, BindError> {
        let mut sockets = Vec::with_capacity(config.listen.len());
        let mut addresses = Vec::with_capacity(config.listen.len());
        for address in &config.listen {
            let (udp, tcp, bound) = bind_both(*address).await?;
            sockets.push((Arc::new(udp), tcp));
            addresses.push(bound);
        }
        let forwarders = Forwarders::new(&config.upstreams, config.forward, addresses.clone())?;
        let shared = Arc::new(Shared::new(zone, config.allowed, config.limits, forwarders));
        Ok(Self { sockets, addresses, shared })
    }

    /// The addresses it listens on, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A handle to swap the zone and read the counts; it may outlive the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Answers until `stop` completes, then lets answers under way finish for a second. Dropping
    /// the future stops at once; either way the sockets are closed and no task is left.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let (stopping, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (socket, listener) in self.sockets {
            tasks.spawn(udp::serve(socket, self.shared.clone(), stopped.clone()));
            tasks.spawn(tcp::serve(listener, self.shared.clone(), stopped.clone()));
        }
        drop(stopped);
        stop.await;
        // Nobody listening means that every task has ended already.
        let _ = stopping.send(true);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
            tracing::debug!("cutting answers under way");
            tasks.shutdown().await;
        }
    }
}

/// Swaps the zone of a running server and reads its counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Answers from `zone` from the next question on.
    pub fn swap(&self, zone: Zone) {
        self.shared.swap(zone);
    }

    /// The zone that is answered from now.
    #[must_use]
    pub fn zone(&self) -> Arc<Zone> {
        self.shared.zone()
    }

    /// What happened since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.tally.read()
    }

    /// Sources whose questions are counted one by one: at most [`SOURCES_MAX`](crate::SOURCES_MAX)
    /// besides those that the zone knows, and one for all outsiders together.
    #[must_use]
    pub fn n_sources(&self) -> usize {
        self.shared.n_sources()
    }
}

/// What a server did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Questions that were read and within the limits.
    pub questions: u64,
    /// Answered with records of the zone.
    pub records: u64,
    /// Answered "no such records" or "no such name" from the zone.
    pub negative: u64,
    /// Asked of a resolver.
    pub forwarded: u64,
    /// Answered SERVFAIL: no resolver answered in time, or too many questions waited for one.
    pub failed: u64,
    /// Refused: outside the allowed networks, or something that is never answered.
    pub refused: u64,
    /// Dropped or closed because the source asked too much.
    pub limited: u64,
    /// Not a DNS question, or a broken one.
    pub malformed: u64,
    /// Answers that lost records to the size limit and carry the TC bit.
    pub truncated: u64,
}

/// Opens UDP and TCP on one address, with one port for both.
async fn bind_both(address: SocketAddr) -> Result<(UdpSocket, TcpListener, SocketAddr), BindError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let fail = |transport| move |source| BindError::Listen { address, transport, source };
        let socket = UdpSocket::bind(address).await.map_err(fail(Transport::Udp))?;
        let bound = socket.local_addr().map_err(fail(Transport::Udp))?;
        match TcpListener::bind(bound).await {
            Ok(tcp) => {
                udp::widen_queue(&socket);
                return Ok((socket, tcp, bound));
            }
            // The port that the system chose for UDP may be taken for TCP.
            Err(_) if address.port() == 0 && tries < PORT_TRIES_MAX => {}
            Err(source) => return Err(fail(Transport::Tcp)(source)),
        }
    }
}
