//! From what the core decided to what the engine is asked for. Pure; the simulator uses it as well.

use crate::docker::{CreateContainer, CreateNetwork, CreateVolume};
use crate::logic::addresses::bridge_name;
use crate::logic::operation::RunReplica;
use crate::model::{NetworkBlock, NetworkSpec, VolumeSpec};

/// The networks a replica needs on its host.
pub fn networks(run: &RunReplica) -> Vec<CreateNetwork> {
    let app = run.replica.app.as_str();
    let one = |(spec, block): &(NetworkSpec, NetworkBlock)| CreateNetwork {
        app: app.to_owned(),
        key: block.network.to_string(),
        spec: spec.clone(),
        subnet: block.subnet,
        bridge: bridge_name(app, block.network.as_str()),
    };
    run.networks.iter().map(one).collect()
}

/// The volumes it needs; those of somebody else are there or are not.
pub fn volumes(run: &RunReplica) -> Vec<CreateVolume> {
    let ours = run.volumes.iter().filter(|(_, spec)| !spec.external);
    let one = |(key, spec): (&String, &VolumeSpec)| CreateVolume {
        app: run.replica.app.to_string(),
        key: key.clone(),
        spec: spec.clone(),
    };
    ours.map(one).collect()
}

/// Its container.
pub fn container(run: &RunReplica, cluster: &str) -> CreateContainer {
    CreateContainer {
        name: run.name.clone(),
        replica: run.replica.clone(),
        generation: run.generation,
        revision: run.revision.to_string(),
        spec_hash: run.spec_hash.clone(),
        cluster: cluster.to_owned(),
        spec: run.container.clone(),
        volumes: run.volumes.iter().map(|(key, spec)| (key.clone(), spec.name.clone())).collect(),
        networks: run.networks.iter().map(|(spec, _)| spec.name.clone()).collect(),
        joins: run.joins.clone(),
        resolver: Some(run.resolver),
        devices: run.devices.clone(),
        step: run.step,
    }
}
