//! What people get wrong: one clear error each, exit code 1, and nothing changed.

use crate::cluster::{Cluster, SOON};
use crate::lab::{Ended, wait_for};

const HOSTS: [&str; 2] = ["h1", "h2"];

/// An error that names each of `words`, once, with exit code 1.
#[track_caller]
fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, 1, "{ended:?}");
    let n_errors = ended.stderr.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(n_errors, 1, "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` is not named: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn bad_input_changes_nothing() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let good = "services:\n  one:\n    image: busybox:1\n    command: sleep 3600\n    stop_signal: SIGKILL\n    ports: [\"9000:9000\"]\n";
    let folder = cluster.compose("good", good);
    cluster.muster_in("h1", &folder, &["up"]).success();
    let before = state(&cluster);

    let cases: [(&str, &str, &[&str]); 6] = [
        ("yaml", "services:\n  one:\n    image: [busybox\n", &["compose.yaml", "3"]),
        ("key", "services:\n  one:\n    image: busybox:1\n    imagee: x\n", &["imagee"]),
        ("image", "services:\n  one:\n    image: nosuch:1\n", &["nosuch:1"]),
        (
            "port",
            "services:\n  two:\n    image: busybox:1\n    command: sleep 9\n    ports: [\"9000:80\"]\n",
            &["9000", "good"],
        ),
        (
            "type",
            "services:\n  one:\n    image: busybox:1\n    deploy: { replicas: many }\n",
            &["replicas"],
        ),
        (
            "network",
            "services:\n  one:\n    image: busybox:1\n    networks: [nowhere]\n",
            &["nowhere"],
        ),
    ];
    for (app, text, words) in cases {
        let folder = cluster.compose(app, text);
        refused(&cluster.muster_in("h2", &folder, &["up"]), words);
        assert_eq!(state(&cluster), before, "after the case `{app}`");
    }
    let empty = cluster.folder("empty");
    refused(&cluster.muster_in("h1", &empty, &["up"]), &["compose.yaml"]);
    let gone = cluster.muster("h1", &["down", "-p", "nosuch"]);
    assert!(
        gone.code == 0 && gone.stderr.contains("nosuch"),
        "as `docker compose` has it: {gone:?}"
    );
    refused(&cluster.muster_in("h1", &folder, &["scale", "two=3"]), &["two"]);
    assert_eq!(state(&cluster), before);
}

/// Everything that Docker has, and what muster knows.
fn state(cluster: &Cluster) -> Vec<String> {
    let list = |host: &str| {
        [["ps", "-aq"], ["volume", "ls"], ["network", "ls"]]
            .map(|command| cluster.docker(host, &command))
            .join("\n")
    };
    let mut state: Vec<String> = HOSTS.iter().map(|host| list(host)).collect();
    let known = cluster.muster("h1", &["ls", "--json"]).success();
    let known: serde_json::Value = serde_json::from_str(&known).expect("it is JSON");
    let apps = known.as_array().expect("a list of apps").iter();
    state.extend(apps.map(|app| format!("{} {}", app["app"], app["revision"])));
    state
}

#[test]
fn tokens_are_good_once_and_for_their_own_cluster() {
    let Some(cluster) = Cluster::agents(3) else { return };
    cluster.muster("h1", &["init"]).success();
    refused(&cluster.muster("h2", &["join", "not-a-token"]), &["token"]);

    let token = cluster.token();
    cluster.muster("h2", &["join", &token]).success();
    cluster.await_alive("h1", 2);
    refused(&cluster.muster("h3", &["join", &token]), &["token"]);

    // The right form, and the wrong secret.
    let mut forged = cluster.token();
    let last = forged.pop().expect("a token is not empty");
    forged.push(if last == 'a' { 'b' } else { 'a' });
    refused(&cluster.muster("h3", &["join", &forged]), &["token"]);

    // Whoever issued it does not answer.
    let token = cluster.token();
    cluster.control(&["cut", "h3"]);
    let cut = cluster.muster("h3", &["join", &token]);
    refused(&cut, &["10.77.0.11"]);
    cluster.control(&["heal", "h3"]);
    assert_eq!(cluster.nodes("h1").len(), 2, "nobody came in");

    cluster.muster("h3", &["join", &token]).success();
    cluster.await_alive("h1", 3);
    refused(&cluster.muster("h3", &["init"]), &["already"]);
}

#[test]
fn a_pool_that_a_host_uses_for_something_else_is_refused_at_init_and_at_join() {
    let Some(cluster) = Cluster::agents(2) else { return };
    let route = |verb: &str, host: &str| {
        cluster.exec(host, &["ip", "route", verb, "10.212.0.0/16", "dev", "eth0"]).success();
    };
    route("add", "h1");
    let words = ["10.208.0.0/12", "10.212.0.0/16", "eth0", "--pool"];
    refused(&cluster.muster("h1", &["init"]), &words);
    refused(&cluster.muster("h1", &["init", "--pool", "127.0.0.0/8"]), &["127.0.0.0/8"]);
    cluster.muster("h1", &["init", "--pool", "10.96.0.0/12"]).success();
    cluster.exec("h2", &["ip", "route", "add", "10.97.0.0/16", "dev", "eth0"]).success();
    let words = ["10.96.0.0/12", "10.97.0.0/16", "muster token create"];
    refused(&cluster.muster("h2", &["join", &cluster.token()]), &words);
    assert_eq!(cluster.nodes("h1").len(), 1, "it is no member");
    cluster.exec("h2", &["ip", "route", "del", "10.97.0.0/16", "dev", "eth0"]).success();
    cluster.muster("h2", &["join", &cluster.token()]).success();
    cluster.await_alive("h1", 2);
}

#[test]
fn a_port_that_a_program_of_one_host_has_is_found_when_it_is_planned() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    let listen = "import socket, time; l = socket.create_server(('', 9000)); time.sleep(1000)";
    let folder = cluster.folder("other");
    cluster.spawn_in("h2", "other", &folder, &["python3", "-c", listen]);
    wait_for("a listener", SOON, || {
        !cluster.exec("h2", &["ss", "-Hltn", "sport", "=", ":9000"]).stdout.trim().is_empty()
    });
    let file = |ports: &str| {
        format!(
            "services: {{one: {{image: 'busybox:1', command: sleep 3600, stop_signal: SIGKILL, \
             ports: [{ports}]}}}}\n"
        )
    };
    let folder = cluster.compose("port", &file("'9000:80'"));
    for command in ["plan", "up"] {
        refused(&cluster.muster_in("h1", &folder, &[command]), &["9000/tcp", "`h2`", "python3"]);
    }
    assert!(cluster.ps("h1", "port").is_none(), "nothing was stored");
    // An address of the other host is somewhere; one of nobody is not.
    let folder = cluster.compose("port", &file("'192.0.2.7:9002:80'"));
    for command in ["plan", "up"] {
        refused(&cluster.muster_in("h1", &folder, &[command]), &["9002/tcp", "`192.0.2.7`"]);
    }
    let there = format!("'{}:9002:80'", cluster.address("h2"));
    let folder = cluster.compose("port", &file(&there));
    assert_eq!(cluster.muster_in("h1", &folder, &["plan"]).code, 2, "{there}");
    // A port that leads elsewhere from now on is ours already.
    let folder = cluster.compose("port", &file("'9001:80'"));
    cluster.muster_in("h1", &folder, &["up"]).success();
    let folder = cluster.compose("port", &file("'9001:81'"));
    cluster.muster_in("h1", &folder, &["up"]).success();
}
