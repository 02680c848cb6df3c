//! How an image is built.

use std::collections::BTreeMap;

use super::{FileReference, Ulimit, text};

object! {
    /// How an image is built, `build`.
    pub struct Build {
        /// Absolute path, or an address of a repository.
        pub context: Option<String>,
        /// Path of the Dockerfile in the context; none means `Dockerfile`.
        pub dockerfile: Option<String>,
        /// The Dockerfile itself.
        pub dockerfile_inline: Option<String>,
        /// Rights the builder must grant.
        pub entitlements: Vec<String>,
        /// Arguments; none means the variable is not set where the project was loaded.
        pub args: BTreeMap<String, Option<String>>,
        /// SSH agents and keys: `default` or `id=path`.
        pub ssh: Vec<String>,
        /// Labels of the image.
        pub labels: BTreeMap<String, String>,
        /// Caches read.
        pub cache_from: Vec<String>,
        /// Caches written.
        pub cache_to: Vec<String>,
        /// Do not use the cache.
        pub no_cache: bool,
        /// Stages that do not use the cache.
        pub no_cache_filter: Vec<String>,
        /// Further contexts by name.
        pub additional_contexts: BTreeMap<String, String>,
        /// Ask registries for newer base images.
        pub pull: bool,
        /// `host=address` lines for /etc/hosts during the build.
        pub extra_hosts: Vec<String>,
        /// Isolation of the build's containers.
        pub isolation: Option<String>,
        /// Network during the build.
        pub network: Option<String>,
        /// The stage to stop at.
        pub target: Option<String>,
        /// Secrets the build may read.
        pub secrets: Vec<FileReference>,
        /// Size of /dev/shm in bytes.
        #[serde(with = "text::bytes")]
        pub shm_size: Option<u64>,
        /// Further references of the image.
        pub tags: Vec<String>,
        /// Resource limits during the build.
        pub ulimits: BTreeMap<String, Ulimit>,
        /// Platforms built for.
        pub platforms: Vec<String>,
        /// All privileges during the build.
        pub privileged: bool,
    }
}
