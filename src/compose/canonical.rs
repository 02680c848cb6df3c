//! One file's tree to its long form: every key known, every value of the right kind.
//!
//! Finds all mistakes of a file in one walk. What a text is cast to, and which keys must be there,
//! can only be said of the merged project; `read` does that.

use super::expand::Expand;
use super::hints;
use super::schema::{Merge, Object, Shape};
use super::source::{Report, Span};
use super::tree::{KeyPath, Kind, Node, Tag, Value};
use super::unique::dedupe;

/// Brings a tree into its long form in place.
pub(crate) fn canonical(
    node: &mut Node,
    shape: &'static Shape,
    path: &mut KeyPath,
    report: &mut Report,
) {
    if node.tag == Tag::Reset {
        // What is thrown away need not be right.
        return;
    }
    match shape {
        Shape::Any => {}
        Shape::Nullable(inner) => {
            if !node.is_null() {
                canonical(node, inner, path, report);
            }
        }
        Shape::Short(expand, inner) => {
            let may_be_list =
                matches!(expand, Expand::PairsToMap | Expand::ListToKeys | Expand::ListToObjects);
            if may_be_list && node.as_scalar().is_some() && !node.is_null() {
                wrong_kind(node, "a list or a mapping", path, report);
                return;
            }
            let taken = std::mem::replace(node, Node::null(node.at));
            if let Some(long) = expand.apply(taken, path, report) {
                *node = long;
                canonical(node, inner, path, report);
            }
        }
        Shape::Either(one, map) => {
            let inner = if node.as_map().is_some() { map } else { one };
            canonical(node, inner, path, report);
        }
        Shape::List(inner) => canonical_list(node, inner, path, report),
        Shape::Map(inner) => canonical_map(node, inner, false, path, report),
        Shape::Named(inner) => canonical_map(node, inner, true, path, report),
        Shape::Object(object) => canonical_object(node, object, path, report),
        Shape::Command => match &node.value {
            Value::List(_) => canonical_list(node, &Shape::Text, path, report),
            Value::Scalar(scalar) if matches!(scalar.kind, Kind::Null | Kind::Text) => {}
            Value::Scalar(_) | Value::Map(_) => {
                wrong_kind(node, "text or a list of texts", path, report);
            }
        },
        Shape::Text => {
            if node.as_text().is_none() {
                wrong_kind(node, "text", path, report);
            }
        }
        Shape::TextOrNumber
            if node.as_scalar().is_some_and(|one| matches!(one.kind, Kind::Float(_))) =>
        {
            wrong_kind(node, "text or a whole number", path, report);
        }
        Shape::TextOrNumber => scalar(node, "text or a number", false, false, path, report),
        Shape::Plain | Shape::Inheritable => {
            scalar(node, "text, a number or a boolean", true, true, path, report);
        }
        Shape::Flag => scalar(node, "`true` or `false`", true, false, path, report),
        Shape::Int { .. } => scalar(node, "a whole number", false, false, path, report),
        Shape::Number => scalar(node, "a number", false, false, path, report),
        Shape::Bytes { .. } => scalar(node, "a size such as `512m`", false, false, path, report),
        Shape::Duration => scalar(node, "a duration such as `1m30s`", false, false, path, report),
        Shape::Mode => scalar(node, "permission bits such as `0440`", false, false, path, report),
        Shape::Choice(_) => {
            if node.as_text().is_none() {
                wrong_kind(node, "text", path, report);
            }
        }
    }
}

fn canonical_list(node: &mut Node, inner: &'static Shape, path: &mut KeyPath, report: &mut Report) {
    let Value::List(items) = &mut node.value else {
        wrong_kind(node, "a list", path, report);
        return;
    };
    items.retain(|item| item.tag != Tag::Reset);
    for (index, item) in items.iter_mut().enumerate() {
        path.item(index, |path| canonical(item, inner, path, report));
    }
}

fn canonical_map(
    node: &mut Node,
    inner: &'static Shape,
    named: bool,
    path: &mut KeyPath,
    report: &mut Report,
) {
    let Value::Map(map) = &mut node.value else {
        wrong_kind(node, "a mapping", path, report);
        return;
    };
    for (key, entry) in map {
        if named && !is_name(key) {
            let message = format!("`{key}` is not a name for an entry of `{}`", path.as_str());
            let error = report.error(entry.key, message);
            drop(error.hint("names have letters, digits, `.`, `_` and `-`"));
        }
        path.within(key, |path| canonical(&mut entry.value, inner, path, report));
    }
}

/// `[a-zA-Z0-9._-]+`
fn is_name(key: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !key.is_empty() && key.bytes().all(good)
}

fn canonical_object(
    node: &mut Node,
    object: &'static Object,
    path: &mut KeyPath,
    report: &mut Report,
) {
    let Value::Map(map) = &mut node.value else {
        wrong_kind(node, "a mapping", path, report);
        return;
    };
    for (key, entry) in map {
        let Some(row) = object.key(key) else {
            if !object.is_extension(key) {
                unknown_key(key, entry.key, object, path, report);
            }
            continue;
        };
        path.within(key, |path| canonical(&mut entry.value, &row.shape, path, report));
        if let (Merge::Unique(by), Value::List(items)) = (row.merge, &mut entry.value.value) {
            dedupe(items, by);
        }
    }
}

fn unknown_key(key: &str, at: Span, object: &Object, path: &KeyPath, report: &mut Report) {
    let place = match path.as_str() {
        "" => format!("unknown key `{key}` in a {}", object.what),
        path => format!("unknown key `{key}` in `{path}`"),
    };
    let hint = if report.is_full() {
        String::new()
    } else {
        hints::unknown_key(key, object, path.as_str())
    };
    drop(report.error(at, place).hint(hint));
}

/// A leaf that must be text or a number, and perhaps a boolean or nothing.
fn scalar(
    node: &Node,
    wanted: &'static str,
    boolean: bool,
    null: bool,
    path: &KeyPath,
    report: &mut Report,
) {
    let fits = node.as_scalar().is_some_and(|scalar| match scalar.kind {
        Kind::Null => null,
        Kind::Bool(_) => boolean,
        Kind::Int(_) | Kind::Float(_) | Kind::Date | Kind::Text => true,
    });
    if !fits {
        wrong_kind(node, wanted, path, report);
    }
}

fn wrong_kind(node: &Node, wanted: &str, path: &KeyPath, report: &mut Report) {
    let path = path.as_str();
    if path.is_empty() {
        let message = format!("a Compose file is a mapping, not {}", node.describe());
        drop(report.error(node.at, message).hint("it begins with `services:`"));
        return;
    }
    if node.is_null() {
        let is_service = path.strip_prefix("services.").is_some_and(|name| !name.contains('.'));
        let wanted = if is_service { "`image:` or `build:`" } else { wanted };
        let error = report.error(node.at, format!("`{path}` has no value"));
        drop(error.hint(format!("give it {wanted}, or remove the key")));
        return;
    }
    let error =
        report.error(node.at, format!("`{path}` must be {wanted}, not {}", node.describe()));
    if let Some(hint) = hints::wrong_kind(node, wanted) {
        drop(error.hint(hint));
    }
}
