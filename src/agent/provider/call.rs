//! Runs one program with a text on its standard input, within a time and with bounded output, and ends
//! whatever it leaves behind in its process group. Never a shell, never an argument.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Most bytes of an answer, and of what the program complains of.
const OUTPUT_MAX: u64 = 64 * 1024;

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; none after a signal.
    pub(super) code: Option<i32>,
    /// What it wrote.
    pub(super) stdout: Vec<u8>,
    /// What it complained of.
    pub(super) stderr: Vec<u8>,
}

/// Why a program may not be run as the Provider, in words.
///
/// # Errors
///
/// When it is not there, no program, or somebody else could have changed it.
pub(super) fn usable(program: &str) -> Result<(), String> {
    let found = Path::new(program).metadata();
    let found = found.map_err(|error| format!("`{program}` cannot be run here: {error}"))?;
    let mode = found.permissions().mode();
    if !found.is_file() || mode & 0o111 == 0 {
        return Err(format!("`{program}` is no program"));
    }
    let owner = found.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(format!("`{program}` belongs to somebody else than root"));
    }
    if mode & 0o022 != 0 {
        return Err(format!("`{program}` can be changed by others than its owner"));
    }
    Ok(())
}

/// What must not be seen; empty where there is nothing.
pub(super) struct Secret(pub(super) String);

impl Secret {
    /// The same output without it, before anything is cut off or told.
    pub(super) fn blotted_out(&self, ended: Ended) -> Ended {
        if self.0.is_empty() {
            return ended;
        }
        let clean =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&self.0, "***").into_bytes();
        Ended { code: ended.code, stdout: clean(&ended.stdout), stderr: clean(&ended.stderr) }
    }
}

/// Ends a process group when it is dropped. A program that is to live on begins a session of its own.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left in most cases. The number of a group is given to nobody else while one is.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs the program.
///
/// # Errors
///
/// In words, when it does not run, takes too long or writes too much. It may have done something.
pub(super) async fn call(program: &str, input: &str, limit: Duration) -> Result<Ended, String> {
    let mut child = Command::new(program)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("`{program}` does not run: {error}"))?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // One that ends before it has read all says why otherwise.
            stdin.write_all(input.as_bytes()).await.ok();
        }
    };
    let read = async { tokio::join!(feed, read(stdout), read(stderr), child.wait()) };
    let Ok(((), stdout, stderr, status)) = tokio::time::timeout(limit, read).await else {
        return Err(format!("the provider has not answered within {} s", limit.as_secs()));
    };
    drop(group);
    let status = status.map_err(|error| format!("`{program}` does not end: {error}"))?;
    if stdout.len() as u64 > OUTPUT_MAX {
        return Err(format!("the provider's answer is longer than {OUTPUT_MAX} bytes"));
    }
    Ok(Ended { code: status.code(), stdout, stderr })
}

/// What comes, up to a byte more than may.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is all there is. Then the pipe is closed, which ends whoever
        // goes on writing.
        pipe.take(OUTPUT_MAX + 1).read_to_end(&mut bytes).await.ok();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use super::*;

    /// A script that belongs to whoever runs the tests.
    fn script(folder: &tempfile::TempDir, text: &str) -> String {
        let path = folder.path().join("provider");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    async fn run(text: &str, input: &str, limit: Duration) -> Result<Ended, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = script(&folder, text);
        usable(&program).unwrap();
        call(&program, input, limit).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn it_reads_the_input_and_gets_no_argument() {
        let ended = run("cat; echo $# >&2; exit 3", "what is asked", LONG).await.unwrap();
        assert_eq!(ended.code, Some(3));
        assert_eq!(ended.stdout, b"what is asked");
        assert_eq!(ended.stderr, b"0\n");
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let text = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let error = run(&text, "", Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error, "the provider has not answered within 2 s");
        let child = fs::read_to_string(&pid).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        let began = Instant::now();
        let is_over = || fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z"));
        while Path::new(&stat).exists() && !is_over() {
            assert!(began.elapsed() < LONG, "`sleep` goes on");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn too_long_an_answer_is_none() {
        let error = run("yes", "", LONG).await.unwrap_err();
        assert!(error.contains("longer than 65536 bytes"), "{error}");
    }

    #[test]
    fn what_others_could_change_is_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(&folder, "true");
        for (mode, words) in [(0o777, "changed by others"), (0o644, "is no program")] {
            fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
            assert!(usable(&program).unwrap_err().contains(words), "{mode:o}");
        }
        assert!(usable("/nowhere/provider").unwrap_err().contains("cannot be run here"));
        assert!(usable("/tmp").unwrap_err().contains("is no program"));
    }

    #[test]
    fn a_token_is_blotted_out() {
        let secret = Secret("hidden".to_owned());
        let stderr = b"+ join hidden --name x".to_vec();
        let ended = Ended { code: Some(1), stdout: b"\"hidden\"".to_vec(), stderr };
        let ended = secret.blotted_out(ended);
        assert_eq!(ended.stdout, b"\"***\"");
        assert_eq!(ended.stderr, b"+ join *** --name x");
    }
}
