//! The merged tree to the typed [`Project`].

mod command;
mod convert;
mod places;

use serde::de::DeserializeOwned;
use serde_json::{Map as JsonMap, Value as Json};

use super::project::{FileObject, Network, Project, Service, Volume};
use super::schema::PROJECT;
use super::source::{Report, Span};
use super::tree::{KeyPath, Node};

pub(crate) use command::split;
pub(crate) use places::Places;

/// Services of one project; more is not what Compose files are for.
const SERVICES_MAX: usize = 10_000;

/// Reads the model. Mistakes are in the report; what had one is left at its default.
pub(crate) fn read(tree: Node, places: &Places, report: &mut Report) -> Project {
    let mut project = Project::default();
    if !may_be_project(&tree, report) {
        return project;
    }
    let errors_before = report.n_errors();
    let mut sink = convert::Sink { report, complete: true };
    let value = convert::convert(&tree, &PROJECT, &mut KeyPath::default(), &mut sink);
    // The tree of a large project is larger than the project; its memory is used again below.
    drop(tree);
    if report.n_errors() > errors_before {
        return project;
    }
    let Json::Object(mut sections) = value else { return project };
    let mut reader = Reader { places, report };
    let services = take(&mut sections, "services");
    project.services = reader.section::<Service>("services", services).collect();
    let networks = take(&mut sections, "networks");
    project.networks = reader.section::<Network>("networks", networks).collect();
    let volumes = take(&mut sections, "volumes");
    project.volumes = reader.section::<Volume>("volumes", volumes).collect();
    let configs = take(&mut sections, "configs");
    project.configs = reader.section::<FileObject>("configs", configs).collect();
    let secrets = take(&mut sections, "secrets");
    project.secrets = reader.section::<FileObject>("secrets", secrets).collect();
    project.models = take(&mut sections, "models").into_iter().collect();
    project.jobs = take(&mut sections, "jobs").into_iter().collect();
    project.extensions = sections.into_iter().filter(|(key, _)| key.starts_with("x-")).collect();
    project
}

/// Whether there are not too many services, which costs less to see than what each of them says.
pub(crate) fn may_be_project(tree: &Node, report: &mut Report) -> bool {
    let services = tree.as_map().and_then(|map| map.get("services"));
    let n_services = services.and_then(|entry| entry.value.as_map()).map_or(0, |map| map.len());
    if let Some(entry) = services.filter(|_| n_services > SERVICES_MAX) {
        let message = format!("{n_services} services; there may be {SERVICES_MAX}");
        drop(report.error(entry.key, message).hint("split the project"));
    }
    n_services <= SERVICES_MAX
}

/// Finds values of one file that cannot be cast; for a file that has other mistakes already, so
/// that all of them are shown at once.
pub(crate) fn check_values(document: &Node, report: &mut Report) {
    let mut sink = convert::Sink { report, complete: false };
    convert::convert(document, &PROJECT, &mut KeyPath::default(), &mut sink);
}

fn take(sections: &mut JsonMap<String, Json>, key: &str) -> JsonMap<String, Json> {
    match sections.shift_remove(key) {
        Some(Json::Object(map)) => map,
        _ => JsonMap::new(),
    }
}

struct Reader<'a> {
    places: &'a Places,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// One object an entry; an entry without a value is an object with nothing set.
    fn section<'s, T: DeserializeOwned + Default>(
        &'s mut self,
        name: &'static str,
        entries: JsonMap<String, Json>,
    ) -> impl Iterator<Item = (String, T)> + 's {
        entries.into_iter().map(move |(key, value)| {
            let value = if value.is_null() { Json::Object(JsonMap::new()) } else { value };
            let read = serde_json::from_value(value).unwrap_or_else(|error| {
                let at: Span = self.places.span(&format!("{name}.{key}"));
                // Tables and types are kept in step by tests; a user may still meet a gap.
                drop(self.report.error(at, format!("`{name}.{key}` cannot be read: {error}")));
                T::default()
            });
            (key, read)
        })
    }
}
