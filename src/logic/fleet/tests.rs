//! What is asked of a Provider, when, and what follows from its answers.

use std::collections::BTreeSet;

use super::*;
use crate::logic::testing::{Cluster, bind, deployment, host, revision, volume};
use crate::model::{
    Constraint, Deployment, HostFacts, HostWanted, PROVIDER_LABEL, PortMode, Protocol,
    PublishedPort, Replicas,
};

const PROGRAM: &str = "/etc/muster/provider";

/// A cluster with a Provider, and what its hosts keep from look to look.
struct Field {
    cluster: Cluster,
    provider: Provider,
    fleet: Option<Fleet>,
    keeper: Keeper,
    now: Moment,
    /// Hosts there are.
    n: usize,
}

impl Field {
    /// So many hosts, which all have the program.
    fn new(n: usize) -> Self {
        let mut cluster = Cluster::new(n);
        for index in 1..=n {
            cluster.change(index, |facts| facts.inventory.provider = Some(PROGRAM.to_owned()));
        }
        let provider = Provider {
            number: 1,
            command: Some(PROGRAM.to_owned()),
            hosts_max: 5,
            ..Provider::default()
        };
        // Host 1 looks, so it is the one that decides.
        let fleet = Some(Fleet { number: 1, by: Some(host(1)), setting: 1, ..Fleet::default() });
        let (keeper, now) = (Keeper::default(), Moment(1_000));
        Self { cluster, provider, fleet, keeper, now, n }
    }

    /// The same with an App of one service, planned and running.
    fn with(n: usize, service: Deployment) -> Self {
        let mut field = Self::new(n);
        field.up(1, service);
        field
    }

    fn up(&mut self, sequence: u64, service: Deployment) {
        self.cluster.submit(revision(sequence, &[("web", service)]));
        self.cluster.settle();
    }

    /// One look; what it wrote counts from then on, what is wanted of hosts is known.
    fn look(&mut self) -> Vec<Follow> {
        let (now, fleet) = ((self.now, WallSeconds(7)), self.fleet.clone());
        let (keeper, provider) = (&mut self.keeper, &self.provider);
        let outcome = self.cluster.look(|view| keeper.look(view, provider, fleet.as_ref(), now));
        if let Some(fleet) = outcome.fleet {
            self.fleet = Some(fleet);
        }
        for one in &outcome.follow {
            match one {
                Follow::Want(of, availability) => {
                    let index = of.as_str()[1..].parse().unwrap();
                    let number = self.now.0;
                    let wanted = HostWanted { number, availability: *availability, labels: None };
                    self.cluster.want(1, index, wanted);
                }
                Follow::Remove(of) => self.cluster.remove(of.as_str()[1..].parse().unwrap()),
                Follow::Ask(_) => {}
            }
        }
        outcome.follow
    }

    /// Looks every second for so long, and gives what it came to; nothing is answered meanwhile.
    fn wait(&mut self, seconds: u64) -> Vec<Follow> {
        let mut all = Vec::new();
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            all.extend(self.look());
        }
        all
    }

    /// Looks every second until a host is to be drained.
    fn until_drained(&mut self) -> HostId {
        for _ in 0..1000 {
            if let Some(Follow::Want(host, Availability::Drain)) = self.wait(1).into_iter().next() {
                assert_eq!(self.stage(), Some(FleetStage::Drain));
                return host;
            }
        }
        panic!("nobody is drained: {:?}", self.fleet());
    }

    fn answer(&mut self, ask: &Ask, reply: Reply) -> Vec<Follow> {
        self.keeper.answered(ask, reply);
        self.look()
    }

    /// A host joins as this machine.
    fn join(&mut self, machine: u64, change: impl FnOnce(&mut HostFacts)) -> usize {
        self.n += 1;
        let n = self.n;
        self.cluster.add(n, |facts| {
            facts.labels.insert(PROVIDER_LABEL.to_owned(), machine.to_string());
            facts.inventory.provider = Some(PROGRAM.to_owned());
            change(facts);
        });
        n
    }

    fn fleet(&self) -> &Fleet {
        self.fleet.as_ref().unwrap()
    }

    fn problem(&self) -> &str {
        self.fleet().problem.as_deref().unwrap_or_default()
    }

    fn stage(&self) -> Option<FleetStage> {
        self.fleet().step.as_ref().map(|step| step.stage)
    }

    /// Has a machine asked for and promised.
    fn promised(&mut self) -> Ask {
        let ask = only_ask(self.wait(90));
        assert_eq!(ask.verb, Verb::Add);
        self.answer(&ask, yes());
        assert_eq!(self.stage(), Some(FleetStage::Join));
        ask
    }

    /// A third host that the Provider added runs some of `web`, which then has only so many replicas.
    fn grown_then(replicas: u32) -> Self {
        let mut field = Self::with(2, hungry(5));
        let ask = field.promised();
        field.join(ask.machine.unwrap(), |_| {});
        field.wait(5);
        field.cluster.settle();
        field.wait(90);
        assert_eq!(field.fleet().step, None);
        field.up(2, hungry(replicas));
        field
    }
}

fn yes() -> Reply {
    Reply::Accepted(BTreeSet::new())
}

fn no(reason: &str) -> Reply {
    Reply::Refused { reason: reason.to_owned(), retry_after: None }
}

#[track_caller]
fn asks(follow: Vec<Follow>) -> Vec<Ask> {
    let asks = follow.into_iter().filter_map(|one| match one {
        Follow::Ask(ask) => Some(*ask),
        Follow::Want(..) | Follow::Remove(_) => None,
    });
    asks.collect()
}

#[track_caller]
fn only_ask(follow: Vec<Follow>) -> Ask {
    let asks = asks(follow);
    let [ask] = asks.as_slice() else { panic!("one question: {asks:?}") };
    ask.clone()
}

/// Replicas of which two fit on a host.
fn hungry(replicas: u32) -> Deployment {
    let mut deployment = deployment("web", replicas);
    deployment.container.resources.cpu_reserved_millis = 2000;
    deployment
}

#[test]
fn what_has_no_room_for_a_while_is_a_reason_to_ask_once() {
    let mut field = Field::with(2, hungry(5));
    assert_eq!(asks(field.wait(60)), []);
    let ask = only_ask(field.wait(600));
    assert_eq!((ask.verb, ask.machine), (Verb::Add, Some(1)));
    let need = ask.need.clone().unwrap();
    assert_eq!((need.replicas, need.largest.cpu_millis), (1, 2000));
    assert!(
        ask.reason.starts_with("`shop/web/5` has no room: no host fits: not enough CPU"),
        "{}",
        ask.reason
    );
    // It said yes: nothing more is asked while the machine is on its way.
    field.answer(&ask, yes());
    assert_eq!(asks(field.wait(500)), []);
    field.join(1, |_| {});
    field.look();
    assert_eq!(field.stage(), None);
    field.cluster.settle();
    assert_eq!(asks(field.wait(600)), []);
    assert!(field.fleet().unused.is_empty(), "it is in use");
}

#[test]
fn what_another_host_does_not_mend_is_no_reason() {
    #[track_caller]
    fn check(what: &str, change: impl FnOnce(&mut Deployment)) {
        let mut service = hungry(1);
        change(&mut service);
        let mut field = Field::with(2, service);
        assert!(!field.cluster.current().waiting.is_empty(), "{what}: nothing waits");
        assert_eq!(asks(field.wait(3600)), [], "{what}");
        assert_eq!(field.problem(), "");
    }
    let demand = |attribute: &str, value: &str| Constraint {
        attribute: attribute.to_owned(),
        equal: true,
        value: value.to_owned(),
    };
    check("no host has the label", |one| {
        one.placement.constraints.push(demand("node.labels.disk", "ssd"));
    });
    check("a host that there is not", |one| {
        one.placement.constraints.push(demand("node.hostname", "elsewhere"));
    });
    check("another platform", |one| one.placement.platform = Some("linux/arm64".to_owned()));
    check("a generic resource", |one| {
        one.placement.resources.insert("zigbee".to_owned(), 1);
    });
    check("data on one host, which is full", |one| {
        one.replicas = Replicas::Count(3);
        one.container.mounts.push(volume("data"));
    });
    check("a file of one host, which is full", |one| {
        one.replicas = Replicas::Count(3);
        one.container.mounts.push(bind("/srv"));
    });
}

#[test]
fn one_host_that_is_full_is_not_named_by_what_waits() {
    // All rejections are for want of room, and still no other host would do.
    let mut service = hungry(3);
    service.placement.constraints.push(Constraint {
        attribute: "node.hostname".to_owned(),
        equal: true,
        value: "name1".to_owned(),
    });
    let mut field = Field::with(1, service);
    assert!(!field.cluster.current().waiting.is_empty());
    assert_eq!(asks(field.wait(600)), []);
}

#[test]
fn a_label_that_is_asked_for_is_told() {
    let mut service = hungry(5);
    service.placement.constraints.push(Constraint {
        attribute: "node.labels.disk".to_owned(),
        equal: true,
        value: "ssd".to_owned(),
    });
    let mut field = Field::new(2);
    for index in 1..=2 {
        field.cluster.change(index, |facts| {
            facts.labels.insert("disk".to_owned(), "ssd".to_owned());
        });
    }
    field.up(1, service);
    let ask = only_ask(field.wait(90));
    assert_eq!(ask.need.unwrap().labels["disk"], "ssd");
}

#[test]
fn every_no_doubles_the_pause_up_to_half_an_hour() {
    let mut field = Field::with(2, hungry(5));
    let mut ask = only_ask(field.wait(90));
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let began = field.now;
        field.answer(&ask, no("no machines left"));
        assert_eq!(field.problem(), "the provider refused: no machines left");
        ask = loop {
            let mut next = asks(field.wait(1));
            if let Some(next) = next.pop() {
                break next;
            }
            assert!(field.now.since(began) < Duration::from_secs(4000));
        };
        pauses.push(field.now.since(began).as_secs());
        assert_eq!(ask.machine, Some(1), "nothing was made under that number");
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]);
    assert!(field.fleet().decisions.len() <= FLEET_DECISIONS);
    // Whoever sets it anew has it tried at once.
    field.answer(&ask, no("no machines left"));
    field.provider.number += 1;
    assert_eq!(only_ask(field.wait(2)).verb, Verb::Add);
}

#[test]
fn an_absurd_pause_is_no_longer_than_half_an_hour() {
    let mut field = Field::with(2, hungry(5));
    let ask = only_ask(field.wait(90));
    let retry_after = Some(Duration::from_secs(u64::MAX / 2));
    field.answer(&ask, Reply::Refused { reason: "later".to_owned(), retry_after });
    assert_eq!(asks(field.wait(1799)), []);
    assert_eq!(only_ask(field.wait(2)).verb, Verb::Add);
}

#[test]
fn a_machine_that_does_not_join_is_given_back_and_then_another_one_asked_for() {
    let mut field = Field::with(2, hungry(5));
    field.promised();
    let follow = field.wait(600);
    assert_eq!(asks(follow), []);
    assert_eq!(field.problem(), "machine 1 has not joined within 600 s");
    let back = only_ask(field.wait(31));
    assert_eq!((back.verb, back.machine, &back.host), (Verb::Remove, Some(1), &None));
    field.answer(&back, yes());
    assert!(field.fleet().open.is_empty());
    let again = only_ask(field.wait(120));
    assert_eq!((again.verb, again.machine), (Verb::Add, Some(2)));
}

#[test]
fn an_unclear_answer_counts_as_a_machine_until_it_is_given_back() {
    let mut field = Field::with(2, hungry(5));
    let ask = only_ask(field.wait(90));
    field.answer(&ask, Reply::Unclear("no answer".to_owned()));
    assert_eq!(field.fleet().open, BTreeSet::from([1]));
    let back = only_ask(field.wait(31));
    assert_eq!((back.verb, back.machine), (Verb::Remove, Some(1)));
}

#[test]
fn while_a_host_is_dead_nothing_is_given_back_and_three_machines_may_be_open() {
    let mut field = Field::with(4, hungry(9));
    field.provider.hosts_max = 100;
    field.cluster.kill(4);
    for machine in 1..=3 {
        let ask = only_ask(field.wait(3600));
        assert_eq!((ask.verb, ask.machine), (Verb::Add, Some(machine)));
        field.answer(&ask, Reply::Unclear("no answer".to_owned()));
    }
    assert_eq!(asks(field.wait(7200)), []);
    assert!(field.problem().contains("3 machines have not joined"), "{}", field.problem());
    field.cluster.revive(4);
    assert_eq!(only_ask(field.wait(10)).verb, Verb::Remove);
}

#[test]
fn when_half_the_hosts_are_dead_none_is_added() {
    let mut field = Field::with(2, hungry(5));
    field.cluster.kill(2);
    assert_eq!(asks(field.wait(3600)), []);
    let words = "1 of 2 hosts do not answer, which may be the network";
    assert!(field.problem().contains(words), "{}", field.problem());
}

#[test]
fn there_are_never_more_hosts_than_may_be() {
    let mut field = Field::with(2, hungry(5));
    field.provider.hosts_max = 2;
    assert_eq!(asks(field.wait(3600)), []);
    assert!(field.problem().contains("there are 2 hosts, at most 2 may be"), "{}", field.problem());
    // Room was made: the problem is none any more.
    field.up(2, hungry(4));
    field.look();
    assert_eq!(field.problem(), "");
}

#[test]
fn fewer_hosts_than_wanted_are_a_reason() {
    let mut field = Field::new(2);
    field.provider.hosts_min = 3;
    let ask = only_ask(field.wait(90));
    assert_eq!(ask.reason, "2 hosts are alive, at least 3 are wanted");
    field.answer(&ask, yes());
    field.join(1, |_| {});
    field.look();
    // It is empty, and wanted all the same.
    assert_eq!(field.wait(3600), []);
}

#[test]
fn a_machine_that_is_too_small_is_not_asked_for_twice() {
    let mut field = Field::new(2);
    field.up(1, hungry(4));
    let mut large = deployment("web", 1);
    large.container.resources.cpu_reserved_millis = 8000;
    field.up(2, large);
    field.promised();
    let small = field.join(1, |_| {});
    field.look();
    let words = "is too small for shop/web: no other machine is asked for";
    assert!(field.problem().contains(words), "{}", field.problem());
    field.cluster.settle();
    // It is of no use, and goes.
    let follow = field.wait(900);
    let ask = only_ask(follow);
    assert_eq!((ask.verb, ask.host.unwrap().0), (Verb::Remove, host(small)));
    // Another Revision is another try.
    let mut larger = deployment("web", 1);
    larger.container.resources.cpu_reserved_millis = 6000;
    field.answer(&field.keeper.asked.clone().unwrap(), yes());
    field.up(3, larger);
    assert_eq!(only_ask(field.wait(200)).verb, Verb::Add);
}

#[test]
fn a_port_that_is_taken_on_every_machine_is_no_loop() {
    let mut service = deployment("web", 3);
    let (protocol, mode) = (Protocol::Tcp, PortMode::Host);
    service.ports.push(PublishedPort { host_ip: None, published: 22, target: 22, protocol, mode });
    let mut field = Field::with(2, service);
    field.promised();
    let taken = |facts: &mut HostFacts| {
        facts.inventory.taken_ports.insert((22, Protocol::Tcp));
    };
    field.join(1, taken);
    field.look();
    field.cluster.settle();
    let ask = only_ask(field.wait(1200));
    assert_eq!(ask.verb, Verb::Remove, "{:?}", field.fleet());
    assert!(field.fleet().futile.contains_key("shop/web"));
    field.answer(&ask, yes());
    assert_eq!(asks(field.wait(7200)), []);
}

#[test]
fn an_empty_host_is_drained_then_given_back_then_removed() {
    let mut field = Field::grown_then(2);
    let follow = field.wait(599);
    assert_eq!(follow, [], "it may be of use yet");
    let mut follow = field.wait(5);
    assert_eq!(follow.remove(0), Follow::Want(host(3), Availability::Drain));
    let ask = only_ask(follow);
    assert_eq!((ask.verb, ask.machine), (Verb::Remove, Some(1)));
    assert_eq!(ask.host, Some((host(3), "name3".to_owned())));
    assert_eq!(field.answer(&ask, yes()), [Follow::Remove(host(3))]);
    assert_eq!(field.fleet().step, None);
    // Those that were there before are not the Provider's.
    assert_eq!(field.wait(3600), []);
}

#[test]
fn hosts_that_it_did_not_add_go_only_where_that_is_allowed() {
    let mut field = Field::with(3, hungry(1));
    let used = field.cluster.current().assignments[0].host.clone();
    assert_eq!(field.wait(3600), []);
    field.provider.any_host = true;
    let follow = field.wait(700);
    let ask = only_ask(follow);
    let (gone, _) = ask.host.clone().unwrap();
    assert!(gone != used && gone != host(1), "not one that is in use, nor the one that decides");
    assert_eq!(ask.machine, None);
}

#[test]
fn what_holds_data_is_never_given_back() {
    let mut field = Field::grown_then(2);
    field.cluster.change(3, |facts| {
        facts.volumes.insert("shop_data".to_owned());
    });
    assert_eq!(field.wait(3600), []);
}

#[test]
fn a_host_that_is_wanted_while_it_is_drained_stays() {
    let mut field = Field::grown_then(2);
    assert_eq!(field.until_drained(), host(3));
    field.up(3, hungry(5));
    assert_eq!(field.wait(1), [Follow::Want(host(3), Availability::Active)]);
    assert_eq!(field.stage(), None);
}

#[test]
fn what_people_ask_of_a_host_counts_more() {
    let mut field = Field::grown_then(2);
    field.until_drained();
    let number = field.now.0 + 1;
    let availability = Availability::Active;
    field.cluster.want(2, 3, HostWanted { number, availability, labels: None });
    assert_eq!(field.look(), []);
    assert_eq!(field.stage(), None);
    let last = &field.fleet().decisions.last().unwrap().what;
    assert_eq!(last, "`name3` was made active by somebody and stays");
}

#[test]
fn whoever_takes_over_asks_again_with_the_same_key() {
    let mut field = Field::with(2, hungry(5));
    let ask = only_ask(field.wait(90));
    // The other host decided before, and died after it had written this.
    let fleet = Fleet { number: 40, by: Some(host(2)), ..field.fleet().clone() };
    field.fleet = Some(fleet);
    assert_eq!(field.wait(10), [], "it lives");
    field.cluster.change(2, |facts| facts.inventory.provider = None);
    let again = only_ask(field.wait(120));
    assert_eq!((again.verb, again.machine), (ask.verb, ask.machine));
    // An answer to what was asked before it took over is not taken for one.
    field.keeper.answered(&Ask { reason: "another".to_owned(), ..again }, yes());
    field.look();
    assert_eq!(field.stage(), Some(FleetStage::Add));
}

#[test]
fn a_machine_that_joined_meanwhile_is_not_asked_for_again() {
    let mut field = Field::with(2, hungry(5));
    only_ask(field.wait(90));
    field.join(1, |_| {});
    field.fleet.as_mut().unwrap().number = 40;
    field.fleet.as_mut().unwrap().by = Some(host(1));
    assert_eq!(asks(field.wait(1)), []);
    assert_eq!(field.stage(), None);
    assert_eq!(field.fleet().machines, 1);
}

#[test]
fn a_host_without_the_program_leaves_it_to_another() {
    let mut field = Field::with(2, hungry(5));
    field.cluster.change(1, |facts| facts.inventory.provider = None);
    let who =
        field.cluster.look(|view| decider(view, &field.provider, field.fleet.as_ref()).cloned());
    assert_eq!(who, Some(host(2)));
    assert_eq!(field.wait(600), []);
    field.cluster.change(2, |facts| facts.inventory.provider = Some("/bin/other".to_owned()));
    let who =
        field.cluster.look(|view| decider(view, &field.provider, field.fleet.as_ref()).cloned());
    assert_eq!(who, None);
}

#[test]
fn a_host_of_the_provider_leaves_it_to_one_that_stays_once_nothing_goes_on() {
    let mut field = Field::grown_then(2);
    let step = FleetStep {
        stage: FleetStage::Join,
        machine: Some(2),
        host: None,
        need: None,
        reason: String::new(),
    };
    let mut fleet = Fleet { by: Some(host(3)), step: Some(step), ..field.fleet().clone() };
    let who = |field: &Field, fleet: &Fleet| {
        field.cluster.look(|view| decider(view, &field.provider, Some(fleet)).cloned())
    };
    assert_eq!(who(&field, &fleet), Some(host(3)));
    fleet.step = None;
    let next = who(&field, &fleet);
    assert!(next == Some(host(1)) || next == Some(host(2)), "{next:?}");
    fleet.by = Some(host(2));
    assert_eq!(who(&field, &fleet), Some(host(2)));
    field.cluster.change(1, |facts| facts.inventory.provider = None);
    field.cluster.kill(2);
    assert_eq!(who(&field, &fleet), Some(host(3)), "there is no other");
}

#[test]
fn a_dead_host_that_the_provider_does_not_have_any_more_is_removed() {
    let mut field = Field::grown_then(2);
    field.cluster.kill(3);
    let ask = only_ask(field.wait(302));
    assert_eq!(ask.verb, Verb::List);
    assert_eq!(field.answer(&ask, Reply::Accepted(BTreeSet::from([1]))), [], "it still has it");
    let ask = only_ask(field.wait(601));
    let follow = field.answer(&ask, yes());
    assert_eq!(follow, [Follow::Remove(host(3))]);
}

#[test]
fn a_refused_removal_is_tried_again_and_the_host_stays_drained() {
    let mut field = Field::grown_then(2);
    field.cluster.report(|_| {});
    let ask = only_ask(field.wait(604));
    assert_eq!(ask.verb, Verb::Remove);
    field.answer(&ask, no("busy"));
    assert_eq!(field.stage(), Some(FleetStage::Remove));
    assert_eq!(asks(field.wait(29)), []);
    assert_eq!(only_ask(field.wait(2)), ask);
}

#[test]
fn a_host_that_is_not_taken_back_runs_what_has_no_room() {
    let mut field = Field::grown_then(2);
    field.cluster.report(|_| {});
    let ask = only_ask(field.wait(604));
    field.answer(&ask, no("busy"));
    field.up(3, hungry(5));
    assert_eq!(field.wait(1), [Follow::Want(host(3), Availability::Active)]);
    assert_eq!(field.stage(), None);
}

#[test]
fn a_host_stays_drained_while_its_removal_is_under_way() {
    let mut field = Field::grown_then(2);
    field.cluster.report(|_| {});
    let ask = only_ask(field.wait(604));
    field.up(3, hungry(5));
    assert_eq!(field.wait(20), []);
    field.answer(&ask, Reply::Unclear("no answer".to_owned()));
    assert_eq!(only_ask(field.wait(40)), ask, "it may be half gone");
}

#[test]
fn a_machine_that_is_not_taken_back_keeps_no_other_from_coming() {
    let mut field = Field::with(2, hungry(5));
    field.promised();
    let back = only_ask(field.wait(631));
    assert_eq!((back.verb, back.machine), (Verb::Remove, Some(1)));
    field.answer(&back, no("busy"));
    assert_eq!(field.problem(), "the provider refused: busy");
    let add = only_ask(field.wait(130));
    assert_eq!((add.verb, add.machine), (Verb::Add, Some(2)));
    field.answer(&add, no("none left"));
    let again = only_ask(field.wait(250));
    assert_eq!((again.verb, again.machine), (Verb::Remove, Some(1)));
}

#[test]
fn an_older_form_of_the_fleet_can_be_read() {
    let fleet: Fleet =
        serde_json::from_str("{\"number\": 3, \"by\": \"h1\", \"news\": 1}").unwrap();
    assert_eq!((fleet.number, fleet.by), (3, Some(host(1))));
}
