//! `muster scale`.

use std::time::Duration;

use super::apply::{self, Wait, apply};
use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::{Context, args, project, up};
use crate::api::SubmitRequest;
use crate::model::{AskedReplicas, Autoscale, Intent, Replicas, Revision, ServiceName};

/// More replicas than this of one service are a slip of the finger.
const REPLICAS_MAX: u32 = 10_000;

/// Set how many replicas a service has
///
/// A service with `x-autoscale` takes a number within its `min` and `max` at once, and its rules go on from
/// there: they may ask for more soon, and for fewer no sooner than the window for shrinking (5 minutes
/// unless the file says otherwise) is over.
#[derive(Debug, clap::Args)]
pub(super) struct ScaleArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The service and its number of replicas, as in `web=5`
    #[arg(required = true, value_name = "SERVICE=N", value_parser = target)]
    targets: Vec<(String, u32)>,
    /// Do not wait until all is up
    #[arg(short, long)]
    detach: bool,
    /// Longest wait
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = args::duration)]
    timeout: Duration,
}

pub(super) async fn run(
    args: ScaleArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was changed");
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let current = client.revision(&app).await?;
    if current.intent != Intent::Run {
        return Err(CliError::user(format!("app `{app}` is being removed"))
            .hint("`muster up` runs it again"));
    }
    let expected = current.id().clone();
    let mut revision = project::by(project::opened(&current)?, "scale");
    for (service, count) in &args.targets {
        set(&mut revision, service, *count)?;
        if revision.deployments[&ServiceName::new(service)].autoscale.is_some() {
            let words = format!(
                "the rules of service `{service}` go on from {count}; `muster autoscale {service}` \
                 shows what they do"
            );
            context.printer.say(&words);
        }
    }
    let revision = revision.into();
    let preview = client.plan(&revision, false).await?;
    apply::show_plan(&preview, context)?;
    let request = SubmitRequest::new(revision, Some(expected), "scale");
    let wait = Wait::asked(args.detach, args.timeout);
    let applied = apply(context, &client, request, wait).await?;
    if args.detach {
        context.printer.say(&super::follow::how_to_look(&app));
    }
    up::finish(&applied, app.as_str(), context)?;
    Ok(Outcome::Done)
}

/// `web=5`.
pub(super) fn target(text: &str) -> Result<(String, u32), String> {
    let words = || format!("`{text}` is not as in `web=5`");
    let (service, count) = text.split_once('=').ok_or_else(words)?;
    let count: u32 = count.parse().map_err(|_| words())?;
    if service.is_empty() {
        return Err(words());
    }
    if count > REPLICAS_MAX {
        return Err(format!("more than {REPLICAS_MAX} replicas of one service"));
    }
    Ok((service.to_owned(), count))
}

/// Gives a service another number of replicas.
///
/// # Errors
///
/// When there is no such service, it runs once on each host, or its rules do not allow the number.
pub(super) fn set(revision: &mut Revision, service: &str, count: u32) -> Result<(), CliError> {
    let Some(deployment) = revision.deployments.get_mut(&ServiceName::new(service)) else {
        return Err(no_service(revision, service));
    };
    if let Some(leader) = &deployment.joins {
        return Err(CliError::user(format!("service `{service}` cannot be scaled by itself"))
            .hint(format!("it has the network of `{leader}`: scale that one")));
    }
    match deployment.replicas {
        Replicas::Global => Err(CliError::user(format!("service `{service}` cannot be scaled"))
            .hint("with `deploy.mode: global` it runs once on each host")),
        Replicas::Count(_) => {
            if let Some(rules) = &mut deployment.autoscale {
                return ask(rules, service, count);
            }
            let own = ServiceName::new(service);
            let all = revision.deployments.iter_mut();
            for (_, deployment) in
                all.filter(|(name, d)| **name == own || d.joins.as_ref() == Some(&own))
            {
                deployment.replicas = Replicas::Count(count);
            }
            Ok(())
        }
    }
}

/// What rules say goes on from the number that is asked for.
fn ask(rules: &mut Autoscale, service: &str, count: u32) -> Result<(), CliError> {
    let (min, max) = (rules.min, rules.max);
    if rules.clamp(count) != count {
        let words = format!("service `{service}` is scaled by rules between {min} and {max}");
        return Err(CliError::user(words)
            .hint("change `min` or `max` of its `x-autoscale`, then `muster up`"));
    }
    // The agent that takes it knows how often somebody asked before.
    rules.asked = Some(AskedReplicas { replicas: count, number: 0 });
    Ok(())
}

/// The error for a service that the app does not have.
pub(super) fn no_service(revision: &Revision, service: &str) -> CliError {
    let known: Vec<&str> = revision.deployments.keys().map(ServiceName::as_str).collect();
    CliError::user(format!("app `{}` has no service `{service}`", revision.app))
        .hint(format!("it has: {}", super::show::or_dash(&known.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_and_a_number() {
        assert_eq!(target("web=5"), Ok(("web".to_owned(), 5)));
        assert_eq!(target("web=0"), Ok(("web".to_owned(), 0)));
        for wrong in ["web", "=5", "web=", "web=-1", "web=many", "web=10001"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
