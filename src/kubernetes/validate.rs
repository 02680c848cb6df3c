//! Looks at manifests as the API would, and at what the API lets through and people regret: names,
//! labels, ports, mounts, references, quantities, restart policies. Schemas catch misspelt fields;
//! this catches what only makes sense together. Pure; knows nothing of Compose.

mod pods;
mod references;

use serde::Serialize;
use serde_json::{Map, Value};

use super::names;
use crate::compose::print;

/// Kinds whose name becomes a label of a domain name, and those with names of several.
const LABEL_NAMES: [&str; 2] = ["Service", "Namespace"];
/// Kinds that make pods, with the path of the pod's template.
pub(super) const WORKLOADS: [(&str, &str); 7] = [
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
    ("Pod", ""),
];
/// Annotation of a workload with names of what is in the cluster already.
pub(super) const EXPECTS: &str = "muster.dev/expects";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The object, as `Deployment/web`.
    pub object: String,
    /// What is wrong.
    pub message: String,
}

/// An object of some file.
pub(super) struct Manifest {
    file: String,
    kind: String,
    name: String,
    namespace: String,
    value: Value,
}

impl Manifest {
    fn at(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer)?.as_str()
    }

    /// The template of its pods.
    fn template(&self) -> Option<&Value> {
        let (_, path) = WORKLOADS.iter().find(|(kind, _)| *kind == self.kind)?;
        self.value.pointer(path)
    }
}

/// Collects what is wrong.
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, manifest: &Manifest, message: impl Into<String>) {
        self.0.push(Finding {
            file: manifest.file.clone(),
            object: format!("{}/{}", manifest.kind, manifest.name),
            message: message.into(),
        });
    }
}

/// What is wrong with files of manifests: names and texts. Files that hold no objects, as
/// values of a chart, are passed over.
pub fn validate(files: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let mut manifests = Vec::new();
    for (file, text) in files {
        let values = match print::yaml_documents(text) {
            Ok(values) => values,
            Err(message) => {
                let (file, object) = (file.clone(), String::new());
                findings.0.push(Finding { file, object, message });
                continue;
            }
        };
        for value in values {
            read(file, value, &mut manifests);
        }
    }
    for manifest in &manifests {
        metadata(manifest, &mut findings);
        quantities(manifest, &manifest.value, "", &mut findings);
        pods::check(manifest, &mut findings);
        specific(manifest, &mut findings);
    }
    twice(&manifests, &mut findings);
    references::check(&manifests, &mut findings);
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

fn read(file: &str, value: Value, manifests: &mut Vec<Manifest>) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let Some(kind) = text("/kind").filter(|_| value.get("apiVersion").is_some()) else { return };
    if kind == "List" {
        let items = value.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        items.into_iter().for_each(|item| read(file, item, manifests));
        return;
    }
    if kind == "Kustomization" {
        return;
    }
    let name = text("/metadata/name").unwrap_or_default();
    let namespace = text("/metadata/namespace").unwrap_or_default();
    manifests.push(Manifest { file: file.to_owned(), kind, name, namespace, value });
}

fn metadata(manifest: &Manifest, findings: &mut Findings) {
    let name = &manifest.name;
    let is_label = |name: &str| name.len() <= 63 && !name.contains('.') && names::is_domain(name);
    let fits = match manifest.kind.as_str() {
        kind if LABEL_NAMES.contains(&kind) => {
            is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
        }
        "CronJob" => is_label(name) && name.len() <= 52,
        "StatefulSet" => is_label(name) && name.len() <= 52,
        "Job" | "Pod" => is_label(name),
        _ => names::is_domain(name),
    };
    if !fits {
        findings.add(manifest, format!("`{name}` is no name that this kind takes"));
    }
    labels(manifest, manifest.at("/metadata"), findings);
    if let Some(template) = manifest.template().filter(|_| manifest.kind != "Pod") {
        labels(manifest, template.get("metadata"), findings);
    }
}

fn labels(manifest: &Manifest, metadata: Option<&Value>, findings: &mut Findings) {
    let pairs = |key: &str| object(metadata.and_then(|it| it.get(key)));
    for (key, value) in pairs("labels") {
        if !names::is_label_key(key) {
            findings.add(manifest, format!("`{key}` is no key of a label"));
        }
        match value.as_str() {
            Some(text) if names::is_label_value(text) => {}
            Some(text) => {
                findings.add(manifest, format!("`{text}` is no value of a label (`{key}`)"))
            }
            None => findings.add(manifest, format!("the label `{key}` is no text")),
        }
    }
    let mut size = 0;
    for (key, value) in pairs("annotations") {
        if !names::is_label_key(key) {
            findings.add(manifest, format!("`{key}` is no key of an annotation"));
        }
        match value.as_str() {
            Some(text) => size += key.len() + text.len(),
            None => findings.add(manifest, format!("the annotation `{key}` is no text")),
        }
    }
    if size > 256 << 10 {
        findings.add(manifest, "the annotations are larger than 256 KiB");
    }
}

/// The pairs of an object; none of anything else.
pub(super) fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// The items of a list; none of anything else.
pub(super) fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Amounts, wherever they stand.
fn quantities(manifest: &Manifest, value: &Value, path: &str, findings: &mut Findings) {
    let is_amounts = |key: &str| matches!(key, "requests" | "limits" | "capacity");
    match value {
        Value::Object(map) => {
            let both = map.get("requests").zip(map.get("limits"));
            if let Some((requests, limits)) = both {
                requests_fit(manifest, requests, limits, findings);
            }
            for (key, value) in map {
                let below = format!("{path}/{key}");
                if is_amounts(key) && value.is_object() {
                    for (name, amount) in object(Some(value)) {
                        amount_fits(manifest, name, amount, findings);
                    }
                } else if key == "sizeLimit" {
                    amount_fits(manifest, key, value, findings);
                } else if key != "data" && key != "stringData" {
                    quantities(manifest, value, &below, findings);
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|it| quantities(manifest, it, path, findings)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => super::quantity::parse(text),
        Value::Number(number) => number.as_f64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn amount_fits(manifest: &Manifest, name: &str, value: &Value, findings: &mut Findings) {
    if amount(value).is_none_or(|amount| amount < 0.0) {
        findings.add(manifest, format!("`{value}` is no amount of `{name}`"));
    }
}

fn requests_fit(manifest: &Manifest, requests: &Value, limits: &Value, findings: &mut Findings) {
    for (name, request) in object(Some(requests)) {
        let limit = limits.get(name).and_then(amount);
        if let (Some(request), Some(limit)) = (amount(request), limit) {
            if request > limit {
                findings.add(manifest, format!("more `{name}` is requested than the limit allows"));
            }
            if name.contains('/') && (request - limit).abs() > f64::EPSILON {
                findings.add(manifest, format!("request and limit of `{name}` have to be equal"));
            }
        }
    }
}

/// Rules of single kinds.
fn specific(manifest: &Manifest, findings: &mut Findings) {
    match manifest.kind.as_str() {
        "Service" => service(manifest, findings),
        "ConfigMap" | "Secret" => content(manifest, findings),
        "PersistentVolumeClaim" => {
            if manifest.at("/spec/resources/requests/storage").is_none() {
                findings.add(manifest, "a claim has to say how much storage it wants");
            }
            if items(manifest.at("/spec/accessModes")).next().is_none() {
                findings.add(manifest, "a claim has to name an access mode");
            }
        }
        "HorizontalPodAutoscaler" => {
            let number = |pointer: &str| manifest.at(pointer).and_then(Value::as_u64);
            let (min, max) =
                (number("/spec/minReplicas").unwrap_or(1), number("/spec/maxReplicas"));
            if max.is_none_or(|max| max < min.max(1)) {
                findings.add(manifest, "`maxReplicas` is below `minReplicas`");
            }
        }
        "Ingress" => {
            for rule in items(manifest.at("/spec/rules")) {
                let host = rule.get("host").and_then(Value::as_str).unwrap_or_default();
                let plain = host.strip_prefix("*.").unwrap_or(host);
                let is_address = host.parse::<std::net::IpAddr>().is_ok();
                if !host.is_empty() && (!names::is_domain(plain) || is_address) {
                    findings.add(manifest, format!("`{host}` is no host name"));
                }
            }
        }
        "CronJob" => {
            let schedule = manifest.text("/spec/schedule").unwrap_or_default();
            let is_word = schedule.starts_with('@');
            if !is_word && schedule.split_whitespace().count() != 5 {
                findings.add(manifest, format!("`{schedule}` is no schedule of five fields"));
            }
        }
        "Deployment" => {
            let number = |pointer: &str| manifest.at(pointer).and_then(Value::as_u64);
            let ready = number("/spec/minReadySeconds").unwrap_or(0);
            if number("/spec/progressDeadlineSeconds").unwrap_or(600) <= ready {
                findings.add(manifest, "`progressDeadlineSeconds` is not above `minReadySeconds`");
            }
            let is_none = |value: Option<&Value>| {
                value.is_some_and(|value| *value == 0 || *value == "0" || *value == "0%")
            };
            let rolling = manifest.at("/spec/strategy/rollingUpdate");
            let both = ["maxSurge", "maxUnavailable"];
            if rolling.is_some_and(|it| both.iter().all(|key| is_none(it.get(key)))) {
                findings
                    .add(manifest, "with neither surge nor unavailable pods nothing is replaced");
            }
            let kind = manifest.text("/spec/strategy/type");
            if kind == Some("Recreate") && rolling.is_some() {
                findings.add(manifest, "`Recreate` takes no `rollingUpdate`");
            }
        }
        _ => {}
    }
}

fn service(manifest: &Manifest, findings: &mut Findings) {
    let is_headless = manifest.text("/spec/clusterIP") == Some("None");
    let is_external = manifest.text("/spec/type") == Some("ExternalName");
    let ports: Vec<&Value> = items(manifest.at("/spec/ports")).collect();
    if ports.is_empty() && !is_headless && !is_external {
        findings.add(manifest, "a Service with an address has to have a port");
    }
    let text = |port: &Value, key: &str| port.get(key).and_then(Value::as_str).map(str::to_owned);
    let (mut seen, mut named) = (Vec::new(), Vec::new());
    for port in &ports {
        let key = (port.get("port").and_then(Value::as_u64), text(port, "protocol"));
        if !key.0.is_some_and(|number| (1..=65535).contains(&number)) {
            findings.add(manifest, "a port is not between 1 and 65535");
        }
        if seen.contains(&key) {
            findings.add(manifest, format!("port {} stands twice", key.0.unwrap_or_default()));
        }
        seen.push(key);
        match text(port, "name") {
            None if ports.len() > 1 => findings.add(manifest, "of several ports each needs a name"),
            None => {}
            Some(name) => {
                let is_label = names::is_domain(&name) && !name.contains('.');
                if !is_label || name.len() > 63 {
                    findings.add(manifest, format!("`{name}` is no name of a port"));
                }
                if named.contains(&name) {
                    findings.add(manifest, format!("two ports are called `{name}`"));
                }
                named.push(name);
            }
        }
    }
}

/// Keys, and not more than etcd takes.
fn content(manifest: &Manifest, findings: &mut Findings) {
    let mut size = 0;
    let mut seen: Vec<&String> = Vec::new();
    for section in ["data", "binaryData", "stringData"] {
        for (key, value) in object(manifest.value.get(section)) {
            if !names::is_key(key) {
                findings.add(manifest, format!("`{key}` is no key of a {}", manifest.kind));
            }
            let Some(text) = value.as_str() else {
                findings.add(manifest, format!("the value of `{key}` is no text"));
                continue;
            };
            let is_bytes =
                section == "binaryData" || (section == "data" && manifest.kind == "Secret");
            match data_encoding::BASE64.decode(text.as_bytes()) {
                Ok(bytes) if is_bytes => size += bytes.len(),
                Err(_) if is_bytes => findings.add(manifest, format!("`{key}` is not in base64")),
                Ok(_) | Err(_) => size += text.len(),
            }
            if seen.contains(&key) && section == "binaryData" {
                findings.add(manifest, format!("`{key}` stands in `data` and `binaryData`"));
            }
            seen.push(key);
        }
    }
    if size > 1 << 20 {
        findings.add(manifest, format!("{size} bytes are more than the 1 MiB that it takes"));
    }
}

/// Two objects of one kind and name.
fn twice(manifests: &[Manifest], findings: &mut Findings) {
    let mut seen = std::collections::BTreeMap::new();
    for manifest in manifests {
        let key = (&manifest.kind, &manifest.namespace, &manifest.name);
        if let Some(file) = seen.insert(key, &manifest.file) {
            findings.add(manifest, format!("it is in `{file}` as well"));
        }
    }
}

/// An object without content, for lookups that fail.
pub(super) fn nothing() -> &'static Map<String, Value> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    &NOTHING
}
