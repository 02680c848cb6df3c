//! `env_file` and `label_file`: files read into `environment` and `labels`, below what a service
//! says itself.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::budget::VARIABLE_BYTES_MAX;
use super::dotenv;
use super::files::display_name;
use super::project::{EnvFile, Project, Service};
use super::read::Places;
use super::source::{Report, Span};

/// Reads the files of all services that run; those of variables only when `env_files` are wanted.
pub(crate) fn resolve(
    project: &mut Project,
    working: &Path,
    places: &Places,
    env_files: bool,
    report: &mut Report,
) {
    let mut reader = Reader { texts: HashMap::new(), working, places, report };
    let environment = &project.environment;
    for (name, service) in &mut project.services {
        if env_files {
            reader.environment(name, service, environment);
        }
        reader.labels(name, service);
    }
}

struct Reader<'a> {
    /// Files read so far; many services share one.
    texts: HashMap<String, Option<(u32, Arc<str>)>>,
    working: &'a Path,
    places: &'a Places,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn environment(
        &mut self,
        name: &str,
        service: &mut Service,
        project: &BTreeMap<String, String>,
    ) {
        let files = std::mem::take(&mut service.env_file);
        if files.is_empty() {
            return;
        }
        let own = service.environment.clone();
        let known = |key: &str| own.get(key).cloned().flatten();
        let lookup = |key: &str| project.get(key).cloned().or_else(|| known(key));
        let mut variables: BTreeMap<String, String> =
            own.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
        for (index, file) in files.iter().enumerate() {
            let at = self.places.span(&format!("services.{name}.env_file[{index}]"));
            self.read(file, at, &mut variables, &lookup);
        }
        let files = variables.into_iter().map(|(key, value)| (key, Some(value)));
        service.environment = files.chain(own).collect();
    }

    fn labels(&mut self, name: &str, service: &mut Service) {
        let Some(Json::Array(files)) = service.other.get("label_file").cloned() else { return };
        let mut labels = BTreeMap::new();
        for (index, file) in files.iter().filter_map(Json::as_str).enumerate() {
            let at = self.places.span(&format!("services.{name}.label_file[{index}]"));
            let file = EnvFile { path: file.to_owned(), required: true, format: None };
            self.read(&file, at, &mut labels, &|_| None);
        }
        labels.append(&mut service.labels);
        service.labels = labels;
    }

    fn read(
        &mut self,
        file: &EnvFile,
        at: Span,
        variables: &mut BTreeMap<String, String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) {
        // Relative only when paths were not resolved.
        let path = &self.working.join(&file.path);
        let shown = display_name(path, self.working);
        if !path.exists() {
            if file.required {
                let error = self.report.error(at, format!("there is no file `{shown}`"));
                drop(error.hint("make it, or write `required: false` beside its `path`"));
            }
            return;
        }
        let text = match self.texts.get(&file.path) {
            Some(text) => text.clone(),
            None => {
                let mark = self.report.mark();
                let text = self.report.read_source(path, &shown);
                self.report.came_from(mark, at, "named here");
                self.texts.insert(file.path.clone(), text.clone());
                text
            }
        };
        let Some((source, text)) = text else { return };
        let known: usize = variables.values().map(String::len).sum();
        if !self.report.budgets.variables.take(text.len() + known) {
            let most = VARIABLE_BYTES_MAX / 1024 / 1024;
            let message = format!("files of variables give the services more than {most} MiB");
            let hint = "give each service only the variables that it needs";
            drop(self.report.error(at, message).hint(hint));
            return;
        }
        let result = match file.format.as_deref() {
            None | Some("") => dotenv::read(&text, variables, lookup),
            Some("raw") => dotenv::read_raw(&text, variables, lookup),
            Some(format) => {
                let error =
                    self.report.error(at, format!("`{format}` is no format of an env_file"));
                drop(error.hint("the only one is `raw`"));
                return;
            }
        };
        if let Err(error) = result {
            let line = Span { file: source, line: error.line(), column: 1, length: u32::MAX };
            drop(self.report.error(line, error.to_string()).related(at, "named here"));
        }
    }
}
