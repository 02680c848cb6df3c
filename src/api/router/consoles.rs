//! Requests of those who sit in front of a program, or copy files: the body is what they type, the answer
//! is what they see, and both go on at once.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::{Asker_, Shared_};
use crate::api::ApiError;
use crate::api::console::{CONSOLE_HEADER, Frame, Frames, decode_frames, from_header};

pub(super) async fn exec(
    State(shared): Shared_,
    Extension(asker): Asker_,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let open = async |request| shared.backend.exec(&asker, request, typed(body)).await;
    answer(question(&headers), open, shared.stop.clone()).await
}

pub(super) async fn attach(
    State(shared): Shared_,
    Extension(asker): Asker_,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let open = async |request| shared.backend.attach(&asker, request, typed(body)).await;
    answer(question(&headers), open, shared.stop.clone()).await
}

pub(super) async fn copy(
    State(shared): Shared_,
    Extension(asker): Asker_,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let open = async |request| shared.backend.copy(&asker, request, typed(body)).await;
    answer(question(&headers), open, shared.stop.clone()).await
}

fn question<T: DeserializeOwned>(headers: &HeaderMap) -> Result<T, ApiError> {
    match headers.get(CONSOLE_HEADER) {
        Some(value) => from_header(value.as_bytes()),
        None => Err(ApiError::user(format!("header `{CONSOLE_HEADER}` is missing"))),
    }
}

fn typed(body: Body) -> Frames {
    let pieces = body.into_data_stream();
    decode_frames(pieces.map(|piece| piece.map_err(|error| error.to_string())))
}

async fn answer<T>(
    question: Result<T, ApiError>,
    open: impl AsyncFnOnce(T) -> Result<Frames, ApiError>,
    stop: CancellationToken,
) -> Response {
    let question = match question {
        Ok(question) => question,
        Err(error) => return error.into_response(),
    };
    let frames = match open(question).await {
        Ok(frames) => frames,
        Err(error) => return error.into_response(),
    };
    let pieces = futures_util::stream::unfold(Some((frames, stop)), |state| async {
        let (mut frames, stop) = state?;
        // Both are cancel-safe: `next` of a stream takes nothing when it is dropped.
        let frame = tokio::select! {
            frame = frames.next() => frame?.unwrap_or_else(Frame::Failed),
            () = stop.cancelled() => Frame::Failed(ApiError::cluster("the agent is stopping")),
        };
        let rest = (!frame.is_last()).then_some((frames, stop));
        Some((Ok::<_, std::convert::Infallible>(frame.encode()), rest))
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::from_stream(pieces)).into_response()
}
