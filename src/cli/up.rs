//! `muster up`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::apply::{self, Applied, Wait, apply};
use super::args::ProjectArgs;
use super::build::{self, Mode};
use super::errors::{CliError, Outcome};
use super::{Context, args, printer, project, scale, show, start};
use crate::api::client::Client;
use crate::api::{PlanPreview, Refusal, SubmitRequest};
use crate::model::{Intent, Revision, SealedRevision, ServiceName};
use crate::translate::Translation;

/// Run what a Compose file describes, on the whole cluster
///
/// Shows what will change, changes it, and waits until all is up. With no agent running it starts
/// a cluster of one host here.
#[derive(Debug, clap::Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    selection: Selection,
    /// Do not wait until all is up
    #[arg(short, long)]
    detach: bool,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Build images even when nothing changed
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Do not build images; a missing one is an error
    #[arg(long)]
    no_build: bool,
    /// Run so many replicas of a service, whatever the file says
    #[arg(long = "scale", value_name = "SERVICE=N", value_parser = scale::target)]
    scale: Vec<(String, u32)>,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
    /// For scripts: nothing is ever asked
    #[arg(short = 'y', long)]
    yes: bool,
}

/// Which part of which project; `plan` has it too.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    #[command(flatten)]
    project: ProjectArgs,
    /// Leave services alone that the named ones depend on
    #[arg(long, requires = "services")]
    no_deps: bool,
    /// Only these services and what they depend on; others stay as they are
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub(super) async fn run(
    args: UpArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let mut wanted = Wanted::load(args.selection, global, "up", context)?;
    let client = context.client();
    if args.dry_run {
        let (preview, _) = wanted.preview(&client, &args.scale).await?;
        return super::plan::show(&preview, context).map(|_| Outcome::Done);
    }
    start::ensure_agent(context, &client).await?;
    let mode = match (args.build, args.no_build) {
        (true, _) => Mode::Always,
        (false, true) => Mode::Never,
        (false, false) => Mode::Missing,
    };
    build::build_images(context, &client, &mut wanted.translation, mode).await?;
    let revision = wanted.revision(&client, &args.scale).await?;
    let preview = client.plan(&revision, true).await?;
    apply::show_plan(&preview, context)?;
    // The Revision the plan was made against: what was shown is what happens.
    let request = SubmitRequest::new(revision, preview.from, "up").retrying();
    let wait = Wait::asked(args.detach, args.timeout);
    let app = preview.app;
    let applied = apply(context, &client, request, wait).await?;
    if args.detach {
        context.printer.say(&super::follow::how_to_look(&app));
    }
    finish(&applied, app.as_str(), context)?;
    Ok(Outcome::Done)
}

/// The last words.
pub(super) fn finish(applied: &Applied, app: &str, context: &Context) -> Result<(), CliError> {
    if context.json {
        context.printer.json(applied)?;
    }
    let Some(detail) = &applied.app else { return Ok(()) };
    for service in &detail.services {
        if let Some(words) = show::rollout(service) {
            context.printer.say(&words);
        }
    }
    let time = show::elapsed(applied.elapsed);
    if applied.submitted.changed {
        context.printer.say("");
        context.printer.say(&show::services(&detail.services, printer::stderr_width()));
        context.printer.say("");
        context.printer.say(&format!("app `{app}` is up after {time}"));
    } else {
        context.printer.say(&format!("app `{app}` is up; nothing was to change"));
    }
    Ok(())
}

/// What a file asks for, reduced to the services that were named.
#[derive(Debug)]
pub(super) struct Wanted {
    translation: Translation,
    /// Whether only a part of the file was asked for.
    partial: bool,
}

impl Wanted {
    /// Loads and translates.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or has no such service.
    pub(super) fn load(
        selection: Selection,
        global: ProjectArgs,
        command: &str,
        context: &Context,
    ) -> Result<Self, CliError> {
        let Selection { project, no_deps, services } = selection;
        let mut translation =
            project::translated(&global.then(project), &services, command, context)?;
        let partial = !services.is_empty();
        if partial {
            let names = closure(&translation.revision, &services, no_deps)?;
            translation.revision.deployments.retain(|name, _| names.contains(name));
            // Jobs stay as they are, too.
            translation.revision.jobs.clear();
            translation.builds.retain(|build| names.contains(&ServiceName::new(&build.service)));
        }
        Ok(Self { translation, partial })
    }

    /// The plan without building anything, and the images that would be built.
    ///
    /// # Errors
    ///
    /// When a context cannot be packed, or the agent has none.
    pub(super) async fn preview(
        &mut self,
        client: &Client,
        scale: &[(String, u32)],
    ) -> Result<(PlanPreview, Vec<String>), CliError> {
        let missing = build::name_images(client, &mut self.translation).await?;
        let revision = self.revision(client, scale).await?;
        let mut preview = client.plan(&revision, true).await?;
        // No host and no registry has what is not built yet; that is no reason to refuse it.
        let unbuilt =
            |refusal: &Refusal| refusal.image.as_ref().is_some_and(|i| missing.contains(i));
        preview.refusals.retain(|refusal| !unbuilt(refusal));
        Ok((preview, missing))
    }

    /// The Revision to submit. Services that were not asked for stay as the cluster has them.
    ///
    /// # Errors
    ///
    /// When the agent does not answer, or a service to scale is unknown.
    pub(super) async fn revision(
        &self,
        client: &Client,
        scale: &[(String, u32)],
    ) -> Result<SealedRevision, CliError> {
        let mut revision = self.translation.revision.clone();
        for (service, count) in scale {
            scale::set(&mut revision, service, *count)?;
        }
        if !self.partial {
            return Ok(revision.into());
        }
        match client.revision(&revision.app).await {
            Ok(current) if current.intent == Intent::Run => {
                Ok(overlay(project::opened(&current)?, revision).into())
            }
            Ok(_) => Ok(revision.into()),
            Err(error) if error.is_not_found() => Ok(revision.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The named services and all they depend on.
fn closure(
    revision: &Revision,
    services: &[String],
    no_deps: bool,
) -> Result<BTreeSet<ServiceName>, CliError> {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<ServiceName> = services.iter().map(ServiceName::new).collect();
    while let Some(name) = waiting.pop() {
        let Some(deployment) = revision.deployments.get(&name) else {
            // A dependency that is not required may be missing; one that was named may not.
            if services.iter().any(|service| service == name.as_str()) {
                return Err(scale::no_service(revision, name.as_str()));
            }
            continue;
        };
        if names.insert(name) && !no_deps {
            waiting.extend(deployment.depends_on.keys().cloned());
        }
    }
    Ok(names)
}

/// The new services over what runs.
fn overlay(current: Revision, new: Revision) -> Revision {
    let mut all = Revision { origin: new.origin, ..current };
    all.deployments.extend(new.deployments);
    all.networks.extend(new.networks);
    all.volumes.extend(new.volumes);
    all
}
