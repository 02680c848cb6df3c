//! Files of the fake agent: all containers have the same ones. A copy out of `/tmp/cut` breaks off in the
//! middle, and one into it fails at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use futures_util::{StreamExt, stream};

use super::consoles::{begun, ends};
use super::{FakeBackend, HOSTS};
use crate::api::{ApiError, Asker, CopyRequest, CopyStep, Frame, Frames, Looked};
use crate::docker::fake::FakeTree;

/// No copy of this ends well.
const CUT: &str = "/tmp/cut";
/// What one frame holds.
const PIECE: usize = 32 * 1024;

impl FakeBackend {
    pub(super) fn copied(
        &self,
        asker: &Asker,
        request: CopyRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let mut state = self.ready()?;
        state.has_service(&request.app, &request.service)?;
        request.step.check()?;
        state.askers.push(asker.clone());
        let files = Arc::clone(&state.files);
        let (step, index) = (request.step.clone(), request.index.unwrap_or(1));
        state.copied.push(request);
        drop(state);
        match step {
            CopyStep::Look { path } => {
                let host = HOSTS[(index as usize).saturating_sub(1) % HOSTS.len()].to_owned();
                let looked = Looked { index, host, found: lock(&files).stat(&path) };
                let json = serde_json::to_vec(&looked).expect("it is made of words and numbers");
                let said = stream::iter([Ok(Frame::Output(json.into()))]);
                Ok(begun(Box::pin(said.chain(ends(0)))))
            }
            CopyStep::Read { path } => {
                let packed = lock(&files).read(&path).ok_or_else(|| {
                    ApiError::user(format!("Could not find the file {path} in container"))
                })?;
                let half = if path == CUT { packed.len() / 2 } else { packed.len() };
                let pieces = packed[..half].chunks(PIECE);
                let frames: Vec<_> =
                    pieces.map(|piece| Ok(Frame::Output(piece.to_vec().into()))).collect();
                let end: Frames = if path == CUT { Box::pin(stream::empty()) } else { ends(0) };
                Ok(begun(Box::pin(stream::iter(frames).chain(end))))
            }
            CopyStep::Write { folder } => {
                let last = stream::once(async move { Ok(unpacked(&files, &folder, input).await) });
                Ok(begun(Box::pin(last)))
            }
        }
    }
}

fn lock(files: &Mutex<FakeTree>) -> MutexGuard<'_, FakeTree> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn unpacked(files: &Mutex<FakeTree>, folder: &str, mut input: Frames) -> Frame {
    let mut came = BytesMut::new();
    loop {
        match input.next().await {
            Some(Ok(Frame::Input(piece))) => came.extend_from_slice(&piece),
            Some(Ok(Frame::InputEnd)) => break,
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return Frame::Failed(ApiError::cluster("nobody is there")),
        }
    }
    if folder == CUT {
        return Frame::Failed(ApiError::cluster("the connection with host `beta` is lost"));
    }
    match lock(files).write(folder, &came[..]) {
        Ok(()) => Frame::Ended(0),
        Err(words) => Frame::Failed(ApiError::user(words)),
    }
}
