//! Admits a host: what the issuer of its token answers once the token was found good.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::cluster::Cluster;
use super::rpc::encode;
use crate::docker::Engine;
use crate::logic::addresses::slice_for;
use crate::logic::core::Event;
use crate::model::{HostId, Liveness, Overlay};
use crate::swarm::{JoinHello, JoinRefused};

/// What the issuer tells a host that it admits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Welcome {
    /// All addresses of the cluster.
    pub(super) pool: Ipv4Net,
    /// The new host's part of them.
    pub(super) slice: Ipv4Net,
    /// How packets of containers get from host to host.
    #[serde(default, skip_serializing_if = "Overlay::is_direct")]
    pub(super) overlay: Overlay,
    /// Other members.
    pub(super) members: Vec<(HostId, SocketAddr)>,
}

/// The slices given to hosts that joined here, for as long as their own Row has not arrived.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<BTreeMap<HostId, Ipv4Net>>);

impl Given {
    /// A slice for `host` that neither `used` nor anybody else given one here has.
    fn give(&self, pool: Ipv4Net, host: &HostId, used: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, slice| !used.contains(slice));
        let others = given.iter().filter(|(other, _)| *other != host).map(|(_, slice)| *slice);
        let used = used.iter().copied().chain(others).collect();
        let slice = slice_for(pool, host, &used)?;
        given.insert(host.clone(), slice);
        Some(slice)
    }
}

/// Decides over a host whose token was good; others will reach it at `address`.
///
/// # Errors
///
/// Why it is refused, for the person who runs `muster join`.
pub(super) async fn admit<E: Engine>(
    cluster: &Cluster<E>,
    address: SocketAddr,
    hello: JoinHello,
) -> Result<Bytes, JoinRefused> {
    let JoinHello { host, name, agent_version } = hello;
    let name = name.unwrap_or_else(|| host.to_string());
    let (asked_host, asked_name) = (host.clone(), name.clone());
    let look = cluster.core.look(move |core| {
        let view = core.view();
        let others = view.hosts.iter().filter(|(id, _)| **id != &asked_host);
        let namesake = others
            .clone()
            .find(|(_, other)| other.facts.name == asked_name && other.liveness != Liveness::Dead);
        let used: BTreeSet<Ipv4Net> = others.map(|(_, other)| other.facts.slice).collect();
        let members = core.membership().members().keys().filter(|id| **id != asked_host);
        let members = members.filter_map(|id| Some((id.clone(), core.membership().address(id)?)));
        let removed = core.state().is_removed(&asked_host);
        (removed, namesake.map(|(id, _)| (*id).clone()), used, members.collect::<Vec<_>>())
    });
    let (removed, namesake, used, members) =
        look.await.map_err(|error| JoinRefused { message: error.message, hint: error.hint })?;
    if removed {
        return Err(JoinRefused {
            message: format!("the key of this host ({host}) was removed from the cluster"),
            hint: Some("join with a new key: `muster join` makes one".to_owned()),
        });
    }
    if let Some(other) = namesake {
        return Err(JoinRefused {
            message: format!("a live host is already called `{name}` (id {other})"),
            hint: Some("give this one another name with `--name`".to_owned()),
        });
    }
    let pool = cluster.settings.pool;
    let slice = cluster.given.give(pool, &host, &used).ok_or_else(|| JoinRefused {
        message: format!("no addresses are left: every slice of the pool {pool} has a host"),
        hint: None,
    })?;
    cluster.core.event(Event::Joined(host.clone(), address)).await;
    tracing::info!(%host, name, %address, %slice, agent_version, "a host joins");
    let overlay = cluster.settings.overlay;
    Ok(encode(&Welcome { pool, slice, overlay, members }))
}
