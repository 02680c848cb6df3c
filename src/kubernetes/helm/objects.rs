//! One object as a template: labels of the release, and values where people change things.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::template::Marks;
use super::values::{Values, key};
use super::{Source, texts};
use crate::kubernetes::draft::Entry;
use crate::kubernetes::object::{Body, ConfigMap, Secret};
use crate::kubernetes::{File, plain};

/// The template, and files of the chart that it reads.
pub(super) fn convert(
    entry: &Entry,
    values: &mut Values,
    source: &Source<'_>,
) -> (String, Vec<File>) {
    let name = &entry.object.metadata.name;
    let mut work = Work { marks: Marks::default(), values, source };
    let mut object = plain::value(&entry.object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    work.labels(&mut object, "/metadata/labels");
    match &entry.object.body {
        Body::Ingress { .. } => {
            let labels = texts::labels(&work.values.chart, &label(entry));
            return (texts::ingress(name, &key(name), &labels), Vec::new());
        }
        Body::HttpRoute { .. } => {
            let labels = texts::labels(&work.values.chart, &label(entry));
            let service = entry.object.metadata.labels.get("app.kubernetes.io/name");
            let service = service.map_or(name.as_str(), String::as_str);
            return (texts::route((name, service), &key(name), &labels), Vec::new());
        }
        Body::VerticalPodAutoscaler { .. } => {
            let at = format!(".Values.{}.verticalAutoscaling", key(name));
            let mode = format!("{{{{ {at}.mode | quote }}}}");
            object["spec"]["updatePolicy"]["updateMode"] = work.marks.inline(mode);
            let text = work.marks.render(&object);
            return (format!("{{{{- if {at}.enabled }}}}\n{text}{{{{- end }}}}\n"), Vec::new());
        }
        Body::HorizontalPodAutoscaler { spec } => {
            let chart = work.values.chart.clone();
            let kind = spec.scale_target_ref.kind.clone();
            let text = texts::autoscaler(&chart, name, &key(name));
            return (text.replace("kind: Deployment", &format!("kind: {kind}")), Vec::new());
        }
        Body::ConfigMap(config) => return work.config_map(name, config, object),
        Body::Secret(secret) => return (work.secret(name, secret, object), Vec::new()),
        Body::PersistentVolumeClaim { .. } => {
            let at = format!(".Values.persistence.{}", key(name));
            let class = object.pointer("/spec/storageClassName").cloned();
            work.claim(&mut object["spec"], &at, class);
            object["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
            let text = work.marks.render(&object);
            return (
                format!("{{{{- if not {at}.existingClaim }}}}\n{text}{{{{- end }}}}\n"),
                Vec::new(),
            );
        }
        Body::Service { spec } if spec.cluster_ip.is_none() => {
            let at = format!(".Values.{}.service", key(name));
            object["spec"]["type"] = work.marks.inline(format!("{{{{ {at}.type }}}}"));
            object["metadata"]["annotations"] =
                work.marks.line(texts::with(&format!("{at}.annotations")));
            work.selector(&mut object, "/spec/selector");
        }
        Body::Service { .. } => work.selector(&mut object, "/spec/selector"),
        Body::PodDisruptionBudget { .. } => {
            return (texts::disruption(&work.values.chart, name, &key(name)), Vec::new());
        }
        Body::NetworkPolicy { .. } => work.selector(&mut object, "/spec/podSelector/matchLabels"),
        Body::Deployment { .. } | Body::StatefulSet { .. } | Body::DaemonSet { .. } => {
            work.selector(&mut object, "/spec/selector/matchLabels");
            work.workload(name, &mut object, "/spec/template");
        }
        Body::Job { .. } => work.workload(name, &mut object, "/spec/template"),
        Body::CronJob { .. } => {
            let at = format!(".Values.{}", key(name));
            object["spec"]["schedule"] =
                work.marks.inline(format!("{{{{ {at}.schedule | quote }}}}"));
            object["spec"]["suspend"] = work.marks.inline(format!("{{{{ {at}.suspend }}}}"));
            work.workload(name, &mut object, "/spec/jobTemplate/spec/template");
        }
        Body::Namespace {} | Body::PersistentVolume { .. } => {}
    }
    (work.marks.render(&object), Vec::new())
}

/// What stands in `app.kubernetes.io/name`.
fn label(entry: &Entry) -> String {
    let label = entry.object.metadata.labels.get("app.kubernetes.io/name");
    label.cloned().unwrap_or_default()
}

/// Names of objects that a pod reads.
fn names_in<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(name) if matches!(key.as_str(), "name" | "secretName") => {
                        found.insert(name);
                    }
                    Some(_) | None => names_in(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names_in(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

struct Work<'a> {
    marks: Marks,
    values: &'a mut Values,
    source: &'a Source<'a>,
}

impl Work<'_> {
    /// Labels of the release in the place of the project's; others stay beside them.
    fn labels(&mut self, object: &mut Value, pointer: &str) {
        self.common(object, pointer, "labels");
    }

    /// The labels that pods are found by.
    fn selector(&mut self, object: &mut Value, pointer: &str) {
        self.common(object, pointer, "selectorLabels");
    }

    fn common(&mut self, object: &mut Value, pointer: &str, helper: &str) {
        let Some(value) = object.pointer_mut(pointer) else { return };
        let Some(labels) = value.as_object().cloned() else { return };
        let name = labels.get("app.kubernetes.io/name").and_then(Value::as_str).unwrap_or_default();
        let chart = &self.values.chart;
        let mut piece = format!(
            "@KEY@:\n  {{{{- include \"{chart}.{helper}\" (dict \"root\" $ \"name\" \"{name}\") | nindent @INDENT@ }}}}"
        );
        for (key, label) in labels.iter().filter(|(key, _)| !key.starts_with("app.kubernetes.io/"))
        {
            let line = plain::yaml(&json!({ key.as_str(): label }));
            piece.push_str(&format!("\n  {}", line.trim_end().replace("{{", "{{ \"{{\" }}")));
        }
        *value = self.marks.line(piece);
    }

    /// Pods of a workload, and how many there are.
    fn workload(&mut self, name: &str, object: &mut Value, template: &str) {
        let own = self.values.container_key(name).map_or_else(|| key(name), str::to_owned);
        let at = format!(".Values.{own}");
        match object["kind"].as_str().unwrap_or_default() {
            "Deployment" => {
                let piece = format!(
                    "{{{{- if not {at}.autoscaling.enabled }}}}\n@KEY@: {{{{ {at}.replicas }}}}\n{{{{- end }}}}"
                );
                // Before the selector, where people look for it.
                let spec = object["spec"].take();
                let mut first = json!({"replicas": self.marks.line(piece)});
                for (key, value) in spec.as_object().into_iter().flatten() {
                    if key != "replicas" {
                        first[key] = value.clone();
                    }
                }
                object["spec"] = first;
            }
            "StatefulSet" if object.pointer("/spec/replicas").is_some() => {
                object["spec"]["replicas"] = self.marks.inline(format!("{{{{ {at}.replicas }}}}"));
            }
            _ => {}
        }
        let claims = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
        let mut claims: Vec<&mut Value> = claims.into_iter().flatten().collect();
        for claim in &mut claims {
            let claim_name = claim.pointer("/metadata/name").and_then(Value::as_str);
            let at = format!(".Values.persistence.{}", key(claim_name.unwrap_or_default()));
            let class = claim.pointer("/spec/storageClassName").cloned();
            self.claim(&mut claim["spec"], &at, class);
            self.selector(claim, "/metadata/labels");
        }
        let Some(template) = object.pointer_mut(template) else { return };
        self.annotations(template, &at);
        self.labels(template, "/metadata/labels");
        self.pod(&mut template["spec"], &at);
    }

    /// Hashes of what the pods read, so that they are replaced when it changes.
    fn annotations(&mut self, template: &mut Value, at: &str) {
        let mut piece = String::from("@KEY@:");
        let annotations = template.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in annotations.into_iter().flatten() {
            let line = plain::yaml(&json!({ key.as_str(): value }));
            let line = line.trim_end().replace('\n', "\n  ").replace("{{", "{{ \"{{\" }}");
            piece.push_str(&format!("\n  {line}"));
        }
        let mut read = BTreeSet::new();
        names_in(&template["spec"], &mut read);
        let mut has_static = annotations.is_some_and(|all| !all.is_empty());
        for entry in &self.source.objects.entries {
            let (_, kind) = entry.object.body.kind();
            let name = &entry.object.metadata.name;
            if matches!(kind, "ConfigMap" | "Secret") && read.contains(name.as_str()) {
                let file = format!("{name}-{}.yaml", kind.to_ascii_lowercase());
                piece.push_str(&format!(
                    "\n  checksum/{}-{name}: {{{{ include (print $.Template.BasePath \"/{file}\") . | sha256sum }}}}",
                    kind.to_ascii_lowercase(),
                ));
                has_static = true;
            }
        }
        let more = format!("{at}.podAnnotations");
        let piece = if has_static {
            format!(
                "{piece}\n{{{{- with {more} }}}}\n  {{{{- toYaml . | nindent @INDENT@ }}}}\n{{{{- end }}}}"
            )
        } else {
            texts::with(&more)
        };
        let labels = template["metadata"]["labels"].take();
        template["metadata"] = json!({"annotations": self.marks.line(piece), "labels": labels});
    }

    fn pod(&mut self, spec: &mut Value, at: &str) {
        let mut first =
            json!({"imagePullSecrets": self.marks.line(texts::with(".Values.imagePullSecrets"))});
        for (key, value) in spec.as_object().into_iter().flatten() {
            if !matches!(key.as_str(), "nodeSelector" | "affinity") {
                first[key] = value.clone();
            }
        }
        first["securityContext"] =
            self.marks.line(texts::with(&format!("{at}.podSecurityContext")));
        for key in ["nodeSelector", "affinity", "tolerations"] {
            first[key] = self.marks.line(texts::with(&format!("{at}.{key}")));
        }
        for list in ["initContainers", "containers"] {
            let containers = first.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                self.container(container);
            }
        }
        let volumes = first.get_mut("volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten() {
            let Some(name) = volume.pointer_mut("/persistentVolumeClaim/claimName") else {
                continue;
            };
            let text = name.as_str().unwrap_or_default().to_owned();
            let has_values = self.source.objects.entries.iter().any(|entry| {
                entry.object.metadata.name == text
                    && matches!(entry.object.body, Body::PersistentVolumeClaim { .. })
            });
            if has_values {
                let at = format!(".Values.persistence.{}", key(&text));
                *name =
                    self.marks.inline(format!("{{{{ {at}.existingClaim | default \"{text}\" }}}}"));
            }
        }
        *spec = first;
    }

    fn container(&mut self, container: &mut Value) {
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        let image = container["image"].as_str().unwrap_or_default().to_owned();
        let chart = self.values.chart.clone();
        let own = self.values.container_key(&name).map(str::to_owned);
        let of_image = own.clone().or_else(|| self.values.image_key(&image).map(str::to_owned));
        let mut first = json!({"name": name});
        if let Some(key) = of_image {
            let at = format!(".Values.{key}.image");
            first["image"] = self.marks.inline(format!(
                "{{{{ include \"{chart}.image\" (dict \"root\" $ \"image\" {at}) | quote }}}}"
            ));
            first["imagePullPolicy"] = self.marks.line(format!(
                "{{{{- with {at}.pullPolicy }}}}\n@KEY@: {{{{ . }}}}\n{{{{- end }}}}"
            ));
        }
        if let Some(own) = &own {
            let piece = texts::with(&format!(".Values.{own}.securityContext"));
            first["securityContext"] = self.marks.line(piece);
        }
        let before = ["command", "args", "workingDir", "stdin", "tty", "ports", "envFrom"];
        let rest = container.as_object().cloned().unwrap_or_default();
        for key in before {
            if let Some(value) = rest.get(key) {
                first[key] = value.clone();
            }
        }
        if let Some(own) = own {
            let at = format!(".Values.{own}");
            first["env"] = self.env(rest.get("env"), &format!("{at}.env"));
            first["resources"] = self.marks.line(texts::with(&format!("{at}.resources")));
        }
        for (key, value) in rest {
            if first.get(&key).is_none() {
                first[key] = value;
            }
        }
        *container = first;
    }

    /// Plain variables from values; those of Secrets stay.
    fn env(&mut self, env: Option<&Value>, at: &str) -> Value {
        let fixed = env.and_then(Value::as_array).into_iter().flatten();
        let fixed: Vec<&Value> = fixed.filter(|item| item.get("valueFrom").is_some()).collect();
        let range = "  {{- range $name, $value := @FROM@ }}\n  - name: {{ $name | quote }}\n    value: {{ tpl \
                     (toString $value) $ | quote }}\n  {{- end }}";
        if fixed.is_empty() {
            let range = range.replace("@FROM@", ".");
            return self
                .marks
                .line(format!("{{{{- with {at} }}}}\n@KEY@:\n{range}\n{{{{- end }}}}"));
        }
        let fixed = plain::yaml(&json!(fixed));
        let fixed = fixed.trim_end().replace('\n', "\n  ");
        let range = range.replace("@FROM@", at);
        self.marks.line(format!("@KEY@:\n{range}\n  {fixed}"))
    }

    fn claim(&mut self, spec: &mut Value, at: &str, class: Option<Value>) {
        spec["accessModes"] = self.marks.line(texts::with(&format!("{at}.accessModes")));
        spec["resources"]["requests"]["storage"] =
            self.marks.inline(format!("{{{{ {at}.size | quote }}}}"));
        // An empty class means that there is none: it is not a wish of somebody's.
        if class != Some(json!("")) {
            let piece = format!(
                "{{{{- with {at}.storageClass }}}}\n@KEY@: {{{{ . | quote }}}}\n{{{{- end }}}}"
            );
            spec["storageClassName"] = self.marks.line(piece);
        }
    }

    /// Settings from files of the chart, or from values.
    fn config_map(
        &mut self,
        name: &str,
        config: &ConfigMap,
        mut object: Value,
    ) -> (String, Vec<File>) {
        if self.values.of_variables.contains(name) {
            let at = format!(".Values.config.{}", key(name));
            object["data"] = self.marks.line(format!(
                "@KEY@:\n  {{{{- range $name, $value := {at} }}}}\n  {{{{ $name | quote }}}}: {{{{ toString $value | quote }}}}\n  {{{{- end }}}}"
            ));
            return (self.marks.render(&object), Vec::new());
        }
        if !config.data.is_empty() {
            let piece = format!(
                "@KEY@:\n  {{{{- (.Files.Glob \"files/{name}/*\").AsConfig | nindent @INDENT@ }}}}"
            );
            object["data"] = self.marks.line(piece);
        }
        let file = |(key, text): (&String, &String)| File {
            path: format!("files/{name}/{key}"),
            text: text.clone(),
        };
        (self.marks.render(&object), config.data.iter().map(file).collect())
    }

    fn secret(&mut self, name: &str, secret: &Secret, mut object: Value) -> String {
        let at = format!(".Values.secrets.{}", key(name));
        let range = |from: &str| {
            format!(
                "@KEY@:\n  {{{{- range $name, $value := {at}.{from} }}}}\n  {{{{ $name | quote }}}}: {{{{ toString $value | quote }}}}\n  {{{{- end }}}}"
            )
        };
        if !secret.string_data.is_empty() {
            object["stringData"] = self.marks.line(range("values"));
        }
        if !secret.data.is_empty() {
            object["data"] = self.marks.line(range("bytes"));
        }
        let text = self.marks.render(&object);
        format!("{{{{- if {at}.create }}}}\n{text}{{{{- end }}}}\n")
    }
}
