//! `muster autoscale`.

use super::args::ProjectArgs;
use super::errors::{CliError, Outcome};
use super::show::{Column, table};
use super::{Context, printer, project, show, sizes};
use crate::api::{AutoscaleView, ScaleDecisionView};

/// Show how services are scaled that have `x-autoscale`: what is looked at, and what was decided and why
///
/// WOULD DO is what a replica should reserve: the CPU suffices nine tenths of the time by what replicas took
/// lately, the memory always did, both with 15 % to spare. GIVEN is what replicas have where
/// `x-autoscale.vertical` says that it is applied while they run. ASKS FOR is what one metric alone asks for
/// now; of several the most counts. Windows, steps, `min` and `max` come after it. `muster scale SERVICE=N`
/// sets another number within `min` and `max`, from which the rules go on.
#[derive(Debug, clap::Args)]
pub(super) struct AutoscaleArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Only these services
    #[arg(value_name = "SERVICE")]
    only: Vec<String>,
}

pub(super) async fn run(
    args: AutoscaleArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let mut all = context.client().autoscale(&app).await?;
    let is_one = |name: &&String| all.iter().any(|one| one.service.as_str() == name.as_str());
    if let Some(unknown) = args.only.iter().find(|name| !is_one(name)) {
        let known: Vec<&str> = all.iter().map(|one| one.service.as_str()).collect();
        let words = format!("app `{app}` has no service `{unknown}` that is scaled by rules");
        let hint = format!("those are: {}", show::or_dash(&known.join(", ")));
        return Err(CliError::user(words).hint(hint));
    }
    let is_wanted = |one: &AutoscaleView| args.only.iter().any(|name| name == one.service.as_str());
    all.retain(|one| args.only.is_empty() || is_wanted(one));
    if context.json {
        context.printer.json(&all)?;
        return Ok(Outcome::Done);
    }
    if context.quiet() {
        all.iter().try_for_each(|one| context.printer.data(one.service.as_str()))?;
        return Ok(Outcome::Done);
    }
    if all.is_empty() {
        context.printer.say(&format!("no service of app `{app}` has `x-autoscale`"));
        return Ok(Outcome::Done);
    }
    context.printer.data(&shown(&all, printer::stdout_width()))?;
    // An agent of an older version knows of no such command.
    if let Ok(view) = context.client().provider().await
        && let Some(command) = &view.command
    {
        let (hosts, most) = (view.hosts, view.hosts_max);
        let words = format!("`{command}` adds hosts: {hosts} of at most {most} are there");
        context.printer.say(&format!("{words}; `muster node provider` shows why"));
    }
    for one in &all {
        if let Some(reason) = &one.hold {
            let (service, target) = (&one.service, one.target);
            let words = format!("service `{service}` stays at {target} replicas: {reason}");
            context.printer.warn(&words);
        }
        sizes::warnings(one).iter().for_each(|words| context.printer.warn(words));
    }
    Ok(Outcome::Done)
}

/// The services, below them the numbers, below them what was decided.
fn shown(all: &[AutoscaleView], width: Option<u16>) -> String {
    let columns = [
        Column::new("SERVICE"),
        Column::new("READY"),
        Column::new("TARGET"),
        Column::new("MIN"),
        Column::new("MAX"),
        Column::new("WOULD DO"),
    ];
    let rows = all.iter().map(|one| {
        let numbers = [one.ready, one.target, one.min, one.max].map(|number| number.to_string());
        let would_do = one.recommended.map_or_else(
            || "-".to_owned(),
            |one| format!("{} CPUs, {}", one.cpus, show::bytes(one.memory)),
        );
        [vec![one.service.to_string()], numbers.to_vec(), vec![would_do]].concat()
    });
    let mut parts = vec![table(&columns, &rows.collect::<Vec<_>>(), width)];
    let columns = [
        Column::new("SERVICE"),
        Column::new("METRIC"),
        Column::new("NOW"),
        Column::new("TARGET"),
        Column::new("ASKS FOR"),
        Column::wrapping("PROBLEM"),
    ];
    let rows = all.iter().flat_map(|one| {
        one.rules.iter().map(|rule| {
            vec![
                one.service.to_string(),
                rule.metric.clone(),
                rule.shown.clone(),
                rule.target.clone(),
                rule.wants.map_or_else(|| "-".to_owned(), |wants| wants.to_string()),
                show::or_dash(rule.problem.as_deref().unwrap_or_default()),
            ]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        parts.push(table(&columns, &rows, width));
    }
    let columns = [
        Column::new("SERVICE"),
        Column::new("WHEN"),
        Column::new("FROM"),
        Column::new("TO"),
        Column::wrapping("WHY"),
    ];
    let rows = all.iter().flat_map(|one| {
        one.decisions.iter().map(|ScaleDecisionView { at, from, to, reason }| {
            let service = one.service.to_string();
            vec![service, show::time(*at), from.to_string(), to.to_string(), reason.clone()]
        })
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        parts.push(table(&columns, &rows, width));
    }
    parts.extend(sizes::shown(all, width));
    parts.join("\n\n")
}
