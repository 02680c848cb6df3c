//! One host machine, its engine played by the test.

mod hooks;
mod pod;
mod size;

use super::*;
use crate::logic::testing::{app, deployment, host};
use crate::model::{
    Capacity, ContainerSpec, Farewell, Limits, Phase, ReplicaStatus, RevisionId, ServiceName, Size,
    WallSeconds,
};

fn replica(index: u32) -> ReplicaId {
    ReplicaId { app: app(), service: ServiceName::from("web"), index }
}

fn assignment(index: u32, generation: u64) -> Assignment {
    Assignment {
        replica: replica(index),
        host: host(1),
        generation: Generation(generation),
        revision: RevisionId::from("r"),
        spec_hash: "spec".to_owned(),
        outgoing: false,
        done: false,
        devices: Vec::new(),
        leads: false,
        follows: BTreeMap::new(),
        failed: false,
    }
}

fn container(index: u32, generation: u64, state: ContainerState) -> Container {
    Container {
        id: format!("c{index}.{generation}"),
        name: format!("shop-web-{index}.{generation}"),
        replica: replica(index),
        generation: Generation(generation),
        spec_hash: "spec".to_owned(),
        state,
        health: Health::None,
        addresses: BTreeMap::new(),
        image: "web".to_owned(),
        started: 0,
        devices: BTreeSet::new(),
        step: None,
        farewell: None,
        limits: Limits::default(),
    }
}

struct Bench {
    machine: HostMachine,
    now: Moment,
    deployment: Deployment,
    /// What runs of the service `app`.
    companion: Option<Deployment>,
    wanted: Vec<Assignment>,
    known: BTreeMap<AppName, Known>,
    /// What replicas are given.
    size: Size,
}

impl Bench {
    fn new(wanted: &[Assignment]) -> Self {
        let mut bench = Self {
            machine: HostMachine::new(Rng::new(1)),
            now: Moment(1_000),
            deployment: deployment("web", 1),
            companion: None,
            wanted: Vec::new(),
            known: BTreeMap::new(),
            size: Size::default(),
        };
        bench.want(wanted);
        bench
    }

    fn want(&mut self, wanted: &[Assignment]) {
        self.wanted = wanted.to_vec();
        let generations = wanted.iter().map(|a| (a.replica.clone(), a.generation)).collect();
        self.known.insert(app(), Known { intent: Intent::Run, generations, ..Known::default() });
    }

    fn desired(&self) -> Vec<Desired<'_>> {
        let of = |assignment: &Assignment| {
            let companion = self.companion.as_ref();
            let companion = companion.filter(|_| assignment.replica.service.as_str() == "app");
            companion.unwrap_or(&self.deployment)
        };
        let one = |assignment| Desired {
            assignment,
            deployment: Cow::Borrowed(of(assignment)),
            networks: BTreeMap::new(),
            devices: Some(assignment.devices.as_slice()),
            size: self.size,
            capacity: Capacity { cpu_millis: 4_000, memory: 8 << 30 },
        };
        self.wanted.iter().map(one).collect()
    }

    fn seen(&mut self, containers: &[Container]) -> Vec<(OperationId, Operation)> {
        let mut seen = Observation::default();
        seen.set_containers(containers.to_vec());
        self.machine.handle_observed(seen);
        self.step()
    }

    fn step(&mut self) -> Vec<(OperationId, Operation)> {
        let mut machine = self.machine.clone();
        let operations =
            machine.reconcile(self.now, &self.desired(), &self.known, &mut |desired, step| {
                Ok(RunReplica {
                    replica: desired.assignment.replica.clone(),
                    generation: desired.assignment.generation,
                    revision: desired.assignment.revision.clone(),
                    spec_hash: desired.assignment.spec_hash.clone(),
                    name: "name".to_owned(),
                    joins: None,
                    container: ContainerSpec::default(),
                    networks: Vec::new(),
                    volumes: BTreeMap::new(),
                    resolver: "10.208.0.1".parse().unwrap(),
                    devices: Vec::new(),
                    image_sources: Vec::new(),
                    step: step.map(|(number, _)| number),
                })
            });
        self.machine = machine;
        operations
    }

    fn finish(&mut self, operation: OperationId, result: Result<(), &str>) {
        let result = result.map_err(|reason| Failure::from(reason.to_owned()));
        self.machine.handle_finished(self.now, operation, result);
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }

    fn statuses(&mut self) -> Vec<ReplicaStatus> {
        let mut machine = self.machine.clone();
        let mut all = machine.statuses(WallSeconds(0), &self.desired());
        all.remove(&app()).expect("it has a replica")
    }

    fn status(&mut self) -> ReplicaStatus {
        self.statuses().remove(0)
    }
}

fn words(operations: &[(OperationId, Operation)]) -> Vec<String> {
    let one = |(_, operation): &(OperationId, Operation)| match operation {
        Operation::Run(run) => {
            let step = run.step.map(|step| format!(" step {step}")).unwrap_or_default();
            format!("run {}.{}{step}", run.replica.index, run.generation)
        }
        Operation::Start { container } => format!("start {container}"),
        Operation::Greet { container, hooks } => format!("greet {container} {}", hooks.len()),
        Operation::Restart { container, farewell } => {
            format!("restart {container}{}", last_words(farewell.as_ref()))
        }
        Operation::Resize { container, to } => {
            let memory = to.memory.map(|memory| (memory.limit, memory.with_swap));
            format!("resize {container} {:?} {memory:?}", to.cpu_millis)
        }
        Operation::Remove { container, farewell } => {
            format!("remove {container}{}", last_words(farewell.as_ref()))
        }
        Operation::RemoveNetwork { name } => format!("remove network {name}"),
        Operation::RemoveVolume { name } => format!("remove volume {name}"),
    };
    operations.iter().map(one).collect()
}

fn last_words(farewell: Option<&Farewell>) -> String {
    farewell.map(|farewell| format!(" after {}", farewell.hooks.len())).unwrap_or_default()
}

const EXITED: ContainerState = ContainerState::Exited { code: 1, oom_killed: false };
const DONE: ContainerState = ContainerState::Exited { code: 0, oom_killed: false };

#[test]
fn what_is_missing_is_run_once() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    assert_eq!(words(&bench.seen(&[])), ["run 1.1"]);
    assert_eq!(words(&bench.step()), [""; 0], "it is under way");
}

#[test]
fn containers_that_run_are_taken_over_without_a_restart() {
    let mut bench = Bench::new(&[assignment(1, 1), assignment(2, 3)]);
    let running = ContainerState::Running;
    let there = [container(1, 1, running.clone()), container(2, 3, running)];
    assert_eq!(words(&bench.seen(&there)), [""; 0]);
    assert!(bench.status().ready);
}

#[test]
fn an_older_generation_is_refused_while_a_newer_one_is_there() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let newer = container(1, 2, ContainerState::Running);
    assert_eq!(words(&bench.seen(std::slice::from_ref(&newer))), [""; 0]);
    let mut statuses = bench.machine.clone();
    let statuses = statuses.statuses(WallSeconds(0), &bench.desired());
    let told = statuses[&app()].iter().find(|status| status.generation == Generation(2));
    assert!(told.is_some_and(|status| !status.ready), "the Home hears of it");
}

#[test]
fn an_older_generation_is_refused_after_a_newer_one_is_gone() {
    let mut bench = Bench::new(&[assignment(1, 2)]);
    let newer = container(1, 2, ContainerState::Running);
    assert_eq!(words(&bench.seen(std::slice::from_ref(&newer))), [""; 0]);
    // Plans come out of order: the one that moved it away, and then one that never knew of it.
    bench.want(&[]);
    assert_eq!(words(&bench.seen(&[])), [""; 0]);
    bench.want(&[assignment(1, 1)]);
    assert_eq!(words(&bench.step()), [""; 0], "an older one never follows it");
    let mut machine = bench.machine.clone();
    let told =
        machine.statuses(WallSeconds(0), &bench.desired()).remove(&app()).unwrap_or_default();
    assert!(told.iter().any(|told| told.generation == Generation(2)), "the Home hears of it");
    assert!(told.iter().all(|told| !told.ready && told.reason.is_some()));
    bench.want(&[assignment(1, 3)]);
    assert_eq!(words(&bench.step()), ["run 1.3"]);
}

#[test]
fn a_newer_generation_runs_only_once_the_older_one_is_gone() {
    let mut bench = Bench::new(&[assignment(1, 2)]);
    let old = container(1, 1, ContainerState::Running);
    assert_eq!(words(&bench.seen(std::slice::from_ref(&old))), [""; 0], "its traffic ends first");
    bench.wait(700);
    let remove = bench.step();
    assert_eq!(words(&remove), ["remove c1.1"]);
    bench.wait(100);
    assert_eq!(words(&bench.seen(&[])), ["run 1.2"]);
}

#[test]
fn an_old_copy_on_its_way_out_runs_beside_its_successor() {
    let old = Assignment { outgoing: true, ..assignment(1, 1) };
    let mut bench = Bench::new(&[old, assignment(1, 2)]);
    let there = container(1, 1, ContainerState::Running);
    assert_eq!(words(&bench.seen(&[there])), ["run 1.2"]);
}

#[test]
fn a_container_of_another_spec_is_not_taken_for_ours() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let other = Container { spec_hash: "other".to_owned(), ..container(1, 1, EXITED) };
    assert_eq!(words(&bench.seen(&[other])), ["remove c1.1"]);
}

#[test]
fn orphans_go_only_when_their_app_is_known() {
    let mut bench = Bench::new(&[]);
    let mut strange = container(1, 1, EXITED);
    strange.replica.app = AppName::from("unknown");
    strange.id = "strange".to_owned();
    let there = [container(1, 1, EXITED), strange];
    assert_eq!(words(&bench.seen(&there)), ["remove c1.1"]);
}

#[test]
fn restarts_wait_longer_each_time_and_begin_anew_after_a_steady_while() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let mut waits = Vec::new();
    for _ in 0..5 {
        assert_eq!(words(&bench.seen(&[container(1, 1, EXITED)])), [""; 0]);
        let next = bench.machine.next_deadline().expect("it waits");
        waits.push(next.since(bench.now).as_millis());
        bench.now = next;
        let started = bench.step();
        assert_eq!(words(&started), ["start c1.1"]);
        bench.seen(&[container(1, 1, ContainerState::Running)]);
        bench.finish(started[0].0, Ok(()));
        bench.step();
    }
    assert!(waits.is_sorted() && (1_600..=1_760).contains(&waits[4]), "{waits:?}");
    bench.wait(10_000);
    bench.step();
    bench.seen(&[container(1, 1, EXITED)]);
    let next = bench.machine.next_deadline().expect("it waits");
    assert!(next.since(bench.now).as_millis() <= 110);
    assert_eq!(bench.status().restarts, 5);
}

#[test]
fn restart_policies_are_kept() {
    let on_failure = RestartPolicy::OnFailure { max_attempts: None };
    let cases = [
        (RestartPolicy::Always, DONE, true, Phase::Backoff),
        (RestartPolicy::Always, EXITED, true, Phase::Backoff),
        (on_failure, EXITED, true, Phase::Backoff),
        (on_failure, DONE, false, Phase::Completed),
        (RestartPolicy::OnFailure { max_attempts: Some(0) }, EXITED, false, Phase::Failed),
        (RestartPolicy::Never, DONE, false, Phase::Completed),
        (RestartPolicy::Never, EXITED, false, Phase::Failed),
    ];
    for (policy, state, restarts, phase) in cases {
        let mut bench = Bench::new(&[assignment(1, 1)]);
        bench.deployment.restart = policy;
        bench.seen(&[container(1, 1, state.clone())]);
        assert_eq!(bench.status().phase, phase, "{policy:?} after {state:?}");
        bench.wait(60_000);
        assert_eq!(bench.step().len(), usize::from(restarts), "{policy:?} after {state:?}");
    }
}

#[test]
fn a_one_shot_runs_once_even_when_its_container_is_gone() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.deployment.restart = RestartPolicy::Never;
    bench.seen(&[container(1, 1, DONE)]);
    assert_eq!(words(&bench.seen(&[])), [""; 0]);
    // An agent that did not see it run knows from the Plan.
    let done = Assignment { done: true, ..assignment(1, 1) };
    let mut bench = Bench::new(&[done]);
    assert_eq!(words(&bench.seen(&[])), [""; 0]);
    assert_eq!(bench.status().phase, Phase::Completed);
}

#[test]
fn what_failed_for_good_is_not_started_again_by_an_agent_that_has_forgotten() {
    let failed = Assignment { failed: true, ..assignment(1, 1) };
    for containers in [vec![container(1, 1, EXITED)], Vec::new()] {
        let mut bench = Bench::new(std::slice::from_ref(&failed));
        bench.deployment.restart = RestartPolicy::OnFailure { max_attempts: Some(3) };
        bench.wait(60_000);
        assert_eq!(words(&bench.seen(&containers)), [""; 0]);
        assert_eq!(bench.status().phase, Phase::Failed);
    }
}

#[test]
fn an_unhealthy_container_is_restarted() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let sick = Container { health: Health::Unhealthy, ..container(1, 1, ContainerState::Running) };
    assert_eq!(words(&bench.seen(std::slice::from_ref(&sick))), ["restart c1.1"]);
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.deployment.restart = RestartPolicy::Never;
    assert_eq!(words(&bench.seen(&[sick])), [""; 0]);
    assert!(!bench.status().ready);
}

#[test]
fn only_what_runs_and_is_not_ill_is_ready() {
    let cases = [
        (ContainerState::Running, Health::None, true),
        (ContainerState::Running, Health::Healthy, true),
        (ContainerState::Running, Health::Starting, false),
        (ContainerState::Running, Health::Unhealthy, false),
        (ContainerState::Paused, Health::None, false),
        (ContainerState::Created, Health::None, false),
        (EXITED, Health::None, false),
    ];
    for (state, health, ready) in cases {
        let mut bench = Bench::new(&[assignment(1, 1)]);
        bench.machine.handle_observed(Observation {
            containers: vec![Container { health, ..container(1, 1, state.clone()) }],
            ..Observation::default()
        });
        assert_eq!(bench.status().ready, ready, "{state:?} {health:?}");
    }
}

#[test]
fn what_the_engine_refuses_is_tried_again_later_not_at_once() {
    let mut bench = Bench::new(&[]);
    let there = [container(1, 1, EXITED)];
    for least in [100, 200, 400] {
        let remove = bench.seen(&there);
        assert_eq!(words(&remove), ["remove c1.1"]);
        bench.finish(remove[0].0, Err("busy"));
        assert_eq!(words(&bench.seen(&there)), [""; 0]);
        let next = bench.machine.next_deadline().expect("it waits");
        assert!(next.since(bench.now).as_millis() >= least);
        bench.now = next;
    }
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let run = bench.seen(&[]);
    bench.finish(run[0].0, Err("no such image"));
    assert_eq!(words(&bench.step()), [""; 0]);
    assert_eq!(bench.status().reason.as_deref(), Some("no such image"));
}

#[test]
fn only_a_few_start_at_once() {
    let wanted: Vec<Assignment> = (1..=9).map(|index| assignment(index, 1)).collect();
    let mut bench = Bench::new(&wanted);
    assert_eq!(bench.seen(&[]).len(), STARTS_MAX);
}

#[test]
fn objects_of_a_removed_app_go_after_its_containers() {
    for (intent, expected) in [
        (Intent::Run, vec![]),
        (Intent::Remove, vec!["remove network n"]),
        (Intent::RemoveWithVolumes, vec!["remove network n", "remove volume v"]),
    ] {
        let mut bench = Bench::new(&[]);
        bench.known.insert(app(), Known { intent, ..Known::default() });
        let mut seen = Observation {
            containers: vec![container(1, 1, EXITED)],
            steps: Vec::new(),
            networks: vec![("n".to_owned(), app())],
            volumes: vec![("v".to_owned(), app())],
        };
        bench.machine.handle_observed(seen.clone());
        assert_eq!(words(&bench.step()), ["remove c1.1"]);
        seen.containers.clear();
        bench.machine.handle_observed(seen);
        assert_eq!(words(&bench.step()), expected, "{intent:?}");
    }
}

#[test]
fn row_32_a_container_is_stopped_when_its_endpoint_is_gone_everywhere_or_after_a_while() {
    for answers in [true, false] {
        let mut bench = Bench::new(&[assignment(1, 1)]);
        bench.seen(&[container(1, 1, ContainerState::Running)]);
        bench.want(&[]);
        let known = bench.known.get_mut(&app()).unwrap();
        (known.plan, known.applied) = (7, 6);
        assert_eq!(words(&bench.step()), [""; 0]);
        assert_eq!(bench.machine.leaving(), BTreeMap::from([(app(), 7)]));
        bench.wait(4_900);
        assert_eq!(words(&bench.step()), [""; 0], "somebody has not answered");
        if answers {
            bench.known.get_mut(&app()).unwrap().applied = 7;
        } else {
            bench.wait(100);
        }
        assert_eq!(words(&bench.step()), [""; 0], "what is on its way still arrives");
        assert_eq!(bench.machine.leaving(), BTreeMap::new(), "nobody is asked any more");
        bench.wait(699);
        assert_eq!(words(&bench.step()), [""; 0]);
        bench.wait(1);
        assert_eq!(words(&bench.step()), ["remove c1.1"], "{answers}");
    }
}

#[test]
fn row_32_a_container_goes_on_with_what_it_has_begun_for_as_long_as_people_said() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.seen(&[container(1, 1, ContainerState::Running)]);
    bench.want(&[]);
    let spec = ("web".into(), "spec".to_owned());
    let drains = BTreeMap::from([(spec, Duration::from_secs(20))]);
    bench.known.get_mut(&app()).unwrap().drains = drains;
    assert_eq!(words(&bench.step()), [""; 0]);
    bench.wait(19_999);
    assert_eq!(words(&bench.step()), [""; 0]);
    bench.wait(1);
    assert_eq!(words(&bench.step()), ["remove c1.1"]);
}

#[test]
fn row_32_what_does_not_run_is_taken_away_at_once() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.seen(&[container(1, 1, EXITED)]);
    bench.want(&[]);
    bench.known.get_mut(&app()).unwrap().plan = 7;
    assert_eq!(words(&bench.step()), ["remove c1.1"]);
}

#[test]
fn row_28_what_was_killed_for_want_of_memory_starts_again_and_says_so() {
    const KILLED: ContainerState = ContainerState::Exited { code: 137, oom_killed: true };
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.deployment.container.resources.memory_limit = Some(64 << 20);
    bench.seen(&[container(1, 1, ContainerState::Running)]);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(words(&bench.seen(&[container(1, 1, KILLED)])), [""; 0]);
        let status = bench.status();
        assert_eq!(status.phase, Phase::Backoff);
        let why = status.reason.unwrap_or_default();
        assert!(why.ends_with("killed: out of memory (limit 64M)"), "{why}");
        let ended = bench.now;
        let started = loop {
            bench.wait(10);
            if let [(id, _)] = bench.step().as_slice() {
                break *id;
            }
        };
        pauses.push(bench.now.since(ended));
        bench.seen(&[container(1, 1, ContainerState::Running)]);
        bench.finish(started, Ok(()));
    }
    assert!(pauses.is_sorted() && pauses[3] >= pauses[0] * 4, "{pauses:?}");
}

#[test]
fn a_device_is_handed_over_when_whoever_has_it_has_ended() {
    let devices = vec![vec!["GPU-1".to_owned()]];
    let mut bench = Bench::new(&[Assignment { devices, ..assignment(2, 1) }]);
    let holder = |state| Container {
        devices: BTreeSet::from(["GPU-1".to_owned()]),
        ..container(1, 1, state)
    };
    let runs = |operations: &[(OperationId, Operation)]| {
        operations.iter().any(|(_, operation)| matches!(operation, Operation::Run(_)))
    };
    assert!(!runs(&bench.seen(&[holder(ContainerState::Running)])));
    assert!(!runs(&bench.seen(&[holder(ContainerState::Changing)])));
    assert!(runs(&bench.seen(&[holder(EXITED)])));
}

#[test]
fn row_29_a_crash_loop_is_named_with_its_reason_and_its_next_try() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    bench.seen(&[container(1, 1, ContainerState::Running)]);
    let mut said = Vec::new();
    for _ in 0..5 {
        bench.seen(&[container(1, 1, EXITED)]);
        let status = bench.status();
        assert_eq!(status.phase, Phase::Backoff);
        assert!(status.again.is_some(), "it says when: {status:?}");
        said.extend(status.reason);
        bench.now = bench.machine.next_deadline().expect("it waits");
        let started = bench.step();
        assert_eq!(words(&started), ["start c1.1"]);
        bench.wait(20_000 / 5);
        bench.seen(&[container(1, 1, ContainerState::Running)]);
        bench.finish(started[0].0, Ok(()));
        bench.step();
        let status = bench.status();
        assert_eq!(status.again, None, "nothing waits while it runs");
        // That it runs for the moment hides nothing.
        let told = said.last().filter(|told| told.starts_with("crash loop"));
        assert_eq!(status.reason.as_ref(), told);
    }
    let expected = [
        "exited with code 1",
        "exited with code 1",
        "crash loop: 3 exits in 8 s, exited with code 1",
        "crash loop: 4 exits in 12 s, exited with code 1",
        "crash loop: 5 exits in 17 s, exited with code 1",
    ];
    assert_eq!(said, expected);
    // After a steady run it is none any more.
    bench.wait(10_000);
    bench.step();
    bench.seen(&[container(1, 1, EXITED)]);
    assert_eq!(bench.status().reason.as_deref(), Some("exited with code 1"));
}

#[test]
fn row_31_one_that_is_never_well_is_started_again_ever_more_seldom() {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let with = |health| Container { health, ..container(1, 1, ContainerState::Running) };
    let mut pauses = Vec::new();
    for _ in 0..13 {
        // Docker takes longer to call it ill than a steady run takes.
        assert_eq!(words(&bench.seen(&[with(Health::Starting)])), [""; 0]);
        bench.wait(30_000);
        assert_eq!(words(&bench.step()), [""; 0]);
        let ill = bench.now;
        let mut restart = bench.seen(&[with(Health::Unhealthy)]);
        while restart.is_empty() {
            bench.now = bench.machine.next_deadline().expect("it waits");
            restart = bench.step();
        }
        assert_eq!(words(&restart), ["restart c1.1"]);
        pauses.push(bench.now.since(ill).as_secs());
        bench.seen(&[with(Health::Starting)]);
        bench.finish(restart[0].0, Ok(()));
    }
    assert_eq!(bench.status().failures, 13, "{pauses:?}");
    assert!(pauses[0] == 0 && pauses[12] >= 30, "at most once a minute in the end: {pauses:?}");
}
