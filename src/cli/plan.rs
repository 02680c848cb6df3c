//! `muster plan`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::up::{Selection, Wanted};
use super::{Context, apply, printer, show};
use crate::api::PlanPreview;

/// Show what `up` would change, and change nothing
///
/// Exit code 0: nothing would change; 2: something would.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    selection: Selection,
}

pub(super) async fn run(
    args: PlanArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let mut wanted = Wanted::load(args.selection, global, "plan", context)?;
    let (preview, missing) = wanted.preview(&context.client(), &[]).await?;
    for image in missing {
        context.printer.say(&format!("`muster up` would first build {image}"));
    }
    show(&preview, context)
}

/// Prints a plan as data.
///
/// # Errors
///
/// When a submit would be refused.
pub(super) fn show(preview: &PlanPreview, context: &Context) -> Result<Outcome, CliError> {
    if context.json {
        context.printer.json(preview)?;
    } else if preview.changes.is_empty() {
        context.printer.say(&format!("app `{}`: nothing would change", preview.app));
    } else {
        context.printer.data(&show::plan(&preview.changes, printer::stdout_width()))?;
        let summary = show::plan_summary(&preview.changes);
        context.printer.say(&format!("app `{}`: {summary}", preview.app));
    }
    apply::refused(preview)?;
    Ok(if preview.changes.is_empty() { Outcome::Done } else { Outcome::ChangesPending })
}
