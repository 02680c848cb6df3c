//! From the units of a pod to the workload that makes it, and to what watches over that.

use super::draft::{self, Draft};
use super::object::{
    Amount, Body, DaemonSetSpec, DeploymentSpec, DisruptionSpec, JobSpec, LabelSelector, Map,
    PodSpec, PodTemplate, RollingUpdate, StatefulSetSpec, Strategy,
};
use super::pod::Pod;
use super::unit::{Task, Unit, Units, is_not_restarted};
use super::{
    autoscale, clock, container, omit, placement, security, settings, storage, vertical, wait,
};
use crate::compose::project::{Service, UpdateConfig};

/// How long an update may take beyond the time a pod must be ready; the API's own value.
const DEADLINE_SECONDS: u64 = 600;

/// How many replicas a service has.
pub(super) fn replicas(service: &Service) -> u32 {
    let deploy = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
    // The API's number has 31 bits.
    deploy.or(service.scale).unwrap_or(1).min(i32::MAX as u32)
}

/// Adds the workload of a pod, and what goes with it.
pub(super) fn add(draft: &mut Draft<'_>, units: &Units, own: &[&Unit]) {
    let Some(leader) = own.first().copied() else { return };
    let templates = draft.templates.get(&leader.key).cloned().unwrap_or_default();
    let mut pod = Pod::new(&templates);
    let selector = draft::selector(&draft.instance(), &leader.name);
    let mut spec = PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        ..PodSpec::default()
    };
    spec.init_containers = wait::convert(draft, units, own, &mut pod);
    for unit in own {
        spec.containers.push(container::convert(draft, unit, &mut pod));
    }
    settings::set(draft, own, &mut spec, &mut pod);
    placement::set(draft, leader, &selector, &mut spec);
    pod.metadata.labels.extend(draft::labels(&draft.instance(), &leader.name));
    for unit in own {
        container::labels(unit, &mut pod);
    }
    let mut metadata = pod.metadata.clone();
    let mut judged = Pod::default();
    let owned = std::mem::take(&mut pod.owned);
    spec.volumes = pod.finish(draft);
    omit::strip(draft, leader, &mut spec);
    spec.security_context = Some(security::pod(draft, own, &spec, &owned));
    security::judge(&spec, &mut judged);
    draft.add_level(leader, &judged);
    metadata.namespace = None;
    let template = PodTemplate { metadata, spec };
    let kind = Kind::of(leader, &templates);
    let bodies = match kind {
        Kind::CronJob => clock::convert(draft, leader, &job(&leader.service, template)),
        _ => {
            let body = body(draft, leader, (kind, &templates), (selector.clone(), template));
            vec![(leader.name.clone(), body)]
        }
    };
    for (name, body) in bodies {
        draft.add(leader, &name, body);
        finish(draft, units, own);
    }
    for unit in own {
        note_restart(draft, unit, kind);
    }
    if matches!(kind, Kind::Deployment | Kind::StatefulSet) {
        disruption(draft, leader, selector);
        autoscale::add(draft, leader, kind);
    }
    if leader.task == Task::Keep {
        vertical::add(draft, leader);
    }
}

/// What the workload that was added last has beside its pods.
fn finish(draft: &mut Draft<'_>, units: &Units, own: &[&Unit]) {
    let (Some(leader), Some(entry)) = (own.first(), draft.entries.last_mut()) else { return };
    if let Some(deploy) = &leader.service.deploy {
        let valid = deploy.labels.iter().filter(|(key, _)| super::names::is_label_key(key));
        let pairs = valid.map(|(key, value)| (key.clone(), value.clone()));
        entry.object.metadata.annotations.extend(pairs);
    }
    if units.is_beside(&leader.key) {
        let waiting = units.waiting_for_end(&leader.key);
        entry.unless = waiting.iter().map(|unit| unit.key.clone()).collect();
    }
    own.iter().for_each(|unit| draft.own(unit));
}

/// What makes the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
}

impl Kind {
    fn of(unit: &Unit, templates: &[String]) -> Self {
        let mode = unit.service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
        match &unit.task {
            Task::Once => Self::Job,
            Task::Job(_) => Self::CronJob,
            Task::Keep if mode == Some("global") => Self::DaemonSet,
            Task::Keep if !templates.is_empty() => Self::StatefulSet,
            Task::Keep => Self::Deployment,
        }
    }
}

fn body(
    draft: &mut Draft<'_>,
    unit: &Unit,
    (kind, templates): (Kind, &[String]),
    (labels, template): (Map, PodTemplate),
) -> Body {
    let selector = LabelSelector { match_labels: labels };
    let update = Update::of(&unit.service);
    let replicas = Some(replicas(&unit.service)).filter(|_| !autoscale::is_wanted(unit));
    match kind {
        Kind::Deployment => {
            let shared = has_single_writer(draft, &template.spec);
            let strategy = update.strategy(shared);
            if shared && strategy.as_ref().is_some_and(|it| it.rolling_update.is_none()) {
                update.note(draft, unit);
            }
            let min_ready_seconds = update.min_ready_seconds();
            let progress_deadline_seconds =
                min_ready_seconds.map(|seconds| seconds + DEADLINE_SECONDS);
            let spec = DeploymentSpec {
                replicas,
                min_ready_seconds,
                progress_deadline_seconds,
                strategy,
                selector,
                template,
            };
            Body::Deployment { spec: Box::new(spec) }
        }
        Kind::StatefulSet => {
            update.note(draft, unit);
            let spec = StatefulSetSpec {
                service_name: unit.name.clone(),
                replicas,
                min_ready_seconds: update.min_ready_seconds(),
                update_strategy: None,
                selector,
                template,
                volume_claim_templates: storage::claim_templates(draft, templates, &unit.name),
            };
            Body::StatefulSet { spec: Box::new(spec) }
        }
        Kind::DaemonSet => {
            let min_ready_seconds = update.min_ready_seconds();
            let update_strategy = update.of_daemons();
            let spec = DaemonSetSpec { min_ready_seconds, update_strategy, selector, template };
            Body::DaemonSet { spec: Box::new(spec) }
        }
        // Several CronJobs may come of one unit: `add` makes them.
        Kind::Job | Kind::CronJob => Body::Job { spec: Box::new(job(&unit.service, template)) },
    }
}

/// What runs to its end. It is tried as often as the file says; Compose tries once.
fn job(service: &Service, mut template: PodTemplate) -> JobSpec {
    let deploy = service.deploy.as_ref();
    let policy = deploy.and_then(|deploy| deploy.restart_policy.as_ref());
    let text = service.restart.as_deref().unwrap_or_default();
    let attempts = match policy {
        Some(policy) => match policy.condition.as_deref() {
            Some("none") => Some(0),
            _ => policy.max_attempts,
        },
        None if text.starts_with("on-failure") => {
            text.split_once(':').and_then(|(_, count)| count.parse().ok())
        }
        None if text == "no" || text.is_empty() => Some(0),
        None => None,
    };
    let restart = if attempts == Some(0) { "Never" } else { "OnFailure" };
    template.spec.restart_policy = Some(restart.to_owned());
    // With none it waits until somebody raises the number, as a service with `replicas: 0` does.
    let (completions, parallelism) = match replicas(service) {
        0 => (None, Some(0)),
        1 => (None, None),
        count => (Some(count), Some(count)),
    };
    JobSpec {
        backoff_limit: attempts.map(|count| count.min(i32::MAX as u32)),
        completions,
        parallelism,
        template,
    }
}

/// Whether a claim of the pod may be written by one node at a time only.
fn has_single_writer(draft: &Draft<'_>, spec: &PodSpec) -> bool {
    let claims = spec.volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let mut names = claims.map(|claim| claim.claim_name.as_str());
    names.any(|name| draft.is_single_writer(name))
        || spec.containers.iter().flat_map(|it| &it.ports).any(|port| port.host_port.is_some())
}

/// How pods are replaced.
struct Update<'a>(Option<&'a UpdateConfig>);

impl<'a> Update<'a> {
    fn of(service: &'a Service) -> Self {
        Self(service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref()))
    }

    /// `is_alone`: two pods at a time could not both have their volume, or port.
    fn strategy(&self, is_alone: bool) -> Option<Strategy> {
        let starts_first = self.0.and_then(|it| it.order.as_deref()) == Some("start-first");
        if is_alone && !starts_first {
            return Some(Strategy { kind: "Recreate".to_owned(), rolling_update: None });
        }
        let config = self.0.filter(|it| it.parallelism.is_some() || it.order.is_some())?;
        let amount = amount(config);
        let none = Some(Amount::Count(0));
        let (max_surge, max_unavailable) =
            if starts_first { (Some(amount), none) } else { (none, Some(amount)) };
        let rolling_update = Some(RollingUpdate { max_surge, max_unavailable });
        Some(Strategy { kind: "RollingUpdate".to_owned(), rolling_update })
    }

    /// What the file says of it has no meaning where a pod has its volume alone.
    fn note(&self, draft: &mut Draft<'_>, unit: &Unit) {
        if self.0.is_some_and(|it| it.parallelism.is_some() || it.order.is_some()) {
            let reason = "its volume or port is one pod's at a time: the old pod goes before the \
                          new one comes";
            draft.nearly(unit, "deploy.update_config", reason, "");
        }
    }

    fn of_daemons(&self) -> Option<Strategy> {
        let config = self.0.filter(|it| it.parallelism.is_some())?;
        let max_unavailable = Some(amount(config));
        let rolling_update = Some(RollingUpdate { max_surge: None, max_unavailable });
        Some(Strategy { kind: "RollingUpdate".to_owned(), rolling_update })
    }

    /// How long a pod has to be ready before the next is replaced.
    fn min_ready_seconds(&self) -> Option<u64> {
        let config = self.0?;
        let longest = config.delay.max(config.monitor)?;
        // The API's number has 31 bits.
        let seconds = longest.as_secs().min(i32::MAX as u64 - DEADLINE_SECONDS);
        (seconds > 0).then_some(seconds)
    }
}

fn amount(config: &UpdateConfig) -> Amount {
    match config.parallelism {
        Some(0) => Amount::Percent("100%"),
        Some(count) => Amount::Count(count.min(i32::MAX as u32)),
        None => Amount::Count(1),
    }
}

/// Keeps all but one running while nodes are emptied.
fn disruption(draft: &mut Draft<'_>, unit: &Unit, labels: Map) {
    if replicas(&unit.service) < 2 && !autoscale::is_wanted(unit) {
        return;
    }
    let selector = LabelSelector { match_labels: labels };
    let spec = DisruptionSpec { max_unavailable: Some(1), selector };
    draft.add(unit, &unit.name.clone(), Body::PodDisruptionBudget { spec });
}

fn note_restart(draft: &mut Draft<'_>, unit: &Unit, kind: Kind) {
    let is_kept = matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet);
    if is_kept && is_not_restarted(&unit.service) {
        let reason = "it serves others, so it is kept running: it is always started again";
        let key = if unit.service.restart.is_some() { "restart" } else { "deploy.restart_policy" };
        draft.nearly(unit, key, reason, "");
    }
    if !is_kept
        && unit
            .service
            .restart
            .as_deref()
            .is_some_and(|it| matches!(it, "always" | "unless-stopped"))
    {
        let reason = "others wait for its end, so it is not started again once it ended well";
        draft.nearly(unit, "restart", reason, "");
    }
}
