//! Runs of jobs: which are due by the clock or asked for, which goes on, which is over. Never looks at
//! a clock, and acts on none: the time is part of the view.
//!
//! A run is a replica with a number of its own, one more than the one before it. What was due and what
//! was asked for is in the Plan, so whoever is Home next does not begin it again. A run by the clock
//! is told to the other hosts before it is begun anywhere: a Home that dies takes either the whole
//! knowledge of it along, or leaves it to the next one. Two Homes, in a partition, may each begin one
//! for the same time; of a job with local data only the side that has the data does.

mod ends;

use std::borrow::Cow;
use std::time::Duration;

use self::ends::ended;
use super::cron;
use super::plan::Planner;
use super::targets::{Target, Targets, run_of};
use crate::model::{
    Assignment, Cause, Concurrency, Deployment, HostId, Job, LeftOut, Liveness, MissedFires,
    ReplicaId, Run, RunRequest, RunState, RunWish, Runs, Schedule, ServiceName, Variant, Waiting,
    WallSeconds, WhyLeftOut,
};

/// Runs of one name that are kept after they ended, each with its container and what it wrote.
pub const HISTORY: usize = 10;
/// Runs of one name that may go on or wait at once; more that are asked for are refused.
pub const OPEN_MAX: usize = 50;
/// For so long other hosts are told of a run by the clock before it begins.
const ANNOUNCE: Duration = Duration::from_millis(500);
/// A wall clock may be set meanwhile: it is looked at as often as this.
const LOOK: u64 = 30;

/// The name that replicas have which are run for `muster run SERVICE`: others do not find them under
/// the service's own.
pub fn run_name(service: &ServiceName) -> ServiceName {
    ServiceName::new(format!("{service}-run"))
}

impl Runs {
    /// Those that are not over.
    pub fn open(&self) -> impl Iterator<Item = (u32, &Run)> {
        self.runs.iter().filter(|(_, run)| !run.state.is_over()).map(|(number, run)| (*number, run))
    }

    fn begin(&mut self, of: &ServiceName, cause: Cause, state: RunState, at: WallSeconds) -> u32 {
        self.latest += 1;
        let run = Run {
            of: of.clone(),
            cause,
            state,
            variant: Variant::default(),
            at,
            began: None,
            ended: None,
            host: None,
            exit_code: None,
            reason: None,
        };
        self.runs.insert(self.latest, run);
        self.latest
    }

    /// Takes in what the other side of a cut knows.
    fn join(&mut self, theirs: &Self) {
        self.latest = theirs.latest.max(self.latest);
        for (schedule, fired) in &theirs.clock {
            let ours = self.clock.entry(schedule.clone()).or_insert(*fired);
            if fired.until > ours.until {
                *ours = *fired;
            }
        }
        for (number, run) in &theirs.runs {
            match self.runs.get(number) {
                None => {
                    self.runs.insert(*number, run.clone());
                }
                Some(ours) if ours.cause == run.cause => {
                    if run.state > ours.state {
                        self.runs.insert(*number, run.clone());
                    }
                }
                Some(_) => self.lose(run),
            }
        }
        let at = |left_out: &Option<LeftOut>| left_out.as_ref().map(|one| one.at);
        if at(&theirs.left_out) > at(&self.left_out) {
            self.left_out.clone_from(&theirs.left_out);
        }
    }

    /// Keeps under another number what became of a run whose number was given twice.
    fn lose(&mut self, run: &Run) {
        if self.runs.values().any(|known| known.cause == run.cause) {
            return;
        }
        self.latest += 1;
        let mut run = run.clone();
        if !run.state.is_over() {
            run.state = RunState::Failed;
            let words = "ended: on the other side of a partition another run had its number";
            run.reason = Some(words.to_owned());
        }
        self.runs.insert(self.latest, run);
    }

    /// Forgets the oldest of those that are over.
    fn trim(&mut self) {
        let over = self.runs.iter().filter(|(_, run)| run.state.is_over());
        let over: Vec<u32> = over.map(|(number, _)| *number).collect();
        for number in over.iter().take(over.len().saturating_sub(HISTORY)) {
            self.runs.remove(number);
        }
    }
}

impl<'a> Planner<'a> {
    /// What was known of runs before, here and across a cut.
    pub(super) fn take_in_runs(&mut self) {
        for plan in self.previous.into_iter().chain(self.rivals.iter().copied()) {
            for (host, number) in &plan.asked {
                let known = self.asked.entry(host.clone()).or_default();
                *known = (*number).max(*known);
            }
            for (name, theirs) in &plan.runs {
                match self.runs.get_mut(name) {
                    Some(ours) => ours.join(theirs),
                    None => {
                        self.runs.insert(name.clone(), theirs.clone());
                    }
                }
            }
        }
    }

    /// The App goes, and with it what was asked of it.
    pub(super) fn forget_runs(&mut self) {
        self.runs.clear();
        for (host, request) in self.view.requests(self.app) {
            self.answered(host, request);
        }
    }

    fn answered(&mut self, host: &HostId, request: &RunRequest) {
        let known = self.asked.entry(host.clone()).or_default();
        *known = request.number.max(*known);
    }

    /// What a run of each job is.
    pub(super) fn job_targets(&self) -> Targets<'a> {
        let revision = self.revision;
        let one = |(name, job): (&'a ServiceName, &'a Job)| {
            let target = Target {
                deployment: Cow::Borrowed(&job.deployment),
                revision,
                spec_hash: revision.container_hash(name).map_or("", String::as_str),
                policy: job.deployment.update,
            };
            (name, target)
        };
        revision.jobs.iter().map(one).collect()
    }

    /// Begins, goes on with, and ends runs.
    pub(super) fn carry_out_runs(&mut self) {
        self.drop_unwanted_runs();
        self.fire();
        self.answer();
        let mut all = std::mem::take(&mut self.runs);
        for (name, runs) in &mut all {
            runs.trim();
            let mut before: Option<u32> = None;
            for (number, run) in &mut runs.runs {
                let replica = self.replica(name, *number);
                self.advance_run(&replica, run, before);
                if !run.state.is_over() {
                    before = Some(*number);
                }
            }
        }
        self.runs = all;
    }

    /// Runs of what is in the file no more go with it.
    fn drop_unwanted_runs(&mut self) {
        let revision = self.revision;
        for (name, runs) in &mut self.runs {
            runs.runs.retain(|_, run| revision.deployment(&run.of).is_some());
            let schedule = revision.jobs.get(name).map(|job| job.schedule.as_slice());
            let texts: Vec<String> =
                schedule.unwrap_or_default().iter().map(ToString::to_string).collect();
            runs.clock.retain(|text, _| texts.contains(text));
        }
        // No number is given twice, though none of the runs may be known any more.
        self.runs.retain(|name, _| {
            let mut services = revision.deployments.keys();
            let is_known =
                revision.jobs.contains_key(name) || services.any(|one| run_name(one) == *name);
            !revision.deployments.contains_key(name) && is_known
        });
    }

    /// Begins what is due by the clock.
    fn fire(&mut self) {
        let Some(now) = self.view.wall() else { return };
        for (name, job) in &self.revision.jobs {
            for schedule in &job.schedule {
                let text = schedule.to_string();
                let runs = self.runs.entry(name.clone()).or_default();
                let (fired, due) = cron::due(schedule, runs.clock.get(&text).copied(), now);
                runs.clock.insert(text, fired);
                if let Some(due) = due {
                    runs.fire(name, schedule, due, now);
                }
                let left = fired.next.map(|next| next.0.saturating_sub(now.0).min(LOOK));
                if let Some(left) = left {
                    self.look_again(Duration::from_secs(left.max(1)));
                }
            }
        }
    }

    /// Begins and ends what people ask for.
    fn answer(&mut self) {
        let now = self.view.wall().unwrap_or_default();
        let requests: Vec<_> = self.view.requests(self.app).collect();
        for (host, request) in requests {
            if self.asked.get(host).is_some_and(|answered| *answered >= request.number) {
                continue;
            }
            self.answered(host, request);
            match &request.wish {
                RunWish::Run { of, variant } => {
                    let name = match self.revision.jobs.get(of) {
                        Some(job) if job.manual => of.clone(),
                        None if self.revision.deployments.contains_key(of) => run_name(of),
                        Some(_) | None => continue,
                    };
                    let joins = |one: &Deployment| one.joins.is_some();
                    let is_taken = self.revision.deployments.contains_key(&name)
                        || self.revision.deployments.get(of).is_some_and(joins);
                    let runs = self.runs.entry(name).or_default();
                    if is_taken || runs.open().count() >= OPEN_MAX {
                        continue;
                    }
                    let (host, number) = (host.clone(), request.number);
                    let cause = Cause::Asked { host, number, by: request.by.clone() };
                    let number = runs.begin(of, cause, RunState::Open, now);
                    if let Some(run) = runs.runs.get_mut(&number) {
                        run.variant = variant.clone();
                    }
                }
                RunWish::Forget { name, run } => {
                    if let Some(runs) = self.runs.get_mut(name) {
                        runs.runs.remove(run);
                    }
                }
            }
        }
    }

    /// One step of one run; `before` is another one under its name that is not over.
    fn advance_run(&mut self, replica: &ReplicaId, run: &mut Run, before: Option<u32>) {
        let prior = self.prior(replica);
        if run.state.is_over() {
            let kept = prior.filter(|prior| self.view.hosts.contains_key(&prior.host));
            if let Some(kept) = kept {
                self.keep_run(ended(kept, run));
            }
            return;
        }
        if run.state == RunState::Queued {
            if let Some(run) = before {
                self.waiting.insert(replica.to_string(), Waiting::Run { run });
                return;
            }
            run.state = RunState::Open;
        }
        if run.state == RunState::Announced {
            let was = self.previous.and_then(|plan| plan.run(replica));
            let left = ANNOUNCE.saturating_sub(self.view.announced_for(replica));
            if self.is_among_others() && (was.is_none() || !left.is_zero()) {
                self.look_again(left.min(ANNOUNCE));
                return;
            }
            run.state = RunState::Open;
        }
        match prior {
            Some(prior) => self.watch_run(prior, run),
            None => self.place_run(replica, run),
        }
    }

    fn is_among_others(&self) -> bool {
        let mut hosts = self.view.hosts.iter();
        hosts.any(|(id, host)| *id != self.view.me && host.liveness == Liveness::Alive)
    }

    /// Where a run was given to before; across a cut the higher Generation counts.
    fn prior(&self, replica: &ReplicaId) -> Option<Assignment> {
        let plans = self.previous.into_iter().chain(self.rivals.iter().copied());
        let all = plans.flat_map(|plan| &plan.assignments);
        let mut found: Option<&Assignment> = None;
        for assignment in all.filter(|a| a.replica == *replica && !a.outgoing) {
            if found.is_none_or(|found| found.generation < assignment.generation) {
                found = Some(assignment);
            }
        }
        found.cloned()
    }

    fn keep_run(&mut self, mut kept: Assignment) {
        let target = self.revision.container_hash(&kept.replica.service);
        if target.is_some_and(|hash| *hash == kept.spec_hash) {
            kept.revision = self.revision.id().clone();
        }
        self.assignments.insert(kept.replica.clone(), kept);
    }

    /// What became of a run that was given to a host.
    fn watch_run(&mut self, prior: Assignment, run: &mut Run) {
        run.host = Some(prior.host.clone());
        if let Some(status) = self.view.last_status(&prior) {
            run.take_in(status);
            if run.state.is_over() {
                return self.keep_run(ended(prior, run));
            }
        }
        let highest = self.highest.get(&prior.replica).copied().unwrap_or_default();
        let is_lost = self.view.is_gone(&prior.host) || highest > prior.generation;
        let own = self.view.state.revision(self.app, &prior.revision);
        let own = own.and_then(|own| Some((own, run_of(own, run)?)));
        let Some((revision, deployment)) = own else {
            return self.place_run(&prior.replica, run);
        };
        let policy = deployment.update;
        let target = Target { deployment, revision, spec_hash: &prior.spec_hash, policy };
        let data = self.pins_of(&target).into_iter().next();
        match data {
            Some((data, _)) if self.view.liveness(&prior.host) == Liveness::Dead => {
                let host = self.view.host_name(&prior.host);
                let waiting = Waiting::DataOnDeadHost { data, host };
                self.waiting.insert(prior.replica.to_string(), waiting);
            }
            None if is_lost => return self.place_run(&prior.replica, run),
            Some(_) | None => {}
        }
        self.load.add(&prior.host, &prior.replica, &target.deployment, &prior.devices);
        self.keep_run(prior);
    }

    /// Gives a run to a host, with what it is in the Revision that counts.
    fn place_run(&mut self, replica: &ReplicaId, run: &mut Run) {
        let revision = self.revision;
        let Some(deployment) = run_of(revision, run) else { return };
        if let Some(waiting) = self.unmet(&deployment.depends_on, None) {
            self.waiting.insert(replica.to_string(), waiting);
            return;
        }
        let own = match &deployment {
            Cow::Borrowed(_) => revision.container_hash(&run.of).cloned(),
            Cow::Owned(_) => None,
        };
        let spec_hash = own.unwrap_or_else(|| deployment.container_hash());
        let policy = deployment.update;
        let target = Target { deployment, revision, spec_hash: &spec_hash, policy };
        if self.assign(replica, &target, None) {
            run.host = self.assignments.get(replica).map(|placed| placed.host.clone());
        }
    }
}

impl Runs {
    /// Makes of a time that is due what its schedule asks for.
    fn fire(&mut self, of: &ServiceName, schedule: &Schedule, due: cron::Due, now: WallSeconds) {
        let busy = self.open().last().map(|(number, _)| number);
        let queued = self.open().find(|(_, run)| run.state == RunState::Queued);
        let queued = queued.map(|(number, _)| number);
        let found = match (due.missed, schedule.missed_fires, schedule.concurrency, busy, queued) {
            (true, MissedFires::Skip, _, _, _) => Err(WhyLeftOut::Missed),
            (_, _, _, None, _) => Ok(RunState::Announced),
            (_, _, Concurrency::Forbid, Some(run), _) => Err(WhyLeftOut::Busy { run }),
            (_, _, Concurrency::Queue, _, Some(run)) => Err(WhyLeftOut::Queued { run }),
            (_, _, Concurrency::Queue, Some(_), None) => Ok(RunState::Queued),
        };
        match found {
            Ok(state) => {
                self.begin(of, Cause::Clock { due: due.at }, state, now);
            }
            Err(why) => self.left_out = Some(LeftOut { at: due.at, why }),
        }
    }
}

#[cfg(test)]
mod tests;
