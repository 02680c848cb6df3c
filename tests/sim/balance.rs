//! A host that is back gets its share again: one replica at a time, while all others serve, and then
//! nothing moves any more.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::model::{Assignment, HostId};

use crate::run::Run;

/// Longest wait for one move: everything has to be ready for a minute before it.
const EACH: Duration = Duration::from_secs(90);

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

/// How many more the fullest host has than the emptiest one.
fn difference(web: &[&Assignment], n_hosts: usize) -> usize {
    let mut on: BTreeMap<&HostId, usize> = BTreeMap::new();
    for assignment in web {
        *on.entry(&assignment.host).or_default() += 1;
    }
    let least = if on.len() < n_hosts { 0 } else { on.values().copied().min().unwrap_or(0) };
    on.values().copied().max().unwrap_or(0) - least
}
