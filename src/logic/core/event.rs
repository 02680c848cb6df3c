//! What goes into a core and what comes out of it. Plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::logic::fleet::{Ask, Reply};
use crate::logic::health::{Answer, Probe, ProbeId};
use crate::logic::operation::{Failure, Observation, Operation, OperationId};
use crate::logic::{Delta, Message};
use crate::model::{
    AppName, HostFacts, HostId, HostWanted, Measured, NameTable, NetworkIntent, Operator, Phase,
    Provider, Record, RunRequest, SealedRevision,
};

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The moment of [`super::Core::next_deadline`] has come.
    Timer,
    /// A message came from a host whose identity the transport has proved.
    Received {
        /// Who.
        from: HostId,
        /// From where.
        address: SocketAddr,
        /// What.
        message: Message,
    },
    /// Whether the kernel of a host answered a knock.
    Knocked {
        /// Whose.
        host: HostId,
        /// Whether.
        answered: bool,
    },
    /// What this host is has changed.
    Facts(Box<HostFacts>),
    /// What the engine holds now.
    Observed(Observation),
    /// An operation is so far.
    Progress(OperationId, Phase),
    /// An operation ended; [`Event::Observed`] with what it changed came before.
    Finished(OperationId, Result<(), Failure>),
    /// A question to a replica was answered.
    Answered(ProbeId, Answer),
    /// A host joined here.
    Joined(HostId, SocketAddr),
    /// Somebody removed a host from the cluster for good, here; or a member told this host that it
    /// was removed itself.
    Removed(HostId),
    /// Somebody asked something of a host, here.
    Wanted(HostId, HostWanted),
    /// Somebody asked here for something to be run.
    Asked(AppName, RunRequest),
    /// Somebody was let in here to work on the cluster from elsewhere, by the id of the key.
    LetIn(HostId, Operator),
    /// Somebody changed an App here, at its Home.
    Submitted(Box<SealedRevision>),
    /// Rows and Revisions came another way than as a message.
    Learned(Box<Delta>),
    /// What was measured here for the rules of Apps, all of it.
    Measured(BTreeMap<AppName, Measured>),
    /// The kernel is as [`Effect::Network`] told it to be.
    InPlace(Box<NetworkIntent>),
    /// Somebody asked here for this Provider.
    Provider(Provider),
    /// The program of the Provider is here, or none is.
    Provides(Option<String>),
    /// The Provider's program answered.
    Provided(Box<Ask>, Reply),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Write to disk before any later [`Effect::Send`] leaves.
    Persist {
        /// What.
        record: Record,
        /// Whether it must survive a power cut from here on.
        durable: bool,
    },
    /// Send a message.
    Send {
        /// To whom.
        to: HostId,
        /// Where.
        address: SocketAddr,
        /// What.
        message: Message,
    },
    /// See whether a host's kernel answers and report with [`Event::Knocked`].
    Knock {
        /// Whose.
        to: HostId,
        /// Where its agent listens.
        address: SocketAddr,
    },
    /// Carry out an operation and report with [`Event::Finished`].
    Execute(OperationId, Operation),
    /// Ask a replica how it is.
    Probe(Probe),
    /// Make the kernel do this, and report with [`Event::InPlace`].
    Network(NetworkIntent),
    /// Answer these names.
    Names(Arc<NameTable>),
    /// These hosts are members.
    Know(BTreeSet<HostId>),
    /// Run the Provider's program, and report with [`Event::Provided`].
    Provide(Box<Ask>),
    /// Let these hosts in no more, and end the connections with them.
    Refuse(BTreeSet<HostId>),
}
