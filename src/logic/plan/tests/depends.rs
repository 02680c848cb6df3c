//! Dependencies: what is waited for, what is replaced with what, and in which order services go.

use super::*;
use crate::model::{Health, ReplicaStatus};

/// `web` depends on `db`, and is replaced when that was; `db` runs this image.
fn followed(sequence: u64, db: &str, web: &str) -> Revision {
    let mut web = deployment(web, 2);
    let dependency = Dependency { condition: Condition::Started, required: true, restart: true };
    web.depends_on.insert(ServiceName::from("db"), dependency);
    revision(sequence, &[("db", deployment(db, 2)), ("web", web)])
}

fn generations(plan: &Plan, service: &str) -> Vec<u64> {
    let mine = plan.assignments.iter().filter(|a| a.replica.service.as_str() == service);
    mine.map(|a| a.generation.0).collect()
}

#[test]
fn what_follows_another_service_is_replaced_after_it_and_once() {
    let mut cluster = Cluster::new(2);
    cluster.submit(followed(1, "db:1", "web:1"));
    let first = cluster.settle();
    assert_eq!((generations(&first, "db"), generations(&first, "web")), (vec![1, 1], vec![1, 1]));
    cluster.submit(followed(2, "db:2", "web:1"));
    let mut web_began = false;
    for _ in 0..40 {
        let Some(plan) = cluster.plan() else { break };
        let db_goes_on = plan.rollouts.contains_key(&ServiceName::from("db"));
        let web = generations(&plan, "web");
        web_began |= web != [1, 1];
        assert!(!(web_began && db_goes_on), "`web` goes after `db`: {:?}", short(&plan));
        cluster.report(|_| {});
    }
    let last = cluster.settle();
    assert_eq!((generations(&last, "db"), generations(&last, "web")), (vec![2, 2], vec![2, 2]));
    // Both at once: `web` waits for `db`, and is replaced once.
    cluster.submit(followed(3, "db:3", "web:3"));
    let plan = cluster.plan().unwrap();
    let until = "has been updated".to_owned();
    let waiting = Waiting::Dependency { service: "db".into(), until };
    assert_eq!(plan.waiting.get("shop/web/1"), Some(&waiting), "{:?}", plan.waiting);
    let last = cluster.settle();
    assert_eq!((generations(&last, "db"), generations(&last, "web")), (vec![3, 3], vec![3, 3]));
    // What is asked for anew replaces nothing.
    let plain = |sequence| {
        let mut plain = followed(sequence, "db:3", "web:3");
        plain.deployments.get_mut(&ServiceName::from("web")).unwrap().depends_on.clear();
        plain
    };
    cluster.submit(plain(4));
    cluster.settle();
    cluster.submit(followed(5, "db:3", "web:3"));
    assert_eq!(generations(&cluster.settle(), "web"), [3, 3]);
}

#[test]
fn what_does_not_follow_is_left_alone() {
    let mut cluster = Cluster::new(2);
    cluster.submit(with_dependency(Condition::Started, true));
    cluster.settle();
    let mut next = with_dependency(Condition::Started, true);
    next.sequence = 2;
    next.deployments.get_mut(&ServiceName::from("db")).unwrap().container.image = "db:2".into();
    cluster.submit(next);
    let last = cluster.settle();
    assert_eq!((generations(&last, "db"), generations(&last, "web")), (vec![2], vec![1]));
}

#[test]
fn a_death_of_the_host_of_one_that_is_followed_replaces_nothing_else() {
    let mut cluster = Cluster::new(3);
    cluster.submit(followed(1, "db:1", "web:1"));
    cluster.settle();
    cluster.kill(3);
    let last = cluster.settle();
    let moved = last.assignments.iter().filter(|a| a.generation.0 > 1);
    assert!(moved.clone().all(|a| a.host != host(3)), "{:?}", short(&last));
    let untouched = last.assignments.len() - moved.count();
    assert!(untouched >= 2, "{:?}", short(&last));
}

/// Says of each replica what makes a container of it, and of `db` what `change` makes of it.
fn report(cluster: &mut Cluster, change: impl Fn(&mut ReplicaStatus)) {
    cluster.report(|status| {
        status.container = Some("c".to_owned());
        if status.replica.service.as_str() == "db" {
            change(status);
        }
    });
}

#[test]
fn what_is_not_required_may_fail_be_ill_or_find_no_place() {
    type Change = fn(&mut ReplicaStatus);
    let failed: Change = |status| (status.phase, status.ready) = (Phase::Failed, false);
    let ill: Change = |status| (status.health, status.ready) = (Health::Unhealthy, false);
    let starts: Change = |status| (status.health, status.ready) = (Health::Starting, false);
    let cases = [
        (failed, "is healthy; it failed", true),
        (ill, "is healthy; its health check fails", true),
        (starts, "is healthy", false),
    ];
    for (change, words, is_excused) in cases {
        for required in [true, false] {
            let mut cluster = Cluster::new(1);
            cluster.submit(with_dependency(Condition::Healthy, required));
            cluster.plan().unwrap();
            report(&mut cluster, change);
            let plan = cluster.plan().unwrap_or_else(|| cluster.current());
            let waits = plan.waiting.get("shop/web/1").map(ToString::to_string);
            let expected = format!("waits until `db` {words}");
            let expected = (required || !is_excused).then_some(expected);
            assert_eq!(waits, expected, "required: {required}");
        }
    }
    let mut cluster = Cluster::new(1);
    let mut nowhere = with_dependency(Condition::Started, false);
    let db = nowhere.deployments.get_mut(&ServiceName::from("db")).unwrap();
    db.placement.platform = Some("linux/riscv64".to_owned());
    cluster.submit(nowhere);
    let plan = cluster.settle();
    assert_eq!(short(&plan), ["web/1@h1.g1"], "{:?}", plan.waiting);
}

/// `web` depends on `api`, which depends on `db`.
fn chain() -> Revision {
    let on = |image: &str, other: &str| {
        let mut deployment = deployment(image, 1);
        let dependency =
            Dependency { condition: Condition::Started, required: true, restart: false };
        deployment.depends_on.insert(ServiceName::from(other), dependency);
        deployment
    };
    let db = deployment("db:1", 1);
    revision(1, &[("api", on("api:1", "db")), ("db", db), ("web", on("web:1", "api"))])
}

fn services(plan: &Plan) -> Vec<&str> {
    plan.assignments.iter().map(|a| a.replica.service.as_str()).collect()
}

#[test]
fn services_go_in_reverse_order_and_those_without_a_container_at_once() {
    for intent in [Intent::Remove, Intent::RemoveWithVolumes] {
        let mut cluster = Cluster::new(3);
        cluster.submit(chain());
        cluster.settle();
        report(&mut cluster, |_| {});
        assert_eq!(cluster.plan(), None);
        let down = Revision { intent, ..revision(2, &[]) };
        cluster.submit(down);
        let plan = cluster.plan().unwrap();
        assert_eq!(services(&plan), ["api", "db"], "`web` goes first");
        assert_eq!(plan.addresses.len(), 2, "those that stay keep their addresses");
        assert_eq!(cluster.plan(), None, "as long as hosts have it, the others wait");
        report(&mut cluster, |_| {});
        let plan = cluster.plan().unwrap();
        assert_eq!(services(&plan), ["db"]);
        report(&mut cluster, |_| {});
        let plan = cluster.plan().unwrap();
        assert_eq!(services(&plan), [""; 0]);
        assert_eq!(plan.addresses, []);
    }
    // What was never made is not made to be removed.
    let mut cluster = Cluster::new(3);
    cluster.submit(chain());
    cluster.settle();
    cluster.submit(Revision { intent: Intent::Remove, ..revision(2, &[]) });
    assert_eq!(services(&cluster.plan().unwrap()), [""; 0]);
}

#[test]
fn services_that_leave_an_app_go_in_reverse_order_too_and_dead_hosts_hold_up_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.submit(chain());
    let plan = cluster.settle();
    report(&mut cluster, |_| {});
    let mut rest = chain();
    rest.sequence = 2;
    rest.deployments.retain(|name, _| name.as_str() == "db");
    rest.deployments.insert("other".into(), deployment("other:1", 1));
    cluster.submit(rest);
    let next = cluster.plan().unwrap();
    assert_eq!(services(&next), ["api", "db", "other"]);
    let of = |service: &str| {
        let mut all = plan.assignments.iter();
        all.find(|a| a.replica.service.as_str() == service).unwrap().host.clone()
    };
    // The host of `web` dies while it is being stopped.
    let web = (1..=3).find(|n| host(*n) == of("web")).unwrap();
    assert!(of("api") != of("web"), "one a host");
    if web != 1 {
        cluster.kill(web);
        let next = cluster.settle();
        assert_eq!(services(&next), ["db", "other"]);
    }
}

#[test]
fn a_pod_goes_as_one_after_those_that_depend_on_it() {
    let mut with_pod = chain();
    let mut side = deployment("side:1", 1);
    side.joins = Some("api".into());
    side.networks.clear();
    let dependency = Dependency { condition: Condition::Started, required: true, restart: true };
    side.depends_on.insert(ServiceName::from("api"), dependency);
    with_pod.deployments.insert("side".into(), side);
    let mut cluster = Cluster::new(2);
    cluster.submit(with_pod);
    let plan = cluster.settle();
    assert_eq!(services(&plan), ["api", "db", "side", "web"]);
    report(&mut cluster, |_| {});
    assert_eq!(cluster.plan(), None);
    cluster.submit(Revision { intent: Intent::Remove, ..revision(2, &[]) });
    let mut seen = Vec::new();
    for _ in 0..9 {
        let Some(plan) = cluster.plan() else { break };
        seen.push(services(&plan).join(" "));
        report(&mut cluster, |_| {});
    }
    assert_eq!(seen, ["api db side", "db", ""]);
}
