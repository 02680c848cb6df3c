//! Options that several commands share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::model::declared_resource;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct GlobalArgs {
    /// Socket of the agent to ask [env: MUSTER_SOCKET] [default: /run/muster.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(super) socket: Option<PathBuf>,
    /// Ask the cluster of a context, see `muster context` [env: MUSTER_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(super) context: Option<String>,
    /// Print data as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,
    /// Say only what went wrong; lists print names alone
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) verbose: bool,
}

/// The heading of what says which project. On each option: what comes after one of them in a command is
/// another thing.
const PROJECT: &str = "Project options";

/// Which project: before the command or after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct ProjectArgs {
    /// Compose file, `-` for standard input; may be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE", help_heading = PROJECT)]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) rest: ProjectRest,
}

/// The same without `-f`, for commands where it means to follow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct ProjectArgsLong {
    /// Compose file, `-` for standard input; may be given several times
    #[arg(long = "file", value_name = "FILE", help_heading = PROJECT)]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) rest: ProjectRest,
}

/// What both have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(super) struct ProjectRest {
    /// Project name; it is the name of the app
    #[arg(short = 'p', long, value_name = "NAME", help_heading = PROJECT)]
    pub(super) project_name: Option<String>,
    /// Folder that paths in the file are relative to
    #[arg(long, value_name = "FOLDER", help_heading = PROJECT)]
    pub(super) project_directory: Option<PathBuf>,
    /// Profile to enable; may be given several times
    #[arg(long = "profile", value_name = "NAME", help_heading = PROJECT)]
    pub(super) profiles: Vec<String>,
    /// File of variables, in place of `.env`; may be given several times
    #[arg(long = "env-file", value_name = "FILE", help_heading = PROJECT)]
    pub(super) env_files: Vec<PathBuf>,
}

impl From<ProjectArgsLong> for ProjectArgs {
    fn from(long: ProjectArgsLong) -> Self {
        let ProjectArgsLong { files, rest } = long;
        Self { files, rest }
    }
}

impl ProjectArgs {
    /// Both together: lists one after the other; what stands after the command wins.
    #[must_use]
    pub(super) fn then(mut self, later: impl Into<Self>) -> Self {
        let later = later.into();
        self.files.extend(later.files);
        self.rest.project_name = later.rest.project_name.or(self.rest.project_name);
        self.rest.project_directory = later.rest.project_directory.or(self.rest.project_directory);
        self.rest.profiles.extend(later.rest.profiles);
        self.rest.env_files.extend(later.rest.env_files);
        self
    }
}

/// `90`, `15m`, `1h30m`, `2d`: a time, seconds without a unit.
///
/// # Errors
///
/// When it is none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let words = || format!("`{text}` is no time; as in `90s`, `15m`, `1h30m`");
    let signed: jiff::SignedDuration = text.parse().map_err(|_| words())?;
    Duration::try_from(signed).map_err(|_| words())
}

/// `key=value`, or `key` with an empty value.
///
/// # Errors
///
/// When the key is empty.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(format!("`{text}` has no key; as in `disk=ssd`"));
    }
    declared_resource(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `key=value` to set a label, `key-` to take it away.
///
/// # Errors
///
/// When it is neither, or the key is empty, or it is to declare a resource and does not.
pub(super) fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    if text.contains('=') {
        return label(text).map(|(key, value)| (key, Some(value)));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() => Ok((key.to_owned(), None)),
        Some(_) | None => Err(format!("`{text}` is neither as in `disk=ssd` nor as in `disk-`")),
    }
}

/// The labels as a map; of two with one key the later counts.
pub(super) fn labels(labels: Vec<(String, String)>) -> BTreeMap<String, String> {
    labels.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "m", "-5m", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_label_is_set_or_taken_away() {
        let set = |key: &str, value: Option<&str>| Ok((key.to_owned(), value.map(str::to_owned)));
        assert_eq!(label_change("disk=ssd"), set("disk", Some("ssd")));
        assert_eq!(label_change("disk="), set("disk", Some("")));
        assert_eq!(label_change("a-b=c-"), set("a-b", Some("c-")));
        assert_eq!(label_change("disk-"), set("disk", None));
        assert_eq!(label_change("muster.resource.tpu=2"), set("muster.resource.tpu", Some("2")));
        assert!(label_change("muster.resource.tpu=some").is_err());
        for wrong in ["", "-", "disk", "=ssd"] {
            assert!(label_change(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_after_the_command_win_and_lists_grow() {
        let args = |file: &str, name: Option<&str>| ProjectArgs {
            files: vec![file.into()],
            rest: ProjectRest { project_name: name.map(str::to_owned), ..ProjectRest::default() },
        };
        let both = args("a", Some("one")).then(args("b", Some("two")));
        assert_eq!(both.files, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(both.rest.project_name.as_deref(), Some("two"));
        let first = args("a", Some("one")).then(args("b", None));
        assert_eq!(first.rest.project_name.as_deref(), Some("one"));
    }
}
