//! Samples of a page in Prometheus' text format ("Exposition formats" of its documentation). Pure; a line
//! that cannot be read is no sample.

use std::collections::BTreeMap;

/// The values of a metric's samples that have all of these labels.
pub(super) fn samples<'t>(
    text: &'t str,
    name: &'t str,
    labels: &'t BTreeMap<String, String>,
) -> impl Iterator<Item = f64> + 't {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| sample(line, name, labels))
}

fn sample(line: &str, name: &str, wanted: &BTreeMap<String, String>) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let mut missing = wanted.len();
    let rest = match rest.trim_start().strip_prefix('{') {
        None if !rest.starts_with([' ', '\t']) => return None,
        None => rest,
        Some(inside) => {
            let mut inside = inside;
            loop {
                inside = inside.trim_start_matches([' ', '\t', ',']);
                if let Some(rest) = inside.strip_prefix('}') {
                    break rest;
                }
                let (label, after) = inside.split_once('=')?;
                let (value, after) = quoted(after.trim_start())?;
                if let Some(expected) = wanted.get(label.trim()) {
                    if *expected != value {
                        return None;
                    }
                    missing = missing.checked_sub(1)?;
                }
                inside = after;
            }
        }
    };
    // A time may follow.
    let value = rest.split_whitespace().next().filter(|_| missing == 0)?;
    value.parse().ok()
}

/// A text in quotes, and what comes after it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP jobs_waiting Jobs that wait.
# TYPE jobs_waiting gauge
jobs_waiting{queue=\"mail\",kind=\"a \\\"b\\\" }\"} 12
jobs_waiting{queue=\"mail\",kind=\"c\",} 30 1395066363000
jobs_waiting{queue=\"print\"} 1e3
jobs_waiting_total 7
  plain 5.5
empty{} +Inf
not_a_number{queue=\"mail\"} NaN
broken{queue=\"mail 4
broken{queue} 4
broken{queue=\"mail\"}
broken";

    #[track_caller]
    fn check(name: &str, labels: &[(&str, &str)], expected: &[f64]) {
        let labels = labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let found: Vec<f64> = samples(PAGE, name, &labels).collect();
        assert_eq!(found, expected, "{name} {labels:?}");
    }

    #[test]
    fn samples_are_found_by_name_and_labels() {
        check("jobs_waiting", &[], &[12.0, 30.0, 1000.0]);
        check("jobs_waiting", &[("queue", "mail")], &[12.0, 30.0]);
        check("jobs_waiting", &[("kind", "a \"b\" }")], &[12.0]);
        check("jobs_waiting", &[("queue", "mail"), ("kind", "c")], &[30.0]);
        check("jobs_waiting", &[("host", "a")], &[]);
        check("jobs", &[], &[]);
        check("plain", &[], &[5.5]);
        check("plain", &[("a", "b")], &[]);
        check("empty", &[], &[f64::INFINITY]);
        check("broken", &[], &[]);
        check("nothing", &[], &[]);
        let found: Vec<f64> = samples(PAGE, "not_a_number", &BTreeMap::new()).collect();
        assert!(found.len() == 1 && found[0].is_nan());
    }

    #[test]
    fn no_text_breaks_the_reader() {
        for end in 0..PAGE.len() {
            let labels = BTreeMap::from([("queue".to_owned(), "mail".to_owned())]);
            assert!(samples(&PAGE[..end], "jobs_waiting", &labels).count() <= 2);
            assert!(samples(&PAGE[end..], "broken", &labels).count() <= 1);
        }
    }
}
