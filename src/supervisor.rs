//! The only place that spawns tasks: each has a name, a span, and ends when the agent stops.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Spawns named tasks and waits for them at the end.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Supervisor {
    /// A supervisor with no task.
    pub fn new() -> Self {
        Self::default()
    }

    /// A supervisor for a part of the agent that may end before the rest; it ends with the rest.
    #[must_use]
    pub fn part(&self) -> Self {
        let part = Self { stop: self.stop.child_token(), tasks: TaskTracker::new() };
        let ending = part.clone();
        self.spawn("part", async move {
            ending.stop.cancelled().await;
            ending.stop().await;
        });
        part
    }

    /// Becomes ready when the agent stops; every task of long life selects on it.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` until it ends. A panic is logged with the name and does not end the agent.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // No parent: a task goes on after the one that started it, and its log would name both.
        self.tasks.spawn(task.instrument(tracing::info_span!(parent: None, "task", name)))
    }

    /// Runs `task` until it ends or the agent stops, whichever is first. `task` is dropped at an
    /// await when the agent stops, so it must leave nothing half done there.
    pub fn spawn_until_stop<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Asks every task to end and waits for them.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
