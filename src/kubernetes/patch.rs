//! What changes one value into another, as operations of RFC 6902. Pure.

use serde_json::{Value, json};

/// The operations in the order in which they have to be done.
pub(super) fn diff(from: &Value, to: &Value) -> Vec<Value> {
    let mut operations = Vec::new();
    walk(from, to, "", &mut operations);
    operations
}

fn walk(from: &Value, to: &Value, path: &str, operations: &mut Vec<Value>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Value::Object(from), Value::Object(to)) => {
            for key in from.keys().filter(|key| !to.contains_key(*key)) {
                operations
                    .push(json!({"op": "remove", "path": format!("{path}/{}", escaped(key))}));
            }
            for (key, value) in to {
                let below = format!("{path}/{}", escaped(key));
                match from.get(key) {
                    Some(old) => walk(old, value, &below, operations),
                    None => operations.push(json!({"op": "add", "path": below, "value": value})),
                }
            }
        }
        (Value::Array(from), Value::Array(to)) if from.len() == to.len() => {
            for (index, (old, new)) in from.iter().zip(to).enumerate() {
                walk(old, new, &format!("{path}/{index}"), operations);
            }
        }
        (_, to) => operations.push(json!({"op": "replace", "path": path, "value": to})),
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_as_small_as_they_can_be() {
        let from = json!({"a": {"b/c": 1, "d": [1, 2]}, "e": [1], "f": 1});
        let to = json!({"a": {"b/c": 2, "d": [1, 3]}, "e": [1, 2], "g": true});
        assert_eq!(
            diff(&from, &to),
            [
                json!({"op": "remove", "path": "/f"}),
                json!({"op": "replace", "path": "/a/b~1c", "value": 2}),
                json!({"op": "replace", "path": "/a/d/1", "value": 3}),
                json!({"op": "replace", "path": "/e", "value": [1, 2]}),
                json!({"op": "add", "path": "/g", "value": true}),
            ]
        );
        assert_eq!(diff(&to, &to), Vec::<Value>::new());
    }
}
