//! Hands a container the devices that are its alone. Pure; chooses none.

use bollard::models::{DeviceMapping, DeviceRequest as Wanted, HostConfig};

use super::convert::hash_map;
use crate::model::{DeviceRequest, Handover, HostDevice};

/// The driver that Docker keeps for names of the Container Device Interface.
const CDI: &str = "cdi";

/// Adds to `config` what makes Docker hand over each device, by the request it answers.
pub(super) fn hand_over(config: &mut HostConfig, devices: &[(DeviceRequest, Vec<HostDevice>)]) {
    for (request, devices) in devices {
        let mut wanted: Vec<Wanted> = Vec::new();
        for device in devices {
            match &device.by {
                Handover::Driver(driver) => ask(&mut wanted, driver, &device.id, request),
                Handover::Cdi(name) => ask(&mut wanted, CDI, name, request),
                Handover::Nodes { paths, groups } => {
                    let node = |path: &String| DeviceMapping {
                        path_on_host: Some(path.clone()),
                        path_in_container: Some(path.clone()),
                        cgroup_permissions: Some("rwm".to_owned()),
                    };
                    let all = config.devices.get_or_insert_default();
                    // Several GPUs have a node in common.
                    let new = paths.iter().map(node).filter(|one| !all.contains(one));
                    let new: Vec<DeviceMapping> = new.collect();
                    all.extend(new);
                    let known = config.group_add.get_or_insert_default();
                    let groups = groups.iter().map(u32::to_string);
                    let new: Vec<String> = groups.filter(|one| !known.contains(one)).collect();
                    known.extend(new);
                }
            }
        }
        if !wanted.is_empty() {
            config.device_requests.get_or_insert_default().extend(wanted);
        }
    }
    // Nothing to add is not the same to Docker as nothing said.
    config.group_add = config.group_add.take().filter(|groups| !groups.is_empty());
}

/// Adds a device to what a driver is asked for.
fn ask(wanted: &mut Vec<Wanted>, driver: &str, id: &str, request: &DeviceRequest) {
    let known = wanted.iter_mut().find(|one| one.driver.as_deref() == Some(driver));
    if let Some(ids) = known.and_then(|one| one.device_ids.as_mut()) {
        ids.push(id.to_owned());
        return;
    }
    let is_cdi = driver == CDI;
    wanted.push(Wanted {
        driver: Some(driver.to_owned()),
        count: None,
        device_ids: Some(vec![id.to_owned()]),
        // Docker's drivers take capabilities as a list of lists: one of the lists has to be met.
        capabilities: (!is_cdi).then(|| vec![request.capabilities.iter().cloned().collect()]),
        options: (!is_cdi && !request.options.is_empty()).then(|| hash_map(&request.options)),
    });
}
