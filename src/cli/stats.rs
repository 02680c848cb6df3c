//! `muster stats`.

use std::time::Duration;

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::{Column, table};
use super::{Context, printer, project, show};
use crate::api::{AppStats, ReplicaStats, ServiceStats};
use crate::model::AppName;

/// Time between two looks. Hosts measure no more often.
const LOOK: Duration = Duration::from_secs(1);

/// Show what the replicas of an app take, and how often its services are asked, on all hosts
///
/// On a terminal it goes on until it is interrupted. CPU is of one CPU: 200 % are two. A service's
/// connections are those that hosts handed out for its address and its published ports; over UDP, flows.
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Show once and end, as it does where it does not write to a terminal
    #[arg(long)]
    no_stream: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

pub(super) async fn run(
    args: StatsArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let width = printer::stdout_width();
    if args.no_stream || context.json || context.quiet() || width.is_none() {
        once(&app, &args.only, context).await?;
        return Ok(Outcome::Done);
    }
    // What was on the screen is not ours to keep.
    context.printer.raw("\u{1b}[2J")?;
    loop {
        let stats = look(&app, &args.only, context).await?;
        let mut text = all(&stats, printer::stdout_width());
        for silent in &stats.silent {
            text.push_str(&format!("\n\nno word from `{}`: {}", silent.host, silent.reason));
        }
        context.printer.raw(&frame(&text))?;
        tokio::time::sleep(LOOK).await;
    }
}

/// The text from the upper left corner on, with nothing left of what was there.
fn frame(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\u{1b}[K")).collect();
    format!("\u{1b}[H{}\n\u{1b}[J", lines.join("\n"))
}

async fn once(app: &AppName, only: &[String], context: &Context) -> Result<(), CliError> {
    let stats = look(app, only, context).await?;
    if context.json {
        context.printer.json(&stats)?;
    } else if context.quiet() {
        for one in &stats.replicas {
            context.printer.data(&name(one))?;
        }
    } else {
        context.printer.data(&all(&stats, printer::stdout_width()))?;
    }
    for silent in &stats.silent {
        context.printer.warn(&format!("no word from `{}`: {}", silent.host, silent.reason));
    }
    Ok(())
}

async fn look(app: &AppName, only: &[String], context: &Context) -> Result<AppStats, CliError> {
    let mut stats = context.client().stats(app).await?;
    let known: Vec<&str> = stats.services.iter().map(|one| one.service.as_str()).collect();
    if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
        let hint = format!("it has: {}", show::or_dash(&known.join(", ")));
        let words = format!("app `{app}` has no service `{unknown}`");
        return Err(CliError::user(words).hint(hint));
    }
    let is_wanted = |service: &str| only.is_empty() || only.iter().any(|name| name == service);
    stats.services.retain(|one| is_wanted(one.service.as_str()));
    stats.replicas.retain(|one| is_wanted(one.replica.service.as_str()));
    Ok(stats)
}

/// The replicas, and below them the services.
fn all(stats: &AppStats, width: Option<u16>) -> String {
    let columns = [
        Column::new("REPLICA"),
        Column::new("HOST"),
        Column::new("CPU %"),
        Column::new("MEM USAGE / LIMIT"),
        Column::new("MEM %").optional(2),
        Column::new("NET I/O"),
        Column::new("CONNECTIONS").optional(3),
        Column::new("PIDS").optional(1),
    ];
    let rows: Vec<_> = stats.replicas.iter().map(replica).collect();
    let replicas = table(&columns, &rows, width);
    let columns = [
        Column::new("SERVICE"),
        Column::new("READY"),
        Column::new("CPU %"),
        Column::new("MEMORY"),
        Column::new("CONN/S"),
        Column::new("CONNECTIONS"),
        Column::new("NET I/O PER SECOND").optional(1),
    ];
    let rows: Vec<_> = stats.services.iter().map(service).collect();
    format!("{replicas}\n\n{}", table(&columns, &rows, width))
}

fn name(one: &ReplicaStats) -> String {
    format!("{}/{}", one.replica.service, one.replica.index)
}

fn replica(one: &ReplicaStats) -> Vec<String> {
    let usage = one.usage;
    let share = match usage.memory_limit {
        0 => "-".to_owned(),
        limit => percent(usage.memory as f64 / limit as f64),
    };
    vec![
        name(one),
        one.host.clone(),
        one.cpus.map_or_else(|| "-".to_owned(), percent),
        format!("{} / {}", show::bytes(usage.memory), show::bytes(usage.memory_limit)),
        share,
        format!("{} / {}", show::decimal_bytes(usage.received), show::decimal_bytes(usage.sent)),
        one.connections.to_string(),
        usage.pids.to_string(),
    ]
}

fn service(one: &ServiceStats) -> Vec<String> {
    let bytes = |value: f64| show::decimal_bytes(value.max(0.0) as u64);
    vec![
        one.service.to_string(),
        format!("{}/{}", one.ready, one.wanted),
        percent(one.cpus),
        show::bytes(one.memory),
        format!("{:.1}", one.connections_per_second),
        one.connections.to_string(),
        format!("{} / {}", bytes(one.received_per_second), bytes(one.sent_per_second)),
    ]
}

/// `12.50%` for 0.125.
fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}
