//! Joining a cluster: a host that has a token asks its issuer for a certificate.
//!
//! One QUIC connection, one stream, one question, one answer. The token's pin proves the issuer;
//! the secret proves the invitation; a signature over a value that only this TLS session has
//! proves that the host holds the key it asks a certificate for. What the agent adds to the answer
//! (the pool, the slice, the members) is opaque here.

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
use super::identity::{Admission, HostKey, Identity, IdentityError};
use super::tls::{self, JOIN_NAME, PinVerifier};
use super::token::Token;
use super::transport::{MESSAGE_MAX, refuses};
use crate::model::HostId;

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

/// Why a host did not join. Nothing was changed on it; whether the token is spent is said.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No answer at any address of the token, which is not spent.
    #[error("nothing answers at UDP {}", list(addresses))]
    Unreachable {
        /// Where it was tried.
        addresses: Vec<SocketAddr>,
    },
    /// The token is of another cluster than the host that answered. It is not spent.
    #[error("the host at {address} belongs to another cluster than the token")]
    OtherCluster {
        /// Who answered.
        address: SocketAddr,
    },
    /// Something answered that is no member, or does not speak this protocol.
    #[error("the host at {address} did not prove that it is a member of the cluster")]
    Untrusted {
        /// Who answered.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: ConnectionFailure,
    },
    /// The issuer does not know the token.
    #[error("the host at {address} does not know this token")]
    Unknown {
        /// Who answered.
        address: SocketAddr,
    },
    /// The token is spent.
    #[error("this token was already used")]
    Used,
    /// The token's time is over.
    #[error("this token has expired")]
    Expired,
    /// The other side speaks another version. The token is not spent.
    #[error("the host at {address} speaks version {theirs} of joining, this one {VERSION}")]
    Version {
        /// Who answered.
        address: SocketAddr,
        /// What it speaks.
        theirs: u32,
    },
    /// The issuer cannot admit hosts now. The token is not spent.
    #[error("the host at {address} cannot admit hosts: {reason}")]
    Unable {
        /// Who answered.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The cluster does not take this host. The token is not spent.
    #[error("{}", .0.message)]
    Refused(JoinRefused),
    /// The connection broke, or the answer was nonsense: the token may be spent.
    #[error("the host at {address} gave no usable answer: {reason}")]
    Broken {
        /// Who answered.
        address: SocketAddr,
        /// What happened.
        reason: String,
    },
    /// No socket.
    #[error("cannot open a UDP socket")]
    Socket(#[source] std::io::Error),
    /// No key.
    #[error("cannot make a key")]
    Key(#[from] IdentityError),
}

/// Why a connection was not made, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionFailure(String);

impl JoinError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unreachable { addresses } => {
                let port = addresses.first().map_or(crate::config::DEFAULT_PORT, SocketAddr::port);
                return Some(format!(
                    "see whether the agent runs there, and whether a firewall on either host or \
                     in between lets UDP port {port} through"
                ));
            }
            Self::OtherCluster { .. } => {
                "make a token with `muster token create` on a host of the cluster you mean"
            }
            Self::Untrusted { .. } | Self::Version { .. } => {
                "see whether the same version of muster runs on both hosts"
            }
            Self::Unknown { .. } => {
                "only the host that made a token can redeem it: make one there with `muster token create`"
            }
            Self::Used | Self::Expired => {
                "each token lets one host join, for a limited time: make a new one with \
                 `muster token create`"
            }
            Self::Unable { .. } => "try the same token again; the log of the agent there says more",
            Self::Broken { .. } => "try again with a new token from `muster token create`",
            Self::Refused(refused) => return refused.hint.clone(),
            Self::Socket(_) | Self::Key(_) => return None,
        };
        Some(text.to_owned())
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

/// The question.
#[derive(Serialize, Deserialize)]
struct Question {
    version: u32,
    secret: String,
    public_key: String,
    proof: String,
    #[serde(default)]
    name: Option<String>,
    port: u16,
    #[serde(default)]
    advertise: Option<SocketAddr>,
    #[serde(default)]
    agent_version: String,
}

/// The answer.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Admitted(Box<Admitted>),
    Unknown,
    Used,
    Expired,
    Version(u32),
    Unable(String),
    Refused(JoinRefused),
}

#[derive(Serialize, Deserialize)]
struct Admitted {
    admission: Admission,
    issuer: HostId,
    address: SocketAddr,
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
    let answer = tokio::time::timeout(ANSWER, put_question(&connection, token, &key, ask));
    let answer = answer.await.unwrap_or_else(|_| Err("it took too long".to_owned()));
    let result = match answer {
        Ok(answer) => judge(token, key, address, answer),
        Err(_) if is_busy(&connection) => {
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

async fn put_question(
    connection: &Connection,
    token: &Token,
    key: &HostKey,
    ask: JoinAsk,
) -> Result<Answer, String> {
    let message = proof_message(connection, key.public()).ok_or("it has no TLS session")?;
    let proof = key.sign(&message).map_err(|error| error.to_string())?;
    let JoinAsk { name, port, advertise, agent_version } = ask;
    let question = Question {
        version: VERSION,
        secret: HEXLOWER.encode(&token.secret.0),
        public_key: BASE64.encode(key.public()),
        proof: BASE64.encode(&proof),
        name,
        port,
        advertise,
        agent_version,
    };
    let question = serde_json::to_vec(&question).expect("strings and numbers");
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(&question).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    let answer = receive.read_to_end(MESSAGE_MAX).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer).map_err(|error| error.to_string())
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
        Answer::Unknown => return Err(JoinError::Unknown { address }),
        Answer::Used => return Err(JoinError::Used),
        Answer::Expired => return Err(JoinError::Expired),
        Answer::Version(theirs) => return Err(JoinError::Version { address, theirs }),
        Answer::Unable(reason) => return Err(JoinError::Unable { address, reason }),
        Answer::Refused(refused) => return Err(JoinError::Refused(refused)),
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
