//! One file's tree to its long form: every key known, every value of the right kind.
//!
//! Finds all mistakes of a file in one walk. What a text is cast to can only be said of the merged
//! project; `read` does that. What is missing, `complete` sees.
//!
//! Of files whose variables are left alone, texts are what they are: `${X}` is none of the words
//! that a key allows. A short form is made long only where it can be read in spite of them.

use super::expand::Expand;
use super::hints;
use super::raw;
use super::schema::{Merge, Object, Shape, nearest};
use super::source::{Report, Span};
use super::tree::{KeyPath, Kind, Node, Tag, Value};
use super::unique::{UniqueBy, dedupe};

/// Brings a tree into its long form in place.
pub(crate) fn canonical(
    node: &mut Node,
    shape: &'static Shape,
    path: &mut KeyPath,
    report: &mut Report,
) {
    walk(node, shape, path, &mut To { heard: report, unheard: None, raw: false });
}

/// The same for a tree whose variables are left alone. With `any_value` only mistakes that leave
/// nothing to look at are reported.
pub(crate) fn canonical_raw(node: &mut Node, any_value: bool, report: &mut Report) {
    let unheard = any_value.then(Report::default);
    let to = &mut To { heard: report, unheard, raw: true };
    walk(node, &super::schema::PROJECT, &mut KeyPath::default(), to);
}

/// Where messages go.
struct To<'r> {
    heard: &'r mut Report,
    /// Takes what nobody wants to know.
    unheard: Option<Report>,
    raw: bool,
}

impl To<'_> {
    /// For what is wrong with a value.
    fn report(&mut self) -> &mut Report {
        self.unheard.as_mut().unwrap_or(self.heard)
    }
}

fn walk(node: &mut Node, shape: &'static Shape, path: &mut KeyPath, to: &mut To<'_>) {
    if node.tag == Tag::Reset {
        // What is thrown away need not be right.
        return;
    }
    match shape {
        Shape::Any => {}
        Shape::Nullable(inner) => {
            if !node.is_null() {
                walk(node, inner, path, to);
            }
        }
        Shape::Short(expand, inner) if to.raw => short_raw(node, *expand, inner, path, to),
        Shape::Short(expand, inner) => short(node, *expand, inner, path, to),
        Shape::Either(one, map) => {
            let inner = if node.as_map().is_some() { map } else { one };
            walk(node, inner, path, to);
        }
        Shape::List(inner) => canonical_list(node, inner, path, to),
        Shape::Map(inner) => canonical_map(node, inner, false, path, to),
        Shape::Named(inner) => canonical_map(node, inner, true, path, to),
        Shape::Object(object) => canonical_object(node, object, path, to),
        Shape::Command => match &node.value {
            Value::List(_) => canonical_list(node, &Shape::Text, path, to),
            Value::Scalar(scalar) if matches!(scalar.kind, Kind::Null | Kind::Text) => {}
            Value::Scalar(_) | Value::Map(_) => {
                wrong_kind(node, "text or a list of texts", path, to);
            }
        },
        Shape::Text => {
            if node.as_text().is_none() {
                wrong_kind(node, "text", path, to);
            }
        }
        Shape::TextOrNumber
            if node.as_scalar().is_some_and(|one| matches!(one.kind, Kind::Float(_))) =>
        {
            wrong_kind(node, "text or a whole number", path, to);
        }
        Shape::TextOrNumber => scalar(node, "text or a number", false, false, path, to),
        Shape::Plain | Shape::Inheritable => {
            scalar(node, "text, a number or a boolean", true, true, path, to);
        }
        Shape::Flag => scalar(node, "`true` or `false`", true, false, path, to),
        Shape::Int { .. } => scalar(node, "a whole number", false, false, path, to),
        Shape::Number => scalar(node, "a number", false, false, path, to),
        Shape::Bytes { .. } => scalar(node, "a size such as `512m`", false, false, path, to),
        Shape::Duration => scalar(node, "a duration such as `1m30s`", false, false, path, to),
        Shape::Mode => scalar(node, "permission bits such as `0440`", false, false, path, to),
        Shape::Choice(choices) => choice(node, choices, path, to),
    }
}

fn short(
    node: &mut Node,
    expand: Expand,
    inner: &'static Shape,
    path: &mut KeyPath,
    to: &mut To<'_>,
) {
    let may_be_list =
        matches!(expand, Expand::PairsToMap | Expand::ListToKeys | Expand::ListToObjects);
    if may_be_list && node.as_scalar().is_some() && !node.is_null() {
        wrong_kind(node, "a list or a mapping", path, to);
        return;
    }
    let taken = std::mem::replace(node, Node::null(node.at));
    if let Some(long) = expand.apply(taken, path, to.report()) {
        *node = long;
        walk(node, inner, path, to);
    }
}

/// A short form that may have variables in it.
fn short_raw(
    node: &mut Node,
    expand: Expand,
    inner: &'static Shape,
    path: &mut KeyPath,
    to: &mut To<'_>,
) {
    if raw::is_made_long(expand, path) {
        if expand == Expand::Ports && node.as_list().is_none() {
            let message = format!("`{}` must be a list, not {}", path.as_str(), node.describe());
            drop(to.heard.error(node.at, message));
            return;
        }
        let long = match expand {
            // What cannot be read yet may be readable once its variables are known.
            Expand::Ports | Expand::Device => {
                let mut unheard = Report::default();
                let long = expand.apply(node.clone(), path, &mut unheard);
                long.filter(|_| !unheard.failed())
            }
            // These are read in any case, to tell which of two files says the same.
            Expand::Volume | Expand::External => expand.apply(node.clone(), path, to.heard),
            // Of several, one at a time: `ssh` has a form of its own here.
            Expand::Ssh => Expand::PairsToMap.apply(node.clone(), path, to.report()),
            expand => expand.apply(node.clone(), path, to.report()),
        };
        if let Some(long) = long {
            *node = long;
            if expand != Expand::Ssh {
                walk(node, inner, path, to);
            }
        }
        return;
    }
    if expand == Expand::Hosts {
        // What stands where an address should may be a variable.
        Expand::Distinct.apply(node.clone(), path, to.report());
    } else if raw::keeps_form(expand) {
        if expand.apply(node.clone(), path, to.report()).is_some() {
            walk(node, inner, path, to);
        }
    } else {
        short(&mut node.clone(), expand, inner, path, to);
    }
    if let Value::List(items) = &mut node.value
        && expand == Expand::PairsToMap
        && raw::has_unique_pairs(path)
    {
        dedupe(items, UniqueBy::Key);
    }
}

fn choice(node: &Node, choices: &'static [&'static str], path: &KeyPath, to: &mut To<'_>) {
    let Some(text) = node.as_text() else {
        wrong_kind(node, "text", path, to);
        return;
    };
    if choices.contains(&text) {
        return;
    }
    let names: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    let message = format!("`{}` must be one of {}, not `{text}`", path.as_str(), names.join(", "));
    // `healthy` for `service_healthy`.
    let ends = || choices.iter().copied().find(|choice| choice.ends_with(text));
    let near = nearest(text, choices.iter().copied());
    let near = near.or_else(|| ends().filter(|_| text.len() > 2));
    let hint = match near {
        _ if text.is_empty() => {
            Some("is a variable missing? `${NAME:-default}` gives it a value".to_owned())
        }
        near => near.map(|near| format!("did you mean `{near}`?")),
    };
    let error = to.report().error(node.at, message);
    if let Some(hint) = hint {
        drop(error.hint(hint));
    }
}

fn canonical_list(node: &mut Node, inner: &'static Shape, path: &mut KeyPath, to: &mut To<'_>) {
    let Value::List(items) = &mut node.value else {
        wrong_kind(node, "a list", path, to);
        return;
    };
    items.retain(|item| item.tag != Tag::Reset);
    for (index, item) in items.iter_mut().enumerate() {
        path.item(index, |path| walk(item, inner, path, to));
    }
}

fn canonical_map(
    node: &mut Node,
    inner: &'static Shape,
    named: bool,
    path: &mut KeyPath,
    to: &mut To<'_>,
) {
    let Value::Map(map) = &mut node.value else {
        wrong_kind(node, "a mapping", path, to);
        return;
    };
    for (key, entry) in map {
        // Of a list such as `networks: ["${X}"]` the key is made of a value.
        if named && !is_name(key) && !(to.raw && key.contains('$')) {
            let message = format!("`{key}` is not a name for an entry of `{}`", path.as_str());
            let error = to.report().error(entry.key, message);
            drop(error.hint("names have letters, digits, `.`, `_` and `-`"));
        }
        path.within(key, |path| walk(&mut entry.value, inner, path, to));
    }
}

/// `[a-zA-Z0-9._-]+`
fn is_name(key: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !key.is_empty() && key.bytes().all(good)
}

fn canonical_object(node: &mut Node, object: &'static Object, path: &mut KeyPath, to: &mut To<'_>) {
    let Value::Map(map) = &mut node.value else {
        wrong_kind(node, "a mapping", path, to);
        return;
    };
    for (key, entry) in map {
        let Some(row) = object.key(key) else {
            if !object.is_extension(key) {
                unknown_key(key, entry.key, object, path, to);
            }
            continue;
        };
        path.within(key, |path| walk(&mut entry.value, &row.shape, path, to));
        if let (Merge::Unique(by), Value::List(items)) = (row.merge, &mut entry.value.value) {
            dedupe(items, by);
        }
    }
}

fn unknown_key(key: &str, at: Span, object: &Object, path: &KeyPath, to: &mut To<'_>) {
    let place = match path.as_str() {
        "" => format!("unknown key `{key}` in a {}", object.what),
        path => format!("unknown key `{key}` in `{path}`"),
    };
    let hint = if to.report().is_full() {
        String::new()
    } else {
        hints::unknown_key(key, object, path.as_str())
    };
    drop(to.report().error(at, place).hint(hint));
}

/// A leaf that must be text or a number, and perhaps a boolean or nothing.
fn scalar(
    node: &Node,
    wanted: &'static str,
    boolean: bool,
    null: bool,
    path: &KeyPath,
    to: &mut To<'_>,
) {
    let fits = node.as_scalar().is_some_and(|scalar| match scalar.kind {
        Kind::Null => null,
        Kind::Bool(_) => boolean,
        Kind::Int(_) | Kind::Float(_) | Kind::Date | Kind::Text => true,
    });
    if !fits {
        wrong_kind(node, wanted, path, to);
    }
}

fn wrong_kind(node: &Node, wanted: &str, path: &KeyPath, to: &mut To<'_>) {
    let path = path.as_str();
    if path.is_empty() {
        let message = format!("a Compose file is a mapping, not {}", node.describe());
        drop(to.heard.error(node.at, message).hint("it begins with `services:`"));
        return;
    }
    if node.is_null() {
        let is_service = path.strip_prefix("services.").is_some_and(|name| !name.contains('.'));
        let wanted = if is_service { "`image:` or `build:`" } else { wanted };
        let error = to.report().error(node.at, format!("`{path}` has no value"));
        drop(error.hint(format!("give it {wanted}, or remove the key")));
        return;
    }
    let error =
        to.report().error(node.at, format!("`{path}` must be {wanted}, not {}", node.describe()));
    if let Some(hint) = hints::wrong_kind(node, wanted) {
        drop(error.hint(hint));
    }
}
