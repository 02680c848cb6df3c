//! One host and no agent yet: what a new user meets first.

use std::path::Path;

use crate::cluster::{Cluster, SOON, example};
use crate::lab::wait_for;

#[test]
fn up_with_no_agent_starts_a_cluster_of_one() {
    let Some(cluster) = Cluster::bare(1) else { return };
    cluster.load("h1", &["busybox:1"]);
    cluster.muster_in("h1", &example("hello"), &["up"]).success();
    wait_for("the page answers", SOON, || {
        cluster.page("h1", 8000).is_some_and(|page| page.starts_with("Hello from "))
    });
    let nodes = cluster.nodes("h1");
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["h1"]);

    let logs = cluster.muster_in("h1", &example("hello"), &["logs"]);
    assert_eq!(logs.code, 0, "{logs:?}");
    cluster.muster_in("h1", &example("hello"), &["down"]).success();
    assert_eq!(cluster.docker("h1", &["ps", "-aq"]), "");
}

#[test]
fn without_an_agent_other_commands_say_so() {
    let Some(cluster) = Cluster::bare(1) else { return };
    for command in [&["nodes"][..], &["ls"], &["ps", "-p", "app"], &["down", "-p", "app"]] {
        let ended =
            cluster.exec_in("h1", Path::new("/"), &[&[crate::cluster::MUSTER], command].concat());
        assert_eq!(ended.code, 1, "{command:?}: {ended:?}");
        let errors: Vec<&str> =
            ended.stderr.lines().filter(|line| line.starts_with("error")).collect();
        assert_eq!(errors.len(), 1, "{command:?}: {ended:?}");
        assert!(ended.stderr.contains("muster agent"), "{command:?} names the remedy: {ended:?}");
    }
}
