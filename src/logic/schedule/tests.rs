//! Where one replica goes, and why it goes nowhere.

use super::*;
use crate::logic::Rng;
use crate::logic::testing::{Cluster, app, deployment, host, revision};
use crate::model::{HostFacts, PortMode, Protocol, PublishedPort, ServiceName};

fn replica(index: u32) -> ReplicaId {
    ReplicaId { app: app(), service: ServiceName::from("web"), index }
}

fn port_80(protocol: Protocol, mode: PortMode) -> PublishedPort {
    PublishedPort { host_ip: None, published: 80, target: 8080, protocol, mode }
}

fn places(
    cluster: &Cluster,
    deployment: &Deployment,
    load: &Load,
    pinned: Option<&HostId>,
) -> Result<HostId, Vec<(Filter, u32)>> {
    let replica = replica(1);
    let request = Request { replica: &replica, deployment, pinned, current: None };
    let placed = cluster.look(|view| place(request, view, load).cloned());
    placed.map_err(|rejections| rejections.counts.into_iter().collect())
}

#[test]
fn each_filter_says_how_many_hosts_it_rejected() {
    type Change = fn(&mut HostFacts);
    type Ask = fn(&mut Deployment);
    let cases: [(Change, Ask, Filter); 9] = [
        (|facts| facts.availability = Availability::Drain, |_| {}, Filter::Availability),
        (|facts| facts.engine_version.clear(), |_| {}, Filter::Engine),
        (
            |facts| facts.platform = "linux/arm64".to_owned(),
            |d| d.placement.platform = Some("linux/amd64".to_owned()),
            Filter::Platform,
        ),
        (
            |_| {},
            |d| {
                d.placement.constraints.push(Constraint {
                    attribute: "node.labels.disk".to_owned(),
                    equal: true,
                    value: "ssd".to_owned(),
                });
            },
            Filter::Constraints,
        ),
        (
            |facts| facts.platform = "linux/arm64".to_owned(),
            |d| d.placement.offered = ["linux/amd64".to_owned(), "linux/arm/v7".to_owned()].into(),
            Filter::Platform,
        ),
        (
            |facts| facts.inventory.no_pids_limit = true,
            |d| d.container.resources.pids_limit = Some(100),
            Filter::Pids,
        ),
        (
            |facts| facts.inventory.taken_ports = [(80, Protocol::Tcp)].into(),
            |d| d.ports = vec![port_80(Protocol::Tcp, PortMode::Host)],
            Filter::Ports,
        ),
        (|_| {}, |d| d.container.resources.memory_reserved = 9 << 30, Filter::Resources),
        (|_| {}, |d| d.container.resources.cpu_reserved_millis = 4_001, Filter::Resources),
    ];
    for (change, ask, filter) in cases {
        let mut cluster = Cluster::new(2);
        cluster.change(1, change);
        cluster.change(2, change);
        let mut deployment = deployment("web", 1);
        ask(&mut deployment);
        let placed = places(&cluster, &deployment, &Load::default(), None);
        assert_eq!(placed, Err(vec![(filter, 2)]));
    }
}

#[test]
fn constraints_read_attributes_as_swarm_does() {
    let cases = [
        ("node.hostname", "NAME1", true),
        ("node.hostname", "name2", false),
        ("node.id", "h1", true),
        ("node.role", "manager", true),
        ("node.platform.os", "linux", true),
        ("node.platform.arch", "amd64", true),
        ("node.labels.zone", "West", true),
        ("node.labels.none", "", true),
        ("engine.labels.x", "y", false),
        ("engine.labels.driver", "overlay2", true),
    ];
    for (attribute, value, holds) in cases {
        for equal in [true, false] {
            let mut cluster = Cluster::new(1);
            cluster.change(1, |facts| {
                facts.labels.insert("zone".to_owned(), "west".to_owned());
                let labels = &mut facts.inventory.engine_labels;
                labels.insert("driver".to_owned(), "overlay2".to_owned());
            });
            let mut deployment = deployment("web", 1);
            let constraint =
                Constraint { attribute: attribute.to_owned(), equal, value: value.to_owned() };
            deployment.placement.constraints.push(constraint);
            let placed = places(&cluster, &deployment, &Load::default(), None).is_ok();
            assert_eq!(placed, holds == equal, "{attribute} equal={equal} {value}");
        }
    }
}

#[test]
fn replicas_spread_over_labels_first_then_over_hosts() {
    let mut cluster = Cluster::new(4);
    for (index, zone) in [(1, "a"), (2, "a"), (3, "a"), (4, "b")] {
        cluster.change(index, |facts| {
            facts.labels.insert("zone".to_owned(), zone.to_owned());
        });
    }
    let mut deployment = deployment("web", 4);
    deployment.placement.spread = vec!["node.labels.zone".to_owned()];
    let mut load = Load::default();
    let mut in_b = 0;
    for _ in 0..4 {
        let host = places(&cluster, &deployment, &load, None).unwrap();
        in_b += u32::from(host == super::super::testing::host(4));
        load.add(&host, &replica(1), &deployment, &[]);
    }
    assert_eq!(in_b, 2, "as many in the zone of one host as in the zone of three");
}

#[test]
fn the_host_with_fewest_of_the_same_then_fewest_of_all_is_best() {
    let cluster = Cluster::new(3);
    let deployment = deployment("web", 1);
    let mut other = replica(1);
    other.service = ServiceName::from("other");
    let mut load = Load::default();
    load.add(&host(1), &replica(2), &deployment, &[]);
    load.add(&host(2), &other, &deployment, &[]);
    assert_eq!(places(&cluster, &deployment, &load, None), Ok(host(3)));
    load.add(&host(3), &replica(3), &deployment, &[]);
    assert_eq!(places(&cluster, &deployment, &load, None), Ok(host(2)));
    load.remove(&host(1), &replica(2), &deployment, &[]);
    assert_eq!(places(&cluster, &deployment, &load, None), Ok(host(1)));
}

#[test]
fn a_host_has_at_most_as_many_as_allowed() {
    let cluster = Cluster::new(2);
    let mut deployment = deployment("web", 3);
    deployment.placement.max_replicas_per_host = Some(1);
    let mut load = Load::default();
    load.add(&host(1), &replica(1), &deployment, &[]);
    load.add(&host(2), &replica(2), &deployment, &[]);
    let rejected = Err(vec![(Filter::MaxReplicasPerHost, 2)]);
    assert_eq!(places(&cluster, &deployment, &load, None), rejected);
}

#[test]
fn a_port_of_a_host_is_given_once() {
    let cluster = Cluster::new(1);
    let mut deployment = deployment("web", 2);
    deployment.ports = vec![port_80(Protocol::Tcp, PortMode::Host)];
    let mut load = Load::default();
    load.add(&host(1), &replica(1), &deployment, &[]);
    assert_eq!(places(&cluster, &deployment, &load, None), Err(vec![(Filter::Ports, 1)]));
    for (protocol, mode) in [(Protocol::Udp, PortMode::Host), (Protocol::Tcp, PortMode::Ingress)] {
        deployment.ports = vec![port_80(protocol, mode)];
        assert_eq!(places(&cluster, &deployment, &load, None), Ok(host(1)));
    }
}

#[test]
fn a_pinned_replica_is_replaced_where_its_data_is_even_on_a_drained_host() {
    let mut cluster = Cluster::new(2);
    cluster.change(2, |facts| facts.availability = Availability::Drain);
    let deployment = deployment("web", 1);
    let (replica, holder) = (replica(1), host(2));
    let mut request = Request {
        replica: &replica,
        deployment: &deployment,
        pinned: Some(&holder),
        current: Some(&holder),
    };
    let placed = |request| cluster.look(|view| place(request, view, &Load::default()).cloned());
    assert_eq!(placed(request), Ok(host(2)));
    request.current = None;
    let rejected = BTreeMap::from([(Filter::Availability, 1), (Filter::Data, 1)]);
    assert_eq!(placed(request).unwrap_err().counts, rejected);
    cluster.liveness.insert(host(2), Liveness::Suspect);
    let placed = places(&cluster, &deployment, &Load::default(), Some(&host(2)));
    assert_eq!(placed, Err(vec![(Filter::Data, 1)]));
}

#[test]
fn hosts_that_do_not_answer_are_not_counted() {
    let mut cluster = Cluster::new(2);
    cluster.liveness.insert(host(2), Liveness::Suspect);
    assert_eq!(places(&cluster, &deployment("web", 1), &Load::default(), None), Ok(host(1)));
}

#[test]
fn a_platform_without_variant_fits_any_variant() {
    assert!(platform_fits("linux/arm64", "linux/arm64/v8"));
    assert!(platform_fits("linux/amd64", "linux/amd64"));
    assert!(platform_fits("linux", "linux/amd64"));
    assert!(!platform_fits("linux/arm64", "linux/amd64"));
    assert!(!platform_fits("linux/arm/v7", "linux/arm/v6"));
}

#[test]
fn few_hosts_that_were_rejected_are_named() {
    let mut cluster = Cluster::new(6);
    for index in 1..=4 {
        cluster.change(index, |facts| facts.engine_version.clear());
    }
    cluster.change(6, |facts| facts.availability = Availability::Drain);
    cluster.change(5, |facts| facts.inventory.taken_ports = [(80, Protocol::Tcp)].into());
    let mut deployment = deployment("web", 1);
    deployment.ports = vec![port_80(Protocol::Tcp, PortMode::Host)];
    let replica = replica(1);
    let request =
        Request { replica: &replica, deployment: &deployment, pinned: None, current: None };
    let placed = cluster.look(|view| place(request, view, &Load::default()).cloned());
    let words =
        "no host fits: drained (`name6`), Docker does not answer (4 hosts), port taken (`name5`)";
    assert_eq!(Waiting::from(placed.unwrap_err()).to_string(), words);
}

#[test]
fn row_33_a_port_that_another_program_has_is_no_reason_to_wait_where_it_has_not() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("web", 1);
    web.ports = vec![port_80(Protocol::Tcp, PortMode::Host)];
    cluster.submit(revision(1, &[("web", web)]));
    let first = cluster.settle().assignments[0].host.clone();
    let index = if first == host(1) { 1 } else { 2 };
    cluster.change(index, |facts| facts.inventory.taken_ports = [(80, Protocol::Tcp)].into());
    let plan = cluster.settle();
    assert_ne!(plan.assignments[0].host, first, "{plan:?}");
    // Nowhere is it free now: what runs goes on, and nothing moves to and fro.
    cluster.change(3 - index, |facts| facts.inventory.taken_ports = [(80, Protocol::Tcp)].into());
    cluster.report(|_| {});
    assert_eq!(cluster.plan(), None);
}

#[test]
fn row_33_more_replicas_than_ports_wait_with_the_reason() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("web", 4);
    web.ports = vec![port_80(Protocol::Tcp, PortMode::Host)];
    cluster.submit(revision(1, &[("web", web)]));
    let plan = cluster.settle();
    assert_eq!(plan.assignments.len(), 2);
    let words = "no host fits: port taken (`name1`, `name2`)";
    let said: Vec<String> = plan.waiting.values().map(ToString::to_string).collect();
    assert_eq!(said, [words, words]);
    cluster.report(|_| {});
    assert_eq!(cluster.plan(), None);
}

/// What is ranked bit by bit is as if it were ranked anew.
#[test]
fn a_ranking_that_catches_up_is_as_good_as_a_new_one() {
    let mut rng = Rng::new(7);
    let mut cluster = Cluster::new(12);
    for index in 1..=12 {
        cluster.change(index, |facts| {
            facts.labels.insert("zone".to_owned(), format!("z{}", index % 3));
            facts.labels.insert("rack".to_owned(), format!("r{}", index % 5));
            facts.disk_full = index % 6 == 0;
            facts.capacity.memory = (1 + index as u64 % 4) << 30;
        });
    }
    let mut web = deployment("web", 1);
    web.placement.spread = vec!["node.labels.zone".to_owned(), "node.labels.rack".to_owned()];
    web.placement.max_replicas_per_host = Some(4);
    web.container.resources.memory_reserved = 300 << 20;
    let other = deployment("other", 1);
    let mut other_replica = replica(1);
    other_replica.service = ServiceName::from("other");
    cluster.look(|view| {
        let mut load = Load::default();
        let mut ranking = Ranking::new(view, &replica(1), &web, &load);
        let mut there: Vec<HostId> = Vec::new();
        for round in 0..300 {
            let current = (rng.below(2) == 0).then(|| host(1 + rng.below(12) as usize));
            let best = ranking.best(view, &web, &load, current.as_ref());
            let mut anew = Ranking::new(view, &replica(1), &web, &load);
            let expected = anew.best(view, &web, &load, current.as_ref());
            assert_eq!(best, expected, "round {round}");
            match (rng.below(4), best) {
                (0, _) if !there.is_empty() => {
                    let left = there.swap_remove(rng.below(there.len() as u64) as usize);
                    load.remove(&left, &replica(1), &web, &[]);
                }
                (1, _) => {
                    load.add(&host(1 + rng.below(12) as usize), &other_replica, &other, &[]);
                }
                (_, Some(best)) => {
                    load.add(best, &replica(1), &web, &[]);
                    there.push(best.clone());
                }
                (_, None) => {}
            }
        }
    });
}
