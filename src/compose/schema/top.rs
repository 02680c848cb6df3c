//! Keys of the top level.

use super::container::{OPTIONS, PAIRS, TEXT_OR_LIST, TEXTS};
use super::parts::WRITTEN_INT;
use super::service::{JOB, SERVICE};
use super::{Merge, Object, Shape, key, object, ruled};
use crate::compose::expand::Expand;

/// A whole file.
pub(crate) static PROJECT: Shape = Shape::Object(&FILE);

static FILE: Object = object(
    "Compose file",
    &[&[
        key("configs", Shape::Named(&Shape::Short(Expand::External, &Shape::Object(&CONFIG)))),
        key(
            "include",
            Shape::Nullable(&Shape::List(&Shape::Short(
                Expand::TextToPath,
                &Shape::Object(&INCLUDE),
            ))),
        ),
        key("jobs", Shape::Named(&Shape::Object(&JOB))),
        key("models", Shape::Named(&Shape::Object(&MODEL))),
        key("name", Shape::Text),
        key(
            "networks",
            Shape::Named(&Shape::Short(
                Expand::External,
                &Shape::Nullable(&Shape::Object(&NETWORK)),
            )),
        ),
        key("secrets", Shape::Named(&Shape::Short(Expand::External, &Shape::Object(&SECRET)))),
        key("services", Shape::Named(&Shape::Object(&SERVICE))),
        key("version", Shape::Text),
        key(
            "volumes",
            Shape::Named(&Shape::Short(
                Expand::External,
                &Shape::Nullable(&Shape::Object(&VOLUME)),
            )),
        ),
    ]],
);

static INCLUDE: Object = Object {
    what: "include",
    parts: &[&[
        key("env_file", TEXT_OR_LIST),
        key("path", TEXT_OR_LIST),
        key("project_directory", Shape::Text),
    ]],
    required: &["path"],
    extensible: false,
};

static NETWORK: Object = object(
    "network",
    &[&[
        key("attachable", Shape::Flag),
        key("driver", Shape::Text),
        key("driver_opts", OPTIONS),
        key("enable_ipv4", Shape::Flag),
        key("enable_ipv6", Shape::Flag),
        key("external", Shape::Flag),
        key("internal", Shape::Flag),
        key("ipam", Shape::Object(&IPAM)),
        key("labels", PAIRS),
        key("name", Shape::Text),
    ]],
);

static IPAM: Object = object(
    "ipam",
    &[&[
        ruled("config", Shape::List(&Shape::Object(&POOL)), Merge::Pools),
        key("driver", Shape::Text),
        key("options", OPTIONS),
    ]],
);

static POOL: Object = object(
    "pool",
    &[&[
        key("aux_addresses", OPTIONS),
        key("gateway", Shape::Text),
        key("ip_range", Shape::Text),
        key("subnet", Shape::Text),
    ]],
);

static VOLUME: Object = object(
    "volume",
    &[&[
        key("driver", Shape::Text),
        key("driver_opts", OPTIONS),
        key("external", Shape::Flag),
        key("labels", PAIRS),
        key("name", Shape::Text),
    ]],
);

static SECRET: Object = object(
    "secret",
    &[&[
        key("driver", Shape::Text),
        key("driver_opts", OPTIONS),
        key("environment", Shape::Text),
        key("external", Shape::Flag),
        key("file", Shape::Text),
        key("labels", PAIRS),
        key("name", Shape::Text),
        key("template_driver", Shape::Text),
    ]],
);

static CONFIG: Object = object(
    "config",
    &[&[
        key("content", Shape::Text),
        key("environment", Shape::Text),
        key("external", Shape::Flag),
        key("file", Shape::Text),
        key("labels", PAIRS),
        key("name", Shape::Text),
        key("template_driver", Shape::Text),
    ]],
);

static MODEL: Object = Object {
    what: "model",
    parts: &[&[
        key("context_size", WRITTEN_INT),
        key("model", Shape::Text),
        key("name", Shape::Text),
        key("runtime_flags", TEXTS),
    ]],
    required: &["model"],
    extensible: true,
};
