//! A cluster of muster on the hosts of a lab: the real binary, used as a person uses it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::api::{AppDetail, Liveness, Node};

use crate::lab::{Ended, Lab, wait_for};

/// The binary under test. It lies in the repository, which every host sees.
pub(crate) const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// For what takes a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// For what starts containers, one after the other, on a busy machine.
pub(crate) const LATER: Duration = Duration::from_secs(120);

/// The label by which containers of a Service are found.
const SERVICE_LABEL: &str = "muster.service";

/// A [`Lab`] whose hosts run agents.
pub(crate) struct Cluster(Lab);

impl Deref for Cluster {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl Cluster {
    /// One cluster of `n_hosts` hosts. None when the tests on real hosts are to be skipped.
    pub(crate) fn form(n_hosts: usize) -> Option<Self> {
        let cluster = Self::agents(n_hosts)?;
        cluster.gather(&[]);
        Some(cluster)
    }

    /// Makes one cluster of all hosts; `options` are for `init`.
    #[track_caller]
    pub(crate) fn gather(&self, options: &[&str]) {
        let hosts = self.hosts();
        self.muster("h1", &[&["init"], options].concat()).success();
        for host in &hosts[1..] {
            let token = self.token();
            self.muster(host, &["join", &token]).success();
        }
        self.await_alive("h1", hosts.len());
    }

    /// Hosts with agents that belong to no cluster yet.
    pub(crate) fn agents(n_hosts: usize) -> Option<Self> {
        let cluster = Self::bare(n_hosts)?;
        for host in cluster.hosts() {
            cluster.start_agent(&host);
        }
        Some(cluster)
    }

    /// Hosts without agents.
    pub(crate) fn bare(n_hosts: usize) -> Option<Self> {
        Lab::start(n_hosts).map(Self)
    }

    /// Starts the agent of a host and waits until it answers.
    pub(crate) fn start_agent(&self, host: &str) {
        self.spawn_in(host, "agent", Path::new("/"), &[MUSTER, "agent"]);
        wait_for(&format!("the agent of {host} answers"), SOON, || {
            self.exec(host, &["test", "-S", "/run/muster.sock"]).code == 0
                && !self.muster(host, &["nodes"]).stderr.contains("/run/muster.sock")
        });
    }

    /// A token to join with.
    #[track_caller]
    pub(crate) fn token(&self) -> String {
        self.muster("h1", &["token", "create"]).success()
    }

    /// `muster` in a host.
    pub(crate) fn muster(&self, host: &str, arguments: &[&str]) -> Ended {
        self.exec(host, &[&[MUSTER], arguments].concat())
    }

    /// `muster` in a host, in a folder.
    pub(crate) fn muster_in(&self, host: &str, folder: &Path, arguments: &[&str]) -> Ended {
        self.exec_in(host, folder, &[&[MUSTER], arguments].concat())
    }

    /// A line for the shell in a host, in a folder; `MUSTER` in it is the binary.
    pub(crate) fn shell(&self, host: &str, folder: &Path, line: &str) -> Ended {
        self.exec_in(host, folder, &["sh", "-c", &line.replace("MUSTER", MUSTER)])
    }

    /// A line for the shell of an operator, in a folder: outside of the hosts, with a home there.
    pub(crate) fn operator(&self, folder: &Path, line: &str) -> Ended {
        let home = folder.join("home");
        let home = home.display();
        self.shell("outside", folder, &format!("mkdir -p {home}; export HOME={home}; {line}"))
    }

    /// What `muster nodes` says on a host.
    #[track_caller]
    pub(crate) fn nodes(&self, host: &str) -> Vec<Node> {
        let text = self.muster(host, &["nodes", "--json"]).success();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What `muster ps` says of an App on a host; none when it knows no such App.
    pub(crate) fn ps(&self, host: &str, app: &str) -> Option<AppDetail> {
        let ended = self.muster(host, &["ps", "--json", "-p", app]);
        serde_json::from_str(&ended.stdout).ok()
    }

    /// Waits until a host sees so many live ones.
    #[track_caller]
    pub(crate) fn await_alive(&self, host: &str, n_hosts: usize) -> Duration {
        wait_for(&format!("{host} sees {n_hosts} live hosts"), SOON, || {
            let text = self.muster(host, &["nodes", "--json"]).stdout;
            serde_json::from_str::<Vec<Node>>(&text).is_ok_and(|nodes| {
                nodes.iter().filter(|node| node.liveness == Liveness::Alive).count() == n_hosts
            })
        })
    }

    /// Waits until a host says that an App is as it should be.
    #[track_caller]
    pub(crate) fn await_settled(&self, host: &str, app: &str) -> Duration {
        wait_for(&format!("`{app}` is settled"), LATER, || {
            self.ps(host, app).is_some_and(|detail| detail.settled)
        })
    }

    /// Ids of the running containers of a Service on a host, by Docker.
    #[track_caller]
    pub(crate) fn containers(&self, host: &str, service: &str) -> Vec<String> {
        let filter = format!("label={SERVICE_LABEL}={service}");
        let text = self.docker(host, &["ps", "--no-trunc", "--quiet", "--filter", &filter]);
        text.lines().map(str::to_owned).collect()
    }

    /// Running containers of a Service by host, by Docker; hosts without one are left out.
    #[track_caller]
    pub(crate) fn spread(&self, hosts: &[&str], service: &str) -> BTreeMap<String, usize> {
        let counts =
            hosts.iter().map(|host| (host.to_string(), self.containers(host, service).len()));
        counts.filter(|(_, n)| *n > 0).collect()
    }

    /// The one host where a Service runs.
    #[track_caller]
    pub(crate) fn host_of(&self, service: &str) -> String {
        let hosts = self.hosts();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let spread = self.spread(&hosts, service);
        assert_eq!(spread.len(), 1, "`{service}` runs on {spread:?}");
        spread.into_keys().next().expect("counted above")
    }

    /// The one host where a Service runs, and one where it does not.
    #[track_caller]
    pub(crate) fn sides_of(&self, service: &str) -> [String; 2] {
        let there = self.host_of(service);
        let elsewhere = self.hosts().into_iter().find(|host| *host != there);
        [there, elsewhere.expect("there are two")]
    }

    /// The page at a port of a host, asked from outside; none when it does not answer well.
    pub(crate) fn page(&self, host: &str, port: u16) -> Option<String> {
        let url = format!("http://{}:{port}/", self.address(host));
        let ended = self.exec("outside", &["curl", "-fsS", "-m", "5", &url]);
        (ended.code == 0).then_some(ended.stdout)
    }

    /// Writes a Compose file into a folder of its own.
    pub(crate) fn compose(&self, app: &str, text: &str) -> PathBuf {
        let folder = self.folder(app);
        std::fs::write(folder.join("compose.yaml"), text).expect("the folder is ours");
        folder
    }
}

/// The folder of an example.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples").join(name)
}
