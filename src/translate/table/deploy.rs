//! Rows of `deploy`.

use super::{done, ignored, parts};
use crate::translate::verdict::Row;

const OWN_PAUSES: &str = "pauses grow from one restart to the next, and shrink again when it runs";

pub(super) const ROWS: &[Row] = &[
    parts("services.*.deploy"),
    done("services.*.deploy.mode"),
    done("services.*.deploy.replicas"),
    done("services.*.deploy.endpoint_mode"),
    ignored(
        "services.*.deploy.labels",
        "a Service has no labels in the cluster",
        "use `labels` of the service for its containers",
    ),
    parts("services.*.deploy.rollback_config"),
    done("services.*.deploy.rollback_config.parallelism"),
    done("services.*.deploy.rollback_config.delay"),
    done("services.*.deploy.rollback_config.order"),
    done("services.*.deploy.rollback_config.failure_action"),
    done("services.*.deploy.rollback_config.monitor"),
    done("services.*.deploy.rollback_config.max_failure_ratio"),
    parts("services.*.deploy.update_config"),
    done("services.*.deploy.update_config.parallelism"),
    done("services.*.deploy.update_config.delay"),
    done("services.*.deploy.update_config.order"),
    done("services.*.deploy.update_config.failure_action"),
    done("services.*.deploy.update_config.monitor"),
    done("services.*.deploy.update_config.max_failure_ratio"),
    parts("services.*.deploy.resources"),
    parts("services.*.deploy.resources.limits"),
    done("services.*.deploy.resources.limits.cpus"),
    done("services.*.deploy.resources.limits.memory"),
    done("services.*.deploy.resources.limits.pids"),
    parts("services.*.deploy.resources.reservations"),
    done("services.*.deploy.resources.reservations.cpus"),
    done("services.*.deploy.resources.reservations.memory"),
    done("services.*.deploy.resources.reservations.devices"),
    done("services.*.deploy.resources.reservations.generic_resources"),
    parts("services.*.deploy.restart_policy"),
    done("services.*.deploy.restart_policy.condition"),
    done("services.*.deploy.restart_policy.max_attempts"),
    ignored("services.*.deploy.restart_policy.delay", OWN_PAUSES, ""),
    ignored("services.*.deploy.restart_policy.window", OWN_PAUSES, ""),
    parts("services.*.deploy.placement"),
    done("services.*.deploy.placement.constraints"),
    done("services.*.deploy.placement.preferences"),
    done("services.*.deploy.placement.max_replicas_per_node"),
];
