//! What the kernel of this host does with packets: addresses, routes, nftables, published ports.
//! Carries out a [`NetworkIntent`] and reports; makes no choices and knows no App.
//!
//! Reading order: [`reconcile`] is the loop; [`ruleset`] turns an intent into rules (pure, with
//! [`spread`] for who gets a connection) and [`nft`] puts them in place; [`forward`] gets past a
//! firewall that drops what is forwarded; [`device`], [`routes`] and [`sysctl`] are the ground they
//! stand on; [`published`] keeps other programs off our ports and [`listeners`] says who has one
//! ([`sockets`] is what both try with); [`relay`] carries what comes over IPv6; [`conntrack`] forgets
//! flows to endpoints that left; [`counters`] counts who got how many; [`mod@probe`] finds out whether
//! packets reach another host; [`netlink`] and [`program`] are how we speak to the kernel.
//!
//! Nothing here but [`relay`] ends with the agent: rules and routes stay, so that its restart cuts no
//! connection. [`remove_all`] is what takes them away.

mod conntrack;
mod counters;
mod device;
mod forward;
mod listeners;
mod netlink;
mod nft;
mod probe;
mod program;
mod published;
mod reconcile;
mod relay;
mod routes;
mod ruleset;
mod sockets;
mod spread;
mod sysctl;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnet::Ipv4Net;
use tokio::sync::watch;

use crate::model::{NetworkIntent, Overlay, Protocol, PublishedPort};
use crate::supervisor::Supervisor;

pub use self::counters::{HandedOut, handed_out};
pub use self::probe::{Probed, probe};

/// The device that carries this host's pool address.
pub const DEVICE: &str = "muster0";
/// Docker bridges of muster begin with this (see [`crate::logic::addresses::bridge_name`]).
const BRIDGE_PREFIX: &str = "mst";

/// Keeps the kernel as the newest intent wants it, and mends within two seconds what another
/// program takes away. Nothing happens while the intent is none. `tunnels` is the UDP port that the tunnels to
/// other hosts are sent from; none when there are routes instead. What is returned is the intent that
/// the rules are in place for.
pub fn start(
    intent: watch::Receiver<Option<NetworkIntent>>,
    tunnels: Option<u16>,
    supervisor: &Supervisor,
) -> watch::Receiver<Option<NetworkIntent>> {
    let (in_place, told) = watch::channel(None);
    let run = reconcile::run(intent, in_place, tunnels, supervisor.clone());
    supervisor.spawn_until_stop("network", run);
    told
}

/// Whether this host can be a member with that pool. Asked before it joins; changes nothing.
///
/// # Errors
/// [`NetworkError::NotRoot`], [`NetworkError::Missing`], [`NetworkError::NoTun`] or
/// [`NetworkError::Overlap`], each with a remedy in [`NetworkError::hint`];
/// [`NetworkError::Kernel`] when the routes cannot be read.
pub fn preflight(pool: Ipv4Net, overlay: Overlay) -> Result<(), NetworkError> {
    preflight_of_any()?;
    if overlay == Overlay::Quic {
        crate::overlay::preflight().map_err(|cause| NetworkError::NoTun { cause })?;
    }
    match routes::overlap(pool)? {
        Some((route, device)) => Err(NetworkError::Overlap { pool, route, device }),
        None => Ok(()),
    }
}

/// Whether this host can be a member of some cluster: the part of [`preflight`] that needs to know
/// nothing of it.
///
/// # Errors
/// [`NetworkError::NotRoot`] or [`NetworkError::Missing`].
pub fn preflight_of_any() -> Result<(), NetworkError> {
    if !rustix::process::geteuid().is_root() {
        return Err(NetworkError::NotRoot);
    }
    if !program::installed(nft::PROGRAM) {
        return Err(NetworkError::Missing { program: nft::PROGRAM });
    }
    Ok(())
}

/// Whether the program that sets up rules is installed.
pub fn has_nft() -> bool {
    program::installed(nft::PROGRAM)
}

/// Whether the kernel has SCTP. Asking loads its module, where there is one.
pub fn has_sctp() -> bool {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::SCTP)).is_ok()
}

/// Which of `ports` other programs listen on here. What this agent holds is not another's.
pub fn ports_of_others(ports: &BTreeSet<PublishedPort>) -> BTreeSet<(u16, Protocol)> {
    let taken = ports.iter().filter(|port| {
        let places = sockets::places(port.host_ip, port.protocol, port.published);
        places.into_iter().any(|(protocol, at)| listeners::has_other(protocol, at))
    });
    taken.map(|port| (port.published, port.protocol)).collect()
}

/// Which of `ports` could not be listened on here now, and who has each, in words. To be asked of
/// new ports alone: one that this agent already holds counts as taken.
pub fn ports_taken(ports: &[PublishedPort]) -> Vec<(PublishedPort, String)> {
    let holder = |port: &PublishedPort| {
        let places = sockets::places(port.host_ip, port.protocol, port.published).into_iter();
        let mut holders = places.filter_map(|(protocol, at)| listeners::taken(protocol, at));
        Some((port.clone(), holders.next()?))
    };
    ports.iter().filter_map(holder).collect()
}

/// Wakes those that watch only when there is something new.
fn tell<T: PartialEq>(sender: &watch::Sender<T>, news: T) {
    sender.send_if_modified(|told| {
        let is_news = *told != news;
        *told = news;
        is_news
    });
}

/// Which of `addresses` this host has.
pub fn addresses_held(addresses: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let is_held = |address: &IpAddr| UdpSocket::bind((*address, 0)).is_ok();
    addresses.iter().copied().filter(is_held).collect()
}

/// Takes away everything of ours: rules, routes, the device. For a host that leaves, after what
/// [`start`] runs has ended, which would put it all back. May be called when nothing is there.
///
/// # Errors
/// The first failure; what comes after it is tried all the same.
pub async fn remove_all() -> Result<(), NetworkError> {
    let forwarding = forward::remove().await;
    let table = nft::remove(nft::TABLE).await;
    let counters = nft::remove(nft::COUNTERS).await;
    let links = device::remove().await;
    forwarding.and(table).and(counters).and(links)
}

/// Why the network is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Found by [`preflight`]; nothing was changed.
    #[error("only root can set up the network of a host")]
    NotRoot,
    /// A program we call is not there; nothing was changed.
    #[error("the program `{program}` is not installed")]
    Missing {
        /// Its name.
        program: &'static str,
    },
    /// Found by [`preflight`]; nothing was changed.
    #[error("the pool `{pool}` overlaps the route to `{route}` that this machine has{device}", device = on(device))]
    Overlap {
        /// The cluster's pool.
        pool: Ipv4Net,
        /// The other's network.
        route: Ipv4Net,
        /// The device it leads to.
        device: Option<String>,
    },
    /// Found by [`preflight`]; nothing was changed.
    #[error("this machine has no TUN device for the `quic` overlay")]
    NoTun {
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// Routes to other hosts are set once it is there; until then nothing leaves in clear.
    #[error(
        "the device `{}` is not there yet: containers of other hosts are not reached",
        crate::overlay::DEVICE
    )]
    NoDevice,
    /// A program we call said no. What it was to change is as it was before.
    #[error("`{program}` failed: {detail}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        detail: String,
    },
    /// The kernel said no. Earlier steps of the same round stay done.
    #[error("failed to {action}")]
    Kernel {
        /// What was tried.
        action: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The other host's slice is not reachable from here until this is put right.
    #[error("containers on the host at `{host}` cannot be reached: {reason}")]
    NextHop {
        /// The host's address.
        host: IpAddr,
        /// Why it cannot be a next hop.
        reason: String,
    },
    /// The setting is as it was.
    #[error("failed to set `{setting}` to `{value}`")]
    Setting {
        /// The name as sysctl prints it.
        setting: String,
        /// The value it should have.
        value: &'static str,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// The port is not listened on here, so that what the other program has there keeps working.
    #[error("published {protocol} port {address} is not listened on here: {holder} has it")]
    Taken {
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
        /// Address and port.
        address: SocketAddr,
        /// Who has it, in words.
        holder: String,
    },
    /// The port is not listened on.
    #[error("published port {address} is not listened on here: the kernel has no IPv6")]
    NoIpv6 {
        /// Address and port.
        address: SocketAddr,
    },
    /// The port is not listened on.
    #[error("published port {address}/sctp is not listened on here: the kernel has no SCTP")]
    NoSctp {
        /// Address and port.
        address: SocketAddr,
    },
    /// Containers on different hosts do not reach each other.
    #[error("Docker drops packets between hosts and has no `DOCKER-USER` chain to allow them in")]
    DockerNftables,
}

impl NetworkError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotRoot => Some("run the agent as root"),
            Self::Missing { .. } => {
                Some("install the package `nftables` (and `iproute2`) of your distribution")
            }
            Self::Overlap { .. } => Some(
                "choose another pool for the cluster with `muster init --pool`, or take that route \
                 away",
            ),
            Self::NoTun { .. } => Some(
                "load the module `tun` (in a container: give it /dev/net/tun), or, where all hosts are \
                 on one trusted layer-2 network, make the cluster with `muster init --overlay direct`",
            ),
            Self::NextHop { .. } => Some(
                "the `direct` overlay needs all hosts on one layer-2 network, each with an IPv4 address",
            ),
            Self::Setting { .. } => {
                Some("let the agent write to /proc/sys, or put the value into /etc/sysctl.d")
            }
            Self::Taken { .. } => Some("stop that program, or publish another port"),
            Self::DockerNftables => {
                Some("start the Docker daemon with `--firewall-backend=iptables`")
            }
            Self::NoIpv6 { .. } => {
                Some("start the kernel without `ipv6.disable`, or publish on an IPv4 address")
            }
            Self::NoSctp { .. } => {
                Some("load the module `sctp` (`modprobe sctp`) and restart the agent")
            }
            Self::NoDevice => Some(
                "the agent makes it again and again; if it stays away, load the module `tun` \
                 (in a container: give it /dev/net/tun)",
            ),
            Self::Program { .. } | Self::Kernel { .. } => None,
        }
    }

    /// The error with its causes and the hint on one line.
    fn words(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            words.push_str(": ");
            words.push_str(&error.to_string());
            cause = error.source();
        }
        if let Some(hint) = self.hint() {
            words.push_str(" (hint: ");
            words.push_str(hint);
            words.push(')');
        }
        words
    }
}

fn on(device: &Option<String>) -> String {
    device.as_ref().map(|device| format!(" on `{device}`")).unwrap_or_default()
}
