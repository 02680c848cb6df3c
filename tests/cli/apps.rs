//! Commands against a fake agent.

use std::process::Command;

use muster::api::{ApiError, LogLine, Refusal};
use muster::model::{Intent, ReplicaId, Replicas, Revision, SealedRevision};

use crate::harness::{Cluster, check, wait_until};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    ports: [\"8080:80\"]
    deploy: {replicas: 2}
    depends_on: [db]
  db:
    image: postgres:17
  agent:
    image: node-exporter
    deploy: {mode: global}
";

fn line(service: &str, index: u32, text: &str) -> Result<LogLine, ApiError> {
    let replica = ReplicaId { app: "shop".into(), service: service.into(), index };
    Ok(LogLine { replica, host: "alpha".to_owned(), stderr: false, line: text.to_owned() })
}

#[test]
fn nodes_are_a_table_or_json() {
    let cluster = Cluster::new(SHOP);
    let table = "\
NAME      STATUS           ADDRESS          REPLICAS   CPU     MEMORY        PLATFORM      DOCKER     MUSTER
alpha *   alive            192.0.2.1:7400   0          0.5/4   512MiB/8GiB   linux/amd64   20.10.24   0.1.0
beta      alive            192.0.2.2:7400   1          0.5/4   512MiB/8GiB   linux/amd64   20.10.24   0.1.0
gamma     suspect, drain   192.0.2.3:7400   2          0.5/4   512MiB/8GiB   linux/amd64   20.10.24   0.1.0
";
    check(&cluster.run("nodes"), 0, table, "");
    check(&cluster.run("nodes -q"), 0, "alpha\nbeta\ngamma\n", "");
    let json = cluster.json("nodes --json");
    assert_eq!(json[2]["liveness"], "suspect");
}

#[test]
fn networks_are_listed_and_one_is_shown_with_who_is_on_it() {
    let cluster = Cluster::new(SHOP);
    check(&cluster.run("network ls -q"), 0, "", "");
    assert_eq!(cluster.run("up -q").code, 0);
    let table = "\
NAME           APP    HOSTS   SERVICES   REPLICAS   INTERNAL   PART OF   SUBNETS
shop_default   shop   1       3          3          -          -         10.208.0.64/26
";
    check(&cluster.run("network ls"), 0, table, "");
    let shown = "\
HOST    ADDRESSES
alpha   10.208.0.64/26

SERVICE     HOST    ADDRESS       STATUS
agent       -       10.223.0.1    -
  agent/1   alpha   10.208.0.66   ready
db          -       10.223.0.1    -
  db/1      alpha   10.208.0.66   ready
web         -       10.223.0.1    -
  web/1     alpha   10.208.0.66   ready
";
    check(&cluster.run("network inspect shop_default"), 0, shown, "");
    let json = cluster.json("network inspect shop_default --json");
    assert_eq!(json["services"][2]["replicas"][0]["host"], "alpha");
    let unknown = "\
error: no network `default` in this cluster
  hint: `muster network ls` lists the networks
";
    check(&cluster.run("network inspect default"), 1, "", unknown);
}

#[test]
fn a_host_is_removed_after_its_plan_was_shown() {
    let cluster = Cluster::new(SHOP);
    let plan = "\
ACTION   SUBJECT      HOST    REASON
move     shop/web/1   alpha   its host is gone or drained

";
    let looked = format!("{plan}host `gamma` would be removed; nothing was changed\n");
    check(&cluster.run("node rm gamma --dry-run"), 0, "", &looked);
    assert!(cluster.agent.state().removed.is_empty());
    let alive = "error: host `beta` is alive\n  hint: stop it\n";
    check(&cluster.run("node rm beta"), 1, "", alive);
    let json = cluster.json("node rm gamma --json --yes");
    assert_eq!((&json["name"], &json["removed"]), (&"gamma".into(), &true.into()));
    check(&cluster.run("nodes -q"), 0, "alpha\nbeta\n", "");
    let unknown = "\
error: no host `gamma` in this cluster
  hint: `muster nodes` lists them
";
    check(&cluster.run("node rm gamma"), 1, "", unknown);
    let removed = format!(
        "{plan}host `beta` is removed; that is stored on 2 of 2 live hosts\n\
         if somebody may have copied its keys: `muster ca rotate`, so that they let nobody in\n"
    );
    check(&cluster.run("node rm beta --force"), 0, "", &removed);
}

#[test]
fn the_audit_log_is_shown_and_an_altered_one_is_an_error() {
    let cluster = Cluster::new(SHOP);
    let table = "\
N   TIME                   WHO     FROM     WHAT   OLD   NEW    RESULT
1   2027-01-15T08:00:00Z   local   socket   init   -     fake   done
";
    check(&cluster.run("audit"), 0, table, "nothing was altered; last hash abc\n");
    assert_eq!(cluster.json("audit --json")["entries"][0]["what"], "init");
    cluster.agent.state().altered = Some("line 3 of `audit.jsonl` cannot be read".to_owned());
    let broken = "\
error: the audit log was altered: line 3 of `audit.jsonl` cannot be read
  hint: compare it with a backup of the data directory
";
    check(&cluster.run("audit"), 3, table, broken);
}

#[test]
fn a_plan_of_something_new_is_exit_code_2() {
    let cluster = Cluster::new(SHOP);
    let table = "\
ACTION   SUBJECT   HOST    REASON
create   agent/1   beta    new
create   agent/2   gamma   new
create   agent/3   alpha   new
create   db/1      beta    new
create   web/1     beta    new
create   web/2     gamma   new
";
    check(&cluster.run("plan"), 2, table, "app `shop`: 6 to create\n");
    let ended = cluster.run("plan --json db");
    assert_eq!(ended.code, 2);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["changes"].as_array().unwrap().len(), 1);
    assert!(cluster.agent.state().submitted.is_empty());
}

#[test]
fn up_shows_the_plan_follows_and_sums_up() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("up db");
    let talk = "\
ACTION   SUBJECT   HOST   REASON
create   db/1      beta   new

revision 1 ([ID]) is stored on 2 of 3 hosts
db/1 on beta: waiting
db/1 on beta: pulling postgres:17
db/1 on beta: starting
db/1 on beta: running

SERVICE   READY   ADDRESS      PORTS
db        1/1     10.223.0.1   -

app `shop` is up after [TIME] s
";
    check(&ended, 0, "", talk);
    check(&cluster.run("plan db"), 0, "", "app `shop`: nothing would change\n");
    let again = "db/1 on beta: running\napp `shop` is up; nothing was to change\n";
    check(&cluster.run("up db"), 0, "", again);
    check(&cluster.run("up -q db"), 0, "", "");
}

#[test]
fn ps_and_ls_show_what_runs() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    let table = "\
REPLICA   HOST    STATUS       IMAGE           ADDRESS      PORTS
agent/1   beta    running 1m   node-exporter   10.208.0.2   -
agent/2   gamma   running 1m   node-exporter   10.208.0.3   -
agent/3   alpha   running 1m   node-exporter   10.208.0.4   -
db/1      beta    running 1m   postgres:17     10.208.0.2   -
web/1     beta    running 1m   nginx:1.27      10.208.0.2   8080->80/tcp
web/2     gamma   running 1m   nginx:1.27      10.208.0.3   8080->80/tcp
";
    check(&cluster.run("ps"), 0, table, "");
    check(&cluster.run("ps -q web"), 0, "web/1\nweb/2\n", "");
    let services = "\
SERVICE   READY   ADDRESS      PORTS
db        1/1     10.223.0.1   -
";
    check(&cluster.run("ps -p shop --services db"), 0, services, "");
    let unknown = "\
error: app `shop` has no service `cache`
  hint: it has: agent, db, web
";
    check(&cluster.run("ps cache"), 1, "", unknown);
    assert_eq!(cluster.json("ps --json")["replicas"].as_array().unwrap().len(), 6);
    let list = "NAME   STATUS    READY   REVISION\nshop   running   6/6     1 ([ID])\n";
    check(&cluster.run("ls"), 0, list, "");
    check(&cluster.run("ls -q"), 0, "shop\n", "");
    assert_eq!(cluster.json("ls --json")[0]["app"], "shop");
    let none = "\
error: no app `mall` in this cluster
  hint: `muster ls` lists the apps; `muster up` starts one
";
    check(&cluster.run("ps -p mall"), 1, "", none);
}

#[test]
fn a_service_that_fails_ends_up_with_its_reason() {
    let cluster = Cluster::new("services:\n  web:\n    image: broken:1\n");
    cluster.agent.state().logs =
        vec![line("web", 1, "reading settings"), line("web", 1, "no settings")];
    let ended = cluster.run("up");
    assert_eq!(ended.code, 1);
    let end = "\
web/1 on beta: failed: exited with code 1
web-1 | reading settings
web-1 | no settings
error: replica `web/1` failed: exited with code 1
  hint: `muster logs -p shop web` shows its output
";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
}

#[test]
fn a_refused_plan_submits_nothing() {
    let cluster = Cluster::new(SHOP);
    let refusal = |message: &str, hint: Option<&str>| Refusal {
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        image: None,
    };
    cluster.agent.state().refusals = vec![
        refusal("port 8080/tcp is taken on host `beta`", Some("publish another port")),
        refusal("no image `postgres:17`", None),
    ];
    let ended = cluster.run("up");
    let end = "
error: port 8080/tcp is taken on host `beta`
  hint: publish another port
error: no image `postgres:17`
";
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
    assert!(cluster.agent.state().submitted.is_empty());
    assert_eq!(cluster.run("plan").code, 1);
}

#[test]
fn up_of_a_part_leaves_the_rest_as_it_is() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    let changed = SHOP.replace("nginx:1.27", "nginx:1.28").replace("postgres:17", "postgres:18");
    cluster.sandbox.write("compose.yaml", &changed);
    assert_eq!(cluster.run("up --no-deps web").code, 0);
    let images = |cluster: &Cluster| {
        let state = cluster.agent.state();
        let deployments = state.apps[&"shop".into()].0.deployments.values();
        deployments.map(|one| one.container.image.clone()).collect::<Vec<_>>()
    };
    assert_eq!(images(&cluster), ["node-exporter", "postgres:17", "nginx:1.28"]);
    assert_eq!(cluster.run("up web").code, 0);
    assert_eq!(images(&cluster), ["node-exporter", "postgres:18", "nginx:1.28"]);
}

#[test]
fn detach_does_not_wait() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("up -d db");
    let end = "\
revision 1 ([ID]) is stored on 2 of 3 hosts
the cluster goes on by itself; look with `muster ps -p shop`
";
    assert_eq!(ended.code, 0);
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
    assert_eq!(cluster.agent.state().apps[&"shop".into()].1, 0, "nobody looked");
}

#[test]
fn a_dry_run_changes_nothing() {
    let cluster = Cluster::new(SHOP);
    let ended = cluster.run("up --dry-run db");
    let table = "ACTION   SUBJECT   HOST   REASON\ncreate   db/1      beta   new\n";
    check(&ended, 0, table, "app `shop`: 1 to create\n");
    assert!(cluster.agent.state().submitted.is_empty());
}

#[test]
fn scale_changes_the_number_and_nothing_else() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    let json = cluster.json("scale web=3 db=0 --json");
    assert_eq!(json["submitted"]["sequence"], 2);
    assert_eq!(json["app"]["summary"]["wanted"], 6);
    let state = cluster.agent.state();
    let request = state.submitted.last().unwrap();
    assert_eq!(request.command, "scale");
    assert_eq!(
        request.expected.as_ref(),
        Some(&state.submitted[0].revision)
            .map(|first| {
                let stored = Revision { sequence: 1, ..(**first).clone() };
                SealedRevision::new(stored).id().clone()
            })
            .as_ref()
    );
    let replicas = request.revision.deployments.values().map(|one| one.replicas);
    let wanted = [Replicas::Global, Replicas::Count(0), Replicas::Count(3)];
    assert_eq!(replicas.collect::<Vec<_>>(), wanted);
}

#[test]
fn what_cannot_be_scaled_says_why() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    let global = "\
error: service `agent` cannot be scaled
  hint: with `deploy.mode: global` it runs once on each host
";
    check(&cluster.run("scale agent=5"), 1, "", global);
    let unknown = "\
error: app `shop` has no service `cache`
  hint: it has: agent, db, web
";
    check(&cluster.run("scale web=2 cache=5"), 1, "", unknown);
    assert_eq!(cluster.agent.state().submitted.len(), 1);
}

#[test]
fn down_removes_and_keeps_volumes_unless_told() {
    let file =
        "services:\n  db:\n    image: postgres\n    volumes: [data:/data]\nvolumes:\n  data: {}\n";
    let cluster = Cluster::new(file);
    assert_eq!(cluster.run("up").code, 0);
    let ended = cluster.run("down");
    let talk = "\
ACTION   SUBJECT   HOST   REASON
remove   db/1      beta   no longer wanted

1 volume will be kept; `muster down -v` removes volumes
revision 2 ([ID]) is stored on 2 of 3 hosts
app `shop` is gone after [TIME] s
";
    check(&ended, 0, "", talk);
    assert_eq!(cluster.agent.state().submitted[1].revision.intent, Intent::Remove);
    let nothing = "warning: no app `shop` in this cluster; nothing to remove\n";
    check(&cluster.run("down"), 0, "", nothing);
    assert_eq!(cluster.run("up").code, 0);
    assert_eq!(cluster.run("down -v --verbose").code, 0);
    let intent = cluster.agent.state().submitted.last().unwrap().revision.intent;
    assert_eq!(intent, Intent::RemoveWithVolumes);
}

#[test]
fn logs_have_a_prefix_and_are_data() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    cluster.agent.state().logs =
        vec![line("web", 1, "hello"), line("agent", 3, "hi \u{1b}[1mthere")];
    let lines = "web-1   | hello\nagent-3 | hi \u{1b}[1mthere\n";
    check(&cluster.run("logs"), 0, lines, "");
    check(&cluster.run("logs --no-log-prefix web"), 0, "hello\n", "");
    let json = cluster.run("logs --json web").stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["line"], "hello");
    assert_eq!(cluster.run("logs -n many").code, 2);
}

#[test]
fn a_log_that_breaks_off_says_why() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    let error = ApiError::cluster("host `beta` went away");
    cluster.agent.state().logs = vec![line("web", 1, "hello"), Err(error)];
    let words = "\
error: host `beta` went away
  hint: what was printed is not all; repeat the command
";
    check(&cluster.run("logs -f web"), 3, "web-1 | hello\n", words);
}

fn interrupt(pid: u32) {
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interruption_after_the_submit_says_that_the_cluster_goes_on() {
    let cluster = Cluster::new("services:\n  web:\n    image: stuck:1\n");
    let child = cluster.sandbox.command("up").spawn().unwrap();
    let looks = || cluster.agent.state().apps.get(&"shop".into()).map_or(0, |(_, looks)| *looks);
    wait_until("a look at the app", || looks() > 0);
    interrupt(child.id());
    let ended = cluster.sandbox.end_of(child);
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    let end = "\
error: interrupted
  hint: the cluster goes on by itself; look with `muster ps -p shop`
";
    assert!(ended.stderr.ends_with(end), "{}", ended.stderr);
}

#[test]
fn a_conflict_is_the_users_and_a_clusters_fault_is_3() {
    let cluster = Cluster::new(SHOP);
    cluster.agent.state().next_error = Some(ApiError::cluster("disk full").hint("make room"));
    check(&cluster.run("ls"), 3, "", "error: disk full\n  hint: make room\n");
    cluster.agent.state().in_cluster = false;
    let words = "\
error: this host belongs to no cluster
  hint: `muster init` makes one, `muster join TOKEN` joins one
";
    check(&cluster.run("up"), 1, "", words);
}

#[test]
fn a_cluster_is_made_and_joined() {
    let cluster = Cluster::new(SHOP);
    cluster.agent.state().in_cluster = false;
    let made = "\
made a cluster of this host: host `alpha` at 192.0.2.1:7400, cluster `fake` of 3 live hosts
add a host: `muster token create` here, `muster join TOKEN` there
";
    check(&cluster.run("init --label disk=ssd"), 0, "", made);
    let again = "error: this host already belongs to cluster `fake`\n";
    check(&cluster.run("init"), 1, "", again);
    let token = "\
good for one host, for 1h; on that host: `muster agent`, then `muster join TOKEN`
";
    check(&cluster.run("token create --ttl 1h"), 0, "good-token\n", token);
    assert_eq!(cluster.json("token create --json")["ttl_seconds"], 900);
    let many = cluster.json("token create --json --reusable 3 --ttl 2h");
    assert_eq!((&many["uses"], &many["ttl_seconds"]), (&3.into(), &7200.into()));
    assert_eq!(cluster.run("token create --reusable 0").code, 2);
    assert_eq!(cluster.run("token create --ttl soon").code, 2);
    cluster.agent.state().in_cluster = false;
    let refused = "\
error: the token is unknown or was used
  hint: make another one with `muster token create`
";
    check(&cluster.run("join bad-token"), 1, "", refused);
    let joined = "joined: host `alpha` at 192.0.2.1:7400, cluster `fake` of 3 live hosts\n";
    check(&cluster.run("join good-token"), 0, "", joined);
}

#[test]
fn an_agent_that_stops_while_logs_are_followed_is_told() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up").code, 0);
    cluster.agent.state().logs = vec![line("web", 1, "hello")];
    let mut child = cluster.sandbox.command("logs -f").spawn().unwrap();
    let mut first = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut first).unwrap();
    assert_eq!(first, "web-1   | hello\n");
    cluster.stop();
    let ended = cluster.sandbox.end_of(child);
    let words = "\
error: the agent is stopping
  hint: what was printed is not all; repeat the command
";
    check(&ended, 3, "", words);
}
