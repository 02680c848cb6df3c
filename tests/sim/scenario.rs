//! What is done to a cluster in a run, drawn from the seed.

use std::time::Duration;

use muster::logic::core::Event;
use muster::model::{Availability, Intent, UpdatePolicy, Waiting};

use crate::apps::{removed, shop, shop_of, updated_by};
use crate::checks::serving;
use crate::run::Run;

/// Scales, updates in two ways, removes, comes again; nothing fails.
pub(crate) fn calm(run: &mut Run) {
    for replicas in [5, 1, 4] {
        run.up(&shop(replicas, "1"), "scale");
        run.expect_settled("after scaling");
    }
    run.up(&shop_of("slow:1", 4, "2"), "up");
    run.expect_serving(4, Duration::from_secs(45), "during a start-first update");
    run.expect_settled("after the update");
    let policy = UpdatePolicy {
        parallelism: 2,
        delay_ms: 2_000,
        start_first: Some(false),
        ..UpdatePolicy::default()
    };
    let began = run.world.now;
    run.up(&updated_by(shop(4, "3"), policy), "up");
    run.expect_serving(2, Duration::from_secs(6), "during a stop-first update, two at a time");
    run.expect_settled("after the second update");
    // The second batch waits until the first has been up for two seconds.
    assert!(run.world.now.since(began) >= Duration::from_secs(4));
    run.up(&removed(Intent::Remove), "down");
    run.expect_settled("after down");
    for host in run.world.running() {
        let left =
            host.engine.containers().expect("up").len() + host.engine.networks().expect("up").len();
        assert_eq!(left, 0, "{} keeps something after down", host.name);
    }
    run.up(&shop(2, "1"), "up");
    run.expect_settled("after the App came again");
}

/// Hosts lose power one after another and come back.
pub(crate) fn deaths(run: &mut Run) {
    for _ in 0..2 {
        let victim = run.any();
        run.lose_power(victim);
        let wait = run.millis(0, 20_000);
        run.world.run_for(wait);
        run.world.power_on(victim);
        run.expect_settled("after the host came back");
    }
    let jobs = run.world.hosts.iter().flat_map(|host| host.made.keys());
    let jobs = jobs.filter(|replica| replica.service.as_str() == "migrate").count();
    assert_eq!(jobs, 1, "a one-shot that had completed ran on another host as well");
}

/// One host loses power and comes back.
pub(crate) fn one_death(run: &mut Run) {
    let victim = run.any();
    run.lose_power(victim);
    run.world.power_on(victim);
    run.expect_settled("after the host came back");
}

/// The cluster falls into two parts that are both changed, and heals.
pub(crate) fn partitions(run: &mut Run) {
    for _ in 0..2 {
        let (a, b) = run.two_parts();
        run.world.wires.partition(&a, &b);
        run.world.met.partitions += 1;
        let wait = run.millis(2_000, 20_000);
        run.world.run_for(wait);
        // Both sides may be changed meanwhile.
        let (left, right) = (a[0], b[0]);
        let one = run.world.submit(left, shop(4, "left"), "up");
        let other = run.rng.below(2) == 0 && run.world.submit(right, shop(5, "right"), "up");
        let wait = run.millis(0, 15_000);
        run.world.run_for(wait);
        run.world.wires.cut.clear();
        run.expect_agreement("after the partition healed");
        let core = run.world.hosts[left].core.as_ref().expect("it runs");
        let conflict = !core.state().conflicts(&Run::app()).is_empty();
        assert!(!conflict || (one && other), "a conflict that nobody made");
        run.world.met.conflicts += u64::from(conflict);
        run.expect_settled("after the partition healed");
        run.up(&shop(3, "1"), "up");
        run.expect_settled("after the conflict was resolved");
    }
}

/// A tenth of all packets is lost, some come twice, all in any order.
pub(crate) fn loss(run: &mut Run) {
    run.world.wires.loss = 100;
    run.world.wires.duplicate = 100;
    run.world.wires.jitter = Duration::from_millis(40);
    run.expect_all_alive(60, "at 10 % loss");
    run.up(&shop(6, "2"), "up");
    run.expect_settled("at 10 % loss");
    assert!(run.world.called_dead().is_empty());
}

/// Everything takes long to arrive, some of it longer: a round trip is up to a second.
pub(crate) fn latency(run: &mut Run) {
    for (delay_ms, jitter_ms) in [(25, 10), (100, 40), (400, 100)] {
        run.world.wires.delay = Duration::from_millis(delay_ms);
        run.world.wires.jitter = Duration::from_millis(jitter_ms);
        let before = run.web();
        run.expect_all_alive(60, &format!("at a delay of {delay_ms} ms"));
        assert_eq!(before, run.web(), "a delay of {delay_ms} ms moved replicas");
        run.world.met.slow += 1;
    }
    run.up(&shop(6, "2"), "up");
    run.expect_settled("with a second between question and answer");
    assert!(run.world.called_dead().is_empty());
}

/// One direction between two hosts is cut; a third one sees both.
pub(crate) fn one_way(run: &mut Run) {
    let (a, n) = (run.any(), run.n());
    let b = (a + 1 + run.rng.below(n as u64 - 1) as usize) % n;
    run.world.wires.cut.insert((a, b));
    if run.rng.below(2) == 0 {
        run.world.wires.cut.insert((b, a));
    }
    run.world.met.one_way += 1;
    run.expect_all_alive(30, "with a one-way cut");
    run.up(&shop(4, "2"), "up");
    run.world.run_for(Duration::from_secs(25));
    run.world.wires.cut.clear();
    run.expect_settled("after the cut");
}

/// Agents are stopped and go on: a short pause moves nothing.
pub(crate) fn pauses(run: &mut Run) {
    for seconds in [3, 8] {
        let victim = run.any();
        let before = run.web();
        run.world.hosts[victim].paused_until = run.world.now + Duration::from_secs(seconds);
        run.world.met.pauses += 1;
        run.world.run_for(Duration::from_secs(seconds + 6));
        assert_eq!(before, run.web(), "a pause of {seconds} s moved replicas");
        run.expect_settled("after a pause");
    }
    let victim = run.any();
    run.world.hosts[victim].paused_until = run.world.now + Duration::from_secs(30);
    run.world.met.pauses += 1;
    run.world.run_for(Duration::from_secs(31));
    run.expect_settled("after a long pause");
}

/// Agents crash, also at any step of an update, and lose what they had not synced.
pub(crate) fn crashes(run: &mut Run) {
    for _ in 0..3 {
        let victim = run.any();
        let before = ids(run, victim);
        run.world.kill_agent(victim);
        let wait = run.millis(200, 2_200);
        run.world.run_for(wait);
        assert_eq!(before, ids(run, victim), "a crash of the agent touched containers");
        run.world.start_agent(victim);
        run.expect_settled("after the agent came back");
        assert_eq!(before, ids(run, victim), "the agent did not take its containers over");
    }
    run.up(&shop(3, "2"), "up");
    for _ in 0..6 {
        run.crash_an_agent(1_500);
    }
    run.expect_settled("after an update with crashes");
}

fn ids(run: &Run, host: usize) -> Vec<String> {
    let containers = run.world.hosts[host].engine.truth(run.world.now);
    containers.into_iter().map(|container| container.id).collect()
}

/// Containers are killed and fall ill; engines stop answering for a while.
pub(crate) fn containers_fail(run: &mut Run) {
    for _ in 0..10 {
        harm(run);
        let wait = run.millis(100, 6_000);
        run.world.run_for(wait);
    }
    mend(run);
    run.expect_settled("after containers failed");
}

pub(crate) fn harm(run: &mut Run) {
    let victim = run.any();
    let ids = ids(run, victim);
    let now = run.world.now;
    let engine = &mut run.world.hosts[victim].engine;
    engine.tick(now);
    if ids.is_empty() || run.rng.below(5) == 0 {
        engine.set_up(false);
        run.world.met.engines_down += 1;
    } else {
        let id = &ids[run.rng.below(ids.len() as u64) as usize];
        if run.rng.below(2) == 0 {
            engine.kill(id);
            run.world.met.killed += 1;
        } else {
            engine.sicken(id);
            run.world.met.sickened += 1;
        }
    }
    if run.rng.below(2) == 0 {
        run.world.hosts[victim].engine.set_up(true);
    }
    // An event of the engine may be lost; then it is found at the next look.
    if run.rng.below(4) > 0 {
        run.world.look(victim);
    }
}

/// A Revision that cannot run takes nothing away, and the next one replaces it.
pub(crate) fn bad_revisions(run: &mut Run) {
    for image in ["crash:1", "sick:1", "none:1", "latecrash:1"] {
        let first = updated_by(shop_of(image, 3, "2"), UpdatePolicy::default());
        run.up(&first, "up");
        run.world.met.bad_revisions += 1;
        // What ends only after it has served for a while is found out at the first copy.
        let least = if image == "latecrash:1" { 2 } else { 3 };
        run.expect_serving(least, Duration::from_secs(60), "beside a bad revision");
        let core = run.world.running().next().and_then(|host| host.core.as_ref());
        let now = serving(&run.world, 0, &Run::app());
        assert!(core.is_some() && now >= least);
        run.up(&shop(3, "1"), "up");
        run.expect_settled("after a bad revision was replaced");
    }
}

/// A host is drained: its replicas move one by one, its data stays.
pub(crate) fn drain(run: &mut Run) {
    let victim = run.any();
    let id = run.world.hosts[victim].id.clone();
    run.world.met.moved += run.web().iter().filter(|a| a.host == id).count() as u64;
    run.world.hosts[victim].availability = Availability::Drain;
    run.world.look(victim);
    run.expect_serving(3, Duration::from_secs(30), "during a drain");
    run.expect_settled("after the drain");
    assert!(run.web().iter().all(|a| a.host != id), "replicas stayed: {}", run.describe());
    run.world.hosts[victim].availability = Availability::Active;
    run.world.look(victim);
    run.expect_settled("after the host is active again");
}

/// More than half of the hosts vanish at once: the rest takes over bit by bit, up to its capacity.
pub(crate) fn mass_failure(run: &mut Run) {
    const MEMORY: u64 = 1 << 30;
    const REPLICAS: u32 = 24;
    for host in 0..run.n() {
        run.world.hosts[host].memory = MEMORY;
        run.world.look(host);
    }
    run.up(&shop(REPLICAS, "1"), "scale");
    run.expect_settled("with many replicas");
    let order = run.shuffled();
    let n_dead = run.n() / 2 + 1;
    let (dead, alive) = order.split_at(n_dead);
    let (dead, alive) = (dead.to_vec(), alive.to_vec());
    for host in &dead {
        run.world.power_off(*host);
    }
    let before: usize = alive.iter().map(|host| ids(run, *host).len()).sum();
    let mut last = before;
    for _ in 0..60 {
        run.world.run_for(Duration::from_millis(500));
        let now: usize = alive.iter().map(|host| ids(run, *host).len()).sum();
        // Two at once on each, and a start takes about as long as this step.
        assert!(now <= last + 5 * alive.len(), "a storm: from {last} to {now} containers");
        last = now;
    }
    let core = run.world.hosts[alive[0]].core.as_ref().expect("it runs");
    let plan = core.state().plan(&Run::app()).expect("it has one");
    let reasons = plan.waiting.values();
    let short = reasons.filter(|w| matches!(w, Waiting::NoHostFits { .. })).count() as u64;
    for host in &alive {
        // 1 GiB holds eight that reserve nothing, beside what was there before.
        let web = ids(run, *host).len();
        assert!(web <= 11, "{web} containers on a small host: {}", run.describe());
    }
    run.world.met.braked += short;
    for host in dead {
        run.world.power_on(host);
    }
    run.expect_settled("after the hosts came back");
}

/// A dead host is removed and comes back; a living one is removed by force.
pub(crate) fn removal(run: &mut Run) {
    let victim = run.any();
    let volumes = volumes_of(run, victim);
    run.lose_power(victim);
    let kept = remove(run, victim);
    run.expect_settled("after a dead host was removed");
    expect_untouched(run, victim, &kept);
    run.world.power_on(victim);
    expect_empty(run, victim);
    assert_eq!(volumes_of(run, victim), volumes, "volumes of a removed host stay on its disk");
    run.expect_settled_beside(victim, "after the removed host came back");
    run.world.kill_agent(victim);
    run.world.start_agent(victim);
    expect_empty(run, victim);
    run.world.kill_agent(victim);
    // Two hosts would write one volume for a moment if this one held it.
    let living = (0..run.n())
        .find(|host| run.world.hosts[*host].core.is_some() && volumes_of(run, *host).is_empty());
    if let Some(living) = living {
        run.world.met.moved += 1;
        let kept = remove(run, living);
        expect_empty(run, living);
        run.expect_settled_beside(living, "after a living host was removed");
        expect_untouched(run, living, &kept);
    }
}

fn volumes_of(run: &Run, host: usize) -> Vec<String> {
    let volumes = run.world.hosts[host].engine.volumes().expect("its engine answers");
    volumes.into_iter().map(|volume| volume.name).collect()
}

/// Removes a host at some other one; all hosts know of it within 5 s. Returns the containers there
/// were on each host.
fn remove(run: &mut Run, victim: usize) -> Vec<Vec<String>> {
    let kept = (0..run.n()).map(|host| ids(run, host)).collect();
    let id = run.world.hosts[victim].id.clone();
    let by = (0..run.n()).find(|host| *host != victim && run.world.hosts[*host].core.is_some());
    run.world.event(by.expect("another host runs"), Event::Removed(id.clone()));
    run.world.met.removals += 1;
    let took = run.world.wait_for(Duration::from_secs(5), |world| {
        let mut others = world.running().filter(|host| host.id != id);
        others.all(|host| {
            let core = host.core.as_ref().expect("it runs");
            let known = core.view().hosts.contains_key(&id);
            host.refused.contains(&id) && !known && core.state().is_removed(&id)
        })
    });
    assert!(took.is_some(), "not all know of a removal: {}", run.describe());
    kept
}

fn expect_untouched(run: &Run, removed: usize, kept: &[Vec<String>]) {
    for host in (0..run.n()).filter(|host| *host != removed) {
        let now = ids(run, host);
        let gone: Vec<_> = kept[host].iter().filter(|id| !now.contains(id)).collect();
        let words = "the removal of another host touched";
        assert!(gone.is_empty(), "{words} {gone:?}: {}", run.describe());
    }
}

fn expect_empty(run: &mut Run, host: usize) {
    let gone = run.world.wait_for(Duration::from_secs(30), |world| {
        let host = &world.hosts[host];
        host.engine.truth(world.now).is_empty()
            && host.engine.networks().is_ok_and(|n| n.is_empty())
    });
    assert!(gone.is_some(), "a removed host keeps containers: {}", run.describe());
}

/// Everything at once.
pub(crate) fn chaos(run: &mut Run) {
    let n = run.n();
    run.world.wires.loss = 50;
    run.world.wires.duplicate = 20;
    for round in 0..14 {
        let victim = run.any();
        match run.rng.below(9) {
            0 if run.world.hosts[victim].powered => run.world.power_off(victim),
            1 => run.world.kill_agent(victim),
            2 => {
                let rest: Vec<usize> = (0..n).filter(|host| *host != victim).collect();
                run.world.wires.partition(&[victim], &rest);
                run.world.met.partitions += 1;
            }
            3 => {
                let (tag, replicas) = (format!("{round}"), 2 + run.rng.below(5) as u32);
                run.world.submit(victim, shop(replicas, &tag), "up");
            }
            4 => {
                run.world.wires.cut.insert((victim, (victim + 1) % n));
                run.world.met.one_way += 1;
            }
            5 => {
                let pause = run.millis(500, 15_000);
                run.world.hosts[victim].paused_until = run.world.now + pause;
                run.world.met.pauses += 1;
            }
            6 => {
                run.world.hosts[victim].wall_error += run.rng.below(20_000_000) as i64 - 10_000_000;
                harm(run);
            }
            _ => mend(run),
        }
        let wait = run.millis(200, 8_000);
        run.world.run_for(wait);
    }
    mend(run);
    run.world.wires.loss = 0;
    run.world.run_for(Duration::from_secs(15));
    run.up(&shop(3, "last"), "up");
    run.expect_settled("after everything was mended");
}

pub(crate) fn mend(run: &mut Run) {
    run.world.wires.cut.clear();
    for index in 0..run.n() {
        let host = &mut run.world.hosts[index];
        host.engine.set_up(true);
        if !host.powered {
            run.world.power_on(index);
        } else if host.core.is_none() {
            run.world.start_agent(index);
        } else {
            run.world.look(index);
        }
    }
}
