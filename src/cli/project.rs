//! From the Compose file to what a command needs: the app's name, the project, its translation.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Context;
use super::args::ProjectArgs;
use super::errors::{CliError, Complaint, Kind};
use super::printer::{Level, Paint};
use crate::compose::project::Project;
use crate::model::{AppName, HostId, Origin, Revision, WallSeconds};
use crate::translate::{self, Note, Translation, Verdict};

/// The app a command is about: `-p`, else `COMPOSE_PROJECT_NAME`, else as the Compose file says.
/// With a name given, no file is needed.
///
/// # Errors
///
/// When the name is not well formed, or the file cannot be loaded.
pub(super) fn app_name(args: &ProjectArgs) -> Result<AppName, CliError> {
    let given = args.rest.project_name.clone();
    let given = given.or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok());
    match given.filter(|name| !name.is_empty()) {
        Some(name) if is_name(&name) => Ok(AppName::new(name)),
        Some(name) => Err(CliError::user(format!("`{name}` is no project name"))
            .hint("a name has a-z, 0-9, `-`, `_`, and begins with a letter or a digit")),
        None => {
            let project = load(args, &[], None).map_err(|error| {
                error.hint("without a Compose file, name the app with `-p`; `muster ls` lists them")
            })?;
            Ok(AppName::new(project.name))
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// The project of the Compose file. Its warnings go to the printer of `context`, when given.
///
/// # Errors
///
/// When it cannot be loaded; the error shows the places.
pub(super) fn load(
    args: &ProjectArgs,
    _services: &[String],
    _context: Option<&Context>,
) -> Result<Project, CliError> {
    // Replaced by `compose::load` once it is merged.
    let path = args.files.first().cloned().unwrap_or_else(|| "compose.yaml".into());
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CliError::user(format!("cannot read `{}`: {error}", path.display())))?;
    let value = serde_json::from_str(&text).map_err(|error| CliError::user(error.to_string()))?;
    Project::from_canonical(value).map_err(|error| CliError::user(error.to_string()))
}

/// The project as a cluster is to run it. Says what is not done as the file says.
///
/// # Errors
///
/// When the file cannot be loaded, or must not be run.
pub(super) fn translated(
    args: &ProjectArgs,
    services: &[String],
    command: &str,
    context: &Context,
) -> Result<Translation, CliError> {
    let project = load(args, services, Some(context))?;
    // The agent that takes it fills in the host.
    let origin =
        translate::Context { host: HostId::new(""), command: command.to_owned(), at: now() };
    let translation = translate::translate(&project, &origin);
    for note in &translation.notes {
        say_note(note, context);
    }
    if translation.refusals.is_empty() {
        return Ok(translation);
    }
    let complaints = translation.refusals.iter().map(|note| Complaint {
        message: format!("`{}` cannot be run: {}", note.path, note.reason),
        hint: note.remedy.clone(),
    });
    Err(CliError { kind: Kind::User, complaints: complaints.collect(), excerpt: None })
}

fn say_note(note: &Note, context: &Context) {
    match note.verdict {
        Verdict::Ignored => context.printer.warn(&note.to_string()),
        Verdict::Done | Verdict::Approximated | Verdict::Refused => {
            context.printer.say(&format!("{} {note}", Paint::Cyan.on("note:")));
        }
    }
    if let Some(remedy) = &note.remedy
        && context.printer.level() > Level::Quiet
    {
        context.printer.say(&format!("  {} {remedy}", Paint::Cyan.on("hint:")));
    }
}

/// A Revision that this command makes of another one.
pub(super) fn by(revision: Revision, command: &str) -> Revision {
    let host = revision.origin.host.clone();
    Revision { origin: Origin { host, command: command.to_owned(), at: now() }, ..revision }
}

/// The time of this machine's clock.
fn now() -> WallSeconds {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallSeconds(now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_compose_has_them() {
        for name in ["shop", "0", "a-b_c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "_a", "Shop", "a b", "a/b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
