//! How much of a host is in use, so coarse and so slow that it does not change with every breath.
//! Told of measurements; never measures.

/// What part of the way to a new measurement the average goes: measured every 5 s, it follows within
/// about a minute.
const WEIGHT: f64 = 0.1;
/// So far beyond the border of a quarter the average has to be before the quarter changes.
const MARGIN: f64 = 0.05;
/// From this quarter on a host is strained.
const STRAINED: u8 = 3;

/// What was in use of late.
#[derive(Debug, Clone, Copy, Default)]
pub struct Busy {
    average: Option<f64>,
    quarter: u8,
}

impl Busy {
    /// Takes in what part of the CPU or the memory, whichever is more, is in use; says how many quarters
    /// that is, 0 to 4. What is no number counts as what there was before.
    pub fn measured(&mut self, part: f64) -> u8 {
        let part = part.clamp(0.0, 1.0);
        let before = self.average.unwrap_or(part);
        let average = before + (part - before) * WEIGHT;
        if !average.is_finite() {
            return self.quarter;
        }
        self.average = Some(average);
        let border = f64::from(self.quarter) / 4.0;
        if average > border + 0.25 + MARGIN || average < border - MARGIN {
            self.quarter = ((average * 4.0).floor() as u8).min(4);
        }
        self.quarter
    }
}

/// Whether a host that is so busy is better left alone while others are not.
pub fn is_strained(quarters: u8) -> bool {
    quarters >= STRAINED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_changes_nothing_and_a_long_load_does() {
        let mut busy = Busy::default();
        assert_eq!(busy.measured(0.1), 0);
        for _ in 0..2 {
            assert_eq!(busy.measured(0.9), 0);
        }
        for _ in 0..40 {
            busy.measured(0.9);
        }
        assert_eq!(busy.measured(0.9), 3);
        assert!(is_strained(3));
    }

    #[test]
    fn at_the_border_of_two_quarters_it_stays_what_it_was() {
        let mut busy = Busy::default();
        let seen: std::collections::BTreeSet<u8> =
            (0..500).map(|n| busy.measured(if n % 2 == 0 { 0.23 } else { 0.28 })).collect();
        assert_eq!(seen.len(), 1, "{seen:?}");
    }

    #[test]
    fn what_is_no_measurement_is_passed_over() {
        let mut busy = Busy::default();
        assert_eq!(busy.measured(f64::NAN), 0);
        for _ in 0..100 {
            busy.measured(1e18);
        }
        assert_eq!(busy.measured(f64::NAN), 4);
        for _ in 0..200 {
            busy.measured(-5.0);
        }
        assert_eq!(busy.measured(0.0), 0);
    }
}
