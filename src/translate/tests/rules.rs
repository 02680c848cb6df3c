//! The rules that are more than a copy, as small cases.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::super::*;
use super::{context, project, web};
use crate::model::{
    Affinity, Ask, Canary, Concurrency, Condition, Constraint, Deployment, EndpointMode,
    FailureAction, Gang, Life, MissedFires, MountSource, NetworkName, PortMode, Protocol,
    PublishedPort, Replicas, Resources, RestartPolicy, ServiceName, UpdatePolicy,
};

/// The Deployment of `web`, which must be without refusal.
#[track_caller]
fn deployment(service: Value) -> Deployment {
    let translation = translate(&web(service), &context());
    assert_eq!(translation.refusals, []);
    translation.revision.deployments[&ServiceName::new("web")].clone()
}

/// Paths and verdicts of all notes and refusals, in that order.
#[track_caller]
fn said(service: Value) -> Vec<String> {
    let translation = translate(&web(service), &context());
    let notes = translation.notes.iter().chain(&translation.refusals);
    notes.map(|note| format!("{} {}", note.verdict, note.path)).collect()
}

#[test]
fn restart_says_how_often_again() {
    let no_limit = RestartPolicy::OnFailure { max_attempts: None };
    let three = RestartPolicy::OnFailure { max_attempts: Some(3) };
    let cases = [
        (json!({}), RestartPolicy::Always),
        (json!({"restart": "always"}), RestartPolicy::Always),
        (json!({"restart": "unless-stopped"}), RestartPolicy::Always),
        (json!({"restart": "no"}), RestartPolicy::Never),
        (json!({"restart": "on-failure"}), no_limit),
        (json!({"restart": "on-failure:3"}), three),
        (json!({"restart": "no", "deploy": {"restart_policy": {}}}), RestartPolicy::Always),
        (json!({"deploy": {"restart_policy": {"condition": "none"}}}), RestartPolicy::Never),
        (
            json!({"deploy": {"restart_policy": {"condition": "on-failure", "max_attempts": 3}}}),
            three,
        ),
        (
            json!({"deploy": {"restart_policy": {"condition": "unless-stopped"}}}),
            RestartPolicy::Always,
        ),
        (json!({"deploy": {"mode": "replicated-job"}}), no_limit),
    ];
    for (service, expected) in cases {
        assert_eq!(deployment(service.clone()).restart, expected, "{service}");
    }
    assert_eq!(said(json!({"restart": "sometimes"})), ["refused services.web.restart"]);
}

#[test]
fn a_job_runs_all_its_replicas_at_once_to_their_end_as_often_as_it_may() {
    let job = |mode: &str| {
        deployment(json!({"deploy": {
            "mode": mode, "replicas": 4, "restart_policy": {"max_attempts": 2},
        }}))
    };
    for (mode, replicas) in
        [("replicated-job", Replicas::Count(4)), ("global-job", Replicas::Global)]
    {
        let job = job(mode);
        assert_eq!((job.life, job.replicas), (Life::OneShot, replicas), "{mode}");
        assert_eq!(job.restart, RestartPolicy::OnFailure { max_attempts: Some(2) });
        assert_eq!((job.update.parallelism, job.update.start_first), (0, Some(false)));
        assert_eq!(said(json!({"deploy": {"mode": mode}})), [""; 0], "nothing is approximated");
    }
    assert_eq!(job("replicated").life, Life::Endless);
}

#[test]
fn a_service_that_others_wait_for_to_end_is_a_one_shot() {
    let translation = translate(
        &project(json!({"name": "app", "services": {
            "migrate": {"image": "x"},
            "web": {"image": "x", "depends_on":
                {"migrate": {"condition": "service_completed_successfully"}}},
        }})),
        &context(),
    );
    let deployments = &translation.revision.deployments;
    assert_eq!(deployments[&ServiceName::new("migrate")].restart, RestartPolicy::Never);
    let web = &deployments[&ServiceName::new("web")];
    assert_eq!(web.restart, RestartPolicy::Always);
    let dependency = web.depends_on[&ServiceName::new("migrate")];
    assert_eq!(dependency.condition, Condition::CompletedSuccessfully);
}

#[test]
fn replicas_come_from_deploy_then_scale() {
    assert_eq!(deployment(json!({})).replicas, Replicas::Count(1));
    assert_eq!(deployment(json!({"scale": 2})).replicas, Replicas::Count(2));
    assert_eq!(deployment(json!({"deploy": {"replicas": 0}})).replicas, Replicas::Count(0));
    assert_eq!(deployment(json!({"deploy": {"mode": "global"}})).replicas, Replicas::Global);
    let dnsrr = deployment(json!({"deploy": {"endpoint_mode": "dnsrr"}}));
    assert_eq!(dnsrr.endpoint_mode, EndpointMode::Dnsrr);
}

#[test]
fn a_client_stays_with_a_replica_when_the_file_says_so() {
    for (value, affinity) in [("client", Affinity::Client), ("none", Affinity::None)] {
        assert_eq!(deployment(json!({"x-affinity": value})).affinity, affinity);
    }
    assert_eq!(deployment(json!({})).affinity, Affinity::None);
    for value in [json!("clients"), json!(true), json!({"by": "client"})] {
        assert_eq!(said(json!({"x-affinity": value})), ["refused services.web.x-affinity"]);
    }
}

#[test]
fn an_update_goes_as_the_file_says_and_is_undone_when_it_fails() {
    let update = |config: Value| deployment(json!({"deploy": {"update_config": config}})).update;
    assert_eq!(update(json!({})), UpdatePolicy::default());
    assert_eq!(UpdatePolicy::default().failure_action, FailureAction::Rollback);
    let all = update(json!({
        "parallelism": 2, "delay": "3s", "order": "stop-first", "monitor": "20s",
        "max_failure_ratio": 0.3, "failure_action": "continue",
    }));
    let expected = UpdatePolicy {
        parallelism: 2,
        delay_ms: 3_000,
        start_first: Some(false),
        monitor_ms: Some(20_000),
        max_failure_ratio: 0.3,
        failure_action: FailureAction::Continue,
        canary: None,
        drain_ms: None,
    };
    assert_eq!(all, expected);
    let back = |config: Value| deployment(json!({"deploy": {"rollback_config": config}})).rollback;
    assert_eq!(back(json!({"parallelism": 0})).map(|policy| policy.parallelism), Some(0));
    assert_eq!(back(json!({"monitor": "1s"})).unwrap().failure_action, FailureAction::Pause);
    assert_eq!(deployment(json!({})).rollback, None);
    for (part, key, value) in [
        ("update_config", "order", json!("sideways")),
        ("update_config", "failure_action", json!("explode")),
        ("update_config", "max_failure_ratio", json!(1.5)),
        ("update_config", "max_failure_ratio", json!(-1)),
        ("rollback_config", "failure_action", json!("rollback")),
    ] {
        let refused = format!("refused services.web.deploy.{part}.{key}");
        assert_eq!(said(json!({"deploy": {part: {key: value}}})), [refused]);
    }
}

#[test]
fn a_canary_is_a_number_or_a_percentage() {
    let canary = |value: Value| deployment(json!({"x-rollout": {"canary": value}})).update.canary;
    assert_eq!(canary(json!("10%")), Some(Canary::Percent(10)));
    assert_eq!(canary(json!(2)), Some(Canary::Count(2)));
    assert_eq!(canary(json!("3")), Some(Canary::Count(3)));
    let both = deployment(json!({"x-rollout": {"canary": 1, "drain": "1m30s"}})).update;
    assert_eq!((both.canary, both.drain_ms), (Some(Canary::Count(1)), Some(90_000)));
    for value in [
        json!({"drain": "soon"}),
        json!({"drain": 20}),
        json!({"canary": 0}),
        json!({"canary": "0%"}),
        json!({"canary": "101%"}),
        json!({"canary": "some"}),
        json!({"canary": true}),
        json!({}),
        json!("10%"),
        json!({"canary": 1, "speed": 2}),
    ] {
        assert_eq!(
            said(json!({"x-rollout": value})),
            ["refused services.web.x-rollout"],
            "{value}"
        );
    }
}

#[test]
fn ports_are_listened_on_as_the_file_says() {
    let port = |published, target| PublishedPort {
        host_ip: None,
        published,
        target,
        protocol: Protocol::Tcp,
        mode: PortMode::Ingress,
    };
    let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let cases = [
        (json!({"target": 80, "published": "8080"}), port(8080, 80)),
        (
            json!({"target": 80, "published": "8080", "host_ip": "0.0.0.0"}),
            PublishedPort { host_ip: Some(Ipv4Addr::UNSPECIFIED.into()), ..port(8080, 80) },
        ),
        (
            json!({"target": 80, "published": "8080", "host_ip": "[::1]"}),
            PublishedPort { host_ip: Some(Ipv6Addr::LOCALHOST.into()), ..port(8080, 80) },
        ),
        (
            json!({"target": 80, "published": "8080", "protocol": "sctp"}),
            PublishedPort { protocol: Protocol::Sctp, ..port(8080, 80) },
        ),
        (
            json!({"target": 80, "published": "8080", "host_ip": "127.0.0.1", "protocol": "udp"}),
            PublishedPort { host_ip: loopback, protocol: Protocol::Udp, ..port(8080, 80) },
        ),
        (
            json!({"target": 80, "published": "8080", "mode": "host"}),
            PublishedPort { mode: PortMode::Host, ..port(8080, 80) },
        ),
        (json!({"target": 80, "published": "8000-8010"}), port(8000, 80)),
    ];
    for (given, expected) in cases {
        assert_eq!(deployment(json!({"ports": [given]})).ports, [expected], "{given}");
    }
}

#[test]
fn ports_that_cannot_be_listened_on_are_said() {
    let without = deployment(json!({"ports": [{"target": 9000}]}));
    assert_eq!((without.ports, without.container.expose), (vec![], vec!["9000/tcp".to_owned()]));
    assert_eq!(said(json!({"ports": [{"target": 9000}]})), ["approximated services.web.ports"]);
    let dccp = json!({"ports": [{"target": 80, "published": "80", "protocol": "dccp"}]});
    assert_eq!(said(dccp), ["refused services.web.ports.protocol"]);
    let sctp = json!({"target": 80, "published": "80", "protocol": "sctp", "host_ip": "::1"});
    assert_eq!(said(json!({"ports": [sctp]})), ["refused services.web.ports.host_ip"]);
    let host = json!({"ports": [{"target": 80, "published": "80"}], "network_mode": "host"});
    assert_eq!(said(host.clone()), ["ignored services.web.ports"]);
    assert_eq!(deployment(host).ports, []);
}

#[test]
fn two_services_cannot_listen_on_one_port() {
    let published = |web: Value, db: Value| {
        let project = project(json!({"name": "app", "services":
            {"web": {"image": "x", "ports": [web]}, "db": {"image": "x", "ports": [db]}}}));
        translate(&project, &context()).refusals.into_iter().map(|n| n.path).collect::<Vec<_>>()
    };
    let port = || json!({"target": 80, "published": "80"});
    let on = |ip: &str| json!({"target": 80, "published": "80", "host_ip": ip});
    let local = || json!({"target": 80, "published": "80", "mode": "host"});
    assert_eq!(published(port(), port()), ["services.web.ports"]);
    assert_eq!(published(port(), on("127.0.0.1")), ["services.web.ports"]);
    assert_eq!(published(local(), port()), ["services.web.ports"]);
    assert_eq!(published(on("127.0.0.1"), on("127.0.0.2")), [""; 0]);
    assert_eq!(published(on("0.0.0.0"), on("127.0.0.2")), ["services.web.ports"]);
    assert_eq!(published(on("0.0.0.0"), on("::")), [""; 0]);
    assert_eq!(published(on("::1"), on("::")), ["services.web.ports"]);
    assert_eq!(published(port(), on("::1")), ["services.web.ports"]);
    assert_eq!(published(local(), local()), [""; 0]);
    let twice =
        json!({"ports": [{"target": 1, "published": "80"}, {"target": 2, "published": "80"}]});
    assert_eq!(said(twice), ["refused services.web.ports"]);
    assert_eq!(said(json!({"ports": [port(), port()]})), [""; 0]);
    assert_eq!(said(json!({"ports": [port(), on("::"), on("0.0.0.0")]})), [""; 0]);
    assert_eq!(said(json!({"ports": [port(), on("::1")]})), ["refused services.web.ports"]);
}

#[test]
fn a_service_joins_the_default_network_or_those_it_names() {
    let names = |service| -> Vec<String> {
        deployment(service).networks.keys().map(NetworkName::to_string).collect()
    };
    assert_eq!(names(json!({})), ["default"]);
    assert_eq!(names(json!({"networks": {"a": null, "b": null}})), ["a", "b"]);
    assert_eq!(names(json!({"network_mode": "bridge"})), ["default"]);
    assert_eq!(names(json!({"network_mode": "none"})), [""; 0]);
    assert_eq!(said(json!({"network_mode": "container:x"})), ["refused services.web.network_mode"]);
    let unknown = translate(&web(json!({"network_mode": "hst"})), &context()).refusals;
    assert_eq!(unknown[0].reason, "`hst` is neither a mode nor a network of the project");
    let networks = translate(&web(json!({})), &context()).revision.networks;
    assert_eq!(networks[&NetworkName::new("default")].name, "app_default");
}

#[test]
fn further_names_never_hide_another_service() {
    let aliases = |service| {
        let networks = translate(&web(service), &context()).revision.deployments;
        let of = |name: &str| {
            networks[&ServiceName::new(name)].networks[&NetworkName::new("default")].aliases.clone()
        };
        (of("web"), of("db"))
    };
    let none: Vec<String> = Vec::new();
    let named = aliases(json!({"container_name": "front"}));
    assert_eq!(named, (vec!["front".to_owned()], none.clone()));
    assert_eq!(aliases(json!({"container_name": "db"})), (none.clone(), none.clone()));
    let linked = aliases(json!({"links": ["db:database", "db"]}));
    assert_eq!(linked, (none.clone(), vec!["database".to_owned()]));
    assert_eq!(aliases(json!({"links": ["db:web"]})), (none.clone(), none));
}

#[test]
fn names_that_dns_or_programs_do_not_take_are_said() {
    let long = "x".repeat(64);
    let services = json!({
        "my_web": {"image": "x"},
        "web": {"image": "x", "hostname": "a b", "container_name": "z".repeat(64)},
        (long.as_str()): {"image": "x"},
    });
    let translation = translate(&project(json!({"name": "app", "services": services})), &context());
    assert_eq!(translation.refusals, []);
    let said = |note: &Note| format!("{} {}: {}", note.verdict, note.path, note.reason);
    let said: Vec<String> = translation.notes.iter().map(said).collect();
    let form = crate::logic::names::host_form(&long).unwrap();
    assert_eq!(
        said,
        [
            "approximated services.web.container_name: other services reach it by this name; in \
             Docker each replica has a name of its own"
                .to_owned(),
            "done services.my_web: found by its name, and as `my-web` by programs that take only \
             host names (RFC 1123)"
                .to_owned(),
            format!(
                "ignored services.web.container_name: nothing finds `{0}`: a part of it is longer than 63 \
                 bytes; `{1}` would be found",
                "z".repeat(64),
                crate::logic::names::host_form(&"z".repeat(64)).unwrap()
            ),
            "ignored services.web.hostname: nothing finds `a b`: only letters, digits, `-` and `_` \
             can be in it; `a-b` would be found"
                .to_owned(),
            format!(
                "approximated services.{long}: DNS cannot have the name: a part of it is longer than \
                 63 bytes; the service is found as `{form}`"
            ),
        ]
    );
}

/// What is refused of `db` at an address on `back`, and with what; and where the cluster reaches it.
fn at(address: &str, back: Value, web: Value) -> (Vec<String>, Option<String>) {
    let services = json!({
        "web": web,
        "db": {"image": "x", "networks": {"back": {"ipv4_address": address}}},
    });
    let value = json!({"name": "app", "services": services, "networks": {"back": back}});
    let translation = translate(&project(value), &context());
    let fixed = translation.revision.deployments[&ServiceName::from("db")].networks
        [&NetworkName::from("back")]
        .fixed;
    let refusals = translation.refusals.iter();
    let refusals = refusals.map(|note| format!("{}: {}", note.path, note.reason)).collect();
    (refusals, fixed.map(|at| at.to_string()))
}

#[test]
fn a_fixed_address_is_a_further_one_of_the_service() {
    let subnet = json!({"ipam": {"config": [{"subnet": "172.20.0.0/24"}]}});
    for web in [
        json!({"image": "x", "networks": {"back": {}}, "environment": {"DB": "http://172.20.0.5/"}}),
        json!({"image": "x", "network_mode": "service:db", "command": ["serve", "172.20.0.5"]}),
        json!({"image": "x", "environment": {"DB": "db"}}),
    ] {
        for back in [&subnet, &json!({}), &json!({"external": true})] {
            let found = at("172.20.0.5", back.clone(), web.clone());
            assert_eq!(found, (vec![], Some("172.20.0.5".to_owned())), "{web} {back}");
        }
    }
}

#[test]
fn a_fixed_address_that_nobody_could_reach_is_refused() {
    let subnet =
        json!({"ipam": {"config": [{"subnet": "172.20.0.0/24", "gateway": "172.20.0.1"}]}});
    let plain = json!({"image": "x", "networks": {"back": {}}});
    let twin = json!({"image": "x", "networks": {"back": {"ipv4_address": "172.20.0.5"}}});
    let outside = json!({"image": "x", "extra_hosts": ["store=172.20.0.5"]});
    let asks = json!({"image": "x", "dns": ["172.20.0.5"]});
    for (address, web, reason) in [
        ("172.20.1.5", &plain, "not in `172.20.0.0/24`"),
        ("172.20.0.0", &plain, "not in `172.20.0.0/24`"),
        ("172.20.0.1", &plain, "the gateway"),
        ("127.0.0.1", &plain, "no address of a container"),
        ("172.20.0", &plain, "not an IPv4 address"),
        ("172.20.0.5", &twin, "the address of `web` on `back` already"),
        ("172.20.0.5", &outside, "`services.web.extra_hosts` uses it without being on it"),
        ("172.20.0.5", &asks, "`services.web.dns` uses it without being on it"),
    ] {
        let (refusals, _) = at(address, subnet.clone(), web.clone());
        let [refusal] = refusals.as_slice() else { panic!("{address} {web}: {refusals:?}") };
        assert!(refusal.contains(reason), "{refusal}");
    }
    let spread = json!({"image": "x", "networks": {"back": {"ipv4_address": "172.20.0.6"}},
                        "deploy": {"endpoint_mode": "dnsrr"}});
    let (refusals, _) = at("172.20.0.5", subnet, spread);
    assert!(refusals[0].contains("the service has no address"), "{refusals:?}");
}

#[test]
fn name_servers_are_those_that_the_resolver_can_ask() {
    let with = |dns: Value| {
        let value = json!({"name": "app", "services": {"web": {"image": "x", "dns": dns}}});
        let translation = translate(&project(value), &context());
        let web = &translation.revision.deployments[&ServiceName::from("web")];
        let servers: Vec<String> = web.name_servers.iter().map(ToString::to_string).collect();
        assert!(web.container.dns.is_empty(), "the container asks muster");
        (servers, translation.notes.len(), translation.refusals.len())
    };
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(with(json!(["9.9.9.9", "fd00::1"])), (owned(&["9.9.9.9", "fd00::1"]), 0, 0));
    assert_eq!(with(json!(["127.0.0.1", "9.9.9.9"])), (owned(&["9.9.9.9"]), 1, 0));
    assert_eq!(with(json!(["a.example"])), (vec![], 0, 1));
}

#[test]
fn a_missing_dependency_is_refused_unless_it_may_be_missing() {
    let needs = |required: bool| json!({"depends_on": {"gone": {"condition": "service_started", "required": required}}});
    assert_eq!(said(needs(true)), ["refused services.web.depends_on.gone"]);
    assert_eq!(said(needs(false)), ["ignored services.web.depends_on.gone"]);
    assert_eq!(deployment(needs(false)).depends_on, BTreeMap::new());
}

#[test]
fn a_variable_without_a_value_is_left_out_and_said() {
    let service = json!({"environment": {"A": "1", "UNSET": null}});
    let environment = deployment(service.clone()).container.environment;
    assert_eq!(environment, BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    assert_eq!(said(service), ["approximated services.web.environment"]);
}

#[test]
fn binds_hold_a_service_to_one_host() {
    let bind = json!({"volumes": [{"type": "bind", "source": "/srv", "target": "/data"}]});
    assert_eq!(said(bind.clone()), ["approximated services.web.volumes"]);
    let source = deployment(bind).container.mounts[0].source.clone();
    let expected = MountSource::Bind {
        path: "/srv".to_owned(),
        create: true,
        propagation: None,
        recursive: None,
        selinux: None,
    };
    assert_eq!(source, expected);
}

#[test]
fn replicas_that_share_a_volume_are_said_to_be_together() {
    let mounts = |deploy: Value| {
        let volume = json!({"type": "volume", "source": "data", "target": "/data"});
        let service = json!({"volumes": [volume], "deploy": deploy});
        let notes = translate(&web(service), &context()).notes;
        notes.into_iter().map(|note| note.reason).collect::<Vec<_>>()
    };
    assert_eq!(mounts(json!({})), [""; 0]);
    let together = "`data`: all 3 replicas run on the host that has the volume";
    assert_eq!(mounts(json!({"replicas": 3})), [together]);
    assert_eq!(mounts(json!({"mode": "global"})), ["`data`: each host has a volume of its own"]);
}

#[test]
fn nobody_waits_for_a_service_without_replicas() {
    let project = project(json!({"name": "app", "services": {
        "web": {"image": "x", "depends_on": {"db": {"condition": "service_healthy"}}},
        "db": {"image": "x", "scale": 0},
    }}));
    let translation = translate(&project, &context());
    let web = &translation.revision.deployments[&ServiceName::new("web")];
    assert_eq!(web.depends_on, BTreeMap::new());
    let paths: Vec<&str> = translation.notes.iter().map(|note| note.path.as_str()).collect();
    assert_eq!(paths, ["services.web.depends_on.db"]);
}

#[test]
fn short_memory_file_systems_keep_their_options() {
    let mounts = deployment(json!({"tmpfs": ["/run:size=64m,mode=1777,ro,exec"]})).container.mounts;
    assert_eq!((mounts[0].target.as_str(), mounts[0].read_only), ("/run", true));
    let options = vec!["exec".to_owned()];
    let expected = MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o1777), options };
    assert_eq!(mounts[0].source, expected);
}

#[test]
fn deploy_resources_win_over_the_older_keys() {
    let service = json!({"cpus": 1.5, "mem_limit": "1m", "pids_limit": -1, "deploy": {"resources":
        {"limits": {"memory": "2m"}, "reservations": {"cpus": "0.0001", "memory": "1k"}}}});
    let expected = Resources {
        cpu_limit_millis: Some(1500),
        memory_limit: Some(2 << 20),
        pids_limit: None,
        cpu_reserved_millis: 1,
        memory_reserved: 1024,
        cpu_shares: None,
    };
    assert_eq!(deployment(service).container.resources, expected);
}

#[test]
fn constraints_are_read_or_said() {
    let one = |text: &str| json!({"deploy": {"placement": {"constraints": [text]}}});
    let constraint = |attribute: &str, equal, value: &str| Constraint {
        attribute: attribute.to_owned(),
        equal,
        value: value.to_owned(),
    };
    let cases = [
        ("node.labels.disk == ssd", vec![constraint("node.labels.disk", true, "ssd")]),
        ("node.hostname!=a", vec![constraint("node.hostname", false, "a")]),
        ("engine.labels.os == x", vec![constraint("engine.labels.os", true, "x")]),
        ("node.id == abc", vec![constraint("node.id", true, "abc")]),
        ("node.role == manager", vec![]),
    ];
    for (text, expected) in cases {
        assert_eq!(deployment(one(text)).placement.constraints, expected, "{text}");
    }
    let key = "services.web.deploy.placement.constraints";
    assert_eq!(said(one("node.role == worker")), [format!("approximated {key}")]);
    assert_eq!(said(one("engine.version == b")), [format!("refused {key}")]);
    assert_eq!(said(one("node.labels.a")), [format!("refused {key}")]);
}

#[test]
fn configs_and_secrets_bring_their_content() {
    let translation = translate(
        &project(json!({"name": "app",
            "services": {"web": {"image": "x",
                "configs": [{"source": "c"}, {"source": "c", "target": "/t", "mode": "0400"}],
                "secrets": [{"source": "s", "uid": "5"}]}},
            "configs": {"c": {"content": "hi"}},
            "secrets": {"s": {"environment": "S"}}})),
        &context(),
    );
    assert_eq!(translation.refusals, []);
    let web = &translation.revision.deployments[&ServiceName::new("web")];
    let files: Vec<_> = web
        .container
        .files
        .iter()
        .map(|f| (f.target.as_str(), f.content.as_str(), f.uid, f.mode, f.secret))
        .collect();
    let environment = data_encoding::BASE64.encode(b"from the environment");
    let expected = [
        ("/c", "aGk=", 0, 0o444, false),
        ("/t", "aGk=", 0, 0o400, false),
        ("/run/secrets/s", environment.as_str(), 5, 0o444, true),
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_file_that_cannot_be_read_or_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::write(&large, vec![0; (1 << 20) + 1]).unwrap();
    for path in [large, folder.path().join("missing"), folder.path().to_owned()] {
        let translation = translate(
            &project(json!({"name": "app",
                "services": {"web": {"image": "x", "configs": [{"source": "c"}]}},
                "configs": {"c": {"file": path}}})),
            &context(),
        );
        let paths: Vec<&str> = translation.refusals.iter().map(|n| n.path.as_str()).collect();
        assert_eq!(paths, ["services.web.configs"], "{}", path.display());
    }
}

#[test]
fn what_is_built_can_be_renamed() {
    let mut translation = translate(&web(json!({"build": {"context": "."}})), &context());
    let key = ServiceName::new("web");
    assert_eq!(translation.builds[0].reference, "app-web");
    assert_eq!(translation.revision.deployments[&key].container.image, "app-web");
    translation.set_built_image("web", "app-web:muster-0123456789ab");
    let image = &translation.revision.deployments[&key].container.image;
    assert_eq!(image, "app-web:muster-0123456789ab");
    let named = web(json!({"image": "own:1", "build": {"context": "."}}));
    assert_eq!(translate(&named, &context()).builds[0].reference, "own:1");
    let remote = json!({"build": {"context": "https://example.com/a.git"}});
    assert_eq!(said(remote), ["refused services.web.build.context"]);
}

#[test]
fn networks_on_the_hosts_own_network_are_refused() {
    let translation = translate(
        &project(json!({"name": "app",
            "services": {"web": {"image": "x", "networks": {"lan": null}}},
            "networks": {"lan": {"driver": "macvlan"}, "unused": {"external": true}}})),
        &context(),
    );
    let paths: Vec<&str> = translation.refusals.iter().map(|note| note.path.as_str()).collect();
    assert_eq!(paths, ["networks.lan.driver"]);
}

#[test]
fn a_seccomp_profile_travels_with_the_revision() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.json");
    std::fs::write(&profile, "{ \"defaultAction\":\n\"SCMP_ACT_ALLOW\" }").unwrap();
    let options = |file: &std::path::Path| {
        json!({"security_opt": [
            format!("seccomp:{}", file.display()), "seccomp=unconfined", "label:type:t",
            "no-new-privileges",
        ]})
    };
    let expected = [
        "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
        "seccomp=unconfined",
        "label=type:t",
        "no-new-privileges",
    ];
    assert_eq!(deployment(options(&profile)).container.security_opt, expected);
    let refused = ["refused services.web.security_opt"];
    assert_eq!(said(options(&folder.path().join("gone.json"))), refused);
    std::fs::write(&profile, "no profile").unwrap();
    assert_eq!(said(options(&profile)), refused);
}

#[test]
fn words_of_a_bind_that_nobody_knows_are_refused() {
    let bind = |options: Value| json!({"volumes": [{"type": "bind", "source": "/a", "target": "/b", "bind": options}]});
    let one = "approximated services.web.volumes";
    for known in [json!({"propagation": "rslave"}), json!({"recursive": "enabled"})] {
        assert_eq!(said(bind(known)), [one]);
    }
    let refused = |key: &str| [one.to_owned(), format!("refused services.web.volumes.bind.{key}")];
    assert_eq!(said(bind(json!({"propagation": "odd"}))), refused("propagation"));
    assert_eq!(said(bind(json!({"recursive": "odd"}))), refused("recursive"));
}

#[test]
fn a_value_that_asks_for_what_is_so_anyway_is_not_noted() {
    for service in [
        json!({"isolation": "default"}),
        json!({"build": {"context": "/src", "provenance": "false", "isolation": "default"}}),
    ] {
        assert_eq!(said(service.clone()), [""; 0], "{service}");
    }
    let network = |network: Value| {
        let value = json!({"name": "app", "services": {"web": {"image": "x"}},
            "networks": {"default": network}});
        let notes = translate(&project(value), &context()).notes;
        notes.into_iter().map(|note| note.path).collect::<Vec<_>>()
    };
    assert_eq!(network(json!({"ipam": {"driver": "default"}, "enable_ipv4": true})), [""; 0]);
    assert_eq!(network(json!({"enable_ipv4": false})), ["networks.default.enable_ipv4"]);
}

#[test]
fn hosts_lines_are_written_as_docker_reads_them() {
    let lines = json!({"extra_hosts": ["a=1.2.3.4", "b=::1", "c=[::2]", "h=host-gateway"]});
    let expected = ["a:1.2.3.4", "b:::1", "c:::2", "h:host-gateway"];
    assert_eq!(deployment(lines).container.extra_hosts, expected);
}

#[test]
fn a_report_has_every_key_once_and_where_it_stands() {
    let report = check::report(&loaded(
        "\
x-own: 1
services:
  my.web:
    image: nginx
    profiles: []
    privileged: false
    external_links: [old]
    isolation: hyperv
    env_file: [{path: gone.env, required: false}]
    depends_on: [db]
    ports: [\"8080:80\"]
    volumes:
      - {type: bind, source: /srv, target: /a}
      - {type: bind, source: /srv, target: /b, bind: {selinux: z}}
    networks:
      lan: {aliases: [front]}
    container_name: other
  db:
    extends: {service: base}
    labels: {a: b}
  base:
    image: postgres
  spare:
    image: postgres
    profiles: [never]
networks:
  lan:
  unused: {external: true}
",
    ));
    let rows: Vec<String> = report
        .iter()
        .map(|row| {
            let at = row.location.as_ref().map(|at| at.line).unwrap_or_default();
            format!("{} {at} {}", row.note.verdict, row.note.path)
        })
        .collect();
    let expected = [
        "refused 7 services.my.web.external_links",
        "ignored 8 services.my.web.isolation",
        "approximated 12 services.my.web.volumes",
        "approximated 17 services.my.web.container_name",
        "done 3 services.my.web",
        "done 4 services.my.web.image",
        "done 5 services.my.web.profiles",
        "done 6 services.my.web.privileged",
        "done 9 services.my.web.env_file",
        "done 10 services.my.web.depends_on.db",
        "done 11 services.my.web.ports",
        "done 13 services.my.web.volumes.type",
        "done 13 services.my.web.volumes.source",
        "done 13 services.my.web.volumes.target",
        "done 14 services.my.web.volumes.bind.selinux",
        "done 16 services.my.web.networks.lan.aliases",
        "done 19 services.db.extends",
        "done 20 services.db.labels",
        "done 22 services.base.image",
        "done 22 services.db.image",
        "done 27 networks.lan",
    ];
    assert_eq!(rows, expected);
    let summary = check::Summary::of(&report);
    assert_eq!((summary.done, summary.approximated), (17, 2));
    assert_eq!((summary.ignored, summary.refused), (1, 1));
}

/// A file as the loader gives it.
fn loaded(text: &str) -> crate::compose::Loaded {
    let options = crate::compose::LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.into()),
        working_directory: env!("CARGO_MANIFEST_DIR").into(),
        ..crate::compose::LoadOptions::default()
    };
    crate::compose::load(&options).unwrap_or_else(|failed| panic!("{failed}"))
}

#[test]
fn hooks_are_what_the_file_says_and_steps_share_the_mounts_of_their_service() {
    let service = json!({
        "image": "app", "build": null, "networks": {"default": null},
        "volumes": [
            {"type": "bind", "source": "/etc/app", "target": "/etc/app"},
            {"type": "bind", "source": "/old", "target": "/own"},
        ],
        "tmpfs": ["/scratch"],
        "post_start": [{"command": ["chown", "x"], "user": "root", "privileged": true,
            "working_dir": "/w", "environment": {"A": "1", "UNSET": null}}],
        "pre_stop": [{"command": ["bye"]}],
        "pre_start": [
            {"image": "tool", "command": ["migrate"], "per_replica": true, "networks": {"default": null},
             "volumes": [{"type": "bind", "source": "/new", "target": "/own"}]},
            {"command": ["init"], "networks": {"default": null}},
        ],
    });
    let hooks = deployment(service).container.hooks;
    assert_eq!(hooks.pre_stop[0].command, ["bye"]);
    let hook = &hooks.post_start[0];
    assert_eq!((hook.user.as_deref(), hook.privileged), (Some("root"), true));
    assert_eq!(hook.working_dir.as_deref(), Some("/w"));
    assert_eq!(hook.environment, BTreeMap::from([("A".to_owned(), "1".to_owned())]));
    let [first, second] = hooks.pre_start.as_slice() else { panic!("two steps") };
    assert_eq!((first.container.image.as_str(), first.per_replica), ("tool", true));
    assert_eq!(first.networks, [NetworkName::from("default")]);
    let mounts = |step: &crate::model::Step| -> Vec<(String, String)> {
        let mounts = step.container.mounts.iter().map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => (mount.target.clone(), path.clone()),
            other => (mount.target.clone(), format!("{other:?}")),
        });
        mounts.collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(mounts(first), [pair("/own", "/new"), pair("/etc/app", "/etc/app")]);
    assert_eq!(mounts(second), [pair("/etc/app", "/etc/app"), pair("/own", "/old")]);
    assert_eq!((second.container.image.as_str(), second.per_replica), ("app", false));
}

#[test]
fn what_a_step_cannot_have_is_said_of_the_step() {
    let said = said(json!({"pre_start": [
        {"image": "x", "use_api_socket": true, "networks": {"default": null}},
        {"image": "x", "networks": {"other": null}},
    ]}));
    assert_eq!(
        said,
        ["refused services.web.pre_start.use_api_socket", "refused services.web.pre_start"]
    );
}

#[test]
fn checks_are_ready_unless_the_file_says_live() {
    let checks = |value: Value| deployment(json!({"x-health": value})).checks;
    let plain = checks(json!({"http": {"path": "/healthz", "port": "8080"}, "interval": "2s"}));
    let ready = plain.ready.expect("a plain check says whether it is ready");
    assert_eq!(plain.live, None);
    let expected = Ask::Http {
        port: 8080,
        path: "/healthz".to_owned(),
        tls: false,
        status: (200, 399),
        headers: BTreeMap::new(),
    };
    assert_eq!((ready.ask, ready.interval_ms, ready.timeout_ms), (expected, 2_000, 3_000));
    assert_eq!((ready.retries, ready.start_period_ms, ready.start_interval_ms), (3, 0, 1_000));
    let both = checks(json!({
        "ready": {"tcp": {"port": 5432}, "timeout": "1s", "retries": 1, "start_period": "30s",
            "start_interval": "500ms"},
        "live": {"exec": "test -e /ok"},
    }));
    let ready = both.ready.expect("it is asked");
    assert_eq!(ready.ask, Ask::Tcp { port: 5432 });
    assert_eq!((ready.timeout_ms, ready.retries), (1_000, 1));
    assert_eq!((ready.start_period_ms, ready.start_interval_ms), (30_000, 500));
    let command = ["/bin/sh", "-c", "test -e /ok"].map(str::to_owned).to_vec();
    assert_eq!(both.live.expect("it is asked").ask, Ask::Exec { command });
    let secure =
        checks(json!({"http": {"scheme": "https", "status": 204, "headers": {"Host": "a"}}}));
    let expected = Ask::Http {
        port: 443,
        path: "/".to_owned(),
        tls: true,
        status: (204, 204),
        headers: BTreeMap::from([("Host".to_owned(), "a".to_owned())]),
    };
    assert_eq!(secure.ready.map(|check| check.ask), Some(expected));
    // A change of a check replaces no container.
    let hash = |value: Value| deployment(json!({"x-health": value})).container_hash();
    assert_eq!(hash(json!({"tcp": {"port": 1}})), hash(json!({"tcp": {"port": 2}})));
}

#[test]
fn a_bad_check_is_refused_where_it_is_bad() {
    let cases = [
        (json!("yes"), ""),
        (json!({}), ""),
        (json!({"interval": "5s"}), ""),
        (json!({"tcp": {"port": 1}, "exec": ["a"]}), ""),
        (json!({"tcp": {"port": 0}}), ".tcp.port"),
        (json!({"tcp": {"port": 70000}}), ".tcp.port"),
        (json!({"tcp": 80}), ".tcp"),
        (json!({"http": {"path": "/"}}), ".http"),
        (json!({"http": {"path": "x", "port": 1}}), ".http.path"),
        (json!({"http": {"path": "/a b", "port": 1}}), ".http.path"),
        (json!({"http": {"port": 1, "scheme": "ftp"}}), ".http.scheme"),
        (json!({"http": {"port": 1, "status": 42}}), ".http.status"),
        (json!({"http": {"port": 1, "status": "300-200"}}), ".http.status"),
        (json!({"http": {"port": 1, "headers": {"a": "b\r\nc: d"}}}), ".http.headers.a"),
        (json!({"http": {"port": 1, "method": "POST"}}), ".http.method"),
        (json!({"exec": []}), ".exec"),
        (json!({"exec": [1]}), ".exec"),
        (json!({"tcp": {"port": 1}, "interval": "0s"}), ".interval"),
        (json!({"tcp": {"port": 1}, "interval": "-1s"}), ".interval"),
        (json!({"tcp": {"port": 1}, "timeout": 5}), ".timeout"),
        (json!({"tcp": {"port": 1}, "retries": 0}), ".retries"),
        (json!({"tcp": {"port": 1}, "retries": 1e18}), ".retries"),
        (json!({"tcp": {"port": 1}, "often": true}), ".often"),
        (json!({"ready": {"tcp": {"port": 1}}, "tcp": {"port": 1}}), ".tcp"),
        (json!({"live": null}), ".live"),
        (json!({"live": {"tcp": {"port": "x"}}}), ".live.tcp.port"),
    ];
    for (value, path) in cases {
        let expected = format!("refused services.web.x-health{path}");
        assert_eq!(said(json!({"x-health": value.clone()})), [expected], "{value}");
    }
    let alone = json!({"network_mode": "none", "x-health": {"tcp": {"port": 1}}});
    assert_eq!(said(alone), ["refused services.web.x-health"]);
    let alone = json!({"network_mode": "none", "x-health": {"exec": ["a"]}});
    assert_eq!(said(alone), [""; 0]);
}

#[test]
fn what_the_loader_implied_is_not_reported_and_what_was_written_is() {
    let text = |how: &str| {
        format!("name: app\nservices:\n  web:\n    image: x\n    {how}\n  db: {{image: y}}\n")
    };
    let restarts = |how: &str| -> Vec<String> {
        let loaded = loaded(&text(how));
        let files = crate::kubernetes::tests::Files::default();
        let options = crate::kubernetes::Options::default();
        let theirs = crate::kubernetes::report(&loaded, &files, &options);
        let rows = check::report(&loaded).into_iter().chain(theirs.rows);
        let rows = rows.filter(|row| row.note.path.ends_with(".restart"));
        rows.map(|row| format!("{} {}", row.note.verdict, row.note.path)).collect()
    };
    assert_eq!(restarts("links: [db]"), [""; 0]);
    let path = "services.web.depends_on.db.restart";
    let written = "depends_on: {db: {condition: service_started, restart: true}}";
    assert_eq!(restarts(written), [format!("done {path}"), format!("ignored {path}")]);
}

fn with_job(job: Value) -> Translation {
    let file = json!({"name": "app", "services": {"web": {"image": "x"}}, "jobs": {"tidy": job}});
    translate(&project(file), &context())
}

#[test]
fn a_job_is_run_by_hand_unless_it_says_no_and_by_the_clock_when_it_says_so() {
    let triggers = |triggers: Value| {
        let translation = with_job(json!({"image": "tidy", "triggers": triggers}));
        assert_eq!(translation.refusals, []);
        translation.revision.jobs[&ServiceName::new("tidy")].clone()
    };
    let by_hand = triggers(json!({"manual": true}));
    assert!(by_hand.manual && by_hand.schedule.is_empty());
    assert_eq!(by_hand.deployment.restart, RestartPolicy::Never);
    assert_eq!(by_hand.deployment.container.image, "tidy");
    let both = triggers(json!({"schedule": ["0 3 * * *", {
        "cron": "*/5 * * * *", "timezone": "Europe/Paris",
        "concurrency": "queue", "missed_fires": "skip",
    }]}));
    assert!(both.manual);
    let texts: Vec<String> = both.schedule.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["0 3 * * *", "*/5 * * * * Europe/Paris"]);
    assert_eq!(both.schedule[1].concurrency, Concurrency::Queue);
    assert_eq!(both.schedule[1].missed_fires, MissedFires::Skip);
    assert!(!triggers(json!({"manual": false, "schedule": ["@daily"]})).manual);
}

#[test]
fn a_job_that_cannot_be_due_is_refused_where_it_is_written() {
    let cases = [
        (json!("0 0 30 2 *"), "jobs.tidy.triggers.schedule.cron", "no such day"),
        (json!("every day"), "jobs.tidy.triggers.schedule.cron", "no cron expression"),
        (
            json!({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
            "jobs.tidy.triggers.schedule.timezone",
            "no time zone `Mars/Olympus`",
        ),
    ];
    for (schedule, path, words) in cases {
        let job = json!({"image": "x", "triggers": {"schedule": [schedule]}});
        let refusals = with_job(job).refusals;
        let [note] = refusals.as_slice() else { panic!("{refusals:?}") };
        assert_eq!(note.path, path);
        assert!(note.reason.contains(words) && note.remedy.is_some(), "{note:?}");
    }
}

#[test]
fn keys_of_a_job_have_the_verdicts_of_a_services_keys() {
    let job = json!({"image": "x", "ports": [{"target": 80, "published": "8080"}],
        "annotations": {"a": "b"}, "volumes": [{"type": "volume", "source": "k", "target": "/k"}],
        "triggers": {"manual": true}});
    let file = json!({"name": "app", "services": {}, "volumes": {"k": {"driver": "nfs"}},
        "jobs": {"tidy": job}});
    let translation = translate(&project(file), &context());
    let paths: Vec<&str> = translation.notes.iter().map(|note| note.path.as_str()).collect();
    assert!(paths.contains(&"jobs.tidy.ports"), "{paths:?}");
    assert!(!paths.contains(&"jobs"), "{paths:?}");
    assert!(translation.revision.volumes.contains_key("k"));
}

#[test]
fn a_gang_is_a_job_whose_replicas_run_together() {
    let gang = |gang: Value| {
        deployment(json!({"x-gang": gang, "deploy": {"mode": "replicated-job", "replicas": 4}}))
            .gang
    };
    assert_eq!(gang(json!(true)), Some(Gang { timeout_ms: None, port: 29_500 }));
    assert_eq!(gang(json!({})), gang(json!(true)));
    let said = Some(Gang { timeout_ms: Some(600_000), port: 1234 });
    assert_eq!(gang(json!({"timeout": "10m", "port": 1234})), said);
    assert_eq!(gang(json!(false)), None);
    let of = |mode: &str, gang: Value| said_of(mode, gang);
    for wrong in [json!("yes"), json!({"timeout": "soon"}), json!({"port": 0}), json!({"size": 3})]
    {
        assert_eq!(of("replicated-job", wrong.clone()), ["refused services.web.x-gang"], "{wrong}");
    }
    for mode in ["replicated", "global", "global-job"] {
        assert_eq!(of(mode, json!(true)), ["refused services.web.x-gang"], "{mode}");
    }
}

fn said_of(mode: &str, gang: Value) -> Vec<String> {
    said(json!({"x-gang": gang, "deploy": {"mode": mode}}))
}

#[test]
fn volumes_from_mounts_what_the_other_names() {
    let volume =
        |source: &str, target: &str| json!({"type": "volume", "source": source, "target": target});
    let services = json!({
        "base": {"image": "x", "volumes": [volume("a", "/a"), volume("b", "/b")]},
        "db": {"image": "x", "volumes_from": ["base"], "volumes": [
            {"type": "volume", "target": "/own"},
            {"type": "tmpfs", "target": "/tmp"},
            {"type": "bind", "source": "/srv", "target": "/srv"},
        ]},
        "web": {"image": "x", "volumes_from": ["db:ro", "base"], "volumes": [volume("c", "/b")]},
        "stranger": {"image": "x", "volumes_from": ["container:old"]},
    });
    let volumes = json!({"a": {}, "b": {}, "c": {}});
    let value = json!({"name": "app", "services": services, "volumes": volumes});
    let translation = translate(&project(value), &context());
    let web = &translation.revision.deployments[&ServiceName::from("web")];
    let mounts: Vec<(&str, bool)> =
        web.container.mounts.iter().map(|m| (m.target.as_str(), m.read_only)).collect();
    assert_eq!(mounts, [("/a", true), ("/srv", true), ("/b", false)]);
    assert_eq!(web.volumes().into_iter().collect::<Vec<_>>(), ["a", "c"]);
    let notes = translation.notes.iter();
    let notes: Vec<_> = notes.filter(|note| note.path == "services.web.volumes_from").collect();
    assert!(notes.iter().any(|note| note.reason.contains("`/own`")), "{notes:?}");
    let [refusal] = translation.refusals.as_slice() else { panic!("{:?}", translation.refusals) };
    assert_eq!(refusal.path, "services.stranger.volumes_from");
}
