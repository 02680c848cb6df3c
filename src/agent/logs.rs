//! What containers write, line by line, merged over this host or over all hosts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::driver::CoreHandle;
use super::rpc::write_line;
use crate::api::{ApiError, LogLine, LogsQuery};
use crate::docker::{BoxStream, Engine, LogOptions};
use crate::model::{Container, ReplicaId};
use crate::supervisor::Supervisor;

/// Lines on the way to whoever reads them; a reader that is slow slows the containers' streams.
pub(super) const LINES: usize = 256;
/// A line longer than this is cut into several.
const LINE_MAX: usize = 64 * 1024;
/// Time between two looks for new containers while following.
const LOOK: Duration = Duration::from_millis(500);

/// The lines of this host's containers.
pub(super) fn local<E: Engine>(
    engine: Arc<E>,
    core: CoreHandle,
    host: String,
    query: LogsQuery,
    supervisor: &Supervisor,
) -> mpsc::Receiver<LogLine> {
    let (lines, inbox) = mpsc::channel(LINES);
    let follower = Follower { engine, core, host, query, lines, supervisor: supervisor.clone() };
    supervisor.spawn_until_stop("logs", follower.run());
    inbox
}

struct Follower<E> {
    engine: Arc<E>,
    core: CoreHandle,
    host: String,
    query: LogsQuery,
    lines: mpsc::Sender<LogLine>,
    supervisor: Supervisor,
}

impl<E: Engine> Follower<E> {
    /// Reads what is there, and with `follow` what comes, containers made later included.
    async fn run(self) {
        let mut reading = BTreeSet::new();
        let mut first = true;
        loop {
            let app = self.query.app.clone();
            let (services, index) = (self.query.services.clone(), self.query.index);
            let look = self.core.look(move |core| {
                let seen = core.machine().seen();
                let all = seen.containers.iter().chain(&seen.steps);
                let mine = all.filter(|container| {
                    container.replica.app == app
                        && (services.is_empty() || services.contains(&container.replica.service))
                        && index.is_none_or(|index| container.replica.index == index)
                });
                mine.cloned().collect::<Vec<Container>>()
            });
            let Ok(containers) = look.await else { return };
            for container in containers {
                if reading.insert(container.id.clone()) {
                    self.read(container, first);
                }
            }
            first = false;
            if !self.query.follow {
                return;
            }
            tokio::select! {
                () = self.lines.closed() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn read(&self, container: Container, first: bool) {
        let options = LogOptions {
            follow: self.query.follow,
            // A container that appears while we follow is read from its beginning.
            tail: if first { self.query.tail } else { None },
            timestamps: self.query.timestamps,
            since: self.query.since,
        };
        let stream = self.engine.logs(&container.id, options);
        let lines = self.lines.clone();
        let host = self.host.clone();
        self.supervisor.spawn_until_stop("log", async move {
            forward(stream, container.replica, host, lines).await;
        });
    }
}

async fn forward(
    mut stream: BoxStream<Result<crate::docker::LogChunk, crate::docker::EngineError>>,
    replica: ReplicaId,
    host: String,
    lines: mpsc::Sender<LogLine>,
) {
    let mut parts = [BytesMut::new(), BytesMut::new()];
    loop {
        let chunk = tokio::select! {
            () = lines.closed() => return,
            chunk = stream.next() => chunk,
        };
        let (stderr, bytes) = match chunk {
            Some(Ok(chunk)) => (chunk.stderr, chunk.bytes),
            Some(Err(error)) => {
                tracing::debug!(%replica, %error, "log stream ended");
                break;
            }
            None => break,
        };
        let part = &mut parts[usize::from(stderr)];
        part.extend_from_slice(&bytes);
        while let Some(line) = take_line(part) {
            let line = LogLine { replica: replica.clone(), host: host.clone(), stderr, line };
            if lines.send(line).await.is_err() {
                return;
            }
        }
    }
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        let line = String::from_utf8_lossy(part).into_owned();
        let line =
            LogLine { replica: replica.clone(), host: host.clone(), stderr: index == 1, line };
        // The reader may have gone.
        let _ = lines.send(line).await;
    }
}

fn take_line(part: &mut BytesMut) -> Option<String> {
    let (length, skip) = match part.iter().position(|byte| *byte == b'\n') {
        Some(end) => (end, 1),
        None if part.len() >= LINE_MAX => (LINE_MAX, 0),
        None => return None,
    };
    let mut line = part.split_to(length);
    let _ = part.split_to(skip);
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

/// Sends this host's lines to another host, as JSON lines.
pub(super) async fn serve(mut lines: mpsc::Receiver<LogLine>, mut to: impl AsyncWrite + Unpin) {
    while let Some(line) = lines.recv().await {
        if write_line(&mut to, &line).await.is_err() {
            return;
        }
    }
    // The reader may have gone.
    let _ = to.shutdown().await;
}

/// Reads another host's lines into `lines`.
pub(super) async fn receive(
    from: impl AsyncRead + Unpin,
    lines: mpsc::Sender<Result<LogLine, ApiError>>,
) {
    let mut from = BufReader::new(from).lines();
    while let Ok(Some(line)) = from.next_line().await {
        let line = serde_json::from_str(&line).map_err(|error| {
            ApiError::cluster(format!("another host sent a broken line: {error}"))
        });
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], lines: &[&str], rest: &str) {
        let mut part = BytesMut::new();
        let mut found = Vec::new();
        for piece in pieces {
            part.extend_from_slice(piece.as_bytes());
            while let Some(line) = take_line(&mut part) {
                found.push(line);
            }
        }
        assert_eq!(found, lines);
        assert_eq!(part, rest.as_bytes());
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        check(&["a\nb", "c\n", "d"], &["a", "bc"], "d");
        check(&["windows\r\n\n"], &["windows", ""], "");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LINE_MAX + 1);
        check(&[&long], &[&"x".repeat(LINE_MAX)], "x");
    }
}
