//! What happened on this host and what it saw, kept for a while, and merged over all hosts. Lost when
//! the agent ends.

mod watcher;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use self::watcher::Watcher;
use super::rpc::write_line;
use crate::api::{ApiError, EventsQuery, Happening};
use crate::logic::core::Core;
use crate::model::WallSeconds;

/// Happenings that are kept: a busy day of a small cluster, in some 300 KB.
const KEPT: usize = 1_000;
/// Happenings on the way to whoever follows; beyond, the follower is told that it missed some.
const BEHIND_MAX: usize = 512;
/// Happenings on the way to a reader.
pub(super) const LINES: usize = 256;
/// How long a host may take to tell what happened there before the others are shown without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What happened on this host; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Events {
    kept: Arc<Mutex<VecDeque<Happening>>>,
    live: broadcast::Sender<Happening>,
}

/// What happened, and what happens from then on with nothing between.
pub(super) struct Told {
    history: Vec<Happening>,
    live: broadcast::Receiver<Happening>,
}

/// What one host of several tells.
pub(super) enum Item {
    /// The next.
    Happened(Happening),
    /// That was all there was until now.
    CaughtUp,
}

/// Tells of what happens to the core.
#[derive(Debug)]
pub(super) struct Reporter {
    watcher: Watcher,
    events: Events,
}

impl Events {
    /// Nothing happened yet.
    pub(super) fn new() -> Self {
        let (live, _) = broadcast::channel(BEHIND_MAX);
        Self { kept: Arc::default(), live }
    }

    /// Who tells of them.
    pub(super) fn reporter(&self) -> Reporter {
        Reporter { watcher: Watcher::default(), events: self.clone() }
    }

    fn add(&self, happenings: Vec<Happening>) {
        if happenings.is_empty() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for happening in happenings {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(happening.clone());
            // Nobody may follow. Sent under the lock, so that nobody gets it twice or not at all.
            let _ = self.live.send(happening);
        }
    }

    /// What was kept, and what comes.
    pub(super) fn told(&self) -> Told {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Told { history: kept.iter().cloned().collect(), live: self.live.subscribe() }
    }
}

impl Reporter {
    /// Looks at the core after it has handled an event.
    pub(super) fn look(&mut self, core: &Core, wall: WallSeconds) {
        self.events.add(self.watcher.look(core, wall));
    }
}

fn is_asked_for(query: &EventsQuery, happening: &Happening) -> bool {
    query.since.is_none_or(|since| happening.at >= since)
        && query.app.as_ref().is_none_or(|app| happening.app.as_ref() == Some(app))
}

/// Gives what is asked for to `to`, until nobody reads or it is over.
pub(super) async fn tell(told: Told, query: EventsQuery, to: mpsc::Sender<Result<Item, ApiError>>) {
    let Told { history, mut live } = told;
    for happening in history.into_iter().filter(|one| is_asked_for(&query, one)) {
        if to.send(Ok(Item::Happened(happening))).await.is_err() {
            return;
        }
    }
    if to.send(Ok(Item::CaughtUp)).await.is_err() || !query.follow {
        return;
    }
    loop {
        // Both are cancel-safe.
        let next = tokio::select! {
            () = to.closed() => return,
            next = live.recv() => next,
        };
        let item = match next {
            Ok(happening) if is_asked_for(&query, &happening) => Ok(Item::Happened(happening)),
            Ok(_) => continue,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Err(ApiError::cluster(format!("{missed} events were missed: too many at once")))
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if to.send(item).await.is_err() {
            return;
        }
    }
}

/// Sends what another host asked for, as JSON lines; `null` when it has all there was. What every
/// host sees is left out: the one that is asked tells of it.
pub(super) async fn serve(
    mut items: mpsc::Receiver<Result<Item, ApiError>>,
    mut to: impl AsyncWrite + Unpin,
) {
    while let Some(item) = items.recv().await {
        let line = match item {
            Ok(Item::Happened(happening)) if happening.kind.is_seen_by_all() => continue,
            Ok(Item::Happened(happening)) => Some(happening),
            Ok(Item::CaughtUp) => None,
            // The stream ends early, which the other side sees.
            Err(_) => return,
        };
        if write_line(&mut to, &line).await.is_err() {
            return;
        }
    }
    // The reader may have gone.
    let _ = to.shutdown().await;
}

/// Reads what another host tells.
pub(super) async fn receive(
    from: impl AsyncRead + Unpin,
    to: mpsc::Sender<Result<Item, ApiError>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let item = match serde_json::from_str::<Option<Happening>>(&line) {
            Ok(Some(happening)) => Item::Happened(happening),
            Ok(None) => Item::CaughtUp,
            // A kind that this version does not know.
            Err(error) => {
                tracing::debug!(%error, "an event of another host cannot be read");
                continue;
            }
        };
        if to.send(Ok(item)).await.is_err() {
            return;
        }
    }
}

/// Merges what `n` hosts tell through `from`: first what there was, in order of time, then what comes
/// as it comes. A host that is slow or gone does not hold up the others.
pub(super) async fn merge(
    n: usize,
    mut from: mpsc::Receiver<Result<Item, ApiError>>,
    to: mpsc::Sender<Result<Happening, ApiError>>,
    query: &EventsQuery,
) {
    let deadline = Instant::now() + PATIENCE;
    let mut history = Vec::new();
    let mut caught_up = 0;
    let mut error = None;
    while caught_up < n && error.is_none() {
        match tokio::time::timeout_at(deadline, from.recv()).await {
            Ok(Some(Ok(Item::Happened(happening)))) => history.push(happening),
            Ok(Some(Ok(Item::CaughtUp))) => caught_up += 1,
            Ok(Some(Err(seen))) => error = Some(seen),
            Ok(None) | Err(_) => break,
        }
    }
    // Stable: what one host tells stays in its order.
    history.sort_by_key(|happening| happening.at);
    for happening in history {
        if to.send(Ok(happening)).await.is_err() {
            return;
        }
    }
    if let Some(error) = error {
        // The reader may have gone.
        let _ = to.send(Err(error)).await;
        return;
    }
    if !query.follow {
        return;
    }
    loop {
        // Both are cancel-safe.
        let item = tokio::select! {
            () = to.closed() => return,
            item = from.recv() => item,
        };
        let happening = match item {
            Some(Ok(Item::Happened(happening))) => Ok(happening),
            Some(Ok(Item::CaughtUp)) => continue,
            Some(Err(error)) => Err(error),
            None => return,
        };
        if to.send(happening).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
