//! One container of a pod: image, command, ports, probes, hooks, resources. Volumes are in
//! `mounts`, variables in `env`, rights in `security`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::Draft;
use super::expand::literals;
use super::object::{Container, ContainerPort, Exec, Hook, Lifecycle};
use super::pod::Pod;
use super::unit::{Task, Unit};
use super::{env, mounts, names, probes, rename, resources, security};
use crate::compose::project::Healthcheck;
use crate::model::{Ask, Checks};

/// The container of a unit.
pub(super) fn convert(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod) -> Container {
    let service = &unit.service;
    let (env_from, env) = env::convert(draft, unit);
    let (command, args) = command(draft, unit);
    let volume_mounts = mounts::convert(draft, unit, pod);
    let mut container = Container {
        name: unit.name.clone(),
        image: image(draft, unit),
        image_pull_policy: pull_policy(draft, unit),
        command,
        args,
        working_dir: service.working_dir.clone().filter(|folder| folder.starts_with('/')),
        stdin: service.stdin_open,
        tty: service.tty,
        ports: ports(draft, unit),
        env_from,
        env,
        resources: resources::convert(draft, unit),
        lifecycle: lifecycle(draft, unit),
        security_context: security::container(draft, unit),
        volume_mounts,
        ..Container::default()
    };
    if let Some(folder) = service.working_dir.as_ref().filter(|folder| !folder.starts_with('/')) {
        draft.lost(unit, "working_dir", format!("`{folder}` is no absolute path"), "");
    }
    if let Some(check) = &service.healthcheck
        && !check.disable
        && check.test.as_ref().is_none_or(Vec::is_empty)
        && *check != Healthcheck::default()
    {
        let reason = "there is no `test`, and what an image has is not asked on Kubernetes";
        draft.lost(unit, "healthcheck", reason, "give the `test`");
    }
    if let (Some(check), Task::Keep) = (&service.healthcheck, &unit.task) {
        let probes = probes::convert(check);
        if probes.is_asked_from_outside {
            let reason = "the kubelet asks in place of the program, at the pod's own address: what \
                          listens on 127.0.0.1 alone does not answer it";
            draft.nearly(unit, "healthcheck.test", reason, "");
        }
        container.startup_probe = probes.startup;
        container.readiness_probe = probes.readiness;
        container.liveness_probe = probes.liveness;
    } else if service.healthcheck.as_ref().is_some_and(|check| !check.disable) {
        let reason = "what runs to its end is not asked whether it is well";
        draft.lost(unit, "healthcheck", reason, "");
    }
    if unit.task == Task::Keep {
        own_checks(draft, unit, &mut container);
    }
    container
}

/// `x-health`, which is asked from outside as the kubelet asks; it counts before `healthcheck`.
fn own_checks(draft: &mut Draft<'_>, unit: &Unit, container: &mut Container) {
    const KEY: &str = "x-health";
    let Some(value) = unit.service.other.get(KEY) else { return };
    let checks = match crate::translate::read_checks(value) {
        Ok(checks) => checks,
        Err((_, reason, remedy)) => return draft.lost(unit, KEY, reason, &remedy),
    };
    let Checks { ready, live } = checks;
    for check in ready.iter().chain(&live) {
        if let Ask::Http { status, .. } = &check.ask
            && *status != probes::GOOD
        {
            let (from, to) = probes::GOOD;
            draft.nearly(
                unit,
                KEY,
                format!("the kubelet takes every status from {from} to {to}"),
                "",
            );
        }
    }
    if let Some(ready) = &ready {
        container.readiness_probe = Some(probes::of_check(ready));
    }
    if let Some(live) = &live {
        container.liveness_probe = Some(probes::of_check(live));
    }
    // While it starts neither counts.
    let slow = live.iter().chain(&ready).find(|check| check.start_period_ms > 0);
    if let Some(check) = slow {
        container.startup_probe = Some(probes::of_start(check));
    }
}

/// The image. One that is built gets the name Compose gives it.
pub(super) fn image(draft: &mut Draft<'_>, unit: &Unit) -> String {
    let project = &draft.project.name;
    let own = unit.service.image.as_deref().map(str::trim).filter(|image| !image.is_empty());
    let image = own.map_or_else(|| format!("{project}-{}", unit.key).to_lowercase(), str::to_owned);
    if unit.service.build.is_none() {
        if image.ends_with([':', '@']) {
            let reason = format!("`{image}` has no tag: a variable in it is not set");
            draft.lost(unit, "image", reason, "set it and export again");
        }
        return image;
    }
    let image = match (&draft.options.image_prefix, own) {
        (Some(prefix), _) => {
            let name = image.rsplit('/').next().unwrap_or(&image);
            format!("{}/{name}", prefix.trim_end_matches('/'))
        }
        (None, _) => image,
    };
    let reason = format!("the cluster builds nothing: it pulls `{image}`");
    let remedy = "build and push the image; `--image-prefix` names your registry";
    draft.nearly(unit, "build", reason, remedy);
    super::build::add_step(draft, unit, &image);
    image
}

pub(super) fn pull_policy(draft: &mut Draft<'_>, unit: &Unit) -> Option<String> {
    let policy = unit.service.pull_policy.as_deref()?;
    let word = match policy {
        "always" => "Always",
        "never" => "Never",
        "missing" | "if_not_present" => "IfNotPresent",
        "build" => {
            draft.nearly(unit, "pull_policy", "the cluster builds nothing", "");
            "IfNotPresent"
        }
        _ => {
            let reason = format!("`{policy}` becomes `Always`: a node asks at each start");
            draft.nearly(unit, "pull_policy", reason, "");
            "Always"
        }
    };
    Some(word.to_owned())
}

/// `command` and `args`, which are `entrypoint` and `command` there.
pub(super) fn command(
    draft: &mut Draft<'_>,
    unit: &Unit,
) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let changed = |draft: &mut Draft<'_>, key: &str, words: &[String]| {
        let words: Vec<String> =
            words.iter().map(|word| rename::word(draft, unit, key, word)).collect();
        literals(&words)
    };
    let service = &unit.service;
    let entrypoint = service.entrypoint.as_ref().map(|words| changed(draft, "entrypoint", words));
    let command = service.command.as_ref().map(|words| changed(draft, "command", words));
    match (entrypoint, command) {
        (Some(entrypoint), command) if entrypoint.is_empty() => {
            match command.filter(|words| !words.is_empty()) {
                // Without an entry point, the first word of the command is the program.
                Some(words) => (Some(words), None),
                None => {
                    let reason = "an image's entry point is not taken away";
                    draft.lost(unit, "entrypoint", reason, "name the program under `entrypoint`");
                    (None, None)
                }
            }
        }
        (entrypoint, Some(words)) if words.is_empty() => {
            if entrypoint.is_none() {
                let reason = "an image's command is not taken away";
                draft.lost(unit, "command", reason, "name the program under `entrypoint`");
            }
            (entrypoint, None)
        }
        (entrypoint, command) => (entrypoint, command),
    }
}

/// Ports, for people to read; those of mode `host` are opened on the node.
fn ports(draft: &mut Draft<'_>, unit: &Unit) -> Vec<ContainerPort> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for port in unit.service.ports.iter().filter(|port| port.target > 0) {
        let protocol = protocol(port.protocol.as_deref());
        let is_host = port.mode.as_deref() == Some("host");
        let published = port.published.as_deref().and_then(|text| text.parse::<u16>().ok());
        let host_port = published.filter(|port| is_host && *port > 0);
        if is_host && host_port.is_none() {
            let reason =
                format!("no port of the node is opened for {}: none is named", port.target);
            draft.lost(unit, "ports.mode", reason, "name one port under `published`");
        }
        if seen.insert((port.target, protocol.clone(), host_port)) {
            found.push(ContainerPort {
                name: None,
                container_port: port.target,
                host_port,
                host_ip: port.host_ip.clone().filter(|_| host_port.is_some()),
                protocol,
            });
        }
    }
    for text in &unit.service.expose {
        let ports = exposed(text);
        if ports.is_empty() {
            draft.lost(unit, "expose", format!("`{text}` is not a port"), "");
        }
        for (target, protocol) in ports {
            if seen.insert((target, protocol.clone(), None)) {
                found.push(ContainerPort {
                    container_port: target,
                    protocol,
                    ..ContainerPort::default()
                });
            }
        }
    }
    found
}

/// None is TCP.
pub(super) fn protocol(text: Option<&str>) -> Option<String> {
    match text.unwrap_or("tcp").to_ascii_lowercase().as_str() {
        "udp" => Some("UDP".to_owned()),
        "sctp" => Some("SCTP".to_owned()),
        _ => None,
    }
}

/// `3000` and `3000-3002/udp`, port by port.
pub(super) fn exposed(text: &str) -> Vec<(u16, Option<String>)> {
    let (ports, kind) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => {
            (first..=last).map(|port| (port, protocol(Some(kind)))).collect()
        }
        _ => Vec::new(),
    }
}

/// What is done after the start and before the end, and the signal that ends it.
fn lifecycle(draft: &mut Draft<'_>, unit: &Unit) -> Option<Lifecycle> {
    let post_start = hook(draft, unit, "post_start");
    let pre_stop = hook(draft, unit, "pre_stop");
    let stop_signal = stop_signal(draft, unit);
    let lifecycle = Lifecycle { post_start, pre_stop, stop_signal };
    (lifecycle != Lifecycle::default()).then_some(lifecycle)
}

fn hook(draft: &mut Draft<'_>, unit: &Unit, key: &str) -> Option<Hook> {
    let hooks = unit.service.other.get(key)?.as_array()?.clone();
    let mut lines = Vec::new();
    for hook in &hooks {
        for part in ["user", "privileged", "working_dir", "environment"] {
            let is_set = |value: &&Value| !matches!(value, Value::Null | Value::Bool(false));
            if hook.get(part).filter(is_set).is_some() {
                let reason = format!("`{part}` of a hook: it runs as the container does");
                draft.lost(unit, &format!("{key}.{part}"), reason, "say it in the command");
            }
        }
        let words = hook.get("command").and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        let words: Vec<String> = words.collect();
        lines.extend((!words.is_empty()).then_some(words));
    }
    let command = match lines.as_slice() {
        [] => return None,
        [one] => one.clone(),
        several => {
            let lines = several.iter().map(shell_words::join);
            let line = lines.collect::<Vec<_>>().join(" && ");
            vec!["/bin/sh".to_owned(), "-c".to_owned(), line]
        }
    };
    Some(Hook { exec: Some(Exec { command }) })
}

/// A signal by its name; the API takes no numbers.
fn stop_signal(draft: &mut Draft<'_>, unit: &Unit) -> Option<String> {
    const NUMBERS: [(&str, &str); 8] = [
        ("1", "SIGHUP"),
        ("2", "SIGINT"),
        ("3", "SIGQUIT"),
        ("9", "SIGKILL"),
        ("10", "SIGUSR1"),
        ("12", "SIGUSR2"),
        ("15", "SIGTERM"),
        ("28", "SIGWINCH"),
    ];
    let text = unit.service.stop_signal.as_deref().filter(|text| !text.is_empty())?;
    let upper = text.to_ascii_uppercase();
    let named = NUMBERS.iter().find(|(number, _)| *number == upper).map(|(_, name)| *name);
    let name = named.map_or_else(
        || if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") },
        str::to_owned,
    );
    if name == "SIGTERM" {
        return None;
    }
    if !SIGNALS.contains(&name.as_str()) {
        let reason = format!("`{text}` is no signal that Kubernetes sends");
        draft.lost(unit, "stop_signal", reason, "build it into the image with `STOPSIGNAL`");
        return None;
    }
    Some(name)
}

/// Signals of Linux that the API takes by name, but for those that stop nothing.
const SIGNALS: [&str; 12] = [
    "SIGABRT", "SIGALRM", "SIGCONT", "SIGHUP", "SIGINT", "SIGKILL", "SIGPWR", "SIGQUIT", "SIGTERM",
    "SIGUSR1", "SIGUSR2", "SIGWINCH",
];

/// A label of the pod where it may be one; else an annotation. What has no valid key at all stands
/// together in one annotation.
pub(super) fn labels(unit: &Unit, pod: &mut Pod) {
    let service = &unit.service;
    let mut others = serde_json::Map::new();
    for (key, value) in &service.labels {
        let is_ours = key.starts_with("app.kubernetes.io/");
        if !names::is_label_key(key) || is_ours {
            others.insert(key.clone(), value.clone().into());
        } else if names::is_label_value(value) {
            pod.metadata.labels.entry(key.clone()).or_insert_with(|| value.clone());
        } else {
            pod.metadata.annotations.insert(key.clone(), value.clone());
        }
    }
    for (key, value) in &service.annotations {
        if names::is_label_key(key) {
            pod.metadata.annotations.insert(key.clone(), value.clone());
        } else {
            others.insert(key.clone(), value.clone().into());
        }
    }
    if !others.is_empty() {
        let key = format!("muster.dev/labels-of-{}", unit.name);
        let text = Value::Object(others).to_string();
        pod.metadata.annotations.insert(names::annotation_key(&key), text);
    }
}
