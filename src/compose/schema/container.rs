//! Keys that every container has: of a service, a job and a `pre_start` step.

use super::parts::{
    ATTACHMENT, BLKIO_CONFIG, CREDENTIAL_SPEC, DEVICE, DEVICE_REQUEST, ENV_FILE, FILE_REFERENCE,
    LOGGING, MODEL_BINDING, ULIMIT_RANGE, VOLUME_MOUNT,
};
use super::{Key, Merge, Shape, key, ruled};
use crate::compose::expand::Expand;
use crate::compose::unique::UniqueBy;

/// Any whole number.
pub(super) const INT: Shape = Shape::Int { min: i64::MIN, max: i64::MAX };
/// A count.
pub(super) const COUNT: Shape = Shape::Int { min: 0, max: u32::MAX as i64 };
/// A size.
pub(super) const BYTES: Shape = Shape::Bytes { negative: false };
/// A list of texts.
pub(super) const TEXTS: Shape = Shape::List(&Shape::Text);
/// A text or a list of texts.
pub(super) const TEXT_OR_LIST: Shape = Shape::Short(Expand::TextToList, &TEXTS);
/// `KEY: value` or `KEY=value` lines; nothing is empty text.
pub(super) const PAIRS: Shape = Shape::Short(Expand::PairsToMap, &Shape::Map(&Shape::Plain));
/// The same, but a bare `KEY` is inherited.
pub(super) const VARIABLES: Shape =
    Shape::Short(Expand::PairsToMap, &Shape::Map(&Shape::Inheritable));
/// Options of a driver.
pub(super) const OPTIONS: Shape = Shape::Map(&Shape::Plain);
/// A list of texts, none of them twice.
pub(super) const DISTINCT: Shape = Shape::Short(Expand::Distinct, &TEXTS);
/// A text or a list of texts, none of them twice.
pub(super) const DISTINCT_OR_TEXT: Shape = Shape::Short(Expand::Distinct, &TEXT_OR_LIST);
/// Files of configs and secrets.
pub(super) const FILE_REFERENCES: Shape =
    Shape::List(&Shape::Short(Expand::TextToSource, &Shape::Object(&FILE_REFERENCE)));
/// Devices wished for.
pub(super) const DEVICE_REQUESTS: Shape = Shape::List(&Shape::Object(&DEVICE_REQUEST));
/// Resource limits.
pub(super) const ULIMITS: Shape = Shape::Map(&Shape::Either(&INT, &Shape::Object(&ULIMIT_RANGE)));
/// Lines of /etc/hosts.
pub(super) const EXTRA_HOSTS: Shape = Shape::Short(Expand::Hosts, &TEXTS);
/// `KEY=value` lines and plain texts alike are told apart by what is before the `=`.
pub(super) const BY_KEY: Merge = Merge::Unique(UniqueBy::Key);

/// What a container can be told.
pub(super) static CONTAINER: &[Key] = &[
    key("annotations", PAIRS),
    key("blkio_config", Shape::Object(&BLKIO_CONFIG)),
    ruled("cap_add", TEXTS, BY_KEY),
    ruled("cap_drop", TEXTS, BY_KEY),
    key("cgroup", Shape::Choice(&["host", "private"])),
    key("cgroup_parent", Shape::Text),
    ruled("command", Shape::Command, Merge::Replace),
    ruled("configs", FILE_REFERENCES, Merge::Unique(UniqueBy::Mount(""))),
    key("cpu_count", Shape::Int { min: 0, max: i64::MAX }),
    key("cpu_percent", Shape::Short(Expand::NoFraction, &Shape::Number)),
    key("cpu_period", INT),
    key("cpu_quota", INT),
    key("cpu_rt_period", INT),
    key("cpu_rt_runtime", INT),
    key("cpu_shares", INT),
    key("cpus", Shape::Number),
    key("cpuset", Shape::Text),
    key("credential_spec", Shape::Object(&CREDENTIAL_SPEC)),
    key("device_cgroup_rules", DISTINCT),
    ruled(
        "devices",
        Shape::List(&Shape::Short(Expand::Device, &Shape::Object(&DEVICE))),
        Merge::Unique(UniqueBy::Target),
    ),
    ruled("dns", TEXT_OR_LIST, BY_KEY),
    ruled("dns_opt", TEXTS, BY_KEY),
    ruled("dns_search", TEXT_OR_LIST, BY_KEY),
    key("domainname", Shape::Text),
    ruled("entrypoint", Shape::Command, Merge::Replace),
    ruled(
        "env_file",
        Shape::Short(
            Expand::TextToList,
            &Shape::List(&Shape::Short(Expand::TextToPath, &Shape::Object(&ENV_FILE))),
        ),
        Merge::Unique(UniqueBy::Path),
    ),
    key("environment", VARIABLES),
    ruled("extra_hosts", EXTRA_HOSTS, Merge::Unique(UniqueBy::Whole)),
    key("gpus", Shape::Short(Expand::Gpus, &DEVICE_REQUESTS)),
    key("group_add", Shape::Short(Expand::Distinct, &Shape::List(&Shape::TextOrNumber))),
    key("hostname", Shape::Text),
    key("image", Shape::Text),
    key("init", Shape::Flag),
    key("ipc", Shape::Text),
    key("isolation", Shape::Text),
    key("label_file", TEXT_OR_LIST),
    key("labels", PAIRS),
    ruled("logging", Shape::Object(&LOGGING), Merge::Logging),
    key("mac_address", Shape::Text),
    key("mem_limit", BYTES),
    key("mem_reservation", BYTES),
    key("mem_swappiness", BYTES),
    key("memswap_limit", Shape::Bytes { negative: true }),
    key(
        "models",
        Shape::Short(
            Expand::ListToKeys,
            &Shape::Named(&Shape::Nullable(&Shape::Object(&MODEL_BINDING))),
        ),
    ),
    key("network_mode", Shape::Text),
    key(
        "networks",
        Shape::Short(
            Expand::ListToKeys,
            &Shape::Named(&Shape::Nullable(&Shape::Object(&ATTACHMENT))),
        ),
    ),
    key("oom_kill_disable", Shape::Flag),
    key("oom_score_adj", Shape::Int { min: -1000, max: 1000 }),
    key("pid", Shape::Nullable(&Shape::Text)),
    key("pids_limit", INT),
    key("platform", Shape::Text),
    key("privileged", Shape::Flag),
    key("pull_policy", Shape::Text),
    key("pull_refresh_after", Shape::Text),
    key("read_only", Shape::Flag),
    key("runtime", Shape::Text),
    ruled("secrets", FILE_REFERENCES, Merge::Unique(UniqueBy::Mount("/run/secrets"))),
    key("security_opt", DISTINCT),
    key("shm_size", BYTES),
    key("stop_grace_period", Shape::Duration),
    key("stop_signal", Shape::Text),
    key("storage_opt", OPTIONS),
    key("sysctls", PAIRS),
    ruled("tmpfs", TEXT_OR_LIST, BY_KEY),
    key("ulimits", ULIMITS),
    key("use_api_socket", Shape::Short(Expand::NotText, &Shape::Flag)),
    key("user", Shape::Text),
    key("userns_mode", Shape::Text),
    key("uts", Shape::Text),
    ruled(
        "volumes",
        Shape::List(&Shape::Short(Expand::Volume, &Shape::Object(&VOLUME_MOUNT))),
        Merge::Unique(UniqueBy::Target),
    ),
    key("volumes_from", DISTINCT),
    key("working_dir", Shape::Text),
];
