//! Pods: containers, ports, mounts, probes, rights.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, Manifest, items};
use crate::kubernetes::names;

/// Sources that a volume may have, of which it has one.
const NOT_SOURCES: [&str; 1] = ["name"];

/// Checks the pods that an object makes.
pub(super) fn check(manifest: &Manifest, findings: &mut Findings) {
    let Some(spec) = manifest.template().and_then(|template| template.get("spec")) else { return };
    let containers: Vec<&Value> = items(spec.get("containers")).collect();
    let inits: Vec<&Value> = items(spec.get("initContainers")).collect();
    if containers.is_empty() {
        findings.add(manifest, "there is no container");
    }
    restart_policy(manifest, spec, findings);
    let volumes = volumes(manifest, spec, findings);
    let mut seen = BTreeSet::new();
    for container in inits.iter().chain(&containers) {
        let name = text(container, "name").unwrap_or_default();
        if !names::is_domain(name) || name.contains('.') || name.len() > 63 {
            findings.add(manifest, format!("`{name}` is no name of a container"));
        }
        if !seen.insert(name.to_owned()) {
            findings.add(manifest, format!("two containers are called `{name}`"));
        }
        image(manifest, container, findings);
        ports(manifest, container, findings);
        variables(manifest, container, findings);
        mounts(manifest, container, &volumes, findings);
        rights(manifest, container, findings);
        for key in ["startupProbe", "readinessProbe", "livenessProbe"] {
            probe(manifest, container.get(key), key, findings);
        }
    }
    for container in &inits {
        let is_kept = text(container, "restartPolicy") == Some("Always");
        if !is_kept
            && ["readinessProbe", "livenessProbe"].iter().any(|key| container.get(key).is_some())
        {
            findings.add(manifest, "an init container that ends takes no probes");
        }
    }
    selector(manifest, findings);
    host(manifest, spec, findings);
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn restart_policy(manifest: &Manifest, spec: &Value, findings: &mut Findings) {
    let policy = text(spec, "restartPolicy").unwrap_or("Always");
    let fits = match manifest.kind.as_str() {
        "Job" | "CronJob" => matches!(policy, "Never" | "OnFailure"),
        "Pod" => true,
        _ => policy == "Always",
    };
    if !fits {
        findings.add(manifest, format!("its pods cannot have the restart policy `{policy}`"));
    }
}

/// The names of the volumes a container may mount.
fn volumes(manifest: &Manifest, spec: &Value, findings: &mut Findings) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for volume in items(spec.get("volumes")) {
        let name = text(volume, "name").unwrap_or_default();
        if !names::is_domain(name) || name.contains('.') || name.len() > 63 {
            findings.add(manifest, format!("`{name}` is no name of a volume"));
        }
        if !found.insert(name.to_owned()) {
            findings.add(manifest, format!("two volumes are called `{name}`"));
        }
        let sources = volume.as_object().unwrap_or(super::nothing()).keys();
        let n_sources = sources.filter(|key| !NOT_SOURCES.contains(&key.as_str())).count();
        if n_sources != 1 {
            findings.add(manifest, format!("the volume `{name}` has {n_sources} sources, not one"));
        }
        for key in ["configMap", "secret"] {
            let source = volume.get(key);
            for item in items(source.and_then(|source| source.get("items"))) {
                let path = text(item, "path").unwrap_or_default();
                if path.is_empty() || path.starts_with('/') || path.split('/').any(|it| it == "..")
                {
                    findings.add(manifest, format!("`{path}` is no relative path"));
                }
            }
        }
    }
    for claim in items(manifest.at("/spec/volumeClaimTemplates")) {
        let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        found.insert(name.to_owned());
    }
    found
}

fn image(manifest: &Manifest, container: &Value, findings: &mut Findings) {
    let image = text(container, "image").unwrap_or_default();
    if image.is_empty() || image.trim() != image {
        findings.add(manifest, format!("`{image}` is no image"));
    }
    let policy = text(container, "imagePullPolicy");
    if policy.is_some_and(|policy| !matches!(policy, "Always" | "IfNotPresent" | "Never")) {
        findings.add(manifest, "the pull policy is neither `Always`, `IfNotPresent` nor `Never`");
    }
}

fn ports(manifest: &Manifest, container: &Value, findings: &mut Findings) {
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    for port in items(container.get("ports")) {
        let number = |key: &str| port.get(key).and_then(Value::as_u64);
        let protocol = text(port, "protocol").unwrap_or("TCP");
        let key = (number("containerPort"), number("hostPort"), protocol.to_owned());
        if !key.0.is_some_and(|number| (1..=65535).contains(&number)) {
            findings.add(manifest, "a port is not between 1 and 65535");
        }
        if !seen.insert(key) {
            findings.add(manifest, "a container names a port twice");
        }
        let Some(name) = text(port, "name") else { continue };
        let is_name = names::port(name).as_deref() == Some(name);
        if !is_name {
            findings
                .add(manifest, format!("`{name}` is no name of a port: 15 characters, a letter"));
        }
        if !named.insert(name) {
            findings.add(manifest, format!("a container has two ports `{name}`"));
        }
    }
}

fn variables(manifest: &Manifest, container: &Value, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for variable in items(container.get("env")) {
        let name = text(variable, "name").unwrap_or_default();
        let is_name = name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=');
        if name.is_empty() || !is_name {
            findings.add(manifest, format!("`{name}` is no name of a variable"));
        }
        if !seen.insert(name) {
            findings.add(manifest, format!("the variable `{name}` is set twice"));
        }
        let value = variable.get("value");
        if value.is_some_and(|value| !value.is_string()) {
            findings.add(manifest, format!("the value of `{name}` is no text: quote it"));
        }
        if value.is_some() && variable.get("valueFrom").is_some() {
            findings.add(manifest, format!("`{name}` has a value and a `valueFrom`"));
        }
        // What the kubelet would fill in has to be set before.
        let text = value.and_then(Value::as_str).unwrap_or_default();
        for wanted in references(text) {
            if !seen.contains(wanted.as_str()) {
                findings.add(
                    manifest,
                    format!("`{name}` uses `$({wanted})`, which is not set before it"),
                );
            }
        }
    }
}

/// Names in `$(NAME)`; a doubled dollar is one dollar.
fn references(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        if let Some(inner) = after.strip_prefix('(') {
            match inner.split_once(')') {
                Some((name, tail)) => {
                    found.push(name.to_owned());
                    rest = tail;
                }
                None => break,
            }
        } else {
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    found
}

fn mounts(
    manifest: &Manifest,
    container: &Value,
    volumes: &BTreeSet<String>,
    findings: &mut Findings,
) {
    let mut seen = BTreeMap::new();
    for mount in items(container.get("volumeMounts")) {
        let name = text(mount, "name").unwrap_or_default();
        let path = text(mount, "mountPath").unwrap_or_default();
        if !volumes.contains(name) {
            findings.add(manifest, format!("there is no volume `{name}`"));
        }
        if path.is_empty() || path.contains(':') {
            findings.add(manifest, format!("`{path}` is no path to mount at"));
        }
        if let Some(other) = seen.insert(path.trim_end_matches('/'), name) {
            findings.add(manifest, format!("`{other}` and `{name}` are both mounted at `{path}`"));
        }
        let below = text(mount, "subPath").unwrap_or_default();
        if below.starts_with('/') || below.split('/').any(|part| part == "..") {
            findings.add(manifest, format!("`{below}` is no relative path"));
        }
    }
}

fn rights(manifest: &Manifest, container: &Value, findings: &mut Findings) {
    let Some(context) = container.get("securityContext") else { return };
    let is = |key: &str, value: bool| context.get(key).and_then(Value::as_bool) == Some(value);
    let adds_admin = items(context.pointer("/capabilities/add"))
        .any(|name| matches!(name.as_str(), Some("SYS_ADMIN" | "CAP_SYS_ADMIN")));
    if is("allowPrivilegeEscalation", false) && (is("privileged", true) || adds_admin) {
        findings.add(manifest, "`allowPrivilegeEscalation: false` cannot go with such rights");
    }
    if is("runAsNonRoot", true) && context.get("runAsUser").and_then(Value::as_u64) == Some(0) {
        findings.add(manifest, "it is not to be root, and runs as 0");
    }
    let names = items(context.pointer("/capabilities/add"));
    for name in names.chain(items(context.pointer("/capabilities/drop"))).filter_map(Value::as_str)
    {
        if name.starts_with("CAP_") {
            findings.add(manifest, format!("`{name}`: capabilities have no `CAP_` here"));
        }
    }
}

fn probe(manifest: &Manifest, probe: Option<&Value>, key: &str, findings: &mut Findings) {
    let Some(probe) = probe else { return };
    let ways =
        ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|way| probe.get(way).is_some());
    if ways.count() != 1 {
        findings.add(manifest, format!("a {key} has one way to ask"));
    }
    for number in ["periodSeconds", "timeoutSeconds", "failureThreshold"] {
        if probe.get(number).and_then(Value::as_u64) == Some(0) {
            findings.add(manifest, format!("`{number}` of a {key} is at least 1"));
        }
    }
    let successes = probe.get("successThreshold").and_then(Value::as_u64).unwrap_or(1);
    if successes != 1 && key != "readinessProbe" {
        findings.add(manifest, format!("`successThreshold` of a {key} is 1"));
    }
    if probe.pointer("/exec/command").is_some_and(|command| items(Some(command)).next().is_none()) {
        findings.add(manifest, format!("a {key} runs no command"));
    }
}

/// A workload finds its own pods.
fn selector(manifest: &Manifest, findings: &mut Findings) {
    if !matches!(manifest.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
    {
        return;
    }
    let wanted = manifest.at("/spec/selector/matchLabels");
    let labels = manifest.at("/spec/template/metadata/labels");
    let mut pairs = super::object(wanted).peekable();
    if pairs.peek().is_none() && manifest.at("/spec/selector/matchExpressions").is_none() {
        findings.add(manifest, "it has no selector");
    }
    for (key, value) in pairs {
        if labels.and_then(|labels| labels.get(key)) != Some(value) {
            findings.add(manifest, format!("its pods lack the label `{key}` it looks for"));
        }
    }
}

fn host(manifest: &Manifest, spec: &Value, findings: &mut Findings) {
    let is = |key: &str| spec.get(key).and_then(Value::as_bool) == Some(true);
    if is("hostPID") && is("shareProcessNamespace") {
        findings.add(manifest, "`hostPID` cannot go with `shareProcessNamespace`");
    }
    if let Some(name) = text(spec, "hostname")
        && (!names::is_domain(name) || name.contains('.') || name.len() > 63)
    {
        findings.add(manifest, format!("`{name}` is no host name of a pod"));
    }
    for sysctl in items(spec.pointer("/securityContext/sysctls")) {
        let name = text(sysctl, "name").unwrap_or_default();
        if is("hostNetwork") && name.starts_with("net.") {
            findings.add(manifest, format!("`{name}` cannot be set on the node's network"));
        }
    }
    for alias in items(spec.get("hostAliases")) {
        let ip = text(alias, "ip").unwrap_or_default();
        if ip.parse::<std::net::IpAddr>().is_err() {
            findings.add(manifest, format!("`{ip}` is no address"));
        }
        for name in items(alias.get("hostnames")).filter_map(Value::as_str) {
            if !names::is_domain(name) {
                findings.add(manifest, format!("`{name}` is no host name"));
            }
        }
    }
    if text(spec, "dnsPolicy") == Some("None") && spec.pointer("/dnsConfig/nameservers").is_none() {
        findings.add(manifest, "`dnsPolicy: None` needs name servers");
    }
}
