//! Steps before a start, commands after it and before a stop, while agents are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::model::{ContainerSpec, Hook, Hooks, Revision, ServiceName, Step};

use crate::apps::shop;
use crate::run::Run;

fn hook(word: &str) -> Vec<Hook> {
    vec![Hook { command: vec![word.to_owned()], ..Hook::default() }]
}

/// The shop with a step for all replicas of `web` together, one for each, and commands in them.
fn with_hooks(replicas: u32, tag: &str) -> Revision {
    let mut revision = shop(replicas, tag);
    let step = |per_replica| Step {
        container: ContainerSpec { image: "job:1".to_owned(), ..ContainerSpec::default() },
        networks: vec!["default".into()],
        per_replica,
    };
    let hooks = Hooks {
        pre_start: vec![step(false), step(true)],
        post_start: hook("hello"),
        pre_stop: hook("bye"),
    };
    let web = revision.deployments.get_mut(&ServiceName::from("web"));
    web.expect("the shop has one").container.hooks = hooks;
    revision
}

/// How often a command was run in each container, on all hosts.
fn told(run: &Run, word: &str) -> BTreeMap<(usize, String), usize> {
    let mut told = BTreeMap::new();
    for (index, host) in run.world.hosts.iter().enumerate() {
        for (_, id, command) in host.engine.executed() {
            if command == &[word] {
                *told.entry((index, id.clone())).or_default() += 1;
            }
        }
    }
    told
}

/// Every hook runs as often as it should in a cluster that nothing disturbs.
pub(crate) fn calm(run: &mut Run) {
    let n_steps = |run: &Run| -> u64 { run.world.hosts.iter().map(|h| h.engine.n_steps()).sum() };
    run.up(&with_hooks(3, "1"), "up");
    run.expect_settled("with hooks");
    assert_eq!(n_steps(run), 1 + 3, "one for all, and one for each");
    assert_eq!(told(run, "hello").len(), 3);
    run.up(&with_hooks(5, "1"), "scale");
    run.expect_settled("after scaling");
    assert_eq!(n_steps(run), 1 + 5, "what is for all is not run again for more replicas");
    run.up(&with_hooks(5, "2"), "up");
    run.expect_settled("after an update");
    assert_eq!(n_steps(run), 1 + 5 + 1 + 5, "a changed spec runs all of them again");
    assert_eq!(told(run, "bye").len(), 5, "each old copy was told");
    let hello = told(run, "hello");
    assert_eq!(hello.len(), 10);
    assert!(hello.values().all(|n| *n == 1), "{hello:?}");
    // What ends by itself is not told, and each start has its greeting.
    let victim = run.world.host_with("web");
    let containers = run.world.hosts[victim].engine.truth(run.world.now);
    let mut web = containers.into_iter().filter(|one| one.replica.service.as_str() == "web");
    let id = web.next().expect("it has one").id;
    run.world.hosts[victim].engine.kill(&id);
    run.world.met.killed += 1;
    run.world.look(victim);
    run.expect_settled("after one was killed");
    assert_eq!(told(run, "bye").len(), 5);
    assert_eq!(told(run, "hello")[&(victim, id)], 2);
    for (host, left) in
        run.world.hosts.iter().map(|host| (&host.name, host.engine.truth(run.world.now)))
    {
        assert!(left.iter().all(|one| one.step.is_none()), "{host} keeps steps");
    }
}

/// Agents are killed in the middle of steps and hooks, and the next ones go on.
pub(crate) fn agents_die(run: &mut Run) {
    for round in 0..3 {
        run.up(&with_hooks(4, &format!("{round}")), "up");
        for _ in 0..4 {
            run.crash_an_agent(2_000);
        }
        run.expect_settled("after agents died");
        let hello = told(run, "hello");
        for (index, host) in run.world.hosts.iter().enumerate() {
            for one in host.engine.truth(run.world.now) {
                assert!(one.step.is_none(), "a step was left behind: {one:?}");
                let is_web = one.replica.service.as_str() == "web";
                let told = hello.contains_key(&(index, one.id.clone()));
                assert!(!is_web || told, "nobody greeted {one:?}");
            }
        }
    }
    // An agent that comes back to what runs greets nobody again.
    let before = told(run, "hello");
    for host in 0..run.n() {
        run.world.kill_agent(host);
        run.world.run_for(Duration::from_millis(300));
        run.world.start_agent(host);
    }
    run.expect_settled("after all agents came back");
    assert_eq!(told(run, "hello"), before);
}
