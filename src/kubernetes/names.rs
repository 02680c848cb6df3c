//! Names as Kubernetes takes them: RFC 1123 labels, keys of ConfigMaps, values of labels. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::sha256_hex;

/// The longest name of a workload: a StatefulSet and a CronJob put eleven characters behind it in
/// names and labels, which have room for 63.
const NAME_MAX: usize = 52;
/// The longest label of a domain name, and the longest value of a label.
const LABEL_MAX: usize = 63;

/// Names that were given, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: BTreeMap<(&'static str, String), String>,
    taken: BTreeSet<(&'static str, String)>,
}

impl Names {
    /// The name of `text` among objects of a kind: the same each time, and no other text's.
    pub(super) fn of(&mut self, kind: &'static str, text: &str) -> String {
        let key = (kind, text.to_owned());
        if let Some(name) = self.given.get(&key) {
            return name.clone();
        }
        let mut name = label(text);
        if !self.taken.insert((kind, name.clone())) {
            name = with_hash(&name, text);
            self.taken.insert((kind, name.clone()));
        }
        self.given.insert(key, name.clone());
        name
    }

    /// Gives texts that are names already their own before others can take them.
    pub(super) fn reserve<'a>(&mut self, kind: &'static str, texts: impl Iterator<Item = &'a str>) {
        for text in texts.filter(|text| is_label(text)) {
            self.of(kind, text);
        }
    }
}

/// Whether a text is a name of a workload and of a Service as it is: a letter first, as a Service
/// must have it.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= NAME_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

/// A name made of any text. What was cut off or put in its place is told apart by a hash, but only
/// where two texts would get one name, or something was cut off.
pub(super) fn label(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.ends_with('-') && !name.is_empty() {
            name.push('-');
        }
    }
    let trimmed = name.trim_end_matches('-');
    let mut name = match trimmed.chars().next() {
        None => "x".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("x{trimmed}"),
        Some(_) => trimmed.to_owned(),
    };
    // Of a text without a letter or digit nothing is left to tell it from another.
    if trimmed.is_empty() || name.len() > NAME_MAX {
        name = with_hash(&name, text);
    }
    name
}

fn with_hash(name: &str, text: &str) -> String {
    let hash = hash(text.as_bytes(), 6);
    let room = NAME_MAX - hash.len() - 1;
    let kept = name.get(..name.len().min(room)).unwrap_or(name);
    format!("{}-{hash}", kept.trim_end_matches('-'))
}

/// The first `length` hexadecimal digits of a content's SHA-256.
pub(super) fn hash(content: &[u8], length: usize) -> String {
    let mut text = sha256_hex(content);
    text.truncate(length);
    text
}

/// The name of a port, at most 15 characters: letters, digits, single dashes, a letter at least.
pub(super) fn port(text: &str) -> Option<String> {
    let name: String = label(text).chars().take(15).collect();
    let name = name.trim_end_matches('-').to_owned();
    let is_name = name.chars().any(|c| c.is_ascii_lowercase()) && !name.is_empty();
    is_name.then_some(name)
}

/// Whether a text may be the value of a label.
pub(super) fn is_label_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= LABEL_MAX
            && text.starts_with(plain)
            && text.ends_with(plain)
            && text.chars().all(|c| plain(c) || matches!(c, '-' | '_' | '.')))
}

/// Whether a text may be the key of a label or annotation: `name`, or `domain/name`.
pub(super) fn is_label_key(text: &str) -> bool {
    let (domain, name) = match text.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, text),
    };
    let is_domain = |domain: &str| domain.len() <= 253 && domain.split('.').all(is_domain_label);
    !name.is_empty() && is_label_value(name) && domain.is_none_or(is_domain)
}

fn is_domain_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=LABEL_MAX).contains(&text.len())
        && text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '-')
}

/// Whether a text is a name with dots in it, as hosts of an Ingress and most objects have it.
pub(super) fn is_domain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.split('.').all(is_domain_label)
}

/// Whether a text may be a key of a ConfigMap or Secret.
pub(super) fn is_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && text != "."
        && !text.starts_with("..")
}

/// A key of an annotation cut to the length the part behind the slash may have.
pub(super) fn annotation_key(text: &str) -> String {
    let (domain, name) = text.split_once('/').unwrap_or(("muster.dev", text));
    let kept: String = name.chars().take(LABEL_MAX).collect();
    format!("{domain}/{}", kept.trim_end_matches('-'))
}

/// A key of a ConfigMap made of a file name.
pub(super) fn key(text: &str) -> String {
    if is_key(text) {
        return text.to_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let kept: String = text.chars().map(|c| if fits(c) { c } else { '-' }).take(200).collect();
    format!("{}-{}", kept.trim_matches('.'), hash(text.as_bytes(), 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(label(text), expected, "{text}");
        assert!(is_label(&label(text)), "{text}");
    }

    #[test]
    fn names_are_made_valid() {
        check("web", "web");
        check("My_Service.One", "my-service-one");
        check("3proxy", "x3proxy");
        check("-a--b-", "a-b");
        check("größe", "gr-e");
        assert!(label("日本").starts_with("x-"));
        let long = "a".repeat(253);
        assert_eq!(label(&long).len(), NAME_MAX);
        assert_ne!(label(&long), label(&"a".repeat(252)));
        assert_ne!(label("日本"), label("中国"));
    }

    #[test]
    fn two_texts_never_share_a_name() {
        let mut names = Names::default();
        names.reserve("pod", ["a_b", "a-b"].into_iter());
        let first = names.of("pod", "a_b");
        assert_ne!(first, "a-b");
        assert_eq!(names.of("pod", "a-b"), "a-b");
        assert_eq!(names.of("pod", "a_b"), first);
        assert_eq!(names.of("claim", "a_b"), "a-b");
    }

    #[test]
    fn names_of_ports_have_fifteen_characters() {
        assert_eq!(port("http").as_deref(), Some("http"));
        assert_eq!(port("a-very-long-name-it-is").as_deref(), Some("a-very-long-nam"));
        assert_eq!(port("8080").as_deref(), Some("x8080"));
    }

    #[test]
    fn keys_and_values_are_judged_as_the_api_does() {
        for good in ["a", "a.b/c", "traefik.enable", "com.docker/a_b.c"] {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "a/", "/a", "a/b/c", "-a", "A.b/c", "a b"] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("v1.2_3") && !is_label_value("Host(`a`)"));
        assert!(is_key(".env") && is_key("a.conf") && !is_key("a/b") && !is_key(".."));
        assert!(is_key(&key("a b/c")) && key("a.b") == "a.b");
    }
}
