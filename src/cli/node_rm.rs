//! `muster node rm`.

use super::errors::{CliError, Outcome};
use super::{Context, printer, show};
use crate::api::RemoveRequest;

/// Remove a host from the cluster, for good
///
/// Its key is refused by every host from then on, and its replicas run elsewhere. When it comes
/// back it is told so, and removes its containers; what is in volumes stays on its disk.
#[derive(Debug, clap::Args)]
pub(super) struct NodeRmArgs {
    /// Name or id of the host, as `muster nodes` shows it
    host: String,
    /// Also when it is alive, or has the only copy of a volume
    #[arg(long)]
    force: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// For scripts: nothing is ever asked
    #[arg(short = 'y', long)]
    yes: bool,
}

pub(super) async fn run(args: NodeRmArgs, context: &Context) -> Result<Outcome, CliError> {
    let NodeRmArgs { host, force, dry_run, yes: _ } = args;
    context.if_interrupted("nothing was changed");
    let client = context.client();
    let look = RemoveRequest { host, force, dry_run: true };
    let planned = client.remove_node(&look).await?;
    if !planned.changes.is_empty() {
        context.printer.say(&show::plan(&planned.changes, printer::stderr_width()));
        context.printer.say("");
    }
    let done = if dry_run {
        planned
    } else {
        context.if_interrupted("it may have been removed; look with `muster nodes`");
        // By id: what was shown is what happens, whoever takes the name meanwhile.
        let host = planned.id.to_string();
        client.remove_node(&RemoveRequest { host, force, dry_run: false }).await?
    };
    if context.json {
        context.printer.json(&done)?;
    }
    let name = &done.name;
    if !done.removed {
        context.printer.say(&format!("host `{name}` would be removed; nothing was changed"));
        return Ok(Outcome::Done);
    }
    let (stored, hosts) = (done.stored, show::count(done.alive as usize, "live host"));
    context
        .printer
        .say(&format!("host `{name}` is removed; that is stored on {stored} of {hosts}"));
    context.printer.say(
        "if somebody may have copied its keys: `muster ca rotate`, so that they let nobody in",
    );
    if stored < 2.min(done.alive) {
        context
            .printer
            .warn("only this host has the removal on disk; the others hear of it by and by");
    }
    Ok(Outcome::Done)
}
