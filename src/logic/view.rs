//! The cluster as one host sees it at one moment: what planning and naming read.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::membership::Membership;
use super::state::State;
use crate::model::{
    AppName, Assignment, Fact, Generation, HostFacts, HostId, Liveness, Plan, ReplicaId,
    ReplicaStatus, RowKey,
};

/// A host as others see it.
#[derive(Debug, Clone, Copy)]
pub struct HostView<'a> {
    /// What it says of itself.
    pub facts: &'a HostFacts,
    /// What we think of it.
    pub liveness: Liveness,
}

/// The cluster as one host sees it.
#[derive(Debug)]
pub struct ClusterView<'a> {
    /// All addresses of the cluster.
    pub pool: Ipv4Net,
    /// Who looks.
    pub me: &'a HostId,
    /// Every host that said what it is.
    pub hosts: BTreeMap<&'a HostId, HostView<'a>>,
    /// The Plan of each App that counts.
    pub plans: BTreeMap<&'a AppName, &'a Plan>,
    /// What hosts say of their replicas; those of dead hosts are left out.
    statuses: BTreeMap<(&'a ReplicaId, Generation), (&'a HostId, &'a ReplicaStatus)>,
    /// Rows and Revisions.
    pub state: &'a State,
}

impl<'a> ClusterView<'a> {
    /// The view of `me`.
    pub fn new(
        pool: Ipv4Net,
        me: &'a HostId,
        state: &'a State,
        membership: &'a Membership,
    ) -> Self {
        let mut view = Self {
            pool,
            me,
            hosts: BTreeMap::new(),
            plans: BTreeMap::new(),
            statuses: BTreeMap::new(),
            state,
        };
        for (owner, key, fact) in state.facts() {
            let liveness = membership.liveness(owner);
            match (key, fact) {
                (RowKey::Host, Fact::Host(facts)) => {
                    view.hosts.insert(owner, HostView { facts, liveness });
                }
                (_, Fact::Replicas(statuses)) if liveness != Liveness::Dead => {
                    for status in statuses {
                        let place = (&status.replica, status.generation);
                        view.statuses.insert(place, (owner, status));
                    }
                }
                (RowKey::Plan(app), Fact::Plan(plan)) => {
                    let known = view.plans.get(app);
                    // Rows are walked in order of their owners, so an equal number goes to the
                    // higher owner, as in `State::plan`.
                    if known.is_none_or(|known| known.number <= plan.number) {
                        view.plans.insert(app, plan);
                    }
                }
                (_, Fact::Replicas(_) | Fact::Host(_) | Fact::Plan(_)) => {}
            }
        }
        view
    }

    /// What we think of a host.
    pub fn liveness(&self, host: &HostId) -> Liveness {
        self.hosts.get(host).map_or(Liveness::Dead, |view| view.liveness)
    }

    /// The name people use for a host.
    pub fn host_name(&self, host: &HostId) -> String {
        self.hosts.get(host).map_or_else(|| host.to_string(), |view| view.facts.name.clone())
    }

    /// What the host of an assignment says of it; none while it has said nothing of this
    /// Generation, or when it is dead.
    pub fn status(&self, assignment: &Assignment) -> Option<&'a ReplicaStatus> {
        let (host, status) = self.statuses.get(&(&assignment.replica, assignment.generation))?;
        (**host == assignment.host).then_some(*status)
    }

    /// Every status of live hosts: who says it, what.
    pub fn statuses(&self) -> impl Iterator<Item = (&'a HostId, &'a ReplicaStatus)> {
        self.statuses.values().copied()
    }

    /// Whether traffic may be sent to an assignment: its host is alive, not merely suspected, and
    /// says that it is ready.
    pub fn serves(&self, assignment: &Assignment) -> bool {
        self.liveness(&assignment.host) == Liveness::Alive
            && self.status(assignment).is_some_and(|status| status.ready)
    }
}
