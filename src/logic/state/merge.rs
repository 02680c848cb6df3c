//! Taking in what others hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{State, read};
use crate::logic::{Delta, Want};
use crate::model::{Fact, Plan, Record, RevisionId, Row, RowKey, SealedRevision, Version};

/// What a merge did.
#[derive(Debug, Default)]
pub struct Merged {
    /// What was new, to be told on.
    pub news: Delta,
    /// What must go to disk.
    pub records: Vec<Record>,
    /// Plans that were left out because Revisions they need have not come, and those Revisions:
    /// to be had where the Plans came from.
    pub early: Want,
}

impl Merged {
    /// Whether anything was new.
    pub fn is_empty(&self) -> bool {
        self.news.rows.is_empty() && self.news.revisions.is_empty()
    }
}

impl State {
    /// Takes in Rows and Revisions of others.
    pub fn merge(&mut self, delta: Delta) -> Merged {
        let mut merged = Merged::default();
        let coming: BTreeSet<RevisionId> =
            delta.revisions.iter().map(|revision| revision.id().clone()).collect();
        for row in delta.rows {
            self.merge_row(row, &coming, &mut merged);
        }
        for revision in delta.revisions {
            self.merge_revision(revision, &mut merged);
        }
        merged
    }

    fn merge_row(&mut self, row: Row, coming: &BTreeSet<RevisionId>, merged: &mut Merged) {
        if row.owner == self.me {
            self.outgrow(row.version, merged);
            // What we said and our disk has lost is ours to take back, so that the others do not hold
            // it for ever: it is known again, and what is true now is said over it.
            if is_said_again(&row.key) && self.row(&row.owner, &row.key).is_some() {
                return;
            }
            // A Plan of ours that our disk has lost, in whole or in its latest form.
        }
        let known = self.row(&row.owner, &row.key);
        if known.is_some_and(|kept| kept.row.version >= row.version) {
            return;
        }
        let fact = read(&row);
        if !self.outlives_its_owner(&row, fact.as_ref()) && self.is_removed(&row.owner) {
            return;
        }
        if let Some(Fact::Plan(plan)) = &fact {
            let missing = self.missing(plan, coming);
            if !missing.is_empty() {
                let app = || plan.app.clone();
                merged.early.revisions.extend(missing.into_iter().map(|id| (app(), id.clone())));
                merged.early.rows.push((row.owner, row.key));
                return;
            }
        }
        if worth_keeping(&row.key) {
            merged.records.push(Record::Row(row.clone()));
        }
        merged.news.rows.push(row.clone());
        self.insert(row, fact);
    }

    /// Whether a Row counts although its owner was removed: what people asked for there, and the Plan
    /// that the next Home goes on from.
    fn outlives_its_owner(&self, row: &Row, fact: Option<&Fact>) -> bool {
        match (&row.key, fact) {
            (
                RowKey::Removed(_)
                | RowKey::Wanted(_)
                | RowKey::Operator(_)
                | RowKey::Provider
                | RowKey::Fleet,
                _,
            ) => true,
            (RowKey::Plan(app), Some(Fact::Plan(plan))) => self
                .counting_plan(app)
                .is_none_or(|(owner, counts)| (counts.number, owner) < (plan.number, &row.owner)),
            (
                RowKey::Host
                | RowKey::Replicas(_)
                | RowKey::Plan(_)
                | RowKey::Measured(_)
                | RowKey::Asked(_)
                | RowKey::Other(_),
                _,
            ) => false,
        }
    }

    /// Revisions without which a Plan that would count cannot be carried out. Taken in before them,
    /// it would have hosts stop what runs and is only wanted under the id of a newer Revision.
    fn missing<'p>(
        &self,
        plan: &'p Plan,
        coming: &BTreeSet<RevisionId>,
    ) -> BTreeSet<&'p RevisionId> {
        if self.plan(&plan.app).is_some_and(|counts| counts.number > plan.number) {
            return BTreeSet::new();
        }
        let held = |id: &RevisionId| coming.contains(id) || self.revision(&plan.app, id).is_some();
        plan.revisions().filter(|id| !held(id)).collect()
    }

    /// Somebody holds a Row of ours that is newer than we are: our disk was put back to an older
    /// state. Say what we are again in a later epoch, so that nobody takes the old for the new.
    fn outgrow(&mut self, seen: Version, merged: &mut Merged) {
        if seen <= self.version {
            return;
        }
        self.version = Version { epoch: seen.epoch.saturating_add(1), counter: 0 };
        for (key, body) in self.said_again() {
            let row = self.write_body(key, body);
            merged.records.push(Record::Row(row.clone()));
            merged.news.rows.push(row);
        }
    }

    fn merge_revision(&mut self, revision: SealedRevision, merged: &mut Merged) {
        let app = revision.app.clone();
        let used = self.is_in_use(&app, revision.id());
        let known = self.revisions.entry(app.clone()).or_default();
        let too_old = revision.sequence < known.oldest() && !used;
        if too_old || known.revisions.contains_key(revision.id()) {
            return;
        }
        merged.records.push(Record::Revision(Box::new(revision.clone())));
        merged.news.revisions.push(revision.clone());
        known.insert(Arc::new(revision));
        self.changes += 1;
        self.prune(&app);
    }
}

/// Whether a host says this of itself after each start. What it once decided keeps its version
/// instead: where its disk has lost the latest, that of the others is newer and comes back.
pub(super) fn is_said_again(key: &RowKey) -> bool {
    match key {
        RowKey::Host | RowKey::Replicas(_) | RowKey::Measured(_) => true,
        RowKey::Plan(_)
        | RowKey::Removed(_)
        | RowKey::Wanted(_)
        | RowKey::Operator(_)
        | RowKey::Asked(_)
        | RowKey::Provider
        | RowKey::Fleet
        | RowKey::Other(_) => false,
    }
}

/// Statuses and measurements of other hosts are asked for anew after a start; Plans and what hosts are must survive.
fn worth_keeping(key: &RowKey) -> bool {
    match key {
        RowKey::Host
        | RowKey::Plan(_)
        | RowKey::Removed(_)
        | RowKey::Wanted(_)
        | RowKey::Operator(_)
        | RowKey::Asked(_)
        | RowKey::Provider
        | RowKey::Fleet
        | RowKey::Other(_) => true,
        RowKey::Replicas(_) | RowKey::Measured(_) => false,
    }
}
