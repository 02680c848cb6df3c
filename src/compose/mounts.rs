//! The short form of mounts: `[source:]target[:options]`.
//!
//! Text in, long form out. Whether a source is a path or a volume is decided by its first
//! characters alone, so the result is the same on every machine.

use crate::model::clean_path;

/// One mount in long form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LongMount {
    /// Volume key or path; empty for a volume without a name.
    pub(crate) source: String,
    /// Path inside the container, cleaned.
    pub(crate) target: String,
    /// `ro`.
    pub(crate) read_only: bool,
    /// Whether the source is a path.
    pub(crate) bind: bool,
    /// Option of a bind.
    pub(crate) propagation: Option<String>,
    /// `z` or `Z`.
    pub(crate) selinux: Option<String>,
    /// Option of a volume.
    pub(crate) nocopy: bool,
}

/// Reads a short form. The error is a reason in words.
pub(crate) fn parse(text: &str) -> Result<LongMount, String> {
    let mut mount = LongMount::default();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() <= 2 {
        text.clone_into(&mut mount.target);
        return Ok(mount);
    }
    let sections = sections(text);
    if sections.iter().any(|section| section.is_empty()) {
        return Err("nothing between two colons".to_owned());
    }
    let options = match sections[..] {
        [target] => {
            target.clone_into(&mut mount.target);
            ""
        }
        [source, target] => {
            source.clone_into(&mut mount.source);
            target.clone_into(&mut mount.target);
            ""
        }
        [source, target, options] => {
            source.clone_into(&mut mount.source);
            target.clone_into(&mut mount.target);
            options
        }
        _ => return Err("too many colons".to_owned()),
    };
    mount.bind = is_path(&mount.source);
    for option in options.split(',') {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.nocopy = true,
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                mount.propagation = Some(option.to_owned());
            }
            "z" | "Z" => mount.selinux = Some(option.to_owned()),
            // The reference passes over options that it does not know, and files rely on it.
            _ => {}
        }
    }
    mount.target = clean_path(&mount.target);
    Ok(mount)
}

/// Splits at colons, except the one after a Windows drive letter, and those of a `${NAME:-default}`
/// that nobody filled in.
fn sections(text: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => open += 1,
            b'}' => open = open.saturating_sub(1),
            b':' if open == 0 => {
                let section = &text[start..at];
                let mut chars = section.chars();
                let drive = chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none();
                if !drive {
                    sections.push(section);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    sections.push(&text[start..]);
    sections
}

fn is_path(source: &str) -> bool {
    let mut chars = source.chars();
    match chars.next() {
        None => false,
        Some('.' | '/' | '~') => true,
        Some(first) => {
            source.starts_with("\\\\") || (first.is_alphabetic() && chars.next() == Some(':'))
        }
    }
}

/// Where a secret is for containers that do not say otherwise.
pub(crate) fn secret_target(source: &str) -> String {
    format!("/run/secrets/{source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let m = parse(text).unwrap();
        let kind = if m.bind { "bind" } else { "volume" };
        let mut shown = format!("{kind} {} -> {}", m.source, m.target);
        for (on, word) in [(m.read_only, " ro"), (m.nocopy, " nocopy")] {
            shown.push_str(if on { word } else { "" });
        }
        for word in [m.propagation, m.selinux].into_iter().flatten() {
            shown.push_str(&format!(" {word}"));
        }
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn all_short_forms() {
        check("/data", "volume  -> /data");
        check("data:/data", "volume data -> /data");
        check("data:/data:ro", "volume data -> /data ro");
        check("data:/data:nocopy", "volume data -> /data nocopy");
        check("./a:/b/", "bind ./a -> /b");
        check("/a:/b:rslave,Z,ro", "bind /a -> /b ro rslave Z");
        check("~/a:/b:rw,cached", "bind ~/a -> /b");
        check("${A:-./b}/c:/x:ro", "volume ${A:-./b}/c -> /x ro");
        check("./${A:-${B:-c}}:${D:-/x}", "bind ./${A:-${B:-c}} -> ${D:-/x}");
        check("C:\\x:/b", "bind C:\\x -> /b");
        check("\\\\.\\pipe\\x:/b", "bind \\\\.\\pipe\\x -> /b");
        // One letter before a colon is taken for a Windows drive, as the reference does.
        check("v:/a", "volume  -> v:/a");
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, words) in [
            ("", "empty"),
            ("aa::b", "nothing between"),
            (":/b", "nothing between"),
            ("aa:bb:cc:dd", "too many"),
        ] {
            assert!(parse(text).unwrap_err().contains(words), "{text}");
        }
    }
}
