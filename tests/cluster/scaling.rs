//! Services whose number of replicas follows what is measured, on three hosts: lengths of queues that pages
//! and a command tell, and the CPU of real containers.

use std::time::{Duration, Instant};

use muster::api::AutoscaleView;

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::wait_for;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// Time between two decisions in the files.
const PERIOD: Duration = Duration::from_secs(3);

/// A queue on the third host that tells its length in three ways, and who works it off.
const QUEUES: &str = r#"services:
  queue:
    image: python:3.11-slim
    command: ["python3", "-u", "-m", "http.server", "-d", "/srv", "8000"]
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.hostname==h3"] } }
  by-json:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    x-autoscale: &rules
      max: 12
      interval: 3s
      behavior: { down: { window: 9s } }
      metrics: [{ json: "http://queue:8000/stats.json", path: mail.length, per_replica: 10 }]
  by-command:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    x-autoscale:
      <<: *rules
      metrics: [{ exec: [cat, /srv/length], service: queue, per_replica: 10 }]
  at-rest:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    x-autoscale:
      <<: *rules
      min: 0
      metrics:
        - prometheus: http://queue.scaling.internal:8000/metrics
          name: jobs_waiting
          labels: { queue: mail }
          per_replica: 10
"#;

const WORKERS: [&str; 3] = ["by-json", "by-command", "at-rest"];

fn autoscale(cluster: &Cluster, host: &str, app: &str) -> Vec<AutoscaleView> {
    let text = cluster.muster(host, &["autoscale", "-p", app, "--json"]).success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn running(cluster: &Cluster, service: &str) -> usize {
    cluster.spread(&HOSTS, service).values().sum()
}

/// Writes what the queue tells.
fn queue(cluster: &Cluster, script: &str) {
    let containers = cluster.containers("h3", "queue");
    let [container] = containers.as_slice() else { panic!("the queue runs as {containers:?}") };
    cluster.docker("h3", &["exec", container, "sh", "-c", script]);
}

fn set_length(cluster: &Cluster, length: u32) {
    let json = format!("{{\"mail\": {{\"length\": {length}}}}}");
    let page =
        format!("jobs_waiting{{queue=\"mail\"}} {length}\njobs_waiting{{queue=\"print\"}} 99");
    queue(
        cluster,
        &format!(
            "echo '{json}' > /srv/stats.json; echo '{page}' > /srv/metrics; echo {length} > /srv/length"
        ),
    );
}

#[test]
fn replicas_follow_a_queue_and_stay_when_nobody_knows_its_length() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["busybox:1", "python:3.11-slim"]);
    }
    let folder = cluster.compose("scaling", QUEUES);
    cluster.muster_in("h1", &folder, &["up"]).success();
    set_length(&cluster, 0);
    wait_for("one rests and the others do not", LATER, || {
        WORKERS.map(|service| running(&cluster, service)) == [1, 1, 0]
    });

    let began = Instant::now();
    set_length(&cluster, 42);
    for service in WORKERS {
        let all = || {
            let views = autoscale(&cluster, "h2", "scaling");
            views.iter().find(|one| one.service.as_str() == service).map(|one| one.target)
        };
        wait_for(&format!("`{service}` is to have five"), SOON, || all() == Some(5));
    }
    let took = began.elapsed();
    println!("all three asked for five replicas {took:?} after the queue grew");
    assert!(took < 2 * PERIOD + Duration::from_secs(6), "two periods and some looks: {took:?}");
    for service in WORKERS {
        wait_for(&format!("five of `{service}` run"), LATER, || running(&cluster, service) == 5);
    }
    let shown = cluster.muster("h3", &["autoscale", "-p", "scaling"]).success();
    assert!(shown.contains("`mail.length` is 42, the target is 10 for each replica"), "{shown}");
    let events = cluster.muster("h2", &["events"]).success();
    let words = "service `by-json` of app `scaling` goes from 1 to 5 replicas";
    assert!(events.contains(words), "{events}");

    vanishes(&cluster);
    // Nothing was known for longer than the window, which begins when it is known.
    set_length(&cluster, 12);
    for service in WORKERS {
        wait_for(&format!("two of `{service}` are left"), LATER, || {
            running(&cluster, service) == 2
        });
    }
    asked_for_by_hand(&cluster);
    set_length(&cluster, 0);
    wait_for("it rests again", LATER, || running(&cluster, "at-rest") == 0);
    cluster.await_settled("h1", "scaling");
    let ps = cluster.muster("h1", &["ps", "-p", "scaling"]);
    assert!(
        ps.stderr.contains("service `at-rest` has 0 replicas by its rules (0 to 12)"),
        "{ps:?}"
    );
}

/// Pages that are gone, no numbers, or absurd, and a command that fails.
fn vanishes(cluster: &Cluster) {
    queue(
        cluster,
        "rm /srv/stats.json /srv/length; echo 'jobs_waiting{queue=\"mail\"} NaN' > /srv/metrics",
    );
    wait_for("nothing is known", SOON, || {
        autoscale(cluster, "h1", "scaling").iter().all(|one| one.hold.is_some())
    });
    let began = Instant::now();
    while began.elapsed() < 5 * PERIOD {
        let found = WORKERS.map(|service| running(cluster, service));
        assert_eq!(found, [5, 5, 5], "after {:?} without numbers", began.elapsed());
    }
    let views = autoscale(cluster, "h2", "scaling");
    let reasons: Vec<&str> = views.iter().filter_map(|one| one.hold.as_deref()).collect();
    let words = ["which is no amount", "`cat` ended with 1", "HTTP status 404"];
    for (reason, words) in reasons.iter().zip(words) {
        assert!(reason.contains(words), "{words}: {reasons:?}");
    }
    let shown = cluster.muster("h3", &["ps", "-p", "scaling"]);
    assert!(shown.stderr.contains("and stays there: `mail.length` is missing"), "{shown:?}");
}

fn asked_for_by_hand(cluster: &Cluster) {
    let refused = cluster.muster("h2", &["scale", "-p", "scaling", "by-json=13"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is scaled by rules between 1 and 12"), "{refused:?}");
    cluster.muster("h2", &["scale", "-p", "scaling", "by-json=4"]).success();
    assert_eq!(running(cluster, "by-json"), 4);
    wait_for("the rules go on", LATER, || running(cluster, "by-json") == 2);
}

/// Each replica may take a fifth of a CPU, and should take a tenth.
const BUSY: &str = r#"services:
  busy:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    cpus: 0.2
    x-autoscale:
      max: 6
      cpu: 50
      interval: 3s
      behavior: { down: { window: 9s } }
"#;

#[test]
fn replicas_follow_the_cpu_that_is_taken() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["busybox:1"]);
    }
    let folder = cluster.compose("busy", BUSY);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let host = cluster.host_of("busy");
    let container = cluster.containers(&host, "busy")[0].clone();
    let compute = "touch /busy; while [ -e /busy ]; do :; done";
    cluster.docker(&host, &["exec", "-d", &container, "sh", "-c", compute]);
    let began = Instant::now();
    // One takes all it may, so that the mean of two is what it should be.
    wait_for("there is a second one", LATER, || running(&cluster, "busy") == 2);
    println!("a second replica ran {:?} after the first began to compute", began.elapsed());
    let shown = cluster.muster("h2", &["autoscale", "-p", "busy"]).success();
    assert!(shown.contains("`cpu` is ") && shown.contains("the target is 50 %"), "{shown}");
    // Ten seconds of measurements, six times.
    wait_for("it is known what would do", LATER, || {
        autoscale(&cluster, "h3", "busy")[0].recommended.is_some_and(|one| one.cpus > 0.1)
    });
    let metrics = ["curl", "-fsS", "--unix-socket", "/run/muster.sock", "http://muster/metrics"];
    let text = cluster.exec("h3", &metrics).success();
    let sample = "muster_autoscale_max_replicas{app=\"busy\",service=\"busy\"} 6";
    assert!(text.contains(sample), "{text}");
    cluster.docker(&host, &["exec", &container, "rm", "/busy"]);
    wait_for("one is left", LATER, || running(&cluster, "busy") == 1);
    cluster.await_settled("h3", "busy");
}

/// Each may take much more than it does.
const SIZED: &str = r#"services:
  sized:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    scale: 2
    cpus: 1
    mem_limit: 256M
    x-autoscale:
      vertical:
        apply: true
        min: { cpus: 0.05, memory: 16M }
        max: { cpus: 1, memory: 256M }
        window: 10s
"#;

/// Where each container is, with its id, its start, and its limits of CPU, memory, and both with swap.
fn held(cluster: &Cluster) -> Vec<[String; 5]> {
    let format = "{{.Id}} {{.State.StartedAt}} {{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}";
    let inspect = |host: &str| {
        let containers = cluster.containers(host, "sized");
        let lines =
            containers.iter().map(|id| cluster.docker(host, &["inspect", "-f", format, id]));
        lines.collect::<Vec<_>>()
    };
    let lines = HOSTS.iter().flat_map(|host| inspect(host));
    let parts = lines.map(|line| {
        let parts: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parts.try_into().unwrap_or_else(|parts| panic!("docker inspect said {parts:?}"))
    });
    let mut all: Vec<[String; 5]> = parts.collect();
    all.sort();
    all
}

/// Ids and starts.
fn starts(held: &[[String; 5]]) -> Vec<(String, String)> {
    held.iter().map(|[id, started, ..]| (id.clone(), started.clone())).collect()
}

/// Whether both containers are held to so many thousandths of a CPU and MiB.
fn all_have(held: &[[String; 5]], millis: u64, mib: u64) -> bool {
    let (nanos, bytes) = ((millis * 1_000_000).to_string(), (mib << 20).to_string());
    held.len() == 2 && held.iter().all(|[_, _, cpu, memory, _]| *cpu == nanos && *memory == bytes)
}

#[test]
fn replicas_are_given_what_they_need_and_are_not_started_again_for_it() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["busybox:1"]);
    }
    let folder = cluster.compose("sized", SIZED);
    // Not until they have proved themselves: that takes half of the window.
    cluster.muster_in("h1", &folder, &["up", "--detach"]).success();
    let began = Instant::now();
    let mut first = Vec::new();
    wait_for("both run as the file says", SOON, || {
        first = held(&cluster);
        all_have(&first, 1_000, 256)
    });
    wait_for("they have the least", LATER, || all_have(&held(&cluster), 50, 16));
    println!("limits were other ones {:?} after `up`", began.elapsed());
    let now = held(&cluster);
    assert_eq!(starts(&now), starts(&first), "the same containers, started when they were");
    let swaps: Vec<&String> = now.iter().map(|[.., swap]| swap).collect();
    assert_eq!(swaps, [&(32 << 20).to_string(); 2], "as much swap again as memory");
    let shown = cluster.muster("h2", &["autoscale", "-p", "sized"]).success();
    assert!(shown.contains("0.05 CPUs, 16MiB") && shown.contains("the busiest takes"), "{shown}");
    let events = cluster.muster("h3", &["events"]).success();
    let words = "replicas of service `sized` of app `sized` are given 0.05 CPUs, 16 MiB in place of \
                 1 CPUs, 256 MiB";
    assert!(events.contains(words), "{events}");
    let nodes = cluster.nodes("h1");
    let reserved: u64 = nodes.iter().map(|node| node.reserved.memory).sum();
    assert_eq!(reserved, 32 << 20, "what is given counts");

    // One that is killed is started with what it was given.
    let spread = cluster.spread(&HOSTS, "sized");
    let host = spread.keys().next().expect("it runs somewhere").clone();
    let container = cluster.containers(&host, "sized")[0].clone();
    cluster.docker(&host, &["kill", &container]);
    wait_for("it runs again", SOON, || {
        let now = starts(&held(&cluster));
        now.len() == 2 && now != starts(&first)
    });
    cluster.await_settled("h1", "sized");
    let now = held(&cluster);
    assert!(all_have(&now, 50, 16), "{now:?}");

    // It takes all it may, so that both are given more.
    let compute = "touch /busy; while [ -e /busy ]; do :; done";
    cluster.docker(&host, &["exec", "-d", &container, "sh", "-c", compute]);
    wait_for("they have more", LATER, || {
        held(&cluster)
            .iter()
            .all(|[_, _, cpu, ..]| cpu.parse::<u64>().is_ok_and(|n| n > 50_000_000))
    });
    assert_eq!(starts(&held(&cluster)), starts(&now), "nobody is started again");
    cluster.docker(&host, &["exec", &container, "rm", "/busy"]);

    // The file takes it back.
    let text = SIZED.split("    x-autoscale").next().expect("it has some");
    let folder = cluster.compose("sized", text);
    cluster.muster_in("h2", &folder, &["up"]).success();
    wait_for("they have what the file says", SOON, || all_have(&held(&cluster), 1_000, 256));
    assert_eq!(starts(&held(&cluster)), starts(&now), "nobody is started again");
    cluster.await_settled("h3", "sized");
}
