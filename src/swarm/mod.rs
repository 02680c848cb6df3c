//! Hosts talking to each other: who a host is, how one joins, QUIC between them, and the store on
//! each disk. Decides nothing about Apps: bytes go in and out, the agent gives them meaning.
//!
//! The only user of quinn, rustls, rcgen and x509-parser. Reading order:
//!
//! 1. [`identity`]: the key and the certificate of this host, and the cluster's authority; [`clock`]
//!    is what its dates go by.
//! 2. [`token`]: the text that lets one host join. [`tokens`]: the list the issuer keeps of them.
//! 3. [`store`]: what outlives the agent. [`audit`]: who changed what on this host.
//! 4. [`tls`]: who may speak to whom. [`endpoint`]: limits of QUIC.
//! 5. [`transport`]: messages, requests and streams to a host by its id. [`peer`] dials,
//!    [`connection`] reads.
//! 6. [`join`]: both sides of joining.

mod clock;
mod identity;
mod token;

mod audit;
pub mod store;
mod tokens;

mod endpoint;
mod tls;

mod connection;
mod peer;
mod stream;
mod transport;

mod knock;

mod join;

#[cfg(test)]
mod testing;

pub use audit::{Audit, Checked, Entry, Mutation};
pub use clock::WallClock;
pub use identity::{Identity, IdentityError};
pub use join::{JoinAsk, JoinError, JoinHello, JoinRefused, Joined, join};
pub use knock::knock;
pub use store::{Durability, Saved, Store, StoreError};
pub use stream::{RecvStream, SendStream};
pub use token::{Secret, Token, TokenError};
pub use tokens::{RedeemError, Terms, Tokens};
pub use transport::{Incoming, MESSAGE_MAX, Transport, TransportError, TransportStart};
