//! Services whose containers join the network of another one's (`network_mode: service:x`).

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::{Visitors, wait_for};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const PORT: u16 = 8090;

/// `gate` has the port and does nothing; `page` listens there.
fn pods(text: &str) -> String {
    format!(
        "services:
  gate:
    image: python:3.11-slim
    command: [sleep, infinity]
    init: true
    stop_grace_period: 1s
    ports: [\"{PORT}:8081\"]
    deploy: {{replicas: 2}}
  page:
    image: python:3.11-slim
    network_mode: service:gate
    init: true
    depends_on: [gate]
    deploy: {{replicas: 2}}
    command: [sh, -c, \"mkdir /www; echo {text} > /www/index.html; exec python3 -m http.server -d /www 8081\"]
    healthcheck:
      test: [CMD, python3, -c, \"import socket; socket.create_connection(('127.0.0.1', 8081))\"]
      interval: 1s
      retries: 10
"
    )
}

/// Whether each `page` is beside a `gate` and has its network.
fn all_are_together(cluster: &Cluster) -> bool {
    let (gates, pages) = (cluster.spread(&HOSTS, "gate"), cluster.spread(&HOSTS, "page"));
    gates == pages && gates.values().sum::<usize>() == 2
}

fn is_served(cluster: &Cluster, hosts: &[&str], text: &str) -> bool {
    let page = format!("{text}\n");
    hosts.iter().all(|host| cluster.page(host, PORT).as_deref() == Some(page.as_str()))
}

#[test]
fn services_that_share_a_network_are_on_one_host_and_stay_together() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["python:3.11-slim"]);
    let folder = cluster.compose("pods", &pods("one"));
    cluster.muster_in("h1", &folder, &["up"]).success();
    assert!(all_are_together(&cluster));
    wait_for("all hosts serve", SOON, || is_served(&cluster, &HOSTS, "one"));
    let refused = cluster.muster_in("h2", &folder, &["scale", "page=3"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("scale that one"), "{refused:?}");

    a_gate_that_is_killed_takes_its_page_along(&cluster);

    // Who asks meets the old copies or the new ones, never none.
    let visitors = Visitors::come(&cluster, &HOSTS, PORT);
    std::fs::write(folder.join("compose.yaml"), pods("two")).expect("the folder is ours");
    cluster.muster_in("h1", &folder, &["up"]).success();
    wait_for("the new pages are served", SOON, || is_served(&cluster, &HOSTS, "two"));
    cluster.await_settled("h2", "pods");
    let visits = visitors.leave();
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert!(all_are_together(&cluster));

    let spread = cluster.spread(&HOSTS, "gate");
    let lost = ["h2", "h3"].into_iter().find(|host| spread.contains_key(*host));
    let lost = lost.expect("two replicas are on two hosts");
    cluster.control(&["kill", lost]);
    let left: Vec<&str> = HOSTS.into_iter().filter(|host| *host != lost).collect();
    wait_for("both pods run on the hosts that are left", LATER, || {
        let counts = |service| cluster.spread(&left, service);
        counts("gate").values().sum::<usize>() == 2 && counts("gate") == counts("page")
    });
    wait_for("they serve", SOON, || is_served(&cluster, &left, "two"));
}

/// A container that was started again has a new network: what joined the old one must follow.
fn a_gate_that_is_killed_takes_its_page_along(cluster: &Cluster) {
    let spread = cluster.spread(&HOSTS, "gate");
    let host =
        HOSTS.into_iter().find(|host| spread.contains_key(*host)).expect("they are on two hosts");
    let (gate, page) = (&cluster.containers(host, "gate")[0], &cluster.containers(host, "page")[0]);
    cluster.docker(host, &["kill", gate]);
    wait_for("both are one again", SOON, || {
        let state = "{{.State.Running}} {{.State.StartedAt}}";
        let ask = |id: &str| cluster.docker(host, &["inspect", "-f", state, id]);
        let (gate, page) = (ask(gate), ask(page));
        let started = |text: &str| text.strip_prefix("true ").map(str::to_owned);
        matches!((started(&gate), started(&page)), (Some(gate), Some(page)) if page > gate)
    });
    wait_for("the page has a way out", SOON, || {
        cluster.exec(host, &["docker", "exec", page, "grep", "-q", "eth0", "/proc/net/dev"]).code
            == 0
    });
    cluster.await_settled(host, "pods");
    wait_for("all hosts serve", SOON, || is_served(cluster, &HOSTS, "one"));
}
