//! Jobs: names that nothing else has, triggers, and what they wait for.

use serde_json::Value as Json;

use crate::compose::project::Project;
use crate::compose::read::Places;
use crate::compose::source::Report;

pub(super) fn check(project: &Project, places: &Places, report: &mut Report) {
    for (name, job) in &project.jobs {
        let path = format!("jobs.{name}");
        if project.services.contains_key(name) {
            let message = format!("`{name}` is both a service and a job");
            drop(report.error(places.span(&path), message).hint("give one of them another name"));
        }
        let waits = job.get("depends_on").and_then(Json::as_object);
        for (target, dependency) in waits.into_iter().flatten() {
            let known = project.services.contains_key(target) || project.jobs.contains_key(target);
            let optional = dependency.get("required") == Some(&Json::Bool(false));
            if !known && !optional {
                let at = places.span(&format!("{path}.depends_on.{target}"));
                let message =
                    format!("job `{name}` depends on undefined service or job `{target}`");
                drop(report.error(at, message));
            }
        }
    }
}
