//! What the cluster knows: Rows, each written by its owner alone, and the Revisions of each App.
//!
//! Merging is a matter of taking the higher version (Rows) or of union (Revisions), so any order
//! and any repetition of messages ends in the same state. Never reads a clock, never writes a disk.

mod merge;
mod registers;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::merge::Merged;
use super::Delta;
use crate::model::{
    AppName, Fact, HostId, Operator, Plan, Record, RevisionId, Row, RowBody, RowKey,
    SealedRevision, Version, stable_hash,
};

/// Revisions of an App that are kept behind the one that counts; what `rollback` can reach.
const HISTORY: u64 = 10;

/// Rows and Revisions as one host knows them.
#[derive(Debug, Clone)]
pub struct State {
    me: HostId,
    version: Version,
    rows: BTreeMap<HostId, Owned>,
    revisions: BTreeMap<AppName, Known>,
    /// Hosts that were removed for good, as Rows say: asked for at every message.
    removed: BTreeSet<HostId>,
    /// Rises with every change, so that whoever derives something knows when to do it again.
    changes: u64,
    /// What was forgotten and is still on disk.
    forgotten: Vec<Record>,
}

/// The Rows of one owner.
#[derive(Debug, Clone, Default)]
struct Owned {
    rows: BTreeMap<RowKey, Kept>,
    /// Xor of the hashes of its keys and versions: free of any order, and cheap to keep up.
    sum: u64,
}

/// The Revisions of one App.
#[derive(Debug, Clone, Default)]
struct Known {
    revisions: BTreeMap<RevisionId, Arc<SealedRevision>>,
    /// Xor of the hashes of the ids.
    sum: u64,
}

impl Known {
    fn insert(&mut self, revision: Arc<SealedRevision>) {
        let id = revision.id().clone();
        self.sum ^= stable_hash(&[id.as_str()]);
        self.revisions.insert(id, revision);
    }

    fn remove(&mut self, id: &RevisionId) {
        if self.revisions.remove(id).is_some() {
            self.sum ^= stable_hash(&[id.as_str()]);
        }
    }

    fn winner(&self) -> Option<&Arc<SealedRevision>> {
        self.revisions.values().max_by_key(|revision| (revision.sequence, revision.id()))
    }

    /// The lowest sequence that is kept for its own sake.
    fn oldest(&self) -> u64 {
        self.winner().map_or(0, |winner| winner.sequence.saturating_sub(HISTORY))
    }
}

/// One Row's part of its owner's sum, and of the sum of all.
fn row_hash(row: &Row) -> u64 {
    let version = row.version;
    let what = format!("{:?} {} {}", row.key, version.epoch, version.counter);
    stable_hash(&[row.owner.as_str(), &what])
}

#[derive(Debug, Clone)]
struct Kept {
    row: Row,
    /// The body, read; none when it is withdrawn or cannot be read by this version.
    fact: Option<Fact>,
}

impl State {
    /// The state kept on disk, at the start of boot epoch `epoch`.
    pub fn new(me: HostId, epoch: u64, rows: Vec<Row>, revisions: Vec<SealedRevision>) -> Self {
        // After an `outgrow` the Rows on disk may be of a later epoch than the disk's own count.
        let written = rows
            .iter()
            .filter(|row| row.owner == me)
            .map(|row| row.version.epoch.saturating_add(1));
        let version = Version { epoch: written.max().unwrap_or(epoch).max(epoch), counter: 0 };
        let mut state = Self {
            me,
            version,
            rows: BTreeMap::new(),
            revisions: BTreeMap::new(),
            removed: BTreeSet::new(),
            changes: 0,
            forgotten: Vec::new(),
        };
        for row in rows {
            let fact = read(&row);
            state.insert(row, fact);
        }
        for revision in revisions {
            let known = state.revisions.entry(revision.app.clone()).or_default();
            known.insert(Arc::new(revision));
        }
        // What this host said of itself in its last life is said again, under the new epoch.
        for (key, body) in state.said_again() {
            state.write_body(key, body);
        }
        state
    }

    fn said_again(&self) -> Vec<(RowKey, RowBody)> {
        let mine = self.rows.get(&self.me).into_iter().flat_map(|owned| owned.rows.values());
        let mine = mine.filter(|kept| merge::is_said_again(&kept.row.key));
        mine.map(|kept| (kept.row.key.clone(), kept.row.body.clone())).collect()
    }

    fn row(&self, owner: &HostId, key: &RowKey) -> Option<&Kept> {
        self.rows.get(owner)?.rows.get(key)
    }

    fn insert(&mut self, row: Row, fact: Option<Fact>) {
        let owned = self.rows.entry(row.owner.clone()).or_default();
        owned.sum ^= row_hash(&row);
        let key = row.key.clone();
        if let Some(before) = owned.rows.insert(key.clone(), Kept { row, fact }) {
            owned.sum ^= row_hash(&before.row);
        }
        // What was measured counts when a Home decides next, by the clock: nothing else follows from it.
        self.changes += u64::from(!matches!(key, RowKey::Measured(_)));
        match key {
            // A Plan decides which old Revisions are still in use.
            RowKey::Plan(app) => {
                self.forget_plans(&app);
                self.prune(&app);
            }
            RowKey::Removed(host) => {
                self.forget_host(&host);
                self.removed.insert(host);
            }
            RowKey::Host
            | RowKey::Replicas(_)
            | RowKey::Wanted(_)
            | RowKey::Operator(_)
            | RowKey::Measured(_)
            | RowKey::Asked(_)
            | RowKey::Provider
            | RowKey::Fleet
            | RowKey::Other(_) => {}
        }
    }

    /// What a removed host said of itself counts no more, but what people asked for there does. Its
    /// Plans stay as long as no later one has taken their place: without them the next Home would
    /// place every Replica anew.
    fn forget_host(&mut self, host: &HostId) {
        let Some(owned) = self.rows.get(host) else { return };
        let keys = owned.rows.keys().filter(|key| match key {
            RowKey::Removed(_)
            | RowKey::Wanted(_)
            | RowKey::Operator(_)
            | RowKey::Provider
            | RowKey::Fleet => false,
            RowKey::Plan(app) => self.plan_owner(app) != Some(host),
            RowKey::Host
            | RowKey::Replicas(_)
            | RowKey::Measured(_)
            | RowKey::Asked(_)
            | RowKey::Other(_) => true,
        });
        let keys: Vec<RowKey> = keys.cloned().collect();
        for key in keys {
            self.forget_row(host, &key);
        }
    }

    fn forget_row(&mut self, owner: &HostId, key: &RowKey) {
        let Some(owned) = self.rows.get_mut(owner) else { return };
        if let Some(kept) = owned.rows.remove(key) {
            owned.sum ^= row_hash(&kept.row);
            self.forgotten.push(Record::ForgetRow { owner: owner.clone(), key: key.clone() });
        }
        if owned.rows.is_empty() {
            self.rows.remove(owner);
        }
    }

    /// Plans of removed hosts that no longer count.
    fn forget_plans(&mut self, app: &AppName) {
        let key = RowKey::Plan(app.clone());
        let counts = self.plan_owner(app).cloned();
        let owners = self.rows.iter().filter(|(_, owned)| owned.rows.contains_key(&key));
        let owners: Vec<HostId> = owners.map(|(owner, _)| owner.clone()).collect();
        for owner in owners {
            if Some(&owner) != counts.as_ref() && self.is_removed(&owner) {
                self.forget_row(&owner, &key);
            }
        }
    }

    /// The host whose Plan of an App counts.
    fn plan_owner(&self, app: &AppName) -> Option<&HostId> {
        self.counting_plan(app).map(|(owner, _)| owner)
    }

    /// What is still on disk although it was forgotten; handed out once.
    pub fn take_forgotten(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.forgotten)
    }

    /// Hosts that were removed from the cluster for good.
    pub fn removed(&self) -> &BTreeSet<HostId> {
        &self.removed
    }

    /// Who may work on the cluster from elsewhere, by the id of the key, and which host let them in.
    pub fn operators(&self) -> BTreeMap<&HostId, (&HostId, &Operator)> {
        let operators = self.facts().filter_map(|(owner, key, fact)| match (key, fact) {
            (RowKey::Operator(id), Fact::Operator(operator)) => Some((id, (owner, operator))),
            (_, _) => None,
        });
        operators.filter(|(id, _)| !self.is_removed(id)).collect()
    }

    /// Whether a host was removed from the cluster.
    pub fn is_removed(&self, host: &HostId) -> bool {
        self.removed.contains(host)
    }

    /// A number that rises with every change but those of measurements.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Writes a fact of this host. Returns the Row when it differs from what was there.
    pub fn write(&mut self, key: RowKey, fact: &Fact) -> Option<Row> {
        // Asked after nearly every event, and nearly always the same: not worth writing it out.
        if self.row(&self.me, &key).is_some_and(|kept| kept.fact.as_ref() == Some(fact)) {
            return None;
        }
        let body = match fact {
            Fact::Host(facts) => RowBody::of(facts),
            Fact::Replicas(statuses) => RowBody::of(statuses),
            Fact::Plan(plan) => RowBody::of(plan),
            Fact::Removed => RowBody::of(&true),
            Fact::Wanted(wanted) => RowBody::of(wanted),
            Fact::Operator(operator) => RowBody::of(operator),
            Fact::Measured(measured) => RowBody::of(measured),
            Fact::Asked(requests) => RowBody::of(requests),
            Fact::Provider(provider) => RowBody::of(provider),
            Fact::Fleet(fleet) => RowBody::of(fleet),
        };
        self.write_if_new(key, body)
    }

    /// Withdraws a fact of this host.
    pub fn withdraw(&mut self, key: RowKey) -> Option<Row> {
        self.row(&self.me, &key)?;
        self.write_if_new(key, RowBody::null())
    }

    fn write_if_new(&mut self, key: RowKey, body: RowBody) -> Option<Row> {
        let same = self.row(&self.me, &key);
        if same.is_some_and(|kept| kept.row.body == body) {
            return None;
        }
        Some(self.write_body(key, body))
    }

    fn write_body(&mut self, key: RowKey, body: RowBody) -> Row {
        self.version.counter += 1;
        let row = Row { owner: self.me.clone(), key, version: self.version, body };
        let fact = read(&row);
        self.insert(row.clone(), fact);
        row
    }

    /// Adds a Revision made here. The caller has set its parents and sequence.
    pub fn add_revision(&mut self, revision: impl Into<SealedRevision>) -> Merged {
        self.merge(Delta { rows: Vec::new(), revisions: vec![revision.into()] })
    }

    /// Forgets what neither history nor the Plan needs. Every host that holds the same winner and
    /// the same Plan keeps the same Revisions, or digests would differ for ever.
    fn prune(&mut self, app: &AppName) {
        let Some(known) = self.revisions.get(app) else { return };
        let oldest = known.oldest();
        let old = known.revisions.iter().filter(|(_, revision)| revision.sequence < oldest);
        let unused = old.filter(|(id, _)| !self.is_in_use(app, id));
        let unused: Vec<RevisionId> = unused.map(|(id, _)| id.clone()).collect();
        let Some(known) = self.revisions.get_mut(app) else { return };
        for id in unused {
            known.remove(&id);
            self.forgotten.push(Record::ForgetRevision { app: app.clone(), id });
        }
    }

    fn is_in_use(&self, app: &AppName, id: &RevisionId) -> bool {
        let plan = self.plan(app);
        plan.is_some_and(|plan| plan.revisions().any(|used| used == id))
    }

    /// Every App ever heard of, removed ones included.
    pub fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.revisions.keys()
    }

    /// The Revision of an App that counts: highest sequence, then highest id. Never the clock.
    pub fn winner(&self, app: &AppName) -> Option<&Arc<SealedRevision>> {
        self.revisions.get(app)?.winner()
    }

    /// Revisions with the winner's sequence that lost to it: a conflict to show.
    pub fn conflicts(&self, app: &AppName) -> Vec<RevisionId> {
        let Some(winner) = self.winner(app) else { return Vec::new() };
        let siblings = self
            .revisions(app)
            .filter(|(_, other)| other.sequence == winner.sequence && !Arc::ptr_eq(other, winner));
        siblings.map(|(id, _)| id.clone()).collect()
    }

    /// A Revision by its id.
    pub fn revision(&self, app: &AppName, id: &RevisionId) -> Option<&Arc<SealedRevision>> {
        self.revisions.get(app)?.revisions.get(id)
    }

    /// The Revisions of an App that are kept.
    pub fn revisions(
        &self,
        app: &AppName,
    ) -> impl Iterator<Item = (&RevisionId, &Arc<SealedRevision>)> {
        self.revisions.get(app).into_iter().flat_map(|known| &known.revisions)
    }

    /// The Plan of an App that counts: highest number, then highest Home.
    pub fn plan(&self, app: &AppName) -> Option<&Plan> {
        self.counting_plan(app).map(|(_, plan)| plan)
    }

    fn counting_plan(&self, app: &AppName) -> Option<(&HostId, &Plan)> {
        let key = RowKey::Plan(app.clone());
        let plans = self.rows.iter().filter_map(|(owner, owned)| {
            match owned.rows.get(&key).and_then(|kept| kept.fact.as_ref())? {
                Fact::Plan(plan) => Some((owner, plan.as_ref())),
                Fact::Host(_)
                | Fact::Replicas(_)
                | Fact::Removed
                | Fact::Wanted(_)
                | Fact::Operator(_)
                | Fact::Measured(_)
                | Fact::Asked(_)
                | Fact::Provider(_)
                | Fact::Fleet(_) => None,
            }
        });
        plans.max_by_key(|(owner, plan)| (plan.number, *owner))
    }

    /// Every fact that can be read: owner, key, body.
    pub fn facts(&self) -> impl Iterator<Item = (&HostId, &RowKey, &Fact)> {
        self.rows.iter().flat_map(|(owner, owned)| {
            let facts = owned.rows.iter();
            facts.filter_map(move |(key, kept)| kept.fact.as_ref().map(|fact| (owner, key, fact)))
        })
    }

    /// The facts of one owner that can be read.
    pub fn facts_of(&self, owner: &HostId) -> impl Iterator<Item = (&RowKey, &Fact)> {
        let rows = self.rows.get(owner).into_iter().flat_map(|owned| &owned.rows);
        rows.filter_map(|(key, kept)| kept.fact.as_ref().map(|fact| (key, fact)))
    }

    /// Every Row.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().flat_map(|owned| owned.rows.values()).map(|kept| &kept.row)
    }

    /// The Apps this host has said anything of its replicas of.
    pub fn apps_told_of(&self) -> Vec<AppName> {
        let mine = self.rows.get(&self.me).into_iter().flat_map(|owned| &owned.rows);
        // One that cannot be read is somebody's who is not us, or of another version of us.
        let told = mine.filter(|(_, kept)| !kept.row.body.is_null());
        let told = told.filter_map(|(key, _)| match key {
            RowKey::Replicas(app) => Some(app.clone()),
            _ => None,
        });
        told.collect()
    }

    /// The Apps this host has said anything of that it measured.
    pub fn apps_measured(&self) -> Vec<AppName> {
        let mine = self.facts_of(&self.me);
        let told = mine.filter_map(|(key, _)| match key {
            RowKey::Measured(app) => Some(app.clone()),
            _ => None,
        });
        told.collect()
    }

    /// Every Row and Revision, for whoever has none.
    pub fn everything(&self) -> Delta {
        let revisions = self.revisions.values().flat_map(|known| known.revisions.values());
        Delta {
            rows: self.rows().cloned().collect(),
            revisions: revisions.map(|revision| (**revision).clone()).collect(),
        }
    }
}

/// Reads a body. One that cannot be read stays as it is and counts for nothing here: it may come
/// from a newer agent, and must not stop this one.
fn read(row: &Row) -> Option<Fact> {
    if row.body.is_null() {
        return None;
    }
    let body = &row.body;
    match &row.key {
        RowKey::Host => body.read().map(Box::new).map(Fact::Host),
        RowKey::Replicas(_) => body.read().map(Fact::Replicas),
        RowKey::Plan(_) => body.read().map(Box::new).map(Fact::Plan),
        RowKey::Removed(_) => Some(Fact::Removed),
        RowKey::Wanted(_) => body.read().map(Fact::Wanted),
        RowKey::Operator(_) => body.read().map(Fact::Operator),
        RowKey::Measured(_) => body.read().map(Fact::Measured),
        RowKey::Asked(_) => body.read().map(Fact::Asked),
        RowKey::Provider => body.read().map(Fact::Provider),
        RowKey::Fleet => body.read().map(Box::new).map(Fact::Fleet),
        RowKey::Other(_) => None,
    }
}

#[cfg(test)]
mod tests;
