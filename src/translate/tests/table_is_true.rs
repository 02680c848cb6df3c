//! Every row of the table says what the translator does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::samples::{SAMPLES, Sample};
use super::super::*;
use super::{context, project};
use crate::compose::key_paths;
use crate::docker::api::tests::body_of;

/// All keys of a service in the Specification and the schema of Compose 5, in words of its own: a
/// key that the loader lost would be missed here.
const SERVICE_KEYS: &str = "
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs
    container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime
    cpu_shares cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices
    dns dns_opt dns_search domainname entrypoint env_file environment expose extends external_links
    extra_hosts gpus group_add healthcheck hostname image init ipc isolation label_file labels
    links logging mac_address mem_limit mem_reservation mem_swappiness memswap_limit models
    network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports post_start
    pre_start pre_stop privileged profiles provider pull_policy pull_refresh_after read_only
    restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal
    storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts volumes volumes_from
    working_dir";

/// Keys below these stand in an item of a list.
const LISTS: [&str; 5] = ["ports", "volumes", "configs", "secrets", "devices"];

#[test]
fn every_key_of_a_service_has_a_row_of_its_own() {
    let keys: Vec<&str> = SERVICE_KEYS.split_whitespace().collect();
    assert_eq!(keys.len(), 93);
    for key in keys {
        assert!(table::row(&format!("services.*.{key}")).is_some(), "`{key}` has no row");
    }
}

/// Where the rows of a key's parts end: below, all share the verdict of the row.
#[test]
fn every_key_the_loader_takes_has_a_row_or_shares_one() {
    let paths = key_paths();
    assert!(paths.len() > 300, "only {} paths", paths.len());
    for path in &paths {
        let own = table::row(path);
        let is_covered = |row: &Row| row.cluster.by != By::Parts;
        let mut above = path.match_indices('.').filter_map(|(at, _)| table::row(&path[..at]));
        assert!(own.is_some() || above.any(is_covered), "`{path}` has no row");
    }
}

#[test]
fn no_key_has_two_rows_and_none_is_made_up() {
    let paths = key_paths();
    let mut seen = BTreeSet::new();
    for row in table::rows() {
        assert!(seen.insert(row.key), "`{}` has two rows", row.key);
        assert!(paths.contains(row.key), "`{}` is no key", row.key);
        let has_parts = table::has_parts(row.key);
        assert_eq!(has_parts, row.cluster.by == By::Parts, "`{}` and its parts", row.key);
    }
}

#[test]
fn a_row_that_is_not_plainly_done_says_why() {
    for row in table::rows() {
        let cell = &row.cluster;
        let plain = cell.verdict == Verdict::Done && cell.by != By::Informative;
        assert_eq!(plain, cell.reason.is_empty(), "`{}`", row.key);
        assert!(!cell.reason.ends_with('.'), "`{}` ends with a full stop", row.key);
    }
}

/// Loads a file beside some others and translates it.
fn translated(text: &str) -> Translation {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("compose.yaml", text),
        ("other.yaml", "services: {base: {image: base, user: root}}"),
        ("vars.env", "FROM=file\n"),
        ("labels.env", "from=file\n"),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let options = crate::compose::LoadOptions {
        working_directory: folder.path().to_owned(),
        project_name: Some("app".to_owned()),
        ..crate::compose::LoadOptions::default()
    };
    let loaded = crate::compose::load(&options).unwrap_or_else(|failed| panic!("{failed}"));
    translate(&loaded.project, &context())
}

#[test]
fn what_is_left_to_the_loader_changes_the_revision() {
    const WITHOUT: &str = "services: {web: {image: x}}";
    let cases = [
        ("include", "include: [other.yaml]\nservices: {web: {image: x}}"),
        ("services.*.env_file", "services: {web: {image: x, env_file: vars.env}}"),
        (
            "services.*.extends",
            "services: {web: {image: x, extends: {file: other.yaml, service: base}}}",
        ),
        ("services.*.label_file", "services: {web: {image: x, label_file: labels.env}}"),
        ("services.*.profiles", "services: {web: {image: x, profiles: [off]}, db: {image: x}}"),
    ];
    let rows = table::rows().filter(|row| row.cluster.by == By::Loader).map(|row| row.key);
    assert_eq!(rows.collect::<Vec<_>>(), cases.map(|(key, _)| key));
    let without = translated(WITHOUT);
    for (key, text) in cases {
        let with = translated(text);
        assert!(with.revision.deployments != without.revision.deployments, "`{key}`");
        assert_eq!(with.notes, [], "`{key}`");
        assert_eq!(with.refusals, [], "`{key}`");
    }
    let of = |text: &str| translated(text).revision.deployments;
    let web = ServiceName::new("web");
    assert_eq!(of(cases[1].1)[&web].container.environment["FROM"], "file");
    assert_eq!(of(cases[2].1)[&web].container.user.as_deref(), Some("root"));
    assert_eq!(of(cases[3].1)[&web].container.labels["from"], "file");
    assert!(!of(cases[4].1).contains_key(&web));
    assert!(of(cases[0].1).contains_key(&ServiceName::new("base")));
}

#[test]
fn every_row_does_what_it_says() {
    for row in table::rows() {
        let sample = SAMPLES.iter().find(|sample| sample.0 == row.key);
        let cell = &row.cluster;
        let is_seen = matches!(cell.by, By::Revision | By::Build) || cell.verdict != Verdict::Done;
        assert_eq!(is_seen, sample.is_some(), "`{}` and its sample", row.key);
        let Some(sample) = sample else { continue };
        let with = translate(&with_key(sample, true), &context());
        let without = translate(&with_key(sample, false), &context());
        match cell.by {
            By::Revision => {
                assert!(with.revision != without.revision, "`{}` changes nothing", row.key);
            }
            By::Build => assert!(with.builds != without.builds, "`{}` changes nothing", row.key),
            By::Loader | By::Parts | By::Informative | By::Objects => {}
        }
        let said = |translation: &Translation| {
            let notes = translation.notes.iter().chain(&translation.refusals);
            let mut notes = notes.filter(|note| note.reason == cell.reason);
            notes.any(|note| note.verdict == cell.verdict)
        };
        let is_done = cell.verdict == Verdict::Done;
        assert_eq!(said(&with), !is_done, "`{}`: {:?}", row.key, with.notes);
        assert!(!said(&without), "`{}` is noted when it is absent", row.key);
        if cell.verdict != Verdict::Refused {
            assert_eq!(with.refusals, [], "`{}`", row.key);
        }
    }
}

#[test]
fn every_key_has_a_kubernetes_cell_that_is_true() {
    let mut n_checked = 0;
    let mut wrong = Vec::new();
    for row in table::rows().filter(|row| row.cluster.by != By::Parts) {
        let cell = table::kubernetes(row.key).unwrap_or_else(|| panic!("`{}`", row.key));
        assert!(!cell.reason.ends_with('.'), "`{}` ends with a full stop", row.key);
        assert_ne!(cell.verdict, Verdict::Refused, "`{}`: an export refuses nothing", row.key);
        let Some(sample) = SAMPLES.iter().find(|sample| sample.0 == row.key) else { continue };
        let (with, notes) = crate::kubernetes::tests::objects(&with_key(sample, true));
        let (without, notes_without) = crate::kubernetes::tests::objects(&with_key(sample, false));
        let is_true = match (cell.verdict, cell.by) {
            (Verdict::Done, By::Objects) => with != without || notes != notes_without,
            (Verdict::Done, _) => continue,
            (verdict, _) => {
                let mut new = notes.iter().filter(|note| !notes_without.contains(note));
                new.any(|note| note.reason == cell.reason && note.verdict == verdict)
            }
        };
        n_checked += 1;
        if !is_true {
            wrong.push(row.key);
        }
    }
    assert_eq!(wrong, [""; 0], "lost in silence");
    assert!(n_checked > 120, "only {n_checked} keys were looked at");
}

/// Keys that change the container, but not the call that makes it: who carries them out instead.
const NOT_IN_THE_CALL: [(&str, &str); 6] = [
    ("services.*.configs.", "files are written into the container before it starts"),
    ("services.*.secrets.", "the same"),
    ("services.*.post_start", "the agent runs it in the container"),
    ("services.*.pre_start", "the agent makes containers of its own for it"),
    ("services.*.pull_policy", "the agent asks for the image"),
    ("services.*.deploy.resources.reservations.cpus", "the scheduler counts it"),
];

#[test]
fn what_changes_a_container_reaches_docker() {
    let mut n_checked = 0;
    let mut missing = Vec::new();
    for sample in SAMPLES.iter().filter(|sample| sample.0.starts_with("services.*.")) {
        let row = table::row(sample.0).unwrap();
        if row.cluster.by != By::Revision {
            continue;
        }
        let container = |is_set| {
            let revision = translate(&with_key(sample, is_set), &context()).revision;
            revision.deployments[&ServiceName::new("web")].container.clone()
        };
        let (with, without) = (container(true), container(false));
        if with == without {
            continue; // The Deployment has it: replicas, ports, names.
        }
        n_checked += 1;
        let is_excused = NOT_IN_THE_CALL.iter().any(|(key, _)| sample.0.starts_with(key));
        if (body_of(with) == body_of(without)) != is_excused {
            missing.push(sample.0);
        }
    }
    assert_eq!(missing, [""; 0]);
    assert!(n_checked > 80, "only {n_checked} keys change a container");
}

/// A project in which the key of the sample is set, or all is the same but for that key.
fn with_key(sample: &Sample, is_set: bool) -> Project {
    let (key, value, siblings) = sample;
    let mut object: Map<String, Value> = serde_json::from_str(siblings).unwrap();
    let names: Vec<&str> = key.split('.').collect();
    let (last, above) = names.split_last().unwrap();
    if is_set {
        object.insert((*last).to_owned(), serde_json::from_str(value).unwrap());
    }
    let mut root = template();
    place(&mut root, above, object);
    project(root)
}

/// Uses one object of each kind, all named `k`.
fn template() -> Value {
    json!({
        "name": "app",
        "services": {
            "web": {
                "networks": {"k": null},
                "volumes": [{"type": "volume", "source": "k", "target": "/k"}],
                "configs": [{"source": "k"}],
                "secrets": [{"source": "k"}],
            },
            "k": {"image": "x", "networks": {"k": null}},
            "db": {
                "image": "y",
                "networks": {"k": null},
                "volumes": [{"type": "volume", "source": "k", "target": "/d"}],
            },
        },
        "networks": {"k": {}},
        "volumes": {"k": {}},
        "configs": {"k": {"content": "c"}},
        "secrets": {"k": {"environment": "S"}},
    })
}

/// Puts `object` where `path` leads. It replaces what is there, but the project and the service,
/// which it extends.
fn place(root: &mut Value, path: &[&str], object: Map<String, Value>) {
    let mut at = root;
    for (depth, name) in path.iter().enumerate() {
        let name = match *name {
            "*" if depth == 1 && path[0] == "services" => "web",
            "*" => "k",
            name => name,
        };
        at = &mut at[name];
        if name == "schedule" {
            *at = json!([{}]);
            at = &mut at[0];
        }
        if depth == 2 && path[0] == "services" && LISTS.contains(&name) {
            // A mount needs its kind and place before its options.
            let kind = path.get(depth + 1).copied().unwrap_or("volume");
            let source = if kind == "bind" { "/a" } else { "k" };
            let item = match name {
                "volumes" if path.len() > depth + 1 => {
                    json!({"type": kind, "source": source, "target": "/b"})
                }
                _ => json!({}),
            };
            *at = json!([item]);
            at = &mut at[0];
        }
    }
    let extends = path.is_empty() || path == ["services", "*"];
    if !extends {
        *at = json!({});
    }
    for (key, value) in object {
        at[key] = value;
    }
}
