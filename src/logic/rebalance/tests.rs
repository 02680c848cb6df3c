//! What moves to a host that has come, what does not, and that it ends.

use std::collections::BTreeMap;

use crate::logic::testing::{Cluster, bind, deployment, host, revision, short, volume};
use crate::model::{Deployment, Phase, Plan, Replicas, RestartPolicy, ServiceName};

/// Assignments by host, but for those on their way out.
fn counts(plan: &Plan, n: usize) -> Vec<usize> {
    let on = |index| plan.assignments.iter().filter(move |a| a.host == host(index) && !a.outgoing);
    (1..=n).map(|index| on(index).count()).collect()
}

/// Hosts of which the last one comes when all that is deployed runs on the others.
fn joined(n: usize, deployments: &[(&str, Deployment)]) -> Cluster {
    let mut cluster = Cluster::new(n);
    cluster.kill(n);
    cluster.submit(revision(1, deployments));
    cluster.settle();
    cluster.revive(n);
    cluster
}

/// Plans until nothing changes; at most one replica is on its way at any time. Returns the Plan and
/// how many moved.
#[track_caller]
fn settle(cluster: &mut Cluster) -> (Plan, usize) {
    let mut moves = 0;
    for _ in 0..200 {
        cluster.report(|_| {});
        let Some(plan) = cluster.plan() else { return (cluster.current(), moves) };
        let outgoing = plan.assignments.iter().filter(|a| a.outgoing).count();
        assert!(outgoing <= 1, "{:?}", short(&plan));
        moves += outgoing;
    }
    panic!("never ends: {:?}", short(&cluster.current()));
}

fn reserving(memory: u64, replicas: u32) -> Deployment {
    let mut deployment = deployment("a", replicas);
    deployment.container.resources.memory_reserved = memory;
    deployment
}

#[test]
fn a_host_that_joins_gets_its_share_one_replica_at_a_time() {
    let mut cluster = joined(3, &[("web", deployment("a", 6))]);
    let (plan, moves) = settle(&mut cluster);
    assert_eq!((counts(&plan, 3), moves), (vec![2, 2, 2], 2), "{:?}", short(&plan));
}

#[test]
fn row_07_a_host_that_returns_gets_its_share_back_and_nothing_moves_then() {
    let mut cluster = Cluster::new(3);
    cluster.submit(revision(1, &[("api", deployment("b", 3)), ("web", deployment("a", 5))]));
    let before = cluster.settle();
    cluster.kill(2);
    cluster.settle();
    cluster.revive(2);
    let (plan, moves) = settle(&mut cluster);
    let sorted = |plan: &Plan| {
        let mut counts = counts(plan, 3);
        counts.sort_unstable();
        counts
    };
    assert_eq!(sorted(&before), sorted(&plan), "{:?}", short(&plan));
    assert!(moves <= 3, "{moves} moves");
}

#[test]
fn one_replica_more_is_no_reason_to_move() {
    let mut cluster = joined(3, &[("one", deployment("a", 1)), ("two", deployment("b", 2))]);
    let (_, moves) = settle(&mut cluster);
    assert_eq!(moves, 0);
}

#[test]
fn what_has_data_or_ends_by_itself_stays() {
    let mut once = deployment("once", 4);
    once.restart = RestartPolicy::Never;
    let mut db = deployment("db", 4);
    db.container.mounts.push(volume("data"));
    let mut files = deployment("files", 4);
    files.container.mounts.push(bind("/srv"));
    let mut every = deployment("every", 1);
    every.replicas = Replicas::Global;
    let all = [("db", db), ("files", files), ("once", once), ("every", every)];
    let mut cluster = joined(2, &all);
    let (plan, moves) = settle(&mut cluster);
    assert_eq!((counts(&plan, 2), moves), (vec![13, 1], 0), "{:?}", short(&plan));
}

#[test]
fn nothing_moves_beside_what_is_not_well_or_on_its_way() {
    let mut cluster = joined(2, &[("web", deployment("a", 4))]);
    cluster.report(|status| status.ready = status.replica.index != 3);
    assert_eq!(cluster.plan(), None, "one is not ready");
    cluster.submit(revision(2, &[("web", deployment("b", 4))]));
    cluster.report(|_| {});
    let plan = cluster.plan().expect("it is updated");
    let moved = |plan: &Plan| plan.assignments.iter().filter(|a| a.outgoing).count();
    assert_eq!(moved(&plan), 1, "the update comes first: {:?}", short(&plan));
    let plan = settle(&mut cluster).0;
    assert_eq!(counts(&plan, 2), [2, 2]);
}

/// What copies on host `n` say that do not come up there; all others are well.
fn report_ill_on(cluster: &mut Cluster, n: usize) {
    let there = cluster.current().assignments;
    let there: Vec<_> = there.into_iter().filter(|a| a.host == host(n)).collect();
    cluster.report(|status| {
        let is_there = |a: &crate::model::Assignment| {
            a.replica == status.replica && a.generation == status.generation
        };
        if there.iter().any(is_there) {
            (status.ready, status.phase, status.failures) = (false, Phase::Failed, 5);
            status.reason = Some("no such image".to_owned());
        }
    });
}

#[test]
fn a_copy_that_does_not_come_up_is_given_up_and_others_move_on() {
    let both = [("api", deployment("b", 2)), ("web", deployment("a", 6))];
    let mut cluster = joined(3, &both);
    let before = cluster.current();
    cluster.report(|_| {});
    let first = cluster.plan().expect("one moves").clone();
    let moved = first.moves().map(|(new, _)| new.clone()).next().expect("it is on its way");
    assert_eq!((moved.host.clone(), moved.replica.service.as_str()), (host(3), "web"));
    report_ill_on(&mut cluster, 3);
    let given_up = cluster.plan().expect("it is given up");
    let of = |plan: &Plan| plan.of_replica(&moved.replica).to_vec();
    assert_eq!(of(&given_up), of(&before), "it stays as it was: {:?}", short(&given_up));
    let setback = &given_up.setbacks[&ServiceName::from("web")][&host(3)];
    assert_eq!((setback.times, setback.index), (1, moved.replica.index));
    assert_eq!(setback.reason, "cannot be started: no such image");
    assert_eq!(
        given_up.given_up[&ServiceName::from("web")][&moved.replica.index],
        moved.generation
    );
    // Nothing more of it moves there, and the replica goes on as it is.
    let (plan, moves) = settle(&mut cluster);
    assert_eq!((moves, counts(&plan, 3)[2]), (0, 0), "{:?}", short(&plan));
    // One that is placed there later, for want of another host, is of a later Generation.
    assert_eq!(of(&plan)[0].host, host(2));
    cluster.kill(2);
    cluster.change(1, |facts| facts.availability = crate::model::Availability::Drain);
    let plan = cluster.settle();
    let one = of(&plan).pop().expect("it runs");
    assert_eq!(one.host, host(3), "a last choice is one: {:?}", short(&plan));
    assert!(one.generation > moved.generation, "{:?}", short(&plan));
    assert!(plan.given_up.is_empty() && plan.setbacks.is_empty(), "{plan:?}");
}

#[test]
fn what_leaves_a_drained_host_goes_to_the_next_or_stays_with_the_reason() {
    let mut cluster = Cluster::new(3);
    cluster.submit(revision(1, &[("web", deployment("a", 1))]));
    let before = cluster.settle().assignments.remove(0);
    let from = (1..=3).find(|n| host(*n) == before.host).expect("one of them");
    let drain = |facts: &mut crate::model::HostFacts| {
        facts.availability = crate::model::Availability::Drain;
    };
    cluster.change(from, drain);
    let mut tried = Vec::new();
    for _ in 0..2 {
        let plan = cluster.plan().expect("it leaves");
        let to = plan.moves().next().expect("it is on its way").0.host.clone();
        let to = (1..=3).find(|n| host(*n) == to).expect("one of them");
        assert!(to != from && !tried.contains(&to), "{tried:?} {to}");
        tried.push(to);
        report_ill_on(&mut cluster, to);
    }
    let plan = cluster.plan().expect("it stays");
    assert_eq!(plan.assignments, [before], "{:?}", short(&plan));
    let words = plan.waiting["shop/web/1"].to_string();
    assert!(words.starts_with("stays for now: on `name"), "{words}");
    assert!(words.ends_with("it cannot be started: no such image"), "{words}");
    cluster.report(|_| {});
    assert_eq!(cluster.plan(), None, "it is not tried again at once");
}

#[test]
fn a_host_that_is_strained_or_drained_or_does_not_fit_gets_nothing() {
    type Change = fn(&mut crate::model::HostFacts);
    let changes: [Change; 4] = [
        |facts| facts.inventory.busy = 3,
        |facts| facts.availability = crate::model::Availability::Drain,
        |facts| facts.disk_full = true,
        |facts| facts.capacity.memory = 1 << 20,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut cluster = joined(2, &[("web", reserving(64 << 20, 4))]);
        cluster.change(2, change);
        assert_eq!(settle(&mut cluster).1, 0, "case {index}");
        cluster.change(2, |facts| *facts = crate::logic::testing::facts(2));
        assert_eq!(settle(&mut cluster).1, 2, "case {index}");
    }
}

#[test]
fn what_is_spread_over_zones_is_evened_out_over_zones() {
    let mut web = deployment("a", 8);
    web.placement.spread = vec!["node.labels.zone".to_owned()];
    let mut cluster = joined(3, &[("web", web)]);
    for (index, zone) in [(1, "a"), (2, "a"), (3, "b")] {
        cluster.change(index, |facts| {
            facts.labels.insert("zone".to_owned(), zone.to_owned());
        });
    }
    let (plan, moves) = settle(&mut cluster);
    assert_eq!((counts(&plan, 3), moves), (vec![2, 2, 4], 4), "{:?}", short(&plan));
}

#[test]
fn a_crowded_host_gives_small_replicas_to_an_empty_one_and_keeps_large_ones() {
    let small: Vec<(String, Deployment)> =
        (0..12).map(|n| (format!("s{n}"), reserving(600 << 20, 1))).collect();
    let small: Vec<(&str, Deployment)> =
        small.iter().map(|(name, one)| (name.as_str(), one.clone())).collect();
    let mut cluster = joined(2, &small);
    let (plan, moves) = settle(&mut cluster);
    let on = counts(&plan, 2);
    assert!(moves > 0 && on[1] == moves, "{on:?} after {moves} moves");
    assert!(on[0] > on[1], "not so far that it could turn round: {on:?}");
    let mut cluster = joined(2, &[("large", reserving(5 << 30, 1))]);
    assert_eq!(settle(&mut cluster).1, 0);
}

/// Clusters of all sorts: however they are, it comes to an end, and changes nothing when asked again.
#[test]
fn it_always_comes_to_an_end() {
    let mut rng = crate::logic::Rng::new(3);
    for round in 0..20 {
        let n = 2 + rng.below(4) as usize;
        let services: BTreeMap<String, Deployment> = (0..1 + rng.below(4))
            .map(|index| {
                let mut one = reserving(rng.below(900) << 20, 1 + rng.below(7) as u32);
                if rng.below(3) == 0 {
                    one.placement.spread = vec!["node.labels.zone".to_owned()];
                }
                one.placement.max_replicas_per_host = (rng.below(4) == 0).then_some(3);
                (format!("s{index}"), one)
            })
            .collect();
        let services: Vec<(&str, Deployment)> =
            services.iter().map(|(name, one)| (name.as_str(), one.clone())).collect();
        let mut cluster = Cluster::new(n);
        for index in 1..=n {
            let zone = format!("z{}", rng.below(2));
            let memory = 2 + rng.below(6);
            cluster.change(index, |facts| {
                facts.labels.insert("zone".to_owned(), zone);
                facts.capacity.memory = memory << 30;
            });
        }
        cluster.kill(n);
        cluster.submit(revision(1, &services));
        cluster.settle();
        cluster.revive(n);
        let (plan, moves) = settle(&mut cluster);
        assert!(moves <= plan.assignments.len(), "round {round}: {moves} moves");
        cluster.report(|_| {});
        assert_eq!(cluster.plan(), None, "round {round}");
    }
}
