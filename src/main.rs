//! The `muster` binary: parse, log, runtime, dispatch, exit code.

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use muster::cli::errors::{CliError, Outcome};
use muster::cli::printer::{Level, Printer};
use muster::cli::{self, Cli};
use muster::telemetry::{self, LogFormat};
use tokio::runtime::{Builder, Runtime};

/// Threads of an agent: it waits far more than it computes, and shares its host with the load.
const AGENT_THREADS: usize = 2;
/// Threads of a command beside its first one, which waits where a pager does not read on: the connection
/// to a cluster is kept alive meanwhile.
const COMMAND_THREADS: usize = 1;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let printer = Printer::new(cli.level());
    let runtime = match set_up(&cli) {
        Ok(runtime) => runtime,
        Err(error) => {
            printer.error(&error);
            return ExitCode::from(error.kind.code());
        }
    };
    let (printer, result) = runtime.block_on(cli::run(cli, printer));
    // What still runs belongs to a connection or a file that nobody waits for any more.
    runtime.shutdown_background();
    end(&printer, result)
}

/// Help, the version or a usage error, in clap's words.
fn explain(error: &clap::Error) -> ExitCode {
    // Nothing but `muster`: people want to know what there is. It is still no command.
    if error.kind() == ErrorKind::MissingSubcommand && std::env::args_os().len() == 1 {
        let help = Cli::command().render_help();
        Printer::new(Level::Normal).say(help.ansi().to_string().trim_end());
        return ExitCode::from(2);
    }
    // When it cannot be printed there is nobody to tell.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn set_up(cli: &Cli) -> Result<Runtime, CliError> {
    let threads = if cli.is_agent() {
        AGENT_THREADS
    } else {
        start_log(cli)?;
        COMMAND_THREADS
    };
    Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| CliError::cluster(format!("cannot start the runtime: {error}")))
}

/// The daemon sets up its own log; a command has none unless asked.
fn start_log(cli: &Cli) -> Result<(), CliError> {
    let filter = match (telemetry::filter_from_environment(), cli.level()) {
        (Some(filter), _) => filter,
        (None, Level::Verbose) => "muster=debug".to_owned(),
        (None, Level::Normal | Level::Quiet) => return Ok(()),
    };
    telemetry::init(LogFormat::Human { colours: false }, Some(&filter))
        .map_err(|error| CliError::user(telemetry::chain(&error)))
}

fn end(printer: &Printer, result: Result<Outcome, CliError>) -> ExitCode {
    match result {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            printer.error(&error);
            ExitCode::from(error.kind.code())
        }
    }
}
