//! How the containers of an image behave, as tests script it. Plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Health;

/// How a container of an image behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Behaviour {
    /// From the start call until the process runs.
    pub start_delay: Duration,
    /// The image's own health check.
    pub health: Option<FakeHealth>,
    /// The process ends by itself.
    pub exit: Option<FakeExit>,
    /// The start is refused with these words.
    pub fail_start: Option<String>,
    /// Time from the stop signal to the end; longer than the grace means it is killed (137).
    pub stop_delay: Duration,
    /// Exit code after a stop signal.
    pub stop_code: i64,
    /// What it writes to standard output and error.
    pub output: (String, String),
    /// How it answers those who ask it how it is.
    #[serde(default)]
    pub answers: Answers,
}

/// How a container answers those who ask it how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Answers {
    /// Well, as soon as it runs.
    #[default]
    Well,
    /// Well, once it has run for so long.
    After(Duration),
    /// Badly, at once.
    Badly,
    /// Never.
    Hangs,
}

/// The verdict of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeHealth {
    /// From when the process runs.
    pub after: Duration,
    /// The verdict, which then stays.
    pub verdict: Health,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeExit {
    /// From when the process runs.
    pub after: Duration,
    /// Exit code.
    pub code: i64,
    /// Killed for want of memory.
    pub oom_killed: bool,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeImage {
    /// `linux/amd64`.
    pub platform: String,
    /// How its containers behave.
    pub behaviour: Behaviour,
    /// How those with exactly this command behave.
    pub commands: Vec<(Vec<String>, Behaviour)>,
    /// How commands end that are run in its containers; others end at once with 0.
    #[serde(default)]
    pub execs: Vec<(Vec<String>, FakeExec)>,
}

/// The end of a command in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FakeExec {
    /// How long it runs.
    pub takes: Duration,
    /// Exit code.
    pub code: i64,
    /// What it writes to its standard output.
    pub output: String,
    /// What it writes to its standard error; only who sits in front of it sees it.
    #[serde(default)]
    pub errors: String,
}

impl FakeImage {
    /// An image for `linux/amd64` whose containers run until stopped.
    pub fn new(behaviour: Behaviour) -> Self {
        Self {
            platform: "linux/amd64".to_owned(),
            behaviour,
            commands: Vec::new(),
            execs: Vec::new(),
        }
    }

    pub(super) fn behaviour(&self, command: Option<&[String]>) -> &Behaviour {
        let scripted = self.commands.iter().find(|(words, _)| Some(words.as_slice()) == command);
        scripted.map_or(&self.behaviour, |(_, behaviour)| behaviour)
    }
}
