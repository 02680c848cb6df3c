//! `muster history`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, printer, project, show};
use crate::api::{Difference, RevisionView};
use crate::model::AppName;

/// Changes of one Revision that are shown; `muster diff` shows all.
const SHOWN: usize = 4;

/// List what an app was, newest first: when, from where, and what changed
///
/// The last ten revisions are kept, and older ones as long as something runs from them. `muster
/// rollback` makes one of them the newest again.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The app, in place of the one of the Compose file
    #[arg(value_name = "APP")]
    app: Option<String>,
}

pub(super) async fn run(
    args: HistoryArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = match args.app {
        Some(app) => AppName::new(app),
        None => project::app_name(&global.then(args.project))?,
    };
    let all = context.client().history(&app).await?;
    let columns = [
        Column::new("REVISION"),
        Column::new("ID").optional(2),
        Column::new("TIME"),
        Column::new("WHO").optional(1),
        Column::new("HOST"),
        Column::new("COMMAND"),
        Column::wrapping("CHANGES"),
    ];
    if context.json {
        context.printer.json(&all)?;
    } else if context.quiet() {
        for one in &all {
            context.printer.data(&one.sequence.to_string())?;
        }
    } else {
        let rows: Vec<_> = all.iter().map(row).collect();
        context.printer.data(&show::table(&columns, &rows, printer::stdout_width()))?;
    }
    for one in all.iter().filter(|one| one.undone.is_some()) {
        let why = one.undone.as_deref().unwrap_or_default();
        context.printer.say(&format!("revision {} was rolled back: {why}", one.sequence));
    }
    Ok(Outcome::Done)
}

fn row(one: &RevisionView) -> Vec<String> {
    let mark = if one.counts { " *" } else { "" };
    let mut changes: Vec<String> = one.changes.iter().take(SHOWN).map(difference).collect();
    let more = one.changes.len().saturating_sub(SHOWN);
    if more > 0 {
        changes.push(format!("{more} more"));
    }
    if one.undone.is_some() {
        changes.insert(0, "rolled back".to_owned());
    }
    vec![
        format!("{}{mark}", one.sequence),
        one.revision.short().to_owned(),
        show::time(one.at),
        show::or_dash(one.by.as_deref().unwrap_or_default()),
        one.host.clone(),
        one.command.clone(),
        show::or_dash(&changes.join(", ")),
    ]
}

/// `web: image nginx:1 -> nginx:2`.
fn difference(one: &Difference) -> String {
    let service = one.service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
    let key = &one.key;
    match (&one.before, &one.after) {
        (None, Some(after)) if key.is_empty() => format!("{service}new, {after}"),
        (Some(_), None) if key.is_empty() => format!("{service}gone"),
        (Some(before), Some(after)) if before == after => format!("{service}{key} changed"),
        (Some(before), Some(after)) => format!("{service}{key} {before} -> {after}"),
        (None, Some(after)) => format!("{service}{key} {after}"),
        (Some(_), None) => format!("{service}{key} gone"),
        (None, None) => format!("{service}{key}"),
    }
}
