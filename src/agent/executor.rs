//! Carries out one operation on the engine and reports. Makes no choices.

use std::sync::Arc;

use super::driver::CoreHandle;
use super::images::{ImageFetcher, ImageRequest};
use super::requests::{container, networks, volumes};
use crate::docker::{Engine, EngineError};
use crate::logic::core::Event;
use crate::logic::operation::{Failure, Operation, OperationId, RunReplica};
use crate::model::Phase;

/// What operations need.
#[derive(Debug)]
pub(super) struct Executor<E> {
    /// The engine.
    pub(super) engine: Arc<E>,
    /// Where images come from.
    pub(super) images: ImageFetcher,
    /// The cluster's id, for labels.
    pub(super) cluster: String,
}

/// Tells the core how far an operation is.
#[derive(Debug)]
pub(super) struct Progress {
    /// Which.
    pub(super) id: OperationId,
    /// Whom to tell.
    pub(super) core: CoreHandle,
}

impl Progress {
    async fn tell(&self, phase: Phase) {
        self.core.event(Event::Progress(self.id, phase)).await;
    }
}

impl<E: Engine> Executor<E> {
    /// Does it; `progress` is told of each phase as it begins.
    ///
    /// # Errors
    ///
    /// The reason in words for people. What was done so far is found and used by the next try.
    pub(super) async fn execute(
        &self,
        operation: Operation,
        progress: &Progress,
    ) -> Result<(), Failure> {
        match operation {
            Operation::Run(run) => self.run(*run, progress).await,
            Operation::Start { container } => {
                self.engine.start(&container).await.map_err(Failure::from)
            }
            Operation::Restart { container } => {
                progress.tell(Phase::Stopping).await;
                self.engine.stop(&container).await?;
                progress.tell(Phase::Starting).await;
                self.engine.start(&container).await.map_err(Failure::from)
            }
            Operation::Remove { container } => {
                self.engine.stop(&container).await?;
                self.engine.remove(&container).await.map_err(Failure::from)
            }
            Operation::RemoveNetwork { name } => {
                self.engine.remove_network(&name).await.map_err(Failure::from)
            }
            Operation::RemoveVolume { name } => {
                self.engine.remove_volume(&name).await.map_err(Failure::from)
            }
        }
    }

    async fn run(&self, run: RunReplica, progress: &Progress) -> Result<(), Failure> {
        progress.tell(Phase::Pulling).await;
        let request = ImageRequest {
            reference: run.container.image.clone(),
            policy: run.container.pull_policy,
            sources: run.image_sources.clone(),
        };
        self.images.fetch(request).await?;
        progress.tell(Phase::Starting).await;
        for network in networks(&run) {
            self.engine.ensure_network(&network).await?;
        }
        for volume in volumes(&run) {
            self.engine.ensure_volume(&volume).await?;
        }
        let container = container(&run, &self.cluster);
        self.engine.run(&container).await.map(|_| ()).map_err(Failure::from)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { no_room: error.is_for_want_of_room(), reason: error.sentence() }
    }
}
