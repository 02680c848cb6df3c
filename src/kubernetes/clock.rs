//! Jobs by the clock, and those that somebody starts by hand: CronJobs, the latter suspended.

use serde_json::Value;

use super::draft::Draft;
use super::object::{Body, CronJobSpec, JobSpec, JobTemplate};
use super::unit::{Task, Unit};

/// A suspended CronJob needs a time at which it does not run.
const NEVER: &str = "0 0 1 1 *";

/// The CronJob of a job. Of several times only the first is kept.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit, job: JobSpec) -> Body {
    let triggers = match &unit.task {
        Task::Job(triggers) => triggers.clone(),
        Task::Keep | Task::Once => Value::Null,
    };
    let times = triggers.get("schedule").and_then(Value::as_array).cloned().unwrap_or_default();
    let first = times.first().cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let cron = first.as_str().map(str::to_owned).or_else(|| text(&first, "cron"));
    let cron = cron.map(|cron| without_seconds(draft, unit, cron));
    if times.len() > 1 {
        let reason =
            format!("a CronJob has one schedule: of {} only the first is kept", times.len());
        draft.lost(unit, "triggers.schedule", reason, "copy the CronJob for each of the others");
    }
    let concurrency_policy = match text(&first, "concurrency").as_deref() {
        Some("queue") => {
            let reason = "a run that is due while another runs is left out, not queued";
            draft.nearly(unit, "triggers.schedule.concurrency", reason, "");
            Some("Forbid".to_owned())
        }
        // What Kubernetes does without it, several at once, is not what the file means.
        Some(_) | None => cron.as_ref().map(|_| "Forbid".to_owned()),
    };
    let starting_deadline_seconds = match text(&first, "missed_fires").as_deref() {
        // A run that was missed by more than this is not made up for.
        Some("skip") => Some(60),
        Some(_) | None => None,
    };
    let suspend = cron.is_none().then_some(true);
    if suspend.is_some() {
        draft.steps.push(super::draft::Step {
            title: "Jobs to start by hand",
            words: format!("`{}`", unit.key),
            command: Some(format!("kubectl create job --from=cronjob/{0} {0}-1", unit.name)),
        });
    }
    let spec = CronJobSpec {
        schedule: cron.unwrap_or_else(|| NEVER.to_owned()),
        time_zone: text(&first, "timezone"),
        concurrency_policy,
        starting_deadline_seconds,
        suspend,
        job_template: JobTemplate { spec: job, ..JobTemplate::default() },
    };
    Body::CronJob { spec: Box::new(spec) }
}

/// A CronJob knows no smaller time than a minute.
fn without_seconds(draft: &mut Draft<'_>, unit: &Unit, cron: String) -> String {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let [seconds, minutes @ ..] = fields.as_slice() else { return cron };
    if minutes.len() != 5 {
        return cron;
    }
    if *seconds != "0" {
        let reason = "a CronJob has no seconds: it runs at the full minute";
        draft.nearly(unit, "triggers.schedule.cron", reason, "");
    }
    minutes.join(" ")
}
