//! The simulator: the real `logic/` code of many hosts on one thread, in virtual time, over a seeded
//! network with loss, delay, cuts and crashes, with a fake engine on every host.
//!
//! Each run is decided by its seed alone; a failing run prints the seed that replays it:
//! `make sim SEEDS=1 SEED=… HOSTS=…`. After every event the invariants of `checks` must hold.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it met, and may stop"
)]

mod checks;
mod kept;
mod scenario;
mod wires;
mod world;

use scenario::{Kind, run};

/// Seeds of the runs that `make test` makes of each kind; `MUSTER_SIM_SEEDS` asks for more.
const SEEDS: u64 = 12;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn runs(kind: Kind, hosts: &[usize]) {
    let first = number("MUSTER_SIM_SEED").unwrap_or(1);
    let seeds = number("MUSTER_SIM_SEEDS").unwrap_or(SEEDS);
    let asked = number("MUSTER_SIM_HOSTS").map(|hosts| vec![hosts as usize]);
    let hosts = asked.as_deref().unwrap_or(hosts);
    let mut met = scenario::Met::default();
    for seed in first..first + seeds {
        let hosts = hosts[(seed % hosts.len() as u64) as usize];
        met.add(&run(kind, seed, hosts));
    }
    met.require(kind, seeds);
    println!("{kind:?}: {seeds} seeds, {met}");
}

#[test]
fn a_calm_cluster_runs_scales_updates_and_removes() {
    runs(Kind::Calm, &[1, 2, 3, 5]);
}

#[test]
fn replicas_of_a_dead_host_come_back_elsewhere() {
    runs(Kind::Deaths, &[2, 3, 5]);
}

#[test]
fn a_partition_heals_to_one_state() {
    runs(Kind::Partitions, &[2, 3, 5]);
}

#[test]
fn loss_and_delay_kill_nobody() {
    runs(Kind::Loss, &[3, 5]);
}

#[test]
fn crashes_of_agents_stop_no_container() {
    runs(Kind::AgentCrashes, &[2, 3]);
}

#[test]
fn everything_at_once_ends_in_one_state() {
    runs(Kind::Chaos, &[3, 5]);
}

#[test]
fn fifty_hosts_converge() {
    let met = run(Kind::Deaths, number("MUSTER_SIM_SEED").unwrap_or(1), 50);
    assert!(met.deaths > 0, "no host died in the run");
}
