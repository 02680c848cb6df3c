//! Carries out one operation on the engine and reports. Makes no choices.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::driver::CoreHandle;
use super::images::{ImageFetcher, ImageRequest};
use super::requests::{container, networks, volumes};
use crate::docker::{Engine, EngineError, Exec};
use crate::logic::core::Event;
use crate::logic::operation::{Failure, Operation, OperationId, RunReplica};
use crate::logic::vertical;
use crate::model::{Farewell, Hook, Phase, Resize};

/// The longest that a command after a start may take: what takes longer is no part of starting.
const GREETING_MAX: Duration = Duration::from_secs(600);

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
            Operation::Greet { container, hooks } => self.greet(&container, hooks).await,
            Operation::Restart { container, farewell } => {
                progress.tell(Phase::Stopping).await;
                self.take_leave(&container, farewell).await;
                self.engine.stop(&container).await?;
                progress.tell(Phase::Starting).await;
                self.engine.start(&container).await.map_err(Failure::from)
            }
            Operation::Resize { container, to } => self.resize(&container, to).await,
            Operation::Remove { container, farewell } => {
                self.take_leave(&container, farewell).await;
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

    /// Makes no limit smaller than what the container holds at this moment.
    async fn resize(&self, container: &str, to: Resize) -> Result<(), Failure> {
        if let Some(memory) = to.memory
            && let Some(usage) = self.engine.usage(container).await?
        {
            vertical::fits(memory.limit, &usage)?;
        }
        self.engine.resize(container, &to).await.map_err(Failure::from)
    }

    /// Runs what comes after a start; a container in which that fails is stopped.
    async fn greet(&self, container: &str, hooks: Vec<Hook>) -> Result<(), Failure> {
        let count = hooks.len();
        for (index, hook) in hooks.into_iter().enumerate() {
            let exec = Exec { hook, limit: GREETING_MAX };
            let reason = match self.engine.exec(container, &exec).await {
                Ok(end) if end.code == 0 => continue,
                Ok(end) => {
                    let tail = tail(&end.output);
                    format!("ended with exit code {}{tail}", end.code)
                }
                // It ended by itself: its state tells of that.
                Err(EngineError::Refused { status: 404 | 409, .. }) => return Ok(()),
                Err(EngineError::TimedOut { limit, .. }) => {
                    format!("took longer than {} s", limit.as_secs())
                }
                Err(error) => error.sentence(),
            };
            self.engine.stop(container).await?;
            let which = if count > 1 { format!(" {}", index + 1) } else { String::new() };
            return Err(Failure::from(format!("post_start{which} {reason}")));
        }
        Ok(())
    }

    /// Runs what comes before a stop, for no longer than its grace. Whatever becomes of it, the
    /// container is stopped.
    async fn take_leave(&self, container: &str, farewell: Option<Farewell>) {
        let Some(farewell) = farewell else { return };
        let deadline = Instant::now() + farewell.limit();
        for hook in farewell.hooks {
            let limit = deadline.saturating_duration_since(Instant::now());
            if limit.is_zero() {
                tracing::warn!(container, "`pre_stop` took as long as the grace period");
                return;
            }
            match self.engine.exec(container, &Exec { hook, limit }).await {
                Ok(end) if end.code == 0 => {}
                Ok(end) => {
                    tracing::warn!(container, code = end.code, output = end.output, "`pre_stop`");
                }
                Err(error) => tracing::warn!(container, %error, "`pre_stop`"),
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

/// The last line that says something, in brackets.
fn tail(output: &str) -> String {
    let last = output.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map(|line| format!(" ({line})")).unwrap_or_default()
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self { no_room: error.is_for_want_of_room(), reason: error.sentence() }
    }
}
