//! A program run within limits: both get the same folder, variables and words.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::files::File;
use crate::forms::{Form, OUTPUT, SERVICE};

/// The reference answers within a second; on some cycles it never does.
const DEADLINE: Duration = Duration::from_secs(10);
/// The reference takes all memory there is on some cycles.
const MEMORY_BYTES: u64 = 1_500_000_000;
/// As in the golden tests.
const VARIABLES: [(&str, &str); 3] =
    [("HOME", "/home/user"), ("FROM_PROCESS", "process"), ("EMPTY", "")];

/// One of the two.
#[derive(Debug)]
pub(crate) struct Program {
    binary: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It took the file and printed this.
    Accepted(String),
    /// It refused the file and said this.
    Rejected(String),
    /// It was stopped, or fell over; nothing can be said of the file.
    None(String),
}

impl Program {
    pub(crate) fn new(binary: PathBuf) -> Self {
        Self { binary }
    }

    /// `service` is the name that stands for [`SERVICE`].
    pub(crate) fn run(&self, file: &File, form: &Form, service: &str) -> Answer {
        let outputs = tempfile::tempdir().unwrap();
        let output = outputs.path().join("output");
        let mut command = Command::new(&self.binary);
        if let Some(file) = &file.file {
            command.args(["-f", file.as_str()]);
        }
        command.arg("config");
        for word in form.words {
            match *word {
                OUTPUT => command.arg(&output),
                SERVICE => command.arg(service),
                word => command.arg(word),
            };
        }
        command.current_dir(&file.folder).env_clear().envs(VARIABLES);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let (code, mut stdout, stderr) = finish(child);
        if form.words.contains(&OUTPUT) {
            stdout += &std::fs::read_to_string(&output).unwrap_or_default();
        }
        match code {
            Some(0) => Answer::Accepted(stdout),
            // 2 is wrong usage here, and a crash there.
            Some(code) if code != 2 => Answer::Rejected(stderr),
            _ => Answer::None(stderr.lines().next().unwrap_or("killed").to_owned()),
        }
    }
}

/// Waits for the end, or makes it. The code is absent when a signal ended it.
fn finish(mut child: Child) -> (Option<i32>, String, String) {
    let pid = Pid::from_child(&child);
    let limit = Rlimit { current: Some(MEMORY_BYTES), maximum: Some(MEMORY_BYTES) };
    // One that has ended already needs none.
    prlimit(Some(pid), Resource::Data, limit).ok();
    let begun = Instant::now();
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    std::thread::scope(|scope| {
        let out = scope.spawn(move || text(&mut stdout));
        let err = scope.spawn(move || text(&mut stderr));
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > DEADLINE {
                child.kill().unwrap();
            }
            std::thread::park_timeout(Duration::from_millis(2));
        };
        (status.code(), out.join().unwrap(), err.join().unwrap())
    })
}

fn text(from: &mut dyn Read) -> String {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
