//! Puts expressions of Helm into YAML. Marks stand in a value where an expression is to be; the value
//! is written as YAML, and then the marks are replaced, so that all the rest is quoted as ever.

use serde_json::Value;

use crate::kubernetes::plain;

/// Marks, each with what takes its place.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Place>);

#[derive(Debug)]
enum Place {
    /// A value within a line.
    Inline(String),
    /// The whole line of a key; `@KEY@` stands for the key, `@INDENT@` for the columns that what is
    /// below it is moved in.
    Line(String),
}

impl Marks {
    /// A value that is an expression: `{{ .Values.a | quote }}`.
    pub(super) fn inline(&mut self, expression: impl Into<String>) -> Value {
        self.mark(Place::Inline(expression.into()))
    }

    /// A key whose whole line is a piece of a template.
    pub(super) fn line(&mut self, piece: impl Into<String>) -> Value {
        self.mark(Place::Line(piece.into()))
    }

    fn mark(&mut self, place: Place) -> Value {
        self.0.push(place);
        Value::String(format!("MUSTERMARK{:05}X", self.0.len() - 1))
    }

    /// The value as a template.
    pub(super) fn render(&self, value: &Value) -> String {
        let mut text = String::new();
        for line in plain::yaml(value).lines() {
            let (before, place, after) = match self.find(line) {
                Some(found) => found,
                None => {
                    text.push_str(&escaped(line));
                    text.push('\n');
                    continue;
                }
            };
            match place {
                Place::Inline(expression) => {
                    text.push_str(&format!("{}{expression}{}\n", escaped(before), escaped(after)));
                }
                Place::Line(piece) => text.push_str(&whole(before, piece)),
            }
        }
        text
    }

    fn find<'a>(&'a self, line: &'a str) -> Option<(&'a str, &'a Place, &'a str)> {
        let at = line.find("MUSTERMARK")?;
        let end = at + "MUSTERMARK00000X".len();
        let number = line.get(at + "MUSTERMARK".len()..end - 1)?.parse::<usize>().ok()?;
        Some((&line[..at], self.0.get(number)?, &line[end..]))
    }
}

/// What begins an expression of Helm, as text.
fn escaped(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

fn whole(before: &str, piece: &str) -> String {
    let n_spaces = before.len() - before.trim_start().len();
    let key = before.trim().trim_end_matches(':').trim_matches('"');
    let spaces = &before[..n_spaces];
    let mut text = String::new();
    for line in piece.lines() {
        let line = line.replace("@KEY@", key);
        let line = line.replace("@INDENT@", &(n_spaces + 2).to_string());
        text.push_str(&format!("{spaces}{line}\n"));
    }
    text
}
