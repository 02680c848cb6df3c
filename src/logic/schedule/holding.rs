//! What replicas have alone, through Plans, updates, drains and other Apps.

use std::collections::{BTreeMap, BTreeSet};

use crate::logic::testing::{Cluster, deployment, host, revision, short};
use crate::model::{
    Availability, Deployment, DeviceRequest, DeviceShare, Filter, Handover, HostDevice, Plan,
    Revision, Waiting,
};

fn gpu(host: usize, number: usize) -> HostDevice {
    HostDevice {
        id: format!("GPU-{host}{number}"),
        names: vec![number.to_string()],
        driver: "nvidia".to_owned(),
        class: "gpu".to_owned(),
        model: None,
        by: Handover::Driver("nvidia".to_owned()),
    }
}

/// Hosts with so many GPUs each.
fn cluster(gpus: &[usize]) -> Cluster {
    let mut cluster = Cluster::new(gpus.len());
    for (index, count) in gpus.iter().enumerate() {
        let devices = (0..*count).map(|number| gpu(index + 1, number)).collect();
        cluster.change(index + 1, |facts| facts.inventory.devices = devices);
    }
    cluster
}

fn wants(share: DeviceShare, image: &str, replicas: u32) -> Deployment {
    let mut deployment = deployment(image, replicas);
    deployment.container.device_requests.push(DeviceRequest {
        share,
        capabilities: BTreeSet::from(["gpu".to_owned()]),
        driver: None,
        options: BTreeMap::new(),
    });
    deployment
}

fn train(sequence: u64, image: &str, replicas: u32) -> Revision {
    revision(sequence, &[("train", wants(DeviceShare::Count(1), image, replicas))])
}

/// Host and device of each assignment; panics when two have one.
fn held(plan: &Plan) -> BTreeSet<(String, String)> {
    let all = plan.assignments.iter().flat_map(|assignment| {
        let ids = assignment.devices.iter().flatten();
        ids.map(|id| (assignment.host.to_string(), id.clone()))
    });
    let mut seen = BTreeSet::new();
    for one in all {
        assert!(seen.insert(one.clone()), "{one:?} is given twice: {:?}", short(plan));
    }
    seen
}

fn rejected(plan: &Plan, replica: &str) -> BTreeMap<Filter, u32> {
    match &plan.waiting[replica] {
        Waiting::NoHostFits { rejected, .. } => rejected.clone(),
        other => panic!("it waits for {other:?}"),
    }
}

#[test]
fn each_gpu_is_given_to_one_replica_and_what_gets_none_waits() {
    let mut cluster = cluster(&[2, 0, 2]);
    cluster.submit(train(1, "a", 5));
    let plan = cluster.settle();
    assert_eq!(held(&plan).len(), 4, "{:?}", short(&plan));
    assert_eq!(rejected(&plan, "shop/train/5"), BTreeMap::from([(Filter::Devices, 3)]));
    assert_eq!(cluster.plan(), None, "no flap");
}

#[test]
fn devices_that_other_apps_have_are_not_given() {
    let mut cluster = cluster(&[2]);
    cluster.submit(train(1, "a", 1));
    let first = cluster.settle();
    let mut of_other = first.clone();
    of_other.assignments[0].devices = vec![vec!["GPU-11".to_owned()]];
    cluster.planned_for("other", of_other, |_| {});
    cluster.submit(train(2, "a", 2));
    let plan = cluster.settle();
    assert_eq!(held(&plan), held(&first), "the second GPU is not free: {:?}", short(&plan));
    assert_eq!(rejected(&plan, "shop/train/2"), BTreeMap::from([(Filter::Devices, 1)]));
}

#[test]
fn an_update_takes_a_free_gpu_and_starts_first_else_it_stops_first() {
    for (gpus, outgoing) in [(2, 1), (1, 0)] {
        let mut cluster = cluster(&[gpus]);
        cluster.submit(train(1, "a", 1));
        let before = cluster.settle();
        cluster.submit(train(2, "b", 1));
        cluster.report(|_| {});
        let plan = cluster.plan().expect("it is replaced");
        let n_outgoing = plan.assignments.iter().filter(|a| a.outgoing).count();
        assert_eq!(n_outgoing, outgoing, "{:?}", short(&plan));
        assert_eq!(held(&plan).len(), 1 + outgoing);
        assert!(plan.waiting.is_empty(), "{:?}", plan.waiting);
        let after = cluster.settle();
        assert_eq!(held(&after) == held(&before), gpus == 1);
    }
}

#[test]
fn a_drain_moves_only_what_finds_a_free_gpu_elsewhere() {
    let mut cluster = cluster(&[2, 1]);
    cluster.submit(train(1, "a", 3));
    cluster.settle();
    cluster.change(1, |facts| facts.availability = Availability::Drain);
    let plan = cluster.settle();
    assert_eq!(held(&plan).len(), 3, "they stay and wait: {:?}", short(&plan));
    assert_eq!(plan.waiting.len(), 2);
    cluster.change(2, |facts| facts.inventory.devices = (0..3).map(|n| gpu(2, n)).collect());
    let plan = cluster.settle();
    let all = |plan: &Plan| held(plan).iter().all(|(on, _)| *on == host(2).to_string());
    assert!(all(&plan), "{:?}", short(&plan));
}

#[test]
fn a_plan_of_an_older_home_is_made_good() {
    let mut cluster = cluster(&[1]);
    cluster.submit(train(1, "a", 1));
    let mut plan = cluster.settle();
    plan.number += 1;
    plan.assignments[0].devices.clear();
    cluster.planned_by(1, plan);
    assert_eq!(held(&cluster.settle()).len(), 1);
}

#[test]
fn generic_resources_are_told_of_by_the_engine_or_declared_by_labels() {
    let mut cluster = Cluster::new(3);
    cluster.change(1, |facts| {
        facts.inventory.resources.insert("zigbee".to_owned(), 1);
    });
    cluster.change(2, |facts| {
        facts.labels.insert("muster.resource.zigbee".to_owned(), "2".to_owned());
        facts.labels.insert("muster.resource.broken".to_owned(), "much".to_owned());
    });
    let mut bridge = deployment("bridge", 4);
    bridge.placement.resources.insert("zigbee".to_owned(), 1);
    cluster.submit(revision(1, &[("bridge", bridge)]));
    let plan = cluster.settle();
    let on = |n| plan.assignments.iter().filter(|a| a.host == host(n)).count();
    assert_eq!((on(1), on(2), on(3)), (1, 2, 0), "{:?}", short(&plan));
    let expected = BTreeMap::from([(Filter::GenericResources, 3)]);
    assert_eq!(rejected(&plan, "shop/bridge/4"), expected);
    // A label says more than the engine does.
    cluster.change(1, |facts| {
        facts.labels.insert("muster.resource.zigbee".to_owned(), "2".to_owned());
    });
    assert!(cluster.settle().waiting.is_empty());
}

#[test]
fn of_a_host_that_dies_the_replica_takes_a_gpu_of_another() {
    let mut cluster = cluster(&[1, 1, 0]);
    cluster.submit(train(1, "a", 2));
    assert_eq!(held(&cluster.settle()).len(), 2);
    cluster.kill(2);
    cluster.change(3, |facts| facts.inventory.devices = vec![gpu(3, 0)]);
    let plan = cluster.settle();
    assert_eq!(held(&plan).len(), 2);
    assert!(plan.assignments.iter().all(|a| a.host != host(2)), "{:?}", short(&plan));
}
