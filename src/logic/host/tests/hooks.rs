//! Steps before a start, what comes after it, and what comes before a stop.

use super::*;
use crate::model::{Hook, Hooks, Step};

fn hook(word: &str) -> Hook {
    Hook { command: vec![word.to_owned()], ..Hook::default() }
}

fn step_of(per_replica: bool) -> Step {
    Step { container: ContainerSpec::default(), networks: Vec::new(), per_replica }
}

fn bench(hooks: Hooks, leads: bool) -> Bench {
    let mut bench = Bench::new(&[Assignment { leads, ..assignment(1, 1) }]);
    bench.deployment.container.hooks = hooks;
    bench
}

/// The container of a step of replica 1, Generation 1.
fn step(number: u32, state: ContainerState) -> Container {
    let (id, name) = (format!("s{number}"), format!("shop-web-1.1-pre{}", number + 1));
    Container { id, name, step: Some(number), ..container(1, 1, state) }
}

const NOTHING: [&str; 0] = [];
const RUNNING: ContainerState = ContainerState::Running;

#[test]
fn steps_run_one_after_the_other_and_then_the_container() {
    let pre_start = vec![step_of(false), step_of(true)];
    let mut bench = bench(Hooks { pre_start, ..Hooks::default() }, true);
    let first = bench.seen(&[]);
    assert_eq!(words(&first), ["run 1.1 step 0"]);
    assert_eq!(words(&bench.seen(&[step(0, RUNNING)])), NOTHING);
    bench.finish(first[0].0, Ok(()));
    assert_eq!(words(&bench.step()), NOTHING, "it is not over");
    let status = bench.status();
    assert_eq!((status.phase, status.ready), (Phase::Starting, false));
    assert_eq!(status.reason.as_deref(), Some("runs its pre_start step 1 of 2"));
    let second = bench.seen(&[step(0, DONE)]);
    assert_eq!(words(&second), ["run 1.1 step 1"]);
    bench.finish(second[0].0, Ok(()));
    let third = bench.seen(&[step(0, DONE), step(1, DONE)]);
    assert_eq!(words(&third), ["run 1.1"]);
    bench.finish(third[0].0, Ok(()));
    let there = [step(0, DONE), step(1, DONE), container(1, 1, RUNNING)];
    assert_eq!(words(&bench.seen(&there)), ["remove s0", "remove s1"], "they are not needed");
    assert!(bench.status().ready);
    // Restarts do not run them again.
    bench.seen(&[container(1, 1, EXITED)]);
    bench.wait(200);
    assert_eq!(words(&bench.step()), ["start c1.1"]);
}

#[test]
fn an_agent_that_was_killed_goes_on_where_the_steps_are() {
    let pre_start = vec![step_of(true), step_of(true)];
    let hooks = Hooks { pre_start, ..Hooks::default() };
    assert_eq!(words(&bench(hooks.clone(), false).seen(&[step(0, RUNNING)])), NOTHING);
    assert_eq!(words(&bench(hooks.clone(), false).seen(&[step(0, DONE)])), ["run 1.1 step 1"]);
    let created = step(0, ContainerState::Created);
    assert_eq!(words(&bench(hooks, false).seen(&[created])), ["run 1.1 step 0"]);
}

#[test]
fn steps_for_all_replicas_run_with_the_one_that_leads() {
    let pre_start = vec![step_of(false), step_of(true)];
    let hooks = Hooks { pre_start, ..Hooks::default() };
    assert_eq!(words(&bench(hooks, false).seen(&[])), ["run 1.1 step 1"]);
}

#[test]
fn a_step_that_fails_is_tried_again_after_a_pause_and_says_why() {
    let hooks = Hooks { pre_start: vec![step_of(true)], ..Hooks::default() };
    let mut bench = bench(hooks.clone(), false);
    for failures in 1..4 {
        assert_eq!(words(&bench.seen(&[step(0, EXITED)])), NOTHING);
        assert_eq!(words(&bench.step()), NOTHING, "counted once");
        let status = bench.status();
        assert_eq!((status.phase, status.failures), (Phase::Failed, failures));
        let why = "pre_start step 1 ended with exit code 1; see `muster logs web`";
        assert_eq!(status.reason.as_deref(), Some(why));
        bench.now = bench.machine.next_deadline().expect("it waits");
        let removed = bench.step();
        assert_eq!(words(&removed), ["remove s0"]);
        bench.seen(&[]);
        bench.finish(removed[0].0, Ok(()));
        let again = bench.step();
        assert_eq!(words(&again), ["run 1.1 step 0"]);
        bench.finish(again[0].0, Ok(()));
    }
}

#[test]
fn a_one_shot_whose_step_failed_has_failed() {
    let hooks = Hooks { pre_start: vec![step_of(true)], ..Hooks::default() };
    let mut bench = bench(hooks, false);
    bench.deployment.restart = RestartPolicy::Never;
    assert_eq!(words(&bench.seen(&[step(0, EXITED)])), NOTHING);
    bench.wait(60_000);
    assert_eq!(words(&bench.step()), NOTHING);
    let status = bench.status();
    assert_eq!((status.phase, status.container.is_some()), (Phase::Failed, true));
}

#[test]
fn steps_that_are_not_wanted_any_more_go_and_nothing_newer_starts_before() {
    let hooks = Hooks { pre_start: vec![step_of(true)], ..Hooks::default() };
    let mut bench = bench(hooks, false);
    bench.want(&[assignment(1, 2)]);
    let removed = bench.seen(&[step(0, RUNNING)]);
    assert_eq!(words(&removed), ["remove s0"]);
    assert_eq!(words(&bench.step()), NOTHING);
    assert_eq!(words(&bench.seen(&[])), ["run 1.2 step 0"]);
}

fn greeted() -> Hooks {
    Hooks { post_start: vec![hook("a"), hook("b")], ..Hooks::default() }
}

#[test]
fn a_container_gets_no_traffic_before_it_was_greeted_and_is_greeted_once() {
    let mut bench = bench(greeted(), false);
    let run = bench.seen(&[]);
    assert_eq!(words(&bench.seen(&[container(1, 1, RUNNING)])), NOTHING);
    bench.finish(run[0].0, Ok(()));
    let greet = bench.step();
    assert_eq!(words(&greet), ["greet c1.1 2"]);
    assert!(!bench.status().ready);
    bench.finish(greet[0].0, Ok(()));
    assert_eq!(words(&bench.step()), NOTHING);
    assert!(bench.status().ready);
    // Each start has its own.
    bench.seen(&[container(1, 1, EXITED)]);
    bench.wait(200);
    let start = bench.step();
    assert_eq!(words(&start), ["start c1.1"]);
    bench.seen(&[container(1, 1, RUNNING)]);
    bench.finish(start[0].0, Ok(()));
    assert_eq!(words(&bench.step()), ["greet c1.1 2"]);
}

#[test]
fn a_greeting_that_fails_fails_the_replica_whatever_its_exit_code() {
    let mut bench = bench(greeted(), false);
    bench.deployment.restart = RestartPolicy::OnFailure { max_attempts: None };
    let greet = bench.seen(&[container(1, 1, RUNNING)]);
    assert_eq!(words(&greet), ["greet c1.1 2"]);
    // Stopped for it, it ends with 0.
    bench.seen(&[container(1, 1, DONE)]);
    bench.finish(greet[0].0, Err("post_start 1 ended with exit code 3"));
    assert_eq!(words(&bench.step()), NOTHING);
    let status = bench.status();
    assert_eq!((status.phase, status.failures), (Phase::Backoff, 1));
    assert_eq!(status.reason.as_deref(), Some("post_start 1 ended with exit code 3"));
    bench.wait(200);
    assert_eq!(words(&bench.step()), ["start c1.1"]);
}

#[test]
fn a_new_agent_greets_only_what_was_not_called_running() {
    let mut before = bench(greeted(), false);
    let run = before.seen(&[container(1, 1, RUNNING)]);
    let mut said = before.status();
    assert_eq!(said.phase, Phase::Starting, "the agent is killed while it greets");
    let mut after = bench(greeted(), false);
    after.machine.recall([std::slice::from_ref(&said)].into_iter());
    assert_eq!(words(&after.seen(&[container(1, 1, RUNNING)])), ["greet c1.1 2"]);
    before.finish(run[0].0, Ok(()));
    before.step();
    said = before.status();
    assert_eq!(said.phase, Phase::Running, "the agent is killed when it has greeted");
    let mut after = bench(greeted(), false);
    after.machine.recall([std::slice::from_ref(&said)].into_iter());
    assert_eq!(words(&after.seen(&[container(1, 1, RUNNING)])), NOTHING);
    assert!(after.status().ready);
}

#[test]
fn what_runs_is_said_farewell_to_when_muster_stops_it_and_what_ended_is_not() {
    let farewell = Some(Farewell { hooks: vec![hook("bye")], limit_ms: 10_000 });
    let with = |state| Container { farewell: farewell.clone(), ..container(1, 1, state) };
    let mut bench = Bench::new(&[]);
    bench.known.insert(app(), Known { intent: Intent::Remove, ..Known::default() });
    assert_eq!(words(&bench.seen(&[with(RUNNING)])), ["remove c1.1 after 1"]);
    let mut bench = Bench::new(&[]);
    assert_eq!(words(&bench.seen(&[with(EXITED)])), ["remove c1.1"]);
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let sick = Container { health: Health::Unhealthy, ..with(RUNNING) };
    assert_eq!(words(&bench.seen(&[sick])), ["restart c1.1 after 1"]);
}

#[test]
fn what_was_told_of_and_goes_is_told_of_until_it_is_gone_whoever_tells() {
    let mut before = Bench::new(&[assignment(1, 1)]);
    before.seen(&[container(1, 1, RUNNING)]);
    let said = before.status();
    // Its agent is killed, and it is nobody's any more when another one begins.
    let mut after = Bench::new(&[]);
    after.machine.recall([std::slice::from_ref(&said)].into_iter());
    let mut seen = Observation::default();
    seen.set_containers(vec![container(1, 1, RUNNING)]);
    after.machine.handle_observed(seen);
    let told = |bench: &mut Bench| {
        let mut machine = bench.machine.clone();
        machine.statuses(WallSeconds(0), &[]).remove(&app()).unwrap_or_default()
    };
    assert_eq!(told(&mut after).len(), 1, "before it decides anything");
    after.step();
    assert_eq!(told(&mut after)[0].phase, Phase::Stopping);
    after.seen(&[]);
    assert_eq!(told(&mut after), []);
}
