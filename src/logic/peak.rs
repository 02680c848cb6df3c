//! What a replica of a service should reserve, by what replicas took: nine tenths of the time it suffices
//! for the CPU, and for memory it held at most, both with something to spare. The model is the recommender of
//! Kubernetes' Vertical Pod Autoscaler. Never measures anything; `vertical` says what comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{Moment, Peak};

/// After so long what was seen counts half.
const HALF_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Each bucket holds what is up to so much more than the one before.
const RATIO: f64 = 1.1;
/// The least that is told apart, in CPUs.
const LEAST: f64 = 0.001;
/// The part of the time that what is recommended suffices for.
const PART: f64 = 0.9;
/// Fewer measurements tell nothing.
const SAMPLES_MIN: f64 = 6.0;
/// What is taken for needed, of what did not suffice.
const KILLED: f64 = 1.2;
/// What is recommended beside what was seen.
pub(super) const SPARE: f64 = 1.15;

/// What replicas of one service took on one host.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// How often how much of a CPU was taken, by bucket.
    cpus: BTreeMap<i32, f64>,
    /// The most memory since `since`, and in the time before that.
    memory: [f64; 2],
    since: Moment,
}

impl Observed {
    /// Adds a measurement of one replica.
    pub fn add(&mut self, now: Moment, cpus: f64, memory: f64) {
        if now.since(self.since) >= HALF_LIFE {
            self.since = now;
            self.memory = [0.0, self.memory[0]];
            self.cpus.values_mut().for_each(|weight| *weight /= 2.0);
            self.cpus.retain(|_, weight| *weight > 0.01);
        }
        if cpus.is_finite() && cpus >= 0.0 {
            let bucket = (cpus.max(LEAST) / LEAST).log(RATIO).ceil().min(1_000.0) as i32;
            *self.cpus.entry(bucket).or_default() += 1.0;
        }
        self.memory[0] = self.memory[0].max(memory);
    }

    /// Notes that one was killed because it might hold no more than so much memory: it needs more, and
    /// nobody saw how much.
    pub fn add_killed(&mut self, limit: f64) {
        self.memory[0] = self.memory[0].max(limit * KILLED);
    }

    /// What sufficed; none while too little was seen.
    pub fn peak(&self) -> Option<Peak> {
        let total: f64 = self.cpus.values().sum();
        if total < SAMPLES_MIN {
            return None;
        }
        let mut seen = 0.0;
        let bucket = self.cpus.iter().find_map(|(bucket, weight)| {
            seen += weight;
            (seen >= total * PART).then_some(*bucket)
        })?;
        let cpus = LEAST * RATIO.powi(bucket);
        Some(Peak { cpus, memory: self.memory[0].max(self.memory[1]) })
    }
}

/// What to reserve, by what sufficed on each host.
pub fn recommended<'p>(peaks: impl Iterator<Item = &'p Peak>) -> Option<Peak> {
    let most =
        |a: Peak, b: &Peak| Peak { cpus: a.cpus.max(b.cpus), memory: a.memory.max(b.memory) };
    let peak =
        peaks.fold(None, |known: Option<Peak>, peak| Some(most(known.unwrap_or(*peak), peak)));
    peak.map(|peak| Peak { cpus: peak.cpus * SPARE, memory: peak.memory * SPARE })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    #[test]
    fn nine_tenths_of_the_time_and_the_most_memory_count() {
        let mut observed = Observed::default();
        for n in 0..5 {
            observed.add(Moment(n * 10_000), 0.1, 50e6);
            assert_eq!(observed.peak(), None, "too little was seen");
        }
        for n in 5..100 {
            // Eight of a hundred times it is busy.
            let (cpus, memory) = if n % 12 == 0 { (2.0, 80e6) } else { (0.1, 50e6) };
            observed.add(Moment(n * 10_000), cpus, memory);
        }
        let peak = observed.peak().expect("enough was seen");
        assert!((0.1..0.111).contains(&peak.cpus), "{peak:?}");
        assert_eq!(peak.memory, 80e6);
        for n in 100..110 {
            observed.add(Moment(n * 10_000), 2.0, 1.0);
        }
        let peak = observed.peak().expect("enough was seen");
        assert!((2.0..2.21).contains(&peak.cpus), "{peak:?}");
        for wrong in [f64::NAN, -1.0, f64::INFINITY] {
            observed.add(Moment(0), wrong, 1.0);
        }
        assert_eq!(observed.peak(), Some(peak));
        observed.add_killed(100e6);
        assert_eq!(observed.peak().map(|peak| peak.memory), Some(120e6));
        observed.add(Moment(0), 1e300, 1.0);
        assert!(observed.peak().is_some_and(|peak| peak.cpus.is_finite()));
    }

    #[test]
    fn what_was_long_ago_is_forgotten_bit_by_bit() {
        let mut observed = Observed::default();
        for n in 0..100 {
            observed.add(Moment(DAY + n), 4.0, 900e6);
        }
        for day in 2..14 {
            for n in 0..100 {
                observed.add(Moment(day * DAY + n), 0.1, 50e6);
            }
        }
        let peak = observed.peak().expect("enough was seen");
        assert!(peak.cpus < 0.12 && peak.memory == 50e6, "{peak:?}");
        assert!(observed.cpus.len() <= 3);
    }

    #[test]
    fn what_is_recommended_suffices_on_every_host() {
        let peaks = [Peak { cpus: 0.2, memory: 10.0 }, Peak { cpus: 0.1, memory: 100.0 }];
        let found = recommended(peaks.iter()).expect("there are two");
        assert!((found.cpus - 0.23).abs() < 1e-9 && (found.memory - 115.0).abs() < 1e-9);
        assert_eq!(recommended([].iter()), None);
    }
}
