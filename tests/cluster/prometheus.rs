//! A strict reader of the text that Prometheus scrapes (exposition format 0.0.4), for tests: it takes what
//! the format allows and its conventions want, and nothing else. Knows no metric.

use std::collections::{BTreeMap, BTreeSet};

/// The samples by name and labels.
pub(crate) type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads a whole text.
///
/// # Errors
///
/// The first line that is not as it must be, and why.
pub(crate) fn read(text: &str) -> Result<Samples, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let mut samples = Samples::new();
    let mut done = BTreeSet::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").ok_or_else(|| format!("not HELP: {line}"))?;
        let (name, help) = help.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
        check_name(name, ":").map_err(|why| format!("{why}: {line}"))?;
        unescaped(help, false).map_err(|why| format!("{why}: {line}"))?;
        let line = lines.next().unwrap_or_default();
        let kind = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_prefix(name));
        let kind = kind.and_then(|rest| rest.strip_prefix(' '));
        let kind = kind.ok_or_else(|| format!("not the TYPE of {name}: {line}"))?;
        check_kind(name, kind)?;
        if !done.insert(name.to_owned()) {
            return Err(format!("{name} comes twice"));
        }
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (of, labels, value) = sample(line).map_err(|why| format!("{why}: {line}"))?;
            if of != name {
                return Err(format!("a sample of {of} among those of {name}"));
            }
            if kind == "counter" && (value.is_nan() || value < 0.0) {
                return Err(format!("a counter cannot be {value}: {line}"));
            }
            if samples.insert((of, labels), value).is_some() {
                return Err(format!("comes twice: {line}"));
            }
        }
    }
    Ok(samples)
}

fn check_kind(name: &str, kind: &str) -> Result<(), String> {
    match (kind, name.ends_with("_total")) {
        ("counter", true) | ("gauge", false) => Ok(()),
        ("counter", false) => Err(format!("the counter {name} does not end with `_total`")),
        ("gauge", true) => Err(format!("the gauge {name} ends with `_total`")),
        (other, _) => Err(format!("{name} is a `{other}`")),
    }
}

/// Letters, digits and underscores, not a digit first; for a metric, colons too.
fn check_name(name: &str, also: &str) -> Result<(), String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || also.contains(c);
    let starts_well = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if starts_well && name.chars().all(is_good) { Ok(()) } else { Err(format!("`{name}`")) }
}

fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    check_name(name, ":")?;
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or("a label without a value")?;
            check_name(label, "")?;
            if label.starts_with("__") {
                return Err(format!("the label {label} is Prometheus' own"));
            }
            let end = closing_quote(after).ok_or("a value without an end")?;
            let value = unescaped(&after[..end], true)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("the label {label} comes twice"));
            }
            rest = &after[end + 1..];
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = rest.strip_prefix(',').ok_or("neither `,` nor `}` after a label")?;
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no blank before the value")?;
    Ok((name.to_owned(), labels, number(value)?))
}

fn number(text: &str) -> Result<f64, String> {
    let is_plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    match text {
        "NaN" => Ok(f64::NAN),
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        _ if text.chars().all(is_plain) => text.parse().map_err(|_| format!("`{text}`")),
        _ => Err(format!("`{text}` is no number")),
    }
}

/// Where the first quote is that no backslash stands before.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end.then_some(at)
    })
}

fn unescaped(text: &str, is_label: bool) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match (c, is_label) {
            ('\\', _) => match (chars.next(), is_label) {
                (Some('\\'), _) => '\\',
                (Some('n'), _) => '\n',
                (Some('"'), true) => '"',
                (other, _) => return Err(format!("a backslash before {other:?}")),
            },
            ('"', true) => return Err("a quote in a value".to_owned()),
            _ => c,
        });
    }
    Ok(plain)
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_total What.\n# TYPE a_total counter\n\
                a_total{x=\"1\\\"\\\\\\n,}\",y=\"\"} 5\na_total 1e3\n";
    let samples = read(good).expect("it is as it must be");
    let labels = [("x", "1\"\\\n,}"), ("y", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(samples.get(&("a_total".to_owned(), labels.into())), Some(&5.0));
    assert_eq!(samples.get(&("a_total".to_owned(), BTreeMap::new())), Some(&1000.0));
    let head = "# HELP a_total What.\n# TYPE a_total counter\n";
    for bad in [
        "a_total 5",
        "a_total{} 5\n",
        "a_total{x=\"1\",} 5\n",
        "a_total{x=\"1\" 5\n",
        "a_total{x=\"\\t\"} 5\n",
        "a_total{x=\"1\",x=\"2\"} 5\n",
        "a_total{1x=\"1\"} 5\n",
        "a_total  5\n",
        "a_total five\n",
        "a_total -1\n",
        "a_total 0x1\n",
        "a_total 1\na_total 2\n",
        "b_total 1\n",
        "# TYPE b_total counter\n",
        "# HELP a_total What.\n# TYPE a_total counter\n",
        "# HELP b What.\n# TYPE b counter\n",
        "# HELP b_total What.\n# TYPE b_total gauge\n",
    ] {
        assert!(read(&format!("{head}{bad}")).is_err(), "{bad}");
    }
}
