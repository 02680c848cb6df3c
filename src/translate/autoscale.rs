//! `x-autoscale` of a service: how its number of replicas follows what is measured. Read here alone, for
//! the cluster and for the export to Kubernetes; what only one of them needs is checked there.
//!
//! ```yaml
//! x-autoscale:
//!   min: 2
//!   max: 10
//!   cpu: 70 # per cent of what is reserved
//!   metrics:
//!     - {prometheus: "http://queue:9090/metrics", name: jobs_waiting, per_replica: 10}
//! ```

mod metrics;
mod values;
pub(crate) mod vertical;

use serde_json::{Map, Value};

use self::values::{Found, percent, whole};
use super::pods;
use super::scope::{Scope, millis};
use crate::compose::project::{Service, parse_duration};
use crate::logic::autoscale::Basis;
use crate::model::{
    Autoscale, HttpUrl, Resources, ScaleBehavior, ScaleMetric, ScaleRule, ScaleStep, ScaleTarget,
    Select, StepSize, Vertical,
};

/// Our own key: Compose has no word for it.
pub(crate) const KEY: &str = "x-autoscale";
/// An example of it.
pub(crate) const EXAMPLE: &str = "say `x-autoscale: {min: 1, max: 5, cpu: 80}`";
/// Per cent of the CPU where the file names nothing to look at.
const CPU: f64 = 80.0;
/// More replicas than this of one service are a slip of the finger.
const REPLICAS_MAX: u32 = 10_000;
/// Rules of one service: each is asked for every few seconds.
const RULES_MAX: usize = 16;
/// The longest time that anything is looked back on, in milliseconds: that of Kubernetes.
const TIME_MAX: u64 = 3_600_000;
/// The shortest time between two decisions, in milliseconds: what is measured is told no more often.
const INTERVAL_MIN: u64 = 1_000;

/// What is wrong with a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Below the service: `x-autoscale.min`.
    pub(crate) key: String,
    /// What.
    pub(crate) reason: String,
    /// What to do; may be empty.
    pub(crate) remedy: String,
}

/// What a service asks for.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// How its number of replicas is found; none where it does not change by itself.
    pub(crate) rules: Option<Autoscale>,
    /// What its replicas may be given.
    pub(crate) vertical: Option<Vertical>,
    /// With any, the rest is incomplete.
    pub(crate) problems: Vec<Problem>,
}

/// What a service asks for.
pub(crate) fn read(name: &str, service: &Service) -> Asked {
    let Some(value) = service.other.get(KEY) else { return Asked::default() };
    let mut found = Found::default();
    let (mut number, mut size) = (None, None);
    match value.as_object() {
        None => found.wrong("", format!("`{value}` does not say how it is scaled"), EXAMPLE),
        Some(all) => {
            size = all.get("vertical").and_then(|value| vertical::read(value, &mut found));
            let is_all = all.len() == 1 && all.contains_key("vertical");
            if !is_all {
                let replicas = super::deployment::count(service);
                number = rules(name, replicas, all, &mut found);
            }
        }
    }
    Asked { rules: number, vertical: size, problems: found.problems }
}

fn rules(
    name: &str,
    replicas: u32,
    all: &Map<String, Value>,
    found: &mut Found,
) -> Option<Autoscale> {
    let known = [
        "min",
        "max",
        "cpu",
        "memory",
        "connections",
        "metrics",
        "interval",
        "tolerance",
        "behavior",
        "vertical",
    ];
    found.only("", all, &known);
    let max = match all.get("max").map(whole) {
        Some(Some(max)) if (1..=REPLICAS_MAX).contains(&max) => max,
        Some(Some(max)) if max > REPLICAS_MAX => {
            found.wrong("max", format!("`{max}` is more than {REPLICAS_MAX} replicas"), "");
            return None;
        }
        Some(_) => {
            found.wrong("max", "it is no number of replicas above 0", EXAMPLE);
            return None;
        }
        None => {
            found.wrong("", "it has no `max`", EXAMPLE);
            return None;
        }
    };
    let min = match all.get("min") {
        None => replicas.clamp(1, max),
        Some(value) => match whole(value) {
            Some(min) if min <= max => min,
            Some(min) => {
                let reason = format!("`min` is {min}, which is above `max`, {max}");
                found.wrong("min", reason, "make `max` the larger one");
                return None;
            }
            None => {
                found.wrong("min", format!("`{value}` is no number of replicas"), EXAMPLE);
                return None;
            }
        },
    };
    let rules = metrics::rules(name, all, found);
    let time = |key: &str, least: u64, found: &mut Found| {
        all.get(key).and_then(|value| found.time(key, value, least, TIME_MAX))
    };
    let interval = time("interval", INTERVAL_MIN, found);
    let tolerance = all.get("tolerance").and_then(|value| {
        let part = percent(value).map(|percent| percent / 100.0).filter(|part| *part < 1.0);
        if part.is_none() {
            found.wrong("tolerance", format!("`{value}` is no part of 100 %"), "as in `10%`");
        }
        part
    });
    let (up, down) = behavior(all.get("behavior"), found);
    Some(Autoscale {
        min,
        max,
        rules,
        interval_ms: interval.unwrap_or_else(|| millis(Autoscale::INTERVAL)),
        tolerance: tolerance.unwrap_or(Autoscale::TOLERANCE),
        up,
        down,
        asked: None,
    })
}

fn behavior(value: Option<&Value>, found: &mut Found) -> (ScaleBehavior, ScaleBehavior) {
    let (mut up, mut down) = (ScaleBehavior::up(), ScaleBehavior::down());
    let Some(value) = value else { return (up, down) };
    let remedy = "as in `behavior: {down: {window: 10m, steps: [1 per 1m]}}`";
    let Some(all) = value.as_object() else {
        found.wrong("behavior", "it says nothing of `up` or `down`", remedy);
        return (up, down);
    };
    found.only("behavior", all, &["up", "down"]);
    for (word, side) in [("up", &mut up), ("down", &mut down)] {
        let path = format!("behavior.{word}");
        match all.get(word) {
            None => {}
            Some(Value::Object(one)) => one_behavior(&path, one, side, found),
            Some(_) => found.wrong(&path, "it says nothing of how fast", remedy),
        }
    }
    (up, down)
}

fn one_behavior(path: &str, all: &Map<String, Value>, side: &mut ScaleBehavior, found: &mut Found) {
    found.only(path, all, &["window", "steps", "select"]);
    if let Some(value) = all.get("window") {
        let window = found.time(&format!("{path}.window"), value, 0, TIME_MAX);
        side.window_ms = window.unwrap_or(side.window_ms);
    }
    let steps = format!("{path}.steps");
    match all.get("steps") {
        None => {}
        Some(Value::Array(all)) => {
            let read = all.iter().map(step).collect::<Option<Vec<_>>>();
            match read {
                Some(read) => side.steps = read,
                None => found.wrong(&steps, "there is one that is no step", values::STEPS),
            }
        }
        Some(_) => found.wrong(&steps, "it is no list", values::STEPS),
    }
    match all.get("select").map(Value::as_str) {
        None => {}
        Some(Some("max")) => side.select = Select::Max,
        Some(Some("min")) => side.select = Select::Min,
        Some(Some("disabled")) => side.select = Select::Disabled,
        Some(_) => found.wrong(
            &format!("{path}.select"),
            "it says nothing of which step counts",
            "use `max`, `min` or `disabled`",
        ),
    }
}

/// `4 per 15s`, `100% per 1m`.
fn step(value: &Value) -> Option<ScaleStep> {
    let (size, per) = value.as_str()?.split_once(" per ")?;
    let per_ms = millis(parse_duration(per.trim())?);
    let size = match size.trim().strip_suffix('%') {
        Some(percent) => StepSize::Percent(percent.trim().parse().ok()?),
        None => StepSize::Replicas(size.trim().parse().ok()?),
    };
    let is_known = (INTERVAL_MIN..=TIME_MAX).contains(&per_ms);
    is_known.then_some(ScaleStep { size, per_ms })
}

/// What the cluster does with it; what it cannot do is refused.
pub(super) fn convert(
    scope: &mut Scope<'_>,
    resources: &Resources,
) -> (Option<Autoscale>, Option<Vertical>) {
    let Asked { rules, vertical, problems } = read(scope.key, scope.service);
    for Problem { key, reason, remedy } in &problems {
        scope.refused(key, reason.as_str(), remedy);
    }
    if !problems.is_empty() {
        return (None, None);
    }
    if let Some(vertical) = vertical {
        vertical::check(scope, vertical, rules.as_ref());
    }
    if let Some(rules) = &rules {
        check(scope, rules, resources);
    }
    (rules, vertical)
}

/// What goes against something else is refused.
fn check(scope: &mut Scope<'_>, rules: &Autoscale, resources: &Resources) {
    if let Some(leader) = pods::leader(scope.project, scope.key) {
        let reason =
            format!("it has the network of `{leader}`, and runs as often as that one does");
        scope.refused(KEY, reason, &format!("set it on `{leader}`"));
    }
    let deploy = scope.service.deploy.as_ref();
    let mode = deploy.and_then(|deploy| deploy.mode.as_deref()).unwrap_or("replicated");
    if mode != "replicated" {
        let reason = format!("with `deploy.mode: {mode}` there is nothing to scale");
        scope.refused(KEY, reason, "use `deploy.mode: replicated`, or leave it out");
    }
    let basis = Basis::of(resources);
    for rule in rules.rules.iter().filter(|rule| basis.aim(rule).is_none()) {
        let metric = &rule.metric;
        let reason = format!(
            "`{metric}` is a part of what is reserved, and nothing is: the service has neither a \
             reservation nor a limit of it"
        );
        let remedy = match metric {
            ScaleMetric::Memory => {
                "give it `deploy.resources.reservations.memory`, or say `memory: {per_replica: 200M}`"
            }
            _ => "give it `deploy.resources.reservations.cpus`, or say `cpu: {per_replica: 0.5}`",
        };
        scope.refused(&format!("{KEY}.{metric}"), reason, remedy);
    }
    for rule in &rules.rules {
        if let ScaleMetric::Exec { service, .. } = &rule.metric
            && !scope.project.services.contains_key(service.as_str())
        {
            let reason = format!("there is no service `{service}` to run a command in");
            scope.refused(&format!("{KEY}.metrics"), reason, "name one that runs");
        }
    }
    if rules.min == 0 && !rules.rules.iter().any(|rule| wakes(&rule.metric, scope.key)) {
        scope.refused(
            &format!("{KEY}.min"),
            "nothing would wake the service: what is looked at is not there without a replica",
            "add a metric of another service, or say `min: 1`",
        );
    }
}

/// Whether a number is there while the service itself has no replica.
fn wakes(metric: &ScaleMetric, own: &str) -> bool {
    let is_own = |url: &str| HttpUrl::parse(url).is_ok_and(|url| url.host == own);
    match metric {
        ScaleMetric::Cpu | ScaleMetric::Memory | ScaleMetric::Connections => false,
        ScaleMetric::Prometheus { url, .. } | ScaleMetric::Json { url, .. } => !is_own(url),
        ScaleMetric::Exec { service, .. } => service.as_str() != own,
    }
}

/// The rule of a file that names none.
fn default_rule() -> ScaleRule {
    ScaleRule { metric: ScaleMetric::Cpu, target: ScaleTarget::Utilization(CPU) }
}

/// Most replicas that a service may come to have; none when it is not scaled.
pub(super) fn most(service: &Service) -> Option<u32> {
    service.other.get(KEY)?.get("max").and_then(whole)
}
