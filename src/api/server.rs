//! Puts the router on a unix socket, and on streams that operators open. Whoever listens says who
//! asks; nothing in a request can.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::router::router;
use super::{Asker, Backend};
use crate::supervisor::Supervisor;
use crate::swarm::Caller;

/// Owner and group may ask; group is how an administrator lets people in.
const MODE: u32 = 0o660;
/// Requests at one time; a person has a few, a broken script may have many.
const CONNECTIONS: usize = 256;
/// The same for operators, who must not take the places of whoever is on the host itself.
const CALLS: usize = 256;
/// A request whose head does not come within this time is given up, as between hosts.
const READ: Duration = Duration::from_secs(30);
/// Time for running requests to end once the agent stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Whoever has read an answer to its end closes the connection within this.
const CLOSING: Duration = Duration::from_secs(2);
/// Pause after a failed accept, which fails again at once when file descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API cannot be served. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another agent is there.
    #[error("another agent already answers on `{}`", socket.display())]
    InUse {
        /// The socket.
        socket: PathBuf,
    },
    /// Something that is no socket has the path.
    #[error("`{}` exists and is no socket", socket.display())]
    NotASocket {
        /// The path.
        socket: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on `{}`", socket.display())]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// Its words.
        #[source]
        cause: io::Error,
    },
}

/// A socket that is listened on, with nobody answering yet. Its file goes when this does.
#[derive(Debug)]
pub struct Listener {
    socket: PathBuf,
    listener: UnixListener,
}

impl Listener {
    /// Listens on `socket`. The file of an agent that died is replaced.
    ///
    /// # Errors
    ///
    /// When another agent answers there, or the system refuses.
    pub async fn bind(socket: &Path) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::Listen { socket: socket.to_owned(), cause };
        if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        clear(socket).await?;
        // Bound under another name first, so that nobody sees it with wider permissions.
        let mut name = socket.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let temporary = PathBuf::from(name);
        let bind = || {
            let listener = UnixListener::bind(&temporary)?;
            std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(MODE))?;
            std::fs::rename(&temporary, socket)?;
            Ok(listener)
        };
        let listener = bind().map_err(|cause| {
            // It may not exist; what matters is that it does not stay.
            let _ = std::fs::remove_file(&temporary);
            failed(cause)
        })?;
        Ok(Self { socket: socket.to_owned(), listener })
    }

    /// Answers until `supervisor` stops, in a task of its own.
    pub fn serve(self, backend: Arc<dyn Backend>, supervisor: &Supervisor) {
        let tasks = supervisor.clone();
        supervisor.spawn("api", self.accept(backend, tasks));
    }

    async fn accept(self, backend: Arc<dyn Backend>, supervisor: Supervisor) {
        let stop = supervisor.stop_token();
        let router = router(backend, stop.clone());
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let next = async {
                let permit = Arc::clone(&room).acquire_owned().await;
                let permit = permit.expect("the semaphore is never closed");
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop.cancelled() => return,
                // Cancel-safe: a permit is given back, and so is `accept`.
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let service = (router.clone(), Asker::Local);
                    supervisor
                        .spawn("api-connection", answer(stream, service, permit, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have removed it; a file that stays is replaced at the next start.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Removes what an agent that died has left. Answers with an error when one lives.
async fn clear(socket: &Path) -> Result<(), ServeError> {
    let failed = |cause| ServeError::Listen { socket: socket.to_owned(), cause };
    let found = match std::fs::symlink_metadata(socket) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(ServeError::NotASocket { socket: socket.to_owned() });
    }
    match UnixStream::connect(socket).await {
        Ok(_) => Err(ServeError::InUse { socket: socket.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Answers operators on streams that somebody else accepts.
#[derive(Debug, Clone)]
pub struct Calls {
    router: Router,
    supervisor: Supervisor,
    room: Arc<Semaphore>,
}

impl Calls {
    /// Nobody is answered yet.
    pub fn new(backend: Arc<dyn Backend>, supervisor: &Supervisor) -> Self {
        let router = router(backend, supervisor.stop_token());
        Self { router, supervisor: supervisor.clone(), room: Arc::new(Semaphore::new(CALLS)) }
    }

    /// Answers on one stream, in a task of its own. Without room for one more it is broken off: who
    /// waits here would hold up the members.
    pub fn answer(
        &self,
        caller: Caller,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(name = caller.name, "a call was broken off: too many at once");
            return;
        };
        let service = (self.router.clone(), Asker::Operator(caller));
        let stop = self.supervisor.stop_token();
        self.supervisor.spawn("api-call", answer(stream, service, permit, stop));
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    (router, asker): (Router, Asker),
    _permit: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(asker.clone());
        // A router is always ready.
        router.clone().call(request)
    });
    let mut connection = Box::pin(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ)
            .serve_connection(TokioIo::new(&mut stream), service),
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match timeout(DRAIN, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("a request did not end in time"),
            }
        }
    };
    drop(connection);
    match ended {
        Ok(()) => close(stream).await,
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Waits until the other side has closed a connection on which all is said (RFC 9112, section 9.6). Where
/// somebody still sends, as those who type do and those whose build was refused, closing it at once would
/// fail what they send, and with it what they have not read of the answer yet.
async fn close(mut stream: impl AsyncRead + Unpin) {
    // One that does not, or is broken off, has had its answer.
    let _ = timeout(CLOSING, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
}
