//! What is exported: the services that run, and jobs, each with what the others want of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::Value;

use super::names::Names;
use crate::compose::project::{DependsOnCondition, Project, Service};

/// One service or job.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// The key under `services` or `jobs`.
    pub(super) key: String,
    /// The path of that key: `services.web`.
    pub(super) path: String,
    /// Its name on Kubernetes.
    pub(super) name: String,
    /// What it is; of a job, the keys that it shares with services.
    pub(super) service: Service,
    /// Until when it runs.
    pub(super) task: Task,
}

/// Until when a unit runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    /// It is kept running.
    Keep,
    /// To its end, once.
    Once,
    /// To its end, when it is asked to or by the clock: the value of `triggers`.
    Job(Value),
}

/// All of them.
#[derive(Debug)]
pub(super) struct Units {
    all: IndexMap<String, Unit>,
    leaders: BTreeMap<String, String>,
    folded: BTreeSet<String>,
    beside: BTreeSet<String>,
}

/// Whether profiles are on or off for good, or switched later on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profiles {
    /// Everything in the project runs.
    Fixed,
    /// What has a profile may come and go.
    Switched,
}

impl Units {
    /// The services and jobs of a project.
    pub(super) fn of(project: &Project, names: &mut Names, profiles: Profiles) -> Self {
        let keys = project.services.keys().chain(project.jobs.keys());
        names.reserve("pod", keys.map(String::as_str));
        let mut all = IndexMap::new();
        for (key, service) in &project.services {
            if service.other.contains_key("provider") {
                continue; // Nothing of it runs in a container.
            }
            let mut service = service.clone();
            service.volumes = project.mounts_of(&service);
            let task = task(project, key, &service);
            let (path, name) = (format!("services.{key}"), names.of("pod", key));
            let key = key.clone();
            all.insert(key.clone(), Unit { key, path, name, service, task });
        }
        for (key, value) in &project.jobs {
            let Ok(service) = serde_json::from_value::<Service>(value.clone()) else { continue };
            let triggers = value.get("triggers").cloned().unwrap_or_default();
            let (path, name) = (format!("jobs.{key}"), names.of("pod", key));
            let (key, task) = (key.clone(), Task::Job(triggers));
            all.insert(key.clone(), Unit { key, path, name, service, task });
        }
        let leaders = leaders(&all);
        let (mut folded, mut beside) = (BTreeSet::new(), BTreeSet::new());
        for unit in all.values().filter(|unit| unit.task == Task::Once) {
            let is_alone = leaders.get(&unit.key).is_none_or(|leader| *leader == unit.key);
            if is_alone && is_waited_for(&all, &unit.key) {
                folded.insert(unit.key.clone());
                if profiles == Profiles::Switched && may_be_alone(&all, unit) {
                    beside.insert(unit.key.clone());
                }
            }
        }
        Self { all, leaders, folded, beside }
    }

    /// In the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.all.values()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Unit> {
        self.all.get(key)
    }

    /// Those with a pod of their own, each with those in its pod after it.
    pub(super) fn pods(&self) -> Vec<Vec<&Unit>> {
        let mut pods: IndexMap<&str, Vec<&Unit>> = IndexMap::new();
        let has_own = |unit: &&Unit| !self.is_folded(&unit.key) || self.is_beside(&unit.key);
        for unit in self.all.values().filter(has_own) {
            pods.entry(self.leader(&unit.key)).or_default().push(unit);
        }
        for (leader, units) in &mut pods {
            units.sort_by_key(|unit| unit.key != *leader);
        }
        pods.into_values().collect()
    }

    /// Whose pod a unit is in: its own, or of one whose network it shares.
    pub(super) fn leader<'a>(&'a self, key: &'a str) -> &'a str {
        self.leaders.get(key).map_or(key, String::as_str)
    }

    /// Whether it runs as an init container of those that wait for its end.
    pub(super) fn is_folded(&self, key: &str) -> bool {
        self.folded.contains(key)
    }

    /// Whether a unit that is folded has a workload as well, for when none is there that waits for it.
    pub(super) fn is_beside(&self, key: &str) -> bool {
        self.beside.contains(key)
    }

    /// Those that wait for a unit's end.
    pub(super) fn waiting_for_end(&self, key: &str) -> Vec<&Unit> {
        self.all.values().filter(|unit| waits_for_end(unit, key)).collect()
    }
}

/// The service that another key shares a namespace of: `service:db`.
pub(super) fn shared(service: &Service) -> Option<&str> {
    [&service.network_mode, &service.ipc, &service.pid]
        .into_iter()
        .find_map(|mode| mode.as_deref()?.strip_prefix("service:"))
}

fn leaders(all: &IndexMap<String, Unit>) -> BTreeMap<String, String> {
    let mut leaders = BTreeMap::new();
    for unit in all.values() {
        let mut at = unit;
        // The loader has refused circles; the bound is for values that were not loaded.
        for _ in 0..all.len() {
            match shared(&at.service).and_then(|key| all.get(key)) {
                Some(next) => at = next,
                None => break,
            }
        }
        leaders.insert(unit.key.clone(), at.key.clone());
    }
    leaders
}

fn waits_for_end(unit: &Unit, key: &str) -> bool {
    let wanted = unit.service.depends_on.get(key);
    wanted.is_some_and(|it| it.condition == DependsOnCondition::CompletedSuccessfully)
}

fn is_waited_for(all: &IndexMap<String, Unit>, key: &str) -> bool {
    all.values().any(|unit| waits_for_end(unit, key))
}

/// Whether the profiles can be such that a unit runs and nothing that waits for it does.
fn may_be_alone(all: &IndexMap<String, Unit>, unit: &Unit) -> bool {
    let waiting = || all.values().filter(|other| waits_for_end(other, &unit.key));
    if waiting().any(|other| other.service.profiles.is_empty()) {
        return false;
    }
    let has = |profile: &String| waiting().any(|other| other.service.profiles.contains(profile));
    let own = &unit.service.profiles;
    own.is_empty() || !own.iter().all(has)
}

/// A service runs to its end when another waits for that, or when the file says that it is not
/// started again and nothing shows that it serves anybody.
fn task(project: &Project, key: &str, service: &Service) -> Task {
    let all = || project.services.values();
    let wanted = || all().filter_map(|other| other.depends_on.get(key));
    // Those that are off say what it is as well.
    let is_waited_for = all().chain(project.disabled_services.values()).any(|other| {
        let wanted = other.depends_on.get(key);
        wanted.is_some_and(|it| it.condition == DependsOnCondition::CompletedSuccessfully)
    });
    let mode = service.deploy.as_ref().and_then(|deploy| deploy.mode.as_deref());
    if is_waited_for || matches!(mode, Some("replicated-job" | "global-job")) {
        return Task::Once;
    }
    let ends = is_not_restarted(service);
    let serves = !service.ports.is_empty()
        || !service.expose.is_empty()
        || service.healthcheck.as_ref().is_some_and(|check| !check.disable)
        || wanted().next().is_some()
        || all().any(|other| shared(other) == Some(key))
        || shared(service).is_some()
        || mode == Some("global");
    if ends && !serves { Task::Once } else { Task::Keep }
}

/// Whether the file says so; Compose's default, which is the same, says nothing of what is meant.
pub(super) fn is_not_restarted(service: &Service) -> bool {
    let policy = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    match policy.and_then(|policy| policy.condition.as_deref()) {
        Some("none" | "on-failure") => true,
        Some(_) => false,
        None => service
            .restart
            .as_deref()
            .is_some_and(|word| word == "no" || word.starts_with("on-failure")),
    }
}
