//! What a Provider is asked, what it answers, and what else follows. Plain data.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Availability, HostId, HostNeed};

/// What the Provider is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub verb: Verb,
    /// Of which machine; none of a host that it did not add, and of no machine in particular.
    pub machine: Option<u64>,
    /// The host that is given back, and its name.
    pub host: Option<(HostId, String)>,
    /// What is missing.
    pub need: Option<HostNeed>,
    /// Why, for people.
    pub reason: String,
    /// The program.
    pub command: String,
    /// How long it may take.
    pub limit: Duration,
    /// How long a machine may take to join.
    pub join_within: Duration,
}

/// What can be asked of a Provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Get a machine that joins.
    Add,
    /// Take a machine away.
    Remove,
    /// Say which there are.
    List,
}

/// What a Provider answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Yes; and the machines that it has, where that was asked.
    Accepted(BTreeSet<u64>),
    /// No, and nothing was done.
    Refused {
        /// In its words.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Nothing that can be understood, or not in time: something may have been done.
    Unclear(String),
}

/// What follows for others than the Provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Follow {
    /// Run its program.
    Ask(Box<Ask>),
    /// This is wanted of a host.
    Want(HostId, Availability),
    /// A host is a member no more.
    Remove(HostId),
}
