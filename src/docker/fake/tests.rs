//! The fake keeps the contract, and its own script.

use std::path::PathBuf;
use std::time::Duration;

use super::super::contract::{Base, Programs, run_all, scripted_image};
use super::*;
use crate::model::{ContainerSpec, Generation, Health, ReplicaId};

#[tokio::test]
async fn a_fake_engine_keeps_the_contract() {
    let engine = FakeEngine::default();
    engine.with(|host| host.add_image("base:1", scripted_image()));
    let base = Base {
        image: "base:1".to_owned(),
        prefix: "fake".to_owned(),
        pool: "10.9.0.0/24".parse().unwrap(),
        programs: Programs::Scripted,
    };
    let outcomes = run_all(&engine, &base).await;
    let broken: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_err()).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(outcomes.len(), 32);
}

fn host(behaviour: Behaviour) -> FakeHost {
    let engine = EngineInfo {
        version: "1".to_owned(),
        api_version: "1.41".to_owned(),
        platform: "linux/amd64".to_owned(),
        cpu_millis: 1000,
        memory: 1 << 30,
        folder: PathBuf::new(),
        offers: Offers::default(),
    };
    let mut host = FakeHost::new(engine);
    host.add_image("web:1", FakeImage::new(behaviour));
    host
}

/// Replica 1 of service `web` of App `a`, of image `web:1`.
pub(crate) fn web() -> CreateContainer {
    CreateContainer {
        name: "web-1".to_owned(),
        replica: ReplicaId { app: "a".into(), service: "web".into(), index: 1 },
        generation: Generation(1),
        revision: String::new(),
        spec_hash: String::new(),
        cluster: String::new(),
        spec: ContainerSpec { image: "web:1".to_owned(), ..ContainerSpec::default() },
        volumes: BTreeMap::new(),
        networks: Vec::new(),
        joins: None,
        resolver: None,
        devices: Vec::new(),
        step: None,
    }
}

/// What the only container is at each of some milliseconds.
#[track_caller]
fn check_life(host: &mut FakeHost, moments: &[u64], expected: &str) {
    let told: Vec<_> = moments
        .iter()
        .map(|at| {
            host.tick(Moment(*at));
            match host.containers().unwrap().first() {
                None => format!("{at} none"),
                Some(c) => match c.state {
                    ContainerState::Exited { code, oom_killed } => {
                        format!("{at} {code} {oom_killed}")
                    }
                    ref state => format!("{at} {state:?} {:?}", c.health),
                },
            }
        })
        .collect();
    assert_eq!(told.join(", "), expected);
}

#[test]
fn a_container_lives_as_scripted() {
    let mut host = host(Behaviour {
        start_delay: Duration::from_millis(100),
        health: Some(FakeHealth { after: Duration::from_millis(50), verdict: Health::Healthy }),
        exit: Some(FakeExit { after: Duration::from_millis(900), code: 137, oom_killed: true }),
        ..Behaviour::default()
    });
    host.run(&web()).unwrap();
    assert_eq!(host.next_change(), Some(Moment(100)));
    check_life(
        &mut host,
        &[99, 100, 150, 999, 1000],
        "99 Created Starting, 100 Running Starting, 150 Running Healthy, 999 Running Healthy, \
         1000 137 true",
    );
    assert_eq!(host.next_change(), None);
}

#[test]
fn changes_by_time_raise_the_version() {
    let mut host =
        host(Behaviour { start_delay: Duration::from_millis(100), ..Behaviour::default() });
    host.run(&web()).unwrap();
    let before = host.version();
    host.tick(Moment(99));
    assert_eq!(host.version(), before);
    host.tick(Moment(100));
    assert_eq!(host.version(), before + 1);
    host.tick(Moment(50));
    assert_eq!(host.version(), before + 1);
}

#[test]
fn a_slow_stop_ends_in_a_kill() {
    let mut host = host(Behaviour { stop_delay: Duration::from_secs(5), ..Behaviour::default() });
    let id = host.run(&web()).unwrap();
    assert_eq!(host.stop(&id, Duration::from_secs(1)).unwrap(), Moment(1000));
    check_life(&mut host, &[999, 1000], "999 Running None, 1000 137 false");
}

#[test]
fn a_power_cut_ends_what_ran_and_keeps_what_is_there() {
    let mut host = host(Behaviour::default());
    let id = host.run(&web()).unwrap();
    host.tick(Moment(10));
    host.power_cycle();
    check_life(&mut host, &[10], "10 137 false");
    host.start(&id).unwrap();
    check_life(&mut host, &[11], "11 Running None");
}

#[test]
fn containers_go_on_while_the_engine_is_down() {
    let mut host = host(Behaviour::default());
    host.run(&web()).unwrap();
    host.set_up(false);
    assert!(matches!(host.containers(), Err(EngineError::Unreachable { .. })));
    assert!(matches!(host.run(&web()), Err(EngineError::Unreachable { .. })));
    host.set_up(true);
    check_life(&mut host, &[5], "5 Running None");
}

#[tokio::test]
async fn a_build_gives_what_was_scripted() {
    let engine = FakeEngine::default();
    engine.script_build("bad:1", Err("step 2 failed".to_owned()));
    for (reference, expected) in [("good:1", true), ("bad:1", false)] {
        let build = BuildImage { reference: reference.to_owned(), ..BuildImage::default() };
        let told: Vec<_> = engine.build_image(build, Box::pin(stream::empty())).collect().await;
        assert_eq!(told.last().map(Result::is_ok), Some(expected), "{told:?}");
        assert_eq!(engine.image(reference).await.unwrap().is_some(), expected);
    }
}
