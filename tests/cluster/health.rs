//! Replicas that look after themselves: hooks at their start and end, checks by the agents, ends that
//! are told with their reasons.

use crate::cluster::{Cluster, LATER, SOON};
use crate::lab::wait_for;

/// Every hook writes a line into the volume, as the program itself does.
const HOOKED: &str = r#"services:
  app:
    image: busybox:1
    command:
      - sh
      - -c
      - "trap 'echo term >> /log/lines; exit 0' TERM; echo main >> /log/lines; while :; do sleep 0.1; done"
    volumes: ["log:/log"]
    pre_start:
      - { command: ["sh", "-c", "echo one >> /log/lines"] }
      - { command: ["sh", "-c", "sleep 1; echo two >> /log/lines"], per_replica: true }
    post_start:
      - { command: ["sh", "-c", "echo hello $$WHO >> /log/lines"], environment: { WHO: you } }
    pre_stop:
      - { command: ["sh", "-c", "echo bye >> /log/lines"] }
volumes: { log: }
"#;

/// A hook after the start that fails, and a step before it.
fn failing(which: &str, code: u32) -> String {
    format!(
        "services:
  app:
    image: busybox:1
    command: sleep 3600
    stop_signal: SIGKILL
    {which}:
      - {{ command: [\"sh\", \"-c\", \"echo why >&2; exit {code}\"] }}
"
    )
}

#[test]
fn hooks_run_at_the_start_and_at_the_end_and_survive_their_agent() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let folder = cluster.compose("hooks", HOOKED);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let host = cluster.host_of("app");
    let lines = || -> Vec<String> {
        let volume = ["-v", "hooks_log:/log", "busybox:1", "cat", "/log/lines"];
        let text = cluster.docker(&host, &[&["run", "--rm", "--network=none"], &volume[..]].concat());
        text.lines().map(str::to_owned).collect()
    };
    wait_for("the program writes", SOON, || lines().len() >= 4);
    let first = lines();
    assert_eq!(first[..2], ["one", "two"], "steps come first");
    assert!(first.contains(&"main".to_owned()) && first.contains(&"hello you".to_owned()));
    assert_eq!(first.len(), 4, "{first:?}");
    let left = cluster.docker(&host, &["ps", "-a", "-q", "--filter", "label=muster.step"]);
    assert_eq!(left, "", "steps that passed are removed");

    // Another agent takes over and greets nobody again.
    cluster.control(&["stop", &host, "agent", "KILL"]);
    cluster.start_agent(&host);
    cluster.await_alive("h1", 2);
    cluster.await_settled(&host, "hooks");
    assert_eq!(lines(), first);

    // What ends by itself is not said farewell to; each start is greeted.
    let id = cluster.containers(&host, "app").remove(0);
    cluster.docker(&host, &["kill", &id]);
    wait_for("it is greeted again", SOON, || lines().len() >= 6);
    let second = lines();
    assert_eq!(second.len(), 6, "{second:?}");
    assert!(!second.contains(&"bye".to_owned()), "{second:?}");

    cluster.muster_in("h2", &folder, &["down"]).success();
    let last = lines();
    assert_eq!(last[6..], ["bye", "term"], "the farewell comes before the signal");

    for (which, words) in [
        ("post_start", "post_start ended with exit code 3 (why)"),
        ("pre_start", "pre_start step 1 ended with exit code 4"),
    ] {
        let code = if which == "post_start" { 3 } else { 4 };
        let folder = cluster.compose(&which.replace('_', "-"), &failing(which, code));
        let ended = cluster.muster_in("h1", &folder, &["up"]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        cluster.muster_in("h1", &folder, &["down"]).success();
    }
    wait_for("nothing is left", LATER, || {
        ["h1", "h2"].iter().all(|host| {
            cluster.docker(host, &["ps", "-a", "-q", "--filter", "label=muster.app"]).is_empty()
        })
    });
}
