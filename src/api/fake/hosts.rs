//! The hosts of the fake cluster: what they are, and what removing one answers.

use super::shown::node;
use super::{FakeBackend, HOSTS};
use crate::api::{
    Action, ApiError, AuditEntry, AuditLog, Change, ErrorKind, Removal, RemoveRequest,
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
