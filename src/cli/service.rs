//! `muster agent install` and `uninstall`: the agent as a service of systemd.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Context;
use super::agent::RunArgs;
use super::errors::{CliError, Outcome};
use crate::config::{AgentConfig, DEFAULT_DATA_DIR, DEFAULT_SOCKET};

/// Its name for systemd.
const UNIT: &str = "muster.service";
/// Where an administrator's units are.
const FOLDER: &str = "/etc/systemd/system";
/// Is there where systemd runs the machine, as sd_booted(3) has it.
const BOOTED: &str = "/run/systemd/system";

/// Have systemd run the agent, from now on and at each start of this machine
///
/// Writes /etc/systemd/system/muster.service, enables and starts it. Run it again after an update of
/// muster: it restarts the agent, and containers go on meanwhile.
#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    #[command(flatten)]
    agent: RunArgs,
    /// Print the unit and change nothing
    #[arg(long)]
    print: bool,
}

/// Stop the agent and have systemd forget it
///
/// Its containers go on, and its state stays.
#[derive(Debug, clap::Args)]
pub(super) struct UninstallArgs {}

pub(super) fn install(args: &InstallArgs, context: &Context) -> Result<Outcome, CliError> {
    let program = std::env::current_exe()
        .map_err(|error| CliError::cluster(format!("cannot find this program: {error}")))?;
    let unit = unit(&program, &args.agent, &context.socket);
    if args.print {
        context.printer.data(unit.trim_end())?;
        return Ok(Outcome::Done);
    }
    need_systemd(
        "`muster agent install --print` prints the unit, as an example for another manager",
    )?;
    let path = Path::new(FOLDER).join(UNIT);
    context.if_interrupted(format!("see `systemctl status {UNIT}`"));
    write(&path, &unit).map_err(|error| cannot("write", &path, &error))?;
    for command in [&["daemon-reload"][..], &["enable", UNIT], &["restart", UNIT]] {
        systemctl(command)?;
    }
    context.printer.say(&format!(
        "wrote `{}`; the agent runs, and will after a start of this machine",
        path.display()
    ));
    context.printer.say("its log: `journalctl -u muster`");
    Ok(Outcome::Done)
}

pub(super) fn uninstall(_: &UninstallArgs, context: &Context) -> Result<Outcome, CliError> {
    need_systemd("stop the agent with what started it")?;
    let path = Path::new(FOLDER).join(UNIT);
    if !path.exists() {
        context.printer.say(&format!("there is no `{}`; nothing to remove", path.display()));
        return Ok(Outcome::Done);
    }
    systemctl(&["disable", "--now", UNIT])?;
    fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
    systemctl(&["daemon-reload"])?;
    context.printer.say("the agent is stopped and removed from systemd");
    context
        .printer
        .say("its containers go on and its state stays; `muster down` takes apps down, before");
    Ok(Outcome::Done)
}

fn need_systemd(hint: &str) -> Result<(), CliError> {
    if !Path::new(BOOTED).exists() {
        return Err(CliError::user("systemd does not run this machine")
            .hint(format!("have its own service manager run `muster agent` as root; {hint}")));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(
            CliError::user("only root can change the services of this machine").hint("use `sudo`")
        );
    }
    Ok(())
}

/// In one step, so that nobody reads half of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("service.new");
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

fn cannot(verb: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::cluster(format!("cannot {verb} `{}`: {error}", path.display()))
}

fn systemctl(arguments: &[&str]) -> Result<(), CliError> {
    let words = format!("systemctl {}", arguments.join(" "));
    let ended = Command::new("systemctl").args(arguments).output();
    let ended =
        ended.map_err(|error| CliError::cluster(format!("cannot run `{words}`: {error}")))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(CliError::cluster(format!("`{words}` failed: {}", said.trim()))
        .hint(format!("`journalctl -u {UNIT}` shows what the agent said")))
}

/// The unit. What an agent does rules out more protection: it sets kernel settings, loads a module
/// and finds out which process has a port.
fn unit(program: &Path, agent: &RunArgs, socket: &Path) -> String {
    let state = match agent.data_dir == Path::new(DEFAULT_DATA_DIR) {
        true => "StateDirectory=muster\nStateDirectoryMode=0700\n",
        false => "",
    };
    let command = command(program, agent, socket).join(" ");
    format!(
        "\
# Written by `muster agent install`.
[Unit]
Description=muster agent
After=network-online.target docker.service
Wants=network-online.target
# It outlives Docker's restarts, and is started however often it ends.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Restart=always
RestartSec=1
# A stuck agent is started anew; containers are Docker's and go on.
WatchdogSec=10
KillMode=process
TimeoutStartSec=120
TimeoutStopSec=15
LimitNOFILE=65536
OOMScoreAdjust=-500
{state}ProtectSystem=full
ProtectHome=read-only
ProtectControlGroups=yes
ProtectHostname=yes
PrivateTmp=yes
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"
    )
}

/// The agent's command line, quoted for systemd; what is as always is left out.
fn command(program: &Path, agent: &RunArgs, socket: &Path) -> Vec<String> {
    let usual = AgentConfig::default();
    let mut words = vec![word(&program.to_string_lossy()), "agent".to_owned()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), word(value)]);
    if socket != Path::new(DEFAULT_SOCKET) {
        option("--socket", &absolute(socket));
    }
    if agent.data_dir != usual.data_dir {
        option("--data-dir", &absolute(&agent.data_dir));
    }
    if let Some(docker) = &agent.docker {
        option("--docker", docker);
    }
    if agent.listen != usual.listen {
        option("--listen", &agent.listen.to_string());
    }
    if let Some(metrics) = &agent.metrics {
        option("--metrics", &metrics.to_string());
    }
    words
}

/// A service runs in another folder.
fn absolute(path: &Path) -> String {
    let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned()
}

/// A word as systemd.service(5) reads it.
fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let escaped = escaped.replace('$', "$$");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:[]@=,+%".contains(c);
    if escaped.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_for_systemd() {
        let cases = [
            ("/usr/bin/muster", "/usr/bin/muster"),
            ("/my folder/m", "\"/my folder/m\""),
            ("50%", "50%%"),
            ("a$b\"c\\", "\"a$$b\\\"c\\\\\""),
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
        ];
        for (text, quoted) in cases {
            assert_eq!(word(text), quoted, "{text}");
        }
    }
}
