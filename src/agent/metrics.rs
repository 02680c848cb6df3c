//! What this agent knows in numbers, as Prometheus reads them. Names follow Prometheus' conventions: base
//! units, `_total` for what only rises. Of the cluster each agent tells how it sees it; of containers
//! and connections, those of its own host.

mod scalings;
mod text;

use std::collections::BTreeMap;

use self::scalings::write_scalings;
use self::text::{Kind, Text};
use super::cluster::Cluster;
use super::counts::Count;
use super::handle::Agent;
use super::views;
use crate::api::{ApiError, HostStats, ReplicaStats, ReplicaView, ServiceView};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::model::{AppName, Liveness, ReplicaId, WallSeconds};
use crate::overlay::{PeerState, Tunnels};

/// Labels of a sample.
type Labels<'a> = [(&'a str, &'a str)];

/// All that is told.
#[derive(Debug, Default)]
struct Facts {
    /// Seconds since 1970.
    started: f64,
    /// Bytes of memory that the agent has.
    memory: Option<u64>,
    /// Files and sockets that it has open.
    files: Option<usize>,
    /// What there is once it belongs to a cluster.
    member: Option<Member>,
}

#[derive(Debug, Default)]
struct Member {
    cluster: String,
    host: String,
    id: String,
    seen: Seen,
    stats: HostStats,
    /// People in front of programs of this host, and here in front of others.
    consoles: [usize; 2],
    /// Messages and bytes: probes sent, others sent, received.
    gossip: [(u64, u64); 3],
    /// Writes, and those of them that waited for the disk.
    store: (u64, u64),
    resolver: Option<muster_dns::Counts>,
    /// By the other host's name.
    tunnels: BTreeMap<String, PeerState>,
}

/// What the core sees.
#[derive(Debug, Default)]
struct Seen {
    hosts: Vec<(String, Liveness)>,
    services: Vec<(AppName, Vec<ServiceView>)>,
    /// Those of this host.
    replicas: Vec<ReplicaView>,
}

impl<E: Engine> Agent<E> {
    /// What this agent knows, as text for Prometheus.
    ///
    /// # Errors
    ///
    /// When the agent is stopping.
    pub(super) async fn metrics_text(
        &self,
        cluster: Option<&Cluster<E>>,
    ) -> Result<String, ApiError> {
        let (memory, files) = own_use();
        let member = match cluster {
            Some(cluster) => Some(self.member(cluster).await?),
            None => None,
        };
        Ok(render(&Facts { started: self.started, memory, files, member }))
    }

    async fn member(&self, cluster: &Cluster<E>) -> Result<Member, ApiError> {
        let (name, wall) = (cluster.settings.name.clone(), cluster.core.now().wall);
        let names = |core: &Core| -> BTreeMap<_, String> {
            let view = core.view();
            let hosts = view.hosts.iter();
            hosts.map(|(id, host)| ((*id).clone(), host.facts.name.clone())).collect()
        };
        let look = move |core: &Core| (names(core), seen(core, &name, wall));
        let (names, seen) = cluster.core.look(look).await?;
        let states = cluster.tunnels.as_ref().map(Tunnels::states).unwrap_or_default();
        let tunnels = states.into_iter().map(|state| {
            let id = state.host.to_string();
            (names.get(&state.host).cloned().unwrap_or(id), state)
        });
        let counts = &cluster.counts;
        let gossip = [&counts.probes_sent, &counts.messages_sent, &counts.received];
        Ok(Member {
            cluster: cluster.identity.cluster().to_owned(),
            host: cluster.settings.name.clone(),
            id: cluster.host.to_string(),
            seen,
            stats: self.stats_here(cluster, None).await,
            consoles: self.seats.taken(),
            gossip: gossip.map(Count::read),
            store: cluster.store.counts(),
            resolver: cluster.resolver.counts(),
            tunnels: tunnels.collect(),
        })
    }
}

fn seen(core: &Core, host: &str, wall: WallSeconds) -> Seen {
    let view = core.view();
    let mut hosts: Vec<_> =
        view.hosts.values().map(|host| (host.facts.name.clone(), host.liveness)).collect();
    hosts.sort();
    // Two hosts may be called the same until somebody sees it; then the better one is told of.
    hosts.dedup_by(|later, first| later.0 == first.0);
    Seen {
        hosts,
        services: views::services_of_all(core),
        replicas: views::replicas_on(core, host, wall),
    }
}

/// What the agent itself takes of its host.
fn own_use() -> (Option<u64>, Option<usize>) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    let files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    (kib.map(|kib| kib * 1024), files)
}

fn render(facts: &Facts) -> String {
    let Facts { started, memory, files, member } = facts;
    let mut text = Text::default();
    let version = env!("CARGO_PKG_VERSION");
    text.metric("muster_build_info", Kind::Gauge, "The agent's version; always 1.")
        .sample(&[("version", version)], true);
    let help = "When the agent was started, in seconds since 1970.";
    text.metric("process_start_time_seconds", Kind::Gauge, help).sample(&[], *started);
    if let Some(memory) = memory {
        let help = "Memory that the agent has, in bytes.";
        text.metric("process_resident_memory_bytes", Kind::Gauge, help).sample(&[], *memory);
    }
    if let Some(files) = files {
        let help = "Files and sockets that the agent has open.";
        text.metric("process_open_fds", Kind::Gauge, help).sample(&[], *files);
    }
    if let Some(member) = member {
        member.write(&mut text);
    }
    text.finish()
}

impl Member {
    fn write(&self, text: &mut Text) {
        let Self { cluster, host, id, seen, stats, consoles, gossip, store, resolver, tunnels } =
            self;
        let help = "The cluster, and this host in it; always 1.";
        text.metric("muster_host_info", Kind::Gauge, help)
            .sample(&[("cluster", cluster), ("host", host), ("id", id)], true);
        write_hosts(text, &seen.hosts);
        let help =
            "People in front of programs of this host, and here in front of those of others.";
        let mut metric = text.metric("muster_consoles", Kind::Gauge, help);
        for (place, n) in ["here", "away"].into_iter().zip(consoles) {
            metric.sample(&[("programs", place)], *n);
        }
        write_gossip(text, gossip);
        let (writes, syncs) = *store;
        text.metric("muster_store_writes_total", Kind::Counter, "Changes written to the store.")
            .sample(&[], writes);
        let help = "Changes of the store that waited for the disk.";
        text.metric("muster_store_syncs_total", Kind::Counter, help).sample(&[], syncs);
        write_services(text, &seen.services);
        write_scalings(text, &seen.services);
        write_connections(text, stats);
        write_replicas(text, &seen.replicas);
        write_usage(text, &stats.replicas);
        if let Some(counts) = resolver {
            write_resolver(text, counts);
        }
        if !tunnels.is_empty() {
            write_tunnels(text, tunnels);
        }
    }
}

fn write_hosts(text: &mut Text, hosts: &[(String, Liveness)]) {
    let all = [Liveness::Alive, Liveness::Suspect, Liveness::Dead];
    let mut metric =
        text.metric("muster_hosts", Kind::Gauge, "Hosts of the cluster, as this one sees them.");
    for wanted in all {
        let n = hosts.iter().filter(|(_, liveness)| *liveness == wanted).count();
        let word = match wanted {
            Liveness::Alive => "alive",
            Liveness::Suspect => "suspect",
            Liveness::Dead => "dead",
        };
        metric.sample(&[("liveness", word)], n);
    }
    let help = "Whether a host answers, as this one sees it.";
    let mut metric = text.metric("muster_host_up", Kind::Gauge, help);
    for (host, liveness) in hosts {
        metric.sample(&[("host", host)], *liveness == Liveness::Alive);
    }
}

fn write_gossip(text: &mut Text, gossip: &[(u64, u64); 3]) {
    let [probes, messages, received] = gossip;
    let kinds = [("probe", probes), ("state", messages)];
    let help = "Messages sent to other agents: probes of membership, and what they hold.";
    let mut metric = text.metric("muster_gossip_sent_messages_total", Kind::Counter, help);
    for (kind, (n, _)) in kinds {
        metric.sample(&[("kind", kind)], *n);
    }
    let help = "Bytes of messages sent to other agents.";
    let mut metric = text.metric("muster_gossip_sent_bytes_total", Kind::Counter, help);
    for (kind, (_, bytes)) in kinds {
        metric.sample(&[("kind", kind)], *bytes);
    }
    let help = "Messages received from other agents.";
    text.metric("muster_gossip_received_messages_total", Kind::Counter, help)
        .sample(&[], received.0);
    let help = "Bytes of messages received from other agents.";
    text.metric("muster_gossip_received_bytes_total", Kind::Counter, help).sample(&[], received.1);
}

fn write_services(text: &mut Text, services: &[(AppName, Vec<ServiceView>)]) {
    let all = || services.iter().flat_map(|(app, all)| all.iter().map(move |one| (app, one)));
    let help = "Replicas that a service should have.";
    let mut metric = text.metric("muster_service_replicas_wanted", Kind::Gauge, help);
    for (app, one) in all() {
        metric.sample(&[("app", app.as_str()), ("service", one.service.as_str())], one.wanted);
    }
    let help = "Replicas of a service that may be sent traffic.";
    let mut metric = text.metric("muster_service_replicas_ready", Kind::Gauge, help);
    for (app, one) in all() {
        metric.sample(&[("app", app.as_str()), ("service", one.service.as_str())], one.ready);
    }
}

fn write_connections(text: &mut Text, stats: &HostStats) {
    let help = "Connections that this host gave an endpoint, by the service's address or by a \
                published port.";
    let mut metric = text.metric("muster_service_connections_total", Kind::Counter, help);
    for one in &stats.services {
        let way = if one.by_port { "port" } else { "address" };
        let labels = [("app", one.app.as_str()), ("service", one.service.as_str()), ("way", way)];
        metric.sample(&labels, one.connections);
    }
    let help = "Connections that this host gave a replica, wherever it runs.";
    let mut metric = text.metric("muster_replica_connections_total", Kind::Counter, help);
    for (replica, connections) in &stats.endpoints {
        with_labels(replica, |labels| metric.sample(labels, *connections));
    }
}

/// The labels of a replica.
fn with_labels(replica: &ReplicaId, use_them: impl FnOnce(&Labels<'_>)) {
    let ReplicaId { app, service, index } = replica;
    let index = index.to_string();
    use_them(&[("app", app.as_str()), ("service", service.as_str()), ("replica", &index)]);
}

fn write_replicas(text: &mut Text, replicas: &[ReplicaView]) {
    // While one is replaced there are two; the one that counts comes first.
    let mut newest: BTreeMap<&ReplicaId, &ReplicaView> = BTreeMap::new();
    for one in replicas.iter().filter(|one| one.phase.is_some()) {
        let known = newest.entry(&one.replica).or_insert(one);
        if one.current {
            *known = one;
        }
    }
    let help = "Whether a replica of this host may be sent traffic.";
    let mut metric = text.metric("muster_replica_ready", Kind::Gauge, help);
    for (replica, one) in &newest {
        with_labels(replica, |labels| metric.sample(labels, one.ready));
    }
    let help = "How often a replica of this host was started again.";
    let mut metric = text.metric("muster_replica_restarts_total", Kind::Counter, help);
    for (replica, one) in &newest {
        with_labels(replica, |labels| metric.sample(labels, one.restarts));
    }
}

fn write_usage(text: &mut Text, replicas: &[ReplicaStats]) {
    type Column = (&'static str, Kind, &'static str, fn(&ReplicaStats) -> text::Value);
    let columns: [Column; 6] = [
        (
            "muster_replica_cpu_seconds_total",
            Kind::Counter,
            "Time on CPUs that a container of this host took.",
            |one| (one.usage.cpu_nanos as f64 / 1e9).into(),
        ),
        (
            "muster_replica_memory_bytes",
            Kind::Gauge,
            "Memory that a container of this host holds, without idle pages of files.",
            |one| one.usage.memory.into(),
        ),
        (
            "muster_replica_memory_limit_bytes",
            Kind::Gauge,
            "Memory that a container of this host may hold.",
            |one| one.usage.memory_limit.into(),
        ),
        (
            "muster_replica_received_bytes_total",
            Kind::Counter,
            "Bytes that a container of this host received over its networks.",
            |one| one.usage.received.into(),
        ),
        (
            "muster_replica_sent_bytes_total",
            Kind::Counter,
            "Bytes that a container of this host sent over its networks.",
            |one| one.usage.sent.into(),
        ),
        (
            "muster_replica_processes",
            Kind::Gauge,
            "Processes and threads of a container of this host.",
            |one| one.usage.pids.into(),
        ),
    ];
    for (name, kind, help, value) in columns {
        let mut metric = text.metric(name, kind, help);
        for one in replicas {
            with_labels(&one.replica, |labels| {
                let container = ("container", one.container.as_str());
                metric.sample(&[labels, &[container]].concat(), value(one));
            });
        }
    }
}

fn write_resolver(text: &mut Text, counts: &muster_dns::Counts) {
    let help = "Questions that the resolver of this host read and took.";
    text.metric("muster_dns_questions_total", Kind::Counter, help).sample(&[], counts.questions);
    let help = "What the resolver answered by itself: records of the cluster, that there are none, \
                that no other resolver answered, or that it will not.";
    let mut metric = text.metric("muster_dns_answers_total", Kind::Counter, help);
    for (kind, n) in [
        ("records", counts.records),
        ("negative", counts.negative),
        ("failed", counts.failed),
        ("refused", counts.refused),
    ] {
        metric.sample(&[("kind", kind)], n);
    }
    let help = "Questions that the resolver asked another one.";
    text.metric("muster_dns_forwarded_total", Kind::Counter, help).sample(&[], counts.forwarded);
    let help = "Questions that were dropped: too many of one source, or not to be read.";
    let mut metric = text.metric("muster_dns_dropped_total", Kind::Counter, help);
    for (reason, n) in [("limited", counts.limited), ("malformed", counts.malformed)] {
        metric.sample(&[("reason", reason)], n);
    }
    let help = "Answers that lost records to the limit of their size.";
    text.metric("muster_dns_truncated_total", Kind::Counter, help).sample(&[], counts.truncated);
}

fn write_tunnels(text: &mut Text, tunnels: &BTreeMap<String, PeerState>) {
    type Column = (&'static str, Kind, &'static str, fn(&PeerState) -> u64);
    let columns: [Column; 6] = [
        ("muster_tunnel_up", Kind::Gauge, "Whether there is a tunnel to a host.", |one| {
            one.open.into()
        }),
        (
            "muster_tunnel_sent_packets_total",
            Kind::Counter,
            "Packets of containers sent to a host.",
            |one| one.counts.sent,
        ),
        ("muster_tunnel_sent_bytes_total", Kind::Counter, "Their bytes.", |one| {
            one.counts.sent_bytes
        }),
        (
            "muster_tunnel_received_packets_total",
            Kind::Counter,
            "Packets of containers received from a host.",
            |one| one.counts.received,
        ),
        ("muster_tunnel_received_bytes_total", Kind::Counter, "Their bytes.", |one| {
            one.counts.received_bytes
        }),
        (
            "muster_tunnel_dropped_packets_total",
            Kind::Counter,
            "Packets for a host that could not be sent: no tunnel, no room, or too large.",
            |one| one.counts.no_tunnel + one.counts.full + one.counts.too_large,
        ),
    ];
    for (name, kind, help, value) in columns {
        let mut metric = text.metric(name, kind, help);
        for (host, state) in tunnels {
            metric.sample(&[("host", host)], value(state));
        }
    }
}

#[cfg(test)]
#[path = "../../tests/cluster/prometheus.rs"]
mod prometheus;
#[cfg(test)]
mod tests;
