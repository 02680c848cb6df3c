//! Paths in a container, and what is at one.

use serde::{Deserialize, Serialize};

/// What there is at a path, without following a link that stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// What it is.
    pub kind: PathKind,
    /// Bytes of a file.
    pub size: u64,
    /// Permissions, with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Of a link: the path in the container that it leads to in the end, whether there is something
    /// or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What something in a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A path without `.`, `..`, doubled and trailing slashes; links are not followed. Relative paths stay
/// relative, and the root is the folder above itself.
#[must_use]
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in [
            ("/a/./b//c/../d/", "/a/b/d"),
            ("/..", "/"),
            ("", "."),
            ("../../a", "../../a"),
            ("a/..", "."),
        ] {
            assert_eq!(clean_path(path), expected, "{path}");
        }
    }
}
