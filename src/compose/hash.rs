//! The hash of what makes a service's container what it is, as Docker Compose counts it: a container
//! whose hash is another one is replaced.
//!
//! It is the SHA-256 of the service as compact JSON, with keys in a fixed order. What does not change
//! a container is left out: how the image comes about, how many containers there are, and on what
//! they wait.

use data_encoding::HEXLOWER;
use serde_json::{Map as JsonMap, Value as Json};
use sha2::{Digest, Sha256};

use super::print::{PrintError, unescaped_json_model};
use super::project::Project;

/// Keys of a service in the order in which they are hashed. Those that are absent here do not count.
const SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "develop",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroup",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "cpu_shares",
    "command",
    "configs",
    "container_name",
    "credential_spec",
    "deploy",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "provider",
    "environment",
    "env_file",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "group_add",
    "gpus",
    "hostname",
    "healthcheck",
    "image",
    "init",
    "ipc",
    "isolation",
    "labels",
    "label_file",
    "links",
    "logging",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "mem_swappiness",
    "mac_address",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "privileged",
    "read_only",
    "restart",
    "runtime",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
    "pre_start",
    "post_start",
    "pre_stop",
    "pull_refresh_after",
];

/// Keys of a step before the start; a container like a service's, with one key more.
const STEP: &[&str] = &[
    "annotations",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroup",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "cpu_shares",
    "command",
    "configs",
    "credential_spec",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "environment",
    "env_file",
    "extra_hosts",
    "group_add",
    "gpus",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "labels",
    "label_file",
    "logging",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "mem_swappiness",
    "mac_address",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "privileged",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "runtime",
    "secrets",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
    "per_replica",
];

/// Keys of the objects inside, in order, by the end of their path; `*` is any item or key. Every
/// other mapping has its keys sorted.
const INSIDE: &[(&str, &[&str])] = &[
    (
        "blkio_config",
        &[
            "weight",
            "weight_device",
            "device_read_bps",
            "device_read_iops",
            "device_write_bps",
            "device_write_iops",
        ],
    ),
    ("blkio_config.*.*", &["Path", "Weight", "Rate"]),
    ("configs.*", &["source", "target", "uid", "gid", "mode"]),
    ("credential_spec", &["config", "file", "registry"]),
    (
        "deploy",
        &[
            "mode",
            "labels",
            "update_config",
            "rollback_config",
            "resources",
            "restart_policy",
            "placement",
            "endpoint_mode",
        ],
    ),
    ("deploy.placement", &["constraints", "preferences", "max_replicas_per_node"]),
    ("deploy.resources", &["limits", "reservations"]),
    ("deploy.resources.*", &["cpus", "memory", "pids", "devices", "generic_resources"]),
    ("deploy.resources.*.devices.*", &["capabilities", "driver", "count", "device_ids", "options"]),
    ("deploy.restart_policy", &["condition", "delay", "max_attempts", "window"]),
    ("deploy.rollback_config", UPDATE),
    ("deploy.update_config", UPDATE),
    ("develop.watch.*", &["path", "action", "target", "exec", "include", "ignore", "initial_sync"]),
    ("develop.watch.*.exec", HOOK),
    ("devices.*", &["source", "target", "permissions"]),
    ("env_file.*", &["path", "required", "format"]),
    ("gpus.*", &["capabilities", "driver", "count", "device_ids", "options"]),
    (
        "healthcheck",
        &["test", "timeout", "interval", "retries", "start_period", "start_interval", "disable"],
    ),
    ("logging", &["driver", "options"]),
    (
        "networks.*",
        &[
            "aliases",
            "driver_opts",
            "gw_priority",
            "interface_name",
            "ipv4_address",
            "ipv6_address",
            "link_local_ips",
            "mac_address",
            "priority",
        ],
    ),
    ("ports.*", &["name", "mode", "host_ip", "target", "published", "protocol", "app_protocol"]),
    ("post_start.*", HOOK),
    ("pre_start.*", STEP),
    ("pre_stop.*", HOOK),
    ("provider", &["type", "options"]),
    ("secrets.*", &["source", "target", "uid", "gid", "mode"]),
    ("ulimits.*", &["single", "soft", "hard"]),
    (
        "volumes.*",
        &[
            "type",
            "source",
            "target",
            "read_only",
            "consistency",
            "bind",
            "volume",
            "tmpfs",
            "image",
        ],
    ),
    ("volumes.*.bind", &["selinux", "propagation", "create_host_path", "recursive"]),
    ("volumes.*.tmpfs", &["size", "mode"]),
];

const UPDATE: &[&str] =
    &["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"];
const HOOK: &[&str] = &["command", "user", "privileged", "working_dir", "environment"];

/// The hash of each service that runs, by name, in the order of the names.
///
/// # Errors
/// Never for a project that was loaded.
pub fn service_hash(project: &Project) -> Result<Vec<(String, String)>, PrintError> {
    let mut model = unescaped_json_model(project)?;
    let services = model.get_mut("services").map(Json::take);
    let Some(Json::Object(services)) = services else { return Ok(Vec::new()) };
    let mut hashes: Vec<(String, String)> = services
        .into_iter()
        .map(|(name, service)| {
            let mut text = String::new();
            write(&service, &mut Vec::new(), &mut text);
            (name, HEXLOWER.encode(&Sha256::digest(text)))
        })
        .collect();
    hashes.sort();
    Ok(hashes)
}

/// Writes compact JSON. The depth is that of a loaded file, which is bounded.
fn write<'v>(value: &'v Json, path: &mut Vec<&'v str>, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) => match number.as_f64().filter(|it| it.fract() == 0.0) {
            // A whole number has no point.
            Some(whole) if number.is_f64() => out.push_str(&format!("{whole}")),
            Some(_) | None => out.push_str(&number.to_string()),
        },
        Json::String(text) => write_text(text, out),
        Json::Array(items) => {
            path.push("*");
            separated(items.iter(), ['[', ']'], out, |item, out| write(item, path, out));
            path.pop();
        }
        Json::Object(map) => {
            let pairs = in_order(map, path);
            separated(pairs.into_iter(), ['{', '}'], out, |(key, value), out| {
                write_text(key, out);
                out.push(':');
                path.push(key);
                write(value, path, out);
                path.pop();
            });
        }
    }
}

fn separated<T>(
    items: impl Iterator<Item = T>,
    [open, close]: [char; 2],
    out: &mut String,
    mut each: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(close);
}

/// The keys of an object in the order of its table, or of a mapping sorted.
fn in_order<'v>(map: &'v JsonMap<String, Json>, path: &[&str]) -> Vec<(&'v String, &'v Json)> {
    let table = match path {
        [] => Some(SERVICE),
        path => INSIDE.iter().find(|(pattern, _)| fits(pattern, path)).map(|(_, keys)| *keys),
    };
    match table {
        Some(keys) => keys.iter().filter_map(|key| map.get_key_value(*key)).collect(),
        None => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            pairs
        }
    }
}

/// Whether a pattern is a path of a service, or of a step before its start.
fn fits(pattern: &str, path: &[&str]) -> bool {
    let path = match path {
        ["pre_start", "*", rest @ ..] if !rest.is_empty() => rest,
        path => path,
    };
    let mut keys = pattern.split('.');
    let all = path.iter().all(|key| keys.next().is_some_and(|it| it == "*" || it == *key));
    all && keys.next().is_none()
}

/// A text in quotes. What means something to HTML is escaped too, as Go does.
fn write_text(text: &str, out: &mut String) {
    for c in Json::from(text).to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        let mut out = String::new();
        write(&serde_json::from_str(json).unwrap(), &mut Vec::new(), &mut out);
        out
    }

    #[test]
    fn keys_have_an_order_and_some_do_not_count() {
        let json = r#"{"image":"a","build":{},"scale":3,"command":null,"x-y":1}"#;
        assert_eq!(text(json), r#"{"command":null,"image":"a"}"#);
        let json = r#"{"ports":[{"target":80,"mode":"host"}],"labels":{"b":"1","a":"2"}}"#;
        assert_eq!(
            text(json),
            r#"{"labels":{"a":"2","b":"1"},"ports":[{"mode":"host","target":80}]}"#
        );
        let json =
            r#"{"pre_start":[{"image":"a","command":null,"ulimits":{"n":{"hard":2,"soft":1}}}]}"#;
        let step = r#"{"command":null,"image":"a","ulimits":{"n":{"soft":1,"hard":2}}}"#;
        assert_eq!(text(json), format!(r#"{{"pre_start":[{step}]}}"#));
    }

    #[test]
    fn texts_and_numbers_are_written_as_go_does() {
        assert_eq!(
            text(r#"{"cpus":2.0,"cpu_percent":0.5,"image":"<a & \"b\">\n\u0001ü"}"#),
            r#"{"cpu_percent":0.5,"cpus":2,"image":"\u003ca \u0026 \"b\"\u003e\n\u0001ü"}"#
        );
    }

    #[test]
    fn the_tables_are_of_keys_that_exist() {
        let known = |key: &&str| super::super::schema::SERVICE.key(key).is_some();
        assert!(SERVICE.iter().all(known));
        let absent = super::super::schema::SERVICE.names().filter(|key| !SERVICE.contains(key));
        assert_eq!(
            absent.collect::<Vec<_>>(),
            ["pull_policy", "build", "depends_on", "profiles", "scale"]
        );
    }
}
