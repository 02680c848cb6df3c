//! Commands about what an app was, and how its updates go, against a fake agent.

use muster::api::RolloutView;
use muster::model::{RolloutOrder, Stage};

use crate::harness::{Cluster, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
";

/// A cluster with two revisions of the app.
fn two() -> Cluster {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    cluster.sandbox.write("compose.yaml", &SHOP.replace("1.27", "1.28"));
    assert_eq!(cluster.run("up -q").code, 0);
    cluster
}

fn rolling(stage: Stage, reason: Option<&str>) -> RolloutView {
    RolloutView {
        stage,
        from: Some(1),
        updated: 1,
        total: 4,
        failed: 1,
        reason: reason.map(str::to_owned),
    }
}

#[test]
fn history_lists_revisions_and_diff_compares_two() {
    let cluster = two();
    let ended = cluster.run("history");
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("REVISION"), "{ended:?}");
    assert!(lines[1].starts_with("2 *") && lines[2].starts_with("1 "), "{ended:?}");
    assert!(lines[1].contains("2027-01-15T08:00:00Z") && lines[1].contains("alpha"), "{ended:?}");
    check(&cluster.run("history shop -q"), 0, "2\n1\n", "");
    assert_eq!(cluster.json("history --json")[0]["counts"], true);
    let table = "\
SERVICE   KEY     BEFORE       AFTER
web       image   nginx:1.27   nginx:1.28
";
    check(&cluster.run("diff 1 2"), 0, table, "");
    check(&cluster.run("diff 2 2"), 0, "", "nothing differs between 2 and 2\n");
}

#[test]
fn rollback_shows_its_plan_and_makes_an_older_revision_the_newest() {
    let cluster = two();
    let looked = cluster.run("rollback --dry-run");
    assert_eq!(looked.code, 0, "{looked:?}");
    assert!(looked.stdout.contains("replace   web/1"), "{looked:?}");
    assert_eq!(cluster.agent.state().submitted.len(), 2, "nothing was changed");
    let ended = cluster.run("rollback");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.starts_with("app `shop` goes back to revision 1\n"), "{ended:?}");
    let submitted = cluster.agent.state().submitted.clone();
    let last = submitted.last().unwrap();
    assert_eq!((last.command.as_str(), last.retry), ("rollback to 1", true));
    assert_eq!(last.revision.deployments[&"web".into()].container.image, "nginx:1.27");
    assert!(last.expected.is_some(), "what was shown is what happens");
    assert_eq!(cluster.run("rollback 9").code, 1);
}

#[test]
fn up_says_that_it_was_rolled_back_and_why_and_ps_does_too() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    let reason = "replica `web/2` is not healthy: its health check fails";
    let view = rolling(Stage::RolledBack, Some(reason));
    cluster.agent.state().rollouts.insert("web".into(), view);
    cluster.sandbox.write("compose.yaml", &SHOP.replace("1.27", "1.28"));
    let ended = cluster.run("up");
    let words = format!("service `web` was rolled back to revision 1: {reason}");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains(&format!("error: {words}\n")), "{ended:?}");
    assert!(ended.stderr.contains("hint: `muster logs -p shop web`"), "{ended:?}");
    assert!(cluster.run("ps").stderr.contains(&words));
}

#[test]
fn a_rollout_is_shown_and_decided_of() {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    check(
        &cluster.run("rollout status"),
        0,
        "SERVICE   STAGE   NEW   FAILED   REASON\n",
        "no service of app `shop` is being updated\n",
    );
    cluster.agent.state().rollouts.insert("web".into(), rolling(Stage::Canary, None));
    let table = "\
SERVICE   STAGE    NEW   FAILED   REASON
web       canary   1/4   1        -
";
    check(&cluster.run("rollout status"), 0, table, "");
    let ended = cluster.run("ps");
    assert!(ended.stderr.contains("`muster rollout promote web` updates the others"), "{ended:?}");
    assert_eq!(cluster.run("rollout promote web -d").code, 0);
    let submitted = cluster.agent.state().submitted.clone();
    let last = submitted.last().unwrap();
    assert_eq!(last.command, "rollout promote web");
    assert_eq!(last.order.as_ref().map(|decided| decided.order), Some(RolloutOrder::Promote));
    assert_eq!(cluster.run("rollout abort web -d").code, 0);
}
