//! Takes what is typed to a program of this host, and what it says back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{ApiError, Frame, Frames};
use crate::docker::{Console, ConsoleOf, Engine, Said};

/// So often somebody who may have gone is told that nothing happens: a connection that nobody reads from
/// or writes to any more is noticed in no other way.
const ALIVE: Duration = Duration::from_secs(10);
/// How long telling a terminal that nobody sits there may take.
const HANGING_UP: Duration = Duration::from_secs(5);

/// What goes on between somebody and a program.
pub(super) struct Pump<E> {
    pub(super) engine: Arc<E>,
    pub(super) console: Console,
    /// What is typed; its end means that whoever typed has gone.
    pub(super) input: Frames,
    /// What is said; when it is closed, nobody listens any more.
    pub(super) output: mpsc::Sender<Result<Frame, ApiError>>,
    /// The agent stops.
    pub(super) stop: CancellationToken,
}

enum End {
    /// It has told its last.
    Program,
    /// Nobody sits there any more.
    Gone,
    Stopped,
}

/// Returns when the program has ended, whoever sat there is gone, or the agent stops. Then nothing is
/// left of it here, and the program has been told: by the end of its input, or by a hangup.
pub(super) async fn pump<E: Engine>(pump: Pump<E>) {
    let Pump { engine, console, input, output, stop } = pump;
    let Console { of, terminal, input: typed, output: mut said } = console;
    let end = {
        let feed = feed(&*engine, &of, typed, input);
        let tell = async {
            if output.send(Ok(Frame::Begun)).await.is_err() {
                return End::Gone;
            }
            loop {
                let frame = match timeout(ALIVE, said.next()).await {
                    Ok(Some(Ok(Said::Output(bytes)))) => Frame::Output(bytes),
                    Ok(Some(Ok(Said::Errors(bytes)))) => Frame::Errors(bytes),
                    Ok(Some(Ok(Said::Ended(code)))) => Frame::Ended(code),
                    Ok(Some(Err(error))) => Frame::Failed(super::refused(error)),
                    Ok(None) => Frame::Failed(ApiError::cluster("bug: a program without an end")),
                    // Cancel-safe: `next` of a stream takes nothing when it is dropped.
                    Err(_) => Frame::Alive,
                };
                let is_last = frame.is_last();
                match output.send(Ok(frame)).await {
                    Ok(()) if is_last => return End::Program,
                    Ok(()) => {}
                    Err(_) => return End::Gone,
                }
            }
        };
        tokio::select! {
            end = tell => end,
            () = feed => End::Gone,
            () = output.closed() => End::Gone,
            () = stop.cancelled() => End::Stopped,
        }
    };
    match end {
        End::Program => return,
        End::Gone => {}
        End::Stopped => {
            // Whoever is behind learns it from the connection.
            let _ = output.try_send(Ok(Frame::Failed(ApiError::cluster("the agent is stopping"))));
        }
    }
    if terminal {
        let told = timeout(HANGING_UP, engine.hang_up(&of)).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!(?of, ?told, "a terminal was not hung up");
        }
    }
}

/// Ends when nothing can be typed any more, because whoever typed is gone.
async fn feed<E: Engine>(
    engine: &E,
    of: &ConsoleOf,
    typed: impl tokio::io::AsyncWrite + Send,
    mut input: Frames,
) {
    let mut typed = std::pin::pin!(typed);
    let mut is_open = true;
    while let Some(Ok(frame)) = input.next().await {
        match frame {
            Frame::Input(bytes) if is_open => {
                let written = async {
                    typed.write_all(&bytes).await?;
                    typed.flush().await
                };
                // A program may close its input and go on; what is typed then is lost, as in a pipe.
                is_open = written.await.is_ok();
            }
            Frame::InputEnd => {
                // It may have been closed from the other side.
                let _ = typed.shutdown().await;
                is_open = false;
            }
            Frame::Resize(size) => {
                if let Err(error) = engine.resize_terminal(of, size).await {
                    tracing::debug!(%error, "a terminal was not given its size");
                }
            }
            // None of these is typed.
            Frame::Input(_)
            | Frame::Begun
            | Frame::Output(_)
            | Frame::Errors(_)
            | Frame::Ended(_)
            | Frame::Failed(_)
            | Frame::Alive => {}
        }
    }
}
