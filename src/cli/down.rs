//! `muster down`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::apply::{self, Wait, apply};
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, args, project, show};
use crate::api::SubmitRequest;
use crate::model::{Intent, Revision};

/// Remove an app: its containers and networks, on all hosts
#[derive(Debug, clap::Args)]
pub(super) struct DownArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Remove its volumes as well, with all that is in them
    #[arg(short = 'v', long)]
    volumes: bool,
    /// Do not wait until all is gone
    #[arg(short, long)]
    detach: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
    /// Say more
    // Of the same id as the global option, which has `-v` everywhere else.
    #[arg(id = "verbose", long = "verbose", help_heading = "Global options")]
    _verbose: bool,
}

pub(super) async fn run(
    args: DownArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let current = match client.revision(&app).await {
        Ok(current) => current,
        Err(error) if error.is_not_found() => {
            context.printer.warn(&format!("no app `{app}` in this cluster; nothing to remove"));
            return Ok(Outcome::Done);
        }
        Err(error) => return Err(error.into()),
    };
    let (expected, kept) = (current.id().clone(), kept_volumes(&current));
    let revision = removal(&current, args.volumes).into();
    let preview = client.plan(&revision, false).await?;
    apply::show_plan(&preview, context)?;
    if kept > 0 && !args.volumes {
        let volumes = show::count(kept, "volume");
        context.printer.say(&format!("{volumes} will be kept; `muster down -v` removes volumes"));
    }
    let request = SubmitRequest::new(revision, Some(expected), "down");
    let wait = Wait::asked(args.detach, args.timeout);
    let applied = apply(context, &client, request, wait).await?;
    if context.json {
        context.printer.json(&applied)?;
    }
    if args.detach {
        context.printer.say(&super::follow::how_to_look(&app));
    } else if applied.submitted.changed {
        let time = show::elapsed(applied.elapsed);
        context.printer.say(&format!("app `{app}` is gone after {time}"));
    } else {
        context.printer.say(&format!("app `{app}` was gone already"));
    }
    Ok(Outcome::Done)
}

/// Volumes that outlive the app.
fn kept_volumes(revision: &Revision) -> usize {
    revision.volumes.values().filter(|volume| !volume.external).count()
}

/// The Revision in which nothing is left. Hosts find volumes by their labels.
fn removal(current: &Revision, volumes: bool) -> Revision {
    Revision {
        intent: if volumes { Intent::RemoveWithVolumes } else { Intent::Remove },
        deployments: BTreeMap::new(),
        jobs: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        ..project::by(current.clone(), "down")
    }
}
