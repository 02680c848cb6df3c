//! `x-autoscale`: what is read of it, and what is refused with which words.

use serde_json::{Value, json};

use super::super::*;
use super::{context, project};
use crate::model::{
    Aggregate, Autoscale, Bounds, Replicas, ScaleBehavior, ScaleMetric, ScaleRule, ScaleStep,
    ScaleTarget, Select, StepSize, Vertical,
};

/// A service `web` that reserves half a CPU and 100 MiB, beside a service `redis`.
fn with(rules: Value, more: Value) -> Translation {
    let mut web = json!({
        "image": "nginx:1",
        "x-autoscale": rules,
        "deploy": {"resources": {"reservations": {"cpus": "0.5", "memory": "104857600"}}},
    });
    for (key, value) in more.as_object().expect("keys of a service") {
        web[key] = value.clone();
    }
    let services = json!({"web": web, "redis": {"image": "redis:7"}});
    translate(&project(json!({"name": "app", "services": services})), &context())
}

#[track_caller]
fn read(rules: Value) -> Autoscale {
    let translation = with(rules.clone(), json!({}));
    assert_eq!(translation.refusals, [], "{rules}");
    let web = &translation.revision.deployments[&ServiceName::new("web")];
    web.autoscale.clone().expect("it has rules")
}

fn cpu(percent: f64) -> ScaleRule {
    ScaleRule { metric: ScaleMetric::Cpu, target: ScaleTarget::Utilization(percent) }
}

/// The one refusal: where, why, what to do.
#[track_caller]
fn check_refused(rules: Value, more: Value, path: &str, reason: &str, remedy: &str) {
    let translation = with(rules.clone(), more);
    let [refusal] = translation.refusals.as_slice() else {
        panic!("{rules}: {:#?}", translation.refusals)
    };
    assert_eq!(refusal.path, format!("services.web.{path}"), "{rules}");
    assert!(refusal.reason.contains(reason), "{rules}: {}", refusal.reason);
    let said = refusal.remedy.as_deref().unwrap_or_default();
    assert!(said.contains(remedy) && (remedy.is_empty() == said.is_empty()), "{rules}: {said}");
}

#[test]
fn the_short_form_is_what_an_export_reads_too() {
    let rules = read(json!({"min": 2, "max": 10, "cpu": 70, "memory": "80%"}));
    assert_eq!((rules.min, rules.max, rules.asked), (2, 10, None));
    let memory = ScaleRule { metric: ScaleMetric::Memory, target: ScaleTarget::Utilization(80.0) };
    assert_eq!(rules.rules, [cpu(70.0), memory]);
    assert_eq!((rules.up, rules.down), (ScaleBehavior::up(), ScaleBehavior::down()));
    assert_eq!((rules.interval_ms, rules.tolerance), (15_000, 0.1));
    // Without a word of what to look at it is the CPU; variables are texts.
    let rules = read(json!({"min": "2", "max": " 3 "}));
    assert_eq!((rules.min, rules.max, rules.rules), (2, 3, vec![cpu(80.0)]));
}

#[test]
fn it_begins_with_as_many_as_the_file_says_and_min_is_no_more_than_that() {
    let replicas = |more: Value| {
        let translation = with(json!({"max": 5}), more);
        let web = &translation.revision.deployments[&ServiceName::new("web")];
        (web.replicas, web.autoscale.as_ref().map(|rules| rules.min))
    };
    assert_eq!(replicas(json!({})), (Replicas::Count(1), Some(1)));
    assert_eq!(replicas(json!({"scale": 3})), (Replicas::Count(3), Some(3)));
    assert_eq!(replicas(json!({"scale": 9})), (Replicas::Count(9), Some(5)));
}

#[test]
fn numbers_of_other_services_are_read_with_all_they_take() {
    let rules = read(json!({"min": 0, "max": 10, "connections": 50, "metrics": [
        {"prometheus": "http://redis:9121/metrics", "name": "jobs", "labels": {"queue": "mail", "n": 1},
            "aggregate": "max", "per_replica": 10},
        {"json": "http://10.0.0.1/stats", "path": "queue.length", "per_replica": "2.5"},
        {"exec": ["redis-cli", "llen", "jobs"], "service": "redis", "per_replica": 4},
        {"exec": "cat /run/load", "per_replica": 1},
        {"cpu": {"per_replica": 0.5}},
        {"memory": {"per_replica": "200M"}},
    ]}));
    let labels = [("n", "1"), ("queue", "mail")];
    let expected = [
        (ScaleMetric::Connections, 50.0),
        (
            ScaleMetric::Prometheus {
                url: "http://redis:9121/metrics".to_owned(),
                name: "jobs".to_owned(),
                labels: labels.map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
                aggregate: Aggregate::Max,
            },
            10.0,
        ),
        (
            ScaleMetric::Json {
                url: "http://10.0.0.1/stats".to_owned(),
                path: "queue.length".to_owned(),
            },
            2.5,
        ),
        (
            ScaleMetric::Exec {
                service: "redis".into(),
                command: ["redis-cli", "llen", "jobs"].map(str::to_owned).to_vec(),
            },
            4.0,
        ),
        (
            ScaleMetric::Exec {
                service: "web".into(),
                command: ["cat", "/run/load"].map(str::to_owned).to_vec(),
            },
            1.0,
        ),
        (ScaleMetric::Cpu, 0.5),
        (ScaleMetric::Memory, f64::from(200 << 20)),
    ];
    let expected =
        expected.map(|(metric, aim)| ScaleRule { metric, target: ScaleTarget::PerReplica(aim) });
    assert_eq!(rules.rules, expected);
}

#[test]
fn how_fast_it_grows_and_shrinks_is_read() {
    let rules = read(json!({"max": 10, "interval": "2s", "tolerance": "5%", "behavior": {
        "up": {"window": "30s", "steps": ["4 per 15s", "100% per 1m"], "select": "min"},
        "down": {"window": 0, "steps": ["1 per 30s"], "select": "disabled"},
    }}));
    let step = |size, per_ms| ScaleStep { size, per_ms };
    let up = ScaleBehavior {
        window_ms: 30_000,
        steps: vec![step(StepSize::Replicas(4), 15_000), step(StepSize::Percent(100), 60_000)],
        select: Select::Min,
    };
    let steps = vec![step(StepSize::Replicas(1), 30_000)];
    let down = ScaleBehavior { window_ms: 0, steps, select: Select::Disabled };
    assert_eq!((rules.up, rules.down), (up, down));
    assert_eq!((rules.interval_ms, rules.tolerance), (2_000, 0.05));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_to_do() {
    let say = "say `x-autoscale: {min: 1, max: 5, cpu: 80}`";
    let behavior = |value: Value| json!({"max": 5, "behavior": value});
    let metrics = |value: Value| json!({"max": 5, "metrics": [value]});
    let key = "x-autoscale";
    let cases = [
        (json!(5), "", "does not say how it is scaled", say),
        (json!({"min": 1}), "", "it has no `max`", say),
        (json!({"min": 7, "max": 5}), ".min", "`min` is 7, which is above `max`, 5", "larger one"),
        (json!({"max": 0}), ".max", "no number of replicas above 0", say),
        (json!({"max": -1}), ".max", "no number of replicas above 0", say),
        (json!({"max": 20_000}), ".max", "more than 10000 replicas", ""),
        (json!({"max": 5, "min": "few"}), ".min", "is no number of replicas", say),
        (json!({"max": 5, "cpus": 70}), ".cpus", "`cpus` is not known here", "known are min, max"),
        (json!({"max": 5, "cpu": 0}), ".cpu", "nothing to aim at", "as in `cpu: 70`"),
        (json!({"max": 5, "cpu": "NaN"}), ".cpu", "nothing to aim at", "as in `cpu: 70`"),
        (json!({"max": 5, "cpu": -5}), ".cpu", "nothing to aim at", "as in `cpu: 70`"),
        (json!({"max": 5, "connections": "70%"}), ".connections", "nothing to aim at", "new ones"),
        (json!({"max": 5, "tolerance": 100}), ".tolerance", "no part of 100 %", "`10%`"),
        (json!({"max": 5, "interval": "0s"}), ".interval", "between 1 and 3600 seconds", "15s"),
        (json!({"max": 5, "interval": 15}), ".interval", "between 1 and 3600 seconds", "15s"),
        (behavior(json!("fast")), ".behavior", "nothing of `up` or `down`", "window: 10m"),
        (behavior(json!({"sideways": {}})), ".behavior.sideways", "not known", "up, down"),
        (behavior(json!({"up": {"window": "2h"}})), ".behavior.up.window", "3600", "5m"),
        (behavior(json!({"up": {"steps": ["4"]}})), ".behavior.up.steps", "no step", "4 per 15s"),
        (behavior(json!({"up": {"steps": ["4 per 2h"]}})), ".behavior.up.steps", "no step", "`1h`"),
        (behavior(json!({"up": {"select": "most"}})), ".behavior.up.select", "which", "`max`"),
        (json!({"max": 5, "metrics": []}), ".metrics", "nothing to look at", "prometheus"),
        (json!({"max": 5, "metrics": 3}), ".metrics", "it is no list", "prometheus"),
        (metrics(json!("cpu")), ".metrics[0]", "is no metric", "known are cpu, memory"),
        (metrics(json!({"disk": 5})), ".metrics[0]", "no metric that is known", "one of cpu"),
        (metrics(json!({"cpu": 5, "memory": 6})), ".metrics[0]", "several metrics", "one of cpu"),
        (
            metrics(json!({"json": "http://a/", "path": "b"})),
            ".metrics[0]",
            "`per_replica`",
            "as in",
        ),
        (metrics(json!({"json": "http://a/", "per_replica": 1})), ".metrics[0]", "lacks", "as in"),
        (
            metrics(json!({"json": "https://a/", "path": "b", "per_replica": 1})),
            ".metrics[0]",
            "`https://a/` cannot be fetched: it does not begin with `http://`",
            "plain HTTP",
        ),
        (
            metrics(
                json!({"prometheus": "http://a", "name": "b", "aggregate": "p99", "per_replica": 1}),
            ),
            ".metrics[0]",
            "`p99` makes no number of several",
            "`sum`",
        ),
        (metrics(json!({"exec": [], "per_replica": 1})), ".metrics[0]", "lacks", "redis-cli"),
        (
            metrics(json!({"exec": ["a"], "service": "cache", "per_replica": 1})),
            ".metrics",
            "there is no service `cache`",
            "name one that runs",
        ),
        (json!({"max": 5, "min": 0, "cpu": 50}), ".min", "nothing would wake", "`min: 1`"),
        (
            json!({"max": 5, "min": 0, "metrics": [
                {"json": "http://web/load", "path": "a", "per_replica": 1}]}),
            ".min",
            "nothing would wake",
            "of another service",
        ),
    ];
    for (rules, path, reason, remedy) in cases {
        check_refused(rules, json!({}), &format!("{key}{path}"), reason, remedy);
    }
    let many: Vec<Value> = (0..17)
        .map(|n| json!({"json": "http://a/", "path": n.to_string(), "per_replica": 1}))
        .collect();
    let many = json!({"max": 5, "metrics": many});
    check_refused(many, json!({}), "x-autoscale.metrics", "17 metrics are more than 16", "fewer");
}

#[test]
fn a_part_of_what_is_reserved_needs_a_reservation_or_a_limit() {
    let none = json!({"deploy": {}});
    let reason = "the service has neither a reservation nor a limit of it";
    let cpu = json!({"max": 5});
    check_refused(cpu, none.clone(), "x-autoscale.cpu", reason, "reservations.cpus");
    let memory = json!({"max": 5, "memory": 80});
    check_refused(memory, none.clone(), "x-autoscale.memory", reason, "reservations.memory");
    for more in [json!({"deploy": {}, "cpus": "2"}), json!({})] {
        assert_eq!(with(json!({"max": 5}), more).refusals, []);
    }
    let each = json!({"max": 5, "cpu": {"per_replica": 0.5}});
    assert_eq!(with(each, none).refusals, []);
}

#[test]
fn what_runs_once_a_host_or_to_its_end_is_not_scaled() {
    for mode in ["global", "replicated-job"] {
        let more = json!({"deploy": {"mode": mode}, "cpus": "1"});
        let remedy = "use `deploy.mode: replicated`";
        check_refused(json!({"max": 5}), more, "x-autoscale", "nothing to scale", remedy);
    }
}

#[test]
fn a_revision_without_rules_is_written_as_ever() {
    let plain = with(json!(null), json!({}));
    let translation = translate(
        &project(json!({"name": "app", "services": {"web": {"image": "nginx:1"}}})),
        &context(),
    );
    let text = serde_json::to_string(&translation.revision).unwrap();
    assert!(!text.contains("autoscale"), "{text}");
    assert_eq!(plain.refusals.len(), 1, "a key without a value is a slip");
}

/// The bounds of a file that allows `vertical`.
#[track_caller]
fn vertical(rules: Value) -> Option<Vertical> {
    let translation = with(rules.clone(), json!({}));
    assert_eq!(translation.refusals, [], "{rules}");
    translation.revision.deployments[&ServiceName::new("web")].vertical
}

#[test]
fn what_replicas_may_be_given_is_read_and_is_no_rule() {
    let file = json!({"vertical": {"apply": true, "max": {"cpus": 2, "memory": "1G"}}});
    let translation = with(file.clone(), json!({}));
    let web = &translation.revision.deployments[&ServiceName::new("web")];
    assert_eq!((web.autoscale.as_ref(), web.replicas), (None, Replicas::Count(1)));
    let cpu_millis = Some(Bounds { min: 50, max: 2_000 });
    let memory = Some(Bounds { min: 32 << 20, max: 1 << 30 });
    assert_eq!(vertical(file), Some(Vertical { cpu_millis, memory, window_ms: 300_000 }));
    let file = json!({"vertical": {"apply": "true", "window": "30s",
        "min": {"memory": 10485760}, "max": {"memory": "20M"}}});
    let memory = Some(Bounds { min: 10 << 20, max: 20 << 20 });
    assert_eq!(vertical(file), Some(Vertical { cpu_millis: None, memory, window_ms: 30_000 }));
    let small = json!({"vertical": {"apply": true, "max": {"cpus": "0.01"}}});
    assert_eq!(vertical(small).unwrap().cpu_millis, Some(Bounds { min: 10, max: 10 }));
    for apply in [json!(false), json!("false")] {
        assert_eq!(vertical(json!({"vertical": {"apply": apply, "max": {"cpus": 1}}})), None);
    }
    // Beside rules for something else.
    let both =
        json!({"max": 3, "connections": 50, "vertical": {"apply": true, "max": {"cpus": 1}}});
    assert_eq!(read(both.clone()).max, 3);
    assert!(vertical(both).is_some());
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    let check = |vertical: Value, path: &str, reason: &str, remedy: &str| {
        let path = format!("x-autoscale.vertical{path}");
        check_refused(json!({"vertical": vertical}), json!({}), &path, reason, remedy);
    };
    check(json!(true), "", "does not say what may be given", "apply: true");
    check(json!({"apply": true}), "", "it has no `max`", "max:");
    check(json!({"apply": 1, "max": {"cpus": 1}}), ".apply", "neither `true`", "apply: true");
    check(json!({"apply": true, "max": {}}), ".max", "neither `cpus` nor `memory`", "max:");
    check(json!({"apply": true, "most": 1, "max": {"cpus": 1}}), ".most", "not known", "window");
    let max = |max: Value| json!({"apply": true, "max": max});
    for cpus in [json!(0), json!(-1), json!("NaN"), json!("inf"), json!(1e18), json!("a lot")] {
        check(max(json!({"cpus": cpus})), ".max.cpus", "cannot be given", "cpus: 0.5");
    }
    for memory in [json!("5M"), json!(-1), json!("NaN"), json!("9999999G"), json!(null)] {
        check(max(json!({"memory": memory})), ".max.memory", "cannot be given", "memory: 512M");
    }
    let both = |min: Value, max: Value| json!({"apply": true, "min": min, "max": max});
    check(
        both(json!({"cpus": 2}), json!({"cpus": 1})),
        ".min.cpus",
        "`cpus` of `min` is above that of `max`",
        "make `max` the larger one",
    );
    check(
        both(json!({"memory": "64M"}), json!({"cpus": 1})),
        ".min.memory",
        "`max` says nothing of `memory`",
        "max:",
    );
    let window = json!({"apply": true, "window": "2h", "max": {"cpus": 1}});
    check(window, ".window", "no time between 1 and 3600", "15s");
}

#[test]
fn what_answers_the_same_question_twice_is_refused() {
    let max = json!({"cpus": 1, "memory": "1G"});
    let vertical = json!({"apply": true, "max": max});
    let path = "x-autoscale.vertical.max.cpus";
    // The rule that holds where the file names none.
    let rules = json!({"max": 3, "vertical": vertical});
    check_refused(rules, json!({}), path, "follows `cpu` as well", "leave `cpus` out");
    let rules = json!({"max": 3, "memory": 80, "vertical": vertical});
    let path = "x-autoscale.vertical.max.memory";
    check_refused(rules, json!({}), path, "follows `memory` as well", "leave `memory` out");
    let rules = json!({"vertical": vertical});
    let path = "x-autoscale.vertical.max.cpus";
    check_refused(rules.clone(), json!({"cpu_quota": 50000}), path, "takes one of both", "`cpus`");
    let job = json!({"deploy": {"mode": "replicated-job"}});
    check_refused(rules, job, "x-autoscale", "runs to its end", "take `vertical` out");
}
