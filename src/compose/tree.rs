//! The tree a Compose file is while it is worked on: every node knows where it was written.
//!
//! Holds no rule of Compose and none of YAML's syntax: `parse` builds it, the others change it.

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::scalar;
use super::source::Span;

/// A mapping in the order written.
pub(crate) type Map = IndexMap<String, Entry>;

/// A key's place and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Where the key was written.
    pub(crate) key: Span,
    /// What it maps to.
    pub(crate) value: Node,
}

/// What a tag asks of a merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tag {
    /// Merge as usual.
    #[default]
    None,
    /// `!reset`: forget what earlier files said, and this value too.
    Reset,
    /// `!override`: replace what earlier files said.
    Override,
}

/// One value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) at: Span,
    /// `!reset` or `!override`.
    pub(crate) tag: Tag,
}

/// The three shapes of YAML.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A leaf.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping with text keys.
    Map(Map),
}

/// A leaf: its text as written, and what it resolved to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    /// The text after YAML's escapes.
    pub(crate) text: String,
    /// What a plain scalar resolved to; quoted ones are always text.
    pub(crate) kind: Kind,
}

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number between -2^63 and 2^64.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A date; Compose refuses them where it wants text.
    Date,
    /// Text.
    Text,
}

impl Node {
    /// A node that no file says; it borrows the place of what caused it.
    pub(crate) fn new(value: Value, at: Span) -> Self {
        Self { value, at, tag: Tag::None }
    }

    /// Text.
    pub(crate) fn text(text: impl Into<String>, at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: text.into(), kind: Kind::Text }), at)
    }

    /// A whole number.
    pub(crate) fn int(value: i128, at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: value.to_string(), kind: Kind::Int(value) }), at)
    }

    /// True or false.
    pub(crate) fn bool(value: bool, at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: value.to_string(), kind: Kind::Bool(value) }), at)
    }

    /// Nothing.
    pub(crate) fn null(at: Span) -> Self {
        Self::new(Value::Scalar(Scalar { text: String::new(), kind: Kind::Null }), at)
    }

    /// A mapping of the given pairs.
    pub(crate) fn map(pairs: impl IntoIterator<Item = (&'static str, Self)>, at: Span) -> Self {
        let entry = |(key, value): (&str, Self)| (key.to_owned(), Entry { key: at, value });
        Self::new(Value::Map(pairs.into_iter().map(entry).collect()), at)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(Scalar { kind: Kind::Null, .. }))
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The text, when this is text and not a number or null.
    pub(crate) fn as_text(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| scalar.kind == Kind::Text).map(|one| one.text.as_str())
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key).map(|entry| &entry.value)
    }

    /// How many values this is, itself and all below.
    pub(crate) fn n_nodes(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::n_nodes).sum(),
            Value::Map(map) => map.values().map(|entry| entry.value.n_nodes()).sum(),
        }
    }

    /// What kind of value this is, in words for a message.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => "nothing",
                Kind::Bool(_) => "a boolean",
                Kind::Int(_) | Kind::Float(_) => "a number",
                Kind::Date => "a date",
                Kind::Text => "text",
            },
        }
    }

    /// The value without its places.
    pub(crate) fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.to_json(),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(map) => {
                let pair = |(key, entry): (&String, &Entry)| (key.clone(), entry.value.to_json());
                Json::Object(map.iter().map(pair).collect())
            }
        }
    }
}

impl Scalar {
    /// The value as the text Compose makes of it where it wants text: `0644` is `420`.
    pub(crate) fn display(&self) -> String {
        match self.kind {
            Kind::Null => String::new(),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            Kind::Float(value) => scalar::format_float(value),
            Kind::Date => scalar::date_texts(&self.text)[0].clone(),
            Kind::Text => self.text.clone(),
        }
    }

    fn to_json(&self) -> Json {
        match self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(value) => Json::Bool(value),
            Kind::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => Json::from(value),
                (Err(_), Ok(value)) => Json::from(value),
                (Err(_), Err(_)) => Json::from(self.text.as_str()),
            },
            Kind::Float(value) => {
                serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
            }
            Kind::Date => Json::from(scalar::date_texts(&self.text)[1].as_str()),
            Kind::Text => Json::from(self.text.as_str()),
        }
    }
}

/// A key path such as `services.web.ports[0]`, grown and shrunk while a tree is walked.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyPath(String);

impl KeyPath {
    /// Runs `body` with one more key, and takes the key off again.
    pub(crate) fn within<T>(&mut self, key: &str, body: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        if length > 0 {
            self.0.push('.');
        }
        self.0.push_str(key);
        let result = body(self);
        self.0.truncate(length);
        result
    }

    /// Runs `body` inside one item of a list.
    pub(crate) fn item<T>(&mut self, index: usize, body: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push_str(&format!("[{index}]"));
        let result = body(self);
        self.0.truncate(length);
        result
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
