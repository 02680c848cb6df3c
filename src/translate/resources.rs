//! Limits, reservations and the rarer settings. `deploy.resources` wins over the older keys of a service.

use crate::compose::project::{BlkioConfig, DeployResource, Service, ThrottleDevice};
use crate::model::{BlockIo, Resources, Tuning};

/// Limits and reservations of one replica.
pub(super) fn convert(service: &Service) -> Resources {
    let resources = service.deploy.as_ref().map(|deploy| &deploy.resources);
    let empty = DeployResource::default();
    let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&empty);
    let reserved = resources.and_then(|r| r.reservations.as_ref()).unwrap_or(&empty);
    Resources {
        cpu_limit_millis: limits.cpus.or(service.cpus).and_then(thousandths),
        memory_limit: some_amount(limits.memory.or(service.mem_limit)),
        // 0 and -1 both mean no limit.
        pids_limit: limits.pids.or(service.pids_limit).filter(|pids| *pids > 0),
        cpu_reserved_millis: reserved.cpus.and_then(thousandths).unwrap_or_default(),
        memory_reserved: reserved.memory.or(service.mem_reservation).unwrap_or_default(),
        cpu_shares: service.cpu_shares.filter(|shares| *shares > 0),
    }
}

/// 0 means no limit.
fn some_amount(amount: Option<u64>) -> Option<u64> {
    amount.filter(|amount| *amount > 0)
}

/// CPUs in thousandths; less than one thousandth counts as one. None for no limit.
fn thousandths(cpus: f64) -> Option<u64> {
    (cpus > 0.0).then(|| ((cpus * 1000.0).round() as u64).max(1))
}

/// What few services set.
pub(super) fn tuning(service: &Service) -> Tuning {
    Tuning {
        annotations: service.annotations.clone(),
        cgroup: service.cgroup.clone(),
        cgroup_parent: service.cgroup_parent.clone(),
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_rt_period: service.cpu_rt_period,
        cpu_rt_runtime: service.cpu_rt_runtime,
        cpuset: service.cpuset.clone(),
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        memory_swap: service.memswap_limit,
        memory_swappiness: service.mem_swappiness,
        oom_kill_disable: service.oom_kill_disable,
        storage_opt: service.storage_opt.clone(),
        uts: service.uts.clone(),
        block_io: service.blkio_config.as_ref().map(block_io).unwrap_or_default(),
    }
}

fn block_io(config: &BlkioConfig) -> BlockIo {
    let rates = |devices: &[ThrottleDevice]| {
        devices.iter().filter_map(|device| Some((device.path.clone(), device.rate?))).collect()
    };
    let weights = config.weight_device.iter().map(|device| (device.path.clone(), device.weight));
    BlockIo {
        weight: config.weight,
        weight_device: weights.collect(),
        read_bps: rates(&config.device_read_bps),
        read_iops: rates(&config.device_read_iops),
        write_bps: rates(&config.device_write_bps),
        write_iops: rates(&config.device_write_iops),
    }
}
