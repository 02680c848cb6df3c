//! Services whose containers join the network of another one's: `network_mode: service:x`.

use std::collections::{BTreeMap, BTreeSet};

use super::deployment::{count, is_global};
use super::scope::Scope;
use crate::compose::project::{Project, Service};
use crate::model::{Deployment, ServiceName};

/// The service whose network a service's containers have; none when it has its own, or when there
/// is no such service.
pub(super) fn leader(project: &Project, key: &str) -> Option<ServiceName> {
    let mut passed = BTreeSet::from([key]);
    let mut joined = joined(project, key)?;
    // One that joins in turn has the network of whom it joins.
    while let Some(next) = self::joined(project, joined) {
        if !passed.insert(joined) {
            return None;
        }
        joined = next;
    }
    (joined != key && project.services.contains_key(joined)).then(|| ServiceName::new(joined))
}

/// The service that a service names.
fn joined<'a>(project: &'a Project, key: &str) -> Option<&'a str> {
    let mode = project.services.get(key)?.network_mode.as_deref()?;
    if let Some(service) = mode.strip_prefix("service:") {
        return Some(service);
    }
    let name = mode.strip_prefix("container:")?;
    let mut services = project.services.iter();
    let is_it = |service: &Service| service.container_name.as_deref() == Some(name);
    services.find(|(_, service)| is_it(service)).map(|(key, _)| key.as_str())
}

/// The service that says how often another one runs: its leader, or itself.
pub(super) fn counted<'a>(project: &'a Project, key: &str, own: &'a Service) -> &'a Service {
    leader(project, key).and_then(|leader| project.services.get(leader.as_str())).unwrap_or(own)
}

/// Says what a service that joins another one cannot have; returns whether it joins one.
pub(super) fn check(scope: &mut Scope<'_>) -> bool {
    let Some(leader) = leader(scope.project, scope.key) else {
        return false;
    };
    let service = scope.service;
    let theirs = format!("its containers have the network of `{leader}`");
    if !service.ports.is_empty() {
        scope.refused("ports", theirs.clone(), &format!("publish them on `{leader}`"));
    }
    let remedy = format!("set it on `{leader}`");
    let given = [
        ("hostname", service.hostname.is_some()),
        ("domainname", service.domainname.is_some()),
        ("dns", !service.dns.is_empty()),
        ("dns_opt", !service.dns_opt.is_empty()),
        ("dns_search", !service.dns_search.is_empty()),
        ("extra_hosts", !service.extra_hosts.is_empty()),
        ("links", !service.links.is_empty()),
    ];
    for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        scope.ignored(key, theirs.clone(), &remedy);
    }
    if service.container_name.as_deref().is_some_and(|name| name != scope.key) {
        let reason = format!("{theirs}, and are reached by its name");
        scope.ignored("container_name", reason, "");
    }
    let Some(led) = scope.project.services.get(leader.as_str()) else { return true };
    if count(service) != count(led) || is_global(service) != is_global(led) {
        let reason = format!("{theirs}: it runs as often as that one does");
        scope.approximated("deploy.replicas", reason, &remedy);
    }
    let deploy = service.deploy.as_ref();
    if deploy.is_some_and(|deploy| deploy.update_config.is_some()) {
        let reason = format!("it is replaced together with `{leader}`");
        scope.ignored("deploy.update_config", reason, &remedy);
    }
    if led.depends_on.contains_key(scope.key) {
        let reason = format!("{theirs}, and `{leader}` waits for it");
        let remedy = format!("take `{}` out of the `depends_on` of `{leader}`", scope.key);
        scope.refused("network_mode", reason, &remedy);
    }
    true
}

/// Gives companions as many replicas as their leaders have.
pub(super) fn align(deployments: &mut BTreeMap<ServiceName, Deployment>) {
    let counts: BTreeMap<ServiceName, _> =
        deployments.iter().map(|(name, deployment)| (name.clone(), deployment.replicas)).collect();
    for deployment in deployments.values_mut() {
        let leader = deployment.joins.as_ref();
        if let Some(replicas) = leader.and_then(|leader| counts.get(leader)) {
            deployment.replicas = *replicas;
        }
    }
}

/// The note on a mode that names a container which is not the project's, or leads in a circle.
pub(super) fn refuse(scope: &mut Scope<'_>, mode: &str) {
    let (reason, remedy) = match mode.strip_prefix("container:") {
        Some(name) => (
            format!("no service of the project has the container `{name}`"),
            "put it into the project, and name its service: `service:x`",
        ),
        None => (format!("`{mode}` leads back to the service itself"), "join another service"),
    };
    scope.refused("network_mode", reason, remedy);
}
