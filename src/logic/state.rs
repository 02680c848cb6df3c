//! What the cluster knows: Rows, each written by its owner alone, and the Revisions of each App.
//!
//! Merging is a matter of taking the higher version (Rows) or of union (Revisions), so any order
//! and any repetition of messages ends in the same state. Never reads a clock, never writes a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Delta, Digest, Have, MemberNews, Want};
use crate::model::{
    AppName, Fact, HostId, Plan, Record, Revision, RevisionId, Row, RowKey, Version, stable_hash,
};

/// Revisions of an App that are kept behind the one that counts; what `rollback` can reach.
const HISTORY: u64 = 10;

/// Rows and Revisions as one host knows them.
#[derive(Debug, Clone)]
pub struct State {
    me: HostId,
    version: Version,
    rows: BTreeMap<(HostId, RowKey), Kept>,
    revisions: BTreeMap<AppName, BTreeMap<RevisionId, Arc<Revision>>>,
    /// Rises with every change, so that whoever derives something knows when to do it again.
    changes: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    row: Row,
    /// The body, read; none when it is withdrawn or cannot be read by this version.
    fact: Option<Fact>,
}

/// What a merge did.
#[derive(Debug, Default)]
pub struct Merged {
    /// What was new, to be told on.
    pub news: Delta,
    /// What must go to disk.
    pub records: Vec<Record>,
}

impl Merged {
    /// Whether anything was new.
    pub fn is_empty(&self) -> bool {
        self.news.rows.is_empty() && self.news.revisions.is_empty()
    }
}

impl State {
    /// The state kept on disk, at the start of boot epoch `epoch`.
    pub fn new(me: HostId, epoch: u64, rows: Vec<Row>, revisions: Vec<Revision>) -> Self {
        // After an `outgrow` the Rows on disk may be of a later epoch than the disk's own count.
        let written = rows.iter().filter(|row| row.owner == me).map(|row| row.version.epoch + 1);
        let version = Version { epoch: written.max().unwrap_or(epoch).max(epoch), counter: 0 };
        let mut state =
            Self { me, version, rows: BTreeMap::new(), revisions: BTreeMap::new(), changes: 0 };
        for row in rows {
            let fact = read(&row);
            state.rows.insert((row.owner.clone(), row.key.clone()), Kept { row, fact });
        }
        for revision in revisions {
            let known = state.revisions.entry(revision.app.clone()).or_default();
            known.insert(revision.id(), Arc::new(revision));
        }
        // What this host said in its last life is said again in this one, under the new epoch.
        let mine: Vec<(RowKey, serde_json::Value)> = state
            .rows
            .values()
            .filter(|kept| kept.row.owner == state.me)
            .map(|kept| (kept.row.key.clone(), kept.row.body.clone()))
            .collect();
        for (key, body) in mine {
            state.write_body(key, body);
        }
        state
    }

    /// A number that rises with every change.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Writes a fact of this host. Returns the Row when it differs from what was there.
    pub fn write(&mut self, key: RowKey, fact: &Fact) -> Option<Row> {
        let body = match fact {
            Fact::Host(facts) => serde_json::to_value(facts),
            Fact::Replicas(statuses) => serde_json::to_value(statuses),
            Fact::Plan(plan) => serde_json::to_value(plan),
        };
        let body = body.expect("facts hold only strings, numbers, lists and maps");
        self.write_if_new(key, body)
    }

    /// Withdraws a fact of this host.
    pub fn withdraw(&mut self, key: RowKey) -> Option<Row> {
        if !self.rows.contains_key(&(self.me.clone(), key.clone())) {
            return None;
        }
        self.write_if_new(key, serde_json::Value::Null)
    }

    fn write_if_new(&mut self, key: RowKey, body: serde_json::Value) -> Option<Row> {
        let same = self.rows.get(&(self.me.clone(), key.clone()));
        if same.is_some_and(|kept| kept.row.body == body) {
            return None;
        }
        Some(self.write_body(key, body))
    }

    fn write_body(&mut self, key: RowKey, body: serde_json::Value) -> Row {
        self.version.counter += 1;
        self.changes += 1;
        let row = Row { owner: self.me.clone(), key: key.clone(), version: self.version, body };
        let fact = read(&row);
        self.rows.insert((self.me.clone(), key), Kept { row: row.clone(), fact });
        row
    }

    /// Adds a Revision made here. The caller has set its parents and sequence.
    pub fn add_revision(&mut self, revision: Revision) -> Merged {
        self.merge(Delta { rows: Vec::new(), revisions: vec![revision] })
    }

    /// Takes in Rows and Revisions of others.
    pub fn merge(&mut self, delta: Delta) -> Merged {
        let mut merged = Merged::default();
        for row in delta.rows {
            self.merge_row(row, &mut merged);
        }
        for revision in delta.revisions {
            self.merge_revision(revision, &mut merged);
        }
        merged
    }

    fn merge_row(&mut self, row: Row, merged: &mut Merged) {
        if row.owner == self.me {
            self.outgrow(row.version, merged);
            return;
        }
        let place = (row.owner.clone(), row.key.clone());
        if self.rows.get(&place).is_some_and(|kept| kept.row.version >= row.version) {
            return;
        }
        let fact = read(&row);
        if worth_keeping(&row.key) {
            merged.records.push(Record::Row(row.clone()));
        }
        merged.news.rows.push(row.clone());
        self.rows.insert(place, Kept { row, fact });
        self.changes += 1;
    }

    /// Somebody holds a Row of ours that is newer than we are: our disk was put back to an older
    /// state. Say everything again in a later epoch, so that nobody takes the old for the new.
    fn outgrow(&mut self, seen: Version, merged: &mut Merged) {
        if seen <= self.version {
            return;
        }
        self.version = Version { epoch: seen.epoch + 1, counter: 0 };
        let mine: Vec<(RowKey, serde_json::Value)> = self
            .rows
            .values()
            .filter(|kept| kept.row.owner == self.me)
            .map(|kept| (kept.row.key.clone(), kept.row.body.clone()))
            .collect();
        for (key, body) in mine {
            let row = self.write_body(key, body);
            merged.records.push(Record::Row(row.clone()));
            merged.news.rows.push(row);
        }
    }

    fn merge_revision(&mut self, revision: Revision, merged: &mut Merged) {
        let app = revision.app.clone();
        let id = revision.id();
        let oldest = self.winner(&app).map_or(0, |w| w.sequence.saturating_sub(HISTORY));
        let known = self.revisions.entry(app.clone()).or_default();
        if revision.sequence < oldest || known.contains_key(&id) {
            return;
        }
        merged.records.push(Record::Revision(Box::new(revision.clone())));
        merged.news.revisions.push(revision.clone());
        known.insert(id, Arc::new(revision));
        self.changes += 1;
        self.prune(&app, merged);
    }

    fn prune(&mut self, app: &AppName, merged: &mut Merged) {
        let oldest = self.winner(app).map_or(0, |w| w.sequence.saturating_sub(HISTORY));
        let used = self.revisions_in_use(app);
        let Some(known) = self.revisions.get_mut(app) else { return };
        known.retain(|id, revision| {
            let keep = revision.sequence >= oldest || used.contains(id);
            if !keep {
                merged.records.push(Record::ForgetRevision { app: app.clone(), id: id.clone() });
            }
            keep
        });
    }

    fn revisions_in_use(&self, app: &AppName) -> BTreeSet<RevisionId> {
        let assignments = self.plan(app).map(|plan| plan.assignments.as_slice());
        assignments.unwrap_or_default().iter().map(|a| a.revision.clone()).collect()
    }

    /// Every App ever heard of, removed ones included.
    pub fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.revisions.keys()
    }

    /// The Revision of an App that counts: highest sequence, then highest id. Never the clock.
    pub fn winner(&self, app: &AppName) -> Option<&Arc<Revision>> {
        let known = self.revisions.get(app)?;
        known.iter().max_by_key(|(id, revision)| (revision.sequence, *id)).map(|(_, r)| r)
    }

    /// Revisions with the winner's sequence that lost to it: a conflict to show.
    pub fn conflicts(&self, app: &AppName) -> Vec<RevisionId> {
        let Some(winner) = self.winner(app) else { return Vec::new() };
        let known = self.revisions.get(app).into_iter().flatten();
        let siblings = known
            .filter(|(_, other)| other.sequence == winner.sequence && !Arc::ptr_eq(other, winner));
        siblings.map(|(id, _)| id.clone()).collect()
    }

    /// A Revision by its id.
    pub fn revision(&self, app: &AppName, id: &RevisionId) -> Option<&Arc<Revision>> {
        self.revisions.get(app)?.get(id)
    }

    /// The Revisions of an App that are kept.
    pub fn revisions(&self, app: &AppName) -> impl Iterator<Item = (&RevisionId, &Arc<Revision>)> {
        self.revisions.get(app).into_iter().flatten()
    }

    /// The Plan of an App that counts: highest number, then highest Home.
    pub fn plan(&self, app: &AppName) -> Option<&Plan> {
        let key = RowKey::Plan(app.clone());
        let plans = self.facts().filter(|(_, k, _)| **k == key);
        let plans = plans.filter_map(|(owner, _, fact)| match fact {
            Fact::Plan(plan) => Some((owner, plan.as_ref())),
            Fact::Host(_) | Fact::Replicas(_) => None,
        });
        plans.max_by_key(|(owner, plan)| (plan.number, *owner)).map(|(_, plan)| plan)
    }

    /// Every fact that can be read: owner, key, body.
    pub fn facts(&self) -> impl Iterator<Item = (&HostId, &RowKey, &Fact)> {
        self.rows
            .iter()
            .filter_map(|((owner, key), kept)| kept.fact.as_ref().map(|fact| (owner, key, fact)))
    }

    /// Every Row and Revision, for whoever has none.
    pub fn everything(&self) -> Delta {
        Delta {
            rows: self.rows.values().map(|kept| kept.row.clone()).collect(),
            revisions: self.revisions.values().flatten().map(|(_, r)| (**r).clone()).collect(),
        }
    }

    /// What this host holds, in short.
    pub fn digest(&self, members: Vec<MemberNews>, answer: bool) -> Digest {
        Digest { owners: self.owner_hashes(), apps: self.app_hashes(), members, answer }
    }

    fn owner_hashes(&self) -> BTreeMap<HostId, u64> {
        let mut hashes: BTreeMap<HostId, u64> = BTreeMap::new();
        for ((owner, key), kept) in &self.rows {
            let version = kept.row.version;
            let text = format!("{key:?} {} {}", version.epoch, version.counter);
            // Rows are walked in order of their keys, yet xor makes the sum free of any order.
            *hashes.entry(owner.clone()).or_default() ^= stable_hash(&[&text]);
        }
        hashes
    }

    fn app_hashes(&self) -> BTreeMap<AppName, u64> {
        let hash = |known: &BTreeMap<RevisionId, Arc<Revision>>| {
            known.keys().fold(0, |sum, id| sum ^ stable_hash(&[id.as_str()]))
        };
        self.revisions.iter().map(|(app, known)| (app.clone(), hash(known))).collect()
    }

    /// What to tell a host whose digest this is; none when it holds the same.
    pub fn differences(&self, theirs: &Digest) -> Option<Have> {
        let owners = differing(&self.owner_hashes(), &theirs.owners);
        let apps = differing(&self.app_hashes(), &theirs.apps);
        if owners.is_empty() && apps.is_empty() {
            return None;
        }
        let versions = |owner: &HostId| {
            let rows = self.rows.values().filter(|kept| kept.row.owner == *owner);
            rows.map(|kept| (kept.row.key.clone(), kept.row.version)).collect()
        };
        let ids = |app: &AppName| self.revisions(app).map(|(id, _)| id.clone()).collect();
        Some(Have {
            owners: owners.into_iter().map(|owner| (owner.clone(), versions(&owner))).collect(),
            apps: apps.into_iter().map(|app| (app.clone(), ids(&app))).collect(),
        })
    }

    /// What a host lacks that holds `theirs`, and what we lack that it holds.
    pub fn exchange(&self, theirs: &Have) -> (Delta, Want) {
        let mut give = Delta::default();
        let mut want = Want::default();
        for (owner, versions) in &theirs.owners {
            let versions: BTreeMap<&RowKey, Version> =
                versions.iter().map(|(key, version)| (key, *version)).collect();
            for kept in self.rows.values().filter(|kept| kept.row.owner == *owner) {
                if versions.get(&kept.row.key).is_none_or(|theirs| *theirs < kept.row.version) {
                    give.rows.push(kept.row.clone());
                }
            }
            for (key, version) in versions {
                let ours = self.rows.get(&(owner.clone(), key.clone()));
                if ours.is_none_or(|kept| kept.row.version < version) {
                    want.rows.push((owner.clone(), key.clone()));
                }
            }
        }
        for (app, ids) in &theirs.apps {
            let ids: BTreeSet<&RevisionId> = ids.iter().collect();
            let missing = self.revisions(app).filter(|(id, _)| !ids.contains(id));
            give.revisions.extend(missing.map(|(_, revision)| (**revision).clone()));
            let unknown = ids.into_iter().filter(|id| self.revision(app, id).is_none());
            want.revisions.extend(unknown.map(|id| (app.clone(), id.clone())));
        }
        (give, want)
    }

    /// What was asked for.
    pub fn supply(&self, want: &Want) -> Delta {
        let rows = want.rows.iter().filter_map(|place| self.rows.get(place));
        let revisions = want.revisions.iter().filter_map(|(app, id)| self.revision(app, id));
        Delta {
            rows: rows.map(|kept| kept.row.clone()).collect(),
            revisions: revisions.map(|revision| (**revision).clone()).collect(),
        }
    }
}

fn differing<K: Ord + Clone>(ours: &BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) -> BTreeSet<K> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    keys.into_iter().filter(|key| ours.get(key) != theirs.get(key)).cloned().collect()
}

/// Statuses of other hosts are asked for anew after a start; Plans and what hosts are must survive.
fn worth_keeping(key: &RowKey) -> bool {
    match key {
        RowKey::Host | RowKey::Plan(_) => true,
        RowKey::Replicas(_) => false,
    }
}

/// Reads a body. One that cannot be read stays as it is and counts for nothing here: it may come
/// from a newer agent, and must not stop this one.
fn read(row: &Row) -> Option<Fact> {
    if row.body.is_null() {
        return None;
    }
    let body = row.body.clone();
    match &row.key {
        RowKey::Host => serde_json::from_value(body).ok().map(Box::new).map(Fact::Host),
        RowKey::Replicas(_) => serde_json::from_value(body).ok().map(Fact::Replicas),
        RowKey::Plan(_) => serde_json::from_value(body).ok().map(Box::new).map(Fact::Plan),
    }
}
