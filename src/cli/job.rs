//! `muster job`.

use futures_util::StreamExt;
use jiff::Timestamp;

use super::args::{ProjectArgs, ProjectArgsLong};
use super::attach::{attach, lines_of, outcome};
use super::errors::{CliError, Outcome};
use super::run::variables;
use super::show::Column;
use super::{Context, project, show};
use crate::api::client::ClientError;
use crate::api::{ForgetRun, JobView, RunName, RunView, StartRun};
use crate::model::{AppName, RunState, ServiceName};

/// Show jobs and their runs, run one, print what a run wrote
#[derive(Debug, clap::Args)]
pub(super) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, clap::Subcommand)]
enum JobCommand {
    /// List jobs; or the runs of one
    Ls(LsArgs),
    /// Run a job now
    Run(StartArgs),
    /// Print what a run wrote: the last one, unless another is named
    Logs(LogsArgs),
    /// End a run, if it goes on, and remove it with what it wrote
    Rm(RmArgs),
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The job, or `SERVICE-run` for what `muster run` ran
    #[arg(value_name = "JOB")]
    job: Option<String>,
}

#[derive(Debug, clap::Args)]
struct StartArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// Print what it writes until it ends, and end with its exit code
    #[arg(long)]
    wait: bool,
    /// Set a variable; one without a value is taken from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
}

#[derive(Debug, clap::Args)]
struct LogsArgs {
    #[command(flatten)]
    project: ProjectArgsLong,
    /// Go on with what it writes until it ends
    #[arg(short = 'f', long)]
    follow: bool,
    /// The job, or `SERVICE-run` for what `muster run` ran
    #[arg(value_name = "JOB")]
    job: String,
    /// The number of the run
    #[arg(value_name = "RUN")]
    run: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct RmArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The job, or `SERVICE-run` for what `muster run` ran
    #[arg(value_name = "JOB")]
    job: String,
    /// The number of the run
    #[arg(value_name = "RUN")]
    run: u32,
}

pub(super) async fn run(
    args: JobArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    match args.command {
        JobCommand::Ls(args) => ls(args, global, context).await,
        JobCommand::Run(args) => start(args, global, context).await,
        JobCommand::Logs(args) => logs(args, global, context).await,
        JobCommand::Rm(args) => rm(args, global, context).await,
    }
}

async fn ls(args: LsArgs, global: ProjectArgs, context: &Context) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let jobs = context.client().jobs(&app).await?;
    let Some(name) = args.job else {
        let columns = [
            Column::new("JOB"),
            Column::wrapping("TRIGGERS"),
            Column::wrapping("LAST RUN"),
            Column::new("NEXT"),
            Column::wrapping("LEFT OUT"),
        ];
        context.print_list(&jobs, |job| job.name.as_str(), &columns, job_row)?;
        if jobs.is_empty() {
            context.printer.say(&format!("app `{app}` has no jobs"));
        }
        return Ok(Outcome::Done);
    };
    let job = find(jobs, &app, &name)?;
    let columns = [
        Column::new("RUN"),
        Column::new("STATE"),
        Column::wrapping("CAUSE"),
        Column::new("HOST"),
        Column::new("BEGAN"),
        Column::new("TOOK"),
        Column::new("EXIT"),
        Column::wrapping("REASON"),
    ];
    let runs: Vec<(String, &RunView)> =
        job.runs.iter().map(|run| (run.run.to_string(), run)).collect();
    if context.json {
        context.printer.json(&job.runs)?;
        return Ok(Outcome::Done);
    }
    context.print_list(&runs, |(number, _)| number, &columns, |(_, run)| run_row(run))?;
    if runs.is_empty() {
        context.printer.say(&format!("job `{name}` has not run yet"));
    }
    Ok(Outcome::Done)
}

/// # Errors
///
/// When the App has no such job.
fn find(jobs: Vec<JobView>, app: &AppName, name: &str) -> Result<JobView, CliError> {
    let known: Vec<String> = jobs.iter().map(|job| job.name.to_string()).collect();
    jobs.into_iter().find(|job| job.name.as_str() == name).ok_or_else(|| {
        CliError::user(format!("app `{app}` has no job `{name}`"))
            .hint(format!("it has: {}", show::or_dash(&known.join(", "))))
    })
}

fn job_row(job: &JobView) -> Vec<String> {
    let mut triggers: Vec<String> = job.schedules.iter().map(|one| one.text.clone()).collect();
    if job.manual {
        triggers.insert(0, "manual".to_owned());
    }
    let last = job.runs.first().map(|run| match (run.ended, run.state.is_over()) {
        (Some(ended), true) => format!("{} {} {}", run.run, run.state, time(ended)),
        (_, _) => format!("{} {}", run.run, run.state),
    });
    let next = job.schedules.iter().filter_map(|one| one.next).min();
    let left_out = job.left_out.as_ref().map(|one| format!("{}: {}", time(one.at), one.why));
    vec![
        job.name.to_string(),
        show::or_dash(&triggers.join(", ")),
        show::or_dash(&last.unwrap_or_default()),
        show::or_dash(&next.map(time).unwrap_or_default()),
        show::or_dash(&left_out.unwrap_or_default()),
    ]
}

fn run_row(run: &RunView) -> Vec<String> {
    let cause = match (run.due, &run.asked_by) {
        (Some(due), _) => format!("due {}", time(due)),
        (None, Some(by)) => format!("asked by {by}"),
        (None, None) => String::new(),
    };
    let took = run.began.zip(run.ended).map(|(began, ended)| ended.saturating_sub(began));
    vec![
        run.run.to_string(),
        run.state.to_string(),
        cause,
        show::or_dash(&run.host),
        show::or_dash(&run.began.map(time).unwrap_or_default()),
        show::or_dash(&took.map(show::age).unwrap_or_default()),
        show::or_dash(&run.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        show::or_dash(run.reason.as_deref().unwrap_or_default()),
    ]
}

/// In UTC, as schedules are.
fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

async fn start(
    args: StartArgs,
    global: ProjectArgs,
    context: &Context,
) -> Result<Outcome, CliError> {
    context.if_interrupted("nothing was run");
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    find(client.jobs(&app).await?, &app, &args.job)?;
    let request = StartRun {
        app: app.clone(),
        of: ServiceName::new(&args.job),
        command: None,
        entrypoint: None,
        environment: variables(&args.env)?,
        user: None,
        working_dir: None,
        attended: None,
    };
    let begun = client.start_run(&request).await?;
    let hint = format!("`muster job logs {} {}` prints what it writes", begun.name, begun.run);
    context.if_interrupted(format!("run {} goes on; {hint}", begun.run));
    if args.wait {
        return outcome(&attach(context, &client, &app, &begun).await?);
    }
    if context.json {
        context.printer.json(&begun)?;
    }
    context.printer.say(&format!("run {} of job `{}` is begun; {hint}", begun.run, begun.name));
    Ok(Outcome::Done)
}

async fn logs(args: LogsArgs, global: ProjectArgs, context: &Context) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let client = context.client();
    let job = find(client.jobs(&app).await?, &app, &args.job)?;
    let begun = |run: &&RunView| run.state != RunState::Announced && run.state != RunState::Queued;
    let run = match args.run {
        Some(number) => job.runs.iter().find(|run| run.run == number),
        None => job.runs.iter().find(begun),
    };
    let Some(run) = run else {
        let words = match args.run {
            Some(number) => format!("job `{}` has no run {number} that is known", args.job),
            None => format!("job `{}` has not run yet", args.job),
        };
        let hint = format!("`muster job ls {}` lists its runs", args.job);
        return Err(CliError::user(words).hint(hint));
    };
    let name = RunName { name: job.name.clone(), run: run.run };
    if args.follow && !run.state.is_over() {
        attach(context, &client, &app, &name).await?;
        return Ok(Outcome::Done);
    }
    let mut lines = client.logs(&lines_of(&app, &name, false)).await?;
    while let Some(line) = lines.next().await {
        let line = line.map_err(ClientError::Refused)?;
        context.printer.raw(&format!("{}\n", line.line))?;
    }
    Ok(Outcome::Done)
}

async fn rm(args: RmArgs, global: ProjectArgs, context: &Context) -> Result<Outcome, CliError> {
    let app = project::app_name(&global.then(args.project))?;
    let request = ForgetRun { app, name: ServiceName::new(&args.job), run: args.run };
    let RunName { name, run } = context.client().forget_run(&request).await?;
    context.printer.say(&format!("run {run} of `{name}` is removed"));
    Ok(Outcome::Done)
}
