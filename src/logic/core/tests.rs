//! One core and what comes out of it.

mod hostile;

use super::*;
use crate::logic::operation::{Observation, Operation};
use crate::logic::testing::{deployment, facts, host, revision};
use crate::logic::{Applied, MemberNews, Message, Probe, ProbeKind};
use crate::model::{
    Container, ContainerState, Generation, Health, Operator, Plan, ReplicaId, Revision, Row,
    RowBody, SealedRevision,
};

fn start(peers: &[usize]) -> Core {
    let start = Start {
        peers: peers.iter().map(|n| (host(*n), facts(*n).address)).collect(),
        ..Start::new(host(1), "10.208.0.0/12".parse().unwrap(), facts(1))
    };
    Core::new(at(1), start)
}

fn at(millis: u64) -> Now {
    Now { moment: Moment(millis), wall: WallSeconds(0) }
}

fn handle(core: &mut Core, millis: u64, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    core.handle(at(millis), event, &mut out);
    out
}

fn from(n: usize, message: Message) -> Event {
    Event::Received { from: host(n), address: facts(n).address, message }
}

fn ping(news: Vec<MemberNews>) -> Message {
    Message::Probe(Probe { kind: ProbeKind::Ping, sequence: 1, news })
}

/// A core that is alone with host 2, which holds what it holds.
fn settled() -> Core {
    let mut core = start(&[2]);
    handle(&mut core, 2, Event::Observed(Observation::default()));
    handle(&mut core, 3, from(2, ping(Vec::new())));
    let row = Row {
        owner: host(2),
        key: RowKey::Host,
        version: crate::model::Version { epoch: 1, counter: 1 },
        body: RowBody::of(&facts(2)),
    };
    let delta = Delta { rows: vec![row], revisions: Vec::new() };
    handle(&mut core, 4, from(2, Message::Delta(delta)));
    let digest = core.state.digest(core.membership.summary(), Vec::new(), false);
    handle(&mut core, 5, from(2, Message::Digest(digest)));
    assert!(core.is_settled(at(5)));
    core
}

/// An App that host 1 is the Home of among 1 and 2.
fn mine(core: &Core) -> SealedRevision {
    let names = (0..).map(|n| AppName::new(format!("app{n}")));
    let app = names.into_iter().find(|app| core.home(app) == core.me()).expect("one of many");
    Revision { app, ..revision(1, &[("web", deployment("web", 2))]) }.into()
}

#[test]
fn a_revision_leaves_together_with_its_first_plan_and_after_both_are_on_disk() {
    let mut core = settled();
    let revision = mine(&core);
    let out = handle(&mut core, 10, Event::Submitted(Box::new(revision)));
    let sent: Vec<(usize, &Delta)> = out
        .iter()
        .enumerate()
        .filter_map(|(index, effect)| match effect {
            Effect::Send { message: Message::Delta(delta), .. } => Some((index, delta)),
            _ => None,
        })
        .collect();
    let [(index, delta)] = sent.as_slice() else { panic!("one message: {sent:?}") };
    assert_eq!(delta.revisions.len(), 1);
    assert!(delta.rows.iter().any(|row| matches!(row.key, RowKey::Plan(_))));
    let durable = out.iter().take(*index).filter_map(|effect| match effect {
        Effect::Persist { record, durable: true } => Some(record),
        _ => None,
    });
    let durable: Vec<_> = durable.collect();
    assert!(durable.iter().any(|record| matches!(record, Record::Revision(_))));
    assert!(
        durable
            .iter()
            .any(|record| matches!(record, Record::Row(row) if matches!(row.key, RowKey::Plan(_))))
    );
}

/// Whether a Plan of host 1 is among what is to be written.
fn plans(out: &[Effect]) -> bool {
    out.iter().any(|effect| match effect {
        Effect::Persist { record: Record::Row(row), .. } => {
            row.owner == host(1) && matches!(row.key, RowKey::Plan(_))
        }
        _ => false,
    })
}

#[test]
fn a_home_that_takes_over_waits_for_what_the_one_before_has_on_the_way() {
    let mut core = settled();
    let revision = mine(&core);
    let plan = crate::logic::plan::plan(&core.view(), &revision.app, &revision).unwrap();
    let theirs = |number| {
        let assignments = Vec::new();
        let plan = Plan { home: host(2), number, assignments, ..plan.clone() };
        let version = crate::model::Version { epoch: 1, counter: 1 + number };
        let key = RowKey::Plan(revision.app.clone());
        let row = Row { owner: host(2), key, version, body: RowBody::of(&plan) };
        let delta = Delta { rows: vec![row], revisions: vec![revision.clone()] };
        from(2, Message::Delta(delta))
    };
    assert!(!plans(&handle(&mut core, 10, theirs(1))));
    assert!(!plans(&handle(&mut core, 400, theirs(2))));
    assert!(!plans(&handle(&mut core, 899, Event::Timer)));
    assert!(core.next_deadline() <= Moment(900));
    assert!(plans(&handle(&mut core, 900, Event::Timer)));
}

#[test]
fn a_host_is_known_before_its_engine_answers() {
    let mut core = start(&[]);
    handle(&mut core, 2, Event::Timer);
    let hosts: Vec<_> = core.view().hosts.keys().map(|host| (*host).clone()).collect();
    assert_eq!(hosts, [host(1)]);
}

#[test]
fn nothing_is_derived_anew_when_nothing_changed() {
    let mut core = settled();
    let revision = mine(&core);
    handle(&mut core, 10, Event::Submitted(Box::new(revision)));
    core.next_sync = Moment(10_000);
    let before = core.derived_from;
    // What a derivation would overwrite.
    core.names = None;
    for millis in 11..20 {
        handle(&mut core, millis, from(2, ping(Vec::new())));
        let known = core.membership.summary();
        let digest = core.state.digest(known, Vec::new(), true);
        handle(&mut core, millis, from(2, Message::Digest(digest)));
    }
    assert_eq!(core.derived_from, before);
    assert_eq!(core.names, None);
}

#[test]
fn an_agent_that_starts_touches_nothing_before_it_has_heard_from_others() {
    let mut core = start(&[2]);
    let container = Container {
        id: "c".to_owned(),
        name: "c".to_owned(),
        replica: ReplicaId { app: "shop".into(), service: "web".into(), index: 1 },
        generation: Generation(1),
        spec_hash: String::new(),
        state: ContainerState::Running,
        health: Health::None,
        addresses: BTreeMap::new(),
        image: String::new(),
        started: 0,
        devices: Default::default(),
        step: None,
        farewell: None,
        limits: crate::model::Limits::default(),
    };
    let seen = Observation { containers: vec![container], ..Observation::default() };
    let mut out = handle(&mut core, 2, Event::Observed(seen));
    for millis in [500, 1_000, 1_500, 1_900] {
        out.extend(handle(&mut core, millis, Event::Timer));
    }
    assert!(!out.iter().any(|effect| matches!(effect, Effect::Execute(..))));
    assert!(!core.is_settled(at(1_900)));
    assert!(core.is_settled(at(2_001)), "nobody answers: it goes on alone");
}

#[test]
fn a_removed_host_is_not_listened_to_and_learns_of_it() {
    let mut core = settled();
    let out = handle(&mut core, 10, Event::Removed(host(2)));
    let forgets = |effect: &Effect| {
        matches!(effect, Effect::Persist { record: Record::ForgetPeer { .. }, .. })
    };
    assert!(out.iter().any(forgets));
    assert!(core.membership.members().is_empty());
    let out = handle(&mut core, 11, from(2, ping(Vec::new())));
    assert!(core.membership.members().is_empty());
    let told = out.iter().any(|effect| {
        let Effect::Send { to, message: Message::Delta(delta), .. } = effect else { return false };
        *to == host(2) && delta.rows.iter().any(|row| row.key == RowKey::Removed(host(2)))
    });
    assert!(told, "{out:?}");
}

#[test]
fn a_host_that_learns_it_was_removed_gives_up_what_it_runs() {
    let mut core = settled();
    let revision = mine(&core);
    let out = handle(&mut core, 10, Event::Submitted(Box::new(revision.clone())));
    let run = out.iter().find_map(|effect| match effect {
        Effect::Execute(id, Operation::Run(run)) => Some((*id, run.clone())),
        _ => None,
    });
    let (id, run) = run.expect("one of two replicas is here");
    let container = Container {
        id: "c".to_owned(),
        name: run.name.clone(),
        replica: run.replica.clone(),
        generation: run.generation,
        spec_hash: run.spec_hash.clone(),
        state: ContainerState::Exited { code: 1, oom_killed: false },
        health: Health::None,
        addresses: BTreeMap::new(),
        image: String::new(),
        started: 0,
        devices: Default::default(),
        step: None,
        farewell: None,
        limits: crate::model::Limits::default(),
    };
    let seen = Observation { containers: vec![container], ..Observation::default() };
    handle(&mut core, 11, Event::Observed(seen));
    handle(&mut core, 12, Event::Finished(id, Ok(())));
    let row = Row {
        owner: host(2),
        key: RowKey::Removed(host(1)),
        version: crate::model::Version { epoch: 1, counter: 9 },
        body: RowBody::of(&true),
    };
    let delta = Delta { rows: vec![row], revisions: Vec::new() };
    let out = handle(&mut core, 13, from(2, Message::Delta(delta)));
    let removed = out.iter().any(|effect| {
        matches!(effect, Effect::Execute(_, Operation::Remove { container, .. }) if container == "c")
    });
    assert!(removed, "{out:?}");
}

#[test]
fn whoever_is_let_in_is_kept_told_and_refused_once_it_is_removed_whoever_let_it_in() {
    let mut core = settled();
    let operator = Operator {
        name: "anna".to_owned(),
        role: crate::model::Role::Viewer,
        invited_by: "local".to_owned(),
        since: WallSeconds(7),
    };
    let id = HostId::from("00000000000000aa");
    let out = handle(&mut core, 10, Event::LetIn(id.clone(), operator.clone()));
    let kept = |effect: &Effect| match effect {
        Effect::Persist { record: Record::Row(row), durable: true } => {
            row.key == RowKey::Operator(id.clone())
        }
        _ => false,
    };
    let told = |effect: &Effect| match effect {
        Effect::Send { to, message: Message::Delta(delta), .. } => {
            *to == host(2) && delta.rows.iter().any(|row| row.key == RowKey::Operator(id.clone()))
        }
        _ => false,
    };
    let position = |is: &dyn Fn(&Effect) -> bool| out.iter().position(is);
    assert!(position(&kept).unwrap() < position(&told).unwrap(), "{out:?}");
    // One that the other host let in outlives that host.
    let row = Row {
        owner: host(2),
        key: RowKey::Operator("00000000000000bb".into()),
        version: crate::model::Version { epoch: 1, counter: 9 },
        body: RowBody::of(&Operator { name: "ben".to_owned(), ..operator }),
    };
    let delta = Delta { rows: vec![row], revisions: Vec::new() };
    handle(&mut core, 11, from(2, Message::Delta(delta)));
    handle(&mut core, 12, Event::Removed(host(2)));
    let names = |core: &Core| -> Vec<String> {
        core.state().operators().into_values().map(|(_, one)| one.name.clone()).collect()
    };
    assert_eq!(names(&core), ["anna", "ben"]);
    let out = handle(&mut core, 13, Event::Removed("00000000000000bb".into()));
    assert_eq!(names(&core), ["anna"]);
    let refused = out.iter().find_map(|effect| match effect {
        Effect::Refuse(refused) => Some(refused.clone()),
        _ => None,
    });
    assert!(refused.unwrap().contains(&HostId::from("00000000000000bb")));
}

#[test]
fn row_32_whoever_asks_is_told_when_the_kernel_goes_by_a_plan_and_not_before() {
    let mut core = settled();
    let revision = mine(&core);
    let app = revision.app.clone();
    let out = handle(&mut core, 6, Event::Submitted(Box::new(revision)));
    let network = out.iter().find_map(|effect| {
        if let Effect::Network(network) = effect { Some(network.clone()) } else { None }
    });
    let network = network.expect("a new App is news to the kernel");
    let plan = core.state().plan(&app).expect("it is planned").number;
    let told = |out: &[Effect]| {
        let answer = |effect: &Effect| {
            matches!(effect, Effect::Send { to, message: Message::Applied(applied), .. }
                if *to == host(2) && applied.plan >= plan && applied.app == app)
        };
        out.iter().any(answer)
    };
    let ask = |plan| from(2, Message::AskApplied(Applied { app: app.clone(), plan }));
    assert!(!told(&handle(&mut core, 7, ask(plan))), "the rules are not in place yet");
    let in_place = |network: &NetworkIntent| Event::InPlace(Box::new(network.clone()));
    let old = NetworkIntent { services: BTreeMap::new(), ..network.clone() };
    assert!(!told(&handle(&mut core, 8, in_place(&old))), "these are older ones");
    assert!(told(&handle(&mut core, 9, in_place(&network))));
    assert!(!told(&handle(&mut core, 10, Event::Timer)), "once is enough");
    assert!(told(&handle(&mut core, 11, ask(plan))), "whoever asks again is told again");
    assert!(!told(&handle(&mut core, 12, ask(plan + 1))), "that Plan has not come");
}
