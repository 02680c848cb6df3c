//! What a merged tree lacks, and what in one object excludes something else of it, whatever the
//! values are. `check` looks at the project as a whole.

use std::net::IpAddr;

use super::check::{PULL, is_container_name, is_pull_policy, names_container};
use super::schema::{PROJECT, Shape, nearest};
use super::source::{Report, Span};
use super::tree::{Entry, KeyPath, Kind, Map, Node};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// Whether values are, and not only what must be known to bring files together.
    pub(crate) values: bool,
    /// Whether paths are made absolute, so that there must be some.
    pub(crate) paths: bool,
    /// Whether the project is to run.
    pub(crate) consistency: bool,
}

/// Items that are told apart by a key, which none of them may lack: list, key, what an item is.
const IDENTITIES: [(&str, &str, &str); 4] = [
    ("devices", "target", "device"),
    ("env_file", "path", "file of variables"),
    ("ports", "target", "port"),
    ("volumes", "target", "mount"),
];

/// Reports everything that is missing or too much. False when a key is missing without which the
/// tree cannot be read.
pub(crate) fn check(tree: &Node, asked: Asked, report: &mut Report) -> bool {
    let errors_before = report.n_errors();
    if asked.values {
        required(tree, &PROJECT, &mut KeyPath::default(), report);
    }
    let has_all = report.n_errors() == errors_before;
    for (name, entry) in section(tree, "services") {
        let Some(service) = entry.value.as_map() else {
            if !entry.value.is_null() {
                let message =
                    format!("`services.{name}` must be a mapping, not {}", entry.value.describe());
                report.error(entry.value.at, message);
            }
            continue;
        };
        let mut object = Object { name, map: service, report };
        object.identities(asked);
        object.binds(asked);
        if asked.values {
            object.ports();
            object.device_requests();
            object.watch();
            object.texts();
        }
    }
    for (name, entry) in section(tree, "jobs") {
        let Some(job) = entry.value.as_map() else { continue };
        let mut object = Object { name, map: job, report };
        object.binds(asked);
        if asked.values {
            object.triggers();
        }
    }
    if asked.values {
        for (name, entry) in section(tree, "volumes") {
            external_volume(name, &entry.value, report);
        }
        for (name, entry) in section(tree, "configs") {
            let sources = &["file", "environment", "content"];
            one_source(&format!("configs.{name}"), entry, sources, false, report);
        }
        for (name, entry) in section(tree, "secrets") {
            let path = format!("secrets.{name}");
            one_source(&path, entry, &["file", "environment"], asked.consistency, report);
        }
    }
    has_all
}

fn section<'t>(tree: &'t Node, name: &str) -> impl Iterator<Item = (&'t String, &'t Entry)> {
    tree.get(name).and_then(Node::as_map).into_iter().flatten()
}

/// Keys that the schema wants, at any depth.
fn required(node: &Node, shape: &'static Shape, path: &mut KeyPath, report: &mut Report) {
    match shape.inner() {
        Shape::Either(_, map) if node.as_map().is_some() => required(node, map, path, report),
        Shape::List(inner) => {
            for (at, item) in node.as_list().unwrap_or_default().iter().enumerate() {
                path.item(at, |path| required(item, inner, path, report));
            }
        }
        Shape::Map(inner) | Shape::Named(inner) => {
            for (key, entry) in node.as_map().into_iter().flatten() {
                path.within(key, |path| required(&entry.value, inner, path, report));
            }
        }
        Shape::Object(object) => {
            let Some(map) = node.as_map() else { return };
            for key in object.required.iter().filter(|key| !map.contains_key(**key)) {
                report.error(node.at, format!("`{}` needs `{key}`", path.as_str()));
            }
            for (key, entry) in map {
                let Some(row) = object.key(key) else { continue };
                path.within(key, |path| required(&entry.value, &row.shape, path, report));
            }
        }
        Shape::Any
        | Shape::Text
        | Shape::TextOrNumber
        | Shape::Plain
        | Shape::Inheritable
        | Shape::Flag
        | Shape::Int { .. }
        | Shape::Number
        | Shape::Bytes { .. }
        | Shape::Duration
        | Shape::Mode
        | Shape::Choice(_)
        | Shape::Command
        | Shape::Either(..)
        | Shape::Nullable(_)
        | Shape::Short(..) => {}
    }
}

/// A service or a job.
struct Object<'a> {
    name: &'a str,
    map: &'a Map,
    report: &'a mut Report,
}

impl<'a> Object<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).map(|entry| &entry.value)
    }

    fn items(&self, key: &str) -> &'a [Node] {
        self.get(key).and_then(Node::as_list).unwrap_or_default()
    }

    fn error(&mut self, at: Span, message: String, hint: &str) {
        drop(self.report.error(at, message).hint(hint));
    }

    fn identities(&mut self, asked: Asked) {
        for (list, key, what) in IDENTITIES {
            // The schema wants the path of a file in any case.
            if asked.values && list == "env_file" {
                continue;
            }
            for item in self.items(list).iter().filter(|item| item.as_map().is_some()) {
                if item.get(key).is_none_or(Node::is_null) {
                    let message = format!("a {what} of `{}` has no {key}", self.name);
                    self.error(item.at, message, &format!("give it `{key}:`"));
                }
            }
        }
    }

    fn binds(&mut self, asked: Asked) {
        for mount in self.items("volumes").iter().filter(|_| asked.paths) {
            let is_bind = mount.get("type").and_then(Node::as_text) == Some("bind");
            if is_bind && mount.get("source").is_none() {
                let hint = "`source:` is the path on the host";
                self.error(mount.at, "a bind mount needs `source`".to_owned(), hint);
            }
        }
    }

    fn ports(&mut self) {
        for port in self.items("ports") {
            let Some(address) = port.get("host_ip") else { continue };
            let text = address.as_text().unwrap_or_default();
            if text.parse::<IpAddr>().is_err() {
                let hint = "write an address such as `127.0.0.1`, or remove `host_ip`";
                self.error(address.at, format!("`{text}` is not an IP address"), hint);
            }
        }
    }

    fn device_requests(&mut self) {
        let resources = self.get("deploy").and_then(|deploy| deploy.get("resources"));
        let reserved = resources.and_then(|resources| resources.get("reservations"));
        let devices = reserved.and_then(|reserved| reserved.get("devices")).and_then(Node::as_list);
        for request in devices.unwrap_or_default().iter().chain(self.items("gpus")) {
            if request.get("count").is_some() && request.get("device_ids").is_some() {
                let message = "a device request has both `count` and `device_ids`".to_owned();
                self.error(request.at, message, "keep one");
            }
        }
        for request in devices.unwrap_or_default() {
            if request.get("capabilities").is_none() {
                let message = "a device request needs `capabilities`".to_owned();
                self.error(request.at, message, "write `capabilities: [gpu]`");
            }
        }
    }

    fn watch(&mut self) {
        let rules = self.get("develop").and_then(|develop| develop.get("watch"));
        for rule in rules.and_then(Node::as_list).unwrap_or_default() {
            if let Some(path) = rule.get("path").filter(|path| path.as_text() == Some("")) {
                let message = format!("a watch rule of `{}` has an empty path", self.name);
                self.error(path.at, message, "`path:` is what is watched");
            }
        }
    }

    /// Texts that have a grammar.
    fn texts(&mut self) {
        let text = |key| self.get(key).and_then(|node| Some((node.as_text()?, node.at)));
        let (policy, name) = (text("pull_policy"), text("container_name"));
        if let Some((policy, at)) = policy.filter(|(policy, _)| !is_pull_policy(policy)) {
            let error = self.report.error(at, format!("`{policy}` is no pull policy"));
            if let Some(near) = nearest(policy, PULL.into_iter()) {
                drop(error.hint(format!("did you mean `{near}`?")));
            }
        }
        let is_name =
            |text: &str| is_container_name(text) || (text.contains('$') && names_container(text));
        if let Some((name, at)) = name.filter(|(name, _)| !is_name(name)) {
            let hint = "two or more of letters, digits, `_`, `.` and `-`; the first is a letter or a digit";
            self.error(at, format!("`{name}` is not a name for a container"), hint);
        }
    }

    fn triggers(&mut self) {
        let Some(triggers) = self.get("triggers").filter(|one| one.as_map().is_some()) else {
            return;
        };
        if triggers.get("manual").is_none() && triggers.get("schedule").is_none() {
            let message = format!("`jobs.{}.triggers` has no trigger", self.name);
            self.error(triggers.at, message, "write `manual: true`, or a `schedule`");
        }
    }
}

/// Whether somebody else made it.
pub(crate) fn is_external(object: &Node) -> bool {
    object.get("external").and_then(Node::as_scalar).is_some_and(|scalar| match scalar.kind {
        Kind::Bool(external) => external,
        Kind::Text => scalar.text.eq_ignore_ascii_case("true"),
        Kind::Null | Kind::Int(_) | Kind::Float(_) | Kind::Date => false,
    })
}

fn external_volume(name: &str, volume: &Node, report: &mut Report) {
    if !is_external(volume) {
        return;
    }
    let may_have = |key: &str| matches!(key, "name" | "external") || key.starts_with("x-");
    for (key, entry) in volume.as_map().into_iter().flatten().filter(|(key, _)| !may_have(key)) {
        let error =
            report.error(entry.key, format!("external volume `{name}` cannot have `{key}`"));
        drop(error.hint("an external volume was made by somebody else; remove one of the two"));
    }
}

/// Exactly one source, unless somebody else made the object. What need not run may have a driver
/// that knows the source.
fn one_source(path: &str, entry: &Entry, sources: &[&str], strict: bool, report: &mut Report) {
    let object = &entry.value;
    let names = sources.join("`, `");
    let said = |source: &&&str| match object.get(source) {
        Some(value) if strict => value.as_text() != Some(""),
        value => value.is_some(),
    };
    let n_sources = sources.iter().filter(said).count();
    if n_sources > 1 {
        let message = format!("`{path}` has more than one of `{names}`");
        drop(report.error(entry.key, message).hint("keep one"));
    }
    let excused = match strict {
        true => is_external(object),
        false => object.get("driver").is_some() || object.get("external").is_some(),
    };
    if n_sources == 0 && !excused {
        let message = format!("`{path}` needs one of `{names}`");
        let hint = "or `external: true`, when somebody else made it";
        drop(report.error(entry.key, message).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::parse::parse;

    const ALL: Asked = Asked { values: true, paths: true, consistency: true };

    #[track_caller]
    fn refuses(text: &str, asked: Asked, expected: &[&str]) {
        let mut report = Report::default();
        let (file, text) = report.add_source("f", text.as_bytes().to_vec()).unwrap();
        let tree = parse(file, &text, &mut report).remove(0);
        check(&tree, asked, &mut report);
        let found: Vec<String> = report.finish().into_iter().map(|one| one.message).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn items_that_nothing_tells_apart_are_refused_even_when_values_do_not_count() {
        let text = "services: {a: {volumes: [{type: volume}], env_file: [{format: raw}]}}";
        let asked = Asked { values: false, ..ALL };
        refuses(
            text,
            asked,
            &["a mount of `a` has no target", "a file of variables of `a` has no path"],
        );
    }

    #[test]
    fn a_bind_needs_a_source_only_where_paths_are_made_absolute() {
        let text = "services: {a: {volumes: [{type: bind, target: /a}]}}";
        refuses(text, ALL, &["a bind mount needs `source`"]);
        refuses(text, Asked { paths: false, ..ALL }, &[]);
    }

    #[test]
    fn a_secret_that_is_only_looked_at_may_have_a_driver_in_place_of_a_source() {
        let text = "secrets: {s: {driver: a}, t: {external: false}}";
        refuses(text, Asked { consistency: false, ..ALL }, &[]);
        let each = [
            "`secrets.s` needs one of `file`, `environment`",
            "`secrets.t` needs one of `file`, `environment`",
        ];
        refuses(text, ALL, &each);
    }

    #[test]
    fn what_variables_hide_may_be_a_container_name_but_no_pull_policy() {
        let text = "services: {a: {container_name: \"${NAME}\", pull_policy: \"${X}\"}}";
        refuses(text, ALL, &["`${X}` is no pull policy"]);
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        refuses(
            "services: {a: {gpus: [{count: 1, device_ids: [x]}]}}",
            ALL,
            &["a device request has both `count` and `device_ids`"],
        );
        refuses(
            "volumes: {v: {external: true, labels: {}}}",
            ALL,
            &["external volume `v` cannot have `labels`"],
        );
        refuses(
            "configs: {c: {file: a, content: b}}",
            ALL,
            &["`configs.c` has more than one of `file`, `environment`, `content`"],
        );
        refuses("jobs: {j: {triggers: {}}}", ALL, &["`jobs.j.triggers` has no trigger"]);
    }
}
