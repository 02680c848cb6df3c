//! What leaves a host that is not to have it any more, where it is expected to go, and what stays
//! with the reason. Says what the Plans to come will say, ahead of them; makes none.

use super::pins::data_of;
use super::plan::load_of_others;
use super::schedule::{self, Request};
use super::targets::{Target, targets_of};
use super::view::ClusterView;
use crate::model::{HostId, Plan, ReplicaId, Replicas, Waiting};

/// What becomes of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is started there and stopped here when that one is healthy.
    Moves(HostId),
    /// It runs once on each host that fits, and this one does not.
    Ends,
    /// It stays with its data: the volume, or the bind's path.
    HasData(String),
    /// It stays as no other host fits, for these reasons.
    NoHostFits(Waiting),
}

impl Fate {
    /// Whether it will be gone from the host.
    pub fn leaves(&self) -> bool {
        match self {
            Self::Moves(_) | Self::Ends => true,
            Self::HasData(_) | Self::NoHostFits(_) => false,
        }
    }
}

/// What becomes of every replica that `host` is not to have any more, in the order of their names.
pub fn leavers(view: &ClusterView<'_>, host: &HostId) -> Vec<(ReplicaId, Fate)> {
    let Some(host_view) = view.hosts.get(host) else { return Vec::new() };
    let mut load = load_of_others(view, None);
    let mut leavers = Vec::new();
    for (app, plan) in &view.plans {
        let Some(revision) = view.state.winner(app) else { continue };
        let targets = targets_of(view.state, revision, plan);
        for assignment in plan.assignments.iter().filter(|a| a.host == *host && !a.outgoing) {
            let replica = &assignment.replica;
            let Some(target) = targets.get(&replica.service) else { continue };
            let deployment = &*target.deployment;
            // What has ended does not run here.
            if assignment.is_over() || schedule::unfit(deployment, host, host_view).is_none() {
                continue;
            }
            if let Some(fate) = settled_fate(plan, target) {
                leavers.push((replica.clone(), fate));
                continue;
            }
            load.remove(host, replica, deployment, &assignment.devices);
            let request = Request { replica, deployment, pinned: None, current: Some(host) };
            let placed = schedule::place(request, view, &load);
            let to = placed.as_ref().map_or(host, |to| *to);
            let devices = view.hosts.get(to).and_then(|view| load.grant(to, deployment, view));
            load.add(to, replica, deployment, &devices.unwrap_or_default());
            let fate = match placed {
                Ok(to) => Fate::Moves(to.clone()),
                Err(rejections) => Fate::NoHostFits(rejections.into()),
            };
            leavers.push((replica.clone(), fate));
        }
    }
    leavers
}

/// A fate that does not depend on where there is room.
fn settled_fate(plan: &Plan, target: &Target<'_>) -> Option<Fate> {
    if target.deployment.replicas == Replicas::Global {
        return Some(Fate::Ends);
    }
    let data = data_of(target.revision, &plan.pins, &target.deployment).into_iter().next();
    data.map(|(data, _)| Fate::HasData(data))
}

#[cfg(test)]
mod tests;
