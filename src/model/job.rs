//! Jobs: what is run when somebody asks for it or by the clock, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Attended, Deployment, HostId, ServiceName, WallSeconds};

/// A job of the file (`jobs`). Each run of it is one container that runs to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What a run is.
    pub deployment: Deployment,
    /// Whether people may start it (`triggers.manual`).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub manual: bool,
    /// When the clock starts it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Schedule>,
}

fn yes() -> bool {
    true
}

fn is_yes(yes: &bool) -> bool {
    *yes
}

/// When a job is run by the clock (`triggers.schedule`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// A cron expression of five fields, or of six with seconds first.
    pub cron: String,
    /// The time zone it means, by its IANA name; none means UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What happens when it is due while a run goes on.
    #[serde(default, skip_serializing_if = "Concurrency::is_forbid")]
    pub concurrency: Concurrency,
    /// What happens when nobody was there at its time.
    #[serde(default, skip_serializing_if = "MissedFires::is_one")]
    pub missed_fires: MissedFires,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cron)?;
        match &self.timezone {
            Some(zone) => write!(f, " {zone}"),
            None => Ok(()),
        }
    }
}

/// Compose, `triggers.schedule.concurrency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concurrency {
    /// There is no new run.
    #[default]
    Forbid,
    /// One new run waits for the end of the others.
    Queue,
}

impl Concurrency {
    /// Whether it is what a file means that says nothing of it.
    pub fn is_forbid(&self) -> bool {
        *self == Self::Forbid
    }
}

/// Compose, `triggers.schedule.missed_fires`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedFires {
    /// One run makes up for all that were missed.
    #[default]
    One,
    /// They are left out.
    Skip,
}

impl MissedFires {
    /// Whether it is what a file means that says nothing of it.
    pub fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// What somebody asks for: written by the host that was asked, carried out by the App's Home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Rises with each request of this host; those up to the one in the Plan are answered.
    pub number: u64,
    /// What.
    pub wish: RunWish,
    /// Who asked from elsewhere; none means somebody on that host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunWish {
    /// A run of a job, or of what a service runs.
    Run {
        /// The job or the service.
        of: ServiceName,
        /// What differs from it.
        #[serde(default, skip_serializing_if = "Variant::is_empty")]
        variant: Variant,
    },
    /// That a run is ended, if it goes on, and forgotten with what it wrote.
    Forget {
        /// Whose.
        name: ServiceName,
        /// Its number.
        run: u32,
    },
}

/// What a run does otherwise than its job or service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Variant {
    /// In place of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// In place of the entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// In place of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In place of the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Somebody sits in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<Attended>,
}

impl Variant {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All runs under one name that are known, in the Plan.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Runs {
    /// The number of the latest one.
    pub latest: u32,
    /// How far each schedule is, by its text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clock: BTreeMap<String, Fired>,
    /// By number: those that go on, and the latest of those that ended.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<u32, Run>,
    /// The last time that was due and had no run, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOut>,
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// All times up to here have had what is due to them.
    pub until: WallSeconds,
    /// The time after that; none when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<WallSeconds>,
}

/// A time that was due and had no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The time.
    pub at: WallSeconds,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why there is no run for a time that was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyLeftOut {
    /// Another run went on, and `concurrency` is `forbid`.
    Busy {
        /// Its number.
        run: u32,
    },
    /// Another run waits already; one is enough.
    Queued {
        /// Its number.
        run: u32,
    },
    /// Nobody was there at the time, and `missed_fires` is `skip`.
    Missed,
}

impl fmt::Display for WhyLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { run } => write!(f, "run {run} was not over"),
            Self::Queued { run } => write!(f, "run {run} waited already"),
            Self::Missed => f.write_str("nobody was there at the time"),
        }
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What it is a run of.
    pub of: ServiceName,
    /// Why it runs.
    pub cause: Cause,
    /// How far it is.
    pub state: RunState,
    /// What differs from its job or service.
    #[serde(default, skip_serializing_if = "Variant::is_empty")]
    pub variant: Variant,
    /// When it was decided, by its Home's clock.
    pub at: WallSeconds,
    /// When it began to run, by its host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<WallSeconds>,
    /// When it ended, by its host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<WallSeconds>,
    /// Where it ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// What its process ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Why a run runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The clock.
    Clock {
        /// The time that was due.
        due: WallSeconds,
    },
    /// Somebody asked for it.
    Asked {
        /// The host that was asked.
        host: HostId,
        /// The number of the request there.
        number: u64,
        /// Who, if from elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is told to the other hosts before it is begun anywhere.
    Announced,
    /// It waits for the end of another run.
    Queued,
    /// It runs, or is about to.
    Open,
    /// It ended with exit code 0.
    Succeeded,
    /// It ended otherwise.
    Failed,
}

impl RunState {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        match self {
            Self::Announced | Self::Queued | Self::Open => false,
            Self::Succeeded | Self::Failed => true,
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Announced => "announced",
            Self::Queued => "queued",
            Self::Open => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}
