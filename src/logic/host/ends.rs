//! How containers end, in words: why, how often, and when they start again.

use std::time::Duration;

use super::Instance;
use crate::model::{ContainerState, Moment, WallSeconds};

/// So many ends, none of them after a steady run, are a crash loop.
const LOOP: u32 = 3;
/// Exit code of a process that a signal ended: this and the signal's number.
const SIGNALLED: i64 = 128;

/// The ends of a container since it last ran steadily.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Streak {
    first: Moment,
    last: Moment,
    count: u32,
    /// Why the last one was.
    why: String,
}

impl Instance {
    /// Notes an end.
    pub(super) fn note_end(&mut self, now: Moment, why: String) {
        let begun = || Streak { first: now, last: now, count: 0, why: String::new() };
        let streak = self.streak.get_or_insert_with(begun);
        (streak.last, streak.why) = (now, why);
        streak.count += 1;
    }

    /// Since its last try it has run for so long that nothing before counts.
    pub(super) fn note_steady(&mut self) {
        self.failures = 0;
        self.streak = None;
    }

    /// How often it ended, and why the last time, when that is a crash loop.
    pub(super) fn crash_loop(&self) -> Option<String> {
        let streak = self.streak.as_ref().filter(|streak| streak.count >= LOOP)?;
        let Streak { first, last, count, why } = streak;
        Some(format!("crash loop: {count} exits in {}, {why}", span(last.since(*first))))
    }

    /// When it is tried again, by the clock on the wall; the same for as long as that moment is.
    pub(super) fn again(&mut self, now: Moment, wall: WallSeconds) -> Option<WallSeconds> {
        if self.next_try <= now {
            return None;
        }
        match self.again {
            Some((moment, wall)) if moment == self.next_try => Some(wall),
            Some(_) | None => {
                let wait = self.next_try.since(now).as_millis().div_ceil(1_000);
                let at =
                    WallSeconds(wall.0.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)));
                self.again = Some((self.next_try, at));
                Some(at)
            }
        }
    }
}

/// Why a container ended; none while it has not. `limit` is its limit of memory in bytes.
pub(super) fn why(state: &ContainerState, limit: Option<u64>) -> Option<String> {
    match state {
        ContainerState::Exited { oom_killed: true, .. } => Some(match limit {
            Some(limit) => format!("killed: out of memory (limit {})", size(limit)),
            None => "killed: out of memory".to_owned(),
        }),
        ContainerState::Exited { code, .. } => {
            let signal = code.checked_sub(SIGNALLED).and_then(signal);
            let signal = signal.map(|name| format!(" ({name})")).unwrap_or_default();
            Some(format!("exited with code {code}{signal}"))
        }
        ContainerState::Paused => Some("paused".to_owned()),
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Changing
        | ContainerState::Dead => None,
    }
}

/// The signals that end programs which did not mean to end.
fn signal(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// As Compose files write sizes.
fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "G"), (20, "M"), (10, "K")];
    let unit =
        UNITS.iter().find(|(shift, _)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| format!("{bytes}B"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// `40 s`, `2 min`, `3 h`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds < 90 => format!("{} s", seconds.max(1)),
        seconds if seconds < 90 * 60 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h", (seconds + 1_800) / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_with_their_reasons() {
        let exited = |code, oom_killed| ContainerState::Exited { code, oom_killed };
        let cases = [
            (exited(1, false), None, Some("exited with code 1")),
            (exited(139, false), None, Some("exited with code 139 (SIGSEGV)")),
            (exited(200, false), None, Some("exited with code 200")),
            (exited(-1, false), None, Some("exited with code -1")),
            (exited(i64::MIN, false), None, Some("exited with code -9223372036854775808")),
            (exited(137, true), Some(64 << 20), Some("killed: out of memory (limit 64M)")),
            (exited(137, true), Some(3 << 29), Some("killed: out of memory (limit 1536M)")),
            (exited(137, true), Some(100), Some("killed: out of memory (limit 100B)")),
            (exited(137, true), None, Some("killed: out of memory")),
            (ContainerState::Running, None, None),
        ];
        for (state, limit, expected) in cases {
            assert_eq!(why(&state, limit).as_deref(), expected, "{state:?}");
        }
    }

    #[test]
    fn times_are_short() {
        let spans = [0, 89, 90, 120, 5_399, 5_400, 7_200].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["1 s", "89 s", "2 min", "2 min", "90 min", "2 h", "2 h"]);
    }

    #[test]
    fn the_moment_of_the_next_try_does_not_move() {
        let mut instance = Instance { next_try: Moment(21_500), ..Instance::default() };
        assert_eq!(instance.again(Moment(1_000), WallSeconds(100)), Some(WallSeconds(121)));
        assert_eq!(instance.again(Moment(1_900), WallSeconds(101)), Some(WallSeconds(121)));
        assert_eq!(instance.again(Moment(21_500), WallSeconds(121)), None);
    }
}
