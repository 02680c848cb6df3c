//! A small DNS server whose zone is swapped whole and whose answers depend on who asks.
//!
//! Read in this order: [`zone`] holds the names, [`answer`](mod@answer) decides, both pure;
//! [`server`] carries questions and answers over UDP and TCP, [`forward`] asks the host's own
//! resolvers for names that are not ours. The crate never learns where names come from, never
//! writes to disk and spawns no task that outlives [`Server::run`].

pub mod answer;
pub mod forward;
mod limit;
pub mod network;
pub mod server;
mod shared;
mod tcp;
mod udp;
mod wire;
pub mod zone;

pub use hickory_proto;

pub use crate::answer::{Answer, Refusal, answer};
pub use crate::forward::{ForwardError, ForwardOptions, Forwarder, Upstreams, host_upstreams};
pub use crate::limit::SOURCES_MAX;
pub use crate::network::{Network, NetworkError};
pub use crate::server::{BindError, Config, Counts, Handle, Limits, Server, Transport};
pub use crate::zone::{Problem, Srv, ViewId, Zone, ZoneBuilder};
