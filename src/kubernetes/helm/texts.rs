//! Texts of a chart that are the same for every project but for names.

use std::fmt::Write as _;

use super::Source;
use super::values::Values;
use crate::kubernetes::object::{Body, Exec};
use crate::kubernetes::plain;
use serde_json::json;

/// What is no part of a chart.
pub(super) const IGNORED: &str =
    "# Not part of the chart.\n.git/\n.gitignore\nsecrets/\nMIGRATION.md\n.muster-export\n*.tgz\n";

/// `Chart.yaml`.
pub(super) fn chart(chart: &str, project: &str) -> String {
    plain::yaml(&json!({
        "apiVersion": "v2",
        "name": chart,
        "description": format!("The Compose project {project}"),
        "type": "application",
        "version": "0.1.0",
        "kubeVersion": ">=1.29.0-0",
    }))
}

/// Labels and images, as every template has them.
pub(super) fn helpers(chart: &str) -> String {
    r#"{{/* Labels of everything; takes (dict "root" $ "name" "web"). */}}
{{- define "@CHART@.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "@CHART@.selectorLabels" . }}
app.kubernetes.io/part-of: {{ .root.Chart.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* Labels that pods are found by. */}}
{{- define "@CHART@.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* An image; takes (dict "root" $ "image" .Values.web.image). The tag may use other values. */}}
{{- define "@CHART@.image" -}}
{{- $tag := tpl (toString .image.tag) .root -}}
{{ .image.repository }}{{ if $tag }}:{{ $tag }}{{ end }}{{ with .image.digest }}@{{ . }}{{ end }}
{{- end }}
"#
    .replace("@CHART@", chart)
}

/// A key that is left out while its value is empty.
pub(super) fn with(at: &str) -> String {
    format!(
        "{{{{- with {at} }}}}\n@KEY@:\n  {{{{- toYaml . | nindent @INDENT@ }}}}\n{{{{- end }}}}"
    )
}

/// Labels of an object at the top.
pub(super) fn labels(chart: &str, name: &str) -> String {
    format!(
        "{{{{- include \"{chart}.labels\" (dict \"root\" $ \"name\" \"{name}\") | nindent 4 }}}}"
    )
}

/// Requests from outside.
pub(super) fn ingress(name: &str, key: &str, labels: &str) -> String {
    r#"{{- with .Values.@KEY@.ingress }}
{{- if .enabled }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: @NAME@
  labels:
    @LABELS@
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range .hosts }}
    - host: {{ tpl .host $ | quote }}
      http:
        paths:
          {{- range .paths }}
          - path: {{ .path | quote }}
            pathType: Prefix
            backend:
              service:
                name: @NAME@
                port:
                  number: {{ .port }}
          {{- end }}
    {{- end }}
{{- end }}
{{- end }}
"#
    .replace("@KEY@", key)
    .replace("@NAME@", name)
    .replace("@LABELS@", labels)
}

/// Requests from outside, through a Gateway, to a Service.
pub(super) fn route((name, service): (&str, &str), key: &str, labels: &str) -> String {
    r#"{{- with .Values.@KEY@.httpRoute }}
{{- if .enabled }}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: @NAME@
  labels:
    @LABELS@
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs:
    {{- toYaml .parentRefs | nindent 4 }}
  {{- with .hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range .rules }}
    - matches:
        - path:
            type: PathPrefix
            value: {{ .path | quote }}
      backendRefs:
        - name: @SERVICE@
          port: {{ .port }}
    {{- end }}
{{- end }}
{{- end }}
"#
    .replace("@KEY@", key)
    .replace("@NAME@", name)
    .replace("@SERVICE@", service)
    .replace("@LABELS@", labels)
}

/// Keeps all but some pods running while nodes are emptied.
pub(super) fn disruption(chart: &str, name: &str, key: &str) -> String {
    r#"{{- with .Values.@KEY@.podDisruptionBudget }}
{{- if .enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: @NAME@
  labels:
    @LABELS@
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "@CHART@.selectorLabels" (dict "root" $ "name" "@NAME@") | nindent 6 }}
{{- end }}
{{- end }}
"#
    .replace("@KEY@", key)
    .replace("@LABELS@", &labels(chart, name))
    .replace("@NAME@", name)
    .replace("@CHART@", chart)
}

/// How many pods there are, by what they use.
pub(super) fn autoscaler(chart: &str, name: &str, key: &str) -> String {
    r#"{{- with .Values.@KEY@.autoscaling }}
{{- if .enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: @NAME@
  labels:
    @LABELS@
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: @NAME@
  minReplicas: {{ .minReplicas }}
  maxReplicas: {{ .maxReplicas }}
  metrics:
    {{- with .cpu }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
    {{- with .memory }}
    - type: Resource
      resource:
        name: memory
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
"#
    .replace("@KEY@", key)
    .replace("@NAME@", name)
    .replace("@LABELS@", &labels(chart, name))
}

/// Says of secrets that they have no value: what reads them will not work.
const EMPTY_SECRETS: &str = r#"{{- range $object, $secret := .Values.secrets }}
{{- range $name, $value := $secret.values }}
{{- if and $secret.create (not (toString $value)) }}
WARNING: secrets.{{ $object }}.values.{{ $name }} is empty.
{{- end }}
{{- end }}
{{- end }}

"#;

/// What is said after an installation.
pub(super) fn notes(source: &Source<'_>) -> String {
    let mut text = "{{ .Release.Name }} is installed in {{ .Release.Namespace }}.\n\n".to_owned();
    let mut lines = String::new();
    for entry in &source.objects.entries {
        let Body::Service { spec } = &entry.object.body else { continue };
        let Some(port) = spec.ports.first() else { continue };
        let name = &entry.object.metadata.name;
        let published = source.project.services.values().flat_map(|service| &service.ports);
        if published.clone().any(|it| it.target == port.port) {
            let local =
                if port.port < 1024 { u32::from(port.port) + 8000 } else { u32::from(port.port) };
            let _ = writeln!(
                lines,
                "  kubectl -n {{{{ .Release.Namespace }}}} port-forward service/{name} {local}:{}",
                port.port
            );
        }
    }
    if !lines.is_empty() {
        let _ = write!(text, "To reach it from here:\n\n{lines}\n");
    }
    text.push_str(EMPTY_SECRETS);
    let _ = write!(
        text,
        "To see how it is:\n\n  kubectl -n {{{{ .Release.Namespace }}}} get pods -l \
         app.kubernetes.io/instance={{{{ .Release.Name }}}}\n  helm test {{{{ .Release.Name }}}} -n {{{{ \
         .Release.Namespace }}}}\n"
    );
    text
}

/// `helm test`: every Service with a port that is always there can be connected to. It runs in an
/// image of the project that has a shell with connections of its own, or in a small public one.
pub(super) fn test(source: &Source<'_>, chart: &str, values: &Values) -> String {
    let mut checks = Vec::new();
    for entry in &source.objects.entries {
        let Body::Service { spec } = &entry.object.body else { continue };
        let port = spec.ports.iter().find(|port| port.protocol.is_none());
        let guarded = values.guarded((&entry.owners, &[]), "x") != "x";
        if let (Some(port), false) = (port, guarded) {
            checks.push((entry.object.metadata.name.clone(), port.port));
        }
    }
    let lines = checks.iter().map(|(name, port)| format!("nc -z -w 5 {name} {port}"));
    let lines: Vec<String> = lines.collect();
    let line = if lines.is_empty() { "true".to_owned() } else { lines.join(" && ") };
    let exec = Exec { command: vec!["/bin/sh".to_owned(), "-c".to_owned(), line] };
    let command = plain::yaml(&json!({ "command": exec.command })).replace('\n', "\n      ");
    format!(
        r#"apiVersion: v1
kind: Pod
metadata:
  name: "{{{{ .Release.Name }}}}-test-connection"
  labels:
    {labels}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 65534
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: connection
      image: {{{{ .Values.tests.image | quote }}}}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      {command}
"#,
        labels = labels(chart, "test"),
        command = command.trim_end(),
    )
}
