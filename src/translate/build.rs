//! The images that must be built before a Revision can run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::scope::Scope;

/// One image to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The service that runs it.
    pub service: String,
    /// The name it has in the file, or `<project>-<service>`. Whoever builds adds a tag that
    /// follows from the content and hands the result to `Translation::set_built_image`.
    pub reference: String,
    /// The folder sent to the builder, absolute.
    pub context: PathBuf,
    /// Path of the Dockerfile: within the context, or absolute.
    pub dockerfile: String,
    /// The Dockerfile's text, in place of a file.
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// Do not use the cache.
    pub no_cache: bool,
    /// Network of the steps.
    pub network: Option<String>,
    /// Size of `/dev/shm` of the steps, bytes.
    pub shm_size: Option<i32>,
}

/// The image reference of a service: as the file gives it, else `<project>-<service>`.
pub(super) fn reference(scope: &Scope<'_>) -> String {
    let own = || format!("{}-{}", scope.project.name, scope.key);
    scope.service.image.clone().unwrap_or_else(own)
}

/// Whether the service's image is built here rather than fetched.
fn is_built(scope: &Scope<'_>) -> bool {
    let fetched = scope.service.pull_policy.as_deref() == Some("always");
    scope.service.build.is_some() && !(fetched && scope.service.image.is_some())
}

/// What must be built for the service, if anything.
pub(super) fn convert(scope: &mut Scope<'_>) -> Option<Build> {
    let build = scope.service.build.as_ref()?;
    if !is_built(scope) {
        scope.approximated(
            "build",
            "with `pull_policy: always` the image is fetched, not built",
            "remove `pull_policy` to have it built",
        );
        return None;
    }
    let context = build.context.clone().unwrap_or_else(|| ".".to_owned());
    if is_remote(&context) {
        scope.refused(
            "build.context",
            format!("the context `{context}` is not a folder of this host"),
            "check it out, and name the folder",
        );
        return None;
    }
    let shm_size = build.shm_size.map(|bytes| {
        i32::try_from(bytes).unwrap_or_else(|_| {
            scope.approximated("build.shm_size", "a build gets less than 2 GiB", "");
            i32::MAX
        })
    });
    Some(Build {
        service: scope.key.to_owned(),
        reference: reference(scope),
        context: scope.project.working_dir.join(context),
        dockerfile: build.dockerfile.clone().unwrap_or_else(|| "Dockerfile".to_owned()),
        dockerfile_inline: build.dockerfile_inline.clone(),
        // One without a value is not passed on, as in the reference.
        args: build.args.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect(),
        target: build.target.clone(),
        labels: build.labels.clone(),
        pull: build.pull,
        no_cache: build.no_cache,
        network: build.network.clone(),
        shm_size,
    })
}

/// Whether a context is an address, as Docker tells it.
fn is_remote(context: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://"];
    schemes.iter().any(|scheme| context.starts_with(scheme))
        || context.starts_with("docker-image://")
}
