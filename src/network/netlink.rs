//! Netlink, in two forms: rtnetlink for links, addresses and routes while the agent runs, and a
//! plain blocking socket for what has to work without a runtime or has no typed crate.

use std::future::Future;
use std::io;
use std::time::Duration;

use rtnetlink::Handle;
use rtnetlink::sys::{Socket, SocketAddr};

use super::NetworkError;

/// The kernel answers at once; a second is for a machine that does not get to run us.
const LIMIT: Duration = Duration::from_secs(5);
/// The kernel sends at most 32 KiB at once.
const BUFFER: usize = 64 * 1024;
/// Length of a message's header.
const HEADER: usize = 16;
/// Message types of all protocols.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Request flags.
pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACKNOWLEDGE: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;

/// Runs `work` with a connection of its own. The connection is driven here and closed after it,
/// so no task is left behind.
pub(super) async fn with_handle<T, W>(work: impl FnOnce(Handle) -> W) -> Result<T, NetworkError>
where
    W: Future<Output = Result<T, NetworkError>>,
{
    let failed = |cause| NetworkError::Kernel { action: "speak to the kernel".to_owned(), cause };
    let (connection, handle, _unsolicited) = rtnetlink::new_connection().map_err(failed)?;
    tokio::select! {
        result = work(handle) => result,
        () = connection => Err(failed(io::ErrorKind::ConnectionAborted.into())),
        () = tokio::time::sleep(LIMIT) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

/// Names what was tried.
pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    let action = action.into();
    move |error| {
        let cause = match error {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other),
        };
        NetworkError::Kernel { action, cause }
    }
}

/// A blocking netlink socket. Every request is answered in full before the next.
pub(super) struct Plain(Socket);

impl Plain {
    /// A socket for `protocol`, as in `rtnetlink::sys::protocols`.
    pub(super) fn new(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends one request and hands every message of the answer, without its header, to `take`.
    pub(super) fn request(
        &self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        self.0.send(&message, 0)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            self.0.recv(&mut buffer, 0)?;
            let mut rest = buffer.as_slice();
            while let Some((kind, body, after)) = split(rest) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return acknowledgement(body),
                    _ => take(body),
                }
                rest = after;
            }
        }
    }
}

/// Type and body of the first message, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// An error message with the number 0 says that all is well.
fn acknowledgement(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

/// The attributes in `bytes`: type without its flags, value, and the whole attribute as it came.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    /// Marks of nesting and byte order that share the field with the type.
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !FLAGS;
        let value = bytes.get(4..length)?;
        let padded = length.next_multiple_of(4).min(bytes.len());
        let (whole, rest) = bytes.split_at(padded);
        bytes = rest;
        Some((kind, value, whole))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_told_apart_whatever_their_padding() {
        let mut bytes = Vec::new();
        bytes.extend(5u16.to_ne_bytes());
        bytes.extend((1u16 | 0x8000).to_ne_bytes());
        bytes.extend([7, 0, 0, 0]);
        bytes.extend(6u16.to_ne_bytes());
        bytes.extend(2u16.to_ne_bytes());
        bytes.extend([8, 9]);
        let found: Vec<_> = attributes(&bytes).map(|(kind, value, _)| (kind, value)).collect();
        assert_eq!(found, [(1, [7].as_slice()), (2, [8, 9].as_slice())]);
    }

    #[test]
    fn bytes_that_make_no_sense_end_the_reading() {
        for bytes in [&[1, 0][..], &[0, 0, 1, 0], &[200, 0, 1, 0, 5]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
        assert!(split(&[8; 8]).is_none());
    }
}
