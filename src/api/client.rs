//! An agent's API as methods, over its unix socket. One connection a request.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{BUILD_HEADER, BuildOptions, decode_items};
use super::{
    ApiError, AppDetail, AppSummary, AuditLog, ErrorKind, EventsQuery, Happening, HostChange,
    HostChanged, HostDetail, HostPlan, ImageKnown, InitRequest, JoinRequest, LogLine, LogsQuery,
    Node, PeerReport, PlanPreview, Removal, RemoveRequest, Status, SubmitRequest, Submitted, Token,
    TokenRequest,
};
use crate::docker::{BoxStream, BuildImage};
use crate::model::{AppName, SealedRevision};
use crate::supervisor::Supervisor;
use crate::telemetry::chain;

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
    #[error("the agent on `{}` did not answer within {} s", socket.display(), limit.as_secs())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// The connection broke; the agent may still do what was asked.
    #[error("the agent on `{}` broke off: {detail}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// What was seen.
        detail: String,
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

/// Asks the agent on one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    connections: Supervisor,
}

impl Client {
    /// A client of the agent on `socket`. Nothing is asked yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), connections: Supervisor::new() }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// [`super::Backend::status`].
    ///
    /// # Errors
    ///
    /// This and the other methods: no answer, or the agent's own error.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status", ASK).await
    }

    /// [`super::Backend::init`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn init(&self, request: &InitRequest) -> Result<Status, ClientError> {
        self.post("/v1/init", request, WORK).await
    }

    /// [`super::Backend::join`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn join(&self, request: &JoinRequest) -> Result<Status, ClientError> {
        self.post("/v1/join", request, WORK).await
    }

    /// [`super::Backend::create_token`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn create_token(&self, request: &TokenRequest) -> Result<Token, ClientError> {
        self.post("/v1/tokens", request, ASK).await
    }

    /// [`super::Backend::nodes`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        self.get("/v1/nodes", ASK).await
    }

    /// [`super::Backend::peers`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn peers(&self) -> Result<Vec<PeerReport>, ClientError> {
        self.get("/v1/peers", WORK).await
    }

    /// [`super::Backend::host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn host(&self, host: &str) -> Result<HostDetail, ClientError> {
        self.get(&format!("/v1/nodes/{}", escape(host)), ASK).await
    }

    /// [`super::Backend::plan_host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn plan_host(&self, change: &HostChange) -> Result<HostPlan, ClientError> {
        self.post("/v1/nodes/plan", change, ASK).await
    }

    /// [`super::Backend::change_host`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn change_host(&self, change: &HostChange) -> Result<HostChanged, ClientError> {
        self.post("/v1/nodes/change", change, WORK).await
    }

    /// [`super::Backend::remove_node`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn remove_node(&self, request: &RemoveRequest) -> Result<Removal, ClientError> {
        self.post("/v1/nodes/remove", request, WORK).await
    }

    /// [`super::Backend::audit`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn audit(&self, limit: usize) -> Result<AuditLog, ClientError> {
        self.get(&format!("/v1/audit?limit={limit}"), ASK).await
    }

    /// [`super::Backend::apps`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn apps(&self) -> Result<Vec<AppSummary>, ClientError> {
        self.get("/v1/apps", ASK).await
    }

    /// [`super::Backend::app`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn app(&self, app: &AppName) -> Result<AppDetail, ClientError> {
        self.get(&format!("/v1/apps/{}", escape(app.as_str())), ASK).await
    }

    /// [`super::Backend::revision`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn revision(&self, app: &AppName) -> Result<SealedRevision, ClientError> {
        self.get(&format!("/v1/apps/{}/revision", escape(app.as_str())), ASK).await
    }

    /// [`super::Backend::plan`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn plan(&self, revision: &SealedRevision) -> Result<PlanPreview, ClientError> {
        self.post("/v1/plan", revision, WORK).await
    }

    /// [`super::Backend::submit`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn submit(&self, request: &SubmitRequest) -> Result<Submitted, ClientError> {
        self.post("/v1/submit", request, WORK).await
    }

    /// [`super::Backend::image_known`].
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn image_known(&self, reference: &str) -> Result<ImageKnown, ClientError> {
        self.get(&format!("/v1/images?reference={}", escape(reference)), ASK).await
    }

    /// [`super::Backend::logs`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn logs(
        &self,
        query: &LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ClientError> {
        let response = self.send(post_json("/v1/logs", query), Some(WORK)).await?;
        Ok(decode_items(pieces(response)))
    }

    /// [`super::Backend::events`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn events(
        &self,
        query: &EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ClientError> {
        let response = self.send(post_json("/v1/events", query), Some(WORK)).await?;
        Ok(decode_items(pieces(response)))
    }

    /// [`super::Backend::build`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn build(
        &self,
        build: BuildImage,
        context: BoxStream<io::Result<Bytes>>,
    ) -> Result<BoxStream<Result<String, ApiError>>, ClientError> {
        let body = StreamBody::new(context.map(|piece| piece.map(Frame::data)));
        let request = Request::builder()
            .method(Method::POST)
            .uri("/v1/build")
            .header(BUILD_HEADER, BuildOptions::from(build).to_header())
            .body(BodyExt::boxed_unsync(body))
            .expect("base64 can be a header");
        // The first word may come only after all of the context has gone.
        let response = self.send(request, None).await?;
        Ok(decode_items(pieces(response)))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let request =
            Request::builder().uri(path).body(whole(Bytes::new())).expect("the path is escaped");
        self.read(request, limit).await
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
            let stream =
                UnixStream::connect(&self.socket).await.map_err(|error| self.unreached(error))?;
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
                socket: self.socket.clone(),
                detail: format!("it answered with HTTP status {status}"),
            }),
        }
    }

    fn unreached(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoAgent { socket }
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied { socket },
            // `ErrorKind` is the standard library's and open-ended.
            _ => ClientError::Broken { socket, detail: error.to_string() },
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), detail: chain(error) }
    }

    fn timed_out(&self, limit: Duration) -> ClientError {
        ClientError::TimedOut { socket: self.socket.clone(), limit }
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
