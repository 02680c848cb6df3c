//! Gangs in small clusters.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::logic::testing::{Cluster, deployment, host, revision, short};
use crate::model::{Generation, Life, Plan, Resources, Revision};

const GIB: u64 = 1 << 30;

fn train(size: u32, memory: u64, restarts: Option<u32>) -> Revision {
    let mut train = deployment("train:1", size);
    (train.life, train.gang) = (Life::OneShot, Some(Gang { timeout_ms: None, port: 29_500 }));
    train.restart = RestartPolicy::OnFailure { max_attempts: restarts };
    train.container.resources = Resources { memory_reserved: memory, ..Resources::default() };
    revision(1, &[("train", train)])
}

fn gang(plan: &Plan) -> GangState {
    plan.gangs[&"train".into()].clone()
}

fn phases(cluster: &mut Cluster, of: impl Fn(u32) -> (Phase, Option<i64>)) {
    cluster.report(|status| {
        let (phase, code) = of(status.replica.index);
        (status.phase, status.exit_code) = (phase, code);
        status.ready = phase == Phase::Running;
        status.container = Some("c".to_owned());
        status.reason =
            code.filter(|code| *code != 0).map(|code| format!("exited with code {code}"));
    });
}

#[test]
fn all_are_placed_at_once_or_none_and_what_is_missing_is_said() {
    let mut cluster = Cluster::new(3);
    // Two fit on each host of 8 GiB.
    cluster.submit(train(7, 4 * GIB, None));
    let plan = cluster.plan().unwrap();
    assert!(plan.assignments.is_empty(), "{:?}", short(&plan));
    assert_eq!(plan.waiting.len(), 7);
    let rejected = BTreeMap::from([(Filter::Resources, 3)]);
    let waits = Waiting::Gang { fit: 6, of: 7, rejected };
    assert!(plan.waiting.values().all(|waiting| *waiting == waits), "{:?}", plan.waiting);
    assert!(waits.to_string().contains("6 of 7"), "{waits}");
    cluster.submit(Revision { sequence: 2, ..train(6, 4 * GIB, None) });
    let plan = cluster.plan().unwrap();
    assert_eq!((plan.assignments.len(), plan.waiting.len()), (6, 0));
    assert_eq!(gang(&plan).stage, GangStage::Running);
    assert_eq!(cluster.plan(), None);
}

#[test]
fn when_one_fails_all_begin_again_but_not_beside_what_is_left_of_them() {
    let mut cluster = Cluster::new(3);
    cluster.submit(train(3, GIB, Some(1)));
    cluster.plan().unwrap();
    let is_ill = |index| if index == 2 { (Phase::Failed, Some(3)) } else { (Phase::Running, None) };
    phases(&mut cluster, is_ill);
    let stopped = cluster.plan().unwrap();
    assert!(stopped.assignments.is_empty(), "{:?}", short(&stopped));
    assert_eq!(stopped.waiting["shop/train/1"], Waiting::GangLeaves);
    assert_eq!(gang(&stopped).failures, 1);
    cluster.report(|_| {});
    let again = cluster.plan().unwrap();
    let generations: BTreeSet<Generation> =
        again.assignments.iter().map(|a| a.generation).collect();
    assert_eq!((again.assignments.len(), generations), (3, BTreeSet::from([Generation(2)])));
    // Once more is too often: what ended is kept, the others go.
    phases(&mut cluster, is_ill);
    let failed = cluster.plan().unwrap();
    assert_eq!(gang(&failed).stage, GangStage::Failed);
    assert_eq!(failed.assignments.len(), 1);
    assert!(failed.assignments[0].failed);
    let waits = failed.waiting["shop/train/1"].to_string();
    assert!(waits.contains("rank 1 failed: exited with code 3"), "{waits}");
    assert_eq!(cluster.plan(), None);
}

#[test]
fn a_host_that_dies_takes_all_along_and_costs_no_try() {
    let mut cluster = Cluster::new(4);
    cluster.submit(train(3, GIB, Some(0)));
    let first = cluster.plan().unwrap();
    phases(&mut cluster, |_| (Phase::Running, None));
    let index = (2..=4).find(|n| first.assignments.iter().any(|a| a.host == host(*n))).unwrap();
    cluster.kill(index);
    let stopped = cluster.plan().unwrap();
    assert!(stopped.assignments.is_empty(), "{:?}", short(&stopped));
    cluster.report(|_| {});
    let again = cluster.plan().unwrap();
    assert_eq!((again.assignments.len(), gang(&again).failures), (3, 0));
    assert!(again.assignments.iter().all(|a| a.host != host(index)));
}

#[test]
fn when_all_have_ended_well_it_is_done_for_good() {
    let mut cluster = Cluster::new(3);
    cluster.submit(train(2, GIB, None));
    let first = cluster.plan().unwrap();
    phases(&mut cluster, |index| {
        if index == 1 { (Phase::Completed, Some(0)) } else { (Phase::Running, None) }
    });
    assert_eq!(cluster.plan(), None, "the others go on");
    phases(&mut cluster, |_| (Phase::Completed, Some(0)));
    let done = cluster.plan().unwrap();
    assert_eq!(gang(&done).stage, GangStage::Done);
    assert!(done.assignments.iter().all(|a| a.done));
    let index = (1..=3).find(|n| *n > 1 && first.assignments.iter().any(|a| a.host == host(*n)));
    cluster.kill(index.unwrap());
    assert_eq!(cluster.plan(), None);
    // Another number of members is another training.
    cluster.submit(Revision { sequence: 2, ..train(3, GIB, None) });
    let anew = cluster.plan().unwrap();
    assert!(anew.assignments.is_empty() && gang(&anew).size == 3, "{:?}", short(&anew));
}

#[test]
fn each_member_knows_its_rank_and_where_the_first_is() {
    let revision = train(4, GIB, None);
    let deployment = &revision.deployments[&"train".into()];
    let replica = ReplicaId { app: "shop".into(), service: "train".into(), index: 3 };
    let told = environment(deployment, &replica, "1.train.shop.internal");
    for (name, value) in [
        ("RANK", "2"),
        ("WORLD_SIZE", "4"),
        ("MASTER_ADDR", "1.train.shop.internal"),
        ("MASTER_PORT", "29500"),
    ] {
        assert_eq!((told[name].as_str(), told[&format!("MUSTER_{name}")].as_str()), (value, value));
    }
}

proptest! {
    /// Whatever the hosts have and whatever becomes of them, a Plan has all members or none.
    #[test]
    fn a_plan_has_all_members_or_none(
        sizes in prop::collection::vec(1_u64..16, 2..6),
        size in 1_u32..12,
        memory in 1_u64..8,
        deaths in prop::collection::vec(1_usize..6, 0..4),
        fails in prop::collection::vec(1_u32..12, 0..4),
    ) {
        let mut cluster = Cluster::new(sizes.len());
        for (index, gib) in sizes.iter().enumerate() {
            cluster.change(index + 1, |facts| facts.capacity.memory = gib * GIB);
        }
        cluster.submit(train(size, memory * GIB, None));
        let mut steps = deaths.iter().map(|death| (Some(*death), None))
            .chain(fails.iter().map(|fail| (None, Some(*fail))));
        loop {
            for _ in 0..6 {
                cluster.plan();
                let plan = cluster.current();
                let n = plan.assignments.len();
                prop_assert!(n == 0 || n == size as usize, "{n} of {size}: {:?}", short(&plan));
                let hosts: BTreeMap<_, u64> = plan.assignments.iter().fold(BTreeMap::new(), |mut all, a| {
                    *all.entry(a.host.clone()).or_default() += memory;
                    all
                });
                for (index, gib) in sizes.iter().enumerate() {
                    prop_assert!(hosts.get(&host(index + 1)).is_none_or(|used| used <= gib));
                }
                phases(&mut cluster, |_| (Phase::Running, None));
            }
            match steps.next() {
                None => break,
                Some((Some(death), _)) if death > 1 && death <= sizes.len() => cluster.kill(death),
                Some((_, Some(fail))) => phases(&mut cluster, |index| {
                    if index == fail { (Phase::Failed, Some(1)) } else { (Phase::Running, None) }
                }),
                Some(_) => {}
            }
        }
    }
}
