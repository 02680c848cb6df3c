//! What a project leaves unsaid: default values, default networks, names, implied dependencies.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use super::mounts::{clean, secret_target};
use super::project::{DependsOn, DeviceRequest, FileObject, Network, Project, Service, Volume};

/// Fills in the values of keys that a project leaves out.
pub(crate) fn fill_defaults(project: &mut Project) {
    for service in project.services.values_mut() {
        fill_service(service);
    }
    for config in project.configs.values_mut() {
        let variable = config.environment.as_ref().filter(|_| config.content.is_none());
        config.content = variable
            .and_then(|name| project.environment.get(name).cloned())
            .or_else(|| config.content.take());
    }
}

/// Fills in networks, names and dependencies that are implied.
pub(crate) fn normalise(project: &mut Project) {
    let mut uses_default = false;
    for service in project.services.values_mut() {
        uses_default |= join_default_network(service);
        normalise_service(service, &project.environment);
    }
    for job in project.jobs.values_mut() {
        uses_default |= normalise_job(job, &project.environment);
    }
    if uses_default {
        project.networks.entry("default".to_owned()).or_default();
    }
    name_all(&project.name, &mut project.networks);
    name_all(&project.name, &mut project.volumes);
    name_all(&project.name, &mut project.configs);
    name_all(&project.name, &mut project.secrets);
}

/// Splits services by profile: those that run stay, the others move.
pub(crate) fn apply_profiles(project: &mut Project, active: &[String]) {
    let all = active.iter().any(|profile| profile == "*");
    let runs = |service: &Service| {
        all || service.profiles.is_empty()
            || service.profiles.iter().any(|profile| active.contains(profile))
    };
    let services = std::mem::take(&mut project.services);
    let (enabled, disabled): (IndexMap<_, _>, IndexMap<_, _>) =
        services.into_iter().partition(|(_, service)| runs(service));
    project.services = enabled;
    project.disabled_services = disabled;
    project.jobs.retain(|_, job| {
        let named = job.get("profiles").and_then(Json::as_array).filter(|named| !named.is_empty());
        let is_active = |name: &Json| active.iter().any(|one| name == one.as_str());
        all || named.is_none_or(|named| named.iter().any(is_active))
    });
}

/// Whether the service ends up on `default`.
fn join_default_network(service: &mut Service) -> bool {
    if service.other.contains_key("provider") || service.network_mode.is_some() {
        return false;
    }
    if service.networks.is_empty() {
        service.networks.insert("default".to_owned(), super::project::Attachment::default());
    }
    service.networks.contains_key("default")
}

fn fill_service(service: &mut Service) {
    service.dns.retain(|server| !server.is_empty());
    for secret in &mut service.secrets {
        if secret.target.is_none() {
            secret.target = Some(secret_target(&secret.source));
        }
    }
    for port in &mut service.ports {
        port.mode.get_or_insert_with(|| "ingress".to_owned());
        port.protocol.get_or_insert_with(|| "tcp".to_owned());
    }
    let reservations = service.deploy.as_mut().and_then(|d| d.resources.reservations.as_mut());
    for request in reservations.into_iter().flat_map(|one| &mut one.devices) {
        count_all(request);
    }
    if let Some(Json::Array(requests)) = service.other.get_mut("gpus") {
        for request in requests.iter_mut().filter_map(Json::as_object_mut) {
            if !request.contains_key("count") && !request.contains_key("device_ids") {
                request.insert("count".to_owned(), Json::from(-1));
            }
        }
    }
}

fn normalise_service(service: &mut Service, environment: &BTreeMap<String, String>) {
    if service.pull_policy.as_deref() == Some("if_not_present") {
        service.pull_policy = Some("missing".to_owned());
    }
    if let Some(build) = &mut service.build {
        if build.dockerfile.is_none() && build.dockerfile_inline.is_none() {
            build.dockerfile = Some("Dockerfile".to_owned());
        }
        inherit(&mut build.args, environment);
        build.args.retain(|_, value| value.is_some());
    }
    inherit(&mut service.environment, environment);
    imply_dependencies(service);
    for mount in &mut service.volumes {
        mount.target = clean(&mount.target);
    }
    join_steps(service);
}

fn count_all(request: &mut DeviceRequest) {
    if request.count.is_none() && request.device_ids.is_empty() {
        request.count = Some(-1);
    }
}

fn inherit(
    variables: &mut BTreeMap<String, Option<String>>,
    environment: &BTreeMap<String, String>,
) {
    for (name, value) in variables {
        if value.is_none() {
            *value = environment.get(name).cloned();
        }
    }
}

fn imply_dependencies(service: &mut Service) {
    let mut implied: Vec<(String, bool)> = Vec::new();
    for link in &service.links {
        let target = match link.split_once(':') {
            Some((target, alias)) if !alias.contains(':') => target,
            _ => link.as_str(),
        };
        implied.push((target.to_owned(), true));
    }
    let namespaces = [
        service.network_mode.as_deref(),
        service.ipc.as_deref(),
        service.pid.as_deref(),
        service.uts.as_deref(),
        service.cgroup.as_deref(),
    ];
    for namespace in namespaces.into_iter().flatten() {
        if let Some(target) = namespace.strip_prefix("service:") {
            implied.push((target.to_owned(), true));
        }
    }
    for source in &service.volumes_from {
        if !source.starts_with("container:") {
            let target = source.split(':').next().unwrap_or(source);
            implied.push((target.to_owned(), false));
        }
    }
    for (target, restart) in implied {
        let dependency = DependsOn { restart, ..DependsOn::default() };
        service.depends_on.entry(target).or_insert(dependency);
    }
}

/// Steps before the start join `default` as the service does.
fn join_steps(service: &mut Service) {
    let Some(Json::Array(steps)) = service.other.get_mut("pre_start") else { return };
    for step in steps.iter_mut().filter_map(Json::as_object_mut) {
        if step.contains_key("network_mode") || !service.networks.contains_key("default") {
            continue;
        }
        let networks = step.entry("networks").or_insert_with(|| json!({}));
        if let Some(networks) = networks.as_object_mut() {
            networks.entry("default").or_insert(Json::Null);
        }
    }
}

/// Whether the job ends up on `default`.
fn normalise_job(job: &mut Json, environment: &BTreeMap<String, String>) -> bool {
    // A job is a service as far as this goes; what only jobs have passes through unread.
    let Ok(mut service) = serde_json::from_value::<Service>(job.clone()) else { return false };
    let uses_default = join_default_network(&mut service);
    normalise_service(&mut service, environment);
    if let Ok(value) = serde_json::to_value(service) {
        *job = value;
    }
    uses_default
}

/// A resource that Docker or a cluster knows by name.
trait Named {
    fn name(&mut self) -> &mut String;
    fn external(&self) -> bool;
}

macro_rules! named {
    ($($kind:ty),*) => {
        $(impl Named for $kind {
            fn name(&mut self) -> &mut String {
                &mut self.name
            }
            fn external(&self) -> bool {
                self.external
            }
        })*
    };
}

named!(Network, Volume, FileObject);

fn name_all(project: &str, resources: &mut IndexMap<String, impl Named>) {
    for (key, resource) in resources {
        let external = resource.external();
        let name = resource.name();
        if name.is_empty() {
            *name = if external { key.clone() } else { format!("{project}_{key}") };
        }
    }
}
