//! `pre_start`, `post_start` and `pre_stop`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::check;
use super::scope::Scope;
use super::verdict::Notes;
use super::{build, container, networks};
use crate::compose::project::Service;
use crate::model::{
    Attachment, ContainerSpec, HealthSpec, Hook, Hooks, Mount, MountSource, NetworkName, Step,
};

const PRE_START: &str = "pre_start";

/// A hook as the loader gives it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    command: Vec<String>,
    user: Option<String>,
    privileged: bool,
    working_dir: Option<String>,
    environment: BTreeMap<String, Option<String>>,
}

/// The hooks of the service at hand, whose container and networks are known.
pub(super) fn convert(
    scope: &mut Scope<'_>,
    container: &ContainerSpec,
    networks: &BTreeMap<NetworkName, Attachment>,
) -> Hooks {
    Hooks {
        pre_start: steps(scope, container, networks),
        post_start: hooks(scope, "post_start"),
        pre_stop: hooks(scope, "pre_stop"),
    }
}

fn items(service: &Service, key: &str) -> Vec<Value> {
    service.other.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn hooks(scope: &mut Scope<'_>, key: &str) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for item in items(scope.service, key) {
        let given = match serde_json::from_value::<Given>(item) {
            Ok(given) if !given.command.is_empty() => given,
            Ok(_) => {
                scope.refused(key, "a hook has no words to run", "write its `command`");
                continue;
            }
            Err(error) => {
                scope.refused(key, error.to_string(), "");
                continue;
            }
        };
        let Given { command, user, privileged, working_dir, environment } = given;
        let set = environment.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        hooks.push(Hook {
            command,
            user: not_empty(user),
            privileged,
            working_dir: not_empty(working_dir),
            environment: set.collect(),
        });
    }
    hooks
}

fn steps(
    scope: &mut Scope<'_>,
    container: &ContainerSpec,
    networks: &BTreeMap<NetworkName, Attachment>,
) -> Vec<Step> {
    let items = items(scope.service, PRE_START);
    if items.is_empty() {
        return Vec::new();
    }
    if container.mounts.iter().any(|mount| mount.source == MountSource::Anonymous) {
        let reason = "a step does not see the anonymous volumes of its service";
        scope.approximated(PRE_START, reason, "give the volume a name");
    }
    let whole = serde_json::to_value(scope.service).unwrap_or_default();
    let path = format!("services.{}.{PRE_START}", scope.key);
    let mut steps = Vec::new();
    for mut item in items {
        let service = match serde_json::from_value::<Service>(item.clone()) {
            Ok(service) => service,
            Err(error) => {
                scope.refused(PRE_START, error.to_string(), "");
                continue;
            }
        };
        let per_replica = service.other.get("per_replica").and_then(Value::as_bool);
        // What it has of its service is said there.
        if let Value::Object(keys) = &mut item {
            keys.retain(|key, value| key != "per_replica" && whole.get(key) != Some(value));
        }
        check::add_step_notes(&path, &item, scope.notes);
        let step = step(scope, &service, container, networks);
        steps.push(Step { per_replica: per_replica == Some(true), ..step });
    }
    steps
}

fn step(
    outer: &mut Scope<'_>,
    service: &Service,
    container: &ContainerSpec,
    networks: &BTreeMap<NetworkName, Attachment>,
) -> Step {
    let mut notes = Notes::default();
    let (project, section, key) = (outer.project, outer.section, outer.key);
    let mut scope = Scope { project, section, key, service, notes: &mut notes };
    let mut spec = container::convert(&mut scope);
    let says_nothing = service.networks.is_empty() && service.network_mode.is_none();
    let joined = match says_nothing {
        true => networks.clone(),
        false => networks::attachments(&mut scope),
    };
    if service.image.as_deref().unwrap_or_default().is_empty() {
        spec.image = build::reference(outer);
    }
    let own: BTreeSet<String> = spec.mounts.iter().map(|mount| mount.target.clone()).collect();
    let shared = container.mounts.iter().filter(|mount| is_shared(mount));
    spec.mounts.extend(shared.filter(|mount| !own.contains(&mount.target)).cloned());
    // It is watched by its end, and nobody sends anything to it.
    spec.health = Some(HealthSpec { test: Some(vec!["NONE".to_owned()]), ..HealthSpec::default() });
    spec.expose.clear();
    let (own, prefix) = (format!("services.{}.", outer.key), format!("services.{}", outer.key));
    let known: BTreeSet<String> = outer.notes.all().iter().map(|note| note.path.clone()).collect();
    for note in notes.all().iter().filter(|note| !known.contains(&note.path)) {
        let key = note.path.strip_prefix(&own).unwrap_or_default();
        let path = format!("{prefix}.{PRE_START}.{key}");
        let remedy = note.remedy.as_deref().unwrap_or_default();
        outer.notes.add(path, note.verdict, note.reason.clone(), remedy);
    }
    let foreign = joined.keys().find(|network| !networks.contains_key(*network));
    if let Some(foreign) = foreign.filter(|_| spec.network_mode.is_none()) {
        let reason = format!("a step joins `{foreign}`, and its service does not");
        outer.refused(PRE_START, reason, "let the service join it as well");
    }
    Step { container: spec, networks: joined.into_keys().collect(), per_replica: false }
}

/// Whether a step sees what its service mounts there.
fn is_shared(mount: &Mount) -> bool {
    matches!(mount.source, MountSource::Volume { .. } | MountSource::Bind { .. })
}
