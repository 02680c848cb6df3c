//! Starts an agent and a cluster of one host, when `muster up` finds none.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Context;
use super::errors::{CliError, Kind};
use crate::api::client::{Client, ClientError};
use crate::api::{InitRequest, Status};
use crate::config::DEFAULT_DATA_DIR;

/// Time for an agent to answer after its start. It looks at Docker and at the kernel first.
const START: Duration = Duration::from_secs(15);
/// Time between two tries to reach it.
const TRY: Duration = Duration::from_millis(100);

/// Makes sure that an agent answers. Starts one, and a cluster of it, when nobody does.
///
/// # Errors
///
/// When it cannot be started, or ends at once.
pub(super) async fn ensure_agent(context: &Context, client: &Client) -> Result<(), CliError> {
    match client.status().await {
        Ok(_) => return Ok(()),
        Err(ClientError::NoAgent { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // An agent elsewhere is not started from here.
    let Some(socket) = client.socket() else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        let words = format!("no agent answers on `{}`", socket.display());
        return Err(CliError::user(format!("{words}, and only root can start one"))
            .hint("`sudo muster up` starts one: it sets up networks"));
    }
    let log = data_dir().join("agent.log");
    let mut child = spawn(socket, &log)?;
    context.if_interrupted(format!("an agent was started; its log is `{}`", log.display()));
    let status = wait_until_up(client, &mut child, &log).await?;
    if let Some(cluster) = &status.removed_from {
        return Err(CliError::user(format!("this host was removed from cluster `{cluster}`"))
            .hint("`muster join TOKEN` joins again, `muster init` makes a cluster of this host"));
    }
    let made = status.cluster.is_none();
    let status = if made { client.init(&default_init()).await? } else { status };
    let what = if made { "made a cluster of this host" } else { "it resumed its cluster" };
    context.printer.say(&format!(
        "no agent was running: started one and {what}, `{}`; its log is `{}`",
        status.name,
        log.display()
    ));
    Ok(())
}

fn default_init() -> InitRequest {
    InitRequest {
        name: None,
        advertise: None,
        pool: None,
        overlay: None,
        labels: Default::default(),
    }
}

/// As `muster agent` reads it.
fn data_dir() -> PathBuf {
    std::env::var_os("MUSTER_DATA_DIR").map_or_else(|| DEFAULT_DATA_DIR.into(), PathBuf::from)
}

/// Starts an agent that outlives this command and its terminal.
fn spawn(socket: &Path, log: &Path) -> Result<Child, CliError> {
    let failed = |error: io::Error| CliError::cluster(format!("cannot start an agent: {error}"));
    let folder = log.parent().unwrap_or(Path::new("/"));
    // Keys will be in it.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let output = File::options().create(true).append(true).open(log).map_err(failed)?;
    // It will run in another folder.
    let absolute = |path: &Path| std::path::absolute(path).map_err(failed);
    Command::new(std::env::current_exe().map_err(failed)?)
        .args(["agent", "--detached", "--socket"])
        .arg(absolute(socket)?)
        .arg("--data-dir")
        .arg(absolute(folder)?)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        .spawn()
        .map_err(failed)
}

async fn wait_until_up(client: &Client, child: &mut Child, log: &Path) -> Result<Status, CliError> {
    let begun = Instant::now();
    loop {
        let error = match client.status().await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        if let Ok(Some(_)) = child.try_wait() {
            let words = last_words(log).unwrap_or_else(|| "it said nothing".to_owned());
            return Err(CliError::cluster(format!("the agent ended at once: {words}"))
                .hint(format!("its log is `{}`", log.display())));
        }
        if begun.elapsed() >= START {
            let error = CliError::from(error);
            return Err(CliError { kind: Kind::Cluster, ..error }
                .hint(format!("its log is `{}`", log.display())));
        }
        tokio::time::sleep(TRY).await;
    }
}

/// The last line of the log that says something.
fn last_words(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let error = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let last = || text.lines().rev().find(|line| !line.trim().is_empty());
    error.or_else(last).map(str::to_owned)
}
