//! The algorithm, the windows, and loads that they follow.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{AskedReplicas, ScaleMetric, ScaleStep, ScaleTarget};

fn jobs() -> ScaleMetric {
    let (url, path) = ("http://queue/".to_owned(), "jobs".to_owned());
    ScaleMetric::Json { url, path }
}

fn rule(metric: ScaleMetric, target: ScaleTarget) -> ScaleRule {
    ScaleRule { metric, target }
}

fn cpu(percent: f64) -> ScaleRule {
    rule(ScaleMetric::Cpu, ScaleTarget::Utilization(percent))
}

fn queue(each: f64) -> ScaleRule {
    rule(jobs(), ScaleTarget::PerReplica(each))
}

fn rules(min: u32, max: u32, rules: &[ScaleRule]) -> Autoscale {
    Autoscale {
        min,
        max,
        rules: rules.to_vec(),
        interval_ms: 15_000,
        tolerance: Autoscale::TOLERANCE,
        up: ScaleBehavior::up(),
        down: ScaleBehavior::down(),
        asked: None,
    }
}

fn each(values: &[f64], unready: u32, missing: u32) -> Reading {
    Reading::Each { values: values.to_vec(), unready, missing }
}

fn missing() -> Reading {
    Reading::Missing("nobody answers".to_owned())
}

/// What a rule asks for; none when it cannot say.
#[track_caller]
fn advised(rule: &ScaleRule, reading: &Reading, current: u32, expected: Option<u32>) {
    let found = advise(rule, reading, current, Autoscale::TOLERANCE).ok();
    assert_eq!(found, expected, "{reading:?} with {current}");
}

#[test]
fn a_rule_asks_for_what_kubernetes_would() {
    // Within the tolerance nothing changes; above, all replicas together tell how many it takes.
    advised(&cpu(50.0), &each(&[50.0, 50.0], 0, 0), 2, Some(2));
    advised(&cpu(50.0), &each(&[54.0, 55.0], 0, 0), 2, Some(2));
    advised(&cpu(50.0), &each(&[100.0, 100.0], 0, 0), 2, Some(4));
    advised(&cpu(50.0), &each(&[0.0, 60.0], 0, 0), 2, Some(2));
    advised(&cpu(50.0), &each(&[20.0, 20.0, 20.0, 20.0], 0, 0), 4, Some(2));
    advised(&cpu(50.0), &each(&[0.0, 0.0], 0, 0), 2, Some(0));
    // One that is not ready is idle when it grows, and nothing when it shrinks.
    advised(&cpu(50.0), &each(&[100.0], 1, 0), 2, Some(2));
    advised(&cpu(50.0), &each(&[200.0], 1, 0), 2, Some(4));
    advised(&cpu(50.0), &each(&[20.0, 20.0], 2, 0), 4, Some(1));
    // What nobody measured makes no change larger, and turns none round.
    advised(&cpu(50.0), &each(&[10.0, 10.0], 0, 2), 4, Some(3));
    advised(&cpu(50.0), &each(&[60.0, 60.0], 0, 2), 4, Some(4));
    advised(&cpu(50.0), &each(&[], 3, 0), 3, None);
    advised(&cpu(50.0), &each(&[], 0, 3), 3, None);
    // A number of all.
    advised(&queue(10.0), &Reading::Total(0.0), 1, Some(0));
    advised(&queue(10.0), &Reading::Total(62.0), 2, Some(7));
    advised(&queue(10.0), &Reading::Total(21.0), 2, Some(2));
    advised(&queue(10.0), &Reading::Total(0.5), 0, Some(1));
    advised(&queue(10.0), &Reading::Total(0.0), 0, Some(0));
    advised(&queue(0.1), &Reading::Total(0.3), 1, Some(3));
}

#[test]
fn row_53_what_is_no_amount_is_missing_and_what_is_enormous_is_the_most() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
        advised(&queue(10.0), &Reading::Total(wrong), 3, None);
        advised(&cpu(50.0), &each(&[50.0, wrong], 0, 0), 3, None);
    }
    advised(&queue(10.0), &Reading::Total(1e18), 3, Some(u32::MAX));
    advised(&queue(10.0), &Reading::Total(f64::MAX), 0, Some(u32::MAX));
    let rules = rules(1, 20, &[queue(10.0)]);
    let mut run = Run::new(rules, 3);
    assert_eq!(run.step(Reading::Total(1e18)), 7, "by 4 in 15 s, or to the double");
    assert_eq!(run.step(Reading::Total(1e18)), 14);
    assert_eq!(run.step(Reading::Total(f64::NAN)), 14, "nothing is known");
    assert_eq!(run.scaler.hold(), Some("`jobs` is `NaN`, which is no amount"));
    assert_eq!(run.step(Reading::Total(1e18)), 20);
    assert_eq!(run.scaler.hold(), None);
    for _ in 0..19 {
        assert_eq!(run.step(Reading::Total(0.0)), 20, "as long as the window");
    }
    assert_eq!(run.step(Reading::Total(0.0)), 1);
}

/// A scaler and its clock.
struct Run {
    rules: Autoscale,
    scaler: Scaler,
    now: Moment,
}

impl Run {
    fn new(rules: Autoscale, replicas: u32) -> Self {
        let scaler = Scaler::new(&rules, replicas, Moment(1_000_000));
        Self { rules, scaler, now: Moment(1_000_000) }
    }

    /// A period later; all rules read the same.
    fn step(&mut self, reading: Reading) -> u32 {
        let all = vec![reading; self.rules.rules.len()];
        self.step_each(&all)
    }

    fn step_each(&mut self, readings: &[Reading]) -> u32 {
        self.now = self.now + self.rules.interval();
        assert!(self.scaler.next() <= self.now, "it is due");
        let wall = WallSeconds(self.now.0 / 1000);
        self.scaler.decide(&self.rules, readings, (self.now, wall));
        self.scaler.target()
    }
}

#[test]
fn of_several_rules_the_most_counts_and_a_missing_one_lets_it_only_grow() {
    let mut run = Run::new(rules(1, 20, &[queue(10.0), cpu(50.0)]), 4);
    run.rules.down.window_ms = 0;
    let cpu = |percent: f64, n: usize| each(&vec![percent; n], 0, 0);
    assert_eq!(run.step_each(&[Reading::Total(60.0), cpu(50.0, 4)]), 6);
    assert_eq!(run.step_each(&[Reading::Total(10.0), cpu(100.0, 6)]), 12);
    let last = run.scaler.scaling(run.now).decisions.pop().expect("it decided");
    assert_eq!((last.from, last.to), (6, 12));
    assert_eq!(last.reason, "`cpu` is 100 %, the target is 50 %: 12 are needed");
    // Less is asked for by the one that is there; the other one might ask for more.
    assert_eq!(run.step_each(&[Reading::Total(10.0), missing()]), 12);
    assert_eq!(run.scaler.hold(), Some("`cpu` is missing: nobody answers"));
    assert_eq!(run.step_each(&[Reading::Total(140.0), missing()]), 14);
    assert_eq!(run.step_each(&[Reading::Total(10.0), cpu(10.0, 14)]), 3);
    assert_eq!(run.scaler.hold(), None);
}

#[test]
fn row_53_it_stays_where_it_is_as_long_as_metrics_are_gone_and_does_not_fall_when_they_are_back() {
    let mut run = Run::new(rules(1, 20, &[queue(10.0)]), 1);
    assert_eq!(run.step(Reading::Total(50.0)), 5);
    for _ in 0..100 {
        assert_eq!(run.step(missing()), 5);
    }
    // An hour of nothing was no reason to shrink: the window begins when it is known.
    for _ in 0..19 {
        assert_eq!(run.step(Reading::Total(0.0)), 5);
    }
    assert_eq!(run.step(Reading::Total(0.0)), 1);
}

#[test]
fn it_rests_at_zero_and_is_woken_from_outside() {
    let mut run = Run::new(rules(0, 10, &[queue(10.0), cpu(50.0)]), 1);
    run.rules.down.window_ms = 30_000;
    let idle = [Reading::Total(0.0), each(&[0.0], 0, 0)];
    assert_eq!(run.step_each(&idle), 1);
    assert_eq!(run.step_each(&idle), 0);
    let resting = each(&[], 0, 0);
    assert_eq!(run.step_each(&[Reading::Total(0.0), resting.clone()]), 0);
    assert_eq!(run.scaler.hold(), None, "there is no CPU to look at, and none is missed");
    assert_eq!(run.step_each(&[missing(), resting.clone()]), 0);
    assert_eq!(run.step_each(&[Reading::Total(1.0), resting.clone()]), 1);
    assert_eq!(run.step_each(&[Reading::Total(90.0), each(&[0.0], 0, 0)]), 5);
    // A step in per cent wakes it as well.
    let mut run = Run::new(run.rules.clone(), 0);
    run.rules.up.steps.retain(|step| matches!(step.size, StepSize::Percent(_)));
    assert_eq!(run.step_each(&[Reading::Total(90.0), resting]), 1);
}

#[test]
fn steps_limit_what_changes_within_their_time() {
    let step = |size, per_ms| ScaleStep { size, per_ms };
    let mut rules = rules(0, 100, &[queue(1.0)]);
    rules.up.steps = vec![step(StepSize::Replicas(3), 60_000)];
    rules.down = ScaleBehavior { window_ms: 0, ..rules.down };
    rules.down.steps = vec![step(StepSize::Percent(50), 30_000)];
    let mut run = Run::new(rules.clone(), 10);
    let mut follow = |load: f64, n: usize| -> Vec<u32> {
        (0..n).map(|_| run.step(Reading::Total(load))).collect()
    };
    assert_eq!(follow(100.0, 6), [13, 13, 13, 13, 16, 16]);
    assert_eq!(follow(1.0, 6), [8, 8, 4, 4, 2, 2]);
    let reason = |run: &Run| run.scaler.scaling(run.now).decisions.last().unwrap().reason.clone();
    assert_eq!(
        reason(&run),
        "`jobs` is 1, the target is 1 for each replica: 1 are needed, 2 in this step"
    );
    rules.down.select = Select::Disabled;
    let mut run = Run::new(rules.clone(), 10);
    assert_eq!(run.step(Reading::Total(1.0)), 10);
    rules.down.select = Select::Min;
    rules.down.steps.push(step(StepSize::Replicas(1), 15_000));
    let mut run = Run::new(rules, 10);
    assert_eq!(run.step(Reading::Total(1.0)), 9);
}

#[test]
fn a_number_asked_for_by_hand_holds_for_the_window_and_other_bounds_at_once() {
    let mut run = Run::new(rules(2, 10, &[queue(10.0)]), 2);
    run.rules.asked = Some(AskedReplicas { replicas: 8, number: 1 });
    run.scaler.heed(&run.rules, (run.now, WallSeconds(7)));
    assert_eq!(run.scaler.target(), 8);
    for _ in 0..19 {
        assert_eq!(run.step(Reading::Total(0.0)), 8);
    }
    assert_eq!(run.step(Reading::Total(0.0)), 2, "then the rules count again");
    assert_eq!(run.step(Reading::Total(0.0)), 2, "and it is not asked for anew");
    run.rules.asked = Some(AskedReplicas { replicas: 99, number: 2 });
    assert_eq!(run.step(Reading::Total(0.0)), 10, "no more than `max`");
    run.rules.max = 4;
    run.scaler.heed(&run.rules, (run.now, WallSeconds(9)));
    assert_eq!(run.scaler.target(), 4);
    let decisions = run.scaler.scaling(run.now).decisions;
    let reasons: Vec<&str> = decisions.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons[0], "asked for with `muster scale`");
    assert_eq!(reasons.last(), Some(&"`min` is 2 and `max` is 4"));
}

/// What follows from one Plan to the next Home's.
#[test]
fn the_next_home_goes_on_and_forgets_no_window() {
    let mut run = Run::new(rules(1, 20, &[queue(10.0)]), 1);
    assert_eq!(run.step(Reading::Total(50.0)), 5);
    for _ in 0..10 {
        run.step(Reading::Total(10.0));
    }
    let written = run.scaler.scaling(run.now);
    // Its clock began just now.
    let (mut now, mut next) = (Moment(40), Scaler::resume(&run.rules, &written, Moment(40)));
    assert_eq!(next.target(), 5);
    assert_eq!(next.scaling(now).decisions, written.decisions);
    let mut periods = 0;
    while next.target() == 5 {
        now = now + run.rules.interval();
        next.decide(&run.rules, &[Reading::Total(10.0)], (now, WallSeconds(0)));
        periods += 1;
        assert!(periods <= 20, "longer than a window");
    }
    assert_eq!(next.target(), 1);
    // With a clock that runs for long it takes as long as with the same Home.
    let mut now = Moment(90_000_000);
    let mut next = Scaler::resume(&run.rules, &written, now);
    for _ in 0..9 {
        now = now + run.rules.interval();
        next.decide(&run.rules, &[Reading::Total(10.0)], (now, WallSeconds(0)));
    }
    assert_eq!(next.target(), 5);
    now = now + run.rules.interval();
    next.decide(&run.rules, &[Reading::Total(10.0)], (now, WallSeconds(0)));
    assert_eq!(next.target(), 1);
}

#[test]
fn numbers_are_rounded_to_less_than_a_tolerance() {
    assert_eq!(rounded(37.21, 10.0), 37.2);
    assert_eq!(rounded(0.357_312, 0.35), 0.36);
    assert_eq!(rounded(52_428_812.0, 50e6), 52e6);
    assert_eq!(rounded(1e18, 10.0), 1e18);
    assert!(rounded(f64::NAN, 10.0).is_nan());
    for (value, aim) in [(3.3, 0.0), (3.3, f64::NAN), (3.3, -1.0)] {
        assert_eq!(rounded(value, aim), 3.3);
    }
}

#[test]
fn what_is_aimed_at_follows_the_reservation_then_the_limit() {
    let resources = crate::model::Resources {
        cpu_limit_millis: Some(2_000),
        cpu_reserved_millis: 500,
        memory_limit: Some(200 << 20),
        ..Default::default()
    };
    let basis = Basis::of(&resources);
    assert_eq!(basis.aim(&cpu(70.0)), Some(0.35));
    let memory = rule(ScaleMetric::Memory, ScaleTarget::Utilization(50.0));
    assert_eq!(basis.aim(&memory), Some(f64::from(100 << 20)));
    assert_eq!(Basis::default().aim(&memory), None);
    assert_eq!(basis.aim(&queue(10.0)), Some(10.0));
}

/// A load that is shared by all replicas, each of which can take any amount of it.
fn follow(rules: &Autoscale, replicas: u32, load: impl Fn(f64) -> f64, seconds: u64) -> Vec<u32> {
    let mut run = Run::new(rules.clone(), replicas);
    let periods = seconds * 1000 / rules.interval_ms;
    let mut targets = Vec::new();
    for period in 1..=periods {
        let at = period as f64 * rules.interval_ms as f64 / 1000.0;
        let share = load(at) / f64::from(run.scaler.target());
        targets.push(run.step(each(&vec![share; run.scaler.target() as usize], 0, 0)));
    }
    targets
}

/// How often it turned round.
pub(super) fn reversals(targets: &[u32]) -> usize {
    let mut signs = targets.windows(2).map(|pair| pair[1].cmp(&pair[0]));
    let mut last = None;
    let mut n = 0;
    for sign in signs.by_ref().filter(|sign| sign.is_ne()) {
        n += usize::from(last.is_some_and(|last| last != sign));
        last = Some(sign);
    }
    n
}

#[test]
fn a_step_is_reached_in_two_periods_and_not_left() {
    for (from, to) in [(2_u32, 6_u32), (1, 9), (3, 12), (10, 35)] {
        let load = |at: f64| 50.0 * f64::from(if at < 60.0 { from } else { to });
        let targets = follow(&rules(1, 50, &[cpu(50.0)]), from, load, 900);
        // Periods end at 15 s, 30 s, 45 s; the one at 60 s is the first to see it.
        assert_eq!(targets[..3], [from; 3], "{from} to {to}");
        assert_eq!(targets[4..], vec![to; targets.len() - 4], "{from} to {to}: {targets:?}");
        assert_eq!(reversals(&targets), 0);
    }
}

#[test]
fn a_sine_is_followed_with_two_turns_a_cycle_at_most() {
    let cycle = 1_200.0;
    let load = |at: f64| 500.0 + 400.0 * (at / cycle * std::f64::consts::TAU).sin();
    let rules = rules(1, 50, &[cpu(50.0)]);
    let targets = follow(&rules, 10, load, 4 * 1_200);
    let turns = reversals(&targets);
    assert!(turns <= 8, "{turns} turns in 4 cycles: {targets:?}");
    // There are always enough, but for the period in which the load grows.
    for (period, target) in targets.iter().enumerate() {
        let at = (period + 1) as f64 * 15.0;
        assert!(f64::from(*target) * 50.0 * 1.1 >= load(at), "{target} at {at}");
    }
}

#[test]
fn a_load_that_swings_within_the_window_is_met_by_the_most() {
    // Every other minute; a scaler without windows would turn round each time.
    let load = |at: f64| if ((at / 60.0) as u64).is_multiple_of(2) { 500.0 } else { 100.0 };
    let targets = follow(&rules(1, 50, &[cpu(50.0)]), 10, load, 1_800);
    assert_eq!(targets, vec![10; targets.len()]);
    let window = 300;
    // At most one turn within any window, whatever the cycle.
    for cycle in (30..1_500).step_by(45) {
        let load = |at: f64| if (at as u64 / cycle).is_multiple_of(2) { 500.0 } else { 100.0 };
        let targets = follow(&rules(1, 50, &[cpu(50.0)]), 10, load, 4_500);
        for part in targets.windows(window / 15) {
            assert!(reversals(part) <= 1, "cycle of {cycle} s: {part:?}");
        }
    }
}

fn arbitrary_reading() -> impl Strategy<Value = Reading> {
    let number = prop_oneof![
        0.0..200.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-5.0),
        Just(1e18),
        Just(f64::MIN_POSITIVE),
        any::<f64>(),
    ];
    prop_oneof![
        number.clone().prop_map(Reading::Total),
        Just(missing()),
        (prop::collection::vec(number, 0..6), 0..4_u32, 0..4_u32)
            .prop_map(|(values, unready, missing)| Reading::Each { values, unready, missing }),
    ]
}

fn arbitrary_behavior() -> impl Strategy<Value = ScaleBehavior> {
    let size = prop_oneof![
        (0..9_u32).prop_map(StepSize::Replicas),
        (0..300_u32).prop_map(StepSize::Percent),
    ];
    let step = (size, 1_000..90_000_u64).prop_map(|(size, per_ms)| ScaleStep { size, per_ms });
    let select = prop_oneof![Just(Select::Max), Just(Select::Min), Just(Select::Disabled)];
    let steps = prop::collection::vec(step, 0..3);
    (0..600_000_u64, steps, select).prop_map(|(window_ms, steps, select)| ScaleBehavior {
        window_ms,
        steps,
        select,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_read_the_target_stays_within_its_bounds(
        (min, max) in (0..12_u32, 0..12_u32),
        (up, down) in (arbitrary_behavior(), arbitrary_behavior()),
        start in any::<u32>(),
        read in prop::collection::vec((arbitrary_reading(), arbitrary_reading()), 1..60),
    ) {
        let (min, max) = (min.min(max), min.max(max));
        let rules = Autoscale { up, down, ..rules(min, max, &[queue(10.0), cpu(50.0)]) };
        let mut run = Run::new(rules, start);
        for (one, other) in read {
            let before = run.scaler.target();
            let target = run.step_each(&[one.clone(), other.clone()]);
            prop_assert!((min..=max).contains(&target), "{}", target);
            if run.scaler.hold().is_some() {
                prop_assert_eq!(target, before, "nothing is decided while it is held");
            }
            let written = run.scaler.scaling(run.now);
            prop_assert!(written.highest.len() <= 17 && written.lowest.len() <= 17);
            prop_assert!(written.decisions.len() <= Scaling::DECISIONS_MAX);
            // What goes to the next Home survives the way, and decides the same.
            let json = serde_json::to_string(&written).unwrap();
            let read: Scaling = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &written);
            let mut next = Scaler::resume(&run.rules, &read, run.now);
            let mut same = run.scaler.clone();
            let then = (run.now + run.rules.interval(), WallSeconds(0));
            next.decide(&run.rules, &[one.clone(), other.clone()], then);
            same.decide(&run.rules, &[one, other], then);
            prop_assert_eq!(next.target(), same.target());
        }
    }

    #[test]
    fn a_steady_load_comes_to_rest(load in 0.0..2_000.0_f64, start in 0..40_u32) {
        let rules = rules(1, 30, &[queue(10.0)]);
        let mut run = Run::new(rules, start);
        let mut last = 0;
        for _ in 0..60 {
            last = run.step(Reading::Total(load));
        }
        for _ in 0..60 {
            prop_assert_eq!(run.step(Reading::Total(load)), last);
        }
        let enough = f64::from(last) * 10.0 * 1.1 + 1e-6;
        prop_assert!(last == 30 || load <= enough, "{} for {}", last, load);
    }

    #[test]
    fn within_a_window_it_turns_round_once_at_most(
        loads in prop::collection::vec(0.0..400.0_f64, 40..120),
    ) {
        let mut run = Run::new(rules(1, 50, &[queue(10.0)]), 10);
        let targets: Vec<u32> =
            loads.iter().map(|load| run.step(Reading::Total(*load))).collect();
        for part in targets.windows(20) {
            prop_assert!(reversals(part) <= 1, "{:?}", part);
        }
    }
}

#[test]
fn what_is_fetched_is_told_apart_by_all_that_makes_it() {
    let keys: BTreeMap<String, ScaleMetric> = [
        jobs(),
        ScaleMetric::Json { url: "http://queue/".to_owned(), path: "other".to_owned() },
        ScaleMetric::Exec { service: "queue".into(), command: vec!["jobs".to_owned()] },
        ScaleMetric::Cpu,
    ]
    .into_iter()
    .map(|metric| (metric.key(), metric))
    .collect();
    assert_eq!(keys.len(), 4);
}

mod of_a_cluster {
    //! What is known of each rule, by what hosts say.

    use super::super::{Basis, Reading, readings};
    use super::{cpu, queue, rule, rules};
    use crate::logic::testing::{Cluster, app, deployment, host, revision};
    use crate::model::{
        Autoscale, Fetched, Liveness, Measured, MeasuredReplica, RowBody, RowKey, ScaleMetric,
        ScaleTarget, ServiceName,
    };

    /// Three hosts with a replica of `web` each, which measured so many CPUs.
    fn cluster(cpus: [Option<f64>; 3]) -> Cluster {
        let mut cluster = Cluster::new(3);
        let mut web = deployment("web", 3);
        web.container.resources.cpu_reserved_millis = 500;
        cluster.submit(revision(1, &[("web", web)]));
        let plan = cluster.settle();
        for assignment in plan.assignments {
            let index = (1..=3).find(|n| host(*n) == assignment.host).expect("one of three");
            let measured = MeasuredReplica {
                replica: assignment.replica,
                generation: assignment.generation,
                cpus: cpus[index - 1],
                memory: None,
            };
            let measured = Measured { replicas: vec![measured], ..Measured::default() };
            cluster.measured(index, &measured);
        }
        cluster
    }

    fn known(cluster: &Cluster, rules: &Autoscale) -> Vec<Reading> {
        let service = ServiceName::from("web");
        let revision = cluster.state.winner(&app()).expect("it was submitted");
        let basis = Basis::of(&revision.deployments[&service].container.resources);
        cluster.look(|view| readings(view, &app(), &service, rules, basis))
    }

    #[track_caller]
    fn check(cluster: &Cluster, rule: &crate::model::ScaleRule, expected: Reading) {
        assert_eq!(known(cluster, &rules(1, 9, std::slice::from_ref(rule))), [expected]);
    }

    fn each(values: &[f64], unready: u32, missing: u32) -> Reading {
        Reading::Each { values: values.to_vec(), unready, missing }
    }

    #[test]
    fn a_part_is_of_what_is_reserved_and_only_ready_replicas_count() {
        let mut cluster = cluster([Some(0.25), Some(0.5), None]);
        check(&cluster, &cpu(50.0), each(&[50.0, 100.0], 0, 1));
        let whole = rule(ScaleMetric::Cpu, ScaleTarget::PerReplica(1.0));
        check(&cluster, &whole, each(&[0.25, 0.5], 0, 1));
        cluster.report(|status| status.ready = status.replica.index > 1);
        check(&cluster, &cpu(50.0), each(&[100.0], 1, 1));
        // What a dead host said last counts no more.
        cluster.report(|_| {});
        cluster.liveness.insert(host(2), Liveness::Dead);
        check(&cluster, &cpu(50.0), each(&[50.0], 1, 1));
    }

    #[test]
    fn another_generation_was_not_measured() {
        let mut cluster = cluster([Some(0.25), Some(0.25), Some(0.25)]);
        let mut web = deployment("web:2", 3);
        web.container.resources.cpu_reserved_millis = 500;
        cluster.submit(revision(2, &[("web", web)]));
        cluster.settle();
        check(&cluster, &cpu(50.0), each(&[], 0, 3));
    }

    #[test]
    fn connections_are_those_of_all_hosts_or_of_none() {
        let mut cluster = cluster([None, None, None]);
        let connections = rule(ScaleMetric::Connections, ScaleTarget::PerReplica(10.0));
        let counted = |rate: f64| Measured {
            connections: [("web".into(), rate)].into(),
            ..Measured::default()
        };
        cluster.measured(1, &counted(5.0));
        cluster.measured(2, &counted(7.5));
        let missing = Reading::Missing("`name3` has not counted".to_owned());
        check(&cluster, &connections, missing);
        cluster.measured(3, &counted(0.0));
        check(&cluster, &connections, Reading::Total(12.5));
        cluster.liveness.insert(host(2), Liveness::Suspect);
        check(&cluster, &connections, Reading::Total(5.0));
    }

    #[test]
    fn a_fetched_number_is_the_homes_own_or_anybodys() {
        let mut cluster = cluster([None, None, None]);
        let fetched = |fetched: Fetched| {
            let numbers = [(super::jobs().key(), fetched)].into();
            Measured { numbers: [("web".into(), numbers)].into(), ..Measured::default() }
        };
        let nobody = Reading::Missing("nobody has fetched it yet".to_owned());
        check(&cluster, &queue(10.0), nobody);
        cluster.measured(3, &fetched(Fetched::Failed("gone".to_owned())));
        check(&cluster, &queue(10.0), Reading::Missing("gone".to_owned()));
        cluster.measured(2, &fetched(Fetched::of(7.0)));
        check(&cluster, &queue(10.0), Reading::Total(7.0));
        cluster.measured(1, &fetched(Fetched::of(f64::NAN)));
        let wrong = Reading::Missing("it is `NaN`, which is no amount".to_owned());
        check(&cluster, &queue(10.0), wrong);
    }

    #[test]
    fn a_row_of_measurements_is_what_it_says_and_no_more() {
        let measured =
            Measured { connections: [("web".into(), 5.0)].into(), ..Measured::default() };
        let text = serde_json::to_string(&RowBody::of(&measured)).unwrap();
        assert_eq!(text, r#"{"connections":{"web":5.0}}"#);
        let key = serde_json::to_string(&RowKey::Measured(app())).unwrap();
        assert_eq!(key, r#"{"measured":"shop"}"#);
        assert!(Measured::default().is_empty() && !measured.is_empty());
    }

    #[test]
    fn a_plan_follows_the_rules_and_begins_where_the_file_says() {
        let mut cluster = Cluster::new(3);
        let mut web = deployment("web", 2);
        web.autoscale = Some(rules(1, 9, &[queue(10.0)]));
        cluster.submit(revision(1, &[("web", web.clone())]));
        let plan = cluster.settle();
        assert_eq!(plan.assignments.len(), 2);
        assert_eq!(plan.scalings[&"web".into()].target, 2);
        // As the Home would decide.
        let mut next = plan.clone();
        next.number += 1;
        next.scalings.get_mut(&"web".into()).expect("it is there").target = 4;
        cluster.planned_by(1, next);
        assert_eq!(cluster.settle().assignments.len(), 4);
        // Another spec, or another number in the file, is no reason to begin anew.
        web.container.image = "web:2".to_owned();
        web.replicas = crate::model::Replicas::Count(1);
        cluster.submit(revision(2, &[("web", web.clone())]));
        assert_eq!(cluster.settle().assignments.len(), 4);
        // A number asked for by hand is one.
        let asked = crate::model::AskedReplicas { replicas: 3, number: 1 };
        web.autoscale.as_mut().expect("it has rules").asked = Some(asked);
        cluster.submit(revision(3, &[("web", web.clone())]));
        assert_eq!(cluster.settle().assignments.len(), 3);
        // Without rules the file counts.
        web.autoscale = None;
        cluster.submit(revision(4, &[("web", web)]));
        let plan = cluster.settle();
        assert_eq!((plan.assignments.len(), plan.scalings.len()), (1, 0));
    }
}
