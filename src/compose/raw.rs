//! The files before variables are filled in: values stay as they were written, and a short form is
//! made long only where it can be read in spite of the variables in it.

use serde_json::{Map as JsonMap, Value as Json};

use super::expand::Expand;
use super::schema::Shape;
use super::tree::{Entry, KeyPath, Kind, Node, Tag, Value};
use super::unique::{UniqueBy, dedupe};

/// Whether a short form is made long here; the others stay short until values are cast.
pub(crate) fn is_made_long(expand: Expand, path: &KeyPath) -> bool {
    match expand {
        Expand::PairsToMap => path.as_str().ends_with(".additional_contexts"),
        Expand::TextToList => {
            let keys = [".dns", ".env_file", ".label_file", ".ignore", ".include"];
            path.as_str().starts_with("include")
                || keys.iter().any(|key| path.as_str().ends_with(key))
        }
        Expand::Hosts
        | Expand::AllToMinusOne
        | Expand::HealthTest
        | Expand::PlainToList
        | Expand::OnlyText
        | Expand::NotText
        | Expand::NoFraction
        | Expand::Distinct => false,
        Expand::ListToKeys
        | Expand::ListToObjects
        | Expand::TextToSource
        | Expand::TextToPath
        | Expand::TextToService
        | Expand::TextToCron
        | Expand::Device
        | Expand::Volume
        | Expand::Ports
        | Expand::Build
        | Expand::Gpus
        | Expand::Ssh
        | Expand::External => true,
    }
}

/// Whether it only looks at a value, so that what is inside may still be made long.
pub(crate) fn keeps_form(expand: Expand) -> bool {
    matches!(expand, Expand::Distinct | Expand::OnlyText | Expand::NotText | Expand::NoFraction)
}

/// Whether of two `KEY=value` with one key the later one stays.
pub(crate) fn has_unique_pairs(path: &KeyPath) -> bool {
    const KEYS: [&str; 7] = [
        ".annotations",
        ".build.args",
        ".build.labels",
        ".deploy.labels",
        ".environment",
        ".labels",
        ".sysctls",
    ];
    let path = path.as_str();
    let of_service = path.starts_with("services.") && KEYS.iter().any(|key| path.ends_with(key));
    let of_network = path.starts_with("networks.") && path.ends_with(".labels");
    (of_service || of_network) && !path.contains('[')
}

/// Merges what both sides have as `KEY=value`, whatever its form, to one list; the rest is left to
/// the merge that follows.
pub(crate) fn join_pairs(base: &mut Node, over: &mut Node, shape: &'static Shape) {
    if base.tag == Tag::Reset || over.tag != Tag::None {
        return;
    }
    if let Shape::Short(Expand::TextToList, _) = shape {
        for side in [base, over] {
            if side.as_text().is_some() {
                let item = std::mem::replace(side, Node::null(side.at));
                *side = Node::new(Value::List(vec![item]), side.at);
            }
        }
    } else if let Shape::Short(Expand::PairsToMap | Expand::Hosts, _) = shape {
        let reset = |name: &str| over.get(name).is_some_and(|value| value.tag == Tag::Reset);
        let (Some(more), Some(mut all)) = (pairs(over), pairs(base)) else { return };
        all.retain(|pair| !pair.as_text().is_some_and(|text| reset(key_of(text))));
        all.extend(more);
        dedupe(&mut all, UniqueBy::Key);
        base.value = Value::List(all);
        *over = Node::null(over.at);
    } else if let (Value::Map(base), Value::Map(over)) = (&mut base.value, &mut over.value) {
        for (key, entry) in over {
            if let Some(old) = base.get_mut(key) {
                join_pairs(&mut old.value, &mut entry.value, shape.child(key).0);
            }
        }
    }
}

fn key_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(key, _)| key)
}

/// A list of `KEY=value`, sorted where a mapping has no order; `None` for anything else.
fn pairs(node: &Node) -> Option<Vec<Node>> {
    match &node.value {
        Value::List(items) => Some(items.clone()),
        Value::Scalar(_) => None,
        Value::Map(map) => {
            let said = |(_, entry): &(&String, &Entry)| entry.value.tag != Tag::Reset;
            let mut entries: Vec<_> = map.iter().filter(said).collect();
            entries.sort_by_key(|(key, _)| *key);
            let text = |(key, entry): (&String, &Entry)| match entry.value.as_scalar() {
                Some(scalar) if scalar.kind != Kind::Null => format!("{key}={}", scalar.display()),
                Some(_) | None => key.clone(),
            };
            Some(entries.into_iter().map(|it| Node::text(text(it), it.1.value.at)).collect())
        }
    }
}

/// The merged tree as a value, keys in the order of the file.
pub(crate) fn value(tree: &Node) -> Json {
    let mut value = tree.to_json();
    for section in ["services", "jobs"] {
        for container in objects(value.get_mut(section)) {
            let mut build = container.get_mut("build").and_then(Json::as_object_mut);
            for key in ["provenance", "sbom"] {
                let said = build.as_deref_mut().and_then(|build| build.get_mut(key));
                // The reference makes them text before anything else.
                if let Some(said) = said.filter(|said| !said.is_string()) {
                    *said = Json::from(said.to_string());
                }
            }
        }
    }
    value
}

fn objects(section: Option<&mut Json>) -> impl Iterator<Item = &mut JsonMap<String, Json>> {
    let entries = section.and_then(Json::as_object_mut);
    entries.into_iter().flat_map(JsonMap::values_mut).filter_map(Json::as_object_mut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compose::{Diagnostic, LoadOptions, Severity, load_uninterpolated};

    /// What a file and one laid on top of it are, or the first mistake.
    fn load(base: &str, over: &str, any_value: bool) -> Result<Json, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("compose.yaml", base), ("compose.override.yaml", over)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let options = LoadOptions {
            working_directory: folder.path().to_owned(),
            skip: crate::compose::Skip { paths: true, ..Default::default() },
            ..LoadOptions::default()
        };
        let loaded = load_uninterpolated(&options, any_value);
        loaded.map(|it| it.value).map_err(|failed| {
            let is_error = |one: &&Diagnostic| one.severity == Severity::Error;
            failed.diagnostics.iter().find(is_error).unwrap().message.clone()
        })
    }

    #[track_caller]
    fn merges(base: &str, over: &str, key: &str, expected: &Json) {
        let service = |keys: &str| format!("services: {{a: {{image: a, {keys}}}}}");
        let value = load(&service(base), &service(over), false).unwrap();
        assert_eq!(value.pointer(&format!("/services/a/{key}")), Some(expected), "{base} + {over}");
    }

    #[test]
    fn pairs_and_texts_of_two_files_become_one_list() {
        merges("labels: {a: 1, b: 2}", "labels: {a: !reset null}", "labels", &json!(["b=2"]));
        merges("dns_search: x", "dns_search: [y, x]", "dns_search", &json!(["x", "y"]));
        merges("environment: [A=1, A=2]", "user: u", "environment", &json!(["A=2"]));
        let (base, over) =
            ("{context: ., additional_contexts: [x=a]}", "{additional_contexts: {y: b}}");
        let [base, over] = [base, over].map(|build| format!("build: {build}"));
        merges(&base, &over, "build/additional_contexts", &json!({"x": "a", "y": "b"}));
    }

    #[test]
    fn jobs_are_filled_in_as_services_are() {
        let job = "{triggers: {manual: true}, build: {context: ., sbom: true}, env_file: [e]}";
        let text = format!("services: {{a: {{image: a}}}}\njobs: {{j: {job}}}");
        let job = load(&text, "{name: x}", false).unwrap()["jobs"]["j"].clone();
        assert_eq!(job["env_file"], json!([{"path": "e", "required": true}]));
        assert_eq!(job["build"]["sbom"], "true");
        assert_eq!(job["networks"], json!({"default": null}));
    }

    #[test]
    fn a_variable_is_a_text_and_no_word_of_a_list() {
        for keys in [
            "pull_policy: \"${X}\"",
            "networks: {n: {gw_priority: \"${X}\"}}",
            "volumes: [{type: \"${X}\", target: /a}]",
        ] {
            let text = format!("services: {{a: {{image: a, {keys}}}}}\nnetworks: {{n: }}");
            assert!(load(&text, "{name: x}", false).is_err(), "{keys}");
            assert!(load(&text, "{name: x}", true).is_ok(), "{keys}");
        }
        let text = "services: {a: {image: a, networks: [\"${N}\"], extra_hosts: [\"${H}\"]}}";
        assert!(load(text, "{name: x}", false).is_ok());
    }

    #[test]
    fn what_leaves_nothing_to_look_at_is_refused_whatever_the_values_are() {
        for (text, expected) in [
            ("services: {a: text}", "`services.a` must be a mapping, not text"),
            ("services: {a: {image: 1, ports: [{published: 1}]}}", "a port of `a` has no target"),
            ("volumes: {v: {name: a, external: {name: b}}}", "`volumes.v` has two different names"),
        ] {
            assert_eq!(load(text, "{name: x}", true), Err(expected.to_owned()), "{text}");
        }
    }
}
