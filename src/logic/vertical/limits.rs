//! From a size to the limits of a container: what it is made with, and what has to be changed of one that
//! is there. By what Docker takes (`POST /containers/{id}/update`): a limit cannot be taken away again,
//! only be made as large as the host; swap is given together with memory and is never less than it, and
//! "as much as there is" (-1) does not reach the kernel where there was a limit before (20.10, cgroup v1);
//! what is reserved is never more.

use crate::model::{
    Capacity, ContainerSpec, Deployment, Limits, MemoryLimit, Resize, Resources, Size, Usage,
};

/// What has to be free above what a container holds when its limit is made smaller: it grows meanwhile.
const HEADROOM: f64 = 1.1;

/// What a Deployment, or a pod, reserves with the sizes of its members in place of what the file has
/// for them.
pub fn reserve<'d>(whole: &mut Deployment, members: impl Iterator<Item = (&'d Resources, Size)>) {
    let all = &mut whole.container.resources;
    let other = |all: u64, own: u64, size: Option<u64>| {
        size.map_or(all, |size| all.saturating_sub(own).saturating_add(size))
    };
    for (own, size) in members {
        let (cpu, memory) = (own.cpu_reserved_millis, own.memory_reserved);
        all.cpu_reserved_millis = other(all.cpu_reserved_millis, cpu, size.cpu_millis);
        all.memory_reserved = other(all.memory_reserved, memory, size.memory);
    }
}

/// What a container is made with on a host that has so much.
pub fn size_spec(container: &mut ContainerSpec, size: Size, capacity: Capacity) {
    let Limits { cpu_millis, memory } = limits(&container.resources, size, capacity);
    if let Some(limit) = memory.filter(|_| size.memory.is_some()) {
        let MemoryLimit { limit: _, with_swap, reserved } = memory_limit(container, limit);
        // Where the file says nothing of swap, Docker gives the same by itself.
        if container.tuning.memory_swap.is_some() {
            container.tuning.memory_swap = Some(with_swap);
        }
        container.resources.memory_reserved = reserved;
    }
    container.resources.cpu_limit_millis = cpu_millis;
    container.resources.memory_limit = memory;
}

/// What to change of a container that is there.
pub fn resize(
    container: &ContainerSpec,
    size: Size,
    capacity: Capacity,
    seen: Limits,
) -> Option<Resize> {
    let Limits { cpu_millis, memory } = limits(&container.resources, size, capacity);
    let is_sized = [size.cpu_millis.is_some(), size.memory.is_some()];
    let cpu = other(cpu_millis, is_sized[0], seen.cpu_millis, capacity.cpu_millis);
    let limit = other(memory, is_sized[1], seen.memory, capacity.memory);
    let memory = limit.map(|limit| memory_limit(container, limit));
    (cpu.is_some() || memory.is_some()).then_some(Resize { cpu_millis: cpu, memory })
}

/// Whether a container that takes so much may be held to a limit: the kernel would kill it for what does
/// not fit. More than it had is always better.
///
/// # Errors
///
/// Why not, for people.
pub fn fits(limit: u64, usage: &Usage) -> Result<(), String> {
    let held = usage.memory;
    let needed = (held as f64 * HEADROOM) as u64;
    if needed <= limit || usage.memory_limit <= limit {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let (limit, held) = (mib(limit), mib(held));
    Err(format!("it holds {held} MiB, too much for a limit of {limit} MiB"))
}

/// The limits of a file, with a size in place of them where there is one. More than a host has is more
/// than Docker takes.
fn limits(file: &Resources, size: Size, capacity: Capacity) -> Limits {
    let within = |amount: u64, all: u64| if all == 0 { amount } else { amount.min(all) };
    let cpu = size.cpu_millis.map(|millis| within(millis, capacity.cpu_millis));
    let memory = size.memory.map(|bytes| within(bytes, capacity.memory));
    Limits { cpu_millis: cpu.or(file.cpu_limit_millis), memory: memory.or(file.memory_limit) }
}

/// The limit to set. Where there is no size, a container without a limit is let be: an engine that
/// cannot limit it shows none.
fn other(wanted: Option<u64>, is_sized: bool, seen: Option<u64>, all: u64) -> Option<u64> {
    match (wanted, seen) {
        (Some(_), None) => wanted.filter(|_| is_sized),
        (Some(wanted), Some(seen)) => (wanted != seen).then_some(wanted),
        (None, Some(seen)) => (seen < all).then_some(all),
        (None, None) => None,
    }
}

/// As much swap beside a limit as the file gives beside its own; where it says nothing, as much again as
/// memory, which is Docker's own answer.
fn memory_limit(container: &ContainerSpec, limit: u64) -> MemoryLimit {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let own = container.resources.memory_limit;
    let with_swap = match (container.tuning.memory_swap, own) {
        (Some(-1), _) => -1,
        (Some(total), Some(own)) if total > 0 => {
            let swap = total.unsigned_abs().saturating_sub(own);
            signed(limit.saturating_add(swap))
        }
        (Some(_) | None, _) => signed(limit.saturating_mul(2)),
    };
    let reserved = container.resources.memory_reserved.min(limit);
    MemoryLimit { limit, with_swap, reserved }
}
