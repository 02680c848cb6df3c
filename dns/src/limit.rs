//! How much one asker may ask: a token bucket and a connection count for each source address.
//!
//! The tables are bounded, time is a parameter, and nothing here sends or refuses anything.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Sources with a bucket of their own besides those the zone knows. A host holds at most some hundred
/// containers, so only an attack comes near; past it, sources the zone does not know share one bucket.
pub const SOURCES_MAX: usize = 4096;

/// How often a full table may be searched for idle sources: one pass costs about 50 µs.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What the limiter says to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Over the limit, for the first time since this source had its whole burst left: a source
    /// that goes on and on is over the limit once, however much of it passes.
    First,
    /// Over the limit, as before.
    Over,
}

/// Token buckets by source address.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: f64,
    burst: f64,
    buckets: HashMap<IpAddr, Bucket>,
    /// For sources that find the table full, all together.
    shared: Option<Bucket>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
    limited: bool,
}

impl Limiter {
    /// `rate` questions a second on average, `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(rate), f64::from(burst));
        Self { rate, burst, buckets: HashMap::new(), shared: None, swept: None }
    }

    /// Counts one question of `source` at `now`. A source that `is_known` has a bucket of its own
    /// however many strangers there are, since their addresses may be invented.
    pub(crate) fn take(
        &mut self,
        source: IpAddr,
        now: Instant,
        is_known: impl FnOnce() -> bool,
    ) -> Verdict {
        let (rate, burst) = (self.rate, self.burst);
        let fresh = Bucket { tokens: burst, at: now, limited: false };
        let bucket = if self.has_own(source, now, is_known) {
            self.buckets.entry(source).or_insert(fresh)
        } else {
            self.shared.get_or_insert(fresh)
        };
        bucket.tokens = bucket.filled(rate, burst, now);
        bucket.at = now;
        // Without any burst nothing ever passes, and the first time was long ago.
        bucket.limited &= bucket.tokens < burst.max(1.0);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Verdict::Pass;
        }
        if std::mem::replace(&mut bucket.limited, true) { Verdict::Over } else { Verdict::First }
    }

    /// The number of sources with a bucket of their own.
    pub(crate) fn n_sources(&self) -> usize {
        self.buckets.len()
    }

    fn has_own(&mut self, source: IpAddr, now: Instant, is_known: impl FnOnce() -> bool) -> bool {
        if self.buckets.len() < SOURCES_MAX || self.buckets.contains_key(&source) {
            return true;
        }
        self.sweep(now);
        self.buckets.len() < SOURCES_MAX || is_known()
    }

    /// Forgets sources whose bucket is full again: a new one would be the same.
    fn sweep(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_EVERY);
        if due {
            self.swept = Some(now);
            let (rate, burst) = (self.rate, self.burst);
            self.buckets.retain(|_, bucket| bucket.filled(rate, burst, now) < burst);
        }
    }
}

impl Bucket {
    fn filled(&self, rate: f64, burst: f64, now: Instant) -> f64 {
        (self.tokens + now.duration_since(self.at).as_secs_f64() * rate).min(burst)
    }
}

/// Counts what is under way for each source, at most `each_max` for one and `total_max` for all.
/// Strangers have half of it at most, so that they cannot take the last place of those we know.
#[derive(Debug)]
pub(crate) struct UnderWay {
    each_max: usize,
    total_max: usize,
    total: usize,
    sources: HashMap<IpAddr, usize>,
}

impl UnderWay {
    pub(crate) fn new(each_max: usize, total_max: usize) -> Self {
        Self { each_max, total_max, total: 0, sources: HashMap::new() }
    }

    /// Takes a place for `source`; a place taken must be given back with [`leave`](Self::leave).
    pub(crate) fn enter(&mut self, source: IpAddr, is_known: bool) -> bool {
        let count = self.sources.get(&source).copied().unwrap_or(0);
        let total_max = if is_known { self.total_max } else { self.total_max.div_ceil(2) };
        if self.total >= total_max || count >= self.each_max {
            return false;
        }
        self.sources.insert(source, count + 1);
        self.total += 1;
        true
    }

    /// Gives a place of `source` back.
    pub(crate) fn leave(&mut self, source: IpAddr) {
        debug_assert!(self.sources.contains_key(&source), "a place is left once");
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger() -> bool {
        false
    }

    fn source(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    /// Asks at the given milliseconds and lists what passed (`.`), first failed (`!`) and failed
    /// again (`x`).
    #[track_caller]
    fn check(rate: u32, burst: u32, at_ms: &[u64], expected: &str) {
        let start = Instant::now();
        let mut limiter = Limiter::new(rate, burst);
        let seen: String = at_ms
            .iter()
            .map(|ms| match limiter.take(source(1), start + Duration::from_millis(*ms), stranger) {
                Verdict::Pass => '.',
                Verdict::First => '!',
                Verdict::Over => 'x',
            })
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_burst_passes_and_the_rest_waits_for_the_rate() {
        check(10, 3, &[0, 0, 0, 0, 0], "...!x");
        check(10, 3, &[0, 0, 0, 0, 100, 100, 200], "...!.x.");
        check(10, 3, &[0, 0, 0, 0, 10_000, 10_000, 10_000, 10_000], "...!...!");
    }

    #[test]
    fn sources_do_not_share_a_bucket() {
        let now = Instant::now();
        let mut limiter = Limiter::new(1, 1);
        assert_eq!(limiter.take(source(1), now, stranger), Verdict::Pass);
        assert_eq!(limiter.take(source(1), now, stranger), Verdict::First);
        assert_eq!(limiter.take(source(2), now, stranger), Verdict::Pass);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_idle() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1, 2);
        let n_sources = u32::try_from(SOURCES_MAX).unwrap();
        for n in 0..n_sources {
            assert_eq!(limiter.take(source(n), start, stranger), Verdict::Pass);
        }
        for (n, expected) in [Verdict::Pass, Verdict::Pass, Verdict::First].into_iter().enumerate()
        {
            let late = source(n_sources + u32::try_from(n).unwrap());
            assert_eq!(limiter.take(late, start, stranger), expected, "strangers share one bucket");
        }
        assert_eq!(limiter.n_sources(), SOURCES_MAX);
        for expected in [Verdict::Pass, Verdict::Pass, Verdict::First] {
            assert_eq!(limiter.take(source(n_sources + 7), start, || true), expected, "known");
        }
        assert_eq!(limiter.n_sources(), SOURCES_MAX + 1);
        let later = start + Duration::from_secs(5);
        assert_eq!(limiter.take(source(n_sources + 9), later, stranger), Verdict::Pass);
        assert_eq!(limiter.n_sources(), 1, "idle sources are forgotten");
    }

    #[test]
    fn a_flood_is_over_the_limit_for_the_first_time_once() {
        let start = Instant::now();
        let mut limiter = Limiter::new(1000, 2000);
        let ask =
            |n: u64| limiter.take(source(1), start + Duration::from_micros(n * 100), stranger);
        let verdicts: Vec<Verdict> = (0..100_000).map(ask).collect();
        let n_of = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        assert_eq!(n_of(Verdict::First), 1);
        // The burst, and what ten seconds let pass.
        assert!((11_900..=12_000).contains(&n_of(Verdict::Pass)), "{}", n_of(Verdict::Pass));
    }

    #[test]
    fn places_are_bounded_for_one_source_and_for_all() {
        let mut under_way = UnderWay::new(2, 3);
        assert!(under_way.enter(source(1), true));
        assert!(under_way.enter(source(1), true));
        assert!(!under_way.enter(source(1), true), "third place of one source");
        assert!(!under_way.enter(source(2), false), "third place of all, for a stranger");
        assert!(under_way.enter(source(2), true));
        assert!(!under_way.enter(source(3), true), "fourth place of all");
        under_way.leave(source(1));
        assert!(under_way.enter(source(3), true));
        for gone in [1, 2, 3] {
            under_way.leave(source(gone));
        }
        assert_eq!((under_way.total, under_way.sources.len()), (0, 0));
    }
}
