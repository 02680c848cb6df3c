//! What a cluster weighs: the memory of one agent's core in a process of its own, and what the
//! hosts send each other while nothing happens.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use muster::logic::Delta;
use muster::logic::core::{Core, Event, Now, Start};
use muster::logic::plan::plan;
use muster::model::{
    AppName, Health, HostId, Moment, Phase, Plan, ReplicaStatus, Revision, Row, RowBody, RowKey,
    SealedRevision, ServiceName, Version, WallSeconds,
};

use crate::apps::shop;
use crate::run::Run;
use crate::world::{SimHost, host_id};

/// Services of one App.
const SERVICES: usize = 10;
/// Replicas of one service.
const REPLICAS: u32 = 2;
/// What a packet carries at least on any path (RFC 9000, 14).
const PACKET: u64 = 1200;
/// IP, UDP and QUIC's own around a packet's content, in bytes.
const AROUND: u64 = 20 + 8 + 35;

/// Resident bytes that the core of one host adds to a process, in one that does nothing else.
pub(crate) fn memory(hosts: usize, services: usize) -> f64 {
    let this = std::env::current_exe().expect("it runs");
    let mut child = Command::new(this);
    child.args(["weigh_a_core", "--exact", "--ignored", "--nocapture"]);
    child.env("MUSTER_SIM_WEIGH", format!("{hosts} {services}"));
    let output = child.output().expect("it starts again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let weight = text.lines().find_map(|line| line.strip_prefix("weight "));
    let weight: u64 = weight.unwrap_or_else(|| panic!("{output:?}")).parse().unwrap();
    weight as f64 / 1e6
}

/// The child of [`memory`]: prints how much larger it became.
pub(crate) fn weigh() {
    let asked = std::env::var("MUSTER_SIM_WEIGH").expect("`memory` sets it");
    let (hosts, services) = asked.split_once(' ').expect("two numbers");
    let (hosts, services) = (hosts.parse().unwrap(), services.parse().unwrap());
    let before = resident();
    let core = filled(hosts, services);
    let after = resident();
    assert_eq!(core.view().hosts.len(), hosts);
    println!("weight {}", after - before);
}

/// Bytes of this process that are in memory, without its program: that is in what an idle agent has,
/// and is another one here.
fn resident() -> u64 {
    of_process("RssAnon:")
}

/// Bytes that the kernel says of this process (`proc(5)`, `status`).
pub(crate) fn of_process(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("it has this");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib * 1024
}

/// A core that knows so many hosts and services, as it came over the wire.
fn filled(hosts: usize, services: usize) -> Core {
    let pool = "10.208.0.0/12".parse().unwrap();
    let now = Now { moment: Moment(1), wall: WallSeconds(0) };
    let me = SimHost::new(0, pool);
    let start = Start {
        peers: (1..hosts).map(|n| (host_id(n), crate::world::address(n))).collect(),
        ..Start::new(me.id.clone(), pool, me.facts())
    };
    let mut core = Core::new(now, start);
    let rows = (1..hosts).map(|n| {
        let mut facts = SimHost::new(n, pool).facts();
        facts.images = (0..30).map(|k| format!("registry.example/team/image-{k}:1.{n}")).collect();
        row(host_id(n), RowKey::Host, &facts)
    });
    learn(&mut core, Delta { rows: rows.collect(), revisions: Vec::new() });
    for n in 0..services / SERVICES {
        let revision = SealedRevision::new(app(n));
        let name = revision.app.clone();
        let mut plan = plan(&core.view(), &name, &revision).expect("it has to run");
        let home = host_id(n % (hosts - 1) + 1);
        plan.home = home.clone();
        let mut rows = statuses(&plan);
        rows.push(row(home, RowKey::Plan(name), &plan));
        learn(&mut core, Delta { rows, revisions: vec![revision] });
    }
    core
}

pub(crate) fn row(owner: HostId, key: RowKey, body: &impl serde::Serialize) -> Row {
    let body = RowBody::of(body);
    Row { owner, key, version: Version { epoch: 1, counter: 1 }, body }
}

/// As it comes from another host.
pub(crate) fn learn(core: &mut Core, delta: Delta) {
    let bytes = serde_json::to_vec(&delta).unwrap();
    let delta = serde_json::from_slice(&bytes).unwrap();
    let now = Now { moment: Moment(2), wall: WallSeconds(0) };
    core.handle(now, Event::Learned(Box::new(delta)), &mut Vec::new());
}

/// An App as people have them: ten variables, a health check, a volume in one service of ten.
fn app(n: usize) -> Revision {
    let mut revision = Revision { app: AppName::new(format!("app-{n}")), ..shop(1, "1") };
    let template = revision.deployments[&ServiceName::from("web")].clone();
    revision.deployments = BTreeMap::new();
    revision.volumes = BTreeMap::new();
    for k in 0..SERVICES {
        let mut deployment = template.clone();
        deployment.replicas = muster::model::Replicas::Count(REPLICAS);
        deployment.depends_on = BTreeMap::new();
        let container = &mut deployment.container;
        container.image = format!("registry.example/team/app-{n}-{k}:1.2.3");
        let variable = |v| (format!("SETTING_{v}"), format!("a value of usual length {v}"));
        container.environment = (0..10).map(variable).collect();
        container.health = Some(muster::model::HealthSpec {
            test: Some(vec!["CMD-SHELL".to_owned(), "wget -q -O- localhost:8080/up".to_owned()]),
            ..Default::default()
        });
        revision.deployments.insert(ServiceName::new(format!("service-{k}")), deployment);
    }
    revision
}

/// What the hosts of a Plan say of its replicas.
pub(crate) fn statuses(plan: &Plan) -> Vec<Row> {
    let mut by_host: BTreeMap<HostId, Vec<ReplicaStatus>> = BTreeMap::new();
    for assignment in &plan.assignments {
        let status = ReplicaStatus {
            replica: assignment.replica.clone(),
            generation: assignment.generation,
            spec_hash: assignment.spec_hash.clone(),
            phase: Phase::Running,
            health: Health::Healthy,
            ready: true,
            addresses: BTreeMap::from([("default".into(), [10, 208, 0, 70].into())]),
            restarts: 0,
            failures: 0,
            reason: None,
            container: Some(format!("muster-{}-1", assignment.replica.service)),
            since: WallSeconds(1_800_000_000),
            again: None,
            not_resized: None,
            exit_code: None,
        };
        by_host.entry(assignment.host.clone()).or_default().push(status);
    }
    let key = || RowKey::Replicas(plan.app.clone());
    by_host.into_iter().map(|(host, statuses)| row(host, key(), &statuses)).collect()
}

/// Packets and bytes that a host sends in a second while nothing happens, at 10 % loss.
pub(crate) fn traffic(run: &mut Run) -> (f64, f64) {
    run.world.wires.loss = 100;
    run.world.run_for(Duration::from_secs(10));
    run.world.sent = Some((0, 0));
    let time = Duration::from_secs(30);
    run.world.run_for(time);
    run.world.wires.loss = 0;
    let (packets, bytes) = run.world.sent.take().expect("it was set");
    let each = |count: u64| count as f64 / time.as_secs_f64() / run.n() as f64;
    (each(packets), each(bytes + packets * AROUND))
}

/// Packets that so many bytes of one message need.
pub(crate) fn packets(bytes: u64) -> u64 {
    bytes.div_ceil(PACKET)
}
