//! Connections that are open, by whose they are: so many and no more, and closed together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use quinn::{Connection, VarInt};

use crate::model::HostId;

/// The connections of one kind.
#[derive(Default)]
pub(super) struct Open(Mutex<Vec<(HostId, Connection)>>);

impl Open {
    fn all(&self) -> MutexGuard<'_, Vec<(HostId, Connection)>> {
        // Nothing that panics runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for one more of `id`, of so many in all and so many of one; then it is
    /// taken in.
    pub(super) fn take(
        &self,
        id: &HostId,
        connection: &Connection,
        most: usize,
        most_of_one: usize,
    ) -> bool {
        let mut all = self.all();
        all.retain(|(_, connection)| connection.close_reason().is_none());
        let of_one = all.iter().filter(|(other, _)| other == id).count();
        let room = all.len() < most && of_one < most_of_one;
        if room {
            all.push((id.clone(), connection.clone()));
        }
        room
    }

    /// Lets go of one that ended.
    pub(super) fn forget(&self, connection: &Connection) {
        self.all().retain(|(_, other)| other.stable_id() != connection.stable_id());
    }

    /// Closes all of somebody.
    pub(super) fn close(&self, id: &HostId, code: VarInt, reason: &[u8]) {
        for (_, connection) in self.all().iter().filter(|(other, _)| other == id) {
            connection.close(code, reason);
        }
    }
}
