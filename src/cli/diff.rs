//! `muster diff`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, printer, project, show};
use crate::api::Difference;

/// Show what differs between two revisions of an app, by service and key
///
/// A revision is named by its number in `muster history`, or by the first digits of its id. Of secrets
/// only that they differ is shown.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The older revision
    #[arg(value_name = "REV")]
    from: String,
    /// The newer one
    #[arg(value_name = "REV")]
    to: String,
}

pub(super) async fn run(
    args: DiffArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let all = context.client().diff(&app, &args.from, &args.to).await?;
    if context.json {
        context.printer.json(&all)?;
    } else if all.is_empty() {
        context.printer.say(&format!("nothing differs between {} and {}", args.from, args.to));
    } else {
        let columns = [
            Column::new("SERVICE"),
            Column::new("KEY"),
            Column::wrapping("BEFORE"),
            Column::wrapping("AFTER"),
        ];
        let rows: Vec<_> = all.iter().map(row).collect();
        context.printer.data(&show::table(&columns, &rows, printer::stdout_width()))?;
    }
    Ok(Outcome::Done)
}

fn row(one: &Difference) -> Vec<String> {
    let text = |text: &Option<String>| show::or_dash(text.as_deref().unwrap_or_default());
    vec![
        show::or_dash(one.service.as_ref().map_or("", |service| service.as_str())),
        show::or_dash(&one.key),
        text(&one.before),
        text(&one.after),
    ]
}
