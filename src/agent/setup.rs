//! From a host that belongs to no cluster to one that does: `init`, `join`, and the start of a host
//! that already was a member.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::admission::Welcome;
use super::cluster::{self, Cluster, Member, Settings};
use super::handle::Agent;
use super::rpc::{decode, encode};
use crate::api::{ApiError, InitRequest, JoinRequest};
use crate::config::default_pool;
use crate::docker::Engine;
use crate::logic::addresses::slice_for;
use crate::logic::core::Core;
use crate::model::Overlay;
use crate::network;
use crate::swarm::{
    Identity, IdentityError, JoinAsk, Saved, Store, StoreError, Token, TokenError, WallClock,
};
use crate::telemetry::chain;

/// Any address beyond the default route; asking which way it lies sends nothing.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// How long a host that was removed may take to be rid of its containers before it joins again.
const LEAVE: Duration = Duration::from_secs(30);
/// Time between two looks whether it is.
const LEAVE_LOOK: Duration = Duration::from_millis(50);

/// This machine's host name.
pub(super) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// Makes a cluster of this host.
pub(super) async fn init<E: Engine>(
    agent: &Agent<E>,
    request: InitRequest,
) -> Result<Arc<Cluster<E>>, ApiError> {
    let InitRequest { name, advertise, pool, overlay, labels } = request;
    let overlay = overlay.unwrap_or(Overlay::Quic);
    let pool = checked_pool(pool.unwrap_or_else(default_pool))?;
    let name = checked_name(name)?;
    preflight(pool, overlay)?;
    let advertise = advertise.unwrap_or_else(|| own_address(agent, ELSEWHERE));
    let now = WallClock::system().now();
    let identity = Identity::make(now).map_err(|error| cannot_keep(&error))?;
    let slice = slice_for(pool, identity.host(), &[].into()).ok_or_else(|| {
        ApiError::user(format!("the pool {pool} is too small for one host"))
            .hint("a host takes a /20 of it: use a /16 or larger")
    })?;
    let settings = Settings { name, advertise, pool, slice, overlay, labels, members: Vec::new() };
    become_member(agent, identity, settings).await
}

/// Joins the cluster whose member issued the token.
pub(super) async fn join<E: Engine>(
    agent: &Agent<E>,
    request: JoinRequest,
) -> Result<Arc<Cluster<E>>, ApiError> {
    let JoinRequest { token, name, advertise, labels } = request;
    let token: Token = token
        .parse()
        .map_err(|error: TokenError| ApiError::user(chain(&error)).hint(error.hint()))?;
    let name = checked_name(name)?;
    // While the token is still good.
    network::preflight_of_any().map_err(unfit)?;
    let ask = JoinAsk {
        name: Some(name.clone()),
        port: agent.config.listen.port(),
        advertise,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let joined = crate::swarm::join(&token, ask).await.map_err(|error| {
        let refusal = ApiError::user(format!("this host was not admitted: {}", chain(&error)));
        refusal.hint_if(error.hint())
    })?;
    let Welcome { pool, slice, overlay, members } = decode(&joined.welcome).map_err(|error| {
        ApiError::cluster(format!("the answer of the cluster cannot be read: {error}"))
            .hint("use the same version of muster on all hosts")
    })?;
    // Only a member is told which pool it is.
    preflight(pool, overlay).map_err(|error| {
        let hint = error.hint.clone().map(|hint| format!("{hint}; ")).unwrap_or_default();
        error.hint(format!("{hint}the token is used up: get another with `muster token create`"))
    })?;
    let advertise = joined.address;
    let issuer = (joined.issuer, joined.issuer_address);
    let members = std::iter::once(issuer).chain(members).collect();
    let settings = Settings { name, advertise, pool, slice, overlay, labels, members };
    become_member(agent, joined.identity, settings).await
}

/// Keeps what was decided on disk, then starts. The identity comes last: a host that has one is a
/// member, and one that crashed before it was written is none.
async fn become_member<E: Engine>(
    agent: &Agent<E>,
    identity: Identity,
    settings: Settings,
) -> Result<Arc<Cluster<E>>, ApiError> {
    let directory = agent.config.data_dir.clone();
    let kept = (identity.clone(), settings.clone());
    let keep = move || -> Result<(Store, Saved), DiskError> {
        let (identity, settings) = kept;
        std::fs::create_dir_all(&directory)?;
        let (store, saved) = Store::open(&state_file(&directory))?;
        store.save_settings(&encode(&settings))?;
        identity.save(&directory)?;
        Ok((store, saved))
    };
    let (store, saved) = blocking(keep).await?.map_err(|error| cannot_keep(&error))?;
    cluster::start(agent, Member { identity, settings, store, saved })
}

/// Ends what this host is in a cluster that removed it: its tasks, its keys, what it knew. Its
/// containers must be gone before.
pub(super) async fn leave<E: Engine>(
    agent: &Agent<E>,
    cluster: &Cluster<E>,
) -> Result<(), ApiError> {
    let left_over = |core: &Core| core.machine().seen().containers.len();
    let emptied = async {
        loop {
            match cluster.core.look(left_over).await {
                Ok(0) | Err(_) => return,
                Ok(_) => tokio::time::sleep(LEAVE_LOOK).await,
            }
        }
    };
    if tokio::time::timeout(LEAVE, emptied).await.is_err() {
        let words = "containers of the cluster this host was removed from are still being removed";
        return Err(ApiError::user(words).hint("see `docker ps`; then try again"));
    }
    cluster.supervisor.stop().await;
    let directory = agent.config.data_dir.clone();
    let forget = move || -> std::io::Result<()> {
        // The identity first: a host without one is no member, whatever else is left.
        Identity::forget(&directory)?;
        std::fs::remove_file(state_file(&directory))
    };
    blocking(forget).await?.map_err(|error| {
        ApiError::cluster(format!("cannot forget the old cluster: {error}"))
            .hint("see whether the data directory is writable")
    })
}

/// Waits until the port of the membership before is free.
pub(super) async fn await_port<E: Engine>(agent: &Agent<E>) -> Result<(), ApiError> {
    let listen = agent.config.listen;
    let freed = async {
        while UdpSocket::bind(listen).is_err() {
            tokio::time::sleep(LEAVE_LOOK).await;
        }
    };
    let busy = || ApiError::cluster(format!("UDP {listen} is still in use")).hint("try again");
    tokio::time::timeout(LEAVE, freed).await.map_err(|_| busy())
}

/// The member this host already is; none when it is none.
///
/// # Errors
///
/// When what is on disk cannot be read, or the UDP port cannot be listened on.
pub(super) async fn resume<E: Engine>(
    agent: &Agent<E>,
) -> Result<Option<Arc<Cluster<E>>>, ApiError> {
    let directory = agent.config.data_dir.clone();
    let read = move || -> Result<_, DiskError> {
        let Some(identity) = Identity::load(&directory)? else { return Ok(None) };
        let (store, saved) = Store::open(&state_file(&directory))?;
        let settings = store.load_settings()?;
        Ok(Some((identity, store, saved, settings)))
    };
    let read = blocking(read).await?.map_err(|error| {
        let refusal =
            ApiError::cluster(format!("cannot read the state of this host: {}", chain(&error)));
        refusal.hint_if(error.hint())
    })?;
    let Some((identity, store, saved, settings)) = read else { return Ok(None) };
    let settings = settings.as_deref().map(decode::<Settings>).transpose();
    let settings = settings.ok().flatten().ok_or_else(|| {
        ApiError::cluster("the settings of this host cannot be read".to_owned())
            .hint("move the data directory away and join again")
    })?;
    cluster::start(agent, Member { identity, settings, store, saved }).map(Some)
}

/// What is on disk could not be read or written.
#[derive(Debug, thiserror::Error)]
enum DiskError {
    /// The folder.
    #[error("cannot make the data directory")]
    Folder(#[from] std::io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl DiskError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(_) => None,
            Self::Store(error) => Some(error.hint()),
            Self::Identity(error) => error.hint().map(str::to_owned),
        }
    }
}

fn state_file(directory: &std::path::Path) -> PathBuf {
    directory.join("state")
}

fn cannot_keep(error: &dyn std::error::Error) -> ApiError {
    ApiError::user(format!("cannot keep the state of this host: {}", chain(error)))
        .hint("the data directory must be writable; see `--data-dir`")
}

async fn blocking<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(body).await;
    done.map_err(|error| ApiError::cluster(format!("bug: a task failed: {error}")))
}

fn preflight(pool: Ipv4Net, overlay: Overlay) -> Result<(), ApiError> {
    network::preflight(pool, overlay).map_err(unfit)
}

/// Why this machine cannot be a host of the cluster.
fn unfit(error: network::NetworkError) -> ApiError {
    ApiError::user(chain(&error)).hint_if(error.hint())
}

/// A pool whose addresses can be those of containers.
fn checked_pool(pool: Ipv4Net) -> Result<Ipv4Net, ApiError> {
    let (first, last) = (pool.network(), pool.broadcast());
    // Of one of these kinds is all of a network, or none but the first and the last address.
    let is_bad = |at: Ipv4Addr| {
        at.octets()[0] == 0 || at.is_loopback() || at.is_link_local() || at.octets()[0] >= 224
    };
    if is_bad(first) || is_bad(last) {
        return Err(ApiError::user(format!("containers cannot have addresses of `{pool}`")).hint(
            "choose a private network that is free where the hosts are, such as 10.64.0.0/12",
        ));
    }
    Ok(pool.trunc())
}

/// A name a person gave or the machine has, if it can stand in commands and constraints.
fn checked_name(name: Option<String>) -> Result<String, ApiError> {
    let name = name.unwrap_or_else(host_name);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 63 || !name.chars().all(good) {
        return Err(ApiError::user(format!("`{name}` cannot be the name of a host"))
            .hint("letters, digits, `-`, `_` and `.`, at most 63; choose one with `--name`"));
    }
    Ok(name)
}

/// The address this host has on its way to `there`, with the agent's port; loopback when there is
/// no way.
fn own_address<E: Engine>(agent: &Agent<E>, there: SocketAddr) -> SocketAddr {
    let listen = agent.config.listen;
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let ask = || -> std::io::Result<IpAddr> {
        let any: IpAddr = if there.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        // Only asks the kernel for a route; no packet leaves.
        socket.connect(there)?;
        Ok(socket.local_addr()?.ip())
    };
    SocketAddr::new(ask().unwrap_or(Ipv4Addr::LOCALHOST.into()), listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_containers_cannot_have_is_refused_and_one_with_a_host_in_it_is_cut() {
        for bad in ["0.0.0.0/0", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "0.0.0.0/8"] {
            let error = checked_pool(bad.parse().unwrap()).unwrap_err();
            assert!(error.message.contains(bad) && error.hint.is_some(), "{error:?}");
        }
        let pool = checked_pool("10.209.3.4/12".parse().unwrap()).unwrap();
        assert_eq!(pool.to_string(), "10.208.0.0/12");
    }

    #[test]
    fn names_that_would_break_a_command_are_refused() {
        assert_eq!(checked_name(Some("pi-4.lan".to_owned())).unwrap(), "pi-4.lan");
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(64)] {
            assert!(checked_name(Some(bad.to_owned())).is_err(), "{bad}");
        }
    }
}
