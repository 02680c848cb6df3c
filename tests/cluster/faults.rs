//! Hosts and agents that die. What runs elsewhere goes on, what was lost comes back, nothing runs
//! twice in the end.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::{Visitors, wait_for};

pub(crate) const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
pub(crate) const PORT: u16 = 8000;

/// A page from six replicas. As process 1 this httpd would not notice SIGTERM.
pub(crate) const PAGE: &str = "services:
  page:
    image: busybox:1
    command: sh -c \"hostname > index.html && exec httpd -f -p 8000\"
    working_dir: /tmp
    stop_signal: SIGKILL
    ports: [\"8000:8000\"]
    deploy: { replicas: 6 }
";

/// Of requests made in the second or two before a dead host is noticed, those that were under way
/// to it or were sent to it fail; more than this share of all means that it was not left out.
const FAILED_SHARE_MAX: f64 = 0.2;

#[test]
fn row_06_07_replicas_of_a_dead_host_come_back_elsewhere() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let before = cluster.spread(&HOSTS, "page");
    assert_eq!(before.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{before:?}");

    let visitors = Visitors::come(&cluster, &["h2", "h3"], PORT);
    cluster.control(&["kill", "h1"]);
    let took = wait_for("six replicas run on two hosts", LATER, || {
        cluster.spread(&["h2", "h3"], "page").values().sum::<usize>() == 6
    });
    cluster.await_settled("h2", "page");
    let at_failover = visitors.visits();
    cluster.await_alive("h2", 2);

    cluster.control(&["boot", "h1"]);
    cluster.start_agent("h1");
    cluster.await_alive("h2", 3);
    wait_for("no replica runs twice", LATER, || {
        let spread = cluster.spread(&HOSTS, "page");
        spread.values().sum::<usize>() == 6
    });
    cluster.await_settled("h1", "page");
    each_replica_runs_once(&cluster);
    wait_for("the host that came back serves", SOON, || cluster.page("h1", PORT).is_some());
    let visits = visitors.leave();
    println!("six replicas again after {took:?}; then {at_failover:?}, in the end {visits:?}");
    let n_all = visits.served + visits.failed;
    assert!(visits.failed as f64 <= n_all as f64 * FAILED_SHARE_MAX, "{visits:?}");
}

/// By the labels of the containers that really run.
pub(crate) fn each_replica_runs_once(cluster: &Cluster) {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for host in HOSTS {
        let format = "{{.Label \"muster.replica\"}}";
        let filter = "label=muster.service=page";
        for replica in cluster.docker(host, &["ps", "--filter", filter, "--format", format]).lines()
        {
            *count.entry(replica.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(count.len(), 6, "{count:?}");
    assert!(count.values().all(|n| *n == 1), "{count:?}");
}

#[test]
fn the_last_of_three_hosts_still_takes_up() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["busybox:1"]);
    }
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    // The first host goes first: the one that made the cluster is not special.
    cluster.control(&["kill", "h1"]);
    cluster.await_alive("h3", 2);
    cluster.control(&["kill", "h2"]);
    cluster.await_alive("h3", 1);

    std::fs::write(folder.join("compose.yaml"), PAGE.replace("replicas: 6", "replicas: 2"))
        .expect("the folder is ours");
    cluster.muster_in("h3", &folder, &["up"]).success();
    wait_for("two replicas run on the last host", LATER, || {
        cluster.containers("h3", "page").len() == 2
    });
    assert!(cluster.page("h3", PORT).is_some(), "the page answers");

    for host in ["h1", "h2"] {
        cluster.control(&["boot", host]);
        cluster.start_agent(host);
    }
    cluster.await_alive("h1", 3);
    wait_for("the hosts that were away follow", LATER, || {
        cluster.spread(&HOSTS, "page").values().sum::<usize>() == 2
    });
    let detail = cluster.ps("h1", "page").expect("the app runs");
    assert_eq!(detail.summary.wanted, 2, "{detail:?}");
}

#[test]
fn row_01_a_killed_agent_restarts_no_container() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let started = |host: &str| {
        let ids = cluster.containers(host, "page");
        let mut command = vec!["inspect", "-f", "{{.Id}} {{.State.StartedAt}}"];
        command.extend(ids.iter().map(String::as_str));
        let mut lines: Vec<String> =
            cluster.docker(host, &command).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before: Vec<Vec<String>> = HOSTS[..2].iter().map(|host| started(host)).collect();
    assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 6);

    cluster.control(&["stop", "h1", "agent", "KILL"]);
    cluster.start_agent("h1");
    cluster.await_alive("h2", 2);
    cluster.await_settled("h1", "page");
    let after: Vec<Vec<String>> = HOSTS[..2].iter().map(|host| started(host)).collect();
    assert_eq!(before, after);
    let detail = cluster.ps("h2", "page").expect("the app runs");
    assert!(detail.replicas.iter().all(|replica| replica.restarts == 0), "{detail:?}");

    // Half the replicas are behind a tunnel, which ends with the agent; those here serve on.
    cluster.control(&["stop", "h1", "agent", "KILL"]);
    wait_for("twenty pages in a row", SOON, || (0..20).all(|_| cluster.page("h1", PORT).is_some()));
}
