//! What every [`Engine`] must do, as checks that run against any of them: the fake in unit tests,
//! a real daemon in the cluster tests. A check that passes leaves nothing behind but the image it
//! built: an [`Engine`] removes none.

mod consoles;
mod copies;
mod images;
mod lifecycle;
mod shell;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use ipnet::Ipv4Net;
use tokio::time::{Instant, sleep};

use super::fake::{Behaviour, FakeExec, FakeExit, FakeImage};
use super::{CreateContainer, CreateNetwork, Engine, EngineError, LogOptions};
use crate::model::{Container, ContainerSpec, Generation, NetworkSpec, ReplicaId};

/// A real daemon on a busy machine takes seconds to start a container; more means it is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What the checks work with.
#[derive(Debug, Clone)]
pub struct Base {
    /// A reference on the engine, with `sh`, `sleep`, `cat`, `stat`, `stty`, `true` and `false` of
    /// busybox in its `PATH`.
    pub image: String,
    /// Begins every name made, so that runs side by side do not meet.
    pub prefix: String,
    /// Holds the subnets of the networks made: at least a /24 nobody uses.
    pub pool: Ipv4Net,
    /// Whether commands really run, or are scripted by [`scripted_image`].
    pub programs: Programs,
}

/// Whether commands really run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// They do.
    Real,
    /// They are scripted: the checks that need a real process are left out.
    Scripted,
}

/// Why a check failed.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        let detail = match &error {
            EngineError::Unreachable { detail, .. } | EngineError::NoImage { detail, .. } => {
                detail.as_str()
            }
            EngineError::TimedOut { .. }
            | EngineError::Refused { .. }
            | EngineError::Version { .. } => "",
        };
        Self(format!("{error} {detail}"))
    }
}

/// Of one check.
#[derive(Debug)]
pub struct Outcome {
    /// The promise, in words.
    pub name: &'static str,
    /// Whether it holds.
    pub result: Result<(), Broken>,
    /// How long it took to find out.
    pub took: Duration,
}

/// Runs every check that `base` allows, one after the other.
pub async fn run_all(engine: &impl Engine, base: &Base) -> Vec<Outcome> {
    let mut outcomes = lifecycle::run_all(engine, base).await;
    outcomes.extend(images::run_all(engine, base).await);
    outcomes.extend(consoles::run_all(engine, base).await);
    outcomes.extend(copies::run_all(engine, base).await);
    match base.programs {
        Programs::Real => outcomes.extend(shell::run_all(engine, base).await),
        Programs::Scripted => {}
    }
    outcomes
}

/// Runs a check and notes the time. Boxed: all checks in one future are more than a stack holds.
fn outcome<'c>(
    name: &'static str,
    check: impl Future<Output = Result<(), Broken>> + 'c,
) -> Pin<Box<dyn Future<Output = Outcome> + 'c>> {
    Box::pin(async move {
        let began = Instant::now();
        let result = check.await;
        Outcome { name, result, took: began.elapsed() }
    })
}

/// Sleeps as process 1, which no signal but SIGKILL ends.
const FOREVER: [&str; 2] = ["sleep", "3600"];
/// Ends with 0 when asked to.
const POLITE: [&str; 3] =
    ["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"];
/// Writes to both outputs and fails.
const FAILING: [&str; 3] = ["sh", "-c", "echo out; echo err >&2; exit 3"];
/// Ends by itself after half a second.
const BRIEF: [&str; 2] = ["sleep", "0.5"];
/// Tells the size of its terminal once a line is typed.
const SIZE: [&str; 3] = ["sh", "-c", "read line; exec stty size"];
/// Speaks first, then gives back what it is given.
const TALKING: [&str; 3] = ["sh", "-c", "echo first; cat; exit 4"];
/// Ends with 7 when its terminal hangs up.
const HANGING: [&str; 3] =
    ["sh", "-c", "trap 'exit 7' HUP; echo ready; while :; do sleep 0.1; done"];
/// There is no such program.
const NO_PROGRAM: [&str; 1] = ["nosuch"];

/// An image for a fake engine whose commands behave as the real ones do.
pub fn scripted_image() -> FakeImage {
    let forever = Behaviour { stop_delay: Duration::MAX, ..Behaviour::default() };
    let ended = FakeExit { after: Duration::from_millis(10), code: 3, oom_killed: false };
    let failing = Behaviour {
        exit: Some(ended),
        output: ("out\n".to_owned(), "err\n".to_owned()),
        ..Behaviour::default()
    };
    let polite =
        Behaviour { output: ("ready\n".to_owned(), String::new()), ..Behaviour::default() };
    let ended = FakeExit { after: Duration::from_millis(500), code: 0, oom_killed: false };
    let brief = Behaviour { exit: Some(ended), ..Behaviour::default() };
    let says = |text: &str, stop_code| Behaviour {
        output: (text.to_owned(), String::new()),
        stop_code,
        ..Behaviour::default()
    };
    let no_program = Behaviour {
        fail_start: Some("exec: \"nosuch\": executable file not found in $PATH".to_owned()),
        ..Behaviour::default()
    };
    let mut image = FakeImage::new(Behaviour::default());
    image.commands = vec![
        (words(&FOREVER), forever),
        (words(&POLITE), polite),
        (words(&FAILING), failing),
        (words(&BRIEF), brief),
        (words(&NO_PROGRAM), no_program),
        (words(&TALKING), says("first\n", 4)),
        (words(&HANGING), says("ready\n", 7)),
    ];
    let exec = |output: &str, errors: &str, code| FakeExec {
        code,
        output: output.to_owned(),
        errors: errors.to_owned(),
        ..FakeExec::default()
    };
    image.execs = vec![
        (words(&FAILING), exec("out\n", "err\n", 3)),
        (words(&NO_PROGRAM), exec("", "exec: \"nosuch\": executable file not found in $PATH", 127)),
    ];
    image
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

impl Base {
    fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }

    /// A container on no network.
    fn container(&self, name: &str, command: &[&str]) -> CreateContainer {
        CreateContainer {
            name: self.name(name),
            replica: ReplicaId { app: self.prefix.as_str().into(), service: name.into(), index: 1 },
            generation: Generation(1),
            revision: "r1".to_owned(),
            spec_hash: "hash".to_owned(),
            cluster: "contract".to_owned(),
            spec: ContainerSpec {
                image: self.image.clone(),
                command: Some(words(command)),
                ..ContainerSpec::default()
            },
            volumes: BTreeMap::new(),
            networks: Vec::new(),
            joins: None,
            resolver: None,
            devices: Vec::new(),
            step: None,
        }
    }

    /// The `index`-th /28 of the pool as a network.
    fn network(&self, key: &str, index: u32) -> Result<CreateNetwork, Broken> {
        let start = u32::from(self.pool.network()) + index * 16;
        let subnet =
            Ipv4Net::new(Ipv4Addr::from(start), 28).map_err(|error| Broken(error.to_string()))?;
        Ok(CreateNetwork {
            app: self.prefix.clone(),
            key: key.to_owned(),
            spec: NetworkSpec { name: self.name(key), ..NetworkSpec::default() },
            subnet,
            bridge: format!("mc-{key}{index}"),
        })
    }
}

/// Fails with `reason` unless `holds`.
fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(reason())) }
}

/// The container as listed, if it is.
async fn find(engine: &impl Engine, id: &str) -> Result<Option<Container>, Broken> {
    Ok(engine.containers().await?.into_iter().find(|container| container.id == id))
}

/// Waits until the listed container is as wanted.
async fn until(
    engine: &impl Engine,
    id: &str,
    wanted: impl Fn(&Container) -> bool,
) -> Result<Container, Broken> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find(engine, id).await?;
        match found {
            Some(container) if wanted(&container) => return Ok(container),
            found if Instant::now() > deadline => {
                return Err(Broken(format!("waited {PATIENCE:?}, last seen: {found:?}")));
            }
            Some(_) | None => sleep(LOOK_PAUSE).await,
        }
    }
}

/// All it wrote: standard output, standard error.
async fn output(engine: &impl Engine, id: &str) -> Result<(String, String), Broken> {
    let mut chunks = engine.logs(id, LogOptions::default());
    let mut texts = (String::new(), String::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let text = if chunk.stderr { &mut texts.1 } else { &mut texts.0 };
        text.push_str(&String::from_utf8_lossy(&chunk.bytes));
    }
    Ok(texts)
}
