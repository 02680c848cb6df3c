//! The most, or the least, that was asked for within a while. Keeps only what can still count, and not
//! more than a few of that.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Advised, Moment};

/// Advice that is kept. With more, the two oldest become one that counts for as long as the later.
const KEPT_MAX: usize = 16;

/// What was asked for, oldest first; each asks for a smaller change than those after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// How advice that counts compares with what came after it.
    counts: Ordering,
    kept: VecDeque<(Moment, u32)>,
}

impl Window {
    /// Looks for the most.
    pub(super) fn highest() -> Self {
        Self { counts: Ordering::Greater, kept: VecDeque::new() }
    }

    /// Looks for the least.
    pub(super) fn lowest() -> Self {
        Self { counts: Ordering::Less, kept: VecDeque::new() }
    }

    /// The same with what was kept before.
    pub(super) fn with(mut self, kept: &[Advised], now: Moment) -> Self {
        for one in kept.iter().take(KEPT_MAX) {
            let at = Moment(now.0.saturating_sub(one.age_ms));
            self.add(at, one.replicas);
        }
        self
    }

    /// Takes in what is asked for now, and says what counts of the last `window`.
    pub(super) fn push(&mut self, now: Moment, replicas: u32, window: Duration) -> u32 {
        while self.kept.front().is_some_and(|(at, _)| now.since(*at) >= window) {
            self.kept.pop_front();
        }
        self.add(now, replicas);
        self.kept.front().map_or(replicas, |(_, kept)| *kept)
    }

    /// From now on nothing before counts.
    pub(super) fn restart(&mut self, now: Moment, replicas: u32) {
        self.kept.clear();
        self.add(now, replicas);
    }

    fn add(&mut self, at: Moment, replicas: u32) {
        while self.kept.back().is_some_and(|(_, kept)| kept.cmp(&replicas) != self.counts) {
            self.kept.pop_back();
        }
        self.kept.push_back((at, replicas));
        if self.kept.len() > KEPT_MAX {
            let most = self.kept.pop_front().map(|(_, replicas)| replicas);
            if let (Some(next), Some(most)) = (self.kept.front_mut(), most) {
                next.1 = most;
            }
        }
    }

    /// What is kept, for whoever goes on.
    pub(super) fn advised(&self, now: Moment) -> Vec<Advised> {
        let age = |at: Moment| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let kept = self.kept.iter();
        kept.map(|(at, replicas)| Advised { replicas: *replicas, age_ms: age(*at) }).collect()
    }
}
