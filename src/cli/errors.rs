//! What a command ends with: an outcome or an error, and the exit code of each.

use std::fmt;
use std::process::ExitCode;

use crate::api::client::ClientError;
use crate::api::{ApiError, ErrorKind};

/// How a command ended that did what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// `plan`: something would change.
    ChangesPending,
    /// `run`: the container ended with this code.
    Exited(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::ChangesPending => Self::from(2),
            Outcome::Exited(code) => Self::from(code),
        }
    }
}

/// Whose fault an error is. Decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's to mend: 1.
    User,
    /// The command was written wrongly: 2.
    Usage,
    /// The cluster's or the machine's: 3.
    Cluster,
    /// The user interrupted it: 130.
    Interrupted,
    /// The reader of the output has seen enough: 0, and nothing is said.
    BrokenPipe,
}

impl Kind {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Usage => 2,
            Self::Cluster => 3,
            Self::Interrupted => 130,
            Self::BrokenPipe => 0,
        }
    }
}

/// One thing that is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Why a command did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// Whose fault.
    pub kind: Kind,
    /// What is wrong; empty when the excerpt says it all.
    pub complaints: Vec<Complaint>,
    /// Shown before the complaints as it is: what is wrong with a Compose file and where.
    pub excerpt: Option<String>,
}

impl CliError {
    /// An error of a kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let complaint = Complaint { message: message.into(), hint: None };
        Self { kind, complaints: vec![complaint], excerpt: None }
    }

    /// An error the user can mend.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    /// An error of the cluster or of this machine.
    pub fn cluster(message: impl Into<String>) -> Self {
        Self::new(Kind::Cluster, message)
    }

    /// The same with a hint, when the last complaint has none yet.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(complaint) = self.complaints.last_mut() {
            complaint.hint.get_or_insert(hint.into());
        } else if let Some(excerpt) = &mut self.excerpt {
            excerpt.push_str(&format!("\n  hint: {}", hint.into()));
        }
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.complaints.is_empty() {
            f.write_str(self.excerpt.as_deref().unwrap_or_default())?;
        }
        for (index, complaint) in self.complaints.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{}", complaint.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let kind = match error.kind {
            ErrorKind::User
            | ErrorKind::Forbidden
            | ErrorKind::Conflict
            | ErrorKind::NotFound
            | ErrorKind::NotInCluster => Kind::User,
            ErrorKind::Cluster => Kind::Cluster,
        };
        let complaint = Complaint { message: error.message, hint: error.hint };
        Self { kind, complaints: vec![complaint], excerpt: None }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let words = error.to_string();
        match error {
            ClientError::NoAgent { .. } => Self::user(words)
                .hint("start one with `muster agent`; `muster up` starts one by itself"),
            ClientError::Denied { .. } => Self::user(words)
                .hint("use `sudo`, or have an administrator add you to the group of the socket"),
            ClientError::TimedOut { .. } => Self::cluster(words)
                .hint("it may still do what was asked; look with `muster ls` and at its log"),
            ClientError::Broken { .. } => Self::cluster(words).hint("look at the agent's log"),
            ClientError::Away { way: _, detail: _, hint, is_ours } => {
                let error = if is_ours { Self::user(words) } else { Self::cluster(words) };
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            ClientError::Refused(error) => error.into(),
        }
    }
}

impl From<std::io::Error> for CliError {
    /// An error of writing to the terminal or a pipe.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Kind::BrokenPipe, "the reader has gone"),
            // `ErrorKind` is the standard library's and open-ended.
            _ => Self::cluster(format!("cannot write the output: {error}")),
        }
    }
}
