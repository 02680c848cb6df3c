//! Programs of the fake agent: `cat`, `exit CODE`, `both` that writes to both outputs, `size` that tells each
//! size of its terminal until `q` is typed. Others end at once.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::shown::unknown;
use super::{BROKEN, FakeBackend, FakeState};
use crate::api::{
    ApiError, Asker, AttachRequest, Consoles, CopyRequest, ErrorKind, ExecRequest, Frame, Frames,
};
use crate::model::{AppName, ServiceName};

#[async_trait]
impl Consoles for FakeBackend {
    async fn exec(
        &self,
        asker: &Asker,
        request: ExecRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let mut state = self.ready()?;
        state.has_service(&request.app, &request.service)?;
        if request.service.as_str() == BROKEN {
            let words = format!("no replica of `{BROKEN}` runs: it has failed");
            return Err(ApiError::user(words).hint(format!("`muster ps {BROKEN}` shows them")));
        }
        state.askers.push(asker.clone());
        let words = request.hook.command.clone();
        let frames = if request.detach { ends(0) } else { played(&words, input) };
        state.executed.push(request);
        Ok(begun(frames))
    }

    async fn copy(
        &self,
        asker: &Asker,
        request: CopyRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        self.copied(asker, request, input)
    }

    async fn attach(
        &self,
        asker: &Asker,
        request: AttachRequest,
        input: Frames,
    ) -> Result<Frames, ApiError> {
        let mut state = self.ready()?;
        let AttachRequest { app: _, name, run } = &request;
        let runs = state.runs.get(name).cloned().unwrap_or_default();
        let found = runs.into_iter().find(|known| known.run == *run);
        let found = found.filter(|_| !state.unattended).ok_or_else(|| ApiError {
            kind: ErrorKind::NotFound,
            message: format!("nobody can sit in front of run {run} of `{name}`, any more"),
            hint: None,
        })?;
        state.askers.push(asker.clone());
        let mine = state
            .logs
            .iter()
            .flatten()
            .filter(|line| line.replica.service == *name && line.replica.index == *run);
        let written: Vec<_> = mine
            .map(|line| {
                let bytes = Bytes::from(format!("{}\n", line.line));
                Ok(if line.stderr { Frame::Errors(bytes) } else { Frame::Output(bytes) })
            })
            .collect();
        let words = found.command.unwrap_or_default();
        state.attached.push(request);
        Ok(begun(Box::pin(stream::iter(written).chain(played(&words, input)))))
    }
}

impl FakeState {
    /// # Errors
    ///
    /// When an App has none of that name.
    pub(super) fn has_service(&self, app: &AppName, service: &ServiceName) -> Result<(), ApiError> {
        let (revision, _) = self.apps.get(app).ok_or_else(|| unknown(app))?;
        if revision.deployments.contains_key(service) {
            return Ok(());
        }
        let message = format!("app `{app}` has no service `{service}`");
        Err(ApiError { kind: ErrorKind::NotFound, message, hint: None })
    }
}

pub(super) fn begun(frames: Frames) -> Frames {
    Box::pin(stream::iter([Ok(Frame::Begun)]).chain(frames))
}

pub(super) fn ends(code: i64) -> Frames {
    Box::pin(stream::iter([Ok(Frame::Ended(code))]))
}

fn played(words: &[String], input: Frames) -> Frames {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cat"] => told(input, |frame| match frame {
            Frame::Input(bytes) => Some(Frame::Output(bytes)),
            Frame::InputEnd => Some(Frame::Ended(0)),
            _ => None,
        }),
        ["size"] => told(input, |frame| match frame {
            Frame::Resize(size) => {
                Some(Frame::Output(format!("{}x{}\r\n", size.rows, size.columns).into()))
            }
            Frame::Input(bytes) if bytes.contains(&b'q') => Some(Frame::Ended(5)),
            _ => None,
        }),
        ["both"] => {
            let said = [Frame::Output("out\n".into()), Frame::Errors("err\n".into())];
            Box::pin(stream::iter(said.map(Ok)).chain(ends(3)))
        }
        ["broken"] => Box::pin(stream::iter([Ok(Frame::Output("half".into()))])),
        ["exit", code] => ends(code.parse().unwrap_or_default()),
        _ => ends(0),
    }
}

fn told(input: Frames, mut answer: impl FnMut(Frame) -> Option<Frame> + Send + 'static) -> Frames {
    Box::pin(input.filter_map(move |frame| std::future::ready(frame.map(&mut answer).transpose())))
}
