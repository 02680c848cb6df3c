//! Jobs by the clock, and those that somebody starts by hand: CronJobs, the latter suspended.

use serde_json::Value;

use super::draft::Draft;
use super::object::{Body, CronJobSpec, JobSpec, JobTemplate};
use super::unit::{Task, Unit};

/// A suspended CronJob needs a time at which it does not run.
const NEVER: &str = "0 0 1 1 *";

/// The CronJobs of a job: one for each of its times, the first with its name.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit, job: &JobSpec) -> Vec<(String, Body)> {
    let triggers = match &unit.task {
        Task::Job(triggers) => triggers.clone(),
        Task::Keep | Task::Once => Value::Null,
    };
    let times = triggers.get("schedule").and_then(Value::as_array).cloned().unwrap_or_default();
    if times.is_empty() {
        draft.steps.push(super::draft::Step {
            title: "Jobs to start by hand",
            words: format!("`{}`", unit.key),
            command: Some(format!("kubectl create job --from=cronjob/{0} {0}-1", unit.name)),
        });
        return vec![(unit.name.clone(), cron_job(draft, unit, &Value::Null, job))];
    }
    if times.len() > 1 {
        let reason = format!(
            "each of the {} times is a CronJob of its own: runs of one do not wait for another's",
            times.len()
        );
        draft.nearly(unit, "triggers.schedule", reason, "");
    }
    let mut all = Vec::new();
    for (index, time) in times.iter().enumerate() {
        let name = match index {
            0 => unit.name.clone(),
            n => draft.names.of("pod", &format!("{}-{}", unit.name, n + 1)),
        };
        all.push((name, cron_job(draft, unit, time, job)));
    }
    all
}

/// The CronJob of one time; of none, one that is suspended.
fn cron_job(draft: &mut Draft<'_>, unit: &Unit, time: &Value, job: &JobSpec) -> Body {
    let text = |key: &str| time.get(key).and_then(Value::as_str).map(str::to_owned);
    let cron = time.as_str().map(str::to_owned).or_else(|| text("cron"));
    let cron = cron.map(|cron| without_seconds(draft, unit, cron));
    if text("concurrency").as_deref() == Some("queue") {
        let reason = "a run that is due while another runs is left out, not queued";
        draft.nearly(unit, "triggers.schedule.concurrency", reason, "");
    }
    let starting_deadline_seconds = match text("missed_fires").as_deref() {
        // A run that was missed by more than this is not made up for.
        Some("skip") => Some(60),
        Some(_) | None => None,
    };
    let spec = CronJobSpec {
        time_zone: text("timezone"),
        // What Kubernetes does without it, several at once, is not what the file means.
        concurrency_policy: cron.as_ref().map(|_| "Forbid".to_owned()),
        starting_deadline_seconds,
        suspend: cron.is_none().then_some(true),
        schedule: cron.unwrap_or_else(|| NEVER.to_owned()),
        job_template: JobTemplate { spec: job.clone(), ..JobTemplate::default() },
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
