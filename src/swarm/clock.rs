//! The wall clock as certificates and tokens are judged by it. Tests set one; nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::model::WallSeconds;

/// 2026-01-01: no agent is older than its source, so a clock before this is wrong. A board without
/// a battery boots in 1970.
const EARLIEST: u64 = 1_767_225_600;

/// A wall clock. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    set: Option<Arc<AtomicU64>>,
}

impl WallClock {
    /// The clock of this machine.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands until it is set.
    #[cfg(test)]
    pub(super) fn standing(now: WallSeconds) -> Self {
        Self { set: Some(Arc::new(AtomicU64::new(now.0))) }
    }

    /// Sets a standing clock.
    #[cfg(test)]
    pub(super) fn set(&self, now: WallSeconds) {
        self.set.as_ref().expect("it is a standing one").store(now.0, Ordering::Relaxed);
    }

    /// Now. A clock before 1970 gives 1970.
    pub fn now(&self) -> WallSeconds {
        match &self.set {
            Some(set) => WallSeconds(set.load(Ordering::Relaxed)),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                WallSeconds(since.map_or(0, |since| since.as_secs()))
            }
        }
    }

    /// Now, unless the clock is certainly wrong: then the time is not known.
    pub fn known(&self) -> Option<WallSeconds> {
        known(self.now())
    }
}

/// The time, unless a clock that shows it is certainly wrong.
pub(super) fn known(now: WallSeconds) -> Option<WallSeconds> {
    (now.0 >= EARLIEST).then_some(now)
}

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.now().0)))
    }
}
