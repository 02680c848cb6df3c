//! `muster ps`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, ls, printer, project, show};
use crate::api::{AppDetail, ReplicaView};
use crate::model::ServiceName;

/// List the replicas of an app, on all hosts
///
/// Columns that do not fit the terminal are left out; `--json` has all.
#[derive(Debug, clap::Args)]
pub(super) struct PsArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// List the services with their addresses in place of the replicas
    #[arg(long)]
    services: bool,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

pub(super) async fn run(
    args: PsArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let mut detail = context.client().app(&app).await?;
    keep_only(&mut detail, &args.only)?;
    if context.json {
        context.printer.json(&detail)?;
        return Ok(Outcome::Done);
    }
    let width = printer::stdout_width();
    if context.quiet() {
        for replica in &detail.replicas {
            context.printer.data(&show::replica_name(replica))?;
        }
    } else if args.services {
        context.printer.data(&show::services(&detail.services, width))?;
    } else {
        let rows: Vec<_> = detail.replicas.iter().map(|one| row(one, &detail)).collect();
        let columns = [
            Column::new("REPLICA"),
            Column::new("HOST"),
            Column::wrapping("STATUS"),
            Column::new("IMAGE").optional(1),
            Column::wrapping("ADDRESS").optional(2),
            Column::wrapping("PORTS"),
        ];
        context.printer.data(&show::table(&columns, &rows, width))?;
    }
    for words in detail.services.iter().filter_map(show::rollout) {
        context.printer.say(&words);
    }
    for words in detail.services.iter().filter_map(show::scaling) {
        context.printer.say(&words);
    }
    ls::warn_of_conflicts(&detail.summary, context);
    Ok(Outcome::Done)
}

fn row(replica: &ReplicaView, detail: &AppDetail) -> Vec<String> {
    let service = detail.services.iter().find(|one| one.service == replica.replica.service);
    let ports = service.map(|service| show::ports(&service.ports)).unwrap_or_default();
    vec![
        show::replica_name(replica),
        show::or_dash(&replica.host),
        status(replica),
        replica.image.clone(),
        show::addresses(replica.addresses.values()),
        show::or_dash(&ports),
    ]
}

fn status(replica: &ReplicaView) -> String {
    let mut words = show::phase(replica);
    if replica.phase.is_some() {
        words = format!("{words} {}", show::age(replica.age_seconds));
    }
    if !replica.current && replica.phase.is_some() {
        words.push_str(", old");
    }
    match &replica.reason {
        Some(reason) => format!("{words}: {reason}"),
        None => words,
    }
}

/// Drops what was not asked for.
///
/// # Errors
///
/// When a service is not in the app.
pub(super) fn keep_only(detail: &mut AppDetail, services: &[String]) -> Result<(), CliError> {
    if services.is_empty() {
        return Ok(());
    }
    check_services(detail, services)?;
    let wanted = |service: &ServiceName| services.iter().any(|name| name == service.as_str());
    detail.replicas.retain(|replica| wanted(&replica.replica.service));
    detail.services.retain(|service| wanted(&service.service));
    Ok(())
}

/// # Errors
///
/// When a service is not in the app.
pub(super) fn check_services(detail: &AppDetail, services: &[String]) -> Result<(), CliError> {
    let known: Vec<&str> = detail.services.iter().map(|one| one.service.as_str()).collect();
    match services.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            Err(CliError::user(format!("app `{}` has no service `{name}`", detail.summary.app))
                .hint(format!("it has: {}", show::or_dash(&known.join(", ")))))
        }
        None => Ok(()),
    }
}
