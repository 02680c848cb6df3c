//! `muster export --validate`: reads a folder of manifests and says what is wrong with them.

use std::fs;
use std::io;
use std::path::Path;

use super::errors::{CliError, Complaint, Kind, Outcome};
use super::{Context, show};
use crate::kubernetes::{self, Finding};

/// More is no folder of manifests.
const FILES_MAX: usize = 20_000;

pub(super) fn run(folder: &Path, context: &Context) -> Result<Outcome, CliError> {
    let mut files = Vec::new();
    read(folder, "", &mut files)
        .map_err(|error| CliError::user(format!("cannot read `{}`: {error}", folder.display())))?;
    files.sort();
    let findings = kubernetes::validate(&files);
    if context.json {
        context.printer.json(&findings)?;
    }
    if findings.is_empty() {
        let files = show::count(files.len(), "file");
        context.printer.say(&format!("{files} looked at, nothing found"));
        return Ok(Outcome::Done);
    }
    let complaints = findings.iter().map(|Finding { file, object, message }| {
        let object = if object.is_empty() { String::new() } else { format!(" {object}:") };
        Complaint { message: format!("{file}:{object} {message}"), hint: None }
    });
    Err(CliError { kind: Kind::User, complaints: complaints.collect(), excerpt: None })
}

fn read(folder: &Path, below: &str, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            read(folder, &path, files)?;
        } else if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
            && !name.starts_with('.')
        {
            if files.len() >= FILES_MAX {
                return Err(io::Error::other(format!("there are more than {FILES_MAX} files")));
            }
            files.push((path, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}
