//! Faults of disks, of power and of people, drawn from the seed. What a scenario of `scenario` does
//! to hosts and wires, these do to what a host keeps and to what it is told.

use std::time::Duration;

use muster::model::{ContainerState, Intent, SealedRevision};

use crate::apps::{removed, shop, shop_name};
use crate::run::Run;
use crate::world::Told;

/// Power goes in the middle of a write to the disk, again and again, while Apps change.
pub(crate) fn power_cuts(run: &mut Run) {
    for round in 0..6 {
        let victim = run.any();
        let calls = 1 + run.rng.below(12);
        run.world.hosts[victim].disk.files.power_for(calls);
        // Some of these go to the victim, and are not acknowledged.
        for change in 0..3 {
            let at = run.any();
            let revision = shop(2 + run.rng.below(4) as u32, &format!("{round}.{change}"));
            run.world.submit(at, revision, "up");
            let wait = run.millis(0, 400);
            run.world.run_for(wait);
        }
        let wait = run.millis(0, 9_000);
        run.world.run_for(wait);
        if run.world.hosts[victim].powered {
            run.world.power_off(victim);
        }
        let wait = run.millis(0, 3_000);
        run.world.run_for(wait);
        run.world.power_on(victim);
    }
    run.up(&shop(3, "last"), "up");
    run.expect_settled("after power cuts");
}

/// Bytes of a file with which some change is left of it.
const SOMETHING_LEFT: usize = 1024;

/// What one disk keeps is cut short, or bits of it flip, while its host is off.
pub(crate) fn damaged_disks(run: &mut Run) {
    for round in 0..2 {
        let victim = run.any();
        run.up(&shop(3, &format!("{round}")), "up");
        let wait = run.millis(0, 2_000);
        run.world.run_for(wait);
        run.world.power_off(victim);
        let (cut, draw) = (run.rng.below(2) == 0, run.rng.next_u64());
        run.world.hosts[victim].disk.files.damage(|newest| {
            // Of a file that is cut before its first change nothing is left, and an agent refuses to
            // start from it: tests of the journal show that.
            let least = if cut { newest.len().min(SOMETHING_LEFT) } else { 0 };
            let at = least + (draw % (newest.len() - least).max(1) as u64) as usize;
            if cut {
                newest.truncate(at);
            } else {
                newest[at] ^= 1 << (draw % 8);
            }
        });
        run.world.met.damages += 1;
        let wait = run.millis(0, 9_000);
        run.world.run_for(wait);
        run.world.power_on(victim);
        run.expect_settled("after a disk was damaged");
    }
}

/// All disks are full, or read-only: changes are refused, what runs goes on and is restarted, and
/// when there is room again all is as before.
pub(crate) fn refusing_disks(run: &mut Run) {
    let full = run.rng.below(2) == 0;
    for host in &run.world.hosts {
        if full {
            host.disk.files.set_room(Some(0));
        } else {
            host.disk.files.set_read_only(true);
        }
    }
    let before = winner(run);
    for at in 0..run.n() {
        let taken = run.world.submit(at, shop(5, "refused"), "up");
        assert!(!taken, "a change was taken that no disk can keep");
        run.world.run_for(Duration::from_secs(2));
        assert_eq!(winner(run), before, "a change that was refused is there all the same");
    }
    let victim = run.any();
    kill_all(run, victim);
    run.expect_settled("with disks that refuse everything");
    for host in &run.world.hosts {
        host.disk.files.set_room(None);
        host.disk.files.set_read_only(false);
    }
    run.up(&shop(4, "room"), "up");
    run.expect_settled("after the disks had room again");
}

/// Disks fail to sync, now and then; then the power goes.
pub(crate) fn failing_syncs(run: &mut Run) {
    for round in 0..8 {
        let victim = run.any();
        run.world.hosts[victim].disk.files.fail_next_sync();
        let at = run.any();
        run.world.submit(at, shop(2 + round % 4, &format!("{round}")), "up");
        let wait = run.millis(0, 3_000);
        run.world.run_for(wait);
        if run.rng.below(2) == 0 {
            run.world.power_off(victim);
            let wait = run.millis(0, 3_000);
            run.world.run_for(wait);
            run.world.power_on(victim);
        }
    }
    run.up(&shop(3, "last"), "up");
    run.expect_settled("after disks failed to sync");
}

/// A link goes down for 2 s every 10 s.
pub(crate) fn flapping_link(run: &mut Run) {
    let victim = run.any();
    let rest: Vec<usize> = (0..run.n()).filter(|host| *host != victim).collect();
    let before = run.web();
    for _ in 0..6 {
        run.world.wires.partition(&[victim], &rest);
        run.world.run_for(Duration::from_secs(2));
        run.world.wires.cut.clear();
        run.world.met.flaps += 1;
        run.world.run_for(Duration::from_secs(8));
        assert_eq!(run.web(), before, "a link that was down for 2 s moved replicas");
    }
    run.expect_settled("after a link flapped");
}

/// All hosts lose power; they come back in any order, all but one.
pub(crate) fn cold_start(run: &mut Run) {
    let data = run.world.host_with("db");
    let others: Vec<usize> = (0..run.n()).filter(|host| *host != data).collect();
    let missing = others[run.rng.below(others.len() as u64) as usize];
    for host in 0..run.n() {
        run.world.power_off(host);
    }
    run.world.run_for(Duration::from_secs(60));
    let mut order: Vec<usize> = (0..run.n()).filter(|host| *host != missing).collect();
    run.rng.shuffle(&mut order);
    for host in order {
        let wait = run.millis(0, 8_000);
        run.world.run_for(wait);
        // Clocks without a battery begin anywhere.
        run.world.hosts[host].wall_error = run.rng.below(4_000_000_000) as i64 - 1_800_000_000;
        run.world.power_on(host);
    }
    let began = run.world.now;
    let healthy = run.world.wait_for(Duration::from_secs(30), |world| {
        let running = world.running_of("web").count() + world.running_of("db").count();
        running == 4 && crate::checks::settled(world, &shop_name())
    });
    let took = healthy.unwrap_or_else(|| panic!("not healthy within 30 s: {}", run.describe()));
    assert_eq!(took, run.world.now.since(began));
    run.world.met.cold_start = run.world.met.cold_start.max(took);
    run.world.power_on(missing);
    run.expect_settled("after the last host came back");
}

/// Two people change the App at the same moment, having seen the same: one is told.
pub(crate) fn two_ups_at_once(run: &mut Run) {
    for round in 0..3 {
        let (one, other) = (run.any(), run.any());
        let seen = winner(run);
        let first = shop(4, &format!("first {round}"));
        let second = shop(5, &format!("second {round}"));
        let told = [
            run.world.submit_after(one, first, &seen),
            run.world.submit_after(other, second, &seen),
        ];
        assert_eq!(told, [Told::Taken, Told::Conflict], "in round {round}");
        run.expect_settled("after two changes at once");
        let core = run.world.running().next().and_then(|host| host.core.as_ref()).expect("it runs");
        assert!(core.state().conflicts(&shop_name()).is_empty());
        assert_eq!(run.web().len(), 4, "what was refused runs");
    }
}

/// The agent of the Home is killed at each step of an update, and the next one goes on: never are
/// fewer copies up than asked for, nor more made than one that starts and one that ends above that.
pub(crate) fn home_dies_at_each_step(run: &mut Run) {
    const WANTED: usize = 3;
    let first = run.rng.below(6) as usize;
    for step in first..first + 2 {
        run.up(&shop(WANTED as u32, &format!("step {step}")), "up");
        let mut seen = plan_number(run);
        let mut killed = None;
        for _ in 0..1200 {
            run.world.run_for(Duration::from_millis(50));
            let up = run.world.running_of("web").count();
            assert!(up >= WANTED, "{up} copies run at step {step}: {}", run.describe());
            // What runs beside a killed agent goes on, whatever is decided of it.
            let home = killed.map(|(home, _)| home);
            let made = run.world.made_of("web", home);
            assert!(made <= WANTED + 2, "{made} copies at step {step}: {}", run.describe());
            let number = plan_number(run);
            if killed.is_none() && number > seen + step as u64 {
                let home = run.world.home_of(&shop_name());
                run.world.kill_agent(home);
                killed = Some((home, run.world.now));
            }
            seen = if killed.is_some() { number } else { seen };
            if killed.is_some_and(|(_, at)| run.world.now.since(at) > Duration::from_secs(20)) {
                break;
            }
        }
        if let Some((home, _)) = killed {
            run.world.met.homes_killed += 1;
            run.world.start_agent(home);
        }
        run.expect_settled("after the Home died in an update");
    }
}

/// An App is taken down while a host that runs it is away; half a year later the host is back.
///
/// Nothing in the state is ever dropped by age, so the half year is a jump of all clocks of people,
/// and ten minutes of the clock that decides.
pub(crate) fn deleted_while_away(run: &mut Run) {
    const HALF_A_YEAR: i64 = 182 * 24 * 3600;
    let away = run.any();
    let by_agent = run.rng.below(2) == 0;
    if by_agent {
        // Its containers run on all the while.
        run.world.kill_agent(away);
    } else {
        run.world.power_off(away);
    }
    run.world.run_for(Duration::from_secs(15));
    if run.n() > 1 {
        let intent = if run.rng.below(2) == 0 { Intent::Remove } else { Intent::RemoveWithVolumes };
        run.up(&removed(intent), "down");
    }
    run.world.run_for(Duration::from_secs(600));
    for host in &mut run.world.hosts {
        host.wall_error += HALF_A_YEAR;
    }
    if by_agent {
        run.world.start_agent(away);
    } else {
        run.world.power_on(away);
    }
    run.expect_settled("after a host came back that had missed a `down`");
    for host in run.world.running() {
        let left = host.engine.containers().expect("up").len();
        assert_eq!(left, 0, "{} runs what was taken down", host.name);
    }
    run.world.met.returns += 1;
}

/// Wall clocks jump by an hour, by ten years, to 1970, on hosts that run and on hosts that start.
pub(crate) fn clocks_jump(run: &mut Run) {
    const HOUR: i64 = 3600;
    const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
    const TO_1970: i64 = -1_800_000_000;
    let before = run.web();
    for jump in [HOUR, -HOUR, TEN_YEARS, TO_1970] {
        let victim = run.any();
        run.world.hosts[victim].wall_error = jump;
        run.world.run_for(Duration::from_secs(12));
        assert_eq!(run.web(), before, "a clock that jumped by {jump} s moved replicas");
        assert!(run.world.called_dead().is_empty(), "a clock killed a host");
        run.world.kill_agent(victim);
        run.world.run_for(Duration::from_secs(1));
        run.world.start_agent(victim);
        run.expect_settled("after a start with a wrong clock");
        assert_eq!(run.web(), before, "a start with a clock off by {jump} s moved replicas");
        run.world.met.clock_jumps += 1;
    }
    run.up(&shop(4, "after"), "up");
    run.expect_settled("with clocks that are wrong");
}

/// An engine hangs or is gone for a while: its host stays alive, others go on.
pub(crate) fn engine_away(run: &mut Run) {
    let victim = run.any();
    let now = run.world.now;
    run.world.hosts[victim].engine.tick(now);
    run.world.hosts[victim].engine.set_up(false);
    run.world.look(victim);
    run.world.met.engines_down += 1;
    run.expect_all_alive(20, "as one has no Docker");
    if run.n() > 1 {
        run.up(&shop(5, "2"), "up");
        run.world.run_for(Duration::from_secs(20));
    }
    run.world.hosts[victim].engine.set_up(true);
    run.world.look(victim);
    run.expect_settled("after an engine came back");
}

/// A tenth of all messages comes twice.
pub(crate) fn duplicates(run: &mut Run) {
    run.world.wires.duplicate = 100;
    for replicas in [5, 2] {
        run.up(&shop(replicas, &format!("{replicas}")), "up");
        run.expect_settled("with messages that come twice");
    }
}

/// A quarter of all messages is overtaken by later ones, by up to half a second.
pub(crate) fn reorder(run: &mut Run) {
    run.world.wires.late = 250;
    for replicas in [5, 2] {
        run.up(&shop(replicas, &format!("{replicas}")), "up");
        run.expect_settled("with messages that are overtaken");
    }
    assert!(run.world.called_dead().is_empty());
}

fn winner(run: &Run) -> SealedRevision {
    let all = run.world.running().filter_map(|host| {
        let core = host.core.as_ref()?;
        core.state().winner(&shop_name()).map(|revision| (**revision).clone())
    });
    all.max_by_key(|revision| (revision.sequence, revision.id().clone())).expect("the App is there")
}

fn plan_number(run: &Run) -> u64 {
    let numbers = run.world.running().filter_map(|host| {
        let core = host.core.as_ref()?;
        core.state().plan(&shop_name()).map(|plan| plan.number)
    });
    numbers.max().expect("it is planned")
}

fn kill_all(run: &mut Run, victim: usize) {
    let now = run.world.now;
    let containers = run.world.hosts[victim].engine.truth(now);
    let running = containers.into_iter().filter(|c| c.state == ContainerState::Running);
    for container in running {
        run.world.hosts[victim].engine.kill(&container.id);
        run.world.met.killed += 1;
    }
    run.world.look(victim);
}
