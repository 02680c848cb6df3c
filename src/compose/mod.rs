//! Text to a [`project::Project`]. Knows Compose, nothing of clusters.
//!
//! In the order of the work: `files` finds what to read, `source` and `parse` make a tree in which
//! every node knows its place, `interpolate` fills in variables, `canonical` checks each value
//! against `schema` and makes short forms long, `include`, `extends` and `merge` bring files
//! together, `complete` finds what is missing, `normalise` fills in what is unsaid, `read` makes the
//! typed project, `profiles` chooses services, `check` finds contradictions, `variables` reads files
//! of variables. `print` shows the result, `hash` what of a service makes a new container, and `raw`
//! the files before variables are filled in, of which `extract` makes a list.
//! Nothing here writes to the disk.

mod budget;
mod canonical;
mod check;
mod complete;
mod diagnostic;
mod dotenv;
mod expand;
mod extends;
mod extract;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod hash;
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
mod profiles;
pub mod project;
mod raw;
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
pub use extract::{Variable, variables};
pub use hash::service_hash;
use load::Loader;
pub use profiles::{NoService, select};
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
    /// What is not done.
    pub skip: Skip,
}

/// Steps of a load that can be left out, to look at what is before them. What comes of it need not
/// be a project that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skip {
    /// Default networks, names and implied dependencies are not filled in.
    pub normalisation: bool,
    /// Relative paths stay relative to the project directory.
    pub paths: bool,
    /// Contradictions are not looked for.
    pub consistency: bool,
    /// `env_file` is not read into `environment`.
    pub env_files: bool,
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
    load_by(options, Loader::new(options))
}

fn load_by(options: &LoadOptions, mut loader: Loader<'_>) -> Result<Loaded, Failed> {
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

/// A project as its files say it, with `${VARIABLES}` in place: values as they were written, short
/// forms long where no variable hides what they are, keys sorted. Where any value is taken, they are
/// in the order of the file.
#[derive(Clone, Debug)]
pub struct Uninterpolated {
    /// The merged files.
    pub value: serde_json::Value,
    /// What is doubtful about them.
    pub warnings: Vec<Diagnostic>,
}

/// Loads a project without filling in variables.
///
/// # Errors
/// All mistakes that can be seen without knowing the variables; with `any_value` only those that
/// leave nothing to look at.
pub fn load_uninterpolated(
    options: &LoadOptions,
    any_value: bool,
) -> Result<Uninterpolated, Failed> {
    let mut loader = Loader::new(options);
    loader.raw = true;
    loader.check_raw = !any_value;
    let value = merged(options, &mut loader).map(|merged| {
        let Merged { name, mut tree, .. } = merged;
        merge::strip(&mut tree);
        if !options.skip.normalisation {
            steps::inherit(&mut tree, true, &mut loader.report);
        }
        let asked =
            complete::Asked { values: !any_value, paths: !options.skip.paths, consistency: false };
        complete::check(&tree, asked, &mut loader.report);
        let no_variables = BTreeMap::new();
        normalise::fill_defaults(&mut tree, &no_variables, true);
        if !options.skip.normalisation {
            normalise::normalise(&mut tree, &name, &no_variables);
        }
        let mut value = raw::value(&tree);
        if !any_value {
            value.sort_all_objects();
        }
        value
    });
    match value.filter(|_| !loader.report.failed()) {
        Some(value) => Ok(Uninterpolated { value, warnings: loader.report.finish() }),
        None => Err(Failed { diagnostics: loader.report.finish() }),
    }
}

/// All files as one tree, and what was found on the way.
struct Merged {
    found: files::Found,
    name: String,
    tree: tree::Node,
}

/// The steps up to one tree; `None` or errors in the loader's report when one of them failed.
fn merged(options: &LoadOptions, loader: &mut Loader<'_>) -> Option<Merged> {
    let mut found = files::find(options, &mut loader.report)?;
    let mut parsed = Vec::with_capacity(found.inputs.len());
    for input in &found.inputs {
        parsed.extend(loader.parse(input));
    }
    let named =
        parsed.iter().flat_map(|one| &one.documents).filter_map(files::declared_name).next_back();
    let named = named.and_then(|(template, at)| {
        if loader.raw {
            return Some((template, at));
        }
        let mut interpolator = interpolate::Interpolator::new(&found.environment);
        Some((interpolator.text(&template, at, &mut loader.report)?, at))
    });
    // Who only looks for variables needs no name.
    let mut unheard = source::Report::default();
    let report = if loader.check_raw { &mut loader.report } else { &mut unheard };
    let name = files::project_name(options, &found, named, report);
    if loader.report.failed() {
        return None;
    }
    found.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());

    let chain = found.inputs.first().map(|input| input.path.clone()).into_iter().collect();
    let mut environment = found.environment.clone();
    if loader.raw {
        // `~` is no variable.
        environment.retain(|name, _| name == "HOME");
    }
    let scope = loader.scope(found.directory.clone(), found.directory.clone(), environment, chain);
    let tree = loader.model(parsed, &scope)?;
    (!loader.report.failed()).then_some(Merged { found, name, tree })
}

/// The steps; `None` or errors in the loader's report when one of them failed.
fn run(options: &LoadOptions, loader: &mut Loader<'_>) -> Option<(Project, read::Places)> {
    let Merged { found, name, mut tree } = merged(options, loader)?;
    merge::strip(&mut tree);
    if !options.skip.normalisation {
        steps::inherit(&mut tree, false, &mut loader.report);
    }
    if loader.report.failed() {
        return None;
    }
    let places = read::Places::of(&tree);
    let asked = complete::Asked {
        values: true,
        paths: !options.skip.paths,
        consistency: !options.skip.consistency,
    };
    if !complete::check(&tree, asked, &mut loader.report) {
        read::check_values(&tree, &mut loader.report);
        return None;
    }
    normalise::fill_defaults(&mut tree, &found.environment, false);
    if !options.skip.normalisation {
        normalise::normalise(&mut tree, &name, &found.environment);
    }
    let errors_before = loader.report.n_errors();
    let mut project = read::read(tree, &places, &mut loader.report);
    if loader.report.n_errors() > errors_before {
        return None;
    }
    project.name = name;
    project.environment = found.environment;
    project.working_dir = found.directory;
    project.compose_files = std::mem::take(&mut loader.compose_files);
    profiles::apply(&mut project, options);
    if !options.skip.consistency {
        check::check(&project, &places, &mut loader.report);
    }
    let working = &options.working_directory;
    let files = !options.skip.env_files;
    variables::resolve(&mut project, working, &places, files, &mut loader.report);
    Some((project, places))
}
