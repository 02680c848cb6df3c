//! Commands that operate hosts, against a fake agent.

use std::io::Write;
use std::process::Stdio;

use muster::api::{Happening, HappeningKind, ProviderStepView};
use muster::model::{Availability, FleetStage};

use crate::harness::{Cluster, Sandbox, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    deploy: {replicas: 4}
  db:
    image: pinned:17
";

/// A cluster with the App up.
fn with_shop() -> Cluster {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    cluster
}

#[test]
fn a_drain_shows_the_plan_follows_and_names_what_stays() {
    let cluster = with_shop();
    let talk = "\
ACTION   SUBJECT      HOST    REASON
move     shop/web/1   gamma   drained
move     shop/web/4   gamma   drained
stay     shop/db/1    beta    its data is there

host `beta` is drained: stored on 2 of 3 hosts
shop/web/1 on beta: running
shop/web/4 on beta: running
2 replicas left `beta` after [TIME] s
warning: `shop/db/1` stays on `beta`: its data is there
  hint: let it run on
";
    check(&cluster.run("node drain beta"), 0, "", talk);
    let changes = cluster.agent.state().host_changes.clone();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].availability, Some(Availability::Drain));
    assert_eq!(changes[0].host, "beta");
}

#[test]
fn a_dry_run_of_a_drain_is_data_and_changes_nothing() {
    let cluster = with_shop();
    let table = "\
ACTION   SUBJECT      HOST    REASON
move     shop/web/1   gamma   drained
move     shop/web/4   gamma   drained
stay     shop/db/1    beta    its data is there
";
    let ended = cluster.run("node drain beta --dry-run");
    check(&ended, 0, table, "host `beta`: 2 to move, 1 to stay\n");
    assert!(cluster.agent.state().host_changes.is_empty());
    let json = cluster.json("node drain beta --dry-run --json");
    assert_eq!(json["leaving"].as_array().unwrap().len(), 2);
}

#[test]
fn a_drain_as_json_has_what_moved_and_what_stays() {
    let cluster = with_shop();
    let json = cluster.json("node drain beta --json --yes");
    assert_eq!(json["changed"]["stored"], 2);
    assert_eq!(json["end"]["moved"].as_array().unwrap().len(), 2);
    assert_eq!(json["end"]["stays"][0]["reason"], "its data is there");
}

#[test]
fn what_is_so_already_is_said_and_an_unknown_host_is_an_error() {
    let cluster = with_shop();
    check(&cluster.run("node drain gamma"), 0, "", "host `gamma` is drained already\n");
    let unknown = "\
error: no host `delta` in this cluster
  hint: `muster nodes` lists the hosts
";
    check(&cluster.run("node activate delta"), 1, "", unknown);
    assert_eq!(cluster.run("node drain").code, 2);
}

#[test]
fn a_drain_that_takes_too_long_says_how_to_look() {
    let cluster = with_shop();
    let ended = cluster.run("node drain beta --timeout 0");
    assert_eq!(ended.code, 3);
    let end = "\
error: 2 replicas of `beta` did not move within [TIME] s
  hint: the cluster goes on by itself; `muster nodes` shows how many replicas `beta` has
";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
    let ended = cluster.run("node drain beta --detach");
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.contains("`muster nodes` shows"), "{}", ended.stderr);
}

#[test]
fn labels_are_set_and_taken_away() {
    let cluster = with_shop();
    assert_eq!(cluster.run("node label alpha disk=ssd zone-").code, 0);
    let changes = cluster.agent.state().host_changes.clone();
    let labels: Vec<_> = changes[0].labels.clone().into_iter().collect();
    let expected = [("disk".to_owned(), Some("ssd".to_owned())), ("zone".to_owned(), None)];
    assert_eq!(labels, expected);
    assert_eq!(changes[0].availability, None);
    let ended = cluster.run("node label alpha disk");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`disk` is neither as in `disk=ssd` nor as in `disk-`"));
    assert_eq!(cluster.run("node ls -q").stdout, "alpha\nbeta\ngamma\n");
}

fn happening(at: u64, kind: HappeningKind, app: Option<&str>, message: &str) -> Happening {
    Happening {
        at,
        host: "beta".to_owned(),
        kind,
        subject: "shop/web/1".to_owned(),
        app: app.map(Into::into),
        message: message.to_owned(),
    }
}

#[test]
fn events_are_lines_with_time_and_host_or_json() {
    let cluster = Cluster::new(SHOP);
    cluster.agent.state().happenings = vec![
        happening(1_700_000_000, HappeningKind::HostDead, None, "host `gamma` is taken for dead"),
        happening(
            1_700_000_001,
            HappeningKind::ReplicaReady,
            Some("shop"),
            "`shop/web/1` is ready",
        ),
    ];
    let lines = "\
2023-11-14T22:13:20Z beta: host `gamma` is taken for dead
2023-11-14T22:13:21Z beta: `shop/web/1` is ready
";
    check(&cluster.run("events"), 0, lines, "");
    check(&cluster.run("events --app blog"), 0, "", "");
    let ended = cluster.run("events --app shop --json");
    let line: serde_json::Value = serde_json::from_str(ended.stdout.trim_end()).unwrap();
    assert_eq!((&line["kind"], &line["at"]), (&"replica_ready".into(), &1_700_000_001_u64.into()));
}

#[test]
fn a_doctor_without_an_agent_looks_at_the_machine_and_a_problem_is_exit_code_1() {
    let sandbox = Sandbox::new();
    let ended =
        sandbox.run("doctor --json --docker unix:///nowhere/docker.sock --listen 127.0.0.1:0");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let findings: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let of = |check: &str| {
        let mut all = findings.as_array().unwrap().iter();
        all.find(|one| one["check"] == check).expect("it is looked at").clone()
    };
    assert_eq!(of("docker")["verdict"], "problem");
    assert!(of("docker")["remedy"].is_string());
    assert_eq!(of("port")["verdict"], "ok");
    assert_eq!(of("state")["verdict"], "ok");
    assert!(ended.stderr.contains("no agent runs here"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 problem"), "{}", ended.stderr);
}

#[test]
fn a_doctor_asks_the_agent_for_the_other_hosts() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("doctor --docker unix:///nowhere/docker.sock");
    assert_eq!(ended.code, 1);
    let lines = ended.stdout.lines().collect::<Vec<_>>();
    let says = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(says("`beta` at 192.0.2.2:7400 answers in 0.5 ms"), "{}", ended.stdout);
    assert!(says("`gamma` at 192.0.2.3:7400: nothing answers"), "{}", ended.stdout);
}

#[test]
fn the_unit_for_systemd_is_printed_with_the_options_that_were_given() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run("agent install --print --listen 0.0.0.0:7411");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for line in ["Type=notify", "WatchdogSec=10", "Restart=always", "KillMode=process"] {
        assert!(ended.stdout.lines().any(|one| one == line), "{line}: {}", ended.stdout);
    }
    let command = ended.stdout.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(command.contains("muster agent"), "{command}");
    let options = "--socket [DIR]/muster.sock --data-dir [DIR]/data --listen 0.0.0.0:7411";
    assert!(command.ends_with(options), "{command}");
    assert_eq!(sandbox.run("agent --listen 0.0.0.0:7411 install").code, 2);
}

/// Needs a machine that systemd does not run, as containers mostly are.
#[test]
fn without_systemd_an_install_says_what_to_do() {
    if std::path::Path::new("/run/systemd/system").exists() {
        return;
    }
    let words = "\
error: systemd does not run this machine
  hint: have its own service manager run `muster agent` as root; `muster agent install --print` \
prints the unit, as an example for another manager
";
    check(&Sandbox::new().run("agent install"), 1, "", words);
}

#[test]
fn the_authority_is_shown_and_rotated_and_who_is_without_it_is_named() {
    let cluster = Cluster::new(SHOP);
    let table = "\
HOST    STATUS    AUTHORITY
alpha   alive     has it
beta    alive     has it
gamma   suspect   has it
";
    let talk = "\
authority 1 is in use, from 2027-01-15T08:00:00Z to 2065-01-24T05:20:00Z: [ID]
";
    check(&cluster.run("ca"), 0, table, talk);
    let ended = cluster.run("ca rotate --yes");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("gamma   suspect   has an older one"), "{}", ended.stdout);
    assert!(ended.stderr.contains("authority 2 is new"), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 host without it"), "{}", ended.stderr);
    let json = cluster.json("ca --json");
    assert_eq!((&json["number"], &json["hosts"][2]["has_it"]), (&2.into(), &false.into()));
    assert_eq!(cluster.agent.state().rotations, 1);
}

#[test]
fn a_provider_is_set_changed_shown_and_taken_away() {
    let cluster = with_shop();
    let none = "no command adds hosts; `muster node provider set PROGRAM` sets one\n";
    check(&cluster.run("node provider"), 0, "", none);
    let words = "`/etc/muster/provider` adds hosts, 1 to 8 of them\n";
    check(&cluster.run("node provider set /etc/muster/provider --min 1 --max 8"), 0, "", words);
    let set = "node provider set --empty 1h --any-host --json";
    let json = cluster.json(set);
    let found = (&json["command"], &json["empty_seconds"], &json["any_host"], &json["hosts_max"]);
    assert_eq!(found.0, "/etc/muster/provider");
    assert_eq!(
        (found.1.as_u64(), found.2.as_bool(), found.3.as_u64()),
        (Some(3600), Some(true), Some(8))
    );
    check(&cluster.run("node provider --quiet"), 0, "/etc/muster/provider\n", "");
    let problem = "the provider refused: no machines left";
    cluster.agent.state().provider.problem = Some(problem.to_owned());
    cluster.agent.state().provider.step = Some(ProviderStepView {
        stage: FleetStage::Join,
        machine: Some(3),
        host: None,
        reason: "`shop/web/4` has no room".to_owned(),
    });
    let ended = cluster.run("node provider show");
    assert_eq!(ended.code, 0);
    assert!(ended.stdout.contains("waits for it to join 3: `shop/web/4` has no room"), "{ended:?}");
    assert_eq!(ended.stderr, format!("warning: {problem}\n"));
    cluster.agent.state().provider.problem = None;
    let words = "hosts are added and taken back no more; all stay\n";
    check(&cluster.run("node provider off"), 0, "", words);
    assert_eq!(cluster.agent.state().provider.command, None);
    assert_eq!(cluster.run("node provider set --max many").code, 2);
    assert_eq!(cluster.run("node provider set --empty soon").code, 2);
}

#[test]
fn a_token_is_read_from_standard_input() {
    let cluster = Cluster::new(SHOP);
    cluster.agent.state().in_cluster = false;
    let join = |input: &str| {
        let mut command = cluster.sandbox.command("join -");
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        cluster.sandbox.end_of(child)
    };
    let ended = join("\n");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("there is no token on standard input"), "{ended:?}");
    let ended = join("good-token\n");
    assert_eq!((ended.code, ended.stderr.contains("joined: host")), (0, true), "{ended:?}");
}
