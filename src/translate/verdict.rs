//! What muster does with a key, and how that is said to a person.

use std::fmt;

use serde::Serialize;

/// What muster does with one key of the Specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As the Specification says.
    Done,
    /// Nearly; the reason says what differs.
    Approximated,
    /// Without effect; the reason says why, and what that means.
    Ignored,
    /// The App is not run, for running it would be wrong.
    Refused,
}

impl Verdict {
    /// `done`, `approximated`, `ignored`, `refused`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Approximated => "approximated",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who carries out a key that is done or approximated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The Revision says it; a test sets each such key alone and looks for the change.
    Revision,
    /// The build of the image; tested alike.
    Build,
    /// Objects of Kubernetes; tested alike.
    Objects,
    /// The loader: the key is gone, or its effect is in other keys, before translation.
    Loader,
    /// The keys below it, each with a row of its own.
    Parts,
    /// Nobody needs to: it informs people or other programs, and is not lost.
    Informative,
}

/// What is done with a key on one target.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    /// What.
    pub verdict: Verdict,
    /// By whom.
    pub by: By,
    /// Why not as the Specification says; empty for most keys that are done.
    pub reason: &'static str,
    /// What a person can do about it; may be empty.
    pub remedy: &'static str,
}

/// One key of the Specification. What the export to Kubernetes does with it says
/// [`super::table::kubernetes`].
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its path; `*` stands for a name the file chooses. Items of a list have the list's path.
    pub key: &'static str,
    /// What a cluster of muster does.
    pub cluster: Cell,
}

/// A verdict on a key that a file has. With [`Verdict::Done`] it only informs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The key with the file's names: `services.web.deploy.labels`.
    pub path: String,
    /// What was done with it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}: {}", self.path, self.verdict, self.reason)
    }
}

/// Collects notes; the same one is kept once.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    list: Vec<Note>,
}

impl Notes {
    /// Adds a note. An empty remedy is none.
    pub(crate) fn add(
        &mut self,
        path: String,
        verdict: Verdict,
        reason: impl Into<String>,
        remedy: &str,
    ) {
        let remedy = (!remedy.is_empty()).then(|| remedy.to_owned());
        let note = Note { path, verdict, reason: reason.into(), remedy };
        if !self.list.contains(&note) {
            self.list.push(note);
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Note] {
        &self.list
    }

    /// All but the refusals, then the refusals.
    pub(super) fn into_parts(self) -> (Vec<Note>, Vec<Note>) {
        self.list.into_iter().partition(|note| note.verdict != Verdict::Refused)
    }
}
