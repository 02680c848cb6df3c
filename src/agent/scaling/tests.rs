//! What a host measures for rules, and from where it gets numbers.

use super::*;
use crate::logic::core::{Effect, Now, Start};
use crate::logic::operation::Observation;
use crate::logic::testing::{app, deployment, facts, host, revision};
use crate::model::{
    Aggregate, Autoscale, Container, Health, ScaleBehavior, ScaleRule, ScaleTarget, SealedRevision,
    WallSeconds,
};

fn now(millis: u64) -> Now {
    Now { moment: Moment(millis), wall: WallSeconds(0) }
}

fn json(url: &str) -> ScaleMetric {
    ScaleMetric::Json { url: url.to_owned(), path: "jobs".to_owned() }
}

fn exec(service: &str) -> ScaleMetric {
    ScaleMetric::Exec { service: service.into(), command: vec!["count".to_owned()] }
}

/// One host alone, with two replicas of `web` by these rules and one of `queue`; they run when
/// `running`.
fn core(rules: &[(ScaleMetric, ScaleTarget)], running: bool) -> Core {
    let start = Start::new(host(1), "10.208.0.0/12".parse().unwrap(), facts(1));
    let mut core = Core::new(now(1), start);
    let handle = |core: &mut Core, millis, event| -> Vec<Effect> {
        let mut out = Vec::new();
        core.handle(now(millis), event, &mut out);
        out
    };
    handle(&mut core, 2, Event::Observed(Observation::default()));
    let mut web = deployment("web", 2);
    web.container.resources.cpu_reserved_millis = 500;
    web.autoscale = Some(Autoscale {
        min: 1,
        max: 9,
        rules: rules
            .iter()
            .map(|(metric, target)| ScaleRule { metric: metric.clone(), target: *target })
            .collect(),
        interval_ms: 6_000,
        tolerance: 0.1,
        up: ScaleBehavior::up(),
        down: ScaleBehavior::down(),
        asked: None,
    });
    let mut queue = deployment("queue", 1);
    let network = queue.networks.values_mut().next().expect("it is on one");
    network.aliases = vec!["jobs.example".to_owned()];
    let revision = SealedRevision::new(revision(1, &[("web", web), ("queue", queue)]));
    let asked = handle(&mut core, 3, Event::Submitted(Box::new(revision)));
    if running {
        let plan = core.state().plan(&app()).expect("it is planned").clone();
        let containers = plan.assignments.iter().zip(1..).map(|(assignment, n)| Container {
            id: format!("id-{}", assignment.replica),
            name: String::new(),
            replica: assignment.replica.clone(),
            generation: assignment.generation,
            spec_hash: assignment.spec_hash.clone(),
            state: ContainerState::Running,
            started: 1,
            devices: Default::default(),
            step: None,
            farewell: None,
            limits: crate::model::Limits::default(),
            health: Health::None,
            addresses: [("shop_default".to_owned(), [10, 208, 0, n].into())].into(),
            image: String::new(),
        });
        let seen = Observation { containers: containers.collect(), ..Observation::default() };
        handle(&mut core, 4, Event::Observed(seen));
        for effect in asked {
            if let Effect::Execute(id, _) = effect {
                handle(&mut core, 5, Event::Finished(id, Ok(())));
            }
        }
    }
    core
}

const ONE: ScaleTarget = ScaleTarget::PerReplica(10.0);

/// Where the number of a metric comes from.
#[track_caller]
fn source(metric: ScaleMetric, running: bool) -> Source {
    let wishes = wishes(&core(&[(metric, ONE)], running));
    let [wanted] = wishes.numbers.as_slice() else { panic!("one number: {wishes:?}") };
    assert_eq!((wanted.service.as_str(), wanted.aim), ("web", 10.0));
    wanted.source.clone()
}

fn pages(url: &str, of: &[u8]) -> Source {
    let of = of.iter().map(|n| IpAddr::from([10, 208, 0, *n])).collect();
    Source::Pages { url: HttpUrl::parse(url).unwrap(), of }
}

#[test]
fn names_of_services_lead_to_their_replicas_and_others_to_the_resolver() {
    // The queue's replica comes first by name.
    for name in ["queue", "queue.shop", "queue.shop.internal", "jobs.example"] {
        let url = format!("http://{name}:9090/metrics");
        assert_eq!(source(json(&url), true), pages(&url, &[1]), "{name}");
    }
    let own = "http://web/load";
    assert_eq!(source(json(own), true), pages(own, &[2, 3]), "each of its own is asked");
    let other = "http://example.com/load";
    assert_eq!(source(json(other), true), pages(other, &[]));
    let nobody = Source::Nowhere("no replica of `queue` is ready".to_owned());
    assert_eq!(source(json("http://queue/"), false), nobody);
    assert_eq!(source(exec("queue"), false), nobody);
    let command = vec!["count".to_owned()];
    let container = "id-shop/queue/1".to_owned();
    assert_eq!(source(exec("queue"), true), Source::Command { container, command });
    let prometheus = ScaleMetric::Prometheus {
        url: own.to_owned(),
        name: "load".to_owned(),
        labels: Default::default(),
        aggregate: Aggregate::Sum,
    };
    assert_eq!(source(prometheus, true), pages(own, &[2, 3]));
}

#[test]
fn replicas_here_are_measured_by_what_is_aimed_at() {
    let rules =
        [(ScaleMetric::Cpu, ScaleTarget::Utilization(50.0)), (ScaleMetric::Connections, ONE)];
    let wishes = wishes(&core(&rules, true));
    assert_eq!(wishes.every, Duration::from_secs(2), "a third of the time between two decisions");
    assert_eq!(wishes.connections, [(app(), "web".into(), 10.0)]);
    assert_eq!(wishes.replicas.len(), 2);
    let first = &wishes.replicas[0];
    assert_eq!(first.container, "id-shop/web/1");
    assert_eq!((first.cpus, first.memory), (Some(0.25), None));
    let told = measured(first, Taken { cpus: Some(0.123_456), memory: Some(5.0) });
    assert_eq!((told.cpus, told.memory), (Some(0.12), None));
    assert_eq!(wishes.here, [(app(), "web".into())]);
    assert!(super::wishes(&core(&rules[..1], false)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_command_in_a_replica_tells_a_number_or_why_not() {
    use crate::docker::fake::{Behaviour, FakeEngine, FakeExec, FakeImage};
    use crate::docker::{CreateContainer, Engine};
    let engine = FakeEngine::default();
    let words = |text: &str| vec![text.to_owned()];
    let exec = |takes, code, output: &str| FakeExec {
        takes,
        code,
        output: output.to_owned(),
        ..FakeExec::default()
    };
    let mut image = FakeImage::new(Behaviour::default());
    image.execs = vec![
        (words("count"), exec(Duration::ZERO, 0, "62 jobs\n")),
        (words("fails"), exec(Duration::ZERO, 1, "cannot\nconnect\n")),
        (words("hangs"), exec(Duration::from_secs(60), 0, "62")),
        (words("nan"), exec(Duration::ZERO, 0, "NaN")),
    ];
    engine.with(|host| host.add_image("queue:1", image));
    let made = CreateContainer {
        name: "queue".to_owned(),
        replica: ReplicaId { app: app(), service: "queue".into(), index: 1 },
        generation: Generation(1),
        revision: String::new(),
        spec_hash: String::new(),
        cluster: String::new(),
        spec: crate::model::ContainerSpec { image: "queue:1".to_owned(), ..Default::default() },
        volumes: BTreeMap::new(),
        networks: Vec::new(),
        joins: None,
        devices: Default::default(),
        step: None,
        resolver: None,
    };
    let id = engine.run(&made).await.unwrap();
    let cases = [
        ("count", Ok(62.0)),
        ("fails", Err("`fails` ended with 1: connect")),
        ("nan", Err("it is `NaN`, which is no amount")),
        ("silent", Err("`silent` wrote no number")),
        ("hangs", Err("took longer than 3 s")),
    ];
    for (command, expected) in cases {
        let metric = ScaleMetric::Exec { service: "queue".into(), command: words(command) };
        let source = Source::Command { container: id.clone(), command: words(command) };
        match (fetch(&engine, &metric, &source).await, expected) {
            (Fetched::Number(number), Ok(expected)) => assert_eq!(number, expected),
            (Fetched::Failed(reason), Err(words)) => {
                assert!(reason.contains(words), "{command}: {reason}");
            }
            (found, expected) => panic!("{command}: {found:?}, not {expected:?}"),
        }
    }
}
