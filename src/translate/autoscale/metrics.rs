//! The numbers that `x-autoscale` looks at, and what they should be.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::values::{Found, number, percent};
use super::{RULES_MAX, default_rule};
use crate::compose::project::parse_bytes;
use crate::model::{Aggregate, HttpUrl, ScaleMetric, ScaleRule, ScaleTarget, ServiceName};

/// What a rule may look at, each with an example.
const KINDS: [(&str, &str); 6] = [
    ("cpu", "as in `cpu: 70`, per cent of what is reserved, or `cpu: {per_replica: 0.5}`"),
    (
        "memory",
        "as in `memory: 80`, per cent of what is reserved, or `memory: {per_replica: 200M}`",
    ),
    ("connections", "as in `connections: 50`, new ones a second for each replica"),
    (
        "prometheus",
        "as in `{prometheus: \"http://queue:9090/metrics\", name: jobs_waiting, per_replica: 10}`",
    ),
    ("json", "as in `{json: \"http://api:8080/stats\", path: queue.length, per_replica: 10}`"),
    ("exec", "as in `{exec: [redis-cli, llen, jobs], service: redis, per_replica: 10}`"),
];

/// All rules: the short ones first.
pub(super) fn rules(service: &str, all: &Map<String, Value>, found: &mut Found) -> Vec<ScaleRule> {
    let mut rules = Vec::new();
    for (kind, remedy) in KINDS.iter().take(3) {
        let Some(value) = all.get(*kind) else { continue };
        match of_replicas(kind, value) {
            Some(rule) => rules.push(rule),
            None => found.wrong(kind, format!("`{value}` is nothing to aim at"), remedy),
        }
    }
    match all.get("metrics") {
        None => {}
        Some(Value::Array(metrics)) => {
            for (index, metric) in metrics.iter().enumerate() {
                rules.extend(rule(service, metric, &format!("metrics[{index}]"), found));
            }
            if metrics.is_empty() {
                found.wrong("metrics", "it names nothing to look at", KINDS[3].1);
            }
        }
        Some(_) => found.wrong("metrics", "it is no list", KINDS[3].1),
    }
    if rules.len() > RULES_MAX {
        let reason = format!("{} metrics are more than {RULES_MAX}", rules.len());
        found.wrong("metrics", reason, "look at fewer of them");
    }
    if rules.is_empty() && found.problems.is_empty() {
        rules.push(default_rule());
    }
    rules
}

/// `70`, `{utilization: 70}` or `{per_replica: 0.5}` of what is measured anyway.
fn of_replicas(kind: &str, value: &Value) -> Option<ScaleRule> {
    let metric = match kind {
        "cpu" => ScaleMetric::Cpu,
        "memory" => ScaleMetric::Memory,
        _ => ScaleMetric::Connections,
    };
    let is_counted = metric == ScaleMetric::Connections;
    let amount = |value: &Value| {
        let bytes = value.as_str().filter(|_| metric == ScaleMetric::Memory).and_then(parse_bytes);
        let amount = bytes.map(|bytes| bytes as f64).or_else(|| number(value));
        amount.filter(|amount| *amount > 0.0).map(ScaleTarget::PerReplica)
    };
    let share = |value: &Value| {
        let percent = percent(value).filter(|percent| *percent > 0.0 && !is_counted);
        percent.map(ScaleTarget::Utilization)
    };
    let target = match value {
        Value::Object(all) => match all.iter().next() {
            Some((key, value)) if all.len() == 1 && key == "utilization" => share(value),
            Some((key, value)) if all.len() == 1 && key == "per_replica" => amount(value),
            Some(_) | None => None,
        },
        value if is_counted => amount(value),
        value => share(value),
    };
    Some(ScaleRule { metric, target: target? })
}

/// One of `metrics`.
fn rule(service: &str, value: &Value, path: &str, found: &mut Found) -> Option<ScaleRule> {
    let names = || KINDS.map(|(kind, _)| kind).join(", ");
    let Some(all) = value.as_object() else {
        found.wrong(path, format!("`{value}` is no metric"), &format!("known are {}", names()));
        return None;
    };
    let kinds = KINDS.iter().filter(|(kind, _)| all.contains_key(*kind));
    let kinds: Vec<_> = kinds.collect();
    let [(kind, remedy)] = kinds.as_slice() else {
        let reason = match kinds.len() {
            0 => "it names no metric that is known",
            _ => "it names several metrics",
        };
        found.wrong(path, reason, &format!("each names one of {}", names()));
        return None;
    };
    if matches!(*kind, "cpu" | "memory" | "connections") {
        found.only(path, all, &[kind]);
        let rule = of_replicas(kind, &all[*kind]);
        if rule.is_none() {
            found.wrong(path, format!("`{kind}` has nothing to aim at"), remedy);
        }
        return rule;
    }
    let metric = match *kind {
        "prometheus" => prometheus(all, path, found),
        "json" => json(all, path, found),
        _ => exec(service, all, path, found),
    };
    let Some(metric) = metric else {
        let is_told = found.problems.iter().any(|one| one.key.ends_with(path));
        if !is_told {
            found.wrong(path, format!("`{kind}` lacks something"), remedy);
        }
        return None;
    };
    let aim = all.get("per_replica").and_then(number).filter(|aim| *aim > 0.0);
    if aim.is_none() {
        let reason = format!("`{metric}` has no `per_replica` above 0 to aim at");
        found.wrong(path, reason, remedy);
    }
    Some(ScaleRule { metric, target: ScaleTarget::PerReplica(aim?) })
}

fn url(all: &Map<String, Value>, kind: &str, path: &str, found: &mut Found) -> Option<String> {
    let text = all.get(kind)?.as_str().unwrap_or_default();
    match HttpUrl::parse(text) {
        Ok(_) => Some(text.to_owned()),
        Err(why) => {
            let remedy = "agents fetch over plain HTTP, inside the cluster: `http://queue:9090/`";
            found.wrong(path, format!("`{text}` cannot be fetched: {why}"), remedy);
            None
        }
    }
}

fn text(all: &Map<String, Value>, key: &str) -> Option<String> {
    let text = all.get(key)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn prometheus(all: &Map<String, Value>, path: &str, found: &mut Found) -> Option<ScaleMetric> {
    found.only(path, all, &["prometheus", "name", "labels", "aggregate", "per_replica"]);
    let url = url(all, "prometheus", path, found)?;
    let mut labels = BTreeMap::new();
    if let Some(value) = all.get("labels") {
        for (label, value) in value.as_object()? {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(is) => is.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            labels.insert(label.clone(), text);
        }
    }
    let aggregate = match all.get("aggregate").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("sum") => Aggregate::Sum,
        Some("avg") => Aggregate::Avg,
        Some("max") => Aggregate::Max,
        Some("min") => Aggregate::Min,
        Some(other) => {
            let reason = format!("`{other}` makes no number of several");
            found.wrong(path, reason, "use `sum`, `avg`, `max` or `min`");
            return None;
        }
    };
    Some(ScaleMetric::Prometheus { url, name: text(all, "name")?, labels, aggregate })
}

fn json(all: &Map<String, Value>, path: &str, found: &mut Found) -> Option<ScaleMetric> {
    found.only(path, all, &["json", "path", "per_replica"]);
    let url = url(all, "json", path, found)?;
    Some(ScaleMetric::Json { url, path: text(all, "path")? })
}

/// It runs in a replica of the service itself unless another one is named.
fn exec(
    service: &str,
    all: &Map<String, Value>,
    path: &str,
    found: &mut Found,
) -> Option<ScaleMetric> {
    found.only(path, all, &["exec", "service", "per_replica"]);
    let command = match all.get("exec")? {
        Value::String(line) => shell_words::split(line).ok()?,
        Value::Array(words) => {
            words.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    let runs = command.first().is_some_and(|program| !program.is_empty());
    let own = || Some(service.to_owned());
    let service = if all.contains_key("service") { text(all, "service") } else { own() };
    let service = ServiceName::new(service?);
    runs.then_some(ScaleMetric::Exec { service, command })
}
