//! Removes another host from the cluster for good: what that would change, why it is refused, and
//! the removal itself.

use super::cluster::Cluster;
use super::handle::Agent;
use super::preview;
use super::submit::alive;
use crate::api::{ApiError, Change, ErrorKind, Liveness, Removal, RemoveRequest};
use crate::docker::Engine;
use crate::logic::Delta;
use crate::logic::core::{Core, Event};
use crate::model::{HostId, RowKey};

impl<E: Engine> Agent<E> {
    /// Removes a host, unless it lives or holds data and nobody insists; or only says what would
    /// change.
    pub(super) async fn remove_from(
        &self,
        cluster: &Cluster<E>,
        request: RemoveRequest,
    ) -> Result<Removal, ApiError> {
        let RemoveRequest { host, force, dry_run } = request;
        let looked = cluster.core.look(move |core| look(core, &host)).await?;
        let (mut removal, data) = looked?;
        if !force {
            refuse(&removal, &data)?;
        }
        if dry_run {
            return Ok(removal);
        }
        let id = removal.id.clone();
        (removal.stored, removal.alive) = self.refuse_key(cluster, id.clone()).await?;
        removal.removed = true;
        tracing::warn!(host = %id, name = removal.name, "host removed from the cluster");
        Ok(removal)
    }

    /// Has every host refuse a key for good: a host's or an operator's. Returns how many hosts have
    /// that on disk, and how many live.
    pub(super) async fn refuse_key(
        &self,
        cluster: &Cluster<E>,
        id: HostId,
    ) -> Result<(u32, u32), ApiError> {
        cluster.core.keep(Event::Removed(id.clone())).await.map_err(|error| {
            ApiError::cluster(format!("the removal was not stored: {error}"))
                .hint("see whether the disk of this host is full")
        })?;
        let told = cluster.core.look(move |core| {
            let key = RowKey::Removed(id);
            let row = core.state().rows().find(|row| row.owner == *core.me() && row.key == key);
            row.cloned()
        });
        let rows = told.await?.into_iter().collect();
        self.copy(cluster, Delta { rows, revisions: Vec::new() }).await
    }
}

/// What removing a host would change, and the data that only it has.
fn look(core: &Core, wanted: &str) -> Result<(Removal, Vec<String>), ApiError> {
    let (id, name) = find(core, wanted)?;
    let after = core.without(&id);
    let mut changes = Vec::new();
    let mut data = Vec::new();
    for app in core.state().apps() {
        changes.extend(preview::moves(core, &after, app));
        let plan = core.state().plan(app);
        let pins = plan.into_iter().flat_map(|plan| &plan.pins);
        data.extend(pins.filter(|(_, host)| **host == id).map(|(volume, _)| volume.clone()));
    }
    changes.extend(data.iter().map(|volume| Change {
        action: crate::api::Action::Remove,
        subject: format!("volume {volume}"),
        host: name.clone(),
        reason: "its data stays on that host's disk; elsewhere it begins empty".to_owned(),
    }));
    let removal = Removal {
        liveness: core.membership().liveness(&id),
        id,
        name,
        changes,
        removed: false,
        stored: 0,
        alive: alive(core).len() as u32,
    };
    Ok((removal, data))
}

/// The host a person means: by name, or by id where names are not unique or not known.
fn find(core: &Core, wanted: &str) -> Result<(HostId, String), ApiError> {
    let view = core.view();
    let id = HostId::from(wanted);
    if core.state().is_removed(&id) {
        return Err(ApiError::user(format!("host `{wanted}` was removed before")));
    }
    let named: Vec<&HostId> = view
        .hosts
        .iter()
        .filter(|(id, host)| host.facts.name == wanted || id.as_str() == wanted)
        .map(|(id, _)| *id)
        .collect();
    let found = match named.as_slice() {
        [found] => (*found).clone(),
        [] if core.membership().members().contains_key(&id) => id,
        [] => {
            return Err(ApiError {
                kind: ErrorKind::NotFound,
                message: format!("no host `{wanted}` in this cluster"),
                hint: Some("`muster nodes` lists them".to_owned()),
            });
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|id| id.as_str()).collect();
            return Err(ApiError::user(format!("several hosts are called `{wanted}`"))
                .hint(format!("give the id of one: {}", ids.join(", "))));
        }
    };
    if found == *core.me() {
        return Err(ApiError::user("a host cannot remove itself from the cluster")
            .hint("stop muster here, then run `muster node rm` on another host"));
    }
    let name = view.host_name(&found);
    Ok((found, name))
}

/// Why a host is not removed without force.
fn refuse(removal: &Removal, data: &[String]) -> Result<(), ApiError> {
    let name = &removal.name;
    if removal.liveness != Liveness::Dead {
        return Err(ApiError::user(format!("host `{name}` is alive"))
            .hint("stop muster on it first; or give `--force`: its containers are removed there"));
    }
    if let Some(volume) = data.first() {
        return Err(ApiError::user(format!("host `{name}` has the only copy of `{volume}`"))
            .hint("bring it back to save the data; or give `--force`: volumes begin empty"));
    }
    Ok(())
}
