//! A lab of real Docker hosts for one test, driven through `lab.sh`. Taken down when the test ends,
//! however it ends. Knows nothing of clusters: that is `cluster`.

use std::fs::File;
use std::io::{Write, stderr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Labs of one machine share its two or four cores, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

/// So that it is said once that tests are skipped.
static SKIPPED: Once = Once::new();

/// Between two looks at a condition.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Longer than any single command may take, images streamed and built included.
const COMMAND_MAX_SECONDS: &str = "180";

/// What `timeout` exits with when it had to end its command.
const TIMED_OUT: i32 = 124;

/// Hosts `h1`, `h2`, …, each with a Docker Engine, and `outside`, which has none.
pub(crate) struct Lab {
    folder: TempDir,
    warden: Option<Child>,
    pub(crate) n_hosts: usize,
    _turn: MutexGuard<'static, ()>,
}

/// How a command ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The standard output without the last line end, of a command that must succeed.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert_eq!(self.code, 0, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout.trim_end().to_owned()
    }
}

impl Lab {
    /// Starts `n_hosts` hosts. None when the tests on real hosts are to be skipped, which it says.
    ///
    /// # Panics
    /// When the lab cannot run here, with the reason in one sentence.
    pub(crate) fn start(n_hosts: usize) -> Option<Self> {
        if std::env::var_os("MUSTER_SKIP_CLUSTER").is_some_and(|value| value == "1") {
            SKIPPED.call_once(|| {
                // Not `eprintln`, which the test harness keeps to itself when a test passes.
                let words = "\nskipped: the tests on real Docker hosts (MUSTER_SKIP_CLUSTER=1)\n";
                stderr().write_all(words.as_bytes()).expect("stderr is open");
            });
            return None;
        }
        // A test that failed leaves no lab behind, so the next one may go on.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let check = run(script("lab.sh").arg("check"));
        assert!(check.code == 0, "{}", check.stdout.trim_end());
        // Of a test run that was killed together with its warden.
        run(script("lab.sh").arg("down")).success();
        let lab = Self {
            folder: TempDir::new().expect("there is room for temporary files"),
            warden: Some(warden()),
            n_hosts,
            _turn: turn,
        };
        run(script("lab.sh").args(["up", &n_hosts.to_string()])).success();
        Some(lab)
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        (1..=self.n_hosts).map(|n| format!("h{n}")).collect()
    }

    pub(crate) fn address(&self, host: &str) -> String {
        self.control(&["addr", host])
    }

    /// A subcommand of `lab.sh` that must succeed: `kill`, `boot`, `cut`, `heal`, `stop`, ….
    #[track_caller]
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        run(script("lab.sh").args(arguments)).success()
    }

    /// Runs a program in a host.
    pub(crate) fn exec(&self, host: &str, command: &[&str]) -> Ended {
        self.exec_in(host, self.folder.path(), command)
    }

    /// Runs a program in a host, in a folder of the machine.
    pub(crate) fn exec_in(&self, host: &str, folder: &Path, command: &[&str]) -> Ended {
        run(script("lab.sh").current_dir(folder).args(["exec", host]).args(command))
    }

    /// Starts a program in the background of a host; [`Lab::output_of`] is what it wrote.
    #[track_caller]
    pub(crate) fn spawn_in(&self, host: &str, name: &str, folder: &Path, command: &[&str]) {
        let log = self.log(host, name);
        let mut spawn = script("lab.sh");
        spawn.current_dir(folder).args(["spawn", host, name]).arg(log).args(command);
        run(&mut spawn).success();
    }

    /// Whether a program of [`Lab::spawn_in`] still runs.
    pub(crate) fn is_running(&self, host: &str, name: &str) -> bool {
        run(script("lab.sh").args(["pid", host, name])).code == 0
    }

    /// What a program of [`Lab::spawn_in`] wrote until now, over all its starts.
    pub(crate) fn output_of(&self, host: &str, name: &str) -> String {
        let bytes = std::fs::read(self.log(host, name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log(&self, host: &str, name: &str) -> PathBuf {
        self.folder.path().join(format!("{host}-{name}.log"))
    }

    /// `docker` in a host; it must succeed.
    #[track_caller]
    pub(crate) fn docker(&self, host: &str, arguments: &[&str]) -> String {
        let command: Vec<&str> = [&["docker"], arguments].concat();
        self.exec(host, &command).success()
    }

    /// Puts images on a host, from the distribution's packages.
    #[track_caller]
    pub(crate) fn load(&self, host: &str, images: &[&str]) {
        let mut load = script("images.sh");
        load.args(["load", host]).args(images);
        // The first time, the images are made, which takes minutes and is not the test's subject.
        finish(load.output(), "images.sh load").success();
    }

    /// The socket of a host's Docker as seen from the machine.
    pub(crate) fn docker_socket(&self, host: &str) -> String {
        let status = self.control(&["status"]);
        let line = status.lines().find(|line| line.starts_with(&format!("{host} ")));
        let init = line.and_then(|line| line.split(' ').nth(3)).expect("the host is up");
        format!("unix:///proc/{init}/root/run/docker.sock")
    }

    /// A folder of the machine that every host sees, for what a test writes.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        folder
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            for host in self.hosts() {
                let output = self.output_of(&host, "agent");
                let lines: Vec<&str> = output.lines().collect();
                let last = lines[lines.len().saturating_sub(40)..].join("\n");
                eprintln!("--- the agent of {host} wrote last:\n{last}");
            }
        }
        let mut warden = self.warden.take().expect("taken only here");
        drop(warden.stdin.take());
        let status = warden.wait().expect("the warden is our child");
        if !thread::panicking() {
            assert!(status.success(), "the lab left something behind, see above");
        }
    }
}

/// Takes the lab down when we close its input, or when we die of whatever.
fn warden() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "cat >/dev/null; exec \"$0\" down"]).arg(path("lab.sh"));
    settings(&mut command);
    // A group of its own, so that a Ctrl-C meant for the tests does not end it.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("there is a shell")
}

fn path(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster").join(script)
}

/// A script of the lab, under a time limit.
fn script(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", COMMAND_MAX_SECONDS]).arg(path(name));
    settings(&mut command);
    command
}

/// Only what the commands need: a proxy or a `COMPOSE_FILE` of whoever runs the tests is not theirs.
fn settings(command: &mut Command) {
    let kept = ["PATH", "HOME", "TMPDIR", "MUSTER_LAB_DIR", "MUSTER_IMAGE_CACHE"];
    let kept = std::env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept));
    command.env_clear().envs(kept.collect::<Vec<_>>());
    command.env("MUSTER_LAB_NAME", "test").env("NO_COLOR", "1").stdin(Stdio::null());
}

fn run(command: &mut Command) -> Ended {
    let what = format!("{command:?}");
    finish(command.output(), &what)
}

fn finish(output: std::io::Result<std::process::Output>, what: &str) -> Ended {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let code = output.status.code().unwrap_or(-1);
    assert!(code != TIMED_OUT, "took longer than {COMMAND_MAX_SECONDS} s: {what}");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Looks until the condition holds.
///
/// # Panics
/// When it does not within the time; `what` says what was awaited.
#[track_caller]
pub(crate) fn wait_for(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(LOOK_PAUSE);
    }
    began.elapsed()
}

/// Clients outside the cluster that ask for a page without a pause, until [`Visitors::leave`].
pub(crate) struct Visitors<'lab> {
    lab: &'lab Lab,
}

/// What visitors got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visits {
    pub(crate) served: usize,
    pub(crate) failed: usize,
}

const VISITORS: &str = r#"while :; do for url in "$@"; do
    curl -s -m 3 -o /dev/null -w "%{http_code}\n" "$url"; done; sleep 0.02; done"#;

impl<'lab> Visitors<'lab> {
    /// Asks for `http://HOST:PORT/` through every host of the list in turn.
    pub(crate) fn come(lab: &'lab Lab, hosts: &[&str], port: u16) -> Self {
        let urls: Vec<String> =
            hosts.iter().map(|host| format!("http://{}:{port}/", lab.address(host))).collect();
        let mut command = vec!["sh", "-c", VISITORS, "visitors"];
        command.extend(urls.iter().map(String::as_str));
        // A file of its own for each crowd of visitors.
        File::create(lab.log("outside", "visitors")).expect("the folder is ours");
        lab.spawn_in("outside", "visitors", lab.folder.path(), &command);
        let visitors = Self { lab };
        wait_for("the first page is served", Duration::from_secs(20), || {
            visitors.visits().served > 0
        });
        visitors
    }

    /// Until now.
    pub(crate) fn visits(&self) -> Visits {
        let output = self.lab.output_of("outside", "visitors");
        let served = output.lines().filter(|status| *status == "200").count();
        Visits { served, failed: output.lines().count() - served }
    }

    /// Stops them.
    pub(crate) fn leave(self) -> Visits {
        self.lab.control(&["stop", "outside", "visitors", "TERM"]);
        self.visits()
    }
}
