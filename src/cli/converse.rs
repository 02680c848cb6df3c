//! Sits in front of a program elsewhere: what is typed here goes there, what it says is written here.
//! Looks into neither.

use std::io;
use std::os::fd::AsFd;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::errors::{CliError, Kind, Outcome};
use super::terminal::{self, RawMode};
use crate::api::{ApiError, Frame, Frames};
use crate::docker::{BoxStream, stream_of};

/// Frames on their way out.
const FRAMES: usize = 4;
/// Read at once.
const PIECE: usize = 32 * 1024;

/// What is typed, on its way to the program.
pub(super) struct Typed {
    send: mpsc::Sender<Frame>,
}

/// What is typed here, and the stream that takes it along; nothing comes before [`converse`].
pub(super) fn typed() -> (Typed, BoxStream<Frame>) {
    let (send, inbox) = mpsc::channel(FRAMES);
    (Typed { send }, stream_of(inbox))
}

/// What there is in front of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// A terminal, which is handed over.
    Terminal,
    /// Pipes, files.
    Pipes,
    /// Outputs alone: its input ends at once.
    Outputs,
}

impl Front {
    /// As the options of a command have it, `is_attended` when its input is wanted at all.
    pub(super) fn of(is_attended: bool, no_tty: bool) -> Self {
        match (is_attended, no_tty) {
            (false, _) => Self::Outputs,
            (true, false) if terminal::is_there() => Self::Terminal,
            (true, _) => Self::Pipes,
        }
    }
}

/// Types and writes until the program has ended. Returns its exit code.
///
/// # Errors
///
/// When the connection is lost, the program cannot go on, or the output cannot be written.
pub(super) async fn converse(front: Front, typed: Typed, said: Frames) -> Result<i64, CliError> {
    // Before the terminal changes, so that no end goes unnoticed.
    let signals = Signals::listen()?;
    let _raw = match front {
        Front::Terminal => Some(RawMode::enter()?),
        Front::Pipes | Front::Outputs => None,
    };
    let Signals { mut size, mut terminate, mut hang_up, mut quit } = signals;
    let sizes = async {
        loop {
            if front == Front::Terminal
                && let Some(size) = terminal::size()
                && typed.send.send(Frame::Resize(size)).await.is_err()
            {
                // The other end tells why.
                std::future::pending::<()>().await;
            }
            if size.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    };
    // What is dropped of these when another one ends is of no use any more.
    tokio::select! {
        code = listen(said) => code,
        error = speak(front, &typed.send) => {
            Err(CliError::cluster(format!("cannot read the input: {error}")))
        }
        () = sizes => Err(CliError::cluster("bug: no more sizes")),
        _ = terminate.recv() => Err(ended_by("SIGTERM")),
        _ = hang_up.recv() => Err(ended_by("SIGHUP")),
        _ = quit.recv() => Err(ended_by("SIGQUIT")),
    }
}

fn ended_by(signal: &str) -> CliError {
    CliError::new(Kind::Interrupted, format!("ended by {signal}"))
        .hint("what it sat in front of was told, and may go on")
}

struct Signals {
    size: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    fn listen() -> Result<Self, CliError> {
        let failed =
            |error: io::Error| CliError::cluster(format!("cannot wait for signals: {error}"));
        Ok(Self {
            size: signal(SignalKind::window_change()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            hang_up: signal(SignalKind::hangup()).map_err(failed)?,
            quit: signal(SignalKind::quit()).map_err(failed)?,
        })
    }
}

/// One of the three files that every process has. Reading and writing wait in threads of their own, so that
/// a reader that is slow does not hold up what keeps the connection alive.
pub(super) fn standard(file: impl AsFd) -> io::Result<File> {
    Ok(File::from_std(std::fs::File::from(file.as_fd().try_clone_to_owned()?)))
}

/// Types what is typed here, to its end. Returns only when it cannot be read.
async fn speak(front: Front, to: &mpsc::Sender<Frame>) -> io::Error {
    let typed = match front {
        Front::Terminal | Front::Pipes => type_all(to).await,
        Front::Outputs => Ok(()),
    };
    if let Err(error) = typed {
        return error;
    }
    // Nobody takes it when the other end is there no more; that end tells why.
    let _ = to.send(Frame::InputEnd).await;
    std::future::pending().await
}

async fn type_all(to: &mpsc::Sender<Frame>) -> io::Result<()> {
    let mut input = standard(io::stdin())?;
    let mut piece = vec![0; PIECE];
    loop {
        let length = input.read(&mut piece).await?;
        let frame = Frame::Input(Bytes::copy_from_slice(&piece[..length]));
        if length == 0 || to.send(frame).await.is_err() {
            return Ok(());
        }
    }
}

async fn listen(mut said: Frames) -> Result<i64, CliError> {
    let (mut output, mut errors) = (standard(io::stdout())?, standard(io::stderr())?);
    while let Some(frame) = said.next().await {
        match frame? {
            Frame::Output(bytes) => write(&mut output, &bytes).await?,
            Frame::Errors(bytes) => write(&mut errors, &bytes).await?,
            Frame::Ended(code) => return Ok(code),
            Frame::Failed(error) => return Err(error.into()),
            Frame::Begun | Frame::Alive | Frame::Input(_) | Frame::InputEnd | Frame::Resize(_) => {}
        }
    }
    Err(ApiError::cluster("the connection ended before the program did").into())
}

async fn write(to: &mut File, bytes: &[u8]) -> Result<(), CliError> {
    to.write_all(bytes).await?;
    Ok(to.flush().await?)
}

/// How a command ends whose program ended with `code`.
pub(super) fn exited(code: i64) -> Outcome {
    match code {
        0 => Outcome::Done,
        // What does not fit into an exit code is 1, as nothing of it must be 0.
        code => Outcome::Exited(u8::try_from(code).unwrap_or(1).max(1)),
    }
}
