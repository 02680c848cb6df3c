//! What the tasks of one server share: the zone, the limits, the counts, and the step from a
//! question to what is done about it. Never sends or receives, never holds a lock across an await.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::answer::{Answer, Refusal, answer};
use crate::forwarders::Forwarders;
use crate::limit::{Limiter, UnderWay, Verdict};
use crate::network::Network;
use crate::server::{Counts, Limits};
use crate::wire::{Reply, Request};
use crate::zone::Zone;

/// [`Counts`] while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) questions: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) negative: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) limited: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) truncated: AtomicU64,
}

impl Tally {
    pub(crate) fn read(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            questions: read(&self.questions),
            records: read(&self.records),
            negative: read(&self.negative),
            forwarded: read(&self.forwarded),
            failed: read(&self.failed),
            refused: read(&self.refused),
            limited: read(&self.limited),
            malformed: read(&self.malformed),
            truncated: read(&self.truncated),
        }
    }
}

/// Adds one to a count.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What every task of a server shares. No lock is held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    zone: RwLock<Arc<Zone>>,
    /// Told of each zone that takes another's place.
    swapped: watch::Sender<()>,
    allowed: Vec<Network>,
    pub(crate) limits: Limits,
    forwarders: Forwarders,
    limiter: Mutex<Limiter>,
    connections: Mutex<UnderWay>,
    forwards: Mutex<UnderWay>,
    rotation: AtomicU64,
    pub(crate) tally: Tally,
}

/// A place among what is under way; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    kind: PlaceKind,
    source: IpAddr,
}

#[derive(Clone, Copy, Debug)]
enum PlaceKind {
    Connection,
    Forward,
}

/// What to do with a question at once.
pub(crate) enum Step {
    Reply(Reply),
    /// Ask a resolver; holds the place for that.
    Forward(Place),
    /// Wait until the zone knows the asker; holds the place for that.
    Wait(Place),
}

impl Shared {
    pub(crate) fn new(
        zone: Zone,
        allowed: Vec<Network>,
        limits: Limits,
        forwarders: Forwarders,
    ) -> Self {
        forwarders.prepare(&zone);
        Self {
            zone: RwLock::new(Arc::new(zone)),
            swapped: watch::Sender::new(()),
            allowed,
            forwarders,
            limiter: Mutex::new(Limiter::new(limits.rate, limits.burst)),
            connections: Mutex::new(UnderWay::new(limits.connections_each, limits.connections)),
            forwards: Mutex::new(UnderWay::new(limits.forwards_each, limits.forwards)),
            rotation: AtomicU64::new(0),
            tally: Tally::default(),
            limits,
        }
    }

    pub(crate) fn swap(&self, zone: Zone) {
        self.forwarders.prepare(&zone);
        let zone = Arc::new(zone);
        *self.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
        self.swapped.send_replace(());
    }

    pub(crate) fn zone(&self) -> Arc<Zone> {
        self.zone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether somebody is asked for `source`.
    pub(crate) fn forwards(&self, source: IpAddr) -> bool {
        self.forwarders.has_common() || self.forwarders.of(&self.zone(), source).is_some()
    }

    pub(crate) fn allows(&self, source: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(source))
    }

    /// Whether `source` may ask one more question now. Outsiders share the bucket of the
    /// unspecified address, so that they cannot fill the table or take what strangers share.
    pub(crate) fn within_rate(&self, source: IpAddr, is_allowed: bool) -> bool {
        let key = if is_allowed { source } else { IpAddr::from([0, 0, 0, 0]) };
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict =
            limiter.take(key, Instant::now(), || !is_allowed || self.zone().knows(source));
        drop(limiter);
        match verdict {
            Verdict::Pass => return true,
            Verdict::First => tracing::warn!(%source, rate = self.limits.rate, "asks too much"),
            Verdict::Over => {}
        }
        count(&self.tally.limited);
        false
    }

    pub(crate) fn connect(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        self.place(PlaceKind::Connection, source)
    }

    /// Decides on a question: an answer of our own, a resolver to ask, or to wait.
    pub(crate) fn step(self: &Arc<Self>, request: &Request, source: IpAddr) -> Step {
        count(&self.tally.questions);
        self.judge(request, source, !self.limits.newcomer.is_zero())
    }

    /// The reply to a question whose asker the zone did not know: once it does, or has had its time.
    pub(crate) async fn reply_to_newcomer(
        self: &Arc<Self>,
        request: &Request,
        source: IpAddr,
    ) -> Reply {
        let mut swapped = self.swapped.subscribe();
        let known = async {
            while !self.zone().knows(source) {
                // The sender is ours, so that it does not go before us.
                let _ = swapped.changed().await;
            }
        };
        let _ = timeout(self.limits.newcomer, known).await;
        match self.judge(request, source, false) {
            Step::Reply(reply) => reply,
            Step::Forward(_) | Step::Wait(_) => self.forward(request, source).await,
        }
    }

    fn judge(self: &Arc<Self>, request: &Request, source: IpAddr, may_wait: bool) -> Step {
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&self.zone(), source, &request.query, rotation);
        if may_wait
            && matches!(answer, Answer::Refused(Refusal::NoView))
            && let Some(place) = self.place(PlaceKind::Forward, source)
        {
            return Step::Wait(place);
        }
        match &answer {
            Answer::Records { .. } => count(&self.tally.records),
            Answer::NoData { .. } | Answer::NxDomain { .. } => count(&self.tally.negative),
            Answer::Refused(reason) => {
                tracing::debug!(%source, name = %request.query.name, %reason, "refused");
                count(&self.tally.refused);
            }
            Answer::Forward if self.forwards(source) && request.wants_recursion() => {
                if let Some(place) = self.place(PlaceKind::Forward, source) {
                    count(&self.tally.forwarded);
                    return Step::Forward(place);
                }
                count(&self.tally.failed);
                return Step::Reply(Reply::Code(ResponseCode::ServFail));
            }
            Answer::Forward => count(&self.tally.refused),
        }
        Step::Reply(Reply::Own(answer))
    }

    /// Asks the resolvers; takes as long as [`ForwardOptions::total`](crate::ForwardOptions::total) at most.
    pub(crate) async fn forward(&self, request: &Request, source: IpAddr) -> Reply {
        let Some(forwarder) = self.forwarders.of(&self.zone(), source) else {
            return Reply::Code(ResponseCode::Refused);
        };
        let reply = forwarder.ask(&request.query).await;
        if matches!(reply, Reply::Code(ResponseCode::ServFail)) {
            count(&self.tally.failed);
        }
        reply
    }

    pub(crate) fn n_sources(&self) -> usize {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).n_sources()
    }

    fn place(self: &Arc<Self>, kind: PlaceKind, source: IpAddr) -> Option<Place> {
        let is_known = self.zone().knows(source);
        let mut under_way = self.under_way(kind).lock().unwrap_or_else(PoisonError::into_inner);
        under_way.enter(source, is_known).then(|| Place { shared: self.clone(), kind, source })
    }

    fn under_way(&self, kind: PlaceKind) -> &Mutex<UnderWay> {
        match kind {
            PlaceKind::Connection => &self.connections,
            PlaceKind::Forward => &self.forwards,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let under_way = self.shared.under_way(self.kind);
        under_way.lock().unwrap_or_else(PoisonError::into_inner).leave(self.source);
    }
}
