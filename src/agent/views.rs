//! From what an agent knows to what the API shows. Pure.

mod end;
mod inventory;
mod replicas;
mod rollouts;
mod scalings;

use std::collections::{BTreeMap, BTreeSet};

use self::end::{Course, course, failed, left_over};
use self::inventory::inventory;
use self::replicas::{image, parse_replica};
use self::rollouts::{rollout, targets_now};
pub use self::scalings::autoscale;
use self::scalings::scaling;
use crate::api::{ApiError, AppDetail, AppSummary, ErrorKind, Node, ReplicaView, ServiceView};
use crate::logic::core::Core;
use crate::logic::drain::{Fate, leavers};
use crate::logic::plan::load_of_others;
use crate::logic::schedule::lost_port;
use crate::logic::targets::Target;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Assignment, Availability, Health, HostId, Intent, Phase, Plan, ReplicaId,
    ReplicaStatus, Replicas, SealedRevision, ServiceName, WallSeconds,
};

/// Every host that said what it is.
pub fn nodes(core: &Core) -> Vec<Node> {
    let view = core.view();
    let load = load_of_others(&view, None);
    let mut nodes: Vec<Node> = view
        .hosts
        .iter()
        .map(|(id, host)| Node {
            id: (*id).clone(),
            name: host.facts.name.clone(),
            address: host.facts.address,
            liveness: host.liveness,
            availability: host.availability(),
            slice: Some(host.facts.slice),
            platform: host.facts.platform.clone(),
            capacity: host.facts.capacity,
            reserved: load.reserved(id),
            replicas: load.replicas(id),
            inventory: inventory(&view, &load, id, host),
            engine_version: host.facts.engine_version.clone(),
            disk_full: host.facts.disk_full,
            agent_version: host.facts.agent_version.clone(),
            labels: host.labels().clone(),
            this: *id == core.me(),
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

/// Every App that runs or is being removed.
pub fn apps(core: &Core) -> Vec<AppSummary> {
    let view = core.view();
    let apps = core.state().apps().filter_map(|app| {
        let revision = core.state().winner(app)?;
        let summary = summary(core, &view, app, revision);
        let gone = revision.intent != Intent::Run && left_over(core, app) == 0;
        (!gone).then_some(summary)
    });
    apps.collect()
}

/// One App.
pub fn app(core: &Core, app: &AppName, wall: WallSeconds) -> Result<AppDetail, ApiError> {
    let revision = core.state().winner(app).ok_or_else(|| unknown_app(app))?;
    let view = core.view();
    let plan = view.plans.get(app).copied();
    let replicas = replicas(&view, revision, plan, wall);
    let mut replicas = replicas;
    tell_of_drains(&view, &mut replicas);
    let services = services(&view, app, revision, plan);
    let summary = summary(core, &view, app, revision);
    let course = course(core, &view, app, revision, plan);
    let watched_ms = match course {
        Course::Watched(left) => Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        Course::Moving | Course::Settled => None,
    };
    let settled = course == Course::Settled;
    let failed = failed(&view, revision, plan);
    Ok(AppDetail { summary, replicas, services, settled, watched_ms, failed })
}

/// Every replica on a host, by the host's name.
pub(super) fn replicas_on(core: &Core, host: &str, wall: WallSeconds) -> Vec<ReplicaView> {
    let view = core.view();
    let mut all = Vec::new();
    for app in core.state().apps() {
        let Some(revision) = core.state().winner(app) else { continue };
        let of_app = replicas(&view, revision, view.plans.get(app).copied(), wall);
        all.extend(of_app.into_iter().filter(|replica| replica.host == host));
    }
    tell_of_drains(&view, &mut all);
    all
}

/// The Services of every App that runs.
pub(super) fn services_of_all(core: &Core) -> Vec<(AppName, Vec<ServiceView>)> {
    let view = core.view();
    let apps = core.state().apps().filter_map(|app| {
        let revision = core.state().winner(app).filter(|winner| winner.intent == Intent::Run)?;
        Some((app.clone(), services(&view, app, revision, view.plans.get(app).copied())))
    });
    apps.collect()
}

/// Says of replicas on hosts that are not to have them why they are there still.
fn tell_of_drains(view: &ClusterView<'_>, replicas: &mut [ReplicaView]) {
    let drained = view.hosts.iter().filter(|(_, h)| h.availability() == Availability::Drain);
    for (id, host) in drained {
        let name = &host.facts.name;
        let fates: BTreeMap<ReplicaId, Fate> = leavers(view, id).into_iter().collect();
        for replica in replicas.iter_mut().filter(|replica| replica.host == *name) {
            let words = match fates.get(&replica.replica) {
                Some(Fate::HasData(data)) => {
                    format!("its data `{data}` keeps it on `{name}`, which is drained")
                }
                Some(Fate::NoHostFits(_)) => format!("no other host fits; `{name}` is drained"),
                Some(Fate::Moves(_) | Fate::Ends) => format!("leaves `{name}`, which is drained"),
                None => continue,
            };
            // What keeps it from running says more.
            replica.reason.get_or_insert(words);
        }
    }
}

/// The error for an App never heard of.
pub fn unknown_app(app: &AppName) -> ApiError {
    ApiError {
        kind: ErrorKind::NotFound,
        message: format!("no app `{app}` in this cluster"),
        hint: Some("`muster ls` lists the apps; `muster up` starts one".to_owned()),
    }
}

fn summary(
    core: &Core,
    view: &ClusterView<'_>,
    app: &AppName,
    revision: &SealedRevision,
) -> AppSummary {
    let plan = view.plans.get(app).copied();
    let services = services(view, app, revision, plan);
    AppSummary {
        app: app.clone(),
        revision: revision.id().clone(),
        sequence: revision.sequence,
        intent: revision.intent,
        wanted: services.iter().map(|service| service.wanted).sum(),
        ready: services.iter().map(|service| service.ready).sum(),
        conflicts: core.state().conflicts(app),
        home: Some(core.home(app).clone()),
    }
}

fn services(
    view: &ClusterView<'_>,
    app: &AppName,
    revision: &SealedRevision,
    plan: Option<&Plan>,
) -> Vec<ServiceView> {
    let one = |(service, target): (&&ServiceName, &Target<'_>)| {
        let addresses = plan.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
        let addresses = addresses.iter().filter(|address| address.service == **service);
        let assignments: Vec<&Assignment> = of_service(plan, service).collect();
        let up = assignments.iter().filter(|a| view.is_up(a));
        let completed = assignments.iter().filter(|a| has_completed(view, a));
        let deployment = &target.deployment;
        let waiting = plan.map_or(0, |plan| waiting_of(plan, app, service));
        let wanted = match deployment.replicas {
            Replicas::Count(count) => count,
            Replicas::Global => (assignments.len() + waiting) as u32,
        };
        ServiceView {
            service: (*service).clone(),
            addresses: addresses.map(|a| (a.network.clone(), a.address)).collect(),
            ports: deployment.ports.clone(),
            ready: (up.count() as u32).min(wanted),
            wanted,
            completed: (completed.count() as u32).min(wanted),
            rollout: plan.and_then(|plan| rollout(view, revision, plan, service)),
            scaling: scaling(revision, plan, service),
        }
    };
    targets_now(view, revision, plan).iter().map(one).collect()
}

fn has_completed(view: &ClusterView<'_>, assignment: &Assignment) -> bool {
    let status = view.status(assignment);
    assignment.done || status.is_some_and(|status| status.phase == Phase::Completed)
}

fn waiting_of(plan: &Plan, app: &AppName, service: &ServiceName) -> usize {
    let prefix = format!("{app}/{service}/");
    let assigned: BTreeSet<String> =
        plan.assignments.iter().map(|a| a.replica.to_string()).collect();
    plan.waiting.keys().filter(|key| key.starts_with(&prefix) && !assigned.contains(*key)).count()
}

fn of_service<'p>(
    plan: Option<&'p Plan>,
    service: &'p ServiceName,
) -> impl Iterator<Item = &'p Assignment> {
    let assignments = plan.map(|plan| plan.of_service(service)).unwrap_or_default();
    assignments.iter().filter(|a| !a.outgoing)
}

fn replicas(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    plan: Option<&Plan>,
    wall: WallSeconds,
) -> Vec<ReplicaView> {
    let mut seen: BTreeSet<(ReplicaId, u64)> = BTreeSet::new();
    let mut all = Vec::new();
    let assignments = plan.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
    let targets = targets_now(view, revision, plan);
    let is_over = |a: &Assignment| {
        plan.and_then(|plan| plan.run(&a.replica)).is_some_and(|run| run.state.is_over())
    };
    for assignment in assignments {
        if is_over(assignment) {
            // Its container is kept for what it wrote; `muster job ls` shows it.
            seen.insert((assignment.replica.clone(), assignment.generation.0));
            continue;
        }
        seen.insert((assignment.replica.clone(), assignment.generation.0));
        let target = targets.get(&assignment.replica.service);
        let is_run = plan.is_some_and(|plan| plan.run(&assignment.replica).is_some());
        let is_wanted = target.is_some_and(|target| target.spec_hash == assignment.spec_hash);
        let mut shown = assigned(view, revision, plan, assignment, wall);
        shown.current = !assignment.outgoing && (is_wanted || is_run);
        all.push(shown);
    }
    for (host, status) in view.statuses().filter(|(_, s)| s.replica.app == revision.app) {
        if seen.insert((status.replica.clone(), status.generation.0)) {
            all.push(from_status(view, revision, host, status, wall));
        }
    }
    let shown: BTreeSet<ReplicaId> = all.iter().map(|view| view.replica.clone()).collect();
    for (name, reason) in plan.iter().flat_map(|plan| &plan.waiting) {
        let replica = parse_replica(name).filter(|replica| !shown.contains(replica));
        if let Some(replica) = replica {
            let mut shown = waiting(view, revision, replica, reason.to_string());
            shown.stuck = reason.needs_somebody();
            all.push(shown);
        }
    }
    all.sort_by(|a, b| a.replica.cmp(&b.replica));
    all
}

fn assigned(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    plan: Option<&Plan>,
    assignment: &Assignment,
    wall: WallSeconds,
) -> ReplicaView {
    let waits = plan.and_then(|plan| plan.waiting.get(&assignment.replica.to_string()));
    let mut shown = match view.status(assignment) {
        Some(status) => from_status(view, revision, &assignment.host, status, wall),
        None => waiting(view, revision, assignment.replica.clone(), String::new()),
    };
    shown.host = view.host_name(&assignment.host);
    let deployment = revision.deployment(&assignment.replica.service);
    let host = view.hosts.get(&assignment.host);
    if let Some((port, protocol)) = deployment.zip(host).and_then(|(one, on)| lost_port(one, on)) {
        // It runs, and nobody reaches it there. What keeps it from running says more.
        let (protocol, name) = (protocol.as_str(), &shown.host);
        let words = format!("another program has port {port}/{protocol} on `{name}`");
        shown.reason.get_or_insert(words);
    }
    if let Some(waits) = waits {
        shown.reason = Some(waits.to_string());
        shown.stuck = waits.needs_somebody();
    } else if let Some(words) = plan.and_then(|plan| set_back(view, plan, assignment)) {
        // What keeps it from running says more.
        shown.reason.get_or_insert(words);
    } else if shown.phase.is_none() {
        shown.reason = Some("its host has not answered yet".to_owned());
    }
    shown
}

/// Where a replica that stays did not come up.
fn set_back(view: &ClusterView<'_>, plan: &Plan, assignment: &Assignment) -> Option<String> {
    let mut hosts = plan.setbacks.get(&assignment.replica.service)?.iter();
    let (host, setback) = hosts.find(|(host, setback)| {
        setback.index == assignment.replica.index && **host != assignment.host
    })?;
    let host = view.host_name(host);
    Some(format!("stays: on `{host}`, where it was to move, it {}", setback.reason))
}

fn from_status(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    host: &HostId,
    status: &ReplicaStatus,
    wall: WallSeconds,
) -> ReplicaView {
    ReplicaView {
        replica: status.replica.clone(),
        host: view.host_name(host),
        phase: Some(status.phase),
        health: status.health,
        ready: status.ready,
        current: false,
        image: image(view, revision, &status.replica.service, Some(&status.spec_hash)),
        addresses: status.addresses.clone(),
        restarts: status.restarts,
        container: status.container.clone(),
        age_seconds: wall.0.saturating_sub(status.since.0),
        reason: with_next_try(status, wall),
        stuck: false,
    }
}

/// Longer than this nothing waits: a clock is wrong.
const PAUSE_MAX: u64 = 90;

/// Why a replica is not ready, and when it is tried again.
fn with_next_try(status: &ReplicaStatus, wall: WallSeconds) -> Option<String> {
    let left = status.again.and_then(|again| again.0.checked_sub(wall.0));
    let left = left.filter(|left| (1..=PAUSE_MAX).contains(left));
    let reason = status.reason.as_ref()?;
    Some(left.map_or_else(|| reason.clone(), |left| format!("{reason}, again in {left} s")))
}

fn waiting(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    replica: ReplicaId,
    reason: String,
) -> ReplicaView {
    ReplicaView {
        host: String::new(),
        phase: None,
        health: Health::None,
        ready: false,
        current: false,
        image: image(view, revision, &replica.service, None),
        addresses: BTreeMap::new(),
        restarts: 0,
        container: None,
        age_seconds: 0,
        reason: (!reason.is_empty()).then_some(reason),
        stuck: false,
        replica,
    }
}
