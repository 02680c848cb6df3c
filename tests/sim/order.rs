//! The order in which services go, and what is replaced with what it depends on.

use std::time::Duration;

use muster::model::{ContainerState, Intent, Revision, ServiceName};

use crate::apps::{removed, shop};
use crate::run::Run;
use crate::world::World;

fn n_of(world: &World, service: &str) -> usize {
    world.made_of(service, None)
}

fn db_runs(world: &World) -> bool {
    let mut all = world.hosts.iter().flat_map(|host| host.engine.truth(world.now));
    all.any(|one| one.replica.service.as_str() == "db" && one.state == ContainerState::Running)
}

/// `db` goes after all that depend on it, whichever agent dies meanwhile.
pub(crate) fn down(run: &mut Run) {
    for dies in [false, true] {
        run.up(&shop(4, "1"), "up");
        run.expect_settled("before it goes");
        run.up(&removed(Intent::Remove), "down");
        let (victim, at) = (run.any(), run.rng.below(60));
        for step in 0..3_000 {
            run.world.run_for(Duration::from_millis(10));
            if dies && step == at {
                run.world.kill_agent(victim);
            }
            if dies && step == at + 100 {
                run.world.start_agent(victim);
            }
            let left = n_of(&run.world, "web") + n_of(&run.world, "migrate");
            assert!(left == 0 || db_runs(&run.world), "{left} outlive `db`: {}", run.describe());
            if step > at + 100 && left + n_of(&run.world, "db") == 0 {
                break;
            }
        }
        run.expect_settled("after it went");
        assert_eq!(n_of(&run.world, "db"), 0, "{}", run.describe());
    }
    run.up(&shop(2, "1"), "up");
    run.expect_settled("after it came again");
}

/// The shop whose `web` is replaced when `db` was.
fn following(replicas: u32, db: &str) -> Revision {
    let mut revision = shop(replicas, "1");
    let of = |name: &str| ServiceName::from(name);
    let web = revision.deployments.get_mut(&of("web")).expect("it has one");
    web.depends_on.get_mut(&of("db")).expect("it does").restart = true;
    let environment = &mut revision.deployments.get_mut(&of("db")).expect("it has one").container;
    environment.environment.insert("DB".to_owned(), db.to_owned());
    revision
}

/// `web` is replaced once after `db` was, without a gap, whichever agent dies meanwhile.
pub(crate) fn follow(run: &mut Run) {
    let generations =
        |run: &Run| -> Vec<u64> { run.web().iter().map(|a| a.generation.0).collect() };
    run.up(&following(4, "1"), "up");
    run.expect_settled("before the update");
    let before = generations(run);
    run.world.floor = Some(4);
    run.up(&following(4, "2"), "up");
    run.expect_settled("after the update");
    run.world.floor = None;
    let after = generations(run);
    let once = before.iter().zip(&after).all(|(before, after)| after == &(before + 1));
    assert!(once, "from {before:?} to {after:?}: {}", run.describe());
    run.up(&following(4, "3"), "up");
    for _ in 0..3 {
        run.crash_an_agent(4_000);
    }
    run.expect_settled("after an update with crashes");
    let last = generations(run);
    assert!(after.iter().zip(&last).all(|(then, now)| now > then), "{after:?} {last:?}");
    // A crash of what is followed replaces nobody.
    let host = run.world.host_with("db");
    let all = run.world.hosts[host].engine.truth(run.world.now);
    let db = all.into_iter().find(|one| one.replica.service.as_str() == "db").expect("it runs");
    run.world.hosts[host].engine.kill(&db.id);
    run.world.met.killed += 1;
    run.world.look(host);
    run.expect_settled("after `db` was killed");
    assert_eq!(generations(run), last);
}
