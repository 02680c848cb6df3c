//! Runs the few programs we need (`nft`, `iptables`, `modprobe`), always as an argument vector,
//! with its time limited. Never a shell.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::NetworkError;

/// Longest wait for a program. A big table takes `nft` some hundred milliseconds; the lock of
/// `iptables` can take its `-w` seconds more.
const LIMIT: Duration = Duration::from_secs(20);
/// Most characters of a program's complaint that are kept.
const DETAIL_MAX: usize = 600;
/// Where system programs are when `PATH` has been cut short, as in some service managers.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Whether a program of that name can be run.
pub(super) fn installed(program: &str) -> bool {
    find(program).is_some()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs the program with `input` on its standard input and gives its standard output.
pub(super) async fn run(
    program: &'static str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<String, NetworkError> {
    let failed = |detail: String| NetworkError::Program { program, detail };
    let file = find(program).ok_or(NetworkError::Missing { program })?;
    let mut child = Command::new(file)
        .args(arguments)
        // Messages are compared in places, so they must be the English ones.
        .env("LC_ALL", "C")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let stdin = child.stdin.take();
    let feed = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that ends before it has read all says why on its standard error.
            stdin.write_all(input.as_bytes()).await.ok();
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(LIMIT, both).await {
        Ok(output) => output.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed(format!("no end after {} s", LIMIT.as_secs()))),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let detail: String = said.trim().replace('\n', " ").chars().take(DETAIL_MAX).collect();
    Err(failed(if detail.is_empty() { output.status.to_string() } else { detail }))
}
