//! Names of services that DNS cannot have, or that some programs do not take. A name is never
//! refused: what resolves in its place is said.

use std::collections::BTreeSet;

use super::verdict::{Notes, Verdict};
use crate::compose::project::Project;
use crate::logic::names::{host_form, host_forms, unresolvable};
use crate::model::Revision;

/// What a name may be made of.
const GOOD: &str = "use letters, digits, `-` and `_`, at most 63 between two dots";

/// Says which names are not found, and under which others services are.
pub(super) fn add_notes(project: &Project, revision: &Revision, notes: &mut Notes) {
    let forms = host_forms(revision.deployments.iter());
    let named = revision.deployments.iter().filter(|(_, deployment)| deployment.joins.is_none());
    for (name, deployment) in named {
        let path = || format!("services.{name}");
        let form = forms.get(name).map(|form| format!("`{form}`"));
        match (unresolvable(name.as_str()), form) {
            (Some(why), Some(form)) => {
                let reason =
                    format!("DNS cannot have the name: {why}; the service is found as {form}");
                notes.add(path(), Verdict::Approximated, reason, GOOD);
            }
            (Some(why), None) => {
                let reason = format!("DNS cannot have the name: {why}; nothing finds the service");
                notes.add(path(), Verdict::Ignored, reason, GOOD);
            }
            (None, Some(form)) => {
                let reason = format!(
                    "found by its name, and as {form} by programs that take only host names \
                     (RFC 1123)"
                );
                notes.add(path(), Verdict::Done, reason, "");
            }
            (None, None) => {}
        }
        let aliases: BTreeSet<&String> =
            deployment.networks.values().flat_map(|attachment| &attachment.aliases).collect();
        let service = project.services.get(name.as_str());
        let container_name = service.and_then(|service| service.container_name.as_ref());
        let key_of = |alias| match Some(alias) == container_name {
            true => ("container_name", alias),
            false => ("networks", alias),
        };
        let hostname = deployment.container.hostname.iter().map(|name| ("hostname", name));
        for (key, alias) in aliases.into_iter().map(key_of).chain(hostname) {
            let Some(why) = unresolvable(alias) else { continue };
            let reason = match host_form(alias) {
                Some(form) => format!("nothing finds `{alias}`: {why}; `{form}` would be found"),
                None => format!("nothing finds `{alias}`: {why}"),
            };
            notes.add(format!("{}.{key}", path()), Verdict::Ignored, reason, GOOD);
        }
    }
}
