//! `x-autoscale.vertical`: within which bounds replicas are given what is measured that they need, while
//! they run.
//!
//! ```yaml
//! x-autoscale:
//!   vertical:
//!     apply: true
//!     min: {cpus: 0.1, memory: 64M}
//!     max: {cpus: 2, memory: 1G} # what is not named here stays as it is
//!     window: 5m
//! ```

use serde_json::{Map, Value};

use super::values::{Found, number};
use super::{INTERVAL_MIN, KEY, TIME_MAX};
use crate::compose::project::parse_bytes;
use crate::model::{Autoscale, Bounds, ScaleMetric, Vertical};
use crate::translate::deployment::is_job;
use crate::translate::scope::{Scope, millis};

/// Where it is, below the service.
pub(crate) const PATH: &str = "x-autoscale.vertical";
/// An example of it.
const EXAMPLE: &str = "as in `vertical: {apply: true, max: {cpus: 1, memory: 512M}}`";
/// Docker's least, in thousandths of a CPU.
const CPU_MIN: u64 = 10;
/// More CPUs than this are a slip of the finger; thousandths.
const CPU_MAX: u64 = 4_096_000;
/// Docker's least, in bytes.
const MEMORY_MIN: u64 = 6 << 20;
/// More memory than this is a slip of the finger; bytes.
const MEMORY_MAX: u64 = 1 << 50;
/// The least where the file says nothing: what does nothing now still has to begin to do something.
const CPU_LEAST: u64 = 50;
const MEMORY_LEAST: u64 = 32 << 20;

/// One of the two.
struct Kind {
    key: &'static str,
    read: fn(&Value) -> Option<u64>,
    range: (u64, u64),
    least: u64,
    example: &'static str,
}

const CPUS: Kind = Kind {
    key: "cpus",
    read: thousandths,
    range: (CPU_MIN, CPU_MAX),
    least: CPU_LEAST,
    example: "as in `cpus: 0.5`, from 0.01 on",
};
const MEMORY: Kind = Kind {
    key: "memory",
    read: bytes,
    range: (MEMORY_MIN, MEMORY_MAX),
    least: MEMORY_LEAST,
    example: "as in `memory: 512M`, from 6M on",
};

/// What is allowed; none where nothing is.
pub(super) fn read(value: &Value, found: &mut Found) -> Option<Vertical> {
    let Some(all) = value.as_object() else {
        found.wrong("vertical", format!("`{value}` does not say what may be given"), EXAMPLE);
        return None;
    };
    found.only("vertical", all, &["apply", "min", "max", "window"]);
    let applies = match all.get("apply") {
        None | Some(Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        // From a variable.
        Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
        Some(other) => {
            let reason = format!("`{other}` is neither `true` nor `false`");
            found.wrong("vertical.apply", reason, EXAMPLE);
            false
        }
    };
    let window = all.get("window");
    let window = window.and_then(|v| found.time("vertical.window", v, INTERVAL_MIN, TIME_MAX));
    let max = amounts(all, "max", found);
    let min = amounts(all, "min", found);
    if all.get("max").is_none() {
        found.wrong("vertical", "it has no `max`", EXAMPLE);
        return None;
    }
    let mut bounds = |kind: &Kind, max: Option<u64>, min: Option<u64>| match (min, max) {
        (Some(_), None) => {
            let (path, key) = (format!("vertical.min.{}", kind.key), kind.key);
            found.wrong(&path, format!("`max` says nothing of `{key}`"), EXAMPLE);
            None
        }
        (Some(min), Some(max)) if min > max => {
            let (path, key) = (format!("vertical.min.{}", kind.key), kind.key);
            let reason = format!("`{key}` of `min` is above that of `max`");
            found.wrong(&path, reason, "make `max` the larger one");
            None
        }
        (min, Some(max)) => Some(Bounds { min: min.unwrap_or(kind.least.min(max)), max }),
        (None, None) => None,
    };
    let cpu_millis = bounds(&CPUS, max[0], min[0]);
    let memory = bounds(&MEMORY, max[1], min[1]);
    let window_ms = window.unwrap_or_else(|| millis(Vertical::WINDOW));
    let is_any = cpu_millis.is_some() || memory.is_some();
    (applies && is_any).then_some(Vertical { cpu_millis, memory, window_ms })
}

/// CPUs and memory of `min` or `max`.
fn amounts(all: &Map<String, Value>, side: &str, found: &mut Found) -> [Option<u64>; 2] {
    let path = format!("vertical.{side}");
    let Some(value) = all.get(side) else { return [None, None] };
    let Some(amounts) = value.as_object().filter(|amounts| !amounts.is_empty()) else {
        found.wrong(&path, "it names neither `cpus` nor `memory`", EXAMPLE);
        return [None, None];
    };
    found.only(&path, amounts, &[CPUS.key, MEMORY.key]);
    [CPUS, MEMORY].map(|kind| {
        let value = amounts.get(kind.key)?;
        let (least, most) = kind.range;
        let amount = (kind.read)(value).filter(|amount| (least..=most).contains(amount));
        if amount.is_none() {
            let reason = format!("`{value}` cannot be given to a container");
            found.wrong(&format!("{path}.{}", kind.key), reason, kind.example);
        }
        amount
    })
}

fn thousandths(value: &Value) -> Option<u64> {
    number(value).filter(|cpus| *cpus > 0.0).map(|cpus| (cpus * 1000.0).round() as u64)
}

fn bytes(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(parse_bytes))
}

/// What the cluster does with it; what goes against something else is refused.
pub(super) fn check(scope: &mut Scope<'_>, vertical: Vertical, rules: Option<&Autoscale>) {
    let has_rule = |metric: ScaleMetric| {
        rules.is_some_and(|rules| rules.rules.iter().any(|rule| rule.metric == metric))
    };
    let both = [
        (vertical.cpu_millis.is_some(), ScaleMetric::Cpu, "cpus"),
        (vertical.memory.is_some(), ScaleMetric::Memory, "memory"),
    ];
    for (is_sized, metric, key) in both {
        if is_sized && has_rule(metric.clone()) {
            let reason = format!(
                "the number of replicas follows `{metric}` as well: more replicas and larger ones \
                 are two answers to one question"
            );
            let remedy = format!(
                "leave `{key}` out of `max`, or let the number follow `connections` or `metrics`"
            );
            scope.refused(&format!("{PATH}.max.{key}"), reason, &remedy);
        }
    }
    let service = scope.service;
    if vertical.cpu_millis.is_some()
        && (service.cpu_quota.is_some() || service.cpu_period.is_some())
    {
        let reason =
            "`cpu_quota` and `cpu_period` set the same limit, and Docker takes one of both";
        scope.refused(&format!("{PATH}.max.cpus"), reason, "say `cpus` in place of them");
    }
    if is_job(service) {
        let reason = "it runs to its end: nothing is learned of it that would help";
        scope.refused(KEY, reason, "take `vertical` out");
    }
}
