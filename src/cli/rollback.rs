//! `muster rollback`.

use std::time::Duration;

use super::apply::{self, Wait, apply};
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, args, project, up};
use crate::api::SubmitRequest;

/// Make an older revision of an app the newest again
///
/// Shows what will change, changes it, and waits until all is up, as `up` does. Without a revision it
/// is the one before, leaving out those that were rolled back by themselves. Volumes keep what is in
/// them.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Its number in `muster history`, or the first digits of its id
    #[arg(value_name = "REV", default_value = "previous", hide_default_value = true)]
    revision: String,
    /// Do not wait until all is up
    #[arg(short, long)]
    detach: bool,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
}

pub(super) async fn run(
    args: RollbackArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let old = client.revision_at(&app, &args.revision).await?;
    let command = format!("rollback to {}", old.sequence);
    let revision = project::by(project::opened(&old)?, &command).into();
    let preview = client.plan(&revision, true).await?;
    if args.dry_run {
        return super::plan::show(&preview, context).map(|_| Outcome::Done);
    }
    context.printer.say(&format!("app `{app}` goes back to revision {}", old.sequence));
    apply::show_plan(&preview, context)?;
    let request = SubmitRequest::new(revision, preview.from, command).retrying();
    let wait = Wait::asked(args.detach, args.timeout);
    let applied = apply(context, &client, request, wait).await?;
    if args.detach {
        context.printer.say(&super::follow::how_to_look(&app));
    }
    up::finish(&applied, app.as_str(), context)?;
    Ok(Outcome::Done)
}
