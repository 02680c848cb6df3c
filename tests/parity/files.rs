//! What is compared: the project's own cases, and files of a list.

use std::path::{Path, PathBuf};

/// One project, and how to point at it.
#[derive(Debug)]
pub(crate) struct File {
    /// As it is called in the report.
    pub(crate) name: String,
    /// Where the commands run.
    pub(crate) folder: PathBuf,
    /// The file in it; none where the usual names are looked for.
    pub(crate) file: Option<String>,
}

/// The golden cases, in order.
pub(crate) fn own() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let folders = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<File> = folders
        .filter(|path| path.is_dir())
        .map(|folder| File { name: name_of(&folder), folder, file: None })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The files that a folder's list names and that are there.
pub(crate) fn corpus(root: &Path) -> Vec<File> {
    let list = std::fs::read_to_string(root.join("files.tsv")).unwrap();
    let rows = list.lines().skip(1).filter_map(|row| row.split_once('\t'));
    let files = rows.map(|(repository, path)| {
        let whole = root.join(repository.replace('/', "+")).join(path);
        let name = format!("{repository}/{path}");
        assert!(whole.is_file(), "{} is not there", whole.display());
        let folder = whole.parent().unwrap().to_path_buf();
        File { name, folder, file: Some(name_of(&whole)) }
    });
    files.collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
