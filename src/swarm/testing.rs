//! Hosts on loopback, for tests of this room.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};

use super::audit::Audit;
use super::clock::WallClock;
use super::identity::{HostKey, Identity};
use super::store::Store;
use super::tokens::Tokens;
use super::transport::{Incoming, Transport, TransportError, TransportStart};
use crate::model::{HostId, WallSeconds};
use crate::supervisor::Supervisor;

/// Longer than anything here takes on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// A host with an endpoint on loopback.
pub(super) struct Host {
    pub(super) identity: Identity,
    pub(super) transport: Transport,
    pub(super) inbox: mpsc::Receiver<Incoming>,
    pub(super) tokens: Tokens,
    pub(super) clock: WallClock,
    pub(super) supervisor: Supervisor,
    /// Its data directory, which goes with it.
    pub(super) dir: TempDir,
}

/// The first host of a new cluster.
pub(super) fn founder() -> Host {
    Host::start(Identity::make(now()).unwrap(), WallClock::system())
}

/// One more host of `host`'s cluster, as if it had joined.
pub(super) fn member(host: &Host) -> Host {
    Host::start(admitted(host, now()), WallClock::system())
}

/// One more identity in `host`'s cluster, certified at `now`.
pub(super) fn admitted(host: &Host, now: WallSeconds) -> Identity {
    let key = HostKey::make().unwrap();
    let public_key = key.public().try_into().unwrap();
    let admission = host.identity.admit(public_key, now).unwrap();
    Identity::admitted(key, &admission).unwrap()
}

/// Waits for `what` and says so when it does not come.
#[track_caller]
pub(super) fn soon<F: Future>(what: &'static str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{what} did not come ({caller})"),
        }
    }
}

pub(super) fn now() -> WallSeconds {
    WallSeconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

impl Host {
    /// A host with this identity, by this clock.
    pub(super) fn start(identity: Identity, clock: WallClock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&store_path(&dir)).unwrap();
        let tokens = Tokens::new(store, Audit::new(dir.path()));
        let supervisor = Supervisor::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let start = TransportStart {
            identity: identity.clone(),
            listen,
            tokens: tokens.clone(),
            clock: clock.clone(),
        };
        let (transport, inbox) = Transport::bind(start, &supervisor).unwrap();
        Self { identity, transport, inbox, tokens, clock, supervisor, dir }
    }

    pub(super) fn id(&self) -> &HostId {
        self.identity.host()
    }

    pub(super) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(super) fn audit(&self) -> Audit {
        Audit::new(self.dir())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.transport.local_address().unwrap()
    }

    pub(super) fn start_at(&self, listen: SocketAddr) -> TransportStart {
        let (identity, tokens) = (self.identity.clone(), self.tokens.clone());
        TransportStart { identity, listen, tokens, clock: self.clock.clone() }
    }

    /// Ends the endpoint and starts one at `listen`, as a restarted agent does.
    pub(super) async fn restart(&mut self, listen: SocketAddr) {
        self.stop().await;
        self.supervisor = Supervisor::new();
        let bind = async {
            loop {
                match Transport::bind(self.start_at(listen), &self.supervisor) {
                    Ok(bound) => return bound,
                    // The socket goes when the last task of the old endpoint does.
                    Err(TransportError::Bind { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        (self.transport, self.inbox) = soon("the port", bind).await;
    }

    /// Ends the endpoint, and leaves nothing that holds it.
    pub(super) async fn stop(&mut self) {
        self.supervisor.stop().await;
        let elsewhere = Supervisor::new();
        let listen = "127.0.0.1:0".parse().unwrap();
        let (transport, inbox) = Transport::bind(self.start_at(listen), &elsewhere).unwrap();
        (self.transport, self.inbox) = (transport, inbox);
        elsewhere.stop().await;
    }

    /// The next message and who sent it; that this host was removed is no message.
    pub(super) async fn message(&mut self) -> (HostId, Bytes) {
        loop {
            match soon("a message", self.inbox.recv()).await {
                Some(Incoming::Message { from, bytes, .. }) => return (from, bytes),
                Some(Incoming::Removed { .. }) => {}
                other => panic!("not a message: {other:?}"),
            }
        }
    }
}

/// A wire between two hosts that can be cut: what is sent to it goes on to the other end.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Wire {
    /// A wire to `to`, whole at first. It serves one caller at a time.
    pub(super) async fn to(to: SocketAddr, supervisor: &Supervisor) -> Self {
        Self::with(to, supervisor, |_| {}).await
    }

    /// The same; `spoil` may change what passes, in either direction.
    pub(super) async fn with(
        to: SocketAddr,
        supervisor: &Supervisor,
        mut spoil: impl FnMut(&mut [u8]) + Send + 'static,
    ) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(to).await.unwrap();
        let address = near.local_addr().unwrap();
        let (whole, watched) = watch::channel(true);
        supervisor.spawn_until_stop("wire", async move {
            let mut caller = None;
            let (mut there, mut back) = ([0; 2048], [0; 2048]);
            loop {
                // Both are cancel-safe. Errors are those of a port that nobody listens on.
                tokio::select! {
                    received = near.recv_from(&mut there) => {
                        let Ok((length, from)) = received else { continue };
                        caller = Some(from);
                        spoil(&mut there[..length]);
                        if *watched.borrow() {
                            let _ = far.send(&there[..length]).await;
                        }
                    }
                    received = far.recv(&mut back) => {
                        let Ok(length) = received else { continue };
                        spoil(&mut back[..length]);
                        if let Some(caller) = caller.filter(|_| *watched.borrow()) {
                            let _ = near.send_to(&back[..length], caller).await;
                        }
                    }
                }
            }
        });
        Self { address, whole }
    }

    pub(super) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(super) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

fn store_path(dir: &TempDir) -> PathBuf {
    dir.path().join("store")
}
