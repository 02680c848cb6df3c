//! Objects as a Helm chart: a template an object, with what people change in `values.yaml`.
//!
//! Objects keep the names they have without Helm, for other services call them by these: a chart is
//! installed once in a namespace, as a Compose project is once on a machine.

mod objects;
mod schema;
mod template;
mod texts;
mod values;
mod variables;

use serde_json::{Map as JsonMap, Value, json};

use super::draft::Entry;
use super::object::{Body, Container};
use super::report::{self, Report};
use super::{File, Objects, names, plain};
use crate::compose::project::Project;
use crate::translate::Places;
use values::Values;

/// The values that hold passwords, kept out of Git.
const SECRET_VALUES: &str = "secrets/values.yaml";

/// What a chart is made of.
pub(super) struct Source<'a> {
    pub(super) project: &'a Project,
    pub(super) objects: &'a Objects,
    pub(super) places: &'a Places<'a>,
    /// The file before variables are filled in.
    pub(super) raw: Option<&'a Value>,
    /// Profiles that are on from the start.
    pub(super) active: &'a [String],
}

/// The whole chart.
pub(super) fn files(source: &Source<'_>, report: &Report) -> Vec<File> {
    let chart = names::label(&source.project.name);
    let mut values = Values::of(source, &chart);
    let mut files = Vec::new();
    for entry in &source.objects.entries {
        let (text, extra) = objects::convert(entry, &mut values, source);
        files.extend(extra);
        let (_, kind) = entry.object.body.kind();
        let name = format!("{}-{}.yaml", entry.object.metadata.name, kind.to_ascii_lowercase());
        let head = plain::head(entry, source.places).replace("{{", "{ {");
        let text = format!("{head}{}", values.guarded((&entry.owners, &entry.unless), &text));
        files.push(File { path: format!("templates/{name}"), text });
    }
    files.extend(optional(source, &values));
    let mut add = |path: &str, text: String| {
        files.push(File { path: path.to_owned(), text });
    };
    add("Chart.yaml", texts::chart(&chart, &source.project.name));
    add("templates/_helpers.tpl", texts::helpers(&chart));
    add("templates/NOTES.txt", texts::notes(source));
    add("templates/tests/connection.yaml", texts::test(source, &chart, &values));
    add(".helmignore", texts::IGNORED.to_owned());
    add(".gitignore", plain::GITIGNORE.to_owned());
    add("values.yaml", values.text());
    add("values.schema.json", schema::of(&values.whole()));
    let secrets = values.secret_text();
    let mut apply = format!("helm upgrade --install {chart} .");
    if let Some(text) = secrets {
        add(SECRET_VALUES, text);
        apply.push_str(&format!(" -f {SECRET_VALUES}"));
    }
    add("MIGRATION.md", report::page(source.objects, report, &apply));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// What many want later, off until it is wanted: an autoscaler and a budget for each Deployment, an
/// Ingress for what is published.
fn optional(source: &Source<'_>, values: &Values) -> Vec<File> {
    let entries = &source.objects.entries;
    let mut files = Vec::new();
    let mut add = |entry: &Entry, kind: &str, text: String| {
        let name = &entry.object.metadata.name;
        let text = values.guarded((&entry.owners, &[]), &text);
        files.push(File { path: format!("templates/{name}-{kind}.yaml"), text });
    };
    for entry in entries.iter().filter(|it| matches!(it.object.body, Body::Deployment { .. })) {
        let name = &entry.object.metadata.name;
        let key = values::key(name);
        if !has(source, "HorizontalPodAutoscaler", name) {
            let text = texts::autoscaler(&values.chart, name, &key);
            add(entry, "horizontalpodautoscaler", text);
        }
        if !has(source, "PodDisruptionBudget", name) {
            let text = texts::disruption(&values.chart, name, &key);
            add(entry, "poddisruptionbudget", text);
        }
    }
    for (name, _) in reachable(source) {
        let service = entries.iter().find(|it| {
            matches!(it.object.body, Body::Service { .. }) && it.object.metadata.name == name
        });
        let Some(entry) = service else { continue };
        let labels = texts::labels(&values.chart, name);
        add(entry, "ingress", texts::ingress(name, &values::key(name), &labels));
    }
    files
}

fn has(source: &Source<'_>, kind: &str, name: &str) -> bool {
    let is_it = |it: &Entry| it.object.body.kind().1 == kind && it.object.metadata.name == name;
    source.objects.entries.iter().any(is_it)
}

/// Services that the Compose file publishes and nothing leads to yet, with their first port.
fn reachable<'a>(source: &Source<'a>) -> Vec<(&'a str, u16)> {
    let entries = &source.objects.entries;
    // Who has a Gateway wants routes, and has them from the file.
    let has_routes = entries.iter().any(|it| matches!(it.object.body, Body::HttpRoute { .. }));
    let mut found = Vec::new();
    for (key, service) in source.project.services.iter().filter(|_| !has_routes) {
        let entry = entries.iter().find(|it| {
            it.path == format!("services.{key}")
                && matches!(it.object.body, Body::Deployment { .. })
                && it.owners.contains(key)
        });
        let Some(name) = entry.map(|it| it.object.metadata.name.as_str()) else { continue };
        let mut ports = service.ports.iter().filter(|port| {
            port.published.is_some() && port.protocol.as_deref().is_none_or(|it| it == "tcp")
        });
        if let Some(port) = ports.next()
            && has(source, "Service", name)
            && !has(source, "Ingress", name)
        {
            found.push((name, port.target));
        }
    }
    found
}

/// The parts of an image's name.
pub(super) fn image(text: &str) -> Value {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, digest),
        None => (text, ""),
    };
    // A colon before the last slash is a registry's port.
    let after = rest.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match rest[after..].rfind(':') {
        Some(at) if after + at + 1 < rest.len() => (&rest[..after + at], &rest[after + at + 1..]),
        Some(_) | None => (rest, ""),
    };
    json!({"repository": repository, "tag": tag, "digest": digest})
}

/// The containers of an object's pods.
pub(super) fn containers(body: &Body) -> Vec<&Container> {
    let Some(template) = body.template() else { return Vec::new() };
    template.spec.init_containers.iter().chain(&template.spec.containers).collect()
}

/// An object to put keys into.
pub(super) fn section<'a>(values: &'a mut JsonMap<String, Value>, key: &str) -> &'a mut Value {
    values.entry(key.to_owned()).or_insert_with(|| json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_come_apart_and_lose_nothing() {
        let cases = [
            ("nginx", "nginx", "", ""),
            ("nginx:1.25", "nginx", "1.25", ""),
            ("r:5000/a/b", "r:5000/a/b", "", ""),
            ("a:", "a:", "", ""),
            ("r:5000/a/b:1@sha256:ab", "r:5000/a/b", "1", "sha256:ab"),
        ];
        for (text, repository, tag, digest) in cases {
            let expected = json!({"repository": repository, "tag": tag, "digest": digest});
            assert_eq!(image(text), expected, "{text}");
        }
    }
}
