//! The way between this command and a container: steps of a copy, and tar streams in frames. Between threads
//! that wait for a disk and the connection only a few pieces are on their way.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use crate::api::client::Client;
use crate::api::console::FRAME_MAX;
use crate::api::{CopyRequest, CopyStep, Frame, Frames, Looked};
use crate::cli::errors::{CliError, Kind};
use crate::docker::stream_of;
use crate::model::{AppName, ServiceName};

/// Pieces on their way between a thread and the connection.
const PIECES: usize = 4;
/// An archive ends with so many zeros: one that does not was cut off.
const END: usize = 1024;

/// The replicas of one service.
#[derive(Debug)]
pub(super) struct Replicas {
    pub(super) client: Client,
    pub(super) app: AppName,
    pub(super) service: ServiceName,
}

impl Replicas {
    async fn ask(
        &self,
        index: Option<u32>,
        step: CopyStep,
    ) -> Result<(mpsc::Sender<Frame>, Frames), CliError> {
        let (sender, input) = mpsc::channel(PIECES);
        let (app, service) = (self.app.clone(), self.service.clone());
        let request = CopyRequest { app, service, index, step };
        let frames = self.client.copy(&request, stream_of(input)).await?;
        Ok((sender, frames))
    }

    /// What is at a path of a replica; without a number the cluster chooses one.
    ///
    /// # Errors
    ///
    /// When there is no such replica, or nobody answers.
    pub(super) async fn look(&self, index: Option<u32>, path: &str) -> Result<Looked, CliError> {
        let (_held, mut frames) = self.ask(index, CopyStep::Look { path: path.to_owned() }).await?;
        let mut json = BytesMut::new();
        while let Some(piece) = said(&mut frames).await? {
            json.extend_from_slice(&piece);
        }
        serde_json::from_slice(&json).map_err(|error| {
            CliError::cluster(format!("the agent's answer cannot be read: {error}"))
                .hint("is it of the same version? `muster version`")
        })
    }

    /// What is there as a tar stream, for [`receive`]. The other end waits while the sender is kept.
    ///
    /// # Errors
    ///
    /// When nothing is there, or nobody answers.
    pub(super) async fn read(
        &self,
        index: u32,
        path: String,
    ) -> Result<(mpsc::Sender<Frame>, Frames), CliError> {
        self.ask(Some(index), CopyStep::Read { path }).await
    }

    /// Takes a tar stream into a folder; [`ended`] tells how that went. The sender must be kept until then.
    ///
    /// # Errors
    ///
    /// When nobody answers.
    pub(super) async fn write(
        &self,
        index: u32,
        folder: String,
    ) -> Result<(mpsc::Sender<Frame>, Frames), CliError> {
        self.ask(Some(index), CopyStep::Write { folder }).await
    }
}

/// Hands on a tar stream to its end.
///
/// # Errors
///
/// When it does not come to its end, or `take` fails.
pub(super) async fn receive(
    mut frames: Frames,
    mut take: impl AsyncFnMut(Bytes) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut n_zeros = 0;
    while let Some(piece) = said(&mut frames).await? {
        let zeros = piece.iter().rev().take_while(|byte| **byte == 0).count();
        n_zeros = if zeros == piece.len() { n_zeros + zeros } else { zeros };
        take(piece).await?;
    }
    if n_zeros < END {
        return Err(CliError::cluster("Docker ended in the middle of the archive"));
    }
    Ok(())
}

/// Waits until a tar stream was taken in.
///
/// # Errors
///
/// When it was not.
pub(super) async fn ended(mut frames: Frames) -> Result<(), CliError> {
    while said(&mut frames).await?.is_some() {}
    Ok(())
}

/// The next output of a step, or none at its end.
///
/// # Errors
///
/// When the step failed, or the frames end before it does.
async fn said(frames: &mut Frames) -> Result<Option<Bytes>, CliError> {
    while let Some(frame) = frames.next().await {
        match frame? {
            Frame::Output(piece) => return Ok(Some(piece)),
            Frame::Ended(_) => return Ok(None),
            Frame::Failed(error) => return Err(error.into()),
            Frame::Begun
            | Frame::Alive
            | Frame::Errors(_)
            | Frame::Input(_)
            | Frame::InputEnd
            | Frame::Resize(_) => {}
        }
    }
    Err(CliError::cluster("the connection ended before the answer did"))
}

/// Where a thread writes what goes to a container.
pub(super) struct Sent {
    to: mpsc::Sender<Frame>,
    held: BytesMut,
    bar: ProgressBar,
}

impl Sent {
    pub(super) fn new(to: mpsc::Sender<Frame>, bar: ProgressBar) -> Self {
        Self { to, held: BytesMut::with_capacity(FRAME_MAX), bar }
    }

    /// Says that this was all.
    pub(super) fn end(mut self) {
        // Whoever has all that counts may have gone; its last word tells.
        if self.flush().is_ok() {
            let _ = self.to.blocking_send(Frame::InputEnd);
        }
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(FRAME_MAX - self.held.len());
        self.held.extend_from_slice(&bytes[..length]);
        if self.held.len() == FRAME_MAX {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = self.held.split().freeze();
        self.held.reserve(FRAME_MAX);
        self.bar.inc(piece.len() as u64);
        let gone = |_| io::ErrorKind::BrokenPipe.into();
        self.to.blocking_send(Frame::Input(piece)).map_err(gone)
    }
}

/// Whether this only says that nobody takes what was packed any more: the answer tells why.
pub(super) fn is_gone(error: &CliError) -> bool {
    error.kind == Kind::BrokenPipe
}

/// Where a thread reads what comes from a container.
pub(super) struct Came {
    from: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    is_whole: bool,
}

/// A way to a thread; the last of what goes there is none. Without that it was cut off.
pub(super) fn came() -> (mpsc::Sender<Option<Bytes>>, Came) {
    let (to, from) = mpsc::channel(PIECES);
    (to, Came { from, piece: Bytes::new(), is_whole: false })
}

impl Read for Came {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole {
            match self.from.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.is_whole = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ApiError;

    async fn received(frames: Vec<Result<Frame, ApiError>>) -> Result<usize, String> {
        let (frames, mut length) = (Box::pin(futures_util::stream::iter(frames)), 0);
        let taken = receive(frames, async |piece| {
            length += piece.len();
            Ok(())
        });
        let taken = taken.await;
        taken.map(|()| length).map_err(|error| error.to_string())
    }

    fn output(bytes: &[u8]) -> Result<Frame, ApiError> {
        Ok(Frame::Output(Bytes::copy_from_slice(bytes)))
    }

    #[tokio::test]
    async fn an_archive_without_its_end_is_an_error() {
        let whole = vec![output(&[7; 600]), output(&[0; 700]), output(&[0; 400])];
        let end = || vec![Ok(Frame::Alive), Ok(Frame::Ended(0))];
        assert_eq!(received([whole.clone(), end()].concat()).await, Ok(1700));
        let cut = vec![output(&[0; 700]), output(&[7; 10]), output(&[0; 700])];
        let words = "Docker ended in the middle of the archive";
        assert_eq!(received([cut, end()].concat()).await, Err(words.to_owned()));
        let words = "the connection ended before the answer did";
        assert_eq!(received(whole.clone()).await, Err(words.to_owned()));
        let lost = vec![Err(ApiError::cluster("the connection broke: reset"))];
        let words = "the connection broke: reset";
        assert_eq!(received([whole, lost].concat()).await, Err(words.to_owned()));
    }

    #[test]
    fn a_reader_tells_an_end_from_a_break() {
        let (to, mut came) = came();
        for piece in ["one", "", "two"] {
            to.blocking_send(Some(Bytes::from(piece))).unwrap();
        }
        to.blocking_send(None).unwrap();
        let mut text = String::new();
        came.read_to_string(&mut text).unwrap();
        assert_eq!(text, "onetwo");
        let (to, mut cut) = super::came();
        to.blocking_send(Some(Bytes::from("half"))).unwrap();
        drop(to);
        assert!(cut.read_to_string(&mut text).is_err());
    }

    #[test]
    fn what_is_written_goes_in_frames_and_then_its_end() {
        let (to, mut from) = mpsc::channel(PIECES);
        let writer = std::thread::spawn(move || {
            let mut sent = Sent::new(to, ProgressBar::hidden());
            sent.write_all(&vec![7; 2 * FRAME_MAX + 5]).unwrap();
            sent.end();
        });
        let mut lengths = Vec::new();
        while let Some(frame) = from.blocking_recv() {
            lengths.push(match frame {
                Frame::Input(piece) => piece.len(),
                Frame::InputEnd => 0,
                other => panic!("{other:?}"),
            });
        }
        writer.join().unwrap();
        assert_eq!(lengths, [FRAME_MAX, FRAME_MAX, 5, 0]);
        let (to, from) = mpsc::channel(PIECES);
        drop(from);
        let mut nobody = Sent::new(to, ProgressBar::hidden());
        let error = nobody.write_all(&vec![7; FRAME_MAX]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
