//! How long to wait before something that failed is tried again.

use std::time::Duration;

use super::Rng;

/// The first pause. Docker's own restart policy begins here as well.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause. Docker's own is one minute.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran for so long is not in a crash loop.
pub const STEADY: Duration = Duration::from_secs(10);

/// How long a copy has to stay ready before it counts as staying up: as long as its Deployment says,
/// or for longer when it was started again.
pub fn watch(monitor: Duration, restarts: u32) -> Duration {
    if restarts > 0 { monitor.max(STEADY) } else { monitor }
}

/// The pause after so many failures in a row: doubles up to a minute, and up to a tenth is added so
/// that many replicas of one Deployment do not all start at once.
pub fn pause(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let base = doubled.min(LONGEST);
    base + Duration::from_millis(rng.below(base.as_millis() as u64 / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute() {
        let mut rng = Rng::new(1);
        let mut within = |failures, least, most| {
            let pause = pause(failures, &mut rng).as_millis();
            assert!((least..=most).contains(&pause), "{failures} failures: {pause} ms");
        };
        within(1, 100, 110);
        within(2, 200, 220);
        within(5, 1_600, 1_760);
        within(11, 60_000, 66_000);
        within(1_000_000, 60_000, 66_000);
    }
}
