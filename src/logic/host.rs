//! What this host does about its Slice: compares what the Plans give it with what its engine holds
//! and returns the operations that bring the two together.
//!
//! Owns restarts (decision 6). Never talks to the engine; never chooses where a Replica runs.

mod ends;
mod hooks;
mod pod;
mod size;
mod status;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::ends::Streak;
use self::hooks::{GREETING_FAILED, Next, owes_greeting};
use self::size::NotResized;
use super::Rng;
use super::health::{Answer, Followed, HealthMachine, Probe, ProbeId, Verdict};
use super::operation::{Failure, Observation, Operation, OperationId, RunReplica};
use super::restart::{STEADY, pause};
use crate::model::{
    AppName, Assignment, Capacity, Container, ContainerState, Deployment, Generation, Health,
    Intent, Moment, NetworkName, Phase, ReplicaId, ReplicaStatus, RestartPolicy, ServiceName, Size,
    Step, WallSeconds,
};

/// Operations that start something, at once: the floor of `docker run` is reached at four.
const STARTS_MAX: usize = 4;
/// Operations of other kinds at once.
const OTHERS_MAX: usize = 16;
/// A container that leaves goes on for so long after its endpoint was gone everywhere, so that what
/// is on its way to it still arrives.
const GRACE: Duration = Duration::from_millis(700);
/// The longest wait for all live hosts to say that its endpoint is gone from their kernels. One that
/// hangs, or is of a version that does not say so, must not hold up an update.
const GONE_MAX: Duration = Duration::from_secs(5);
/// Time after which those that have not said so are asked again: they may have been restarted.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One Replica that this host should run.
#[derive(Debug, Clone)]
pub struct Desired<'a> {
    /// Which, at which Generation, from which Revision.
    pub assignment: &'a Assignment,
    /// Its Deployment.
    pub deployment: Cow<'a, Deployment>,
    /// Name in Docker of each network it joins.
    pub networks: BTreeMap<String, NetworkName>,
    /// Its own part of the devices that its pod is given; none when the Plan gives too few or many.
    pub devices: Option<&'a [Vec<String>]>,
    /// What it is given in place of the limits of its spec.
    pub size: Size,
    /// What this host has.
    pub capacity: Capacity,
}

/// What the Plans say of an App, for containers that are not desired.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Run or go.
    pub intent: Intent,
    /// The highest Generation the Plan gives each Replica.
    pub generations: BTreeMap<ReplicaId, Generation>,
    /// The Plan's number.
    pub plan: u64,
    /// The highest number that the kernels of all live hosts go by, as far as they said.
    pub applied: u64,
    /// How long containers of a Service and spec go on with what they have begun, where people said.
    pub drains: BTreeMap<(ServiceName, String), Duration>,
}

/// A container that should go.
#[derive(Debug, Clone)]
struct Leaving {
    since: Moment,
    app: AppName,
    /// The first Plan without it.
    plan: u64,
    /// Since when its endpoint is gone everywhere.
    gone: Option<Moment>,
}

/// Makes the whole of a [`RunReplica`] when it is decided that one starts, or a step before it.
pub type Prepare<'p> =
    dyn FnMut(&Desired<'_>, Option<(u32, &Step)>) -> Result<RunReplica, Failure> + 'p;

/// The spec hash of each replica and Generation that this host should run.
type Wanted<'a> = BTreeMap<(ReplicaId, Generation), &'a str>;

#[derive(Debug, Clone, Default)]
struct Instance {
    failures: u32,
    restarts: u32,
    /// Not before.
    next_try: Moment,
    /// Since when its container runs.
    running_since: Option<Moment>,
    /// Its container's latest end was counted as a failure.
    end_counted: bool,
    /// Its container was seen running, or ended, at least once.
    ran: bool,
    /// Why the last try failed.
    reason: Option<String>,
    /// How far the operation under way says it is.
    progress: Option<Phase>,
    /// What is to be done after this start of its container was done.
    greeted: bool,
    /// It was not: its container was stopped for that.
    greeting_failed: bool,
    /// Its ends since it last ran steadily.
    streak: Option<Streak>,
    /// When it is tried again, on both clocks.
    again: Option<(Moment, WallSeconds)>,
    /// It was ready before this agent was started, and nothing was done to it since.
    was_ready: bool,
    /// The step whose failure was counted, by the engine's id.
    step_counted: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Replica(ReplicaId, Generation),
    Container(String),
    Object(String),
    /// The limits of a container.
    Limits(String),
}

#[derive(Debug, Clone)]
struct Busy {
    target: Target,
    starts: bool,
    /// It is what comes after a start.
    greets: bool,
}

/// What this host runs and is about to do.
#[derive(Debug, Clone)]
pub struct HostMachine {
    seen: Observation,
    instances: BTreeMap<(ReplicaId, Generation), Instance>,
    busy: BTreeMap<OperationId, Busy>,
    next_operation: u64,
    /// Containers that should go.
    leaving: BTreeMap<String, Leaving>,
    /// Containers of a Generation above their Plan's.
    ahead: BTreeSet<String>,
    /// The highest Generation of each Replica that had a container here, also of one that is gone.
    newest: BTreeMap<ReplicaId, Generation>,
    /// Removals that failed: how often in a row, and not before when.
    refused: BTreeMap<Target, (u32, Moment)>,
    /// Containers whose limits could not be changed.
    not_resized: BTreeMap<String, NotResized>,
    phases: BTreeMap<(ReplicaId, Generation), (Phase, WallSeconds)>,
    /// What this host said of its replicas before its agent was started, until they are seen.
    recalled: BTreeMap<(ReplicaId, Generation), ReplicaStatus>,
    /// Checks by the agent.
    health: HealthMachine,
    /// The moment of the last event.
    now: Moment,
    /// The earliest moment at which something waits to be done.
    deadline: Option<Moment>,
    rng: Rng,
}

impl HostMachine {
    /// A host of whose engine nothing is known yet.
    pub fn new(rng: Rng) -> Self {
        // Only for when to ask: what else is drawn stays as it was.
        let health = HealthMachine::new(Rng::new(rng.clone().next_u64()));
        Self {
            health,
            seen: Observation::default(),
            instances: BTreeMap::new(),
            busy: BTreeMap::new(),
            next_operation: 0,
            leaving: BTreeMap::new(),
            ahead: BTreeSet::new(),
            newest: BTreeMap::new(),
            refused: BTreeMap::new(),
            not_resized: BTreeMap::new(),
            phases: BTreeMap::new(),
            recalled: BTreeMap::new(),
            now: Moment(0),
            deadline: None,
            rng,
        }
    }

    /// Takes in what this host said before its agent was started.
    pub fn recall<'s>(&mut self, said: impl Iterator<Item = &'s [ReplicaStatus]>) {
        let said = said.flatten();
        self.recalled =
            said.map(|one| ((one.replica.clone(), one.generation), one.clone())).collect();
    }

    /// The questions to replicas whose time has come.
    pub fn probes(&mut self, now: Moment) -> Vec<Probe> {
        self.health.due(now)
    }

    /// When [`HostMachine::probes`] has something to say, if nothing else happens.
    pub fn next_probe(&self) -> Option<Moment> {
        self.health.next_deadline()
    }

    /// Takes in what came of a question. Returns whether something follows from it.
    pub fn handle_answer(&mut self, now: Moment, probe: ProbeId, answer: Answer) -> bool {
        self.health.handle_answer(now, probe, answer)
    }

    /// When [`HostMachine::reconcile`] wants to be called next, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// What the engine held when it was last asked.
    pub fn seen(&self) -> &Observation {
        &self.seen
    }

    /// The Apps of which containers wait until their endpoints are gone everywhere, and the Plan that
    /// must be gone by for that.
    pub fn leaving(&self) -> BTreeMap<AppName, u64> {
        let mut plans = BTreeMap::new();
        for leaving in self.leaving.values().filter(|leaving| leaving.gone.is_none()) {
            let plan = plans.entry(leaving.app.clone()).or_insert(leaving.plan);
            *plan = leaving.plan.max(*plan);
        }
        plans
    }

    /// Takes in what the engine holds.
    pub fn handle_observed(&mut self, seen: Observation) {
        let all = seen.containers.iter().chain(&seen.steps);
        let ids: BTreeSet<&String> = all.map(|c| &c.id).collect();
        self.leaving.retain(|id, _| ids.contains(id));
        self.refused.retain(|target, _| match target {
            Target::Container(id) => ids.contains(id),
            Target::Object(_) | Target::Replica(..) | Target::Limits(_) => true,
        });
        self.not_resized.retain(|id, _| ids.contains(id));
        for container in &seen.containers {
            Generation::raise(&mut self.newest, container.replica.clone(), container.generation);
        }
        self.seen = seen;
    }

    /// Takes in how far an operation is.
    pub fn handle_progress(&mut self, operation: OperationId, phase: Phase) {
        let target = self.busy.get(&operation).map(|busy| busy.target.clone());
        if let Some(Target::Replica(replica, generation)) = target {
            self.instances.entry((replica, generation)).or_default().progress = Some(phase);
        }
    }

    /// Takes in how an operation ended. What the engine holds now must have been told before.
    pub fn handle_finished(
        &mut self,
        now: Moment,
        operation: OperationId,
        result: Result<(), Failure>,
    ) {
        let Some(busy) = self.busy.remove(&operation) else { return };
        let (replica, generation) = match busy.target {
            Target::Replica(replica, generation) => (replica, generation),
            Target::Limits(container) => {
                self.note_resized(&container, result);
                return;
            }
            target @ (Target::Container(_) | Target::Object(_)) => {
                if result.is_err() {
                    let failures = self.refused.get(&target).map_or(0, |(failures, _)| *failures);
                    let next_try = now + pause(failures + 1, &mut self.rng);
                    self.refused.insert(target, (failures + 1, next_try));
                } else {
                    self.refused.remove(&target);
                }
                return;
            }
        };
        let instance = self.instances.entry((replica, generation)).or_default();
        instance.progress = None;
        match result {
            Ok(()) => instance.reason = None,
            Err(failure) => {
                instance.reason = Some(failure.reason);
                instance.failures += 1;
                instance.next_try = now + pause(instance.failures, &mut self.rng);
                // The end that follows is no failure of its own.
                instance.end_counted |= busy.greets;
                if busy.greets {
                    instance.note_end(now, instance.reason.clone().unwrap_or_default());
                }
                instance.greeting_failed = busy.greets;
            }
        }
        instance.greeted |= busy.greets && !instance.greeting_failed;
    }

    /// Returns what to do now.
    pub fn reconcile(
        &mut self,
        now: Moment,
        desired: &[Desired<'_>],
        known: &BTreeMap<AppName, Known>,
        prepare: &mut Prepare<'_>,
    ) -> Vec<(OperationId, Operation)> {
        self.deadline = None;
        self.now = now;
        let mut operations = Vec::new();
        let wanted: Wanted<'_> =
            desired.iter().map(|d| (key(d.assignment), d.assignment.spec_hash.as_str())).collect();
        self.instances.retain(|place, _| wanted.contains_key(place));
        self.recalled.retain(|place, _| wanted.contains_key(place));
        // A Plan that removes an App keeps its Generations from coming again.
        let runs = |app: &AppName| known.get(app).is_none_or(|known| known.intent == Intent::Run);
        self.newest.retain(|replica, _| runs(&replica.app));
        self.take_over(desired);
        self.remove_leftovers(now, &wanted, known, &mut operations);
        // What goes with its App, and is there only while others go first, is let be.
        for item in desired.iter().filter(|item| runs(&item.assignment.replica.app)) {
            self.advance(now, item, &wanted, prepare, &mut operations);
        }
        self.follow(now, desired);
        self.remove_objects(now, known, &mut operations);
        operations
    }

    /// One step of one Replica towards what is wanted of it.
    fn advance(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        wanted: &Wanted<'_>,
        prepare: &mut Prepare<'_>,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let place = key(desired.assignment);
        if self.is_busy(&Target::Replica(place.0.clone(), place.1)) {
            return;
        }
        let container = self.container(desired.assignment).cloned();
        let has_network = self.network_is_there(desired);
        let is_cut_off = container.as_ref().is_some_and(|own| self.has_lost_network(desired, own));
        let instance = self.instances.entry(place.clone()).or_default();
        instance.ran |= container.is_some();
        let Some(container) = container else {
            let over = desired.assignment.is_over();
            if over || !may_run_again(desired.deployment.restart, instance) {
                return;
            }
            if has_network {
                self.run(now, desired, wanted, prepare, out);
            }
            return;
        };
        self.resize(now, desired, &container, out);
        let instance = self.instances.entry(place.clone()).or_default();
        match &container.state {
            ContainerState::Running if is_cut_off => {
                let operation = restart(&container);
                self.begin(Target::Replica(place.0, place.1), true, operation, out);
            }
            ContainerState::Running if owes_greeting(desired, instance) => {
                self.greet(now, desired, &container, out);
            }
            ContainerState::Running => {
                let since = *instance.running_since.get_or_insert(now);
                // What is ill, or has not been well yet, is not steady however long it runs.
                let is_well = matches!(container.health, Health::None | Health::Healthy)
                    && matches!(self.health.live(&container.id), None | Some(Verdict::Passing));
                if now.since(since) < STEADY {
                    self.wake(since + STEADY);
                } else if is_well {
                    instance.note_steady();
                }
                self.restart_unhealthy(now, desired, &container, out);
            }
            ContainerState::Exited { code, .. } => {
                let code = if instance.greeting_failed { GREETING_FAILED } else { *code };
                let restarts = instance.restarts;
                if !instance.end_counted {
                    instance.end_counted = true;
                    instance.running_since = None;
                    instance.failures += 1;
                    instance.next_try = now + pause(instance.failures, &mut self.rng);
                    let limit = desired.deployment.container.resources.memory_limit;
                    let why = ends::why(&container.state, limit);
                    let why = instance.reason.clone().or(why).unwrap_or_default();
                    instance.note_end(now, why);
                }
                if !desired.assignment.is_over()
                    && has_network
                    && starts_again(desired.deployment.restart, code, restarts)
                {
                    self.start(now, &place, &container, 1, out);
                }
            }
            ContainerState::Created if has_network => {
                self.start(now, &place, &container, 0, out);
            }
            ContainerState::Dead => {
                let next_try = instance.next_try;
                if next_try > now {
                    self.wake(next_try);
                    return;
                }
                self.begin(Target::Replica(place.0, place.1), false, remove(&container), out);
            }
            ContainerState::Created | ContainerState::Paused | ContainerState::Changing => {}
        }
    }

    fn run(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        wanted: &Wanted<'_>,
        prepare: &mut Prepare<'_>,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let place = key(desired.assignment);
        // Another Generation of it that is not wanted any more goes first: one writer at a time.
        // A later one does not go, so that an older one never follows it; nor does it when the later
        // one is gone, which the Home hears of and plans above.
        let mut containers = self.seen.containers.iter().chain(&self.seen.steps);
        let predecessor = containers.any(|c| c.replica == place.0 && !is_wanted(wanted, c));
        if predecessor || self.newer_than(&place).is_some() || self.lacks_devices(desired) {
            return;
        }
        let step = match self.next_step(now, desired, out) {
            Next::Wait => return,
            Next::Step(number, step) => Some((number, step)),
            Next::Container => None,
        };
        let next_try = self.instances.get(&place).map(|instance| instance.next_try);
        if let Some(next_try) = next_try.filter(|next_try| *next_try > now) {
            self.wake(next_try);
            return;
        }
        if self.starts_under_way() >= STARTS_MAX {
            return;
        }
        match prepare(desired, step) {
            Ok(run) => {
                let target = Target::Replica(place.0, place.1);
                self.begin(target, true, Operation::Run(Box::new(run)), out);
            }
            Err(failure) => {
                let instance = self.instances.entry(place).or_default();
                instance.failures += 1;
                instance.reason = Some(failure.reason);
                instance.next_try = now + pause(instance.failures, &mut self.rng);
                let next_try = instance.next_try;
                self.wake(next_try);
            }
        }
    }

    /// Whether another container still has a device that is to be this one's alone: it is on its way
    /// out, and when it ended that is seen.
    fn lacks_devices(&self, desired: &Desired<'_>) -> bool {
        let wanted = desired.devices.iter().copied().flatten().flatten();
        let wanted: BTreeSet<&String> = wanted.collect();
        self.seen.containers.iter().any(|container| {
            let ended = matches!(container.state, ContainerState::Exited { .. });
            !ended && container.devices.iter().any(|id| wanted.contains(id))
        })
    }

    /// The Generation that ran here and is above this one.
    fn newer_than(&self, place: &(ReplicaId, Generation)) -> Option<Generation> {
        self.newest.get(&place.0).copied().filter(|newest| *newest > place.1)
    }

    /// Starts a container that is there; `restarts` is 1 when it ran before.
    fn start(
        &mut self,
        now: Moment,
        place: &(ReplicaId, Generation),
        container: &Container,
        restarts: u32,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let instance = self.instances.entry(place.clone()).or_default();
        if instance.next_try > now {
            let next_try = instance.next_try;
            self.wake(next_try);
            return;
        }
        if self.starts_under_way() >= STARTS_MAX {
            return;
        }
        let instance = self.instances.entry(place.clone()).or_default();
        instance.restarts += restarts;
        let target = Target::Replica(place.0.clone(), place.1);
        self.begin(target, true, Operation::Start { container: container.id.clone() }, out);
    }

    fn restart_unhealthy(
        &mut self,
        now: Moment,
        desired: &Desired<'_>,
        container: &Container,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let is_alive = self.health.live(&container.id) != Some(Verdict::Failing);
        if container.health != Health::Unhealthy && is_alive
            || desired.deployment.restart == RestartPolicy::Never
        {
            return;
        }
        let place = key(desired.assignment);
        let instance = self.instances.entry(place.clone()).or_default();
        if instance.next_try > now {
            let next_try = instance.next_try;
            self.wake(next_try);
            return;
        }
        instance.restarts += 1;
        instance.failures += 1;
        instance.running_since = None;
        instance.next_try = now + pause(instance.failures, &mut self.rng);
        let operation = restart(container);
        self.begin(Target::Replica(place.0, place.1), true, operation, out);
    }

    /// Containers of known Apps that no Plan gives to this host.
    fn remove_leftovers(
        &mut self,
        now: Moment,
        wanted: &Wanted<'_>,
        known: &BTreeMap<AppName, Known>,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        self.ahead.clear();
        for container in self.seen.containers.clone() {
            let place = (container.replica.clone(), container.generation);
            if is_wanted(wanted, &container) {
                self.leaving.remove(&container.id);
                continue;
            }
            // An App never heard of may be one whose state has not arrived yet; a Generation above
            // the Plan's comes from a Plan that has not. Both stay.
            let Some(app) = known.get(&container.replica.app) else { continue };
            let planned = app.generations.get(&container.replica);
            if planned.is_some_and(|planned| *planned < container.generation) {
                self.ahead.insert(container.id.clone());
                continue;
            }
            let target = Target::Container(container.id.clone());
            let own = Target::Replica(place.0.clone(), place.1);
            if self.is_busy(&target) || self.is_busy(&own) || self.is_refused(now, &target) {
                continue;
            }
            if !self.may_stop(now, &container, app) {
                continue;
            }
            if self.busy.len() >= OTHERS_MAX {
                continue;
            }
            self.begin(target, false, remove(&container), out);
        }
        self.remove_steps(now, wanted, known, out);
    }

    /// Whether a container that should go can be stopped: nobody sends to it any more.
    fn may_stop(&mut self, now: Moment, container: &Container, app: &Known) -> bool {
        let serves = container.state == ContainerState::Running && app.intent == Intent::Run;
        let leaving = self.leaving.entry(container.id.clone()).or_insert_with(|| Leaving {
            since: now,
            app: container.replica.app.clone(),
            plan: app.plan,
            gone: None,
        });
        let limit = leaving.since + GONE_MAX;
        if leaving.gone.is_none() && (!serves || app.applied >= leaving.plan || now >= limit) {
            leaving.gone = Some(now);
        }
        let spec = (container.replica.service.clone(), container.spec_hash.clone());
        let grace = app.drains.get(&spec).copied().unwrap_or_default().max(GRACE);
        let until = leaving.gone.map(|gone| gone + grace);
        if !serves || until.is_some_and(|until| until <= now) {
            return true;
        }
        // Who has not answered is asked again now and then.
        self.wake(until.unwrap_or(limit.min(now + ASK_AGAIN)));
        false
    }

    /// Asks what runs how it is, as its Deployment says.
    fn follow(&mut self, now: Moment, desired: &[Desired<'_>]) {
        let mut all = Vec::new();
        for item in desired.iter().filter(|item| !item.deployment.checks.is_empty()) {
            let place = key(item.assignment);
            let Some(container) = self.container(item.assignment) else { continue };
            let instance = self.instances.get(&place).cloned().unwrap_or_default();
            let runs =
                container.state == ContainerState::Running && !owes_greeting(item, &instance);
            if runs && !self.is_busy(&Target::Replica(place.0, place.1)) {
                all.push(Followed {
                    container: container.id.clone(),
                    start: instance.restarts,
                    checks: &item.deployment.checks,
                    address: self.network_of(item, container).addresses.values().next().copied(),
                    was_ready: instance.was_ready,
                });
            }
        }
        self.health.follow(now, &all);
    }

    /// Networks and volumes of Apps that are gone, once their containers are.
    fn remove_objects(
        &mut self,
        now: Moment,
        known: &BTreeMap<AppName, Known>,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        let all = self.seen.containers.iter().chain(&self.seen.steps);
        let left: BTreeSet<&AppName> = all.map(|c| &c.replica.app).collect();
        let empty = |app: &AppName| !left.contains(app);
        let gone = |app: &AppName, volumes: bool| match known.get(app).map(|known| known.intent) {
            Some(Intent::RemoveWithVolumes) => empty(app),
            Some(Intent::Remove) => !volumes && empty(app),
            Some(Intent::Run) | None => false,
        };
        let mut operations = Vec::new();
        for (name, app) in &self.seen.networks {
            if gone(app, false) {
                operations.push((name.clone(), Operation::RemoveNetwork { name: name.clone() }));
            }
        }
        for (name, app) in &self.seen.volumes {
            if gone(app, true) {
                operations.push((name.clone(), Operation::RemoveVolume { name: name.clone() }));
            }
        }
        for (name, operation) in operations {
            let kind = if matches!(operation, Operation::RemoveVolume { .. }) { "v" } else { "n" };
            let target = Target::Object(format!("{kind}/{name}"));
            if !self.is_busy(&target) && !self.is_refused(now, &target) {
                self.begin(target, false, operation, out);
            }
        }
    }

    /// Whether the engine refused to remove it a moment ago; it is asked again later.
    fn is_refused(&mut self, now: Moment, target: &Target) -> bool {
        let next_try = self.refused.get(target).map(|(_, next_try)| *next_try);
        let Some(next_try) = next_try.filter(|next_try| *next_try > now) else { return false };
        self.wake(next_try);
        true
    }

    fn container(&self, assignment: &Assignment) -> Option<&Container> {
        self.seen.containers.iter().find(|container| {
            container.replica == assignment.replica
                && container.generation == assignment.generation
                && container.spec_hash == assignment.spec_hash
        })
    }

    fn is_busy(&self, target: &Target) -> bool {
        self.busy.values().any(|busy| busy.target == *target)
    }

    fn starts_under_way(&self) -> usize {
        self.busy.values().filter(|busy| busy.starts).count()
    }

    fn begin(
        &mut self,
        target: Target,
        starts: bool,
        operation: Operation,
        out: &mut Vec<(OperationId, Operation)>,
    ) {
        self.next_operation += 1;
        let id = OperationId(self.next_operation);
        if let Target::Replica(replica, generation) = &target {
            Generation::raise(&mut self.newest, replica.clone(), *generation);
            // What was said of it before is over.
            self.recalled.remove(&(replica.clone(), *generation));
            let instance = self.instances.entry((replica.clone(), *generation)).or_default();
            instance.progress = Some(Phase::Starting);
            instance.end_counted = false;
            instance.greeted = false;
            instance.greeting_failed = false;
            instance.was_ready = false;
            if starts {
                instance.step_counted = None;
            }
        }
        let greets = matches!(operation, Operation::Greet { .. });
        self.busy.insert(id, Busy { target, starts, greets });
        out.push((id, operation));
    }

    fn wake(&mut self, at: Moment) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }
}

fn restart(container: &Container) -> Operation {
    Operation::Restart { container: container.id.clone(), farewell: container.farewell.clone() }
}

/// Says farewell only to what runs.
fn remove(container: &Container) -> Operation {
    let runs = container.state == ContainerState::Running;
    let farewell = container.farewell.clone().filter(|_| runs);
    Operation::Remove { container: container.id.clone(), farewell }
}

fn is_wanted(wanted: &Wanted<'_>, container: &Container) -> bool {
    let place = (container.replica.clone(), container.generation);
    wanted.get(&place).is_some_and(|spec_hash| *spec_hash == container.spec_hash)
}

fn key(assignment: &Assignment) -> (ReplicaId, Generation) {
    (assignment.replica.clone(), assignment.generation)
}

/// A one-shot whose container somebody removed after it ran is not run again.
fn may_run_again(policy: RestartPolicy, instance: &Instance) -> bool {
    policy != RestartPolicy::Never || !instance.ran
}

fn starts_again(policy: RestartPolicy, code: i64, restarts: u32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure { max_attempts } => {
            code != 0 && max_attempts.is_none_or(|most| restarts < most)
        }
        RestartPolicy::Never => false,
    }
}

#[cfg(test)]
mod tests;
