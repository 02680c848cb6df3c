//! What is seen of a cluster at work on three hosts: `stats`, `/metrics`, `doctor --network`. The load is
//! counted, and what is told of it must be that number and no other.

use std::collections::BTreeMap;

use muster::api::{AppStats, NetworkReport};

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::wait_for;
use crate::prometheus::{self, Samples};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// Pages asked for from outside, through each host.
const PAGES: u64 = 40;
/// Connections to the service's address from a container.
const CALLS: u64 = 25;
/// Questions about names from a container.
const NAMES: u64 = 30;

/// A page of a few kilobytes on every host, and a client.
const FILE: &str = r#"services:
  page:
    image: python:3.11-slim
    command: ["python3", "-u", "-m", "http.server", "-d", "/usr/lib", "80"]
    stop_signal: SIGKILL
    ports: ["8080:80"]
    deploy: { replicas: 3 }
  client:
    image: python:3.11-slim
    command: sleep 100000
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.hostname==h1"] } }
"#;

/// Calls `page` by its name so many times, a connection each.
const CALL: &str = "import sys, urllib.request
for n in range(int(sys.argv[1])): urllib.request.urlopen('http://page/').read()";

/// Computes until the test is done with it.
const COMPUTE: &str = "import time
end = time.time() + 60
while time.time() < end: pass";

/// Asks for a name so many times.
const ASK: &str = "import socket, sys
for n in range(int(sys.argv[1])): socket.gethostbyname('page.seeing.internal')";

fn stats(cluster: &Cluster, host: &str) -> AppStats {
    let text = cluster.muster(host, &["stats", "-p", "seeing", "--no-stream", "--json"]).success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// All that the agent of a host tells, which must be as the format has it.
fn metrics(cluster: &Cluster, host: &str) -> Samples {
    let command = ["curl", "-fsS", "--unix-socket", "/run/muster.sock", "http://muster/metrics"];
    let text = cluster.exec(host, &command).success() + "\n";
    prometheus::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The sum of a metric's samples with these labels, over all hosts.
fn sum(cluster: &Cluster, name: &str, labels: &[(&str, &str)]) -> u64 {
    let of_host = |host: &&str| -> f64 { select(&metrics(cluster, host), name, labels) };
    HOSTS.iter().map(of_host).sum::<f64>() as u64
}

fn select(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |found: &BTreeMap<String, String>| {
        labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
    };
    let found = samples.iter().filter(|((of, found), _)| of == name && has(found));
    found.map(|(_, value)| value).sum()
}

fn connections(cluster: &Cluster, way: &str) -> u64 {
    let labels = [("app", "seeing"), ("service", "page"), ("way", way)];
    sum(cluster, "muster_service_connections_total", &labels)
}

/// Python in the client's container.
fn client(cluster: &Cluster, script: &str, argument: u64) {
    let containers = cluster.containers("h1", "client");
    let [container] = containers.as_slice() else { panic!("the client runs as {containers:?}") };
    let argument = argument.to_string();
    cluster.docker("h1", &["exec", container, "python3", "-c", script, &argument]);
}

#[test]
fn what_is_done_is_what_is_counted() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["python:3.11-slim"]);
    }
    let folder = cluster.compose("seeing", FILE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    for host in HOSTS {
        wait_for(&format!("the page answers through {host}"), SOON, || {
            cluster.page(host, 8080).is_some()
        });
    }
    connections_are_counted(&cluster);
    rules_made_anew_forget_nothing(&cluster);
    use_is_measured(&cluster);
    names_are_counted(&cluster);
    the_agents_tell_of_themselves(&cluster);
    ways_are_tried(&cluster);
    a_dead_host_is_shown_as_such(&cluster);
}

/// From outside through every host, and from a container by the service's name.
fn load(cluster: &Cluster) {
    for host in HOSTS {
        let url = format!("http://{}:8080/?[1-{PAGES}]", cluster.address(host));
        // A connection a page, as a client without keep-alive makes them.
        let command = ["curl", "-fsS", "-H", "connection: close", "-o", "/dev/null", &url];
        cluster.exec("outside", &command).success();
    }
    client(cluster, CALL, CALLS);
}

fn connections_are_counted(cluster: &Cluster) {
    let ways = || (connections(cluster, "port"), connections(cluster, "address"));
    let total = |stats: &AppStats| {
        let page = stats.services.iter().find(|one| one.service.as_str() == "page");
        page.expect("it is there").connections
    };
    let each = |stats: &AppStats| -> u64 {
        let pages = stats.replicas.iter().filter(|one| one.replica.service.as_str() == "page");
        pages.map(|one| one.connections).sum()
    };
    let (before, shown) = (ways(), stats(cluster, "h2"));
    load(cluster);
    let expected = (before.0 + 3 * PAGES, before.1 + CALLS);
    // What was counted within the last second is not told yet.
    wait_for("all is counted", SOON, || ways() >= expected);
    assert_eq!(ways(), expected);
    let after = stats(cluster, "h3");
    assert_eq!(after.silent, []);
    assert_eq!(total(&after) - total(&shown), 3 * PAGES + CALLS);
    assert_eq!(each(&after) - each(&shown), 3 * PAGES + CALLS);
    let labels = [("app", "seeing"), ("service", "page")];
    let by_replica = sum(cluster, "muster_replica_connections_total", &labels);
    assert_eq!(by_replica, expected.0 + expected.1);
}

/// Another number of replicas replaces every rule on every host.
fn rules_made_anew_forget_nothing(cluster: &Cluster) {
    let ways = || (connections(cluster, "port"), connections(cluster, "address"));
    let before = ways();
    cluster.muster("h2", &["scale", "-p", "seeing", "page=4"]).success();
    cluster.await_settled("h3", "seeing");
    assert_eq!(ways(), before);
    for host in HOSTS {
        cluster.exec(host, &["nft", "delete", "table", "ip", "muster"]).success();
        wait_for("the rules are back", SOON, || cluster.page(host, 8080).is_some());
    }
    // A try before the rules were back may have been handed out or not; after them, all are.
    let again = ways();
    load(cluster);
    let expected = (again.0 + 3 * PAGES, again.1 + CALLS);
    wait_for("all is counted again", SOON, || ways() >= expected);
    assert_eq!(ways(), expected);
    assert!(again >= (before.0 + 3, before.1), "{again:?} after {before:?}");
}

fn use_is_measured(cluster: &Cluster) {
    let shown = stats(cluster, "h1");
    let running = cluster.spread(&HOSTS, "page").values().sum::<usize>() + 1;
    assert_eq!(shown.replicas.len(), running, "{shown:?}");
    for one in &shown.replicas {
        let there = cluster.containers(&one.host, one.replica.service.as_str());
        assert!(!there.is_empty(), "{one:?}");
        assert!(one.usage.memory > 100_000 && one.usage.memory < one.usage.memory_limit, "{one:?}");
        assert!(one.usage.cpu_nanos > 1_000_000 && one.usage.pids > 0, "{one:?}");
        assert!(one.usage.received > 0 && one.usage.sent > 0, "{one:?}");
    }
    // A process that does nothing but compute is seen to take a CPU, or what there is of one.
    let container = cluster.containers("h1", "client")[0].clone();
    cluster.docker("h1", &["exec", "-d", &container, "python3", "-c", COMPUTE]);
    wait_for("the client is seen to be busy", LATER, || {
        let shown = stats(cluster, "h2");
        let client = shown.services.iter().find(|one| one.service.as_str() == "client");
        client.is_some_and(|client| client.cpus > 0.2)
    });
    let table = cluster.muster("h3", &["stats", "-p", "seeing", "client"]).success();
    assert!(table.starts_with("REPLICA") && table.contains("client/1"), "{table}");
}

fn names_are_counted(cluster: &Cluster) {
    let read = || {
        let samples = metrics(cluster, "h1");
        let records = select(&samples, "muster_dns_answers_total", &[("kind", "records")]);
        (select(&samples, "muster_dns_questions_total", &[]) as u64, records as u64)
    };
    let before = read();
    client(cluster, ASK, NAMES);
    let after = read();
    // The C library asks for the address of IPv4 alone, once each.
    assert_eq!(after.1 - before.1, NAMES, "questions: {}", after.0 - before.0);
}

fn the_agents_tell_of_themselves(cluster: &Cluster) {
    for host in HOSTS {
        let samples = metrics(cluster, host);
        let of = |name: &str, labels: &[(&str, &str)]| select(&samples, name, labels);
        assert_eq!(of("muster_hosts", &[("liveness", "alive")]), 3.0, "{host}");
        assert_eq!(of("muster_hosts", &[("liveness", "dead")]), 0.0, "{host}");
        assert_eq!(of("muster_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
        assert!(of("muster_gossip_sent_messages_total", &[("kind", "probe")]) > 0.0, "{host}");
        assert!(of("muster_gossip_received_messages_total", &[]) > 0.0, "{host}");
        assert!(of("muster_store_writes_total", &[]) > 0.0, "{host}");
        assert!(of("process_resident_memory_bytes", &[]) > 1e6, "{host}");
        assert_eq!(of("muster_service_replicas_ready", &[("service", "page")]), 4.0, "{host}");
        assert_eq!(of("muster_tunnel_up", &[]), 2.0, "{host}");
        assert!(of("muster_tunnel_sent_packets_total", &[]) > 0.0, "{host}");
    }
    // Over TCP nothing is told where nobody asked for it.
    let closed = cluster.exec("h1", &["curl", "-s", "-m", "2", "http://127.0.0.1:7401/metrics"]);
    assert_eq!(closed.code, 7, "{closed:?}");
    cluster.control(&["stop", "h1", "agent", "TERM"]);
    let command = [crate::cluster::MUSTER, "agent", "--metrics", "7402"];
    cluster.spawn_in("h1", "agent", std::path::Path::new("/"), &command);
    let url = "http://127.0.0.1:7402/metrics";
    wait_for("the metrics are told on a port", SOON, || {
        cluster.exec("h1", &["curl", "-fsS", url]).stdout.contains("muster_hosts{")
    });
    let text = cluster.exec("h1", &["curl", "-fsS", url]).stdout;
    prometheus::read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let from_outside = format!("http://{}:7402/metrics", cluster.address("h1"));
    let refused = cluster.exec("outside", &["curl", "-s", "-m", "2", &from_outside]);
    assert_eq!(refused.code, 7, "only this machine is told: {refused:?}");
    cluster.await_alive("h2", 3);
    cluster.await_alive("h1", 3);
}

fn report(cluster: &Cluster, host: &str) -> NetworkReport {
    let text = cluster.muster(host, &["doctor", "--network", "--json"]).stdout;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ways_are_tried(cluster: &Cluster) {
    wait_for("tunnels are there, as wide as the way", SOON, || {
        let found = report(cluster, "h2");
        let paths = found.hosts.iter().filter_map(|host| host.found.as_ref());
        let paths: Vec<_> = paths.flat_map(|found| &found.paths).collect();
        paths.len() == 6 && paths.iter().all(|path| path.mtu.is_some_and(|mtu| mtu > 1_280))
    });
    let found = report(cluster, "h2");
    for host in &found.hosts {
        let told = host.found.as_ref().unwrap_or_else(|| panic!("{host:?}"));
        for path in &told.paths {
            assert_eq!(path.packets.answered, path.packets.sent, "{path:?}");
            assert!(path.agent.answered > 0 && path.packets.min_us.is_some(), "{path:?}");
            assert!(path.tunnel.as_ref().is_some_and(|tunnel| tunnel.open), "{path:?}");
        }
        assert_eq!(told.resolver.cluster.error, None, "{host:?}");
    }
    let shown = cluster.muster("h3", &["doctor", "--network"]);
    assert!(shown.stdout.contains("6 ways from host to host"), "{shown:?}");
    let doctor = cluster.muster("h1", &["doctor"]).stdout;
    assert!(doctor.contains("knows the names of the cluster"), "{doctor}");
    // A firewall that drops what the tunnels carry, and leaves the agents alone.
    cluster.exec("h3", &["nft", "add", "table", "ip", "broken"]).success();
    let chain = "{ type filter hook input priority -200; }";
    cluster.exec("h3", &["nft", "add", "chain", "ip", "broken", "in", chain]).success();
    let rule = ["nft", "add", "rule", "ip", "broken", "in", "iifname", "muster1", "drop"];
    cluster.exec("h3", &rule).success();
    let shown = cluster.muster("h2", &["doctor", "--network"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    for way in ["from `h1` to `h3`", "from `h2` to `h3`", "from `h3` to `h1`"] {
        let words = format!("the tunnel {way} is there, and carries no packet");
        assert!(shown.stdout.contains(&words), "{words}: {shown:?}");
    }
    assert!(!shown.stdout.contains("from `h1` to `h2`"), "{shown:?}");
    cluster.exec("h3", &["nft", "delete", "table", "ip", "broken"]).success();
}

fn a_dead_host_is_shown_as_such(cluster: &Cluster) {
    cluster.control(&["kill", "h3"]);
    cluster.await_alive("h1", 2);
    wait_for("h3 is taken for dead", SOON, || {
        select(&metrics(cluster, "h1"), "muster_hosts", &[("liveness", "dead")]) == 1.0
    });
    let begun = std::time::Instant::now();
    let shown = cluster.muster("h1", &["doctor", "--network"]);
    let took = begun.elapsed();
    assert!(took.as_secs() < 10, "it took {took:?}");
    assert_eq!(shown.code, 1, "{shown:?}");
    let words = format!("`h3` at {}:7400 is dead", cluster.address("h3"));
    assert!(shown.stdout.contains(&words), "{shown:?}");
    assert!(shown.stdout.contains("2 ways from host to host"), "{shown:?}");
    println!("doctor --network with a dead host took {took:?}:\n{}", shown.stdout);
    let stats = stats(cluster, "h1");
    println!("stats with a dead host: {} replicas, {:?}", stats.replicas.len(), stats.silent);
}
