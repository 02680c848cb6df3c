//! A port of a host that another program has (row 33).

use std::path::Path;
use std::time::Instant;

use crate::cluster::{Cluster, LATER, SOON};
use crate::faults::HOSTS;
use crate::lab::wait_for;

const PORT: &str = "8033";

/// Each replica listens on its own host alone.
const HERE: &str = "services:
  here:
    image: busybox:1
    command: sh -c \"hostname > index.html && exec httpd -f -p 80\"
    working_dir: /tmp
    stop_signal: SIGKILL
    deploy: { replicas: 2 }
    ports: [{ target: 80, published: 8033, mode: host }]
";

/// Says that it listens, and does.
const SQUATTER: &str = "import socket, time
listener = socket.create_server((\"0.0.0.0\", 8033))
print(\"listens\", flush=True)
time.sleep(100000)
";

fn squat(cluster: &Cluster, host: &str, name: &str) {
    cluster.spawn_in(host, name, Path::new("/"), &["python3", "-c", SQUATTER]);
    wait_for("it listens", SOON, || cluster.output_of(host, name).contains("listens"));
}

#[test]
fn row_33_a_port_that_another_program_has_leaves_replicas_to_other_hosts() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["busybox:1"]);
    }
    squat(&cluster, "h1", "squatter");
    let folder = cluster.compose("here", HERE);
    cluster.muster_in("h2", &folder, &["up"]).success();
    let began = Instant::now();
    wait_for("both are where the port is free", LATER, || {
        let spread: Vec<_> = cluster.spread(&HOSTS, "here").into_iter().collect();
        spread == [("h2".to_owned(), 1), ("h3".to_owned(), 1)]
    });
    println!("both were where the port is free {:?} after `up`", began.elapsed());
    for host in ["h2", "h3"] {
        wait_for("it answers", SOON, || cluster.page(host, 8033).is_some());
    }

    // There is no host for a third one, and it is said why.
    let began = Instant::now();
    cluster.muster("h3", &["scale", "-p", "here", "--detach", "here=3"]).success();
    let reasons = || {
        let replicas = cluster.ps("h2", "here").map(|detail| detail.replicas).unwrap_or_default();
        replicas.into_iter().filter_map(|replica| replica.reason).collect::<Vec<String>>()
    };
    // Placed before its host had looked at its ports, it runs where nobody reaches it.
    let said = ["port taken (`h1`, `h2`, `h3`)", "another program has port 8033/tcp on `h1`"];
    wait_for("it is said why", LATER, || {
        reasons().iter().any(|reason| said.iter().any(|said| reason.contains(said)))
    });
    println!("that a third replica has no port was said after {:?}", began.elapsed());
    assert_eq!(reasons().len(), 1, "the others have no problem: {:?}", reasons());

    // The program ends, and the port is free.
    cluster.control(&["stop", "h1", "squatter", "TERM"]);
    let took = wait_for("it runs where the port is free", LATER, || {
        cluster.spread(&HOSTS, "here").get("h1") == Some(&1)
    });
    println!("a third replica ran {took:?} after port {PORT} was free");
    cluster.await_settled("h1", "here");
    wait_for("it answers", SOON, || cluster.page("h1", 8033).is_some());
    row_33_everywhere(&cluster);
}

/// Where every host has such a program, `up` says so before anything is changed.
fn row_33_everywhere(cluster: &Cluster) {
    cluster.muster("h1", &["down", "-p", "here"]).success();
    HOSTS.iter().for_each(|host| squat(cluster, host, "another"));
    let folder = cluster.compose("here", HERE);
    let refused = cluster.muster_in("h1", &folder, &["up"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for host in HOSTS {
        let words = format!("port {PORT}/tcp is taken on host `{host}`");
        assert!(refused.stderr.contains(&words), "{refused:?}");
    }
    assert_eq!(cluster.spread(&HOSTS, "here").len(), 0);
}
