//! Text to a [`project::Project`]. Knows Compose, nothing of clusters.
//!
//! In the order of the work: `files` finds what to read, `source` and `parse` make a tree in which
//! every node knows its place, `interpolate` fills in variables, `canonical` checks each value
//! against `schema` and makes short forms long, `include`, `extends` and `merge` bring files
//! together, `read` makes the typed project, `normalise` and `variables` fill in what is unsaid,
//! `check` finds contradictions. `print` shows the result. Nothing here writes to the disk.

mod canonical;
mod check;
mod diagnostic;
mod dotenv;
mod expand;
mod extends;
mod files;
mod hints;
mod include;
mod interpolate;
mod load;
mod merge;
mod mounts;
mod normalise;
mod parse;
mod paths;
mod ports;
pub mod print;
pub mod project;
mod read;
mod scalar;
mod schema;
mod source;
mod steps;
mod tree;
mod unique;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use diagnostic::{
    Diagnostic, Excerpt, Location, Related, Severity, render_all, render_all_within,
};
use load::Loader;
use project::Project;
#[cfg(test)]
pub(crate) use schema::key_paths;

/// What to load and how. The environment is an argument, so that a load is the same everywhere.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Files in the order in which they merge; `-` is standard input. Empty: `COMPOSE_FILE`, then
    /// the usual names in the working directory and above.
    pub files: Vec<PathBuf>,
    /// Relative paths start here. None: the folder of the first file.
    pub project_directory: Option<PathBuf>,
    /// None: `COMPOSE_PROJECT_NAME`, then `name:`, then the project directory's name.
    pub project_name: Option<String>,
    /// Active profiles; `*` means all. Empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// Files of variables; a later one wins. Empty: `COMPOSE_ENV_FILES`, then `.env`.
    pub env_files: Vec<PathBuf>,
    /// The process environment.
    pub environment: BTreeMap<String, String>,
    /// Where the command runs, absolute.
    pub working_directory: PathBuf,
    /// What `-` holds. None: standard input is read.
    pub stdin: Option<Vec<u8>>,
}

/// A project that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// What is doubtful about it.
    pub warnings: Vec<Diagnostic>,
    /// Where each key path, such as `services.web.ports[0]`, was written.
    pub locations: BTreeMap<String, Location>,
}

impl Loaded {
    /// The place of a key path, or of the nearest one above it that was written.
    pub fn location(&self, path: &str) -> Option<&Location> {
        let mut path = path;
        loop {
            if let Some(location) = self.locations.get(path) {
                return Some(location);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// A project that cannot be used. Nothing was changed anywhere.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", render_all(.diagnostics, false))]
pub struct Failed {
    /// At least one error, and the warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Loads a project.
///
/// # Errors
/// All mistakes that were found, not only the first.
pub fn load(options: &LoadOptions) -> Result<Loaded, Failed> {
    let mut loader = Loader::new(&options.working_directory, options.stdin.as_deref());
    let loaded = run(options, &mut loader);
    match loaded.filter(|_| !loader.report.failed()) {
        Some((project, places)) => {
            let mut locations = places.locations(&loader.report);
            for (path, at) in std::mem::take(&mut loader.consumed) {
                if let Some(location) = loader.report.location(at) {
                    locations.entry(path).or_insert(location);
                }
            }
            Ok(Loaded { project, warnings: loader.report.finish(), locations })
        }
        None => Err(Failed { diagnostics: loader.report.finish() }),
    }
}

/// The steps; `None` or errors in the loader's report when one of them failed.
fn run(options: &LoadOptions, loader: &mut Loader<'_>) -> Option<(Project, read::Places)> {
    let mut found = files::find(options, &mut loader.report)?;
    let mut parsed = Vec::with_capacity(found.inputs.len());
    for input in &found.inputs {
        parsed.extend(loader.parse(input));
    }
    let named =
        parsed.iter().flat_map(|one| &one.documents).filter_map(files::declared_name).next_back();
    let named = named.and_then(|(template, at)| {
        let mut interpolator = interpolate::Interpolator::new(&found.environment);
        Some((interpolator.text(&template, at, &mut loader.report)?, at))
    });
    let name = files::project_name(options, &found, named, &mut loader.report);
    if loader.report.failed() {
        return None;
    }
    found.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());

    let chain = found.inputs.first().map(|input| input.path.clone()).into_iter().collect();
    let scope = loader.scope(found.directory.clone(), found.environment.clone(), chain);
    let mut tree = loader.model(parsed, &scope)?;
    if loader.report.failed() {
        return None;
    }
    merge::strip(&mut tree);
    steps::inherit(&mut tree);
    let places = read::Places::of(&tree);
    let mut project = read::read(tree, &places, &mut loader.report);
    if loader.report.failed() {
        return None;
    }
    project.name = name;
    project.environment = found.environment;
    project.working_dir = found.directory;
    project.compose_files = std::mem::take(&mut loader.compose_files);
    normalise::normalise(&mut project);
    let profiles = active_profiles(options, &project.environment);
    normalise::apply_profiles(&mut project, &profiles);
    check::check(&project, &places, &mut loader.report);
    let working = &options.working_directory;
    variables::resolve(&mut project, working, &places, &mut loader.report);
    Some((project, places))
}

fn active_profiles(options: &LoadOptions, environment: &BTreeMap<String, String>) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let named = environment.get("COMPOSE_PROFILES").map(|names| names.split(','));
    let trimmed = named.into_iter().flatten().map(|name| name.trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}
