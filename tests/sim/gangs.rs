//! Gangs: all members run, or none, whatever happens to hosts and members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster::model::{
    ContainerSpec, ContainerState, Gang, GangStage, Generation, Life, RestartPolicy, Revision,
    ServiceName,
};

use crate::apps::{deployment, shop, shop_name};
use crate::run::{LONG, Run};
use crate::world::World;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);

fn train() -> ServiceName {
    ServiceName::from("train")
}

fn with_gang(image: &str, size: u32, restarts: Option<u32>) -> Revision {
    let container = ContainerSpec { image: image.to_owned(), ..ContainerSpec::default() };
    let mut gang = deployment(container, size);
    (gang.life, gang.gang) = (Life::OneShot, Some(Gang { timeout_ms: None, port: Gang::PORT }));
    gang.restart = RestartPolicy::OnFailure { max_attempts: restarts };
    let mut revision = shop(1, "gang");
    revision.deployments.insert(train(), gang);
    revision
}

fn stage(world: &World) -> Option<GangStage> {
    let core = world.running().next()?.core.as_ref()?;
    core.state().plan(&shop_name())?.gangs.get(&train()).map(|gang| gang.stage)
}

/// Every Plan has all members or none, of one try; and where nothing is cut no two tries run at once.
fn look(world: &mut World, size: usize) {
    for core in world.running().filter_map(|host| host.core.as_ref()) {
        let Some(plan) = core.state().plan(&shop_name()) else { continue };
        let is_open = plan.gangs.get(&train()).is_some_and(|gang| gang.stage == GangStage::Running);
        let mine: Vec<_> =
            plan.assignments.iter().filter(|a| a.replica.service == train()).collect();
        assert!(!is_open || mine.len() == size, "{} of {size}: {plan:?}", mine.len());
    }
    if world.met.partitions > 0 {
        return;
    }
    let now = world.now;
    let mut running: BTreeMap<u32, BTreeSet<Generation>> = BTreeMap::new();
    for host in world.hosts.iter_mut().filter(|host| host.powered) {
        for container in host.engine.truth(now) {
            if container.replica.service == train() && container.state == ContainerState::Running {
                running.entry(container.replica.index).or_default().insert(container.generation);
            }
        }
    }
    let twice = running.values().find(|generations| generations.len() > 1);
    assert_eq!(twice, None, "two tries of a member run at {now:?}");
}

fn wait(run: &mut Run, size: usize, wanted: GangStage, when: &str) {
    let found = run.world.wait_for_by(LOOK, LONG * 2, |world| stage(world) == Some(wanted));
    assert!(found.is_some(), "not {wanted:?} {when}: {}", run.describe());
    look(&mut run.world, size);
}

fn watch(run: &mut Run, size: usize, time: Duration) {
    let until = run.world.now + time;
    while run.world.now < until {
        run.world.run_for(LOOK);
        look(&mut run.world, size);
    }
}

/// Hosts of members die, and come back: all begin again elsewhere, and end.
pub(crate) fn hosts_die(run: &mut Run) {
    let size = 2 + run.rng.below(3) as usize;
    run.up(&with_gang("app:1", size as u32, None), "up");
    wait(run, size, GangStage::Running, "after up");
    for _ in 0..3 {
        let time = run.millis(0, 4_000);
        watch(run, size, time);
        let victim = run.any();
        run.world.power_off(victim);
        watch(run, size, Duration::from_secs(15));
        run.world.power_on(victim);
        watch(run, size, Duration::from_secs(10));
        wait(run, size, GangStage::Running, "after a host died");
    }
    run.expect_settled("with a gang that runs");
    // Another training, which ends.
    run.up(&with_gang("job:1", size as u32, None), "up");
    wait(run, size, GangStage::Done, "after all have ended");
    run.expect_settled("with a gang that is done");
    run.world.met.gangs += 1;
}

/// Members fail: all begin again, as often as they may.
pub(crate) fn members_fail(run: &mut Run) {
    let size = 2 + run.rng.below(3) as usize;
    let restarts = run.rng.below(3) as u32;
    run.up(&with_gang("crash:1", size as u32, Some(restarts)), "up");
    wait(run, size, GangStage::Failed, "after members failed");
    let core = run.world.running().next().and_then(|host| host.core.as_ref());
    let plan = core.and_then(|core| core.state().plan(&shop_name())).expect("it has a Plan");
    let gang = &plan.gangs[&train()];
    assert_eq!(gang.failures, restarts + 1);
    let mine = plan.assignments.iter().filter(|a| a.replica.service == train());
    let generations: BTreeSet<Generation> = mine.map(|a| a.generation).collect();
    assert_eq!(generations, BTreeSet::from([Generation(u64::from(restarts) + 1)]), "{plan:?}");
    watch(run, size, Duration::from_secs(20));
    assert_eq!(stage(&run.world), Some(GangStage::Failed), "it stays so");
    // Asked for again it is tried again.
    run.up(&with_gang("crash:1", size as u32, Some(restarts)), "up");
    wait(run, size, GangStage::Running, "when it is asked for again");
    run.world.met.gangs += 1;
}
