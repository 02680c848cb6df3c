//! What a Plan costs: the processor time one Home takes to make it, and the memory of a process that does
//! nothing else, by the size of the cluster.

use std::process::Command;
use std::time::Duration;

use ipnet::Ipv4Net;
use muster::logic::core::{Core, Event, Now, Start};
use muster::logic::plan::plan;
use muster::logic::{Delta, MemberNews, Message, Probe, ProbeKind};
use muster::model::{
    AppName, HostId, Liveness, Moment, Replicas, Revision, RowKey, SealedRevision, ServiceName,
    WallSeconds,
};

use crate::apps::shop;
use crate::weight::{learn, of_process, row, statuses};
use crate::world::{SimHost, address, host_id};

/// One App on so many hosts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) hosts: usize,
    pub(crate) replicas: u32,
    /// Among which the replicas are divided evenly.
    pub(crate) services: u32,
}

/// What was measured at one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds for the first Plan, which places everything.
    pub(crate) first: f64,
    /// Seconds to find that a Plan that is carried out stands.
    pub(crate) again: f64,
    /// Seconds for the Plan after a tenth of the hosts died.
    pub(crate) deaths: f64,
    /// The most that the process had in memory, in MB.
    pub(crate) memory: f64,
}

impl Cost {
    /// The slowest of the Plans, in seconds.
    pub(crate) fn slowest(&self) -> f64 {
        self.first.max(self.again).max(self.deaths)
    }
}

/// Sizes that show how the cost grows, and shapes of the largest one.
pub(crate) const SIZES: [Size; 7] = [
    Size { hosts: 10, replicas: 100, services: 10 },
    Size { hosts: 100, replicas: 1_000, services: 10 },
    Size { hosts: 300, replicas: 3_000, services: 10 },
    Size { hosts: 1_000, replicas: 10_000, services: 10 },
    Size { hosts: 1_000, replicas: 10_000, services: 1 },
    Size { hosts: 1_000, replicas: 10_000, services: 100 },
    Size { hosts: 1_000, replicas: 10_000, services: 1_000 },
];

/// Measures in a process of its own.
pub(crate) fn cost(size: Size) -> Cost {
    let this = std::env::current_exe().expect("it runs");
    let mut child = Command::new(this);
    child.args(["plan_of_one_size", "--exact", "--ignored", "--nocapture"]);
    let Size { hosts, replicas, services } = size;
    child.env("MUSTER_SIM_PLAN", format!("{hosts} {replicas} {services}"));
    let output = child.output().expect("it starts again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cost = text.lines().find_map(|line| line.strip_prefix("cost "));
    let cost = cost.unwrap_or_else(|| panic!("{output:?}")).split(' ');
    let numbers: Vec<f64> = cost.map(|number| number.parse().unwrap()).collect();
    let [first, again, deaths, memory] = numbers[..] else { panic!("{text}") };
    Cost { first, again, deaths, memory }
}

/// The child of [`cost`].
pub(crate) fn measure_one() {
    let asked = std::env::var("MUSTER_SIM_PLAN").expect("`cost` sets it");
    let numbers: Vec<usize> = asked.split(' ').map(|number| number.parse().unwrap()).collect();
    let (n_hosts, replicas, services) = (numbers[0], numbers[1] as u32, numbers[2] as u32);
    let mut core = hosts(n_hosts);
    let revision = SealedRevision::new(app(replicas, services));
    let name = revision.app.clone();
    let (first, made) = timed(|| plan(&core.view(), &name, &revision));
    let mut made = made.expect("everything is to be placed");
    assert_eq!(made.assignments.len(), replicas as usize, "{:?}", made.waiting);
    // As if another host were the Home, so that this one takes it in like any other Row.
    made.home = host_id(1);
    let mut rows = statuses(&made);
    rows.push(row(host_id(1), RowKey::Plan(name.clone()), &made));
    learn(&mut core, Delta { rows, revisions: vec![revision.clone()] });
    let (again, stands) = timed(|| plan(&core.view(), &name, &revision));
    assert!(stands.is_none(), "a Plan that is carried out stands");
    let dead: Vec<HostId> = (1..n_hosts).step_by(10).map(host_id).collect();
    for host in &dead {
        // Removed for good is dead without the wait for it.
        core.handle(now(3), Event::Removed(host.clone()), &mut Vec::new());
    }
    let (deaths, moved) = timed(|| plan(&core.view(), &name, &revision));
    let moved = moved.expect("what they had goes elsewhere");
    assert!(moved.assignments.iter().all(|assignment| !dead.contains(&assignment.host)));
    let (first, again, deaths) = (first.as_secs_f64(), again.as_secs_f64(), deaths.as_secs_f64());
    println!("cost {first} {again} {deaths} {}", peak() as f64 / 1e6);
}

/// Processor time of this thread, so that what else the machine does tells nothing.
fn timed<T>(run: impl FnOnce() -> T) -> (Duration, T) {
    let began = on_processor();
    let result = run();
    (on_processor() - began, result)
}

/// How long this thread has been on a processor (`proc(5)`, `schedstat`).
fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("it begins with nanoseconds"))
}

/// The most bytes that this process had in memory.
fn peak() -> u64 {
    of_process("VmHWM:")
}

fn now(moment: u64) -> Now {
    Now { moment: Moment(moment), wall: WallSeconds(0) }
}

/// A core that knows so many hosts, all alive.
fn hosts(n: usize) -> Core {
    let pool: Ipv4Net = "10.208.0.0/12".parse().unwrap();
    let me = SimHost::new(0, pool);
    let start = Start {
        peers: (1..n).map(|n| (host_id(n), address(n))).collect(),
        ..Start::new(me.id.clone(), pool, me.facts())
    };
    let mut core = Core::new(now(1), start);
    let others = (1..n).map(|n| row(host_id(n), RowKey::Host, &SimHost::new(n, pool).facts()));
    let ours = row(host_id(0), RowKey::Host, &me.facts());
    let rows = others.collect();
    learn(&mut core, Delta { rows, revisions: Vec::new() });
    // Its own Row it writes itself.
    let facts = ours.body.read().unwrap();
    core.handle(now(2), Event::Facts(facts), &mut Vec::new());
    core.handle(now(2), Event::Observed(Default::default()), &mut Vec::new());
    let alive = |n| MemberNews {
        host: host_id(n),
        address: address(n),
        incarnation: 1,
        liveness: Liveness::Alive,
    };
    let news = (1..n).map(alive).collect();
    let message = Message::Probe(Probe { kind: ProbeKind::Ping, sequence: 1, news });
    let heard = Event::Received { from: host_id(1), address: address(1), message };
    core.handle(now(2), heard, &mut Vec::new());
    core
}

/// An App of so many replicas that reserve a little.
fn app(replicas: u32, services: u32) -> Revision {
    let mut revision = Revision { app: AppName::from("large"), ..shop(1, "1") };
    let mut template = revision.deployments[&ServiceName::from("web")].clone();
    template.depends_on.clear();
    template.replicas = Replicas::Count(replicas / services);
    template.container.resources.memory_reserved = 32 << 20;
    template.container.resources.cpu_reserved_millis = 50;
    let one = |n| (ServiceName::new(format!("service-{n}")), template.clone());
    revision.deployments = (0..services).map(one).collect();
    revision.volumes.clear();
    revision
}
