//! Sitting down in front of a program: what is typed goes out as the body, while the answer comes in.

use std::io;

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame as Piece;
use hyper::{Method, Request};
use serde::Serialize;

use super::{Client, ClientError, WORK, pieces};
use crate::api::console::{CONSOLE_HEADER, decode_frames, to_header};
use crate::api::{AttachRequest, CopyRequest, ExecRequest, Frame, Frames};
use crate::docker::BoxStream;

impl Client {
    /// [`crate::api::Consoles::exec`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn exec(
        &self,
        request: &ExecRequest,
        input: BoxStream<Frame>,
    ) -> Result<Frames, ClientError> {
        self.open("/v1/exec", request, input).await
    }

    /// [`crate::api::Consoles::attach`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn attach(
        &self,
        request: &AttachRequest,
        input: BoxStream<Frame>,
    ) -> Result<Frames, ClientError> {
        self.open("/v1/attach", request, input).await
    }

    /// [`crate::api::Consoles::copy`]. An item that is an error is the last.
    ///
    /// # Errors
    ///
    /// See [`Client::status`].
    pub async fn copy(
        &self,
        request: &CopyRequest,
        input: BoxStream<Frame>,
    ) -> Result<Frames, ClientError> {
        self.open("/v1/copy", request, input).await
    }

    async fn open(
        &self,
        path: &str,
        question: &impl Serialize,
        input: BoxStream<Frame>,
    ) -> Result<Frames, ClientError> {
        let header = to_header(question).map_err(ClientError::Refused)?;
        let typed = input.map(|frame| Ok::<_, io::Error>(Piece::data(frame.encode())));
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(CONSOLE_HEADER, header)
            .body(BodyExt::boxed_unsync(StreamBody::new(typed)))
            .expect("base64 can be a header");
        // The head comes once the program was begun.
        let response = self.send(request, Some(WORK)).await?;
        Ok(decode_frames(pieces(response)))
    }
}
