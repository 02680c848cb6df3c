//! `muster ls`.

use super::Context;
use super::errors::{CliError, Outcome};
use super::show::Column;
use crate::api::AppSummary;
use crate::model::Intent;

/// List the apps of the cluster
#[derive(Debug, clap::Args)]
pub(super) struct LsArgs {}

pub(super) async fn run(_: LsArgs, context: &Context) -> Result<Outcome, CliError> {
    let apps = context.client().apps().await?;
    let columns = ["NAME", "STATUS", "READY", "REVISION"].map(Column::new);
    context.print_list(&apps, |app| app.app.as_str(), &columns, row)?;
    for app in &apps {
        warn_of_conflicts(app, context);
    }
    Ok(Outcome::Done)
}

fn row(app: &AppSummary) -> Vec<String> {
    let status = match app.intent {
        Intent::Run if app.ready == app.wanted => "running",
        Intent::Run => "changing",
        Intent::Remove | Intent::RemoveWithVolumes => "removing",
    };
    vec![
        app.app.to_string(),
        status.to_owned(),
        format!("{}/{}", app.ready, app.wanted),
        format!("{} ({})", app.sequence, app.revision.short()),
    ]
}

/// Two people changed the app while the cluster was cut in two.
pub(super) fn warn_of_conflicts(app: &AppSummary, context: &Context) {
    if app.conflicts.is_empty() {
        return;
    }
    let lost: Vec<&str> = app.conflicts.iter().map(|id| id.short()).collect();
    context.printer.warn(&format!(
        "app `{}` was changed on both sides of a partition: {} runs, {} lost; the next `muster up` \
         ends the conflict",
        app.app,
        app.revision.short(),
        lost.join(", ")
    ));
}
