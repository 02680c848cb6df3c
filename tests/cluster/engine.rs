//! The parts below muster: a real Docker Engine keeps the contract that the fake one keeps, and the
//! lab's faults are what they claim to be.

use std::collections::BTreeSet;

use muster::docker::api::DockerApi;
use muster::docker::contract::{Base, Programs, run_all};

use crate::lab::Lab;

#[test]
fn a_real_docker_keeps_the_contract() {
    let Some(lab) = Lab::start(1) else { return };
    lab.load("h1", &["busybox:1"]);
    let engine = DockerApi::connect(&lab.docker_socket("h1")).expect("it is a unix socket");
    let base = Base {
        image: "busybox:1".to_owned(),
        prefix: "contract".to_owned(),
        pool: "10.200.0.0/16".parse().expect("a network"),
        programs: Programs::Real,
    };
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    let outcomes = runtime.block_on(run_all(&engine, &base));
    let broken: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.result.as_ref().err()?)))
        .collect();
    assert!(outcomes.len() >= 40, "only {} checks ran", outcomes.len());
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), outcomes.len(), broken.join("\n"));
    assert_eq!(lab.docker("h1", &["ps", "-aq"]), "", "checks leave nothing behind");
}

#[test]
fn the_lab_cuts_kills_and_leaves_nothing_behind() {
    let before = machine();
    let Some(lab) = Lab::start(2) else { return };
    assert!(reaches(&lab, "h1", "h2"));
    lab.control(&["cut", "h2"]);
    assert!(!reaches(&lab, "h1", "h2"));
    lab.control(&["heal", "h2"]);
    assert!(reaches(&lab, "h1", "h2"));
    lab.control(&["partition", "h1", "h2"]);
    assert!(!reaches(&lab, "h1", "h2") && !reaches(&lab, "h2", "h1"));
    assert!(reaches(&lab, "outside", "h1") && reaches(&lab, "outside", "h2"));
    lab.control(&["rejoin", "h1", "h2"]);
    assert!(reaches(&lab, "h1", "h2"));

    lab.load("h1", &["busybox:1"]);
    lab.docker("h1", &["run", "-d", "--name", "idle", "busybox:1", "sleep", "3600"]);
    lab.control(&["kill", "h1"]);
    assert_ne!(lab.exec("h1", &["true"]).code, 0, "a host without power runs nothing");
    lab.control(&["boot", "h1"]);
    let state = lab.docker("h1", &["inspect", "-f", "{{.State.Status}}", "idle"]);
    assert_eq!(state, "exited", "the disk is kept, what ran is not");
    drop(lab);
    assert_eq!(machine(), before);
}

/// Whether port 1 of `to`, where nobody listens, refuses `from`: an answer, and not silence.
fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    let url = format!("http://{}:1/", lab.address(to));
    // 7: refused. 28: no answer in time, which is shorter than the kernel's for an absent neighbour.
    lab.exec(from, &["curl", "-s", "-m", "2", &url]).code == 7
}

/// Links, mounts and control groups of the machine itself.
fn machine() -> BTreeSet<String> {
    let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut found: BTreeSet<String> =
        links.map(|link| format!("link {}", link.file_name().to_string_lossy())).collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    // Others on the machine may mount something meanwhile; what the lab mounts has such names.
    let ours =
        |line: &&str| ["/.lab/", "docker", "muster", "overlay"].iter().any(|w| line.contains(w));
    found.extend(mounts.lines().filter(ours).map(|line| format!("mount {line}")));
    let groups = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    for group in groups {
        let within = std::fs::read_dir(group.path()).into_iter().flatten().flatten();
        let names = within.map(|entry| entry.file_name().to_string_lossy().into_owned());
        found.extend(names.filter(|name| name.starts_with("lab-test-")));
    }
    found
}
