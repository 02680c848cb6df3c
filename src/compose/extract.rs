//! The variables that a project asks for, with what stands in for each.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::interpolate::{closing_brace, name_length};

/// Nesting of `${A:-${B:-…}}` that is looked into; bounds the recursion.
const NESTING_MAX: usize = 64;

/// One variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it is when it has no value: `${NAME:-this}`.
    pub default_value: String,
    /// What takes its place when it has one: `${NAME:+this}`.
    pub presence_value: String,
    /// Whether the project cannot be loaded without it: `${NAME:?}`.
    pub required: bool,
}

/// The variables in all texts of a value, by name. Of several uses one that requires it makes it
/// required, and the first default counts.
pub fn variables(value: &Json) -> BTreeMap<String, Variable> {
    let mut found = BTreeMap::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Json, found: &mut BTreeMap<String, Variable>) {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
        Json::String(text) => of_text(text, 0, &mut |variable| add(variable, found)),
        Json::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Json::Object(map) => map.values().for_each(|item| collect(item, found)),
    }
}

fn add(variable: Variable, found: &mut BTreeMap<String, Variable>) {
    let Variable { name, default_value, presence_value, required } = variable;
    let known = found.entry(name.clone()).or_default();
    known.name = name;
    known.required |= required;
    if known.default_value.is_empty() {
        known.default_value = default_value;
    }
    if known.presence_value.is_empty() {
        known.presence_value = presence_value;
    }
}

fn of_text(text: &str, depth: usize, found: &mut dyn FnMut(Variable)) {
    if depth > NESTING_MAX {
        return;
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        if let Some(next) = after.strip_prefix('$') {
            rest = next;
        } else if let Some(inner) = after.strip_prefix('{') {
            rest = of_braces(inner, depth, found);
        } else {
            let name = &after[..name_length(after)];
            if !name.is_empty() {
                found(Variable { name: name.to_owned(), ..Variable::default() });
            }
            rest = &after[name.len()..];
        }
    }
}

/// What follows `${`. Returns what was not looked at.
fn of_braces<'t>(inner: &'t str, depth: usize, found: &mut dyn FnMut(Variable)) -> &'t str {
    let line = inner.split('\n').next().unwrap_or_default();
    let end = closing_brace(line);
    let Some((end, variable)) = end.and_then(|end| Some((end, braced(&line[..end])?))) else {
        // What is no template is shown too: it has no name.
        found(Variable::default());
        return inner;
    };
    // The reference looks at the rest of a line first when the variable has a default, and the
    // first default counts.
    let last = match end == variable.name.len() {
        true => end,
        false => line.rfind('}').unwrap_or(end),
    };
    of_text(&line[end + 1..=last], depth + 1, found);
    let nested = [variable.default_value.clone(), variable.presence_value.clone()];
    found(variable);
    nested.iter().for_each(|text| of_text(text, depth + 1, found));
    &inner[last + 1..]
}

/// What stands between two braces; `None` when that is no template.
fn braced(text: &str) -> Option<Variable> {
    let (name, operator) = text.split_at(name_length(text));
    if name.is_empty() {
        return None;
    }
    let mut variable = Variable { name: name.to_owned(), ..Variable::default() };
    let operator = operator.strip_prefix(':').unwrap_or(operator);
    let argument = operator.get(1..).unwrap_or_default().to_owned();
    match operator.as_bytes().first() {
        None if text.len() == name.len() => {}
        Some(b'-') => variable.default_value = argument,
        Some(b'+') => variable.presence_value = argument,
        Some(b'?') => variable.required = true,
        _ => return None,
    }
    Some(variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, &str, bool)]) {
        let found = variables(&Json::from(vec![text]));
        let found: Vec<_> = found
            .values()
            .map(|it| (&*it.name, &*it.default_value, &*it.presence_value, it.required))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn variables_are_found_with_what_stands_in_for_them() {
        check("no", &[]);
        check("$A ${B}x$$C", &[("A", "", "", false), ("B", "", "", false)]);
        check("${A:-b} ${C-d}", &[("A", "b", "", false), ("C", "d", "", false)]);
        check("${A:?why} ${B?}", &[("A", "", "", true), ("B", "", "", true)]);
        check("${A:+yes}", &[("A", "", "yes", false)]);
    }

    #[test]
    fn of_several_uses_one_is_made() {
        check("$A ${A:-one} ${A:-two}", &[("A", "two", "", false)]);
        check("${A:-b}:${C-d}", &[("A", "b", "", false), ("C", "d", "", false)]);
        let texts = Json::from(vec!["$A", "${A:-one}", "${A:-two}", "${A:?}", "${A:+yes}"]);
        let found = variables(&texts).remove("A").unwrap();
        assert_eq!((&*found.default_value, &*found.presence_value), ("one", "yes"));
        assert!(found.required);
    }

    #[test]
    fn variables_inside_defaults_are_found() {
        check("${A:-${B:-c}}", &[("A", "${B:-c}", "", false), ("B", "c", "", false)]);
        check("${A:-{}}$B", &[("A", "{}", "", false), ("B", "", "", false)]);
        let deep = format!("{}x{}", "${A:-".repeat(5_000), "}".repeat(5_000));
        assert_eq!(variables(&Json::from(deep)).len(), 1);
    }

    #[test]
    fn what_is_no_template_has_no_name() {
        check("${A!} ${}", &[("", "", "", false)]);
        check("${A:}", &[("", "", "", false)]);
        check("${A", &[("", "", "", false)]);
    }
}
