//! From a [`CreateContainer`] to the body of Docker's create call. Pure: reads nothing but its
//! arguments.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, DeviceMapping, EndpointSettings, HealthConfig,
    HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, NetworkingConfig,
    ResourcesBlkioWeightDevice, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
    ThrottleDevice,
};

use super::session::ApiVersion;
use super::{devices, mounts};
use crate::docker::{CreateContainer, EngineError, label};
use crate::model::{BlockIo, ContainerSpec, Farewell, HealthSpec, Resize, Resources, Tuning};

/// Several networks in one create call; before, they are connected one by one after it.
pub(super) const SEVERAL_NETWORKS: ApiVersion = ApiVersion::minor(44);
/// Health checks more often while starting.
const START_INTERVAL: ApiVersion = ApiVersion::minor(44);
/// Annotations for the runtime.
const ANNOTATIONS: ApiVersion = ApiVersion::minor(43);
/// Nothing below `/proc` and `/sys` is hidden or read-only.
const OPEN_PATHS: &str = "systempaths=unconfined";
/// Longest host name the kernel takes is 64 bytes, longest DNS label 63.
const HOSTNAME_MAX: usize = 63;

/// The body of the create call at version `api`.
pub(super) fn create_body(
    container: &CreateContainer,
    api: ApiVersion,
) -> Result<ContainerCreateBody, EngineError> {
    let spec = &container.spec;
    Ok(ContainerCreateBody {
        hostname: hostname(container),
        domainname: spec.domainname.clone().filter(|_| own_network(container)),
        user: spec.user.clone(),
        exposed_ports: own_network(container)
            .then(|| spec.expose.clone())
            .filter(|e| !e.is_empty()),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin_open),
        stdin_once: spec.stdin_once.then_some(true),
        env: Some(spec.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        cmd: spec.command.clone(),
        healthcheck: spec.health.as_ref().map(|health| health_config(health, api, &container.name)),
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        // Docker takes an empty list for "not given" and one empty word for "none".
        entrypoint: spec.entrypoint.as_ref().map(|words| match words.as_slice() {
            [] => vec![String::new()],
            words => words.to_vec(),
        }),
        labels: Some(labels(container)),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_ms.map(|millis| signed(millis.div_ceil(1000))),
        host_config: Some(host_config(container, api)?),
        networking_config: networking(&container.networks, api),
        ..ContainerCreateBody::default()
    })
}

/// The body of the update call.
pub(super) fn update_body(to: &Resize) -> ContainerUpdateBody {
    let Resize { cpu_millis, memory } = to;
    ContainerUpdateBody {
        nano_cpus: cpu_millis.map(nanos),
        memory: memory.map(|memory| signed(memory.limit)),
        memory_swap: memory.map(|memory| memory.with_swap),
        memory_reservation: memory
            .map(|memory| signed(memory.reserved))
            .filter(|reserved| *reserved > 0),
        ..ContainerUpdateBody::default()
    }
}

/// Thousandths of a CPU as Docker has them.
fn nanos(millis: u64) -> i64 {
    signed(millis.saturating_mul(1_000_000))
}

/// Labels of the file, then muster's own, which win.
fn labels(container: &CreateContainer) -> HashMap<String, String> {
    let own = [
        (label::APP, container.replica.app.to_string()),
        (label::SERVICE, container.replica.service.to_string()),
        (label::REPLICA, container.replica.index.to_string()),
        (label::GENERATION, container.generation.to_string()),
        (label::REVISION, container.revision.clone()),
        (label::SPEC, container.spec_hash.clone()),
        (label::CLUSTER, container.cluster.clone()),
    ];
    let ids: Vec<String> = container.device_ids().into_iter().collect();
    let devices = (!ids.is_empty()).then(|| (label::DEVICES, ids.join(",")));
    let step = container.step.map(|step| (label::STEP, step.to_string()));
    // Nobody says farewell to a step: it ends by itself, or is not needed any more.
    let farewell = Farewell::of(&container.spec).filter(|_| container.step.is_none());
    let farewell = farewell
        .and_then(|farewell| Some((label::FAREWELL, serde_json::to_string(&farewell).ok()?)));
    let given = container.spec.labels.iter().map(|(key, value)| (key.clone(), value.clone()));
    let own = own.into_iter().chain(devices).chain(step).chain(farewell);
    given.chain(own.map(|(key, value)| (key.to_owned(), value))).collect()
}

/// Whether it does not join another container's: Docker then takes nothing that belongs to a network.
fn own_network(container: &CreateContainer) -> bool {
    container.joins.is_none()
}

/// The spec's, else `service-index`; on the host's own network the host's name, in another
/// container's that one's.
fn hostname(container: &CreateContainer) -> Option<String> {
    if !own_network(container) {
        return None;
    }
    if container.spec.hostname.is_some() {
        return container.spec.hostname.clone();
    }
    if is_host_network(container) {
        return None;
    }
    let index = format!("-{}", container.replica.index);
    let room = HOSTNAME_MAX.saturating_sub(index.len());
    let service: String = container.replica.service.as_str().chars().take(room).collect();
    Some(service + &index)
}

fn is_host_network(container: &CreateContainer) -> bool {
    container.networks.is_empty() && container.spec.network_mode.as_deref() == Some("host")
}

fn host_config(container: &CreateContainer, api: ApiVersion) -> Result<HostConfig, EngineError> {
    let spec = &container.spec;
    let mounted = mounts::convert(container, api)?;
    let mut config = HostConfig {
        binds: some_list(&mounted.binds),
        mounts: some_list(&mounted.mounts),
        tmpfs: (!mounted.tmpfs.is_empty()).then_some(mounted.tmpfs),
        log_config: spec.logging.as_ref().map(|(driver, options)| HostConfigLogConfig {
            typ: Some(driver.clone()),
            config: Some(hash_map(options)),
        }),
        network_mode: Some(network_mode(container)),
        // The agent owns restarts.
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        dns: dns(container),
        dns_options: some_list(&spec.dns_opt).filter(|_| own_network(container)),
        dns_search: some_list(&spec.dns_search).filter(|_| own_network(container)),
        extra_hosts: some_list(&spec.extra_hosts).filter(|_| own_network(container)),
        ..HostConfig::default()
    };
    set_limits(&mut config, spec);
    set_rights(&mut config, spec);
    set_tuning(&mut config, container, api);
    devices::hand_over(&mut config, &container.devices);
    Ok(config)
}

/// The container it joins, else the first network, else what the spec says, else none: a container nobody gave a network must
/// not land on Docker's default bridge.
fn network_mode(container: &CreateContainer) -> String {
    if let Some(joined) = &container.joins {
        return format!("container:{joined}");
    }
    let own = container.spec.network_mode.as_deref().unwrap_or("none");
    container.networks.first().map_or(own, String::as_str).to_owned()
}

fn dns(container: &CreateContainer) -> Option<Vec<String>> {
    if !own_network(container) {
        return None;
    }
    if !container.spec.dns.is_empty() {
        return Some(container.spec.dns.clone());
    }
    // On the host's network the host's resolver holds: muster's answers containers only.
    if is_host_network(container) {
        return None;
    }
    container.resolver.map(|address| vec![address.to_string()])
}

fn set_limits(config: &mut HostConfig, spec: &ContainerSpec) {
    let Resources {
        cpu_limit_millis,
        memory_limit,
        pids_limit,
        cpu_reserved_millis: _, // Counted by the scheduler; Docker has nothing to hold it by.
        memory_reserved,
        cpu_shares,
    } = spec.resources;
    config.nano_cpus = cpu_limit_millis.map(nanos);
    config.memory = memory_limit.map(signed);
    config.memory_reservation = (memory_reserved > 0).then(|| signed(memory_reserved));
    config.pids_limit = pids_limit;
    config.cpu_shares = cpu_shares;
    config.shm_size = spec.shm_size.map(signed);
    config.oom_score_adj = spec.oom_score_adj;
    let ulimits = spec.ulimits.iter().map(|(name, (soft, hard))| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    });
    config.ulimits = some_list(&ulimits.collect::<Vec<_>>());
}

fn set_rights(config: &mut HostConfig, spec: &ContainerSpec) {
    config.init = spec.init;
    config.privileged = Some(spec.privileged);
    config.readonly_rootfs = Some(spec.read_only);
    config.cap_add = some_list(&spec.cap_add);
    config.cap_drop = some_list(&spec.cap_drop);
    // The daemon does not know this option: Docker's own command line does it for it.
    let (open, options): (Vec<String>, Vec<String>) =
        spec.security_opt.iter().cloned().partition(|option| option == OPEN_PATHS);
    config.security_opt = some_list(&options);
    config.masked_paths = (!open.is_empty()).then(Vec::new);
    config.readonly_paths = (!open.is_empty()).then(Vec::new);
    config.sysctls = (!spec.sysctls.is_empty()).then(|| hash_map(&spec.sysctls));
    config.group_add = some_list(&spec.group_add);
    config.pid_mode = spec.pid.clone();
    config.ipc_mode = spec.ipc.clone();
    config.userns_mode = spec.userns.clone();
    config.runtime = spec.runtime.clone();
    let devices = spec.devices.iter().map(|(host, inside, rights)| DeviceMapping {
        path_on_host: Some(host.clone()),
        path_in_container: Some(inside.clone()),
        cgroup_permissions: Some(rights.clone()),
    });
    config.devices = some_list(&devices.collect::<Vec<_>>());
}

fn set_tuning(config: &mut HostConfig, container: &CreateContainer, api: ApiVersion) {
    let Tuning {
        annotations,
        cgroup,
        cgroup_parent,
        cpu_period,
        cpu_quota,
        cpu_rt_period,
        cpu_rt_runtime,
        cpuset,
        device_cgroup_rules,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        storage_opt,
        uts,
        block_io,
    } = &container.spec.tuning;
    if !annotations.is_empty() && api < ANNOTATIONS {
        tracing::warn!(container = container.name, %api, "`annotations` need Docker API 1.43");
    }
    config.annotations =
        (!annotations.is_empty() && api >= ANNOTATIONS).then(|| hash_map(annotations));
    config.cgroupns_mode = cgroup.as_deref().map(|mode| match mode {
        "host" => HostConfigCgroupnsModeEnum::HOST,
        _ => HostConfigCgroupnsModeEnum::PRIVATE,
    });
    config.cgroup_parent = cgroup_parent.clone();
    config.cpu_period = *cpu_period;
    config.cpu_quota = *cpu_quota;
    config.cpu_realtime_period = *cpu_rt_period;
    config.cpu_realtime_runtime = *cpu_rt_runtime;
    config.cpuset_cpus = cpuset.clone();
    config.device_cgroup_rules = some_list(device_cgroup_rules);
    config.memory_swap = *memory_swap;
    config.memory_swappiness = *memory_swappiness;
    config.oom_kill_disable = oom_kill_disable.then_some(true);
    config.storage_opt = (!storage_opt.is_empty()).then(|| hash_map(storage_opt));
    config.uts_mode = uts.clone();
    set_block_io(config, block_io);
}

fn set_block_io(config: &mut HostConfig, block_io: &BlockIo) {
    let rates = |devices: &[(String, u64)]| {
        let device = |(path, rate): &(String, u64)| ThrottleDevice {
            path: Some(path.clone()),
            rate: Some(signed(*rate)),
        };
        some_list(&devices.iter().map(device).collect::<Vec<_>>())
    };
    let BlockIo { weight, weight_device, read_bps, read_iops, write_bps, write_iops } = block_io;
    let weights = weight_device.iter().map(|(path, weight)| ResourcesBlkioWeightDevice {
        path: Some(path.clone()),
        weight: Some(usize::from(*weight)),
    });
    config.blkio_weight = *weight;
    config.blkio_weight_device = some_list(&weights.collect::<Vec<_>>());
    config.blkio_device_read_bps = rates(read_bps);
    config.blkio_device_read_iops = rates(read_iops);
    config.blkio_device_write_bps = rates(write_bps);
    config.blkio_device_write_iops = rates(write_iops);
}

/// The networks a create call may name at version `api`.
fn networking(networks: &[String], api: ApiVersion) -> Option<NetworkingConfig> {
    let n_at_once = if api >= SEVERAL_NETWORKS { networks.len() } else { 1 };
    let endpoints: HashMap<_, _> = networks
        .iter()
        .take(n_at_once)
        .map(|name| (name.clone(), EndpointSettings::default()))
        .collect();
    (!endpoints.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(endpoints) })
}

/// Docker takes 0 and nothing alike for "the image's, else the default".
fn health_config(health: &HealthSpec, api: ApiVersion, name: &str) -> HealthConfig {
    let nanos = |millis: Option<u64>| millis.map(|millis| signed(millis.saturating_mul(1_000_000)));
    let HealthSpec { test, interval_ms, timeout_ms, retries, start_period_ms, start_interval_ms } =
        health;
    if start_interval_ms.is_some() && api < START_INTERVAL {
        tracing::warn!(container = name, %api, "healthcheck `start_interval` needs Docker API 1.44");
    }
    HealthConfig {
        test: test.clone(),
        interval: nanos(*interval_ms),
        timeout: nanos(*timeout_ms),
        retries: retries.map(i64::from),
        start_period: nanos(*start_period_ms),
        start_interval: nanos(*start_interval_ms).filter(|_| api >= START_INTERVAL),
    }
}

fn some_list<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

pub(super) fn hash_map(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Docker counts in signed numbers; more than they hold means "all there is" anyway.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
