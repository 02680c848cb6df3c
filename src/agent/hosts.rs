//! Changes of a host that people ask for: what they would do, making them, and how far they are.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::{preview, views};
use crate::api::{
    Action, ApiError, Change, ErrorKind, HostChange, HostChanged, HostDetail, HostPlan, Stays,
};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::logic::drain::{Fate, leavers};
use crate::logic::plan::plan;
use crate::logic::view::{ClusterView, HostView};
use crate::model::{
    Availability, HostId, HostWanted, Liveness, ReplicaId, WallSeconds, declared_resource,
};
use crate::swarm::By;

impl<E: Engine> Agent<E> {
    /// Writes what is asked of a host here and on the disk of another host.
    pub(super) async fn change_host_from_here(
        &self,
        cluster: &Cluster<E>,
        by: &By,
        change: HostChange,
    ) -> Result<HostChanged, ApiError> {
        let what = words(&change);
        let result = self.take_change(cluster, change).await;
        // What was so already is no mutation.
        if !result.as_ref().is_ok_and(|result| !result.changed) {
            self.note(by, Changed { what, ..Changed::default() }, &result).await;
        }
        result
    }

    async fn take_change(
        &self,
        cluster: &Cluster<E>,
        change: HostChange,
    ) -> Result<HostChanged, ApiError> {
        let asked = change.clone();
        let written = cluster.core.change_host(change).await?;
        let name = cluster.core.look(move |core| {
            let view = core.view();
            find(&view, &asked.host).map(|(_, host)| host.facts.name.clone())
        });
        let (host, changed) = (name.await??, written.is_some());
        let (stored, alive) = match written {
            Some(delta) => self.copy(cluster, delta).await?,
            None => (0, 0),
        };
        Ok(HostChanged { host, changed, stored, alive })
    }
}

/// For the audit log, as it was typed.
fn words(change: &HostChange) -> String {
    let HostChange { host, availability, labels } = change;
    let verb = match availability {
        Some(Availability::Drain) => "drain",
        Some(Availability::Active) => "activate",
        None => "label",
    };
    let labels = labels.iter().map(|(key, value)| match value {
        Some(value) => format!(" {key}={value}"),
        None => format!(" {key}-"),
    });
    format!("node {verb} {host}{}", labels.collect::<String>())
}

/// What a change makes of what is wanted of a host; none when that stays the same.
///
/// # Errors
///
/// When there is no such host.
pub(super) fn next_wanted(
    core: &Core,
    change: &HostChange,
) -> Result<Option<(HostId, HostWanted)>, ApiError> {
    check_labels(change)?;
    let view = core.view();
    let (id, host) = find(&view, &change.host)?;
    Ok(changed(host, change).map(|wanted| (id.clone(), wanted)))
}

/// # Errors
///
/// When a label is to declare a resource and does not say how much.
fn check_labels(change: &HostChange) -> Result<(), ApiError> {
    let set = change.labels.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
    for (key, value) in set {
        declared_resource(key, value).map_err(ApiError::user)?;
    }
    Ok(())
}

fn changed(host: &HostView<'_>, change: &HostChange) -> Option<HostWanted> {
    let before = (host.availability(), host.labels());
    let availability = change.availability.unwrap_or(before.0);
    let mut labels = before.1.clone();
    for (key, value) in &change.labels {
        match value {
            Some(value) => labels.insert(key.clone(), value.clone()),
            None => labels.remove(key),
        };
    }
    if before == (availability, &labels) {
        return None;
    }
    let number = host.wanted.map_or(0, |wanted| wanted.number) + 1;
    Some(HostWanted { number, availability, labels: Some(labels) })
}

/// A host by its name or id.
fn find<'v, 'a>(
    view: &'v ClusterView<'a>,
    host: &str,
) -> Result<(&'a HostId, &'v HostView<'a>), ApiError> {
    let is_it = |id: &HostId, view: &HostView<'_>| id.as_str() == host || view.facts.name == host;
    let mut found = view.hosts.iter().filter(|(id, view)| is_it(id, view));
    match (found.next(), found.next()) {
        (Some((id, view)), None) => Ok((*id, view)),
        (Some(_), Some(_)) => Err(ApiError::user(format!("several hosts are called `{host}`"))
            .hint("name it by its id: `muster nodes --json` shows them")),
        (None, _) => Err(ApiError {
            kind: ErrorKind::NotFound,
            message: format!("no host `{host}` in this cluster"),
            hint: Some("`muster nodes` lists the hosts".to_owned()),
        }),
    }
}

/// What a change would do, found by planning without keeping the Plans.
///
/// # Errors
///
/// When there is no such host.
pub fn host_plan(core: &Core, change: &HostChange) -> Result<HostPlan, ApiError> {
    check_labels(change)?;
    let before = core.view();
    let (id, host) = find(&before, &change.host)?;
    let name = host.facts.name.clone();
    let Some(wanted) = changed(host, change) else {
        let (leaving, stays) = (Vec::new(), Vec::new());
        return Ok(HostPlan { host: name, changed: false, changes: Vec::new(), leaving, stays });
    };
    let mut view = core.view();
    if let Some(host) = view.hosts.get_mut(id) {
        host.wanted = Some(&wanted);
    }
    let why = match wanted.availability {
        Availability::Drain => format!("`{name}` is drained"),
        Availability::Active => format!("the labels of `{name}` do not meet its constraints"),
    };
    let fates = leavers(&view, id);
    let stays = stays(&fates, view.liveness(id));
    let mut changes: Vec<Change> =
        fates.iter().map(|(replica, fate)| leave(&view, replica, fate, &name, &why)).collect();
    changes.extend(arrivals(core, &view));
    let leaving = fates.iter().filter(|(_, fate)| fate.leaves());
    let leaving = leaving.map(|(replica, _)| replica.clone()).collect();
    Ok(HostPlan { host: name, changed: true, changes, leaving, stays })
}

fn leave(
    view: &ClusterView<'_>,
    replica: &ReplicaId,
    fate: &Fate,
    name: &str,
    why: &str,
) -> Change {
    let here = || name.to_owned();
    let (action, host, reason) = match fate {
        Fate::Moves(to) => (Action::Move, view.host_name(to), why.to_owned()),
        Fate::Ends => (Action::Remove, here(), format!("one runs on each host, and {why}")),
        Fate::HasData(data) => (Action::Stay, here(), data_words(data)),
        Fate::NoHostFits(waiting) => (Action::Stay, here(), waiting.to_string()),
    };
    Change { action, subject: replica.to_string(), host, reason }
}

/// Replicas that would be started for the first time.
fn arrivals(core: &Core, view: &ClusterView<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for app in core.state().apps() {
        let (Some(revision), Some(before)) = (core.state().winner(app), view.plans.get(app)) else {
            continue;
        };
        let Some(after) = plan(view, app, revision) else { continue };
        let come = preview::replicas(view, Some(before), &after);
        let come = come.into_iter().filter(|change| change.action == Action::Create);
        changes.extend(come.map(|change| Change {
            subject: format!("{app}/{}", change.subject),
            reason: "there is a host for it now".to_owned(),
            ..change
        }));
    }
    changes
}

fn data_words(data: &str) -> String {
    format!("its data `{data}` is there and does not move by itself")
}

/// Those that cannot leave a host, with the reason and the remedy.
fn stays(fates: &[(ReplicaId, Fate)], liveness: Liveness) -> Vec<Stays> {
    let one = |(replica, fate): &(ReplicaId, Fate)| {
        let ReplicaId { app, service, .. } = replica;
        let (has_data, reason, hint) = match fate {
            Fate::Moves(_) | Fate::Ends => return None,
            Fate::HasData(data) => (
                true,
                data_words(data),
                match liveness {
                    Liveness::Alive | Liveness::Suspect => format!(
                        "it runs on; to stop it meanwhile: `muster scale -p {app} {service}=0`, \
                         and back once the host is active"
                    ),
                    Liveness::Dead => "it runs again when the host is back".to_owned(),
                },
            ),
            Fate::NoHostFits(waiting) => (
                false,
                waiting.to_string(),
                "it moves as soon as a host fits: add one, or make room".to_owned(),
            ),
        };
        Some(Stays { replica: replica.clone(), has_data, reason, hint })
    };
    fates.iter().filter_map(one).collect()
}

/// One host with what runs there and what leaves it.
///
/// # Errors
///
/// When there is no such host.
pub fn host_detail(core: &Core, host: &str, wall: WallSeconds) -> Result<HostDetail, ApiError> {
    let view = core.view();
    let (id, _) = find(&view, host)?;
    let fates = leavers(&view, id);
    let assigned = view.plans.values().flat_map(|plan| &plan.assignments);
    let kept: BTreeMap<_, _> = assigned
        .filter(|a| a.host == *id)
        .map(|a| ((&a.replica, a.generation), a.outgoing))
        .collect();
    let statuses = view.statuses().filter(|(owner, _)| *owner == id);
    // On its way out, or no longer planned here and still being stopped.
    let going = statuses.filter(|(_, status)| {
        kept.get(&(&status.replica, status.generation)).is_none_or(|outgoing| *outgoing)
    });
    let mut leaving: BTreeSet<ReplicaId> = going.map(|(_, s)| s.replica.clone()).collect();
    let out = kept.iter().filter(|(_, outgoing)| **outgoing);
    leaving.extend(out.map(|((replica, _), _)| (*replica).clone()));
    let to_leave = fates.iter().filter(|(_, fate)| fate.leaves());
    leaving.extend(to_leave.map(|(replica, _)| replica.clone()));
    let node = views::nodes(core).into_iter().find(|node| node.id == *id);
    let node = node.ok_or_else(|| ApiError::cluster("bug: a known host is not listed"))?;
    Ok(HostDetail {
        replicas: views::replicas_on(core, &node.name, wall),
        node,
        leaving: leaving.into_iter().collect(),
        stays: stays(&fates, view.liveness(id)),
    })
}
