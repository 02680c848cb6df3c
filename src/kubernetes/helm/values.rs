//! The values of a chart: what people change, with what the Compose file says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map as JsonMap, Value, json};

use super::{Source, containers, image, section, variables};
use crate::kubernetes::object::{Body, ClaimSpec, Container};
use crate::kubernetes::{names, plain, report};

/// The name of something in values: `my-web` is `myWeb`, as `.Values.my-web` is not to be read.
pub(super) fn key(name: &str) -> String {
    let mut key = String::new();
    let mut starts_word = false;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            // `web-1` is not `web1`.
            if starts_word && c.is_ascii_digit() {
                key.push('_');
            }
            key.push(if starts_word { c.to_ascii_uppercase() } else { c });
            starts_word = false;
        } else {
            starts_word = !key.is_empty();
        }
    }
    let is_section = HEADS.iter().any(|(section, _)| *section == key) || key == "global";
    if is_section { key + "_" } else { key }
}

/// Sections with the words over them.
const HEADS: [(&str, &str); 7] = [
    ("tests", "What `helm test` runs in: an image with `nc`"),
    ("imagePullSecrets", "Secrets for registries that want a password: [{name: my-secret}]"),
    ("variables", "Variables of the Compose file: values below use them"),
    ("profiles", "Profiles of the Compose file: what is installed beside the rest"),
    ("persistence", "Claims; with existingClaim none is made"),
    ("config", "Variables from files of the Compose file (env_file)"),
    ("secrets", "Values are in secrets/values.yaml, or in a Secret of yours (create: false)"),
];

/// The values, and what templates ask of them.
pub(super) struct Values {
    pub(super) chart: String,
    whole: JsonMap<String, Value>,
    secrets: JsonMap<String, Value>,
    /// Names of workloads and containers in values, by the name of the container.
    containers: BTreeMap<String, String>,
    images: BTreeMap<String, String>,
    /// Where sections are from.
    places: BTreeMap<String, String>,
    /// ConfigMaps whose keys are variables.
    pub(super) of_variables: BTreeSet<String>,
    profiles: BTreeMap<String, Vec<String>>,
}

impl Values {
    pub(super) fn of(source: &Source<'_>, chart: &str) -> Self {
        let mut values = Self {
            chart: chart.to_owned(),
            whole: JsonMap::new(),
            secrets: JsonMap::new(),
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            places: places(source),
            of_variables: BTreeSet::new(),
            profiles: profiles(source),
        };
        values.whole.insert("imagePullSecrets".to_owned(), json!([]));
        let mut variables = variables::Variables::new(source);
        for entry in &source.objects.entries {
            let name = entry.object.metadata.name.clone();
            values.workload(&name, &entry.object.body, &mut variables);
        }
        for entry in &source.objects.entries {
            let name = entry.object.metadata.name.clone();
            values.other(&name, &entry.object.body);
        }
        for (name, port) in super::reachable(source) {
            section(&mut values.whole, &key(name))["ingress"] = json!({
                "enabled": false,
                "className": "",
                "annotations": {},
                "hosts": [{"host": format!("{name}.example.org"), "paths": [{"path": "/", "port": port}]}],
                "tls": [],
            });
        }
        let used = variables.used();
        if used.as_object().is_some_and(|used| !used.is_empty()) {
            values.whole.insert("variables".to_owned(), used);
        }
        let names: BTreeSet<&String> = values.profiles.values().flatten().collect();
        let switches =
            names.into_iter().map(|name| (key(name), Value::Bool(source.active.contains(name))));
        let switches: JsonMap<String, Value> = switches.collect();
        if !switches.is_empty() {
            values.whole.insert("profiles".to_owned(), switches.into());
        }
        values.whole.insert("tests".to_owned(), json!({"image": "busybox:1.37"}));
        values
    }

    /// What a person may want to change of a workload.
    fn workload(&mut self, name: &str, body: &Body, variables: &mut variables::Variables<'_>) {
        let all = containers(body);
        if all.is_empty() {
            return;
        }
        for container in all.iter().filter(|it| !it.name.starts_with("wait-for-")) {
            self.container(container, variables);
        }
        let value = plain::value_of(body);
        let at = |pointer: &str| value.pointer(pointer).cloned();
        let key = self.containers.get(name).cloned().unwrap_or_else(|| key(name));
        let own = section(&mut self.whole, &key);
        if matches!(body, Body::Deployment { .. } | Body::StatefulSet { .. }) {
            own["replicas"] = at("/spec/replicas").unwrap_or(json!(1));
        }
        if matches!(body, Body::Deployment { .. }) {
            own["autoscaling"] =
                json!({"enabled": false, "minReplicas": 1, "maxReplicas": 5, "cpu": 80});
            own["podDisruptionBudget"] = json!({"enabled": false, "maxUnavailable": 1});
        }
        let template = if matches!(body, Body::CronJob { .. }) {
            own["schedule"] = at("/spec/schedule").unwrap_or_default();
            own["suspend"] = at("/spec/suspend").unwrap_or(json!(false));
            "/spec/jobTemplate/spec/template/spec"
        } else {
            "/spec/template/spec"
        };
        own["podSecurityContext"] = at(&format!("{template}/securityContext")).unwrap_or(json!({}));
        for part in ["nodeSelector", "affinity"] {
            own[part] = at(&format!("{template}/{part}")).unwrap_or(json!({}));
        }
        own["tolerations"] = json!([]);
        own["podAnnotations"] = json!({});
        for from in all.iter().flat_map(|container| &container.env_from) {
            self.of_variables.extend(from.config_map_ref.iter().map(|it| it.name.clone()));
        }
    }

    fn container(&mut self, container: &Container, variables: &mut variables::Variables<'_>) {
        let name = key(&container.name);
        self.containers.insert(container.name.clone(), name.clone());
        self.images.entry(container.image.clone()).or_insert_with(|| name.clone());
        let own = section(&mut self.whole, &name);
        own["image"] = variables.image(&container.name, image(&container.image));
        own["image"]["pullPolicy"] = json!(container.image_pull_policy.clone().unwrap_or_default());
        let mut env = JsonMap::new();
        for variable in &container.env {
            if let Some(value) = &variable.value {
                let value = variables.value(&container.name, &variable.name, value);
                env.insert(variable.name.clone(), Value::String(value));
            }
        }
        own["env"] = env.into();
        own["resources"] = plain::value_of(&container.resources);
        let rights = container.security_context.as_ref().map(plain::value_of);
        own["securityContext"] = rights.unwrap_or(json!({}));
    }

    fn other(&mut self, name: &str, body: &Body) {
        match body {
            Body::PersistentVolumeClaim { spec } => self.claim(name, spec),
            Body::StatefulSet { spec } => {
                for claim in &spec.volume_claim_templates {
                    self.claim(&claim.metadata.name, &claim.spec);
                    let all = section(&mut self.whole, "persistence");
                    // Each pod of it has a claim of its own.
                    if let Some(own) = all[key(&claim.metadata.name)].as_object_mut() {
                        own.remove("existingClaim");
                    }
                }
            }
            Body::ConfigMap(config) if self.of_variables.contains(name) => {
                section(&mut self.whole, "config")[key(name)] = plain::value_of(&config.data);
            }
            Body::Secret(secret) => {
                let all = section(&mut self.whole, "secrets");
                let blank = |data: &crate::kubernetes::object::Map| {
                    let keys = data.keys().map(|key| (key.clone(), json!("")));
                    Value::Object(keys.collect())
                };
                all[key(name)] = json!({"create": true, "values": blank(&secret.string_data)});
                let mut own = json!({"values": plain::value_of(&secret.string_data)});
                if !secret.data.is_empty() {
                    all[key(name)]["bytes"] = blank(&secret.data);
                    own["bytes"] = plain::value_of(&secret.data);
                }
                self.secrets.insert(key(name), own);
            }
            Body::Service { spec } if spec.cluster_ip.is_none() => {
                let own = section(&mut self.whole, &key(name));
                let kind = spec.kind.clone().unwrap_or_else(|| "ClusterIP".to_owned());
                own["service"] = json!({"type": kind, "annotations": {}});
            }
            Body::Ingress { spec } => {
                let value = plain::value_of(spec);
                let hosts = value["rules"].as_array().into_iter().flatten().map(|rule| {
                    let paths = rule.pointer("/http/paths").and_then(Value::as_array);
                    let paths = paths.into_iter().flatten().map(|path| {
                        json!({"path": path["path"], "port": path["backend"]["service"]["port"]["number"]})
                    });
                    json!({"host": rule["host"], "paths": paths.collect::<Vec<_>>()})
                });
                let own = section(&mut self.whole, &key(name));
                own["ingress"] = json!({
                    "enabled": true,
                    "className": spec.ingress_class_name.clone().unwrap_or_default(),
                    "annotations": {},
                    "hosts": hosts.collect::<Vec<_>>(),
                    "tls": value.get("tls").cloned().unwrap_or(json!([])),
                });
            }
            Body::HttpRoute { spec } => {
                let value = plain::value_of(spec);
                let rules = value["rules"].as_array().into_iter().flatten().map(|rule| {
                    json!({"path": rule["matches"][0]["path"]["value"],
                        "port": rule["backendRefs"][0]["port"]})
                });
                let rules: Vec<Value> = rules.collect();
                section(&mut self.whole, &key(name))["httpRoute"] = json!({
                    "enabled": true,
                    "annotations": {},
                    "parentRefs": value["parentRefs"],
                    "hostnames": value["hostnames"],
                    "rules": rules,
                });
            }
            Body::VerticalPodAutoscaler { spec } => {
                let mode = &spec.update_policy.update_mode;
                section(&mut self.whole, &key(name))["verticalAutoscaling"] =
                    json!({"enabled": true, "mode": mode});
            }
            Body::PodDisruptionBudget { spec } => {
                section(&mut self.whole, &key(name))["podDisruptionBudget"] =
                    json!({"enabled": true, "maxUnavailable": spec.max_unavailable});
            }
            Body::HorizontalPodAutoscaler { spec } => {
                let value = plain::value_of(spec);
                let own = section(&mut self.whole, &key(name));
                let mut scaling = json!({
                    "enabled": true,
                    "minReplicas": value["minReplicas"],
                    "maxReplicas": value["maxReplicas"],
                });
                for metric in value["metrics"].as_array().into_iter().flatten() {
                    let resource = metric["resource"]["name"].as_str().unwrap_or_default();
                    scaling[resource] = metric["resource"]["target"]["averageUtilization"].clone();
                }
                own["autoscaling"] = scaling;
            }
            Body::Namespace {}
            | Body::ConfigMap(_)
            | Body::PersistentVolume { .. }
            | Body::Service { .. }
            | Body::Deployment { .. }
            | Body::DaemonSet { .. }
            | Body::Job { .. }
            | Body::CronJob { .. }
            | Body::NetworkPolicy { .. } => {}
        }
    }

    fn claim(&mut self, name: &str, spec: &ClaimSpec) {
        let size = spec.resources.requests.get("storage").cloned().unwrap_or_default();
        let class = spec.storage_class_name.clone().unwrap_or_default();
        section(&mut self.whole, "persistence")[key(name)] = json!({
            "size": size,
            "storageClass": class,
            "accessModes": spec.access_modes,
            "existingClaim": "",
        });
    }

    /// The name in values of a container, or of one with the same image.
    pub(super) fn container_key(&self, name: &str) -> Option<&str> {
        self.containers.get(name).map(String::as_str)
    }

    /// Whose image this is.
    pub(super) fn image_key(&self, image: &str) -> Option<&str> {
        self.images.get(image).map(String::as_str)
    }

    /// A template that is empty unless one of the owners' profiles is on, and none of those that
    /// stand in for them.
    pub(super) fn guarded(&self, (owners, unless): (&[String], &[String]), text: &str) -> String {
        let condition = match (self.switches(owners), self.switches(unless)) {
            (None, None) => return text.to_owned(),
            (Some(on), None) => on,
            (None, Some(off)) => format!("not ({off})"),
            (Some(on), Some(off)) => format!("and ({on}) (not ({off}))"),
        };
        format!("{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n")
    }

    /// Whether any of these is on; none when one always is, or there are none.
    fn switches(&self, keys: &[String]) -> Option<String> {
        let mut names = BTreeSet::new();
        for owner in keys {
            names.extend(self.profiles.get(owner)?.iter().map(|name| key(name)));
        }
        let names: Vec<String> =
            names.into_iter().map(|name| format!(".Values.profiles.{name}")).collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("or {}", several.join(" "))),
        }
    }

    /// All values, secrets included.
    pub(super) fn whole(&self) -> Value {
        Value::Object(self.whole.clone())
    }

    /// `values.yaml`.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(
            "# What can be changed of this chart. Give changes in a file of your own: -f mine.yaml\n\
             # Objects have the names that the services call each other by: install it once in a namespace.\n",
        );
        for (key, value) in &self.whole {
            let head = HEADS.iter().find(|(name, _)| name == key).map(|(_, words)| *words);
            let head = head.or(self.places.get(key).map(String::as_str));
            let _ = match head {
                Some(words) => write!(text, "\n# {words}\n"),
                None => writeln!(text),
            };
            text.push_str(&plain::yaml(&json!({ key.as_str(): value })));
        }
        text
    }

    /// The values that nobody should read; none when there are none.
    pub(super) fn secret_text(&self) -> Option<String> {
        if self.secrets.is_empty() {
            return None;
        }
        Some(plain::yaml(&json!({"secrets": self.secrets})))
    }
}

/// Where services and jobs are in the Compose file, by their names in values.
fn places(source: &Source<'_>) -> BTreeMap<String, String> {
    let project = source.project;
    let services = project.services.keys().map(|name| format!("services.{name}"));
    let all = services.chain(project.jobs.keys().map(|name| format!("jobs.{name}")));
    let words = all.map(|path| {
        let place = source.places.find(&path);
        let place = place.map(|at| format!(" ({}:{})", report::short(&at.file), at.line));
        let name = path.split_once('.').map_or("", |(_, name)| name);
        (key(&names::label(name)), format!("`{path}`{}", place.unwrap_or_default()))
    });
    words.collect()
}

/// Profiles by the services and jobs that have some.
fn profiles(source: &Source<'_>) -> BTreeMap<String, Vec<String>> {
    let services = source.project.services.iter();
    let with = services.filter(|(_, service)| !service.profiles.is_empty());
    with.map(|(key, service)| (key.clone(), service.profiles.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn names_in_values_have_no_dashes() {
        assert_eq!(key("my-web-app"), "myWebApp");
        assert_eq!(key("db"), "db");
        assert_eq!(key("a-1"), "a_1");
        assert_eq!(key("config"), "config_");
    }
}
