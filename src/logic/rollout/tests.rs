//! Updates of small clusters that fail, wait, or are undone.

use crate::logic::testing::{Cluster, deployment, host, revision, short};
use crate::model::{
    Availability, Canary, FailureAction, Generation, Health, Phase, Plan, ReplicaStatus, Revision,
    RolloutOrder, Stage, UpdatePolicy,
};

fn web(sequence: u64, replicas: u32, image: &str, policy: UpdatePolicy) -> Revision {
    let mut web = deployment(image, replicas);
    web.update = policy;
    revision(sequence, &[("web", web)])
}

fn stage(plan: &Plan) -> Option<Stage> {
    plan.rollouts.get(&"web".into()).map(|rollout| rollout.stage)
}

/// Says of every replica of that spec that it is ill, and of all others that they are ready.
fn ill(hash: &str) -> impl Fn(&mut ReplicaStatus) + '_ {
    move |status| {
        if status.spec_hash == hash {
            (status.health, status.ready) = (Health::Unhealthy, false);
        }
    }
}

/// Replicas by spec: of the first one given, of others.
fn count(plan: &Plan, hash: &str) -> (usize, usize) {
    let current = plan.assignments.iter().filter(|a| !a.outgoing);
    let (old, new): (Vec<_>, Vec<_>) = current.partition(|a| a.spec_hash == hash);
    (old.len(), new.len())
}

/// A cluster that runs four of `a`; the hash of its spec, and that of `b`, which was submitted.
fn updating(policy: UpdatePolicy) -> (Cluster, String, String) {
    let mut cluster = Cluster::new(2);
    cluster.submit(web(1, 4, "a", policy));
    let old = cluster.settle().assignments[0].spec_hash.clone();
    cluster.submit(web(2, 4, "b", policy));
    let plan = cluster.plan().expect("it is another spec");
    assert_eq!(stage(&plan), Some(Stage::Rolling));
    let new = plan.assignments.iter().find(|a| a.spec_hash != old).expect("one is replaced");
    let new = new.spec_hash.clone();
    (cluster, old, new)
}

/// Plans until nothing changes while all of spec `bad` are ill.
fn settle_ill(cluster: &mut Cluster, bad: &str) -> Plan {
    for _ in 0..50 {
        cluster.report(ill(bad));
        if cluster.plan().is_none() {
            return cluster.current();
        }
    }
    panic!("never settles: {:?}", short(&cluster.current()));
}

#[test]
fn row_31_a_spec_that_is_never_healthy_is_undone_and_stays_so() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    let plan = settle_ill(&mut cluster, &new);
    assert_eq!(stage(&plan), Some(Stage::RolledBack));
    assert_eq!(count(&plan, &old), (4, 0), "{:?}", short(&plan));
    assert_eq!(plan.revision, *cluster.state.winner(&plan.app).unwrap().id());
    let words = "replica `web/1` is not healthy: its health check fails";
    assert_eq!(plan.rollouts[&"web".into()].reason.as_deref(), Some(words));
    assert_eq!(plan.undone[&plan.revision], format!("`web`: {words}"));
    // More replicas of it are more of what runs.
    cluster.submit(web(3, 6, "b", UpdatePolicy::default()));
    let plan = cluster.settle();
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::RolledBack), (6, 0)));
    // Another spec is another update, and what ran well is still what is gone back to.
    cluster.submit(web(4, 6, "c", UpdatePolicy::default()));
    let plan = cluster.plan().unwrap();
    assert_eq!(stage(&plan), Some(Stage::Rolling));
    assert_eq!(plan.rollouts[&"web".into()].from.spec_hash, old);
    assert_eq!(stage(&cluster.settle()), None);
}

#[test]
fn another_try_is_made_when_it_is_asked_for() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    settle_ill(&mut cluster, &new);
    let mut again = web(3, 4, "b", UpdatePolicy::default());
    again.deployments.get_mut(&"web".into()).unwrap().attempt = 1;
    cluster.submit(again);
    assert_eq!(stage(&cluster.plan().unwrap()), Some(Stage::Rolling));
    let plan = cluster.settle();
    assert_eq!((stage(&plan), count(&plan, &old)), (None, (0, 4)), "it is healthy now");
}

#[test]
fn row_28_29_a_copy_may_end_once_and_not_twice() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    let ended = |restarts, failures| {
        let new = new.clone();
        move |status: &mut ReplicaStatus| {
            if status.spec_hash == new {
                (status.phase, status.ready) = (Phase::Backoff, false);
                (status.restarts, status.failures) = (restarts, failures);
                status.reason = Some("killed: out of memory (limit 64M)".to_owned());
                status.container = Some("web".to_owned());
            }
        }
    };
    cluster.report(ended(0, 1));
    assert_eq!(cluster.plan(), None, "once is forgiven");
    cluster.report(ended(1, 2));
    let plan = cluster.plan().unwrap();
    assert_eq!(stage(&plan), Some(Stage::RollingBack));
    let reason = plan.rollouts[&"web".into()].reason.clone().unwrap();
    assert!(reason.ends_with("ended 2 times: killed: out of memory (limit 64M)"), "{reason}");
    assert_eq!(count(&cluster.settle(), &old), (4, 0));
}

#[test]
fn row_30_an_image_that_is_nowhere_is_found_out_after_some_tries() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    let refused = |failures| {
        let new = new.clone();
        move |status: &mut ReplicaStatus| {
            if status.spec_hash == new {
                (status.phase, status.ready, status.failures) = (Phase::Failed, false, failures);
                status.reason = Some("no such image".to_owned());
            }
        }
    };
    cluster.report(refused(4));
    assert_eq!(cluster.plan(), None, "a host that has it may not have said so");
    // A host whose Docker is away says nothing of an image.
    for n in 1..=2 {
        cluster.change(n, |facts| facts.engine_version.clear());
    }
    cluster.report(refused(9));
    assert_eq!(stage(&cluster.current()), Some(Stage::Rolling));
    cluster.plan();
    assert_eq!(stage(&cluster.current()), Some(Stage::Rolling));
    for n in 1..=2 {
        cluster.change(n, |facts| facts.engine_version = "20.10".to_owned());
    }
    cluster.report(refused(9));
    let plan = cluster.plan().unwrap();
    assert_eq!(stage(&plan), Some(Stage::RollingBack));
    assert_eq!(count(&cluster.settle(), &old), (4, 0));
}

#[test]
fn what_is_paused_stands_still_until_somebody_decides() {
    let policy = UpdatePolicy { failure_action: FailureAction::Pause, ..UpdatePolicy::default() };
    let decide = |order: RolloutOrder| {
        let (mut cluster, old, new) = updating(policy);
        let plan = settle_ill(&mut cluster, &new);
        assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::Paused), (3, 1)));
        assert_eq!(plan.assignments.iter().filter(|a| a.outgoing).count(), 1, "its old copy runs");
        let mut decided = web(3, 4, "b", policy);
        decided.deployments.get_mut(&"web".into()).unwrap().order = Some(order);
        cluster.submit(decided);
        (cluster, old, new)
    };
    let (mut cluster, old, _) = decide(RolloutOrder::Abort);
    let plan = cluster.settle();
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::RolledBack), (4, 0)));
    let (mut cluster, old, new) = decide(RolloutOrder::Force);
    let plan = settle_ill(&mut cluster, &new);
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::Rolling), (0, 4)));
    assert_eq!(plan.assignments.iter().filter(|a| a.outgoing).count(), 4, "nothing is lost");
    assert_eq!(stage(&cluster.settle()), None, "they became healthy");
}

#[test]
fn so_many_may_fail_as_the_file_says() {
    let policy = |max_failure_ratio| UpdatePolicy { max_failure_ratio, ..UpdatePolicy::default() };
    for (ratio, ends) in [(0.0, Some(Stage::RolledBack)), (0.25, Some(Stage::Rolling))] {
        let (mut cluster, _, new) = updating(policy(ratio));
        for _ in 0..50 {
            cluster.report(|status| {
                if status.spec_hash == new && status.replica.index == 1 {
                    (status.health, status.ready) = (Health::Unhealthy, false);
                }
            });
            if cluster.plan().is_none() {
                break;
            }
        }
        let plan = cluster.current();
        assert_eq!(stage(&plan), ends, "{ratio}: {:?}", short(&plan));
        if ratio > 0.0 {
            assert_eq!(count(&plan, &new), (4, 0), "the others were replaced all the same");
        }
    }
}

#[test]
fn a_canary_is_a_few_wherever_replicas_go() {
    let policy =
        UpdatePolicy { canary: Some(Canary::Count(1)), parallelism: 3, ..UpdatePolicy::default() };
    let (mut cluster, old, _) = updating(policy);
    let plan = cluster.settle();
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::Canary), (3, 1)));
    cluster.change(2, |facts| facts.availability = Availability::Drain);
    let plan = cluster.settle();
    assert!(plan.assignments.iter().all(|a| a.host == host(1)), "{:?}", short(&plan));
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::Canary), (3, 1)));
    // More replicas are more of the old one.
    cluster.submit(web(3, 6, "b", policy));
    assert_eq!(count(&cluster.settle(), &old), (5, 1));
    let mut promoted = web(4, 6, "b", policy);
    promoted.deployments.get_mut(&"web".into()).unwrap().order = Some(RolloutOrder::Promote);
    cluster.submit(promoted);
    let plan = cluster.settle();
    assert_eq!((stage(&plan), count(&plan, &old)), (None, (0, 6)));
}

#[test]
fn an_old_spec_that_does_not_run_any_more_either_is_not_tried_for_ever() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    let all_ill = |status: &mut ReplicaStatus| {
        if status.spec_hash == new || status.generation > Generation(1) {
            (status.health, status.ready) = (Health::Unhealthy, false);
        }
    };
    for _ in 0..50 {
        cluster.report(all_ill);
        if cluster.plan().is_none() {
            break;
        }
    }
    let plan = cluster.current();
    assert_eq!((stage(&plan), count(&plan, &old)), (Some(Stage::RollbackPaused), (4, 0)));
    let outgoing = plan.assignments.iter().filter(|a| a.outgoing && a.spec_hash == old).count();
    assert_eq!(outgoing, 1, "the copy that ran before runs on: {:?}", short(&plan));
}

#[test]
fn the_revision_to_go_back_to_is_kept_as_long_as_it_is_needed() {
    let (mut cluster, old, new) = updating(UpdatePolicy::default());
    let first = cluster.current().rollouts[&"web".into()].from.revision.clone();
    settle_ill(&mut cluster, &new);
    for sequence in 3..30 {
        cluster.submit(web(
            sequence,
            4 + u32::try_from(sequence % 2).unwrap(),
            "b",
            Default::default(),
        ));
        cluster.settle();
    }
    assert!(cluster.state.revision(&"shop".into(), &first).is_some());
    assert_eq!(count(&cluster.current(), &old), (5, 0));
    // Then it is history like any other.
    cluster.submit(web(30, 4, "c", UpdatePolicy::default()));
    cluster.settle();
    assert!(cluster.state.revision(&"shop".into(), &first).is_none());
}
