//! The simulator: the real `logic/` code of many hosts on one thread, in virtual time, over a seeded
//! network with loss, delay, cuts and crashes, with a fake engine on every host.
//!
//! Each run is decided by its seed alone; a failing run prints the command that replays it. After
//! every event the invariants of `checks` must hold.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a run says what it met and how to replay it; a broken simulator should panic"
)]

mod apps;
mod balance;
mod checks;
mod disk;
mod faults;
mod field;
mod figures;
mod fleet;
mod gangs;
mod hands;
mod healing;
mod hooks;
mod jobs;
mod kept;
mod leaving;
mod met;
mod order;
mod planning;
mod pods;
mod probes;
mod rollouts;
mod run;
mod scaling;
mod scenario;
mod sizes;
mod weight;
mod wires;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use met::Met;
use run::{Scenario, run};

/// Seeds of the runs that `make test` makes of each kind; `MUSTER_SIM_SEEDS` asks for more.
const SEEDS: u64 = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn runs(name: &'static str, scenario: Scenario, hosts: &[usize]) -> Met {
    let first = number("MUSTER_SIM_SEED").unwrap_or(1);
    let seeds = number("MUSTER_SIM_SEEDS").unwrap_or(SEEDS);
    let asked = number("MUSTER_SIM_HOSTS").map(|hosts| vec![hosts as usize]);
    let hosts = asked.as_deref().unwrap_or(hosts);
    let next = AtomicU64::new(first);
    let some = || {
        let mut met = Met::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return met;
            }
            met.add(&run(name, scenario, seed, hosts[(seed % hosts.len() as u64) as usize]));
        }
    };
    // Two threads, so that the last kind of run does not leave a core idle.
    let met = thread::scope(|scope| {
        let other = scope.spawn(some);
        let mut met = some();
        let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        met.add(&other);
        met
    });
    println!("{name}: {seeds} seeds, {met}");
    met
}

/// Whether enough runs were made to expect that each fault was met.
fn many() -> bool {
    number("MUSTER_SIM_SEEDS").is_none_or(|seeds| seeds >= SEEDS)
}

#[test]
fn calm_cluster_runs_scales_updates_and_removes() {
    let met = runs("calm", scenario::calm, &[1, 2, 3, 5]);
    met.require(&[("submits", met.submits), ("pulls", met.pulls)]);
}

#[test]
fn row_06_07_deaths_bring_replicas_elsewhere() {
    let met = runs("deaths", scenario::deaths, &[2, 3, 5]);
    if many() {
        met.require(&[("deaths", met.deaths), ("moved replicas", met.moved)]);
    }
}

#[test]
fn row_07_a_host_that_returns_gets_its_share_and_then_nothing_moves() {
    let met = runs("row_07", balance::returns, &[2, 3, 5]);
    met.require(&[("deaths", met.deaths), ("moved replicas", met.moved)]);
}

#[test]
fn row_07_a_copy_that_does_not_come_up_where_it_moves_is_given_up() {
    let met = runs("row_07_setbacks", balance::bad_host, &[2, 3, 5]);
    met.require(&[("setbacks", met.setbacks)]);
}

#[test]
fn row_09_12_43_partitions_heal_to_one_state() {
    let met = runs("partitions", scenario::partitions, &[2, 3, 5]);
    if many() {
        met.require(&[("partitions", met.partitions), ("conflicts", met.conflicts)]);
    }
}

#[test]
fn row_09_data_has_one_writer_through_any_number_of_partitions() {
    // Only `make test` has to be over soon.
    let scenario: Scenario = match number("MUSTER_SIM_SEEDS") {
        Some(_) => healing::fifty_partitions,
        None => healing::ten_partitions,
    };
    let met = runs("row_09_data", scenario, &[3, 5]);
    met.require(&[("partitions", met.partitions)]);
    println!("data: {} partitions, one writer at most", met.partitions);
}

#[test]
fn row_13_loss_and_delay_kill_nobody() {
    let met = runs("loss", scenario::loss, &[3, 5]);
    met.require(&[("lost messages", met.lost), ("doubled messages", met.duplicated)]);
}

#[test]
fn row_14_slow_lines_kill_nobody() {
    let met = runs("row_14", scenario::latency, &[2, 3, 5]);
    met.require(&[("minutes on a slow line", met.slow)]);
}

#[test]
fn row_10_11_one_way_cuts_kill_nobody() {
    let met = runs("one_way", scenario::one_way, &[3, 5]);
    met.require(&[("one-way cuts", met.one_way)]);
}

#[test]
fn row_02_pauses_that_are_short_move_nothing() {
    let met = runs("pauses", scenario::pauses, &[2, 3, 5]);
    met.require(&[("pauses", met.pauses)]);
}

#[test]
fn row_01_crashes_of_agents_stop_no_container() {
    let met = runs("crashes", scenario::crashes, &[2, 3]);
    met.require(&[("crashes", met.crashes)]);
    if many() {
        met.require(&[("lost records", met.records_lost)]);
    }
}

#[test]
fn row_05_containers_fail_and_come_back() {
    let met = runs("containers_fail", scenario::containers_fail, &[1, 3]);
    if many() {
        met.require(&[
            ("killed containers", met.killed),
            ("sick containers", met.sickened),
            ("engines down", met.engines_down),
        ]);
    }
}

#[test]
fn companions_stay_with_their_leaders_whatever_fails() {
    let met = runs("pods", pods::pods, &[1, 3]);
    if many() {
        met.require(&[
            ("killed containers", met.killed),
            ("crashes", met.crashes),
            ("deaths", met.deaths),
        ]);
    }
}

#[test]
fn bad_revisions_take_nothing_away() {
    let met = runs("bad_revisions", scenario::bad_revisions, &[1, 3]);
    met.require(&[("bad revisions", met.bad_revisions)]);
}

#[test]
fn row_28_29_30_31_a_bad_version_is_undone_and_takes_nothing_away() {
    let met = runs("row_28_29_30_31", rollouts::bad_versions, &[1, 3]);
    met.require(&[("bad revisions", met.bad_revisions), ("undone", met.undone)]);
}

#[test]
fn row_29_what_ends_a_moment_after_its_first_start_is_never_taken_for_good() {
    let met = runs("row_29_what_ends", rollouts::bad_first, &[1, 3]);
    met.require(&[("bad revisions", met.bad_revisions)]);
}

#[test]
fn row_45_an_update_that_is_undone_survives_its_home_at_each_step() {
    let met = runs("row_45_an_update_that", rollouts::home_dies_while_undoing, &[3, 5]);
    met.require(&[("undone", met.undone)]);
    if many() {
        met.require(&[("killed Homes", met.homes_killed)]);
    }
}

#[test]
fn row_29_31_both_sides_of_a_partition_undo_a_bad_version() {
    let met = runs("row_29_31", rollouts::bad_version_in_a_partition, &[2, 3, 5]);
    met.require(&[("partitions", met.partitions), ("undone", met.undone)]);
}

#[test]
fn a_canary_waits_until_somebody_decides() {
    runs("a_canary", rollouts::canary, &[3, 5]);
}

#[test]
fn row_31_an_update_that_fails_is_paused_where_people_want_that() {
    let met = runs("row_31_an_update", rollouts::paused, &[1, 3]);
    met.require(&[("bad revisions", met.bad_revisions)]);
}

#[test]
fn row_31_replicas_that_do_not_answer_are_left_out_or_started_again() {
    let met = runs("row_31_probes", probes::ready_and_live, &[1, 2, 3]);
    met.require(&[("questions", met.probes), ("crashes", met.crashes)]);
}

#[test]
fn row_31_a_version_that_never_answers_is_undone() {
    let met = runs("row_31_never_ready", rollouts::never_ready, &[1, 3]);
    met.require(&[("bad revisions", met.bad_revisions), ("undone", met.undone)]);
}

#[test]
fn services_go_after_those_that_depend_on_them() {
    let met = runs("order_down", order::down, &[1, 2, 3]);
    met.require(&[("crashes", met.crashes)]);
}

#[test]
fn services_are_replaced_after_those_they_follow() {
    let met = runs("order_follow", order::follow, &[1, 2, 3]);
    met.require(&[("crashes", met.crashes), ("killed containers", met.killed)]);
}

#[test]
fn hooks_run_as_often_as_they_should() {
    let met = runs("hooks_calm", hooks::calm, &[1, 2, 3]);
    met.require(&[("killed containers", met.killed)]);
}

#[test]
fn hooks_go_on_when_agents_die() {
    let met = runs("hooks_agents_die", hooks::agents_die, &[1, 3]);
    met.require(&[("crashes", met.crashes)]);
}

#[test]
fn row_32_a_container_is_stopped_when_nobody_sends_to_it_any_more() {
    let met = runs("row_32", rollouts::stops, &[1, 3, 5]);
    met.require(&[("containers seen off", met.seen_off)]);
}

#[test]
fn a_job_that_is_due_runs_once_also_when_its_home_dies() {
    let met = runs("a_job_that_is_due", jobs::homes_die_when_jobs_are_due, &[2, 3, 5]);
    met.require(&[("fires", met.fires), ("killed Homes", met.homes_killed)]);
}

#[test]
fn row_19_clocks_that_leap_make_no_storm_of_jobs() {
    let met = runs("row_19_clocks_that_leap", jobs::clocks_leap_while_jobs_are_due, &[1, 2, 3]);
    met.require(&[("fires", met.fires), ("clock jumps", met.clock_jumps)]);
}

#[test]
fn a_gang_runs_whole_or_not_at_all_when_hosts_die() {
    let met = runs("a_gang_runs_whole", gangs::hosts_die, &[2, 3, 5]);
    met.require(&[("gangs", met.gangs), ("deaths", met.deaths)]);
}

#[test]
fn a_gang_begins_again_as_often_as_it_may_when_members_fail() {
    let met = runs("a_gang_begins_again", gangs::members_fail, &[1, 3]);
    met.require(&[("gangs", met.gangs)]);
}

#[test]
fn what_is_asked_for_runs_once() {
    let met = runs("what_is_asked_for", jobs::what_is_asked_for_runs_once, &[1, 3, 5]);
    met.require(&[("fires", met.fires)]);
}

#[test]
fn drain_moves_replicas_without_a_gap() {
    let met = runs("drain", scenario::drain, &[2, 3, 5]);
    if many() {
        met.require(&[("moved replicas", met.moved)]);
    }
}

#[test]
fn row_49_mass_failure_makes_no_storm() {
    let met = runs("mass_failure", scenario::mass_failure, &[3, 5]);
    met.require(&[("brakes", met.braked)]);
}

#[test]
fn row_03_04_an_engine_that_hangs_kills_no_host() {
    let met = runs("engine_away", faults::engine_away, &[1, 2, 3]);
    met.require(&[("engines down", met.engines_down)]);
}

#[test]
fn row_08_a_link_that_flaps_moves_nothing() {
    let met = runs("flapping_link", faults::flapping_link, &[2, 3, 5]);
    met.require(&[("flaps", met.flaps)]);
}

#[test]
fn row_15_messages_that_come_twice_do_nothing_twice() {
    let met = runs("duplicates", faults::duplicates, &[2, 3, 5]);
    met.require(&[("doubled messages", met.duplicated)]);
}

#[test]
fn row_16_messages_that_are_overtaken_take_nothing_back() {
    let met = runs("reorder", faults::reorder, &[2, 3, 5]);
    met.require(&[("overtaken messages", met.overtaken)]);
}

#[test]
fn row_19_clocks_that_jump_decide_nothing() {
    let met = runs("clocks_jump", faults::clocks_jump, &[1, 2, 3]);
    met.require(&[("clock jumps", met.clock_jumps)]);
}

#[test]
fn row_20_22_disks_that_refuse_lose_nothing() {
    let met = runs("refusing_disks", faults::refusing_disks, &[1, 2, 3]);
    met.require(&[("refused writes", met.refused_writes)]);
}

#[test]
fn row_23_disks_that_fail_to_sync_lose_nothing() {
    let met = runs("failing_syncs", faults::failing_syncs, &[2, 3]);
    if many() {
        met.require(&[("refused writes", met.refused_writes)]);
    }
}

#[test]
fn row_25_damaged_disks_are_mended_by_the_others() {
    let met = runs("damaged_disks", faults::damaged_disks, &[2, 3]);
    met.require(&[("damaged disks", met.damages)]);
    if many() {
        met.require(&[("damages that were noticed", met.damaged)]);
    }
}

#[test]
fn row_26_power_cuts_during_writes_lose_nothing() {
    let met = runs("power_cuts", faults::power_cuts, &[1, 2, 3]);
    if many() {
        met.require(&[("power cuts during a write", met.torn_writes)]);
    }
}

#[test]
fn row_26_a_store_keeps_what_it_acknowledged_at_whatever_call_the_power_goes() {
    const CUTS: u64 = 100;
    let first = number("MUSTER_SIM_SEED").unwrap_or(1);
    let seeds = number("MUSTER_SIM_SEEDS").unwrap_or(SEEDS);
    (first..first + seeds).for_each(|seed| disk::cut_power(seed, CUTS));
    println!("store: {} power cuts, nothing acknowledged was lost", seeds * CUTS);
}

#[test]
fn row_27_all_hosts_but_one_start_cold_and_are_healthy() {
    let met = runs("cold_start", faults::cold_start, &[2, 3, 5]);
    met.require(&[("deaths", met.deaths)]);
}

#[test]
fn row_42_of_two_ups_at_once_one_is_told() {
    let met = runs("two_ups_at_once", faults::two_ups_at_once, &[1, 2, 3]);
    met.require(&[("submits", met.submits)]);
}

#[test]
fn row_45_an_update_survives_its_home_at_each_step() {
    let met = runs("home_dies_at_each_step", faults::home_dies_at_each_step, &[3, 5]);
    if many() {
        met.require(&[("killed Homes", met.homes_killed)]);
    }
}

#[test]
fn row_53_replicas_follow_the_load_whatever_becomes_of_homes_and_numbers() {
    let met = runs("row_53", scaling::homes_die, &[2, 3]);
    met.require(&[("killed Homes", met.homes_killed)]);
}

#[test]
fn row_53_replicas_are_given_what_they_need_without_a_stop() {
    let met = runs("row_53_sizes", sizes::follow, &[1, 3, 5]);
    met.require(&[("killed Homes", met.homes_killed), ("refusals", met.refused_sizes)]);
}

#[test]
fn a_host_is_added_once_whoever_dies_and_is_given_back_when_it_is_empty() {
    let met = runs("fleet_grows", fleet::grows, &[3, 5]);
    met.require(&[("machines", met.machines), ("killed deciders", met.homes_killed)]);
}

#[test]
fn hosts_do_not_come_and_go_with_a_load_that_swings() {
    let met = runs("fleet_swings", fleet::swings, &[2, 3]);
    met.require(&[("machines", met.machines)]);
}

#[test]
fn a_provider_that_fails_is_asked_ever_more_seldom() {
    let met = runs("fleet_fails", fleet::fails, &[2, 3]);
    met.require(&[("machines", met.machines)]);
}

#[test]
fn two_sides_of_a_partition_add_one_host() {
    let met = runs("fleet_partition", fleet::partition, &[2, 3]);
    met.require(&[("machines", met.machines), ("partitions", met.partitions)]);
}

#[test]
fn row_48_a_host_that_missed_a_down_brings_nothing_back() {
    let met = runs("deleted_while_away", faults::deleted_while_away, &[2, 3]);
    met.require(&[("late returns", met.returns)]);
}

#[test]
fn row_47_a_removed_host_gives_up_its_containers_when_it_returns() {
    let met = runs("row_47", scenario::removal, &[3, 5]);
    met.require(&[("removals", met.removals), ("moved replicas", met.moved)]);
}

#[test]
fn chaos_ends_in_one_state() {
    let met = runs("chaos", scenario::chaos, &[3, 5]);
    if many() {
        met.require(&[
            ("deaths", met.deaths),
            ("partitions", met.partitions),
            ("crashes", met.crashes),
            ("pauses", met.pauses),
        ]);
    }
}

#[test]
fn fifty_hosts_lose_one_and_converge() {
    let seed = number("MUSTER_SIM_SEED").unwrap_or(1);
    let met = run("fifty_hosts", scenario::one_death, seed, 50);
    println!("fifty_hosts: {met}");
    met.require(&[("deaths", met.deaths)]);
}

/// The sizes follow the number of seeds: a thousand make the numbers that the goals are about.
#[test]
fn deaths_are_noticed_soon_and_nobody_is_called_dead_in_vain() {
    let seeds = number("MUSTER_SIM_SEEDS").unwrap_or(SEEDS);
    let seed = number("MUSTER_SIM_SEED").unwrap_or(1);
    figures::print_all(seeds, seed);
}

/// The process that [`weight::memory`] starts.
#[test]
#[ignore = "weighs this process: only for one that does nothing else"]
fn weigh_a_core() {
    weight::weigh();
}

/// What Plans cost by the size of the cluster, for `make bench`.
#[test]
#[ignore = "a measurement; `make bench` and `make sim` print it beside its goals"]
fn measure_plans() {
    for size in planning::SIZES {
        let cost = planning::cost(size);
        println!(
            "plan {} {} {} {:.4} {:.4} {:.4} {:.0}",
            size.hosts,
            size.replicas,
            size.services,
            cost.first,
            cost.again,
            cost.deaths,
            cost.memory
        );
    }
}

/// The process that [`planning::cost`] starts.
#[test]
#[ignore = "measures this process: only for one that does nothing else"]
fn plan_of_one_size() {
    planning::measure_one();
}

/// Prints the real time a core takes for each kind of event.
#[test]
#[ignore = "a measurement, not a check"]
fn measure_events() {
    let hosts = number("MUSTER_SIM_HOSTS").unwrap_or(50) as usize;
    let replicas = number("MUSTER_SIM_REPLICAS").unwrap_or(100) as u32;
    run::measure(hosts, replicas);
}
