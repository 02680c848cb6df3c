//! From the Compose file to what a command needs: the app's name, the project, its translation.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Context;
use super::args::ProjectArgs;
use super::errors::{CliError, Complaint, Kind};
use super::printer::{self, Paint};
use crate::compose::{self, Diagnostic, LoadOptions, Loaded, Skip, Uninterpolated};
use crate::model::{AppName, HostId, MountSource, Origin, Revision, SealedRevision, WallSeconds};
use crate::translate::{self, Note, Places, Translation, Verdict};

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
            let loaded = load(args, &[], None).map_err(|error| {
                error.hint("to do without a Compose file, name the app with `-p`")
            })?;
            Ok(AppName::new(loaded.project.name))
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain) && name.chars().all(|c| plain(c) || c == '-' || c == '_')
}

/// The loaded Compose file. Services that are named run whatever their profiles. Warnings are said
/// when a `context` is given.
///
/// # Errors
///
/// When it cannot be loaded; the error shows the places.
pub(super) fn load(
    args: &ProjectArgs,
    services: &[String],
    context: Option<&Context>,
) -> Result<Loaded, CliError> {
    let mut options = options(args)?;
    let mut loaded = compose::load(&options).map_err(|failed| not_loaded(&failed))?;
    let disabled = loaded.project.disabled_services.iter();
    let profiles: Vec<String> = disabled
        .filter(|(name, _)| services.contains(name))
        .flat_map(|(_, service)| service.profiles.clone())
        .collect();
    if !profiles.is_empty() {
        if options.profiles.is_empty() {
            // Profiles given as an option replace those of the environment.
            let active = loaded.project.environment.get("COMPOSE_PROFILES");
            options.profiles = active.iter().flat_map(|all| all.split(',')).map(trimmed).collect();
        }
        options.profiles.extend(profiles);
        loaded = compose::load(&options).map_err(|failed| not_loaded(&failed))?;
    }
    if let Some(context) = context {
        say_all(&loaded.warnings, context);
    }
    Ok(loaded)
}

/// The Compose file with some steps of the load left out. Warnings are said.
///
/// # Errors
///
/// When it cannot be loaded; the error shows the places.
pub(super) fn load_without(
    skip: Skip,
    args: &ProjectArgs,
    context: &Context,
) -> Result<Loaded, CliError> {
    let options = LoadOptions { skip, ..options(args)? };
    let loaded = compose::load(&options).map_err(|failed| not_loaded(&failed))?;
    say_all(&loaded.warnings, context);
    Ok(loaded)
}

/// The same with `${VARIABLES}` in place, and with `any_value` whatever the values are.
///
/// # Errors
///
/// When it cannot be loaded; the error shows the places.
pub(super) fn load_uninterpolated(
    skip: Skip,
    any_value: bool,
    args: &ProjectArgs,
    context: &Context,
) -> Result<Uninterpolated, CliError> {
    let options = LoadOptions { skip, ..options(args)? };
    let loaded = compose::load_uninterpolated(&options, any_value);
    let loaded = loaded.map_err(|failed| not_loaded(&failed))?;
    say_all(&loaded.warnings, context);
    Ok(loaded)
}

/// The same in silence; none when it cannot be loaded that way.
pub(super) fn raw(skip: Skip, args: &ProjectArgs) -> Option<Uninterpolated> {
    let options = LoadOptions { skip, ..options(args).ok()? };
    compose::load_uninterpolated(&options, true).ok()
}

fn say_all(warnings: &[Diagnostic], context: &Context) {
    for warning in warnings {
        let columns = printer::stderr_width();
        context.printer.say(&warning.render_within(context.printer.has_colours(), columns));
    }
}

fn trimmed(name: &str) -> String {
    name.trim().to_owned()
}

fn options(args: &ProjectArgs) -> Result<LoadOptions, CliError> {
    let working_directory = std::env::current_dir()
        .map_err(|error| CliError::user(format!("cannot use the current folder: {error}")))?;
    // A variable that is not text cannot stand in a Compose file.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let ProjectArgs { files, rest } = args.clone();
    Ok(LoadOptions {
        files,
        project_directory: rest.project_directory,
        project_name: rest.project_name,
        profiles: rest.profiles,
        env_files: rest.env_files,
        environment: environment.collect(),
        working_directory,
        stdin: None,
        skip: Skip::default(),
    })
}

fn not_loaded(failed: &compose::Failed) -> CliError {
    let (colours, columns) = (printer::stderr_has_colours(), printer::stderr_width());
    let excerpt = compose::render_all_within(&failed.diagnostics, colours, columns);
    CliError { kind: Kind::User, complaints: Vec::new(), excerpt: Some(excerpt) }
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
    let loaded = load(args, services, Some(context))?;
    // The agent that takes it fills in the host.
    let origin =
        translate::Context { host: HostId::new(""), command: command.to_owned(), at: now() };
    let translation = translate::translate(&loaded.project, &origin);
    let places = Places::of(&loaded);
    // What only informs is for `check`.
    for note in translation.notes.iter().filter(|note| note.verdict != Verdict::Done) {
        say_note(note, &places, context);
    }
    if translation.refusals.is_empty() {
        if let Some(elsewhere) = context.elsewhere() {
            stays_here(&translation.revision, elsewhere.name())?;
        }
        return Ok(translation);
    }
    let complaints = translation.refusals.iter().map(|note| Complaint {
        message: format!(
            "`{}`{} cannot be run: {}",
            note.path,
            place(&places, &note.path),
            note.reason
        ),
        hint: note.remedy.clone(),
    });
    Err(CliError { kind: Kind::User, complaints: complaints.collect(), excerpt: None })
}

/// What is on the disk of the host where `up` is typed is used there and nowhere else. Elsewhere there
/// is no such host: which member answers is chance.
fn stays_here(revision: &Revision, context: &str) -> Result<(), CliError> {
    let mut complaints = Vec::new();
    for (service, deployment) in revision.all_deployments() {
        let external = |key: &str| revision.volumes.get(key).is_some_and(|spec| spec.external);
        let volumes = deployment.volumes().into_iter().filter(|key| external(key));
        let volumes = volumes.map(|key| format!("uses the external volume `{key}`"));
        let binds = deployment.mounts().filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(format!("mounts `{path}`")),
            MountSource::Volume { .. } | MountSource::Tmpfs { .. } | MountSource::Anonymous => None,
        });
        complaints.extend(binds.chain(volumes).map(|words| {
            Complaint {
                message: format!("service `{service}` {words}, and context `{context}` is no host"),
                hint: Some(
                    "run this on the host that has it; or use a volume of the file, or `configs`, \
                 whose content travels with it"
                        .to_owned(),
                ),
            }
        }));
    }
    if complaints.is_empty() {
        return Ok(());
    }
    Err(CliError { kind: Kind::User, complaints, excerpt: None })
}

fn say_note(note: &Note, places: &Places<'_>, context: &Context) {
    let word = match note.verdict {
        Verdict::Ignored => Paint::Yellow.on("warning:"),
        Verdict::Done | Verdict::Approximated | Verdict::Refused => Paint::Cyan.on("note:"),
    };
    let place = place(places, &note.path);
    let Note { path, verdict, reason, remedy } = note;
    context.printer.say(&format!("{word} `{path}`{place} is {verdict}: {reason}"));
    if let Some(remedy) = remedy {
        context.printer.say(&format!("  {} {remedy}", Paint::Cyan.on("hint:")));
    }
}

/// ` at compose.yaml:3`, when a line says it.
fn place(places: &Places<'_>, path: &str) -> String {
    let location = places.find(path);
    location.map_or_else(String::new, |at| format!(" at {}:{}", at.file, at.line))
}

/// What the cluster has, to make another Revision of.
///
/// # Errors
///
/// When a newer muster made it, and this one would lose something of it.
pub(super) fn opened(current: &SealedRevision) -> Result<Revision, CliError> {
    current.open().map_err(|error| {
        let message = format!("app `{}` cannot be changed from here: {error}", current.app);
        CliError::user(message).hint("update muster on this host, then repeat")
    })
}

/// A Revision that this command makes of another one.
pub(super) fn by(revision: Revision, command: &str) -> Revision {
    let host = revision.origin.host.clone();
    let command = command.to_owned();
    Revision { origin: Origin { host, command, at: now(), by: None, asked: None }, ..revision }
}

/// The time of this machine's clock.
pub(super) fn now() -> WallSeconds {
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
