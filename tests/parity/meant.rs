//! Differences from the reference that are meant.

use crate::forms::{Form, Reading};

/// Rows of a kind of output, key paths, and a reason, tab between them. `*` in a path is anything.
const ROWS: &str = include_str!("meant.tsv");

/// Why two values are to differ at this path, if they are.
pub(crate) fn reason(form: &Form, path: &str) -> Option<&'static str> {
    let kind = match form.reading {
        Reading::Json => "json",
        Reading::Yaml => "yaml",
        Reading::Lines | Reading::Words => "lines",
    };
    let rows = ROWS.lines().skip(1).filter_map(|row| row.split_once('\t'));
    rows.filter(|(of, _)| *of == kind)
        .filter_map(|(_, rest)| rest.split_once('\t'))
        .find_map(|(paths, reason)| fits(paths, path).then_some(reason))
}

fn fits(paths: &str, path: &str) -> bool {
    let mut parts = paths.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = paths.rsplit_once('*').map(|(_, last)| last) else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    path.ends_with(last)
}
