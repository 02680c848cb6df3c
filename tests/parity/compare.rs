//! Two answers to one judgement.

use serde_json::{Map, Value};

use crate::forms::{Form, Reading};
use crate::meant;
use crate::programs::Answer;

/// How the two answers stand to each other.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Both accept, with equal values.
    Equal,
    /// Both accept; the first path where they differ, and what each has there.
    Different(String),
    /// Only muster accepts; what the reference says.
    WronglyAccepted(String),
    /// Only the reference accepts, or muster gave no answer; what muster says.
    WronglyRejected(String),
    /// Both reject.
    BothRejected,
    /// They differ, and are meant to; why.
    Meant(&'static str),
    /// The reference has several answers to this; one of them agrees.
    Unsteady,
    /// The reference gave no answer: it was stopped at a limit.
    NoAnswer(String),
}

/// Judges one pair.
pub(crate) fn compare(form: &Form, mine: &Answer, theirs: &Answer) -> Outcome {
    match (mine, theirs) {
        (_, Answer::None(why)) => Outcome::NoAnswer(why.clone()),
        (Answer::None(why), _) => Outcome::WronglyRejected(format!("gave no answer: {why}")),
        (Answer::Rejected(_), Answer::Rejected(_)) => Outcome::BothRejected,
        (Answer::Accepted(_), Answer::Rejected(why)) => Outcome::WronglyAccepted(last_line(why)),
        (Answer::Rejected(why), Answer::Accepted(_)) => {
            Outcome::WronglyRejected(why.lines().next().unwrap_or_default().to_owned())
        }
        (Answer::Accepted(mine), Answer::Accepted(theirs)) => {
            let [mine, theirs] = [mine, theirs].map(|text| value(form.reading, text));
            let mut search = Search { form, path: String::new(), meant: None };
            match (search.difference(&mine, &theirs), search.meant) {
                (None, None) => Outcome::Equal,
                (None, Some(reason)) => Outcome::Meant(reason),
                (Some(words), _) => Outcome::Different(words),
            }
        }
    }
}

/// The reference warns before it refuses.
fn last_line(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.last().unwrap_or_default().to_owned()
}

fn value(reading: Reading, text: &str) -> Value {
    let unreadable = |why: String| Value::from(format!("cannot be read: {why}: {text}"));
    match reading {
        Reading::Json => serde_json::from_str(text).unwrap_or_else(|e| unreadable(e.to_string())),
        Reading::Yaml if text.trim().is_empty() => Value::Object(Map::new()),
        Reading::Yaml => serde_yaml::from_str(text).unwrap_or_else(|e| unreadable(e.to_string())),
        Reading::Lines => sorted(text.lines().map(str::to_owned)),
        Reading::Words => {
            sorted(text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Value {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    Value::from(lines)
}

/// A walk through two values.
struct Search<'f> {
    form: &'f Form,
    path: String,
    /// Why some differences were passed over.
    meant: Option<&'static str>,
}

impl Search<'_> {
    /// Where two values first differ and are not meant to; the order of keys does not count.
    fn difference(&mut self, mine: &Value, theirs: &Value) -> Option<String> {
        match (mine, theirs) {
            (Value::Object(a), Value::Object(b)) => {
                let mut keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
                keys.find_map(|key| self.below(&format!(".{key}"), a.get(key), b.get(key)))
            }
            (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len()))
                .find_map(|at| self.below(&format!("[{at}]"), a.get(at), b.get(at))),
            // 1 and 1.0 are one number.
            (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
            (a, b) if a == b => None,
            (a, b) => self.found(Some(a), Some(b)),
        }
    }

    /// The same one step further down.
    fn below(
        &mut self,
        step: &str,
        mine: Option<&Value>,
        theirs: Option<&Value>,
    ) -> Option<String> {
        let length = self.path.len();
        self.path.push_str(step);
        let found = match (mine, theirs) {
            (Some(mine), Some(theirs)) => self.difference(mine, theirs),
            (mine, theirs) => self.found(mine, theirs),
        };
        self.path.truncate(length);
        found
    }

    fn found(&mut self, mine: Option<&Value>, theirs: Option<&Value>) -> Option<String> {
        match meant::reason(self.form, &self.path) {
            Some(reason) => {
                self.meant = Some(reason);
                None
            }
            None => Some(shown(&self.path, mine, theirs)),
        }
    }
}

fn shown(path: &str, mine: Option<&Value>, theirs: Option<&Value>) -> String {
    let [mine, theirs] = [mine, theirs].map(|value| {
        let text = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        text.chars().take(200).collect::<String>()
    });
    let path = if path.is_empty() { "." } else { path };
    format!("{path}: muster has {mine}, the reference {theirs}")
}
