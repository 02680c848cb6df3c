//! People who work on a cluster from a machine that is no member.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::WallSeconds;

/// What an operator may do. Later ones may do all that earlier ones may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything but secrets.
    Viewer,
    /// Change everything.
    Operator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Viewer, Self::Operator];

    /// As people write it; certificates carry it too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Somebody who was let in. The certificate says who it is; this is what the cluster lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The name people use; unique in a healthy cluster.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Who made the invitation, as in the audit log.
    #[serde(default)]
    pub invited_by: String,
    /// When it was let in, for people.
    #[serde(default)]
    pub since: WallSeconds,
}
