//! What leaves a host, and what the Plans then do.

use std::collections::BTreeSet;

use super::*;
use crate::logic::testing::{Cluster, deployment, host, revision, volume};
use crate::model::{Availability, HostWanted};

fn drained(number: u64) -> HostWanted {
    HostWanted { number, availability: Availability::Drain, labels: None }
}

/// `web/1: moves to h2`, for every replica that is to leave host 1.
fn leave(cluster: &Cluster) -> Vec<String> {
    let leavers = cluster.look(|view| leavers(view, &host(1)));
    let one = |(replica, fate): &(ReplicaId, Fate)| {
        let fate = match fate {
            Fate::Moves(to) => format!("moves to {to}"),
            Fate::Ends => "ends".to_owned(),
            Fate::HasData(data) => format!("has {data}"),
            Fate::NoHostFits(waiting) => waiting.to_string(),
        };
        format!("{}/{}: {fate}", replica.service, replica.index)
    };
    leavers.iter().map(one).collect()
}

#[test]
fn each_replica_has_its_own_reason_to_move_to_end_or_to_stay() {
    let mut cluster = Cluster::new(2);
    let mut every = deployment("every", 1);
    every.replicas = Replicas::Global;
    let mut db = deployment("db", 1);
    db.container.mounts.push(volume("data"));
    cluster.change(1, |facts| {
        facts.volumes.insert("shop_data".to_owned());
    });
    let mut large = deployment("large", 2);
    large.container.resources.memory_reserved = 5 << 30;
    let web = deployment("web", 4);
    cluster.submit(revision(1, &[("db", db), ("every", every), ("large", large), ("web", web)]));
    cluster.settle();
    assert_eq!(leave(&cluster), [""; 0], "nothing leaves an active host");
    cluster.want(2, 1, drained(1));
    let said = leave(&cluster);
    let begin = |words: &str| said.iter().filter(|line| line.contains(words)).count();
    assert_eq!(begin("db/1: has shop_data"), 1, "{said:?}");
    assert_eq!(begin("every/1: ends"), 1, "{said:?}");
    assert_eq!(begin("drained (`name1`), not enough CPU or memory left (`name2`)"), 1, "{said:?}");
    assert!(begin("moves to h2") >= 1, "{said:?}");
}

#[test]
fn what_is_said_to_move_moves_there_and_the_rest_stays() {
    let mut cluster = Cluster::new(3);
    cluster.submit(revision(1, &[("web", deployment("web", 6))]));
    cluster.settle();
    cluster.want(3, 1, drained(1));
    let expected: BTreeSet<String> = leave(&cluster).into_iter().collect();
    assert_eq!(expected.len(), 2, "{expected:?}");
    let plan = cluster.settle();
    let moved = plan.assignments.iter().filter(|a| a.generation.0 > 1);
    let moved: BTreeSet<String> = moved
        .map(|a| format!("{}/{}: moves to {}", a.replica.service, a.replica.index, a.host))
        .collect();
    assert_eq!(moved, expected);
    assert_eq!(leave(&cluster), [""; 0]);
}
