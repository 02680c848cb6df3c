//! Runs, by the clock and asked for, in small clusters.

use std::collections::BTreeMap;

use super::*;
use crate::logic::testing::{Cluster, app, deployment, host, revision, short, volume};
use crate::model::{
    Condition, Dependency, Generation, Intent, Life, Phase, Plan, RestartPolicy, Revision,
    VolumeSpec,
};

/// A minute, ten minutes, then an hour after midnight of some day.
const DAY: u64 = 1_800_057_600;

fn job(manual: bool, crons: &[&str]) -> Job {
    let mut deployment = deployment("job:1", 1);
    (deployment.restart, deployment.life) = (RestartPolicy::Never, Life::OneShot);
    let schedule = crons.iter().map(|cron| schedule(cron));
    Job { deployment, manual, schedule: schedule.collect() }
}

fn schedule(cron: &str) -> Schedule {
    Schedule {
        cron: cron.to_owned(),
        timezone: None,
        concurrency: Concurrency::Forbid,
        missed_fires: MissedFires::One,
    }
}

fn with_jobs(jobs: &[(&str, Job)]) -> Revision {
    let jobs = jobs.iter().map(|(name, job)| (ServiceName::from(*name), job.clone()));
    Revision { jobs: jobs.collect(), ..revision(1, &[("web", deployment("web:1", 1))]) }
}

/// Three hosts at midnight, with a job that is due every ten minutes and may be asked for.
fn cluster(change: impl FnOnce(&mut Job)) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.wall = Some(WallSeconds(DAY));
    let mut job = job(true, &["*/10 * * * *"]);
    change(&mut job);
    cluster.submit(with_jobs(&[("tidy", job)]));
    cluster.settle();
    cluster
}

fn ask(number: u64, of: &str, command: Option<&[&str]>) -> RunRequest {
    let command = command.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
    let variant = Variant { command, ..Variant::default() };
    let wish = RunWish::Run { of: of.into(), variant };
    RunRequest { number, wish, by: None }
}

fn runs(plan: &Plan, name: &str) -> Vec<String> {
    let Some(runs) = plan.runs.get(&name.into()) else { return Vec::new() };
    runs.runs.iter().map(|(number, run)| format!("{number} {}", run.state)).collect()
}

fn later(cluster: &mut Cluster, seconds: u64) -> Option<Plan> {
    let wall = cluster.wall.expect("it has a clock");
    cluster.wall = Some(WallSeconds(wall.0 + seconds));
    cluster.plan()
}

/// All runs say so; everything else is ready.
fn runs_are(cluster: &mut Cluster, phase: Phase, code: Option<i64>) {
    let wall = cluster.wall.unwrap_or_default();
    cluster.report(|status| {
        if status.replica.service.as_str() != "web" {
            (status.phase, status.ready, status.exit_code) = (phase, false, code);
            (status.since, status.container) = (wall, Some("c".to_owned()));
        }
    });
}

#[test]
fn a_job_runs_at_its_times_each_with_a_number_of_its_own() {
    let mut cluster = cluster(|_| {});
    let before = cluster.current();
    assert_eq!(runs(&before, "tidy"), [""; 0], "not before its time");
    assert_eq!(later(&mut cluster, 599), None);
    let first = later(&mut cluster, 2).expect("it is due");
    assert_eq!(runs(&first, "tidy"), ["1 announced"]);
    assert!(first.assignments.iter().all(|a| a.replica.service.as_str() == "web"));
    let begun = cluster.plan().expect("it was told to all");
    assert_eq!(runs(&begun, "tidy"), ["1 running"]);
    let run = begun.run(&ReplicaId { app: app(), service: "tidy".into(), index: 1 }).unwrap();
    assert_eq!(run.cause, Cause::Clock { due: WallSeconds(DAY + 600) });
    assert_eq!(cluster.plan(), None, "once");
    runs_are(&mut cluster, Phase::Completed, Some(0));
    let over = cluster.plan().unwrap();
    assert_eq!(runs(&over, "tidy"), ["1 succeeded"]);
    assert!(over.assignments.iter().any(|a| a.done && a.replica.service.as_str() == "tidy"));
    assert_eq!(later(&mut cluster, 100), None);
    later(&mut cluster, 500).expect("it is due again");
    assert_eq!(runs(&cluster.plan().unwrap(), "tidy"), ["1 succeeded", "2 running"]);
}

#[test]
fn the_next_home_does_not_begin_what_was_due_again() {
    let mut cluster = cluster(|_| {});
    let announced = later(&mut cluster, 601).unwrap();
    // The Home that announced it was host 2, and died; our clock is a little behind.
    cluster.planned_by(2, Plan { number: announced.number + 1, ..announced });
    cluster.kill(2);
    cluster.wall = Some(WallSeconds(DAY + 598));
    let begun = cluster.plan().unwrap();
    assert_eq!(runs(&begun, "tidy"), ["1 running"]);
    assert_eq!(later(&mut cluster, 30), None);
}

#[test]
fn what_fails_says_so_and_is_not_tried_again() {
    let mut cluster = cluster(|_| {});
    later(&mut cluster, 600);
    let begun = cluster.plan().unwrap();
    let place = begun.assignments.iter().find(|a| a.replica.service.as_str() == "tidy").unwrap();
    let index = (1..=3).find(|n| host(*n) == place.host).unwrap();
    runs_are(&mut cluster, Phase::Failed, Some(3));
    let over = cluster.plan().unwrap();
    let run = &over.runs[&"tidy".into()].runs[&1];
    assert_eq!((run.state, run.exit_code), (RunState::Failed, Some(3)));
    assert_eq!(run.ended, Some(WallSeconds(DAY + 600)));
    cluster.kill(index);
    let after = cluster.plan();
    let moved = after.iter().flat_map(|plan| &plan.assignments);
    assert!(
        moved
            .into_iter()
            .all(|a| a.generation == Generation(1) || a.replica.service.as_str() == "web")
    );
}

#[test]
fn a_run_that_goes_on_when_its_host_dies_is_begun_again_elsewhere_with_its_number() {
    let mut cluster = cluster(|_| {});
    cluster.change(1, |_| {});
    later(&mut cluster, 600);
    let begun = cluster.plan().unwrap();
    let place = |plan: &Plan| {
        plan.assignments.iter().find(|a| a.replica.service.as_str() == "tidy").cloned().unwrap()
    };
    let first = place(&begun);
    runs_are(&mut cluster, Phase::Running, None);
    cluster.plan();
    let index = (1..=3).find(|n| host(*n) == first.host).unwrap();
    if index == 1 {
        return; // Whoever looks does not die.
    }
    cluster.kill(index);
    let moved = cluster.plan().unwrap();
    assert_eq!(runs(&moved, "tidy"), ["1 running"]);
    assert_eq!(place(&moved).generation, Generation(2));
    assert_ne!(place(&moved).host, first.host);
}

#[test]
fn a_time_that_is_due_while_a_run_goes_on_is_left_out_or_waits() {
    for (concurrency, expected) in [
        (Concurrency::Forbid, vec!["1 running"]),
        (Concurrency::Queue, vec!["1 running", "2 queued"]),
    ] {
        let mut cluster = cluster(|job| job.schedule[0].concurrency = concurrency);
        later(&mut cluster, 600);
        cluster.plan();
        for _ in 0..3 {
            later(&mut cluster, 600);
        }
        let plan = cluster.current();
        assert_eq!(runs(&plan, "tidy"), expected);
        let left_out = plan.runs[&"tidy".into()].left_out.clone().expect("some were");
        assert_eq!(left_out.at, WallSeconds(DAY + 4 * 600));
        let words = left_out.why.to_string();
        let said =
            if concurrency == Concurrency::Forbid { "was not over" } else { "waited already" };
        assert!(words.contains(said), "{words}");
        runs_are(&mut cluster, Phase::Completed, Some(0));
        cluster.plan();
        let last = cluster.current();
        let waits = last.waiting.values().any(|waiting| matches!(waiting, Waiting::Run { .. }));
        assert!(!waits, "{:?}", last.waiting);
        let n_open = last.runs[&"tidy".into()].open().count();
        assert_eq!(n_open, usize::from(concurrency == Concurrency::Queue));
    }
}

#[test]
fn times_that_nobody_saw_are_made_up_for_by_one_run_or_by_none() {
    for (missed_fires, expected) in [(MissedFires::One, 1), (MissedFires::Skip, 0)] {
        let mut cluster = cluster(|job| job.schedule[0].missed_fires = missed_fires);
        // A day and two minutes: 144 times, and a clock that leaps looks the same.
        later(&mut cluster, 24 * 3_600 + 120);
        for _ in 0..5 {
            cluster.plan();
        }
        let plan = cluster.current();
        assert_eq!(runs(&plan, "tidy").len(), expected, "{missed_fires:?}");
        let left_out = plan.runs[&"tidy".into()].left_out.as_ref();
        assert_eq!(left_out.map(|one| &one.why), (expected == 0).then_some(&WhyLeftOut::Missed));
        // The next one is on time.
        runs_are(&mut cluster, Phase::Completed, Some(0));
        cluster.plan();
        later(&mut cluster, 480);
        cluster.plan();
        assert_eq!(cluster.current().runs[&"tidy".into()].runs.len(), expected + 1);
    }
}

#[test]
fn what_is_asked_for_runs_once_however_often_it_is_heard() {
    let mut cluster = cluster(|_| {});
    cluster.ask(2, &[ask(1, "tidy", None), ask(2, "tidy", None)]);
    let plan = cluster.plan().unwrap();
    assert_eq!(runs(&plan, "tidy"), ["1 running", "2 running"], "an extra run waits for nobody");
    assert_eq!(plan.asked, BTreeMap::from([(host(2), 2)]));
    assert_eq!(cluster.plan(), None);
    cluster.ask(2, &[ask(2, "tidy", None), ask(3, "tidy", None)]);
    assert_eq!(runs(&cluster.plan().unwrap(), "tidy").len(), 3);
    // Taken down and brought up again, it does not remember what was asked before.
    let gone = Revision { intent: Intent::Remove, sequence: 2, ..with_jobs(&[]) };
    cluster.submit(Revision { deployments: BTreeMap::new(), ..gone });
    cluster.plan().unwrap();
    cluster.submit(Revision { sequence: 3, ..with_jobs(&[("tidy", job(true, &[]))]) });
    cluster.settle();
    assert_eq!(runs(&cluster.current(), "tidy"), [""; 0]);
}

#[test]
fn what_may_not_be_asked_for_is_answered_with_no_run() {
    let mut cluster = cluster(|job| job.manual = false);
    cluster.ask(2, &[ask(1, "tidy", None), ask(2, "nothing", None)]);
    let plan = cluster.plan().unwrap();
    assert_eq!((runs(&plan, "tidy"), plan.asked[&host(2)]), (Vec::new(), 2));
    let many: Vec<RunRequest> = (3..=100).map(|n| ask(n, "web", None)).collect();
    cluster.ask(2, &many);
    let plan = cluster.plan().unwrap();
    assert_eq!(plan.runs[&"web-run".into()].open().count(), OPEN_MAX);
}

#[test]
fn one_container_of_a_service_runs_beside_it_under_another_name_and_can_be_forgotten() {
    let mut cluster = cluster(|_| {});
    cluster.ask(3, &[ask(1, "web", Some(&["sh", "-c", "true"]))]);
    let plan = cluster.plan().unwrap();
    assert_eq!(runs(&plan, "web-run"), ["1 running"]);
    let replica = ReplicaId { app: app(), service: "web-run".into(), index: 1 };
    let one = plan.assignments.iter().find(|a| a.replica == replica).unwrap().clone();
    let spec = crate::logic::targets::spec_of(&cluster.state, &plan, &one).unwrap();
    assert_eq!(spec.container.command.as_deref().unwrap().join(" "), "sh -c true");
    assert_eq!((spec.restart, spec.container_hash()), (RestartPolicy::Never, one.spec_hash));
    let forget = RunWish::Forget { name: "web-run".into(), run: 1 };
    cluster.ask(3, &[RunRequest { number: 2, wish: forget, by: None }]);
    let plan = cluster.plan().unwrap();
    assert!(plan.assignments.iter().all(|a| a.replica != replica), "{:?}", short(&plan));
    cluster.ask(3, &[ask(3, "web", None)]);
    assert_eq!(
        runs(&cluster.plan().unwrap(), "web-run"),
        ["2 running"],
        "no number is given twice"
    );
}

#[test]
fn the_history_is_bounded_and_goes_with_what_is_in_the_file() {
    let mut cluster = cluster(|_| {});
    for round in 1..=(HISTORY as u64 + 5) {
        cluster.ask(2, &[ask(round, "tidy", None)]);
        cluster.plan();
        runs_are(&mut cluster, Phase::Completed, Some(0));
        cluster.plan();
    }
    cluster.plan();
    let plan = cluster.current();
    let kept = &plan.runs[&"tidy".into()];
    assert_eq!(kept.runs.len(), HISTORY);
    assert_eq!(kept.runs.keys().next_back(), Some(&(HISTORY as u32 + 5)));
    let n_containers =
        plan.assignments.iter().filter(|a| a.replica.service.as_str() == "tidy").count();
    assert_eq!(n_containers, HISTORY);
    cluster.submit(Revision { sequence: 2, ..with_jobs(&[]) });
    let without = cluster.plan().unwrap();
    assert!(without.runs.is_empty() && without.assignments.len() == 1, "{:?}", short(&without));
}

#[test]
fn a_run_stays_what_it_was_when_its_job_changes() {
    let mut cluster = cluster(|_| {});
    cluster.ask(2, &[ask(1, "tidy", None)]);
    let begun = cluster.plan().unwrap();
    let mut changed = job(true, &["*/10 * * * *"]);
    changed.deployment.container.image = "job:2".to_owned();
    cluster.submit(Revision { sequence: 2, ..with_jobs(&[("tidy", changed)]) });
    let plan = cluster.plan().unwrap();
    let of = |plan: &Plan| {
        plan.assignments.iter().find(|a| a.replica.service.as_str() == "tidy").cloned().unwrap()
    };
    assert_eq!(of(&plan), of(&begun));
    cluster.ask(2, &[ask(2, "tidy", None)]);
    let plan = cluster.plan().unwrap();
    let hashes: Vec<&String> = plan
        .assignments
        .iter()
        .filter(|a| a.replica.service.as_str() == "tidy")
        .map(|a| &a.spec_hash)
        .collect();
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn a_run_waits_for_what_its_job_depends_on_and_for_its_data() {
    let mut with_data = job(true, &[]);
    with_data.deployment.container.mounts.push(volume("data"));
    let need = Dependency { condition: Condition::Healthy, required: true, restart: false };
    with_data.deployment.depends_on.insert("web".into(), need);
    let mut revision = with_jobs(&[("tidy", with_data)]);
    let spec = VolumeSpec { name: "shop_data".to_owned(), ..VolumeSpec::default() };
    revision.volumes.insert("data".to_owned(), spec);
    let mut cluster = Cluster::new(3);
    cluster.submit(revision);
    let plan = cluster.plan().unwrap();
    let pinned = plan.pins["shop_data"].clone();
    cluster.ask(2, &[ask(1, "tidy", None)]);
    let waits = cluster.plan().unwrap();
    assert!(matches!(waits.waiting["shop/tidy/1"], Waiting::Dependency { .. }));
    cluster.report(|_| {});
    let begun = cluster.plan().unwrap();
    let run = begun.assignments.iter().find(|a| a.replica.service.as_str() == "tidy").unwrap();
    assert_eq!(run.host, pinned);
    let index = (1..=3).find(|n| host(*n) == pinned).unwrap();
    if index != 1 {
        cluster.kill(index);
        let plan = cluster.plan().unwrap();
        assert!(matches!(plan.waiting["shop/tidy/1"], Waiting::DataOnDeadHost { .. }));
    }
}

#[test]
fn both_sides_of_a_cut_agree_again_and_no_run_is_without_a_trace() {
    let mut cluster = cluster(|_| {});
    let common = cluster.current();
    // Here the clock was first, there somebody asked first: both called it run 1.
    later(&mut cluster, 600);
    let ours = cluster.plan().unwrap();
    let mut theirs = Plan { number: common.number + 1, seen: common.seen.clone(), ..ours.clone() };
    let cause = Cause::Asked { host: host(2), number: 1, by: None };
    let runs = theirs.runs.get_mut(&"tidy".into()).unwrap();
    runs.runs.get_mut(&1).unwrap().cause = cause.clone();
    theirs.asked.insert(host(2), 1);
    cluster.planned_by(2, theirs);
    let both = cluster.plan().expect("theirs was not known");
    let runs = &both.runs[&"tidy".into()];
    assert_eq!(runs.runs[&1].cause, Cause::Clock { due: WallSeconds(DAY + 600) });
    assert_eq!(runs.runs[&2].cause, cause);
    assert_eq!(runs.runs[&2].state, RunState::Failed);
    assert!(runs.runs[&2].reason.as_deref().unwrap().contains("partition"));
    assert_eq!(both.asked[&host(2)], 1, "it is not begun again");
    assert_eq!(cluster.plan(), None);
}
