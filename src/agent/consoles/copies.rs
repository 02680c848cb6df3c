//! Files out of containers of this host, and into them, for whoever asks. Looks into no archive; what came
//! of one that breaks off is never taken for the whole.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Begun, containers, refused};
use crate::agent::driver::CoreHandle;
use crate::api::{ApiError, CopyStep, Frame, Frames, Looked};
use crate::docker::{BoxStream, Engine, EngineError};
use crate::model::{Container, ContainerState, ReplicaId};

/// So often somebody who may have gone is told that nothing happens.
const ALIVE: Duration = Duration::from_secs(10);

/// Files on their way.
pub(super) enum Copying {
    /// Out of a container.
    Out(BoxStream<Result<Bytes, EngineError>>),
    /// Into a folder of a container.
    Into { container: String, folder: String },
}

/// A copy, and who asked for it.
pub(super) struct Carry<E> {
    pub(super) engine: Arc<E>,
    pub(super) copy: Copying,
    /// What goes in; it ends with [`Frame::InputEnd`], else whoever sent it has gone.
    pub(super) input: Frames,
    /// What comes out; when it is closed, nobody listens any more.
    pub(super) output: mpsc::Sender<Result<Frame, ApiError>>,
    /// The agent stops.
    pub(super) stop: CancellationToken,
}

/// For the audit logs; none for what only looks.
pub(super) fn what(step: &CopyStep, app: &str, replica: &str) -> Option<String> {
    match step {
        CopyStep::Look { path: _ } => None,
        CopyStep::Read { path } => Some(format!("copy from {app} {replica}:{path}")),
        CopyStep::Write { folder } => Some(format!("copy to {app} {replica}:{folder}")),
    }
}

/// Begins a step with the container of a replica of this host.
pub(super) async fn begin<E: Engine>(
    engine: &E,
    core: &CoreHandle,
    host: &str,
    (replica, step): (&ReplicaId, &CopyStep),
) -> Result<Begun, ApiError> {
    // Another host may be of another version.
    step.check()?;
    let ReplicaId { service, index, .. } = replica;
    let container = chosen(containers(core, replica).await?).ok_or_else(|| {
        let words = format!("replica {index} of `{service}` has no container on `{host}`");
        ApiError::user(words).hint(format!("`muster ps {service}` shows where it is"))
    })?;
    match step {
        CopyStep::Look { path } => {
            let found = engine.path_stat(&container, path).await.map_err(refused)?;
            let looked = Looked { index: *index, host: host.to_owned(), found };
            let json = serde_json::to_vec(&looked).expect("it is made of words and numbers");
            Ok(Begun::Said(vec![Frame::Begun, Frame::Output(json.into()), Frame::Ended(0)]))
        }
        CopyStep::Read { path } => {
            let mut tar = engine.read_path(&container, path);
            // What is not there is told before anything comes.
            let first = tar.next().await.transpose().map_err(refused)?;
            let tar = futures_util::stream::iter(first.map(Ok)).chain(tar);
            Ok(Begun::Copy(Copying::Out(Box::pin(tar))))
        }
        CopyStep::Write { folder } => {
            Ok(Begun::Copy(Copying::Into { container, folder: folder.clone() }))
        }
    }
}

/// Of the containers of a replica, the newest first: one that runs, else the newest.
fn chosen(mut all: Vec<Container>) -> Option<String> {
    all.retain(|one| one.step.is_none());
    let running = all.iter().position(|one| one.state == ContainerState::Running);
    let at = running.unwrap_or_default();
    (at < all.len()).then(|| all.swap_remove(at).id)
}

/// Returns when all is copied, whoever asked is gone, or the agent stops.
pub(super) async fn carry<E: Engine>(carry: Carry<E>) {
    let Carry { engine, copy, input, output, stop } = carry;
    let last = {
        let work = async {
            output.send(Ok(Frame::Begun)).await.ok()?;
            match copy {
                Copying::Out(tar) => hand_out(tar, input, &output).await,
                Copying::Into { container, folder } => {
                    let taken = engine.write_folder(&container, &folder, packed(input));
                    take_in(taken, &output).await
                }
            }
        };
        tokio::select! {
            last = work => last,
            () = output.closed() => None,
            () = stop.cancelled() => {
                let words = ApiError::cluster("the agent is stopping");
                // Whoever is behind learns it from the connection.
                let _ = output.try_send(Ok(Frame::Failed(words)));
                None
            }
        }
    };
    if let Some(last) = last {
        // They may have gone meanwhile.
        let _ = output.send(Ok(last)).await;
    }
}

/// None when whoever asked is gone.
async fn hand_out(
    mut tar: BoxStream<Result<Bytes, EngineError>>,
    mut input: Frames,
    output: &mpsc::Sender<Result<Frame, ApiError>>,
) -> Option<Frame> {
    let told = async {
        loop {
            let frame = match timeout(ALIVE, tar.next()).await {
                Ok(None) => return Some(Frame::Ended(0)),
                Ok(Some(Ok(piece))) => Frame::Output(piece),
                Ok(Some(Err(error))) => return Some(Frame::Failed(refused(error))),
                // Cancel-safe: `next` of a stream takes nothing when it is dropped.
                Err(_) => Frame::Alive,
            };
            output.send(Ok(frame)).await.ok()?;
        }
    };
    // There is nothing to be said to it, but its end.
    let gone = async { while let Some(Ok(_)) = input.next().await {} };
    tokio::select! {
        last = told => last,
        () = gone => None,
    }
}

/// None when whoever asked is gone.
async fn take_in(
    taken: impl Future<Output = Result<(), EngineError>>,
    output: &mpsc::Sender<Result<Frame, ApiError>>,
) -> Option<Frame> {
    let mut taken = std::pin::pin!(taken);
    loop {
        match timeout(ALIVE, &mut taken).await {
            Ok(Ok(())) => return Some(Frame::Ended(0)),
            Ok(Err(error)) => return Some(Frame::Failed(refused(error))),
            Err(_) => output.send(Ok(Frame::Alive)).await.ok()?,
        }
    }
}

/// The archive that somebody sends. An end that was not said is an error.
fn packed(input: Frames) -> BoxStream<io::Result<Bytes>> {
    Box::pin(futures_util::stream::unfold(Some(input), |state| async {
        let mut input = state?;
        loop {
            match input.next().await {
                Some(Ok(Frame::Input(piece))) => return Some((Ok(piece), Some(input))),
                Some(Ok(Frame::InputEnd)) => return None,
                // None of these is part of it.
                Some(Ok(
                    Frame::Resize(_)
                    | Frame::Begun
                    | Frame::Output(_)
                    | Frame::Errors(_)
                    | Frame::Ended(_)
                    | Frame::Failed(_)
                    | Frame::Alive,
                )) => {}
                Some(Err(_)) | None => {
                    return Some((Err(io::Error::other("whoever sent it has gone")), None));
                }
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::fake::{Behaviour, FakeEngine, FakeImage, FakeNode, web};
    use crate::docker::stream_of;
    use crate::supervisor::Supervisor;

    /// Somebody who copies.
    struct Seat {
        engine: Arc<FakeEngine>,
        container: String,
        sent: mpsc::Sender<Result<Frame, ApiError>>,
        heard: mpsc::Receiver<Result<Frame, ApiError>>,
        stop: CancellationToken,
        tasks: Supervisor,
    }

    async fn sit(copy: impl FnOnce(&FakeEngine, &str) -> Copying) -> Seat {
        let engine = Arc::new(FakeEngine::default());
        engine.with(|host| host.add_image("web:1", FakeImage::new(Behaviour::default())));
        let container = engine.run(&web()).await.unwrap();
        let copy = copy(&engine, &container);
        let (sent, input) = mpsc::channel(1);
        let (output, heard) = mpsc::channel(1);
        let (stop, tasks) = (CancellationToken::new(), Supervisor::new());
        let carried = Carry {
            engine: Arc::clone(&engine),
            copy,
            input: stream_of(input),
            output,
            stop: stop.clone(),
        };
        tasks.spawn("copy", carry(carried));
        Seat { engine, container, sent, heard, stop, tasks }
    }

    fn into(_: &FakeEngine, id: &str) -> Copying {
        Copying::Into { container: id.to_owned(), folder: "/tmp".to_owned() }
    }

    fn archive() -> Bytes {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(4);
        tar.append_data(&mut header, "file", &b"text"[..]).unwrap();
        tar.into_inner().unwrap().into()
    }

    impl Seat {
        async fn hears(&mut self) -> Option<Frame> {
            self.heard.recv().await.map(Result::unwrap)
        }

        fn file(&self) -> Option<FakeNode> {
            let found = |files: &mut crate::docker::fake::FakeTree| {
                files.get("/tmp/file").map(|file| file.node.clone())
            };
            self.engine.with_files(&self.container, found)
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_unpacked_at_its_end() {
        let mut seat = sit(into).await;
        assert_eq!(seat.hears().await, Some(Frame::Begun));
        for piece in archive().chunks(100) {
            let frame = Frame::Input(Bytes::copy_from_slice(piece));
            seat.sent.send(Ok(frame)).await.unwrap();
        }
        assert_eq!(seat.file(), None);
        seat.sent.send(Ok(Frame::InputEnd)).await.unwrap();
        assert_eq!(seat.hears().await, Some(Frame::Ended(0)));
        assert_eq!(seat.file(), Some(FakeNode::File(Bytes::from_static(b"text"))));
        seat.tasks.stop().await;
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_copy() {
        for broken in [None, Some(ApiError::cluster("the connection broke"))] {
            let mut seat = sit(into).await;
            assert_eq!(seat.hears().await, Some(Frame::Begun));
            // Whole as it is, nobody has said so.
            seat.sent.send(Ok(Frame::Input(archive()))).await.unwrap();
            if let Some(error) = broken {
                seat.sent.send(Err(error)).await.unwrap();
            }
            let Seat { sent, mut heard, tasks, .. } = seat;
            drop(sent);
            let last = heard.recv().await.unwrap().unwrap();
            assert!(matches!(last, Frame::Failed(_)), "{last:?}");
            tasks.stop().await;
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_ends_it() {
        let nowhere = |_: &FakeEngine, id: &str| Copying::Into {
            container: id.to_owned(),
            folder: "/nowhere".to_owned(),
        };
        let mut seat = sit(nowhere).await;
        assert_eq!(seat.hears().await, Some(Frame::Begun));
        seat.sent.send(Ok(Frame::Input(archive()))).await.unwrap();
        seat.sent.send(Ok(Frame::InputEnd)).await.unwrap();
        let Some(Frame::Failed(error)) = seat.hears().await else { panic!("it is refused") };
        assert!(error.message.contains("Could not find the file /nowhere"), "{error}");
        seat.tasks.stop().await;
    }

    #[tokio::test]
    async fn whoever_goes_ends_what_comes_out() {
        let much = |engine: &FakeEngine, id: &str| {
            engine.with_files(id, |files| {
                files.put("/much", FakeNode::File(vec![7; 1 << 20].into()), 0o644);
            });
            Copying::Out(engine.read_path(id, "/much"))
        };
        let mut seat = sit(much).await;
        assert_eq!(seat.hears().await, Some(Frame::Begun));
        assert!(matches!(seat.hears().await, Some(Frame::Output(_))));
        // They hear on, and have gone.
        let Seat { sent, mut heard, tasks, .. } = seat;
        drop(sent);
        while heard.recv().await.is_some() {}
        tasks.stop().await;
        let seat = sit(much).await;
        drop(seat.heard);
        seat.tasks.stop().await;
    }

    #[tokio::test]
    async fn an_agent_that_stops_says_so() {
        let mut seat = sit(into).await;
        assert_eq!(seat.hears().await, Some(Frame::Begun));
        seat.stop.cancel();
        let last = Frame::Failed(ApiError::cluster("the agent is stopping"));
        assert_eq!(seat.hears().await, Some(last));
        assert_eq!(seat.hears().await, None);
        seat.tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_told_that_nothing_happens() {
        let mut seat = sit(into).await;
        assert_eq!(seat.hears().await, Some(Frame::Begun));
        assert_eq!(seat.hears().await, Some(Frame::Alive));
        drop(seat.heard);
        seat.tasks.stop().await;
    }

    #[test]
    fn what_only_looks_is_not_noted() {
        let path = || "/etc".to_owned();
        let noted = |step: CopyStep| what(&step, "shop", "web/1");
        assert_eq!(noted(CopyStep::Look { path: path() }), None);
        let out = noted(CopyStep::Read { path: path() });
        assert_eq!(out.as_deref(), Some("copy from shop web/1:/etc"));
        let into = noted(CopyStep::Write { folder: path() });
        assert_eq!(into.as_deref(), Some("copy to shop web/1:/etc"));
    }
}
