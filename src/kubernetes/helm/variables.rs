//! `${VARIABLES}` of the Compose file that become values of the chart, where they stand in plain
//! variables of a container or in its image. What cannot be put back exactly stays as it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Source;
use crate::kubernetes::{expand, names, secret_like};

/// The variables that were used so far.
pub(super) struct Variables<'a> {
    source: &'a Source<'a>,
    used: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(source: &'a Source<'a>) -> Self {
        Self { source, used: BTreeMap::new() }
    }

    /// Those that values use, with what they are.
    pub(super) fn used(&self) -> Value {
        json!(self.used)
    }

    /// The value of a variable of a container, for `tpl`.
    pub(super) fn value(&mut self, container: &str, name: &str, value: &str) -> String {
        let raw = self.raw(container, |service| {
            let environment = service.get("environment")?;
            match environment {
                Value::Object(map) => map.get(name)?.as_str().map(str::to_owned),
                Value::Array(items) => items.iter().filter_map(Value::as_str).find_map(|item| {
                    let (key, value) = item.split_once('=')?;
                    (key == name).then(|| value.to_owned())
                }),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            }
        });
        let found = raw.and_then(|raw| self.template(&raw, value));
        found.unwrap_or_else(|| escaped(value))
    }

    /// The parts of an image, for `tpl`.
    pub(super) fn image(&mut self, container: &str, mut parts: Value) -> Value {
        let raw = self.raw(container, |service| service.get("image")?.as_str().map(str::to_owned));
        // Only a tag is what people change; a variable elsewhere may hold several parts.
        let tag = parts["tag"].as_str().unwrap_or_default().to_owned();
        let repository = parts["repository"].as_str().unwrap_or_default().to_owned();
        let raw_tag = raw.as_deref().and_then(|raw| raw.strip_prefix(&format!("{repository}:")));
        if let Some(text) = raw_tag.and_then(|raw| self.template(raw, &tag)) {
            parts["tag"] = json!(text);
        }
        parts
    }

    fn raw(&self, container: &str, get: impl Fn(&Value) -> Option<String>) -> Option<String> {
        let services = self.source.raw?.get("services")?.as_object()?;
        let mut found = services.iter().filter(|(key, _)| names::label(key) == container);
        let (_, service) = found.next()?;
        get(service).filter(|text| text.contains('$'))
    }

    /// The text with `.Values.variables` in it; none unless that gives exactly `value`.
    fn template(&mut self, raw: &str, value: &str) -> Option<String> {
        let (mut text, mut filled) = (String::new(), String::new());
        let mut used = Vec::new();
        for piece in pieces(raw)? {
            match piece {
                Piece::Text(piece) => {
                    text.push_str(&escaped(&expand::literal(piece)));
                    filled.push_str(piece);
                }
                Piece::Variable { name, default, empty_too } => {
                    let set = self.source.project.environment.get(name).map(String::as_str);
                    let set = set.filter(|value| !(empty_too && value.is_empty()));
                    let now = set.or(default).unwrap_or_default();
                    if secret_like::is_variable(name, now) || now.contains('$') {
                        return None;
                    }
                    text.push_str(&format!("{{{{ .Values.variables.{name} }}}}"));
                    filled.push_str(now);
                    used.push((name.to_owned(), now.to_owned()));
                }
            }
        }
        // One variable with two defaults is two values.
        let fits = used.iter().all(|(name, now)| self.used.get(name).is_none_or(|it| it == now));
        if expand::literal(&filled) != value || used.is_empty() || !fits {
            return None;
        }
        self.used.extend(used);
        Some(text)
    }
}

/// Text that `tpl` leaves alone.
fn escaped(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str>, empty_too: bool },
}

/// The pieces of a text; none when there is more in it than variables with plain defaults.
fn pieces(raw: &str) -> Option<Vec<Piece<'_>>> {
    let mut found = Vec::new();
    let mut rest = raw;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            found.push(Piece::Text(&rest[..at]));
        }
        let after = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(inner) = after.strip_prefix('{') {
            let (inside, tail) = inner.split_once('}')?;
            let end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
            let (name, operator) = inside.split_at(end);
            let (default, empty_too) = match operator {
                "" => (None, false),
                text if text.starts_with(":-") => (Some(&text[2..]), true),
                text if text.starts_with('-') => (Some(&text[1..]), false),
                text if text.starts_with(":?") || text.starts_with('?') => (None, false),
                _ => return None,
            };
            if default.is_some_and(|default| default.contains('$')) || name.is_empty() {
                return None;
            }
            found.push(Piece::Variable { name, default, empty_too });
            rest = tail;
        } else if let Some(tail) = after.strip_prefix('$') {
            found.push(Piece::Text("$"));
            rest = tail;
        } else {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            if end == 0 {
                return None;
            }
            found.push(Piece::Variable { name: &after[..end], default: None, empty_too: false });
            rest = &after[end..];
        }
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Some(found)
}
