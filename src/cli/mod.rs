//! The command line: one file a command, nothing decided here.
//!
//! Reading order: [`Cli`] is what can be typed and [`run()`] does it. [`errors`] has the exit codes,
//! [`printer`] all output. `project` stands between the Compose file and the commands; `build`,
//! `pack` and `ignore` make images, `folder`, `variants` and `validate` belong to `export`; `follow`,
//! `bars` and `progress` watch an App, `drain` a host, `attach` a run, `converse` sits in front of a program
//! and hands it the `terminal`, `cp` copies files; `paths` shows ways between hosts; `start`
//! starts an agent; `contexts` and `elsewhere` lead to agents of other machines.

pub mod errors;
pub mod printer;

mod apply;
mod args;
mod attach;
mod bars;
mod build;
mod contexts;
mod converse;
mod drain;
mod elsewhere;
mod folder;
mod follow;
mod ignore;
mod last_words;
mod pack;
mod paths;
mod progress;
mod project;
mod show;
mod sizes;
mod start;
mod terminal;
mod validate;
mod variants;

mod agent;
mod audit;
mod autoscale;
mod ca;
mod check;
mod completion;
mod config;
mod context;
mod cp;
mod diff;
mod doctor;
mod down;
mod events;
mod exec;
mod export;
mod history;
mod init;
mod job;
mod join;
mod logs;
mod ls;
mod network;
mod node;
mod node_rm;
mod nodes;
mod operator;
mod plan;
mod provider;
mod ps;
mod rollback;
mod rollout;
mod run;
mod scale;
mod service;
mod stats;
mod token;
mod top;
mod up;
mod version;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::{Parser, Subcommand};

use crate::api::client::{Client, Connect};
use crate::config::DEFAULT_SOCKET;
use args::{GlobalArgs, ProjectArgs};
use contexts::Contexts;
use elsewhere::{Choice, Elsewhere, Said};
use errors::{CliError, Kind, Outcome};
use printer::{Level, Printer};

/// Runs a Docker Compose file on several machines
#[derive(Debug, Parser)]
#[command(name = "muster", version, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 done, 1 yours to mend, 2 wrong usage (or changes pending for `plan`),
            3 the cluster's fault, 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    project: ProjectArgs,
    #[command(subcommand)]
    command: Command,
}

/// The commands, in the order people meet them.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::InitArgs),
    Join(join::JoinArgs),
    Token(token::TokenArgs),
    Nodes(nodes::NodesArgs),
    Node(node::NodeArgs),
    Network(network::NetworkArgs),
    Operator(operator::OperatorArgs),
    Ca(ca::CaArgs),
    Context(context::ContextArgs),
    Up(up::UpArgs),
    Plan(plan::PlanArgs),
    Down(down::DownArgs),
    Ps(ps::PsArgs),
    Ls(ls::LsArgs),
    Logs(logs::LogsArgs),
    Events(events::EventsArgs),
    Stats(stats::StatsArgs),
    Top(top::TopArgs),
    Scale(scale::ScaleArgs),
    Autoscale(autoscale::AutoscaleArgs),
    Run(run::RunArgs),
    Exec(exec::ExecArgs),
    Cp(cp::CpArgs),
    Job(job::JobArgs),
    History(history::HistoryArgs),
    Diff(diff::DiffArgs),
    Rollback(rollback::RollbackArgs),
    Rollout(rollout::RolloutArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Export(export::ExportArgs),
    Doctor(doctor::DoctorArgs),
    Audit(audit::AuditArgs),
    Agent(agent::AgentArgs),
    Version(version::VersionArgs),
    Completion(completion::CompletionArgs),
}

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    /// Writes.
    printer: Printer,
    /// The socket of the agent of this machine.
    socket: PathBuf,
    /// The cluster that is asked in its place.
    elsewhere: Option<Arc<Elsewhere>>,
    /// Whether data is JSON.
    json: bool,
    /// What became of things when the user interrupts now.
    if_interrupted: Mutex<String>,
}

impl Cli {
    /// How much is to be said.
    pub fn level(&self) -> Level {
        match (self.global.quiet, self.global.verbose) {
            (true, _) => Level::Quiet,
            (false, false) => Level::Normal,
            (false, true) => Level::Verbose,
        }
    }

    /// Whether this is the daemon, which has a log and threads of its own.
    pub fn is_agent(&self) -> bool {
        matches!(&self.command, Command::Agent(args) if args.is_daemon())
    }
}

impl Context {
    fn client(&self) -> Client {
        match &self.elsewhere {
            Some(elsewhere) => Client::elsewhere(Arc::clone(elsewhere) as Arc<dyn Connect>),
            None => Client::new(&self.socket),
        }
    }

    /// The context that commands use; none when they ask the agent of this machine.
    fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_deref()
    }

    /// Whether lists print names alone.
    fn quiet(&self) -> bool {
        self.printer.level() == Level::Quiet
    }

    /// Prints a list: as JSON, as names alone, or as a table.
    fn print_list<T: serde::Serialize>(
        &self,
        all: &[T],
        name: impl Fn(&T) -> &str,
        columns: &[show::Column<'_>],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        if self.json {
            return self.printer.json(&all);
        }
        if self.quiet() {
            return all.iter().try_for_each(|one| self.printer.data(name(one)));
        }
        let rows: Vec<_> = all.iter().map(row).collect();
        self.printer.data(&show::table(columns, &rows, printer::stdout_width()))
    }

    /// From now on an interruption says this.
    fn if_interrupted(&self, words: impl Into<String>) {
        *self.if_interrupted.lock().expect("nothing panics while it holds the words") =
            words.into();
    }

    fn interrupted(&self) -> CliError {
        let words = self.if_interrupted.lock().expect("nothing panics while it holds the words");
        let error = CliError::new(Kind::Interrupted, "interrupted");
        if words.is_empty() { error } else { error.hint(words.as_str()) }
    }
}

/// Does what was typed. An interruption ends it at once; moving lines are taken away.
///
/// Returns the printer, and an error that was not printed yet.
pub async fn run(cli: Cli, printer: Printer) -> (Printer, Result<Outcome, CliError>) {
    let options = Said { socket: cli.global.socket, context: cli.global.context };
    let (socket, elsewhere) = match chosen(options) {
        Ok(chosen) => chosen,
        Err(error) => return (printer, Err(error)),
    };
    let context = Context {
        printer,
        socket,
        elsewhere,
        json: cli.global.json,
        if_interrupted: Mutex::new(String::new()),
    };
    let result = match cli.command {
        // The daemon ends in its own way.
        Command::Agent(args) if args.is_daemon() => agent::run(args, &context).await,
        command => {
            // Both arms may be dropped: what a command has begun at the agent goes on there.
            tokio::select! {
                result = dispatch(command, cli.project, &context) => result,
                _ = tokio::signal::ctrl_c() => Err(context.interrupted()),
            }
        }
    };
    if result.is_err() {
        context.printer.clear();
    }
    if let Some(elsewhere) = &context.elsewhere {
        if result.is_ok()
            && let Err(error) = elsewhere.refresh().await
        {
            context.printer.detail(&format!("context `{}`: {error}", elsewhere.name()));
        }
        elsewhere.close().await;
    }
    (context.printer, result)
}

/// Which agent is asked: by its socket, or elsewhere.
fn chosen(options: Said) -> Result<(PathBuf, Option<Arc<Elsewhere>>), CliError> {
    let contexts = Contexts::of_user();
    let in_use = contexts.as_ref().map_or(Ok(None), Contexts::in_use)?;
    let environment = Said::by_environment();
    let socket = environment.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into());
    Ok(match Choice::of(options, environment, in_use) {
        None => (socket, None),
        Some(Choice::Socket(socket)) => (socket, None),
        Some(Choice::Context(name)) => (socket, Some(Elsewhere::new(contexts, name))),
    })
}

async fn dispatch(
    command: Command,
    project: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    match command {
        Command::Init(args) => init::run(args, context).await,
        Command::Join(args) => join::run(args, context).await,
        Command::Token(args) => token::run(args, context).await,
        Command::Nodes(args) => nodes::run(args, context).await,
        Command::Node(args) => node::run(args, context).await,
        Command::Ca(args) => ca::run(args, context).await,
        Command::Network(args) => network::run(args, context).await,
        Command::Operator(args) => operator::run(args, context).await,
        Command::Context(args) => context::run(args, context).await,
        Command::Up(args) => up::run(args, project, context).await,
        Command::Plan(args) => plan::run(args, project, context).await,
        Command::Down(args) => down::run(args, project, context).await,
        Command::Ps(args) => ps::run(args, project, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Logs(args) => logs::run(args, project, context).await,
        Command::Events(args) => events::run(args, context).await,
        Command::Stats(args) => stats::run(args, project, context).await,
        Command::Top(args) => top::run(args, project, context).await,
        Command::Scale(args) => scale::run(args, project, context).await,
        Command::Autoscale(args) => autoscale::run(args, project, context).await,
        Command::Run(args) => run::run(args, project, context).await,
        Command::Exec(args) => exec::run(args, project, context).await,
        Command::Cp(args) => cp::run(args, project, context).await,
        Command::Job(args) => job::run(args, project, context).await,
        Command::History(args) => history::run(args, project, context).await,
        Command::Diff(args) => diff::run(args, project, context).await,
        Command::Rollback(args) => rollback::run(args, project, context).await,
        Command::Rollout(args) => rollout::run(args, project, context).await,
        Command::Check(args) => check::run(args, project, context),
        Command::Config(args) => config::run(args, project, context),
        Command::Export(args) => export::run(args, project, context),
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Audit(args) => audit::run(args, context).await,
        Command::Agent(args) => agent::run(args, context).await,
        Command::Version(args) => version::run(args, context),
        Command::Completion(args) => completion::run(args, context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_do_not_contradict_each_other() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
