//! Commands that show what is going on, against a fake agent.

use std::io::Read;
use std::os::unix::net::UnixStream;

use crate::harness::{Cluster, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    deploy: {replicas: 2}
  db:
    image: postgres:17
";

/// A cluster with the App up.
fn with_shop() -> Cluster {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    cluster
}

const SILENT: &str = "warning: no word from `gamma`: nothing answers\n";

#[test]
fn stats_are_shown_once_where_there_is_no_terminal() {
    let cluster = with_shop();
    let table = "\
REPLICA   HOST    CPU %    MEM USAGE / LIMIT   MEM %   NET I/O         CONNECTIONS   PIDS
db/1      beta    25.00%   96MiB / 1GiB        9.38%   1.5MB / 3.1MB   1             4
web/1     beta    25.00%   96MiB / 1GiB        9.38%   1.5MB / 3.1MB   1             4
web/2     gamma   25.00%   96MiB / 1GiB        9.38%   1.5MB / 3.1MB   1             4

SERVICE   READY   CPU %    MEMORY   CONN/S   CONNECTIONS   NET I/O PER SECOND
db        1/1     25.00%   96MiB    12.5     1             1kB / 2kB
web       2/2     50.00%   192MiB   12.5     2             2kB / 4.1kB
";
    check(&cluster.run("stats"), 0, table, SILENT);
    check(&cluster.run("stats db -q"), 0, "db/1\n", "");
}

#[test]
fn stats_of_some_services_or_as_json() {
    let cluster = with_shop();
    let json = cluster.json("stats --no-stream --json web");
    assert_eq!(json["services"].as_array().unwrap().len(), 1);
    assert_eq!(json["services"][0]["service"], "web");
    assert_eq!(json["services"][0]["connections"], 2);
    assert_eq!(json["replicas"].as_array().unwrap().len(), 2);
    assert_eq!(json["replicas"][1]["usage"]["memory"], 96 << 20);
    assert_eq!(json["silent"][0]["host"], "gamma");
    let words = "\
error: app `shop` has no service `cache`
  hint: it has: db, web
";
    check(&cluster.run("stats cache"), 1, "", words);
    let ended = cluster.run("stats -p other");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("no app `other`"), "{}", ended.stderr);
}

#[test]
fn metrics_are_told_on_the_socket() {
    let cluster = Cluster::new(SHOP);
    let mut stream = UnixStream::connect(cluster.sandbox.socket()).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: muster\r\nconnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(answer.ends_with("muster_hosts 3\n"), "{answer}");
}

#[test]
fn a_doctor_of_the_network_shows_hosts_by_hosts_and_what_is_wrong() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("doctor --network");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let table = "\
FROM \\ TO   alpha                    beta                     gamma
alpha       -                        0.3/0.4/0.9 ms, 1434 B   dead
beta        0.3/0.4/0.9 ms, 1434 B   -                        dead
gamma       dead                     dead                     -

VERDICT   CHECK   FOUND
ok        paths   2 ways from host to host carry packets of at least 1434 bytes and answer within 0.4 ms
problem   hosts   `gamma` at 192.0.2.3:7400 is dead: it is taken for dead, and was not asked
                  hint: start it, or its agent; when it will not come back, `muster node rm gamma` takes it \
out of the cluster
ok        dns     the resolver of `alpha` at 10.208.0.1 knows the names of the cluster
ok        dns     it asks others for other names: `a.root-servers.net`
ok        dns     the resolver of `beta` at 10.208.16.1 knows the names of the cluster
warning   dns     the resolver of `beta` at 10.208.16.1 finds nothing outside the cluster: \
`a.root-servers.net` got the answer `Query Refused`
                  hint: containers resolve no other names; see that /etc/resolv.conf of the host names a \
resolver that answers
";
    let summary = "error: 6 checks: 1 problem, 1 warning\n";
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), (table, summary));
    let ended = cluster.run("doctor --network --json");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["overlay"], "quic");
    assert_eq!(json["hosts"][0]["found"]["paths"][0]["packets"]["answered"], 10);
    assert_eq!(json["hosts"][2]["liveness"], "dead");
    assert_eq!(json["findings"].as_array().unwrap().len(), 6);
}

#[test]
fn a_doctor_asks_the_resolver() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("doctor --docker unix:///nowhere/docker.sock");
    let words = "the resolver at 10.208.0.1 knows the names of the cluster";
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
}

const SCALED: &str = "\
services:
  web:
    image: nginx:1.27
    scale: 2
    cpus: 1
    x-autoscale: {min: 1, max: 5, cpu: 70}
  db:
    image: postgres:17
";

const SIZED: &str = "
name: shop
services:
  web:
    image: nginx:1.27
    scale: 2
    cpus: 1
    x-autoscale:
      max: 5
      cpu: 70
      vertical: {apply: true, max: {memory: 512M}, window: 1m}
";

#[test]
fn what_replicas_are_given_is_shown() {
    let cluster = Cluster::new(SIZED);
    assert_eq!(cluster.run("up").code, 0);
    let table = "\
SERVICE   READY   TARGET   MIN   MAX   WOULD DO
web       2       3        2     5     0.75 CPUs, 64MiB

SERVICE   METRIC   NOW    TARGET   ASKS FOR   PROBLEM
web       cpu      91 %   70 %     3          -

SERVICE   WHEN                   FROM   TO   WHY
web       2027-01-15T08:00:00Z   2      3    `cpu` is 91 %, the target is 70 %

SERVICE   GIVEN    AT LEAST   AT MOST   WINDOW
web       256MiB   32MiB      512MiB    60 s

SERVICE   WHEN                   FROM     TO       WHY
web       2027-01-15T08:00:00Z   512MiB   256MiB   the busiest takes 80 MiB, 100 MiB are recommended
";
    let warnings = "\
warning: replicas of service `web` keep 256MiB: `web/1` has not been measured
warning: replica `web/2` on `beta` keeps its limits: it holds 300 MiB, too much for a limit of 256 MiB
";
    check(&cluster.run("autoscale"), 0, table, warnings);
    let json = cluster.json("autoscale --json web");
    assert_eq!(json[0]["vertical"]["problems"][0]["host"], "beta");
}

#[test]
fn how_services_are_scaled_is_shown() {
    let cluster = Cluster::new(SCALED);
    assert_eq!(cluster.run("up").code, 0);
    let table = "\
SERVICE   READY   TARGET   MIN   MAX   WOULD DO
web       2       3        1     5     0.75 CPUs, 64MiB

SERVICE   METRIC   NOW    TARGET   ASKS FOR   PROBLEM
web       cpu      91 %   70 %     3          -

SERVICE   WHEN                   FROM   TO   WHY
web       2027-01-15T08:00:00Z   2      3    `cpu` is 91 %, the target is 70 %
";
    check(&cluster.run("autoscale"), 0, table, "");
    check(&cluster.run("autoscale web -q"), 0, "web\n", "");
    let json = cluster.json("autoscale --json web");
    assert_eq!(json[0]["rules"][0]["wants"], 3);
    assert_eq!(json[0]["decisions"][0]["to"], 3);
    let words = "\
error: app `shop` has no service `db` that is scaled by rules
  hint: those are: web
";
    check(&cluster.run("autoscale db"), 1, "", words);
    let plain = with_shop();
    check(&plain.run("autoscale"), 0, "", "no service of app `shop` has `x-autoscale`\n");
}

#[test]
fn a_number_asked_for_by_hand_is_within_the_rules() {
    let cluster = Cluster::new(SCALED);
    assert_eq!(cluster.run("up").code, 0);
    let words = "\
error: service `web` is scaled by rules between 1 and 5
  hint: change `min` or `max` of its `x-autoscale`, then `muster up`
";
    check(&cluster.run("scale web=6"), 1, "", words);
    let ended = cluster.run("scale web=4");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let words =
        "the rules of service `web` go on from 4; `muster autoscale web` shows what they do";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    let state = cluster.agent.state();
    let request = state.submitted.last().unwrap();
    let web = &request.revision.deployments[&"web".into()];
    assert_eq!(web.replicas, muster::model::Replicas::Count(2), "the file's own stays");
    let asked = web.autoscale.as_ref().and_then(|rules| rules.asked).expect("it was asked for");
    assert_eq!(asked.replicas, 4);
}

#[test]
fn rules_that_mean_nothing_are_told_with_their_place() {
    let text = SCALED.replace("{min: 1, max: 5, cpu: 70}", "{min: 7, max: 5, cpu: 70}");
    let cluster = Cluster::new(&text);
    let ended = cluster.run("up");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let place = "at compose.yaml:6";
    for words in [place, "`min` is 7, which is above `max`, 5", "make `max` the larger one"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
    assert!(!cluster.run("ls").stdout.contains("shop"), "nothing was changed");
}
