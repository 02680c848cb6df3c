//! Commands in running containers. One that takes too long is killed: Docker has no call for it, so
//! this is done by its process id, and only when that process is in the container.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout_at};

use super::session::{ASK_LIMIT, Link};
use crate::docker::{EngineError, Exec, ExecEnd, OUTPUT_MAX};
use crate::model::Hook;

/// Between two looks at a command that has closed its outputs and has not ended.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(link: &Link, id: &str, exec: &Exec) -> Result<ExecEnd, EngineError> {
    let program = exec.hook.command.first().map(String::as_str).unwrap_or_default();
    let action = format!("run `{program}` in container `{id}`");
    let made = create(link, &action, id, options(&exec.hook)).await?;
    let deadline = Instant::now() + exec.limit;
    let output = match timeout_at(deadline, read(link, &action, &made)).await {
        Ok(output) => output?,
        Err(_) => return Err(too_late(link, &action, (id, &made), exec.limit).await),
    };
    // The outputs may be closed while it goes on.
    loop {
        let told = inspect_exec(link, &action, &made).await?;
        if told.running != Some(true) {
            let code = told.exit_code.unwrap_or_default();
            return Ok(ExecEnd { code, output: String::from_utf8_lossy(&output).into_owned() });
        }
        if Instant::now() >= deadline {
            return Err(too_late(link, &action, (id, &made), exec.limit).await);
        }
        sleep(PAUSE).await;
    }
}

/// Makes a command that is not started yet. Returns its id.
pub(super) async fn create(
    link: &Link,
    action: &str,
    id: &str,
    options: CreateExecOptions<String>,
) -> Result<String, EngineError> {
    let made = link
        .call(action, ASK_LIMIT, |docker| async move { docker.create_exec(id, options).await })
        .await?;
    Ok(made.id)
}

pub(super) fn options(hook: &Hook) -> CreateExecOptions<String> {
    let environment = hook.environment.iter().map(|(name, value)| format!("{name}={value}"));
    CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(hook.command.clone()),
        env: Some(environment.collect()),
        privileged: Some(hook.privileged),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        ..CreateExecOptions::default()
    }
}

/// Starts it and reads what it writes to the end; the last of it is kept.
async fn read(link: &Link, action: &str, exec: &str) -> Result<Vec<u8>, EngineError> {
    let session = link.session().await?;
    let started = session.docker.start_exec(exec, None).await;
    let mut kept = Vec::new();
    match started.map_err(|error| link.told(action, error))? {
        StartExecResults::Detached => {}
        StartExecResults::Attached { mut output, input: _input } => {
            while let Some(chunk) = output.next().await {
                let chunk = chunk.map_err(|error| link.told(action, error))?;
                kept.extend_from_slice(&chunk.into_bytes());
                if kept.len() > 2 * OUTPUT_MAX {
                    kept.drain(..kept.len() - OUTPUT_MAX);
                }
            }
        }
    }
    kept.drain(..kept.len().saturating_sub(OUTPUT_MAX));
    Ok(kept)
}

pub(super) async fn inspect_exec(
    link: &Link,
    action: &str,
    exec: &str,
) -> Result<ExecInspectResponse, EngineError> {
    link.call(action, ASK_LIMIT, |docker| async move { docker.inspect_exec(exec).await }).await
}

/// Kills what took too long.
async fn too_late(
    link: &Link,
    action: &str,
    (id, exec): (&str, &str),
    limit: Duration,
) -> EngineError {
    if let Ok(told) = inspect_exec(link, action, exec).await {
        signal(&told, id, &[Signal::KILL]);
    }
    EngineError::TimedOut { action: action.to_owned(), limit }
}

/// Sends signals to the process of a command that runs in a container.
pub(super) fn signal(told: &ExecInspectResponse, container: &str, signals: &[Signal]) {
    let pid = told.pid.filter(|_| told.running == Some(true));
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok())
        && is_in(pid, container)
        && let Some(pid) = Pid::from_raw(pid)
    {
        for signal in signals {
            if let Err(error) = kill_process(pid, *signal) {
                tracing::debug!(container, %error, "a command cannot be sent a signal");
            }
        }
    }
}

/// Whether a process of this host is in the container: the daemon may count its processes elsewhere.
fn is_in(pid: i32, container: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"));
    container.len() >= 12 && groups.is_ok_and(|groups| groups.contains(container))
}
