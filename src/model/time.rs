//! Time as the logic sees it: a number that only rises, handed in from outside.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on this host's monotonic clock, in milliseconds since the agent (or the simulation)
/// started. Moments of two hosts cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, by: Duration) -> Moment {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(millis))
    }
}

/// Seconds since 1970 by some host's wall clock. For people, and for when a job is due; nothing else is
/// decided by it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallSeconds(pub u64);
