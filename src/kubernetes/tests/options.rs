//! What only some ask for: other ways with secrets, Gateways, autoscalers of requests.

use super::rules::{object, text};
use super::*;

/// What a chart with these choices has at a path.
fn chart(project: &Project, options: &Options) -> BTreeMap<String, String> {
    let export = helm(&loaded(project), (None, &[]), &Files::default(), options);
    export.files.into_iter().map(|file| (file.path, file.text)).collect()
}

#[test]
fn left_out_secrets_leave_nothing_that_refers_to_them() {
    let project = project(json!({
        "services": {"web": {"image": "x", "environment": {"DB_PASSWORD": "hunter2hunter2", "A": "1"},
            "secrets": [{"source": "token", "target": "token"}],
            "configs": [{"source": "conf", "target": "/c"}]}},
        "secrets": {"token": {"file": "/src/token"}},
        "configs": {"conf": {"content": "c"}},
    }));
    let files = Files(BTreeMap::from([("/src/token", Found::File(b"s3cr3t".to_vec()))]));
    let options = Options { secrets: Secrets::Omit, ..Options::default() };
    let (objects, notes) = with(&project, &files, &options);
    assert!(objects.keys().all(|name| !name.starts_with("Secret/")), "{:?}", objects.keys());
    let pod = object(&objects, "Deployment/web").to_string();
    for gone in ["hunter2", "DB_PASSWORD", "secretKeyRef", "/run/secrets", "secretName"] {
        assert!(!pod.contains(gone), "{gone}: {pod}");
    }
    assert!(pod.contains("\"mountPath\":\"/c\"") && pod.contains("\"name\":\"A\""), "{pod}");
    let said = |path: &str, words: &str| {
        notes.iter().any(|note| note.path == path && note.reason.contains(words))
    };
    assert!(said("services.web.environment", "`DB_PASSWORD`"), "{notes:?}");
    assert!(said("secrets.token", "`token`"), "{notes:?}");
    let page = export(&loaded(&project), &files, &options).files;
    let page = &page.iter().find(|file| file.path == "MIGRATION.md").unwrap().text;
    assert!(
        page.contains("the container `web` of `web`: `DB_PASSWORD`, `/run/secrets/token`"),
        "{page}"
    );
    assert_valid(&project, &files, &options);
}

#[test]
fn a_gateway_takes_the_place_of_ingresses() {
    let project = project(json!({"services": {"web": {"image": "x", "expose": ["80", "81"],
        "x-ingress": [{"host": ["a.example.org", "b.example.org"], "tls": true},
                      {"host": "c.example.org", "path": "/api", "port": 81}]}}}));
    let gateway = "infra/public".parse().unwrap();
    let options = Options { gateway: Some(gateway), ..Options::default() };
    let (objects, notes) = with(&project, &Files::default(), &options);
    assert!(!objects.contains_key("Ingress/web"));
    let route = object(&objects, "HTTPRoute/web");
    assert_eq!(route["apiVersion"], json!("gateway.networking.k8s.io/v1"));
    assert_eq!(route["spec"]["parentRefs"], json!([{"namespace": "infra", "name": "public"}]));
    assert_eq!(route["spec"]["hostnames"], json!(["a.example.org", "b.example.org"]));
    let rule = |path: &str, port: u16| {
        json!([{"matches": [{"path": {"type": "PathPrefix", "value": path}}],
            "backendRefs": [{"name": "web", "port": port}]}])
    };
    assert_eq!(route["spec"]["rules"], rule("/", 80));
    let other = object(&objects, "HTTPRoute/web-2");
    assert_eq!(other["spec"]["rules"], rule("/api", 81));
    let words = "the certificate is a matter of the Gateway";
    assert!(notes.iter().any(|note| note.reason.contains(words)), "{notes:?}");
    assert_valid(&project, &Files::default(), &options);
    let chart = chart(&project, &options);
    let template = &chart["templates/web-2-httproute.yaml"];
    assert!(template.contains(".Values.web_2.httpRoute") && template.contains("- name: web\n"));
    assert!(chart["values.yaml"].contains("c.example.org"), "{}", chart["values.yaml"]);
    assert!(chart["MIGRATION.md"].contains("- Gateway `infra/public`"));
}

#[test]
fn requests_are_watched_where_that_is_asked_for() {
    let limits = json!({"resources": {"limits": {"cpus": 1, "memory": "512M"}}});
    let project = project(json!({"services": {
        "web": {"image": "x", "deploy": limits},
        "api": {"image": "x", "deploy": limits, "x-autoscale": {"max": 3, "cpu": 70}},
        "both": {"image": "x", "deploy": limits, "x-autoscale": {"max": 3, "cpu": 70, "memory": 70}},
        "once": {"image": "x", "restart": "no"},
        "sized": {"image": "x", "deploy": limits, "x-autoscale": {"vertical": {"apply": true,
            "min": {"memory": "64M"}, "max": {"memory": "1G"}}}},
        "seen": {"image": "x", "x-autoscale": {"vertical": {"max": {"cpus": 1}}}},
    }}));
    let options = Options { vpa: Some(Vpa::InPlace), ..Options::default() };
    let (objects, notes) = with(&project, &Files::default(), &options);
    let spec =
        |name: &str| object(&objects, &format!("VerticalPodAutoscaler/{name}"))["spec"].clone();
    assert_eq!(
        spec("web"),
        json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "updatePolicy": {"updateMode": "InPlaceOrRecreate", "minReplicas": 1},
            "resourcePolicy": {"containerPolicies": [{
                "containerName": "web",
                "controlledResources": ["cpu", "memory"],
                "controlledValues": "RequestsOnly",
                "maxAllowed": {"cpu": "1", "memory": "512Mi"},
            }]},
        })
    );
    // What the number of pods goes by is left to it; where that is all, nothing is changed.
    let policy = "/resourcePolicy/containerPolicies/0/controlledResources";
    assert_eq!(spec("api").pointer(policy), Some(&json!(["memory"])));
    assert_eq!(spec("both").pointer("/updatePolicy"), Some(&json!({"updateMode": "Off"})));
    assert!(notes.iter().any(|note| note.path == "services.both.x-autoscale"), "{notes:?}");
    assert!(!objects.contains_key("VerticalPodAutoscaler/once"));
    // The bounds of the file hold; who does not say `apply` is only watched.
    let policy = "/resourcePolicy/containerPolicies/0";
    assert_eq!(
        spec("sized").pointer(policy),
        Some(&json!({
            "containerName": "sized",
            "controlledResources": ["memory"],
            "controlledValues": "RequestsAndLimits",
            "minAllowed": {"memory": "64Mi"},
            "maxAllowed": {"memory": "1Gi"},
        }))
    );
    assert_eq!(spec("seen").pointer("/updatePolicy"), Some(&json!({"updateMode": "Off"})));
    assert_valid(&project, &Files::default(), &options);
    let chart = chart(&project, &options);
    let template = &chart["templates/web-verticalpodautoscaler.yaml"];
    assert!(template.contains("updateMode: {{ .Values.web.verticalAutoscaling.mode | quote }}"));
    let (objects, _) = super::objects(&project);
    assert!(!objects.contains_key("VerticalPodAutoscaler/web"), "nobody asked for it");
}

#[test]
fn each_time_of_a_job_is_a_cron_job() {
    let job = json!({"image": "x", "triggers": {"schedule": [
        "0 3 * * *",
        {"cron": "0 12 * * 0", "timezone": "Europe/Berlin", "missed_fires": "skip"},
    ]}});
    let project = project(json!({"services": {"a": {"image": "x"}}, "jobs": {"tidy": job}}));
    let (objects, notes) = objects(&project);
    assert_eq!(text(&objects, "CronJob/tidy", "/spec/schedule"), "0 3 * * *");
    assert_eq!(text(&objects, "CronJob/tidy", "/spec/timeZone"), "");
    assert_eq!(text(&objects, "CronJob/tidy-2", "/spec/schedule"), "0 12 * * 0");
    assert_eq!(text(&objects, "CronJob/tidy-2", "/spec/timeZone"), "Europe/Berlin");
    let deadline = object(&objects, "CronJob/tidy-2").pointer("/spec/startingDeadlineSeconds");
    assert_eq!(deadline, Some(&json!(60)));
    let pod = |name: &str| object(&objects, name).pointer("/spec/jobTemplate").cloned();
    assert_eq!(pod("CronJob/tidy"), pod("CronJob/tidy-2"));
    assert!(notes.iter().any(|note| note.path == "jobs.tidy.triggers.schedule"), "{notes:?}");
    assert_valid(&project, &Files::default(), &Options::default());
}

#[test]
fn files_have_their_group_where_that_harms_nothing() {
    let secret = |uid: &str, gid: &str, mode: u32| json!([{"source": "key", "target": "key", "uid": uid, "gid": gid, "mode": mode}]);
    let project = project(json!({
        "services": {
            "a": {"image": "x", "secrets": secret("0", "70", 0o440)},
            "b": {"image": "x", "secrets": secret("999", "", 0o400)},
            "c": {"image": "x", "secrets": secret("999", "999", 0o400),
                  "volumes": [{"type": "volume", "source": "d", "target": "/d"}]},
            "d": {"image": "x", "secrets": secret("postgres", "", 0o444)},
        },
        "secrets": {"key": {"environment": "KEY"}},
        "volumes": {"d": {"name": "app_d"}},
    }));
    let (objects, notes) = objects(&project);
    let group = |name: &str| {
        let pod = object(&objects, &format!("Deployment/{name}"));
        pod.pointer("/spec/template/spec/securityContext/fsGroup").and_then(Value::as_u64)
    };
    assert_eq!((group("a"), group("b"), group("c")), (Some(70), Some(999), None));
    let said = |path: &str| {
        let note = notes.iter().find(|note| note.path == path);
        note.map_or("", |note| note.reason.as_str())
    };
    assert_eq!(said("services.a.secrets"), "", "root's, and the group may read it: as in the file");
    assert!(said("services.b.secrets").contains("the group 999"), "{notes:?}");
    assert!(said("services.c.secrets").contains("belongs to root"), "{notes:?}");
    assert!(said("services.d.secrets.uid").contains("`postgres` is a name"), "{notes:?}");
    let mode = object(&objects, "Deployment/a")
        .pointer("/spec/template/spec/volumes/0/secret/defaultMode");
    assert_eq!(mode, Some(&json!(0o440)));
}

#[test]
fn a_second_secret_file_is_not_looked_for_among_the_settings() {
    let bind = |name: &str| json!({"type": "bind", "source": format!("/src/{name}"), "target": format!("/{name}"), "read_only": true});
    let key = || Found::File(b"-----BEGIN PRIVATE KEY-----\n".to_vec());
    let files = Files(BTreeMap::from([
        ("/src/a.conf", Found::File(b"a".to_vec())),
        ("/src/a.key", key()),
        ("/src/b.key", key()),
    ]));
    let volumes = [bind("a.conf"), bind("a.key"), bind("b.key")];
    let project = project(json!({"services": {"web": {"image": "x", "volumes": volumes}}}));
    let (objects, _) = with(&project, &files, &Options::default());
    let pod = object(&objects, "Deployment/web").pointer("/spec/template/spec").unwrap();
    let volume_of = |path: &str| {
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts.iter().find(|it| it["mountPath"] == path).unwrap()["name"].clone()
    };
    assert_eq!(volume_of("/a.key"), volume_of("/b.key"));
    assert_ne!(volume_of("/a.conf"), volume_of("/b.key"));
    assert_valid(&project, &files, &Options::default());
}
