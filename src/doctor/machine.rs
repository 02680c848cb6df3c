//! The checks of this machine alone.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::Finding;
use crate::docker::EngineError;
use crate::docker::api::{DockerApi, EngineReport};
use crate::logic::room::Space;
use crate::model::{Overlay, PortMode, Protocol, PublishedPort};
use crate::network::{self, NetworkError};
use crate::telemetry::chain;

/// Less room than this for the state or for images, and writes soon fail.
const ROOM_LEAST: u64 = 200 << 20;
/// Less room than this, and a few images fill it.
const ROOM_SCARCE: u64 = 2 << 30;

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Folder of the agent's state.
    pub data_dir: PathBuf,
    /// Docker's address.
    pub docker: String,
    /// UDP address for other agents.
    pub listen: SocketAddr,
    /// The cluster's addresses.
    pub pool: Ipv4Net,
    /// How packets of containers get from host to host.
    pub overlay: Overlay,
    /// Whether an agent answers here.
    pub agent: Standing,
}

/// What an agent of this machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// None answers.
    None,
    /// It belongs to no cluster, and listens to nobody.
    Alone,
    /// It belongs to a cluster.
    Member,
}

/// Looks at this machine.
pub async fn examine(subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    let report = match DockerApi::connect(&subject.docker) {
        Ok(engine) => engine.report().await,
        Err(error) => Err(error),
    };
    match &report {
        Ok(report) => findings.extend(docker(report)),
        Err(error) => findings.push(no_docker(error)),
    }
    findings.push(port(subject));
    findings.push(rights());
    findings.push(firewall_program());
    findings.push(addresses(subject.pool, network::preflight(subject.pool, subject.overlay)));
    findings.push(forwarding(&setting("net/ipv4/ip_forward"), subject.agent));
    findings.push(bridges(setting("net/bridge/bridge-nf-call-iptables").is_some()));
    findings.push(firewall(subject.listen.port()));
    findings.push(state(&subject.data_dir));
    let folders = report.iter().map(|report| ("images", PathBuf::from(&report.folder)));
    for (what, folder) in folders.chain([("state", subject.data_dir.clone())]) {
        findings.extend(room(what, &folder));
    }
    findings
}

fn no_docker(error: &EngineError) -> Finding {
    Finding::problem(
        "docker",
        error.sentence(),
        "start it (`systemctl start docker`), or say where it is with `--docker`",
    )
}

/// What Docker says of itself.
pub(super) fn docker(report: &EngineReport) -> Vec<Finding> {
    let EngineReport { version, api_version, live_restore, cgroups, warnings, folder: _ } = report;
    let mut findings =
        vec![Finding::ok("docker", format!("Docker {version} answers, API {api_version}"))];
    findings.push(match live_restore {
        true => Finding::ok("live-restore", "containers go on while Docker restarts"),
        false => Finding::warning(
            "live-restore",
            "containers stop when Docker restarts, as in an update",
            "put `\"live-restore\": true` into /etc/docker/daemon.json and reload Docker",
        ),
    });
    let limits = warnings.iter().filter(|words| {
        let words = words.to_ascii_lowercase();
        words.contains("memory limit") || words.contains("cpu cfs quota")
    });
    let missing: Vec<&str> = limits.map(String::as_str).collect();
    findings.push(match missing.as_slice() {
        [] => Finding::ok("cgroups", format!("version {cgroups}; limits of memory and CPU work")),
        missing => Finding::warning(
            "cgroups",
            missing.join("; "),
            "limits will not hold; on a Raspberry Pi add `cgroup_enable=memory` to the kernel's \
             command line",
        ),
    });
    findings
}

fn port(subject: &Subject) -> Finding {
    let port = subject.listen.port();
    let wanted = PublishedPort {
        host_ip: Some(subject.listen.ip()),
        published: port,
        target: port,
        protocol: Protocol::Udp,
        mode: PortMode::Host,
    };
    let taken = network::ports_taken(&[wanted]).into_iter().next();
    match (taken, subject.agent) {
        (None, Standing::None | Standing::Alone) => {
            Finding::ok("port", format!("{port}/udp is free"))
        }
        (None, Standing::Member) => Finding::warning(
            "port",
            format!("the agent does not listen on {port}/udp"),
            "name its port with `--listen`, as it was started",
        ),
        (Some((_, holder)), Standing::Member) if holder.contains("muster") => {
            Finding::ok("port", format!("{port}/udp is the agent's"))
        }
        (Some((_, holder)), _) => Finding::problem(
            "port",
            format!("{port}/udp is taken: {holder} has it"),
            "stop that program, or start the agent with `--listen 0.0.0.0:PORT`",
        ),
    }
}

fn rights() -> Finding {
    if rustix::process::geteuid().is_root() {
        Finding::ok("rights", "root")
    } else {
        Finding::warning("rights", "not root: some of what follows cannot be seen", "use `sudo`")
    }
}

fn firewall_program() -> Finding {
    match network::has_nft() {
        true => Finding::ok("nftables", "`nft` is installed"),
        false => Finding::problem(
            "nftables",
            "`nft` is not installed",
            "install the package `nftables` of your distribution",
        ),
    }
}

/// What stands in the way of the pool.
pub(super) fn addresses(pool: Ipv4Net, preflight: Result<(), NetworkError>) -> Finding {
    match preflight {
        // The rest is looked at on its own.
        Ok(()) => Finding::ok("addresses", format!("nothing here overlaps the pool {pool}")),
        Err(NetworkError::NotRoot | NetworkError::Missing { .. }) => {
            Finding::warning("addresses", "not looked at", "mend what is said above, first")
        }
        Err(error) => {
            let hint = error.hint().unwrap_or("see the kernel's log");
            Finding::problem("addresses", chain(&error), hint)
        }
    }
}

fn setting(path: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(path)).ok().map(|text| text.trim().to_owned())
}

/// Packets of containers to other hosts are forwarded.
pub(super) fn forwarding(value: &Option<String>, agent: Standing) -> Finding {
    let check = "forwarding";
    match (value.as_deref(), agent) {
        (Some("1"), _) => Finding::ok(check, "`net.ipv4.ip_forward` is 1"),
        (Some(_), Standing::None | Standing::Alone) => {
            Finding::ok(check, "`net.ipv4.ip_forward` is 0; the agent will turn it on")
        }
        (Some(_), Standing::Member) => Finding::problem(
            check,
            "`net.ipv4.ip_forward` is 0: containers do not reach other hosts",
            "see which program turns it off; put `net.ipv4.ip_forward = 1` into /etc/sysctl.d",
        ),
        (None, _) => Finding::problem(
            check,
            "`net.ipv4.ip_forward` cannot be read",
            "the kernel needs IPv4, and /proc/sys must be mounted",
        ),
    }
}

/// Whether a container sees the true address of one beside it.
pub(super) fn bridges(is_loaded: bool) -> Finding {
    match is_loaded {
        true => Finding::ok("bridges", "the module `br_netfilter` is loaded"),
        false => Finding::warning(
            "bridges",
            "the module `br_netfilter` is not loaded",
            "the agent loads it when it can; without it, containers see this host in place of a \
             neighbour that calls them by a service's name",
        ),
    }
}

/// Firewalls that people switch on, and how they let the agents through.
fn firewall(port: u16) -> Finding {
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    let has_ufw = ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"));
    let has_firewalld =
        Path::new("/run/firewalld.pid").exists() || Path::new("/run/firewalld").exists();
    let remedy = match (has_ufw, has_firewalld) {
        (false, false) => {
            return Finding::ok("firewall", "neither `ufw` nor `firewalld` is at work here");
        }
        (true, _) => format!("on every host: `ufw allow {port}/udp`, unless you did"),
        (false, true) => format!(
            "on every host: `firewall-cmd --permanent --add-port={port}/udp` and `firewall-cmd \
             --reload`, unless you did"
        ),
    };
    let name = if has_ufw { "ufw" } else { "firewalld" };
    Finding::warning(
        "firewall",
        format!("`{name}` is at work: other hosts may be shut out"),
        remedy,
    )
}

/// Whether the agent can keep its state.
pub(super) fn state(folder: &Path) -> Finding {
    let remedy = "give the agent a folder of its own with `--data-dir`, writable for root";
    match can_write(folder) {
        Ok(true) => Finding::ok("state", format!("`{}` can be written", folder.display())),
        Ok(false) => {
            Finding::ok("state", format!("`{}` is not there yet and can be made", folder.display()))
        }
        Err(error) => Finding::problem(
            "state",
            format!("`{}` cannot be written: {error}", folder.display()),
            remedy,
        ),
    }
}

/// Whether the folder is there; it can be written, or made.
fn can_write(folder: &Path) -> io::Result<bool> {
    let found = folder.ancestors().find(|folder| folder.exists());
    let found = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    if !found.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    rustix::fs::access(found, rustix::fs::Access::WRITE_OK)?;
    Ok(found == folder)
}

fn room(what: &'static str, folder: &Path) -> Option<Finding> {
    let found = folder.ancestors().find(|folder| folder.exists())?;
    Some(room_of(what, folder, space_of(found)?.free))
}

/// What is free on the disk of a folder; none when it cannot be seen.
pub fn space_of(folder: &Path) -> Option<Space> {
    let system = rustix::fs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    Some(Space { free: bytes(system.f_bavail), size: bytes(system.f_blocks) })
}

pub(super) fn room_of(what: &'static str, folder: &Path, free: u64) -> Finding {
    let mib = free >> 20;
    let found = format!("{mib} MiB free for {what} in `{}`", folder.display());
    let remedy = "make room: `docker system df` shows what Docker has, `docker image prune` removes \
                  what no container uses";
    match free {
        0..ROOM_LEAST => Finding::problem("disk", found, remedy),
        ROOM_LEAST..ROOM_SCARCE => Finding::warning("disk", found, remedy),
        _ => Finding::ok("disk", found),
    }
}
