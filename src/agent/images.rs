//! Gets images onto this host: from a host that has it, else from its registry. One transfer an
//! image at a time, however many replicas wait for it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use super::rpc::{Header, Outcome, encode};
use crate::docker::{Engine, stream_of};
use crate::logic::operation::Failure;
use crate::model::{HostId, PullPolicy};
use crate::supervisor::Supervisor;
use crate::swarm::Transport;

/// Waiting requests; one a replica that starts, far more than start at once.
const QUEUE: usize = 256;
/// One piece of a transfer.
const PIECE: usize = 256 * 1024;
/// Pieces on the way between the network and the engine.
const PIECES: usize = 16;
/// A transfer that brings nothing for so long has failed.
const STALLED: Duration = Duration::from_secs(30);

/// An image somebody waits for.
#[derive(Debug, Clone)]
pub(super) struct ImageRequest {
    /// The reference.
    pub(super) reference: String,
    /// When it is fetched.
    pub(super) policy: PullPolicy,
    /// Hosts that have it.
    pub(super) sources: Vec<(HostId, SocketAddr)>,
}

type Reply = oneshot::Sender<Result<(), Failure>>;

/// Asks for images.
#[derive(Debug, Clone)]
pub(super) struct ImageFetcher {
    requests: mpsc::Sender<(ImageRequest, Reply)>,
}

impl ImageFetcher {
    /// Starts the task that fetches.
    pub(super) fn start<E: Engine>(
        engine: Arc<E>,
        transport: Transport,
        supervisor: &Supervisor,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let worker = Worker { engine, transport, supervisor: supervisor.clone() };
        supervisor.spawn_until_stop("images", worker.run(inbox));
        Self { requests }
    }

    /// Returns once the image is on this host.
    ///
    /// # Errors
    ///
    /// Why no host and no registry could give it, in words for people.
    pub(super) async fn fetch(&self, request: ImageRequest) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        let stopped = || Failure::from("the agent is stopping".to_owned());
        self.requests.send((request, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

struct Worker<E> {
    engine: Arc<E>,
    transport: Transport,
    supervisor: Supervisor,
}

enum Step {
    Asked(ImageRequest, Reply),
    Done(String, Result<(), Failure>),
}

impl<E: Engine> Worker<E> {
    async fn run(self, mut inbox: mpsc::Receiver<(ImageRequest, Reply)>) {
        let (done, mut results) = mpsc::channel(QUEUE);
        let mut waiting: BTreeMap<String, Vec<Reply>> = BTreeMap::new();
        loop {
            // Both receives are cancel-safe.
            let step = tokio::select! {
                asked = inbox.recv() => match asked {
                    Some((request, reply)) => Step::Asked(request, reply),
                    None => return,
                },
                Some((reference, result)) = results.recv() => Step::Done(reference, result),
            };
            match step {
                Step::Asked(request, reply) => {
                    let replies = waiting.entry(request.reference.clone()).or_default();
                    replies.push(reply);
                    if replies.len() == 1 {
                        self.begin(request, done.clone());
                    }
                }
                Step::Done(reference, result) => {
                    for reply in waiting.remove(&reference).unwrap_or_default() {
                        // Whoever gave up waiting needs no answer.
                        let _ = reply.send(result.clone());
                    }
                }
            }
        }
    }

    fn begin(&self, request: ImageRequest, done: mpsc::Sender<(String, Result<(), Failure>)>) {
        let engine = Arc::clone(&self.engine);
        let transport = self.transport.clone();
        self.supervisor.spawn_until_stop("image", async move {
            let result = obtain(&*engine, &transport, &request).await;
            // The receiver goes only when the agent stops.
            let _ = done.send((request.reference, result)).await;
        });
    }
}

async fn obtain<E: Engine>(
    engine: &E,
    transport: &Transport,
    request: &ImageRequest,
) -> Result<(), Failure> {
    let reference = &request.reference;
    match request.policy {
        PullPolicy::Always => return engine.pull(reference).await.map_err(Failure::from),
        PullPolicy::Missing | PullPolicy::Never => {}
    }
    if engine.image(reference).await?.is_some() {
        return Ok(());
    }
    let (mut tried, mut no_room) = (String::new(), false);
    for (host, address) in &request.sources {
        match transfer(engine, transport, host, *address, reference).await {
            Ok(()) => return Ok(()),
            Err(failure) => {
                let reason = failure.reason;
                tracing::warn!(%host, reference, reason, "image transfer failed");
                tried = format!("; host `{host}` has it, but {reason}");
                no_room |= failure.no_room;
            }
        }
    }
    if request.policy == PullPolicy::Never {
        let reason = format!("no image `{reference}` here, and `pull_policy: never`{tried}");
        return Err(Failure { reason, no_room });
    }
    engine.pull(reference).await.map_err(|error| Failure {
        reason: format!("{}{tried}", error.sentence()),
        no_room: no_room || error.is_for_want_of_room(),
    })
}

/// Streams an image from another host into this host's engine.
async fn transfer<E: Engine>(
    engine: &E,
    transport: &Transport,
    host: &HostId,
    address: SocketAddr,
    reference: &str,
) -> Result<(), Failure> {
    let header = encode(&Header::Image { reference: reference.to_owned() });
    let (_, mut from) = transport
        .open(host, address, header)
        .await
        .map_err(|error| Failure::from(error.to_string()))?;
    let (pieces, inbox) = mpsc::channel::<Bytes>(PIECES);
    // Owns the sender: the engine's stream ends when it does.
    let read = async move {
        let mut last = Vec::new();
        loop {
            let mut piece = vec![0; PIECE];
            let read = tokio::time::timeout(STALLED, from.read(&mut piece));
            let length = match read.await {
                Err(_) => return Err("the transfer stalled".to_owned()),
                Ok(Err(error)) => return Err(format!("the transfer broke: {error}")),
                Ok(Ok(length)) => length,
            };
            if length == 0 {
                return Outcome::from_trailer(&last);
            }
            piece.truncate(length);
            // The last bytes are the sender's verdict, not part of the image.
            last.extend_from_slice(&piece);
            let keep = last.len().saturating_sub(Outcome::LENGTH);
            let give: Vec<u8> = last.drain(..keep).collect();
            if !give.is_empty() && pieces.send(Bytes::from(give)).await.is_err() {
                return Err("the engine stopped reading it".to_owned());
            }
        }
    };
    let (read, loaded) = tokio::join!(read, engine.load_image(stream_of(inbox)));
    // An engine that gives up is the reason why nobody reads on.
    loaded?;
    read.map_err(Failure::from)?;
    match engine.image(reference).await? {
        Some(_) => Ok(()),
        None => Err("what came did not hold it".to_owned().into()),
    }
}

/// Sends an image of this host to another one.
pub(super) async fn serve<E: Engine>(
    engine: &E,
    reference: &str,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) {
    let mut image = engine.save_image(reference);
    while let Some(piece) = image.next().await {
        let written = match piece {
            Ok(piece) => to.write_all(&piece).await.is_ok(),
            Err(error) => {
                tracing::warn!(reference, %error, "cannot read an image that a host asked for");
                // A stream that ends without the good trailer tells the other side.
                let _ = to.write_all(&Outcome::Failed.trailer()).await;
                let _ = to.shutdown().await;
                return;
            }
        };
        if !written {
            return;
        }
    }
    let _ = to.write_all(&Outcome::Complete.trailer()).await;
    let _ = to.shutdown().await;
}
