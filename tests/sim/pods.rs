//! Services whose containers join the network of another one's.

use muster::model::ReplicaId;

use crate::apps::shop_with_companion;
use crate::run::Run;
use crate::scenario::{harm, mend};

/// Containers, agents and hosts fail while a pod runs and is changed: what joins a network ends up
/// beside the container whose it is, started after it.
pub(crate) fn pods(run: &mut Run) {
    run.up(&shop_with_companion(3, "1"), "up");
    run.expect_settled("with companions");
    together(run);
    for round in 0..4 {
        if run.rng.below(2) == 0 {
            run.up(&shop_with_companion(3, &format!("{round}")), "up");
        }
        for _ in 0..3 {
            harm(run);
            let wait = run.millis(100, 4_000);
            run.world.run_for(wait);
        }
        let victim = run.any();
        if run.n() > 1 && run.rng.below(2) == 0 {
            run.world.power_off(victim);
        } else {
            run.world.kill_agent(victim);
        }
        let wait = run.millis(100, 12_000);
        run.world.run_for(wait);
        mend(run);
        run.expect_settled("after a pod failed");
        together(run);
    }
}

fn together(run: &Run) {
    let now = run.world.now;
    let mut found = 0;
    for host in &run.world.hosts {
        let containers = host.engine.truth(now);
        for own in containers.iter().filter(|c| c.replica.service.as_str() == "beside") {
            let leader = ReplicaId { service: "web".into(), ..own.replica.clone() };
            let is_it = |c: &&muster::model::Container| {
                c.replica == leader && c.generation == own.generation
            };
            let joined = containers.iter().find(is_it);
            let joined = joined.unwrap_or_else(|| panic!("alone: {}", run.describe()));
            assert!(own.started >= joined.started, "left behind: {}", run.describe());
            found += 1;
        }
    }
    assert_eq!(found, 3, "one beside each: {}", run.describe());
}
