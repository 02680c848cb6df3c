//! Sitting in front of programs, against a fake agent: pipes, a terminal (of `script`), and what is put back.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use muster::api::{ApiError, LogLine};
use muster::model::{Attended, ReplicaId};

use crate::harness::{Cluster, check, wait_until};

const SHOP: &str = "\
services:
  web: {image: \"nginx:1.27\", deploy: {replicas: 2}}
  broken: {image: \"nginx:1.27\"}
";

fn shop() -> Cluster {
    let cluster = Cluster::new(SHOP);
    assert_eq!(cluster.run("up -q").code, 0);
    cluster
}

/// Runs a command that is given this input.
fn with_input(cluster: &Cluster, words: &str, input: &[u8]) -> Output {
    let mut child = cluster.sandbox.command(words).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // One that ends before it has read all is looked at by its output.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

#[test]
fn outputs_stay_apart_and_the_exit_code_is_passed_on() {
    let cluster = shop();
    check(&cluster.run("exec web both"), 3, "out\n", "err\n");
    check(&cluster.run("exec web true"), 0, "", "");
    check(&cluster.run("exec web exit 127"), 127, "", "");
    check(&cluster.run("exec web exit 512"), 1, "", "");
    let asked = "exec -T -e A=1 -e B=x=y -u 5:6 -w /srv --privileged --index 2 web ls -l --all";
    check(&cluster.run(asked), 0, "", "");
    let last = cluster.agent.state().executed.last().cloned().unwrap();
    assert_eq!(last.hook.command, ["ls", "-l", "--all"]);
    assert_eq!(
        (last.hook.environment["A"].as_str(), last.hook.environment["B"].as_str()),
        ("1", "x=y")
    );
    assert_eq!(last.hook.user.as_deref(), Some("5:6"));
    assert_eq!(last.hook.working_dir.as_deref(), Some("/srv"));
    assert!(last.hook.privileged && !last.detach);
    assert_eq!((last.index, last.terminal), (Some(2), None));
    check(&cluster.run("exec -d web exit 3"), 0, "", "");
    assert!(cluster.agent.state().executed.last().unwrap().detach);
}

#[test]
fn input_is_passed_on_to_its_end_byte_by_byte() {
    let cluster = shop();
    let bytes: Vec<u8> = (0..3 << 20).map(|at: usize| (at ^ (at >> 11)) as u8).collect();
    let output = with_input(&cluster, "exec web cat", &bytes);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    // As Docker Compose has it: these are given out of habit.
    let output = with_input(&cluster, "exec -it web cat", b"habit");
    assert_eq!(output.stdout, b"habit");
    let output = with_input(&cluster, "exec --interactive=false web cat", b"not read");
    assert_eq!((output.status.code(), output.stdout), (Some(0), Vec::new()));
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    let cluster = shop();
    check(&cluster.run("exec nothing ls"), 1, "", "error: app `shop` has no service `nothing`\n");
    let words = "\
error: no replica of `broken` runs: it has failed
  hint: `muster ps broken` shows them
";
    check(&cluster.run("exec broken ls"), 1, "", words);
    assert_eq!(cluster.run("exec web").code, 2);
    assert_eq!(cluster.run("exec").code, 2);
    assert_eq!(cluster.run("exec --index x web ls").code, 2);
    let words = "error: the connection ended before the program did\n";
    check(&cluster.run("exec web broken"), 3, "half", words);
    cluster.agent.state().next_error = Some(ApiError::cluster("host `beta` does not answer"));
    check(&cluster.run("exec web ls"), 3, "", "error: host `beta` does not answer\n");
    let long = format!("exec web {}", "x".repeat(50 * 1024));
    let words = "\
error: the command and its variables are longer than 48 KiB together
  hint: hand it over on standard input
";
    check(&cluster.run(&long), 1, "", words);
}

fn written(index: u32, text: &str, stderr: bool) -> Result<LogLine, ApiError> {
    let replica = ReplicaId { app: "shop".into(), service: "web-run".into(), index };
    Ok(LogLine { replica, host: "beta".to_owned(), stderr, line: text.to_owned() })
}

#[test]
fn a_run_is_sat_in_front_of_from_its_first_byte_on() {
    let cluster = shop();
    cluster.agent.state().logs = vec![written(1, "first", false), written(1, "bad", true)];
    let output = with_input(&cluster, "run web cat", b"second\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"first\nsecond\n");
    assert_eq!(output.stderr, b"bad\n");
    assert_eq!(cluster.agent.state().attached[0].run, 1);
    check(&cluster.run("run -T web exit 4"), 4, "", "");
    check(&cluster.run("run -d web exit 4"), 0, "web-run/3\n", "");
    check(&cluster.run("run --interactive=false web exit 4"), 4, "", "");
    let started: Vec<_> = cluster.agent.state().started.iter().map(|run| run.attended).collect();
    assert_eq!(started, [Some(Attended::Pipes), Some(Attended::Pipes), None, None]);
    assert_eq!(cluster.agent.state().attached.len(), 2);
}

#[test]
fn of_a_run_that_nobody_can_sit_in_front_of_all_is_printed() {
    let cluster = shop();
    cluster.agent.state().unattended = true;
    cluster.agent.state().logs = vec![written(1, "first", false)];
    let warning = "\
warning: nobody can sit in front of run 1 of `web-run`, any more: its input is not passed on
";
    check(&cluster.run("run web exit 3"), 3, "first\n", warning);
}

#[test]
fn a_run_has_a_name_already() {
    let cluster = shop();
    let words = "\
error: a run cannot be called `mine`: its name is that of its service, and a number
  hint: leave `--name` out; `--detach` prints the name it has
";
    check(&cluster.run("run --name mine web ls"), 1, "", words);
    assert!(cluster.agent.state().started.is_empty());
}

/// A terminal of 100 columns and 30 rows in which `line` is run. What it shows goes into a file.
struct Terminal {
    script: std::process::Child,
    keys: std::process::ChildStdin,
    folder: PathBuf,
}

impl Terminal {
    fn run(cluster: &Cluster, line: &str) -> Self {
        let folder = cluster.sandbox.project();
        let inner = cluster.sandbox.command("");
        let muster = inner.get_program().to_str().unwrap().to_owned();
        let line = line.replace("MUSTER", &muster);
        let line =
            format!("stty cols 100 rows 30; tty > tty; {line}; echo code $?; stty -a; echo al''l");
        let mut command = Command::new("script");
        command
            .args(["--quiet", "--flush", "--command", &line, "shown"])
            .current_dir(&folder)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, value) in inner.get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        let mut script = command.spawn().unwrap();
        let keys = script.stdin.take().unwrap();
        Self { script, keys, folder }
    }

    fn shown(&self) -> String {
        let mut text = Vec::new();
        // It is not there from the beginning.
        if let Ok(mut file) = std::fs::File::open(self.folder.join("shown")) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    #[track_caller]
    fn await_shown(&self, words: &str) {
        wait_until(words, || self.shown().contains(words));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap().trim().to_owned()
    }

    /// Waits for its end; the terminal must be as it was.
    #[track_caller]
    fn ends(mut self, code: u8) {
        self.await_shown(&format!("code {code}"));
        // Not as it stands in the first line, which tells the command.
        self.await_shown("all\r\n");
        let shown = self.shown();
        let modes = shown.rsplit("code ").next().unwrap();
        for mode in ["icanon", "isig", "echo", "opost", "icrnl"] {
            let is_set = modes.split_whitespace().any(|word| word.trim_end_matches(';') == mode);
            assert!(is_set, "`{mode}` was not put back: {modes}");
        }
        drop(self.keys);
        self.script.wait().unwrap();
    }
}

#[test]
fn a_terminal_is_handed_over_with_its_sizes_and_put_back() {
    let cluster = shop();
    let mut terminal = Terminal::run(&cluster, "MUSTER exec web size");
    terminal.await_shown("30x100");
    let tty = terminal.read("tty");
    let resized = Command::new("stty").args(["-F", &tty, "cols", "132", "rows", "43"]).status();
    assert!(resized.unwrap().success());
    terminal.await_shown("43x132");
    // Not an end of this command: a key like any other.
    terminal.keys.write_all(b"\x03\x1a").unwrap();
    terminal.keys.write_all(b"q").unwrap();
    terminal.ends(5);
    let asked = cluster.agent.state().executed[0].terminal.unwrap();
    assert_eq!((asked.columns, asked.rows), (100, 30));
}

#[test]
fn a_terminal_is_put_back_when_the_command_is_ended() {
    for (signal, code) in [("TERM", 130), ("HUP", 130), ("INT", 130)] {
        let cluster = shop();
        let line = "sh -c 'echo $$ > pid; exec MUSTER run web size'";
        let terminal = Terminal::run(&cluster, line);
        terminal.await_shown("30x100");
        let pid = terminal.read("pid");
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        terminal.ends(code);
        assert_eq!(cluster.agent.state().started[0].attended, Some(Attended::Terminal));
    }
}

#[test]
fn a_terminal_is_put_back_when_the_agent_is_lost() {
    let cluster = shop();
    let terminal = Terminal::run(&cluster, "MUSTER exec web size");
    terminal.await_shown("30x100");
    cluster.stop();
    terminal.await_shown("the agent is stopping");
    terminal.ends(3);
}
