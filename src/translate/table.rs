//! The verdict table: one row a key of the Specification.
//!
//! `check`, the warnings of `up` and the documentation are all printed from it. A row states what
//! holds whatever the value is; where the verdict depends on the value (`network_mode: container:x`),
//! the row says what most values get and the translator adds a note for the others.
//!
//! A key without a row of its own shares the verdict of the nearest key above it.

mod build;
mod deploy;
mod kubernetes;
mod service;
mod top;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::verdict::{By, Cell, Row, Verdict};

/// Every row, in the order of the Specification.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    top::ROWS.iter().chain(service::ROWS).chain(deploy::ROWS).chain(build::ROWS)
}

/// The row of exactly this key.
pub fn row(key: &str) -> Option<&'static Row> {
    static BY_KEY: LazyLock<BTreeMap<&str, &Row>> =
        LazyLock::new(|| rows().map(|row| (row.key, row)).collect());
    BY_KEY.get(key).copied().or_else(|| BY_KEY.get(of_service(key)?.as_str()).copied())
}

/// The key of a service that a key of a job is like.
fn of_service(key: &str) -> Option<String> {
    let rest = key.strip_prefix("jobs.*.").filter(|rest| !rest.starts_with("triggers"))?;
    Some(format!("services.*.{rest}"))
}

/// What the export to Kubernetes does with a key that has a row.
pub fn kubernetes(key: &str) -> Option<&'static Cell> {
    static BY_KEY: LazyLock<BTreeMap<&str, &Cell>> =
        LazyLock::new(|| kubernetes::CELLS.iter().map(|(key, cell)| (*key, cell)).collect());
    let mut key = key;
    loop {
        if let Some(cell) = BY_KEY.get(key) {
            return Some(cell);
        }
        key = &key[..key.rfind('.')?];
    }
}

/// Whether some row's key begins with `key` and goes on.
pub(super) fn has_parts(key: &str) -> bool {
    static PARENTS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
        let parents = |row: &'static Row| row.key.match_indices('.').map(|(at, _)| &row.key[..at]);
        rows().flat_map(parents).collect()
    });
    PARENTS.contains(key) || of_service(key).is_some_and(|key| PARENTS.contains(key.as_str()))
}

const fn cell(
    key: &'static str,
    verdict: Verdict,
    by: By,
    reason: &'static str,
    remedy: &'static str,
) -> Row {
    Row { key, cluster: Cell { verdict, by, reason, remedy } }
}

/// Done, and seen in the Revision.
const fn done(key: &'static str) -> Row {
    cell(key, Verdict::Done, By::Revision, "", "")
}

/// Done, and seen in what is built.
const fn built(key: &'static str) -> Row {
    cell(key, Verdict::Done, By::Build, "", "")
}

/// Done before translation.
const fn loaded(key: &'static str) -> Row {
    cell(key, Verdict::Done, By::Loader, "", "")
}

/// See the keys below it.
const fn parts(key: &'static str) -> Row {
    cell(key, Verdict::Done, By::Parts, "", "")
}

/// For people or other programs.
const fn informs(key: &'static str, reason: &'static str) -> Row {
    cell(key, Verdict::Done, By::Informative, reason, "")
}

/// Nearly done, and seen in the Revision.
const fn nearly(key: &'static str, reason: &'static str, remedy: &'static str) -> Row {
    cell(key, Verdict::Approximated, By::Revision, reason, remedy)
}

/// Without effect.
const fn ignored(key: &'static str, reason: &'static str, remedy: &'static str) -> Row {
    cell(key, Verdict::Ignored, By::Informative, reason, remedy)
}

/// Not run.
const fn refused(key: &'static str, reason: &'static str, remedy: &'static str) -> Row {
    cell(key, Verdict::Refused, By::Informative, reason, remedy)
}
