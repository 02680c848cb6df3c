//! What goes over the API of jobs and their runs, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{AppName, Attended, RunState, ServiceName};

/// A job in `muster job ls`; or what was run of a service, under the name its runs have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its name.
    pub name: ServiceName,
    /// The service whose single containers these runs are; none of a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<ServiceName>,
    /// Whether people may start it.
    pub manual: bool,
    /// When the clock starts it.
    #[serde(default)]
    pub schedules: Vec<ScheduleView>,
    /// Its runs that are known, newest first.
    #[serde(default)]
    pub runs: Vec<RunView>,
    /// The last time that was due and had no run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LeftOutView>,
}

/// When the clock starts a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// The cron expression, with its time zone where it has one.
    pub text: String,
    /// The next time, seconds since 1970.
    pub next: Option<u64>,
}

/// A time that was due and had no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutView {
    /// The time, seconds since 1970.
    pub at: u64,
    /// Why.
    pub why: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// Its number.
    pub run: u32,
    /// How far it is.
    pub state: RunState,
    /// The time that was due, seconds since 1970; none of one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    /// Who asked for it: the operator, or the host it was asked on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// The command it was given in place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// When it was decided, seconds since 1970.
    pub at: u64,
    /// When it began to run.
    #[serde(default)]
    pub began: Option<u64>,
    /// When it ended.
    #[serde(default)]
    pub ended: Option<u64>,
    /// The name of the host it runs, or ran last, on; empty before.
    pub host: String,
    /// What its process ended with.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// Why it failed, or does not run yet.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `muster job run`, `muster run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartRun {
    /// The App.
    pub app: AppName,
    /// The job or the service.
    pub of: ServiceName,
    /// In place of its command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// In place of its entrypoint.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Added to its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// In place of its user.
    #[serde(default)]
    pub user: Option<String>,
    /// In place of its working directory.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Somebody will sit in front of it, see [`crate::api::Consoles::attach`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<Attended>,
}

/// `muster job rm`: ends a run, if it goes on, and forgets it with what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetRun {
    /// The App.
    pub app: AppName,
    /// The name of the job, or the one that runs of a service have.
    pub name: ServiceName,
    /// The number.
    pub run: u32,
}

/// One run by its name and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// The name its replica has.
    pub name: ServiceName,
    /// Its number.
    pub run: u32,
}
