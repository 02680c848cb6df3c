//! The objects inside a container, a service and the top level.

use super::container::{
    BY_KEY, BYTES, COUNT, DEVICE_REQUESTS, DISTINCT, DISTINCT_OR_TEXT, INT, OPTIONS, PAIRS, TEXTS,
    VARIABLES,
};
use super::{Key, Merge, Object, Shape, key, object, ruled};
use crate::compose::expand::Expand;

const fn with_required(base: Object, required: &'static [&'static str]) -> Object {
    Object { what: base.what, parts: base.parts, required, extensible: base.extensible }
}

const fn closed(base: Object) -> Object {
    Object { what: base.what, parts: base.parts, required: base.required, extensible: false }
}

/// A whole number that is not read from text, also not from a variable.
pub(super) const WRITTEN_INT: Shape = Shape::Short(Expand::NotText, &INT);
const WEIGHT: Shape = Shape::Short(Expand::NotText, &Shape::Int { min: 0, max: 65_535 });

pub(super) static BLKIO_CONFIG: Object = closed(object(
    "blkio_config",
    &[&[
        key("device_read_bps", THROTTLES),
        key("device_read_iops", THROTTLES),
        key("device_write_bps", THROTTLES),
        key("device_write_iops", THROTTLES),
        key("weight", WEIGHT),
        key("weight_device", Shape::List(&Shape::Object(&BLKIO_WEIGHT))),
    ]],
));

const THROTTLES: Shape = Shape::List(&Shape::Object(&BLKIO_LIMIT));

static BLKIO_LIMIT: Object = closed(with_required(
    object("limit of a device", &[&[key("path", Shape::Text), key("rate", BYTES)]]),
    &["path"],
));

static BLKIO_WEIGHT: Object = closed(with_required(
    object("weight of a device", &[&[key("path", Shape::Text), key("weight", WEIGHT)]]),
    &["path", "weight"],
));

pub(super) static CREDENTIAL_SPEC: Object = object(
    "credential_spec",
    &[&[key("config", Shape::Text), key("file", Shape::Text), key("registry", Shape::Text)]],
);

pub(super) static FILE_REFERENCE: Object = object(
    "reference to a config or secret",
    &[&[
        key("gid", Shape::Text),
        key("mode", Shape::Mode),
        key("source", Shape::Text),
        key("target", Shape::Text),
        key("uid", Shape::Text),
    ]],
);

pub(super) static DEVICE: Object = with_required(
    object(
        "device",
        &[&[
            key("permissions", Shape::Text),
            key("source", Shape::Text),
            key("target", Shape::Text),
        ]],
    ),
    &["source"],
);

pub(super) static DEVICE_REQUEST: Object = object(
    "device request",
    &[&[
        key("capabilities", DISTINCT),
        key("count", Shape::Short(Expand::AllToMinusOne, &INT)),
        key("device_ids", DISTINCT),
        key("driver", Shape::Text),
        key("options", Shape::Short(Expand::Distinct, &PAIRS)),
    ]],
);

pub(super) static ENV_FILE: Object = closed(with_required(
    object(
        "env_file",
        &[&[key("format", Shape::Text), key("path", Shape::Text), key("required", Shape::Flag)]],
    ),
    &["path"],
));

pub(super) static LOGGING: Object =
    object("logging", &[&[key("driver", Shape::Text), key("options", OPTIONS)]]);

pub(super) static MODEL_BINDING: Object =
    object("model", &[&[key("endpoint_var", Shape::Text), key("model_var", Shape::Text)]]);

pub(super) static ATTACHMENT: Object = object(
    "network of a service",
    &[&[
        ruled("aliases", TEXTS, BY_KEY),
        key("driver_opts", OPTIONS),
        key("gw_priority", WRITTEN_INT),
        key("interface_name", Shape::Text),
        key("ipv4_address", Shape::Text),
        key("ipv6_address", Shape::Text),
        ruled("link_local_ips", TEXTS, BY_KEY),
        key("mac_address", Shape::Text),
        key("priority", WRITTEN_INT),
    ]],
);

pub(super) static ULIMIT_RANGE: Object =
    with_required(object("ulimit", &[&[key("hard", INT), key("soft", INT)]]), &["soft", "hard"]);

pub(super) static WRITTEN_ULIMIT_RANGE: Object = with_required(
    object("ulimit", &[&[key("hard", WRITTEN_INT), key("soft", WRITTEN_INT)]]),
    &["soft", "hard"],
);

pub(super) static VOLUME_MOUNT: Object = with_required(
    object(
        "mount",
        &[&[
            key("bind", Shape::Object(&BIND)),
            key("consistency", Shape::Text),
            key("image", Shape::Object(&IMAGE)),
            key("read_only", Shape::Flag),
            key("source", Shape::Text),
            key("target", Shape::Text),
            key("tmpfs", Shape::Object(&TMPFS)),
            key("type", Shape::Choice(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
            key("volume", Shape::Object(&VOLUME)),
        ]],
    ),
    &["type"],
);

static BIND: Object = object(
    "bind",
    &[&[
        key("create_host_path", Shape::Flag),
        key("propagation", Shape::Text),
        key("recursive", Shape::Choice(&["enabled", "disabled", "writable", "readonly"])),
        key("selinux", Shape::Choice(&["z", "Z"])),
    ]],
);

static VOLUME: Object = object(
    "volume",
    &[&[key("labels", PAIRS), key("nocopy", Shape::Flag), key("subpath", Shape::Text)]],
);

static TMPFS: Object = object("tmpfs", &[&[key("mode", MOUNT_MODE), key("size", BYTES)]]);

const MOUNT_MODE: Shape =
    Shape::Short(Expand::NotText, &Shape::Int { min: 0, max: u32::MAX as i64 });

static IMAGE: Object = object("image", &[&[key("subpath", Shape::Text)]]);

pub(super) static DEPENDS_ON: Object = with_required(
    object(
        "depends_on",
        &[&[
            key(
                "condition",
                Shape::Choice(&[
                    "service_started",
                    "service_healthy",
                    "service_completed_successfully",
                ]),
            ),
            key("required", Shape::Flag),
            key("restart", Shape::Flag),
        ]],
    ),
    &["condition"],
);

pub(super) static HEALTHCHECK: Object = object(
    "healthcheck",
    &[&[
        key("disable", Shape::Flag),
        key("interval", Shape::Duration),
        key("retries", COUNT),
        key("start_interval", Shape::Duration),
        key("start_period", Shape::Duration),
        ruled("test", Shape::Short(Expand::HealthTest, &TEXTS), Merge::Replace),
        key("timeout", Shape::Duration),
    ]],
);

pub(super) static PORT: Object = object(
    "port",
    &[&[
        key("app_protocol", Shape::Text),
        key("host_ip", Shape::Text),
        key("mode", Shape::Text),
        key("name", Shape::Text),
        key("protocol", Shape::Text),
        key("published", Shape::TextOrNumber),
        key("target", Shape::Int { min: 1, max: 65_535 }),
    ]],
);

pub(super) static DEVELOP: Object =
    object("develop", &[&[key("watch", Shape::List(&Shape::Object(&WATCH)))]]);

static WATCH: Object = with_required(
    object(
        "watch rule",
        &[&[
            key(
                "action",
                Shape::Choice(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
            ),
            key("exec", Shape::Object(&HOOK)),
            key("ignore", DISTINCT_OR_TEXT),
            key("include", DISTINCT_OR_TEXT),
            key("initial_sync", Shape::Short(Expand::NotText, &Shape::Flag)),
            key("path", Shape::Text),
            key("target", Shape::Text),
        ]],
    ),
    &["path", "action"],
);

pub(super) static HOOK: Object = with_required(
    object(
        "hook",
        &[&[
            key("command", Shape::Command),
            key("environment", Shape::Short(Expand::Distinct, &VARIABLES)),
            key("privileged", Shape::Flag),
            key("user", Shape::Text),
            key("working_dir", Shape::Text),
        ]],
    ),
    &["command"],
);

pub(super) static PROVIDER: Object = with_required(
    object(
        "provider",
        &[&[
            key(
                "options",
                Shape::Map(&Shape::Short(Expand::PlainToList, &Shape::List(&Shape::Plain))),
            ),
            key("type", Shape::Text),
        ]],
    ),
    &["type"],
);

pub(super) static EXTENDS: Object = closed(with_required(
    object("extends", &[&[key("file", Shape::Text), key("service", Shape::Text)]]),
    &["service"],
));

pub(super) static DEPLOY: Object = object("deploy", &[DEPLOY_KEYS]);

static DEPLOY_KEYS: &[Key] = &[
    key("endpoint_mode", Shape::Text),
    key("labels", PAIRS),
    key("mode", Shape::Text),
    key("placement", Shape::Object(&PLACEMENT)),
    key("replicas", COUNT),
    key("resources", Shape::Object(&RESOURCES)),
    key("restart_policy", Shape::Object(&RESTART_POLICY)),
    key("rollback_config", Shape::Object(&UPDATE_CONFIG)),
    key("update_config", Shape::Object(&UPDATE_CONFIG)),
];

static PLACEMENT: Object = object(
    "placement",
    &[&[
        key("constraints", TEXTS),
        key("max_replicas_per_node", COUNT),
        key("preferences", Shape::List(&Shape::Object(&PREFERENCE))),
    ]],
);

static PREFERENCE: Object = object("preference", &[&[key("spread", Shape::Text)]]);

static RESOURCES: Object = object(
    "resources",
    &[&[key("limits", Shape::Object(&LIMITS)), key("reservations", Shape::Object(&RESERVATIONS))]],
);

static LIMITS: Object =
    object("limits", &[&[key("cpus", Shape::Number), key("memory", MEMORY), key("pids", INT)]]);

/// Unlike `mem_limit`, this must be text.
const MEMORY: Shape = Shape::Short(Expand::OnlyText, &BYTES);

static RESERVATIONS: Object = object(
    "reservations",
    &[&[
        key("cpus", Shape::Number),
        key("devices", DEVICE_REQUESTS),
        key("generic_resources", Shape::List(&Shape::Object(&GENERIC_RESOURCE))),
        key("memory", MEMORY),
    ]],
);

static GENERIC_RESOURCE: Object = object(
    "generic resource",
    &[&[key("discrete_resource_spec", Shape::Object(&DISCRETE_RESOURCE))]],
);

static DISCRETE_RESOURCE: Object =
    object("discrete_resource_spec", &[&[key("kind", Shape::Text), key("value", INT)]]);

static RESTART_POLICY: Object = object(
    "restart_policy",
    &[&[
        key("condition", Shape::Text),
        key("delay", Shape::Duration),
        key("max_attempts", COUNT),
        key("window", Shape::Duration),
    ]],
);

static UPDATE_CONFIG: Object = object(
    "update_config",
    &[&[
        key("delay", Shape::Duration),
        key("failure_action", Shape::Text),
        key("max_failure_ratio", Shape::Number),
        key("monitor", Shape::Duration),
        key("order", Shape::Choice(&["start-first", "stop-first"])),
        key("parallelism", COUNT),
    ]],
);
