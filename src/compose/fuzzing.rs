//! What fuzzing calls: one function a target, which panics when a property does not hold.
//!
//! Takes any bytes and reads no file. `tests/fuzz` holds the targets and runs the inputs that were
//! worth keeping; nothing else calls this.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::canonical::canonical;
use super::interpolate::{Interpolator, VALUE_BYTES_MAX, substitute};
use super::load::Loader;
use super::merge::{merge, strip};
use super::parse::parse;
use super::project::{format_duration, parse_bytes, parse_duration};
use super::schema::{Merge, PROJECT};
use super::source::{Report, Span};
use super::tree::{KeyPath, Node, Value};
use super::{LoadOptions, Loaded, dotenv, load_by, mounts, ports, print, read};

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: [(&str, Target); 5] = [
    ("dotenv", dotenv_target),
    ("interpolate", interpolate_target),
    ("load", load_target),
    ("merge", merge_target),
    ("short", short_target),
];

fn environment() -> BTreeMap<String, String> {
    let large = "x".repeat(4096);
    let pairs = [("A", "1"), ("EMPTY", ""), ("HOME", "/home/user"), ("L", &large), ("T", "true")];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn loaded(bytes: &[u8]) -> Option<Loaded> {
    let options = LoadOptions {
        files: vec![PathBuf::from("-")],
        project_name: Some("fuzz".to_owned()),
        environment: environment(),
        working_directory: PathBuf::from("/nowhere"),
        stdin: Some(bytes.to_vec()),
        ..LoadOptions::default()
    };
    let mut loader = Loader::new(&options);
    loader.report.seal();
    load_by(&options, loader).ok()
}

/// What loads is printed, loads again, and is then the same project.
pub fn load_target(bytes: &[u8]) {
    let Some(first) = loaded(bytes) else { return };
    // What no profile switches on is not printed, although something may refer to it.
    if !first.project.disabled_services.is_empty() {
        return;
    }
    let model = |one: &Loaded| print::json_model(&one.project).expect("it can be printed");
    if meant_nothing(&model(&first)) {
        return;
    }
    let yaml = print::to_yaml(&first.project).expect("what was loaded can be printed");
    let Some(second) = loaded(yaml.as_bytes()) else { panic!("does not load again:\n{yaml}") };
    assert_eq!(model(&first), model(&second), "{yaml}");
}

/// Whether something was written as a zero or an empty text that means another thing than nothing
/// does: `count: 0` of a request for devices (nothing is all), `dockerfile_inline: ""` (nothing is
/// `Dockerfile`). As the reference we print neither.
fn meant_nothing(value: &serde_json::Value) -> bool {
    use serde_json::Value;
    let lacks = |value: &Value, keys: &[&str]| keys.iter().all(|key| value.get(key).is_none());
    match value {
        Value::Object(entries) => entries.iter().any(|(key, value)| match (key.as_str(), value) {
            ("gpus" | "devices", Value::Array(requests)) => {
                requests.iter().any(|one| lacks(one, &["count", "device_ids", "source"]))
            }
            ("build", Value::Object(_)) => lacks(value, &["dockerfile", "dockerfile_inline"]),
            _ => meant_nothing(value),
        }),
        Value::Array(items) => items.iter().any(meant_nothing),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value stays within its limit, and a template whose dollars are doubled is its own result.
pub fn interpolate_target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let environment = environment();
    let lookup = |name: &str| environment.get(name).cloned();
    if let Ok(value) = substitute(text, &lookup, &mut |_| {}) {
        assert!(value.len() <= VALUE_BYTES_MAX, "{} bytes", value.len());
        assert!(text.contains('$') || text == value);
    }
    if text.len() <= VALUE_BYTES_MAX {
        let doubled = substitute(&text.replace('$', "$$"), &lookup, &mut |_| {});
        assert_eq!(doubled.as_deref(), Ok(text));
    }
}

/// Nothing on top of a document leaves it as it is; two documents merge the same way each time.
pub fn merge_target(bytes: &[u8]) {
    let mut documents = long_documents(bytes);
    if documents.len() < 2 {
        return;
    }
    let (over, base) = (documents.remove(1), documents.remove(0));
    let at = Span::default();
    let mut same = base.clone();
    merge(&mut same, Node::null(at), &PROJECT, Merge::Deep);
    merge(&mut same, Node::map([], at), &PROJECT, Merge::Deep);
    assert_eq!(same.to_json(), base.to_json());
    let merged = |mut base: Node| {
        merge(&mut base, over.clone(), &PROJECT, Merge::Deep);
        strip(&mut base);
        base.to_json()
    };
    let once = merged(base.clone());
    assert_eq!(once, merged(base.clone()));
    let keys = |node: &Node| node.as_map().map_or(0, |map| map.len());
    assert!(once.as_object().is_none_or(|map| map.len() <= keys(&base) + keys(&over)));
}

/// The documents of a file in long form; none when one of them is wrong.
fn long_documents(bytes: &[u8]) -> Vec<Node> {
    let mut report = Report::default();
    let Some((file, text)) = report.add_source("fuzz", bytes.to_vec()) else { return Vec::new() };
    let mut documents = parse(file, &text, &mut report);
    let environment = environment();
    let mut interpolator = Interpolator::new(&environment);
    for document in &mut documents {
        interpolator.apply(document, &mut report);
        canonical(document, &PROJECT, &mut KeyPath::default(), &mut report);
    }
    let mappings = documents.iter().all(|one| one.as_map().is_some());
    if mappings && !report.failed() { documents } else { Vec::new() }
}

/// What was read can be written in quotes, and is then read as the same.
pub fn dotenv_target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let environment = environment();
    let lookup = |name: &str| environment.get(name).cloned();
    let mut raw = BTreeMap::new();
    let _ = dotenv::read_raw(text, &mut raw, &lookup);
    let mut variables = BTreeMap::new();
    if dotenv::read(text, &mut variables, &lookup).is_err() {
        return;
    }
    // Such a name cannot be written: the word is taken for the shell's.
    let exported = |name: &String| {
        name.strip_prefix("export").is_some_and(|rest| rest.starts_with(char::is_whitespace))
    };
    variables.retain(|name, _| !exported(name));
    let mut written = String::new();
    for (name, value) in &variables {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        written.push_str(&format!("{name}=\"{value}\"\n"));
    }
    let mut again = BTreeMap::new();
    let result = dotenv::read(&written, &mut again, &lookup);
    assert_eq!(result, Ok(()), "{written}");
    assert_eq!(variables, again, "{written}");
}

/// Keys with a short form, and where the text stands in it.
const SHORT: [(&str, &str, bool); 16] = [
    ("services", "build", false),
    ("services", "command", false),
    ("services", "depends_on", true),
    ("services", "devices", true),
    ("services", "dns", false),
    ("services", "env_file", false),
    ("services", "environment", true),
    ("services", "extra_hosts", true),
    ("services", "gpus", false),
    ("services", "labels", true),
    ("services", "networks", true),
    ("services", "ports", true),
    ("services", "secrets", true),
    ("services", "ulimits", true),
    ("services", "volumes", true),
    ("jobs", "configs", true),
];

/// A long form is its own long form; units that were read are written as what they are.
pub fn short_target(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = (ports::parse(text), mounts::parse(text));
    if let Some(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(duration)), Some(duration), "{text}");
    }
    if let Some(size) = parse_bytes(text) {
        assert_eq!(parse_bytes(&size.to_string()), Some(size), "{text}");
    }
    if let Some(words) = read::split(text) {
        assert!(words.iter().map(String::len).sum::<usize>() <= text.len(), "{words:?}");
    }
    for (section, key, in_list) in SHORT {
        let at = Span::default();
        let item = Node::text(text, at);
        let value = if in_list { Node::new(Value::List(vec![item]), at) } else { item };
        let mut node =
            Node::map([(section, Node::map([("a", Node::map([(key, value)], at))], at))], at);
        let Some(once) = lengthened(&mut node) else { continue };
        assert_eq!(lengthened(&mut node), Some(once), "{key}: {text}");
    }
}

/// The long form; `None` when there is a mistake.
fn lengthened(node: &mut Node) -> Option<serde_json::Value> {
    let mut report = Report::default();
    canonical(node, &PROJECT, &mut KeyPath::default(), &mut report);
    (!report.failed()).then(|| node.to_json())
}
