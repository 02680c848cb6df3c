//! Every row of the table says what the translator does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::samples::{SAMPLES, Sample};
use super::super::*;
use super::{context, project};

/// All keys of a service in the Specification and the schema of Compose 5.
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

/// The keys of each object that has rows for its keys.
const PARTS: &[(&str, &str)] = &[
    ("", "version name include services networks volumes secrets configs models jobs"),
    (
        "networks.*",
        "name driver driver_opts ipam external internal enable_ipv4 enable_ipv6 attachable labels",
    ),
    ("volumes.*", "name driver driver_opts external labels"),
    ("configs.*", "name content environment file external labels template_driver"),
    ("secrets.*", "name environment file external labels driver driver_opts template_driver"),
    (
        "services.*.build",
        "context dockerfile dockerfile_inline entitlements args ssh labels cache_from cache_to \
         no_cache no_cache_filter additional_contexts network provenance sbom pull target shm_size \
         extra_hosts isolation privileged secrets tags ulimits platforms",
    ),
    (
        "services.*.deploy",
        "mode endpoint_mode replicas labels rollback_config update_config resources restart_policy \
         placement",
    ),
    (
        "services.*.deploy.update_config",
        "parallelism delay failure_action monitor max_failure_ratio order",
    ),
    ("services.*.deploy.resources", "limits reservations"),
    ("services.*.deploy.resources.limits", "cpus memory pids"),
    ("services.*.deploy.resources.reservations", "cpus memory generic_resources devices"),
    ("services.*.deploy.restart_policy", "condition delay max_attempts window"),
    ("services.*.deploy.placement", "constraints preferences max_replicas_per_node"),
    ("services.*.configs", "source target uid gid mode"),
    ("services.*.secrets", "source target uid gid mode"),
    ("services.*.depends_on.*", "condition restart required"),
    ("services.*.devices", "source target permissions"),
    ("services.*.healthcheck", "disable interval retries test timeout start_period start_interval"),
    ("services.*.logging", "driver options"),
    (
        "services.*.networks.*",
        "aliases interface_name ipv4_address ipv6_address link_local_ips mac_address driver_opts \
         priority gw_priority",
    ),
    ("services.*.ports", "name mode host_ip target published protocol app_protocol"),
    ("services.*.volumes", "type source target read_only consistency bind volume tmpfs image"),
    ("services.*.volumes.bind", "propagation create_host_path recursive selinux"),
    ("services.*.volumes.volume", "labels nocopy subpath"),
    ("services.*.volumes.tmpfs", "size mode"),
];

/// Keys below these stand in an item of a list.
const LISTS: [&str; 5] = ["ports", "volumes", "configs", "secrets", "devices"];

#[test]
fn every_key_of_the_specification_has_a_row() {
    let keys: Vec<&str> = SERVICE_KEYS.split_whitespace().collect();
    assert_eq!(keys.len(), 93);
    for key in keys {
        assert!(table::row(&format!("services.*.{key}")).is_some(), "`{key}` has no row");
    }
    for (object, keys) in PARTS {
        for key in keys.split_whitespace() {
            let key = format!("{object}.{key}");
            let key = key.trim_start_matches('.');
            assert!(table::row(key).is_some(), "`{key}` has no row");
        }
    }
}

#[test]
fn no_key_has_two_rows_and_none_is_made_up() {
    let mut seen = BTreeSet::new();
    for row in table::rows() {
        assert!(seen.insert(row.key), "`{}` has two rows", row.key);
        let (object, key) = row.key.rsplit_once('.').unwrap_or(("", row.key));
        let known = match object {
            "services.*" => SERVICE_KEYS,
            object => PARTS.iter().find(|(name, _)| *name == object).map_or("", |(_, keys)| keys),
        };
        assert!(known.split_whitespace().any(|known| known == key), "`{}` is no key", row.key);
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

#[test]
fn only_keys_that_are_gone_by_then_are_left_to_the_loader() {
    let loaded = table::rows().filter(|row| row.cluster.by == By::Loader).map(|row| row.key);
    let gone = [
        "include",
        "services.*.env_file",
        "services.*.extends",
        "services.*.label_file",
        "services.*.profiles",
    ];
    assert_eq!(loaded.collect::<Vec<_>>(), gone);
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
            By::Loader | By::Parts | By::Informative => {}
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
            "db": {"image": "y", "networks": {"k": null}},
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
