//! `muster run`.

use std::collections::BTreeMap;

use super::args::ProjectArgs;
use super::attach::{attach, outcome};
use super::errors::{CliError, Outcome};
use super::{Context, project};
use crate::api::{ForgetRun, StartRun};
use crate::model::ServiceName;

/// Run one container of a service, or a job, somewhere in the cluster
///
/// Prints what it writes until it ends, and ends with its exit code. It joins the networks of the
/// service, publishes no ports, and is found under no name. Its input is closed.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Print the run's name and do not wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Remove the container and what it wrote once it has ended
    #[arg(long, conflicts_with = "detach")]
    rm: bool,
    /// Set a variable; one without a value is taken from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Run this in place of the entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Run in this folder of the container
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<String>,
    /// The service or the job
    #[arg(value_name = "SERVICE")]
    service: String,
    /// In place of its command
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(super) async fn run(
    args: RunArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was run");
    let app = project::app_name(&global.then(args.project))?;
    let request = StartRun {
        app: app.clone(),
        of: ServiceName::new(&args.service),
        command: (!args.command.is_empty()).then_some(args.command),
        entrypoint: args.entrypoint.map(|entrypoint| vec![entrypoint]),
        environment: variables(&args.env)?,
        user: args.user,
        working_dir: args.workdir,
    };
    let client = context.client();
    let run = client.start_run(&request).await?;
    let name = format!("{}/{}", run.name, run.run);
    if args.detach {
        if context.json {
            return context.printer.json(&run).map(|()| Outcome::Done);
        }
        return context.printer.data(&name).map(|()| Outcome::Done);
    }
    context.if_interrupted(format!(
        "`{name}` goes on; `muster job logs {} {}` prints what it writes, `muster job rm {} {}` ends it",
        run.name, run.run, run.name, run.run
    ));
    let ended = attach(context, &client, &app, &run).await?;
    if args.rm {
        client.forget_run(&ForgetRun { app, name: run.name, run: run.run }).await?;
    }
    outcome(&ended)
}

/// `A=b`, or `A` with the value that it has here.
pub(super) fn variables(all: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut variables = BTreeMap::new();
    for text in all {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), std::env::var(text).ok()),
        };
        if name.is_empty() {
            return Err(CliError::user(format!("`{text}` names no variable")));
        }
        // One that is not set here either is not set there, as in Docker Compose.
        if let Some(value) = value {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(variables)
}
