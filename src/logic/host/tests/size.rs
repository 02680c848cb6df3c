//! Limits of containers that are there: changed once, without a stop, and no flap when an engine refuses.

use super::*;

const MIB: u64 = 1 << 20;

fn held(cpu_millis: u64, mib: u64) -> Container {
    let limits = Limits { cpu_millis: Some(cpu_millis), memory: Some(mib * MIB) };
    Container { limits, ..container(1, 1, ContainerState::Running) }
}

/// A replica with limits of the file, which is to be given others.
fn bench() -> Bench {
    let mut bench = Bench::new(&[assignment(1, 1)]);
    let resources = &mut bench.deployment.container.resources;
    (resources.cpu_limit_millis, resources.memory_limit) = (Some(500), Some(100 * MIB));
    bench.size = Size { cpu_millis: Some(250), memory: Some(64 * MIB) };
    bench
}

#[test]
fn a_running_container_is_resized_once_and_stays_ready() {
    let mut bench = bench();
    let operations = bench.seen(&[held(500, 100)]);
    let words_of = "resize c1.1 Some(250) Some((67108864, 134217728))";
    assert_eq!(words(&operations), [words_of]);
    assert!(bench.status().ready, "it goes on meanwhile");
    assert_eq!(bench.status().phase, Phase::Running);
    assert_eq!(words(&bench.step()), [""; 0], "it is under way");
    bench.seen(&[held(250, 64)]);
    bench.finish(operations[0].0, Ok(()));
    assert_eq!(words(&bench.step()), [""; 0]);
    assert_eq!(bench.status().not_resized, None);
    // Without a size the file counts again.
    bench.size = Size::default();
    let words_of = "resize c1.1 Some(500) Some((104857600, 209715200))";
    assert_eq!(words(&bench.step()), [words_of]);
}

#[test]
fn a_container_that_ended_is_resized_before_it_is_started_again() {
    let mut bench = bench();
    let ended = Container { state: EXITED, ..held(500, 100) };
    let operations = words(&bench.seen(&[ended]));
    assert!(operations[0].starts_with("resize c1.1"), "{operations:?}");
}

#[test]
fn row_53_what_an_engine_refuses_is_said_and_tried_ever_more_seldom() {
    let mut bench = bench();
    let mut tries = 0;
    let mut operations = bench.seen(&[held(500, 100)]);
    for second in 0..600 {
        for (id, _) in std::mem::take(&mut operations) {
            tries += 1;
            bench.finish(id, Err("the cgroup does not take it"));
        }
        let status = bench.status();
        assert_eq!(status.not_resized.as_deref(), Some("the cgroup does not take it"));
        assert!(status.ready && status.restarts == 0, "after {second} s: {status:?}");
        bench.wait(1_000);
        operations = bench.step();
        // Nor does a try under way make it look otherwise.
        assert!(bench.status().not_resized.is_some());
    }
    assert!((5..20).contains(&tries), "{tries} tries in ten minutes");
    bench.seen(&[held(250, 64)]);
    assert_eq!(bench.status().not_resized, None, "somebody did it by hand");
}

#[test]
fn an_engine_that_says_yes_and_does_nothing_is_not_asked_again_at_once() {
    let mut bench = bench();
    let operations = bench.seen(&[held(500, 100)]);
    bench.finish(operations[0].0, Ok(()));
    assert_eq!(words(&bench.step()), [""; 0]);
    assert_eq!(bench.status().not_resized.as_deref(), Some("its engine keeps other limits"));
    // What is wanted now is something else.
    bench.size.cpu_millis = Some(300);
    assert_eq!(words(&bench.step()).len(), 1);
}

#[test]
fn what_nobody_gives_a_size_is_left_alone() {
    let mut bench = bench();
    bench.size = Size::default();
    let kept = Container { limits: Limits::default(), ..held(1, 1) };
    assert_eq!(words(&bench.seen(&[kept])), [""; 0]);
    assert_eq!(words(&bench.seen(&[held(500, 100)])), [""; 0]);
}
