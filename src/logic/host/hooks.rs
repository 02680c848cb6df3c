//! Hooks of a Deployment: the steps before the container of a Replica, and what comes after each of
//! its starts. What comes before a stop travels with the container.
//!
//! How far the steps are is read from their containers, so an agent that is killed goes on where they
//! are. A step that has passed stays until the Replica's container is there, and one that failed until
//! it is tried again.

use std::collections::BTreeMap;

use super::{
    Desired, HostMachine, Instance, Known, OTHERS_MAX, Operation, OperationId, Target, Wanted,
    is_wanted, key, pause, remove,
};
use crate::model::{
    AppName, Assignment, Container, ContainerState, Moment, Phase, RestartPolicy, Step,
};

/// Counts as the exit code of a container that was stopped because what came after its start failed.
pub(super) const GREETING_FAILED: i64 = 1;

/// What comes next on the way to a Replica's container.
pub(super) enum Next<'a> {
    /// Nothing: a step is under way, or waits to be tried again.
    Wait,
    /// This step.
    Step(u32, &'a Step),
    /// The container itself.
    Container,
}

/// How the steps of a Replica without a container are.
pub(super) enum StepNow {
    /// One runs, in words.
    Runs(String),
    /// One failed and is not tried again; the name of its container.
    Failed(String),
}

/// Whether what is to be done after this start of a container is yet to be done.
pub(super) fn owes_greeting(desired: &Desired<'_>, instance: &Instance) -> bool {
    !desired.deployment.container.hooks.post_start.is_empty() && !instance.greeted
}

impl HostMachine {
    /// Takes over containers that ran before this agent did, by what was said of them: they were
    /// called running only after they had been greeted.
    pub(super) fn take_over(&mut self, desired: &[Desired<'_>]) {
        if self.recalled.is_empty() {
            return;
        }
        for item in desired {
            let Some(container) = self.container(item.assignment) else { continue };
            let (place, name) = (key(item.assignment), container.name.clone());
            let Some(said) = self.recalled.remove(&place) else { continue };
            let ran = said.container == Some(name) && said.phase == Phase::Running;
            let instance = self.instances.entry(place).or_default();
            instance.greeted |= ran;
            instance.was_ready |= ran && said.ready;
        }
    }

    pub(super) fn greet(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        container: &Container,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let place = key(desired.assignment);
        let next_try = self.instances.get(&place).map(|instance| instance.next_try);
        // It failed and the engine would not stop the container either.
        if let Some(next_try) = next_try.filter(|next_try| *next_try > now) {
            self.wake(next_try);
            return;
        }
        let hooks = desired.deployment.container.hooks.post_start.clone();
        let operation = Operation::Greet { container: container.id.clone(), hooks };
        self.begin(Target::Replica(place.0, place.1), false, operation, out);
    }

    /// The step of a Replica that comes next.
    pub(super) fn next_step<'a>(
        &mut self,
        now: Moment,
        desired: &'a Desired<'_>,
        out: &mut Vec<(OperationId, Operation)>,
    ) -> Next<'a> {
        let assignment = desired.assignment;
        for (number, step) in desired.deployment.container.hooks.steps(assignment.leads) {
            let Some(container) = self.step(assignment, number).cloned() else {
                return Next::Step(number, step);
            };
            match container.state {
                ContainerState::Exited { code: 0, .. } => {}
                // It was made and not started: making it again does both.
                ContainerState::Created => return Next::Step(number, step),
                ContainerState::Running | ContainerState::Paused | ContainerState::Changing => {
                    return Next::Wait;
                }
                ContainerState::Exited { .. } | ContainerState::Dead => {
                    self.retry_step(now, desired, &container, out);
                    return Next::Wait;
                }
            }
        }
        Next::Container
    }

    /// A step that failed is tried again after a pause, unless the Replica is a one-shot.
    fn retry_step(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        container: &Container,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let place = key(desired.assignment);
        let instance = self.instances.entry(place.clone()).or_default();
        if instance.step_counted.as_ref() != Some(&container.id) {
            instance.step_counted = Some(container.id.clone());
            instance.failures += 1;
            instance.next_try = now + pause(instance.failures, &mut self.rng);
            instance.reason = Some(failure(container));
        }
        if desired.deployment.restart == RestartPolicy::Never {
            return;
        }
        let next_try = instance.next_try;
        if next_try > now {
            self.wake(next_try);
            return;
        }
        self.begin(Target::Replica(place.0, place.1), false, remove(container), out);
    }

    /// Steps that are not needed any more: their Replica has its container, or is not to run here.
    pub(super) fn remove_steps(
        &mut self,
        now: Moment,
        wanted: &Wanted<'_>,
        known: &BTreeMap<AppName, Known>,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        for step in self.seen.steps.clone() {
            let Some(app) = known.get(&step.replica.app) else { continue };
            let has_container = self.seen.containers.iter().any(|container| {
                container.replica == step.replica
                    && container.generation == step.generation
                    && container.spec_hash == step.spec_hash
            });
            if is_wanted(wanted, &step) && !has_container {
                continue;
            }
            let planned = app.generations.get(&step.replica);
            if planned.is_some_and(|planned| *planned < step.generation) {
                continue;
            }
            let target = Target::Container(step.id.clone());
            let own = Target::Replica(step.replica.clone(), step.generation);
            let busy = self.is_busy(&target) || self.is_busy(&own) || self.busy.len() >= OTHERS_MAX;
            if !busy && !self.is_refused(now, &target) {
                self.begin(target, false, remove(&step), out);
            }
        }
    }

    /// How the steps of a Replica are, if that is what it waits for.
    pub(super) fn step_now(&self, desired: &Desired<'_>) -> Option<StepNow> {
        let assignment = desired.assignment;
        let hooks = &desired.deployment.container.hooks;
        let total = hooks.steps(assignment.leads).count();
        let steps = hooks.steps(assignment.leads).enumerate();
        let found = steps
            .filter_map(|(index, (number, _))| Some((index + 1, self.step(assignment, number)?)));
        // The last one that there is.
        let (index, container) = found.last()?;
        match container.state {
            ContainerState::Exited { code: 0, .. } | ContainerState::Created => None,
            ContainerState::Running | ContainerState::Paused | ContainerState::Changing => {
                let which = if total > 1 { format!(" {index} of {total}") } else { String::new() };
                Some(StepNow::Runs(format!("runs its pre_start step{which}")))
            }
            ContainerState::Exited { .. } | ContainerState::Dead => {
                let is_over = desired.deployment.restart == RestartPolicy::Never;
                is_over.then(|| StepNow::Failed(container.name.clone()))
            }
        }
    }

    fn step(&self, assignment: &Assignment, number: u32) -> Option<&Container> {
        self.seen.steps.iter().find(|step| {
            step.step == Some(number)
                && step.replica == assignment.replica
                && step.generation == assignment.generation
                && step.spec_hash == assignment.spec_hash
        })
    }
}

/// Why a step failed, and where to read more.
fn failure(step: &Container) -> String {
    let number = step.step.map_or(0, |number| number + 1);
    let how = match step.state {
        ContainerState::Exited { oom_killed: true, .. } => "ran out of memory".to_owned(),
        ContainerState::Exited { code, .. } => format!("ended with exit code {code}"),
        ContainerState::Created
        | ContainerState::Running
        | ContainerState::Paused
        | ContainerState::Changing
        | ContainerState::Dead => "cannot be run".to_owned(),
    };
    format!("pre_start step {number} {how}; see `muster logs {}`", step.replica.service)
}
