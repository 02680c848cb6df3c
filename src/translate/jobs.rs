//! Jobs of a project: what a run is, and when there is one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::build::{self, Build};
use super::deployment;
use super::networks::is_shared;
use super::scope::Scope;
use super::verdict::Notes;
use crate::compose::project::{Project, Service};
use crate::logic::cron::{CronProblem, Times};
use crate::model::{Concurrency, Job, Life, MissedFires, RestartPolicy, Schedule, ServiceName};

/// The jobs of a project, and the images that must be built for them.
pub(super) fn convert(
    project: &Project,
    notes: &mut Notes,
) -> (BTreeMap<ServiceName, Job>, Vec<Build>) {
    let (mut jobs, mut builds) = (BTreeMap::new(), Vec::new());
    for (key, value) in &project.jobs {
        let Some(mut service) = as_service(value) else { continue };
        let mode = service.network_mode.take_if(|mode| is_shared(mode));
        let mut scope = Scope { project, section: "jobs", key, service: &service, notes };
        if let Some(mode) = mode {
            let reason = format!("`{mode}`: a run is on any host, and its network is its own");
            let remedy = "join a network of that service, and reach it by its name";
            scope.refused("network_mode", reason, remedy);
        }
        builds.extend(build::convert(&mut scope));
        let mut deployment = deployment::convert(&mut scope);
        (deployment.restart, deployment.life) = (RestartPolicy::Never, Life::OneShot);
        if !deployment.ports.is_empty() {
            let reason = "a run of a job listens on its networks alone";
            scope.ignored("ports", reason, "make what serves others a service");
            deployment.ports.clear();
        }
        let triggers = value.get("triggers").unwrap_or(&Value::Null);
        let manual = triggers.get("manual") != Some(&Value::Bool(false));
        let schedule = schedule(&mut scope, triggers.get("schedule").unwrap_or(&Value::Null));
        jobs.insert(ServiceName::new(key), Job { deployment, manual, schedule });
    }
    (jobs, builds)
}

/// A job as the service whose keys it shares; none when it is no such thing, which the loader refuses.
pub(super) fn as_service(job: &Value) -> Option<Service> {
    serde_json::from_value(job.clone()).ok()
}

fn schedule(scope: &mut Scope<'_>, value: &Value) -> Vec<Schedule> {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut schedules: Vec<Schedule> = Vec::new();
    for value in all {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let cron = value.as_str().map(str::to_owned).or_else(|| text("cron")).unwrap_or_default();
        let schedule = Schedule {
            cron,
            timezone: text("timezone").filter(|zone| !zone.is_empty()),
            concurrency: match text("concurrency").as_deref() {
                Some("queue") => Concurrency::Queue,
                Some(_) | None => Concurrency::Forbid,
            },
            missed_fires: match text("missed_fires").as_deref() {
                Some("skip") => MissedFires::Skip,
                Some(_) | None => MissedFires::One,
            },
        };
        if let Err(problem) = Times::of(&schedule) {
            let (key, remedy) = match problem {
                CronProblem::Unreadable { .. } => (
                    "triggers.schedule.cron",
                    "minute, hour, day of the month, month, day of the week, as in `0 3 * * *`; or \
                     six fields with seconds first",
                ),
                CronProblem::UnknownZone { .. } => {
                    ("triggers.schedule.timezone", "use an IANA name, as in `Europe/Paris`")
                }
                CronProblem::Never => ("triggers.schedule.cron", "name days that there are"),
            };
            scope.refused(key, format!("`{schedule}`: {problem}"), remedy);
        }
        if schedules.iter().all(|other| other.to_string() != schedule.to_string()) {
            schedules.push(schedule);
        }
    }
    schedules
}
