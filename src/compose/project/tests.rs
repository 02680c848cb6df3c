//! What the reference prints can be read, and is printed alike.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

#[track_caller]
fn round_trip(service: Value) {
    let canonical = json!({"name": "p", "services": {"web": service}});
    let project = Project::from_canonical(canonical.clone()).unwrap();
    assert_eq!(serde_json::to_value(&project).unwrap(), canonical);
}

#[test]
fn canonical_services_survive_unchanged() {
    round_trip(json!({"image": "x", "command": ["a", "b"], "entrypoint": []}));
    round_trip(json!({"environment": {"A": "1", "UNSET": null}}));
    round_trip(json!({"networks": {"default": null, "n": {"aliases": ["a"], "priority": 10}}}));
    round_trip(json!({"healthcheck": {"test": ["CMD-SHELL", "x"], "interval": "1m30s",
        "timeout": "500ms", "start_period": "2h0m0s", "retries": 3}}));
    round_trip(json!({"healthcheck": {"disable": true}}));
    round_trip(json!({"ports": [{"mode": "ingress", "host_ip": "127.0.0.1", "target": 80,
        "published": "8080", "protocol": "tcp"}]}));
    round_trip(json!({"volumes": [{"type": "bind", "source": "/a", "target": "/b",
        "bind": {"create_host_path": false, "selinux": "z"}}]}));
    round_trip(json!({"volumes": [{"type": "tmpfs", "target": "/t",
        "tmpfs": {"size": "1073741824", "mode": 493}}]}));
    round_trip(json!({"depends_on": {"db": {"condition": "service_healthy", "restart": true,
        "required": false}}}));
    round_trip(json!({"ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 65535}}));
    round_trip(json!({"configs": [{"source": "c", "target": "/t", "uid": "1", "mode": "0440"}]}));
    round_trip(json!({"deploy": {"replicas": 2, "resources": {"limits": {"cpus": 0.5,
        "memory": "52428800", "pids": 7}, "reservations": {"devices": [{"capabilities": ["gpu"],
        "count": -1}]}}, "restart_policy": {"condition": "on-failure", "window": "2m0s"},
        "placement": {"preferences": [{"spread": "node.labels.zone"}]}}}));
    round_trip(json!({"memswap_limit": "-1", "mem_swappiness": "10", "blkio_config":
        {"weight_device": [{"Path": "/dev/a", "Weight": 400}],
        "device_read_bps": [{"Path": "/dev/b", "Rate": "1024"}]}}));
    round_trip(json!({"build": {"context": "/c", "args": {"A": "b", "C": null}, "pull": true}}));
}

#[test]
fn keys_without_a_field_are_kept() {
    round_trip(json!({"credential_spec": {"file": "a"}, "x-mine": {"a": 1}}));
    round_trip(json!({"healthcheck": {"x-why": "because"}}));
}

#[test]
fn numbers_written_as_texts_are_read() {
    let text = json!({"cpus": "0.5", "mem_limit": "64m", "shm_size": 64,
        "configs": [{"source": "c", "mode": 288}]});
    let service: Service = serde_json::from_value(text).unwrap();
    assert_eq!(service.cpus, Some(0.5));
    assert_eq!(service.mem_limit, Some(64 << 20));
    assert_eq!(service.shm_size, Some(64));
    assert_eq!(service.configs[0].mode, Some(0o440));
}

#[test]
fn durations_are_read_and_written_as_go_does() {
    let cases = [
        ("1m30s", 90_000_000_000, "1m30s"),
        ("0", 0, "0s"),
        ("1.5h", 5_400_000_000_000, "1h30m0s"),
        ("500ms", 500_000_000, "500ms"),
        ("2d", 172_800_000_000_000, "48h0m0s"),
        ("1.5s", 1_500_000_000, "1.5s"),
        ("10us", 10_000, "10µs"),
        ("7ns", 7, "7ns"),
    ];
    for (text, nanos, printed) in cases {
        assert_eq!(parse_duration(text), Some(Duration::from_nanos(nanos)), "{text}");
        assert_eq!(format_duration(Duration::from_nanos(nanos)), printed);
    }
    for text in ["", "5", "s", "-1s", "1x", "99999999999h", "."] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
}

#[test]
fn sizes_are_multiples_of_1024() {
    let cases = [
        ("512", 512),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("1.5GB", 3 << 29),
        ("1 GiB", 1 << 30),
        ("2b", 2),
    ];
    for (text, bytes) in cases {
        assert_eq!(parse_bytes(text), Some(bytes), "{text}");
    }
    for text in ["", "m", "1x", "-1", "99999999999999999999"] {
        assert_eq!(parse_bytes(text), None, "{text}");
    }
}
