//! Plans of services that join the network of another one's.

use std::collections::BTreeMap;

use crate::logic::testing::{Cluster, bind, deployment, revision, short, volume};
use crate::model::{
    Assignment, Condition, Constraint, Dependency, Deployment, Generation, Health, Phase, Plan,
    Revision, ServiceName, Stage, Waiting,
};

fn joining(leader: &str, replicas: u32) -> Deployment {
    let joins = Some(ServiceName::from(leader));
    Deployment { joins, networks: BTreeMap::new(), ..deployment("app:1", replicas) }
}

fn pod(
    sequence: u64,
    replicas: u32,
    image: &str,
    change: impl FnOnce(&mut Deployment),
) -> Revision {
    let mut app = joining("vpn", replicas);
    app.container.image = image.to_owned();
    change(&mut app);
    revision(sequence, &[("vpn", deployment("vpn:1", replicas)), ("app", app)])
}

/// Where and at which Generation the copies of a service are.
fn places(plan: &Plan, service: &str) -> Vec<String> {
    let mine = plan.assignments.iter().filter(|a| a.replica.service.as_str() == service);
    let place = |a: &Assignment| format!("{}@{}.g{}", a.replica.index, a.host, a.generation);
    mine.map(place).collect()
}

fn depends(on: &str, condition: Condition) -> BTreeMap<ServiceName, Dependency> {
    BTreeMap::from([(
        ServiceName::from(on),
        Dependency { condition, required: true, restart: false },
    )])
}

#[test]
fn companions_are_where_their_leaders_are_and_change_with_them() {
    let mut cluster = Cluster::new(3);
    cluster.submit(pod(1, 3, "app:1", |_| {}));
    let plan = cluster.settle();
    assert_eq!(plan.assignments.len(), 6, "{:?}", short(&plan));
    assert_eq!(places(&plan, "app"), places(&plan, "vpn"));
    assert_eq!(cluster.plan(), None, "a state that is as wanted gives no plan");
    // A change of the companion alone replaces both, one after the other.
    cluster.submit(pod(2, 3, "app:2", |_| {}));
    let first = cluster.plan().unwrap();
    assert_eq!(places(&first, "app"), places(&first, "vpn"));
    assert_eq!(first.assignments.iter().filter(|a| a.outgoing).count(), 2, "{:?}", short(&first));
    let last = cluster.settle();
    assert_eq!(places(&last, "app"), places(&last, "vpn"));
    assert!(last.assignments.iter().all(|a| a.generation == Generation(2)), "{:?}", short(&last));
}

#[test]
fn a_pod_goes_where_all_of_it_can_be() {
    let mut cluster = Cluster::new(3);
    cluster.change(3, |facts| {
        facts.labels.insert("disk".to_owned(), "ssd".to_owned());
    });
    cluster.submit(pod(1, 1, "app:1", |app| {
        app.placement.constraints = vec![Constraint {
            attribute: "node.labels.disk".to_owned(),
            equal: true,
            value: "ssd".to_owned(),
        }];
    }));
    assert_eq!(places(&cluster.settle(), "vpn"), ["1@h3.g1"]);
    // What the companion mounts holds the leader as well.
    let mut pinned = Cluster::new(3);
    pinned.submit(pod(1, 1, "app:1", |app| app.container.mounts = vec![bind("/srv")]));
    assert_eq!(short(&pinned.settle()), ["app/1@h1.g1", "vpn/1@h1.g1"]);
}

#[test]
fn the_volume_of_a_companion_is_pinned_with_its_leader() {
    let mut cluster = Cluster::new(2);
    cluster.submit(pod(1, 1, "app:1", |app| app.container.mounts = vec![volume("data")]));
    let plan = cluster.settle();
    let host = &plan.assignments[0].host;
    assert_eq!(plan.pins.get("shop_data"), Some(host));
    assert!(plan.assignments.iter().all(|a| a.host == *host));
}

#[test]
fn companions_move_with_a_leader_whose_host_is_gone() {
    let mut cluster = Cluster::new(2);
    cluster.submit(pod(1, 2, "app:1", |_| {}));
    cluster.settle();
    cluster.kill(2);
    let plan = cluster.settle();
    assert_eq!(places(&plan, "app"), places(&plan, "vpn"));
    assert!(plan.assignments.iter().all(|a| a.host.as_str() == "h1"), "{:?}", short(&plan));
}

#[test]
fn a_companion_waits_for_its_own_leader_each_time() {
    let mut cluster = Cluster::new(1);
    let waits = |app: &mut Deployment| app.depends_on = depends("vpn", Condition::Healthy);
    cluster.submit(pod(1, 1, "app:1", waits));
    assert_eq!(short(&cluster.plan().unwrap()), ["vpn/1@h1.g1"]);
    let waiting = |plan: &Plan| plan.waiting.get("shop/app/1").cloned();
    assert!(matches!(waiting(&cluster.current()), Some(Waiting::Dependency { .. })));
    cluster.report(|status| status.ready = false);
    assert_eq!(cluster.plan(), None);
    assert_eq!(short(&cluster.settle()), ["app/1@h1.g1", "vpn/1@h1.g1"]);
    assert_eq!(waiting(&cluster.current()), None);
    // The new copy of the leader is not ready yet, although the old one is.
    cluster.submit(pod(2, 1, "app:2", waits));
    let next = cluster.plan().unwrap();
    assert_eq!(short(&next), ["-app/1@h1.g1", "-vpn/1@h1.g1", "vpn/1@h1.g2"]);
    cluster.report(|status| status.ready = status.generation == Generation(1));
    assert_eq!(cluster.plan(), None);
    assert_eq!(short(&cluster.settle()), ["app/1@h1.g2", "vpn/1@h1.g2"]);
}

#[test]
fn others_can_wait_for_a_companion() {
    let mut cluster = Cluster::new(1);
    let mut all = pod(1, 1, "app:1", |_| {});
    let mut web = deployment("web:1", 1);
    web.depends_on = depends("app", Condition::Healthy);
    all.deployments.insert(ServiceName::from("web"), web);
    cluster.submit(all);
    assert_eq!(short(&cluster.plan().unwrap()), ["app/1@h1.g1", "vpn/1@h1.g1"]);
    assert_eq!(short(&cluster.settle()), ["app/1@h1.g1", "vpn/1@h1.g1", "web/1@h1.g1"]);
}

#[test]
fn a_companion_that_fails_has_the_whole_pod_rolled_back() {
    let mut cluster = Cluster::new(2);
    cluster.submit(pod(1, 2, "app:1", |_| {}));
    let old = cluster.settle().assignments[0].spec_hash.clone();
    cluster.submit(pod(2, 2, "app:bad", |_| {}));
    cluster.plan().expect("it is another spec");
    for _ in 0..50 {
        cluster.report(|status| {
            let is_bad = status.spec_hash != old && status.replica.service.as_str() == "app";
            if is_bad {
                (status.health, status.ready) = (Health::Unhealthy, false);
            }
        });
        if cluster.plan().is_none() {
            break;
        }
    }
    let plan = cluster.current();
    let rollout = &plan.rollouts[&ServiceName::from("vpn")];
    assert_eq!(rollout.stage, Stage::RolledBack);
    let reason = rollout.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("`app` beside it"), "{reason}");
    assert!(plan.assignments.iter().all(|a| a.spec_hash == old), "{:?}", short(&plan));
    assert_eq!(places(&plan, "app"), places(&plan, "vpn"));
}

#[test]
fn a_service_that_comes_to_join_another_begins_above_both() {
    let mut cluster = Cluster::new(1);
    let alone = |sequence, image: &str| {
        revision(sequence, &[("vpn", deployment("vpn:1", 1)), ("app", deployment(image, 1))])
    };
    cluster.submit(alone(1, "app:1"));
    cluster.settle();
    for sequence in 2..5 {
        cluster.submit(alone(sequence, &format!("app:{sequence}")));
        cluster.settle();
    }
    assert_eq!(short(&cluster.current()), ["app/1@h1.g4", "vpn/1@h1.g1"]);
    cluster.submit(pod(5, 1, "app:4", |_| {}));
    assert_eq!(short(&cluster.settle()), ["app/1@h1.g5", "vpn/1@h1.g5"]);
    // And apart again.
    cluster.submit(alone(6, "app:4"));
    let apart = cluster.settle();
    assert!(apart.assignments.iter().all(|a| a.generation > Generation(5)), "{:?}", short(&apart));
}

#[test]
fn a_companion_that_ran_to_its_end_is_done() {
    let mut cluster = Cluster::new(1);
    cluster.submit(pod(1, 1, "app:1", |app| app.restart = crate::model::RestartPolicy::Never));
    cluster.plan();
    cluster.report(|status| {
        if status.replica.service.as_str() == "app" {
            (status.phase, status.ready) = (Phase::Completed, false);
        }
    });
    let plan = cluster.plan().unwrap();
    let app = plan.assignments.iter().find(|a| a.replica.service.as_str() == "app").unwrap();
    assert!(app.done);
}

#[test]
fn a_pod_serves_once_all_of_it_came_up_and_goes_on_when_one_fails() {
    let mut cluster = Cluster::new(1);
    cluster.submit(pod(1, 1, "app:1", |_| {}));
    let plan = cluster.settle();
    let vpn = plan.assignments.iter().find(|a| a.replica.service.as_str() == "vpn").unwrap();
    let mut serves = |phase, health, failures| {
        cluster.report(|status| {
            if status.replica.service.as_str() == "app" {
                (status.phase, status.health, status.failures) = (phase, health, failures);
                status.ready = false;
            }
        });
        cluster.look(|view| view.serves(vpn))
    };
    assert!(!serves(Phase::Pulling, Health::None, 0));
    assert!(!serves(Phase::Running, Health::Starting, 0));
    assert!(serves(Phase::Running, Health::Healthy, 0));
    assert!(serves(Phase::Running, Health::Unhealthy, 0));
    assert!(serves(Phase::Starting, Health::None, 1));
}
