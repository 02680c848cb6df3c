//! The Compose Specification as tables: which keys there are, what shape each has, how each merges.
//!
//! One row a key. Checking, the short forms, merging and reading all walk these tables, so a key
//! cannot be known to one of them and unknown to another.

mod container;
mod parts;
mod service;
mod top;

use super::expand::Expand;
use super::unique::UniqueBy;

pub(crate) use service::{PRE_START, SERVICE};
pub(crate) use top::PROJECT;

/// What a value may look like, and what becomes of it.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything; taken as it is.
    Any,
    /// Text.
    Text,
    /// Text, or a number that is taken as text.
    TextOrNumber,
    /// Text, number or boolean, taken as text; nothing is taken as empty text.
    Plain,
    /// As `Plain`, but nothing stays nothing: the variable is inherited.
    Inheritable,
    /// `true` or `false`, also as text.
    Flag,
    /// A whole number, also as text.
    Int {
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// A number, also as text.
    Number,
    /// A size such as `64m`, or a number of bytes. `-1` is a size where `negative` is set.
    Bytes {
        /// Whether less than nothing has a meaning.
        negative: bool,
    },
    /// A duration such as `1m30s`.
    Duration,
    /// Permission bits: a number, or octal digits as text.
    Mode,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A command line: text that is split, or a list.
    Command,
    /// A list.
    List(&'static Shape),
    /// A mapping with keys of the user's choice.
    Map(&'static Shape),
    /// A mapping whose keys are names: letters, digits, `.`, `_`, `-`.
    Named(&'static Shape),
    /// A mapping with known keys.
    Object(&'static Object),
    /// Nothing, or this.
    Nullable(&'static Shape),
    /// The second when it is a mapping, otherwise the first.
    Either(&'static Shape, &'static Shape),
    /// Short forms that are first made long.
    Short(Expand, &'static Shape),
}

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Object {
    /// What it is, for messages: `service`, `healthcheck`.
    pub(crate) what: &'static str,
    /// Its keys; each part is sorted.
    pub(crate) parts: &'static [&'static [Key]],
    /// Keys that must be there.
    pub(crate) required: &'static [&'static str],
    /// Whether `x-` keys are allowed.
    pub(crate) extensible: bool,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its shape.
    pub(crate) shape: Shape,
    /// How two files merge it.
    pub(crate) merge: Merge,
}

/// How the values of two files become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Mappings merge, lists append, anything else is replaced.
    Deep,
    /// The later file wins.
    Replace,
    /// Lists append; of two items with the same identity the later one stays.
    Unique(UniqueBy),
    /// `logging`: options merge only when the driver is the same.
    Logging,
    /// `ipam.config`: pools merge by subnet.
    Pools,
}

/// A row that merges in the usual way.
const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, merge: Merge::Deep }
}

/// A row with a merge rule of its own.
const fn ruled(name: &'static str, shape: Shape, merge: Merge) -> Key {
    Key { name, shape, merge }
}

/// An object with one part, no required keys, `x-` allowed.
const fn object(what: &'static str, parts: &'static [&'static [Key]]) -> Object {
    Object { what, parts, required: &[], extensible: true }
}

impl Object {
    /// The row of a key.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.parts.iter().find_map(|part| {
            part.binary_search_by(|row| row.name.cmp(name)).ok().map(|index| &part[index])
        })
    }

    /// Whether a key is one that nobody checks.
    pub(crate) fn is_extension(&self, name: &str) -> bool {
        self.extensible && name.starts_with("x-")
    }

    /// All key names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().flat_map(|part| part.iter().map(|row| row.name))
    }
}

impl Shape {
    /// The shape behind what may be absent or short.
    pub(crate) fn inner(&'static self) -> &'static Self {
        match self {
            Self::Nullable(shape) | Self::Short(_, shape) => shape.inner(),
            Self::Any
            | Self::Text
            | Self::TextOrNumber
            | Self::Plain
            | Self::Inheritable
            | Self::Flag
            | Self::Int { .. }
            | Self::Number
            | Self::Bytes { .. }
            | Self::Duration
            | Self::Mode
            | Self::Choice(_)
            | Self::Command
            | Self::List(_)
            | Self::Map(_)
            | Self::Named(_)
            | Self::Object(_)
            | Self::Either(..) => self,
        }
    }

    /// The row's shape and merge rule of a child, for walks over a canonical tree.
    pub(crate) fn child(&'static self, name: &str) -> (&'static Self, Merge) {
        match self.inner() {
            Self::Object(object) => match object.key(name) {
                Some(row) => (&row.shape, row.merge),
                None => (&Self::Any, Merge::Deep),
            },
            Self::Map(shape) | Self::Named(shape) => (shape, Merge::Deep),
            Self::Either(_, map) => map.child(name),
            Self::Any
            | Self::Text
            | Self::TextOrNumber
            | Self::Plain
            | Self::Inheritable
            | Self::Flag
            | Self::Int { .. }
            | Self::Number
            | Self::Bytes { .. }
            | Self::Duration
            | Self::Mode
            | Self::Choice(_)
            | Self::Command
            | Self::List(_)
            | Self::Nullable(_)
            | Self::Short(..) => (&Self::Any, Merge::Deep),
        }
    }
}

/// The valid name nearest to a misspelt one, if any is near.
pub(crate) fn nearest<'n>(name: &str, valid: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    // A suggestion is not worth a comparison with every name of a huge project.
    const CANDIDATES_MAX: usize = 200;
    let limit = (name.chars().count() / 3).max(1);
    let folded = name.to_ascii_lowercase().replace('-', "_");
    valid
        .take(CANDIDATES_MAX)
        .map(|candidate| (distance(&folded, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edits between two words, where swapping two neighbours is one edit.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len() > 64 || left.len().abs_diff(right.len()) > 8 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(a != b);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// Every key path of a file, with `*` for names that the file chooses; items of a list have the
/// list's path.
#[cfg(test)]
pub(crate) fn key_paths() -> std::collections::BTreeSet<String> {
    fn walk(shape: &'static Shape, path: &str, found: &mut std::collections::BTreeSet<String>) {
        let below =
            |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match shape.inner() {
            Shape::List(inner) => walk(inner, path, found),
            Shape::Map(inner) | Shape::Named(inner) => walk(inner, &below("*"), found),
            Shape::Either(one, other) => {
                walk(one, path, found);
                walk(other, path, found);
            }
            Shape::Object(object) => {
                for row in object.parts.iter().copied().flatten() {
                    found.insert(below(row.name));
                    walk(&row.shape, &below(row.name), found);
                }
            }
            Shape::Any
            | Shape::Text
            | Shape::TextOrNumber
            | Shape::Plain
            | Shape::Inheritable
            | Shape::Flag
            | Shape::Int { .. }
            | Shape::Number
            | Shape::Bytes { .. }
            | Shape::Duration
            | Shape::Mode
            | Shape::Choice(_)
            | Shape::Command
            | Shape::Nullable(_)
            | Shape::Short(..) => {}
        }
    }
    let mut found = std::collections::BTreeSet::new();
    walk(&PROJECT, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::compose::parse::parse;
    use crate::compose::source::Report;
    use crate::compose::tree::{Node, Value};

    fn walk(shape: &'static Shape, depth: usize, visit: &mut dyn FnMut(&'static Object)) {
        assert!(depth < 20, "tables nest without end");
        match shape {
            Shape::List(inner)
            | Shape::Map(inner)
            | Shape::Named(inner)
            | Shape::Nullable(inner)
            | Shape::Short(_, inner) => walk(inner, depth + 1, visit),
            Shape::Either(one, other) => {
                walk(one, depth + 1, visit);
                walk(other, depth + 1, visit);
            }
            Shape::Object(object) => {
                visit(object);
                for row in object.parts.iter().copied().flatten() {
                    walk(&row.shape, depth + 1, visit);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn tables_are_sorted_and_required_keys_exist() {
        walk(&PROJECT, 0, &mut |object| {
            for part in object.parts {
                assert!(part.is_sorted_by(|a, b| a.name < b.name), "{} is not sorted", object.what);
            }
            for name in object.required {
                assert!(object.key(name).is_some(), "{} has no {name}", object.what);
            }
        });
    }

    #[test]
    fn all_service_keys_are_known() {
        assert_eq!(SERVICE.names().count(), 93);
    }

    /// Steps and jobs are made of the keys of services: it is enough to use those there.
    fn shared(path: &str) -> String {
        let made_of = [("services.*.pre_start.", "per_replica"), ("jobs.*.", "triggers")];
        for (before, own) in made_of {
            if let Some(rest) = path.strip_prefix(before).filter(|rest| !is_at_or_below(rest, own))
            {
                return format!("services.*.{rest}");
            }
        }
        path.to_owned()
    }

    fn is_at_or_below(path: &str, key: &str) -> bool {
        path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    fn used(node: &Node, shape: &'static Shape, path: &str, paths: &mut BTreeSet<String>) {
        match (&node.value, shape.inner()) {
            (Value::Map(map), Shape::Object(object)) => {
                for (key, entry) in map {
                    let Some(row) = object.key(key) else { continue };
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    used(&entry.value, &row.shape, &path, paths);
                    paths.insert(path);
                }
            }
            (Value::Map(map), Shape::Map(inner) | Shape::Named(inner)) => {
                let path = format!("{path}.*");
                map.values().for_each(|entry| used(&entry.value, inner, &path, paths));
            }
            (_, Shape::Either(_, map)) => used(node, map, path, paths),
            (Value::List(items), Shape::List(inner)) => {
                items.iter().for_each(|item| used(item, inner, path, paths));
            }
            _ => {}
        }
    }

    fn cases(folder: &Path, texts: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                cases(&path, texts);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                // One of them is no text, on purpose.
                texts.push(String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
            }
        }
    }

    #[test]
    fn every_key_is_used_in_a_golden_case() {
        let paths: BTreeSet<String> = key_paths().iter().map(|path| shared(path)).collect();
        let (mut seen, mut texts) = (BTreeSet::new(), Vec::new());
        cases(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases"), &mut texts);
        for text in texts {
            let mut report = Report::default();
            for document in parse(0, &text, &mut report) {
                used(&document, &PROJECT, "", &mut seen);
            }
        }
        let seen: BTreeSet<String> = seen.iter().map(|path| shared(path)).collect();
        let missing: Vec<&String> = paths.difference(&seen).collect();
        assert!(paths.len() >= 300, "{} key paths", paths.len());
        assert!(missing.is_empty(), "no case uses {missing:?}");
    }

    #[test]
    fn nearest_names_are_near() {
        let near = |name| nearest(name, SERVICE.names());
        assert_eq!(near("imgae"), Some("image"));
        assert_eq!(near("port"), Some("ports"));
        assert_eq!(near("enviroment"), Some("environment"));
        assert_eq!(near("depends-on"), Some("depends_on"));
        assert_eq!(near("Volumes"), Some("volumes"));
        assert_eq!(near("something_else"), None);
        assert_eq!(near(&"x".repeat(10_000)), None);
    }
}
