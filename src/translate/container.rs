//! What one replica runs.

use std::collections::BTreeMap;

use super::scope::{Scope, millis};
use super::{build, devices as requested, files, health, mounts, resources};
use crate::compose::project::{Service, Ulimit};
use crate::model::{ContainerSpec, Hooks, PullPolicy};

/// What is said of a namespace shared with another container.
const SHARED: &str = "two services cannot share a namespace yet";

/// The container of the service at hand.
pub(super) fn convert(scope: &mut Scope<'_>) -> ContainerSpec {
    let Service { pid, ipc, userns_mode, .. } = scope.service;
    refuse_shared(scope, "pid", pid.as_deref());
    refuse_shared(scope, "ipc", ipc.as_deref());
    let pull_policy = pull_policy(scope);
    let environment = scope.environment();
    let mounts = mounts::convert(scope);
    let files = files::convert(scope);
    let devices = devices(scope);
    let security_opt = security_opt(scope);
    let service = scope.service;
    ContainerSpec {
        image: build::reference(scope),
        pull_policy,
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        environment,
        labels: service.labels.clone(),
        user: service.user.clone(),
        group_add: service.group_add.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        mounts,
        files,
        health: health::convert(service),
        resources: resources::convert(service),
        stop_signal: service.stop_signal.clone(),
        stop_grace_ms: service.stop_grace_period.map(millis),
        init: service.init,
        privileged: service.privileged,
        read_only: service.read_only,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        security_opt,
        sysctls: service.sysctls.clone(),
        ulimits: ulimits(service),
        devices,
        extra_hosts: service.extra_hosts.iter().map(|line| hosts_line(line)).collect(),
        dns: name_servers(service),
        dns_search: service.dns_search.clone(),
        dns_opt: service.dns_opt.clone(),
        shm_size: service.shm_size,
        tty: service.tty,
        stdin_open: service.stdin_open,
        stdin_once: false,
        pid: pid.clone(),
        ipc: ipc.clone(),
        userns: userns_mode.clone(),
        network_mode: own_network_mode(service),
        runtime: service.runtime.clone(),
        logging: service.logging.as_ref().map(|logging| {
            // No driver means the daemon's, which takes the options.
            (logging.driver.clone().unwrap_or_default(), logging.options.clone())
        }),
        expose: expose(scope),
        oom_score_adj: service.oom_score_adj,
        device_requests: requested::requests(service),
        tuning: resources::tuning(service),
        // Set by whoever knows the networks.
        hooks: Hooks::default(),
    }
}

/// `host` and `none`; all others are networks of the cluster.
pub(super) fn own_network_mode(service: &Service) -> Option<String> {
    let mode = service.network_mode.as_deref();
    mode.filter(|mode| matches!(*mode, "host" | "none")).map(str::to_owned)
}

fn refuse_shared(scope: &mut Scope<'_>, key: &str, mode: Option<&str>) {
    let Some(mode) = mode else { return };
    if mode.starts_with("service:") || mode.starts_with("container:") {
        scope.refused(key, format!("`{mode}`: {SHARED}"), "use `host`, or leave it out");
    }
}

fn pull_policy(scope: &mut Scope<'_>) -> PullPolicy {
    match scope.service.pull_policy.as_deref() {
        None | Some("missing" | "if_not_present" | "build") => PullPolicy::Missing,
        Some("always") => PullPolicy::Always,
        Some("never") => PullPolicy::Never,
        Some(age) => {
            let reason = format!("`{age}`: the registry is asked each time a replica is made");
            scope.approximated("pull_policy", reason, "");
            PullPolicy::Always
        }
    }
}

fn ulimits(service: &Service) -> BTreeMap<String, (i64, i64)> {
    let both = |limit: &Ulimit| match limit {
        Ulimit::Single(limit) => (*limit, *limit),
        Ulimit::Range { soft, hard } => (*soft, *hard),
    };
    service.ulimits.iter().map(|(name, limit)| (name.clone(), both(limit))).collect()
}

fn devices(scope: &mut Scope<'_>) -> Vec<(String, String, String)> {
    let mut devices = Vec::new();
    for device in &scope.service.devices {
        if !device.source.starts_with('/') {
            let reason =
                format!("`{}` is a CDI device, which is not handed out yet", device.source);
            let remedy = "name its path, or reserve it: `deploy.resources.reservations.devices`";
            scope.refused("devices", reason, remedy);
            continue;
        }
        let target = device.target.clone().unwrap_or_else(|| device.source.clone());
        let permissions = device.permissions.clone().unwrap_or_else(|| "rwm".to_owned());
        devices.push((device.source.clone(), target, permissions));
    }
    devices
}

/// Options as the daemon takes them: `key=value`, and a seccomp profile itself in place of its
/// file, which other hosts do not have.
fn security_opt(scope: &mut Scope<'_>) -> Vec<String> {
    let mut options = Vec::new();
    for text in &scope.service.security_opt {
        match text.split_once(['=', ':']) {
            Some(("seccomp", file)) if !matches!(file, "unconfined" | "builtin") => {
                match seccomp(scope, file) {
                    Ok(profile) => options.push(format!("seccomp={profile}")),
                    Err(reason) => scope.refused("security_opt", reason, "name a profile in JSON"),
                }
            }
            Some((key, value)) => options.push(format!("{key}={value}")),
            None => options.push(text.clone()),
        }
    }
    options
}

fn seccomp(scope: &Scope<'_>, file: &str) -> Result<String, String> {
    let bytes = files::read(&scope.project.working_dir.join(file))?;
    let profile: Result<serde_json::Value, _> = serde_json::from_slice(&bytes);
    profile.map(|json| json.to_string()).map_err(|error| format!("`{file}` is not JSON: {error}"))
}

/// From Compose's `host=address` to Docker's `host:address`.
fn hosts_line(line: &str) -> String {
    match line.split_once('=') {
        Some((host, address)) => format!("{host}:{}", address.trim_matches(['[', ']'])),
        None => line.to_owned(),
    }
}

/// Only a container on its host's own network asks them itself; for those on the cluster's networks
/// the resolver does.
fn name_servers(service: &Service) -> Vec<String> {
    match own_network_mode(service) {
        Some(_) => service.dns.clone(),
        None => Vec::new(),
    }
}

/// `3000` and `3000-3002/udp` as single ports with their protocol.
fn expose(scope: &mut Scope<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for text in &scope.service.expose {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => {
                found.extend((first..=last).map(|port| format!("{port}/{protocol}")));
            }
            _ => scope.ignored("expose", format!("`{text}` is not a port"), ""),
        }
    }
    found
}
