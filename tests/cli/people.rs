//! People who work on a cluster from elsewhere: a real agent with a fake engine, real QUIC, and the
//! binary on both sides. All of it in namespaces of its own, as an agent sets up networks.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster::agent::Agent;
use muster::api::ApiError;
use muster::api::server::Listener;
use muster::config::AgentConfig;
use muster::docker::fake::{Behaviour, FakeEngine, FakeImage};
use muster::supervisor::Supervisor;
use tokio::runtime::Runtime;

use crate::harness::{Ended, Sandbox, check, wait_until};

/// Set where a test runs in its namespaces.
const INSIDE: &str = "MUSTER_TEST_INSIDE";

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    deploy: {replicas: 2}
    secrets: [key]
  api:
    build: ./api
secrets:
  key: {file: ./key}
";

/// Runs `body` as root of namespaces of its own: in a process like this one, of this test alone.
fn inside(name: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        return body();
    }
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}

/// A host with an agent whose engine is a fake.
struct Host {
    sandbox: Sandbox,
    config: AgentConfig,
    engine: FakeEngine,
    supervisor: Mutex<Supervisor>,
    runtime: Runtime,
}

impl Host {
    fn new() -> Self {
        Self::at(7400)
    }

    /// One that listens there.
    fn at(port: u16) -> Self {
        let sandbox = Sandbox::with_file(SHOP);
        let engine = FakeEngine::default();
        let output = ("served\n".to_owned(), String::new());
        let behaviour = Behaviour { output, ..Behaviour::default() };
        engine.with(|host| host.add_image("nginx:1.27", FakeImage::new(behaviour)));
        let config = AgentConfig {
            data_dir: sandbox.project().join("../data"),
            socket: sandbox.socket(),
            docker: "unix:///nowhere".to_owned(),
            listen: ([127, 0, 0, 1], port).into(),
            metrics: None,
        };
        let host = Self {
            sandbox,
            config,
            engine,
            supervisor: Mutex::default(),
            runtime: Runtime::new().unwrap(),
        };
        host.start();
        host
    }

    /// Starts its agent, once its port is free.
    fn start(&self) {
        let begun = Instant::now();
        while let Err(error) = self.runtime.block_on(self.try_start()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    async fn try_start(&self) -> Result<(), ApiError> {
        let (config, engine) = (self.config.clone(), Arc::new(self.engine.clone()));
        let supervisor = Supervisor::new();
        let listener = Listener::bind(&config.socket).await.unwrap();
        let agent = Agent::new(config, engine, supervisor.clone());
        agent.resume().await?;
        listener.serve(Arc::new(agent), &supervisor);
        *self.supervisor.lock().unwrap() = supervisor;
        Ok(())
    }

    /// Stops it.
    fn stop(&self) {
        let supervisor = self.supervisor.lock().unwrap().clone();
        self.runtime.block_on(supervisor.stop());
    }

    /// Which authority counts here, and which hosts have it, by name.
    fn authority(&self) -> (u64, Vec<String>) {
        let ended = self.run("ca --json");
        let ca: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let hosts = ca["hosts"].as_array().unwrap().iter().filter(|host| host["has_it"] == true);
        let names = hosts.map(|host| host["name"].as_str().unwrap().to_owned());
        (ca["number"].as_u64().unwrap(), names.collect())
    }

    fn run(&self, words: &str) -> Ended {
        self.sandbox.run(words)
    }

    /// An invitation or a token: what the command prints.
    #[track_caller]
    fn token(&self, words: &str) -> String {
        let ended = self.run(words);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    /// What the audit log has of whoever is called so: what, and with which result.
    fn audited(&self, who: &str) -> Vec<(String, String)> {
        let ended = self.run("audit --json");
        let log: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let entries = log["entries"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let of = entries.filter(|one| text(&one["who"]).split(' ').next() == Some(who));
        of.map(|one| (text(&one["what"]), text(&one["result"]))).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A machine that is no host; the file it has says the same.
fn laptop() -> Sandbox {
    let mut laptop = Sandbox::with_file(SHOP);
    laptop.set("MUSTER_SOCKET", "");
    laptop.write("api/Dockerfile", "FROM scratch\n");
    laptop.write("key", "very secret");
    laptop
}

#[track_caller]
fn well(ended: &Ended) {
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
}

#[track_caller]
fn refused(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

#[test]
fn a_person_is_let_in_works_from_elsewhere_and_is_taken_away() {
    inside("people::a_person_is_let_in_works_from_elsewhere_and_is_taken_away", || {
        let host = Host::new();
        well(&host.run("init --name one"));
        let laptop = laptop();

        // A token of another kind, and one that was used.
        let join = host.token("token create");
        refused(&laptop.run(&format!("context add lab {join}")), 1, "this token is for a host");
        let token = host.token("operator create anna");
        refused(&host.run("operator create no/name"), 1, "cannot be the name of an operator");
        well(&laptop.run(&format!("context add lab {token}")));
        refused(&laptop.run(&format!("context add two {token}")), 1, "was already used");
        refused(&laptop.run(&format!("context add lab {token}")), 1, "there is a context `lab`");
        refused(&host.run("operator create anna"), 1, "an operator is already called `anna`");
        the_key_is_its_owners_alone(&laptop);

        which_agent_is_used_is_plain(&laptop);
        the_app_is_brought_up_from_elsewhere(&laptop);
        what_belongs_to_a_host_is_refused(&laptop);
        a_viewer_looks_and_changes_nothing(&host, &laptop);
        removed_within_seconds(&host, &laptop);
    });
}

fn the_key_is_its_owners_alone(laptop: &Sandbox) {
    let contexts = laptop.project().join("../.config/muster/contexts");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&contexts), 0o700);
    assert_eq!(mode(&contexts.join("lab.json")), 0o600);
    let text = std::fs::read_to_string(contexts.join("lab.json")).unwrap();
    assert!(!text.contains("authority_key"), "{text}");
    assert_eq!(std::fs::read_dir(contexts).unwrap().count(), 1);
}

fn which_agent_is_used_is_plain(laptop: &Sandbox) {
    let socket = "commands use no context but the agent on `/run/muster.sock`";
    let ended = laptop.run("context ls");
    assert!(ended.stdout.contains("lab ") && !ended.stdout.contains('*'), "{}", ended.stdout);
    assert!(ended.stderr.contains(socket), "{}", ended.stderr);
    check(&laptop.run("--context lab nodes -q"), 0, "one\n", "");
    // Each takes a place at the member, and gives it back: there are fewer than this.
    for _ in 0..20 {
        check(&laptop.run("--context lab ls -q"), 0, "", "");
    }
    refused(&laptop.run("--context elsewhere nodes"), 1, "context `elsewhere`: no context");
    refused(&laptop.run("context use elsewhere"), 1, "no context `elsewhere`");
    well(&laptop.run("context use lab"));
    let ended = laptop.run("context ls");
    assert!(ended.stdout.contains("lab *"), "{}", ended.stdout);
    check(&laptop.run("nodes -q"), 0, "one\n", "");
    let shown = laptop.run("context show --json");
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["role"], "operator");
    assert_eq!(shown["members"].as_array().unwrap().len(), 1);
    // The socket wins.
    refused(&laptop.run("--socket /nowhere.sock nodes"), 1, "no agent answers on `/nowhere.sock`");
}

fn the_app_is_brought_up_from_elsewhere(laptop: &Sandbox) {
    let ended = laptop.run("up");
    well(&ended);
    assert!(ended.stderr.contains("app `shop` is up after"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("no agent was running"), "{}", ended.stderr);
    let ended = laptop.run("ps -q");
    check(&ended, 0, "api/1\nweb/1\nweb/2\n", "");
    let ended = laptop.run("logs web --no-log-prefix");
    check(&ended, 0, "served\nserved\n", "");
    check(&laptop.run("ls -q"), 0, "shop\n", "");
    let ended = laptop.run("events");
    assert!(ended.stdout.contains("app `shop` has revision 1"), "{}", ended.stdout);
    well(&laptop.run("scale web=3"));
    assert_eq!(laptop.run("ps -q web").stdout, "web/1\nweb/2\nweb/3\n");
    assert_eq!(laptop.run("plan").code, 2, "the file says two");
    well(&laptop.run("config -q"));
    assert_eq!(laptop.run("doctor -q").code, 0, "this machine is no host");
}

fn what_belongs_to_a_host_is_refused(laptop: &Sandbox) {
    refused(&laptop.run("init"), 1, "only on the host itself");
    refused(&laptop.run("join muster-x"), 1, "only on the host itself");
    laptop.write("bound.yaml", "services:\n  web:\n    image: nginx:1.27\n    volumes: [./x:/x]\n");
    let ended = laptop.run("-f bound.yaml up");
    refused(&ended, 1, "service `web` mounts `[DIR]/shop/x`, and context `lab` is no host");
    refused(&laptop.run("operator rm anna"), 1, "an operator cannot remove itself");
}

fn a_viewer_looks_and_changes_nothing(host: &Host, laptop: &Sandbox) {
    // Invited by an operator, from elsewhere.
    let token = laptop.run("operator create ben --role viewer").stdout.trim().to_owned();
    well(&laptop.run(&format!("context add look {token}")));
    check(&host.run("operator ls -q"), 0, "anna\nben\n", "");
    let all = laptop.run("operator ls");
    assert!(all.stdout.contains("anna ([ID])"), "who invited: {}", all.stdout);
    check(&laptop.run("--context look ps -q web"), 0, "web/1\nweb/2\nweb/3\n", "");
    assert_eq!(laptop.run("--context look plan").code, 2);
    assert_eq!(laptop.run("--context look plan api").code, 0, "secrets it cannot see");
    let words = "`ben` may only look: its role is `viewer`";
    for command in ["up", "down", "scale web=1", "token create", "operator create eve"] {
        refused(&laptop.run(&format!("--context look {command}")), 1, words);
    }
    refused(&laptop.run("--context look node drain one"), 1, words);
    assert_eq!(laptop.run("ps -q web").stdout, "web/1\nweb/2\nweb/3\n", "nothing was changed");
    let by_ben = host.audited("ben");
    assert!(by_ben.len() >= 6, "{by_ben:?}");
    assert!(by_ben.iter().all(|(_, result)| result.starts_with("refused: `ben` may only look")));
    let by_anna: Vec<String> = host.audited("anna").into_iter().map(|(what, _)| what).collect();
    for what in ["up shop", "scale shop"] {
        assert!(by_anna.iter().any(|one| one == what), "{what}: {by_anna:?}");
    }
    assert!(by_anna.iter().any(|one| one.starts_with("build shop-api:")), "{by_anna:?}");
    assert!(by_anna.iter().any(|one| one.starts_with("operator create ben")), "{by_anna:?}");
}

fn removed_within_seconds(host: &Host, laptop: &Sandbox) {
    let mut follow =
        laptop.command("events -f").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let begun = Instant::now();
    well(&host.run("operator rm anna"));
    // Its lines end with it.
    assert!(lines.all(|line| line.is_ok()));
    let ended = laptop.end_of(follow);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_ne!(ended.code, 0, "{}", ended.stderr);
    let out = "context `lab`: this operator was removed from the cluster";
    for command in ["ps", "up", "operator ls"] {
        refused(&laptop.run(command), 1, out);
    }
    check(&host.run("operator ls -q"), 0, "ben\n", "");
    refused(&host.run("operator rm anna"), 1, "no operator `anna`");
    well(&laptop.run("--context look ls"));
    // The name is free again, and the context can be made anew.
    let token = host.token("operator create anna");
    well(&laptop.run("context rm lab"));
    assert!(laptop.run("context ls").stdout.contains("look"), "the other one stays");
    well(&laptop.run(&format!("context add lab {token}")));
    check(&laptop.run("--context lab ls -q"), 0, "shop\n", "");
}

#[test]
fn the_authority_is_rotated_while_a_host_is_away_and_a_person_goes_on() {
    inside("people::the_authority_is_rotated_while_a_host_is_away_and_a_person_goes_on", || {
        let (one, two) = (Host::new(), Host::at(7401));
        well(&one.run("init --name one"));
        let token = one.token("token create");
        well(&two.run(&format!("join {token} --name two")));
        let laptop = laptop();
        let invitation = one.token("operator create anna");
        well(&laptop.run(&format!("context add lab {invitation}")));
        let void = one.token("operator create ben");
        wait_until("both hosts in the list", || one.authority() == (1, names(&["one", "two"])));
        two.stop();
        let ended = one.run("ca rotate");
        well(&ended);
        assert!(ended.stdout.contains("has an older one"), "{}", ended.stdout);
        assert_eq!(one.authority(), (2, names(&["one"])));
        assert_eq!(one.audited("local").last().unwrap().0, "ca rotate");
        refused(&laptop.run(&format!("context add late {void}")), 1, "another cluster");
        // She was there before, and gets a certificate of the new one by any command.
        let file = laptop.project().join("../.config/muster/contexts/lab.json");
        let before = std::fs::read_to_string(&file).unwrap();
        check(&laptop.run("--context lab operator ls -q"), 0, "anna\n", "");
        let after = std::fs::read_to_string(&file).unwrap();
        let part = |text: &str| {
            let text: serde_json::Value = serde_json::from_str(text).unwrap();
            text["authority_certificate"].clone()
        };
        assert_ne!(part(&before), part(&after));
        check(&laptop.run("--context lab operator ls -q"), 0, "anna\n", "");
        // The host that was away is handed it when it is back.
        two.start();
        wait_until("the authority on the host that was away", || {
            two.authority() == (2, names(&["one", "two"])) && one.authority() == two.authority()
        });
        assert_eq!(two.run("nodes -q").stdout, "one\ntwo\n");
    });
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
