//! Looks at a machine as a host of muster and says what is wrong, with the remedy. Changes nothing,
//! and needs no agent: what only an agent can know of other hosts comes in as [`PeerReport`](crate::api::PeerReport)s.

mod machine;
mod network;
mod peers;

use serde::Serialize;

pub use self::machine::{Standing, Subject, examine, space_of};
pub use self::network::{judge_network, judge_resolver};
pub use self::peers::judge;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may fail or surprise.
    Warning,
    /// It does not work.
    Problem,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), remedy: None }
    }

    fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (found, remedy) = (found.into(), Some(remedy.into()));
        Self { check, verdict: Verdict::Warning, found, remedy }
    }

    fn problem(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, ..Self::warning(check, found, remedy) }
    }
}

#[cfg(test)]
mod tests;
