//! What the fake agent shows of the network and of what replicas take. Pure.

use super::HOSTS;
use super::shown::node;
use crate::api::{
    AppDetail, AppStats, AutoscaleView, Found, HostPaths, NameReport, NetworkReport, Node,
    PathReport, PeerReport, RecommendedView, ReplicaStats, ReplicaView, ResolverReport, RoundTrips,
    ScaleDecisionView, ScaleRuleView, ServiceStats, SilentHost, SizeDecisionView, SizeProblem,
    SizeView, TunnelReport, VerticalView,
};
use crate::model::{
    Bounds, Liveness, Overlay, ReplicaId, Revision, ScaleRule, ServiceName, Usage, Vertical,
};

pub(super) fn peers() -> Vec<PeerReport> {
    let report = |index| {
        let Node { name, address, liveness, .. } = node(index);
        let alive = liveness == Liveness::Alive;
        PeerReport {
            name,
            address,
            liveness,
            round_trip_us: alive.then_some(500),
            skew_ms: alive.then_some(2),
            mtu: alive.then_some(1452),
            error: (!alive).then(|| "nothing answers".to_owned()),
            tunnel: Some(tunnel(alive)),
        }
    };
    (1..HOSTS.len()).map(report).collect()
}

/// The last host is dead; the first two reach each other.
pub(super) fn network() -> NetworkReport {
    let last = HOSTS.len() - 1;
    let host = |index: usize| {
        let Node { name, address, .. } = node(index);
        let paths = (0..HOSTS.len()).filter(|other| *other != index);
        let found = Found {
            paths: paths.map(|other| path(other, other != last)).collect(),
            resolver: resolver(index),
        };
        let dead = index == last;
        HostPaths {
            host: name,
            address,
            liveness: if dead { Liveness::Dead } else { Liveness::Alive },
            found: (!dead).then_some(found),
            error: dead.then(|| "it is taken for dead, and was not asked".to_owned()),
        }
    };
    NetworkReport { overlay: Overlay::Quic, hosts: (0..HOSTS.len()).map(host).collect() }
}

fn path(to: usize, answers: bool) -> PathReport {
    let trips = |sent: u16| RoundTrips {
        sent,
        answered: if answers { sent } else { 0 },
        min_us: answers.then_some(300),
        avg_us: answers.then_some(400),
        max_us: answers.then_some(900),
    };
    PathReport {
        to: HOSTS[to].to_owned(),
        agent: trips(3),
        agent_error: (!answers).then(|| "nothing answers".to_owned()),
        packets: trips(10),
        packets_error: None,
        mtu: answers.then_some(1_434),
        tunnel: Some(tunnel(answers)),
    }
}

/// The second host has nobody to ask for names outside.
pub(super) fn resolver(index: usize) -> ResolverReport {
    let good = |name: &str| NameReport { name: name.to_owned(), took_us: Some(200), error: None };
    let bad = |name: &str| NameReport {
        name: name.to_owned(),
        took_us: None,
        error: Some("the answer `Query Refused`".to_owned()),
    };
    let outside = "a.root-servers.net";
    ResolverReport {
        address: [10, 208, 16 * index as u8, 1].into(),
        cluster: good("version.muster.internal"),
        outside: if index == 1 { bad(outside) } else { good(outside) },
    }
}

/// Each replica that runs takes a quarter of a CPU; a connection more is counted at each look.
pub(super) fn stats(detail: &AppDetail, looks: u64) -> AppStats {
    let measured = |one: &ReplicaView| ReplicaStats {
        replica: one.replica.clone(),
        host: one.host.clone(),
        container: one.container.clone().unwrap_or_default(),
        usage: Usage {
            cpu_nanos: 5_000_000_000,
            memory: 96 << 20,
            memory_limit: 1 << 30,
            received: 1_500_000,
            sent: 3 << 20,
            pids: 4,
        },
        cpus: Some(0.25),
        received_per_second: Some(1_000.0),
        sent_per_second: Some(2_048.0),
        connections: looks,
    };
    let replicas: Vec<ReplicaStats> =
        detail.replicas.iter().filter(|one| one.ready).map(measured).collect();
    let services = detail.services.iter().map(|service| {
        let mine = replicas.iter().filter(|one| one.replica.service == service.service);
        let n = mine.count() as u32;
        ServiceStats {
            service: service.service.clone(),
            ready: service.ready,
            wanted: service.wanted,
            measured: n,
            cpus: 0.25 * f64::from(n),
            memory: (96 << 20) * u64::from(n),
            received_per_second: 1_000.0 * f64::from(n),
            sent_per_second: 2_048.0 * f64::from(n),
            connections: looks * u64::from(n),
            connections_per_second: 12.5,
        }
    });
    let services = services.collect();
    let silent = SilentHost { host: HOSTS[2].to_owned(), reason: "nothing answers".to_owned() };
    AppStats { app: detail.summary.app.clone(), services, replicas, silent: vec![silent] }
}

/// Services with rules, as an agent shows them that measured a load for one replica more.
pub(super) fn autoscale(revision: &Revision, detail: &AppDetail) -> Vec<AutoscaleView> {
    let all = revision.deployments.iter().filter_map(|(service, deployment)| {
        let vertical = deployment.vertical.as_ref().map(|vertical| sized(service, vertical));
        let rules = deployment.autoscale.as_ref()?;
        let shown = detail.services.iter().find(|one| one.service == *service)?;
        let rule = |rule: &ScaleRule| ScaleRuleView {
            metric: rule.metric.to_string(),
            value: Some(91.0),
            aim: 70.0,
            shown: "91 %".to_owned(),
            target: "70 %".to_owned(),
            wants: Some(shown.wanted + 1),
            problem: None,
        };
        let decision = ScaleDecisionView {
            at: 1_800_000_000,
            from: shown.wanted,
            to: shown.wanted + 1,
            reason: "`cpu` is 91 %, the target is 70 %".to_owned(),
        };
        Some(AutoscaleView {
            service: service.clone(),
            ready: shown.ready,
            target: shown.wanted + 1,
            min: rules.min,
            max: rules.max,
            interval_seconds: rules.interval().as_secs_f64(),
            rules: rules.rules.iter().map(rule).collect(),
            recommended: Some(RecommendedView { cpus: 0.75, memory: 64 << 20 }),
            hold: None,
            decisions: vec![decision],
            vertical,
        })
    });
    all.collect()
}

/// What replicas are given, as an agent shows it that halved it, and one replica of which refuses.
fn sized(service: &ServiceName, vertical: &Vertical) -> VerticalView {
    let view = |cpu_millis: Option<u64>, memory: Option<u64>| SizeView {
        cpus: cpu_millis.map(|millis| millis as f64 / 1_000.0),
        memory,
    };
    let bound = |bounds: Option<Bounds>, one: fn(Bounds) -> u64| bounds.map(one);
    let (cpu, memory) = (vertical.cpu_millis, vertical.memory);
    let max = view(bound(cpu, |b| b.max), bound(memory, |b| b.max));
    let half = SizeView { memory: max.memory.map(|bytes| bytes / 2), ..max };
    VerticalView {
        size: half,
        min: view(bound(cpu, |b| b.min), bound(memory, |b| b.min)),
        max,
        window_seconds: vertical.window().as_secs_f64(),
        hold: Some(format!("`{service}/1` has not been measured")),
        problems: vec![SizeProblem {
            replica: ReplicaId { app: "shop".into(), service: service.clone(), index: 2 },
            host: HOSTS[1].to_owned(),
            reason: "it holds 300 MiB, too much for a limit of 256 MiB".to_owned(),
        }],
        decisions: vec![SizeDecisionView {
            at: 1_800_000_000,
            from: max,
            to: half,
            reason: "the busiest takes 80 MiB, 100 MiB are recommended".to_owned(),
        }],
    }
}

pub(super) fn metrics() -> String {
    "# HELP muster_hosts Hosts.\n# TYPE muster_hosts gauge\nmuster_hosts 3\n".to_owned()
}

fn tunnel(open: bool) -> TunnelReport {
    TunnelReport {
        open,
        packet_max: if open { 1_434 } else { 0 },
        round_trip_us: open.then_some(400),
        sent: 1_000,
        lost: 0,
        carried_out: (10, 1_000),
        carried_in: (10, 1_000),
        dropped: 0,
        refused: 0,
    }
}
