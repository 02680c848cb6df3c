//! Requests to calls of [`Backend`], answers to JSON. Decides nothing.

mod consoles;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Asker, Route};
use super::wire::{BUILD_HEADER, BuildOptions, encode_item};
use super::{ApiError, Backend, ErrorKind, RemoveRequest, secrets};
use crate::docker::BoxStream;
use crate::model::{AppName, SealedRevision};

/// Largest JSON body. A Revision carries its configs and secrets, each up to about 1 MB.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// A body whose next piece does not come within this time is given up, as between hosts.
const READ: Duration = Duration::from_secs(30);

/// Where Prometheus looks when it is not told.
pub(super) const METRICS: &str = "/metrics";

/// What every handler needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) backend: Arc<dyn Backend>,
    stop: CancellationToken,
}

/// The API of `backend`. Streams end with an error when `stop` is cancelled. Each request must carry
/// an [`Asker`] among its extensions, which the listener knows and the request cannot say.
pub fn router(backend: Arc<dyn Backend>, stop: CancellationToken) -> Router {
    let shared = Shared { backend, stop };
    let mut router = Router::new();
    for route in routes() {
        let (path, handler) = route.guarded(&shared);
        router = router.route(path, handler);
    }
    router
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(no_such_endpoint)
        .with_state(shared)
}

/// The table: every route and what it needs.
pub(super) fn routes() -> Vec<Route> {
    let route = |access, path, handler| Route { path, access, handler };
    let look = |path, handler| route(Access::Look, path, handler);
    let change = |path, handler| route(Access::Change, path, handler);
    vec![
        look("/v1/status", get(async |State(s): Shared_| json(s.backend.status().await))),
        route(Access::Here, "/v1/init", post(init)),
        route(Access::Here, "/v1/join", post(join)),
        change("/v1/tokens", post(create_token)),
        look("/v1/operators", get(async |State(s): Shared_| json(s.backend.operators().await))),
        change("/v1/operators/create", post(create_operator)),
        change("/v1/operators/remove", post(remove_operator)),
        route(Access::Own, "/v1/operators/renew", post(renew)),
        look("/v1/ca", get(async |State(s): Shared_| json(s.backend.authority().await))),
        change("/v1/ca/rotate", post(rotate_authority)),
        look("/v1/nodes", get(async |State(s): Shared_| json(s.backend.nodes().await))),
        look("/v1/peers", get(async |State(s): Shared_| json(s.backend.peers().await))),
        look("/v1/paths", get(async |State(s): Shared_| json(s.backend.network_report().await))),
        look("/v1/resolver", get(async |State(s): Shared_| json(s.backend.resolver().await))),
        look("/v1/networks", get(async |State(s): Shared_| json(s.backend.networks().await))),
        look("/v1/nodes/plan", post(plan_host)),
        change("/v1/nodes/change", post(change_host)),
        look("/v1/provider", get(async |State(s): Shared_| json(s.backend.provider().await))),
        // Agents run it as root: whoever is root on a host may say what.
        route(Access::Here, "/v1/provider/set", post(set_provider)),
        look("/v1/nodes/{host}", get(host)),
        look("/v1/nodes/remove/plan", post(plan_removal)),
        change("/v1/nodes/remove", post(remove_node)),
        look("/v1/audit", get(audit)),
        look("/v1/apps", get(async |State(s): Shared_| json(s.backend.apps().await))),
        look("/v1/apps/{app}", get(app)),
        look("/v1/apps/{app}/revision", get(revision)),
        look("/v1/apps/{app}/stats", get(stats)),
        look("/v1/apps/{app}/autoscale", get(autoscale)),
        look("/v1/apps/{app}/history", get(history)),
        look("/v1/apps/{app}/revisions/{which}", get(revision_at)),
        look("/v1/apps/{app}/diff/{from}/{to}", get(diff)),
        look("/v1/apps/{app}/jobs", get(jobs)),
        change("/v1/runs/start", post(start_run)),
        change("/v1/runs/forget", post(forget_run)),
        change("/v1/exec", post(consoles::exec)),
        change("/v1/attach", post(consoles::attach)),
        change("/v1/copy", post(consoles::copy)),
        look("/v1/plan", post(plan)),
        change("/v1/submit", post(submit)),
        look("/v1/logs", post(logs)),
        look("/v1/events", post(events)),
        change("/v1/build", post(build)),
        look("/v1/images", get(image_known)),
        look(METRICS, get(async |State(s): Shared_| metrics(&*s.backend).await)),
    ]
}

type Shared_ = State<Shared>;
type Asker_ = Extension<Asker>;

async fn init(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.init(request).await).await
}

async fn join(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.join(request).await).await
}

async fn create_token(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.create_token(&asker, request).await).await
}

async fn create_operator(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.create_operator(&asker, request).await).await
}

async fn remove_operator(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.remove_operator(&asker, request).await).await
}

async fn renew(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| match &asker {
        Asker::Operator(caller) => shared.backend.renew(caller, request).await,
        // The guard has refused it already.
        Asker::Local => Access::Own.judge(&asker).and(Err(ApiError::cluster("bug: no caller"))),
    })
    .await
}

async fn rotate_authority(State(shared): Shared_, Extension(asker): Asker_) -> Response {
    json(shared.backend.rotate_authority(&asker).await)
}

async fn host(State(shared): Shared_, Path(host): Path<String>) -> Response {
    json(shared.backend.host(&host).await)
}

async fn plan_host(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |change| shared.backend.plan_host(change).await).await
}

async fn change_host(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |change| shared.backend.change_host(&asker, change).await).await
}

async fn set_provider(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |change| shared.backend.set_provider(&asker, change).await).await
}

async fn plan_removal(State(shared): Shared_, body: Body) -> Response {
    with_body(body, async |request| {
        let request = RemoveRequest { dry_run: true, ..request };
        // Nothing is changed, so that it does not matter who asks.
        shared.backend.remove_node(&Asker::Local, request).await
    })
    .await
}

async fn remove_node(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.remove_node(&asker, request).await).await
}

async fn app(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.app(&AppName::new(app)).await)
}

async fn stats(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.stats(&AppName::new(app)).await)
}

async fn autoscale(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.autoscale(&AppName::new(app)).await)
}

/// What Prometheus gets, whichever way it asks.
pub(super) async fn metrics(backend: &dyn Backend) -> Response {
    match backend.metrics().await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn revision(
    State(shared): Shared_,
    Extension(asker): Asker_,
    Path(app): Path<String>,
) -> Response {
    let revision = shared.backend.revision(&AppName::new(app)).await;
    json(revision.map(|revision| secrets::shown_to(&asker, revision)))
}

async fn history(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.history(&AppName::new(app)).await)
}

async fn revision_at(
    State(shared): Shared_,
    Extension(asker): Asker_,
    Path((app, which)): Path<(String, String)>,
) -> Response {
    let revision = shared.backend.revision_at(&AppName::new(app), &which).await;
    json(revision.map(|revision| secrets::shown_to(&asker, revision)))
}

async fn diff(
    State(shared): Shared_,
    Path((app, from, to)): Path<(String, String, String)>,
) -> Response {
    json(shared.backend.diff(&AppName::new(app), &from, &to).await)
}

#[derive(Deserialize)]
struct PlanQuery {
    #[serde(default)]
    retry: bool,
}

async fn plan(
    State(shared): Shared_,
    Extension(asker): Asker_,
    query: Result<Query<PlanQuery>, QueryRejection>,
    body: Body,
) -> Response {
    let retry = query.is_ok_and(|Query(query)| query.retry);
    with_body(body, async |revision: SealedRevision| {
        let current = match secrets::are_hidden_from(&asker) {
            true => shared.backend.revision(&revision.app).await.ok(),
            false => None,
        };
        let revision = secrets::put_back(&asker, revision, current.as_ref());
        shared.backend.plan(revision, retry).await
    })
    .await
}

async fn jobs(State(shared): Shared_, Path(app): Path<String>) -> Response {
    json(shared.backend.jobs(&AppName::new(app)).await)
}

async fn start_run(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.start_run(&asker, request).await).await
}

async fn forget_run(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.forget_run(&asker, request).await).await
}

async fn submit(State(shared): Shared_, Extension(asker): Asker_, body: Body) -> Response {
    with_body(body, async |request| shared.backend.submit(&asker, request).await).await
}

async fn logs(State(shared): Shared_, body: Body) -> Response {
    let lines = async |query| shared.backend.logs(query).await;
    stream_with_body(body, lines, shared.stop.clone()).await
}

async fn events(State(shared): Shared_, body: Body) -> Response {
    let events = async |query| shared.backend.events(query).await;
    stream_with_body(body, events, shared.stop.clone()).await
}

async fn build(
    State(shared): Shared_,
    Extension(asker): Asker_,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let options = match headers.get(BUILD_HEADER) {
        Some(value) => BuildOptions::from_header(value.as_bytes()),
        None => Err(ApiError::user(format!("header `{BUILD_HEADER}` is missing"))),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => return error.into_response(),
    };
    match shared.backend.build(&asker, options.into(), context(body)).await {
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

pub(super) async fn no_such_endpoint() -> ApiError {
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
    let unread =
        |why: &dyn std::fmt::Display| ApiError::user(format!("the request cannot be read: {why}"));
    let (mut pieces, mut bytes) = (body.into_data_stream(), BytesMut::new());
    loop {
        let piece = timeout(READ, pieces.next()).await;
        match piece.map_err(|_| unread(&"it did not come in time"))? {
            None => break,
            Some(Ok(piece)) if bytes.len() + piece.len() <= BODY_MAX => {
                bytes.extend_from_slice(&piece);
            }
            Some(Ok(_)) => return Err(unread(&"it is too large")),
            Some(Err(error)) => return Err(unread(&error)),
        }
    }
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
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::NotInCluster => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Cluster => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, axum::Json(self)).into_response()
    }
}
