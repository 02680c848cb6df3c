//! What a project becomes, where more than one room decides it.

use super::*;

/// The object, which has to be there.
#[track_caller]
pub(super) fn object<'a>(objects: &'a BTreeMap<String, Value>, name: &str) -> &'a Value {
    let names: Vec<&String> = objects.keys().collect();
    objects.get(name).unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
}

#[track_caller]
pub(super) fn text<'a>(objects: &'a BTreeMap<String, Value>, name: &str, pointer: &str) -> &'a str {
    object(objects, name).pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

const POD: &str = "/spec/template/spec";

#[test]
fn each_kind_of_service_has_its_workload() {
    let project = project(json!({
        "services": {
            "web": {"image": "nginx", "ports": [{"target": 80, "published": "8080"}]},
            "db": {"image": "postgres:16", "volumes": [{"type": "volume", "source": "d", "target": "/d"}]},
            "agent": {"image": "a", "deploy": {"mode": "global"}},
            "once": {"image": "a", "restart": "no", "command": ["true"]},
        },
        "volumes": {"d": {"name": "app_d"}},
        "jobs": {"nightly": {"image": "a", "triggers": {"schedule": ["30 0 3 * * *"]}},
                 "by-hand": {"image": "a", "triggers": {"manual": true}}},
    }));
    let (objects, notes) = objects(&project);
    let seconds = "jobs.nightly.triggers.schedule.cron";
    assert!(notes.iter().any(|note| note.path == seconds), "{notes:?}");
    let concurrency = text(&objects, "CronJob/nightly", "/spec/concurrencyPolicy");
    assert_eq!(concurrency, "Forbid");
    for name in [
        "Deployment/web",
        "StatefulSet/db",
        "DaemonSet/agent",
        "Job/once",
        "CronJob/nightly",
        "CronJob/by-hand",
        "Service/web",
        "Service/db",
    ] {
        object(&objects, name);
    }
    assert_eq!(text(&objects, "CronJob/nightly", "/spec/schedule"), "0 3 * * *");
    assert_eq!(object(&objects, "CronJob/by-hand").pointer("/spec/suspend"), Some(&json!(true)));
    assert_eq!(text(&objects, "Service/db", "/spec/clusterIP"), "None");
    assert_eq!(object(&objects, "Service/web").pointer("/spec/ports/0/port"), Some(&json!(80)));
    let once = object(&objects, "Job/once");
    assert_eq!(once.pointer("/spec/backoffLimit"), Some(&json!(0)));
    assert_valid(&project, &Files::default(), &Options::default());
}

#[test]
fn healthy_and_completed_are_waited_for_without_foreign_images() {
    let project = project(json!({"services": {
        "web": {"image": "web:1", "depends_on": {
            "api": {"condition": "service_healthy"},
            "db": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }},
        "api": {"image": "api:1", "expose": ["80"], "healthcheck": {"test": ["CMD-SHELL", "true"]}},
        "migrate": {"image": "api:1", "command": ["migrate"], "depends_on": {
            "db": {"condition": "service_healthy"}}},
        "db": {"image": "postgres:16", "volumes": [{"type": "volume", "source": "d", "target": "/d"}],
            "healthcheck": {"test": ["CMD", "pg_isready"]}},
    }, "volumes": {"d": {}}}));
    let (objects, notes) = objects(&project);
    let inits = object(&objects, "Deployment/web").pointer(&format!("{POD}/initContainers"));
    let inits = inits.and_then(Value::as_array).unwrap();
    let names: Vec<&str> = inits.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["wait-for-api", "wait-for-db", "migrate"]);
    let images: Vec<&str> = inits.iter().filter_map(|it| it["image"].as_str()).collect();
    assert_eq!(images, ["api:1", "postgres:16", "api:1"]);
    assert_eq!(text(&objects, "Service/api-ready", "/spec/clusterIP"), "None");
    assert!(!objects.contains_key("Job/migrate") && !objects.contains_key("Role/web"));
    assert!(notes.iter().any(|note| note.path == "services.migrate"));
    assert_valid(&project, &Files::default(), &Options::default());
}

#[test]
fn nothing_waits_with_a_shell_that_may_not_be_there() {
    let project = project(json!({"services": {
        "web": {"image": "web:1", "depends_on": {"api": {"condition": "service_healthy"}}},
        "api": {"image": "api:1", "healthcheck": {"test": ["CMD", "/api", "health"]}},
    }}));
    let (objects, notes) = objects(&project);
    let inits = object(&objects, "Deployment/web").pointer(&format!("{POD}/initContainers"));
    assert_eq!(inits, None);
    assert!(notes.iter().any(|note| note.path == "services.web.depends_on.api.condition"));
}

#[test]
fn secrets_stand_apart_and_dollars_arrive() {
    let project = project(json!({"services": {"web": {"image": "x", "environment": {
        "DB_PASSWORD": "hunter2hunter2", "GREETING": "$(date) $$", "PLAIN": "$HOME",
        "DSN": "host=db password=hunter2hunter2",
    }}}}));
    let (objects, _) = objects(&project);
    let env = object(&objects, "Deployment/web").pointer(&format!("{POD}/containers/0/env"));
    let env = env.and_then(Value::as_array).unwrap();
    let value = |name: &str| env.iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!(value("GREETING")["value"], json!("$$(date) $$$$"));
    assert_eq!(value("PLAIN")["value"], json!("$HOME"));
    assert_eq!(value("DB_PASSWORD")["valueFrom"]["secretKeyRef"]["key"], json!("DB_PASSWORD"));
    assert!(value("DSN")["valueFrom"].is_object(), "it holds another's password");
    let secret = object(&objects, "Secret/web");
    assert_eq!(secret["stringData"]["DB_PASSWORD"], json!("hunter2hunter2"));
}

#[test]
fn binds_are_judged_by_what_is_there() {
    let files = Files(BTreeMap::from([
        ("/src/nginx.conf", Found::File(b"server { proxy_pass http://api:9000; }\n".to_vec())),
        ("/src/tls.key", Found::File(b"-----BEGIN PRIVATE KEY-----\n".to_vec())),
        ("/src/init", Found::Folder(vec![("a/b.sql".to_owned(), b"select 1;".to_vec())])),
        ("/src/bin", Found::File(vec![0, 159, 146, 150])),
        ("/src/big", Found::LargeFile),
    ]));
    let bind =
        |source: &str, target: &str| json!({"type": "bind", "source": source, "target": target});
    let project = project(json!({"services": {
        "web": {"image": "nginx", "volumes": [
            bind("/src/nginx.conf", "/etc/nginx/nginx.conf"), bind("/src/tls.key", "/tls.key"),
            bind("/src/init", "/docker-entrypoint-initdb.d"), bind("/src/data", "/data"),
            bind("/src/bin", "/bin/x"), bind("/src/big", "/big"),
            bind("/var/run/docker.sock", "/var/run/docker.sock"),
            bind("/etc/localtime", "/etc/localtime"),
        ]},
        "api": {"image": "api"},
    }}));
    let (objects, notes) = with(&project, &files, &Options::default());
    let config = object(&objects, "ConfigMap/web-files");
    assert!(config["data"]["nginx.conf"].as_str().unwrap().contains("proxy_pass"));
    assert_eq!(config["binaryData"]["bin"], json!("AJ+Slg=="));
    assert!(object(&objects, "Secret/web-files")["stringData"]["tls.key"].is_string());
    assert_eq!(object(&objects, "ConfigMap/web-init")["data"]["a-b.sql"], json!("select 1;"));
    object(&objects, "PersistentVolumeClaim/web-data");
    object(&objects, "PersistentVolumeClaim/web-big");
    // Somebody calls it in a file.
    assert_eq!(object(&objects, "Service/api").pointer("/spec/ports/0/port"), Some(&json!(9000)));
    assert!(notes.iter().any(|note| note.reason.contains("/etc/localtime")));
    let volumes = object(&objects, "Deployment/web").pointer(&format!("{POD}/volumes")).unwrap();
    assert!(volumes.to_string().contains("\"hostPath\":{\"path\":\"/var/run/docker.sock\""));
    assert_valid(&project, &files, &Options::default());
}

#[test]
fn claims_are_shared_only_where_several_mount_them() {
    let volume = |source: &str| json!([{"type": "volume", "source": source, "target": "/v"}]);
    let project = project(json!({"services": {
        "a": {"image": "x", "volumes": volume("one")},
        "b": {"image": "x", "volumes": volume("two")},
        "c": {"image": "x", "volumes": volume("two")},
        "d": {"image": "x", "volumes": volume("three"), "deploy": {"replicas": 2}},
    }, "volumes": {"one": {}, "two": {}, "three": {}}}));
    let (objects, _) = objects(&project);
    let mode = |name: &str| {
        text(&objects, &format!("PersistentVolumeClaim/{name}"), "/spec/accessModes/0")
    };
    assert_eq!(
        (mode("one"), mode("two"), mode("three")),
        ("ReadWriteOnce", "ReadWriteMany", "ReadWriteMany")
    );
    assert_eq!(text(&objects, "Deployment/a", "/spec/strategy/type"), "Recreate");
    assert_eq!(text(&objects, "Deployment/b", "/spec/strategy/type"), "");
    object(&objects, "PodDisruptionBudget/d");
}

#[test]
fn names_that_are_none_are_changed_where_they_are_called() {
    let project = project(json!({"services": {
        "My_App": {"image": "x", "environment": {"DB_HOST": "my_db", "URL": "postgres://my_db:5432/my_db"}},
        "my_db": {"image": "postgres:16"},
    }}));
    let (objects, notes) = objects(&project);
    let env =
        object(&objects, "Deployment/my-app").pointer(&format!("{POD}/containers/0/env")).unwrap();
    assert_eq!(env[0]["value"], json!("my-db"));
    assert_eq!(env[1]["value"], json!("postgres://my-db:5432/my_db"));
    assert!(notes.iter().any(|note| note.reason.contains("`my_db` is called `my-db`")));
    assert_valid(&project, &Files::default(), &Options::default());
}

#[test]
fn services_with_one_network_share_a_pod() {
    let project = project(json!({"services": {
        "vpn": {"image": "vpn", "ports": [{"target": 8080, "published": "8080"}]},
        "app": {"image": "app", "network_mode": "service:vpn"},
    }}));
    let (objects, _) = objects(&project);
    let containers = object(&objects, "Deployment/vpn").pointer(&format!("{POD}/containers"));
    assert_eq!(containers.and_then(Value::as_array).unwrap().len(), 2);
    assert!(!objects.contains_key("Deployment/app"));
}

#[test]
fn hard_input_gives_valid_objects() {
    let long = "a".repeat(253);
    let ports: Vec<Value> = (1..=300)
        .map(|n| json!({"target": n, "published": n.to_string(), "protocol": "udp"}))
        .collect();
    let project = project(json!({"services": {
        long.clone(): {"image": "x", "ports": ports, "labels": {"größe": "1", "a": "x".repeat(100)}},
        "größe": {"image": "x", "hostname": "Big.Host_Name", "extra_hosts": ["A_b:1.2.3.4", "c=::1"]},
        "日本": {"image": "x", "environment": {"ключ": "1", "A": "\u{1}"}, "stop_signal": "SIGRTMIN+3"},
        "-": {"image": "x", "cpus": 0.0001, "mem_limit": "1", "user": "someone"},
        "0": {"image": "x", "security_opt": ["no-new-privileges:true"], "privileged": true},
    }}));
    for options in [
        Options::default(),
        Options {
            publish: Publish::LoadBalancer,
            network_policies: true,
            namespace: Some("n".to_owned()),
            ..Options::default()
        },
        Options { secrets: Secrets::External, publish: Publish::NodePort, ..Options::default() },
        Options { secrets: Secrets::Stub, ..Options::default() },
    ] {
        assert_valid(&project, &Files::default(), &options);
    }
}

#[test]
fn routes_come_from_labels_of_proxies() {
    let project =
        project(json!({"services": {"web": {"image": "x", "expose": ["3000"], "labels": {
            "traefik.enable": "true",
            "traefik.http.routers.web.rule": "Host(`shop.example.org`) && PathPrefix(`/a`)",
            "traefik.http.routers.web.tls": "true",
        }}}}));
    let (objects, _) = objects(&project);
    let rule = object(&objects, "Ingress/web").pointer("/spec/rules/0").unwrap();
    assert_eq!(rule["host"], json!("shop.example.org"));
    assert_eq!(rule["http"]["paths"][0]["backend"]["service"]["port"]["number"], json!(3000));
    assert_valid(&project, &Files::default(), &Options::default());
}

#[test]
fn equal_input_gives_equal_output() {
    let project = project(json!({"services": {
        "b": {"image": "x", "environment": {"A_TOKEN": "abcdef", "B": "1"}}, "a": {"image": "y"}}}));
    let once = || export(&loaded(&project), &Files::default(), &Options::default());
    assert_eq!(once().files, once().files);
}

#[test]
fn an_autoscaler_is_made_of_what_the_cluster_reads() {
    let service = |rules: Value| {
        let web = json!({"image": "a", "cpus": "0.5", "x-autoscale": rules});
        objects(&project(json!({"services": {"web": web}})))
    };
    let (found, notes) = service(json!({"min": 2, "max": 6, "cpu": 70}));
    let scaler = object(&found, "HorizontalPodAutoscaler/web");
    let target = json!({"type": "Utilization", "averageUtilization": 70});
    assert_eq!(scaler.pointer("/spec/metrics/0/resource/target"), Some(&target));
    assert_eq!(scaler.pointer("/spec/minReplicas"), Some(&json!(2)));
    assert!(!notes.iter().any(|note| note.path.contains("x-autoscale")), "{notes:?}");
    // What needs an adapter is said, and the rest is done.
    let queue = json!({"json": "http://queue/", "path": "jobs", "per_replica": 10});
    let behavior = json!({"down": {"window": "1m"}});
    let rules = json!({"min": 0, "max": 6, "cpu": 70, "metrics": [queue], "behavior": behavior});
    let (found, notes) = service(rules);
    let scaler = object(&found, "HorizontalPodAutoscaler/web");
    assert_eq!(scaler.pointer("/spec/minReplicas"), Some(&json!(1)));
    assert_eq!(scaler.pointer("/spec/metrics/1"), None);
    let said: Vec<&str> = notes
        .iter()
        .filter(|note| note.path == "services.web.x-autoscale")
        .map(|note| note.reason.as_str())
        .collect();
    for words in ["`jobs` is no use of a resource", "windows and steps", "keeps one pod"] {
        assert!(said.iter().any(|reason| reason.contains(words)), "{words}: {said:?}");
    }
    // Without anything that pods use there is none, and the number of the file stays.
    for rules in [json!({"max": 6, "metrics": [queue]}), json!({"min": 7, "max": 6})] {
        let (found, _) = service(rules);
        assert!(!found.contains_key("HorizontalPodAutoscaler/web"));
        assert_eq!(object(&found, "Deployment/web").pointer("/spec/replicas"), Some(&json!(1)));
    }
    // Larger pods are not its business.
    let vertical = json!({"apply": true, "max": {"memory": "1G"}});
    let (found, notes) = service(json!({"vertical": vertical}));
    assert!(!found.contains_key("HorizontalPodAutoscaler/web"));
    let note = notes.iter().find(|note| note.path == "services.web.x-autoscale.vertical");
    assert!(note.is_some_and(|note| note.reason.contains("keep what they request")), "{notes:?}");
}

#[test]
fn a_step_of_a_service_that_is_off_runs_alone() {
    let web = json!({"image": "web", "profiles": ["shop"], "depends_on": {
        "migrate": {"condition": "service_completed_successfully"}}});
    let migrate = json!({"image": "web", "command": ["migrate"], "volumes": [
        {"type": "volume", "source": "data", "target": "/d"}]});
    let all = json!({"web": web, "migrate": migrate});
    let volumes = json!({"data": {"name": "app_data"}});
    let all = project(json!({"services": all, "volumes": volumes}));
    // Without the profile, the service that waits still says that it ends.
    let mut off = all.clone();
    let web = off.services.shift_remove("web").unwrap();
    off.disabled_services.insert("web".to_owned(), web);
    let (objects, _) = objects(&off);
    object(&objects, "Job/migrate");
    assert!(!objects.contains_key("Service/migrate"));
    // A chart has both: one with the profile, the other without it.
    let chart = helm(&loaded(&all), (None, &[]), &Files::default(), &Options::default());
    let file = |name: &str| {
        let path = format!("templates/{name}.yaml");
        chart.files.iter().find(|file| file.path == path).map(|file| file.text.clone())
    };
    let (job, web) = (file("migrate-job").unwrap(), file("web-deployment").unwrap());
    assert!(job.contains("{{- if not (.Values.profiles.shop) }}"), "{job}");
    assert!(web.contains("{{- if .Values.profiles.shop }}") && web.contains("name: migrate"));
    let claim = file("data-persistentvolumeclaim").unwrap();
    assert!(!claim.contains("profiles"), "either needs it: {claim}");
    // With the profile on for good there is one.
    let (objects, _) = super::objects(&all);
    assert!(!objects.contains_key("Job/migrate"));
}

#[test]
fn how_often_a_step_of_others_was_to_run_is_said() {
    let web = json!({"image": "web", "depends_on": {
        "migrate": {"condition": "service_completed_successfully"}}});
    let migrate =
        json!({"image": "web", "scale": 2, "deploy": {"mode": "replicated-job", "replicas": 2}});
    let (_, notes) = objects(&project(json!({"services": {"web": web, "migrate": migrate}})));
    for key in ["scale", "deploy.mode", "deploy.replicas"] {
        let path = format!("services.migrate.{key}");
        let said = notes.iter().any(|note| note.path == path && note.reason.contains("runs once"));
        assert!(said, "{path} in {notes:?}");
    }
}

#[test]
fn a_job_of_no_replicas_waits_and_what_is_none_is_said() {
    let once =
        |replicas: u32| json!({"image": "x", "restart": "no", "deploy": {"replicas": replicas}});
    let web = json!({"image": "x", "expose": ["web"], "security_opt": ["label=disabled"]});
    let services = json!({"off": once(0), "one": once(1), "two": once(2), "web": web});
    let (objects, notes) = objects(&project(json!({"services": services})));
    let pods = |job: &str| {
        let spec = &object(&objects, job)["spec"];
        ["parallelism", "completions"].map(|key| spec.get(key).and_then(Value::as_u64))
    };
    assert_eq!(pods("Job/off"), [Some(0), None]);
    assert_eq!(pods("Job/one"), [None, None]);
    assert_eq!(pods("Job/two"), [Some(2), Some(2)]);
    for key in ["expose", "security_opt"] {
        let path = format!("services.web.{key}");
        assert!(notes.iter().any(|note| note.path == path), "{path} in {notes:?}");
    }
}

#[test]
fn a_port_of_the_node_that_nobody_names_is_said() {
    let project = project(json!({"services": {"web": {"image": "x", "ports": [
        {"target": 80, "mode": "host"}, {"target": 81, "published": "8081", "mode": "host"}]}}}));
    let (objects, notes) = objects(&project);
    let port = |n: usize| {
        let at = format!("{POD}/containers/0/ports/{n}/hostPort");
        object(&objects, "Deployment/web").pointer(&at).and_then(Value::as_u64)
    };
    assert_eq!((port(0), port(1)), (None, Some(8081)));
    let said = notes.iter().filter(|note| note.path == "services.web.ports.mode");
    let said: Vec<&str> = said.map(|note| note.reason.as_str()).collect();
    assert_eq!(said, ["no port of the node is opened for 80: none is named"]);
}
