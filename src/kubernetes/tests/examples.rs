//! The examples of the repository in all three forms. `MUSTER_BLESS=1` writes what is found to
//! `tests/golden/kubernetes`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::*;
use crate::compose::{LoadOptions, load, load_uninterpolated};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn options(folder: &Path) -> LoadOptions {
    LoadOptions {
        files: vec![folder.join("compose.yaml")],
        working_directory: folder.to_owned(),
        ..LoadOptions::default()
    }
}

/// All files of all forms as one text.
fn all(folder: &Path) -> String {
    let loaded = load(&options(folder)).unwrap();
    let raw = load_uninterpolated(&options(folder), true).unwrap();
    let choices = Options::default();
    let forms = [
        ("kubernetes", export(&loaded, &RealDisk, &choices)),
        ("kustomize", kustomize(&loaded, &[], &RealDisk, &choices)),
        ("helm", helm(&loaded, (Some(&raw.value), &[]), &RealDisk, &choices)),
    ];
    let mut text = String::new();
    for (form, export) in forms {
        for file in export.files {
            write!(text, "=== {form}/{}\n{}", file.path, file.text).unwrap();
        }
    }
    let root = root();
    text.replace(root.to_str().unwrap(), "/PROJECT")
}

#[test]
fn examples_become_what_is_expected() {
    let bless = std::env::var_os("MUSTER_BLESS").is_some();
    for name in ["guestbook-postgres", "web-redis", "hello"] {
        let text = all(&root().join("compose-examples").join(name));
        let path = root().join("tests/golden/kubernetes").join(format!("{name}.txt"));
        if bless {
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == expected, "{} is old: MUSTER_BLESS=1", path.display());
    }
}

#[test]
fn examples_are_valid_and_nothing_in_them_is_unlocated() {
    for name in ["guestbook-postgres", "web-redis", "hello"] {
        let folder = root().join("compose-examples").join(name);
        let loaded = load(&options(&folder)).unwrap();
        let export = export(&loaded, &RealDisk, &Options::default());
        let lost = export.report.rows.iter().find(|row| row.location.is_none()).cloned();
        assert_eq!(lost, None, "{name}");
        assert_eq!(validate(&super::manifests(export)), [], "{name}");
    }
}
