//! Containers that join the network of another one's: they start after it, and again when it was
//! started again, for a container that starts gets a new network.

use super::{Desired, HostMachine};
use crate::model::{Container, ContainerState, ReplicaId, RestartPolicy, ServiceName};

impl HostMachine {
    /// Whether a container can be started, as far as its network is concerned.
    pub(super) fn network_is_there(&self, desired: &Desired<'_>) -> bool {
        self.awaited_leader(desired).is_none()
    }

    /// The service that has to run first.
    pub(super) fn awaited_leader<'d>(&self, desired: &'d Desired<'_>) -> Option<&'d ServiceName> {
        let leader = desired.deployment.joins.as_ref()?;
        let runs = self.joined(desired, leader).is_some_and(|joined| {
            matches!(joined.state, ContainerState::Running | ContainerState::Paused)
        });
        (!runs).then_some(leader)
    }

    /// Whether a running container is left in a network that is gone. What runs to its end is not
    /// run again for it.
    pub(super) fn has_lost_network(&self, desired: &Desired<'_>, own: &Container) -> bool {
        let joins = desired.deployment.joins.as_ref();
        let joined = joins.and_then(|leader| self.joined(desired, leader));
        desired.deployment.restart != RestartPolicy::Never
            && joined.is_some_and(|joined| {
                joined.state == ContainerState::Running && joined.started > own.started
            })
    }

    /// The container whose network a container has: its own, or its leader's.
    pub(super) fn network_of<'s>(
        &'s self,
        desired: &Desired<'_>,
        own: &'s Container,
    ) -> &'s Container {
        let leader = desired.deployment.joins.as_ref();
        leader.and_then(|leader| self.joined(desired, leader)).unwrap_or(own)
    }

    fn joined(&self, desired: &Desired<'_>, leader: &ServiceName) -> Option<&Container> {
        let own = desired.assignment;
        let replica = ReplicaId { service: leader.clone(), ..own.replica.clone() };
        let is_it = |c: &&Container| c.replica == replica && c.generation == own.generation;
        self.seen.containers.iter().find(is_it)
    }
}
