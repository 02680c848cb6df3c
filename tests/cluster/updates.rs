//! Changing what runs: an update that visitors do not notice, more and fewer replicas, an `up` that
//! was interrupted.

use std::path::Path;

use muster::api::{AppDetail, RevisionView};
use muster::model::Stage;

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

/// The same page, from a version whose health check never passes.
fn ill_pages(version: u32) -> String {
    let text = pages(version);
    let check = text.lines().find(|line| line.contains("test:")).expect("it has a health check");
    let ill = text.replace(check, "      test: [\"CMD\", \"false\"]");
    assert_ne!(ill, text);
    ill.replace("retries: 10", "retries: 2")
}

#[test]
fn row_31_a_version_that_is_never_healthy_is_rolled_back_and_fails_no_request() {
    let Some(cluster) = Cluster::form(3) else { return };
    cluster.load("h1", &["python:3.11-slim"]);
    let folder = cluster.compose("pages", &pages(1));
    cluster.muster_in("h1", &folder, &["up"]).success();
    wait_for("all hosts serve", SOON, || {
        HOSTS.iter().all(|host| cluster.page(host, 8081).as_deref() == Some("1\n"))
    });
    let before: Vec<String> = all_containers(&cluster);
    let visitors = Visitors::come(&cluster, &HOSTS, 8081);
    std::fs::write(folder.join("compose.yaml"), ill_pages(2)).expect("the folder is ours");
    // Of the image, h2 has not heard yet.
    let ended = cluster.muster_in("h2", &folder, &["up"]);
    assert_eq!(ended.code, 1, "yours to mend: {ended:?}");
    let words = "service `page` was rolled back to revision 1: replica `page/1` is not healthy";
    assert!(ended.stderr.contains(words), "{ended:?}");

    let seen = cluster.muster_in("h3", &folder, &["ps"]);
    assert!(seen.stderr.contains(words), "{seen:?}");
    let detail = cluster.ps("h2", "pages").expect("it runs");
    assert!(detail.settled && !detail.failed, "{detail:?}");
    assert_eq!(stage(&detail), Some(Stage::RolledBack));
    let history = history(&cluster);
    assert_eq!(history.len(), 2, "{history:?}");
    assert!(history[0].counts && history[0].undone.is_some(), "{history:?}");
    assert!(history[1].previous && history[1].undone.is_none(), "{history:?}");
    let changed: Vec<&str> = history[0].changes.iter().map(|one| one.key.as_str()).collect();
    assert!(changed.contains(&"environment.VERSION"), "{changed:?}");
    let events = cluster.muster("h2", &["events"]).success();
    assert!(events.contains("service `page` of app `pages` was rolled back"), "{events}");
    let after = all_containers(&cluster);
    let untouched = before.iter().filter(|id| after.contains(id)).count();
    assert_eq!((untouched, after.len()), (2, 3), "two were never replaced");

    // By hand, the whole way: a good version, and back.
    std::fs::write(folder.join("compose.yaml"), pages(3)).expect("the folder is ours");
    cluster.muster_in("h2", &folder, &["up"]).success();
    wait_for("version 3 is served", SOON, || cluster.page("h3", 8081).as_deref() == Some("3\n"));
    let looked = cluster.muster_in("h3", &folder, &["rollback", "--dry-run"]);
    assert!(looked.stdout.contains("page/1"), "{looked:?}");
    let back = cluster.muster_in("h3", &folder, &["rollback"]);
    assert!(back.stderr.contains("goes back to revision 1"), "{back:?}");
    back.success();
    for host in HOSTS {
        wait_for("version 1 is served", SOON, || {
            cluster.page(host, 8081).as_deref() == Some("1\n")
        });
    }
    let diff = cluster.muster_in("h1", &folder, &["diff", "3", "4"]).success();
    assert!(diff.contains("environment.VERSION"), "{diff}");
    let visits = visitors.leave();
    assert_eq!(visits.failed, 0, "{visits:?}");
    assert!(visits.served > 50, "{visits:?}");
    println!("rolled back twice under {} requests, none failed", visits.served);
}

#[test]
fn row_29_what_ends_a_moment_after_its_first_start_fails_up_with_its_last_words() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let text = |command: &str| {
        format!(
            "services:
  short:
    image: busybox:1
    command: sh -c '{command}'
    stop_signal: SIGKILL
"
        )
    };
    let folder = cluster.compose("short", &text("sleep 1; echo no settings >&2; exit 3"));
    // Of the image, h2 has not heard yet.
    let ended = cluster.muster_in("h2", &folder, &["up"]);
    assert_eq!(ended.code, 1, "yours to mend: {ended:?}");
    assert!(ended.stderr.contains("short-1 | no settings"), "{ended:?}");
    assert!(ended.stderr.contains("exited with code 3"), "{ended:?}");
    // What stays up is watched, and then good.
    std::fs::write(folder.join("compose.yaml"), text("sleep 3600")).expect("the folder is ours");
    let ended = cluster.muster_in("h1", &folder, &["up"]);
    assert!(ended.stderr.contains("app `short` is up"), "{ended:?}");
    ended.success();
}

fn all_containers(cluster: &Cluster) -> Vec<String> {
    HOSTS.iter().flat_map(|host| cluster.containers(host, "page")).collect()
}

fn stage(detail: &AppDetail) -> Option<Stage> {
    let service = detail.services.iter().find(|one| one.service.as_str() == "page")?;
    Some(service.rollout.as_ref()?.stage)
}

fn history(cluster: &Cluster) -> Vec<RevisionView> {
    let text = cluster.muster("h2", &["history", "pages", "--json"]).success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
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
