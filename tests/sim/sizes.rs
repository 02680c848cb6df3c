//! Replicas that are given what is measured that they need, while they run: containers keep their ids and
//! starts whatever is given them, Homes die meanwhile, an engine refuses, and the file takes it back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster::logic::core::Event;
use muster::model::{
    Bounds, Container, Limits, Measured, MeasuredReplica, Peak, Revision, Sizing, Vertical,
};

use crate::apps::{shop, shop_name};
use crate::run::Run;

const MIB: u64 = 1 << 20;
const WINDOW: Duration = Duration::from_secs(60);
/// What the file gives, and what replicas come to take of it.
const FILE: (u64, u64) = (1_000, 256);
const IDLE: (u64, u64) = (230, 46);

/// The shop with limits for `web`, which may be others when `vertical` says so.
fn sized(replicas: u32, vertical: bool) -> Revision {
    let mut revision = shop(replicas, "sized");
    let web = revision.deployments.get_mut(&"web".into()).expect("the shop has one");
    let resources = &mut web.container.resources;
    resources.cpu_limit_millis = Some(FILE.0);
    resources.memory_limit = Some(FILE.1 * MIB);
    web.vertical = vertical.then_some(Vertical {
        cpu_millis: Some(Bounds { min: 50, max: 2_000 }),
        memory: Some(Bounds { min: 32 * MIB, max: 1024 * MIB }),
        window_ms: WINDOW.as_millis() as u64,
    });
    revision
}

fn sizing(run: &Run) -> Option<Sizing> {
    let plans =
        run.world.running().filter_map(|host| host.core.as_ref()?.state().plan(&shop_name()));
    plans.max_by_key(|plan| plan.number)?.sizes.get(&"web".into()).cloned()
}

fn containers(run: &Run) -> Vec<Container> {
    run.world.running_of("web").collect()
}

/// Which containers there are, and when each was started.
fn starts(run: &Run) -> BTreeSet<(String, String, i64)> {
    containers(run).into_iter().map(|c| (c.name, c.id, c.started)).collect()
}

fn limits((millis, mib): (u64, u64)) -> Limits {
    Limits { cpu_millis: Some(millis), memory: Some(mib * MIB) }
}

fn all_have(run: &Run, amounts: (u64, u64)) -> bool {
    let all = containers(run);
    !all.is_empty() && all.iter().all(|container| container.limits == limits(amounts))
}

/// Runs for so long while every host tells what its replicas take now, beside what sufficed.
fn under(run: &mut Run, time: Duration, (cpus, mib): (f64, f64)) {
    for second in 0..time.as_secs() {
        if second.is_multiple_of(5) {
            for index in 0..run.n() {
                measure(run, index, cpus, mib * MIB as f64);
            }
        }
        run.world.run_for(Duration::from_secs(1));
    }
}

fn measure(run: &mut Run, index: usize, cpus: f64, memory: f64) {
    if run.world.hosts[index].core.is_none() {
        return;
    }
    let here = run.world.hosts[index].engine.truth(run.world.now);
    let here = here.iter().filter(|container| container.replica.service.as_str() == "web");
    let replicas: Vec<MeasuredReplica> = here
        .map(|container| MeasuredReplica {
            replica: container.replica.clone(),
            generation: container.generation,
            cpus: Some(cpus),
            memory: Some(memory),
        })
        .collect();
    let peak = Peak { cpus: 0.2, memory: 40.0 * MIB as f64 };
    let peaks = if replicas.is_empty() { BTreeMap::new() } else { [("web".into(), peak)].into() };
    let measured = Measured { replicas, peaks, ..Measured::default() };
    run.world.event(index, Event::Measured([(shop_name(), measured)].into()));
}

/// The whole life of it.
pub(crate) fn follow(run: &mut Run) {
    run.up(&sized(3, true), "up");
    run.expect_settled("with `vertical`");
    let first = starts(run);
    assert!(all_have(run, FILE), "{}", run.describe());
    let idle = (0.1, 30.0);
    under(run, 3 * WINDOW, idle);
    assert!(all_have(run, IDLE), "{:?} {}", sizing(run), run.describe());
    assert_eq!(starts(run), first, "nothing is started again");
    homes_die(run, idle);
    a_container_dies(run, idle);
    an_engine_refuses(run);
    let before = starts(run);
    run.up(&sized(3, false), "up");
    run.expect_settled("without `vertical`");
    run.world.run_for(Duration::from_secs(10));
    assert!(all_have(run, FILE), "the file counts again: {}", run.describe());
    assert_eq!(starts(run), before, "and nothing is started again");
}

/// The next Home goes on with what was given, and decides nothing anew.
fn homes_die(run: &mut Run, idle: (f64, f64)) {
    let decided = sizing(run).expect("it is in the Plan").decisions;
    assert_eq!(decided.len(), 1, "{decided:?}");
    let before = starts(run);
    let home = run.world.home_of(&shop_name());
    run.world.kill_agent(home);
    run.world.met.homes_killed += 1;
    // Shorter than until a host is gone for good.
    under(run, Duration::from_secs(2), idle);
    run.world.start_agent(home);
    run.expect_settled("with the Home back");
    under(run, 5 * WINDOW, idle);
    assert_eq!(sizing(run).map(|sizing| sizing.decisions), Some(decided));
    assert!(all_have(run, IDLE), "{}", run.describe());
    assert_eq!(starts(run), before, "nothing is started again");
}

/// What is started again, or made anew, has what was given.
fn a_container_dies(run: &mut Run, idle: (f64, f64)) {
    let victim = containers(run).remove(0);
    let host = run.world.hosts.iter().position(|host| {
        host.engine.truth(run.world.now).iter().any(|container| container.name == victim.name)
    });
    let host = host.expect("some host has it");
    run.world.hosts[host].engine.kill(&victim.id);
    under(run, Duration::from_secs(20), idle);
    run.expect_settled("with one started again");
    assert!(all_have(run, IDLE), "{}", run.describe());
    run.up(&sized(4, true), "up");
    run.expect_settled("with one more");
    assert!(all_have(run, IDLE), "a new one begins so: {}", run.describe());
    run.up(&sized(3, true), "up");
    run.expect_settled("with one less");
}

/// One host keeps its limits: that is said, the others are given more, and nobody is harmed.
fn an_engine_refuses(run: &mut Run) {
    let before = starts(run);
    let stubborn = run.world.host_with("web");
    run.world.hosts[stubborn].engine.fix_limits(true);
    // They take all they may, so that they are given half as much again.
    under(run, WINDOW, (0.225, 30.0));
    let more = (350, IDLE.1);
    let refused = |run: &Run| {
        let host = run.world.hosts[stubborn].core.as_ref().expect("its agent runs");
        let view = host.view();
        let statuses = view.statuses().map(|(_, status)| status);
        statuses.filter_map(|status| status.not_resized.clone()).collect::<Vec<_>>()
    };
    let here = run.world.hosts[stubborn].engine.truth(run.world.now);
    let here: Vec<String> = here.into_iter().map(|container| container.name).collect();
    for container in containers(run) {
        let amounts = if here.contains(&container.name) { IDLE } else { more };
        assert_eq!(container.limits, limits(amounts), "{}", run.describe());
    }
    let reasons = refused(run);
    assert!(!reasons.is_empty(), "{}", run.describe());
    assert!(reasons.iter().all(|why| why.contains("the cgroup does not take it")), "{reasons:?}");
    run.world.met.refused_sizes += 1;
    run.world.hosts[stubborn].engine.fix_limits(false);
    under(run, 2 * WINDOW, (0.28, 30.0));
    assert!(all_have(run, more), "{:?} {}", sizing(run), run.describe());
    assert_eq!(refused(run), [""; 0]);
    assert_eq!(starts(run), before, "nothing is started again");
}
