//! A folder with a Compose file, a fake agent, and a way to run the binary and look at the result.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::api::fake::FakeBackend;
use muster::api::server::Listener;
use muster::supervisor::Supervisor;
use tokio::runtime::Runtime;

/// Nothing here takes nearly so long; it only ends a test that hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a command left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder to run in.
#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("shop")).unwrap();
        Self { folder, variables: Vec::new() }
    }

    /// A sandbox with this Compose file.
    pub(crate) fn with_file(text: &str) -> Self {
        let sandbox = Self::new();
        sandbox.write("compose.yaml", text);
        sandbox
    }

    /// Sets a variable for the commands to come.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The folder the commands run in; the project is called after it.
    pub(crate) fn project(&self) -> PathBuf {
        self.folder.path().join("shop")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("muster.sock")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        command
            .args(words.split_whitespace())
            .current_dir(self.project())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .env("MUSTER_SOCKET", self.socket())
            .env("MUSTER_DATA_DIR", self.folder.path().join("data"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A command as root of namespaces of its own, so that what it does to the network is seen by
    /// nobody; when it ends, all that it started is killed.
    pub(crate) fn isolated(&self, words: &str) -> Command {
        let inner = self.command(words);
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(self.project())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in inner.get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        command
    }

    /// Runs a command to its end. Paths of this sandbox become `[DIR]`, times `[TIME]`, ids of
    /// Revisions `[ID]`.
    pub(crate) fn run(&self, words: &str) -> Ended {
        let child = self.command(words).spawn().unwrap();
        self.end_of(child)
    }

    /// Waits for a command.
    pub(crate) fn end_of(&self, child: Child) -> Ended {
        let pid = child.id();
        let begun = Instant::now();
        let watch = std::thread::spawn(move || child.wait_with_output().unwrap());
        while !watch.is_finished() {
            assert!(begun.elapsed() < DEADLINE, "process {pid} does not end");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let output = watch.join().unwrap();
        Ended {
            code: output.status.code().expect("it ended by itself"),
            stdout: self.normal(&output.stdout),
            stderr: self.normal(&output.stderr),
        }
    }

    fn normal(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("the output is text");
        let text = text.replace(self.folder.path().to_str().unwrap(), "[DIR]");
        let lines: Vec<String> = text.split('\n').map(normal_line).collect();
        lines.join("\n")
    }
}

fn normal_line(line: &str) -> String {
    let words = line.split(' ').collect::<Vec<_>>();
    let mut normal: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let is_time = words.get(index + 1) == Some(&"s")
            && word.chars().all(|c| c.is_ascii_digit() || c == '.')
            && word.contains('.');
        let is_id = bare.len() >= 12 && bare.chars().all(|c| c.is_ascii_hexdigit());
        if is_time {
            normal.push("[TIME]".to_owned());
        } else if is_id {
            normal.push(word.replace(bare, "[ID]"));
        } else {
            normal.push((*word).to_owned());
        }
    }
    normal.join(" ")
}

/// A sandbox whose socket a fake agent answers on.
pub(crate) struct Cluster {
    pub(crate) sandbox: Sandbox,
    pub(crate) agent: Arc<FakeBackend>,
    supervisor: Supervisor,
    runtime: Runtime,
}

impl Cluster {
    pub(crate) fn new(file: &str) -> Self {
        let sandbox = Sandbox::with_file(file);
        let agent = Arc::new(FakeBackend::new());
        let supervisor = Supervisor::new();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind(&sandbox.socket()).await.unwrap();
            listener.serve(agent.clone(), &supervisor);
        });
        Self { sandbox, agent, supervisor, runtime }
    }

    pub(crate) fn run(&self, words: &str) -> Ended {
        self.sandbox.run(words)
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub(crate) fn json(&self, words: &str) -> serde_json::Value {
        let ended = self.run(words);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).expect("it is JSON")
    }

    /// Stops the agent.
    pub(crate) fn stop(&self) {
        self.runtime.block_on(self.supervisor.stop());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "{what} did not come");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Checks a whole command: exit code, standard output, standard error.
#[track_caller]
pub(crate) fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    let expected = Ended { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(
        *ended, expected,
        "\n--- code {} stdout ---\n{}--- stderr ---\n{}",
        ended.code, ended.stdout, ended.stderr
    );
}
