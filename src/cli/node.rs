//! `muster node`.

use std::time::Duration;

use super::drain::{self, Ended};
use super::errors::{CliError, Kind, Outcome};
use super::nodes::{self, NodesArgs};
use super::{Context, args, node_rm, printer, provider, show};
use crate::api::{HostChange, HostChanged, HostPlan};
use crate::model::Availability;

/// List hosts, take them out of service and back, label them
#[derive(Debug, clap::Args)]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum NodeCommand {
    Ls(NodesArgs),
    /// Move what runs on a host to the others, and place nothing there any more
    ///
    /// Each replica is started elsewhere first and stopped when the new one is healthy. What has its
    /// data on the host stays, and is named. Works on a host that is down as well.
    Drain(ChangeArgs),
    /// Place replicas on a host again
    ///
    /// What runs elsewhere moves there only as far as that evens out replicas, one at a time.
    Activate(ChangeArgs),
    /// Set labels of a host, or take them away
    ///
    /// `deploy.placement` asks for them: `node.labels.disk == ssd`. A replica whose constraints a host
    /// no longer meets moves.
    Label(LabelArgs),
    Rm(node_rm::NodeRmArgs),
    Provider(provider::ProviderArgs),
}

#[derive(Debug, clap::Args)]
struct ChangeArgs {
    /// The host's name or id
    host: String,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, clap::Args)]
struct LabelArgs {
    /// The host's name or id
    host: String,
    /// `key=value` sets a label, `key-` takes it away
    #[arg(required = true, value_name = "KEY=VALUE|KEY-", value_parser = args::label_change)]
    labels: Vec<(String, Option<String>)>,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, clap::Args)]
struct HowArgs {
    /// Do not wait until all replicas have moved
    #[arg(short, long)]
    detach: bool,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
    /// For scripts: nothing is ever asked
    #[arg(short = 'y', long)]
    yes: bool,
}

/// What `--json` prints.
#[derive(Debug, serde::Serialize)]
struct Changed {
    changed: HostChanged,
    /// None when it was not waited for.
    end: Option<Ended>,
}

pub(super) async fn run(args: NodeArgs, context: &Context) -> Result<Outcome, CliError> {
    match args.command {
        NodeCommand::Ls(args) => nodes::run(args, context).await,
        NodeCommand::Drain(args) => {
            let availability = Some(Availability::Drain);
            let change = HostChange { host: args.host, availability, ..HostChange::default() };
            apply(change, &args.how, "is drained", context).await
        }
        NodeCommand::Activate(args) => {
            let availability = Some(Availability::Active);
            let change = HostChange { host: args.host, availability, ..HostChange::default() };
            apply(change, &args.how, "is active", context).await
        }
        NodeCommand::Label(args) => {
            let labels = args.labels.into_iter().collect();
            let change = HostChange { host: args.host, availability: None, labels };
            apply(change, &args.how, "has these labels", context).await
        }
        NodeCommand::Rm(args) => node_rm::run(args, context).await,
        NodeCommand::Provider(args) => provider::run(args, context).await,
    }
}

/// The plan, the change, the wait and the summary.
async fn apply(
    change: HostChange,
    how: &HowArgs,
    words: &str,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let client = context.client();
    let plan = client.plan_host(&change).await?;
    if how.dry_run {
        return dry_run(&plan, words, context);
    }
    if !plan.changes.is_empty() {
        context.printer.say(&show::plan(&plan.changes, printer::stderr_width()));
        context.printer.say("");
    }
    context.if_interrupted(format!("it may have been written; {}", drain::how_to_look(&plan.host)));
    let changed = client.change_host(&change).await?;
    context.if_interrupted(drain::how_to_look(&plan.host));
    let HostChanged { host, stored, alive, .. } = &changed;
    if changed.changed {
        let hosts = show::count(*alive as usize, "host");
        context.printer.say(&format!("host `{host}` {words}: stored on {stored} of {hosts}"));
    } else {
        context.printer.say(&format!("host `{host}` {words} already"));
    }
    if how.detach {
        context.printer.say(&drain::how_to_look(host));
        return finish(Changed { changed, end: None }, context);
    }
    let end = drain::follow(context, &client, &plan, change.availability, how.timeout).await?;
    finish(Changed { changed, end: Some(end) }, context)
}

fn dry_run(plan: &HostPlan, words: &str, context: &Context) -> Result<Outcome, CliError> {
    if context.json {
        context.printer.json(plan)?;
    } else if !plan.changes.is_empty() {
        context.printer.data(&show::plan(&plan.changes, printer::stdout_width()))?;
    }
    let summary = match (plan.changed, show::plan_summary(&plan.changes)) {
        (false, _) => format!("{words} already"),
        (true, summary) if summary.is_empty() => "no replica would change".to_owned(),
        (true, summary) => summary,
    };
    context.printer.say(&format!("host `{}`: {summary}", plan.host));
    Ok(Outcome::Done)
}

/// The last words, and what they mean for the exit code.
fn finish(done: Changed, context: &Context) -> Result<Outcome, CliError> {
    if context.json {
        context.printer.json(&done)?;
    }
    let (Some(end), host) = (&done.end, &done.changed.host) else { return Ok(Outcome::Done) };
    if !end.moved.is_empty() {
        let (count, time) = (show::count(end.moved.len(), "replica"), show::elapsed(end.elapsed));
        context.printer.say(&format!("{count} left `{host}` after {time}"));
    }
    for stays in end.stays.iter().filter(|stays| stays.has_data) {
        context.printer.warn(&format!(
            "`{}` stays on `{host}`: {}\n  hint: {}",
            stays.replica, stays.reason, stays.hint
        ));
    }
    let complaints: Vec<_> = end.stays.iter().filter(|stays| !stays.has_data).collect();
    if complaints.is_empty() {
        return Ok(Outcome::Done);
    }
    let complaints = complaints.into_iter().map(|stays| super::errors::Complaint {
        message: format!("`{}` stays on `{host}`: {}", stays.replica, stays.reason),
        hint: Some(stays.hint.clone()),
    });
    Err(CliError { kind: Kind::User, complaints: complaints.collect(), excerpt: None })
}
