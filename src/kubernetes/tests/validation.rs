//! What the validator finds in manifests of anybody.

use super::super::validate;

/// A Deployment with something in its container and in its pod.
fn deployment(container: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  selector: \
         {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      \
         containers: [{{name: web, image: x{container}}}]\n{pod}"
    )
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = validate(&[("a.yaml".to_owned(), text.to_owned())]);
    let words: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
    if expected.is_empty() {
        assert_eq!(words, [""; 0], "{text}");
    } else {
        assert!(words.iter().any(|word| word.contains(expected)), "{words:?}\n{text}");
    }
}

#[test]
fn pods_are_looked_at() {
    check(&deployment("", ""), "");
    check(&deployment(", env: [{name: A, value: 1}]", ""), "no text: quote it");
    check(&deployment(", env: [{name: A, value: a}, {name: A, value: b}]", ""), "set twice");
    check(&deployment(", env: [{name: A, value: $(B)}]", ""), "uses `$(B)`");
    check(&deployment(", env: [{name: A, value: $$(B)}]", ""), "");
    check(&deployment(", volumeMounts: [{name: v, mountPath: /a}]", ""), "no volume `v`");
    check(&deployment(", resources: {requests: {cpu: 2}, limits: {cpu: 1}}", ""), "more `cpu`");
    check(&deployment(", resources: {limits: {memory: 1gb}}", ""), "no amount");
    check(
        &deployment(", ports: [{containerPort: 80, name: a-name-much-too-long}]", ""),
        "15 characters",
    );
    check(&deployment(", securityContext: {capabilities: {add: [CAP_KILL]}}", ""), "no `CAP_`");
    check(&deployment(", livenessProbe: {periodSeconds: 3}", ""), "one way to ask");
    check(&deployment("", "      restartPolicy: Never\n"), "restart policy `Never`");
    check(
        &deployment("", "      volumes: [{name: v, secret: {secretName: s}}]\n"),
        "no Secret `s`",
    );
    check(
        &deployment("", "      volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]\n"),
        "two volumes",
    );
    check(&deployment("", "").replace("labels: {a: b}", "labels: {a: c}"), "lack the label `a`");
}

#[test]
fn objects_are_looked_at_alone_and_together() {
    let head = |kind: &str, rest: &str| {
        format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n{rest}")
    };
    check(&head("Service", "spec: {selector: {a: b}, ports: [{port: 80}]}"), "finds no pods");
    check(&head("Service", "spec: {ports: []}"), "has to have a port");
    check(&head("Service", "spec: {ports: [{port: 1}, {port: 2}]}"), "each needs a name");
    check(&head("Secret", "data: {a: '###'}"), "not in base64");
    check(&head("ConfigMap", "data: {a/b: x}"), "no key of a ConfigMap");
    check(&head("PersistentVolumeClaim", "spec: {}"), "how much storage");
    check("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}", "no name that this kind takes");
    check("a: [", "no YAML");
    check("not: an object", "");
    let two = format!("{}\n---\n{0}", deployment("", ""));
    check(&two, "is in `a.yaml` as well");
    let scaled = deployment("", "")
        + "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\n\
        metadata: {name: web}\nspec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: web}, metrics: \
        [{resource: {name: cpu, target: {averageUtilization: 80}}}]}\n";
    check(&scaled, "requests no `cpu`");
    let budget = deployment("", "")
        .replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector")
        + "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 2, \
        selector: {matchLabels: {a: b}}}\n";
    check(&budget, "lets no pod be taken away");
}

#[test]
fn routes_requests_and_single_files_are_looked_at() {
    let route = |rest: &str| {
        let head =
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n";
        format!("{head}spec: {rest}")
    };
    check(&route("{rules: []}"), "names no Gateway");
    let parent = "{parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}";
    check(&route(parent), "no Service `s`");
    let service =
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 81}]}\n";
    check(&format!("{}\n{service}", route(parent)), "has no such port");
    check(&format!("{}\n{}", route(parent), service.replace("81", "80")), "");

    let vpa = |policy: &str| {
        format!(
            "{}---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {{name: web}}\n\
             spec: {{targetRef: {{kind: Deployment, name: web}}, resourcePolicy: {{containerPolicies: \
             [{policy}]}}}}\n",
            deployment(", resources: {requests: {cpu: 1}}", "")
        )
    };
    check(&vpa("{containerName: '*'}"), "");
    check(&vpa("{containerName: other}"), "no container `other`");
    check(
        &vpa("").replace("targetRef: {kind: Deployment", "targetRef: {kind: DaemonSet"),
        "no DaemonSet",
    );
    let scaler = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: \
        {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: web}, metrics: [{resource: {name: cpu, target: \
        {averageUtilization: 80}}}]}\n";
    check(&format!("{}{scaler}", vpa("{containerName: web}")), "the two would fight");
    let of_memory = vpa("{containerName: web, controlledResources: [memory]}");
    check(&format!("{of_memory}{scaler}"), "");

    let mounts = ", volumeMounts: [{name: v, mountPath: /a, subPath: key}]";
    let files = deployment(mounts, "      volumes: [{name: v, configMap: {name: c}}]\n");
    let config = |key: &str| {
        format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata: {{{key}: x}}\n")
    };
    check(&format!("{files}{}", config("key")), "");
    check(&format!("{files}{}", config("other")), "has no key `key`");
}
