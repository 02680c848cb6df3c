//! `muster node provider`.

use std::time::Duration;

use super::errors::{CliError, Outcome};
use super::show::{Column, table};
use super::{Context, args, printer, show};
use crate::api::{ProviderChange, ProviderDecisionView, ProviderStepView, ProviderView};

/// Have a command add hosts when replicas have no room, and take them back when they are empty
///
/// The command is a program of yours on the hosts, for root alone to write. One host at a time runs it, with a
/// JSON document on standard input that says what is missing and has a token to join with; README.md has the
/// protocol and an example.
#[derive(Debug, clap::Args)]
pub(super) struct ProviderArgs {
    #[command(subcommand)]
    command: Option<ProviderCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum ProviderCommand {
    /// Show what is set, what goes on, and what was decided and why
    Show,
    /// Set the command, or change its limits; what is not given stays as it is
    ///
    /// Setting it again has it tried again at once after failures, also for what a machine came for in vain.
    Set(Box<SetArgs>),
    /// Add and take back hosts no more; those that are there stay
    Off,
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Path of the program, the same on all hosts; one without it is passed over
    #[arg(value_name = "PROGRAM")]
    program: Option<String>,
    /// Fewest live hosts [default: 1]
    #[arg(long, value_name = "N")]
    min: Option<u32>,
    /// Most hosts, those that do not answer and machines that have not joined included [default: 10]
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// Take back hosts that it did not add, too [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    any_host: Option<bool>,
    /// How long something has no room before a host is added [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    pending: Option<Duration>,
    /// How long a host is empty before it is taken back [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    empty: Option<Duration>,
    /// How long nothing else is begun after a host came or went [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    pause: Option<Duration>,
    /// How long a machine may take to join [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    join_within: Option<Duration>,
    /// How long the program may take to answer [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    answer_within: Option<Duration>,
}

pub(super) async fn run(args: ProviderArgs, context: &Context) -> Result<Outcome, CliError> {
    let client = context.client();
    let change = match args.command {
        None | Some(ProviderCommand::Show) => {
            let view = client.provider().await?;
            return shown(&view, context);
        }
        Some(ProviderCommand::Off) => ProviderChange { off: true, ..ProviderChange::default() },
        Some(ProviderCommand::Set(args)) => change(*args),
    };
    context.if_interrupted("it may have been written; look with `muster node provider`");
    let view = client.set_provider(&change).await?;
    match &view.command {
        Some(command) => context.printer.say(&format!(
            "`{command}` adds hosts, {} to {} of them",
            view.hosts_min, view.hosts_max
        )),
        None => context.printer.say("hosts are added and taken back no more; all stay"),
    }
    if context.json {
        context.printer.json(&view)?;
    }
    warn(&view, context);
    Ok(Outcome::Done)
}

fn change(args: SetArgs) -> ProviderChange {
    let SetArgs { program, min, max, any_host, pending, empty, pause, join_within, answer_within } =
        args;
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
    ProviderChange {
        command: program,
        off: false,
        hosts_min: min,
        hosts_max: max,
        any_host,
        pending_seconds: seconds(pending),
        empty_seconds: seconds(empty),
        pause_seconds: seconds(pause),
        join_seconds: seconds(join_within),
        answer_seconds: seconds(answer_within),
    }
}

fn shown(view: &ProviderView, context: &Context) -> Result<Outcome, CliError> {
    if context.json {
        context.printer.json(view)?;
        return Ok(Outcome::Done);
    }
    let Some(command) = &view.command else {
        context.printer.say("no command adds hosts; `muster node provider set PROGRAM` sets one");
        return Ok(Outcome::Done);
    };
    if context.quiet() {
        context.printer.data(command)?;
        return Ok(Outcome::Done);
    }
    let columns = [
        Column::new("PROGRAM"),
        Column::new("HOSTS"),
        Column::new("MIN"),
        Column::new("MAX"),
        Column::new("RUN BY"),
        Column::wrapping("NOW"),
    ];
    let row = vec![
        command.clone(),
        view.hosts.to_string(),
        view.hosts_min.to_string(),
        view.hosts_max.to_string(),
        show::or_dash(view.decides.as_deref().unwrap_or_default()),
        view.step.as_ref().map_or_else(|| "-".to_owned(), step),
    ];
    let width = printer::stdout_width();
    let mut parts = vec![table(&columns, &[row], width)];
    let columns = [Column::new("WHEN"), Column::wrapping("WHAT AND WHY")];
    let rows = view.decisions.iter();
    let rows = rows.map(|ProviderDecisionView { at, what }| vec![show::time(*at), what.clone()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        parts.push(table(&columns, &rows, width));
    }
    context.printer.data(&parts.join("\n\n"))?;
    warn(view, context);
    Ok(Outcome::Done)
}

/// What goes on, in words.
fn step(step: &ProviderStepView) -> String {
    let ProviderStepView { stage, machine, host, reason } = step;
    let of = match (host, machine) {
        (Some(host), _) => format!(" `{host}`"),
        (None, Some(machine)) => format!(" {machine}"),
        (None, None) => String::new(),
    };
    format!("{stage}{of}: {reason}")
}

/// What keeps hosts from coming or going.
fn warn(view: &ProviderView, context: &Context) {
    if let Some(problem) = &view.problem {
        context.printer.warn(problem);
    }
    if let (Some(command), Some(_)) = (&view.command, view.lacking.first()) {
        let hosts = view.lacking.iter().map(|host| format!("`{host}`")).collect::<Vec<_>>();
        let words =
            format!("`{command}` is not on {}, which leaves it to others", hosts.join(", "));
        context.printer.detail(&words);
    }
}
