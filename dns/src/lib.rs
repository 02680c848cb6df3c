//! A small DNS server whose zone is swapped whole and whose answers depend on who asks.
//!
//! Read in this order: [`zone`] holds the names, [`answer`](mod@answer) decides, both pure;
//! [`server`] carries questions and answers over UDP and TCP, [`forward`] asks the host's own
//! resolvers for names that are not ours. The crate never learns where names come from, never
//! writes to disk and spawns no task that outlives [`Server::run`].
//!
//! It has no names of its own but `localhost`. A program that can be asked for its version gives
//! each view a text, which stands beside any service of that name:
//!
//! ```
//! # use muster_dns::{ViewId, ZoneBuilder};
//! # let (view, mut zone) = (ViewId::new("shop"), ZoneBuilder::new(1));
//! zone.txt(&view, "version.example.internal", env!("CARGO_PKG_VERSION"));
//! # assert_eq!(zone.build().0.n_names(), 1);
//! ```

pub mod answer;
pub mod forward;
mod forwarders;
#[doc(hidden)]
pub mod fuzzing;
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
