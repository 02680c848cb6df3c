//! Copies that were to move to another host, and did not come up there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// That a copy of a Service did not come up on a host it was to move to. No further one moves there
/// for a while; what runs nowhere else is placed there all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// The last replica, by index.
    pub index: u32,
    /// Hash of the spec it has.
    pub spec_hash: String,
    /// How often in a row.
    pub times: u32,
    /// Why the last time, for people.
    pub reason: String,
}

impl Setback {
    /// The first pause: what was missing there for a moment is there again.
    const FIRST: Duration = Duration::from_secs(60);
    /// The longest pause: somebody who mends the host sees it used within the hour.
    const LONGEST: Duration = Duration::from_secs(3_600);

    /// How long nothing of the Service moves there, from when it was noted.
    pub fn pause(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.times.saturating_sub(1));
        Self::FIRST.saturating_mul(doubled).min(Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_an_hour() {
        let pause = |times| {
            let (spec_hash, reason) = Default::default();
            Setback { index: 1, spec_hash, times, reason }.pause().as_secs()
        };
        assert_eq!([1, 2, 3, 6, 7, u32::MAX].map(pause), [60, 120, 240, 1_920, 3_600, 3_600]);
    }
}
