//! What a container takes, from the daemon's one answer without the second that it waits for a rate.

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::TryStreamExt;

use super::containers::absent_is_none;
use super::session::{ASK_LIMIT, Link};
use crate::docker::EngineError;
use crate::model::Usage;

pub(super) async fn read(link: &Link, id: &str) -> Result<Option<Usage>, EngineError> {
    let options = StatsOptions { stream: false, one_shot: true };
    let action = format!("measure container `{id}`");
    let answer = link.call(&action, ASK_LIMIT, |docker| async move {
        std::pin::pin!(docker.stats(id, Some(options))).try_next().await
    });
    let told = absent_is_none(answer.await)?.flatten();
    Ok(told.as_ref().and_then(usage))
}

/// None of a container that does not run: the daemon then answers with nothing counted.
pub(super) fn usage(told: &ContainerStatsResponse) -> Option<Usage> {
    let cpu = told.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage?;
    let memory = told.memory_stats.as_ref().filter(|_| cpu > 0)?;
    let networks = || told.networks.iter().flat_map(|networks| networks.values());
    Some(Usage {
        cpu_nanos: cpu,
        memory: held(memory),
        memory_limit: memory.limit.unwrap_or_default(),
        received: networks().filter_map(|network| network.rx_bytes).sum(),
        sent: networks().filter_map(|network| network.tx_bytes).sum(),
        pids: told.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
    })
}

/// As `docker stats` counts: files that nobody has read for long are not the container's.
fn held(memory: &ContainerMemoryStats) -> u64 {
    let parts = memory.stats.as_ref();
    // Control groups of version 1, then 2.
    let idle = ["total_inactive_file", "inactive_file"];
    let idle = idle.into_iter().find_map(|part| parts?.get(part));
    memory.usage.unwrap_or_default().saturating_sub(idle.copied().unwrap_or_default())
}
