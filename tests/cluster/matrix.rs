//! Rows of the fault matrix (`tests/FAULTS.md`) that only real kernels and engines can show: agents
//! and engines that hang or die, cuts and partitions, full disks, while `up` and `ps` are used.
//! A test is named after its rows.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, LATER, MUSTER, SOON};
use crate::faults::{HOSTS, PAGE, PORT, each_replica_runs_once};
use crate::lab::{Visitors, wait_for};

/// Three hosts that run six replicas of a page.
fn page() -> Option<Cluster> {
    let cluster = Cluster::form(3)?;
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let spread = cluster.spread(&HOSTS, "page");
    assert_eq!(spread.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{spread:?}");
    Some(cluster)
}

/// Asks for so many replicas from a host.
#[track_caller]
fn up(cluster: &Cluster, host: &str, replicas: usize) {
    let text = PAGE.replace("replicas: 6", &format!("replicas: {replicas}"));
    let folder = cluster.compose("page", &text);
    cluster.muster_in(host, &folder, &["up", "--detach"]).success();
}

/// Containers of the page by id, on every host.
fn ids(cluster: &Cluster) -> Vec<Vec<String>> {
    let ids = |host: &&str| {
        let mut ids = cluster.containers(host, "page");
        ids.sort();
        ids
    };
    HOSTS.iter().map(ids).collect()
}

/// Looks for so long that nothing changes: the time is that of the fault, not a wait for something.
#[track_caller]
fn nothing_changes_for(time: Duration, cluster: &Cluster, what: &str) {
    let before = ids(cluster);
    let began = Instant::now();
    while began.elapsed() < time {
        assert_eq!(ids(cluster), before, "after {:?} of {what}", began.elapsed());
    }
}

/// As many replicas as are wanted run, and no more, wherever.
#[track_caller]
fn converges(cluster: &Cluster, replicas: usize) {
    wait_for(&format!("{replicas} replicas run"), LATER, || {
        cluster.spread(&HOSTS, "page").values().sum::<usize>() == replicas
    });
    for host in HOSTS {
        cluster.await_settled(host, "page");
    }
}

/// Stops the agent of a host for so many seconds, and not for as long as commands take besides.
fn pause(cluster: &Cluster, host: &str, seconds: u64) {
    let pid = cluster.control(&["pid", host, "agent"]);
    let script = r#"kill -STOP "$0" && sleep "$1"; kill -CONT "$0""#;
    let paused = Command::new("sh").args(["-c", script, &pid, &seconds.to_string()]).status();
    assert!(paused.is_ok_and(|status| status.success()), "the agent could not be stopped");
}

#[test]
fn row_02_a_stopped_agent_keeps_its_replicas_for_a_while() {
    let Some(cluster) = page() else { return };
    // The simulator, where time is exact, shows it for 8 s; here a busy machine adds to each.
    for seconds in [3, 6] {
        let before = ids(&cluster);
        pause(&cluster, "h2", seconds);
        cluster.await_alive("h1", 3);
        assert_eq!(ids(&cluster), before, "an agent was stopped for {seconds} s");
        nothing_changes_for(Duration::from_secs(2), &cluster, "an agent that goes on");
    }
    cluster.control(&["stop", "h2", "agent", "STOP"]);
    wait_for("the others run all six", LATER, || {
        cluster.spread(&["h1", "h3"], "page").values().sum::<usize>() == 6
    });
    cluster.control(&["stop", "h2", "agent", "CONT"]);
    converges(&cluster, 6);
    each_replica_runs_once(&cluster);
}

#[test]
fn row_03_a_killed_engine_comes_back_to_what_it_ran() {
    let Some(cluster) = page() else { return };
    cluster.control(&["stop", "h2", "dockerd", "KILL"]);
    wait_for("`nodes` says that h2 has no Docker", SOON, || {
        let nodes = cluster.nodes("h1");
        nodes.iter().any(|node| node.name == "h2" && node.engine_version.is_empty())
    });
    assert!(cluster.is_running("h2", "agent"), "the agent does without");
    up(&cluster, "h2", 4);
    cluster.control(&["boot", "h2"]);
    converges(&cluster, 4);
    each_replica_is_served(&cluster);
}

#[test]
fn row_04_an_engine_that_hangs_holds_up_nobody() {
    let Some(cluster) = page() else { return };
    cluster.control(&["stop", "h2", "dockerd", "STOP"]);
    wait_for("`nodes` says that h2 has no Docker", LATER, || {
        let nodes = cluster.nodes("h2");
        nodes.iter().any(|node| node.name == "h2" && node.engine_version.is_empty())
    });
    // Its agent answers, is alive to the others, and takes changes.
    cluster.await_alive("h1", 3);
    up(&cluster, "h2", 8);
    wait_for("the others run what is new", LATER, || {
        cluster.spread(&["h1", "h3"], "page").values().sum::<usize>() >= 6
    });
    cluster.control(&["stop", "h2", "dockerd", "CONT"]);
    converges(&cluster, 8);
}

#[test]
fn row_05_a_killed_container_comes_back() {
    let Some(cluster) = page() else { return };
    let visitors = Visitors::come(&cluster, &["h1"], PORT);
    let victim = cluster.containers("h2", "page").remove(0);
    cluster.docker("h2", &["kill", &victim]);
    wait_for("it runs again", SOON, || cluster.containers("h2", "page").contains(&victim));
    cluster.await_settled("h1", "page");
    let restarts = cluster.ps("h3", "page").expect("it runs").replicas;
    assert_eq!(restarts.iter().map(|replica| replica.restarts).sum::<u32>(), 1, "{restarts:?}");
    let visits = visitors.leave();
    println!("a container was killed: {visits:?}");
}

#[test]
fn row_09_12_43_both_sides_of_a_partition_are_used_and_agree_after_it() {
    let Some(cluster) = page() else { return };
    let side = |verb: &str| {
        for host in ["h1", "h2"] {
            cluster.control(&[verb, "h3", host]);
        }
    };
    side("partition");
    cluster.await_alive("h1", 2);
    cluster.await_alive("h3", 1);
    up(&cluster, "h1", 4);
    up(&cluster, "h3", 5);
    wait_for("both sides run what they were asked for", LATER, || {
        let here = cluster.spread(&["h1", "h2"], "page").values().sum::<usize>();
        (here, cluster.spread(&["h3"], "page").values().sum::<usize>()) == (4, 5)
    });
    assert!(cluster.page("h2", PORT).is_some() && cluster.page("h3", PORT).is_some());
    side("rejoin");
    let conflicts = |host: &str| {
        let detail = cluster.ps(host, "page").expect("it runs");
        (detail.summary.revision, detail.summary.conflicts)
    };
    wait_for("all hosts show the same conflict", SOON, || {
        let all = HOSTS.map(conflicts);
        all[0].1.len() == 1 && all.iter().all(|one| *one == all[0])
    });
    up(&cluster, "h2", 3);
    converges(&cluster, 3);
    each_replica_is_served(&cluster);
    assert_eq!(conflicts("h3").1, [], "the next `up` ends the conflict");
}

#[test]
fn row_09_either_half_of_two_hosts_goes_on() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    cluster.control(&["partition", "h1", "h2"]);
    cluster.await_alive("h1", 1);
    cluster.await_alive("h2", 1);
    for host in ["h1", "h2"] {
        wait_for(&format!("all replicas run on {host}"), LATER, || {
            cluster.containers(host, "page").len() == 6
        });
    }
    up(&cluster, "h2", 4);
    cluster.control(&["rejoin", "h1", "h2"]);
    wait_for("four replicas run", LATER, || {
        cluster.spread(&["h1", "h2"], "page").values().sum::<usize>() == 4
    });
    cluster.await_settled("h1", "page");
}

#[test]
fn row_10_11_a_cut_between_two_of_three_kills_nobody() {
    let Some(cluster) = page() else { return };
    for verb in ["oneway", "partition"] {
        cluster.control(&[verb, "h1", "h2"]);
        nothing_changes_for(Duration::from_secs(12), &cluster, verb);
        for host in HOSTS {
            cluster.await_alive(host, 3);
        }
        cluster.control(&["rejoin", "h1", "h2"]);
    }
    up(&cluster, "h2", 4);
    converges(&cluster, 4);
}

#[test]
fn row_20_a_full_disk_refuses_changes_and_serves() {
    let Some(cluster) = Cluster::bare(1) else { return };
    cluster.load("h1", &["busybox:1"]);
    let disk = "/var/lib/muster";
    cluster.exec("h1", &["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk]).success();
    cluster.start_agent("h1");
    cluster.muster("h1", &["init"]).success();
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let before = cluster.containers("h1", "page");
    let fill = ["sh", "-c", "yes | dd of=/var/lib/muster/ballast bs=64k status=none; sync"];
    cluster.exec("h1", &fill);
    // The room that is reserved holds small changes for a while; then they are refused. This App
    // runs nothing: what is looked at is the page.
    let mut n = 0;
    let refused = loop {
        n += 1;
        let words = "x".repeat(100_000 + n);
        let text = format!(
            "services:\n  large:\n    image: busybox:1\n    command: echo {words}\n    \
             deploy: {{ replicas: 0 }}\n"
        );
        let large = cluster.compose("large", &text);
        let ended = cluster.muster_in("h1", &large, &["up", "--detach"]);
        if ended.code != 0 {
            break ended;
        }
        assert!(n < 150, "a full disk takes everything");
    };
    assert!(refused.stderr.contains("not stored"), "{refused:?}");
    assert!(refused.stderr.contains("hint:"), "{refused:?}");
    assert_eq!(cluster.containers("h1", "page"), before, "what runs goes on");
    assert!(cluster.page("h1", PORT).is_some(), "the page answers");
    // An agent that is started on a full disk starts.
    cluster.control(&["stop", "h1", "agent", "KILL"]);
    cluster.start_agent("h1");
    cluster.await_settled("h1", "page");
    assert_eq!(cluster.containers("h1", "page"), before, "what runs goes on");
    cluster.exec("h1", &["rm", "/var/lib/muster/ballast"]).success();
    cluster.muster_in("h1", &folder, &["scale", "page=2", "--detach"]).success();
    wait_for("two replicas run", LATER, || cluster.containers("h1", "page").len() == 2);
}

#[test]
fn row_21_a_host_whose_docker_has_no_room_gets_nothing_new() {
    let Some(cluster) = Cluster::bare(3) else { return };
    cluster.control(&["stop", "h2", "dockerd", "TERM"]);
    let disk = "/var/lib/docker";
    cluster.exec("h2", &["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk]).success();
    cluster.control(&["boot", "h2"]);
    for host in HOSTS {
        cluster.start_agent(host);
    }
    cluster.gather(&[]);
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("page", PAGE);
    cluster.muster_in("h1", &folder, &["up"]).success();
    assert_eq!(cluster.spread(&HOSTS, "page").len(), 3, "a small image fits on all three");
    let before = cluster.containers("h2", "page");
    // An image that does not fit on h2: 100 MB that do not compress.
    let build = "cd /tmp && dd if=/dev/urandom of=large bs=1M count=100 status=none && \
                 printf 'FROM busybox:1\\nCOPY large /\\n' > Dockerfile && docker build -q -t large:1 .";
    cluster.exec("h1", &["sh", "-c", build]).success();
    let text = PAGE.replace("page:", "large:").replace("busybox:1", "large:1");
    let large = cluster.compose("large", &text.replace("8000:8000", "8001:8000"));
    cluster.muster_in("h1", &large, &["up"]).success();
    let spread = cluster.spread(&HOSTS, "large");
    assert_eq!(spread.keys().collect::<Vec<_>>(), ["h1", "h3"], "{spread:?}");
    assert_eq!(cluster.containers("h2", "page"), before, "what runs there goes on");
    let nodes = cluster.nodes("h3");
    let full: Vec<&str> =
        nodes.iter().filter(|node| node.disk_full).map(|node| node.name.as_str()).collect();
    assert_eq!(full, ["h2"]);
}

#[test]
fn row_27_hosts_that_start_cold_in_any_order_are_healthy_without_a_command() {
    let Some(cluster) = page() else { return };
    for host in HOSTS {
        cluster.control(&["kill", host]);
    }
    // h1, which made the cluster, stays away.
    for host in ["h3", "h2"] {
        cluster.control(&["boot", host]);
        cluster.start_agent(host);
    }
    let took = wait_for("six replicas run on two hosts", Duration::from_secs(30), || {
        cluster.spread(&["h2", "h3"], "page").values().sum::<usize>() == 6
            && cluster.page("h2", PORT).is_some()
    });
    println!("after a cold start of two of three hosts all is healthy in {took:?}");
}

#[test]
fn row_44_agents_are_replaced_one_by_one_during_an_update() {
    let Some(cluster) = page() else { return };
    let visitors = Visitors::come(&cluster, &HOSTS, PORT);
    let text = PAGE.replace("httpd -f", "httpd -f -v");
    let folder = cluster.compose("page", &text);
    cluster.muster_in("h1", &folder, &["up", "--detach"]).success();
    for host in HOSTS {
        cluster.control(&["stop", host, "agent", "KILL"]);
        cluster.start_agent(host);
        cluster.await_alive(host, 3);
    }
    converges(&cluster, 6);
    each_replica_runs_once(&cluster);
    let visits = visitors.leave();
    println!("agents were replaced during an update: {visits:?}");
}

#[test]
fn row_46_a_command_that_is_killed_leaves_all_or_nothing() {
    let Some(cluster) = page() else { return };
    for (round, millis) in [0_u64, 20, 60, 150].into_iter().enumerate() {
        let name = format!("down{round}");
        let command = [MUSTER, "down", "-p", "page"];
        cluster.spawn_in("h2", &name, Path::new("/"), &command);
        std::thread::sleep(Duration::from_millis(millis));
        if cluster.is_running("h2", &name) {
            cluster.control(&["stop", "h2", &name, "KILL"]);
        }
        // Either it was asked for, and is carried out, or it was not.
        wait_for("all six run, or none", LATER, || {
            let detail = cluster.ps("h1", "page");
            let settled = detail.is_none_or(|detail| detail.settled || detail.replicas.is_empty());
            let running = cluster.spread(&HOSTS, "page").values().sum::<usize>();
            settled && (running == 6 || running == 0)
        });
        up(&cluster, "h3", 6);
        converges(&cluster, 6);
    }
}

#[track_caller]
fn each_replica_is_served(cluster: &Cluster) {
    for host in HOSTS {
        wait_for(&format!("the page answers through {host}"), SOON, || {
            cluster.page(host, PORT).is_some()
        });
    }
}
