//! The life of one fake process as a function of time. Pure.

use std::time::Duration;

use super::image::{Behaviour, FakeExit, FakeHealth};
use crate::model::{ContainerState, Health, HealthSpec, Moment, Usage};

/// Exit code of a killed process: 128 + SIGKILL.
const KILLED: i64 = 137;
/// Docker's default `interval` of a health check.
const HEALTH_INTERVAL_MS: u64 = 30_000;
/// Docker's default `retries`.
const HEALTH_RETRIES: u32 = 3;

/// A process: scripted, and where it is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    behaviour: Behaviour,
    health: Option<FakeHealth>,
    /// When it runs (or ran) from, and how that ends.
    run: Option<Run>,
    /// Its health check fails until it is started anew.
    sick: bool,
    n_starts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    since: Moment,
    /// Which start of its engine it was, from 1 on.
    nth: u32,
    end: Option<(Moment, i64, bool)>,
}

impl Process {
    pub(super) fn new(behaviour: Behaviour, health: Option<&HealthSpec>) -> Self {
        let health = verdict(behaviour.health, health);
        Self { behaviour, health, run: None, sick: false, n_starts: 0 }
    }

    pub(super) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// How often it was started.
    pub(super) fn n_starts(&self) -> u32 {
        self.n_starts
    }

    /// When it runs, or ran, from.
    pub(super) fn since(&self) -> Option<Moment> {
        self.run.map(|run| run.since)
    }

    /// Starts it unless it runs or is about to. `nth` is the start's number among all of its engine.
    pub(super) fn start(&mut self, now: Moment, nth: u32) {
        if self.run.is_some_and(|run| run.end.is_none_or(|(end, _, _)| end > now)) {
            return;
        }
        let since = now + self.behaviour.start_delay;
        let end = self
            .behaviour
            .exit
            .map(|FakeExit { after, code, oom_killed }| (since + after, code, oom_killed));
        self.run = Some(Run { since, nth, end });
        self.n_starts += 1;
        self.sick = false;
    }

    /// Makes its health check fail from now on.
    pub(super) fn sicken(&mut self) {
        self.sick = true;
    }

    /// Signals it; returns when it will have ended.
    pub(super) fn stop(&mut self, now: Moment, grace: Duration) -> Moment {
        let Some(run) = &mut self.run else { return now };
        let (after, code) = if self.behaviour.stop_delay > grace {
            (grace, KILLED)
        } else {
            (self.behaviour.stop_delay, self.behaviour.stop_code)
        };
        let stopped = now + after;
        match run.end {
            Some((end, _, _)) if end <= stopped => end.max(now),
            Some(_) | None => {
                run.end = Some((stopped, code, false));
                stopped
            }
        }
    }

    /// Ends it at once, as a power cut does.
    pub(super) fn kill(&mut self, now: Moment) {
        self.stop(now, Duration::ZERO);
        if let Some(Run { end: Some((end, code, _)), .. }) = &mut self.run
            && *end >= now
        {
            (*end, *code) = (now, KILLED);
        }
    }

    pub(super) fn state(&self, now: Moment) -> ContainerState {
        match self.run {
            Some(Run { end: Some((end, code, oom_killed)), .. }) if end <= now => {
                ContainerState::Exited { code, oom_killed }
            }
            Some(run) if run.since <= now => ContainerState::Running,
            Some(_) | None => ContainerState::Created,
        }
    }

    /// When it was last started, nanoseconds; 0 when it never ran. As with real engines no two starts
    /// have the same: of those within one millisecond the later has more.
    pub(super) fn started(&self, now: Moment) -> i64 {
        let run = self.run.filter(|run| run.since <= now);
        let nanos = |run: Run| {
            (run.since.0 as i64).saturating_mul(1_000_000) + i64::from(run.nth % 1_000_000)
        };
        run.map_or(0, nanos)
    }

    pub(super) fn is_running(&self, now: Moment) -> bool {
        self.state(now) == ContainerState::Running
    }

    /// A quarter of a CPU, a kilobyte in and two out each millisecond, since it runs.
    pub(super) fn usage(&self, now: Moment) -> Option<Usage> {
        let run = self.run.filter(|_| self.is_running(now))?;
        let millis = now.since(run.since).as_millis() as u64;
        Some(Usage {
            cpu_nanos: millis * 250_000,
            memory: 16 << 20,
            memory_limit: 0,
            received: millis * 1_000,
            sent: millis * 2_000,
            pids: 3,
        })
    }

    pub(super) fn health(&self, now: Moment) -> Health {
        let Some(health) = self.health else { return Health::None };
        match self.run {
            Some(_) if self.sick => Health::Unhealthy,
            Some(run) if run.since + health.after <= now => health.verdict,
            Some(_) | None => Health::Starting,
        }
    }

    fn moments(&self) -> impl Iterator<Item = Moment> {
        let run = self.run;
        let judged = self.health.zip(run).map(|(health, run)| run.since + health.after);
        let end = run.and_then(|run| run.end).map(|(end, _, _)| end);
        let judged = judged.filter(|at| end.is_none_or(|end| *at < end));
        [run.map(|run| run.since), judged, end].into_iter().flatten()
    }

    /// When it next changes by itself.
    pub(super) fn next_change(&self, now: Moment) -> Option<Moment> {
        self.moments().filter(|at| *at > now).min()
    }

    /// Whether it changed after `from`, up to `to`.
    pub(super) fn changes_within(&self, from: Moment, to: Moment) -> bool {
        self.moments().any(|at| from < at && at <= to)
    }
}

/// The image's check, unless the spec has one: that passes at its first run, but `CMD false`
/// fails each.
fn verdict(image: Option<FakeHealth>, spec: Option<&HealthSpec>) -> Option<FakeHealth> {
    let Some(spec) = spec else { return image };
    let interval = Duration::from_millis(spec.interval_ms.unwrap_or(HEALTH_INTERVAL_MS));
    let words: Option<Vec<&str>> =
        spec.test.as_ref().map(|test| test.iter().map(String::as_str).collect());
    match words.as_deref() {
        None => image,
        Some(["NONE"]) => None,
        Some(["CMD", "false"]) => Some(FakeHealth {
            after: interval * spec.retries.unwrap_or(HEALTH_RETRIES),
            verdict: Health::Unhealthy,
        }),
        Some(_) => image.or(Some(FakeHealth { after: interval, verdict: Health::Healthy })),
    }
}
