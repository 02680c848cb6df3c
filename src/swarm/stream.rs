//! A stream to another host, as the agent sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::{Busy, GIVEN_UP};

/// The sending half. Ends well only by `shutdown`: one that is dropped before breaks off, and the
/// other side reads an error, not an end.
#[derive(Debug)]
pub struct SendStream {
    stream: quinn::SendStream,
    ended: bool,
    _busy: Arc<Busy>,
}

/// The receiving half. Dropping it tells the other side to stop sending.
#[derive(Debug)]
pub struct RecvStream {
    stream: quinn::RecvStream,
    _busy: Arc<Busy>,
}

impl SendStream {
    /// The half of whoever opened the stream. As long as it wrote nothing after the header,
    /// dropping this is a good end: nothing is missing, and a reset could overtake the header.
    pub(super) fn opened(stream: quinn::SendStream, busy: Arc<Busy>) -> Self {
        Self { stream, ended: true, _busy: busy }
    }

    /// The half of whoever was asked; to say nothing is not an answer.
    pub(super) fn accepted(stream: quinn::SendStream, busy: Arc<Busy>) -> Self {
        Self { stream, ended: false, _busy: busy }
    }

    /// Becomes ready when the other side wants no more, or is gone.
    pub async fn closed(&self) {
        // Whichever way it ended, nobody reads it.
        let _ = self.stream.stopped().await;
    }
}

/// A stream on which an operator speaks HTTP with a member, in both directions.
#[derive(Debug)]
pub struct CallStream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    ended: bool,
    _held: Arc<dyn Hold>,
}

/// What a stream keeps alive.
pub(super) trait Hold: std::fmt::Debug + Send + Sync {}

impl<T: std::fmt::Debug + Send + Sync> Hold for T {}

impl CallStream {
    /// Both halves; `held` stays as long as they do.
    pub(super) fn new(
        send: quinn::SendStream,
        receive: quinn::RecvStream,
        held: Arc<dyn Hold>,
    ) -> Self {
        Self { send, receive, ended: false, _held: held }
    }
}

impl Drop for CallStream {
    fn drop(&mut self) {
        if !self.ended {
            // It may have been stopped already. (quinn ends it well when it is not reset.)
            let _ = self.send.reset(GIVEN_UP);
        }
    }
}

impl AsyncWrite for CallStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.ended = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut self.send), context)
    }
}

impl AsyncRead for CallStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.receive), context, buffer)
    }
}

impl RecvStream {
    pub(super) fn new(stream: quinn::RecvStream, busy: Arc<Busy>) -> Self {
        Self { stream, _busy: busy }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.ended {
            // It may have been stopped already. (quinn ends it well when it is not reset.)
            let _ = self.stream.reset(GIVEN_UP);
        }
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.ended = false;
        AsyncWrite::poll_write(Pin::new(&mut self.stream), context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.ended = true;
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), context)
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        AsyncRead::poll_read(Pin::new(&mut self.stream), context, buffer)
    }
}
