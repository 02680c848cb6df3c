//! Small clusters for tests: hosts, an App, what hosts say of its replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::membership::{Membership, Timing};
use super::plan::plan;
use super::state::State;
use super::view::ClusterView;
use super::{Delta, MemberNews, Rng};
use crate::model::{
    Affinity, AppName, Attachment, Availability, Capacity, Checks, ContainerSpec, Deployment,
    EndpointMode, Fact, Health, HostFacts, HostId, HostWanted, Intent, Inventory, Liveness,
    Measured, Moment, Mount, MountSource, NetworkName, NetworkSpec, Origin, Phase, Placement, Plan,
    ReplicaStatus, Replicas, RestartPolicy, Revision, Row, RowBody, RowKey, RunRequest,
    SealedRevision, ServiceName, UpdatePolicy, Version, VolumeSpec, WallSeconds,
};

pub(crate) fn host(n: usize) -> HostId {
    HostId::new(format!("h{n}"))
}

/// What host `n` says of itself: four CPUs, 8 GiB, nothing on it yet.
pub(crate) fn facts(n: usize) -> HostFacts {
    HostFacts {
        name: format!("name{n}"),
        address: format!("10.0.0.{n}:7400").parse().unwrap(),
        slice: format!("10.208.{}.0/20", n * 16).parse().unwrap(),
        labels: BTreeMap::new(),
        availability: Availability::Active,
        capacity: Capacity { cpu_millis: 4000, memory: 8 << 30 },
        platform: "linux/amd64".to_owned(),
        engine_version: "20.10.24".to_owned(),
        agent_version: String::new(),
        disk_full: false,
        sctp: false,
        inventory: Inventory::default(),
        authority: None,
        volumes: BTreeSet::new(),
        images: BTreeSet::new(),
        blocks: Vec::new(),
    }
}

pub(crate) fn app() -> AppName {
    AppName::from("shop")
}

/// A deployment of so many replicas on the default network.
pub(crate) fn deployment(image: &str, replicas: u32) -> Deployment {
    Deployment {
        replicas: Replicas::Count(replicas),
        container: ContainerSpec { image: image.to_owned(), ..ContainerSpec::default() },
        depends_on: BTreeMap::new(),
        restart: RestartPolicy::Always,
        placement: Placement::default(),
        update: UpdatePolicy::default(),
        ports: Vec::new(),
        networks: BTreeMap::from([(NetworkName::from("default"), Attachment::default())]),
        endpoint_mode: EndpointMode::Vip,
        name_servers: Vec::new(),
        affinity: Affinity::None,
        rollback: None,
        attempt: 0,
        checks: Checks::default(),
        order: None,
        joins: None,
        autoscale: None,
        vertical: None,
        life: Default::default(),
        gang: None,
    }
}

/// Mounts a named volume.
pub(crate) fn volume(name: &str) -> Mount {
    let source = MountSource::Volume { name: name.to_owned(), nocopy: false, subpath: None };
    Mount { target: format!("/{name}"), read_only: false, source }
}

/// Mounts a path of the host.
pub(crate) fn bind(path: &str) -> Mount {
    let source = MountSource::Bind {
        path: path.to_owned(),
        create: false,
        propagation: None,
        recursive: None,
        selinux: None,
    };
    Mount { target: path.to_owned(), read_only: false, source }
}

/// A Revision of these Deployments, from host 1; every volume they mount is declared.
pub(crate) fn revision(sequence: u64, deployments: &[(&str, Deployment)]) -> Revision {
    let keys = deployments.iter().flat_map(|(_, deployment)| deployment.volumes());
    let volumes = keys.map(|key| {
        (key.to_owned(), VolumeSpec { name: format!("shop_{key}"), ..VolumeSpec::default() })
    });
    let networks = deployments.iter().flat_map(|(_, deployment)| deployment.networks.keys());
    let networks = networks.map(|network| {
        let name = format!("shop_{network}");
        (network.clone(), NetworkSpec { name, ..NetworkSpec::default() })
    });
    Revision {
        app: app(),
        sequence,
        parents: Vec::new(),
        intent: Intent::Run,
        volumes: volumes.collect(),
        networks: networks.collect(),
        jobs: BTreeMap::new(),
        deployments: deployments
            .iter()
            .map(|(name, deployment)| (ServiceName::from(*name), deployment.clone()))
            .collect(),
        origin: Origin {
            host: host(1),
            command: "up".to_owned(),
            at: WallSeconds(0),
            by: None,
            asked: None,
        },
    }
}

/// A cluster as host 1 sees it.
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) liveness: BTreeMap<HostId, Liveness>,
    /// Dead for so long that they are given up.
    pub(crate) gone: BTreeSet<HostId>,
    facts: BTreeMap<HostId, HostFacts>,
    counter: u64,
    me: HostId,
    /// What the wall clock of host 1 says, where it may start jobs.
    pub(crate) wall: Option<WallSeconds>,
}

impl Cluster {
    /// Hosts 1 to `n`, all alive.
    pub(crate) fn new(n: usize) -> Self {
        let mut cluster = Self {
            state: State::new(host(1), 1, Vec::new(), Vec::new()),
            liveness: (1..=n).map(|n| (host(n), Liveness::Alive)).collect(),
            gone: BTreeSet::new(),
            facts: BTreeMap::new(),
            counter: 0,
            me: host(1),
            wall: None,
        };
        for index in 1..=n {
            cluster.facts.insert(host(index), facts(index));
            cluster.change(index, |_| {});
        }
        cluster
    }

    /// Changes what a host says of itself.
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut HostFacts)) {
        let id = host(index);
        let mut facts = self.facts[&id].clone();
        change(&mut facts);
        self.facts.insert(id.clone(), facts.clone());
        self.say(&id, RowKey::Host, RowBody::of(&facts));
    }

    /// A further host joins, which differs by a change.
    pub(crate) fn add(&mut self, index: usize, change: impl FnOnce(&mut HostFacts)) {
        self.facts.insert(host(index), facts(index));
        self.liveness.insert(host(index), Liveness::Alive);
        self.change(index, change);
    }

    /// Somebody asks something of host `of`, on host `by`.
    pub(crate) fn want(&mut self, by: usize, of: usize, wanted: HostWanted) {
        self.say(&host(by), RowKey::Wanted(host(of)), RowBody::of(&wanted));
    }

    /// A host says what it measured.
    pub(crate) fn measured(&mut self, index: usize, measured: &Measured) {
        self.say(&host(index), RowKey::Measured(app()), RowBody::of(measured));
    }

    /// Host 1 removes a host for good.
    pub(crate) fn remove(&mut self, index: usize) {
        self.say(&host(1), RowKey::Removed(host(index)), RowBody::of(&true));
        self.facts.remove(&host(index));
        self.liveness.remove(&host(index));
    }

    /// A host dies, and is given up.
    pub(crate) fn kill(&mut self, index: usize) {
        self.liveness.insert(host(index), Liveness::Dead);
        self.gone.insert(host(index));
    }

    /// A host is back.
    pub(crate) fn revive(&mut self, index: usize) {
        self.liveness.insert(host(index), Liveness::Alive);
        self.gone.remove(&host(index));
    }

    fn say(&mut self, owner: &HostId, key: RowKey, body: RowBody) {
        self.counter += 1;
        let version = Version { epoch: 1, counter: self.counter };
        if *owner == self.me {
            // Our own Rows are written, not merged.
            let fact = match &key {
                RowKey::Host => Fact::Host(body.read().unwrap()),
                RowKey::Replicas(_) => Fact::Replicas(body.read().unwrap()),
                RowKey::Plan(_) => Fact::Plan(body.read().unwrap()),
                RowKey::Removed(_) => Fact::Removed,
                RowKey::Wanted(_) => Fact::Wanted(body.read().unwrap()),
                RowKey::Operator(_) => Fact::Operator(body.read().unwrap()),
                RowKey::Measured(_) => Fact::Measured(body.read().unwrap()),
                RowKey::Asked(_) => Fact::Asked(body.read().unwrap()),
                RowKey::Provider => Fact::Provider(body.read().unwrap()),
                RowKey::Fleet => Fact::Fleet(body.read().unwrap()),
                RowKey::Other(_) => unreachable!("this version says what it knows"),
            };
            self.state.write(key, &fact);
            return;
        }
        let row = Row { owner: owner.clone(), key, version, body };
        self.state.merge(Delta { rows: vec![row], revisions: Vec::new() });
    }

    /// Who is there, as host 1 knows it.
    pub(crate) fn membership(&self) -> Membership {
        let address = self.facts[&self.me].address;
        let timing = Timing::default();
        let mut membership = Membership::new(self.me.clone(), address, timing, Rng::new(1));
        let mut now = Moment(0);
        let others = || self.facts.iter().filter(|(id, _)| **id != self.me);
        for (id, facts) in others().filter(|(id, _)| self.gone.contains(*id)) {
            membership.introduce(now, id.clone(), facts.address);
        }
        now = now + timing.first_eviction + Duration::from_secs(1);
        membership.handle_timer(now, &mut Vec::new());
        for (id, facts) in others().filter(|(id, _)| !self.gone.contains(*id)) {
            membership.introduce(now, id.clone(), facts.address);
            let liveness = self.liveness[id];
            if liveness != Liveness::Dead {
                let news = MemberNews {
                    host: id.clone(),
                    address: facts.address,
                    incarnation: 1,
                    liveness,
                };
                let out = &mut Vec::new();
                membership.handle_members(now, &self.me, facts.address, &[news], out);
            }
        }
        membership
    }

    /// Looks at the cluster.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&ClusterView<'_>) -> T) -> T {
        let membership = self.membership();
        let pool = "10.208.0.0/12".parse().unwrap();
        let (view, announced) =
            (ClusterView::new(pool, &self.me, &self.state, &membership), Default::default());
        match self.wall {
            Some(wall) => look(&view.with_clock(wall, &announced)),
            None => look(&view),
        }
    }

    /// Host `on` is asked to have something run.
    pub(crate) fn ask(&mut self, on: usize, requests: &[RunRequest]) {
        self.say(&host(on), RowKey::Asked(app()), RowBody::of(&requests));
    }

    /// Takes in a Revision.
    pub(crate) fn submit(&mut self, revision: Revision) {
        self.state.add_revision(revision);
    }

    /// The next Plan, as host 1 would make it; kept as its Row.
    pub(crate) fn plan(&mut self) -> Option<Plan> {
        let next = self.look(|view| {
            let revision = self.state.winner(&app()).expect("something was submitted");
            plan(view, &app(), revision)
        })?;
        self.planned_by(1, next.clone());
        Some(next)
    }

    /// Takes in a Plan that some host made.
    pub(crate) fn planned_by(&mut self, index: usize, plan: Plan) {
        let plan = Plan { home: host(index), ..plan };
        self.say(&host(index), RowKey::Plan(app()), RowBody::of(&plan));
    }

    /// Host 2 made this Plan for another App, which differs by a change.
    pub(crate) fn planned_for(
        &mut self,
        other: &str,
        mut plan: Plan,
        change: impl FnOnce(&mut Revision),
    ) {
        let ours = self.state.revision(&app(), &plan.revision).expect("it was submitted");
        let mut revision = Revision { app: AppName::from(other), ..(***ours).clone() };
        change(&mut revision);
        let revision = SealedRevision::new(revision);
        plan.app = revision.app.clone();
        plan.revision = revision.id().clone();
        for assignment in &mut plan.assignments {
            assignment.revision = revision.id().clone();
        }
        self.state.add_revision(revision);
        let key = RowKey::Plan(AppName::from(other));
        self.say(&host(2), key, RowBody::of(&plan));
    }

    /// The Plan that counts.
    pub(crate) fn current(&self) -> Plan {
        self.state.plan(&app()).expect("something was planned").clone()
    }

    /// Every live host says of each replica planned for it what `say` makes of a ready one.
    pub(crate) fn report(&mut self, say: impl Fn(&mut ReplicaStatus)) {
        let mut statuses: BTreeMap<HostId, Vec<ReplicaStatus>> = BTreeMap::new();
        for (n, assignment) in self.current().assignments.into_iter().enumerate() {
            let slice = self.facts[&assignment.host].slice;
            let octet = u8::try_from(n).expect("tests are small") + 66;
            let mut address = slice.network().octets();
            address[3] = octet;
            let mut status = ReplicaStatus {
                replica: assignment.replica,
                generation: assignment.generation,
                spec_hash: assignment.spec_hash,
                phase: Phase::Running,
                health: Health::None,
                ready: true,
                addresses: BTreeMap::from([(NetworkName::from("default"), address.into())]),
                restarts: 0,
                failures: 0,
                reason: None,
                container: None,
                since: WallSeconds(0),
                again: None,
                not_resized: None,
                exit_code: None,
            };
            say(&mut status);
            statuses.entry(assignment.host).or_default().push(status);
        }
        let live = self.liveness.iter().filter(|(_, liveness)| **liveness != Liveness::Dead);
        let live: Vec<HostId> = live.map(|(id, _)| id.clone()).collect();
        for id in live {
            let mine = statuses.remove(&id).unwrap_or_default();
            self.say(&id, RowKey::Replicas(app()), RowBody::of(&mine));
        }
    }

    /// Plans and reports everything ready until nothing changes. Returns the Plan.
    pub(crate) fn settle(&mut self) -> Plan {
        for _ in 0..50 {
            if self.state.plan(&app()).is_some() {
                self.report(|_| {});
            }
            if self.plan().is_none() {
                return self.current();
            }
        }
        panic!("never settles: {:?}", self.current());
    }
}

/// What a Plan says, in short: `web/1@h1.g1`, with `-` before what is on its way out.
pub(crate) fn short(plan: &Plan) -> Vec<String> {
    let one = |a: &crate::model::Assignment| {
        let sign = if a.outgoing { "-" } else { "" };
        let replica = format!("{}/{}", a.replica.service, a.replica.index);
        format!("{sign}{replica}@{}.g{}", a.host, a.generation)
    };
    plan.assignments.iter().map(one).collect()
}
