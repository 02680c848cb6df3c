//! Several files to one tree. Works on long forms; the schema says which rule each key follows.

use std::collections::hash_map::Entry as Found;
use std::collections::{HashMap, HashSet};

use indexmap::map::Entry as Slot;

use super::schema::{Merge, Shape};
use super::tree::{Entry, Map, Node, Tag, Value};
use super::unique::dedupe;

/// Lays `over` on top of `base`. `!reset` and `!override` keep their tag, so that they also
/// act on what the result is itself laid upon; [`strip`] takes them away at the end.
pub(crate) fn merge(base: &mut Node, over: Node, shape: &'static Shape, rule: Merge) {
    if base.tag == Tag::Reset || over.tag != Tag::None || rule == Merge::Replace {
        *base = over;
        return;
    }
    if over.is_null() {
        return;
    }
    match rule {
        Merge::Deep | Merge::Replace => deep(base, over, shape),
        Merge::Unique(by) => {
            deep(base, over, shape);
            if let Value::List(items) = &mut base.value {
                dedupe(items, by);
            }
        }
        Merge::Logging => {
            let driver =
                |node: &Node| node.get("driver").and_then(Node::as_text).map(str::to_owned);
            match (driver(base), driver(&over)) {
                (Some(old), Some(new)) if old != new => *base = over,
                _ => deep(base, over, shape),
            }
        }
        Merge::Pools => pools(base, over),
    }
}

fn deep(base: &mut Node, over: Node, shape: &'static Shape) {
    match (&mut base.value, over.value) {
        (Value::Map(map), Value::Map(other)) => {
            for (key, entry) in other {
                lay(map, key, entry, shape);
            }
        }
        (Value::List(items), Value::List(more)) => append(items, more),
        (_, value) => *base = Node { value, at: over.at, tag: over.tag },
    }
}

/// Adds what is not there yet, as the reference does: saying a thing in two files says it once.
fn append(items: &mut Vec<Node>, more: Vec<Node>) {
    let said = |node: &Node| node.to_json().to_string();
    let mut seen: HashSet<String> = items.iter().map(said).collect();
    items.extend(more.into_iter().filter(|item| seen.insert(said(item))));
}

fn lay(map: &mut Map, key: String, entry: Entry, shape: &'static Shape) {
    let (inner, rule) = shape.child(&key);
    match map.entry(key) {
        Slot::Vacant(slot) => {
            slot.insert(entry);
        }
        Slot::Occupied(mut slot) => {
            let old = slot.get_mut();
            old.key = entry.key;
            merge(&mut old.value, entry.value, inner, rule);
        }
    }
}

/// Pools of one subnet merge, others are added.
fn pools(base: &mut Node, over: Node) {
    let (Value::List(items), Value::List(more)) = (&mut base.value, over.value) else { return };
    let subnet = |node: &Node| node.get("subnet").and_then(Node::as_text).map(str::to_owned);
    let mut places = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        places.entry(subnet(item)).or_insert(place);
    }
    for pool in more {
        match places.entry(subnet(&pool)) {
            Found::Occupied(place) => deep(&mut items[*place.get()], pool, &Shape::Any),
            Found::Vacant(place) => {
                place.insert(items.len());
                items.push(pool);
            }
        }
    }
}

/// Removes what was reset, and the tags.
pub(crate) fn strip(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(strip);
        }
        Value::Map(map) => {
            map.retain(|_, entry| entry.value.tag != Tag::Reset);
            map.values_mut().for_each(|entry| strip(&mut entry.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::canonical::canonical;
    use crate::compose::parse::parse;
    use crate::compose::schema::PROJECT;
    use crate::compose::source::Report;
    use crate::compose::tree::KeyPath;

    fn load(text: &str) -> Node {
        let mut report = Report::default();
        let text = format!("services:\n  web:\n    {}\n", text.replace('\n', "\n    "));
        let (file, text) = report.add_source("f", text.into_bytes()).unwrap();
        let mut documents = parse(file, &text, &mut report);
        let mut node = documents.remove(0);
        canonical(&mut node, &PROJECT, &mut KeyPath::default(), &mut report);
        let found = report.finish();
        assert!(found.is_empty(), "{}", found[0]);
        node
    }

    #[track_caller]
    fn check(base: &str, over: &str, expected: &str) {
        let mut node = load(base);
        merge(&mut node, load(over), &PROJECT, Merge::Deep);
        strip(&mut node);
        let json = node.get("services").unwrap().get("web").unwrap().to_json().to_string();
        assert_eq!(json, expected, "{base} + {over}");
    }

    #[test]
    fn leaves_are_replaced_and_commands_whole() {
        check("image: a", "image: b", r#"{"image":"b"}"#);
        check("command: [a, b]", "command: c", r#"{"command":"c"}"#);
        check("entrypoint: a", "entrypoint:", r#"{"entrypoint":null}"#);
        check(
            "healthcheck: {test: [CMD, a], retries: 3}",
            "healthcheck: {test: b}",
            r#"{"healthcheck":{"test":["CMD-SHELL","b"],"retries":3}}"#,
        );
    }

    #[test]
    fn lists_append_and_same_items_replace() {
        check("security_opt: [a]", "security_opt: [b, a]", r#"{"security_opt":["a","b"]}"#);
        check(
            "post_start: [{command: a}]",
            "post_start: [{command: a}, {command: b}]",
            r#"{"post_start":[{"command":"a"},{"command":"b"}]}"#,
        );
        check(
            "environment: [A=1, B=2]",
            "environment: {A: 3}",
            r#"{"environment":{"A":3,"B":"2"}}"#,
        );
        check("dns: 1.1.1.1", "dns: [8.8.8.8, 1.1.1.1]", r#"{"dns":["1.1.1.1","8.8.8.8"]}"#);
        check(
            "volumes: ['a1:/x', 'b1:/y']",
            "volumes: ['./c:/x']",
            r#"{"volumes":[{"type":"bind","source":"./c","target":"/x","bind":{"create_host_path":true}},{"type":"volume","source":"b1","target":"/y","volume":{}}]}"#,
        );
        check("expose: [80]", "expose: ['80', 81]", r#"{"expose":["80",81]}"#);
        check(
            "env_file: a",
            "env_file: [{path: a, required: false}]",
            r#"{"env_file":[{"path":"a","required":false}]}"#,
        );
        check(
            "extra_hosts: ['a:1']",
            "extra_hosts: {a: 1, b: '2'}",
            r#"{"extra_hosts":["a=1","b=2"]}"#,
        );
    }

    #[test]
    fn short_and_long_forms_meet() {
        check("build: .", "build: {args: {A: 1}}", r#"{"build":{"context":".","args":{"A":1}}}"#);
        check(
            "depends_on: [a]",
            "depends_on: {b: {condition: service_healthy}}",
            r#"{"depends_on":{"a":{"condition":"service_started","required":true},"b":{"condition":"service_healthy"}}}"#,
        );
        check(
            "networks: [a]",
            "networks: {a: {aliases: [x]}, b: }",
            r#"{"networks":{"a":{"aliases":["x"]},"b":null}}"#,
        );
    }

    #[test]
    fn logging_options_stay_with_their_driver() {
        check(
            "logging: {driver: a, options: {x: 1}}",
            "logging: {driver: b}",
            r#"{"logging":{"driver":"b"}}"#,
        );
        check(
            "logging: {driver: a, options: {x: '1'}}",
            "logging: {options: {y: '2'}}",
            r#"{"logging":{"driver":"a","options":{"x":"1","y":"2"}}}"#,
        );
    }

    #[test]
    fn reset_and_override() {
        check("ports: ['80']\nimage: a", "ports: !reset []", r#"{"image":"a"}"#);
        check("cap_add: [A]", "cap_add: !override [B]", r#"{"cap_add":["B"]}"#);
        check(
            "environment: {A: 1, B: 2}",
            "environment: {A: !reset null}",
            r#"{"environment":{"B":2}}"#,
        );
        check("image: !reset a\nuser: x", "user: y", r#"{"user":"y"}"#);
    }
}
