//! Figures: how soon a death is known, how often a living host is called dead, how soon a partition
//! heals, what all that weighs. `make sim` prints them with their goals; the goals are checked.

use std::path::Path;
use std::thread;
use std::time::Duration;

use muster::model::Liveness;

use crate::field::{Field, Loss};
use crate::healing::{self, Healed};
use crate::leaving;
use crate::planning::{self, Size};
use crate::scaling;
use crate::weight;

/// Seeds from which on what takes minutes is measured as well.
const MANY: u64 = 1_000;
/// Longest wait for a death to be known to all.
const LIMIT: Duration = Duration::from_secs(60);

/// Seconds from a power cut to its being known: to the first host, and to all.
#[derive(Debug, Default)]
struct Detection {
    first: Vec<Duration>,
    all: Vec<Duration>,
}

impl Detection {
    /// The slowest of a hundred.
    fn p99(times: &[Duration]) -> f64 {
        let mut sorted = times.to_vec();
        sorted.sort();
        sorted[(sorted.len() * 99).div_ceil(100) - 1].as_secs_f64()
    }

    fn first_p99(&self) -> f64 {
        Self::p99(&self.first)
    }

    fn all_p99(&self) -> f64 {
        Self::p99(&self.all)
    }
}

/// Kills one host after another and brings each back before the next.
fn detect(n: usize, loss: Loss, kills: usize, seed: u64) -> Detection {
    let mut field = Field::new(n, loss, seed);
    let mut found = Detection::default();
    for _ in 0..kills {
        // Somewhere between two rounds.
        let wait = field.draw(1_000) as u64;
        field.run_for(Duration::from_millis(wait));
        let victim = field.draw(field.n());
        field.power_off(victim);
        let died = field.now;
        let dead = |liveness| liveness == Liveness::Dead;
        assert!(field.run_until(LIMIT, |field| field.seen(victim).any(dead)), "nobody noticed");
        found.first.push(field.now.since(died));
        assert!(field.run_until(LIMIT, |field| field.seen(victim).all(dead)), "not all noticed");
        found.all.push(field.now.since(died));
        field.start(victim);
        assert!(field.run_until(LIMIT, Field::all_agree), "it did not come back");
    }
    found
}

/// What nobody dying led to.
#[derive(Debug)]
struct Quiet {
    /// Times a host that lives was called dead by another one.
    false_deaths: u64,
    /// Datagrams a second and host.
    datagrams: f64,
}

/// Lets hosts that all live run for so many hours of one host, on two threads.
fn quiet(n: usize, loss: Loss, host_hours: f64, seed: u64) -> Quiet {
    let time = Duration::from_secs_f64(host_hours * 3600.0 / n as f64 / 2.0);
    let half = move |seed| {
        let mut field = Field::new(n, loss, seed);
        field.run_for(time);
        (field.false_deaths, field.datagrams)
    };
    let other = thread::spawn(move || half(seed ^ 1 << 32));
    let (deaths, datagrams) = half(seed);
    let other = other.join().expect("it panicked with a message of its own");
    let datagrams = (datagrams + other.1) as f64 / (2.0 * time.as_secs_f64()) / n as f64;
    Quiet { false_deaths: deaths + other.0, datagrams }
}

/// Figures as they are printed, and kept in `target/figures.tsv` beside those of `make bench`.
#[derive(Debug, Default)]
struct Figures {
    rows: Vec<String>,
    missed: bool,
}

impl Figures {
    /// One line a figure. `model` is what a simulation of SWIM with memberlist's settings
    /// for a LAN gives under the same loss, where there is one.
    fn add(&mut self, figure: &str, ours: f64, goal: f64, unit: &str, model: &str) {
        let good = ours <= goal;
        let verdict = if good { "good" } else { "MISSED" };
        println!(
            "{figure:<62} ours {ours:>7.3} {unit:<3} goal {goal:>6} {unit:<3} model {model:<8} {verdict}"
        );
        self.rows.push(format!("sim\t{figure}\t{ours:.3} {unit}\t{goal}\t{model}\t{verdict}"));
        self.missed |= !good;
    }

    /// Puts them in the place of those of the last run.
    fn keep(&self) {
        const HEAD: &str = "source\tfigure\tours\tgoal\tpeer or model\tverdict";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/figures.tsv");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let others = before.lines().filter(|line| line.starts_with("bench"));
        let mut lines = vec![HEAD];
        lines.extend(others);
        lines.extend(self.rows.iter().map(String::as_str));
        std::fs::write(path, lines.join("\n") + "\n").expect("the target directory is ours");
    }
}

/// Prints every figure beside its goal, from so much as `seeds` allow; panics when one is missed.
pub(crate) fn print_all(seeds: u64, seed: u64) {
    let mut figures = Figures::default();
    deaths(&mut figures, seeds, seed);
    living(&mut figures, seeds, seed);
    memory(&mut figures, seeds);
    plans(&mut figures, seeds);
    partitions(&mut figures, seeds, seed);
    endpoints(&mut figures, seeds, seed);
    scaling(&mut figures, seeds, seed);
    figures.keep();
    assert!(!figures.missed, "a goal was missed");
}

const LOSSY: Loss = Loss::Even(100_000);

fn deaths(figures: &mut Figures, seeds: u64, seed: u64) {
    let sizes = [(5, 300.min(seeds * 4), 4.0, "6.8"), (50, 300.min(seeds), 6.0, "11.8")];
    // A thousand hosts tell each other all they know of a thousand each second: that takes long.
    let large = (1_000, if seeds >= MANY { 4 } else { 0 }, 9.0, "14.4");
    for (n, kills, goal, model) in sizes.into_iter().chain([large]) {
        if kills == 0 {
            not_measured(&format!("a death among {n} hosts"));
            continue;
        }
        let found = detect(n, LOSSY, kills as usize, seed);
        let name = format!("a death among {n} hosts, 10 % loss, p99 of {kills}");
        figures.add(&format!("{name}, to the first"), found.first_p99(), goal, "s", model);
        figures.add(&format!("{name}, to all"), found.all_p99(), goal + 1.0, "s", "-");
    }
}

fn living(figures: &mut Figures, seeds: u64, seed: u64) {
    // `make test` is to be over soon.
    let hours = seeds as f64 * if seeds < 30 { 0.3 } else { 1.0 };
    let quiet_at = |loss, hours| (quiet(50, loss, hours, seed), hours);
    let (even, hours) = quiet_at(LOSSY, hours);
    let name = format!("called dead in vain, 10 % loss, {hours:.1} host-hours");
    figures.add(&name, even.false_deaths as f64 / hours, 0.0, "/h", "0.063");
    let name = "datagrams a second and host of 50, 10 % loss";
    figures.add(name, even.datagrams, 15.0, "/s", "5 to 8");
    let (worse, hours) = quiet_at(Loss::Even(200_000), hours / 4.0);
    let name = format!("called dead in vain, 20 % loss, {hours:.1} host-hours");
    figures.add(&name, worse.false_deaths as f64 / hours, 0.001, "/h", "3.6");
    let (good, bad) = (Duration::from_secs(9), Duration::from_secs(1));
    let (bursts, hours) = quiet_at(Loss::Bursts { good, bad, lost: 900_000 }, hours / 2.0);
    println!(
        "called dead in vain, bursts (9 s good, 1 s bad with 90 % lost): {:.4} /h in {hours:.1} host-hours",
        bursts.false_deaths as f64 / hours
    );
}

/// An agent without a cluster has [`AGENT`] in memory besides, as `make bench` measures.
fn memory(figures: &mut Figures, seeds: u64) {
    for (hosts, services, goal) in [(50, 500, 40.0), (1_000, 10_000, 150.0)] {
        if hosts == 1_000 && seeds < MANY {
            not_measured(&format!("memory at {hosts} hosts"));
            continue;
        }
        let name = format!("memory of an agent, {hosts} hosts, {services} services");
        figures.add(&name, AGENT + weight::memory(hosts, services), goal, "MB", "-");
    }
}

/// A table of sizes: the largest ones have goals, the smaller ones show how the cost grows.
fn plans(figures: &mut Figures, seeds: u64) {
    const LARGEST: u32 = 10_000;
    // Without optimisation it says nothing.
    if seeds < OPTIMISED {
        return not_measured("what a Plan for 10000 replicas on 1000 hosts costs");
    }
    println!("{:<42} {:>9} {:>9} {:>9} {:>7}", "a Plan", "first", "as it is", "deaths", "memory");
    for size in planning::SIZES {
        let cost = planning::cost(size);
        let Size { hosts, replicas, services } = size;
        let name = format!("{replicas} replicas of {services} services on {hosts} hosts");
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        println!(
            "{name:<42} {:>9} {:>9} {:>9} {:>4.0} MB; {:.1} us a replica",
            ms(cost.first),
            ms(cost.again),
            ms(cost.deaths),
            cost.memory,
            cost.slowest() * 1e6 / f64::from(replicas)
        );
        if replicas == LARGEST {
            figures.add(&format!("a Plan of {name}"), cost.slowest(), 1.0, "s", "-");
            figures.add(&format!("memory for {name}"), cost.memory, 500.0, "MB", "-");
        }
    }
}

/// Seeds from which on `make sim` made them, with an optimised build.
const OPTIMISED: u64 = 100;

/// Resident MB of an agent that knows next to nothing: `make bench FIGURES=memory` prints it.
const AGENT: f64 = 31.7;

fn partitions(figures: &mut Figures, seeds: u64, seed: u64) {
    // A thousand whole cores that know of each other are more than 20 GB.
    not_measured("heal of a partition at 1000 hosts");
    for (n, times, goal) in [(50, 100.min(seeds / 100), 5.0), (200, seeds / MANY / 2, 15.0)] {
        if times == 0 {
            not_measured(&format!("heal of a partition and traffic at {n} hosts"));
            continue;
        }
        let Healed { took, packets, bytes } = healing::heal(n, times as usize, seed);
        let name = format!("from a partition's end to equal state, {n} hosts, p99 of {times}");
        figures.add(&name, Detection::p99(&took), goal, "s", "15 to 30");
        if n == 50 {
            let name = "packets a second and host of 50, streams too, 10 % loss";
            figures.add(name, packets, 15.0, "/s", "-");
            let name = "kilobytes a second and host of 50, with headers";
            figures.add(name, bytes / 1e3, 10.0, "kB", "-");
        }
    }
}

fn endpoints(figures: &mut Figures, seeds: u64, seed: u64) {
    let times = 20.min(seeds / 10);
    if times == 0 {
        return not_measured("an endpoint that is no longer ready, at 50 hosts");
    }
    for (loss, name) in [(0, "no loss"), (100, "10 % loss")] {
        let left = leaving::leave(50, times as usize, loss, seed);
        let name =
            format!("an endpoint not ready to not handed out, 50 hosts, {name}, p99 of {times}");
        figures.add(&format!("{name}, its host"), Detection::p99(&left.own), 0.25, "s", "-");
        figures.add(&format!("{name}, all"), Detection::p99(&left.all), 1.0, "s", "-");
    }
}

/// Goals are two periods of 15 s between decisions, and one turn a window. The models are Kubernetes'
/// autoscaler with its defaults: numbers that are up to 15 s old when it looks each 15 s.
fn scaling(figures: &mut Figures, seeds: u64, seed: u64) {
    let all = [(2, 6), (1, 5), (4, 8), (6, 12), (3, 7), (5, 10), (1, 4), (2, 5), (8, 16), (10, 20)];
    let n = (seeds as usize).clamp(2, all.len());
    let scaled = scaling::follow(3, &all[..n], seed);
    let name = format!("a step of load up to 5-fold, to the target it asks for, worst of {n}");
    let worst = |times: &[Duration]| times.iter().max().map_or(0.0, Duration::as_secs_f64);
    figures.add(&name, worst(&scaled.reached), 30.0, "s", "30 to 45");
    let name = format!("the same, until as many replicas run, worst of {n}");
    figures.add(&name, worst(&scaled.ran), 40.0, "s", "-");
    let name = "a sine of load, 20 min a cycle, turns within any window of 5 min";
    figures.add(name, scaled.turns as f64, 1.0, "", "1");
    let name = "the same, longest time with fewer replicas than it takes";
    figures.add(name, scaled.short.as_secs_f64(), 30.0, "s", "30 to 45");
    let name = "half an hour without measurements, changes of the number of replicas";
    figures.add(name, scaled.moved_blind as f64, 0.0, "", "0");
}

fn not_measured(what: &str) {
    println!("NOT MEASURED, for want of seeds or memory: {what}");
}
