//! What one agent asks of another, beside the messages of the core: requests with one answer, and
//! long streams. JSON, so that old and new agents can talk.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::consoles::Order;
use crate::api::{ApiError, EventsQuery, Found, HostStats, LogsQuery, SubmitRequest, Submitted};
use crate::logic::Delta;
use crate::model::{AppName, PublishedPort};
use crate::swarm::{By, Succession};

/// A request with one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// To the Home of the App: make this its Revision.
    Submit(Box<SubmitRequest>),
    /// The same, for an operator who asked the other host for it.
    SubmitFor(By, Box<SubmitRequest>),
    /// Keep these Rows and Revisions on disk before answering.
    Store(Box<Delta>),
    /// Which of these ports could not be listened on?
    CheckPorts(Vec<PublishedPort>),
    /// Which of these addresses are yours?
    CheckAddresses(BTreeSet<IpAddr>),
    /// Do you have this image? Somebody may just have put it there.
    CheckImage(String),
    /// What does your clock say?
    Clock,
    /// Go by this authority from now on, unless yours counts.
    Authority(Box<Succession>),
    /// What does this App take at yours?
    Stats(AppName),
    /// What do you find out about your ways to the others?
    Paths,
}

impl Request {
    /// For the audit log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Submit(_) | Self::SubmitFor(..) => "submit",
            Self::Store(_) => "store",
            Self::CheckPorts(_) => "check ports",
            Self::CheckAddresses(_) => "check addresses",
            Self::CheckImage(_) => "check image",
            Self::Clock => "clock",
            Self::Authority(_) => "authority",
            Self::Stats(_) => "stats",
            Self::Paths => "paths",
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// To [`Request::Submit`] and [`Request::SubmitFor`].
    Submitted(Submitted),
    /// To [`Request::Store`] and [`Request::Authority`].
    Stored,
    /// To [`Request::CheckPorts`]: the ports, and who has them in words.
    PortsTaken(Vec<(PublishedPort, String)>),
    /// To [`Request::CheckAddresses`]: those that are.
    AddressesHeld(BTreeSet<IpAddr>),
    /// To [`Request::CheckImage`].
    ImageHere(bool),
    /// To [`Request::Clock`]: milliseconds since 1970.
    Clock(u64),
    /// To [`Request::Stats`].
    Stats(Box<HostStats>),
    /// To [`Request::Paths`].
    Paths(Box<Found>),
    /// It was refused.
    Refused(ApiError),
}

/// What a long stream is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Header {
    /// "Send me this image."
    Image {
        /// Its reference.
        reference: String,
    },
    /// "Send me what these containers of yours write": JSON lines.
    Logs(LogsQuery),
    /// "Tell me what happens at yours": JSON lines.
    Events(EventsQuery),
    /// "Put me in front of this program of yours": frames, in both directions.
    Console(Box<Order>),
}

/// How a stream of bytes ended, told in its last bytes: QUIC cannot tell a sender that failed
/// from one that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was sent.
    Complete,
    /// The sender could not go on.
    Failed,
}

impl Outcome {
    /// Bytes of the trailer.
    pub(super) const LENGTH: usize = 8;

    /// The last bytes of a stream.
    pub(super) fn trailer(self) -> [u8; Self::LENGTH] {
        match self {
            Self::Complete => *b"complete",
            Self::Failed => *b"failed!!",
        }
    }

    /// Reads the last bytes of a stream.
    ///
    /// # Errors
    ///
    /// In words, when not all was sent.
    pub(super) fn from_trailer(bytes: &[u8]) -> Result<(), String> {
        if bytes == Self::Complete.trailer() {
            Ok(())
        } else if bytes == Self::Failed.trailer() {
            Err("it could not read it".to_owned())
        } else {
            Err("the transfer broke off".to_owned())
        }
    }
}

/// As bytes for the wire.
pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("wire types hold only strings, numbers and maps"))
}

/// Writes a value as a line of JSON.
///
/// # Errors
///
/// When the reader has gone.
pub(super) async fn write_line<T: Serialize>(
    to: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> std::io::Result<()> {
    let mut json = Vec::from(encode(value));
    json.push(b'\n');
    to.write_all(&json).await
}

/// From the wire.
///
/// # Errors
///
/// When the bytes are not such a value, as a newer agent may send.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}
