//! Where one replica goes, and why it goes nowhere.

use super::*;
use crate::logic::testing::{Cluster, app, deployment, host};
use crate::model::{PortMode, Protocol, PublishedPort, ServiceName};

fn replica(index: u32) -> ReplicaId {
    ReplicaId { app: app(), service: ServiceName::from("web"), index }
}

fn places(
    cluster: &Cluster,
    deployment: &Deployment,
    load: &Load,
    pinned: Option<&HostId>,
) -> Result<HostId, Vec<(Filter, u32)>> {
    let replica = replica(1);
    let request = Request { replica: &replica, deployment, pinned, current: None };
    let placed = cluster.look(|view| place(request, view, load));
    placed.map_err(|rejected| rejected.into_iter().collect())
}

#[test]
fn each_filter_says_how_many_hosts_it_rejected() {
    type Change = fn(&mut HostFacts);
    type Ask = fn(&mut Deployment);
    let cases: [(Change, Ask, Filter); 6] = [
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
    ];
    for (attribute, value, holds) in cases {
        for equal in [true, false] {
            let mut cluster = Cluster::new(1);
            cluster.change(1, |facts| {
                facts.labels.insert("zone".to_owned(), "west".to_owned());
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
    let port = |protocol, mode| PublishedPort {
        host_ip: None,
        published: 80,
        target: 8080,
        protocol,
        mode,
    };
    deployment.ports = vec![port(Protocol::Tcp, PortMode::Host)];
    let mut load = Load::default();
    load.add(&host(1), &replica(1), &deployment, &[]);
    assert_eq!(places(&cluster, &deployment, &load, None), Err(vec![(Filter::Ports, 1)]));
    for (protocol, mode) in [(Protocol::Udp, PortMode::Host), (Protocol::Tcp, PortMode::Ingress)] {
        deployment.ports = vec![port(protocol, mode)];
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
    assert_eq!(cluster.look(|view| place(request, view, &Load::default())), Ok(host(2)));
    request.current = None;
    let rejected = BTreeMap::from([(Filter::Availability, 1), (Filter::Data, 1)]);
    assert_eq!(cluster.look(|view| place(request, view, &Load::default())), Err(rejected));
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
