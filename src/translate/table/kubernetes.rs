//! The Kubernetes column: what `muster export` does with each key.
//!
//! A key without a cell has the one of the nearest key above it. As in the other column, a cell
//! says what most values get; where the verdict depends on the value, the export adds a note.

use crate::translate::verdict::{By, Cell, Verdict};

const NO_FIELD: &str = "a pod has no field for it";
const WINDOWS: &str = "it is for Windows containers";
const ONE_NETWORK: &str = "a pod has one network, the cluster's, and an address from its pool";
const BY_NAME: &str = "reach services by their names";
const ROLLOUT: &str = "an update that fails stops there; it is not undone by itself";
const UNDO: &str = "go back with `kubectl rollout undo`";
const PAUSES: &str = "pauses grow from one restart to the next, up to 5 minutes";
const BUILD: &str = "the image is built before: MIGRATION.md has the command";
const DEVICE: &str =
    "a pod gets devices of its node from a device plugin, by the name it gives them";
const SWARM_NAME: &str = "a name for engines that keep such objects";
const DRIVER: &str = "drivers are plugins of Swarm";

const fn cell(verdict: Verdict, by: By, reason: &'static str, remedy: &'static str) -> Cell {
    Cell { verdict, by, reason, remedy }
}

const DONE: Cell = cell(Verdict::Done, By::Objects, "", "");
const LOADED: Cell = cell(Verdict::Done, By::Loader, "", "");

const fn informs(reason: &'static str) -> Cell {
    cell(Verdict::Done, By::Informative, reason, "")
}

const fn nearly(reason: &'static str, remedy: &'static str) -> Cell {
    cell(Verdict::Approximated, By::Objects, reason, remedy)
}

const fn ignored(reason: &'static str, remedy: &'static str) -> Cell {
    cell(Verdict::Ignored, By::Informative, reason, remedy)
}

/// Key and cell, sorted as the other column is.
pub(super) const CELLS: &[(&str, Cell)] = &[
    ("version", informs("obsolete")),
    ("name", DONE),
    ("include", LOADED),
    ("networks.*", ignored(ONE_NETWORK, BY_NAME)),
    ("networks.*.name", informs("Docker's name")),
    ("networks.*.driver", informs("every pod is on the cluster's own network")),
    ("networks.*.internal", ignored("pods have a way out", "export with `--network-policies`")),
    ("networks.*.attachable", informs("for `docker run` in Swarm")),
    ("networks.*.enable_ipv4", informs("the cluster's network decides")),
    ("volumes.*.name", informs("Docker's name; the commands that copy the data use it")),
    (
        "volumes.*.driver",
        ignored("a storage class makes volumes", "name one with `--storage-class`"),
    ),
    ("volumes.*.driver_opts", DONE),
    ("volumes.*.external", DONE),
    ("volumes.*.labels", DONE),
    ("configs.*", DONE),
    ("configs.*.name", informs(SWARM_NAME)),
    ("configs.*.labels", ignored("they label objects of Swarm", "")),
    ("configs.*.template_driver", ignored("templates are not filled in", "write the result")),
    ("secrets.*", DONE),
    ("secrets.*.name", informs(SWARM_NAME)),
    ("secrets.*.labels", ignored("they label objects of Swarm", "")),
    ("secrets.*.driver", ignored(DRIVER, "use an operator for external secrets")),
    ("secrets.*.driver_opts", ignored(DRIVER, "")),
    ("secrets.*.template_driver", ignored("templates are not filled in", "write the result")),
    ("models", ignored("models are not served", "run the model server as a service")),
    ("jobs", DONE),
    ("jobs.*.triggers.manual", informs("whoever may create Jobs can run it")),
    // A service.
    ("services.*", DONE),
    ("services.*.attach", informs("see `kubectl logs`")),
    ("services.*.blkio_config", ignored(NO_FIELD, "")),
    ("services.*.build", informs(BUILD)),
    ("services.*.cgroup", ignored("the runtime decides", "")),
    ("services.*.cgroup_parent", ignored("the kubelet decides", "")),
    (
        "services.*.container_name",
        nearly("a further name of the service where others call it by it", ""),
    ),
    ("services.*.cpu_count", ignored(WINDOWS, "use `cpus`")),
    ("services.*.cpu_percent", ignored(WINDOWS, "use `cpus`")),
    ("services.*.cpu_rt_period", ignored(NO_FIELD, "")),
    ("services.*.cpu_rt_runtime", ignored(NO_FIELD, "")),
    ("services.*.cpuset", ignored(NO_FIELD, "ask for whole CPUs, under the static CPU manager")),
    ("services.*.cpu_period", informs("`cpu_quota` in it is the limit")),
    ("services.*.credential_spec", ignored(WINDOWS, "")),
    ("services.*.depends_on.*.required", informs("nothing waits for what is not exported")),
    (
        "services.*.depends_on.*.restart",
        ignored("pods are not replaced when those they depend on were", "let it connect anew"),
    ),
    ("services.*.device_cgroup_rules", ignored(DEVICE, "")),
    ("services.*.devices", ignored(DEVICE, "add the plugin's resource to `resources.limits`")),
    ("services.*.develop", informs("only `docker compose watch` reads it")),
    ("services.*.dns", nearly("asked after the cluster's own name server", "")),
    ("services.*.domainname", ignored("the cluster names pods", "")),
    ("services.*.env_file", LOADED),
    ("services.*.extends", LOADED),
    (
        "services.*.healthcheck.disable",
        informs("Kubernetes asks nothing but what an object says, whatever an image has"),
    ),
    (
        "services.*.external_links",
        ignored("containers outside the project are not reached", "make a Service of that name"),
    ),
    ("services.*.isolation", ignored(WINDOWS, "")),
    ("services.*.label_file", LOADED),
    ("services.*.logging", ignored("nodes keep what containers write, and agents collect it", "")),
    ("services.*.mac_address", ignored(ONE_NETWORK, "")),
    ("services.*.mem_swappiness", ignored(NO_FIELD, "")),
    ("services.*.memswap_limit", ignored(NO_FIELD, "")),
    ("services.*.models", ignored("models are not served", "run the model server as a service")),
    ("services.*.networks.*", ignored(ONE_NETWORK, BY_NAME)),
    ("services.*.networks.*.aliases", DONE),
    ("services.*.oom_kill_disable", ignored(NO_FIELD, "")),
    ("services.*.oom_score_adj", ignored("it follows from requests and limits", "")),
    ("services.*.pids_limit", ignored("it is a setting of the kubelet", "set its `podPidsLimit`")),
    ("services.*.ports.host_ip", ignored("a Service has no address of a machine", "")),
    (
        "services.*.ports.published",
        nearly(
            "inside the cluster the service is reached at the container's port; nothing opens the \
             published one",
            "use `--publish load-balancer`, an Ingress, or `kubectl port-forward`",
        ),
    ),
    ("services.*.profiles", LOADED),
    (
        "services.*.provider",
        ignored("provider programs are not run", "make a Service or Secret of what it provides"),
    ),
    ("services.*.pull_refresh_after", ignored("images are not asked for again by age", "")),
    (
        "services.*.runtime",
        nearly("a RuntimeClass of that name has to be there, but for `runc`", ""),
    ),
    (
        "services.*.stop_signal",
        nearly(
            "only nodes with the feature `ContainerStopSignals` (1.33 and later) send it",
            "build it into the image with `STOPSIGNAL`",
        ),
    ),
    ("services.*.storage_opt", ignored(NO_FIELD, "limit `ephemeral-storage`")),
    ("services.*.ulimits", ignored(NO_FIELD, "set it on the nodes, or in the entry point")),
    ("services.*.use_api_socket", ignored("nodes need not have Docker", "")),
    ("services.*.userns_mode", ignored("the cluster decides, by `hostUsers`", "")),
    (
        "services.*.volumes_from",
        nearly("the mounts of the other are repeated: both share its claims", ""),
    ),
    ("services.*.volumes.consistency", informs("a hint for Docker Desktop")),
    ("services.*.volumes.bind.create_host_path", informs("folders of nodes are not made")),
    ("services.*.volumes.bind.recursive", ignored(NO_FIELD, "")),
    ("services.*.volumes.bind.selinux", ignored("the runtime labels volumes", "")),
    ("services.*.volumes.tmpfs.mode", ignored(NO_FIELD, "")),
    ("services.*.volumes.volume.labels", ignored("labels come from the top level", "")),
    // `deploy`.
    ("services.*.deploy.rollback_config", ignored("going back follows `update_config`", "")),
    ("services.*.deploy.resources.limits.pids", ignored("it is a setting of the kubelet", "")),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        ignored("nodes do not declare such resources", "label the nodes"),
    ),
    ("services.*.deploy.restart_policy.delay", ignored(PAUSES, "")),
    (
        "services.*.deploy.restart_policy.max_attempts",
        nearly("only what runs to its end has a last attempt", ""),
    ),
    ("services.*.deploy.restart_policy.window", ignored(PAUSES, "")),
    ("services.*.deploy.update_config.failure_action", ignored(ROLLOUT, UNDO)),
    ("services.*.deploy.update_config.max_failure_ratio", ignored(ROLLOUT, UNDO)),
];
