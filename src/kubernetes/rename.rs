//! Service names that are no names on Kubernetes, as `my_db`: where a value calls such a service,
//! the name it has there is put in. Pure.

use super::draft::Draft;
use super::unit::Unit;

/// Words in the name of a variable whose value may be nothing but a host.
const HOSTS: [&str; 8] = ["HOST", "SERVER", "ADDR", "NODE", "BROKER", "ENDPOINT", "URL", "URI"];

/// The value of a variable with the names that hold on Kubernetes.
pub(super) fn value(draft: &mut Draft<'_>, unit: &Unit, variable: &str, text: &str) -> String {
    let is_host = HOSTS.iter().any(|word| variable.to_ascii_uppercase().contains(word));
    changed(draft, unit, "environment", text, is_host)
}

/// A word of a command with the names that hold on Kubernetes.
pub(super) fn word(draft: &mut Draft<'_>, unit: &Unit, key: &str, text: &str) -> String {
    changed(draft, unit, key, text, false)
}

fn changed(draft: &mut Draft<'_>, unit: &Unit, key: &str, text: &str, is_host: bool) -> String {
    let mut text = text.to_owned();
    // Put back below: a note needs the draft while the names are looked at.
    let renamed = std::mem::take(&mut draft.renamed);
    for (old, new) in &renamed {
        if !text.contains(old.as_str()) {
            continue;
        }
        let found = if is_host && text == *old { new.clone() } else { replaced(&text, old, new) };
        if found != text {
            let reason = format!("`{old}` is called `{new}` on Kubernetes: a value was changed");
            draft.nearly(unit, key, reason, "give the service a name of a-z, 0-9 and `-`");
            text = found;
        }
    }
    draft.renamed = renamed;
    text
}

/// Puts `new` in place of `old` where it stands as a host: behind `//` or `@`, or before a port.
fn replaced(text: &str, old: &str, new: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    while let Some(at) = rest.find(old) {
        let (before, after) = (&rest[..at], &rest[at + old.len()..]);
        let whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        let is_behind = before.ends_with("//") || before.ends_with('@');
        let port = after.strip_prefix(':').unwrap_or_default();
        let is_host = is_behind || port.starts_with(|c: char| c.is_ascii_digit());
        out.push_str(before);
        out.push_str(if whole && is_host { new } else { old });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_only_where_a_host_stands() {
        let cases = [
            ("postgres://u:p@my_db:5432/my_db", "postgres://u:p@my-db:5432/my_db"),
            ("http://my_db/", "http://my-db/"),
            ("my_db:5432", "my-db:5432"),
            ("my_db", "my_db"),
            ("not_my_db:5432", "not_my_db:5432"),
            ("my_db_2:5432", "my_db_2:5432"),
        ];
        for (text, expected) in cases {
            assert_eq!(replaced(text, "my_db", "my-db"), expected);
        }
    }
}
