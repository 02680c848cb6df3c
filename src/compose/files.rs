//! Which files make a project, under which name, and with which variables.
//!
//! The environment is an argument; this asks the disk only whether a file is there.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::LoadOptions;
use super::diagnostic::Diagnostic;
use super::dotenv;
use super::paths::Base;
use super::source::{Report, Span};
use super::tree::Node;

const FILE_NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDE_NAMES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What `-f -` is called in messages.
pub(crate) const STDIN: &str = "-";

/// One file to load.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Absolute path; `-` for standard input.
    pub(crate) path: PathBuf,
    /// As the user knows it.
    pub(crate) name: String,
}

/// The answer to which files, where, with which variables.
#[derive(Debug)]
pub(crate) struct Found {
    /// In the order in which they merge.
    pub(crate) inputs: Vec<Input>,
    /// The project directory, absolute.
    pub(crate) directory: PathBuf,
    /// Process environment over `--env-file` over `.env`.
    pub(crate) environment: BTreeMap<String, String>,
}

/// Looks for the files. Errors are in the report.
pub(crate) fn find(options: &LoadOptions, report: &mut Report) -> Option<Found> {
    let working = &options.working_directory;
    let mut environment = options.environment.clone();
    environment.insert("PWD".to_owned(), working.display().to_string());
    let base = |environment: &BTreeMap<String, String>, path: &Path| {
        let home = environment.get("HOME").map(String::as_str);
        Base { directory: working, home }.path(&path.to_string_lossy())
    };
    let mut paths: Vec<PathBuf> = options.files.clone();
    let directory_of = |paths: &[PathBuf], environment: &BTreeMap<String, String>| {
        let named = options.project_directory.as_deref().map(|path| base(environment, path));
        named.unwrap_or_else(|| {
            let first = paths.iter().find(|path| path.as_os_str() != STDIN);
            let parent =
                first.and_then(|path| base(environment, path).parent().map(Path::to_path_buf));
            parent.unwrap_or_else(|| working.clone())
        })
    };
    // A first `.env` may name the files; another may lie beside them.
    add_env_files(options, &directory_of(&paths, &environment), &mut environment, report);
    if paths.is_empty() {
        paths = from_variable(&environment);
    }
    if paths.is_empty() {
        let start = directory_of(&paths, &environment);
        paths = discover(&start, report);
    }
    if paths.is_empty() {
        let error = Diagnostic::error("no Compose file found").with_hint(format!(
            "make `compose.yaml` in `{}` or above, or name a file with `-f`",
            working.display()
        ));
        report.push(error);
        return None;
    }
    let directory = directory_of(&paths, &environment);
    add_env_files(options, &directory, &mut environment, report);
    let inputs = paths.iter().map(|path| {
        if path.as_os_str() == STDIN {
            return Input { path: path.clone(), name: STDIN.to_owned() };
        }
        let path = base(&environment, path);
        Input { name: display_name(&path, working), path }
    });
    let inputs = inputs.collect();
    Some(Found { inputs, directory, environment })
}

/// A path as short as it can be said from the working directory.
pub(crate) fn display_name(path: &Path, working: &Path) -> String {
    path.strip_prefix(working).unwrap_or(path).display().to_string()
}

fn from_variable(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let separator = set("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
    let files = set("COMPOSE_FILE").map(|files| files.split(separator).map(PathBuf::from));
    files.into_iter().flatten().collect()
}

fn discover(start: &Path, report: &mut Report) -> Vec<PathBuf> {
    for folder in start.ancestors() {
        let Some(file) = first(folder, &FILE_NAMES, report) else { continue };
        let override_file = first(folder, &OVERRIDE_NAMES, report);
        return std::iter::once(file).chain(override_file).collect();
    }
    Vec::new()
}

fn first(folder: &Path, names: &[&str], report: &mut Report) -> Option<PathBuf> {
    let present: Vec<&&str> = names.iter().filter(|name| folder.join(name).is_file()).collect();
    let (winner, others) = present.split_first()?;
    if !others.is_empty() {
        let names: Vec<String> = present.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("several files fit: {}; `{winner}` is used", names.join(", "));
        report.push(Diagnostic::warning(message).with_hint("name one with `-f`"));
    }
    Some(folder.join(winner))
}

/// Variables of `--env-file`, `COMPOSE_ENV_FILES` or `.env`, below those that are set already.
fn add_env_files(
    options: &LoadOptions,
    directory: &Path,
    environment: &mut BTreeMap<String, String>,
    report: &mut Report,
) {
    let home = environment.get("HOME").cloned();
    let working = Base { directory: &options.working_directory, home: home.as_deref() };
    let mut files: Vec<PathBuf> =
        options.env_files.iter().map(|file| working.path(&file.to_string_lossy())).collect();
    if files.is_empty() {
        let named = environment.get("COMPOSE_ENV_FILES").filter(|value| !value.is_empty());
        files.extend(
            named.into_iter().flat_map(|names| names.split(',')).map(|name| working.path(name)),
        );
    }
    if files.is_empty() {
        let disabled = environment.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|v| is_true(v));
        let default = directory.join(".env");
        if !disabled && default.is_file() {
            files.push(default);
        }
    }
    let variables = read_env_files(&files, environment, &options.working_directory, report);
    for (key, value) in variables {
        environment.entry(key).or_insert(value);
    }
}

fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

/// Reads files of variables in order; a later one wins.
pub(crate) fn read_env_files(
    files: &[PathBuf],
    environment: &BTreeMap<String, String>,
    working: &Path,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for file in files {
        let name = display_name(file, working);
        let Some((source, text)) = report.read_source(file, &name) else { continue };
        let lookup = |name: &str| environment.get(name).cloned();
        if let Err(error) = dotenv::read(&text, &mut variables, &lookup) {
            let at = Span { file: source, line: error.line(), column: 1, length: u32::MAX };
            drop(report.error(at, error.to_string()));
        }
    }
    variables
}

/// The project's name: named by the user, by a variable, by the files, or by the folder.
pub(crate) fn project_name(
    options: &LoadOptions,
    found: &Found,
    from_files: Option<(String, Span)>,
    report: &mut Report,
) -> String {
    let variable = found.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    if let Some(name) = options.project_name.as_ref().or(variable) {
        if normalised(name) != *name || name.is_empty() {
            let error = Diagnostic::error(format!("`{name}` is not a project name"));
            report.push(error.with_hint(
                "lower-case letters, digits, `-` and `_`, beginning with a letter or a digit",
            ));
        }
        return name.clone();
    }
    let (name, at) = match from_files {
        Some((name, at)) if options.skip.normalisation => (name, Some(at)),
        Some((name, at)) => (normalised(&name), Some(at)),
        None => (normalised(&folder_name(&found.directory)), None),
    };
    if name.is_empty() {
        let message = "the project has no name";
        let hint = "set `name:` in the file, or use `--project-name`";
        match at {
            Some(at) => drop(report.error(at, message).hint(hint)),
            None => report.push(Diagnostic::error(message).with_hint(hint)),
        }
    }
    name
}

fn folder_name(directory: &Path) -> String {
    match directory.components().next_back() {
        Some(Component::Normal(name)) => name.to_string_lossy().into_owned(),
        _ => String::new(),
    }
}

/// Lower case, only `[a-z0-9_-]`, no `-` or `_` in front.
fn normalised(name: &str) -> String {
    let lower = name.to_lowercase();
    let good = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let kept: String = lower.chars().filter(good).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// The `name:` of a document, before variables are filled in.
pub(crate) fn declared_name(document: &Node) -> Option<(String, Span)> {
    let node = document.get("name")?;
    node.as_text().filter(|name| !name.is_empty()).map(|name| (name.to_owned(), node.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (name, expected) in
            [("My.App", "myapp"), ("__a-b_c", "a-b_c"), ("Größe", "gre"), ("...", ""), ("1x", "1x")]
        {
            assert_eq!(normalised(name), expected, "{name}");
        }
    }

    fn setup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn run(options: &LoadOptions) -> (Option<Found>, Vec<Diagnostic>) {
        let mut report = Report::default();
        let found = find(options, &mut report);
        (found, report.finish())
    }

    fn names(found: &Found) -> Vec<&str> {
        found.inputs.iter().map(|input| input.name.as_str()).collect()
    }

    #[test]
    fn files_are_found_upwards_with_their_override() {
        let folder = setup(&[
            ("compose.yaml", ""),
            ("docker-compose.yml", ""),
            ("compose.override.yml", ""),
            ("sub/deep/x", ""),
        ]);
        let working_directory = folder.path().join("sub/deep");
        let (found, messages) = run(&LoadOptions { working_directory, ..LoadOptions::default() });
        let found = found.unwrap();
        assert_eq!(found.directory, folder.path());
        assert_eq!(found.inputs.len(), 2);
        assert!(found.inputs[1].name.ends_with("compose.override.yml"));
        assert!(messages[0].message.contains("several files fit"), "{messages:?}");
    }

    #[test]
    fn a_variable_of_dotenv_names_the_files_and_the_process_wins() {
        let folder = setup(&[
            (".env", "COMPOSE_FILE=a.yml,b.yml\nCOMPOSE_PATH_SEPARATOR=,\nA=file\nB=file\n"),
            ("a.yml", ""),
            ("b.yml", ""),
        ]);
        let environment = BTreeMap::from([("A".to_owned(), "process".to_owned())]);
        let working_directory = folder.path().to_path_buf();
        let options = LoadOptions { working_directory, environment, ..LoadOptions::default() };
        let (found, messages) = run(&options);
        let found = found.unwrap();
        assert_eq!(messages, []);
        assert_eq!(names(&found), ["a.yml", "b.yml"]);
        assert_eq!(found.environment["A"], "process");
        assert_eq!(found.environment["B"], "file");
    }

    #[test]
    fn env_files_replace_dotenv_and_must_exist() {
        let folder = setup(&[("compose.yaml", ""), (".env", "A=dot\n"), ("x.env", "B=x\n")]);
        let options = LoadOptions {
            working_directory: folder.path().to_path_buf(),
            env_files: vec!["x.env".into(), "gone.env".into()],
            ..LoadOptions::default()
        };
        let (found, messages) = run(&options);
        let found = found.unwrap();
        assert!(!found.environment.contains_key("A"));
        assert_eq!(found.environment["B"], "x");
        assert!(messages[0].message.contains("cannot read `gone.env`: no such file"));
    }

    #[test]
    fn nothing_found_says_where_it_looked() {
        let folder = setup(&[]);
        let options = LoadOptions {
            working_directory: folder.path().to_path_buf(),
            ..LoadOptions::default()
        };
        let (found, messages) = run(&options);
        // A file in a parent of the temporary folder would be found; there is none.
        assert!(found.is_none());
        assert_eq!(messages[0].message, "no Compose file found");
    }
}
