//! Laws of merging, and what digests lead to.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::State;
use crate::logic::testing::{app, deployment, host, revision};
use crate::logic::{Delta, Want};
use crate::model::{
    Fact, Generation, HostId, Intent, Plan, Record, Revision, RevisionId, Row, RowBody, RowKey,
    SealedRevision, Version,
};

fn state(me: &str) -> State {
    State::new(HostId::from(me), 1, Vec::new(), Vec::new())
}

/// What a host wrote, once, under this version.
fn row(owner: usize, key: u8, epoch: u64, counter: u64) -> Row {
    let key = match key {
        0 => RowKey::Host,
        1 => RowKey::Replicas(app()),
        _ => RowKey::Plan(app()),
    };
    let body = json!({ "said": [epoch, counter], "unknown to this version": true });
    Row { owner: host(owner), key, version: Version { epoch, counter }, body: RowBody::of(&body) }
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let one = (1..4_usize, 0..3_u8, 0..3_u64, 0..5_u64);
    prop::collection::vec(one, 0..20)
        .prop_map(|all| all.into_iter().map(|(o, k, e, c)| row(o, k, e, c)).collect())
}

fn revisions() -> impl Strategy<Value = Vec<SealedRevision>> {
    let one = (1..30_u64, 0..3_u32);
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let revision = |(sequence, n)| revision(sequence, &[("web", deployment("a", n))]).into();
        all.into_iter().map(revision).collect()
    })
}

fn deltas() -> impl Strategy<Value = Delta> {
    (rows(), revisions()).prop_map(|(rows, revisions)| Delta { rows, revisions })
}

fn merged(deltas: &[&Delta]) -> State {
    let mut state = state("me");
    for delta in deltas {
        state.merge((*delta).clone());
    }
    state
}

fn holds_the_same(a: &State, b: &State) -> bool {
    let (x, y) = (a.digest(0, Vec::new(), false), b.digest(0, Vec::new(), false));
    a.everything() == b.everything() && x == y && a.differences(&y).is_none()
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in deltas(), b in deltas(), c in deltas()
    ) {
        let one = merged(&[&a, &b, &c]);
        prop_assert!(holds_the_same(&one, &merged(&[&c, &b, &a])));
        let mut both = b.clone();
        both.rows.extend(c.rows.clone());
        both.revisions.extend(c.revisions.clone());
        prop_assert!(holds_the_same(&one, &merged(&[&a, &both])));
        prop_assert!(holds_the_same(&one, &merged(&[&a, &b, &a, &c, &b, &a])));
    }

    #[test]
    fn a_row_never_goes_back(before in rows(), after in rows()) {
        let mut state = state("me");
        state.merge(Delta { rows: before, revisions: Vec::new() });
        let held: Vec<Row> = state.rows().cloned().collect();
        state.merge(Delta { rows: after, revisions: Vec::new() });
        for old in held {
            let new = state.rows().find(|row| row.owner == old.owner && row.key == old.key);
            prop_assert!(new.is_some_and(|new| new.version >= old.version));
        }
    }

    #[test]
    fn one_exchange_makes_two_hosts_hold_the_same(a in deltas(), b in deltas()) {
        let (mut left, mut right) = (merged(&[&a]), merged(&[&b]));
        // Two rounds: a Revision that was refused for its age stays refused on both sides.
        for _ in 0..2 {
            let digest = left.digest(0, Vec::new(), true);
            let Some(have) = right.differences(&digest) else { break };
            let (give, want) = left.exchange(&have);
            let back = right.supply(&want);
            right.merge(give);
            left.merge(back);
        }
        prop_assert!(holds_the_same(&left, &right));
        let have = right.differences(&left.digest(0, Vec::new(), false));
        prop_assert!(have.is_none());
    }
}

#[test]
fn a_body_this_version_cannot_read_is_kept_and_passed_on() {
    let mut state = state("me");
    let strange = row(2, 0, 1, 1);
    state.merge(Delta { rows: vec![strange.clone()], revisions: Vec::new() });
    assert_eq!(state.facts().count(), 0, "it counts for nothing here");
    let want = Want { rows: vec![(host(2), RowKey::Host)], revisions: Vec::new() };
    assert_eq!(state.supply(&want).rows, [strange]);
}

#[test]
fn a_host_whose_disk_was_put_back_outgrows_what_others_hold() {
    let mut state = State::new(host(1), 3, Vec::new(), Vec::new());
    state.write(RowKey::Replicas(app()), &Fact::Replicas(Vec::new()));
    let merged = state.merge(Delta { rows: vec![row(1, 1, 9, 4)], revisions: Vec::new() });
    assert_eq!(merged.news.rows[0].version, Version { epoch: 10, counter: 1 });
    assert!(matches!(&merged.records[0], Record::Row(row) if row.version.epoch == 10));
}

#[test]
fn a_new_life_says_everything_again_above_the_last() {
    let rows = vec![Row { body: RowBody::of(&json!([])), ..row(1, 1, 4, 7) }];
    let state = State::new(host(1), 2, rows, Vec::new());
    let versions: Vec<Version> = state.rows().map(|row| row.version).collect();
    assert_eq!(versions, [Version { epoch: 5, counter: 1 }]);
}

#[test]
fn the_winner_has_the_highest_sequence_then_the_highest_id() {
    let mut state = state("me");
    let one = revision(2, &[("web", deployment("a", 1))]);
    let two = revision(2, &[("web", deployment("b", 1))]);
    let late = Revision {
        origin: crate::model::Origin {
            at: crate::model::WallSeconds(u64::MAX),
            ..one.origin.clone()
        },
        ..revision(1, &[])
    };
    let [one, two, late] = [one, two, late].map(SealedRevision::new);
    for revision in [&one, &two, &late] {
        state.add_revision(revision.clone());
    }
    let (high, low) = if one.id() > two.id() { (&one, &two) } else { (&two, &one) };
    assert_eq!(state.winner(&app()).map(|winner| winner.id()), Some(high.id()));
    assert_eq!(state.conflicts(&app()), [low.id().clone()]);
}

/// A Plan that places nothing.
fn plan_of(home: usize, number: u64, revision: &SealedRevision) -> Plan {
    Plan {
        app: app(),
        number,
        home: host(home),
        revision: revision.id().clone(),
        intent: Intent::Run,
        assignments: Vec::new(),
        addresses: Vec::new(),
        waiting: BTreeMap::new(),
        pins: BTreeMap::new(),
        retired: Generation(0),
        seen: BTreeMap::new(),
        rollouts: BTreeMap::new(),
        undone: BTreeMap::new(),
        scalings: BTreeMap::new(),
        sizes: BTreeMap::new(),
        runs: BTreeMap::new(),
        setbacks: Default::default(),
        given_up: Default::default(),
        asked: BTreeMap::new(),
        gangs: BTreeMap::new(),
    }
}

#[test]
fn a_plan_waits_for_its_revision_unless_another_counts() {
    let mut state = state("me");
    let revision = SealedRevision::new(revision(1, &[("web", deployment("a", 1))]));
    let plan = |owner: usize, number: u64| Row {
        owner: host(owner),
        key: RowKey::Plan(app()),
        version: Version { epoch: 1, counter: number },
        body: RowBody::of(&plan_of(owner, number, &revision)),
    };
    let early = state.merge(Delta { rows: vec![plan(2, 7)], revisions: Vec::new() });
    assert!(early.is_empty() && early.records.is_empty() && state.plan(&app()).is_none());
    let lacks = Want {
        rows: vec![(host(2), RowKey::Plan(app()))],
        revisions: vec![(app(), revision.id().clone())],
    };
    assert_eq!(early.early, lacks);
    let both = Delta { rows: vec![plan(2, 7)], revisions: vec![revision.clone()] };
    assert_eq!(state.merge(both).early, Want::default());
    assert_eq!(state.plan(&app()).map(|plan| plan.number), Some(7));
    // What does not count needs nothing: its Revisions may be forgotten everywhere.
    let unknown = RevisionId::from("0".repeat(64).as_str());
    let mut old = plan(3, 6);
    old.body = body_with_revision(&old, &unknown);
    assert!(!state.merge(Delta { rows: vec![old], revisions: Vec::new() }).is_empty());
}

#[test]
fn old_revisions_are_forgotten_on_disk_as_well() {
    let mut state = state("me");
    for sequence in 1..=12 {
        state.add_revision(revision(sequence, &[]));
    }
    assert_eq!(state.revisions(&app()).count(), 11);
    let forgotten = state.take_forgotten();
    assert!(matches!(forgotten.as_slice(), [Record::ForgetRevision { .. }]));
    assert!(state.add_revision(revision(1, &[])).is_empty(), "it does not come back");
}

#[test]
fn what_a_removed_host_says_counts_no_more() {
    let mut state = state("me");
    let removal = Row {
        owner: host(3),
        key: RowKey::Removed(host(2)),
        body: RowBody::of(&true),
        ..row(3, 0, 1, 1)
    };
    let before = Delta { rows: vec![row(2, 0, 1, 1), row(3, 0, 1, 2)], revisions: Vec::new() };
    state.merge(before);
    state.merge(Delta { rows: vec![removal], revisions: Vec::new() });
    assert!(state.is_removed(&host(2)));
    assert!(state.rows().all(|row| row.owner != host(2)));
    let later = state.merge(Delta { rows: vec![row(2, 0, 9, 9)], revisions: Vec::new() });
    assert!(later.is_empty());
}

/// A Plan as `owner` wrote it.
fn plan_row(owner: usize, number: u64) -> Row {
    let plan = json!({
        "app": "shop", "number": number, "home": host(owner), "revision": "r", "intent": "run",
        "assignments": [], "addresses": [],
    });
    Row { body: RowBody::of(&plan), ..row(owner, 2, 1, number) }
}

fn body_with_revision(row: &Row, id: &RevisionId) -> RowBody {
    let plan: Plan = row.body.read().unwrap();
    RowBody::of(&Plan { revision: id.clone(), ..plan })
}

#[test]
fn the_plan_of_a_removed_home_counts_until_the_next_one_is_made() {
    let removal =
        Row { key: RowKey::Removed(host(2)), body: RowBody::of(&true), ..row(3, 0, 1, 1) };
    let rows = |rows: &[&Row]| Delta {
        rows: rows.iter().map(|row| (*row).clone()).collect(),
        revisions: Vec::new(),
    };
    let revision = SealedRevision::new(revision(1, &[("web", deployment("a", 1))]));
    let number = |state: &State| state.plan(&app()).map(|plan| plan.number);
    let (old, new) = (plan_row(2, 5), plan_row(3, 6));
    let named = |row: &Row| Row { body: body_with_revision(row, revision.id()), ..row.clone() };
    let (old, new) = (named(&old), named(&new));
    let mut one = state("me");
    one.add_revision(revision.clone());
    one.merge(rows(&[&old, &removal]));
    assert_eq!(number(&one), Some(5), "without it every replica would be placed anew");
    // One that hears of the removal first holds the same.
    let mut other = state("me");
    other.add_revision(revision.clone());
    other.merge(rows(&[&removal, &old]));
    assert!(holds_the_same(&one, &other));
    one.merge(rows(&[&new]));
    assert_eq!(number(&one), Some(6));
    assert!(one.rows().all(|row| row.owner != host(2)), "it is of no use any more");
    let forgotten = one.take_forgotten();
    let key = RowKey::Plan(app());
    assert!(forgotten.contains(&Record::ForgetRow { owner: host(2), key }), "{forgotten:?}");
    // Nor does it come back from one who still has it.
    one.merge(rows(&[&old]));
    other.merge(rows(&[&new]));
    assert!(holds_the_same(&one, &other));
}

#[test]
fn row_25_what_we_decided_and_our_disk_lost_comes_back_from_the_others() {
    let mut before = state("me");
    let revision = SealedRevision::new(revision(1, &[("web", deployment("a", 1))]));
    before.add_revision(revision.clone());
    let plan = |number| Fact::Plan(Box::new(plan_of(1, number, &revision)));
    before.write(RowKey::Plan(app()), &plan(1));
    let kept: Vec<Row> = before.rows().cloned().collect();
    before.write(RowKey::Plan(app()), &plan(2));
    before.write(RowKey::Removed(host(3)), &Fact::Removed);
    let mut peer = state("peer");
    peer.merge(before.everything());
    // The disk has the first Plan and the epoch of that time, or nothing at all.
    for rows in [kept, Vec::new()] {
        let mut after = State::new(HostId::from("me"), 2, rows, Vec::new());
        let merged = after.merge(peer.everything());
        assert!(!merged.records.is_empty(), "what came back is kept");
        assert_eq!(after.plan(&app()).map(|plan| plan.number), Some(2));
        assert!(after.is_removed(&host(3)));
        let mut other = peer.clone();
        other.merge(after.everything());
        assert!(holds_the_same(&after, &other));
    }
}

#[test]
fn row_25_what_we_said_and_our_disk_lost_is_ours_to_take_back() {
    let mut before = state("me");
    before.write(RowKey::Replicas(app()), &Fact::Replicas(Vec::new()));
    let mut peer = state("peer");
    peer.merge(before.everything());
    let mut after = State::new(HostId::from("me"), 1, Vec::new(), Vec::new());
    after.merge(peer.everything());
    assert_eq!(after.apps_told_of(), [app()], "it is known that we spoke of it");
    let withdrawn = after.withdraw(RowKey::Replicas(app())).expect("it can be taken back");
    peer.merge(Delta { rows: vec![withdrawn], revisions: Vec::new() });
    assert!(peer.facts_of(&HostId::from("me")).next().is_none(), "nobody holds it any more");
    assert!(holds_the_same(&after, &peer));
    // What we hold ourselves is never changed by what others say of us.
    let mut ours = state("me");
    ours.write(RowKey::Replicas(app()), &Fact::Replicas(Vec::new()));
    let held: Vec<Row> = ours.rows().cloned().collect();
    let forged = Row { version: Version { epoch: 1, counter: 1 }, ..row(1, 1, 0, 0) };
    let forged = Row { owner: HostId::from("me"), ..forged };
    ours.merge(Delta { rows: vec![forged], revisions: Vec::new() });
    assert_eq!(ours.rows().cloned().collect::<Vec<_>>(), held);
}
