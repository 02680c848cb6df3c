//! In front of a program of another host: frames over a stream between the two agents.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::place::{Place, silent};
use super::{Order, Wish, begin, copies, name_of};
use crate::agent::audit::Changed;
use crate::agent::cluster::Cluster;
use crate::agent::handle::Agent;
use crate::agent::rpc::{Header, encode};
use crate::api::console::decode_frames;
use crate::api::{ApiError, Frame, Frames};
use crate::docker::Engine;
use crate::model::{HostId, ReplicaId};
use crate::swarm::{By, RecvStream, SendStream};
use crate::telemetry::chain;

/// A host begins what it is asked for within this: an engine that is busy takes long.
const BEGIN: Duration = Duration::from_secs(60);
/// What is read at once.
const PIECE: usize = 64 * 1024;

impl<E: Engine> Agent<E> {
    /// Asks the agent of another host, and stands between it and whoever sits here.
    pub(super) async fn sit_there(
        &self,
        cluster: &Arc<Cluster<E>>,
        Place { replica, host, name }: &Place,
        order: &Order,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let seat = self.seats.away()?;
        let asked = host.clone();
        let address = cluster.core.look(move |core| core.membership().address(&asked)).await?;
        let address = address.ok_or_else(|| silent(name, replica))?;
        let header = encode(&Header::Console(Box::new(order.clone())));
        let opened = cluster.transport.open(host, address, header).await;
        let (to, from) = opened.map_err(|error| {
            tracing::info!(%host, error = chain(&error), "a host cannot be asked");
            silent(name, replica)
        })?;
        let mut frames = decode_frames(pieces(from));
        let broke_off = || {
            ApiError::cluster(format!("host `{name}` broke off"))
                .hint("see whether its agent runs, and whether it is of this version")
        };
        let first = timeout(BEGIN, frames.next()).await.map_err(|_| {
            ApiError::cluster(format!(
                "host `{name}` did not begin it within {} s",
                BEGIN.as_secs()
            ))
        })?;
        match first {
            Some(Ok(Frame::Begun)) => {}
            Some(Ok(Frame::Failed(error))) => return Err(error),
            Some(_) | None => return Err(broke_off()),
        }
        cluster.supervisor.spawn_until_stop("console-typed", typed(input, to));
        Ok(said(frames, name.clone(), seat))
    }

    /// Has somebody who asked another agent sit in front of a program of this host.
    pub(in crate::agent) async fn serve_console(
        self,
        cluster: Arc<Cluster<E>>,
        from: HostId,
        order: Order,
        (send, receive): (SendStream, RecvStream),
    ) {
        let by = match &order.by {
            Some(by) => by.clone().via(&from),
            None => By::host(&from),
        };
        let ReplicaId { app, service, index } = &order.replica;
        let what = match &order.wish {
            Wish::Exec { hook, .. } => {
                Some(format!("exec {app} {service}/{index} {}", name_of(hook)))
            }
            Wish::Attach => Some(format!("attach {app} {service}/{index}")),
            Wish::Copy(step) => copies::what(step, app.as_str(), &format!("{service}/{index}")),
        };
        let begun = match self.seats.here() {
            Ok(seat) => {
                let name = &cluster.settings.name;
                let begun = begin(&*self.engine, &cluster.core, name, &order).await;
                begun.map(|begun| (begun, seat))
            }
            Err(error) => Err(error),
        };
        if let Some(what) = what {
            let new = cluster.settings.name.clone();
            let result = begun.as_ref().map(|_| ()).map_err(Clone::clone);
            self.note(&by, Changed { what, new, ..Changed::default() }, &result).await;
        }
        match begun {
            Ok(begun) => {
                let input = decode_frames(pieces(receive));
                tell(self.go_on(&cluster, begun, input), send).await;
            }
            Err(error) => last_words(send, Frame::Failed(error)).await,
        }
    }
}

fn pieces(from: RecvStream) -> impl Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    let pieces = ReaderStream::with_capacity(from, PIECE);
    pieces.map(|piece| piece.map_err(|error| chain(&error)))
}

/// Passes on what is typed. Dropping the stream tells the other side that whoever typed is gone.
async fn typed(mut input: Frames, mut to: SendStream) {
    loop {
        // Both are cancel-safe: `next` of a stream takes nothing when it is dropped.
        let frame = tokio::select! {
            frame = input.next() => frame,
            () = to.closed() => return,
        };
        let Some(Ok(frame)) = frame else { return };
        if to.write_all(&frame.encode()).await.is_err() {
            return;
        }
    }
}

/// What the other side says, with an end in any case.
fn said(frames: Frames, name: String, seat: OwnedSemaphorePermit) -> Frames {
    let begun = futures_util::stream::iter([Ok(Frame::Begun)]);
    let state = Some((frames, name, seat));
    let rest = futures_util::stream::unfold(state, |state| async {
        let (mut frames, name, seat) = state?;
        let frame = match frames.next().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let words = format!("the connection with host `{name}` is lost: {error}");
                Frame::Failed(ApiError::cluster(words))
            }
            None => Frame::Failed(ApiError::cluster(format!("host `{name}` broke off"))),
        };
        let rest = (!frame.is_last()).then_some((frames, name, seat));
        Some((Ok(frame), rest))
    });
    Box::pin(begun.chain(rest))
}

/// Passes on what is said, until that is all or nobody wants it.
async fn tell(mut inbox: mpsc::Receiver<Result<Frame, ApiError>>, mut send: SendStream) {
    loop {
        let frame = tokio::select! {
            frame = inbox.recv() => frame,
            () = send.closed() => return,
        };
        let Some(Ok(frame)) = frame else { break };
        if send.write_all(&frame.encode()).await.is_err() {
            return;
        }
        if frame.is_last() {
            break;
        }
    }
    // The reader may have gone.
    let _ = send.shutdown().await;
}

async fn last_words(mut send: SendStream, frame: Frame) {
    // The reader may have gone.
    if send.write_all(&frame.encode()).await.is_ok() {
        let _ = send.shutdown().await;
    }
}
