//! The hosts of the fake cluster: what they are, and what removing one answers.

use super::shown::node;
use super::{FakeBackend, HOSTS};
use crate::api::{
    Action, ApiError, AuditEntry, AuditLog, Authority, AuthorityHost, Change, ErrorKind,
    OperatorRemoved, Removal, RemoveRequest,
};
use crate::model::Liveness;

impl FakeBackend {
    pub(super) fn remove(&self, request: &RemoveRequest) -> Result<Removal, ApiError> {
        let mut state = self.ready()?;
        let node = (0..HOSTS.len()).map(node);
        let node = node
            .into_iter()
            .find(|node| node.name == request.host || node.id.as_str() == request.host);
        let node =
            node.filter(|node| !state.removed.contains(&node.name)).ok_or_else(|| ApiError {
                kind: ErrorKind::NotFound,
                message: format!("no host `{}` in this cluster", request.host),
                hint: Some("`muster nodes` lists them".to_owned()),
            })?;
        if !request.force && node.liveness == Liveness::Alive {
            return Err(ApiError::user(format!("host `{}` is alive", node.name)).hint("stop it"));
        }
        if !request.dry_run {
            state.removed.insert(node.name.clone());
        }
        let change = Change {
            action: Action::Move,
            subject: "shop/web/1".to_owned(),
            host: HOSTS[0].to_owned(),
            reason: "its host is gone or drained".to_owned(),
        };
        Ok(Removal {
            id: node.id,
            name: node.name,
            liveness: node.liveness,
            changes: vec![change],
            removed: !request.dry_run,
            stored: 2,
            alive: 2,
        })
    }

    /// All but the last host have what was rotated.
    pub(super) fn shown_authority(&self) -> Result<Authority, ApiError> {
        let rotations = self.ready()?.rotations;
        let host = |node: crate::api::Node| AuthorityHost {
            has_it: rotations == 0 || node.liveness == Liveness::Alive,
            id: node.id,
            name: node.name,
            liveness: node.liveness,
        };
        Ok(Authority {
            number: rotations + 1,
            fingerprint: format!("{:064x}", rotations + 1),
            begins: 1_800_000_000,
            ends: 3_000_000_000,
            hosts: (0..HOSTS.len()).map(node).map(host).collect(),
        })
    }

    pub(super) fn remove_one(&self, operator: &str) -> Result<OperatorRemoved, ApiError> {
        let mut state = self.ready()?;
        let found = state.operators.iter().position(|one| one.name == operator);
        let found = found.ok_or_else(|| ApiError {
            kind: ErrorKind::NotFound,
            message: format!("no operator `{operator}` in this cluster"),
            hint: Some("`muster operator ls` lists them".to_owned()),
        })?;
        let gone = state.operators.remove(found);
        Ok(OperatorRemoved { id: gone.id, name: gone.name, stored: 2, alive: 3 })
    }

    pub(super) fn audit_log(&self, limit: usize) -> Result<AuditLog, ApiError> {
        let state = self.ready()?;
        let entry = AuditEntry {
            number: 1,
            at: 1_800_000_000,
            who: "local".to_owned(),
            from: "socket".to_owned(),
            what: "init".to_owned(),
            old: String::new(),
            new: "fake".to_owned(),
            result: "done".to_owned(),
        };
        let entries = [entry].into_iter().take(limit).collect();
        Ok(AuditLog { entries, head: "abc".to_owned(), broken: state.altered.clone() })
    }
}
