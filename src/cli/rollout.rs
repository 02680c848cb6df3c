//! `muster rollout`.

use std::time::Duration;

use super::apply::{Wait, apply};
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::Column;
use super::{Context, args, project, show, up};
use crate::api::{Decided, ServiceView, SubmitRequest};
use crate::model::{RolloutOrder, ServiceName};

/// Show how updates go, and decide of those that wait
#[derive(Debug, clap::Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RolloutCommand {
    /// Show how the updates of an app go
    Status(StatusArgs),
    /// Update the other replicas too, after a canary or although some failed
    Promote(DecideArgs),
    /// Go back to what ran before
    Abort(DecideArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    project: ProjectArgs,
}

#[derive(Debug, clap::Args)]
struct DecideArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Do not wait for the end
    #[arg(short, long)]
    detach: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
}

pub(super) async fn run(
    args: RolloutArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    match args.command {
        RolloutCommand::Status(args) => status(args, global, context).await,
        RolloutCommand::Promote(args) => decide(args, RolloutOrder::Promote, global, context).await,
        RolloutCommand::Abort(args) => decide(args, RolloutOrder::Abort, global, context).await,
    }
}

async fn status(
    args: StatusArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let detail = context.client().app(&app).await?;
    let under_way: Vec<&ServiceView> =
        detail.services.iter().filter(|service| service.rollout.is_some()).collect();
    let columns = [
        Column::new("SERVICE"),
        Column::new("STAGE"),
        Column::new("NEW"),
        Column::new("FAILED"),
        Column::wrapping("REASON"),
    ];
    context.print_list(
        &under_way,
        |service| service.service.as_str(),
        &columns,
        |service| {
            let Some(rollout) = &service.rollout else { return vec![String::new(); 5] };
            vec![
                service.service.to_string(),
                rollout.stage.to_string(),
                format!("{}/{}", rollout.updated, rollout.total),
                rollout.failed.to_string(),
                show::or_dash(rollout.reason.as_deref().unwrap_or_default()),
            ]
        },
    )?;
    if under_way.is_empty() {
        context.printer.say(&format!("no service of app `{app}` is being updated"));
    }
    Ok(Outcome::Done)
}

async fn decide(
    args: DecideArgs,
    order: RolloutOrder,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let current = client.revision(&app).await?;
    let verb = match order {
        RolloutOrder::Promote | RolloutOrder::Force => "promote",
        RolloutOrder::Abort => "abort",
    };
    let command = format!("rollout {verb} {}", args.service);
    let decided = Decided { service: ServiceName::new(&args.service), order };
    let expected = Some(current.id().clone());
    let request = SubmitRequest {
        order: Some(decided),
        ..SubmitRequest::new(project::by(project::opened(&current)?, &command), expected, command)
    };
    let wait = Wait::asked(args.detach, args.timeout);
    let aborts = order == RolloutOrder::Abort;
    let applied = match apply(context, &client, request, wait).await {
        // That it was undone is what was asked for.
        Err(error) if aborts && is_rolled_back(context, &app, &args.service).await => {
            context.printer.say(&error.to_string());
            return Ok(Outcome::Done);
        }
        applied => applied?,
    };
    if args.detach {
        context.printer.say(&super::follow::how_to_look(&app));
    }
    up::finish(&applied, app.as_str(), context)?;
    Ok(Outcome::Done)
}

async fn is_rolled_back(context: &Context, app: &crate::model::AppName, service: &str) -> bool {
    let detail = context.client().app(app).await;
    detail.is_ok_and(|detail| {
        let mut services = detail.services.iter();
        let found = services.find(|one| one.service.as_str() == service);
        let stage = found.and_then(|found| found.rollout.as_ref()).map(|rollout| rollout.stage);
        stage == Some(crate::model::Stage::RolledBack)
    })
}
