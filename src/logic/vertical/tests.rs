//! What is given, by what is measured; and what containers are held to.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::logic::testing::{Cluster, app, deployment, host, revision};
use crate::model::{
    Capacity, ContainerSpec, Limits, Measured, MeasuredReplica, MemoryLimit, Resize, Resources,
    Usage,
};

const MIB: u64 = 1 << 20;
const WINDOW: Duration = Duration::from_secs(60);

fn rules() -> Vertical {
    Vertical {
        cpu_millis: Some(Bounds { min: 50, max: 2_000 }),
        memory: Some(Bounds { min: 32 * MIB, max: 1024 * MIB }),
        window_ms: 60_000,
    }
}

fn size(cpu_millis: u64, mib: u64) -> Size {
    Size { cpu_millis: Some(cpu_millis), memory: Some(mib * MIB) }
}

/// Thousandths of a CPU and MiB: recommended, and taken now.
fn needs(cpu: (f64, f64), memory: (f64, f64)) -> Needs {
    let mib = MIB as f64;
    Needs {
        cpu_millis: Need { recommended: cpu.0, now: cpu.1 },
        memory: Need { recommended: memory.0 * mib, now: memory.1 * mib },
    }
}

struct Run {
    vertical: Vertical,
    sizer: Sizer,
    now: Moment,
}

impl Run {
    fn new(began: Size) -> Self {
        let now = Moment(1_000_000);
        Self { vertical: rules(), sizer: Sizer::new(began, now), now }
    }

    /// One look after another for so long, at the same numbers.
    fn pass(&mut self, time: Duration, needs: Needs) -> Size {
        let end = self.now + time;
        while self.now < end {
            self.now = self.sizer.next().max(self.now + self.vertical.interval());
            self.sizer.decide(&self.vertical, Ok(needs), (self.now, WallSeconds(0)));
        }
        self.sizer.sizing(self.now).size
    }

    fn decisions(&self) -> usize {
        self.sizer.sizing(self.now).decisions.len()
    }
}

#[test]
fn less_is_given_when_it_would_have_sufficed_for_a_window() {
    let mut run = Run::new(size(1_000, 512));
    let idle = needs((200.0, 100.0), (100.0, 80.0));
    assert_eq!(run.pass(WINDOW - run.vertical.interval(), idle), Size::default());
    assert_eq!(run.pass(2 * run.vertical.interval(), idle), size(200, 100));
    assert_eq!(run.pass(20 * WINDOW, idle), size(200, 100));
    assert_eq!(run.decisions(), 1);
    let sizing = run.sizer.sizing(run.now);
    let made = &sizing.decisions[0];
    assert_eq!((made.from, made.to), (size(1_000, 512), size(200, 100)));
    let words = "the busiest takes 0.1 CPUs, 0.2 CPUs are recommended; \
                 the busiest takes 80 MiB, 100 MiB are recommended";
    assert_eq!(made.reason, words);
}

#[test]
fn the_most_of_the_window_counts() {
    let mut run = Run::new(size(1_000, 512));
    run.pass(WINDOW / 2, needs((600.0, 300.0), (300.0, 80.0)));
    assert_eq!(run.pass(WINDOW, needs((200.0, 100.0), (100.0, 80.0))), size(600, 300));
}

#[test]
fn more_is_given_at_once_and_then_not_again_within_the_window() {
    let mut run = Run::new(size(200, 100));
    let steady = needs((200.0, 100.0), (100.0, 80.0));
    run.pass(2 * WINDOW, steady);
    assert_eq!(run.decisions(), 0);
    // It takes all it may: nobody sees how much it would take.
    let pressed = needs((210.0, 199.0), (110.0, 95.0));
    assert_eq!(run.pass(Duration::from_millis(1), pressed), size(300, 150));
    let pressed = needs((330.0, 299.0), (172.0, 149.0));
    assert_eq!(run.pass(WINDOW - run.vertical.interval(), pressed), size(300, 150));
    assert_eq!(run.pass(run.vertical.interval(), pressed), size(450, 225));
    assert_eq!(run.pass(30 * WINDOW, needs((9e9, 9e9), (9e9, 9e9))), size(2_000, 1024));
}

#[test]
fn memory_is_never_less_than_is_held_with_something_to_spare() {
    let mut run = Run::new(size(200, 512));
    assert_eq!(run.pass(3 * WINDOW, needs((200.0, 10.0), (64.0, 300.0))).memory, Some(345 * MIB));
}

#[test]
fn what_is_near_what_it_is_changes_nothing() {
    let mut run = Run::new(size(1_000, 100));
    let near = needs((910.0, 500.0), (109.0, 80.0));
    assert_eq!(run.pass(10 * WINDOW, near), Size::default());
    let mut run = Run::new(size(1_000, 100));
    let other = needs((900.0, 500.0), (110.0, 80.0));
    assert_eq!(run.pass(10 * WINDOW, other), size(900, 110));
}

#[test]
fn what_swings_within_the_window_is_met_by_the_most() {
    let mut run = Run::new(size(1_000, 512));
    for _ in 0..40 {
        run.pass(WINDOW / 3, needs((200.0, 600.0), (100.0, 80.0)));
        run.pass(WINDOW / 3, needs((200.0, 100.0), (100.0, 80.0)));
    }
    assert_eq!(run.sizer.sizing(run.now).size, size(690, 100));
    assert!(run.decisions() <= 2, "{}", run.decisions());
}

#[test]
fn when_nothing_is_known_it_stays_and_the_window_begins_anew() {
    let mut run = Run::new(size(1_000, 512));
    let idle = needs((200.0, 100.0), (100.0, 80.0));
    run.pass(WINDOW / 2, idle);
    let reason = || Err("gone".to_owned());
    run.now = run.sizer.next();
    run.sizer.decide(&run.vertical, reason(), (run.now, WallSeconds(0)));
    assert_eq!(run.sizer.sizing(run.now).hold.as_deref(), Some("gone"));
    assert_eq!(run.pass(WINDOW, idle), Size::default());
    assert_eq!(run.sizer.sizing(run.now).hold, None);
    assert_eq!(run.pass(run.vertical.interval(), idle), size(200, 100));
}

#[test]
fn only_what_the_file_names_is_changed_and_its_bounds_hold_at_once() {
    let mut run = Run::new(size(1_000, 512));
    run.vertical.memory = None;
    let idle = needs((200.0, 100.0), (100.0, 80.0));
    let given = run.pass(3 * WINDOW, idle);
    assert_eq!(given, Size { cpu_millis: Some(200), memory: None });
    run.vertical.cpu_millis = Some(Bounds { min: 400, max: 500 });
    run.sizer.heed(&run.vertical, (run.now, WallSeconds(0)));
    assert_eq!(run.sizer.sizing(run.now).size.cpu_millis, Some(400));
    run.vertical.cpu_millis = None;
    run.sizer.heed(&run.vertical, (run.now, WallSeconds(0)));
    assert_eq!(run.sizer.sizing(run.now).size, Size::default(), "as the file has it");
}

#[test]
fn another_home_goes_on_unless_the_file_has_other_limits() {
    let mut run = Run::new(size(1_000, 512));
    run.pass(2 * WINDOW, needs((200.0, 100.0), (100.0, 80.0)));
    let sizing = run.sizer.sizing(run.now);
    let json = serde_json::to_string(&sizing).unwrap();
    let read: Sizing = serde_json::from_str(&json).unwrap();
    assert_eq!(read, sizing);
    let later = Moment(5_000);
    let same = Sizer::resume(size(1_000, 512), Some(&read), later).sizing(later);
    assert_eq!((same.size, same.decisions.len()), (size(200, 100), 1));
    let other = Sizer::resume(size(2_000, 512), Some(&read), later).sizing(later);
    assert_eq!((other.size, other.decisions.len()), (Size::default(), 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_told_it_stays_within_bounds_and_changes_once_in_a_window(
        told in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>()), 1..80),
        (cpu, mib) in (prop::option::of(10..9_000_u64), prop::option::of(6..9_000_u64)),
    ) {
        let began = Size { cpu_millis: cpu, memory: mib.map(|mib| mib * MIB) };
        let mut run = Run::new(began);
        let mut changed: Option<Moment> = None;
        for (a, b, c, d) in told {
            let before = run.sizer.sizing(run.now).size;
            let needs = Needs {
                cpu_millis: Need { recommended: a, now: b },
                memory: Need { recommended: c, now: d },
            };
            let given = run.pass(Duration::from_millis(1), needs);
            if given != before {
                prop_assert!(changed.is_none_or(|at| run.now.since(at) >= WINDOW));
                changed = Some(run.now);
            }
            let cpu = given.cpu_millis.is_none_or(|millis| (50..=2_000).contains(&millis));
            let memory = given.memory.is_none_or(|m| (32 * MIB..=1024 * MIB).contains(&m));
            prop_assert!(cpu && memory, "{}", given);
        }
    }
}

mod of_a_cluster {
    use super::*;

    /// One host more than replicas of `web`, which may be given another size.
    fn cluster() -> Cluster {
        let mut cluster = Cluster::new(3);
        let mut web = deployment("web", 2);
        web.vertical = Some(rules());
        cluster.submit(revision(1, &[("web", web)]));
        cluster.settle();
        cluster
    }

    fn measure(cluster: &mut Cluster, cpus: f64, memory: Option<f64>) {
        let plan = cluster.settle();
        for assignment in plan.assignments {
            let index = (1..=3).find(|n| host(*n) == assignment.host).expect("one of three");
            let one = MeasuredReplica {
                replica: assignment.replica,
                generation: assignment.generation,
                cpus: Some(cpus),
                memory,
            };
            let peaks = [("web".into(), Peak { cpus: 0.5, memory: 100e6 })].into();
            let all = Measured { replicas: vec![one], peaks, ..Measured::default() };
            cluster.measured(index, &all);
        }
    }

    fn known(cluster: &Cluster) -> Result<Needs, String> {
        cluster.look(|view| super::super::needs(view, &app(), &"web".into()))
    }

    #[test]
    fn every_ready_replica_has_to_be_measured_in_full() {
        let mut cluster = cluster();
        assert_eq!(known(&cluster), Err("`web/1` has not been measured".to_owned()));
        measure(&mut cluster, 0.25, None);
        assert_eq!(known(&cluster), Err("`web/1` has not been measured".to_owned()));
        measure(&mut cluster, f64::NAN, Some(1.0));
        assert_eq!(known(&cluster), Err("`web/1` has not been measured".to_owned()));
        measure(&mut cluster, 0.25, Some(50e6));
        let needs = known(&cluster).expect("all is known");
        assert_eq!((needs.cpu_millis.now, needs.memory.now), (250.0, 50e6));
        assert!((needs.cpu_millis.recommended - 575.0).abs() < 1e-6, "{needs:?}");
        cluster.report(|status| status.ready = false);
        assert_eq!(known(&cluster), Err("no replica of it is ready".to_owned()));
    }

    #[test]
    fn what_is_given_is_reserved_and_replaces_nobody() {
        let mut cluster = cluster();
        let before = cluster.settle();
        let mut next = before.clone();
        next.number += 1;
        next.sizes.get_mut(&"web".into()).expect("it may change").size = size(700, 256);
        cluster.planned_by(1, next);
        let plan = cluster.settle();
        assert_eq!(plan.size(&"web".into()), size(700, 256));
        assert_eq!(plan.assignments, before.assignments, "nothing moves and nothing is replaced");
        let load = cluster.look(|view| crate::logic::plan::load_of_others(view, None));
        let reserved: Vec<Capacity> = (1..=3).map(|n| load.reserved(&host(n))).collect();
        let one = Capacity { cpu_millis: 700, memory: 256 * MIB };
        assert_eq!(reserved.iter().filter(|on| **on == one).count(), 2, "{reserved:?}");
        // Without the option the file counts again.
        let web = deployment("web", 2);
        cluster.submit(revision(2, &[("web", web)]));
        let plan = cluster.settle();
        assert_eq!((plan.sizes.len(), plan.size(&"web".into())), (0, Size::default()));
        let generations = |plan: &crate::model::Plan| {
            plan.assignments.iter().map(|a| a.generation).collect::<Vec<_>>()
        };
        assert_eq!(generations(&plan), generations(&before));
    }
}

const HOST: Capacity = Capacity { cpu_millis: 4_000, memory: 8 << 30 };

fn spec(cpu: Option<u64>, mib: Option<u64>, swap_mib: Option<i64>) -> ContainerSpec {
    let resources = Resources {
        cpu_limit_millis: cpu,
        memory_limit: mib.map(|mib| mib * MIB),
        ..Resources::default()
    };
    let mut spec = ContainerSpec { resources, ..ContainerSpec::default() };
    spec.tuning.memory_swap = swap_mib.map(|mib| if mib < 0 { mib } else { mib * MIB as i64 });
    spec
}

fn limits(cpu_millis: Option<u64>, mib: Option<u64>) -> Limits {
    Limits { cpu_millis, memory: mib.map(|mib| mib * MIB) }
}

fn memory(mib: u64, with_swap_mib: i64) -> Option<MemoryLimit> {
    let mib_of = |mib: i64| if mib < 0 { mib } else { mib * MIB as i64 };
    Some(MemoryLimit { limit: mib * MIB, with_swap: mib_of(with_swap_mib), reserved: 0 })
}

#[test]
fn a_container_is_held_to_its_size_or_to_the_file() {
    let file = spec(Some(500), Some(100), None);
    let none = Size::default();
    let check = |spec: &ContainerSpec, size: Size, seen: Limits, cpu, memory| {
        let expected = Some(Resize { cpu_millis: cpu, memory });
        let expected = expected.filter(|one| *one != Resize::default());
        assert_eq!(resize(spec, size, HOST, seen), expected);
    };
    check(&file, none, limits(Some(500), Some(100)), None, None);
    check(&file, size(700, 200), limits(Some(500), Some(100)), Some(700), memory(200, 400));
    check(&file, size(700, 200), limits(Some(700), Some(200)), None, None);
    check(&file, none, limits(Some(700), Some(200)), Some(500), memory(100, 200));
    // An engine that limits nothing shows none, and is not asked for what it cannot do.
    check(&file, none, limits(None, None), None, None);
    check(&file, size(700, 200), limits(None, None), Some(700), memory(200, 400));
    // Docker takes no limit away: as much as the host has is as good.
    let free = spec(None, None, None);
    check(&free, none, limits(Some(700), Some(200)), Some(4_000), memory(8 << 10, 16 << 10));
    check(&free, none, limits(Some(4_000), Some(8 << 10)), None, None);
    check(&free, none, limits(None, None), None, None);
    // More than the host has is refused by Docker.
    check(&free, size(9_000, 9 << 10), limits(None, None), Some(4_000), memory(8 << 10, 16 << 10));
}

#[test]
fn swap_goes_with_memory() {
    let check = |spec: &ContainerSpec, expected| {
        let found = resize(spec, size(500, 300), HOST, limits(Some(500), Some(100)));
        assert_eq!(found, Some(Resize { cpu_millis: None, memory: expected }));
        let mut made = spec.clone();
        size_spec(&mut made, size(500, 300), HOST);
        assert_eq!(made.resources.memory_limit, Some(300 * MIB));
        let kept = spec.tuning.memory_swap.and(expected.map(|memory| memory.with_swap));
        assert_eq!(made.tuning.memory_swap, kept);
    };
    check(&spec(None, Some(100), None), memory(300, 600));
    check(&spec(None, Some(100), Some(100)), memory(300, 300));
    check(&spec(None, Some(100), Some(150)), memory(300, 350));
    check(&spec(None, Some(100), Some(-1)), memory(300, -1));
}

#[test]
fn nothing_is_held_to_less_than_it_holds() {
    let usage = |held: u64, limit: u64| Usage {
        memory: held * MIB,
        memory_limit: limit * MIB,
        ..Usage::default()
    };
    assert_eq!(fits(110 * MIB, &usage(100, 256)), Ok(()));
    let words = "it holds 100 MiB, too much for a limit of 109 MiB".to_owned();
    assert_eq!(fits(109 * MIB, &usage(100, 256)), Err(words));
    assert_eq!(fits(109 * MIB, &usage(100, 101)), Ok(()), "more than it had");
}
