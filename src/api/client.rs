//! An agent's API as methods, over its unix socket or as an operator from elsewhere. One connection a
//! request.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{ApiError, ErrorKind};
use crate::supervisor::Supervisor;
use crate::telemetry::chain;

mod calls;
mod consoles;

/// For answers an agent has at hand.
const ASK: Duration = Duration::from_secs(10);
/// For answers that other hosts or a registry have a part in.
const WORK: Duration = Duration::from_secs(120);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no agent answers on `{}`", socket.display())]
    NoAgent {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket is not for this user.
    #[error("not allowed to use the agent's socket `{}`", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The agent took too long; it may still do what was asked.
    #[error("{agent} did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// Which, in words.
        agent: String,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke; the agent may still do what was asked.
    #[error("{agent} broke off: {detail}")]
    Broken {
        /// Which, in words.
        agent: String,
        /// What was seen.
        detail: String,
    },
    /// No member of a cluster elsewhere serves this operator. Nothing was asked, or it is not known
    /// whether that was done.
    #[error("{way}: {detail}")]
    Away {
        /// Which way was tried, in words.
        way: String,
        /// Why.
        detail: String,
        /// What to do about it.
        hint: Option<String>,
        /// Whether it is the user's to mend.
        is_ours: bool,
    },
    /// The agent answered with an error.
    #[error("{0}")]
    Refused(ApiError),
}

impl ClientError {
    /// Whether the agent says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(error) if error.kind == ErrorKind::NotFound)
    }
}

/// Bytes in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Another way to an agent than a socket on this machine.
#[async_trait]
pub trait Connect: fmt::Debug + Send + Sync {
    /// The agent that answers, or will, in words.
    fn agent(&self) -> String;
    /// A connection for one request.
    async fn connect(&self) -> Result<Box<dyn Duplex>, ClientError>;
    /// Why the last connection ended, where that is known better than from what HTTP saw of it.
    fn end(&self) -> Option<ClientError>;
}

/// How an agent is reached.
#[derive(Debug, Clone)]
enum Way {
    Socket(PathBuf),
    Elsewhere(Arc<dyn Connect>),
}

/// Asks one agent.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    connections: Supervisor,
}

impl Client {
    /// A client of the agent on `socket`. Nothing is asked yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { way: Way::Socket(socket.into()), connections: Supervisor::new() }
    }

    /// A client of an agent elsewhere. Nothing is asked yet.
    pub fn elsewhere(connect: Arc<dyn Connect>) -> Self {
        Self { way: Way::Elsewhere(connect), connections: Supervisor::new() }
    }

    /// The socket; none when the agent is elsewhere.
    pub fn socket(&self) -> Option<&Path> {
        match &self.way {
            Way::Socket(socket) => Some(socket),
            Way::Elsewhere(_) => None,
        }
    }
}

impl Client {
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let request = || {
            let request = Request::builder().uri(path).body(whole(Bytes::new()));
            request.expect("the path is escaped")
        };
        match (self.read(request(), limit).await, &self.way) {
            // A member may have gone; there are others, and nothing is done twice by looking.
            (Err(ClientError::Broken { .. }), Way::Elsewhere(_)) => {
                self.read(request(), limit).await
            }
            (answer, _) => answer,
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        limit: Duration,
    ) -> Result<T, ClientError> {
        self.read(post_json(path, body), limit).await
    }

    async fn read<T: DeserializeOwned>(
        &self,
        request: Request<Body>,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let all = async {
            let response = self.send(request, None).await?;
            let bytes = response.into_body().collect().await;
            let bytes = bytes.map_err(|error| self.broken(&error))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| self.broken(&error))
        };
        timeout(limit, all).await.map_err(|_| self.timed_out(limit))?
    }

    /// Sends and waits for the head of the answer; an answer that is an error becomes one.
    async fn send(
        &self,
        request: Request<Body>,
        limit: Option<Duration>,
    ) -> Result<Response<Incoming>, ClientError> {
        let sent = async {
            let stream = self.connect().await?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.map_err(|error| self.broken(&error))?;
            // It ends with the connection; its error is the request's as well.
            self.connections.spawn("api-client", async {
                let _ = connection.await;
            });
            sender.send_request(request).await.map_err(|error| self.broken(&error))
        };
        let response = match limit {
            Some(limit) => timeout(limit, sent).await.map_err(|_| self.timed_out(limit))??,
            None => sent.await?,
        };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| self.broken(&error))?;
        match serde_json::from_slice(&bytes.to_bytes()) {
            Ok(error) => Err(ClientError::Refused(error)),
            Err(_) => Err(ClientError::Broken {
                agent: self.agent(),
                detail: format!("it answered with HTTP status {status}"),
            }),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Duplex>, ClientError> {
        let socket = match &self.way {
            Way::Socket(socket) => socket.clone(),
            Way::Elsewhere(connect) => return connect.connect().await,
        };
        match UnixStream::connect(&socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NoAgent { socket }
                }
                io::ErrorKind::PermissionDenied => ClientError::Denied { socket },
                // `ErrorKind` is the standard library's and open-ended.
                _ => self.broken(&error),
            }),
        }
    }

    fn agent(&self) -> String {
        match &self.way {
            Way::Socket(socket) => format!("the agent on `{}`", socket.display()),
            Way::Elsewhere(connect) => connect.agent(),
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> ClientError {
        let end = match &self.way {
            Way::Socket(_) => None,
            Way::Elsewhere(connect) => connect.end(),
        };
        end.unwrap_or_else(|| ClientError::Broken { agent: self.agent(), detail: chain(error) })
    }

    fn timed_out(&self, limit: Duration) -> ClientError {
        ClientError::TimedOut { agent: self.agent(), limit }
    }
}

fn post_json(path: &str, body: &impl Serialize) -> Request<Body> {
    let json = serde_json::to_vec(body).expect("the API's types are strings, numbers and maps");
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-type", "application/json")
        .body(whole(Bytes::from(json)))
        .expect("the path is a constant")
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn pieces(
    response: Response<Incoming>,
) -> impl futures_util::Stream<Item = Result<Bytes, String>> + Send + Unpin + 'static {
    BodyStream::new(response.into_body()).map(|frame| match frame {
        Ok(frame) => Ok(frame.into_data().unwrap_or_default()),
        Err(error) => Err(chain(&error)),
    })
}

/// Percent-encodes what is not plain in a path or a query.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_path_is_escaped() {
        assert_eq!(escape("shop_1"), "shop_1");
        assert_eq!(escape("a/b:c@d e"), "a%2Fb%3Ac%40d%20e");
        assert_eq!(escape("ü"), "%C3%BC");
    }
}
