//! What goes over the API to copy files between a container and somebody's machine. The files themselves
//! are a tar stream in [frames](super::console).

use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::model::{AppName, PathStat, ServiceName};

/// The longest path that Linux takes, in bytes.
pub const PATH_MAX: usize = 4096;

/// One step of `muster cp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRequest {
    /// The App.
    pub app: AppName,
    /// The service; or the name that runs of one have.
    pub service: ServiceName,
    /// The number of the replica; none takes one as a command does, see
    /// [`ExecRequest`](super::ExecRequest), and where none runs one that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What is to be done there.
    pub step: CopyStep,
}

/// What is to be done in a container. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyStep {
    /// What is at a path? Its output is a [`Looked`] as JSON.
    Look {
        /// The path.
        path: String,
    },
    /// Its output is what is there, as [`Engine::read_path`](crate::docker::Engine::read_path) has it.
    Read {
        /// The path.
        path: String,
    },
    /// Unpacks its input, as [`Engine::write_folder`](crate::docker::Engine::write_folder) does.
    Write {
        /// A folder that is there.
        folder: String,
    },
}

impl CopyStep {
    /// The path it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Look { path } | Self::Read { path } => path,
            Self::Write { folder } => folder,
        }
    }

    /// # Errors
    ///
    /// When its path can be none.
    pub fn check(&self) -> Result<(), ApiError> {
        let path = self.path();
        if path.len() > PATH_MAX {
            return Err(ApiError::user(format!("a path has more than {PATH_MAX} bytes")));
        }
        if !path.starts_with('/') || path.contains('\0') {
            return Err(ApiError::user(format!("`{path}` is no absolute path")));
        }
        Ok(())
    }
}

/// Answer to [`CopyStep::Look`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// The number of the replica.
    pub index: u32,
    /// The name of the host it is on.
    pub host: String,
    /// What is there; none where nothing is.
    #[serde(default)]
    pub found: Option<PathStat>,
}
