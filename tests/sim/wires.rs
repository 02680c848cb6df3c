//! The seeded network: loses, delays, and cuts messages, each direction of a pair on its own.

use std::collections::BTreeSet;
use std::time::Duration;

use muster::logic::Rng;

/// How much later a message comes that others overtake.
const LATE: Duration = Duration::from_millis(500);

/// What the network does to messages.
#[derive(Debug, Clone)]
pub(crate) struct Wires {
    /// Messages lost of a thousand.
    pub(crate) loss: u64,
    /// Messages of a thousand that arrive twice.
    pub(crate) duplicate: u64,
    /// Messages of a thousand that come up to [`LATE`] later.
    pub(crate) late: u64,
    /// The shortest delay.
    pub(crate) delay: Duration,
    /// Up to so much more.
    pub(crate) jitter: Duration,
    /// Directions that pass nothing.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Messages lost so far, by chance or by a cut.
    pub(crate) lost: u64,
    /// Messages that arrived twice so far.
    pub(crate) duplicated: u64,
    /// Messages that were held back so far.
    pub(crate) overtaken: u64,
}

impl Default for Wires {
    fn default() -> Self {
        Self {
            loss: 0,
            duplicate: 0,
            late: 0,
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(2),
            cut: BTreeSet::new(),
            lost: 0,
            duplicated: 0,
            overtaken: 0,
        }
    }
}

impl Wires {
    /// After how long a message arrives, each time it does; never when it is lost. A reliable one
    /// (a stream) is only lost by a cut; chance delays it as a retransmission would.
    pub(crate) fn pass(
        &mut self,
        from: usize,
        to: usize,
        reliable: bool,
        rng: &mut Rng,
    ) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || (reliable && self.cut.contains(&(to, from))) {
            self.lost += 1;
            return Vec::new();
        }
        let copies = if rng.below(1000) < self.duplicate { 2 } else { 1 };
        self.duplicated += copies - 1;
        let mut delays = Vec::new();
        for _ in 0..copies {
            let mut delay = self.delay;
            delay += Duration::from_millis(rng.below(self.jitter.as_millis() as u64 + 1));
            if rng.below(1000) < self.late {
                self.overtaken += 1;
                delay += Duration::from_millis(rng.below(LATE.as_millis() as u64));
            }
            let mut arrives = true;
            while rng.below(1000) < self.loss {
                self.lost += 1;
                arrives &= reliable;
                delay += Duration::from_millis(50);
            }
            if arrives {
                delays.push(delay);
            }
        }
        delays
    }

    /// Cuts both directions between two groups.
    pub(crate) fn partition(&mut self, a: &[usize], b: &[usize]) {
        for (x, y) in a.iter().flat_map(|x| b.iter().map(move |y| (*x, *y))) {
            self.cut.insert((x, y));
            self.cut.insert((y, x));
        }
    }
}
