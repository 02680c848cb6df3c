//! Jobs by the clock and asked for, whatever happens to the Home meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster::logic::core::Event;
use muster::model::{
    Cause, ContainerSpec, Generation, Job, Life, RestartPolicy, Revision, RunRequest, RunState,
    RunWish, Schedule, ServiceName, Variant, WallSeconds,
};

use crate::apps::{deployment, shop, shop_name};
use crate::checks::settled;
use crate::run::{LONG, Run};
use crate::world::World;

/// Seconds from one time to the next.
const EVERY: u64 = 20;
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Times in a run.
const TIMES: u64 = 12;

fn tick() -> ServiceName {
    ServiceName::from("tick")
}

fn with_job(tag: &str) -> Revision {
    let container = ContainerSpec { image: "job:1".to_owned(), ..ContainerSpec::default() };
    let mut run = deployment(container, 1);
    (run.restart, run.life) = (RestartPolicy::Never, Life::OneShot);
    let schedule = Schedule {
        cron: format!("*/{EVERY} * * * * *"),
        timezone: None,
        concurrency: Default::default(),
        missed_fires: Default::default(),
    };
    let job = Job { deployment: run, manual: true, schedule: vec![schedule] };
    Revision { jobs: BTreeMap::from([(tick(), job)]), ..shop(2, tag) }
}

/// What was seen of runs, on any host at any time.
#[derive(Default)]
struct Seen {
    causes: BTreeMap<u32, Cause>,
    dues: BTreeMap<WallSeconds, u32>,
    /// Containers that were made for each run, and their Generations.
    containers: BTreeMap<u32, BTreeSet<(Generation, usize, String)>>,
    succeeded: BTreeSet<u32>,
    /// Then a time may come again.
    clocks_leap: bool,
}

impl Seen {
    /// Looks for so long.
    fn watch(&mut self, world: &mut World, time: Duration) {
        let until = world.now + time;
        while world.now < until {
            world.run_for(LOOK.min(until.since(world.now)));
            self.look(world);
        }
    }

    fn look(&mut self, world: &World) {
        for core in world.running().filter_map(|host| host.core.as_ref()) {
            let Some(plan) = core.state().plan(&shop_name()) else { continue };
            let runs = plan.runs.get(&tick()).into_iter().flat_map(|runs| &runs.runs);
            for (number, run) in runs {
                let known = self.causes.entry(*number).or_insert_with(|| run.cause.clone());
                assert_eq!(*known, run.cause, "run {number} has two causes");
                if let Cause::Clock { due } = run.cause
                    && !self.clocks_leap
                {
                    let first = *self.dues.entry(due).or_insert(*number);
                    assert_eq!(first, *number, "two runs for {due:?}");
                }
                if run.state == RunState::Succeeded {
                    self.succeeded.insert(*number);
                }
            }
        }
    }

    /// Looks at engines as well, which costs more.
    fn look_at_containers(&mut self, world: &mut World) {
        let now = world.now;
        for (index, host) in world.hosts.iter_mut().enumerate() {
            for container in host.engine.truth(now) {
                if container.replica.service == tick() {
                    let all = self.containers.entry(container.replica.index).or_default();
                    all.insert((container.generation, index, container.id));
                }
            }
        }
    }
}

fn begin(run: &mut Run, skew: u64) -> Seen {
    for host in &mut run.world.hosts {
        host.wall_error = run.rng.below(2 * skew + 1) as i64 - skew as i64;
    }
    run.up(&with_job("jobs"), "up");
    let app = shop_name();
    let done = run.world.wait_for(LONG, |world| settled(world, &app)).is_some();
    assert!(done, "not settled with a job: {}", run.describe());
    Seen::default()
}

/// The clock starts nothing any more: all comes to rest, and what is kept of runs is what was planned.
fn end(run: &mut Run, seen: &mut Seen, when: &str) {
    let mut revision = with_job("jobs");
    revision.jobs.values_mut().for_each(|job| job.schedule.clear());
    run.up(&revision, "up");
    seen.watch(&mut run.world, Duration::from_secs(30));
    seen.look_at_containers(&mut run.world);
    run.expect_settled(when);
}

/// The agent of the Home is killed around a time that is due. Every time has one run at most, and each
/// run one container; but for one that was on a host which is taken for gone, and begins again elsewhere.
pub(crate) fn homes_die_when_jobs_are_due(run: &mut Run) {
    let mut seen = begin(run, 10);
    let mut killed = BTreeSet::new();
    for _ in 0..TIMES / 3 {
        let home = run.world.home_of(&shop_name());
        let wait = Duration::from_secs(run.world.until_due(home, EVERY)) + run.millis(0, 2_500);
        seen.watch(&mut run.world, wait);
        seen.look_at_containers(&mut run.world);
        run.world.kill_agent(home);
        killed.insert(home);
        run.world.met.homes_killed += 1;
        let away = run.millis(500, 25_000);
        seen.watch(&mut run.world, away);
        run.world.start_agent(home);
        seen.watch(&mut run.world, Duration::from_secs(EVERY));
        seen.look_at_containers(&mut run.world);
    }
    end(run, &mut seen, "after Homes died");
    for (number, containers) in &seen.containers {
        let generations: BTreeSet<Generation> = containers.iter().map(|one| one.0).collect();
        assert_eq!(generations.len(), containers.len(), "run {number}: {containers:?}");
        let before = containers.iter().rev().skip(1);
        let lost = before.filter(|(_, host, _)| killed.contains(host)).count();
        assert_eq!(containers.len(), 1 + lost, "run {number} has run as {containers:?}");
    }
    let n_runs = seen.succeeded.len() as u64;
    assert!(n_runs >= TIMES / 3, "only {n_runs} runs succeeded: {:?}", seen.causes);
    run.world.met.fires += n_runs;
}

/// Wall clocks leap forward and back, by hours and years: no storm follows, and it goes on.
pub(crate) fn clocks_leap_while_jobs_are_due(run: &mut Run) {
    let mut seen = Seen { clocks_leap: true, ..begin(run, 5) };
    let began = run.world.now;
    let mut leaps = 0;
    for _ in 0..TIMES {
        if run.rng.below(2) == 0 {
            let host = run.any();
            let by = [600, 90_000, 400 * 24 * 3_600][run.rng.below(3) as usize];
            let sign = if run.rng.below(2) == 0 { 1 } else { -1 };
            run.world.hosts[host].wall_error = sign * by;
            run.world.met.clock_jumps += 1;
            leaps += 1;
        }
        let before = seen.causes.len();
        seen.watch(&mut run.world, Duration::from_secs(EVERY));
        let new = seen.causes.len() - before;
        assert!(new <= 3, "{new} runs within {EVERY} s after a leap: {:?}", seen.causes);
    }
    let most = run.world.now.since(began).as_secs() / EVERY + leaps + 2;
    let n_runs = seen.causes.len() as u64;
    assert!(n_runs <= most, "{n_runs} runs, {most} at most: {:?}", seen.causes);
    for host in &mut run.world.hosts {
        host.wall_error = 0;
    }
    // A clock that was ahead by less than clocks may differ is waited for.
    let latest = seen.causes.len();
    run.world.run_for(Duration::from_secs(600));
    seen.watch(&mut run.world, Duration::from_secs(3 * EVERY));
    assert!(seen.causes.len() > latest, "it has not gone on: {:?}", seen.causes);
    end(run, &mut seen, "after clocks leapt");
    run.world.met.fires += seen.succeeded.len() as u64;
}

/// What people ask for, anywhere and while Homes die, is run once each.
pub(crate) fn what_is_asked_for_runs_once(run: &mut Run) {
    let mut revision = with_job("asked");
    revision.jobs.values_mut().for_each(|job| job.schedule.clear());
    run.up(&revision, "up");
    run.expect_settled("with a job");
    let mut seen = Seen::default();
    let mut asked = 0;
    for _ in 0..TIMES / 2 {
        let at = run.any();
        if run.world.ask_for_run(at, &tick()) {
            asked += 1;
        }
        if run.rng.below(2) == 0 {
            let wait = run.millis(0, 300);
            seen.watch(&mut run.world, wait);
            let home = run.world.home_of(&shop_name());
            run.world.kill_agent(home);
            run.world.met.homes_killed += 1;
            seen.watch(&mut run.world, Duration::from_secs(15));
            run.world.start_agent(home);
        }
        seen.watch(&mut run.world, Duration::from_secs(5));
        seen.look_at_containers(&mut run.world);
    }
    let done = run.world.wait_for(Duration::from_secs(60), |world| {
        seen.look(world);
        seen.succeeded.len() == asked
    });
    assert!(done.is_some(), "{asked} asked, {:?} done: {}", seen.succeeded, run.describe());
    run.expect_settled("after all that was asked for");
    assert_eq!(seen.causes.len(), asked, "{:?}", seen.causes);
    run.world.met.fires += asked as u64;
}

impl World {
    /// Seconds until a time that a host's clock takes for due.
    fn until_due(&self, host: usize, every: u64) -> u64 {
        let wall = self.wall(host).0;
        every - wall % every
    }

    /// Somebody asks on a host for a run.
    fn ask_for_run(&mut self, at: usize, of: &ServiceName) -> bool {
        let Some(core) = &self.hosts[at].core else { return false };
        let app = shop_name();
        let number = core.next_request(&app);
        let wish = RunWish::Run { of: of.clone(), variant: Variant::default() };
        self.event(at, Event::Asked(app, RunRequest { number, wish, by: None }));
        true
    }
}
