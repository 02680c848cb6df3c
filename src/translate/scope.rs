//! What a converter sees of the service at hand, and where it says what it could not keep.

use std::collections::BTreeMap;

use super::verdict::{Notes, Verdict};
use crate::compose::project::{Project, Service};

/// One service being translated.
pub(super) struct Scope<'a> {
    pub(super) project: &'a Project,
    /// `services` or `jobs`.
    pub(super) section: &'a str,
    /// The key under it.
    pub(super) key: &'a str,
    pub(super) service: &'a Service,
    pub(super) notes: &'a mut Notes,
}

impl Scope<'_> {
    fn note(&mut self, key: &str, verdict: Verdict, reason: impl Into<String>, remedy: &str) {
        self.notes.add(format!("{}.{}.{key}", self.section, self.key), verdict, reason, remedy);
    }

    pub(super) fn approximated(&mut self, key: &str, reason: impl Into<String>, remedy: &str) {
        self.note(key, Verdict::Approximated, reason, remedy);
    }

    pub(super) fn ignored(&mut self, key: &str, reason: impl Into<String>, remedy: &str) {
        self.note(key, Verdict::Ignored, reason, remedy);
    }

    /// Variables that have a value, and a note on those that have none.
    pub(super) fn environment(&mut self) -> BTreeMap<String, String> {
        let variables = &self.service.environment;
        let unset = variables.iter().filter(|(_, value)| value.is_none());
        let unset: Vec<String> = unset.map(|(name, _)| format!("`{name}`")).collect();
        if !unset.is_empty() {
            let reason = format!(
                "no value where the project was loaded: {}; a value of the image stays, which \
                 Docker Compose takes away",
                unset.join(", ")
            );
            let remedy = "set them there, or give them values in the file";
            self.approximated("environment", reason, remedy);
        }
        let set = variables.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        set.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(super) fn refused(&mut self, key: &str, reason: impl Into<String>, remedy: &str) {
        self.note(key, Verdict::Refused, reason, remedy);
    }
}

/// Milliseconds, rounded up, so that a duration that was given never becomes none.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
