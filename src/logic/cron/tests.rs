//! Times of schedules, and what clocks that jump make of them.

use proptest::prelude::*;

use super::*;

fn schedule(cron: &str, timezone: Option<&str>) -> Schedule {
    Schedule {
        cron: cron.to_owned(),
        timezone: timezone.map(str::to_owned),
        concurrency: Default::default(),
        missed_fires: Default::default(),
    }
}

fn at(text: &str) -> WallSeconds {
    let at: Timestamp = text.parse().unwrap();
    WallSeconds(at.as_second() as u64)
}

#[track_caller]
fn check(cron: &str, zone: Option<&str>, from: &str, expected: &[&str]) {
    let times = Times::of(&schedule(cron, zone)).unwrap();
    let mut now = at(from);
    for expected in expected {
        now = times.after(now).unwrap();
        assert_eq!(now, at(expected), "`{cron}` after {from}");
        assert_eq!(times.until(now), Some(now));
        assert_eq!(times.until(WallSeconds(now.0 + 1)), Some(now));
    }
}

#[test]
fn times_are_as_crontab_has_them_and_in_utc_unless_said_otherwise() {
    check("*/10 * * * *", None, "2026-11-29T15:01:00Z", &["2026-11-29T15:10:00Z"]);
    check("0 3 * * *", None, "2026-11-29T15:01:00Z", &["2026-11-30T03:00:00Z"]);
    check("0 3 * * *", Some("Europe/Paris"), "2026-11-29T15:01:00Z", &["2026-11-30T02:00:00Z"]);
    check("*/20 * * * * *", None, "2026-11-29T15:01:01Z", &["2026-11-29T15:01:20Z"]);
    check("@daily", None, "2026-11-29T15:01:00Z", &["2026-11-30T00:00:00Z"]);
    // Either of the two days is enough.
    let both = ["2026-12-01T00:00:00Z", "2026-12-04T00:00:00Z"];
    check("0 0 1 * 5", None, "2026-11-29T00:00:00Z", &both);
    check("0 0 29 2 *", None, "2026-11-29T00:00:00Z", &["2028-02-29T00:00:00Z"]);
    for sunday in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun"] {
        check(sunday, None, "2026-11-29T00:00:00Z", &["2026-12-06T00:00:00Z"]);
    }
}

#[test]
fn an_hour_that_is_there_twice_or_not_at_all_has_one_run() {
    let zone = Some("Europe/Berlin");
    // There is no 02:30 on 29 March 2026.
    let spring = ["2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"];
    let times = Times::of(&schedule("30 2 * * *", zone)).unwrap();
    let mut now = at("2026-03-28T12:00:00Z");
    let mut found = Vec::new();
    while now < at("2026-03-30T12:00:00Z") {
        now = times.after(now).unwrap();
        found.push(now);
    }
    assert!(found.contains(&at(spring[1])), "{found:?}");
    assert!(found.len() <= 3, "{found:?}");
    // 02:30 is there twice on 25 October 2026.
    check(
        "30 2 * * *",
        zone,
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
}

#[test]
fn what_has_no_times_says_why() {
    let problem = |cron: &str, zone| Times::of(&schedule(cron, zone)).unwrap_err();
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 31 2 *"] {
        assert_eq!(problem(never, None), CronProblem::Never, "{never}");
    }
    for wrong in
        ["", "* * * *", "60 * * * *", "* 25 * * *", "a * * * *", "0 0 0 1 1 * 2030", "*/0 * * * *"]
    {
        let found = problem(wrong, None);
        assert!(matches!(found, CronProblem::Unreadable { .. }), "`{wrong}`: {found:?}");
        assert!(!found.to_string().ends_with('.'), "{found}");
    }
    let zone = problem("0 0 * * *", Some("Europe/Atlantis"));
    assert_eq!(zone.to_string(), "there is no time zone `Europe/Atlantis`");
}

#[test]
fn nothing_before_the_first_look_is_due() {
    let minutely = schedule("* * * * *", None);
    let (fired, found) = due(&minutely, None, WallSeconds(100));
    assert_eq!(
        (fired, found),
        (Fired { until: WallSeconds(100), next: Some(WallSeconds(120)) }, None)
    );
    assert_eq!(due(&minutely, Some(fired), WallSeconds(119)), (fired, None));
    let (next, found) = due(&minutely, Some(fired), WallSeconds(121));
    assert_eq!(found, Some(Due { at: WallSeconds(120), missed: false }));
    assert_eq!(due(&minutely, Some(next), WallSeconds(121)), (next, None), "once");
}

#[test]
fn a_clock_that_leaps_makes_one_time_due_and_one_that_was_ahead_silences_nothing() {
    let minutely = schedule("* * * * *", None);
    let hourly = schedule("0 * * * *", None);
    let known =
        |until| Some(Fired { until: WallSeconds(until), next: Some(WallSeconds(until + 60)) });
    let year = 365 * 24 * 3_600;
    let (after, found) = due(&minutely, known(600), WallSeconds(600 + 10 * year + 7));
    assert_eq!(found, Some(Due { at: WallSeconds(600 + 10 * year), missed: false }));
    // Back by more than clocks differ: it goes on from there.
    let (back, found) = due(&minutely, Some(after), WallSeconds(610));
    assert_eq!((back.until, found), (WallSeconds(610), None));
    assert!(due(&minutely, Some(back), WallSeconds(661)).1.is_some());
    // Back by less: what was due is not due again.
    let ahead = Some(Fired { until: WallSeconds(3_600), next: Some(WallSeconds(7_200)) });
    assert_eq!(due(&hourly, ahead, WallSeconds(3_000)).1, None);
    assert_eq!(due(&hourly, ahead, WallSeconds(3_700)).1, None);
    let late = due(&hourly, ahead, WallSeconds(7_200 + LATE + 1)).1;
    assert_eq!(late, Some(Due { at: WallSeconds(7_200), missed: true }));
}

proptest! {
    /// However a clock goes, no time is due twice unless it went back by more than [`SKEW`], and each
    /// look makes one due at most.
    #[test]
    fn no_time_is_due_twice(steps in prop::collection::vec(-3_000_i64..20_000, 1..60), n in 1_u32..59) {
        let schedule = schedule(&format!("*/{n} * * * *"), None);
        let (mut now, mut latest) = (1_800_000_000_i64, 0_u64);
        let mut highest = now;
        let mut known = None;
        for step in steps {
            now = (now + step).max(highest - SKEW as i64);
            highest = now.max(highest);
            let (fired, found) = due(&schedule, known, WallSeconds(now as u64));
            if let Some(due) = found {
                prop_assert!(due.at.0 > latest && due.at.0 <= now as u64);
                latest = due.at.0;
            }
            prop_assert!(known.is_none_or(|known: Fired| fired.until >= known.until));
            known = Some(fired);
        }
    }
}
