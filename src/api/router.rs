//! Requests to calls of [`Backend`], answers to JSON. Decides nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::wire::{BUILD_HEADER, BuildOptions, encode_item};
use super::{ApiError, Backend, ErrorKind};
use crate::docker::BoxStream;
use crate::model::AppName;

/// Largest JSON body. A Revision carries its configs and secrets, each up to about 1 MB.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// What every handler needs.
#[derive(Clone)]
struct Shared {
    backend: Arc<dyn Backend>,
    stop: CancellationToken,
}

/// The API of `backend`. Streams end with an error when `stop` is cancelled.
pub fn router(backend: Arc<dyn Backend>, stop: CancellationToken) -> Router {
    Router::new()
        .route("/v1/status", get(async |State(s): Shared_| json(s.backend.status().await)))
        .route("/v1/init", post(init))
        .route("/v1/join", post(join))
        .route("/v1/tokens", post(create_token))
        .route("/v1/nodes", get(async |State(s): Shared_| json(s.backend.nodes().await)))
        .route("/v1/peers", get(async |State(s): Shared_| json(s.backend.peers().await)))
        .route("/v1/nodes/plan", post(plan_host))
        .route("/v1/nodes/change", post(change_host))
        .route("/v1/nodes/{host}", get(host))
        .route("/v1/nodes/remove", post(remove_node))
        .route("/v1/audit", get(audit))
        .route("/v1/apps", get(async |State(s): Shared_| json(s.backend.apps().await)))
        .route("/v1/apps/{app}", get(app))
        .route("/v1/apps/{app}/revision", get(revision))
        .route("/v1/plan", post(plan))
        .route("/v1/submit", post(submit))
        .route("/v1/logs", post(logs))
        .route("/v1/events", post(events))
        .route("/v1/build", post(build))
        .route("/v1/images", get(image_known))
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(no_such_endpoint)
        .with_state(Shared { backend, stop })
}

type Shared_ = State<Shared>;

async fn init(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.init(request).await).await
}

async fn join(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.join(request).await).await
}

async fn create_token(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.create_token(request).await).await
}

async fn host(State(shared): Shared_, Path(host): Path<String>) -> Response {
    json(shared.backend.host(&host).await)
}

async fn plan_host(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |change| shared.backend.plan_host(change).await).await
}

async fn change_host(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |change| shared.backend.change_host(change).await).await
}

async fn remove_node(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.remove_node(request).await).await
}

async fn app(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.app(&AppName::new(app)).await)
}

async fn revision(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.revision(&AppName::new(app)).await)
}

async fn plan(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |revision| shared.backend.plan(revision).await).await
}

async fn submit(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.submit(request).await).await
}

async fn logs(State(shared): Shared_, body: Body) -> Response {
    let lines = async |query| shared.backend.logs(query).await;
    stream_with_body(body, lines, shared.stop.clone()).await
}

async fn events(State(shared): Shared_, body: Body) -> Response {
    let events = async |query| shared.backend.events(query).await;
    stream_with_body(body, events, shared.stop.clone()).await
}

async fn build(State(shared): Shared_, headers: HeaderMap, body: Body) -> Response {
    let options = match headers.get(BUILD_HEADER) {
        Some(value) => BuildOptions::from_header(value.as_bytes()),
        None => Err(ApiError::user(format!("header `{BUILD_HEADER}` is missing"))),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return error.into_response(),
    };
    match shared.backend.build(options.into(), context(body)).await {
        Ok(lines) => stream(lines, shared.stop),
        Err(error) => error.into_response(),
    }
}

/// The tar of a build. When the sender breaks off, what came must not pass for the whole: the
/// stream then stays open, until the build is dropped together with its connection.
fn context(body: Body) -> BoxStream<Bytes> {
    Box::pin(futures_util::stream::unfold(body.into_data_stream(), |mut pieces| async move {
        match pieces.next().await? {
            Ok(piece) => Some((piece, pieces)),
            Err(error) => {
                tracing::debug!(%error, "a build context broke off");
                std::future::pending().await
            }
        }
    }))
}

#[derive(Deserialize)]
struct ImageQuery {
    reference: String,
}

async fn image_known(
    State(shared): Shared_,
    query: Result<Query<ImageQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => json(shared.backend.image_known(&query.reference).await),
        Err(_) => ApiError::user("query `reference` is missing").into_response(),
    }
}

#[derive(Deserialize)]
struct AuditQuery {
    limit: usize,
}

async fn audit(
    State(shared): Shared_,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(query)) => json(shared.backend.audit(query.limit).await),
        Err(_) => ApiError::user("query `limit` is missing").into_response(),
    }
}

async fn no_such_endpoint() -> ApiError {
    ApiError {
        kind: ErrorKind::NotFound,
        message: "this agent knows no such request".to_owned(),
        hint: Some("is it of the same version? `muster version`".to_owned()),
    }
}

async fn with_body<T, A, F>(body: Body, call: F) -> Response
where
    T: DeserializeOwned,
    A: Serialize,
    F: AsyncFnOnce(T) -> Result<A, ApiError>,
{
    match read(body).await {
        Ok(request) => json(call(request).await),
        Err(error) => error.into_response(),
    }
}

async fn stream_with_body<T, A, F>(body: Body, call: F, stop: CancellationToken) -> Response
where
    T: DeserializeOwned,
    A: Serialize + Send + 'static,
    F: AsyncFnOnce(T) -> Result<BoxStream<Result<A, ApiError>>, ApiError>,
{
    let query = match read(body).await {
        Ok(query) => query,
        Err(error) => return error.into_response(),
    };
    match call(query).await {
        Ok(items) => stream(items, stop),
        Err(error) => error.into_response(),
    }
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, ApiError> {
    let bytes = to_bytes(body, BODY_MAX)
        .await
        .map_err(|error| ApiError::user(format!("the request cannot be read: {error}")))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::user(format!("the request is not what it should be: {error}")))
}

fn json<T: Serialize>(answer: Result<T, ApiError>) -> Response {
    match answer {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(error) => error.into_response(),
    }
}

fn stream<T: Serialize + Send + 'static>(
    items: BoxStream<Result<T, ApiError>>,
    stop: CancellationToken,
) -> Response {
    let lines = futures_util::stream::unfold(Some((items, stop)), |state| async {
        let (mut items, stop) = state?;
        // Both are cancel-safe: `next` of a stream takes nothing when it is dropped.
        let item = tokio::select! {
            () = stop.cancelled() => Err(ApiError::cluster("the agent is stopping")),
            item = items.next() => item?,
        };
        let rest = item.is_ok().then_some((items, stop));
        Some((encode_item(item), rest))
    });
    let body = Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>));
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ErrorKind::User => StatusCode::BAD_REQUEST,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::NotInCluster => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Cluster => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, axum::Json(self)).into_response()
    }
}
