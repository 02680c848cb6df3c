//! The whole text, read by a strict reader.

use std::time::Duration;

use super::*;
use crate::api::HandedOutTo;
use crate::model::{Health, HostId, Phase, Usage};
use crate::overlay;

/// Names that a strict reader would stumble over if they were not escaped.
const HOST: &str = "pi \"4\"";
const APP: &str = "sh\\op";

fn replica(index: u32) -> ReplicaId {
    ReplicaId { app: APP.into(), service: "web".into(), index }
}

fn view(index: u32, current: bool, restarts: u32) -> ReplicaView {
    ReplicaView {
        replica: replica(index),
        host: HOST.to_owned(),
        phase: Some(Phase::Running),
        health: Health::None,
        ready: current,
        current,
        image: String::new(),
        addresses: BTreeMap::new(),
        restarts,
        container: None,
        age_seconds: 0,
        reason: None,
        stuck: false,
    }
}

fn stats(container: &str) -> ReplicaStats {
    ReplicaStats {
        replica: replica(1),
        host: HOST.to_owned(),
        container: container.to_owned(),
        usage: Usage { cpu_nanos: 1_500_000_000, memory: 4096, pids: 3, ..Usage::default() },
        cpus: None,
        received_per_second: None,
        sent_per_second: None,
        connections: 0,
    }
}

fn facts() -> Facts {
    let service = ServiceView {
        service: "web".into(),
        addresses: BTreeMap::new(),
        ports: Vec::new(),
        ready: 1,
        wanted: 2,
        completed: 0,
        rollout: None,
        scaling: None,
    };
    let handed = |by_port, connections| HandedOutTo {
        app: APP.into(),
        service: "web".into(),
        by_port,
        connections,
        per_second: None,
    };
    let state = PeerState {
        host: HostId::new("b"),
        slice: "10.208.16.0/20".parse().unwrap(),
        open: true,
        packet_max: 1_400,
        round_trip: Some(Duration::from_millis(1)),
        sent_and_lost: (0, 0),
        counts: overlay::Counts { sent: 5, full: 2, too_large: 1, ..overlay::Counts::default() },
    };
    let member = Member {
        cluster: "c".to_owned(),
        host: HOST.to_owned(),
        id: "a".to_owned(),
        seen: Seen {
            hosts: vec![(HOST.to_owned(), Liveness::Alive), ("b\n".to_owned(), Liveness::Dead)],
            services: vec![(APP.into(), vec![service])],
            // The first is on its way out.
            replicas: vec![view(1, false, 7), view(1, true, 0), view(2, true, 1)],
        },
        stats: HostStats {
            replicas: vec![stats("old"), stats("new")],
            services: vec![handed(false, 5), handed(true, 7)],
            endpoints: vec![(replica(1), 12)],
        },
        consoles: [2, 1],
        gossip: [(1, 2), (3, 4), (5, 6)],
        store: (8, 9),
        resolver: Some(muster_dns::Counts::default()),
        tunnels: [("b\n".to_owned(), state)].into(),
    };
    Facts { started: 1.8e9, memory: Some(1), files: Some(2), member: Some(member) }
}

#[track_caller]
fn check(samples: &prometheus::Samples, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let found = samples.get(&(name.to_owned(), labels.collect()));
    assert_eq!(found, Some(&value), "{name} in {samples:#?}");
}

#[test]
fn a_strict_reader_takes_all_that_is_told() {
    let samples = prometheus::read(&render(&facts())).unwrap();
    let of = |index| [("app", APP), ("service", "web"), ("replica", index)];
    let to = |way| [("app", APP), ("service", "web"), ("way", way)];
    check(&samples, "process_start_time_seconds", &[], 1.8e9);
    check(&samples, "muster_hosts", &[("liveness", "dead")], 1.0);
    check(&samples, "muster_host_up", &[("host", HOST)], 1.0);
    check(&samples, "muster_host_up", &[("host", "b\n")], 0.0);
    check(&samples, "muster_service_connections_total", &to("port"), 7.0);
    check(&samples, "muster_service_connections_total", &to("address"), 5.0);
    check(&samples, "muster_replica_connections_total", &of("1"), 12.0);
    check(&samples, "muster_replica_restarts_total", &of("1"), 0.0);
    check(&samples, "muster_replica_restarts_total", &of("2"), 1.0);
    let container = [&of("1")[..], &[("container", "new")]].concat();
    check(&samples, "muster_replica_cpu_seconds_total", &container, 1.5);
    check(&samples, "muster_tunnel_dropped_packets_total", &[("host", "b\n")], 3.0);
    check(&samples, "muster_consoles", &[("programs", "away")], 1.0);
    check(&samples, "muster_gossip_sent_bytes_total", &[("kind", "state")], 4.0);
}

#[test]
fn a_host_without_a_cluster_tells_of_its_agent() {
    let samples = prometheus::read(&render(&Facts { member: None, ..facts() })).unwrap();
    assert_eq!(samples.len(), 4, "{samples:?}");
    check(&samples, "muster_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
}

#[test]
fn the_agent_finds_its_own_memory_and_files() {
    let (memory, files) = own_use();
    assert!(memory.is_some_and(|bytes| bytes > 1 << 20), "{memory:?}");
    assert!(files.is_some_and(|n| n > 2), "{files:?}");
}
