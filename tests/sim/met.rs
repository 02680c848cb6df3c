//! How often each fault was really met; a run that meets none proves nothing.

use std::fmt;
use std::time::Duration;

/// Counters of one run, or of many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met {
    pub(crate) submits: u64,
    pub(crate) deaths: u64,
    pub(crate) moved: u64,
    pub(crate) partitions: u64,
    pub(crate) one_way: u64,
    pub(crate) pauses: u64,
    pub(crate) crashes: u64,
    pub(crate) records_lost: u64,
    pub(crate) killed: u64,
    pub(crate) sickened: u64,
    pub(crate) engines_down: u64,
    pub(crate) pulls: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) conflicts: u64,
    pub(crate) braked: u64,
    pub(crate) bad_revisions: u64,
    pub(crate) removals: u64,
    pub(crate) events: u64,
    /// The longest time until all knew of a death.
    pub(crate) detect: Duration,
    /// The longest time until all replicas of a dead host ran elsewhere.
    pub(crate) failover: Duration,
    /// The longest time after a heal until all held the same.
    pub(crate) heal: Duration,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Met) {
        let Met {
            submits,
            deaths,
            moved,
            partitions,
            one_way,
            pauses,
            crashes,
            records_lost,
            killed,
            sickened,
            engines_down,
            pulls,
            lost,
            duplicated,
            conflicts,
            braked,
            bad_revisions,
            removals,
            events,
            detect,
            failover,
            heal,
        } = other;
        self.submits += submits;
        self.deaths += deaths;
        self.moved += moved;
        self.partitions += partitions;
        self.one_way += one_way;
        self.pauses += pauses;
        self.crashes += crashes;
        self.records_lost += records_lost;
        self.killed += killed;
        self.sickened += sickened;
        self.engines_down += engines_down;
        self.pulls += pulls;
        self.lost += lost;
        self.duplicated += duplicated;
        self.conflicts += conflicts;
        self.braked += braked;
        self.bad_revisions += bad_revisions;
        self.removals += removals;
        self.events += events;
        self.detect = self.detect.max(*detect);
        self.failover = self.failover.max(*failover);
        self.heal = self.heal.max(*heal);
    }

    /// Fails when one of these was never met.
    #[track_caller]
    pub(crate) fn require(&self, wanted: &[(&str, u64)]) {
        for (what, count) in wanted {
            assert!(*count > 0, "no run met {what}, which they are about: {self}");
        }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} submits, {} hosts lost power, {} replicas moved, {} partitions, {} one-way cuts, \
             {} pauses, {} agent crashes, {} records lost, {} containers killed, {} sickened, \
             {} engines down, {} pulls, {} messages lost, {} doubled, {} conflicts, {} braked, \
             {} bad revisions, {} removals, {} events; at most {} ms to know of a death, {} ms to run \
             elsewhere, {} ms to agree after a heal",
            self.submits,
            self.deaths,
            self.moved,
            self.partitions,
            self.one_way,
            self.pauses,
            self.crashes,
            self.records_lost,
            self.killed,
            self.sickened,
            self.engines_down,
            self.pulls,
            self.lost,
            self.duplicated,
            self.conflicts,
            self.braked,
            self.bad_revisions,
            self.removals,
            self.events,
            self.detect.as_millis(),
            self.failover.as_millis(),
            self.heal.as_millis(),
        )
    }
}
