//! `muster run`.

use std::collections::BTreeMap;

use super::args::ProjectArgs;
use super::attach::{attach, attend, outcome};
use super::converse::Front;
use super::errors::{CliError, Outcome};
use super::{Context, project};
use crate::api::{ForgetRun, StartRun};
use crate::model::{Attended, ServiceName};

/// Run one container of a service, or a job, somewhere in the cluster
///
/// Its input and its outputs are those of this command, and so is its exit code. It gets a terminal when
/// there is one at both ends. It joins the networks of the service, publishes no ports, is found under no
/// name, and is not started again when it fails. When this command ends before it, its input is closed, a
/// terminal hangs up, and it goes on if it wants to.
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
    /// Give it no terminal
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Pass the input on; with `--interactive=false` it is closed, and what is written to both outputs
    /// is printed line by line, as `muster job logs` does
    #[arg(short, long, num_args = 0..=1, require_equals = true, value_name = "YES",
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// Give it a terminal, as it has anyway where there is one
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Refused: a run is called by its service and its number, by which `muster job` finds it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
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
    if let Some(name) = &args.name {
        let words = format!(
            "a run cannot be called `{name}`: its name is that of its service, and a number"
        );
        return Err(
            CliError::user(words).hint("leave `--name` out; `--detach` prints the name it has")
        );
    }
    let app = project::app_name(&global.then(args.project))?;
    let front = Front::of(args.interactive && !args.detach, args.no_tty);
    let request = StartRun {
        app: app.clone(),
        of: ServiceName::new(&args.service),
        command: (!args.command.is_empty()).then_some(args.command),
        entrypoint: args.entrypoint.map(|entrypoint| vec![entrypoint]),
        environment: variables(&args.env)?,
        user: args.user,
        working_dir: args.workdir,
        attended: match front {
            Front::Terminal => Some(Attended::Terminal),
            Front::Pipes => Some(Attended::Pipes),
            Front::Outputs => None,
        },
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
    let ended = match front {
        Front::Outputs => attach(context, &client, &app, &run).await?,
        Front::Terminal | Front::Pipes => attend(context, &client, (&app, &run), front).await?,
    };
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
