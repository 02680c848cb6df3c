//! Hosts that come when replicas have no room, and go when they are empty: the provider of the README, and
//! a shelf of machines that the test switches on.

use std::fs;
use std::path::{Path, PathBuf};

use muster::api::ProviderView;

use crate::cluster::{Cluster, LATER, MUSTER, SOON};
use crate::lab::wait_for;

/// What the provider uses in place of ssh: it has the test enter the machine, which alone can.
const REMOTE: &str = r#"#!/bin/sh
set -eu
call=$(mktemp "${0%/*}/calls/XXXXXX")
cat >"$call.input"
printf '%s\n' "$@" >"$call.words"
mv "$call.words" "$call.request"
until [ -e "$call.code" ]; do sleep 0.1; done
cat "$call.output"
exit "$(cat "$call.code")"
"#;

/// One on each host.
const WIDE: &str = "services:
  wide:
    image: busybox:1
    command: sleep 100000
    stop_signal: SIGKILL
    deploy:
      replicas: 2
      placement: { max_replicas_per_node: 1 }
";

/// Machines that are off until somebody enters them.
struct Shelf<'c> {
    cluster: &'c Cluster,
    folder: PathBuf,
    /// Every token that came by.
    tokens: Vec<String>,
}

impl<'c> Shelf<'c> {
    /// Puts the provider and an empty shelf where every host sees them.
    fn new(cluster: &'c Cluster) -> Self {
        let folder = cluster.folder("provider");
        for name in ["calls", "shelf"] {
            fs::create_dir(folder.join(name)).expect("the folder is ours");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/provider.sh");
        fs::copy(source, folder.join("provider")).expect("the folder is ours");
        write_program(&folder.join("remote"), REMOTE);
        let at = folder.display();
        let conf = format!("SHELF={at}/shelf\nREMOTE={at}/remote\n");
        fs::write(folder.join("provider.conf"), conf).expect("the folder is ours");
        Self { cluster, folder, tokens: Vec::new() }
    }

    fn program(&self) -> String {
        self.folder.join("provider").display().to_string()
    }

    fn place(&self, machine: &str) -> PathBuf {
        self.folder.join("shelf").join(machine)
    }

    /// Does what the provider wants done on machines.
    fn serve(&mut self) {
        let calls = fs::read_dir(self.folder.join("calls")).expect("it is there");
        for request in calls.map(|call| call.expect("it is there").path()) {
            if request.extension().is_none_or(|extension| extension != "request") {
                continue;
            }
            let words = fs::read_to_string(&request).expect("it is there");
            let words: Vec<&str> = words.lines().collect();
            let [machine, "muster", arguments @ ..] = words.as_slice() else {
                panic!("the provider says {words:?}")
            };
            let input = request.with_extension("input");
            if arguments.contains(&"join") {
                let token = fs::read_to_string(&input).expect("it is there").trim().to_owned();
                assert!(token.len() > 20, "a token comes by standard input");
                assert!(!words.iter().any(|word| word.contains(&token)), "{words:?}");
                self.tokens.push(token);
            }
            self.switch_on(machine);
            let run = "input=$1; shift; exec \"$@\" <\"$input\"";
            let input = input.display().to_string();
            let command = [&["sh", "-c", run, "sh", &input, MUSTER], arguments].concat();
            let ended = self.cluster.exec(machine, &command);
            fs::write(request.with_extension("output"), ended.stdout + &ended.stderr)
                .expect("the folder is ours");
            fs::remove_file(&request).expect("it is ours");
            let code = request.with_extension("new");
            fs::write(&code, ended.code.to_string()).expect("the folder is ours");
            fs::rename(&code, request.with_extension("code")).expect("the folder is ours");
        }
    }

    fn switch_on(&self, machine: &str) {
        if self.cluster.is_running(machine, "agent") {
            return;
        }
        let n = machine.strip_prefix('h').expect("machines are called so");
        self.cluster.control(&["up", n]);
        self.cluster.start_agent(machine);
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, mut condition: impl FnMut(&Cluster) -> bool) {
        let took = wait_for(what, LATER, || {
            self.serve();
            condition(self.cluster)
        });
        println!("{what}: {took:?}");
    }
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).expect("the folder is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

fn provider(cluster: &Cluster, host: &str) -> ProviderView {
    let text = cluster.muster(host, &["node", "provider", "--json"]).success();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_host_is_added_when_replicas_have_no_room_and_given_back_when_it_is_empty() {
    let Some(cluster) = Cluster::form(2) else { return };
    cluster.load("h1", &["busybox:1"]);
    cluster.load("h2", &["busybox:1"]);
    let mut shelf = Shelf::new(&cluster);
    refused(&cluster);
    fs::write(shelf.place("h3"), "").expect("the folder is ours");
    let program = shelf.program();
    let times = ["--pending", "2s", "--empty", "5s", "--pause", "1s", "--join-within", "60s"];
    let set = [&["node", "provider", "set", &program, "--max", "4"], times.as_slice()].concat();
    cluster.muster("h1", &set).success();

    let folder = cluster.compose("wide", WIDE);
    cluster.muster_in("h2", &folder, &["up"]).success();
    cluster.muster("h2", &["scale", "-p", "wide", "--detach", "wide=3"]).success();
    shelf.wait_for("a third host runs the third replica", |cluster| {
        cluster.is_running("h3", "agent")
            && cluster.spread(&["h1", "h2", "h3"], "wide").values().sum::<usize>() == 3
    });
    cluster.await_settled("h2", "wide");
    let shown = cluster.muster("h2", &["node", "provider"]).success();
    assert!(shown.contains("`h3` joined as machine 1"), "{shown}");
    assert_eq!(shelf.tokens.len(), 1, "it was asked for once");
    let nodes = cluster.nodes("h1");
    let third = nodes.iter().find(|node| node.name == "h3").expect("it is a member");
    assert_eq!(third.labels["muster.provider"], "1");

    cluster.muster("h2", &["scale", "-p", "wide", "wide=2"]).success();
    shelf.wait_for("the third host is given back", |cluster| cluster.nodes("h1").len() == 2);
    assert_eq!(fs::read_to_string(shelf.place("h3")).expect("it is there"), "", "it is free");
    wait_for("nothing of the cluster is left on it", SOON, || {
        cluster.docker("h3", &["ps", "--all", "--quiet"]).is_empty()
    });
    let events = cluster.muster("h2", &["events"]).success();
    for words in ["asks for a machine: machine 1: ", "`h3` joined as", "`h3` was given back"] {
        assert!(events.contains(words), "{words}: {events}");
    }

    fs::remove_file(shelf.place("h3")).expect("it is there");
    cluster.muster("h1", &["scale", "-p", "wide", "--detach", "wide=3"]).success();
    shelf.wait_for("it is said that there are no more", |cluster| {
        let problem = provider(cluster, "h1").problem;
        problem.is_some_and(|problem| problem == "the provider refused: the shelf is empty")
    });
    let shown = cluster.muster("h2", &["node", "provider"]);
    assert!(shown.stderr.contains("the shelf is empty"), "{shown:?}");
    cluster.muster("h1", &["node", "provider", "off"]).success();
    assert_eq!(provider(&cluster, "h2").command, None);
    for host in ["h1", "h2", "h3"] {
        let log = cluster.output_of(host, "agent");
        assert!(!log.contains(&shelf.tokens[0]), "the agent of {host} wrote the token down");
    }
}

fn refused(cluster: &Cluster) {
    let cases = [
        (["set", "provider", "--max", "3"], "no absolute path"),
        (["set", "/nowhere/provider", "--max", "3"], "cannot be run here"),
        (["set", "/etc/hostname", "--max", "3"], "is no program"),
        (["set", "/bin/sh", "--max", "0"], "at least 1 hosts are more than the 0"),
    ];
    for (arguments, words) in cases {
        let arguments = [&["node", "provider"], arguments.as_slice()].concat();
        let ended = cluster.muster("h1", &arguments);
        assert_eq!(ended.code, 1, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains("hint: "), "{ended:?}");
    }
    assert_eq!(provider(cluster, "h2").command, None);
}
