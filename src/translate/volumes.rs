//! The named volumes of an App.

use std::collections::BTreeMap;

use crate::compose::project::Project;
use crate::model::{Deployment, Job, ServiceName, VolumeSpec};

/// The volumes that some Deployment or job mounts.
pub(super) fn mounted(
    project: &Project,
    deployments: &BTreeMap<ServiceName, Deployment>,
    jobs: &BTreeMap<ServiceName, Job>,
) -> BTreeMap<String, VolumeSpec> {
    let all = deployments.values().chain(jobs.values().map(|job| &job.deployment));
    let keys = all.flat_map(Deployment::volumes);
    keys.filter_map(|key| {
        let volume = project.volumes.get(key)?;
        let name = match volume.name.as_str() {
            "" => format!("{}_{key}", project.name),
            name => name.to_owned(),
        };
        let spec = VolumeSpec {
            name,
            driver: volume.driver.clone().filter(|driver| !driver.is_empty()),
            driver_opts: volume.driver_opts.clone(),
            labels: volume.labels.clone(),
            external: volume.external,
        };
        Some((key.to_owned(), spec))
    })
    .collect()
}
