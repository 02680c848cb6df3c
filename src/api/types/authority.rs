//! What goes over the API about the cluster's authority.

use serde::{Deserialize, Serialize};

use crate::model::{HostId, Liveness};

/// `muster ca`, and the answer to `muster ca rotate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    /// From 1; one more with each rotation.
    pub number: u64,
    /// SHA-256 of its certificate, in hexadecimal.
    pub fingerprint: String,
    /// When its certificate begins, seconds since 1970.
    pub begins: u64,
    /// When it ends.
    pub ends: u64,
    /// Every member, and whether it has this one.
    pub hosts: Vec<AuthorityHost>,
}

/// One member of [`Authority`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuthorityHost {
    /// The host.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// What this agent thinks of it.
    pub liveness: Liveness,
    /// Whether it goes by this authority.
    pub has_it: bool,
}
