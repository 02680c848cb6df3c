//! Follows one run to its end: prints what it writes, or sits in front of it, and says how it ended.

use std::time::Duration;

use futures_util::StreamExt;

use super::Context;
use super::converse::{Front, converse, typed};
use super::errors::{CliError, Outcome};
use super::follow::is_passing;
use crate::api::client::{Client, ClientError};
use crate::api::{ApiError, AttachRequest, LogLine, LogsQuery, RunName, RunView};
use crate::docker::BoxStream;
use crate::model::{AppName, RunState};

/// Time between two looks at the run.
const LOOK: Duration = Duration::from_millis(300);
/// The same while somebody waits for a prompt.
const GLANCE: Duration = Duration::from_millis(100);

enum Next {
    Line(LogLine),
    Broken(ApiError),
    /// No line for a while, or no more.
    Look,
}

/// What is asked for of one run.
pub(super) fn lines_of(app: &AppName, run: &RunName, follow: bool) -> LogsQuery {
    LogsQuery {
        app: app.clone(),
        services: vec![run.name.clone()],
        follow,
        tail: None,
        timestamps: false,
        since: None,
        index: Some(run.run),
    }
}

/// The run as it is now.
///
/// # Errors
///
/// When it is not known any more, or nobody answers.
pub(super) async fn look(
    client: &Client,
    app: &AppName,
    run: &RunName,
) -> Result<RunView, CliError> {
    let jobs = client.jobs(app).await?;
    let job = jobs.into_iter().find(|job| job.name == run.name);
    let mut runs = job.into_iter().flat_map(|job| job.runs);
    runs.find(|known| known.run == run.run).ok_or_else(|| {
        CliError::user(format!("run {} of `{}` was removed", run.run, run.name))
            .hint("`muster job ls` shows what there is")
    })
}

/// Prints what a run writes until it is over.
///
/// # Errors
///
/// When it is removed meanwhile, or the cluster does not answer.
pub(super) async fn attach(
    context: &Context,
    client: &Client,
    app: &AppName,
    run: &RunName,
) -> Result<RunView, CliError> {
    let mut printed = 0;
    let mut waited_for = String::new();
    let mut lines: Option<BoxStream<Result<LogLine, ApiError>>> = None;
    loop {
        match next(&mut lines).await {
            Next::Line(line) => {
                print(context, &line)?;
                printed += 1;
                continue;
            }
            Next::Broken(error) => {
                context.printer.detail(&error.to_string());
                lines = None;
            }
            Next::Look => {}
        }
        let now = match client.jobs(app).await {
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => look(client, app, run).await?,
        };
        if now.state.is_over() {
            drop(lines);
            rest(context, client, app, run, printed).await?;
            return Ok(now);
        }
        say_waiting(context, &now, &mut waited_for);
        // A run that is begun again elsewhere writes from the beginning again.
        if lines.is_none() && now.began.is_some() {
            lines = Some(client.logs(&lines_of(app, run, true)).await?);
            printed = 0;
        }
    }
}

/// Sits in front of a run from its first byte on until it is over. Of one that nobody can sit in front of,
/// any more, what it wrote is printed.
///
/// # Errors
///
/// When the connection is lost, it is removed meanwhile, or the cluster does not answer.
pub(super) async fn attend(
    context: &Context,
    client: &Client,
    (app, run): (&AppName, &RunName),
    front: Front,
) -> Result<RunView, CliError> {
    let mut waited_for = String::new();
    loop {
        let now = see(client, app, run).await?;
        if now.began.is_some() || now.state.is_over() {
            break;
        }
        say_waiting(context, &now, &mut waited_for);
        tokio::time::sleep(GLANCE).await;
    }
    let (typed, input) = typed();
    let request = AttachRequest { app: app.clone(), name: run.name.clone(), run: run.run };
    let said = match client.attach(&request, input).await {
        Ok(said) => said,
        Err(error) if error.is_not_found() => {
            context.printer.warn(&format!("{error}: its input is not passed on"));
            return attach(context, client, app, run).await;
        }
        Err(error) => return Err(error.into()),
    };
    let ended = converse(front, typed, said).await;
    ended.map_err(|error| {
        let (name, run) = (&run.name, run.run);
        error.hint(format!("`muster job logs {name} {run}` prints what it wrote"))
    })?;
    loop {
        let now = see(client, app, run).await?;
        if now.state.is_over() {
            return Ok(now);
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// The run as it is now; waits while the cluster does not answer for a moment.
async fn see(client: &Client, app: &AppName, run: &RunName) -> Result<RunView, CliError> {
    loop {
        match client.jobs(app).await {
            Err(error) if is_passing(&error) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error.into()),
            Ok(_) => return look(client, app, run).await,
        }
    }
}

async fn next(lines: &mut Option<BoxStream<Result<LogLine, ApiError>>>) -> Next {
    let Some(stream) = lines else {
        tokio::time::sleep(LOOK).await;
        return Next::Look;
    };
    // Both are cancel-safe: `next` of a stream takes nothing when it is dropped.
    let line = tokio::select! {
        line = stream.next() => line,
        () = tokio::time::sleep(LOOK) => return Next::Look,
    };
    match line {
        Some(Ok(line)) => Next::Line(line),
        Some(Err(error)) => Next::Broken(error),
        None => {
            *lines = None;
            Next::Look
        }
    }
}

/// What it wrote between the last line that came and its end.
async fn rest(
    context: &Context,
    client: &Client,
    app: &AppName,
    run: &RunName,
    printed: usize,
) -> Result<(), CliError> {
    let all = client.logs(&lines_of(app, run, false)).await?;
    let mut left = all.skip(printed);
    while let Some(line) = left.next().await {
        print(context, &line.map_err(ClientError::Refused)?)?;
    }
    Ok(())
}

fn print(context: &Context, line: &LogLine) -> Result<(), CliError> {
    context.printer.raw(&format!("{}\n", line.line))
}

fn say_waiting(context: &Context, run: &RunView, said: &mut String) {
    let words = match (&run.reason, run.state) {
        (Some(reason), _) if run.began.is_none() => reason.clone(),
        (None, RunState::Queued) => "waits for another run".to_owned(),
        (_, _) => return,
    };
    if *said != words {
        context.printer.say(&format!("run {}: {words}", run.run));
        *said = words;
    }
}

/// How a command ends whose run is over: with the code of its process.
pub(super) fn outcome(run: &RunView) -> Result<Outcome, CliError> {
    match (run.state, run.exit_code) {
        (RunState::Succeeded, _) => Ok(Outcome::Done),
        // What does not fit into an exit code is 1, as nothing of it must be 0.
        (_, Some(code)) => Ok(Outcome::Exited(u8::try_from(code).unwrap_or(1).max(1))),
        (_, None) => {
            let why = run.reason.as_deref().unwrap_or("it has not said why");
            Err(CliError::user(format!("run {} failed: {why}", run.run)))
        }
    }
}
