//! `$VAR`, `${VAR}` and `${VAR:-default}` in values, never in keys.
//!
//! Works on text alone; what a value is cast to is decided where the typed model is read.

use std::collections::{BTreeMap, BTreeSet};

use super::budget::FILLED_BYTES_MAX;
use super::source::{Report, Span};
use super::tree::{Kind, Node, Value};

/// Longest text one value may become.
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Nesting of `${A:-${B:-…}}`; bounds the recursion.
const NESTING_MAX: usize = 64;

/// Why a template could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InterpolationError {
    /// `${` without a name or without its end.
    #[error("invalid interpolation format in `{0}`")]
    Invalid(String),
    /// `${VAR:?reason}` and the variable is missing.
    #[error("required variable {name} is missing a value{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Required {
        /// The variable.
        name: String,
        /// What the file's author says about it; can be empty.
        reason: String,
    },
    /// The result is longer than [`VALUE_BYTES_MAX`].
    #[error("the value grows longer than 1 MiB when its variables are filled in")]
    TooLong,
    /// Defaults inside defaults, without end.
    #[error("variables are nested more than {NESTING_MAX} levels deep")]
    TooDeep,
}

/// Fills in the variables of a text. `unset` gets the name of every variable that has no value and
/// no default.
///
/// # Errors
/// When the text is not a template, a required variable is missing, or a limit is passed.
pub(crate) fn substitute(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> Result<String, InterpolationError> {
    fill(template, lookup, unset, 0)
}

fn fill(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
    depth: usize,
) -> Result<String, InterpolationError> {
    if depth > NESTING_MAX {
        return Err(InterpolationError::TooDeep);
    }
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            out.push('$');
            rest = next;
        } else if let Some(inner) = after.strip_prefix('{') {
            let end = closing_brace(inner)
                .ok_or_else(|| InterpolationError::Invalid(template.to_owned()))?;
            let braced = &inner[..end];
            out.push_str(&fill_braced(template, braced, lookup, unset, depth)?);
            rest = &inner[end + 1..];
        } else {
            let name = &after[..name_length(after)];
            if name.is_empty() {
                out.push('$');
            } else {
                out.push_str(&lookup(name).unwrap_or_else(|| {
                    unset(name);
                    String::new()
                }));
            }
            rest = &after[name.len()..];
        }
        if out.len() > VALUE_BYTES_MAX {
            return Err(InterpolationError::TooLong);
        }
    }
    out.push_str(rest);
    if out.len() > VALUE_BYTES_MAX {
        return Err(InterpolationError::TooLong);
    }
    Ok(out)
}

/// What stands between the braces: a name and perhaps an operator and its argument.
fn fill_braced(
    template: &str,
    braced: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
    depth: usize,
) -> Result<String, InterpolationError> {
    let invalid = || InterpolationError::Invalid(template.to_owned());
    let (name, operator) = braced.split_at(name_length(braced));
    if name.is_empty() || braced.contains('\n') {
        return Err(invalid());
    }
    let value = lookup(name);
    if operator.is_empty() {
        return Ok(value.unwrap_or_else(|| {
            unset(name);
            String::new()
        }));
    }
    let (or_empty, operator) = match operator.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let present = value.filter(|value| !(or_empty && value.is_empty()));
    let argument = operator.get(1..).unwrap_or_default();
    match (operator.as_bytes().first(), present) {
        (Some(b'-' | b'?'), Some(value)) => Ok(value),
        (Some(b'-'), None) | (Some(b'+'), Some(_)) => fill(argument, lookup, unset, depth + 1),
        (Some(b'+'), None) => Ok(String::new()),
        (Some(b'?'), None) => Err(InterpolationError::Required {
            name: name.to_owned(),
            reason: fill(argument, lookup, unset, depth + 1)?,
        }),
        _ => Err(invalid()),
    }
}

/// Bytes of the variable name that the text begins with.
pub(super) fn name_length(text: &str) -> usize {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if !text.bytes().next().is_some_and(letter) {
        return 0;
    }
    text.bytes().take_while(|byte| letter(*byte) || byte.is_ascii_digit()).count()
}

/// Where the brace that opened before this text is closed.
pub(super) fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

/// Fills in every value of a tree. Each unset variable is told once.
#[derive(Debug)]
pub(crate) struct Interpolator<'a> {
    environment: &'a BTreeMap<String, String>,
    unset: BTreeSet<String>,
    /// Required variables that are missing.
    missing: BTreeSet<String>,
}

impl<'a> Interpolator<'a> {
    pub(crate) fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { environment, unset: BTreeSet::new(), missing: BTreeSet::new() }
    }

    /// Changes a tree in place.
    pub(crate) fn apply(&mut self, node: &mut Node, report: &mut Report) {
        match &mut node.value {
            Value::Scalar(scalar) => {
                if scalar.kind == Kind::Text
                    && scalar.text.contains('$')
                    && let Some(text) = self.text(&scalar.text, node.at, report)
                {
                    scalar.text = text;
                }
            }
            Value::List(items) => {
                for item in items {
                    self.apply(item, report);
                }
            }
            Value::Map(map) => {
                for entry in map.values_mut() {
                    self.apply(&mut entry.value, report);
                }
            }
        }
    }

    /// Fills in one text; `None` after an error was reported.
    pub(crate) fn text(&mut self, template: &str, at: Span, report: &mut Report) -> Option<String> {
        if report.budgets.filled.is_spent() {
            return None;
        }
        let mut fresh = Vec::new();
        let lookup = |name: &str| self.environment.get(name).cloned();
        let result = substitute(template, &lookup, &mut |name| {
            if !self.unset.contains(name) {
                fresh.push(name.to_owned());
            }
        });
        for name in fresh {
            if self.unset.insert(name.clone()) {
                let message =
                    format!("variable `{name}` is not set; an empty text takes its place");
                let warning = report.warning(at, message);
                drop(warning.hint(format!("set it in `.env`, or write `${{{name}:-default}}`")));
            }
        }
        match result {
            Ok(text) if report.budgets.filled.take(text.len()) => Some(text),
            Ok(_) => {
                let most = FILLED_BYTES_MAX / 1024 / 1024;
                let message = format!("variables make this project larger than {most} MiB");
                let hint = "a variable with a long value is used too often";
                drop(report.error(at, message).hint(hint));
                None
            }
            Err(InterpolationError::Required { name, .. }) if self.missing.contains(&name) => {
                report.repeat(at);
                None
            }
            Err(error) => {
                let pending = report.error(at, error.to_string());
                match error {
                    InterpolationError::Invalid(text) => drop(pending.hint(invalid_hint(&text))),
                    InterpolationError::Required { name, .. } => {
                        drop(pending.hint(format!("set {name} in the environment or in `.env`")));
                        self.missing.insert(name);
                    }
                    InterpolationError::TooLong => {
                        drop(pending.hint("put the text in a file, and mount it"));
                    }
                    InterpolationError::TooDeep => {
                        drop(pending.hint("give the inner default to a variable of its own"));
                    }
                }
                None
            }
        }
    }
}

fn invalid_hint(text: &str) -> &'static str {
    let inside = |(at, _): (usize, &str)| &text[at + 2..];
    let is_open = text.match_indices("${").map(inside).any(|rest| closing_brace(rest).is_none());
    if is_open {
        return "a `}` is missing; a `$` that is meant as such is written `$$`";
    }
    "write `${NAME}` or `${NAME:-default}`; a `$` that is meant as such is written `$$`"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(template: &str) -> (Result<String, String>, Vec<String>) {
        let lookup = |name: &str| match name {
            "FOO" => Some("first".to_owned()),
            "BAR" => Some(String::new()),
            "json" => Some("{}".to_owned()),
            _ => None,
        };
        let mut unset = Vec::new();
        let result = substitute(template, &lookup, &mut |name| unset.push(name.to_owned()));
        (result.map_err(|error| error.to_string()), unset)
    }

    #[track_caller]
    fn check(template: &str, expected: &str) {
        assert_eq!(run(template).0.as_deref(), Ok(expected), "{template}");
    }

    #[track_caller]
    fn refused(template: &str, expected: &str) {
        let error = run(template).0.unwrap_err();
        assert!(error.contains(expected), "{template}: {error}");
    }

    #[test]
    fn plain_and_braced_names() {
        check("$FOO ${FOO}x $FOO-x", "first firstx first-x");
        check("$BAR$missing", "");
        check("a$$FOO $${FOO}", "a$FOO ${FOO}");
        check("cost $5, $ and $", "cost $5, $ and $");
        check("$json", "{}");
    }

    #[test]
    fn defaults_alternatives_and_requirements() {
        check("${FOO:-d} ${BAR:-d} ${NO:-d} ${NO:-}", "first d d ");
        check("${FOO-d} ${BAR-d} ${NO-d}", "first  d");
        check("${FOO:+a} ${BAR:+a} ${NO:+a}", "a  ");
        check("${FOO+a} ${BAR+a} ${NO+a}", "a a ");
        check("${FOO:?x} ${FOO?x} ${BAR?x}", "first first ");
        refused("${BAR:?say why}", "required variable BAR is missing a value: say why");
        refused("${NO?}", "required variable NO is missing a value");
        check("${NO:-http://x:80/?a=b}", "http://x:80/?a=b");
    }

    #[test]
    fn nesting() {
        check("${NO:-${ALSO:-${FOO}}}", "first");
        check("${NO:-a${FOO}b} c", "afirstb c");
        check("${NO:-{\"a\": 1}} x", "{\"a\": 1} x");
        refused("${NO:?needs ${FOO}}", "needs first");
        refused(&format!("{}x{}", "${A:-".repeat(80), "}".repeat(80)), "nested");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for template in
            ["${}", "${ FOO}", "${FOO", "${FOO!}", "${5}", "${FOO:}", "${a b}", "${:-x}"]
        {
            refused(template, "invalid interpolation format");
        }
    }

    #[test]
    fn unset_variables_are_named() {
        assert_eq!(run("$A ${B} ${C:-x} ${FOO}").1, ["A", "B"]);
    }

    #[test]
    fn a_value_cannot_grow_without_bound() {
        let big = "x".repeat(10_000);
        let lookup = |_: &str| Some(big.clone());
        let result = substitute(&"$A".repeat(200), &lookup, &mut |_| {});
        assert_eq!(result, Err(InterpolationError::TooLong));
    }
}
