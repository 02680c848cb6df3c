//! Docker's errors in our words: unreachable, refused, timed out and no image told apart. Never
//! passes on more than one sentence of Docker's.

use bollard::errors::Error;

use crate::docker::EngineError;
use crate::telemetry::chain;

/// What a runtime wraps around the one thing that went wrong, outermost first.
const WRAPPERS: [&str; 9] = [
    "Error response from daemon: ",
    "Cannot start service: ",
    "failed to create task for container: ",
    "failed to create shim task: ",
    "OCI runtime create failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    "starting container process caused: ",
    "container init caused: ",
];

/// Longest detail passed on, in bytes; a build step's whole output would drown the reason.
const DETAIL_MAX: usize = 400;

/// The error of a call that should `action`.
pub(super) fn engine_error(socket: &str, action: &str, error: Error) -> EngineError {
    let unreachable =
        |detail: String| EngineError::Unreachable { socket: socket.to_owned(), detail };
    let refused = |status, detail: &str| EngineError::Refused {
        action: action.to_owned(),
        status,
        detail: one_sentence(detail),
    };
    match error {
        Error::DockerResponseServerError { status_code, message }
            if status_code == 400 && is_about_version(&message) =>
        {
            EngineError::Version {
                found: one_sentence(&message),
                supported: "agreed on anew".into(),
            }
        }
        Error::DockerResponseServerError { status_code, message } => refused(status_code, &message),
        Error::DockerStreamError { error } => refused(200, &error),
        Error::SocketNotFoundError(_) => unreachable("there is no such socket".to_owned()),
        Error::IOError { err } => unreachable(chain(&err)),
        Error::HyperResponseError { err } => unreachable(chain(&err)),
        Error::HyperLegacyError { err } => unreachable(chain(&err)),
        Error::RequestTimeoutError => unreachable("no answer".to_owned()),
        other => refused(0, &format!("its answer could not be read: {other}")),
    }
}

/// A daemon was replaced by one that no longer takes the version agreed on.
fn is_about_version(message: &str) -> bool {
    message.contains("client version")
        && (message.contains("too old") || message.contains("too new"))
}

/// The one thing that went wrong, without the layers it passed through.
pub(super) fn one_sentence(words: &str) -> String {
    let mut text = words.trim().lines().next().unwrap_or_default();
    for wrapper in WRAPPERS {
        if let Some(at) = text.find(wrapper) {
            text = &text[at + wrapper.len()..];
        }
    }
    let text = text.trim_end_matches(": unknown").trim_end_matches('.').trim();
    let end = text.floor_char_boundary_at(DETAIL_MAX);
    text[..end].to_owned()
}

/// `str::floor_char_boundary` is newer than our oldest compiler.
trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, max: usize) -> usize;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, max: usize) -> usize {
        (0..=max.min(self.len())).rev().find(|at| self.is_char_boundary(*at)).unwrap_or_default()
    }
}

/// Makes "not found" of `reference` a [`EngineError::NoImage`]; other errors stay.
pub(super) fn or_no_image(error: EngineError, reference: &str) -> EngineError {
    match error {
        EngineError::Refused { status, detail, .. } if says_no_image(status, &detail) => {
            EngineError::NoImage { reference: reference.to_owned(), detail }
        }
        other => other,
    }
}

/// 200 is an error told within a stream that began well.
fn says_no_image(status: u16, detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    let said = [
        "no such image",
        "manifest unknown",
        "name unknown",
        "repository does not exist",
        "reference does not exist",
        "not found: manifest",
    ];
    (status == 404 || status == 200 || status == 500)
        && said.iter().any(|word| detail.contains(word))
}
