//! Programs with somebody in front of them: commands in running containers, and containers whose own
//! program somebody attends. What is typed and shown is not looked at.

use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions};
use bollard::query_parameters::{KillContainerOptions, ResizeContainerTTYOptions};
use bytes::Bytes;
use rustix::process::Signal;
use serde_json::json;
use tokio::io::{ReadHalf, split};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::containers::{absent_is_none, inspect};
use super::exec::{create, inspect_exec, options, signal};
use super::hijack::{Held, Hijacked, Output, Waiting, hijack};
use super::session::{ASK_LIMIT, Link, START_LIMIT};
use crate::docker::stream::generate;
use crate::docker::{BoxStream, Console, ConsoleOf, EngineError, Program, Said};
use crate::model::{Hook, TerminalSize};
use crate::telemetry::chain;

/// Between two looks at a program that has closed its outputs and has not ended: the first pause, and
/// the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// A container whose connection ended while it runs: its daemon has lost it from sight.
const ENDING: Duration = Duration::from_secs(3);
/// Docker lets go of a terminal when this is typed, and there is no way to have it do without. Nobody
/// types it by chance.
const DETACH_KEYS: &str =
    "ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^,ctrl-^";

type Sender = mpsc::Sender<Result<Said, EngineError>>;

/// Runs a command in a running container.
pub(super) async fn open(
    link: &Arc<Link>,
    id: &str,
    program: &Program,
) -> Result<Console, EngineError> {
    let action = action(id, &program.hook);
    let terminal = program.terminal.is_some();
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        tty: Some(terminal),
        detach_keys: terminal.then(|| DETACH_KEYS.to_owned()),
        ..options(&program.hook)
    };
    let made = create(link, &action, id, options).await?;
    // Before API 1.42 this is not known.
    let size = program.terminal.map(|size| [size.rows, size.columns]);
    let body = json!({ "Detach": false, "Tty": terminal, "ConsoleSize": size });
    let path = format!("/exec/{made}/start");
    let way = hijack(link, &action, &path, body.to_string().into()).await?;
    let of = ConsoleOf::Command { container: id.to_owned(), exec: made.clone() };
    let link = Arc::clone(link);
    Ok(console(of, terminal, way, move |from, sender| async move {
        if tell(&link, Output::new(from, terminal), &sender).await {
            let ended = command_ended(&link, &action, &made).await.map(Said::Ended);
            drop(sender.send(ended).await);
        }
    }))
}

/// Runs a command in a running container, for nobody.
pub(super) async fn launch(link: &Link, id: &str, hook: &Hook) -> Result<(), EngineError> {
    let action = action(id, hook);
    let options = CreateExecOptions { attach_stdout: None, attach_stderr: None, ..options(hook) };
    let made = create(link, &action, id, options).await?;
    let start = StartExecOptions { detach: true, ..StartExecOptions::default() };
    link.call(
        &action,
        START_LIMIT,
        |docker| async move { docker.start_exec(&made, Some(start)).await },
    )
    .await
    .map(|_| ())
}

/// Sits down before a container that has not started yet.
pub(super) async fn sit_down(link: &Link, id: &str) -> Result<Hijacked, EngineError> {
    let keys = DETACH_KEYS.replace('^', "%5E").replace(',', "%2C");
    let path =
        format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1&detachKeys={keys}");
    hijack(link, &format!("attach to container `{id}`"), &path, Bytes::new()).await
}

/// The ways to a container that somebody has sat down before.
pub(super) fn attach(link: &Arc<Link>, held: &Held, id: &str) -> Option<Console> {
    held.sweep();
    let Waiting { way, terminal, .. } = held.take(id)?;
    let (link, of) = (Arc::clone(link), id.to_owned());
    Some(console(
        ConsoleOf::Container(id.to_owned()),
        terminal,
        way,
        move |from, sender| async move {
            if tell(&link, Output::new(from, terminal), &sender).await {
                let ended = container_ended(&link, &of).await.map(Said::Ended);
                drop(sender.send(ended).await);
            }
        },
    ))
}

fn console<F>(
    of: ConsoleOf,
    terminal: bool,
    way: Hijacked,
    body: impl FnOnce(ReadHalf<Hijacked>, Sender) -> F,
) -> Console
where
    F: Future<Output = ()> + Send + 'static,
{
    let (from, to) = split(way);
    let output: BoxStream<Result<Said, EngineError>> = generate(|sender| body(from, sender));
    Console { of, terminal, input: Box::pin(to), output }
}

/// Passes on what it writes; whether its end is still to be told.
async fn tell(link: &Link, mut output: Output<ReadHalf<Hijacked>>, sender: &Sender) -> bool {
    loop {
        let item = match output.next().await {
            Ok(None) => return true,
            Ok(Some(said)) => Ok(said),
            Err(error) => {
                let (socket, detail) = (link.socket().to_owned(), chain(&error));
                Err(EngineError::Unreachable { socket, detail })
            }
        };
        let is_last = item.is_err();
        if sender.send(item).await.is_err() || is_last {
            return false;
        }
    }
}

async fn command_ended(link: &Link, action: &str, exec: &str) -> Result<i64, EngineError> {
    let mut pause = PAUSES.0;
    loop {
        let told = inspect_exec(link, action, exec).await?;
        if told.running != Some(true) {
            return Ok(told.exit_code.unwrap_or_default());
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn container_ended(link: &Link, id: &str) -> Result<i64, EngineError> {
    let refused = |detail: &str| EngineError::Refused {
        action: format!("see the end of container `{id}`"),
        status: 404,
        detail: detail.to_owned(),
    };
    let (mut pause, mut waited) = (PAUSES.0, Duration::ZERO);
    loop {
        let told = inspect(link, id).await?.and_then(|told| told.state);
        let told = told.ok_or_else(|| refused("it is gone"))?;
        if told.running != Some(true) {
            return Ok(told.exit_code.unwrap_or_default());
        }
        if waited > ENDING {
            return Err(refused("the connection with it ended"));
        }
        sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(PAUSES.1);
    }
}

pub(super) async fn resize(
    link: &Link,
    of: &ConsoleOf,
    size: TerminalSize,
) -> Result<(), EngineError> {
    let action = "change the size of a terminal";
    let TerminalSize { columns, rows } = size;
    match of {
        ConsoleOf::Command { container: _, exec } => {
            let size = ResizeExecOptions { height: rows, width: columns };
            link.call(
                action,
                ASK_LIMIT,
                |docker| async move { docker.resize_exec(exec, size).await },
            )
            .await
        }
        ConsoleOf::Container(id) => {
            let size = ResizeContainerTTYOptions { h: rows.into(), w: columns.into() };
            link.call(action, ASK_LIMIT, |docker| async move {
                docker.resize_container_tty(id, size).await
            })
            .await
        }
    }
}

/// Docker does nothing when a terminal's connection ends, and has no call for this for a command: its
/// process is told directly.
pub(super) async fn hang_up(link: &Link, of: &ConsoleOf) -> Result<(), EngineError> {
    let action = "hang up a terminal";
    match of {
        ConsoleOf::Command { container, exec } => {
            let Some(told) = absent_is_none(inspect_exec(link, action, exec).await)? else {
                return Ok(());
            };
            signal(&told, container, &[Signal::HUP, Signal::CONT]);
            Ok(())
        }
        ConsoleOf::Container(id) => {
            let options = KillContainerOptions { signal: "SIGHUP".to_owned() };
            let told = link.call(action, ASK_LIMIT, |docker| async move {
                docker.kill_container(id, Some(options)).await
            });
            match told.await {
                // It is gone, or has ended.
                Err(EngineError::Refused { status: 404 | 409, .. }) => Ok(()),
                answer => answer,
            }
        }
    }
}

fn action(id: &str, hook: &Hook) -> String {
    let program = hook.command.first().map(String::as_str).unwrap_or_default();
    // People read it.
    let short: String = id.chars().take(12).collect();
    format!("run `{program}` in container `{short}`")
}
