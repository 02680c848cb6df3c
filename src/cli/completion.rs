//! `muster completion`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::errors::{CliError, Outcome};
use super::{Cli, Context};

/// Print what a shell needs to complete muster's commands
#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: CompletionArgs, context: &Context) -> Result<Outcome, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muster", &mut script);
    context.printer.raw(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
