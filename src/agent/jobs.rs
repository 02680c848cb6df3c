//! Runs that people ask for here: whether they may be, writing the request, and waiting until the Home
//! has answered it. Begins none itself.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::views::unknown_app;
use crate::api::{
    ApiError, Asker, ErrorKind, ForgetRun, JobView, Jobs, LeftOutView, RunName, RunView,
    ScheduleView, StartRun,
};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::logic::runs::{OPEN_MAX, run_name};
use crate::logic::state::State;
use crate::logic::view::ClusterView;
use crate::model::{
    AppName, Cause, Intent, Plan, ReplicaId, Run, RunWish, Runs, SealedRevision, ServiceName,
    Variant,
};

/// How long the Home of an App may take to answer: one that has just died is replaced within it.
const ANSWER: Duration = Duration::from_secs(30);
/// Time between two looks for the answer.
const LOOK: Duration = Duration::from_millis(50);

#[async_trait]
impl<E: Engine> Jobs for Agent<E> {
    async fn jobs(&self, app: &AppName) -> Result<Vec<JobView>, ApiError> {
        let app = app.clone();
        self.cluster()?.core.look(move |core| jobs(core, &app)).await?
    }

    async fn start_run(&self, asker: &Asker, request: StartRun) -> Result<RunName, ApiError> {
        let cluster = self.cluster()?;
        self.start_run_from_here(&cluster, asker, request).await
    }

    async fn forget_run(&self, asker: &Asker, request: ForgetRun) -> Result<RunName, ApiError> {
        let cluster = self.cluster()?;
        self.forget_run_from_here(&cluster, asker, request).await
    }
}

impl<E: Engine> Agent<E> {
    /// Has a job run once, or one container of a service.
    async fn start_run_from_here(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        request: StartRun,
    ) -> Result<RunName, ApiError> {
        let what = format!("run {} {}", request.app, request.of);
        let result = self.take_run(cluster, asker, request).await;
        let new = result.as_ref().map(|run| format!("{}/{}", run.name, run.run));
        let changed = Changed { what, new: new.unwrap_or_default(), ..Changed::default() };
        self.note(&asker.by(), changed, &result).await;
        result
    }

    async fn take_run(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        request: StartRun,
    ) -> Result<RunName, ApiError> {
        let StartRun { app, of, command, entrypoint, environment, user, working_dir, attended } =
            request;
        let (asked, name) = (of.clone(), app.clone());
        let name = cluster.core.look(move |core| may_run(core, &name, &asked)).await??;
        let variant = Variant { command, entrypoint, environment, user, working_dir, attended };
        let number = self.ask_home(cluster, asker, &app, RunWish::Run { of, variant }).await?;
        let me = cluster.host.clone();
        let found = cluster.core.look(move |core| {
            let runs = core.state().plan(&app)?.runs.get(&name)?;
            let is_it = |run: &Run| match &run.cause {
                Cause::Asked { host, number: asked, by: _ } => *host == me && *asked == number,
                Cause::Clock { .. } => false,
            };
            let (run, _) = runs.runs.iter().find(|(_, run)| is_it(run))?;
            Some(RunName { name, run: *run })
        });
        found.await?.ok_or_else(|| {
            ApiError::cluster("the app's home did not begin the run: the app was changed meanwhile")
                .hint("see `muster job ls`, then repeat")
        })
    }

    /// Has a run ended and forgotten.
    async fn forget_run_from_here(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        request: ForgetRun,
    ) -> Result<RunName, ApiError> {
        let ForgetRun { app, name, run } = request;
        let what = format!("job rm {app} {name}/{run}");
        let asked = (app.clone(), name.clone());
        let known = cluster.core.look(move |core| has_run(core, &asked.0, &asked.1, run)).await?;
        let result = match known {
            Ok(()) => {
                let wish = RunWish::Forget { name: name.clone(), run };
                self.ask_home(cluster, asker, &app, wish).await.map(|_| RunName { name, run })
            }
            Err(error) => Err(error),
        };
        self.note(&asker.by(), Changed { what, ..Changed::default() }, &result).await;
        result
    }

    /// Writes a request here and on another disk, and waits until the Home has answered it. Returns its
    /// number.
    async fn ask_home(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        app: &AppName,
        wish: RunWish,
    ) -> Result<u64, ApiError> {
        let by = match asker {
            Asker::Local => None,
            Asker::Operator(caller) => Some(caller.name.clone()),
        };
        let (number, delta) = cluster.core.ask(app.clone(), wish, by).await?;
        self.copy(cluster, delta).await?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let (name, me) = (app.clone(), cluster.host.clone());
            let answered = cluster.core.look(move |core| {
                core.state().plan(&name).and_then(|plan| plan.asked.get(&me)).copied()
            });
            if answered.await?.is_some_and(|answered| answered >= number) {
                return Ok(number);
            }
            if Instant::now() >= deadline {
                let words = format!("the home of app `{app}` has not answered yet");
                return Err(ApiError::cluster(words).hint(
                    "what was asked for is kept, and done once it answers; see `muster job ls`",
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

pub(super) fn running<'c>(state: &'c State, app: &AppName) -> Result<&'c SealedRevision, ApiError> {
    let revision = state.winner(app).ok_or_else(|| unknown_app(app))?;
    match revision.intent {
        Intent::Run => Ok(revision),
        Intent::Remove | Intent::RemoveWithVolumes => {
            Err(ApiError::user(format!("app `{app}` is taken down")))
        }
    }
}

pub(super) fn runs_of<'c>(state: &'c State, app: &AppName, name: &ServiceName) -> Option<&'c Runs> {
    state.plan(app)?.runs.get(name)
}

pub(super) fn not_found(message: String, hint: String) -> ApiError {
    ApiError { kind: ErrorKind::NotFound, message, hint: Some(hint) }
}

/// The name that a run of `of` has.
///
/// # Errors
///
/// Why there can be none.
fn may_run(core: &Core, app: &AppName, of: &ServiceName) -> Result<ServiceName, ApiError> {
    let revision = running(core.state(), app)?;
    let name = match revision.jobs.get(of) {
        Some(job) if job.manual => of.clone(),
        Some(_) => {
            let words = format!("job `{of}` is not run by hand: it says `manual: false`");
            return Err(ApiError::user(words));
        }
        None if revision.deployments.contains_key(of) => run_name(of),
        None => {
            let known = revision.all_deployments().map(|(name, _)| name.as_str());
            let known: Vec<&str> = known.collect();
            let words = format!("app `{app}` has no job and no service `{of}`");
            return Err(not_found(words, format!("it has: {}", known.join(", "))));
        }
    };
    let joins = revision.deployments.get(of).and_then(|deployment| deployment.joins.as_ref());
    if let Some(leader) = joins {
        let words = format!("`{of}` has the network of `{leader}`, and cannot be run alone");
        return Err(ApiError::user(words).hint(format!("`muster run {leader}` has a network")));
    }
    if name != *of && revision.deployment(&name).is_some() {
        let words = format!("containers of `{of}` cannot be run: they would be called `{name}`");
        return Err(ApiError::user(words).hint("another service has that name; rename one of them"));
    }
    let open = runs_of(core.state(), app, &name).map_or(0, |runs| runs.open().count());
    if open >= OPEN_MAX {
        let words = format!("{open} runs of `{of}` are not over: no more are begun");
        return Err(ApiError::user(words).hint(format!("`muster job ls {name}` shows them")));
    }
    Ok(name)
}

fn has_run(core: &Core, app: &AppName, name: &ServiceName, run: u32) -> Result<(), ApiError> {
    running(core.state(), app)?;
    let runs = runs_of(core.state(), app, name);
    if runs.is_some_and(|runs| runs.runs.contains_key(&run)) {
        return Ok(());
    }
    let words = format!("app `{app}` knows no run {run} of `{name}`");
    Err(not_found(words, "`muster job ls` lists them".to_owned()))
}

/// Every job of an App, and what else was run of it.
///
/// # Errors
///
/// When there is no such App.
fn jobs(core: &Core, app: &AppName) -> Result<Vec<JobView>, ApiError> {
    let revision = core.state().winner(app).ok_or_else(|| unknown_app(app))?;
    let view = core.view();
    let plan = core.state().plan(app);
    let of = |name: &ServiceName| plan.and_then(|plan| plan.runs.get(name));
    let mut all: Vec<JobView> = Vec::new();
    for (name, job) in &revision.jobs {
        let runs = of(name);
        let next = |text: &String| runs.and_then(|runs| runs.clock.get(text)?.next);
        let schedules = job.schedule.iter().map(ToString::to_string);
        let schedules = schedules.map(|text| {
            let next = next(&text).map(|next| next.0);
            ScheduleView { text, next }
        });
        let schedules = schedules.collect();
        all.push(shown(&view, plan, name, runs, (None, job.manual, schedules)));
    }
    let others = plan.into_iter().flat_map(|plan| &plan.runs);
    let others = others.filter(|(_, runs)| !runs.runs.is_empty());
    for (name, runs) in others.filter(|(name, _)| !revision.jobs.contains_key(*name)) {
        let of = runs.runs.values().next().map(|run| run.of.clone());
        all.push(shown(&view, plan, name, Some(runs), (of, true, Vec::new())));
    }
    Ok(all)
}

fn shown(
    view: &ClusterView<'_>,
    plan: Option<&Plan>,
    name: &ServiceName,
    runs: Option<&Runs>,
    (of, manual, schedules): (Option<ServiceName>, bool, Vec<ScheduleView>),
) -> JobView {
    let one = |(number, run): (&u32, &Run)| shown_run(view, plan, name, *number, run);
    JobView {
        name: name.clone(),
        of,
        manual,
        schedules,
        runs: runs.iter().flat_map(|runs| runs.runs.iter().rev()).map(one).collect(),
        left_out: runs
            .and_then(|runs| runs.left_out.as_ref())
            .map(|left_out| LeftOutView { at: left_out.at.0, why: left_out.why.to_string() }),
    }
}

fn shown_run(
    view: &ClusterView<'_>,
    plan: Option<&Plan>,
    name: &ServiceName,
    number: u32,
    run: &Run,
) -> RunView {
    let (due, asked_by) = match &run.cause {
        Cause::Clock { due } => (Some(due.0), None),
        Cause::Asked { host, number: _, by } => {
            (None, Some(by.clone().unwrap_or_else(|| view.host_name(host))))
        }
    };
    let of_app = plan.map(|plan| {
        let (app, service) = (plan.app.clone(), name.clone());
        (plan, ReplicaId { app, service, index: number })
    });
    let reason = || {
        let (plan, replica) = of_app.as_ref()?;
        if let Some(waiting) = plan.waiting.get(&replica.to_string()) {
            return Some(waiting.to_string());
        }
        let assignment = plan.assignments.iter().find(|a| a.replica == *replica)?;
        view.status(assignment)?.reason.clone()
    };
    let is_over = run.state.is_over();
    RunView {
        run: number,
        state: run.state,
        due,
        asked_by,
        command: run.variant.command.clone(),
        at: run.at.0,
        began: run.began.map(|at| at.0),
        ended: run.ended.map(|at| at.0),
        host: run.host.as_ref().map(|host| view.host_name(host)).unwrap_or_default(),
        exit_code: run.exit_code,
        reason: run.reason.clone().or_else(|| if is_over { None } else { reason() }),
    }
}
