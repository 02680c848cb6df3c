//! Whether a project is consistent: every name leads somewhere, no two keys contradict.

mod cycles;
mod jobs;

use std::collections::HashMap;

use serde_json::Value as Json;

use super::project::{MountType, Project, Service};
use super::read::Places;
use super::schema::nearest;
use super::source::Report;

/// Finds every inconsistency of the services that run and of the top level.
pub(crate) fn check(project: &Project, places: &Places, report: &mut Report) {
    for (name, service) in &project.services {
        let mut checker = Checker { project, name, service, places, report };
        checker.image();
        checker.networks();
        checker.dependencies();
        checker.mounts();
        checker.objects();
        checker.scale();
        checker.limits();
        checker.rest();
    }
    jobs::check(project, places, report);
    cycles::check(project, places, report);
}

/// When an image is pulled; besides these, `every_` and a time such as `12h`.
pub(crate) const PULL: [&str; 8] =
    ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];

/// Whether a text says when an image is pulled.
pub(crate) fn is_pull_policy(text: &str) -> bool {
    let is_time = |time: &str| {
        let mut parts = time.split_inclusive(|c: char| !c.is_ascii_digit());
        let part = |part: &str| part.len() > 1 && part.ends_with(['w', 'd', 'h', 'm', 's']);
        !time.is_empty() && parts.all(part)
    };
    PULL.contains(&text) || text.strip_prefix("every_").is_some_and(is_time)
}

/// Whether a container can have this name.
pub(crate) fn is_container_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    name.len() >= 2
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '_' | '.' | '-'))
}

/// Whether there is a name in a text with variables.
pub(crate) fn names_container(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let good = |(one, next): (char, char)| plain(one) && (plain(next) || "_.-".contains(next));
    text.chars().zip(text.chars().skip(1)).any(good)
}

struct Checker<'a> {
    project: &'a Project,
    name: &'a str,
    service: &'a Service,
    places: &'a Places,
    report: &'a mut Report,
}

impl Checker<'_> {
    /// An error at a key of this service.
    fn error(&mut self, key: &str, message: String, hint: Option<String>) {
        let path = match key {
            "" => format!("services.{}", self.name),
            key => format!("services.{}.{key}", self.name),
        };
        let error = self.report.error(self.places.span(&path), message);
        if let Some(hint) = hint {
            drop(error.hint(hint));
        }
    }

    fn undefined(&mut self, key: &str, kind: &str, target: &str, section: &'static str) {
        let message = format!("service `{}` refers to undefined {kind} `{target}`", self.name);
        let project = self.project;
        let defined: Vec<&String> = match section {
            "networks" => project.networks.keys().collect(),
            "volumes" => project.volumes.keys().collect(),
            "secrets" => project.secrets.keys().collect(),
            "configs" => project.configs.keys().collect(),
            _ => project.models.keys().collect(),
        };
        let hint = match nearest(target, defined.into_iter().map(String::as_str)) {
            Some(near) => {
                format!("did you mean `{near}`? or define it under the top-level `{section}:`")
            }
            None => format!("define it under the top-level `{section}:`"),
        };
        self.error(key, message, Some(hint));
    }

    fn image(&mut self) {
        let (name, service) = (self.name, self.service);
        let provided = service.other.contains_key("provider");
        if service.build.is_none() && service.image.as_deref().unwrap_or("").is_empty() && !provided
        {
            let message = format!("service `{name}` has neither `image` nor `build`");
            self.error("", message, Some("add `image:` or `build:`".to_owned()));
        }
        let Some(build) = &service.build else { return };
        if build.dockerfile.is_some() && build.dockerfile_inline.is_some() {
            let message = format!("service `{name}` has both `dockerfile` and `dockerfile_inline`");
            self.error("build.dockerfile_inline", message, Some("keep one".to_owned()));
        }
        if let Some(platform) = &service.platform
            && !build.platforms.is_empty()
            && !build.platforms.contains(platform)
        {
            let message = format!("`build.platforms` of `{name}` lacks its platform `{platform}`");
            self.error("build.platforms", message, None);
        }
        for (context, source) in &build.additional_contexts {
            let Some(target) = source.strip_prefix("service:") else { continue };
            let key = format!("build.additional_contexts.{context}");
            match self.project.services.get(target) {
                None => self.error(
                    &key,
                    format!("context `{context}` is of an unknown service `{target}`"),
                    None,
                ),
                Some(other) if other.build.is_none() => {
                    let message =
                        format!("context `{context}` is of `{target}`, which has no `build`");
                    self.error(&key, message, None);
                }
                Some(_) => {}
            }
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                self.undefined("build.secrets", "build secret", &secret.source, "secrets");
            }
        }
    }

    fn networks(&mut self) {
        let service = self.service;
        if service.network_mode.is_some() && !service.networks.is_empty() {
            let message = format!("service `{}` has both `network_mode` and `networks`", self.name);
            self.error("network_mode", message, Some("keep one".to_owned()));
        }
        let shared = service.network_mode.as_deref().and_then(|mode| mode.strip_prefix("service:"));
        // Where dependencies are implied, this one is looked at among them.
        let shared = shared.filter(|target| !service.depends_on.contains_key(*target));
        if let Some(target) = shared.filter(|name| !self.project.services.contains_key(*name)) {
            let message =
                format!("`network_mode` of `{}` is of an unknown service `{target}`", self.name);
            self.error("network_mode", message, Some("name a service of this project".to_owned()));
        }
        for network in service.networks.keys() {
            if !self.project.networks.contains_key(network) {
                self.undefined(&format!("networks.{network}"), "network", network, "networks");
            }
        }
    }

    fn dependencies(&mut self) {
        let (name, service) = (self.name, self.service);
        for (target, dependency) in &service.depends_on {
            if self.project.services.contains_key(target) {
                continue;
            }
            let disabled = self.project.disabled_services.get(target);
            if disabled.is_some() && !dependency.required {
                continue;
            }
            let key = format!("depends_on.{target}");
            match disabled {
                Some(other) => {
                    let message = format!(
                        "service `{name}` depends on `{target}`, which no active profile switches on"
                    );
                    let profiles = other.profiles.join("`, `");
                    self.error(
                        &key,
                        message,
                        Some(format!("activate one of `{profiles}`, or write `required: false`")),
                    );
                }
                None => {
                    let message =
                        format!("service `{name}` depends on undefined service `{target}`");
                    let names = self.project.services.keys().map(String::as_str);
                    let near = if self.report.is_full() { None } else { nearest(target, names) };
                    let hint = near.map(|near| format!("did you mean `{near}`?"));
                    self.error(&key, message, hint);
                }
            }
        }
    }

    fn mounts(&mut self) {
        let service = self.service;
        let mut targets: HashMap<&str, String> = HashMap::new();
        for (index, tmpfs) in service.tmpfs.iter().enumerate() {
            let target = tmpfs.split(':').next().unwrap_or(tmpfs);
            self.target(&mut targets, target, format!("tmpfs[{index}]"));
        }
        for (index, mount) in service.volumes.iter().enumerate() {
            let key = format!("volumes[{index}]");
            self.target(&mut targets, &mount.target, key.clone());
            let source = mount.source.as_deref().unwrap_or("");
            let is_volume = mount.kind == MountType::Volume && !source.is_empty();
            if is_volume && !self.project.volumes.contains_key(source) {
                self.undefined(&key, "volume", source, "volumes");
            }
        }
    }

    fn target<'t>(&mut self, seen: &mut HashMap<&'t str, String>, target: &'t str, key: String) {
        if let Some(first) = seen.get(target) {
            let message = format!(
                "`{target}` of service `{}` is mounted twice: as `{first}` and as `{key}`",
                self.name
            );
            self.error(&key, message, Some("give each mount its own target".to_owned()));
        }
        seen.insert(target, key);
    }

    fn objects(&mut self) {
        let service = self.service;
        for (index, secret) in service.secrets.iter().enumerate() {
            if !self.project.secrets.contains_key(&secret.source) {
                self.undefined(&format!("secrets[{index}]"), "secret", &secret.source, "secrets");
            }
        }
        for (index, config) in service.configs.iter().enumerate() {
            if !self.project.configs.contains_key(&config.source) {
                self.undefined(&format!("configs[{index}]"), "config", &config.source, "configs");
            }
        }
        if let Some(Json::Object(models)) = service.other.get("models") {
            for model in models.keys() {
                if !self.project.models.contains_key(model) {
                    self.undefined(&format!("models.{model}"), "model", model, "models");
                }
            }
        }
    }

    fn scale(&mut self) {
        let service = self.service;
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        if let (Some(scale), Some(replicas)) = (service.scale, replicas)
            && scale != replicas
        {
            self.distinct("scale", "deploy.replicas");
        }
        if service.container_name.is_some() && service.scale.or(replicas).unwrap_or(1) > 1 {
            let key = if service.scale.is_some() { "scale" } else { "deploy.replicas" };
            let message =
                format!("service `{}` has `container_name` and more than one container", self.name);
            self.error(key, message, Some("remove `container_name`: names are unique".to_owned()));
        }
    }

    fn distinct(&mut self, key: &str, other: &str) {
        let message = format!("`{key}` and `{other}` of service `{}` differ", self.name);
        self.error(key, message, Some("keep one of them".to_owned()));
    }

    /// Old keys and their place under `deploy` must say the same.
    fn limits(&mut self) {
        let service = self.service;
        let Some(deploy) = &service.deploy else { return };
        if let Some(limits) = &deploy.resources.limits {
            if service
                .cpus
                .is_some_and(|cpus| cpus != 0.0 && cpus as f32 != limits.cpus.unwrap_or(0.0) as f32)
            {
                self.distinct("cpus", "deploy.resources.limits.cpus");
            }
            if service
                .mem_limit
                .is_some_and(|bytes| bytes != 0 && bytes != limits.memory.unwrap_or(0))
            {
                self.distinct("mem_limit", "deploy.resources.limits.memory");
            }
            if service.pids_limit.is_some_and(|pids| pids != 0 && pids != limits.pids.unwrap_or(0))
            {
                self.distinct("pids_limit", "deploy.resources.limits.pids");
            }
        }
        if let Some(reservations) = &deploy.resources.reservations {
            let reserved = reservations.memory.unwrap_or(0);
            if service.mem_reservation.is_some_and(|bytes| bytes != 0 && bytes != reserved) {
                self.distinct("mem_reservation", "deploy.resources.reservations.memory");
            }
        }
    }

    fn rest(&mut self) {
        let service = self.service;
        let known = |first: &String| matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE");
        if let Some(test) = service.healthcheck.as_ref().and_then(|check| check.test.as_ref())
            && test.first().is_some_and(|first| !known(first))
        {
            let message = "a health check test begins with `CMD`, `CMD-SHELL` or `NONE`".to_owned();
            let hint = format!("write `[CMD, {}]`", test.join(", "));
            self.error("healthcheck.test", message, Some(hint));
        }
        if let Some(Json::Array(rules)) = service.other.get("develop").and_then(|d| d.get("watch"))
        {
            for rule in rules {
                let text = |key: &str| rule.get(key).and_then(Json::as_str).unwrap_or("");
                if text("target").is_empty() && !matches!(text("action"), "rebuild" | "restart") {
                    let message =
                        format!("a watch rule with action `{}` needs `target`", text("action"));
                    self.error("develop.watch", message, None);
                }
            }
        }
    }
}
