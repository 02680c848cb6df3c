//! `muster audit`.

use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, printer, show};
use crate::api::AuditEntry;

/// Show who changed what on this host, and check that nothing was altered
///
/// Every host keeps a log of its own. Each line holds the hash of the one before it, so a line that
/// was changed or taken out is told. Note the last hash to notice that the newest were cut off.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// Show only so many of the newest lines
    #[arg(long, value_name = "N", default_value_t = 50)]
    tail: usize,
}

pub(super) async fn run(args: AuditArgs, context: &Context) -> Result<Outcome, CliError> {
    let log = context.client().audit(args.tail).await?;
    if context.json {
        context.printer.json(&log)?;
    } else {
        let columns = [
            Column::new("N"),
            Column::new("TIME"),
            Column::new("WHO"),
            Column::new("FROM").optional(2),
            Column::wrapping("WHAT"),
            Column::new("OLD").optional(1),
            Column::new("NEW").optional(1),
            Column::wrapping("RESULT"),
        ];
        let rows: Vec<_> = log.entries.iter().map(row).collect();
        context.printer.data(&show::table(&columns, &rows, printer::stdout_width()))?;
    }
    match log.broken {
        Some(broken) => Err(CliError::cluster(format!("the audit log was altered: {broken}"))
            .hint("compare it with a backup of the data directory")),
        None => {
            context.printer.say(&format!("nothing was altered; last hash {}", log.head));
            Ok(Outcome::Done)
        }
    }
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let time = show::time(entry.at);
    let short = |id: &str| show::or_dash(id.get(..12).unwrap_or(id));
    vec![
        entry.number.to_string(),
        time,
        entry.who.clone(),
        entry.from.clone(),
        entry.what.clone(),
        short(&entry.old),
        short(&entry.new),
        entry.result.clone(),
    ]
}
