//! What has to be before a container starts: `depends_on` and `pre_start` as init containers.
//!
//! The usual ways need rights to ask the API of the cluster, or an image that only waits. Neither is
//! needed. A Service without an address of its own (`clusterIP: None`) has a name only while a pod
//! behind it is ready: to wait for `service_healthy` is to wait until that name resolves, which the
//! shell of the other service's image can do, an image that the nodes pull anyway. Where nothing
//! shows that there is a shell, nothing waits, and the report says so.
//!
//! What another waits for the end of (`service_completed_successfully`) runs inside that other's
//! pods, as an init container: it has ended well before they go on, whatever the image.

use std::collections::BTreeSet;

use serde_json::Value;

use super::draft::Draft;
use super::object::{Capabilities, Container, SecurityContext};
use super::pod::Pod;
use super::storage::is_database;
use super::unit::{Task, Unit, Units};
use super::{container, traffic};
use crate::compose::project::{DependsOnCondition, Deploy, Service};

/// The user that owns nothing.
const NOBODY: u64 = 65_534;
/// Databases whose images have no shell.
const WITHOUT_SHELL: [&str; 4] = ["etcd", "nats", "loki", "surrealdb"];
/// Programs that come with a shell, in every image that has them.
const WITH_SHELL: [&str; 9] =
    ["sh", "bash", "ash", "pg_isready", "mysqladmin", "redis-cli", "valkey-cli", "curl", "wget"];

/// The init containers of the units of a pod, in the order in which they have to run.
pub(super) fn convert(
    draft: &mut Draft<'_>,
    units: &Units,
    own: &[&Unit],
    pod: &mut Pod,
) -> Vec<Container> {
    let mut work = Work { units, own, seen: BTreeSet::new(), containers: Vec::new() };
    for unit in own {
        work.before(draft, unit, pod);
    }
    for unit in own {
        steps(draft, unit, pod, &mut work.containers);
    }
    work.containers
}

struct Work<'a> {
    units: &'a Units,
    own: &'a [&'a Unit],
    seen: BTreeSet<String>,
    containers: Vec<Container>,
}

impl Work<'_> {
    fn before(&mut self, draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod) {
        for (key, wanted) in &unit.service.depends_on {
            let path = format!("depends_on.{key}.condition");
            let Some(other) = self.units.get(key).cloned() else {
                draft.lost(
                    unit,
                    &path,
                    format!("`{key}` is not exported, so nothing waits for it"),
                    "",
                );
                continue;
            };
            let is_own = self.own.iter().any(|own| own.key == *key);
            match wanted.condition {
                // One starts no sooner than the other.
                DependsOnCondition::Started if is_own => {}
                DependsOnCondition::Started => note_started(draft, unit, key),
                DependsOnCondition::Healthy if is_own => {
                    let reason = format!("`{key}` is in the same pod: both start at once");
                    draft.lost(unit, &path, reason, "");
                }
                DependsOnCondition::Healthy => self.healthy(draft, unit, &other),
                DependsOnCondition::CompletedSuccessfully => {
                    self.completed(draft, unit, &other, pod)
                }
            }
        }
    }

    fn healthy(&mut self, draft: &mut Draft<'_>, unit: &Unit, other: &Unit) {
        if !self.seen.insert(other.key.clone()) {
            return;
        }
        let image = if has_shell(other) {
            container::image(draft, other)
        } else if is_shell(unit.service.entrypoint.as_ref())
            || is_shell(unit.service.command.as_ref())
        {
            container::image(draft, unit)
        } else {
            let path = format!("depends_on.{}.condition", other.key);
            let reason = format!(
                "nothing shows that the image of `{}` has a shell to wait with: the container \
                 starts at once, and again until it works",
                other.key
            );
            draft.lost(unit, &path, reason, "give it a `healthcheck` that uses `CMD-SHELL`");
            return;
        };
        let waiting = self.own.iter().map(|unit| unit.key.clone());
        let name = traffic::ready_name(draft, self.units, other, waiting);
        let script = format!(
            "if command -v getent >/dev/null; then look='getent hosts'\n\
             elif command -v nslookup >/dev/null; then look=nslookup\n\
             else echo 'nothing here resolves names: not waiting'; exit 0\n\
             fi\n\
             until $look {name} >/dev/null 2>&1; do echo 'waiting for {name}'; sleep 2; done\n"
        );
        self.containers.push(Container {
            name: short(&format!("wait-for-{}", other.name)),
            image,
            image_pull_policy: container::pull_policy(draft, other),
            command: Some(["/bin/sh", "-c", &script].map(str::to_owned).into()),
            security_context: Some(nobody()),
            ..Container::default()
        });
    }

    fn completed(&mut self, draft: &mut Draft<'_>, unit: &Unit, other: &Unit, pod: &mut Pod) {
        if !self.units.is_folded(&other.key) {
            let reason =
                format!("`{}` is part of another pod: nothing waits for its end", other.key);
            draft.lost(unit, &format!("depends_on.{}.condition", other.key), reason, "");
            return;
        }
        if !self.seen.insert(other.key.clone()) {
            return;
        }
        self.before(draft, other, pod);
        steps(draft, other, pod, &mut self.containers);
        let mut container = container::convert(draft, other, pod);
        container.ports.clear();
        self.containers.push(container);
        let waiting: Vec<String> =
            self.units.waiting_for_end(&other.key).iter().map(|it| it.key.clone()).collect();
        let reason = format!(
            "it runs in the pods of {}, before each start, and must bear being run again{}",
            super::draft::list(&waiting),
            if waiting.len() > 1 { " and beside itself" } else { "" }
        );
        let path = other.path.clone();
        draft.notes.add(path, crate::translate::Verdict::Approximated, reason, "");
        let deploy = other.service.deploy.as_ref();
        let of_deploy = |is_said: fn(&Deploy) -> bool| deploy.is_some_and(is_said);
        const AGAIN: &str = "it is run again with its pod until it ends well";
        const OFTEN: &str = "it runs once before each start of a pod that waits for it";
        for (is_said, key, reason) in [
            (of_deploy(|it| it.restart_policy.is_some()), "deploy.restart_policy", AGAIN),
            (other.service.restart.is_some(), "restart", AGAIN),
            (of_deploy(|it| it.mode.is_some()), "deploy.mode", OFTEN),
            (of_deploy(|it| it.replicas.is_some()), "deploy.replicas", OFTEN),
            (other.service.scale.is_some(), "scale", OFTEN),
        ] {
            if is_said {
                draft.nearly(other, key, reason, "");
            }
        }
    }
}

/// What looks up a name needs no rights at all, whatever the image is for.
fn nobody() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(NOBODY),
        run_as_non_root: Some(true),
        read_only_root_filesystem: Some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: vec!["ALL".to_owned()],
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

fn note_started(draft: &mut Draft<'_>, unit: &Unit, key: &str) {
    let reason =
        format!("all pods start at once: `{}` is started again until it finds `{key}`", unit.key);
    let remedy = "use `condition: service_healthy` where the order matters";
    draft.nearly(unit, &format!("depends_on.{key}.condition"), reason, remedy);
}

/// A name of a container: at most 63 characters.
fn short(name: &str) -> String {
    super::names::label(name)
}

fn is_shell(words: Option<&Vec<String>>) -> bool {
    let program = words.and_then(|words| words.first()).map(|word| word.rsplit('/').next());
    matches!(program, Some(Some("sh" | "bash" | "ash")))
}

/// Whether something shows that an image has a shell.
fn has_shell(unit: &Unit) -> bool {
    let service = &unit.service;
    let test = service.healthcheck.as_ref().and_then(|check| check.test.as_deref());
    let by_test = match test {
        Some([kind, ..]) if kind == "CMD-SHELL" => true,
        Some([_, program, ..]) => {
            let name = program.rsplit('/').next().unwrap_or(program);
            WITH_SHELL.contains(&name)
        }
        Some(_) | None => false,
    };
    let image = service.image.as_deref().unwrap_or_default();
    let by_image = is_database(unit) && !WITHOUT_SHELL.iter().any(|name| image.contains(name));
    by_test
        || by_image
        || is_shell(service.entrypoint.as_ref())
        || is_shell(service.command.as_ref())
}

/// The steps of `pre_start`.
fn steps(draft: &mut Draft<'_>, unit: &Unit, pod: &mut Pod, containers: &mut Vec<Container>) {
    let steps = unit.service.other.get("pre_start").and_then(Value::as_array).cloned();
    for (index, value) in steps.into_iter().flatten().enumerate() {
        let Ok(service) = serde_json::from_value::<Service>(value.clone()) else { continue };
        let step = Unit {
            key: unit.key.clone(),
            path: format!("{}.pre_start[{index}]", unit.path),
            name: short(&format!("{}-pre-start-{}", unit.name, index + 1)),
            service,
            task: Task::Once,
        };
        if value.get("per_replica").and_then(Value::as_bool) != Some(true) {
            let reason = "a step runs in every pod, not once for all";
            draft.nearly(unit, "pre_start", reason, "say `per_replica: true`, or make it a job");
        }
        let mut container = container::convert(draft, &step, pod);
        container.ports.clear();
        containers.push(container);
    }
}
