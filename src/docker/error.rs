//! Why an engine did not do something, and what can be told from it.

use std::time::Duration;

/// Why the engine did not do it. The engine is as it was before, unless a variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing answers on the socket.
    #[error("Docker does not answer on `{socket}`")]
    Unreachable {
        /// The socket.
        socket: String,
        /// What was seen.
        detail: String,
    },
    /// It took longer than the call may; the engine may still finish it.
    #[error("Docker took longer than {} s to {action}", limit.as_secs())]
    TimedOut {
        /// What was asked.
        action: String,
        /// The limit.
        limit: Duration,
    },
    /// There is no such image here, nor in its registry.
    #[error("no image `{reference}`")]
    NoImage {
        /// The reference.
        reference: String,
        /// What the registry or engine said.
        detail: String,
    },
    /// The engine refused.
    #[error("failed to {action}: {detail}")]
    Refused {
        /// What was asked.
        action: String,
        /// HTTP status; 0 when its answer could not be read.
        status: u16,
        /// The engine's words.
        detail: String,
    },
    /// The engine's API is too old or too new for us.
    #[error("Docker's API {found} is not one muster can use ({supported})")]
    Version {
        /// What it offers.
        found: String,
        /// What we can use.
        supported: String,
    },
}

impl EngineError {
    /// Whether the engine's disk was full.
    pub fn is_for_want_of_room(&self) -> bool {
        let detail = match self {
            Self::Refused { detail, .. } | Self::NoImage { detail, .. } => detail,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Version { .. } => {
                return false;
            }
        };
        let detail = detail.to_ascii_lowercase();
        // ENOSPC and EDQUOT, as Go words them.
        detail.contains("no space left on device") || detail.contains("disk quota exceeded")
    }

    /// All there is to say of it, in one sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Unreachable { detail, .. } | Self::NoImage { detail, .. }
                if !detail.is_empty() =>
            {
                format!("{self}: {detail}")
            }
            Self::Unreachable { .. }
            | Self::NoImage { .. }
            | Self::TimedOut { .. }
            | Self::Refused { .. }
            | Self::Version { .. } => self.to_string(),
        }
    }
}
