//! How long a member that says nothing is waited for.
//!
//! A stopped agent and an unplugged host are equally silent, but the kernel of the first still
//! answers when somebody knocks at its door: it takes or refuses a TCP connection without asking
//! any process. So a silent host whose kernel is silent too is given up earlier. One that never
//! answered a knock while it was alive, because a firewall swallows it, gets the longer time.

use std::time::Duration;

use super::Timing;
use crate::model::Moment;

/// Time between two knocks at a silent member.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
/// Time between two knocks at a living one that answers, and at one not known to.
const KNOCK_AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

/// The silence of one member; means nothing while it is alive, but for who answers knocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silence {
    since: Moment,
    patience: Duration,
    /// When its kernel last answered; none when it is not known to answer.
    answered: Option<Moment>,
    next_knock: Moment,
}

impl Silence {
    /// Of a member that was never heard yet.
    pub(super) fn unheard(now: Moment, timing: &Timing) -> Self {
        Self { since: now, patience: timing.first_eviction, answered: None, next_knock: now }
    }

    /// It begins.
    pub(super) fn begin(&mut self, now: Moment, timing: &Timing) {
        self.since = now;
        self.patience = timing.eviction;
        self.next_knock = now;
    }

    /// We ourselves were paused for so long: that is not the member's silence.
    pub(super) fn excuse(&mut self, now: Moment, late: Duration) {
        self.since = (self.since + late).min(now);
        self.answered = self.answered.map(|answered| (answered + late).min(now));
    }

    /// Takes in how a knock ended.
    pub(super) fn handle_knock(&mut self, now: Moment, answered: bool, alive: bool) {
        if answered {
            self.answered = Some(now);
        } else if alive {
            self.answered = None;
        }
    }

    /// When the member is given up.
    pub(super) fn gone_at(&self, timing: &Timing) -> Moment {
        let patient = self.since + self.patience;
        match self.answered {
            Some(answered) => patient.min(answered.max(self.since) + timing.silence),
            None => patient,
        }
    }

    /// Whether to knock now; the next time is later.
    pub(super) fn knocks(&mut self, now: Moment, alive: bool) -> bool {
        // What a dead kernel does not answer tells something only when it answered before.
        if now < self.next_knock || (!alive && self.answered.is_none()) {
            return false;
        }
        let (answers, unknown) = KNOCK_AGAIN;
        self.next_knock = now
            + match (alive, self.answered) {
                (false, _) => KNOCK_EVERY,
                (true, Some(_)) => answers,
                (true, None) => unknown,
            };
        true
    }
}
