//! What this host's executor is told to do to its container engine. An operation leaves it no
//! choice; it carries out and reports.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::model::{
    AppName, Container, ContainerSpec, DeviceRequest, Farewell, Generation, Hook, HostDevice,
    HostId, NetworkBlock, NetworkSpec, ReplicaId, Resize, RevisionId, VolumeSpec,
};

/// Names an operation until it is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Make networks and volumes, get the image, make and start the container.
    Run(Box<RunReplica>),
    /// Start a container that ended or was never started.
    Start {
        /// The engine's id.
        container: String,
    },
    /// Run commands in a container that was just started. When one fails, stop the container.
    Greet {
        /// The engine's id.
        container: String,
        /// One after the other.
        hooks: Vec<Hook>,
    },
    /// Stop a container that is unhealthy and start it again.
    Restart {
        /// The engine's id.
        container: String,
        /// What is done before; whatever becomes of it, the container is stopped.
        farewell: Option<Farewell>,
    },
    /// Hold a container that is there to other limits. It goes on as it is.
    Resize {
        /// The engine's id.
        container: String,
        /// Its limits.
        to: Resize,
    },
    /// Stop a container, within the grace it was made with, and remove it.
    Remove {
        /// The engine's id.
        container: String,
        /// As with [`Operation::Restart`].
        farewell: Option<Farewell>,
    },
    /// Remove a network of an App that is gone.
    RemoveNetwork {
        /// Name in Docker.
        name: String,
    },
    /// Remove a volume of an App that is gone, volumes and all.
    RemoveVolume {
        /// Name in Docker.
        name: String,
    },
}

/// All that is needed to run one Replica here.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReplica {
    /// Which.
    pub replica: ReplicaId,
    /// Of which Generation.
    pub generation: Generation,
    /// From which Revision.
    pub revision: RevisionId,
    /// Hash of the spec.
    pub spec_hash: String,
    /// The container's name in Docker.
    pub name: String,
    /// The name in Docker of the container whose network it joins, in place of networks of its own.
    pub joins: Option<String>,
    /// What runs.
    pub container: ContainerSpec,
    /// The networks to make and join, with this host's block of each.
    pub networks: Vec<(NetworkSpec, NetworkBlock)>,
    /// The volumes to make, by key.
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Name server for the container.
    pub resolver: Ipv4Addr,
    /// The devices it gets, by what it asked for them with.
    pub devices: Vec<(DeviceRequest, Vec<HostDevice>)>,
    /// Live hosts that say they have the image.
    pub image_sources: Vec<(HostId, SocketAddr)>,
    /// Which step before the Replica's container it is; none of that container itself.
    pub step: Option<u32>,
}

/// How an operation ended badly. What it had done so far was undone, or is done again next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why, for people: the engine's words and what to do.
    pub reason: String,
    /// The host's disk was full.
    pub no_room: bool,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, no_room: false }
    }
}

/// What the engine holds that is muster's, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observation {
    /// Containers of Replicas.
    pub containers: Vec<Container>,
    /// Steps before them.
    pub steps: Vec<Container>,
    /// Networks: name in Docker, App.
    pub networks: Vec<(String, AppName)>,
    /// Volumes: name in Docker, App.
    pub volumes: Vec<(String, AppName)>,
}

impl Observation {
    /// Takes in every container that there is.
    pub fn set_containers(&mut self, all: Vec<Container>) {
        (self.steps, self.containers) = all.into_iter().partition(|one| one.step.is_some());
    }
}
