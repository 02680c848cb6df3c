//! Keys of a service, a job and a `pre_start` step, and how an image is built.

use super::container::{
    BY_KEY, BYTES, CONTAINER, DISTINCT, DISTINCT_OR_TEXT, EXTRA_HOSTS, FILE_REFERENCES, PAIRS,
    TEXTS, VARIABLES,
};
use super::parts::{
    DEPENDS_ON, DEPLOY, DEVELOP, EXTENDS, HEALTHCHECK, HOOK, PORT, PROVIDER, WRITTEN_INT,
    WRITTEN_ULIMIT_RANGE,
};
use super::{Key, Merge, Object, Shape, key, object, ruled};
use crate::compose::expand::Expand;
use crate::compose::unique::UniqueBy;

/// A service.
pub(crate) static SERVICE: Object = object("service", &[CONTAINER, WORKLOAD, ONLY_SERVICE]);

/// A job.
pub(super) static JOB: Object = Object {
    what: "job",
    parts: &[CONTAINER, WORKLOAD, ONLY_JOB],
    required: &["triggers"],
    extensible: true,
};

/// A container that runs before a service starts.
pub(crate) static PRE_START: Object =
    object("pre_start", &[CONTAINER, &[key("per_replica", Shape::Flag)]]);

/// What services and jobs have and hooks have not.
static WORKLOAD: &[Key] = &[
    key("build", Shape::Short(Expand::Build, &Shape::Object(&BUILD))),
    key(
        "depends_on",
        Shape::Short(Expand::ListToObjects, &Shape::Named(&Shape::Object(&DEPENDS_ON))),
    ),
    ruled("expose", Shape::List(&Shape::TextOrNumber), Merge::Unique(UniqueBy::Whole)),
    key("healthcheck", Shape::Object(&HEALTHCHECK)),
    ruled(
        "ports",
        Shape::Short(Expand::Ports, &Shape::List(&Shape::Object(&PORT))),
        Merge::Unique(UniqueBy::Port),
    ),
    key("stdin_open", Shape::Flag),
    key("tty", Shape::Flag),
];

static ONLY_SERVICE: &[Key] = &[
    key("attach", Shape::Flag),
    key("container_name", Shape::Text),
    key("deploy", Shape::Nullable(&Shape::Object(&DEPLOY))),
    key("develop", Shape::Nullable(&Shape::Object(&DEVELOP))),
    key("extends", Shape::Short(Expand::TextToService, &Shape::Object(&EXTENDS))),
    key("external_links", DISTINCT),
    ruled("links", TEXTS, BY_KEY),
    key("post_start", Shape::List(&Shape::Object(&HOOK))),
    key("pre_start", Shape::List(&Shape::Object(&PRE_START))),
    key("pre_stop", Shape::List(&Shape::Object(&HOOK))),
    ruled("profiles", TEXTS, BY_KEY),
    key("provider", Shape::Object(&PROVIDER)),
    key("restart", Shape::Text),
    key("scale", Shape::Int { min: 0, max: u32::MAX as i64 }),
];

static ONLY_JOB: &[Key] =
    &[ruled("profiles", TEXTS, BY_KEY), key("triggers", Shape::Object(&TRIGGERS))];

static TRIGGERS: Object = object(
    "triggers",
    &[&[
        key("manual", Shape::Flag),
        key("schedule", Shape::List(&Shape::Short(Expand::TextToCron, &Shape::Object(&SCHEDULE)))),
    ]],
);

static SCHEDULE: Object = Object {
    what: "schedule",
    parts: &[&[
        key("concurrency", Shape::Choice(&["forbid", "queue"])),
        key("cron", Shape::Text),
        key("missed_fires", Shape::Choice(&["one", "skip"])),
        key("timezone", Shape::Text),
    ]],
    required: &["cron"],
    extensible: true,
};

static BUILD: Object = object("build", &[BUILD_KEYS]);

static BUILD_KEYS: &[Key] = &[
    key("additional_contexts", PAIRS),
    key("args", VARIABLES),
    key("cache_from", TEXTS),
    key("cache_to", TEXTS),
    key("context", Shape::Text),
    key("dockerfile", Shape::Text),
    key("dockerfile_inline", Shape::Text),
    key("entitlements", TEXTS),
    ruled("extra_hosts", EXTRA_HOSTS, Merge::Unique(UniqueBy::Whole)),
    key("isolation", Shape::Text),
    key("labels", PAIRS),
    key("network", Shape::Text),
    key("no_cache", Shape::Flag),
    key("no_cache_filter", DISTINCT_OR_TEXT),
    key("platforms", TEXTS),
    key("privileged", Shape::Flag),
    key("provenance", Shape::Plain),
    key("pull", Shape::Flag),
    key("sbom", Shape::Plain),
    key("secrets", FILE_REFERENCES),
    key("shm_size", BYTES),
    ruled("ssh", Shape::Short(Expand::Ssh, &TEXTS), Merge::Unique(UniqueBy::Key)),
    ruled("tags", TEXTS, BY_KEY),
    key("target", Shape::Text),
    key("ulimits", WRITTEN_ULIMITS),
];

/// Unlike those of a container, these are not read from text.
const WRITTEN_ULIMITS: Shape =
    Shape::Map(&Shape::Either(&WRITTEN_INT, &Shape::Object(&WRITTEN_ULIMIT_RANGE)));
