//! Consistency of the top level: volumes, configs, secrets.

use indexmap::IndexMap;

use crate::compose::project::{FileObject, Project};
use crate::compose::read::Places;
use crate::compose::source::Report;

pub(super) fn check(project: &Project, places: &Places, report: &mut Report) {
    for (key, volume) in &project.volumes {
        if !volume.external {
            continue;
        }
        let set = [
            ("driver", volume.driver.is_some()),
            ("driver_opts", !volume.driver_opts.is_empty()),
            ("labels", !volume.labels.is_empty()),
        ];
        for (name, _) in set.iter().filter(|(_, set)| *set) {
            let path = format!("volumes.{key}.{name}");
            let message = format!("external volume `{key}` cannot have `{name}`");
            let error = report.error(places.span(&path), message);
            drop(error.hint("an external volume was made by somebody else; remove one of the two"));
        }
    }
    objects("configs", &["file", "environment", "content"], &project.configs, places, report);
    objects("secrets", &["file", "environment"], &project.secrets, places, report);
}

/// Exactly one source, unless somebody else made the object.
fn objects(
    section: &'static str,
    sources: &[&str],
    objects: &IndexMap<String, FileObject>,
    places: &Places,
    report: &mut Report,
) {
    for (key, object) in objects {
        let present = [
            object.file.is_some(),
            object.environment.is_some(),
            // The content of a variable was put there by the loader.
            object.content.is_some() && object.environment.is_none(),
        ];
        let n_sources = present.iter().filter(|present| **present).count();
        let names = sources.join("`, `");
        let path = format!("{section}.{key}");
        if n_sources > 1 {
            let message = format!("`{path}` has more than one of `{names}`");
            drop(report.error(places.span(&path), message).hint("keep one"));
        }
        if n_sources == 0 && !object.external {
            let message = format!("`{path}` needs one of `{names}`");
            drop(report.error(places.span(&path), message));
        }
    }
}
