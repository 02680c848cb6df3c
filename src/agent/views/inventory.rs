//! GPUs and what else replicas reserve on a host. Pure.

use crate::api::{NodeDevice, NodeInventory, Reserved};
use crate::logic::schedule::Load;
use crate::logic::view::{ClusterView, HostView};
use crate::model::{HostDevice, HostId};

/// What a host has beside CPU and memory, and who has it.
pub(super) fn inventory(
    view: &ClusterView<'_>,
    load: &Load,
    id: &HostId,
    host: &HostView<'_>,
) -> NodeInventory {
    let holder = |device: &HostDevice| {
        let all = view.plans.values().flat_map(|plan| &plan.assignments);
        let mut there = all.filter(|a| a.host == *id);
        let holder = there.find(|a| a.devices.iter().flatten().any(|held| *held == device.id));
        holder.map(|assignment| assignment.replica.clone())
    };
    let devices = host.facts.inventory.devices.iter().map(|device| NodeDevice {
        id: device.id.clone(),
        driver: device.driver.clone(),
        class: device.class.clone(),
        model: device.model.clone(),
        held_by: holder(device),
    });
    let resources = host.resources().into_iter();
    let resources = resources.map(|(kind, all)| {
        (kind.to_owned(), Reserved { reserved: load.reserved_of(id, kind), all })
    });
    NodeInventory { devices: devices.collect(), resources: resources.collect() }
}
