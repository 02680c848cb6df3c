//! Services whose number of replicas follows what is measured: a step and a sine of load, numbers that
//! vanish, Homes that die meanwhile. Hosts measure as agents do; the load is shared by what runs.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::logic::autoscale::rounded;
use muster::logic::core::Event;
use muster::model::{
    Autoscale, Measured, MeasuredReplica, Moment, Resources, Revision, ScaleBehavior, ScaleMetric,
    ScaleRule, ScaleTarget, Scaling,
};

use crate::apps::{shop, shop_name};
use crate::run::Run;

/// Thousandths of a CPU that each replica reserves.
const RESERVED: u64 = 100;
/// CPUs that each replica should take: half of that.
const AIM: f64 = 0.05;
/// Time between two decisions.
const PERIOD: Duration = Duration::from_secs(15);
/// Time between two measurements of a host, as agents have it for that period.
const ROUND: Duration = Duration::from_secs(5);
/// The window for shrinking.
const WINDOW: Duration = Duration::from_secs(300);

/// The shop with rules for `web`.
fn scaled(replicas: u32) -> Revision {
    let mut revision = shop(replicas, "scaled");
    let web = revision.deployments.get_mut(&"web".into()).expect("the shop has one");
    web.container.resources = Resources { cpu_reserved_millis: RESERVED, ..Resources::default() };
    let rule = ScaleRule { metric: ScaleMetric::Cpu, target: ScaleTarget::Utilization(50.0) };
    web.autoscale = Some(Autoscale {
        min: 1,
        max: 40,
        rules: vec![rule],
        interval_ms: PERIOD.as_millis() as u64,
        tolerance: Autoscale::TOLERANCE,
        up: ScaleBehavior::up(),
        down: ScaleBehavior::down(),
        asked: None,
    });
    revision
}

/// What the rules come to, as a host that runs sees it.
fn scaling(run: &Run) -> Option<Scaling> {
    let plans =
        run.world.running().filter_map(|host| host.core.as_ref()?.state().plan(&shop_name()));
    plans.max_by_key(|plan| plan.number)?.scalings.get(&"web".into()).cloned()
}

fn target(run: &Run) -> u32 {
    scaling(run).map_or(0, |scaling| scaling.target)
}

/// Every host that runs tells what its replicas take of a load that all share; none when nothing can be
/// measured.
fn measure(run: &mut Run, cpus: Option<f64>) {
    let n = run.world.running_of("web").count().max(1);
    let each = cpus.map(|cpus| rounded(cpus / n as f64, AIM));
    for index in 0..run.n() {
        if run.world.hosts[index].core.is_none() {
            continue;
        }
        let here = run.world.hosts[index].engine.truth(run.world.now);
        let here = here.iter().filter(|container| container.replica.service.as_str() == "web");
        let replicas = here.map(|container| MeasuredReplica {
            replica: container.replica.clone(),
            generation: container.generation,
            cpus: each,
            memory: None,
        });
        let replicas: Vec<_> = replicas.collect();
        let measured = Measured { replicas, ..Measured::default() };
        let all = BTreeMap::from([(shop_name(), measured)]);
        run.world.event(index, Event::Measured(all));
    }
}

/// Runs for so long under a load by the seconds since it began; the target, second by second.
fn under(run: &mut Run, time: Duration, load: impl Fn(f64) -> Option<f64>) -> Vec<u32> {
    let mut targets = Vec::new();
    for second in 0..time.as_secs() {
        // By the clock, so that many short runs are as one long run.
        if (run.world.now.0 / 1_000).is_multiple_of(ROUND.as_secs()) {
            let cpus = load(second as f64).map(|replicas| replicas * AIM);
            measure(run, cpus);
        }
        run.world.run_for(Duration::from_secs(1));
        targets.push(target(run));
    }
    targets
}

/// How often it turned round.
fn reversals(targets: &[u32]) -> usize {
    let signs = targets.windows(2).map(|pair| pair[1].cmp(&pair[0])).filter(|sign| sign.is_ne());
    let signs: Vec<_> = signs.collect();
    signs.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// A cluster whose shop has so many replicas of `web` by its rules.
fn begin(run: &mut Run, replicas: u32) {
    run.up(&scaled(replicas), "up");
    run.expect_settled("with rules");
    assert_eq!(target(run), replicas, "it begins where the file says: {}", run.describe());
    // So long that the beginning is forgotten.
    let load = f64::from(replicas);
    let targets = under(run, WINDOW, |_| Some(load));
    assert!(targets.iter().all(|target| *target == replicas), "a steady load: {targets:?}");
}

/// What was measured of scaling.
#[derive(Debug, Default)]
pub(crate) struct Scaled {
    /// From each step of the load until the target was what it asks for.
    pub(crate) reached: Vec<Duration>,
    /// From each step until as many replicas ran.
    pub(crate) ran: Vec<Duration>,
    /// The most turns within any window of a sine.
    pub(crate) turns: usize,
    /// The longest time in which a sine had fewer replicas than it took.
    pub(crate) short: Duration,
    /// Changes while nothing was measured.
    pub(crate) moved_blind: usize,
}

/// Steps of load from each number to each other, a sine, and nothing measured for half an hour.
pub(crate) fn follow(hosts: usize, steps: &[(u32, u32)], seed: u64) -> Scaled {
    let mut scaled = Scaled::default();
    let mut run = Run::begin(seed, hosts);
    for (from, to) in steps {
        begin(&mut run, *from);
        // Somewhere between two decisions.
        let wait = run.millis(0, PERIOD.as_millis() as u64);
        under(&mut run, Duration::from_secs(wait.as_secs()), |_| Some(f64::from(*from)));
        step(&mut run, *to, &mut scaled);
        run.up(&shop(*from, "1"), "up");
        run.expect_settled("without rules");
    }
    begin(&mut run, 10);
    let cycle = 1_200.0;
    let load = |at: f64| 10.0 + 8.0 * (at / cycle * std::f64::consts::TAU).sin();
    let targets = under(&mut run, Duration::from_secs(3 * 1_200), |at| Some(load(at)));
    let window = WINDOW.as_secs() as usize;
    scaled.turns = targets.windows(window).map(reversals).max().unwrap_or_default();
    let (mut seconds, mut longest) = (0, 0);
    for (second, target) in targets.iter().enumerate() {
        let takes = load(second as f64) / (1.0 + Autoscale::TOLERANCE);
        seconds = if takes > f64::from(*target) { seconds + 1 } else { 0 };
        longest = longest.max(seconds);
    }
    scaled.short = Duration::from_secs(longest);
    let blind = under(&mut run, Duration::from_secs(1_800), |_| None);
    scaled.moved_blind = blind.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let held = scaling(&run).and_then(|scaling| scaling.hold);
    assert_eq!(held.as_deref(), Some("`cpu` is missing: no replica was measured"));
    scaled
}

/// The load steps to what `to` replicas take.
fn step(run: &mut Run, to: u32, scaled: &mut Scaled) {
    let began = run.world.now;
    let (mut reached, mut ran) = (None, None);
    for _ in 0..60 {
        under(run, Duration::from_secs(1), |_| Some(f64::from(to)));
        let since = run.world.now.since(began);
        if reached.is_none() && target(run) == to {
            reached = Some(since);
        }
        if ran.is_none() && run.world.running_of("web").count() == to as usize {
            ran = Some(since);
        }
    }
    scaled.reached.push(reached.unwrap_or_else(|| panic!("not {to}: {}", run.describe())));
    scaled.ran.push(ran.unwrap_or_else(|| panic!("not {to} run: {}", run.describe())));
    let after = under(run, WINDOW, |_| Some(f64::from(to)));
    assert!(after.iter().all(|target| *target == to), "it stays: {after:?}");
}

/// The load falls, and the Home dies within the window: the next one neither forgets the load before nor
/// waits for longer than a window more. Then numbers vanish while a Home dies, and nothing moves.
pub(crate) fn homes_die(run: &mut Run) {
    begin(run, 2);
    let up = under(run, 3 * PERIOD, |_| Some(6.0));
    assert_eq!(up.last(), Some(&6), "{up:?}");
    let before: Moment = run.world.now;
    let some = run.rng.below(200) + 20;
    under(run, Duration::from_secs(some), |_| Some(1.0));
    assert_eq!(target(run), 6, "within the window");
    let home = run.world.home_of(&shop_name());
    let decided = scaling(run).map(|scaling| scaling.decisions).unwrap_or_default();
    run.world.kill_agent(home);
    run.world.met.homes_killed += 1;
    let mut fell = None;
    for _ in 0..2 * WINDOW.as_secs() + 120 {
        under(run, Duration::from_secs(1), |_| Some(1.0));
        if target(run) < 6 {
            fell = Some(run.world.now.since(before));
            break;
        }
    }
    let fell = fell.unwrap_or_else(|| panic!("it never shrinks: {}", run.describe()));
    assert!(fell >= WINDOW - PERIOD, "after {fell:?}, sooner than the window");
    let known = scaling(run).map(|scaling| scaling.decisions).unwrap_or_default();
    assert!(known.starts_with(&decided), "the next Home goes on: {decided:?}, {known:?}");
    run.world.start_agent(home);
    run.expect_settled("with the Home back");
    let home = run.world.home_of(&shop_name());
    let held = target(run);
    under(run, 2 * PERIOD, |_| None);
    run.world.kill_agent(home);
    let blind = under(run, Duration::from_secs(900), |_| None);
    assert!(blind.iter().all(|target| *target == held), "nothing is known: {blind:?}");
    run.world.start_agent(home);
    run.expect_settled("with both back");
}
