//! What is at a path in a container.

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
