//! `muster events`.

use std::time::Duration;

use futures_util::StreamExt;

use super::errors::{CliError, Outcome};
use super::printer::{self, Paint};
use super::{Context, args, logs};
use crate::api::{EventsQuery, Happening, HappeningKind};
use crate::model::AppName;

/// Print what happened on the cluster: to hosts, apps and replicas
///
/// Every agent keeps the last thousand events since its start.
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    /// Go on with what happens from now on
    #[arg(short = 'f', long)]
    follow: bool,
    /// Only what happened within this time, as in `10m`
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    since: Option<Duration>,
    /// Only what happened to this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> Result<Outcome, CliError> {
    let query = EventsQuery {
        app: args.app.map(AppName::new),
        since: args.since.map(logs::moment),
        follow: args.follow,
    };
    let mut events = context.client().events(&query).await?;
    let coloured = printer::stdout_has_colours();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| {
            CliError::from(error).hint("what was printed is not all; repeat the command")
        })?;
        let line = if context.json {
            serde_json::to_string(&event)
                .map_err(|error| CliError::cluster(format!("cannot write a line: {error}")))?
        } else {
            line(&event, coloured)
        };
        context.printer.raw(&format!("{line}\n"))?;
    }
    Ok(Outcome::Done)
}

/// `2026-11-28T18:55:02Z beta: `shop/web/1` is ready`.
fn line(event: &Happening, coloured: bool) -> String {
    let seconds = i64::try_from(event.at).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let text = match paint(event.kind).filter(|_| coloured) {
        Some(paint) => paint.on(&event.message),
        None => event.message.clone(),
    };
    format!("{time} {}: {text}", event.host)
}

fn paint(kind: HappeningKind) -> Option<Paint> {
    match kind {
        HappeningKind::HostDead
        | HappeningKind::HostGone
        | HappeningKind::ReplicaFailed
        | HappeningKind::RollbackBegan
        | HappeningKind::RolledBack => Some(Paint::Red),
        HappeningKind::HostSuspect
        | HappeningKind::ReplicaUnready
        | HappeningKind::ReplicaRestarting
        | HappeningKind::RolloutWaits
        | HappeningKind::ScalingHeld
        | HappeningKind::NotResized
        | HappeningKind::RolloutPaused => Some(Paint::Yellow),
        HappeningKind::HostAlive | HappeningKind::ReplicaReady | HappeningKind::RolloutDone => {
            Some(Paint::Green)
        }
        HappeningKind::AgentStarted
        | HappeningKind::HostChanged
        | HappeningKind::FleetDecided
        | HappeningKind::AuthorityChanged
        | HappeningKind::RevisionTaken
        | HappeningKind::PlanMade
        | HappeningKind::RolloutBegan
        | HappeningKind::Scaled
        | HappeningKind::Resized
        | HappeningKind::ReplicaPulling
        | HappeningKind::ReplicaStarting
        | HappeningKind::ReplicaRunning
        | HappeningKind::ReplicaCompleted
        | HappeningKind::ReplicaStopping
        | HappeningKind::ReplicaGone => None,
    }
}
