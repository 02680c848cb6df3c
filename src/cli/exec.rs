//! `muster exec`.

use super::args::ProjectArgs;
use super::converse::{Front, converse, exited, typed};
use super::errors::{CliError, Outcome};
use super::run::variables;
use super::{Context, project, terminal};
use crate::api::ExecRequest;
use crate::model::{Hook, ServiceName, TerminalSize};

/// The size of a terminal that does not tell it.
const SIZE: TerminalSize = TerminalSize { columns: 80, rows: 24 };

/// Run a command in a running container of a service, on whichever host it is
///
/// Its input and its outputs are those of this command, and so is its exit code: 126 when it cannot be
/// run, 127 when there is no such program, as Docker has it. It gets a terminal when there is one at
/// both ends. When this command ends before it, its input is closed, and a terminal hangs up.
#[derive(Debug, clap::Args)]
pub(super) struct ExecArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Do not wait for its end: its input is closed, and what it writes is lost
    #[arg(short, long)]
    detach: bool,
    /// Give it no terminal
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Keep its input open, as it is anyway; `--interactive=false` closes it
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true,
          default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
    /// Give it a terminal, as it has anyway where there is one
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Set a variable; one without a value is taken from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Run in this folder of the container
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<String>,
    /// Give it all privileges
    #[arg(long)]
    privileged: bool,
    /// The number of the replica. Without it: one on the host that is asked, where there are any, else
    /// one on another host; of these the lowest number that runs. With a context: of all
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// The service, or `SERVICE-run` for what `muster run` runs
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The program and its arguments
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    command: Vec<String>,
}

pub(super) async fn run(
    args: ExecArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was run");
    let app = project::app_name(&global.then(args.project))?;
    let front = Front::of(args.interactive && !args.detach, args.no_tty);
    let program = args.command.first().cloned().unwrap_or_default();
    let size = (front == Front::Terminal).then(|| terminal::size().unwrap_or(SIZE));
    let request = ExecRequest {
        app,
        service: ServiceName::new(&args.service),
        index: args.index,
        hook: Hook {
            command: args.command,
            user: args.user,
            privileged: args.privileged,
            working_dir: args.workdir,
            environment: variables(&args.env)?,
        },
        terminal: size,
        detach: args.detach,
    };
    let (typed, input) = typed();
    let said = context.client().exec(&request, input).await?;
    context.if_interrupted(format!("the input of `{program}` was closed; it may go on"));
    Ok(exited(converse(front, typed, said).await?))
}
