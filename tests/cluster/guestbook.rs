//! The example `guestbook-postgres` on two hosts: order at start, and data that outlives its server.

use std::path::Path;

use crate::cluster::{Cluster, LATER, SOON, example};
use crate::lab::wait_for;

const HOSTS: [&str; 2] = ["h1", "h2"];
const APP: &str = "guestbook-postgres";
const PORT: u16 = 8090;

#[test]
fn the_guestbook_waits_for_its_database_and_keeps_entries() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["python:3.11-slim", "postgres:15"]);
    cluster.muster_in("h1", &example(APP), &["up"]).success();
    web_started_after_the_database_was_healthy(&cluster);

    let signed = sign(&cluster, "h2", "name=Ada&message=Hello");
    assert_eq!(signed, "303", "signed through the host that may not run it");
    let page = cluster.page("h1", PORT).expect("the page answers");
    assert!(page.contains("<b>Ada</b>: Hello"), "{page}");

    let keeper = cluster.host_of("db");
    let container = cluster.containers(&keeper, "db").remove(0);
    let pid = cluster.docker(&keeper, &["inspect", "-f", "{{.State.Pid}}", &container]);
    cluster.exec(&keeper, &["sh", "-c", "kill -KILL \"$0\"", &pid]).success();
    wait_for("the entry is served again", LATER, || {
        cluster.page("h2", PORT).is_some_and(|page| page.contains("<b>Ada</b>: Hello"))
    });
    assert_eq!(cluster.host_of("db"), keeper, "data stays where it is");
    cluster.await_settled("h1", APP);
    assert_eq!(cluster.spread(&HOSTS, "db").values().sum::<usize>(), 1);

    cluster.muster_in("h2", &example(APP), &["down", "-v"]).success();
}

/// Compares what Docker noted, on whichever hosts the two run: one kernel, so one clock.
fn web_started_after_the_database_was_healthy(cluster: &Cluster) {
    let health = "{{range .State.Health.Log}}{{if eq .ExitCode 0}}{{.End.Unix}} {{end}}{{end}}";
    let keeper = cluster.host_of("db");
    let db = cluster.containers(&keeper, "db").remove(0);
    let healthy = cluster.docker(&keeper, &["inspect", "-f", health, &db]);
    let started = "{{.State.StartedAt}}";
    let host = cluster.host_of("web");
    let web = cluster.containers(&host, "web").remove(0);
    let started = cluster.docker(&host, &["inspect", "-f", started, &web]);
    let started: jiff::Timestamp = started.parse().expect("Docker writes RFC 3339");
    // Docker keeps the last five results; the first good one of them is no earlier than the first.
    let created = cluster.docker(&keeper, &["inspect", "-f", "{{.State.StartedAt}}", &db]);
    let created: jiff::Timestamp = created.parse().expect("Docker writes RFC 3339");
    assert!(started > created, "web {started}, db {created}");
    let n_good = healthy.split_whitespace().count();
    assert!(n_good > 0, "the database was never healthy");
    if let (1..5, Some(first)) = (n_good, healthy.split_whitespace().next()) {
        let first: i64 = first.parse().expect("seconds");
        assert!(started.as_second() >= first, "web {started}, db healthy at {first}");
    }
}

/// The HTTP status of a form that was sent.
fn sign(cluster: &Cluster, host: &str, form: &str) -> String {
    let url = format!("http://{}:{PORT}/", cluster.address(host));
    wait_for("the page answers", SOON, || cluster.page(host, PORT).is_some());
    let command =
        ["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-d", form, &url];
    cluster.exec_in("outside", Path::new("/"), &command).success()
}
