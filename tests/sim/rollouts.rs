//! Updates that fail, wait or are undone, whatever happens to the hosts meanwhile.

use std::time::Duration;

use muster::agent::views;
use muster::model::{
    Canary, FailureAction, Intent, Revision, Rollout, RolloutOrder, Stage, UpdatePolicy,
    WallSeconds,
};

use crate::apps::{asked, check, removed, shop, shop_name, shop_of, updated_by};
use crate::run::Run;
use crate::world::World;

/// Replicas of `web`.
const WANTED: u32 = 4;
/// Longest time for an update to be undone.
const UNDONE: Duration = Duration::from_secs(120);

fn policy(parallelism: u32, start_first: bool) -> UpdatePolicy {
    UpdatePolicy { parallelism, start_first: Some(start_first), ..UpdatePolicy::default() }
}

/// The hash of the spec that all replicas of `web` run; none when they run several.
fn spec(run: &Run) -> Option<String> {
    let web = run.web();
    let first = web.first()?.spec_hash.clone();
    web.iter().all(|a| a.spec_hash == first).then_some(first)
}

fn rollout_on(world: &World, host: usize) -> Option<Rollout> {
    let core = world.hosts[host].core.as_ref()?;
    core.state().plan(&shop_name())?.rollouts.get(&"web".into()).cloned()
}

/// Whether all hosts that run say that the update of `web` is so far.
fn all_say(world: &World, stage: Option<Stage>) -> bool {
    let hosts = (0..world.hosts.len()).filter(|host| world.hosts[*host].core.is_some());
    hosts.map(|host| rollout_on(world, host).map(|r| r.stage)).all(|found| found == stage)
}

fn expect_stage(run: &mut Run, stage: Option<Stage>, when: &str) {
    let found = run.world.wait_for(UNDONE, |world| all_say(world, stage)).is_some();
    assert!(found, "not {stage:?} {when}: {}", run.describe());
}

/// All is as it was before the update, and everybody says so.
fn expect_undone(run: &mut Run, before: &str, bad: &str, when: &str) {
    expect_stage(run, Some(Stage::RolledBack), when);
    run.expect_settled(when);
    assert_eq!(spec(run).as_deref(), Some(before), "{when}: {}", run.describe());
    assert_eq!(run.web().len(), WANTED as usize, "{when}");
    assert!(all_say(&run.world, Some(Stage::RolledBack)), "it did not stay undone {when}");
    let left = run.world.hosts.iter().flat_map(|host| host.engine.truth(run.world.now));
    assert_eq!(left.filter(|container| container.image == bad).count(), 0, "{when}");
    let said = rollout_on(&run.world, 0).and_then(|rollout| rollout.reason);
    assert!(said.is_some_and(|said| said.starts_with("replica `web/")), "no reason {when}");
}

/// A good App with enough replicas; returns the hash of its spec.
fn begin(run: &mut Run, tag: &str) -> String {
    run.up(&shop(WANTED, tag), "up");
    run.expect_settled("before the update");
    expect_stage(run, None, "before the update");
    spec(run).expect("all run the same")
}

fn bad(image: &str, policy: UpdatePolicy) -> Revision {
    updated_by(shop_of(image, WANTED, "bad"), policy)
}

/// Bad versions are undone by themselves, and every host serves as many as it should all along.
pub(crate) fn bad_versions(run: &mut Run) {
    for image in ["crash:1", "hungry:1", "sick:1", "none:1"] {
        let parallelism = 1 + run.rng.below(2) as u32;
        let start_first = run.rng.below(3) > 0;
        let before = begin(run, "good");
        let lost = if start_first { 0 } else { parallelism };
        run.world.floor = Some((WANTED - lost) as usize);
        run.up(&bad(image, policy(parallelism, start_first)), "up");
        run.world.met.bad_revisions += 1;
        expect_undone(run, &before, image, &format!("after {image} was rolled back"));
        run.world.floor = None;
        // The same once more is another try, and ends the same; a change of the number is none.
        let again = run.rng.below(2) == 0;
        if again {
            run.up(&bad(image, policy(parallelism, start_first)), "up");
            expect_stage(run, Some(Stage::Rolling), "when it is tried again");
            expect_undone(run, &before, image, "after another try");
        } else {
            let more = updated_by(shop_of(image, WANTED + 1, "bad"), policy(1, true));
            run.up(&more, "scale");
            run.expect_settled("after scaling what was rolled back");
            assert_eq!(spec(run), Some(before), "scaling is no other try");
            assert_eq!(run.web().len(), WANTED as usize + 1);
        }
        run.world.met.undone += 1;
    }
}

/// What is new, has no health check and ends a while after it came up is at no moment taken for good,
/// and is found to fail in the end.
pub(crate) fn bad_first(run: &mut Run) {
    for (image, monitor_ms) in [("crash:1", None), ("hungry:1", None), ("latecrash:1", Some(8_000))]
    {
        run.up(&removed(Intent::Remove), "down");
        run.expect_settled("after down");
        run.up(&bad(image, UpdatePolicy { monitor_ms, ..UpdatePolicy::default() }), "up");
        run.world.met.bad_revisions += 1;
        let found = run.world.wait_for(UNDONE, |world| {
            let views = world.running().filter_map(|host| {
                views::app(host.core.as_ref()?, &shop_name(), WallSeconds(0)).ok()
            });
            let views: Vec<_> = views.filter(|view| view.summary.intent == Intent::Run).collect();
            let settled = views.iter().find(|view| view.settled);
            assert!(settled.is_none(), "{image} was taken for good: {settled:?}");
            !views.is_empty() && views.iter().all(|view| view.failed)
        });
        assert!(found.is_some(), "{image} was not found to fail: {}", run.describe());
    }
}

/// Versions that never answer, or only badly, are undone, and as many serve as should all along.
pub(crate) fn never_ready(run: &mut Run) {
    for image in ["mute:1", "rude:1"] {
        run.up(&asked(shop(WANTED, "good"), Some(check()), None), "up");
        run.expect_settled("before the update");
        let before = spec(run).expect("all run the same");
        run.world.floor = Some(WANTED as usize);
        run.up(&asked(bad(image, policy(1, true)), Some(check()), None), "up");
        run.world.met.bad_revisions += 1;
        expect_undone(run, &before, image, &format!("after {image} was rolled back"));
        let said =
            rollout_on(&run.world, 0).and_then(|rollout| rollout.reason).expect("it says why");
        assert!(said.contains("is not healthy: not ready: no answer"), "{said}");
        run.world.floor = None;
        run.world.met.undone += 1;
    }
}

/// The agent of the Home is killed at any step of an update that fails, and of its undoing.
pub(crate) fn home_dies_while_undoing(run: &mut Run) {
    let first = run.rng.below(6);
    for step in [first, first + 3] {
        let image = ["sick:1", "crash:1", "none:1"][run.rng.below(3) as usize];
        let before = begin(run, "good");
        run.up(&bad(image, policy(1, true)), "up");
        let mut number = plan_number(run);
        let mut steps = 0;
        let mut killed = None;
        for _ in 0..1500 {
            run.world.run_for(Duration::from_millis(20));
            let good = run.world.running_of("web").filter(|one| one.image == "app:1").count();
            assert!(good >= WANTED as usize, "{good} good ones at step {step}: {}", run.describe());
            let now = plan_number(run);
            steps += u64::from(now > number);
            number = now;
            if killed.is_none() && steps > step {
                let home = run.world.home_of(&shop_name());
                run.world.kill_agent(home);
                killed = Some((home, run.world.now));
            }
            if killed.is_some_and(|(_, at)| run.world.now.since(at) > Duration::from_secs(20)) {
                break;
            }
        }
        if let Some((home, _)) = killed {
            run.world.met.homes_killed += 1;
            run.world.start_agent(home);
        }
        expect_undone(run, &before, image, "after the Home died");
        run.world.met.undone += 1;
    }
}

fn plan_number(run: &Run) -> u64 {
    let cores = run.world.running().filter_map(|host| host.core.as_ref());
    cores.filter_map(|core| Some(core.state().plan(&shop_name())?.number)).max().unwrap_or_default()
}

/// The cluster falls apart while a bad version is rolled out; both sides find the same.
pub(crate) fn bad_version_in_a_partition(run: &mut Run) {
    let image = ["sick:1", "crash:1", "none:1"][run.rng.below(3) as usize];
    let before = begin(run, "good");
    run.up(&bad(image, policy(1, true)), "up");
    let wait = run.millis(0, 6_000);
    run.world.run_for(wait);
    let (a, b) = run.two_parts();
    run.world.wires.partition(&a, &b);
    run.world.met.partitions += 1;
    let wait = run.millis(500, 25_000);
    run.world.run_for(wait);
    run.world.wires.cut.clear();
    run.expect_agreement("after the partition healed");
    expect_undone(run, &before, image, "after a partition");
    run.world.met.undone += 1;
}

/// A few replicas try a new version, and the others follow when somebody says so, or go back.
pub(crate) fn canary(run: &mut Run) {
    let canary = Canary::Percent(25);
    let policy = UpdatePolicy { canary: Some(canary), ..policy(2, true) };
    for promotes in [true, false] {
        let before = begin(run, "good");
        run.world.floor = Some(WANTED as usize);
        let next = updated_by(shop(WANTED, "next"), policy);
        run.up(&next, "up");
        expect_stage(run, Some(Stage::Canary), "with a canary");
        run.expect_settled("with a canary");
        let new = || run.web().iter().filter(|a| a.spec_hash != before).count();
        assert_eq!(new(), 1, "one of four is the canary: {}", run.describe());
        run.world.floor = None;
        // What happens meanwhile makes it no more than that.
        let home = run.world.home_of(&shop_name());
        run.lose_power(home);
        run.world.power_on(home);
        run.expect_settled("after the Home came back");
        assert!(all_say(&run.world, Some(Stage::Canary)), "{}", run.describe());
        let new = run.web().iter().filter(|a| a.spec_hash != before).count();
        assert!(new <= 1, "{new} canaries: {}", run.describe());
        run.world.floor = Some(WANTED as usize);
        let order = if promotes { RolloutOrder::Promote } else { RolloutOrder::Abort };
        let at = run.any();
        let told = run.world.decide(at, next, order);
        assert!(told, "nobody took the decision");
        let ends = (!promotes).then_some(Stage::RolledBack);
        expect_stage(run, ends, "after the decision");
        run.expect_settled("after the decision");
        run.world.floor = None;
        let after = spec(run).expect("all run the same");
        assert_eq!(after == before, !promotes, "{}", run.describe());
    }
}

/// An update that is to be paused when it fails stands still, and somebody decides.
pub(crate) fn paused(run: &mut Run) {
    let before = begin(run, "good");
    let policy = UpdatePolicy { failure_action: FailureAction::Pause, ..policy(2, true) };
    run.world.floor = Some(WANTED as usize);
    let next = bad("sick:1", policy);
    run.up(&next, "up");
    run.world.met.bad_revisions += 1;
    expect_stage(run, Some(Stage::Paused), "after too many failed");
    run.world.run_for(Duration::from_secs(30));
    assert!(all_say(&run.world, Some(Stage::Paused)), "it did not stand still");
    if run.rng.below(2) == 0 {
        let at = run.any();
        assert!(run.world.decide(at, next, RolloutOrder::Abort), "nobody took the decision");
        expect_stage(run, Some(Stage::RolledBack), "after it was aborted");
        run.expect_settled("after it was aborted");
        assert_eq!(spec(run), Some(before));
    } else {
        run.up(&shop(WANTED, "better"), "up");
        run.expect_settled("after a better version");
        assert!(all_say(&run.world, None), "{}", run.describe());
    }
    run.world.floor = None;
}

/// Programs that end at once when they are asked to, and such that do not end at all: nobody sends to
/// them any more when they are asked. That is checked whenever a container is stopped.
pub(crate) fn stops(run: &mut Run) {
    for image in ["sudden:1", "stubborn:1"] {
        run.up(&shop_of(image, WANTED, "1"), "up");
        run.expect_settled("with the first version");
        run.world.floor = Some(WANTED as usize);
        run.up(&updated_by(shop_of(image, WANTED, "2"), policy(2, true)), "up");
        run.expect_settled("with the second version");
        run.world.floor = None;
    }
}
