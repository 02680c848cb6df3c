//! Pods: a service and those whose containers join its network (`network_mode: service:x`). All are
//! on one host and at one Generation, and are replaced together.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::revision::container_hash;
use super::{Deployment, Revision, ServiceName, sha256_hex};

/// The services that join another one, by that one: its leader.
pub(super) type Companions = BTreeMap<ServiceName, Vec<ServiceName>>;

/// Who joins whom. A service whose leader is not there, or is a companion itself, joins nobody.
pub(super) fn companions(revision: &Revision) -> Companions {
    let mut all = Companions::new();
    for (service, deployment) in &revision.deployments {
        let leader = deployment.joins.as_ref();
        let leads = |leader: &&ServiceName| {
            revision.deployments.get(*leader).is_some_and(|leader| leader.joins.is_none())
        };
        if let Some(leader) = leader.filter(leads) {
            all.entry(leader.clone()).or_default().push(service.clone());
        }
    }
    all
}

/// The leader together with its companions, as one thing to place: what all of them mount, reserve
/// and demand of a host.
pub(super) fn whole<'a>(
    revision: &Revision,
    leader: &'a Deployment,
    companions: &[ServiceName],
) -> Cow<'a, Deployment> {
    if companions.is_empty() {
        return Cow::Borrowed(leader);
    }
    let mut whole = leader.clone();
    for one in companions.iter().filter_map(|service| revision.deployments.get(service)) {
        whole.container.mounts.extend(one.mounts().cloned());
        let (all, more) = (&mut whole.container.resources, &one.container.resources);
        all.cpu_reserved_millis = all.cpu_reserved_millis.saturating_add(more.cpu_reserved_millis);
        all.memory_reserved = all.memory_reserved.saturating_add(more.memory_reserved);
        all.pids_limit = all.pids_limit.or(more.pids_limit);
        let requests = one.container.device_requests.iter().cloned();
        whole.container.device_requests.extend(requests);
        let (all, more) = (&mut whole.placement, &one.placement);
        for (kind, amount) in &more.resources {
            let sum = all.resources.entry(kind.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        // Unknown is any; what has nothing in common runs nowhere, which the containers will say.
        let both: BTreeSet<String> = all.offered.intersection(&more.offered).cloned().collect();
        match (all.offered.is_empty(), both.is_empty()) {
            (true, _) => all.offered.clone_from(&more.offered),
            (false, false) => all.offered = both,
            (false, true) => {}
        }
        all.constraints.extend(more.constraints.iter().cloned());
        all.max_replicas_per_host = match (all.max_replicas_per_host, more.max_replicas_per_host) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        all.platform = all.platform.take().or_else(|| more.platform.clone());
    }
    Cow::Owned(whole)
}

/// What `Deployment::container_hash` gives, of every Deployment and job; all of a pod have the same, so that
/// a change of one replaces all.
pub(super) fn container_hashes(
    revision: &Revision,
    companions: &Companions,
    own: impl Fn(&ServiceName, &Deployment) -> String,
) -> BTreeMap<ServiceName, String> {
    let deployments = revision.all_deployments();
    let mut hashes: BTreeMap<ServiceName, String> =
        deployments.map(|(name, deployment)| (name.clone(), own(name, deployment))).collect();
    for (leader, companions) in companions {
        let members = || std::iter::once(leader).chain(companions);
        let lines = members().map(|member| format!("{member} {}\n", hashes[member]));
        let hash = sha256_hex(lines.collect::<String>().as_bytes());
        let all: Vec<ServiceName> = members().cloned().collect();
        hashes.extend(all.into_iter().map(|member| (member, hash.clone())));
    }
    hashes
}

impl Revision {
    /// Of the devices that a whole pod is given, by the requests of its leader and then of its
    /// companions in turn, those that answer the requests of one of its services; none when there are
    /// not as many answers as requests.
    pub fn own_devices<'d>(
        &self,
        service: &ServiceName,
        companions: &[ServiceName],
        given: &'d [Vec<String>],
    ) -> Option<&'d [Vec<String>]> {
        let requests = |service: &ServiceName| {
            let deployment = self.deployments.get(service);
            deployment.map_or(0, |deployment| deployment.container.device_requests.len())
        };
        let leader = self.deployments.get(service).and_then(|own| own.joins.as_ref());
        let leader = leader.filter(|_| companions.contains(service)).unwrap_or(service);
        let members = || std::iter::once(leader).chain(companions);
        let all: usize = members().map(requests).sum();
        let before: usize = members().take_while(|member| *member != service).map(requests).sum();
        (given.len() == all).then(|| &given[before..before + requests(service)])
    }

    /// [`SealedRevision::container_hash`](super::SealedRevision::container_hash) of every Deployment.
    pub fn container_hashes(&self) -> BTreeMap<ServiceName, String> {
        let own = |_: &ServiceName, deployment: &Deployment| {
            container_hash(&deployment.container, &deployment.networks)
        };
        container_hashes(self, &companions(self), own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{bind, deployment, revision};
    use crate::model::{Constraint, DeviceRequest, DeviceShare, SealedRevision};

    fn joining(leader: &str) -> Deployment {
        let joins = Some(ServiceName::from(leader));
        Deployment { joins, networks: BTreeMap::new(), ..deployment("app", 1) }
    }

    fn sealed(app: Deployment) -> SealedRevision {
        SealedRevision::new(revision(1, &[("vpn", deployment("vpn", 1)), ("app", app)]))
    }

    #[test]
    fn a_change_of_one_changes_the_hash_of_all() {
        let (vpn, app) = (ServiceName::from("vpn"), ServiceName::from("app"));
        let before = sealed(joining("vpn"));
        assert_eq!(before.companions(&vpn), std::slice::from_ref(&app));
        assert_eq!(before.container_hash(&vpn), before.container_hash(&app));
        let mut other = joining("vpn");
        other.container.image = "app:2".to_owned();
        let after = sealed(other);
        assert_ne!(before.container_hash(&vpn), after.container_hash(&vpn));
        assert_eq!(Revision::container_hashes(&after), after.container_hashes);
        let alone = sealed(deployment("app", 1));
        assert_ne!(alone.container_hash(&vpn), alone.container_hash(&app));
        let own = alone.deployments[&vpn].container_hash();
        assert_eq!(alone.container_hash(&vpn), Some(&own));
    }

    #[test]
    fn nobody_joins_a_service_that_is_not_there_or_joins_another() {
        let lost = sealed(joining("gone"));
        assert!(lost.companions(&ServiceName::from("gone")).is_empty());
        let mut chain = revision(1, &[("vpn", joining("app")), ("app", joining("vpn"))]);
        assert!(companions(&chain).is_empty());
        chain.deployments.remove(&ServiceName::from("app"));
        assert!(companions(&chain).is_empty());
    }

    #[test]
    fn each_of_a_pod_has_its_own_part_of_the_devices() {
        let gpu = |n| DeviceRequest {
            share: DeviceShare::Count(n),
            capabilities: BTreeSet::new(),
            driver: None,
            options: BTreeMap::new(),
        };
        let (mut vpn, mut app) = (deployment("vpn", 1), joining("vpn"));
        vpn.container.device_requests = vec![gpu(1)];
        app.container.device_requests = vec![gpu(1), gpu(2)];
        let all = revision(1, &[("vpn", vpn.clone()), ("app", app), ("b", joining("vpn"))]);
        let names: Vec<ServiceName> = ["app", "b"].map(ServiceName::from).into();
        assert_eq!(whole(&all, &vpn, &names).container.device_requests.len(), 3);
        let given: Vec<Vec<String>> = ["0", "1", "2"].map(|id| vec![id.to_owned()]).into();
        let own = |service: &str| all.own_devices(&ServiceName::from(service), &names, &given);
        assert_eq!(own("vpn"), Some(&given[..1]));
        assert_eq!(own("app"), Some(&given[1..]));
        assert_eq!(own("b"), Some(&given[3..]));
        assert_eq!(all.own_devices(&ServiceName::from("vpn"), &names, &given[..1]), None);
    }

    #[test]
    fn a_pod_is_placed_by_what_all_of_it_need() {
        let mut app = joining("vpn");
        app.container.mounts = vec![bind("/srv")];
        app.container.resources.memory_reserved = 100;
        app.placement.constraints = vec![Constraint {
            attribute: "node.labels.disk".to_owned(),
            equal: true,
            value: "ssd".to_owned(),
        }];
        let mut vpn = deployment("vpn", 1);
        vpn.container.resources.memory_reserved = 28;
        let all = revision(1, &[("vpn", vpn.clone()), ("app", app.clone())]);
        let pod = whole(&all, &vpn, &[ServiceName::from("app")]);
        assert_eq!(pod.container.resources.memory_reserved, 128);
        assert_eq!(pod.container.mounts, app.container.mounts);
        assert_eq!(pod.placement.constraints, app.placement.constraints);
        assert!(matches!(whole(&all, &vpn, &[]), Cow::Borrowed(_)));
    }
}
