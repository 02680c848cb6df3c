//! Somebody in front of a program in a container: its input, its outputs, its terminal.

use serde::{Deserialize, Serialize};

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What the container of a run has in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attended {
    /// Three pipes. The first of them is closed when whoever sits there is done, or goes.
    Pipes,
    /// A terminal.
    Terminal,
}
