//! Compose files in, the resolved model or the messages out.
//!
//! Each folder of `cases/` is a project. One that loads has `expected.json`, one that does not has
//! `expected.txt`; warnings of a project that loads are in `warnings.txt`. `MUSTER_BLESS=1` writes
//! what is found.

#![expect(clippy::unwrap_used, reason = "a test may stop at a broken fixture")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use muster::compose::{self, LoadOptions, print, render_all};

/// Stand for the case's folder and the one above it, so that the expectation is the same on every
/// machine.
const ROOT: &str = "/PROJECT";
const ABOVE: &str = "/ABOVE";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases")
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn options(folder: &Path) -> LoadOptions {
    let environment = [("HOME", "/home/user"), ("FROM_PROCESS", "process"), ("EMPTY", "")];
    LoadOptions {
        environment: environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        working_directory: folder.to_path_buf(),
        ..LoadOptions::default()
    }
}

/// What loading a folder gives: file name and content of each expectation.
fn outcome(folder: &Path) -> BTreeMap<&'static str, String> {
    let above = folder.parent().unwrap();
    let shown = |text: String| {
        let text = text.replace(folder.to_str().unwrap(), ROOT);
        text.replace(above.to_str().unwrap(), ABOVE) + "\n"
    };
    let mut files = BTreeMap::new();
    match compose::load(&options(folder)) {
        Ok(loaded) => {
            files.insert("expected.json", shown(print::to_json(&loaded.project).unwrap()));
            if !loaded.warnings.is_empty() {
                files.insert("warnings.txt", shown(render_all(&loaded.warnings, false)));
            }
        }
        Err(failed) => {
            files.insert("expected.txt", shown(render_all(&failed.diagnostics, false)));
        }
    }
    files
}

#[test]
fn every_case_gives_what_it_should() {
    let bless = std::env::var_os("MUSTER_BLESS").is_some();
    let folders = folders(&root());
    assert!(folders.len() >= 20, "the cases are gone");
    let mut wrong = String::new();
    for folder in folders {
        let found = outcome(&folder);
        for name in ["expected.json", "expected.txt", "warnings.txt"] {
            let path = folder.join(name);
            let expected = fs::read_to_string(&path).ok();
            let actual = found.get(name).cloned();
            if expected == actual {
                continue;
            }
            match (bless, &actual) {
                (true, Some(text)) => fs::write(&path, text).unwrap(),
                (true, None) => fs::remove_file(&path).unwrap(),
                (false, _) => {
                    let absent = || "<absent>".to_owned();
                    let (expected, actual) =
                        (expected.unwrap_or_else(absent), actual.unwrap_or_else(absent));
                    let path = path.display();
                    writeln!(wrong, "{path}\nexpected:\n{expected}\nfound:\n{actual}").unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_printed_loads_again_as_the_same_project() {
    let mut n_checked = 0;
    for folder in folders(&root()) {
        let Ok(first) = compose::load(&options(&folder)) else { continue };
        if !first.project.disabled_services.is_empty() {
            // What is left out is not printed, although something may depend on it.
            continue;
        }
        let yaml = print::to_yaml(&first.project).unwrap();
        let again = LoadOptions {
            files: vec!["-".into()],
            stdin: Some(yaml.clone().into_bytes()),
            ..options(&folder)
        };
        let second = compose::load(&again).unwrap_or_else(|failed| panic!("{failed}\n{yaml}"));
        let [first, second] = [first, second].map(|one| print::json_model(&one.project).unwrap());
        assert_eq!(first, second, "{}", folder.display());
        n_checked += 1;
    }
    assert!(n_checked >= 10, "only {n_checked} cases load");
}

#[test]
fn examples_load_without_a_warning() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples");
    let folders = folders(&examples);
    assert!(!folders.is_empty());
    for folder in folders {
        let loaded = compose::load(&options(&folder));
        let loaded = loaded.unwrap_or_else(|failed| panic!("{}: {failed}", folder.display()));
        assert_eq!(loaded.warnings, [], "{}", folder.display());
        assert!(!loaded.project.services.is_empty());
        assert!(loaded.location("services").is_some());
    }
}
