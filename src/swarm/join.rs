//! Joining a cluster: a host that has a token asks its issuer for a certificate.
//!
//! One QUIC connection, one stream, one question, one answer. The token's pin proves the issuer;
//! the secret proves the invitation; a signature over a value that only this TLS session has
//! proves that the host holds the key it asks a certificate for. What the agent adds to the answer
//! (the pool, the slice, the members) is opaque here.

mod enrol;
mod error;
mod issuer;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, ConnectionError, VarInt};
use serde::{Deserialize, Serialize};

use super::connection::BUSY;
use super::endpoint;
use super::identity::{Admission, Grant, HostKey, Identity};
use super::tls::{self, JOIN_NAME, PinVerifier};
use super::token::Token;
use super::transport::{MESSAGE_MAX, refuses};
use crate::model::HostId;

pub use enrol::{Enrolled, enrol};
use error::ConnectionFailure;
pub use error::JoinError;
pub(super) use issuer::Issuer;

/// Form of question and answer.
const VERSION: u32 = 1;
/// A host that does not answer within this time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// The issuer writes to its disk and asks the agent.
const ANSWER: Duration = Duration::from_secs(30);
/// What the proof is derived from (RFC 5705).
const EXPORTER: &[u8] = b"EXPORTER-muster-join-1";

/// What a host says of itself when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAsk {
    /// The name it wants, if any.
    pub name: Option<String>,
    /// UDP port its agent will listen on.
    pub port: u16,
    /// Where others reach it, when it is not where the issuer sees it.
    pub advertise: Option<SocketAddr>,
    /// Its agent's version, for people.
    pub agent_version: String,
}

/// A host that wants to join, as the issuer's agent is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinHello {
    /// Its id, by the key it proved to hold.
    pub host: HostId,
    /// The name it wants, if any. Not checked.
    pub name: Option<String>,
    /// Its agent's version. Not checked.
    pub agent_version: String,
}

/// Why the issuer's agent does not take a host, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRefused {
    /// What is wrong.
    pub message: String,
    /// What a person can do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// A host that was admitted. It is a member once [`Identity::save`] returned.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What it is now; not on disk yet.
    pub identity: Identity,
    /// Where others will reach it.
    pub address: SocketAddr,
    /// Who admitted it.
    pub issuer: HostId,
    /// Where the issuer listens.
    pub issuer_address: SocketAddr,
    /// What the issuer's agent said.
    pub welcome: Bytes,
}

/// The question.
#[derive(Serialize, Deserialize)]
struct Question {
    version: u32,
    #[serde(flatten)]
    proof: Proof,
    #[serde(default)]
    name: Option<String>,
    port: u16,
    #[serde(default)]
    advertise: Option<SocketAddr>,
    #[serde(default)]
    agent_version: String,
}

/// What every question begins with.
#[derive(Serialize, Deserialize)]
struct Proof {
    secret: String,
    public_key: String,
    /// A signature over what only this TLS session has.
    proof: String,
}

impl Proof {
    fn make(connection: &Connection, token: &Token, key: &HostKey) -> Result<Self, String> {
        let message = proof_message(connection, key.public()).ok_or("it has no TLS session")?;
        let proof = key.sign(&message).map_err(|error| error.to_string())?;
        Ok(Self {
            secret: HEXLOWER.encode(&token.secret.0),
            public_key: BASE64.encode(key.public()),
            proof: BASE64.encode(&proof),
        })
    }
}

/// The answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Admitted(Box<Admitted>),
    Granted(Box<Granted>),
    Unknown,
    Used,
    Expired,
    /// What it is for, in words.
    OtherPurpose(String),
    Version(u32),
    Unable(String),
    Refused(JoinRefused),
}

impl Answer {
    /// An answer that is not the one that was hoped for.
    fn refusal(self, address: SocketAddr) -> JoinError {
        match self {
            Self::Unknown => JoinError::Unknown { address },
            Self::Used => JoinError::Used,
            Self::Expired => JoinError::Expired,
            Self::OtherPurpose(words) => JoinError::OtherPurpose(words),
            Self::Version(theirs) => JoinError::Version { address, theirs },
            Self::Unable(reason) => JoinError::Unable { address, reason },
            Self::Refused(refused) => JoinError::Refused(refused),
            Self::Admitted(_) | Self::Granted(_) => {
                let reason = "it answered another question".to_owned();
                JoinError::Broken { address, reason }
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Admitted {
    admission: Admission,
    issuer: HostId,
    address: SocketAddr,
    welcome: String,
}

/// What an operator is given.
#[derive(Serialize, Deserialize)]
struct Granted {
    grant: Grant,
    issuer: HostId,
    welcome: String,
}

/// What the proof signs: it is different in every TLS session.
fn proof_message(connection: &Connection, public_key: &[u8]) -> Option<Vec<u8>> {
    let mut message = vec![0; 32];
    connection.export_keying_material(&mut message, EXPORTER, public_key).ok()?;
    Some(message)
}

/// Joins the cluster of `token`. Writes nothing to disk.
///
/// # Errors
///
/// See [`JoinError`].
pub async fn join(token: &Token, ask: JoinAsk) -> Result<Joined, JoinError> {
    let key = HostKey::make()?;
    let (connection, address) = connect(token).await?;
    let question = Proof::make(&connection, token, &key).map(|proof| {
        let JoinAsk { name, port, advertise, agent_version } = ask;
        let question = Question { version: VERSION, proof, name, port, advertise, agent_version };
        serde_json::to_vec(&question).expect("strings and numbers")
    });
    let answer = converse(&connection, address, question).await;
    answer.and_then(|answer| judge(token, key, address, answer))
}

/// Puts the question, and ends the connection.
async fn converse(
    connection: &Connection,
    address: SocketAddr,
    question: Result<Vec<u8>, String>,
) -> Result<Answer, JoinError> {
    let asked = async {
        let question = question?;
        let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
        send.write_all(&question).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        let answer = receive.read_to_end(MESSAGE_MAX).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    };
    let answer = tokio::time::timeout(ANSWER, asked);
    let answer = answer.await.unwrap_or_else(|_| Err("it took too long".to_owned()));
    let result = match answer {
        Ok(answer) => Ok(answer),
        Err(_) if is_busy(connection) => {
            Err(JoinError::Unable { address, reason: "too many hosts join at once".to_owned() })
        }
        Err(reason) => Err(JoinError::Broken { address, reason }),
    };
    connection.close(VarInt::from_u32(0), b"done");
    result
}

/// Whether the issuer closed the connection before it looked at the question.
fn is_busy(connection: &Connection) -> bool {
    matches!(
        connection.close_reason(),
        Some(ConnectionError::ApplicationClosed(close)) if close.error_code == BUSY
    )
}

fn judge(
    token: &Token,
    key: HostKey,
    address: SocketAddr,
    answer: Answer,
) -> Result<Joined, JoinError> {
    let broken = |reason: String| JoinError::Broken { address, reason };
    let admitted = match answer {
        Answer::Admitted(admitted) => admitted,
        other => return Err(other.refusal(address)),
    };
    let identity =
        Identity::admitted(key, &admitted.admission).map_err(|error| broken(error.to_string()))?;
    if identity.pin() != token.pin {
        return Err(broken("its authority is not the one of the token".to_owned()));
    }
    let welcome = BASE64.decode(admitted.welcome.as_bytes()).map_err(|e| broken(e.to_string()))?;
    Ok(Joined {
        identity,
        address: admitted.address,
        issuer: admitted.issuer,
        issuer_address: address,
        welcome: Bytes::from(welcome),
    })
}

/// Dials all addresses of the token at once and takes the first that is the cluster's.
async fn connect(token: &Token) -> Result<(Connection, SocketAddr), JoinError> {
    let mut attempts = FuturesUnordered::new();
    for address in &token.addresses {
        attempts.push(attempt(*address, token.pin));
    }
    let mut failure = None;
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(connected) => return Ok(connected),
            Err(error @ JoinError::Unreachable { .. }) => {
                failure.get_or_insert(error);
            }
            // That something answered tells more than that something else did not.
            Err(error) => failure = Some(error),
        }
    }
    let unreachable = || JoinError::Unreachable { addresses: token.addresses.clone() };
    Err(match failure {
        None | Some(JoinError::Unreachable { .. }) => unreachable(),
        Some(error) => error,
    })
}

async fn attempt(
    address: SocketAddr,
    pin: [u8; 32],
) -> Result<(Connection, SocketAddr), JoinError> {
    let unreachable = || JoinError::Unreachable { addresses: vec![address] };
    let verifier = Arc::new(PinVerifier::new(pin));
    let config = tls::joiner(Arc::clone(&verifier)).map_err(|error| error.to_string());
    let config = config.and_then(|c| endpoint::client_config(c).map_err(|e| e.to_string()));
    let untrusted =
        |reason: String| JoinError::Untrusted { address, cause: ConnectionFailure(reason) };
    let config = config.map_err(untrusted)?;
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let from = quinn::Endpoint::client(local).map_err(JoinError::Socket)?;
    let connecting = from.connect_with(config, address, JOIN_NAME).map_err(|error| {
        tracing::debug!(%address, %error, "cannot dial");
        unreachable()
    })?;
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(Ok(connection)) => Ok((connection, address)),
        Ok(Err(_)) if verifier.met_another_cluster() => Err(JoinError::OtherCluster { address }),
        Ok(Err(error)) if refuses(&error) => Err(untrusted(error.to_string())),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err(unreachable()),
        Ok(Err(error)) => Err(JoinError::Broken { address, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
