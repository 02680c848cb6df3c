//! Seeds that once failed, kept for ever, each with what it showed.

use crate::run::run;
use crate::{faults, healing, scenario};

#[test]
fn kept_a_death_was_noticed_late_when_everyone_asked_the_dead_host_last() {
    run("deaths", scenario::deaths, 101, 5);
    run("deaths", scenario::deaths, 218, 5);
}

#[test]
fn kept_a_pause_of_eight_seconds_moved_replicas() {
    run("pauses", scenario::pauses, 201, 2);
}

#[test]
fn kept_two_hosts_that_took_each_other_for_dead_answered_plan_with_plan() {
    run("mass_failure", scenario::mass_failure, 60, 3);
    run("chaos", scenario::chaos, 52, 3);
}

#[test]
fn kept_a_plan_that_came_before_its_revision_stopped_what_it_only_renamed() {
    run("one_way", scenario::one_way, 39, 5);
    run("partitions", scenario::partitions, 16, 3);
}

#[test]
fn kept_a_one_shot_done_on_one_side_of_a_cut_has_no_container_on_the_other() {
    run("chaos", scenario::chaos, 139, 5);
}

#[test]
fn kept_a_plan_that_knew_nothing_of_a_newer_one_made_an_older_generation() {
    run("row_09_data", healing::fifty_partitions, 115, 5);
}

#[test]
fn kept_a_home_that_came_back_planned_beside_the_last_plan_of_the_one_before() {
    run("mass_failure", scenario::mass_failure, 24, 3);
}

#[test]
fn kept_two_hosts_that_ran_in_turn_gave_one_generation_each() {
    run("power_cuts", faults::power_cuts, 64, 2);
}

#[test]
fn kept_an_old_copy_stayed_when_nothing_happened_after_a_restart_of_a_new_one() {
    run("damaged_disks", faults::damaged_disks, 590, 2);
}

#[test]
fn kept_news_of_a_host_was_taken_for_the_answer_to_what_it_was_asked() {
    run("damaged_disks", faults::damaged_disks, 641, 3);
}
