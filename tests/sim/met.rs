//! How often each fault was really met; a run that meets none proves nothing.

use std::fmt;
use std::time::Duration;

/// Counters of one run, or of many.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Met {
    pub(crate) submits: u64,
    pub(crate) deaths: u64,
    pub(crate) moved: u64,
    /// Moves that were given up.
    pub(crate) setbacks: u64,
    pub(crate) partitions: u64,
    pub(crate) one_way: u64,
    pub(crate) pauses: u64,
    pub(crate) crashes: u64,
    pub(crate) records_lost: u64,
    pub(crate) torn_writes: u64,
    pub(crate) refused_writes: u64,
    pub(crate) damaged: u64,
    pub(crate) killed: u64,
    pub(crate) sickened: u64,
    pub(crate) engines_down: u64,
    pub(crate) pulls: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) conflicts: u64,
    pub(crate) braked: u64,
    pub(crate) bad_revisions: u64,
    /// Updates that were undone.
    pub(crate) undone: u64,
    /// Containers that served and were stopped in a cluster that nothing disturbed.
    pub(crate) seen_off: u64,
    pub(crate) damages: u64,
    pub(crate) flaps: u64,
    pub(crate) homes_killed: u64,
    /// Hosts whose engine changed no limits.
    pub(crate) refused_sizes: u64,
    pub(crate) returns: u64,
    pub(crate) clock_jumps: u64,
    pub(crate) overtaken: u64,
    /// Minutes on slow lines.
    pub(crate) slow: u64,
    pub(crate) removals: u64,
    /// Questions to replicas.
    pub(crate) probes: u64,
    /// Runs of jobs.
    pub(crate) fires: u64,
    /// Gangs that came to their end.
    pub(crate) gangs: u64,
    /// Machines that joined.
    pub(crate) machines: u64,
    pub(crate) events: u64,
    /// The longest time until all knew of a death.
    pub(crate) detect: Duration,
    /// The longest time until all replicas of a dead host ran elsewhere.
    pub(crate) failover: Duration,
    /// The longest time from the last host's start to all being healthy, after all lost power.
    pub(crate) cold_start: Duration,
    /// The longest time after a heal until all held the same.
    pub(crate) heal: Duration,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Met) {
        let Met {
            submits,
            deaths,
            moved,
            setbacks,
            partitions,
            one_way,
            pauses,
            crashes,
            records_lost,
            torn_writes,
            refused_writes,
            damaged,
            killed,
            sickened,
            engines_down,
            pulls,
            lost,
            duplicated,
            conflicts,
            braked,
            bad_revisions,
            undone,
            seen_off,
            damages,
            flaps,
            homes_killed,
            refused_sizes,
            returns,
            clock_jumps,
            overtaken,
            slow,
            removals,
            probes,
            fires,
            gangs,
            machines,
            events,
            detect,
            failover,
            cold_start,
            heal,
        } = other;
        self.submits += submits;
        self.deaths += deaths;
        self.moved += moved;
        self.setbacks += setbacks;
        self.partitions += partitions;
        self.one_way += one_way;
        self.pauses += pauses;
        self.crashes += crashes;
        self.records_lost += records_lost;
        self.torn_writes += torn_writes;
        self.refused_writes += refused_writes;
        self.damaged += damaged;
        self.killed += killed;
        self.sickened += sickened;
        self.engines_down += engines_down;
        self.pulls += pulls;
        self.lost += lost;
        self.duplicated += duplicated;
        self.conflicts += conflicts;
        self.braked += braked;
        self.bad_revisions += bad_revisions;
        self.undone += undone;
        self.seen_off += seen_off;
        self.damages += damages;
        self.flaps += flaps;
        self.homes_killed += homes_killed;
        self.refused_sizes += refused_sizes;
        self.returns += returns;
        self.clock_jumps += clock_jumps;
        self.overtaken += overtaken;
        self.slow += slow;
        self.removals += removals;
        self.probes += probes;
        self.fires += fires;
        self.gangs += gangs;
        self.machines += machines;
        self.events += events;
        self.detect = self.detect.max(*detect);
        self.failover = self.failover.max(*failover);
        self.cold_start = self.cold_start.max(*cold_start);
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
    /// What was met, and nothing that was not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.submits, "submits"),
            (self.deaths, "hosts lost power"),
            (self.moved, "replicas moved"),
            (self.setbacks, "moves given up"),
            (self.partitions, "partitions"),
            (self.one_way, "one-way cuts"),
            (self.flaps, "links down for 2 s"),
            (self.pauses, "pauses"),
            (self.crashes, "agent crashes"),
            (self.homes_killed, "Homes killed"),
            (self.refused_sizes, "sizes refused"),
            (self.records_lost, "records lost"),
            (self.torn_writes, "power cuts during a write"),
            (self.refused_writes, "writes refused"),
            (self.damages, "disks damaged"),
            (self.damaged, "damages noticed"),
            (self.killed, "containers killed"),
            (self.sickened, "sickened"),
            (self.engines_down, "engines down"),
            (self.pulls, "pulls"),
            (self.lost, "messages lost"),
            (self.duplicated, "doubled"),
            (self.overtaken, "overtaken"),
            (self.conflicts, "conflicts"),
            (self.braked, "braked"),
            (self.bad_revisions, "bad revisions"),
            (self.undone, "updates undone"),
            (self.seen_off, "seen off"),
            (self.clock_jumps, "clocks jumped"),
            (self.returns, "late returns"),
            (self.removals, "hosts removed"),
            (self.fires, "runs of jobs"),
            (self.gangs, "gangs"),
            (self.machines, "machines"),
            (self.events, "events"),
        ];
        let met = counts.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = met.map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(&words.join(", "))?;
        let times = [
            (self.detect, "to know of a death"),
            (self.failover, "to run elsewhere"),
            (self.heal, "to agree after a heal"),
            (self.cold_start, "to be healthy after a cold start"),
        ];
        for (time, what) in times.iter().filter(|(time, _)| !time.is_zero()) {
            write!(f, "; at most {} ms {what}", time.as_millis())?;
        }
        Ok(())
    }
}
