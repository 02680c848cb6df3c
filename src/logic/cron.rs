//! When a job is due by the clock: cron expressions in time zones. Never looks at a clock: the time is
//! an argument, and the time zones are part of the program, so that all hosts find the same.

use std::fmt;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use crate::model::{Fired, Schedule, WallSeconds};

/// A time that was due longer ago than this was missed: nobody was there, or the clock was wrong. Less
/// is the delay of a Home that has just taken over, or of one that has much to do.
pub const LATE: u64 = 60;
/// Clocks of hosts that differ by less do not make a time due twice. One that was ahead by more was
/// wrong: without this limit a clock that was once in 2036 would silence a job for years.
pub const SKEW: u64 = 3_600;

/// The times of a schedule.
#[derive(Debug, Clone)]
pub struct Times {
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule has no times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CronProblem {
    /// It cannot be read.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// There is no time zone of that name.
    UnknownZone {
        /// The name.
        zone: String,
    },
    /// There is no such day: 30 February.
    Never,
}

impl fmt::Display for CronProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { why } => write!(f, "it is no cron expression: {why}"),
            Self::UnknownZone { zone } => write!(f, "there is no time zone `{zone}`"),
            Self::Never => f.write_str("it is never due: there is no such day"),
        }
    }
}

impl Times {
    /// Reads a schedule.
    ///
    /// # Errors
    ///
    /// Why it has no times.
    pub fn of(schedule: &Schedule) -> Result<Self, CronProblem> {
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser
            .parse(&schedule.cron)
            .map_err(|error| CronProblem::Unreadable { why: sentence(&error.to_string()) })?;
        let zone = match schedule.timezone.as_deref().filter(|zone| !zone.is_empty()) {
            None => TimeZone::UTC,
            Some(name) => TimeZoneDatabase::bundled()
                .get(name)
                .map_err(|_| CronProblem::UnknownZone { zone: name.to_owned() })?,
        };
        let times = Self { cron, zone };
        times.after(WallSeconds(0)).map(|_| times).ok_or(CronProblem::Never)
    }

    /// The first time after `at`; none when there is none.
    pub fn after(&self, at: WallSeconds) -> Option<WallSeconds> {
        wall(&self.cron.find_next_occurrence(&self.zoned(at)?, false).ok()?)
    }

    /// The last time up to `at`; none when there is none.
    pub fn until(&self, at: WallSeconds) -> Option<WallSeconds> {
        wall(&self.cron.find_previous_occurrence(&self.zoned(at)?, true).ok()?)
    }

    fn zoned(&self, at: WallSeconds) -> Option<Zoned> {
        let at = Timestamp::from_second(i64::try_from(at.0).ok()?).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

fn wall(at: &Zoned) -> Option<WallSeconds> {
    u64::try_from(at.timestamp().as_second()).ok().map(WallSeconds)
}

/// Without its full stop, and small at its beginning.
fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

/// A time that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The time; of several that passed unnoticed the last.
    pub at: WallSeconds,
    /// It is long ago.
    pub missed: bool,
}

/// What is due of a schedule now, and how far it is from then on. However the clock jumps, that is one
/// time at most.
pub fn due(schedule: &Schedule, known: Option<Fired>, now: WallSeconds) -> (Fired, Option<Due>) {
    let is_sane = |known: &Fired| known.until.0 <= now.0.saturating_add(SKEW);
    let Some(known) = known.filter(is_sane) else {
        let times = Times::of(schedule).ok();
        let next = times.and_then(|times| times.after(now));
        return (Fired { until: now, next }, None);
    };
    if known.next.is_none_or(|next| next > now) {
        return (known, None);
    }
    let Ok(times) = Times::of(schedule) else { return (Fired { next: None, ..known }, None) };
    let Some(at) = times.until(now).filter(|at| *at > known.until) else {
        return (Fired { next: times.after(now), ..known }, None);
    };
    let missed = now.0.saturating_sub(at.0) > LATE;
    (Fired { until: at, next: times.after(at) }, Some(Due { at, missed }))
}

#[cfg(test)]
mod tests;
