//! Keeps replicas with their data: a local volume or a bind is on one host, and nothing that mounts
//! it is started on another (decision 3). Never moves data.
//!
//! The host of a volume is part of the Plan from the first Plan on, before anything is started: the
//! Plan travels together with its Revision, so a host on the other side of a cut that knows the
//! Revision knows where its data is as well.

use std::collections::BTreeMap;

use super::plan::Planner;
use super::schedule::{self, Load, Request};
use super::targets::Target;
use crate::model::{Deployment, HostId, MountSource, ReplicaId, Replicas, Revision};

impl Planner<'_> {
    /// Decides where each volume is that nobody decided of yet. A global Deployment has a volume of
    /// its own on every host.
    pub(super) fn pin_volumes(&mut self) {
        let mut load: Option<Load> = None;
        let jobs = self.job_targets();
        for (service, target) in self.targets.iter().chain(&jobs) {
            let deployment = &*target.deployment;
            if deployment.replicas == Replicas::Global {
                continue;
            }
            let unpinned = self.unpinned(target);
            if unpinned.is_empty() {
                continue;
            }
            let service = (*service).clone();
            let replica = ReplicaId { app: self.app.clone(), service, index: 1 };
            let bound = self.pins_of(target).into_iter().next().map(|(_, host)| host);
            let pinned = unpinned.iter().find_map(|name| self.holder(name)).or(bound);
            let tentative = load.get_or_insert_with(|| self.load.clone());
            let host = pinned.or_else(|| {
                let request =
                    Request { replica: &replica, deployment, pinned: None, current: None };
                schedule::place(request, self.view, tentative).ok().cloned()
            });
            let Some(host) = host else { continue };
            let view = self.view.hosts.get(&host);
            let devices = view.and_then(|view| tentative.grant(&host, deployment, view));
            tentative.add(&host, &replica, deployment, &devices.unwrap_or_default());
            for name in unpinned {
                let holder = self.holder(&name).unwrap_or_else(|| host.clone());
                self.pins.insert(name, holder);
            }
        }
    }

    /// The volumes of a Deployment, by their name in Docker, that are on no host yet.
    fn unpinned(&self, target: &Target<'_>) -> Vec<String> {
        let keys = target.deployment.volumes().into_iter();
        let names = keys.filter_map(|key| match volume(target.revision, key) {
            (name, false) => Some(name),
            (_, true) => None,
        });
        names.filter(|name| !self.pins.contains_key(name)).collect()
    }

    /// Who says it has a volume of that name.
    fn holder(&self, name: &str) -> Option<HostId> {
        let holders = self.view.hosts.iter().filter(|(_, host)| host.facts.volumes.contains(name));
        let holders = holders.map(|(id, host)| (host.liveness, *id));
        holders.min().map(|(_, host)| host.clone())
    }

    /// The data of a Deployment and the host each piece is on. What somebody else made, and files of
    /// a host, are where the Revision came from.
    pub(super) fn pins_of(&self, target: &Target<'_>) -> Vec<(String, HostId)> {
        data_of(target.revision, &self.pins, &target.deployment)
    }
}

/// As [`Planner::pins_of`], by what a Plan has pinned.
pub(super) fn data_of(
    revision: &Revision,
    pins: &BTreeMap<String, HostId>,
    deployment: &Deployment,
) -> Vec<(String, HostId)> {
    let origin = &revision.origin.host;
    let volumes = deployment.volumes().into_iter().filter_map(|key| match volume(revision, key) {
        (name, true) => Some((name, origin.clone())),
        (name, false) => pins.get(&name).cloned().map(|host| (name, host)),
    });
    let bind = deployment.mounts().find_map(|mount| match &mount.source {
        MountSource::Bind { path, .. } => Some((path.clone(), origin.clone())),
        MountSource::Volume { .. } | MountSource::Tmpfs { .. } | MountSource::Anonymous => None,
    });
    volumes.chain(bind).collect()
}

/// Name in Docker, and whether somebody else made it.
fn volume(revision: &Revision, key: &str) -> (String, bool) {
    let spec = revision.volumes.get(key);
    spec.map_or_else(|| (key.to_owned(), false), |spec| (spec.name.clone(), spec.external))
}
