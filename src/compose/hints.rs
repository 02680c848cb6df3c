//! What to do about a mistake: the guesses behind the hints. Pure.

use super::schema::{Object, PROJECT, SERVICE, Shape, nearest};
use super::tree::{Kind, Node, Value};

/// How far below an object a misplaced key is looked for.
const DEPTH_MAX: usize = 3;

/// What to do about a key that an object does not have.
pub(super) fn unknown_key(key: &str, object: &Object, path: &str) -> String {
    if let Some(section) = path.strip_prefix("services.").filter(|name| is_section(name)) {
        return format!("`{section}` is a service here; the section `{section}:` is not indented");
    }
    if let Some(near) = nearest(key, object.names()) {
        return format!("did you mean `{near}`?");
    }
    if path.is_empty() && SERVICE.key(key).is_some() {
        return "this key belongs to a service: indent it under `services:`".to_owned();
    }
    if path.is_empty() {
        return "services stand under `services:`; keys of your own begin with `x-`".to_owned();
    }
    if let Some(below) = below(key, object) {
        return format!("this key belongs under {below}");
    }
    let is_in_service = path.strip_prefix("services.").is_some_and(|rest| rest.contains('.'));
    if is_in_service && SERVICE.key(key).is_some() {
        return "this key belongs to the service itself: indent it less".to_owned();
    }
    if object.extensible {
        return "keys of your own begin with `x-`".to_owned();
    }
    let names: Vec<String> = object.names().map(|name| format!("`{name}`")).collect();
    format!("there are {}", names.join(", "))
}

fn is_section(name: &str) -> bool {
    match &PROJECT {
        Shape::Object(file) => {
            file.key(name).is_some_and(|row| name != "name" && row.name != "version")
        }
        _ => false,
    }
}

/// The path of the object below that has the key, or of two; none when there are more, for then
/// nobody knows which was meant.
fn below(key: &str, object: &Object) -> Option<String> {
    let mut level: Vec<(String, &Object)> = vec![(String::new(), object)];
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for (path, object) in &level {
            for row in object.parts.iter().copied().flatten() {
                if let Shape::Object(inner) = row.shape.inner() {
                    let dot = if path.is_empty() { "" } else { "." };
                    next.push((format!("{path}{dot}{}", row.name), *inner));
                }
            }
        }
        let having = next.iter().filter(|(_, object)| object.key(key).is_some());
        let having: Vec<&str> = having.map(|(path, _)| path.as_str()).collect();
        match having[..] {
            [] => level = next,
            [one] => return Some(format!("`{one}`")),
            [one, other] => return Some(format!("`{one}` or `{other}`")),
            _ => return None,
        }
    }
    None
}

/// What to do about a value that is of another kind than `wanted`, in the words of the message.
pub(super) fn wrong_kind(node: &Node, wanted: &str) -> Option<String> {
    let wants = |kind: &str| wanted.starts_with(kind);
    match &node.value {
        Value::Scalar(scalar) if wants("a list") => match scalar.text.strip_prefix('-') {
            Some(rest) if scalar.kind == Kind::Text && !rest.starts_with(' ') => {
                Some("put a space after the `-` of each item".to_owned())
            }
            _ => Some(format!("write a list: `[{}]`", quoted(&scalar.text))),
        },
        Value::Scalar(scalar) if wants("a mapping") => {
            let (key, value) = scalar.text.split_once(':')?;
            let is_key = !key.is_empty() && !key.contains(char::is_whitespace);
            is_key.then(|| format!("put a space after the colon: `{key}: {}`", value.trim()))
        }
        Value::Scalar(scalar) if wants("text") => {
            Some(format!("put it in quotes: `\"{}\"`", scalar.text))
        }
        Value::Map(_) if wants("a list") => Some("begin each item with `- `".to_owned()),
        Value::List(_) if wants("a mapping") => {
            Some("write `key: value` lines, without the `-` in front".to_owned())
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
    }
}

/// The text as an item of a list in brackets.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let is_plain = text.starts_with(char::is_alphanumeric) && text.chars().all(plain);
    if is_plain { text.to_owned() } else { format!("{text:?}") }
}

/// Of a mapping that stands where `KEY=value` was wanted, the way to write it.
pub(super) fn pair(node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(map) => {
            let (key, entry) = map.first().filter(|_| map.len() == 1)?;
            let value = entry.value.as_scalar()?;
            Some(format!("write `- {key}={}`, or all of them without `-`", value.text))
        }
        Value::Scalar(scalar) => Some(format!("put it in quotes: `\"{}\"`", scalar.text)),
        Value::List(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_wrong_place_is_sent_to_the_right_one() {
        let hint = |key, path| unknown_key(key, &SERVICE, path);
        assert_eq!(hint("replicas", "services.web"), "this key belongs under `deploy`");
        assert_eq!(hint("retries", "services.web"), "this key belongs under `healthcheck`");
        let limits = hint("data", "services.volumes");
        assert_eq!(limits, "`volumes` is a service here; the section `volumes:` is not indented");
        let two = "this key belongs under `deploy.resources.limits` or \
                   `deploy.resources.reservations`";
        assert_eq!(hint("memory", "services.web"), two);
        assert_eq!(hint("mode", "services.web"), "this key belongs under `deploy`");
        assert_eq!(hint("nothing", "services.web"), "keys of your own begin with `x-`");
        let Shape::Object(check) = SERVICE.key("healthcheck").unwrap().shape.inner() else {
            panic!("a health check is an object")
        };
        let less = "this key belongs to the service itself: indent it less";
        assert_eq!(unknown_key("ports", check, "services.web.healthcheck"), less);
    }
}
