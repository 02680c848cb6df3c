//! What containers are asked, and told to run.

use std::time::Duration;

use super::{FakeHost, refused};
use crate::docker::EngineError;
use crate::docker::fake::image::{Answers, FakeExec};
use crate::model::{ContainerState, Moment};

impl FakeHost {
    /// After how long a container answers who asks it how it is, and whether well.
    pub fn answer(&self, id: &str, timeout: Duration) -> Result<(Duration, bool), EngineError> {
        let now = self.now;
        let missing = || refused("ask a container", 404, "it does not run");
        let container = self.containers.get(id).filter(|c| c.process.is_running(now));
        let process = &container.ok_or_else(missing)?.process;
        let ran = process.since().map_or(Duration::ZERO, |since| now.since(since));
        let (quick, deaf) = (Duration::from_millis(2), self.deaf.contains(id));
        Ok(match process.behaviour().answers {
            _ if deaf => (timeout, false),
            Answers::Well => (quick, true),
            Answers::After(time) => (quick, ran >= time),
            Answers::Badly => (quick, false),
            Answers::Hangs => (timeout, false),
        })
    }

    /// A container answers nobody any more, until it is started anew.
    pub fn deafen(&mut self, id: &str) {
        self.deaf.insert(id.to_owned());
    }

    /// It answers again.
    pub fn hear(&mut self, id: &str) {
        self.deaf.remove(id);
    }

    /// How often a container was started.
    pub fn n_starts(&self, id: &str) -> u32 {
        self.containers.get(id).map_or(0, |container| container.process.n_starts())
    }

    /// Runs a command in a running container; returns how it ends, and after how long.
    pub fn exec(&mut self, id: &str, command: &[String]) -> Result<FakeExec, EngineError> {
        let now = self.now;
        let action = format!("run a command in container `{id}`");
        let container = self.container_mut(id, &action)?;
        if !container.process.is_running(now) {
            return Err(refused(&action, 409, "the container is not running"));
        }
        let image = container.made.spec.image.clone();
        self.executed.push((now, id.to_owned(), command.to_vec()));
        let execs = self.images.get(&image).map(|image| image.execs.as_slice());
        let scripted = execs.unwrap_or_default().iter().find(|(words, _)| words == command);
        Ok(scripted.map(|(_, exec)| exec.clone()).unwrap_or_default())
    }

    /// The exit code of a container; none while it runs.
    pub fn exit_code(&self, id: &str) -> Option<i64> {
        match self.containers.get(id)?.process.state(self.now) {
            ContainerState::Exited { code, .. } => Some(code),
            ContainerState::Created
            | ContainerState::Running
            | ContainerState::Paused
            | ContainerState::Changing
            | ContainerState::Dead => None,
        }
    }

    /// How many containers of steps before a start were ever made.
    pub fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// Every command that was run in a container: when, in which, what.
    pub fn executed(&self) -> &[(Moment, String, Vec<String>)] {
        &self.executed
    }
}
