//! The hosts of the fake cluster: what they are, and what removing one answers.

use std::collections::BTreeMap;

use super::{FakeBackend, HOSTS};
use crate::api::{
    Action, ApiError, AuditEntry, AuditLog, Change, ErrorKind, Node, Removal, RemoveRequest,
};
use crate::model::{Availability, Capacity, HostId, Liveness};

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

pub(super) fn host_id(index: usize) -> HostId {
    HostId::new(format!("{:016x}", index + 1))
}

pub(super) fn node(index: usize) -> Node {
    let last = index + 1 == HOSTS.len();
    Node {
        id: host_id(index),
        name: HOSTS[index].to_owned(),
        address: ([192, 0, 2, index as u8 + 1], 7400).into(),
        liveness: if last { Liveness::Suspect } else { Liveness::Alive },
        availability: if last { Availability::Drain } else { Availability::Active },
        slice: None,
        platform: "linux/amd64".to_owned(),
        capacity: Capacity { cpu_millis: 4000, memory: 8 << 30 },
        reserved: Capacity { cpu_millis: 500, memory: 512 << 20 },
        replicas: index as u32,
        engine_version: "20.10.24".to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: BTreeMap::new(),
        this: index == 0,
    }
}
