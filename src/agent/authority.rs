//! A new authority in the old one's place: made here, handed to every member that is known and was not
//! removed, and taken over from another member. Its key goes over connections of members alone, never
//! into a Row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::audit::Changed;
use super::cluster::Cluster;
use super::handle::Agent;
use super::rpc::{Answer, Request};
use super::submit::ASK;
use crate::api::{ApiError, Authority, AuthorityHost};
use crate::docker::Engine;
use crate::logic::core::Core;
use crate::model::{AuthorityId, HostId, Liveness};
use crate::swarm::{By, Succession, WallClock};

/// Time between two looks for members that have an older one.
const LOOK: Duration = Duration::from_secs(5);

/// Everybody whose key is known and was not removed: members, this host, operators.
fn known(core: &Core) -> BTreeSet<HostId> {
    let members = core.membership().members().keys().cloned();
    let operators = core.state().operators().into_keys().cloned();
    let all = members.chain(operators).chain([core.me().clone()]);
    all.filter(|id| !core.state().is_removed(id)).collect()
}

/// The authority each member goes by, as it says itself; none when it has said nothing of it.
fn of_hosts(core: &Core) -> Vec<(HostId, String, Liveness, Option<AuthorityId>)> {
    let view = core.view();
    let hosts = view.hosts.iter().map(|(id, host)| {
        let name = host.facts.name.clone();
        ((*id).clone(), name, host.liveness, host.facts.authority.clone())
    });
    hosts.collect()
}

impl<E: Engine> Agent<E> {
    /// Makes a new authority, takes it into use here, and hands it to all who answer.
    ///
    /// # Errors
    ///
    /// When it cannot be made or kept; then nothing has changed.
    pub(super) async fn rotate(
        &self,
        cluster: &Arc<Cluster<E>>,
        by: &By,
    ) -> Result<Authority, ApiError> {
        let known = cluster.core.look(known).await?;
        let now = WallClock::system().now();
        let old = cluster.transport.identity().authority_id();
        let made = cluster.keys.change(move |identity| identity.rotated(known, now).map(Some));
        let made = made.await;
        let new = made.as_ref().map(|(identity, _)| identity.authority_id());
        let changed = Changed {
            what: "ca rotate".to_owned(),
            old: old.fingerprint,
            new: new.map(|new| new.fingerprint).unwrap_or_default(),
        };
        self.note(by, changed, &made).await;
        made?;
        tracing::warn!("a new authority is in use; it is handed to the other members");
        let handed = self.hand_to_all(cluster).await?;
        self.authority_here(cluster, &handed).await
    }

    /// The authority, and who has it. Those in `handed` have said so just now.
    ///
    /// # Errors
    ///
    /// When the agent is stopping.
    pub(super) async fn authority_here(
        &self,
        cluster: &Cluster<E>,
        handed: &BTreeSet<HostId>,
    ) -> Result<Authority, ApiError> {
        let identity = cluster.transport.identity();
        let mine = identity.authority_id();
        let hosts = cluster.core.look(of_hosts).await?.into_iter();
        let hosts = hosts.map(|(id, name, liveness, says)| {
            let has_it = id == cluster.host || handed.contains(&id) || says.as_ref() == Some(&mine);
            AuthorityHost { id, name, liveness, has_it }
        });
        let mut hosts: Vec<AuthorityHost> = hosts.collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        let (begins, ends) = identity.authority_dates().unwrap_or_default();
        let AuthorityId { number, fingerprint } = mine;
        Ok(Authority { number, fingerprint, begins, ends, hosts })
    }

    /// Hands the authority of this host to every live member that says it has an older one. Returns
    /// those that took it.
    async fn hand_to_all(&self, cluster: &Cluster<E>) -> Result<BTreeSet<HostId>, ApiError> {
        let identity = cluster.transport.identity();
        let mine = identity.authority_id();
        let hosts = cluster.core.look(of_hosts).await?.into_iter();
        let behind = hosts.filter(|(id, _, liveness, says)| {
            *id != cluster.host && *liveness == Liveness::Alive && says.as_ref() < Some(&mine)
        });
        let request = Request::Authority(Box::new(identity.succession()));
        let asked = behind.map(|(id, name, ..)| {
            let request = &request;
            async move {
                match self.ask(cluster, &id, request, ASK).await {
                    Ok(_) => Some(id),
                    Err(error) => {
                        tracing::warn!(host = name, %error, "the authority was not handed over");
                        None
                    }
                }
            }
        });
        let handed = futures_util::future::join_all(asked).await;
        Ok(handed.into_iter().flatten().collect())
    }

    /// Takes over the authority that another member hands over, unless the one of this host counts.
    pub(super) async fn adopt(
        &self,
        cluster: &Cluster<E>,
        from: &HostId,
        succession: Succession,
    ) -> Answer {
        let known = match cluster.core.look(known).await {
            Ok(known) => known,
            Err(error) => return Answer::Refused(error),
        };
        let now = WallClock::system().now();
        let old = cluster.transport.identity().authority_id();
        let change =
            move |identity: &crate::swarm::Identity| identity.adopting(&succession, known, now);
        let adopted = cluster.keys.change(change).await;
        if !matches!(&adopted, Ok((_, false))) {
            let new = adopted.as_ref().map(|(identity, _)| identity.authority_id().fingerprint);
            let (what, new) = ("ca adopt".to_owned(), new.unwrap_or_default());
            let changed = Changed { what, old: old.fingerprint, new };
            self.note(&By::host(from), changed, &adopted).await;
        }
        match adopted {
            Ok((_, is_new)) => {
                if is_new {
                    tracing::warn!(%from, "a new authority is in use");
                }
                Answer::Stored
            }
            Err(error) => Answer::Refused(error),
        }
    }
}

/// Hands the authority of this host to members that come back with an older one, as long as the agent
/// runs.
pub(super) async fn hand_on<E: Engine>(agent: Agent<E>, cluster: Arc<Cluster<E>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        // The first authority is what everybody has.
        if cluster.transport.identity().authority_id().number == 1 {
            continue;
        }
        match agent.hand_to_all(&cluster).await {
            Ok(handed) if handed.is_empty() => {}
            Ok(handed) => tracing::info!(hosts = handed.len(), "the authority was handed over"),
            // The agent is stopping.
            Err(_) => return,
        }
    }
}
