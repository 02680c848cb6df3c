//! Programs that are run in containers, alone or with somebody in front of them: what is asked for, and
//! what there is to type into and to read from. Carries nothing.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::{BoxStream, EngineError};
use crate::model::{Hook, TerminalSize};

/// For so long a container that waits for somebody in front of it is kept for them.
pub const ATTACH_MAX: Duration = Duration::from_secs(60);

/// Bytes kept of what a command in a container writes: the last ones, which tell why it failed.
pub const OUTPUT_MAX: usize = 1024;

/// A command to run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// What, as whom, where.
    pub hook: Hook,
    /// The longest it may take.
    pub limit: Duration,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecEnd {
    /// Exit code.
    pub code: i64,
    /// The last of what it wrote, both outputs.
    pub output: String,
}

/// A program to run in a container for somebody who sits in front of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What, as whom, where.
    pub hook: Hook,
    /// The terminal it gets; none means three pipes. An engine may be too old for its first size:
    /// whoever sits there says it again, see [`super::Engine::resize_terminal`].
    pub terminal: Option<TerminalSize>,
}

/// What a console belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleOf {
    /// A command beside the container's own program.
    Command {
        /// The container's id.
        container: String,
        /// The engine's id of it.
        exec: String,
    },
    /// The container's own program, by the container's id.
    Container(String),
}

/// The ways to a program. Dropping them closes its input, unless that is a terminal: see
/// [`super::Engine::hang_up`].
pub struct Console {
    /// Whose they are.
    pub of: ConsoleOf,
    /// Whether it has a terminal: then all that it writes is its output.
    pub terminal: bool,
    /// Its standard input; shutting it down is the end of it.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    /// What it writes, then how it ended; an error is the last item as well.
    pub output: BoxStream<Result<Said, EngineError>>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("of", &self.of).finish_non_exhaustive()
    }
}

/// What a program says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// On its standard output, or its terminal.
    Output(Bytes),
    /// On its standard error.
    Errors(Bytes),
    /// Its exit code: nothing follows.
    Ended(i64),
}
