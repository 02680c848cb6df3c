//! Replicas that are asked how they are, and answer well, badly, late or never.

use std::time::Duration;

use muster::model::{Check, Phase, ReplicaStatus};

use crate::apps::{asked, check, shop, shop_name, shop_of};
use crate::checks::serving;
use crate::run::Run;

/// A running container of `web` and the host it is on.
fn some_web(run: &Run) -> (usize, String) {
    let host = run.world.host_with("web");
    let all = run.world.hosts[host].engine.truth(run.world.now);
    let web = all.into_iter().find(|one| one.replica.service.as_str() == "web");
    (host, web.expect("it has one").id)
}

/// What its host says of the replica whose container that is.
fn status(run: &Run, (host, id): &(usize, String)) -> ReplicaStatus {
    let all = run.world.hosts[*host].engine.truth(run.world.now);
    let one = all.into_iter().find(|one| one.id == *id).expect("it is there");
    let core = run.world.hosts[*host].core.as_ref().expect("it runs");
    let view = core.view();
    let mut statuses = view.statuses().map(|(_, status)| status);
    let found = statuses.find(|s| s.replica == one.replica && s.generation == one.generation);
    found.expect("its host tells of it").clone()
}

fn all_serve(run: &Run, count: u32) -> bool {
    (0..run.n()).all(|host| serving(&run.world, host, &shop_name()) == count)
}

/// One that is not ready is out of all addresses and goes on; one that is not alive starts again.
pub(crate) fn ready_and_live(run: &mut Run) {
    // It answers only after two seconds.
    let check = || Check { start_period_ms: 5_000, ..check() };
    run.up(&asked(shop_of("late:1", 3, "1"), Some(check()), None), "up");
    run.expect_settled("with a ready check");
    let is_late = run.world.running_of("web").all(|one| one.image == "late:1");
    assert!(is_late, "it was undone: {}", run.describe());
    let one = some_web(run);
    run.world.hosts[one.0].engine.deafen(&one.1);
    // Two questions that are given up after half a second each, and the way to the others.
    let out = run.world.wait_for_by(Duration::from_millis(10), Duration::from_secs(5), |world| {
        (0..world.hosts.len()).all(|host| serving(world, host, &shop_name()) == 2)
    });
    let limit = Duration::from_millis(2 * 1_100 + 2 * 500 + 250);
    assert!(out.is_some_and(|took| took <= limit), "it took {out:?}: {}", run.describe());
    run.world.run_for(Duration::from_secs(30));
    let told = status(run, &one);
    assert_eq!((told.phase, told.restarts, told.ready), (Phase::Running, 0, false), "{told:?}");
    assert_eq!(told.reason.as_deref(), Some("not ready: no answer"));
    run.world.hosts[one.0].engine.hear(&one.1);
    let back = run.world.wait_for(Duration::from_secs(3), |world| {
        (0..world.hosts.len()).all(|host| serving(world, host, &shop_name()) == 3)
    });
    assert!(back.is_some(), "one good answer brings it back: {}", run.describe());

    // An agent that comes back believes what was so until it finds otherwise.
    for host in 0..run.n() {
        run.world.kill_agent(host);
        run.world.run_for(Duration::from_millis(200));
        run.world.start_agent(host);
        // It asks the others anew what they run; they go by what it says of its own.
        let viewers = |n: usize| (0..n).filter(move |viewer| *viewer != host || n == 1);
        for _ in 0..400 {
            run.world.run_for(Duration::from_millis(20));
            let below = viewers(run.n()).find(|v| serving(&run.world, *v, &shop_name()) < 3);
            assert_eq!(below, None, "after an agent was started again: {}", run.describe());
        }
    }

    // The check is no part of the container: another one replaces nothing.
    let before = run.web();
    run.up(&asked(shop_of("late:1", 3, "1"), None, Some(check())), "up");
    run.expect_settled("with a live check");
    let same = run.web().iter().zip(&before).all(|(now, then)| now.generation == then.generation);
    assert!(same, "a change of a check replaced a container: {}", run.describe());
    run.world.hosts[one.0].engine.deafen(&one.1);
    let again = run.world.wait_for(Duration::from_secs(10), |world| {
        let container = world.hosts[one.0].engine.truth(world.now);
        container.iter().any(|c| c.id == one.1) && world.hosts[one.0].engine.n_starts(&one.1) == 2
    });
    assert!(again.is_some(), "it was not started again: {}", run.describe());
    run.expect_settled("after it was started again");
    assert_eq!(status(run, &one).restarts, 1);
    assert!(all_serve(run, 3), "{}", run.describe());
    run.up(&shop(3, "1"), "up");
    run.expect_settled("without checks");
}
