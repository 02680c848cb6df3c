//! The images and Apps of the runs.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::docker::fake::{Answers, Behaviour, FakeExit, FakeHealth, FakeImage};
use muster::model::{
    Affinity, AppName, Ask, Check, Checks, Condition, ContainerSpec, Dependency, Deployment,
    EndpointMode, Health, HostId, Intent, Mount, MountSource, NetworkSpec, Origin, Placement,
    Replicas, RestartPolicy, Revision, ServiceName, UpdatePolicy, VolumeSpec, WallSeconds,
};

/// Images that every host has.
pub(crate) fn images() -> Vec<(&'static str, FakeImage)> {
    let run = Behaviour { start_delay: Duration::from_millis(50), ..Behaviour::default() };
    let health =
        |after: u64, verdict| Some(FakeHealth { after: Duration::from_millis(after), verdict });
    let exit = |after: u64, code| {
        let after = Duration::from_millis(after);
        Some(FakeExit { after, code, oom_killed: false })
    };
    let oom = |after: u64| {
        let after = Duration::from_millis(after);
        Some(FakeExit { after, code: 137, oom_killed: true })
    };
    let image = |behaviour| FakeImage::new(behaviour);
    let late = Duration::from_secs(2);
    vec![
        ("app:1", image(Behaviour { stop_delay: Duration::from_millis(400), ..run.clone() })),
        ("db:1", image(Behaviour { health: health(300, Health::Healthy), ..run.clone() })),
        ("stubborn:1", image(Behaviour { stop_delay: Duration::from_secs(20), ..run.clone() })),
        ("sudden:1", image(run.clone())),
        ("hungry:1", image(Behaviour { exit: oom(700), ..run.clone() })),
        ("job:1", image(Behaviour { exit: exit(800, 0), ..run.clone() })),
        ("crash:1", image(Behaviour { exit: exit(1_500, 1), ..run.clone() })),
        ("latecrash:1", image(Behaviour { exit: exit(5_000, 1), ..run.clone() })),
        ("late:1", image(Behaviour { answers: Answers::After(late), ..run.clone() })),
        ("rude:1", image(Behaviour { answers: Answers::Badly, ..run.clone() })),
        ("mute:1", image(Behaviour { answers: Answers::Hangs, ..run.clone() })),
        ("sick:1", image(Behaviour { health: health(300, Health::Unhealthy), ..run })),
    ]
}

/// Images that have to be pulled.
pub(crate) fn registry() -> Vec<(&'static str, FakeImage)> {
    vec![("slow:1", FakeImage::new(Behaviour::default()))]
}

/// The App of the runs.
pub(crate) fn shop_name() -> AppName {
    AppName::from("shop")
}

/// A web service in front of a database with a volume that a one-shot prepares, as in the examples.
pub(crate) fn shop(replicas: u32, tag: &str) -> Revision {
    shop_of("app:1", replicas, tag)
}

/// The same from another image.
pub(crate) fn shop_of(image: &str, replicas: u32, tag: &str) -> Revision {
    let environment = BTreeMap::from([("TAG".to_owned(), tag.to_owned())]);
    let web = ContainerSpec { image: image.to_owned(), environment, ..ContainerSpec::default() };
    let data = Mount {
        target: "/data".to_owned(),
        read_only: false,
        source: MountSource::Volume { name: "data".to_owned(), nocopy: false, subpath: None },
    };
    let db =
        ContainerSpec { image: "db:1".to_owned(), mounts: vec![data], ..ContainerSpec::default() };
    let job = ContainerSpec { image: "job:1".to_owned(), ..ContainerSpec::default() };
    let need = |condition| Dependency { condition, required: true, restart: false };
    let mut migrate = deployment(job, 1);
    migrate.restart = RestartPolicy::Never;
    migrate.depends_on.insert(ServiceName::from("db"), need(Condition::Healthy));
    let mut web = deployment(web, replicas);
    web.depends_on.insert(ServiceName::from("db"), need(Condition::Started));
    web.depends_on.insert(ServiceName::from("migrate"), need(Condition::CompletedSuccessfully));
    let deployments = BTreeMap::from([
        (ServiceName::from("web"), web),
        (ServiceName::from("migrate"), migrate),
        (ServiceName::from("db"), deployment(db, 1)),
    ]);
    let network = NetworkSpec { name: "shop_default".to_owned(), ..NetworkSpec::default() };
    let volume = VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() };
    Revision {
        deployments,
        networks: BTreeMap::from([("default".into(), network)]),
        volumes: BTreeMap::from([("data".to_owned(), volume)]),
        ..removed(Intent::Run)
    }
}

/// A check that is asked every second, and fails after two bad answers.
pub(crate) fn check() -> Check {
    Check {
        ask: Ask::Tcp { port: 80 },
        interval_ms: 1_000,
        timeout_ms: 500,
        retries: 2,
        start_period_ms: 0,
        start_interval_ms: 200,
    }
}

/// Says what is asked of the replicas of `web`.
pub(crate) fn asked(mut revision: Revision, ready: Option<Check>, live: Option<Check>) -> Revision {
    let web = revision.deployments.get_mut(&ServiceName::from("web")).expect("the shop has one");
    web.checks = Checks { ready, live };
    revision
}

/// Changes how `web` is updated.
pub(crate) fn updated_by(mut revision: Revision, update: UpdatePolicy) -> Revision {
    let web = revision.deployments.get_mut(&ServiceName::from("web")).expect("the shop has one");
    web.update = update;
    revision
}

/// The shop with a service whose containers join the network of `web`'s.
pub(crate) fn shop_with_companion(replicas: u32, tag: &str) -> Revision {
    let mut shop = shop(replicas, "1");
    let environment = BTreeMap::from([("TAG".to_owned(), tag.to_owned())]);
    let image = "db:1".to_owned();
    let container = ContainerSpec { image, environment, ..ContainerSpec::default() };
    let joins = Some(ServiceName::from("web"));
    let beside = Deployment { joins, networks: BTreeMap::new(), ..deployment(container, replicas) };
    shop.deployments.insert(ServiceName::from("beside"), beside);
    shop
}

/// The App taken down.
pub(crate) fn removed(intent: Intent) -> Revision {
    Revision {
        app: shop_name(),
        sequence: 0,
        parents: Vec::new(),
        intent,
        deployments: BTreeMap::new(),
        jobs: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        origin: Origin {
            host: HostId::from(""),
            command: String::new(),
            at: WallSeconds(0),
            by: None,
            asked: None,
        },
    }
}

pub(crate) fn deployment(container: ContainerSpec, replicas: u32) -> Deployment {
    Deployment {
        replicas: Replicas::Count(replicas),
        container,
        depends_on: BTreeMap::new(),
        restart: RestartPolicy::Always,
        placement: Placement::default(),
        update: UpdatePolicy::default(),
        ports: Vec::new(),
        networks: BTreeMap::from([("default".into(), Default::default())]),
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
