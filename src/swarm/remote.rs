//! An operator's side: a connection with whichever member answers first, and streams for the API.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, ConnectionError, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::clock::WallClock;
use super::connection::{BUSY, REFUSED};
use super::endpoint;
use super::identity::Credentials;
use super::stream::CallStream;
use super::tls::{self, ALPN_API, Ground, Members, Trust};
use super::transport::refuses;
use crate::model::HostId;

/// A member that has not answered by then may be dead: the next one is tried beside it.
const NEXT: Duration = Duration::from_millis(1500);
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_millis(100);
/// One attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Why no member serves this operator.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nothing answered at any address.
    #[error("nothing answers at UDP {}", list(.0))]
    Unreachable(Vec<SocketAddr>),
    /// The certificate is over.
    #[error("the certificate has expired")]
    Expired,
    /// The operator was removed.
    #[error("this operator was removed from the cluster")]
    Removed,
    /// The member has enough to do with others.
    #[error("the host at {0} serves too many operators already")]
    Busy(SocketAddr),
    /// Something answered, and one side refused the other.
    #[error("the host at {address} was refused, or refuses this operator")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke.
    #[error("the connection to {address} broke")]
    Lost {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key cannot be used, or there is no socket.
    #[error("cannot call the cluster")]
    Own(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn list(addresses: &[SocketAddr]) -> String {
    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    words.join(" or ")
}

/// A connection with one member.
#[derive(Debug, Clone)]
pub struct Remote {
    connection: Connection,
    host: HostId,
    endpoint: quinn::Endpoint,
}

impl Remote {
    /// Reaches one of `members`: the first one, and the next each time that none has answered for a
    /// moment. Only members that are known by their keys are believed.
    ///
    /// # Errors
    ///
    /// See [`RemoteError`].
    pub async fn reach(
        credentials: &Credentials,
        members: &[(HostId, SocketAddr)],
    ) -> Result<Self, RemoteError> {
        let config = config(credentials, members).map_err(RemoteError::Own)?;
        let addresses = || members.iter().map(|(_, address)| *address).collect();
        let (mut waiting, mut attempts) = (members.iter(), FuturesUnordered::new());
        let mut failure = None;
        loop {
            if let Some((host, address)) = waiting.next() {
                attempts.push(attempt(config.clone(), host.clone(), *address));
            } else if attempts.is_empty() {
                return Err(failure.unwrap_or_else(|| RemoteError::Unreachable(addresses())));
            }
            let pause = if waiting.len() > 0 { NEXT } else { ATTEMPT };
            // An attempt stays in the set until it has ended.
            match tokio::time::timeout(pause, attempts.next()).await {
                Ok(Some(Ok(remote))) => return Ok(remote),
                // A member that refuses is not got round by asking the next.
                Ok(Some(Err(error @ (RemoteError::Removed | RemoteError::Expired)))) => {
                    return Err(error);
                }
                Ok(Some(Err(RemoteError::Unreachable(_))) | None) | Err(_) => {}
                // Somebody else may have its address now.
                Ok(Some(Err(error))) => failure = Some(error),
            }
        }
    }

    /// The member that answers.
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// Whether the member goes by another authority than these credentials are of: it is time for a
    /// new certificate.
    pub fn has_other_authority(&self, credentials: &Credentials) -> bool {
        let shown = self.connection.peer_identity();
        let shown = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        !shown.is_some_and(|shown| shown.contains(credentials.authority()))
    }

    /// Whether it can still be used.
    pub fn is_live(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    /// Why the connection ended; none when it has not.
    pub fn end(&self) -> Option<RemoteError> {
        let address = self.connection.remote_address();
        self.connection.close_reason().map(|reason| failed(address, reason))
    }

    /// Ends the connection, so that it takes no place at the member until it is missed there.
    pub async fn close(self) {
        self.connection.close(VarInt::from_u32(0), b"done");
        // Only the word has to get out; nobody waits for the answer.
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }

    /// Opens a stream for one request of the API.
    ///
    /// # Errors
    ///
    /// When the connection has ended: the member may have refused this operator only now, as TLS
    /// lets the caller speak before it is judged.
    pub async fn open(&self) -> Result<CallStream, RemoteError> {
        let address = self.connection.remote_address();
        let opened = self.connection.open_bi().await;
        let (send, receive) = opened.map_err(|error| failed(address, error))?;
        Ok(CallStream::new(send, receive, Arc::new(self.clone())))
    }
}

fn config(
    credentials: &Credentials,
    members: &[(HostId, SocketAddr)],
) -> Result<quinn::ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
    let known = members.iter().map(|(host, _)| host.clone()).collect();
    // Nothing of these changes while a command runs.
    let (_, members) = watch::channel(Members { known, ..Members::default() });
    let (_, trust) = watch::channel(Trust::new(
        credentials.cluster(),
        credentials.authority(),
        &[],
        BTreeSet::new(),
    )?);
    let (_, shown) = watch::channel(Arc::new(credentials.certified()?));
    let ground = Ground { trust, shown, members, clock: WallClock::system() };
    Ok(endpoint::client_config(tls::client(&ground, ALPN_API)?)?)
}

async fn attempt(
    config: quinn::ClientConfig,
    host: HostId,
    address: SocketAddr,
) -> Result<Remote, RemoteError> {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let endpoint = quinn::Endpoint::client((local, 0).into())
        .map_err(|error| RemoteError::Own(error.into()))?;
    let unreachable = || RemoteError::Unreachable(vec![address]);
    let connecting = endpoint.connect_with(config, address, &tls::name_of(&host));
    let connecting = connecting.map_err(|error| {
        tracing::debug!(%address, %error, "cannot dial");
        unreachable()
    })?;
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(Ok(connection)) => Ok(Remote { connection, host, endpoint }),
        Ok(Err(ConnectionError::TimedOut)) | Err(_) => Err(unreachable()),
        Ok(Err(error)) => Err(failed(address, error)),
    }
}

fn failed(address: SocketAddr, error: ConnectionError) -> RemoteError {
    // TLS alerts as QUIC carries them (RFC 9001, 4.8; RFC 8446, 6).
    const REVOKED: u64 = 0x100 + 44;
    const EXPIRED: u64 = 0x100 + 45;
    match &error {
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == REVOKED => {
            RemoteError::Removed
        }
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == EXPIRED => {
            RemoteError::Expired
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == REFUSED => {
            RemoteError::Removed
        }
        ConnectionError::ApplicationClosed(close) if close.error_code == BUSY => {
            RemoteError::Busy(address)
        }
        error if refuses(error) => RemoteError::Refused { address, cause: error.clone().into() },
        error => RemoteError::Lost { address, cause: error.clone().into() },
    }
}
