//! Changing what runs: an update that visitors do not notice, more and fewer replicas, an `up` that
//! was interrupted.

use std::path::Path;

use crate::cluster::{Cluster, LATER, MUSTER, SOON};
use crate::lab::{Visitors, wait_for};

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];

/// A page that says `version`, from a server that ends what it has begun.
fn pages(version: u32) -> String {
    let server = include_str!("pages.py");
    let server = server.lines().map(|line| format!("      {line}\n")).collect::<String>();
    format!(
        r#"services:
  page:
    image: python:3.11-slim
    command: ["python3", "-u", "/server.py"]
    environment: {{ VERSION: "{version}" }}
    ports: ["8081:8081"]
    configs: [{{ source: server, target: /server.py }}]
    healthcheck:
      test: ["CMD", "python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/', timeout=2)"]
      interval: 1s
      retries: 10
    deploy:
      replicas: 3
      update_config: {{ order: start-first }}
configs:
  server:
    content: |
{server}"#
    )
}

#[test]
fn an_update_fails_no_request() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["python:3.11-slim"]);
    let folder = cluster.compose("pages", &pages(1));
    cluster.muster_in("h1", &folder, &["up"]).success();
    wait_for("version 1 is served", SOON, || cluster.page("h2", 8081).as_deref() == Some("1\n"));

    let visitors = Visitors::come(&cluster, &HOSTS, 8081);
    std::fs::write(folder.join("compose.yaml"), pages(2)).expect("the folder is ours");
    let planned = cluster.muster_in("h1", &folder, &["plan"]);
    assert_eq!(planned.code, 2, "changes are pending: {planned:?}");
    cluster.muster_in("h1", &folder, &["up"]).success();
    for host in HOSTS {
        wait_for("version 2 is served", SOON, || {
            cluster.page(host, 8081).as_deref() == Some("2\n")
        });
    }
    cluster.muster_in("h2", &folder, &["scale", "page=5"]).success();
    wait_for("five replicas run", LATER, || {
        cluster.spread(&HOSTS, "page").values().sum::<usize>() == 5
    });
    cluster.await_settled("h3", "pages");
    cluster.muster_in("h2", &folder, &["scale", "page=2"]).success();
    wait_for("two replicas run", LATER, || {
        cluster.spread(&HOSTS, "page").values().sum::<usize>() == 2
    });
    let visits = visitors.leave();
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert!(visits.served > 50, "{visits:?}");

    let again = cluster.muster_in("h1", &folder, &["plan", "--json"]);
    // `scale` changed the replicas; the file still says three.
    assert_eq!(again.code, 2, "{again:?}");
}

#[test]
fn a_drain_fails_no_request_and_leaves_the_host_empty_until_it_is_active() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["python:3.11-slim"]);
    let folder = cluster.compose("pages", &pages(1));
    cluster.muster_in("h1", &folder, &["up"]).success();
    wait_for("all hosts serve", SOON, || {
        HOSTS.iter().all(|host| cluster.page(host, 8081).as_deref() == Some("1\n"))
    });
    let visitors = Visitors::come(&cluster, &HOSTS, 8081);
    let on_h2 = || cluster.spread(&["h2"], "page").values().sum::<usize>();
    assert!(on_h2() > 0, "three replicas are spread over three hosts");
    // Asked of another host than the one that is drained.
    let ended = cluster.muster_in("h3", Path::new("/"), &["node", "drain", "h2"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(on_h2(), 0, "{ended:?}");
    cluster.muster_in("h1", &folder, &["scale", "page=6"]).success();
    assert_eq!(on_h2(), 0, "nothing new is placed there");
    cluster.muster_in("h2", Path::new("/"), &["node", "activate", "h2"]).success();
    cluster.muster_in("h1", &folder, &["scale", "page=9"]).success();
    assert!(on_h2() > 0, "an active host is used again");
    let visits = visitors.leave();
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert!(visits.served > 50, "{visits:?}");
}

#[test]
fn row_46_an_interrupted_up_is_continued_by_the_next() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["busybox:1"]);
    let text = "services:
  idle:
    image: busybox:1
    command: sleep 3600
    stop_signal: SIGKILL
    deploy: { replicas: 24 }
";
    let folder = cluster.compose("interrupted", text);
    let running = || cluster.spread(&HOSTS, "idle").values().sum::<usize>();
    cluster.spawn_in("h1", "up", &folder, &[MUSTER, "up"]);
    wait_for("the first replica runs", LATER, || running() > 0);
    // It may have ended in the meantime, on a fast machine.
    if cluster.is_running("h1", "up") {
        cluster.control(&["stop", "h1", "up", "KILL"]);
    }
    for host in HOSTS {
        let known = cluster.ps(host, "interrupted").expect("the app was stored before it was run");
        assert_eq!(known.summary.conflicts, [], "{known:?}");
    }

    cluster.muster_in("h2", &folder, &["up"]).success();
    assert_eq!(running(), 24);
    let planned = cluster.muster_in("h3", &folder, &["plan"]);
    assert_eq!(planned.code, 0, "nothing is left to do: {planned:?}");
    cluster.muster_in("h1", Path::new("/"), &["down", "-p", "interrupted"]).success();
    assert_eq!(running(), 0);
}
