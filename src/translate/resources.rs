//! Limits and reservations. `deploy.resources` wins over the older keys of a service.

use crate::compose::project::{DeployResource, Service};
use crate::model::Resources;

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
