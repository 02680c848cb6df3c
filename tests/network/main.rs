//! The network room against a real kernel: three machines and their containers, each a network
//! namespace of its own, so nothing of this machine's network is touched. Needs root, `ip`, `nft`
//! and `iptables`; with `MUSTER_SKIP_CLUSTER=1` the tests say that they are skipped instead.
//!
//! ```text
//!            client 10.99.0.9
//!                 |
//!   ------------- switch 10.99.0.0/24 -------------
//!   |                                             |
//! host A 10.99.0.1                       host B 10.99.0.2
//!   mst0: a1 .66, a2 .67                   mst0: b1 .66
//!   mst1: a3 .130                          slice 10.208.16.0/20
//!   slice 10.208.0.0/20
//! ```

#![expect(clippy::unwrap_used, reason = "what fails here fails the test, and says where")]

mod lab;
mod mending;
mod publishing;
mod seeing;
mod services;
