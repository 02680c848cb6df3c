//! Carries out one operation on the engine and reports. Makes no choices.

use std::sync::Arc;

use super::images::{ImageFetcher, ImageRequest};
use crate::docker::{CreateContainer, CreateNetwork, CreateVolume, Engine, EngineError};
use crate::logic::addresses::bridge_name;
use crate::logic::operation::{Failure, Operation, RunReplica};
use crate::model::{NetworkBlock, NetworkSpec, Phase, VolumeSpec};

/// What operations need.
#[derive(Debug)]
pub struct Executor<E> {
    /// The engine.
    pub engine: Arc<E>,
    /// Where images come from.
    pub images: ImageFetcher,
    /// The cluster's id, for labels.
    pub cluster: String,
}

impl<E: Engine> Executor<E> {
    /// Does it; `progress` is told of each phase as it begins.
    ///
    /// # Errors
    ///
    /// The reason in words for people. What was done so far is found and used by the next try.
    pub async fn execute(
        &self,
        operation: Operation,
        progress: impl AsyncFn(Phase),
    ) -> Result<(), Failure> {
        match operation {
            Operation::Run(run) => self.run(*run, progress).await,
            Operation::Start { container } => self.engine.start(&container).await.map_err(reason),
            Operation::Restart { container } => {
                progress(Phase::Stopping).await;
                self.engine.stop(&container).await.map_err(reason)?;
                progress(Phase::Starting).await;
                self.engine.start(&container).await.map_err(reason)
            }
            Operation::Remove { container } => {
                self.engine.stop(&container).await.map_err(reason)?;
                self.engine.remove(&container).await.map_err(reason)
            }
            Operation::RemoveNetwork { name } => {
                self.engine.remove_network(&name).await.map_err(reason)
            }
            Operation::RemoveVolume { name } => {
                self.engine.remove_volume(&name).await.map_err(reason)
            }
        }
    }

    async fn run(&self, run: RunReplica, progress: impl AsyncFn(Phase)) -> Result<(), Failure> {
        progress(Phase::Pulling).await;
        let request = ImageRequest {
            reference: run.container.image.clone(),
            policy: run.container.pull_policy,
            sources: run.image_sources.clone(),
        };
        self.images.fetch(request).await?;
        progress(Phase::Starting).await;
        for network in networks(&run) {
            self.engine.ensure_network(&network).await.map_err(reason)?;
        }
        for volume in volumes(&run) {
            self.engine.ensure_volume(&volume).await.map_err(reason)?;
        }
        let container = container(&run, &self.cluster);
        self.engine.run(&container).await.map(|_| ()).map_err(reason)
    }
}

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
        resolver: Some(run.resolver),
    }
}

fn reason(error: EngineError) -> Failure {
    Failure { reason: error.sentence() }
}
