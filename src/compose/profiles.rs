//! Which services run: those without a profile, those of an active one, and those asked for by name.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::LoadOptions;
use super::project::{Project, Service};
use super::schema::nearest;

/// Splits services by profile: those that run stay, the others move.
pub(crate) fn apply(project: &mut Project, options: &LoadOptions) {
    let active = active(options, &project.environment);
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

/// A service was named that does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no service `{name}`")]
pub struct NoService {
    /// Its name.
    pub name: String,
    /// What to do about it.
    pub hint: String,
}

/// Leaves the services that are named and what they depend on; the others move to those that do
/// not run.
///
/// # Errors
/// One of them does not run. The project is as it was.
pub fn select(project: &mut Project, names: &[String]) -> Result<(), NoService> {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = names.to_vec();
    while let Some(name) = open.pop() {
        if wanted.contains(&name) {
            continue;
        }
        let Some(service) = project.services.get(&name) else {
            let hint = how_to_find(&name, project);
            return Err(NoService { name, hint });
        };
        let needed = service.depends_on.iter().filter(|(target, dependency)| {
            dependency.required || project.services.contains_key(*target)
        });
        open.extend(needed.map(|(target, _)| target.clone()));
        wanted.insert(name);
    }
    let services = std::mem::take(&mut project.services);
    let (kept, left): (IndexMap<_, _>, IndexMap<_, _>) =
        services.into_iter().partition(|(name, _)| wanted.contains(name));
    project.services = kept;
    project.disabled_services.extend(left);
    for service in project.services.values_mut() {
        service.depends_on.retain(|target, _| wanted.contains(target));
    }
    Ok(())
}

fn how_to_find(name: &str, project: &Project) -> String {
    if let Some(hidden) = project.disabled_services.get(name) {
        return format!("activate its profile: `--profile {}`", hidden.profiles.join("` or `"));
    }
    match nearest(name, project.services.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`muster config --services` shows which there are".to_owned(),
    }
}

fn active(options: &LoadOptions, environment: &BTreeMap<String, String>) -> Vec<String> {
    if !options.profiles.is_empty() {
        return options.profiles.clone();
    }
    let named = environment.get("COMPOSE_PROFILES").map(|names| names.split(','));
    let trimmed = named.into_iter().flatten().map(|name| name.trim().to_owned());
    trimmed.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project::from_canonical(serde_json::json!({"services": {
            "web": {"image": "a", "depends_on": {
                "db": {"condition": "service_started", "required": true},
                "gone": {"condition": "service_started", "required": false}}},
            "db": {"image": "b"},
            "other": {"image": "c"}}}))
        .unwrap()
    }

    #[test]
    fn a_service_is_selected_with_what_it_needs() {
        let mut project = project();
        select(&mut project, &["web".to_owned()]).unwrap();
        assert_eq!(project.services.keys().collect::<Vec<_>>(), ["web", "db"]);
        assert_eq!(project.services["web"].depends_on.keys().collect::<Vec<_>>(), ["db"]);
        assert!(project.disabled_services.contains_key("other"));
    }

    #[test]
    fn a_service_that_is_not_there_is_named_and_nothing_changes() {
        let mut project = project();
        let error = select(&mut project, &["wbe".to_owned()]).unwrap_err();
        assert_eq!((&*error.name, &*error.hint), ("wbe", "did you mean `web`?"));
        assert_eq!(project.services.len(), 3);
    }
}
