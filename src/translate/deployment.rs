//! A service as a Deployment: how many, after whom, how often again, how replaced.

use std::collections::BTreeMap;

use serde_json::Value;

use super::scope::{Scope, millis};
use super::{
    addresses, autoscale, checks, container, gang, hooks, networks, placement, pods, ports,
};
use crate::compose::project::{DependsOnCondition, Deploy, Service, UpdateConfig, parse_duration};
use crate::model::{
    Affinity, Canary, Condition, Dependency, Deployment, EndpointMode, FailureAction, Life,
    Replicas, RestartPolicy, ServiceName, UpdatePolicy,
};

/// The Deployment of the service at hand.
pub(super) fn convert(scope: &mut Scope<'_>) -> Deployment {
    let published = ports::convert(scope);
    let mut container = container::convert(scope);
    container.expose.extend(published.inside_only);
    container.expose.sort();
    container.expose.dedup();
    let networks = networks::attachments(scope);
    container.hooks = hooks::convert(scope, &container, &networks);
    let (autoscale, vertical) = autoscale::convert(scope, &container.resources);
    Deployment {
        replicas: replicas(scope),
        container,
        depends_on: depends_on(scope),
        restart: restart(scope),
        placement: placement::convert(scope),
        update: update(scope),
        ports: published.outside,
        networks,
        endpoint_mode: endpoint_mode(scope),
        name_servers: addresses::name_servers(scope),
        affinity: affinity(scope),
        rollback: rollback(scope),
        attempt: 0,
        checks: checks::convert(scope),
        order: None,
        joins: pods::leader(scope.project, scope.key),
        autoscale,
        vertical,
        life: if is_job(scope.service) { Life::OneShot } else { Life::Endless },
        gang: gang::convert(scope),
    }
}

fn deploy<'a>(scope: &Scope<'a>) -> Option<&'a Deploy> {
    scope.service.deploy.as_ref()
}

/// Runs to completion instead of for ever.
pub(super) fn is_job(service: &Service) -> bool {
    let mode = service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    matches!(mode, Some("replicated-job" | "global-job"))
}

/// Replicas asked for; without effect in a global mode.
pub(super) fn count(service: &Service) -> u32 {
    let deploy = service.deploy.as_ref();
    deploy.and_then(|deploy| deploy.replicas).or(service.scale).unwrap_or(1)
}

/// One replica on each host, however many are asked for.
pub(super) fn is_global(service: &Service) -> bool {
    let mode = service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    matches!(mode, Some("global" | "global-job"))
}

/// How many replicas may share what is mounted.
pub(super) fn spread(service: &Service) -> Spread {
    // One that grows by itself comes to have several.
    match count(service).max(autoscale::most(service).unwrap_or_default()) {
        _ if is_global(service) => Spread::EveryHost,
        0 | 1 => Spread::One,
        count => Spread::Several(count),
    }
}

/// How many replicas a service has, as far as its data is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    One,
    Several(u32),
    EveryHost,
}

fn replicas(scope: &mut Scope<'_>) -> Replicas {
    let deploy = deploy(scope);
    let count = count(scope.service);
    let mode = deploy.and_then(|deploy| deploy.mode.as_deref()).unwrap_or("replicated");
    match mode {
        "global" | "global-job" => Replicas::Global,
        "replicated" | "replicated-job" => Replicas::Count(count),
        other => {
            let reason = format!("`{other}` is not a mode");
            scope.refused("deploy.mode", reason, "use `replicated` or `global`");
            Replicas::Count(count)
        }
    }
}

fn depends_on(scope: &mut Scope<'_>) -> BTreeMap<ServiceName, Dependency> {
    let mut found = BTreeMap::new();
    for (name, wanted) in &scope.service.depends_on {
        let other = scope.project.services.get(name);
        let rests = |other: &Service| count(other) == 0 && autoscale::most(other).is_none();
        if other.is_some_and(|other| rests(other) && !is_global(other)) {
            let reason = "it has no replicas, so nothing is waited for";
            scope.ignored(&format!("depends_on.{name}"), reason, "");
            continue;
        }
        if other.is_none() && scope.project.jobs.contains_key(name) {
            let reason = "another job is not run first, and its end is not waited for";
            let remedy = "run them one after the other, or make one job of both";
            scope.ignored(&format!("depends_on.{name}"), reason, remedy);
            continue;
        }
        if other.is_none() {
            let state = match scope.project.disabled_services.contains_key(name) {
                true => format!("`{name}` is in no active profile"),
                false => format!("there is no service `{name}`"),
            };
            let key = format!("depends_on.{name}");
            if wanted.required {
                scope.refused(&key, state, "add `required: false`, or switch its profile on");
            } else {
                scope.ignored(&key, format!("{state}, and it is not required"), "");
            }
            continue;
        }
        let condition = match wanted.condition {
            DependsOnCondition::Started => Condition::Started,
            DependsOnCondition::Healthy => Condition::Healthy,
            DependsOnCondition::CompletedSuccessfully => Condition::CompletedSuccessfully,
        };
        let (required, restart) = (wanted.required, wanted.restart);
        let dependency = Dependency { condition, required, restart };
        found.insert(ServiceName::new(name), dependency);
    }
    found
}

/// `deploy.restart_policy` wins over `restart`. Without either a service heals, unless it is a
/// job or another service waits for its end: one that is started again never ends.
fn restart(scope: &mut Scope<'_>) -> RestartPolicy {
    if let Some(policy) = deploy(scope).and_then(|deploy| deploy.restart_policy.as_ref()) {
        let max_attempts = policy.max_attempts.filter(|attempts| *attempts > 0);
        return match policy.condition.as_deref() {
            // Beside the words of the Specification, Compose takes those of `restart` here.
            Some("none" | "no") => RestartPolicy::Never,
            Some("on-failure") => RestartPolicy::OnFailure { max_attempts },
            None | Some("any" | "always" | "unless-stopped") if is_job(scope.service) => {
                RestartPolicy::OnFailure { max_attempts }
            }
            None | Some("any" | "always" | "unless-stopped") => {
                if max_attempts.is_some() {
                    scope.ignored(
                        "deploy.restart_policy.max_attempts",
                        "a replica that is always started again is so without end",
                        "use `condition: on-failure`",
                    );
                }
                RestartPolicy::Always
            }
            Some(other) => {
                let reason = format!("`{other}` is not a condition");
                let remedy = "use `none`, `on-failure` or `any`";
                scope.refused("deploy.restart_policy.condition", reason, remedy);
                RestartPolicy::Always
            }
        };
    }
    let Some(text) = scope.service.restart.as_deref() else { return default_restart(scope) };
    match text.split_once(':').map_or((text, None), |(word, limit)| (word, Some(limit))) {
        ("no", None) => RestartPolicy::Never,
        ("always" | "unless-stopped", None) => RestartPolicy::Always,
        ("on-failure", None) => RestartPolicy::OnFailure { max_attempts: None },
        ("on-failure", Some(limit)) if limit.parse::<u32>().is_ok() => {
            let max_attempts = limit.parse().ok().filter(|limit| *limit > 0);
            RestartPolicy::OnFailure { max_attempts }
        }
        ("", None) => default_restart(scope),
        _ => {
            let reason = format!("`{text}` is not a restart policy");
            let remedy = "use `no`, `on-failure`, `on-failure:N`, `always` or `unless-stopped`";
            scope.refused("restart", reason, remedy);
            RestartPolicy::Always
        }
    }
}

fn default_restart(scope: &Scope<'_>) -> RestartPolicy {
    if is_job(scope.service) {
        return RestartPolicy::OnFailure { max_attempts: None };
    }
    let waits = |service: &Service| {
        service.depends_on.get(scope.key).is_some_and(|dependency| {
            dependency.condition == DependsOnCondition::CompletedSuccessfully
        })
    };
    match scope.project.services.values().any(waits) {
        true => RestartPolicy::Never,
        false => RestartPolicy::Always,
    }
}

fn update(scope: &mut Scope<'_>) -> UpdatePolicy {
    let config = deploy(scope).and_then(|deploy| deploy.update_config.as_ref());
    // A job that changed is run anew as it ran before: all replicas at once, and not beside what it
    // was.
    let default = match is_job(scope.service) {
        true => {
            UpdatePolicy { parallelism: 0, start_first: Some(false), ..UpdatePolicy::default() }
        }
        false => UpdatePolicy::default(),
    };
    let policy = config.map_or(default, |config| policy(scope, config, "update_config", default));
    let (canary, drain_ms) = rollout(scope);
    UpdatePolicy { canary, drain_ms, ..policy }
}

/// How an update is undone, where the file says so.
fn rollback(scope: &mut Scope<'_>) -> Option<UpdatePolicy> {
    let config = deploy(scope).and_then(|deploy| deploy.rollback_config.as_ref())?;
    Some(policy(scope, config, "rollback_config", UpdatePolicy::default().back()))
}

fn policy(
    scope: &mut Scope<'_>,
    config: &UpdateConfig,
    key: &str,
    default: UpdatePolicy,
) -> UpdatePolicy {
    let key = |name: &str| format!("deploy.{key}.{name}");
    let start_first = match config.order.as_deref() {
        None => default.start_first,
        Some("start-first") => Some(true),
        Some("stop-first") => Some(false),
        Some(other) => {
            let reason = format!("`{other}` is not an order");
            scope.refused(&key("order"), reason, "use `start-first` or `stop-first`");
            None
        }
    };
    // An update that is undone has nothing further to go back to.
    let (may_roll_back, words) = match default.failure_action {
        FailureAction::Rollback => (true, "use `rollback`, `pause` or `continue`"),
        FailureAction::Pause | FailureAction::Continue => (false, "use `pause` or `continue`"),
    };
    let failure_action = match config.failure_action.as_deref() {
        None => default.failure_action,
        Some("pause") => FailureAction::Pause,
        Some("continue") => FailureAction::Continue,
        Some("rollback") if may_roll_back => FailureAction::Rollback,
        Some(other) => {
            scope.refused(&key("failure_action"), format!("`{other}` is not one of them"), words);
            default.failure_action
        }
    };
    let max_failure_ratio = config.max_failure_ratio.unwrap_or(default.max_failure_ratio);
    if !(0.0..=1.0).contains(&max_failure_ratio) {
        let reason = format!("`{max_failure_ratio}` is not between 0 and 1");
        scope.refused(&key("max_failure_ratio"), reason, "as in `0.3` for three of ten");
    }
    UpdatePolicy {
        parallelism: config.parallelism.unwrap_or(default.parallelism),
        delay_ms: config.delay.map_or(default.delay_ms, millis),
        start_first,
        monitor_ms: config.monitor.map(millis),
        max_failure_ratio: if max_failure_ratio.is_finite() { max_failure_ratio } else { 0.0 },
        failure_action,
        canary: None,
        drain_ms: None,
    }
}

/// Our own key: Compose has no word for it.
const ROLLOUT: &str = "x-rollout";

/// How many replicas try a new version first, and how long an old one goes on.
fn rollout(scope: &mut Scope<'_>) -> (Option<Canary>, Option<u64>) {
    let Some(value) = scope.service.other.get(ROLLOUT) else { return (None, None) };
    let (mut canary, mut drain) = (None, None);
    let all = value.as_object().filter(|all| !all.is_empty());
    let is_known = all.is_some_and(|all| {
        all.iter().all(|(key, value)| match key.as_str() {
            "canary" => {
                canary = canary_of(value);
                canary.is_some()
            }
            "drain" => {
                drain = value.as_str().and_then(parse_duration).map(millis);
                drain.is_some()
            }
            _ => false,
        })
    });
    if !is_known {
        let reason = format!("`{value}` does not say how replicas are replaced");
        let remedy = "as in `x-rollout: {canary: 10%, drain: 20s}`; a canary may be a number, too";
        scope.refused(ROLLOUT, reason, remedy);
        return (None, None);
    }
    (canary, drain)
}

/// `10%`, or a number of replicas.
fn canary_of(value: &Value) -> Option<Canary> {
    let positive = |number: u64| u32::try_from(number).ok().filter(|number| *number > 0);
    if let Some(number) = value.as_u64() {
        return positive(number).map(Canary::Count);
    }
    let text = value.as_str()?.trim();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim().parse().ok().and_then(positive);
            percent.filter(|percent| *percent <= 100).map(Canary::Percent)
        }
        None => text.parse().ok().and_then(positive).map(Canary::Count),
    }
}

/// Our own key: Compose has no word for it.
fn affinity(scope: &mut Scope<'_>) -> Affinity {
    const KEY: &str = "x-affinity";
    match scope.service.other.get(KEY).map(|value| (value, value.as_str())) {
        None | Some((_, Some("none"))) => Affinity::None,
        Some((_, Some("client"))) => Affinity::Client,
        Some((other, _)) => {
            let reason = format!("`{other}` says nothing of where connections go");
            scope.refused(KEY, reason, "use `client` or `none`");
            Affinity::None
        }
    }
}

fn endpoint_mode(scope: &mut Scope<'_>) -> EndpointMode {
    match deploy(scope).and_then(|deploy| deploy.endpoint_mode.as_deref()) {
        None | Some("vip") => EndpointMode::Vip,
        Some("dnsrr") => EndpointMode::Dnsrr,
        Some(other) => {
            let reason = format!("`{other}` is not an endpoint mode");
            scope.refused("deploy.endpoint_mode", reason, "use `vip` or `dnsrr`");
            EndpointMode::Vip
        }
    }
}
