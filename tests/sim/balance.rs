//! A host that is back gets its share again: one replica at a time, while all others serve, and then
//! nothing moves any more.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::docker::fake::{Behaviour, FakeHealth, FakeImage};
use muster::model::{Assignment, Health, HostId, Plan, ServiceName};

use crate::run::Run;
use crate::world::World;

/// Longest wait for one move: everything has to be ready for a minute before it.
const EACH: Duration = Duration::from_secs(90);

/// Longest time until a copy that does not come up is given up: one that says nothing has ten minutes.
const GIVEN_UP: Duration = Duration::from_secs(660);

/// A host dies and comes back.
pub(crate) fn returns(run: &mut Run) {
    let wanted = 2 * run.n();
    run.up(&crate::apps::shop(wanted as u32, "1"), "scale");
    run.expect_settled("with two replicas for each host");
    let victim = run.any();
    run.lose_power(victim);
    run.world.power_on(victim);
    run.expect_settled("after the host came back");
    let begun = run.web();
    run.world.floor = Some(wanted);
    let limit = EACH * (wanted as u32);
    let n = run.n();
    let even = run.world.wait_for_by(Duration::from_secs(1), limit, |world| {
        let core = world.running().next().and_then(|host| host.core.as_ref());
        let plan = core.and_then(|core| core.state().plan(&Run::app()));
        plan.is_some_and(|plan| {
            let web = plan.assignments.iter().filter(|a| a.replica.service.as_str() == "web");
            let web: Vec<&Assignment> = web.collect();
            let outgoing = web.iter().filter(|a| a.outgoing).count();
            assert!(outgoing <= 1, "{outgoing} are on their way at once");
            outgoing == 0 && difference(&web, n) <= 1
        })
    });
    assert!(even.is_some(), "it was not evened out: {}", run.describe());
    run.expect_settled("after it was evened out");
    let after = run.web();
    run.world.met.moved += after.iter().filter(|a| !begun.contains(a)).count() as u64;
    run.world.run_for(EACH * 3);
    run.world.floor = None;
    assert_eq!(run.web(), after, "something moved when all was even");
}

/// A host comes back on which no copy comes up: what is tried there is given up, all that serves goes on,
/// and once the host is mended it gets its share after all.
pub(crate) fn bad_host(run: &mut Run) {
    let wanted = 2 * run.n();
    run.up(&crate::apps::shop(wanted as u32, "1"), "scale");
    run.expect_settled("with two replicas for each host");
    let victim = run.any();
    let id = run.world.hosts[victim].id.clone();
    run.lose_power(victim);
    let images = crate::apps::images();
    let image = |name: &str| {
        let found = images.iter().find(|(one, _)| *one == name);
        found.expect("it is one of them").1.clone()
    };
    // The last one is never well, and never ill either.
    let health = FakeHealth { after: Duration::from_secs(86_400), verdict: Health::Healthy };
    let never = Behaviour { health: Some(health), ..image("app:1").behaviour };
    let bad = [image("sick:1"), image("crash:1"), FakeImage::new(never)];
    let bad = bad[run.rng.below(3) as usize].clone();
    run.world.hosts[victim].engine.add_image("app:1", bad);
    run.world.power_on(victim);
    run.expect_settled("after the host came back");
    run.world.floor = Some(wanted);
    let on_victim = |plan: &Plan| {
        let web = plan.assignments.iter().filter(|a| a.replica.service.as_str() == "web");
        web.filter(|a| a.host == id).count()
    };
    let given_up = run.world.wait_for_by(Duration::from_secs(1), EACH + GIVEN_UP, |world| {
        plan(world).is_some_and(|plan| {
            let setback =
                plan.setbacks.get(&ServiceName::from("web")).and_then(|hosts| hosts.get(&id));
            setback.is_some_and(|setback| setback.times == 1) && on_victim(plan) == 0
        })
    });
    assert!(given_up.is_some(), "it was not given up: {}", run.describe());
    run.expect_settled("after a move was given up");
    run.world.met.setbacks += 1;
    run.world.hosts[victim].engine.add_image("app:1", image("app:1"));
    let n = run.n();
    let even = run.world.wait_for_by(Duration::from_secs(1), EACH * (2 + wanted as u32), |world| {
        plan(world).is_some_and(|plan| {
            let web = plan.assignments.iter().filter(|a| a.replica.service.as_str() == "web");
            let web: Vec<&Assignment> = web.collect();
            web.iter().all(|a| !a.outgoing) && difference(&web, n) <= 1
        })
    });
    assert!(even.is_some(), "the mended host was not used: {}", run.describe());
    run.world.floor = None;
    run.expect_settled("after it was evened out");
    let left = plan(&run.world).map(|plan| plan.setbacks.len());
    assert_eq!(left, Some(0), "what works there now is no setback: {}", run.describe());
}

fn plan(world: &World) -> Option<&Plan> {
    world.running().next()?.core.as_ref()?.state().plan(&Run::app())
}

/// How many more the fullest host has than the emptiest one.
fn difference(web: &[&Assignment], n_hosts: usize) -> usize {
    let mut on: BTreeMap<&HostId, usize> = BTreeMap::new();
    for assignment in web {
        *on.entry(&assignment.host).or_default() += 1;
    }
    let least = if on.len() < n_hosts { 0 } else { on.values().copied().min().unwrap_or(0) };
    on.values().copied().max().unwrap_or(0) - least
}
