//! The two streams without an end: what a container writes, and what changes. Keeps neither.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::{EventsOptions, LogsOptions};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::containers::ours;
use super::session::{ASK_LIMIT, Link, MAKE_LIMIT, Session};
use crate::docker::stream::generate;
use crate::docker::{BoxStream, EngineError, LogChunk, LogOptions};

/// First pause before asking for events again; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// A daemon that comes back is noticed within this.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// By then the daemon has taken the subscription: what changed before is found by the listing
/// this sets off, what changes after is an event.
const SETTLE: Duration = Duration::from_millis(200);

/// What the container writes. With a terminal there is no telling of the two outputs apart, and
/// lines come whole (bollard decodes them so).
pub(super) fn logs(
    link: Arc<Link>,
    id: String,
    options: LogOptions,
) -> BoxStream<Result<LogChunk, EngineError>> {
    generate(|sender| async move {
        let action = format!("read logs of container `{id}`");
        let session = match link.session().await {
            Ok(session) => session,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        let mut told = pin!(session.docker.logs(&id, Some(log_options(options))));
        loop {
            // A followed container may be quiet for days; the reader ends it.
            let next = if options.follow {
                told.next().await
            } else {
                match timeout(MAKE_LIMIT, told.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        let error = EngineError::TimedOut { action, limit: MAKE_LIMIT };
                        return drop(sender.send(Err(error)).await);
                    }
                }
            };
            let item = match next {
                None => return,
                Some(Ok(output)) => Ok(chunk(output)),
                Some(Err(error)) => Err(link.told(&action, error)),
            };
            let is_last = item.is_err();
            if sender.send(item).await.is_err() || is_last {
                return;
            }
        }
    })
}

fn log_options(options: LogOptions) -> LogsOptions {
    let LogOptions { follow, tail, timestamps, since } = options;
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        since: since.map_or(0, |seconds| i32::try_from(seconds).unwrap_or(i32::MAX)),
        until: 0,
        timestamps,
        tail: tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
    }
}

fn chunk(output: LogOutput) -> LogChunk {
    LogChunk { stderr: matches!(output, LogOutput::StdErr { .. }), bytes: output.into_bytes() }
}

/// Hints for ever: one at each connection, then one for each event or several.
pub(super) fn changes(link: Arc<Link>) -> BoxStream<()> {
    generate(|sender| async move {
        let mut pause = PAUSE_MIN;
        loop {
            if follow_events(&link, &sender).await {
                pause = PAUSE_MIN;
            }
            // It may come back as another version.
            link.forget();
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    })
}

/// Passes events on until the connection ends; tells whether there was one.
async fn follow_events(link: &Link, sender: &mpsc::Sender<()>) -> bool {
    let Ok(session) = link.session().await else { return false };
    let mut filters: HashMap<_, _> = ours();
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
    let mut events = pin!(session.docker.events(Some(options)));
    let first = timeout(SETTLE, events.next()).await;
    let mut next = match first {
        Ok(Some(Ok(event))) => Some(Ok(event)),
        Ok(Some(Err(_)) | None) => return false,
        Err(_) => {
            hint(sender);
            events.next().await
        }
    };
    let mut ends = FuturesUnordered::new();
    loop {
        let Some(Ok(event)) = next else { return true };
        let action = event.action.as_deref().unwrap_or_default();
        if is_change(action) {
            hint(sender);
        }
        if action == "die" {
            let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
            ends.push(settled(&session, id));
        }
        next = loop {
            // Both are cancel-safe.
            tokio::select! {
                next = events.next() => break next,
                Some(()) = ends.next() => hint(sender),
            }
        };
    }
}

/// Completes when listings tell of a container's end. The daemon sends the event first, takes down the
/// container's network, and only then says so to who asks: until then the container's lock is held, for
/// which this question waits and a listing does not.
async fn settled(session: &Session, id: String) {
    let asked = session.docker.inspect_container(&id, None);
    if let Ok(Err(error)) = timeout(ASK_LIMIT, asked).await {
        tracing::trace!(%error, id, "a container is gone as soon as it has ended");
    }
}

/// Each run of a health check is told of three times; only its verdict is a change.
pub(super) fn is_change(action: &str) -> bool {
    let passing =
        ["exec_", "attach", "detach", "top", "resize", "copy", "archive-path", "extract-to-dir"];
    !passing.iter().any(|word| action.starts_with(word))
}

/// One hint waiting is enough: it sets off a whole listing.
fn hint(sender: &mpsc::Sender<()>) {
    if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
        tracing::trace!("nobody listens for changes");
    }
}
