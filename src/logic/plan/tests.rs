//! Plans of small clusters.

mod depends;

use std::collections::{BTreeMap, BTreeSet};

use crate::logic::testing::{
    Cluster, app, bind, deployment, host, revision, revision as revision_of, short, volume,
};
use crate::model::{
    Assignment, Availability, Condition, Constraint, Dependency, Filter, Generation, HostId,
    HostWanted, Intent, Life, Liveness, Phase, Plan, PortMode, Protocol, PublishedPort,
    ReplicaStatus, Replicas, RestartPolicy, Revision, ServiceName, UpdatePolicy, Waiting,
};

fn web(replicas: u32, image: &str) -> Revision {
    revision(1, &[("web", deployment(image, replicas))])
}

fn at(sequence: u64, revision: Revision) -> Revision {
    Revision { sequence, ..revision }
}

fn hosts(assignments: &[Assignment]) -> BTreeSet<&HostId> {
    assignments.iter().map(|assignment| &assignment.host).collect()
}

fn with_volume(replicas: u32) -> Revision {
    let mut db = deployment("db:1", replicas);
    db.container.mounts.push(volume("data"));
    revision(1, &[("db", db)])
}

fn with_dependency(condition: Condition, required: bool) -> Revision {
    let mut web = deployment("web:1", 1);
    let dependency = Dependency { condition, required, restart: false };
    web.depends_on.insert(ServiceName::from("db"), dependency);
    let mut db = deployment("db:1", 1);
    if condition == Condition::CompletedSuccessfully {
        db.restart = RestartPolicy::Never;
    }
    revision(1, &[("db", db), ("web", web)])
}

#[test]
fn replicas_are_created_one_a_host_and_a_converged_state_gives_no_plan() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(3, "a"));
    let plan = cluster.settle();
    assert_eq!(hosts(&plan.assignments).len(), 3, "{:?}", short(&plan));
    assert!(plan.assignments.iter().all(|a| a.generation == Generation(1)));
    assert!(plan.waiting.is_empty());
    assert_eq!(cluster.plan(), None);
}

#[test]
fn scaling_touches_no_other_replica() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(2, "a"));
    let before = cluster.settle();
    cluster.submit(at(2, web(4, "a")));
    let more = cluster.settle();
    assert_eq!(short(&more)[..2], short(&before)[..]);
    assert_eq!(more.assignments.len(), 4);
    cluster.submit(at(3, web(1, "a")));
    let less = cluster.settle();
    assert_eq!(short(&less), short(&before)[..1]);
}

#[test]
fn a_generation_does_not_come_again_after_scaling_down_or_removal() {
    let mut cluster = Cluster::new(1);
    cluster.submit(web(2, "a"));
    cluster.settle();
    cluster.submit(at(2, web(1, "a")));
    cluster.settle();
    cluster.submit(at(3, web(2, "a")));
    assert_eq!(short(&cluster.settle()), ["web/1@h1.g1", "web/2@h1.g2"]);
    cluster.submit(Revision { intent: Intent::Remove, ..revision(4, &[]) });
    let removed = cluster.plan().unwrap();
    assert_eq!((removed.assignments.len(), removed.retired), (0, Generation(2)));
    cluster.report(|_| {});
    cluster.submit(at(5, web(1, "a")));
    assert_eq!(short(&cluster.settle()), ["web/1@h1.g3"]);
}

#[test]
fn an_update_starts_the_new_copy_first_and_one_at_a_time() {
    let mut cluster = Cluster::new(1);
    cluster.submit(web(2, "a"));
    cluster.settle();
    cluster.submit(at(2, web(2, "b")));
    let first = cluster.plan().unwrap();
    assert_eq!(short(&first), ["-web/1@h1.g1", "web/1@h1.g2", "web/2@h1.g1"]);
    assert_eq!(first.waiting.get("shop/web/2"), Some(&Waiting::RollingUpdate));
    // Not ready yet: nothing further happens.
    cluster.report(|status| status.ready = status.generation == Generation(1));
    assert_eq!(cluster.plan(), None);
    cluster.report(|_| {});
    let second = cluster.plan().unwrap();
    assert_eq!(short(&second), ["web/1@h1.g2", "-web/2@h1.g1", "web/2@h1.g2"]);
    assert_eq!(short(&cluster.settle()), ["web/1@h1.g2", "web/2@h1.g2"]);
}

#[test]
fn an_update_replaces_as_many_at_once_as_it_is_told() {
    for (parallelism, expected) in [(1, 1), (2, 2), (3, 3), (0, 4), (9, 4)] {
        let mut cluster = Cluster::new(2);
        cluster.submit(web(4, "a"));
        cluster.settle();
        let mut next = deployment("b", 4);
        next.update = UpdatePolicy { parallelism, ..UpdatePolicy::default() };
        cluster.submit(revision(2, &[("web", next)]));
        let plan = cluster.plan().unwrap();
        let outgoing = plan.assignments.iter().filter(|a| a.outgoing).count();
        assert_eq!(outgoing, expected, "parallelism {parallelism}: {:?}", short(&plan));
    }
}

#[test]
fn what_cannot_run_beside_itself_stops_first() {
    let port = PublishedPort {
        host_ip: None,
        published: 80,
        target: 80,
        protocol: Protocol::Tcp,
        mode: PortMode::Host,
    };
    let mut with_port = deployment("a", 1);
    with_port.ports.push(port);
    let mut told = deployment("a", 1);
    told.update.start_first = Some(false);
    let mut with_data = deployment("a", 1);
    with_data.container.mounts.push(volume("data"));
    for before in [with_port, told, with_data] {
        let mut cluster = Cluster::new(1);
        cluster.submit(revision(1, &[("web", before.clone())]));
        cluster.settle();
        let mut after = before;
        after.container.image = "b".to_owned();
        cluster.submit(revision(2, &[("web", after)]));
        assert_eq!(short(&cluster.plan().unwrap()), ["web/1@h1.g2"]);
    }
}

#[test]
fn a_new_copy_that_was_started_again_takes_nothing_further_away() {
    let mut cluster = Cluster::new(1);
    cluster.submit(web(2, "a"));
    cluster.settle();
    cluster.submit(at(2, web(2, "b")));
    cluster.plan().unwrap();
    cluster.report(|status| {
        if status.generation == Generation(2) {
            (status.phase, status.ready, status.restarts) = (Phase::Backoff, false, 3);
        }
    });
    assert_eq!(cluster.plan(), None, "old copies stay");
    // The next Revision replaces the broken copy at once, beside the old one.
    cluster.submit(at(3, web(2, "c")));
    let plan = cluster.plan().unwrap();
    assert_eq!(short(&plan), ["-web/1@h1.g1", "web/1@h1.g3", "web/2@h1.g1"]);
}

#[test]
fn replicas_of_a_gone_host_move_and_those_of_a_silent_one_do_not() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(3, "a"));
    cluster.settle();
    cluster.liveness.insert(host(3), Liveness::Suspect);
    assert_eq!(cluster.plan(), None, "suspected");
    cluster.liveness.insert(host(3), Liveness::Dead);
    assert_eq!(cluster.plan(), None, "dead, not given up");
    cluster.kill(3);
    let plan = cluster.plan().unwrap();
    assert!(!hosts(&plan.assignments).contains(&host(3)), "{:?}", short(&plan));
    let moved = plan.assignments.iter().filter(|a| a.generation == Generation(2)).count();
    assert_eq!((plan.assignments.len(), moved), (3, 1));
    cluster.report(|_| {});
    cluster.revive(3);
    let plan = cluster.plan().expect("a host that is back gets its share");
    assert_eq!(plan.assignments.iter().filter(|a| a.outgoing).count(), 1, "{:?}", short(&plan));
    assert_eq!(hosts(&cluster.settle().assignments).len(), 3);
    assert_eq!(cluster.plan(), None, "and then it stays so");
}

#[test]
fn data_holds_a_replica_on_a_dead_host() {
    let mut cluster = Cluster::new(3);
    cluster.submit(with_volume(1));
    let before = cluster.settle();
    let holder = before.assignments[0].host.clone();
    let index = (1..=3).find(|n| host(*n) == holder).unwrap();
    let other = (1..=3).find(|n| *n != index && *n != 1).unwrap();
    if index == 1 {
        return assert_eq!(before.pins["shop_data"], host(1));
    }
    cluster.kill(index);
    let plan = cluster.plan().unwrap();
    assert_eq!(short(&plan), short(&before));
    let waiting = &plan.waiting["shop/db/1"];
    let expected =
        Waiting::DataOnDeadHost { data: "shop_data".to_owned(), host: format!("name{index}") };
    assert_eq!(*waiting, expected);
    assert_ne!(index, other);
}

#[test]
fn a_volume_is_decided_of_before_its_first_replica_and_kept_after_its_last() {
    let mut cluster = Cluster::new(3);
    let mut revision = with_dependency(Condition::Healthy, true);
    let web = revision.deployments.get_mut(&ServiceName::from("web")).unwrap();
    web.container.mounts.push(volume("files"));
    cluster.submit(revision);
    let plan = cluster.plan().unwrap();
    assert!(plan.waiting.contains_key("shop/web/1"));
    let pin = plan.pins["files"].clone();
    cluster.submit(Revision { intent: Intent::Remove, ..revision_of(2, &[]) });
    assert_eq!(cluster.plan().unwrap().pins["files"], pin, "volumes outlive `down`");
    let gone = Revision { intent: Intent::RemoveWithVolumes, ..revision_of(3, &[]) };
    cluster.submit(gone);
    assert!(cluster.plan().unwrap().pins.is_empty());
}

#[test]
fn a_volume_that_a_host_says_it_has_is_used_there() {
    let mut cluster = Cluster::new(3);
    cluster.change(2, |facts| {
        facts.volumes.insert("shop_data".to_owned());
    });
    cluster.submit(with_volume(2));
    let plan = cluster.settle();
    assert_eq!(short(&plan), ["db/1@h2.g1", "db/2@h2.g1"], "all that write it are together");
}

#[test]
fn binds_are_on_the_host_the_revision_came_from() {
    let mut cluster = Cluster::new(3);
    let mut web = deployment("a", 2);
    web.container.mounts.push(bind("/srv/site"));
    let mut from = revision(1, &[("web", web)]);
    from.origin.host = host(3);
    cluster.submit(from);
    assert_eq!(short(&cluster.settle()), ["web/1@h3.g1", "web/2@h3.g1"]);
}

#[test]
fn data_on_two_hosts_fits_nowhere() {
    let mut cluster = Cluster::new(2);
    for (index, volume) in [(1, "shop_a"), (2, "shop_b")] {
        cluster.change(index, |facts| {
            facts.volumes.insert(volume.to_owned());
        });
    }
    let mut db = deployment("db", 1);
    db.container.mounts.extend([volume("a"), volume("b")]);
    cluster.submit(revision(1, &[("db", db)]));
    let plan = cluster.plan().unwrap();
    let rejected = [(Filter::Data, 2)].into();
    let hosts = [(Filter::Data, vec!["name1".to_owned(), "name2".to_owned()])].into();
    assert_eq!(plan.waiting["shop/db/1"], Waiting::NoHostFits { rejected, hosts });
}

#[test]
fn a_dependency_is_waited_for_until_it_has_come_so_far() {
    let cases = [
        (Condition::Started, Phase::Running, false, true),
        (Condition::Started, Phase::Starting, false, false),
        (Condition::Healthy, Phase::Running, true, true),
        (Condition::Healthy, Phase::Running, false, false),
        (Condition::CompletedSuccessfully, Phase::Completed, false, true),
        (Condition::CompletedSuccessfully, Phase::Running, true, false),
        (Condition::CompletedSuccessfully, Phase::Failed, false, false),
    ];
    for (condition, phase, ready, met) in cases {
        let mut cluster = Cluster::new(1);
        cluster.submit(with_dependency(condition, true));
        let first = cluster.plan().unwrap();
        assert_eq!(short(&first), ["db/1@h1.g1"]);
        assert!(matches!(first.waiting["shop/web/1"], Waiting::Dependency { .. }));
        cluster.report(|status| (status.phase, status.ready) = (phase, ready));
        let next = cluster.plan();
        let placed = next.is_some_and(|plan| short(&plan).contains(&"web/1@h1.g1".to_owned()));
        assert_eq!(placed, met, "{condition:?} with {phase:?}, ready {ready}");
    }
}

#[test]
fn what_is_not_required_may_fail() {
    let mut cluster = Cluster::new(1);
    cluster.submit(with_dependency(Condition::CompletedSuccessfully, false));
    cluster.plan().unwrap();
    cluster.report(|status| (status.phase, status.ready) = (Phase::Failed, false));
    assert!(short(&cluster.plan().unwrap()).contains(&"web/1@h1.g1".to_owned()));
}

#[test]
fn a_one_shot_that_completed_is_not_run_again_when_its_host_dies() {
    let mut cluster = Cluster::new(3);
    cluster.change(1, |facts| facts.availability = Availability::Drain);
    let mut job = deployment("job", 1);
    job.restart = RestartPolicy::Never;
    cluster.submit(revision(1, &[("job", job)]));
    let first = cluster.plan().unwrap();
    cluster.report(|status| (status.phase, status.ready) = (Phase::Completed, false));
    assert!(cluster.plan().unwrap().assignments[0].done);
    let index = (1..=3).find(|n| host(*n) == first.assignments[0].host).unwrap();
    cluster.kill(index);
    assert_eq!(cluster.plan(), None);
}

fn on_each_host_once() -> Revision {
    let mut job = deployment("job", 1);
    (job.replicas, job.life) = (Replicas::Global, Life::OneShot);
    job.restart = RestartPolicy::OnFailure { max_attempts: Some(2) };
    revision(1, &[("job", job)])
}

fn completed(status: &mut ReplicaStatus) {
    (status.phase, status.ready, status.exit_code) = (Phase::Completed, false, Some(0));
}

fn failed(status: &mut ReplicaStatus) {
    (status.phase, status.ready, status.exit_code) = (Phase::Failed, false, Some(3));
}

#[test]
fn a_job_on_each_host_runs_once_on_each_also_when_a_host_dies_and_comes_back() {
    let mut cluster = Cluster::new(3);
    cluster.change(3, |facts| facts.availability = Availability::Drain);
    cluster.submit(on_each_host_once());
    assert_eq!(cluster.plan().unwrap().assignments.len(), 2);
    cluster.report(completed);
    assert!(cluster.plan().unwrap().assignments.iter().all(|a| a.done));
    assert_eq!(cluster.plan(), None);
    cluster.kill(2);
    assert_eq!(cluster.plan(), None, "what ran there has run");
    cluster.revive(2);
    assert_eq!(cluster.plan(), None);
    cluster.change(2, |facts| facts.availability = Availability::Drain);
    assert_eq!(cluster.plan(), None);
    cluster.change(3, |facts| facts.availability = Availability::Active);
    let third = cluster.plan().unwrap();
    assert_eq!(short(&third), ["job/1@h1.g1", "job/2@h2.g1", "job/3@h3.g1"]);
    cluster.remove(2);
    assert_eq!(short(&cluster.plan().unwrap()), ["job/1@h1.g1", "job/3@h3.g1"]);
}

#[test]
fn a_job_that_failed_for_good_runs_again_when_somebody_asks_and_not_before() {
    let mut cluster = Cluster::new(2);
    cluster.change(1, |facts| facts.availability = Availability::Drain);
    let job = |attempt| {
        let mut job = deployment("job", 1);
        (job.life, job.attempt) = (Life::OneShot, attempt);
        job.restart = RestartPolicy::OnFailure { max_attempts: Some(2) };
        revision(1, &[("job", job)])
    };
    cluster.submit(job(0));
    cluster.plan().unwrap();
    cluster.report(failed);
    assert!(cluster.plan().unwrap().assignments[0].failed);
    cluster.change(1, |facts| facts.availability = Availability::Active);
    cluster.kill(2);
    assert_eq!(cluster.plan(), None, "its host died after it had failed");
    cluster.submit(at(2, job(0)));
    let again = cluster.plan().unwrap();
    assert!(again.assignments[0].failed, "the same is no other try");
    cluster.revive(2);
    cluster.submit(at(3, job(1)));
    let again = cluster.plan().unwrap();
    assert_eq!(again.assignments[0].generation, Generation(2));
    assert!(!again.assignments[0].is_over());
}

#[test]
fn all_replicas_of_a_job_that_changed_run_anew_at_once_and_none_is_rolled_back() {
    let job = |image: &str| {
        let mut job = deployment(image, 3);
        job.life = Life::OneShot;
        job.restart = RestartPolicy::OnFailure { max_attempts: None };
        job.update = UpdatePolicy { parallelism: 0, start_first: Some(false), ..job.update };
        revision(1, &[("job", job)])
    };
    let mut cluster = Cluster::new(3);
    cluster.submit(job("a"));
    cluster.plan().unwrap();
    cluster.report(completed);
    cluster.plan().unwrap();
    cluster.submit(at(2, job("b")));
    let anew = cluster.plan().unwrap();
    assert!(anew.assignments.iter().all(|a| a.generation == Generation(2) && !a.is_over()));
    assert!(anew.rollouts.is_empty(), "{:?}", anew.rollouts);
    assert_eq!(anew.assignments.len(), 3, "{:?}", short(&anew));
}

#[test]
fn a_drained_host_is_left_one_by_one_and_keeps_its_data() {
    let mut cluster = Cluster::new(2);
    cluster.submit(web(4, "a"));
    cluster.settle();
    cluster.change(2, |facts| facts.availability = Availability::Drain);
    let first = cluster.plan().unwrap();
    assert_eq!(first.assignments.iter().filter(|a| a.outgoing).count(), 1, "{:?}", short(&first));
    let last = cluster.settle();
    assert_eq!(hosts(&last.assignments), BTreeSet::from([&host(1)]));

    let mut cluster = Cluster::new(2);
    cluster.change(2, |facts| {
        facts.volumes.insert("shop_data".to_owned());
    });
    cluster.submit(with_volume(1));
    cluster.settle();
    cluster.change(2, |facts| facts.availability = Availability::Drain);
    assert_eq!(cluster.plan(), None);
}

#[test]
fn what_people_want_of_a_host_counts_whoever_wrote_it_and_the_latest_wins() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(3, "a"));
    cluster.settle();
    cluster.want(3, 2, HostWanted { number: 1, availability: Availability::Drain, labels: None });
    let hosts_of = |plan: &Plan| hosts(&plan.assignments).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(hosts_of(&cluster.settle()), [host(1), host(3)]);
    // The writer is removed for good; what it wrote stays.
    cluster.kill(3);
    cluster.settle();
    cluster.remove(3);
    cluster.submit(at(2, web(4, "a")));
    assert_eq!(hosts_of(&cluster.settle()), [host(1)]);
    cluster.want(1, 2, HostWanted { number: 2, availability: Availability::Active, labels: None });
    cluster.submit(at(3, web(6, "a")));
    assert_eq!(hosts_of(&cluster.settle()), [host(1), host(2)]);
}

#[test]
fn a_replica_leaves_a_host_whose_labels_it_does_not_want_any_more() {
    let mut cluster = Cluster::new(2);
    let label = |cluster: &mut Cluster, index: usize, number: u64, disk: &str| {
        let labels = Some([("disk".to_owned(), disk.to_owned())].into());
        let wanted = HostWanted { number, availability: Availability::Active, labels };
        cluster.want(1, index, wanted);
    };
    label(&mut cluster, 1, 1, "ssd");
    label(&mut cluster, 2, 1, "hdd");
    let mut web = deployment("a", 2);
    let attribute = "node.labels.disk".to_owned();
    web.placement.constraints.push(Constraint { attribute, equal: true, value: "ssd".to_owned() });
    cluster.submit(revision(1, &[("web", web)]));
    assert_eq!(hosts(&cluster.settle().assignments), BTreeSet::from([&host(1)]));
    label(&mut cluster, 2, 2, "ssd");
    label(&mut cluster, 1, 2, "hdd");
    let first = cluster.plan().unwrap();
    assert!(first.assignments.iter().any(|a| a.outgoing), "{:?}", short(&first));
    assert_eq!(hosts(&cluster.settle().assignments), BTreeSet::from([&host(2)]));
    // Nowhere is better: it runs on.
    label(&mut cluster, 2, 3, "hdd");
    assert_eq!(hosts(&cluster.settle().assignments), BTreeSet::from([&host(2)]));
}

#[test]
fn a_port_of_the_host_is_no_reason_to_stop_before_the_successor_elsewhere_is_up() {
    let mut cluster = Cluster::new(2);
    let mut web = deployment("a", 1);
    web.ports.push(PublishedPort {
        host_ip: None,
        published: 80,
        target: 80,
        protocol: Protocol::Tcp,
        mode: PortMode::Host,
    });
    cluster.submit(revision(1, &[("web", web)]));
    let before = cluster.settle();
    let at = (1..=2).find(|n| host(*n) == before.assignments[0].host).unwrap();
    cluster.change(at, |facts| facts.availability = Availability::Drain);
    let next = cluster.plan().unwrap();
    assert_eq!(next.assignments.iter().filter(|a| a.outgoing).count(), 1, "{:?}", short(&next));
}

#[test]
fn nothing_new_begins_on_a_drained_host_not_even_beside_its_data() {
    let mut cluster = Cluster::new(2);
    cluster.submit(with_volume(1));
    let before = cluster.settle();
    let holder = (1..=2).find(|n| host(*n) == before.assignments[0].host).unwrap();
    cluster.change(holder, |facts| facts.availability = Availability::Drain);
    assert_eq!(cluster.plan(), None, "what runs there runs on");
    let mut none = at(2, with_volume(1));
    none.deployments.values_mut().for_each(|d| d.replicas = Replicas::Count(0));
    cluster.submit(none);
    cluster.settle();
    cluster.submit(at(3, with_volume(1)));
    let plan = cluster.plan().unwrap();
    assert_eq!(plan.assignments, []);
    let rejected = BTreeMap::from([(Filter::Availability, 1), (Filter::Data, 1)]);
    let waiting = plan.waiting.values().collect::<Vec<_>>();
    let [Waiting::NoHostFits { rejected: found, .. }] = waiting.as_slice() else {
        panic!("{waiting:?}")
    };
    assert_eq!(*found, rejected);
}

#[test]
fn a_global_deployment_is_on_every_host_that_fits_and_updates_in_place() {
    let mut cluster = Cluster::new(3);
    let mut every = deployment("a", 1);
    every.replicas = Replicas::Global;
    every.container.mounts.push(volume("cache"));
    cluster.change(3, |facts| facts.availability = Availability::Drain);
    cluster.submit(revision(1, &[("every", every.clone())]));
    assert_eq!(short(&cluster.settle()), ["every/1@h1.g1", "every/2@h2.g1"]);
    every.container.image = "b".to_owned();
    cluster.submit(revision(2, &[("every", every)]));
    assert_eq!(short(&cluster.settle()), ["every/1@h1.g2", "every/2@h2.g2"]);
    cluster.change(3, |facts| facts.availability = Availability::Active);
    let plan = cluster.settle();
    assert_eq!(hosts(&plan.assignments).len(), 3);
    cluster.kill(2);
    assert_eq!(hosts(&cluster.settle().assignments).len(), 2);
}

#[test]
fn of_two_plans_made_across_a_cut_the_higher_generation_is_kept() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(1, "a"));
    let before = cluster.settle();
    let at = before.assignments[0].host.clone();
    let elsewhere = (1..=3).map(host).find(|id| *id != at).unwrap();
    // The other side moved the replica; our side made a Plan with a higher number that did not.
    let mut theirs = before.clone();
    theirs.number += 1;
    theirs.assignments[0].generation = Generation(2);
    theirs.assignments[0].host = elsewhere.clone();
    let mut ours = before.clone();
    ours.number += 5;
    cluster.planned_by(2, theirs);
    cluster.planned_by(1, ours);
    let next = cluster.plan().unwrap();
    assert_eq!(short(&next), [format!("web/1@{elsewhere}.g2")]);
    assert_eq!(next.number, before.number + 6);
    cluster.report(|_| {});
    assert_eq!(cluster.plan(), None, "a rival is heard once");
}

#[test]
fn a_conflict_over_data_is_won_by_where_the_data_is() {
    let mut cluster = Cluster::new(3);
    cluster.submit(with_volume(1));
    let before = cluster.settle();
    let holder = before.assignments[0].host.clone();
    let elsewhere = (1..=3).map(host).find(|id| *id != holder).unwrap();
    let mut theirs = before.clone();
    theirs.number += 1;
    theirs.assignments[0].generation = Generation(4);
    theirs.assignments[0].host = elsewhere;
    let mut ours = before.clone();
    ours.number += 5;
    cluster.planned_by(2, theirs);
    cluster.planned_by(1, ours);
    assert_eq!(short(&cluster.settle()), [format!("db/1@{holder}.g5")]);
}

#[test]
fn a_generation_that_a_host_has_is_never_gone_below() {
    let mut cluster = Cluster::new(1);
    cluster.submit(web(1, "a"));
    cluster.settle();
    // Its host still runs what a lost Plan gave it.
    cluster.report(|status| status.generation = Generation(7));
    assert_eq!(short(&cluster.plan().unwrap()), ["web/1@h1.g8"]);
}

#[test]
fn survivors_of_a_mass_failure_take_over_a_few_at_a_time() {
    let mut cluster = Cluster::new(5);
    cluster.submit(web(20, "a"));
    cluster.settle();
    for index in 3..=5 {
        cluster.kill(index);
    }
    let first = cluster.plan().unwrap();
    assert_eq!(first.assignments.len(), 8 + 4, "two at once on each of two survivors");
    let braked = Waiting::MassFailure { dead: 3, known: 5 };
    assert_eq!(first.waiting.values().filter(|waiting| **waiting == braked).count(), 8);
    let last = cluster.settle();
    assert_eq!((last.assignments.len(), last.waiting.len()), (20, 0));
}

#[test]
fn survivors_of_a_mass_failure_are_not_given_more_than_they_hold() {
    let mut cluster = Cluster::new(3);
    for index in 1..=3 {
        cluster.change(index, |facts| facts.capacity.memory = 1 << 30);
    }
    cluster.submit(web(12, "a"));
    cluster.settle();
    cluster.kill(2);
    cluster.kill(3);
    let last = cluster.settle();
    // 128 MiB for each that reserves nothing.
    assert_eq!((last.assignments.len(), last.waiting.len()), (8, 4));
}

#[test]
fn apps_that_got_the_same_address_on_two_sides_do_not_share_it() {
    let mut cluster = Cluster::new(2);
    cluster.submit(web(1, "a"));
    let plan = cluster.settle();
    cluster.planned_for("a-first", plan.clone(), |_| {});
    let next = cluster.plan().unwrap();
    assert_ne!(next.addresses[0].address, plan.addresses[0].address);
    assert_eq!(next.app, app());
}

#[test]
fn row_21_what_a_full_disk_cannot_start_goes_elsewhere_and_what_runs_stays() {
    let mut cluster = Cluster::new(3);
    cluster.submit(web(3, "a"));
    assert_eq!(short(&cluster.settle()), ["web/1@h1.g1", "web/2@h3.g1", "web/3@h2.g1"]);
    cluster.change(2, |facts| facts.disk_full = true);
    assert_eq!(cluster.plan(), None, "what runs there goes on");
    // Its replica fails there: for the disk, or otherwise; another host is a try worth.
    let fails = |status: &mut ReplicaStatus| {
        if status.replica.index == 3 && status.generation == Generation(1) {
            (status.phase, status.ready, status.failures) = (Phase::Backoff, false, 1);
        }
    };
    cluster.report(fails);
    let moved = cluster.plan().unwrap();
    assert_eq!(short(&moved)[..2], ["web/1@h1.g1", "web/2@h3.g1"]);
    assert!(moved.assignments[2].host != host(2), "{:?}", short(&moved));
    cluster.settle();
    // New ones go where there is room, however crowded.
    cluster.submit(at(2, web(6, "a")));
    let plan = cluster.settle();
    assert!(plan.assignments.iter().all(|a| a.host != host(2)), "{:?}", short(&plan));
}

#[test]
fn row_21_where_all_disks_are_full_nothing_is_sent_round() {
    let mut cluster = Cluster::new(2);
    for n in 1..=2 {
        cluster.change(n, |facts| facts.disk_full = true);
    }
    cluster.submit(web(1, "a"));
    let first = cluster.plan().unwrap();
    assert_eq!(first.assignments.len(), 1, "it may fit all the same");
    cluster.report(|status| {
        (status.phase, status.ready, status.failures) = (Phase::Backoff, false, 3);
    });
    assert_eq!(cluster.plan(), None);
}
