//! Anti-entropy: what two hosts tell each other to find out what one of them lacks.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use crate::logic::{Delta, Digest, Have, MemberNews, Want};
use crate::model::{AppName, HostId, RevisionId, RowKey, Version};

impl State {
    /// What this host holds, in short.
    pub fn digest(&self, members: u64, news: Vec<MemberNews>, answer: bool) -> Digest {
        Digest { owners: self.owner_hashes(), apps: self.app_hashes(), members, news, answer }
    }

    /// The same in one number.
    pub fn summary(&self) -> u64 {
        let rows = self.rows.values().fold(0, |sum, owned| sum ^ owned.sum);
        let revisions = self.revisions.values().fold(0, |sum, known| sum ^ known.sum);
        rows ^ u64::rotate_left(revisions, 1)
    }

    fn owner_hashes(&self) -> BTreeMap<HostId, u64> {
        self.rows.iter().map(|(owner, owned)| (owner.clone(), owned.sum)).collect()
    }

    fn app_hashes(&self) -> BTreeMap<AppName, u64> {
        self.revisions.iter().map(|(app, known)| (app.clone(), known.sum)).collect()
    }

    /// What to tell a host whose digest this is; none when it holds the same.
    pub fn differences(&self, theirs: &Digest) -> Option<Have> {
        let owners = differing(&self.owner_hashes(), &theirs.owners);
        let apps = differing(&self.app_hashes(), &theirs.apps);
        if owners.is_empty() && apps.is_empty() {
            return None;
        }
        let versions = |owner: &HostId| {
            let rows = self.rows.get(owner).into_iter().flat_map(|owned| &owned.rows);
            rows.map(|(key, kept)| (key.clone(), kept.row.version)).collect()
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
            let ours = self.rows.get(owner).into_iter().flat_map(|owned| owned.rows.values());
            for kept in ours {
                if versions.get(&kept.row.key).is_none_or(|theirs| *theirs < kept.row.version) {
                    give.rows.push(kept.row.clone());
                }
            }
            for (key, version) in versions {
                let ours = self.row(owner, key);
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
        let rows = want.rows.iter().filter_map(|(owner, key)| self.row(owner, key));
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
