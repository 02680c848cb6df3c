//! Rows of `build`.

use super::{built, ignored, parts, refused};
use crate::translate::verdict::Row;

const BUILDKIT: &str = "images are built through the engine's API, without BuildKit";
const ONE_HOST: &str = "the client of the engine's API passes on one address at most";
const NO_LIMITS: &str = "the client of the engine's API has no field for them";
const BUILD_YOURSELF: &str = "build the image with `docker build`, and name it with `image`";

pub(super) const ROWS: &[Row] = &[
    parts("services.*.build"),
    built("services.*.build.context"),
    built("services.*.build.dockerfile"),
    built("services.*.build.dockerfile_inline"),
    built("services.*.build.args"),
    built("services.*.build.labels"),
    built("services.*.build.no_cache"),
    built("services.*.build.pull"),
    built("services.*.build.target"),
    refused("services.*.build.additional_contexts", BUILDKIT, BUILD_YOURSELF),
    refused("services.*.build.secrets", BUILDKIT, BUILD_YOURSELF),
    refused("services.*.build.ssh", BUILDKIT, BUILD_YOURSELF),
    refused("services.*.build.entitlements", BUILDKIT, BUILD_YOURSELF),
    refused("services.*.build.privileged", BUILDKIT, BUILD_YOURSELF),
    ignored("services.*.build.cache_from", "the host's own cache is used", ""),
    ignored("services.*.build.cache_to", "the host's own cache is used", ""),
    ignored("services.*.build.no_cache_filter", BUILDKIT, "use `no_cache`"),
    ignored("services.*.build.extra_hosts", ONE_HOST, BUILD_YOURSELF),
    ignored("services.*.build.isolation", "it is for Windows containers", ""),
    built("services.*.build.network"),
    ignored(
        "services.*.build.platforms",
        "the image is built for the platform of the host where `up` runs",
        BUILD_YOURSELF,
    ),
    ignored("services.*.build.provenance", BUILDKIT, ""),
    ignored("services.*.build.sbom", BUILDKIT, ""),
    built("services.*.build.shm_size"),
    ignored("services.*.build.tags", "the image gets one name, which the hosts share", ""),
    ignored("services.*.build.ulimits", NO_LIMITS, BUILD_YOURSELF),
];
