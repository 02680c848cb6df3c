//! How soon a partition heals, and what a partition never does to data: many partitions of whole
//! cores, for figures.

use std::time::Duration;

use crate::apps::shop;
use crate::checks::agree;
use crate::run::{LONG, Run};
use crate::weight;

/// Longest wait for all to hold the same.
const LIMIT: Duration = Duration::from_secs(60);

/// What [`heal`] measured.
#[derive(Debug)]
pub(crate) struct Healed {
    /// From each partition's end until all held the same and took each other for alive.
    pub(crate) took: Vec<Duration>,
    /// Packets a second and host while nothing happened, at 10 % loss.
    pub(crate) packets: f64,
    /// Bytes a second and host, likewise.
    pub(crate) bytes: f64,
}

/// Cuts `n` hosts into halves until each half has the other for dead, changes both, and heals the
/// cut; `times` times.
pub(crate) fn heal(n: usize, times: usize, seed: u64) -> Healed {
    let mut run = Run::begin(seed, n);
    let (packets, bytes) = weight::traffic(&mut run);
    let mut took = Vec::new();
    for _ in 0..times {
        let order = run.shuffled();
        let (a, b) = order.split_at(n / 2);
        run.world.wires.partition(a, b);
        run.world.met.partitions += 1;
        let wait = run.millis(25_000, 35_000);
        run.world.run_for(wait);
        run.world.submit(a[0], shop(4, "left"), "up");
        run.world.submit(b[0], shop(5, "right"), "up");
        let wait = run.millis(5_000, 10_000);
        run.world.run_for(wait);
        run.world.wires.cut.clear();
        let healed = run.world.wait_for(LIMIT, agree);
        took.push(healed.unwrap_or_else(|| panic!("no agreement: {}", run.describe())));
        run.up(&shop(3, "1"), "up");
        run.expect_settled("after the partition healed");
    }
    Healed { took, packets, bytes }
}

/// Cuts and heals a cluster with a replica that has data, again and again, at any moment and while
/// it is changed. That no two hosts ever run that replica is checked after every event.
pub(crate) fn fifty_partitions(run: &mut Run) {
    partitions_in_a_row(run, 50);
}

/// The same, sooner over.
pub(crate) fn ten_partitions(run: &mut Run) {
    partitions_in_a_row(run, 10);
}

fn partitions_in_a_row(run: &mut Run, times: usize) {
    for round in 0..times {
        let (a, b) = run.two_parts();
        if run.rng.below(4) == 0 {
            for (x, y) in a.iter().flat_map(|x| b.iter().map(move |y| (*x, *y))) {
                run.world.wires.cut.insert((x, y));
            }
            run.world.met.one_way += 1;
        } else {
            run.world.wires.partition(&a, &b);
        }
        run.world.met.partitions += 1;
        // From a blip to long enough for replicas to move.
        let wait = if run.rng.below(3) == 0 { (6_000, 14_000) } else { (100, 6_000) };
        let wait = run.millis(wait.0, wait.1);
        run.world.run_for(wait);
        if run.rng.below(4) == 0 {
            let nth = run.any();
            let at = *a.iter().chain(&b).nth(nth).expect("each host is in one part");
            let replicas = 1 + run.rng.below(5) as u32;
            // Whether it is taken does not matter here.
            run.world.submit(at, shop(replicas, &format!("{round}")), "up");
        }
        let wait = run.millis(0, 2_000);
        run.world.run_for(wait);
        run.world.wires.cut.clear();
        let wait = run.millis(0, 4_000);
        run.world.run_for(wait);
    }
    let agreed = run.world.wait_for(LONG, agree).is_some();
    assert!(agreed, "no agreement after {times} partitions: {}", run.describe());
    run.up(&shop(3, "1"), "up");
    run.expect_settled("after many partitions");
}
