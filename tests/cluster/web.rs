//! The example `web-redis` on three hosts, the whole way: images, names, addresses, pages.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use muster::api::{AppDetail, Liveness};

use crate::cluster::{Cluster, SOON, example};
use crate::lab::wait_for;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const APP: &str = "web-redis";
const PORT: u16 = 8080;

#[test]
fn web_redis_runs_on_three_hosts_from_images_that_one_has() {
    let Some(cluster) = Cluster::form(3) else { return };
    nodes_say_the_truth(&cluster);
    cluster.load("h1", &["python:3.11-slim", "redis:7"]);

    cluster.muster_in("h1", &example(APP), &["up"]).success();

    let detail = cluster.ps("h2", APP).expect("the app is known on every host");
    assert!(detail.settled && !detail.failed, "{detail:?}");
    ps_says_what_docker_says(&cluster, &detail);
    images_were_streamed(&cluster);
    pages_count_visits(&cluster);
    names_resolve(&cluster, &detail);
    addresses_stay(&cluster, &detail);
    everything_goes(&cluster);
}

fn nodes_say_the_truth(cluster: &Cluster) {
    for host in HOSTS {
        let nodes = cluster.nodes(host);
        let names: BTreeSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(HOSTS), "seen from {host}");
        for node in nodes {
            assert_eq!(node.liveness, Liveness::Alive, "{} seen from {host}", node.name);
            assert_eq!(node.address.ip().to_string(), cluster.address(&node.name));
            assert_eq!(node.this, node.name == host);
            assert!(!node.engine_version.is_empty(), "{node:?}");
        }
    }
    let slices: BTreeSet<_> = cluster.nodes("h1").into_iter().map(|node| node.slice).collect();
    assert_eq!(slices.len(), 3, "each host has addresses of its own: {slices:?}");
}

fn ps_says_what_docker_says(cluster: &Cluster, detail: &AppDetail) {
    assert_eq!(detail.replicas.len(), 4, "three of web, one of redis: {detail:?}");
    for host in HOSTS {
        let listed = cluster.docker(host, &["ps", "--format", "{{.Names}}"]);
        let running: BTreeSet<&str> = listed.lines().collect();
        let said = detail.replicas.iter().filter(|replica| replica.host == host);
        let said: BTreeSet<&str> =
            said.filter_map(|replica| replica.container.as_deref()).collect();
        assert_eq!(running, said, "on {host}");
    }
    let spread = cluster.spread(&HOSTS, "web");
    assert_eq!(spread.len(), 3, "the replicas are spread: {spread:?}");
}

fn images_were_streamed(cluster: &Cluster) {
    let here = cluster.containers("h1", "web");
    let image = |host: &str, container: &str| {
        cluster.docker(host, &["inspect", "-f", "{{.Image}}", container])
    };
    let built = image("h1", &here[0]);
    for host in ["h2", "h3"] {
        let there = cluster.containers(host, "web");
        assert_eq!(image(host, &there[0]), built, "{host} runs what h1 built");
    }
}

/// Asks through each host in turn; every visit is counted once, by the one Redis.
fn pages_count_visits(cluster: &Cluster) {
    for host in HOSTS {
        wait_for(&format!("the page answers through {host}"), SOON, || {
            cluster.page(host, PORT).is_some()
        });
    }
    let mut last = None;
    let mut names = BTreeSet::new();
    for round in 0..12 {
        let host = HOSTS[round % 3];
        let page = cluster.page(host, PORT).expect("the page answers");
        let (visit, name) = read_page(&page);
        if let Some(last) = last {
            assert_eq!(visit, last + 1, "through {host}: {page}");
        }
        last = Some(visit);
        names.insert(name.to_owned());
    }
    assert!(names.len() > 1, "more than one replica answers: {names:?}");
    let counted = cluster.host_of("redis");
    let redis = &cluster.containers(&counted, "redis")[0];
    let visits = cluster.docker(&counted, &["exec", redis, "redis-cli", "get", "visits"]);
    assert_eq!(visits.parse(), Ok(last.expect("asked above")));
}

/// `visit 7, answered by NAME`.
fn read_page(page: &str) -> (u64, &str) {
    let words =
        page.trim().strip_prefix("visit ").and_then(|rest| rest.split_once(", answered by "));
    let (visit, name) = words.unwrap_or_else(|| panic!("not the page: {page}"));
    (visit.parse().expect("a number"), name)
}

/// What a container on `host` finds under a name.
fn look_up(cluster: &Cluster, host: &str, name: &str) -> BTreeSet<Ipv4Addr> {
    let web = &cluster.containers(host, "web")[0];
    let found = cluster.docker(host, &["exec", web, "getent", "ahostsv4", name]);
    let addresses = found.lines().filter_map(|line| line.split_whitespace().next());
    addresses.map(|address| address.parse().expect("an address")).collect()
}

fn names_resolve(cluster: &Cluster, detail: &AppDetail) {
    for service in &detail.services {
        let name = service.service.as_str();
        let addresses: BTreeSet<Ipv4Addr> = service.addresses.values().copied().collect();
        for host in HOSTS {
            assert_eq!(look_up(cluster, host, name), addresses, "`{name}` on {host}");
        }
    }
    let replicas =
        detail.replicas.iter().filter(|replica| replica.replica.service.as_str() == "web");
    let replicas: BTreeSet<Ipv4Addr> =
        replicas.flat_map(|replica| replica.addresses.values().copied()).collect();
    assert_eq!(replicas.len(), 3, "{detail:?}");
    assert_eq!(look_up(cluster, "h1", "tasks.web"), replicas);
}

/// The address of a Service outlives its replicas.
fn addresses_stay(cluster: &Cluster, before: &AppDetail) {
    cluster.muster_in("h2", &example(APP), &["scale", "web=5"]).success();
    cluster.await_settled("h1", APP);
    let after = cluster.ps("h3", APP).expect("the app runs");
    assert_eq!(after.replicas.len(), 6, "{after:?}");
    for (old, new) in before.services.iter().zip(&after.services) {
        assert_eq!((&old.service, &old.addresses), (&new.service, &new.addresses));
    }
}

/// `down` takes containers and networks and leaves the volume, which `-v` takes too.
fn everything_goes(cluster: &Cluster) {
    let keeper = cluster.host_of("redis");
    cluster.muster_in("h3", &example(APP), &["down"]).success();
    nothing_runs(cluster);
    let volumes = |host: &str| cluster.docker(host, &["volume", "ls", "-q"]);
    assert!(volumes(&keeper).contains("redis-data"), "the volume stays: {}", volumes(&keeper));

    cluster.muster_in("h1", &example(APP), &["up"]).success();
    assert_eq!(cluster.host_of("redis"), keeper, "the data is there");
    let page = cluster.page("h2", PORT).expect("the page answers");
    assert!(read_page(&page).0 > 12, "the count goes on: {page}");

    cluster.muster_in("h1", &example(APP), &["down", "-v"]).success();
    nothing_runs(cluster);
    for host in HOSTS {
        assert_eq!(volumes(host), "", "on {host}");
    }
}

fn nothing_runs(cluster: &Cluster) {
    for host in HOSTS {
        assert_eq!(cluster.docker(host, &["ps", "-aq"]), "", "containers on {host}");
        let networks = cluster.docker(
            host,
            &["network", "ls", "--format", "{{.Name}}", "--filter", "label=muster.app"],
        );
        assert_eq!(networks, "", "networks on {host}");
    }
    wait_for("the app is forgotten", SOON, || {
        cluster.ps("h1", APP).is_none_or(|detail| detail.replicas.is_empty())
    });
}
