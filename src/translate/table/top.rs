//! Rows of the top level: the project, networks, volumes, configs, secrets, models.

use super::{done, ignored, informs, loaded, parts, refused};
use crate::translate::verdict::Row;

const FIXED_ADDRESSES: &str = "containers have addresses of the cluster's pool; only a service's `ipv4_address` \
                               is kept";
const BY_NAME: &str = "reach services by their names";
const STORED_ELSEWHERE: &str = "the cluster keeps no such objects under names or labels of their \
                                own; the content is part of the revision";
const NO_EXTERNAL_FILE: &str = "the cluster keeps no configs or secrets outside a project";
const GIVE_FILE: &str = "give the content with `file`, `environment` or, for a config, `content`";

pub(super) const ROWS: &[Row] = &[
    informs("version", "obsolete; it has had no effect in Compose either since version 2"),
    done("name"),
    loaded("include"),
    parts("services"),
    // Networks.
    parts("networks"),
    done("networks.*.name"),
    informs("networks.*.driver", "every network is muster's own, whichever driver it names"),
    ignored("networks.*.driver_opts", "every network is muster's own bridge", ""),
    ignored("networks.*.ipam", FIXED_ADDRESSES, BY_NAME),
    done("networks.*.external"),
    done("networks.*.internal"),
    ignored("networks.*.attachable", "only replicas of the project join its networks", ""),
    done("networks.*.labels"),
    informs("networks.*.enable_ipv4", "every network has IPv4 addresses, and no others"),
    ignored("networks.*.enable_ipv6", "networks are IPv4 only", ""),
    // Volumes.
    parts("volumes"),
    done("volumes.*.name"),
    done("volumes.*.driver"),
    done("volumes.*.driver_opts"),
    done("volumes.*.external"),
    done("volumes.*.labels"),
    // Configs.
    parts("configs"),
    ignored("configs.*.name", STORED_ELSEWHERE, ""),
    done("configs.*.content"),
    done("configs.*.environment"),
    done("configs.*.file"),
    refused("configs.*.external", NO_EXTERNAL_FILE, GIVE_FILE),
    ignored("configs.*.labels", STORED_ELSEWHERE, ""),
    refused("configs.*.template_driver", "templates are not filled in", "write the result"),
    // Secrets.
    parts("secrets"),
    ignored("secrets.*.name", STORED_ELSEWHERE, ""),
    done("secrets.*.environment"),
    done("secrets.*.file"),
    refused("secrets.*.external", NO_EXTERNAL_FILE, GIVE_FILE),
    ignored("secrets.*.labels", STORED_ELSEWHERE, ""),
    refused("secrets.*.driver", "secret drivers are Swarm plugins", GIVE_FILE),
    ignored("secrets.*.driver_opts", "they belong to `driver`", ""),
    refused("secrets.*.template_driver", "templates are not filled in", "write the result"),
    // Others.
    ignored("models", "models are not served", "run the model server as a service"),
    // Jobs: their other keys are those of services.
    parts("jobs"),
    parts("jobs.*.triggers"),
    done("jobs.*.triggers.manual"),
    parts("jobs.*.triggers.schedule"),
    done("jobs.*.triggers.schedule.cron"),
    done("jobs.*.triggers.schedule.timezone"),
    done("jobs.*.triggers.schedule.concurrency"),
    done("jobs.*.triggers.schedule.missed_fires"),
];
