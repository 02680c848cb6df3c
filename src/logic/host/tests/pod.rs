//! Containers that join the network of another one's.

use super::*;

const RUNNING: ContainerState = ContainerState::Running;

/// `app/1` joins the network of `web/1`.
fn bench() -> Bench {
    let app = ReplicaId { service: ServiceName::from("app"), ..replica(1) };
    let mut bench =
        Bench::new(&[assignment(1, 1), Assignment { replica: app, ..assignment(1, 1) }]);
    let joins = Some(ServiceName::from("web"));
    bench.companion = Some(Deployment { joins, ..deployment("app", 1) });
    bench
}

fn leader(state: ContainerState, started: i64) -> Container {
    Container { started, ..container(1, 1, state) }
}

fn companion(state: ContainerState, started: i64) -> Container {
    let replica = ReplicaId { service: ServiceName::from("app"), ..replica(1) };
    Container { id: "app".to_owned(), replica, started, ..container(1, 1, state) }
}

/// What is done, in short: the service that is made, or the container that something is done to.
fn said(operations: &[(OperationId, Operation)]) -> Vec<String> {
    let one = |(_, operation): &(OperationId, Operation)| match operation {
        Operation::Run(run) => format!("run {}", run.replica.service),
        Operation::Start { container } => format!("start {container}"),
        Operation::Greet { container, hooks: _ } => format!("greet {container}"),
        Operation::Restart { container, farewell: _ } => format!("restart {container}"),
        Operation::Resize { container, to: _ } => format!("resize {container}"),
        Operation::Remove { container, farewell: _ } => format!("remove {container}"),
        Operation::RemoveNetwork { name } | Operation::RemoveVolume { name } => name.clone(),
    };
    operations.iter().map(one).collect()
}

#[test]
fn a_companion_is_made_when_its_leader_runs() {
    let mut bench = bench();
    let first = bench.seen(&[]);
    assert_eq!(said(&first), ["run web"]);
    let reason = bench.statuses().into_iter().find(|s| s.replica.service.as_str() == "app");
    let reason = reason.and_then(|status| status.reason);
    assert_eq!(reason.as_deref(), Some("waits until `web` runs, whose network it joins"));
    assert_eq!(said(&bench.seen(&[leader(ContainerState::Created, 0)])), [""; 0]);
    bench.finish(first[0].0, Ok(()));
    assert_eq!(said(&bench.seen(&[leader(RUNNING, 5)])), ["run app"]);
}

#[test]
fn a_companion_is_started_again_after_its_leader_was() {
    let mut bench = bench();
    assert_eq!(said(&bench.seen(&[leader(RUNNING, 5), companion(RUNNING, 6)])), [""; 0]);
    let again = bench.seen(&[leader(RUNNING, 7), companion(RUNNING, 6)]);
    assert_eq!(said(&again), ["restart app"]);
    bench.finish(again[0].0, Ok(()));
    assert_eq!(said(&bench.seen(&[leader(RUNNING, 7), companion(RUNNING, 8)])), [""; 0]);
}

#[test]
fn a_companion_that_ended_waits_for_a_leader_that_ended() {
    let mut bench = bench();
    bench.seen(&[leader(RUNNING, 5), companion(RUNNING, 6)]);
    let ended = [leader(EXITED, 5), companion(EXITED, 6)];
    bench.seen(&ended);
    bench.wait(5_000);
    let first = bench.step();
    assert_eq!(said(&first), ["start c1.1"], "the leader alone");
    bench.finish(first[0].0, Ok(()));
    assert_eq!(said(&bench.seen(&[leader(RUNNING, 7), companion(EXITED, 6)])), ["start app"]);
}

#[test]
fn a_one_shot_is_not_run_again_for_its_leader() {
    let mut bench = bench();
    let companion_spec = bench.companion.as_mut().expect("there is one");
    companion_spec.restart = RestartPolicy::Never;
    assert_eq!(said(&bench.seen(&[leader(RUNNING, 7), companion(RUNNING, 6)])), [""; 0]);
}
