//! Hosts talking to each other: who a host is, how one joins, QUIC between them, and the store on
//! each disk. Decides nothing about Apps: bytes go in and out, the agent gives them meaning.
//!
//! The only user of quinn, rustls, rcgen and x509-parser. Reading order:
//!
//! 1. [`identity`]: the key and the certificate of this host, and the cluster's authority; [`clock`]
//!    is what its dates go by.
//! 2. [`token`]: the text that lets one host or operator in. [`tokens`]: the list the issuer keeps of them.
//! 3. [`store`]: what outlives the agent. [`audit`]: who changed what on this host.
//! 4. [`tls`]: who may speak to whom. [`endpoint`]: limits of QUIC.
//! 5. [`transport`]: messages, requests and streams to a host by its id. [`peer`] dials,
//!    [`connection`] reads.
//! 6. [`mod@join`]: both sides of joining, for hosts and for operators.
//! 7. [`people`]: the connections of operators. [`remote`] is their side.
//! 8. [`tunnel`]: packets of containers between members.

mod clock;
mod identity;
mod private;
mod token;

mod audit;
pub mod store;
mod tokens;

mod endpoint;
mod tls;

mod connection;
mod peer;
mod stream;
mod thread;
mod transport;
mod tunnel;

mod knock;

mod join;

mod open;
mod people;
mod remote;

#[cfg(test)]
mod testing;

pub use audit::{Audit, By, Checked, Entry, Mutation};
pub use clock::WallClock;
pub use identity::{Credentials, Grant, Identity, IdentityError, Succession};
pub use join::{Enrolled, JoinAsk, JoinError, JoinHello, JoinRefused, Joined, enrol, join};
pub use knock::knock;
pub use people::Caller;
pub use private::write_private;
pub use remote::{Remote, RemoteError};
pub use store::{Durability, Saved, Store, StoreError};
pub use stream::{CallStream, RecvStream, SendStream};
pub use token::{Secret, Token, TokenError};
pub use tokens::{Invitation, Purpose, RedeemError, Terms, Tokens};
pub use transport::{Incoming, MESSAGE_MAX, Transport, TransportError, TransportStart};
pub use tunnel::{Tunnel, Unsent};
