//! Which replica, on which host, somebody wants to sit in front of. Pure.

use crate::agent::jobs::{not_found, running, runs_of};
use crate::api::{ApiError, AttachRequest};
use crate::logic::view::ClusterView;
use crate::model::{AppName, Assignment, HostId, Liveness, Phase, Plan, ReplicaId, ServiceName};

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) replica: ReplicaId,
    pub(super) host: HostId,
    /// The host's name.
    pub(super) name: String,
}

impl Place {
    /// # Errors
    ///
    /// When that host is dead.
    fn of(view: &ClusterView<'_>, assignment: &Assignment) -> Result<Self, ApiError> {
        let Assignment { replica, host, .. } = assignment;
        let name = view.host_name(host);
        if host != view.me && view.liveness(host) == Liveness::Dead {
            return Err(silent(&name, replica));
        }
        Ok(Self { replica: replica.clone(), host: host.clone(), name })
    }
}

/// The error for a host that does not answer.
pub(super) fn silent(name: &str, replica: &ReplicaId) -> ApiError {
    let ReplicaId { service, index, .. } = replica;
    let words = format!("host `{name}`, where `{service}/{index}` is, does not answer");
    ApiError::cluster(words).hint("`muster nodes` shows how it is")
}

/// What is wanted of a replica's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It runs.
    Running,
    /// It is there; better one that runs.
    Container,
}

/// Which replica somebody asks for.
#[derive(Debug, Clone)]
pub(super) struct Sought {
    pub(super) app: AppName,
    pub(super) service: ServiceName,
    pub(super) index: Option<u32>,
    /// Prefer one of this host, where none is named.
    pub(super) is_near: bool,
    pub(super) need: Need,
}

/// The replica in which a command is to run, or whose files are copied.
///
/// # Errors
///
/// Why there is none.
pub(super) fn of_replica(view: &ClusterView<'_>, sought: &Sought) -> Result<Place, ApiError> {
    let Sought { app, service, index, is_near, need } = sought;
    let revision = running(view.state, app)?;
    if revision.deployment(service).is_none() && runs_of(view.state, app, service).is_none() {
        let known: Vec<&str> = revision.deployments.keys().map(ServiceName::as_str).collect();
        let words = format!("app `{app}` has no service `{service}`");
        return Err(not_found(words, format!("it has: {}", known.join(", "))));
    }
    let plan = view.state.plan(app);
    let all = plan.map(|plan| plan.of_service(service)).unwrap_or_default();
    let all = all.iter().filter(|one| index.is_none_or(|index| one.replica.index == index));
    let all: Vec<&Assignment> = all.collect();
    let phase = |one: &Assignment| view.status(one).map(|status| status.phase);
    let will_do = |one: &&&Assignment| match need {
        Need::Running => phase(one) == Some(Phase::Running),
        Need::Container => phase(one).is_some_and(has_container),
    };
    // Of two copies of one the one that goes on serving comes last: the new one may not be up yet.
    let order = |one: &&&Assignment| {
        let is_far = *is_near && one.host != *view.me;
        (phase(one) != Some(Phase::Running), is_far, one.replica.index, one.outgoing)
    };
    if let Some(found) = all.iter().filter(will_do).min_by_key(order) {
        return Place::of(view, found);
    }
    if let Some(lost) = all.iter().find(|one| view.liveness(&one.host) == Liveness::Dead) {
        Place::of(view, lost)?;
    }
    Err(match *index {
        Some(index) => no_replica(view, plan, (app, service, index), (*need, &all)),
        None => {
            let why = all.iter().find_map(|one| why_not(view, one));
            let why = why.or_else(|| waits(plan?, app, service, None));
            let lacks = match need {
                Need::Running => "runs",
                Need::Container => "has a container",
            };
            let words = format!("no replica of `{service}` {lacks}{}", told(why));
            ApiError::user(words).hint(format!("`muster ps {service}` shows them"))
        }
    })
}

/// Whether there may be a container of a replica that is so; its host knows.
fn has_container(phase: Phase) -> bool {
    match phase {
        Phase::Pending | Phase::Pulling => false,
        Phase::Starting
        | Phase::Running
        | Phase::Stopping
        | Phase::Completed
        | Phase::Failed
        | Phase::Backoff => true,
    }
}

fn no_replica(
    view: &ClusterView<'_>,
    plan: Option<&Plan>,
    (app, service, index): (&AppName, &ServiceName, u32),
    (need, found): (Need, &[&Assignment]),
) -> ApiError {
    let why = found.iter().find_map(|one| why_not(view, one));
    let why = why.or_else(|| waits(plan?, app, service, Some(index)));
    if !found.is_empty() || why.is_some() {
        let lacks = match need {
            Need::Running => "does not run",
            Need::Container => "has no container",
        };
        let words = format!("replica {index} of `{service}` {lacks}{}", told(why));
        return ApiError::user(words).hint(format!("`muster ps {service}` shows it"));
    }
    let known = plan.map(|plan| plan.of_service(service)).unwrap_or_default();
    let mut known: Vec<String> = known.iter().map(|one| one.replica.index.to_string()).collect();
    known.dedup();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    not_found(format!("service `{service}` has no replica {index}"), format!("it has: {known}"))
}

fn told(why: Option<String>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

/// What its host says of one that does not run.
fn why_not(view: &ClusterView<'_>, assignment: &Assignment) -> Option<String> {
    let status = view.status(assignment)?;
    Some(status.reason.clone().unwrap_or_else(|| {
        let phase = match status.phase {
            Phase::Pending => "it waits for its turn",
            Phase::Pulling => "its image is on the way",
            Phase::Starting => "it is being started",
            Phase::Running => "it runs",
            Phase::Stopping => "it is being stopped",
            Phase::Completed => "it has ended",
            Phase::Failed => "it has failed",
            Phase::Backoff => "it ended, and starts again",
        };
        phase.to_owned()
    }))
}

/// What one that is nowhere waits for.
fn waits(plan: &Plan, app: &AppName, service: &ServiceName, index: Option<u32>) -> Option<String> {
    let prefix = format!("{app}/{service}/");
    let is_it = |name: &str| {
        let rest = name.strip_prefix(&prefix).and_then(|rest| rest.parse::<u32>().ok());
        rest.is_some_and(|found| index.is_none_or(|index| index == found))
    };
    let mut waiting = plan.waiting.iter();
    waiting.find(|(name, _)| is_it(name)).map(|(_, waiting)| waiting.to_string())
}

/// The container of a run that somebody wants to sit in front of.
///
/// # Errors
///
/// Why there is none.
pub(super) fn of_run(view: &ClusterView<'_>, request: &AttachRequest) -> Result<Place, ApiError> {
    let AttachRequest { app, name, run } = request;
    running(view.state, app)?;
    let plan = view.state.plan(app);
    let all = plan.map(|plan| plan.of_service(name)).unwrap_or_default();
    let found = all.iter().filter(|one| one.replica.index == *run && !one.outgoing);
    let found = found.max_by_key(|one| one.generation);
    let found = found.ok_or_else(|| {
        let words = format!("run {run} of `{name}` is nowhere yet, or not known any more");
        not_found(words, "`muster job ls` lists runs".to_owned())
    })?;
    Place::of(view, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{Cluster, app, deployment, host, revision};

    /// Three hosts with one replica each of `web`, and none of `idle`.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(3);
        let web = deployment("web", 3);
        cluster.submit(revision(1, &[("web", web), ("idle", deployment("idle", 0))]));
        cluster.settle();
        cluster
    }

    #[track_caller]
    fn check_for(cluster: &Cluster, need: Need, service: &str, index: Option<u32>, expected: &str) {
        let sought = |is_near| Sought { app: app(), service: service.into(), index, is_near, need };
        let found = |is_near| match cluster.look(|view| of_replica(view, &sought(is_near))) {
            Ok(place) => format!("{} on {}", place.replica.index, place.name),
            Err(error) => error.to_string(),
        };
        assert_eq!(format!("{}; {}", found(true), found(false)), expected);
    }

    #[track_caller]
    fn check(cluster: &Cluster, service: &str, index: Option<u32>, expected: &str) {
        check_for(cluster, Need::Running, service, index, expected);
    }

    /// Where replica `index` of `web` is.
    fn name(cluster: &Cluster, index: u32) -> String {
        let plan = cluster.current();
        let found = plan.assignments.iter().find(|one| one.replica.index == index);
        cluster.look(|view| view.host_name(&found.expect("it is placed").host))
    }

    #[test]
    fn one_of_this_host_is_preferred_where_none_is_named() {
        let cluster = cluster();
        let near = (1..=3)
            .find(|index| cluster.look(|view| view.host_name(view.me)) == name(&cluster, *index));
        let near = near.expect("each host has one");
        let first = name(&cluster, 1);
        let expected = format!("{near} on {}; 1 on {first}", name(&cluster, near));
        check(&cluster, "web", None, &expected);
        for index in 1..=3 {
            let place = format!("{index} on {}", name(&cluster, index));
            check(&cluster, "web", Some(index), &format!("{place}; {place}"));
        }
    }

    #[test]
    fn what_does_not_run_is_passed_over_or_said_with_its_reason() {
        let mut cluster = cluster();
        cluster.report(|status| {
            if status.replica.index < 3 {
                status.phase = Phase::Backoff;
                status.reason = Some("exited with code 1".to_owned());
            }
        });
        let third = format!("3 on {}", name(&cluster, 3));
        check(&cluster, "web", None, &format!("{third}; {third}"));
        let words = "replica 2 of `web` does not run: exited with code 1";
        check(&cluster, "web", Some(2), &format!("{words}; {words}"));
        cluster.report(|status| status.phase = Phase::Starting);
        let words = "no replica of `web` runs: it is being started";
        check(&cluster, "web", None, &format!("{words}; {words}"));
    }

    #[test]
    fn files_are_copied_from_what_has_ended_where_nothing_runs() {
        let mut cluster = cluster();
        let copies = |cluster: &Cluster, index, expected: &str| {
            check_for(cluster, Need::Container, "web", index, expected);
        };
        cluster.report(|status| {
            if status.replica.index < 3 {
                status.phase = Phase::Failed;
            }
        });
        let third = format!("3 on {}", name(&cluster, 3));
        copies(&cluster, None, &format!("{third}; {third}"));
        let second = format!("2 on {}", name(&cluster, 2));
        copies(&cluster, Some(2), &format!("{second}; {second}"));
        cluster.report(|status| status.phase = Phase::Pulling);
        let words = "replica 2 of `web` has no container: its image is on the way";
        copies(&cluster, Some(2), &format!("{words}; {words}"));
        let words = "no replica of `web` has a container: its image is on the way";
        copies(&cluster, None, &format!("{words}; {words}"));
    }

    #[test]
    fn what_there_is_not_is_said() {
        let cluster = cluster();
        for (service, index, words) in [
            ("web", Some(9), "service `web` has no replica 9"),
            ("idle", None, "no replica of `idle` runs"),
            ("nothing", None, "app `shop` has no service `nothing`"),
        ] {
            check(&cluster, service, index, &format!("{words}; {words}"));
        }
    }

    #[test]
    fn a_host_that_is_dead_is_said_to_be() {
        let mut cluster = cluster();
        let plan = cluster.current();
        let me = cluster.look(|view| view.me.clone());
        let lost = plan.assignments.iter().find(|one| one.host != me).expect("there are three");
        let n = (1..=3).find(|n| host(*n) == lost.host).expect("it is one of them");
        cluster.kill(n);
        let (index, name) = (lost.replica.index, name(&cluster, lost.replica.index));
        let words = format!("host `{name}`, where `web/{index}` is, does not answer");
        check(&cluster, "web", Some(index), &format!("{words}; {words}"));
        let run = AttachRequest { app: app(), name: "web-run".into(), run: 1 };
        let error = cluster.look(|view| of_run(view, &run)).expect_err("it was never run");
        assert_eq!(error.kind, crate::api::ErrorKind::NotFound);
    }
}
