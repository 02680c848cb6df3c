//! What objects say of each other: names that have to be there, selectors that have to find pods.
//! What is in the cluster already is told by the annotation `muster.dev/expects` of whoever uses it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{EXPECTS, Findings, Manifest, items, object};

/// Names of what is there.
struct Known<'a> {
    manifests: &'a [Manifest],
    objects: BTreeSet<(&'a str, &'a str)>,
}

impl Known<'_> {
    fn has(&self, kind: &str, name: &str) -> bool {
        self.objects.contains(&(kind, name))
    }

    /// The workloads whose pods have all these labels.
    fn found_by<'v>(&'v self, labels: &'v Value) -> impl Iterator<Item = &'v Manifest> {
        let is_empty = object(Some(labels)).next().is_none();
        self.manifests.iter().filter(move |manifest| {
            let own = manifest.template().and_then(|template| template.pointer("/metadata/labels"));
            let mut pairs = object(Some(labels));
            let has_all = pairs.all(|(key, value)| own.and_then(|own| own.get(key)) == Some(value));
            !is_empty && own.is_some() && has_all
        })
    }
}

/// Checks all references.
pub(super) fn check(manifests: &[Manifest], findings: &mut Findings) {
    let objects = manifests.iter().map(|it| (it.kind.as_str(), it.name.as_str())).collect();
    let known = Known { manifests, objects };
    for manifest in manifests {
        pod(manifest, &known, findings);
        single_files(manifest, &known, findings);
        match manifest.kind.as_str() {
            "Service" => service(manifest, &known, findings),
            "StatefulSet" => {
                let name = manifest.text("/spec/serviceName").unwrap_or_default();
                if !name.is_empty() && !known.has("Service", name) {
                    findings.add(manifest, format!("there is no Service `{name}`"));
                }
            }
            "PodDisruptionBudget" => disruption(manifest, &known, findings),
            "HorizontalPodAutoscaler" => autoscaler(manifest, &known, findings),
            "VerticalPodAutoscaler" => vertical(manifest, &known, findings),
            "Ingress" => ingress(manifest, &known, findings),
            "HTTPRoute" => route(manifest, &known, findings),
            "NetworkPolicy" => {
                let labels = manifest.at("/spec/podSelector/matchLabels");
                if labels.is_some_and(|labels| known.found_by(labels).next().is_none()) {
                    findings.add(manifest, "it finds no pods");
                }
            }
            _ => {}
        }
    }
}

/// What the pods of a workload mount and read.
fn pod(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let Some(spec) = manifest.template().and_then(|template| template.get("spec")) else { return };
    let expected = manifest.at("/metadata/annotations").and_then(|all| all.get(EXPECTS));
    let expected: Vec<&str> =
        expected.and_then(Value::as_str).unwrap_or_default().split(',').map(str::trim).collect();
    let mut wanted = BTreeSet::new();
    let mut add = |kind: &'static str, value: Option<&Value>, path: &str| {
        let Some(source) = value else { return };
        let is_optional = source.get("optional").and_then(Value::as_bool) == Some(true);
        let name = source.get(path).and_then(Value::as_str);
        if let Some(name) = name.filter(|_| !is_optional) {
            wanted.insert((kind, name.to_owned()));
        }
    };
    for volume in items(spec.get("volumes")) {
        add("ConfigMap", volume.get("configMap"), "name");
        add("Secret", volume.get("secret"), "secretName");
        add("PersistentVolumeClaim", volume.get("persistentVolumeClaim"), "claimName");
    }
    let mut keys = Vec::new();
    for container in items(spec.get("initContainers")).chain(items(spec.get("containers"))) {
        for from in items(container.get("envFrom")) {
            add("ConfigMap", from.get("configMapRef"), "name");
            add("Secret", from.get("secretRef"), "name");
        }
        for variable in items(container.get("env")) {
            let source = variable.get("valueFrom");
            for (kind, key) in [("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")] {
                let reference = source.and_then(|source| source.get(key));
                add(kind, reference, "name");
                keys.extend(reference.map(|reference| (kind, reference)));
            }
        }
    }
    for (kind, name) in &wanted {
        let is_expected = expected.contains(&format!("{kind}/{name}").as_str());
        if !known.has(kind, name) && !is_expected {
            findings.add(manifest, format!("there is no {kind} `{name}`"));
        }
    }
    for (kind, reference) in keys {
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, key) = (text("name"), text("key"));
        let mut targets = known.manifests.iter().filter(|it| it.kind == kind && it.name == name);
        if let Some(target) = targets.next()
            && !has_key(target, key)
        {
            findings.add(manifest, format!("the {kind} `{name}` has no key `{key}`"));
        }
    }
}

/// Files that are mounted one by one: each has to be a key of its object.
fn single_files(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let Some(spec) = manifest.template().and_then(|template| template.get("spec")) else { return };
    for container in items(spec.get("initContainers")).chain(items(spec.get("containers"))) {
        for mount in items(container.get("volumeMounts")) {
            let text = |key: &str| mount.get(key).and_then(Value::as_str);
            let (Some(volume), Some(path)) = (text("name"), text("subPath")) else { continue };
            let mut volumes = items(spec.get("volumes"));
            let Some(volume) = volumes.find(|it| it.get("name") == Some(&volume.into())) else {
                continue;
            };
            for (kind, key, name) in
                [("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")]
            {
                let Some(source) = volume.get(key) else { continue };
                let name = source.get(name).and_then(Value::as_str).unwrap_or_default();
                let target = known.manifests.iter().find(|it| it.kind == kind && it.name == name);
                let is_there = |it: &Manifest| {
                    source.get("items").is_some()
                        || has_key(it, path.split('/').next().unwrap_or(path))
                };
                if target.is_some_and(|it| !is_there(it)) {
                    findings.add(manifest, format!("the {kind} `{name}` has no key `{path}`"));
                }
            }
        }
    }
}

fn has_key(manifest: &Manifest, key: &str) -> bool {
    ["data", "stringData", "binaryData"]
        .iter()
        .any(|section| manifest.value.get(section).is_some_and(|data| data.get(key).is_some()))
}

fn service(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let Some(selector) = manifest.at("/spec/selector") else { return };
    if known.found_by(selector).next().is_none() {
        findings.add(manifest, "it finds no pods");
    }
}

/// With a budget of none nobody can empty a node.
fn disruption(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let Some(labels) = manifest.at("/spec/selector/matchLabels") else { return };
    let workload = known.found_by(labels).next();
    let Some(workload) = workload else {
        findings.add(manifest, "it finds no pods");
        return;
    };
    let number = |it: &Manifest, pointer: &str| it.at(pointer).and_then(Value::as_u64);
    let replicas = number(workload, "/spec/replicas");
    let least = number(manifest, "/spec/minAvailable");
    if least.zip(replicas).is_some_and(|(least, replicas)| least >= replicas) {
        findings.add(manifest, "it lets no pod be taken away");
    }
    if number(manifest, "/spec/maxUnavailable") == Some(0) {
        findings.add(manifest, "it lets no pod be taken away");
    }
}

fn autoscaler(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let text = |pointer: &str| manifest.text(pointer).unwrap_or_default();
    let (kind, name) = (text("/spec/scaleTargetRef/kind"), text("/spec/scaleTargetRef/name"));
    let mut targets = known.manifests.iter().filter(|it| it.kind == kind && it.name == name);
    let Some(target) = targets.next() else {
        findings.add(manifest, format!("there is no {kind} `{name}`"));
        return;
    };
    if target.at("/spec/replicas").is_some() {
        findings
            .add(manifest, format!("{kind} `{name}` says `replicas` too, and the two would fight"));
    }
    let spec = target.template().and_then(|template| template.get("spec"));
    for metric in items(manifest.at("/spec/metrics")) {
        let resource = metric.pointer("/resource/name").and_then(Value::as_str);
        let Some(resource) = resource else { continue };
        if metric.pointer("/resource/target/averageUtilization").is_none() {
            continue;
        }
        let containers = items(spec.and_then(|spec| spec.get("containers")));
        let has = |container: &Value, section: &str| {
            let amounts = container.pointer(&format!("/resources/{section}"));
            amounts.is_some_and(|amounts| amounts.get(resource).is_some())
        };
        let mut lacking = containers.filter(|it| !has(it, "requests") && !has(it, "limits"));
        if lacking.next().is_some() {
            findings.add(manifest, format!("a container of `{name}` requests no `{resource}`"));
        }
    }
}

/// Two that set the requests of the same containers by the same use undo what the other does.
fn vertical(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    let text = |pointer: &str| manifest.text(pointer).unwrap_or_default();
    let (kind, name) = (text("/spec/targetRef/kind"), text("/spec/targetRef/name"));
    let Some(target) = known.manifests.iter().find(|it| it.kind == kind && it.name == name) else {
        findings.add(manifest, format!("there is no {kind} `{name}`"));
        return;
    };
    let spec = target.template().and_then(|template| template.get("spec"));
    let mut controlled = BTreeSet::new();
    for policy in items(manifest.at("/spec/resourcePolicy/containerPolicies")) {
        let text = |key: &str| policy.get(key).and_then(Value::as_str).unwrap_or_default();
        let wanted = text("containerName");
        let mut containers = items(spec.and_then(|spec| spec.get("containers")));
        if wanted != "*" && !containers.any(|it| it.get("name") == Some(&wanted.into())) {
            findings.add(manifest, format!("`{name}` has no container `{wanted}`"));
        }
        match policy.get("controlledResources") {
            None => controlled.extend(["cpu", "memory"]),
            Some(names) => controlled.extend(items(Some(names)).filter_map(Value::as_str)),
        }
    }
    if text("/spec/updatePolicy/updateMode") == "Off" {
        return;
    }
    for scaler in known.manifests.iter().filter(|it| it.kind == "HorizontalPodAutoscaler") {
        if scaler.text("/spec/scaleTargetRef/name") != Some(name) {
            continue;
        }
        for metric in items(scaler.at("/spec/metrics")) {
            let resource = metric.pointer("/resource/name").and_then(Value::as_str);
            if let Some(resource) = resource.filter(|resource| controlled.contains(resource)) {
                let words =
                    format!("`{}` goes by `{resource}` too: the two would fight", scaler.name);
                findings.add(manifest, words);
            }
        }
    }
}

/// Routes of a Gateway.
fn route(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    if items(manifest.at("/spec/parentRefs")).next().is_none() {
        findings.add(manifest, "it names no Gateway");
    }
    for rule in items(manifest.at("/spec/rules")) {
        for backend in items(rule.get("backendRefs")) {
            let name = backend.get("name").and_then(Value::as_str).unwrap_or_default();
            let is_service = backend.get("kind").is_none_or(|kind| *kind == "Service");
            if is_service && backend.get("namespace").is_none() {
                backend_port(manifest, known, (name, backend.get("port")), findings);
            }
        }
        for found in items(rule.get("matches")) {
            path(manifest, found.pointer("/path/value"), findings);
        }
    }
}

/// The port of a Service that requests are led to.
fn backend_port(
    manifest: &Manifest,
    known: &Known<'_>,
    (name, number): (&str, Option<&Value>),
    findings: &mut Findings,
) {
    let target = known.manifests.iter().find(|it| it.kind == "Service" && it.name == name);
    let Some(target) = target else {
        findings.add(manifest, format!("there is no Service `{name}`"));
        return;
    };
    let mut ports = items(target.at("/spec/ports"));
    if number.is_some() && !ports.any(|port| port.get("port") == number) {
        findings.add(manifest, format!("the Service `{name}` has no such port"));
    }
}

fn path(manifest: &Manifest, value: Option<&Value>, findings: &mut Findings) {
    if !value.and_then(Value::as_str).unwrap_or("/").starts_with('/') {
        findings.add(manifest, "a path does not begin with `/`");
    }
}

fn ingress(manifest: &Manifest, known: &Known<'_>, findings: &mut Findings) {
    for rule in items(manifest.at("/spec/rules")) {
        for path in items(rule.pointer("/http/paths")) {
            let service = path.pointer("/backend/service");
            let Some(name) = service.and_then(|it| it.get("name")).and_then(Value::as_str) else {
                continue;
            };
            let number = service.and_then(|it| it.pointer("/port/number"));
            backend_port(manifest, known, (name, number), findings);
            self::path(manifest, path.get("path"), findings);
        }
    }
}
