//! People who work on the cluster from a machine that is no member: inviting them, letting them in,
//! and having every host refuse them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::rpc::encode;
use crate::api::{
    ApiError, Asker, ErrorKind, Greeting, OperatorRemoved, OperatorRequest, OperatorToken,
    OperatorView, RenewRequest, Renewal,
};
use crate::docker::Engine;
use crate::logic::core::{Core, Event};
use crate::logic::{Delta, Want};
use crate::model::{HostId, Liveness, Operator, RowKey};
use crate::swarm::{Caller, Invitation, JoinRefused, Purpose};

/// Letters of a name.
const NAME_MAX: usize = 63;

/// Everybody who may work from elsewhere, by name.
pub(super) fn all(core: &Core) -> Vec<OperatorView> {
    let view = core.view();
    let all = core.state().operators().into_iter().map(|(id, (host, operator))| {
        let Operator { name, role, invited_by, since } = operator.clone();
        let host = view.host_name(host);
        OperatorView { id: id.clone(), name, role, invited_by, host, since: since.0 }
    });
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    all
}

/// Issues an invitation.
///
/// # Errors
///
/// When the name cannot be used, or the token cannot be kept.
pub(super) async fn invite<E: Engine>(
    cluster: &Cluster<E>,
    asker: &Asker,
    request: OperatorRequest,
) -> Result<OperatorToken, ApiError> {
    let OperatorRequest { name, role, ttl_seconds } = request;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(good) {
        return Err(ApiError::user(format!("`{name}` cannot be the name of an operator"))
            .hint(format!("letters, digits, `-`, `_`, `.` and `@`, at most {NAME_MAX}")));
    }
    if ttl_seconds == 0 {
        return Err(ApiError::user("an invitation must be good for a second at least"));
    }
    let wanted = name.clone();
    if let Some(id) = cluster.core.look(move |core| named(core, &wanted)).await? {
        return Err(taken(&name, &id));
    }
    let by = asker.by();
    let invitation = Invitation { name: name.clone(), role, invited_by: by.who.clone() };
    let lifetime = Duration::from_secs(ttl_seconds);
    let token = cluster.create_token(lifetime, Purpose::Operator(invitation), 1, by).await?;
    Ok(OperatorToken { token, name, role, ttl_seconds })
}

/// The operator of this name.
fn named(core: &Core, name: &str) -> Option<HostId> {
    let operators = core.state().operators();
    operators.iter().find(|(_, (_, one))| one.name == name).map(|(id, _)| (*id).clone())
}

fn taken(name: &str, id: &HostId) -> ApiError {
    ApiError::user(format!("an operator is already called `{name}` (id {id})"))
        .hint(format!("choose another name, or take that one away: `muster operator rm {name}`"))
}

/// Where members are, those first that live.
fn members(core: &Core) -> Vec<(HostId, SocketAddr)> {
    let membership = core.membership();
    let mut others: Vec<(Liveness, HostId)> =
        membership.members().iter().map(|(id, member)| (member.liveness, id.clone())).collect();
    others.sort();
    let others = others.into_iter();
    let others = others.filter_map(|(_, id)| membership.address(&id).map(|address| (id, address)));
    std::iter::once((core.me().clone(), core.facts().address)).chain(others).collect()
}

impl<E: Engine> Agent<E> {
    /// Lets in somebody whose invitation is good: from then on the cluster lists it.
    ///
    /// # Errors
    ///
    /// Why not, for the person who runs `muster context add`.
    pub(super) async fn enrol(
        &self,
        cluster: &Cluster<E>,
        id: HostId,
        address: SocketAddr,
        invitation: Invitation,
    ) -> Result<Bytes, JoinRefused> {
        let refused = |error: ApiError| JoinRefused { message: error.message, hint: error.hint };
        let Invitation { name, role, invited_by } = invitation;
        let (asked, key) = (name.clone(), id.clone());
        let look = cluster.core.look(move |core| {
            let is_used =
                core.state().is_removed(&key) || core.membership().members().contains_key(&key);
            (is_used, named(core, &asked).filter(|other| *other != key), members(core))
        });
        let (is_used, namesake, members) = look.await.map_err(refused)?;
        if is_used {
            return Err(refused(ApiError::user(format!("the key {id} is of something else"))));
        }
        if let Some(other) = namesake {
            return Err(refused(taken(&name, &other)));
        }
        let since = cluster.core.now().wall;
        let operator = Operator { name: name.clone(), role, invited_by, since };
        let kept = cluster.core.keep(Event::LetIn(id.clone(), operator)).await;
        kept.map_err(refused)?;
        let row = (cluster.host.clone(), RowKey::Operator(id.clone()));
        let want = Want { rows: vec![row], revisions: Vec::new() };
        let delta: Delta =
            cluster.core.look(move |core| core.state().supply(&want)).await.map_err(refused)?;
        self.copy(cluster, delta).await.map_err(refused)?;
        tracing::info!(%id, name, %role, %address, "an operator is let in");
        Ok(encode(&Greeting { members }))
    }

    /// Has every host refuse an operator from now on.
    ///
    /// # Errors
    ///
    /// When there is no such operator, or it cannot be kept.
    pub(super) async fn remove_person(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        operator: &str,
    ) -> Result<OperatorRemoved, ApiError> {
        let removed = self.refuse_person(cluster, asker, operator).await;
        let old = removed.as_ref().map(|removed| removed.id.to_string()).unwrap_or_default();
        let changed =
            Changed { what: format!("operator rm {operator}"), old, ..Changed::default() };
        self.note(&asker.by(), changed, &removed).await;
        removed
    }

    async fn refuse_person(
        &self,
        cluster: &Cluster<E>,
        asker: &Asker,
        operator: &str,
    ) -> Result<OperatorRemoved, ApiError> {
        let wanted = operator.to_owned();
        let (id, name) = cluster.core.look(move |core| find(core, &wanted)).await??;
        if matches!(asker, Asker::Operator(caller) if caller.id == id) {
            // It would not live to read the answer.
            return Err(ApiError::user("an operator cannot remove itself")
                .hint("have another operator do it, or do it on a host of the cluster"));
        }
        let (stored, alive) = self.refuse_key(cluster, id.clone()).await?;
        tracing::warn!(%id, name, "operator removed from the cluster");
        Ok(OperatorRemoved { id, name, stored, alive })
    }

    /// Gives an operator a new certificate, when it wants one, and tells it where members are.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be made.
    pub(super) async fn renew_person(
        &self,
        cluster: &Cluster<E>,
        caller: &Caller,
        request: RenewRequest,
    ) -> Result<Renewal, ApiError> {
        let members = cluster.core.look(members).await?;
        if !request.certificate {
            return Ok(Renewal { grant: None, members });
        }
        let Caller { id: _, public_key, name, role, address: _ } = caller;
        let (identity, now) = (cluster.transport.identity(), cluster.core.now().wall);
        let grant = identity.grant(*public_key, name, *role, now);
        let grant = grant.map_err(|error| ApiError::cluster(error.to_string()));
        let changed = Changed { what: "operator renew".to_owned(), ..Changed::default() };
        self.note(&Asker::Operator(caller.clone()).by(), changed, &grant).await;
        Ok(Renewal { grant: Some(grant?), members })
    }
}

/// The operator a person means, by name or id.
fn find(core: &Core, wanted: &str) -> Result<(HostId, String), ApiError> {
    let operators = core.state().operators();
    let found: Vec<_> = operators
        .iter()
        .filter(|(id, (_, one))| one.name == wanted || id.as_str() == wanted)
        .map(|(id, (_, one))| ((*id).clone(), one.name.clone()))
        .collect();
    match found.as_slice() {
        [found] => Ok(found.clone()),
        [] => Err(ApiError {
            kind: ErrorKind::NotFound,
            message: format!("no operator `{wanted}` in this cluster"),
            hint: Some("`muster operator ls` lists them".to_owned()),
        }),
        several => {
            let ids: Vec<&str> = several.iter().map(|(id, _)| id.as_str()).collect();
            Err(ApiError::user(format!("several operators are called `{wanted}`"))
                .hint(format!("give the id of one: {}", ids.join(", "))))
        }
    }
}
