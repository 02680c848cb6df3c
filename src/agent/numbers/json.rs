//! A number of a JSON document. Pure.

use serde_json::Value;

/// The number at `path`, as in `queue.length` or `queues.0.length`. Of a list it is how many there are.
///
/// # Errors
///
/// Why there is none, for people.
pub(super) fn number(document: &[u8], path: &str) -> Result<f64, String> {
    let all: Value =
        serde_json::from_slice(document).map_err(|_| "the page is no JSON".to_owned())?;
    let mut at = &all;
    for word in path.split('.').filter(|word| !word.is_empty() && *word != "$") {
        let below = match at {
            Value::Array(list) => word.parse().ok().and_then(|index: usize| list.get(index)),
            Value::Object(map) => map.get(word),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        at = below.ok_or_else(|| format!("the page has no `{path}`: there is no `{word}`"))?;
    }
    let number = match at {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Array(list) => Some(list.len() as f64),
        Value::Null | Value::Bool(_) | Value::Object(_) => None,
    };
    number.ok_or_else(|| format!("`{path}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_number_or_says_why_not() {
        let document = br#"{"queue": {"length": 62, "text": " 6.5 ", "no": true},
            "queues": [{"length": 1}, {"length": 2}], "big": 1e18}"#;
        let cases = [
            ("queue.length", Some(62.0)),
            ("$.queue.length", Some(62.0)),
            ("queue.text", Some(6.5)),
            ("queues", Some(2.0)),
            ("queues.1.length", Some(2.0)),
            ("big", Some(1e18)),
            ("queue.no", None),
            ("queue", None),
            ("queue.other", None),
            ("queues.7.length", None),
            ("queue.length.more", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(number(document, path).ok(), expected, "{path}");
        }
        assert_eq!(number(b"5", "").ok(), Some(5.0));
        for wrong in [b"".as_slice(), b"{", b"\xff", b"NaN"] {
            assert!(number(wrong, "a").is_err());
        }
    }
}
