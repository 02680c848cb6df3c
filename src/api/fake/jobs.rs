//! Jobs of the fake agent: a run goes on until somebody has looked at it, then ends as its command says.

use async_trait::async_trait;

use super::shown::unknown;
use super::{FakeBackend, HOSTS};
use crate::api::{
    ApiError, Asker, ErrorKind, ForgetRun, JobView, Jobs, RunName, RunView, ScheduleView, StartRun,
};
use crate::logic::runs::run_name;
use crate::model::{AppName, RunState, ServiceName};

/// When all runs are decided.
const AT: u64 = 1_800_000_000;

#[async_trait]
impl Jobs for FakeBackend {
    async fn jobs(&self, app: &AppName) -> Result<Vec<JobView>, ApiError> {
        let mut state = self.ready()?;
        let (revision, _) = state.apps.get(app).cloned().ok_or_else(|| unknown(app))?;
        let mut all: Vec<JobView> = Vec::new();
        for (name, job) in &revision.jobs {
            let one = |text: String| ScheduleView { text, next: Some(AT + 600) };
            let schedules = job.schedule.iter().map(|schedule| one(schedule.to_string()));
            all.push(JobView {
                name: name.clone(),
                of: None,
                manual: job.manual,
                schedules: schedules.collect(),
                runs: state.runs.get(name).cloned().unwrap_or_default(),
                left_out: None,
            });
        }
        for service in revision.deployments.keys() {
            let name = run_name(service);
            let Some(runs) = state.runs.get(&name).cloned() else { continue };
            let (of, schedules) = (Some(service.clone()), Vec::new());
            all.push(JobView { name, of, manual: true, schedules, runs, left_out: None });
        }
        for run in state.runs.values_mut().flatten().filter(|run| !run.state.is_over()) {
            end(run);
        }
        Ok(all)
    }

    async fn start_run(&self, asker: &Asker, request: StartRun) -> Result<RunName, ApiError> {
        let mut state = self.ready()?;
        let (revision, _) =
            state.apps.get(&request.app).ok_or_else(|| unknown(&request.app))?.clone();
        let name = match revision.jobs.get(&request.of) {
            Some(job) if job.manual => request.of.clone(),
            Some(_) => return Err(ApiError::user("it is not run by hand")),
            None if revision.deployments.contains_key(&request.of) => run_name(&request.of),
            None => return Err(no(format!("there is no `{}`", request.of))),
        };
        state.askers.push(asker.clone());
        let runs = state.runs.entry(name.clone()).or_default();
        let run = runs.first().map_or(0, |newest| newest.run) + 1;
        runs.insert(0, begun(run, request.command.clone()));
        state.started.push(request);
        Ok(RunName { name, run })
    }

    async fn forget_run(&self, asker: &Asker, request: ForgetRun) -> Result<RunName, ApiError> {
        let mut state = self.ready()?;
        state.askers.push(asker.clone());
        let ForgetRun { app: _, name, run } = request;
        let runs = state.runs.entry(name.clone()).or_default();
        let before = runs.len();
        runs.retain(|known| known.run != run);
        if runs.len() == before {
            return Err(no(format!("there is no run {run} of `{name}`")));
        }
        Ok(RunName { name, run })
    }
}

fn no(message: String) -> ApiError {
    ApiError { kind: ErrorKind::NotFound, message, hint: None }
}

fn begun(run: u32, command: Option<Vec<String>>) -> RunView {
    RunView {
        run,
        state: RunState::Open,
        due: None,
        asked_by: Some(HOSTS[0].to_owned()),
        command,
        at: AT,
        began: Some(AT + 1),
        ended: None,
        host: HOSTS[1].to_owned(),
        exit_code: None,
        reason: None,
    }
}

/// `exit 3` ends with 3, whatever else with 0.
fn end(run: &mut RunView) {
    let words = run.command.as_deref().unwrap_or_default();
    let code = match words {
        [first, code] if first == "exit" => code.parse().unwrap_or_default(),
        _ => 0,
    };
    (run.exit_code, run.ended) = (Some(code), Some(AT + 4));
    run.state = if code == 0 { RunState::Succeeded } else { RunState::Failed };
    run.reason = (code != 0).then(|| format!("exited with code {code}"));
}

/// For tests that need a name.
impl FakeBackend {
    /// The runs under a name, newest first.
    pub fn runs(&self, name: &str) -> Vec<RunView> {
        self.state().runs.get(&ServiceName::from(name)).cloned().unwrap_or_default()
    }
}
