//! What is copied where, as `docker cp` has it: decided from what was typed and from what is at both ends.
//! Pure: asks nobody, and looks at no disk.

use crate::api::PATH_MAX;
use crate::cli::errors::CliError;
use crate::model::clean_path;

/// From where to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Out of a container.
    Out { service: String, from: Spot, to: Here },
    /// Into one.
    Into { from: Here, service: String, to: Spot },
}

/// The end of a copy that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Here {
    Path(Spot),
    /// A tar stream on standard input or output.
    Stream,
}

/// A path as it was typed, and what that says beside the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// Absolute, without `.`, `..` and empty names.
    pub(super) path: String,
    /// It ends in `/` or `/.`: a folder is meant.
    pub(super) asks_folder: bool,
    /// It ends in `/.`, or is the root: what is in the folder is meant, not the folder.
    pub(super) is_content: bool,
}

/// What is there where something is to go. A link is followed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Missing,
    Folder,
    Other,
}

/// Where something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landing {
    /// What is in it goes into the folder that is there.
    Content,
    /// It goes into the folder that is there, under its own name.
    Below,
    /// It gets the path itself.
    At,
}

enum End {
    Inside(String, Spot),
    Here(Here),
}

impl Way {
    /// Of two arguments; `folder` is the one that paths of this machine are relative to.
    ///
    /// # Errors
    ///
    /// When not exactly one of them is in a service.
    pub(super) fn of(from: &str, to: &str, folder: &str) -> Result<Self, CliError> {
        match (End::of(from, folder)?, End::of(to, folder)?) {
            (End::Inside(service, from), End::Here(to)) => Ok(Self::Out { service, from, to }),
            (End::Here(from), End::Inside(service, to)) => Ok(Self::Into { from, service, to }),
            (End::Inside(..), End::Inside(..)) => {
                let words = format!("both `{from}` and `{to}` are in services");
                let hint =
                    format!("in two steps: `muster cp {from} - | muster cp - SERVICE:FOLDER`");
                Err(CliError::user(words).hint(hint))
            }
            (End::Here(_), End::Here(_)) => {
                let words = format!("neither `{from}` nor `{to}` is in a service");
                Err(CliError::user(words).hint("a path in one is written `SERVICE:PATH`"))
            }
        }
    }
}

impl End {
    fn of(text: &str, folder: &str) -> Result<Self, CliError> {
        if text == "-" {
            return Ok(Self::Here(Here::Stream));
        }
        match text.split_once(':') {
            // `/a:b`, `./a:b` and `a/b:c` are paths; no service is called so.
            Some((name, path))
                if !name.is_empty() && !name.starts_with('.') && !name.contains('/') =>
            {
                if path.is_empty() {
                    let words = format!("`{text}` names no path in `{name}`");
                    return Err(CliError::user(words).hint(format!("`{name}:/` is all of it")));
                }
                // As Docker has it: there is no other folder that they could be relative to.
                Ok(Self::Inside(name.to_owned(), Spot::new(path, "/")?))
            }
            Some(_) | None => Ok(Self::Here(Here::Path(Spot::new(text, folder)?))),
        }
    }
}

impl Spot {
    /// A path, relative to `folder` unless it is absolute.
    ///
    /// # Errors
    ///
    /// When it can be none.
    pub(super) fn new(text: &str, folder: &str) -> Result<Self, CliError> {
        if text.is_empty() {
            return Err(CliError::user("a path is empty").hint("`.` is this folder"));
        }
        if text.len() > PATH_MAX || text.contains('\0') {
            let words = format!("a path can have {PATH_MAX} bytes, and no zero among them");
            return Err(CliError::user(words));
        }
        let path = if text.starts_with('/') {
            clean_path(text)
        } else {
            clean_path(&format!("{folder}/{text}"))
        };
        let is_content = path == "/" || text == "." || text.ends_with("/.");
        let asks_folder =
            is_content || text.ends_with('/') || text == ".." || text.ends_with("/..");
        Ok(Self { path, asks_folder, is_content })
    }

    /// The folder it is in, and its name there; the root has none.
    pub(super) fn split(&self) -> (&str, &str) {
        split(&self.path)
    }
}

/// The folder a clean path is in, and the name it has there; the root has none.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => ("/", path),
    }
}

/// Where something goes: a folder or not, and what there is already.
///
/// # Errors
///
/// Why it cannot go there.
pub(super) fn landing(
    (source, is_folder): (&Spot, bool),
    (spot, target): (&Spot, Target),
) -> Result<Landing, CliError> {
    let (from, to) = (&source.path, &spot.path);
    if source.asks_folder && !is_folder {
        return Err(CliError::user(format!("`{from}` is no folder"))
            .hint("without the `/` at its end it is copied as what it is"));
    }
    match (target, is_folder) {
        (Target::Folder, true) if source.is_content => Ok(Landing::Content),
        (Target::Folder, _) => Ok(Landing::Below),
        (Target::Other, true) => {
            let words = format!("cannot copy the folder `{from}` to `{to}`, which is no folder");
            Err(CliError::user(words).hint("name a folder, or what is not there yet"))
        }
        (Target::Other, false) if spot.asks_folder => {
            Err(CliError::user(format!("`{to}` is no folder"))
                .hint("without the `/` at its end it is written over"))
        }
        (Target::Missing, false) if spot.asks_folder => {
            Err(CliError::user(format!("there is no folder `{to}`"))
                .hint("copying a file makes none; without the `/` it is the file's new name"))
        }
        (Target::Missing, _) | (Target::Other, false) => Ok(Landing::At),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(text: &str) -> Spot {
        Spot::new(text, "/home/anna").unwrap()
    }

    #[track_caller]
    fn check_way(from: &str, to: &str, expected: &str) {
        let show = |spot: &Spot| {
            let asks = if spot.asks_folder { "/" } else { "" };
            format!("{}{asks}{}", spot.path, if spot.is_content { "*" } else { "" })
        };
        let here = |here: &Here| match here {
            Here::Path(spot) => show(spot),
            Here::Stream => "stream".to_owned(),
        };
        let way = match Way::of(from, to, "/home/anna") {
            Ok(Way::Out { service, from, to }) => {
                format!("out of {service} {} to {}", show(&from), here(&to))
            }
            Ok(Way::Into { from, service, to }) => {
                format!("{} into {service} {}", here(&from), show(&to))
            }
            Err(error) => {
                assert!(error.complaints[0].hint.is_some(), "{error}");
                error.to_string()
            }
        };
        assert_eq!(way, expected);
    }

    #[test]
    fn one_side_is_a_service() {
        check_way("web:/etc/hosts", "hosts", "out of web /etc/hosts to /home/anna/hosts");
        check_way("web:etc/../srv/", "/tmp/./x", "out of web /srv/ to /tmp/x");
        check_way("hosts", "web:/etc/", "/home/anna/hosts into web /etc/");
        check_way(".", "web-run:/app/.", "/home/anna/* into web-run /app/*");
        check_way("..", "web:/", "/home/ into web //*");
        check_way("web:/", "-", "out of web //* to stream");
        check_way("-", "web:/tmp", "stream into web /tmp");
    }

    #[test]
    fn a_colon_in_a_path_of_this_machine_is_told_by_what_is_before_it() {
        check_way("./a:b", "web:/c", "/home/anna/a:b into web /c");
        check_way("/srv/a:b", "web:/c", "/srv/a:b into web /c");
        check_way("srv/a:b", "web:/c", "/home/anna/srv/a:b into web /c");
        check_way("web:/a:b", ".", "out of web /a:b to /home/anna/*");
    }

    #[test]
    fn what_names_no_copy_is_said() {
        check_way("a", "b", "neither `a` nor `b` is in a service");
        check_way("-", "-", "neither `-` nor `-` is in a service");
        check_way("a:/x", "b:/y", "both `a:/x` and `b:/y` are in services");
        check_way("web:", "x", "`web:` names no path in `web`");
        check_way("", "web:/x", "a path is empty");
    }

    #[track_caller]
    fn check(source: &str, is_folder: bool, to: &str, target: Target, expected: &str) {
        let found = match landing((&spot(source), is_folder), (&spot(to), target)) {
            Ok(landing) => format!("{landing:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{source} to {to}");
    }

    #[test]
    fn a_file_goes_where_docker_puts_it() {
        check("/f", false, "/d", Target::Missing, "At");
        check("/f", false, "/d/", Target::Missing, "there is no folder `/d`");
        check("/f", false, "/d", Target::Other, "At");
        check("/f", false, "/d/", Target::Other, "`/d` is no folder");
        check("/f", false, "/d", Target::Folder, "Below");
        check("/f", false, "/d/", Target::Folder, "Below");
        check("/f", false, "/d/.", Target::Folder, "Below");
        check("/f/", false, "/d", Target::Folder, "`/f` is no folder");
        check("/f/.", false, "/d", Target::Missing, "`/f` is no folder");
    }

    #[test]
    fn a_folder_goes_where_docker_puts_it() {
        let onto = "cannot copy the folder `/s` to `/d`, which is no folder";
        for source in ["/s", "/s/"] {
            check(source, true, "/d", Target::Missing, "At");
            check(source, true, "/d/", Target::Missing, "At");
            check(source, true, "/d", Target::Folder, "Below");
            check(source, true, "/d", Target::Other, onto);
        }
        check("/s/.", true, "/d", Target::Missing, "At");
        check("/s/.", true, "/d", Target::Folder, "Content");
        check("/s/.", true, "/d", Target::Other, onto);
        check("/", true, "/d", Target::Folder, "Content");
    }

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        assert_eq!(spot("/a/b").split(), ("/a", "b"));
        assert_eq!(spot("/a").split(), ("/", "a"));
        assert_eq!(spot("/").split(), ("/", ""));
    }
}
