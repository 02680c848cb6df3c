//! The merged tree to plain values of the right type: texts are cast, ranges and required keys
//! checked. What comes out is the canonical form that the model is read from.

use serde_json::{Map as JsonMap, Value as Json};

use super::command;
use crate::compose::project::{format_duration, parse_bytes, parse_duration};
use crate::compose::scalar::format_float;
use crate::compose::schema::{Object, Shape};
use crate::compose::source::Report;
use crate::compose::tree::{KeyPath, Kind, Node, Scalar};

/// Where messages go, and whether a key may still come from elsewhere.
#[derive(Debug)]
pub(crate) struct Sink<'r> {
    /// The messages.
    pub(crate) report: &'r mut Report,
    /// Whether all files are merged, so that what is missing now stays missing.
    pub(crate) complete: bool,
}

/// Casts one value. After an error was reported the result is null and means nothing.
pub(crate) fn convert(
    node: &Node,
    shape: &'static Shape,
    path: &mut KeyPath,
    to: &mut Sink<'_>,
) -> Json {
    match shape {
        Shape::Any => node.to_json(),
        Shape::Short(_, inner) => convert(node, inner, path, to),
        Shape::Nullable(_) if node.is_null() => Json::Null,
        Shape::Nullable(inner) => convert(node, inner, path, to),
        Shape::Either(_, map) if node.as_map().is_some() => convert(node, map, path, to),
        Shape::Either(one, _) => convert(node, one, path, to),
        Shape::List(inner) => list(node, inner, path, to),
        Shape::Map(inner) | Shape::Named(inner) => map(node, inner, path, to),
        Shape::Object(object) => convert_object(node, object, path, to),
        Shape::Command if node.as_list().is_some() => list(node, &Shape::Text, path, to),
        Shape::Text
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
        | Shape::Command => match node.as_scalar() {
            Some(scalar) => leaf(node, scalar, shape, path, to),
            // `canonical` has reported it.
            None => Json::Null,
        },
    }
}

fn list(node: &Node, inner: &'static Shape, path: &mut KeyPath, to: &mut Sink<'_>) -> Json {
    let items = node.as_list().unwrap_or_default().iter().enumerate();
    items.map(|(at, item)| path.item(at, |path| convert(item, inner, path, to))).collect()
}

fn map(node: &Node, inner: &'static Shape, path: &mut KeyPath, to: &mut Sink<'_>) -> Json {
    let Some(map) = node.as_map() else { return Json::Null };
    let mut out = JsonMap::with_capacity(map.len());
    for (key, entry) in map {
        let value = path.within(key, |path| convert(&entry.value, inner, path, to));
        out.insert(key.clone(), value);
    }
    Json::Object(out)
}

fn convert_object(
    node: &Node,
    object: &'static Object,
    path: &mut KeyPath,
    to: &mut Sink<'_>,
) -> Json {
    let Some(map) = node.as_map() else { return Json::Null };
    let mut out = JsonMap::with_capacity(map.len());
    for (key, entry) in map {
        let shape = object.key(key).map_or(&Shape::Any, |row| &row.shape);
        let value = path.within(key, |path| convert(&entry.value, shape, path, to));
        // A key without a value says nothing, except in extensions, which are not ours to judge.
        let unset = to.complete && is_unset(&value, shape, object.what, key);
        let said = !value.is_null() && !unset;
        // A hook must have a command, and may have none of its own.
        let bare_hook = object.what == "hook" && key == "command";
        if said || bare_hook || object.is_extension(key) {
            out.insert(key.clone(), value);
        }
    }
    Json::Object(out)
}

/// Keys of objects whose zero, `false` or empty text is not the same as leaving them out.
const ZERO_COUNTS: &[(&str, &[&str])] = &[
    ("bind", &["create_host_path"]),
    ("config", &["content", "environment", "file"]),
    ("deploy", &["replicas"]),
    ("depends_on", &["required"]),
    ("discrete_resource_spec", &["value"]),
    ("env_file", &["path", "required"]),
    ("healthcheck", &["interval", "retries", "start_interval", "start_period", "timeout"]),
    ("job", &["init", "stop_grace_period"]),
    ("limit of a device", &["path", "rate"]),
    ("network", &["enable_ipv4", "enable_ipv6"]),
    ("port", &["host_ip"]),
    ("pre_start", &["init", "stop_grace_period"]),
    ("restart_policy", &["delay", "max_attempts", "window"]),
    ("secret", &["environment", "file"]),
    ("service", &["attach", "init", "scale", "stop_grace_period"]),
    ("triggers", &["manual"]),
    ("ulimit", &["hard", "soft"]),
    ("update_config", &["parallelism"]),
    ("weight of a device", &["path", "weight"]),
];

/// Whether a value says no more than its absence does; the reference forgets such values.
fn is_unset(value: &Json, shape: &'static Shape, what: &str, key: &str) -> bool {
    let nothing = match shape.inner() {
        Shape::Text | Shape::TextOrNumber | Shape::Plain | Shape::Inheritable => value == "",
        Shape::Flag => *value == Json::Bool(false),
        Shape::Int { .. } | Shape::Number => value.as_f64() == Some(0.0),
        Shape::Bytes { .. } => value == "0",
        Shape::Duration => value == "0s",
        Shape::List(_) => value.as_array().is_some_and(Vec::is_empty),
        Shape::Map(_) | Shape::Named(_) => value.as_object().is_some_and(JsonMap::is_empty),
        Shape::Any
        | Shape::Mode
        | Shape::Choice(_)
        | Shape::Command
        | Shape::Object(_)
        | Shape::Nullable(_)
        | Shape::Either(..)
        | Shape::Short(..) => false,
    };
    nothing && !ZERO_COUNTS.iter().any(|(object, keys)| *object == what && keys.contains(&key))
}

fn leaf(
    node: &Node,
    scalar: &Scalar,
    shape: &'static Shape,
    path: &KeyPath,
    to: &mut Sink<'_>,
) -> Json {
    let cast = match shape {
        Shape::Inheritable if scalar.kind == Kind::Null => Ok(Json::Null),
        // `canonical` has seen that it is one of the words.
        Shape::Text
        | Shape::TextOrNumber
        | Shape::Plain
        | Shape::Inheritable
        | Shape::Choice(_) => Ok(Json::from(scalar.display())),
        Shape::Flag => flag(node, scalar, path, to),
        Shape::Int { min, max } => int(scalar, *min, *max),
        Shape::Number => number(scalar),
        Shape::Bytes { negative } => bytes(scalar, *negative),
        Shape::Duration => duration(scalar),
        Shape::Mode => mode(scalar),
        Shape::Command => split(scalar),
        Shape::Any
        | Shape::List(_)
        | Shape::Map(_)
        | Shape::Named(_)
        | Shape::Object(_)
        | Shape::Nullable(_)
        | Shape::Either(..)
        | Shape::Short(..) => Ok(node.to_json()),
    };
    match cast {
        Ok(value) => value,
        Err(Mismatch { wanted, hint }) => {
            let shown = scalar.display();
            let message = format!("`{}` must be {wanted}, not `{shown}`", path.as_str());
            let error = to.report.error(node.at, message);
            if shown.is_empty() {
                drop(error.hint("is a variable missing? `${NAME:-default}` gives it a value"));
            } else if let Some(hint) = hint {
                drop(error.hint(hint));
            }
            Json::Null
        }
    }
}

/// Why a text is not what a key wants.
struct Mismatch {
    wanted: String,
    hint: Option<String>,
}

fn mismatch(wanted: impl Into<String>) -> Mismatch {
    Mismatch { wanted: wanted.into(), hint: None }
}

type Cast = Result<Json, Mismatch>;

fn flag(node: &Node, scalar: &Scalar, path: &KeyPath, to: &mut Sink<'_>) -> Cast {
    if let Kind::Bool(value) = scalar.kind {
        return Ok(Json::Bool(value));
    }
    let value = match scalar.text.to_ascii_lowercase().as_str() {
        "true" => return Ok(Json::Bool(true)),
        "false" => return Ok(Json::Bool(false)),
        "y" | "yes" | "on" => true,
        "n" | "no" | "off" => false,
        "1" | "0" => {
            let hint = Some(format!("write `{}`", scalar.text == "1"));
            return Err(Mismatch { hint, ..mismatch("`true` or `false`") });
        }
        _ => return Err(mismatch("`true` or `false`")),
    };
    let message = format!("`{}` is `{}`, which YAML 1.2 reads as text", path.as_str(), scalar.text);
    drop(to.report.warning(node.at, message).hint(format!("write `{value}`")));
    Ok(Json::Bool(value))
}

fn int(scalar: &Scalar, min: i64, max: i64) -> Cast {
    let wanted = || match (min, max) {
        (i64::MIN, i64::MAX) => "a whole number".to_owned(),
        (0, max) if max >= i64::from(u32::MAX) => "a whole number that is not negative".to_owned(),
        (min, max) => format!("a whole number from {min} to {max}"),
    };
    let value = match scalar.kind {
        Kind::Int(value) => i64::try_from(value).ok(),
        Kind::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i64),
        Kind::Text => scalar.text.parse().ok(),
        Kind::Float(_) | Kind::Bool(_) | Kind::Null | Kind::Date => None,
    };
    let value = value.filter(|value| (min..=max).contains(value));
    value.map(Json::from).ok_or_else(|| mismatch(wanted()))
}

fn number(scalar: &Scalar) -> Cast {
    let value = match scalar.kind {
        Kind::Int(value) => Some(value as f64),
        Kind::Float(value) => Some(value),
        Kind::Text => scalar.text.parse().ok(),
        Kind::Bool(_) | Kind::Null | Kind::Date => None,
    };
    let number = value.and_then(serde_json::Number::from_f64);
    number.map(Json::Number).ok_or_else(|| mismatch("a number"))
}

fn bytes(scalar: &Scalar, negative: bool) -> Cast {
    let wanted = || mismatch("a size such as `512m`");
    match scalar.kind {
        Kind::Int(value) if value >= 0 || (negative && value == -1) => {
            Ok(Json::from(value.to_string()))
        }
        Kind::Float(value) if value >= 0.0 => Ok(Json::from(format_float(value.trunc()))),
        Kind::Text if negative && scalar.text == "-1" => Ok(Json::from("-1")),
        Kind::Text => match parse_bytes(&scalar.text) {
            Some(bytes) => Ok(Json::from(bytes.to_string())),
            None => Err(Mismatch {
                hint: Some("units are `b`, `k`, `m`, `g`, each 1024 of the one before".to_owned()),
                ..wanted()
            }),
        },
        Kind::Int(_) | Kind::Float(_) | Kind::Bool(_) | Kind::Null | Kind::Date => Err(wanted()),
    }
}

fn duration(scalar: &Scalar) -> Cast {
    if let Some(value) = parse_duration(&scalar.text).filter(|_| scalar.kind == Kind::Text) {
        return Ok(Json::from(format_duration(value)));
    }
    let number = scalar.text.parse::<f64>().is_ok();
    let hint = match number {
        true => format!("add a unit: `{}s`", scalar.text),
        false => "units are `h`, `m`, `s`, `ms`, without spaces".to_owned(),
    };
    Err(Mismatch { hint: Some(hint), ..mismatch("a duration such as `1m30s`") })
}

fn mode(scalar: &Scalar) -> Cast {
    let value = match scalar.kind {
        Kind::Int(value) => u32::try_from(value).ok(),
        Kind::Text => u32::from_str_radix(&scalar.text, 8).ok(),
        Kind::Float(_) | Kind::Bool(_) | Kind::Null | Kind::Date => None,
    };
    let value = value.ok_or_else(|| mismatch("permission bits such as `0440`"))?;
    Ok(Json::from(format!("0{value:o}")))
}

fn split(scalar: &Scalar) -> Cast {
    if scalar.kind == Kind::Null {
        return Ok(Json::Null);
    }
    let words = command::split(&scalar.text).ok_or_else(|| Mismatch {
        hint: Some("a quote or a bracket is not closed; the list form needs no quotes".to_owned()),
        ..mismatch("a command line")
    })?;
    Ok(Json::from(words))
}
