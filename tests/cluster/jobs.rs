//! Jobs on three hosts: one-shots, by hand, by the clock while the host that decides dies, single
//! containers, a training that runs together or not at all, and a job that forks for ever.

use std::collections::BTreeMap;
use std::path::Path;

use muster::api::{JobView, RunView};
use muster::model::{Phase, RunState};

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::wait_for;

const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// Seconds from one time of `tick` to the next.
const EVERY: u64 = 5;

/// A server, a one-shot on all hosts, and jobs.
const FILE: &str = r#"services:
  page:
    image: python:3.11-slim
    command: ["python3", "-u", "-m", "http.server", "-d", "/usr/lib/python3", "80"]
    stop_signal: SIGKILL
  once:
    image: python:3.11-slim
    command: ["python3", "-c", "print('once')"]
    deploy: { mode: global-job }
  retried:
    image: python:3.11-slim
    command: ["python3", "-c", "import sys; sys.exit(4)"]
    deploy: { mode: replicated-job, restart_policy: { condition: on-failure, max_attempts: 2 } }
    profiles: [failing]
jobs:
  hello:
    image: python:3.11-slim
    command: ["python3", "-c", "import urllib.request as r; print('page', r.urlopen('http://page/').status)"]
    depends_on: [page]
    triggers: { manual: true }
  tick:
    image: python:3.11-slim
    command: ["python3", "-c", "print('tick')"]
    triggers: { schedule: ["*/5 * * * * *"] }
  bomb:
    image: python:3.11-slim
    command: ["python3", "-c", "import os\nwhile True: os.fork()"]
    stop_signal: SIGKILL
    pids_limit: 24
    triggers: { manual: true }
"#;

/// Three processes that meet at the first of them, and end when all have come.
const TRAIN: &str = r#"services:
  train:
    image: python:3.11-slim
    configs: [{ source: script, target: /train.py }]
    command: ["python3", "-u", "/train.py"]
    x-gang: { timeout: 60s, port: 29400 }
    deploy: { mode: replicated-job, replicas: 3, restart_policy: { max_attempts: 1 } }
configs:
  script:
    content: |
      import os, socket, time
      rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
      place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
      print("rank", rank, "of", size, "at", *place)
      if rank == 0:
          server = socket.create_server(("", place[1]))
          met = [server.accept()[0] for _ in range(size - 1)]
          print("met", sorted(one.recv(9).decode() for one in met))
      else:
          for _ in range(120):
              try:
                  one = socket.create_connection(place, 2)
                  break
              except OSError:
                  time.sleep(0.25)
          one.sendall(str(rank).encode())
          one.recv(1)
"#;

fn job(cluster: &Cluster, host: &str, name: &str) -> JobView {
    let text = cluster.muster(host, &["job", "ls", "-p", "jobs", "--json"]).success();
    let all: Vec<JobView> =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    all.into_iter().find(|job| job.name.as_str() == name).expect("it is in the file")
}

/// Containers of a name on all hosts, ended ones too, by Docker.
fn made(cluster: &Cluster, name: &str) -> BTreeMap<String, usize> {
    let filter = format!("label=muster.service={name}");
    let count = |host: &&str| {
        let text = cluster.docker(host, &["ps", "--all", "--quiet", "--filter", &filter]);
        (host.to_string(), text.lines().count())
    };
    HOSTS.iter().map(count).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn jobs_run_once_each_by_hand_and_by_the_clock_whoever_dies() {
    let Some(cluster) = Cluster::form(3) else { return };
    for host in HOSTS {
        cluster.load(host, &["python:3.11-slim"]);
    }
    let folder = cluster.compose("jobs", FILE);
    one_shots_end_and_are_not_run_again(&cluster, &folder);
    a_job_is_run_by_hand(&cluster);
    one_container_of_a_service_is_run(&cluster);
    a_job_that_forks_for_ever_ends(&cluster);
    every_time_has_one_run_while_homes_die(&cluster);
    members_of_a_training_meet(&cluster);
}

fn one_shots_end_and_are_not_run_again(cluster: &Cluster, folder: &Path) {
    let up = cluster.muster_in("h1", folder, &["up"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.stderr.contains("3/3 completed"), "{up:?}");
    let once = || made(cluster, "once").values().sum::<usize>();
    assert_eq!(once(), 3, "one on each host");
    let again = cluster.muster_in("h2", folder, &["up"]);
    assert_eq!(again.code, 0, "{again:?}");
    let phases = |service: &str| -> Vec<Option<Phase>> {
        let replicas = cluster.ps("h2", "jobs").expect("it runs").replicas.into_iter();
        let mine = replicas.filter(|replica| replica.replica.service.as_str() == service);
        mine.map(|replica| replica.phase).collect()
    };
    assert_eq!(phases("once"), [Some(Phase::Completed); 3]);
    assert_eq!(once(), 3);
    // One that fails is tried as often as it may be, and `up` says how it ended.
    let failing = cluster.muster_in("h1", folder, &["--profile", "failing", "up"]);
    assert_eq!(failing.code, 1, "{failing:?}");
    assert!(failing.stderr.contains("exited with code 4"), "{failing:?}");
    wait_for("it has failed for good", SOON, || phases("retried") == [Some(Phase::Failed)]);
    let detail = cluster.ps("h1", "jobs").expect("it runs");
    let restarts = detail.replicas.iter().find(|one| one.replica.service.as_str() == "retried");
    assert_eq!(restarts.map(|one| one.restarts), Some(2));
    cluster.muster_in("h1", folder, &["up"]).success();
    cluster.await_settled("h1", "jobs");
}

fn a_job_is_run_by_hand(cluster: &Cluster) {
    let run = cluster.muster("h2", &["job", "run", "hello", "--wait", "-p", "jobs"]);
    assert_eq!((run.code, run.stdout.trim()), (0, "page 200"), "{run:?}");
    let hello = job(cluster, "h3", "hello");
    let [run] = hello.runs.as_slice() else { panic!("{hello:?}") };
    assert_eq!((run.state, run.exit_code), (RunState::Succeeded, Some(0)));
    let logs = cluster.muster("h3", &["job", "logs", "hello", "1", "-p", "jobs"]).success();
    assert_eq!(logs.trim(), "page 200");
    cluster.muster("h1", &["job", "rm", "hello", "1", "-p", "jobs"]).success();
    wait_for("its container is gone", SOON, || made(cluster, "hello").is_empty());
}

fn one_container_of_a_service_is_run(cluster: &Cluster) {
    let script = "import os, socket, sys
socket.create_connection(('page', 80), 5)
print(os.environ['A'])
sys.exit(5)";
    let words = ["run", "--rm", "-p", "jobs", "-e", "A=seven", "page", "python3", "-c", script];
    let run = cluster.muster("h3", &words);
    assert_eq!((run.code, run.stdout.trim()), (5, "seven"), "{run:?}");
    wait_for("its container is gone", SOON, || made(cluster, "page-run").is_empty());
    let detached = cluster.muster("h1", &["run", "-d", "-p", "jobs", "page", "sleep", "1000"]);
    assert_eq!(detached.stdout.trim(), "page-run/2", "{detached:?}");
    wait_for("it runs", SOON, || cluster.spread(&HOSTS, "page-run").len() == 1);
    cluster.muster("h2", &["job", "rm", "page-run", "2", "-p", "jobs"]).success();
    wait_for("it was ended", SOON, || made(cluster, "page-run").is_empty());
}

fn a_job_that_forks_for_ever_ends(cluster: &Cluster) {
    let begun = cluster.muster("h1", &["job", "run", "bomb", "-p", "jobs"]);
    assert_eq!(begun.code, 0, "{begun:?}");
    wait_for("its first process was refused another", LATER, || {
        let bomb = job(cluster, "h2", "bomb");
        bomb.runs.first().is_some_and(|run| run.state.is_over())
    });
    let bomb = job(cluster, "h2", "bomb");
    let run = &bomb.runs[0];
    assert_eq!(run.state, RunState::Failed, "{run:?}");
    assert_eq!(cluster.spread(&HOSTS, "bomb"), BTreeMap::new(), "nothing of it is left");
    cluster.await_alive("h1", 3);
}

/// Every time that was due, and its runs.
fn note(dues: &mut BTreeMap<u64, RunView>, job: JobView) {
    for run in job.runs {
        let Some(due) = run.due else { continue };
        let first = dues.entry(due).or_insert_with(|| run.clone());
        assert_eq!(first.run, run.run, "two runs for {due}");
        *first = run;
    }
}

fn every_time_has_one_run_while_homes_die(cluster: &Cluster) {
    let mut dues = BTreeMap::new();
    let n_begun = || job(cluster, "h1", "tick").runs.first().map_or(0, |run| run.run);
    wait_for("it ticks", LATER, || n_begun() > 1);
    // `h1` is asked throughout; one of the others, or both, have decided at some time.
    for host in ["h2", "h3"] {
        cluster.control(&["kill", host]);
        let before = n_begun();
        let took = wait_for("it ticks without a host", LATER, || {
            note(&mut dues, job(cluster, "h1", "tick"));
            n_begun() >= before + 3
        });
        println!("three runs of one every {EVERY} s without {host}: after {took:?}");
        cluster.control(&["boot", host]);
        cluster.start_agent(host);
        cluster.await_alive("h1", 3);
        let before = n_begun();
        wait_for("it ticks with all", LATER, || {
            note(&mut dues, job(cluster, "h1", "tick"));
            n_begun() >= before + 2
        });
    }
    let times: Vec<u64> = dues.keys().copied().collect();
    assert!(times.iter().all(|due| due % EVERY == 0), "{times:?}");
    let n_good = dues.values().filter(|run| run.state == RunState::Succeeded).count();
    println!("{} times were due and seen, {n_good} runs succeeded", times.len());
    assert!(n_good + 2 >= times.len(), "{dues:?}");
}

fn members_of_a_training_meet(cluster: &Cluster) {
    let folder = cluster.compose("train", TRAIN);
    let up = cluster.muster_in("h2", &folder, &["up"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.stderr.contains("train     3/3"), "{up:?}");
    let logs = || cluster.muster("h1", &["logs", "-p", "train", "--no-log-prefix"]).success();
    wait_for("all have met", SOON, || logs().contains("met ['1', '2']"));
    let logs = logs();
    for rank in 0..3 {
        let words = format!("rank {rank} of 3 at 1.train.train.internal 29400");
        assert!(logs.contains(&words), "{logs}");
    }
    wait_for("all have ended well", SOON, || {
        let detail = cluster.ps("h3", "train").expect("it is there");
        detail.services[0].completed == 3
    });
}
