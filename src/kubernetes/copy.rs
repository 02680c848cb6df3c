//! How data gets into new claims: commands for a person, a few for each volume and folder.
//!
//! What writes there is stopped first, on both sides: a database that finds other files below it is
//! broken. Then a pod of its own takes what `tar` reads. What a database has made there at its first
//! start goes, for it is of another database.

use std::collections::BTreeSet;

use super::draft::{Draft, Step};
use super::unit::{self, Task, Unit, Units};
use super::{names, storage, workload};
use crate::compose::project::MountType;

/// What the pod runs that takes the files.
const IMAGE: &str = "busybox:1.37";

/// Where the files of a StatefulSet's claim are, in that pod.
const OWN: &str = "/to/data";

/// How the files of a folder get into its claim.
pub(super) fn of_folder(
    draft: &mut Draft<'_>,
    unit: &Unit,
    (source, claim): (&str, &str),
    target: &str,
) {
    let source = draft.shown(source);
    let from = format!("tar -C {} -c .", shell_words::quote(&source));
    let words = format!("`{source}` into the claim `{claim}`, `{target}` of `{}`", unit.name);
    let leader = leader(draft, unit);
    add(draft, (words, &from), (unit, &leader), (claim, "/to"));
}

/// How the content of named volumes gets into their claims.
pub(super) fn of_volumes(draft: &mut Draft<'_>, units: &Units) {
    let mut seen = BTreeSet::new();
    for unit in units.iter().filter(|unit| unit.task == Task::Keep) {
        for mount in &unit.service.volumes {
            let Some(key) = mount.source.as_ref().filter(|_| mount.kind == MountType::Volume)
            else {
                continue;
            };
            let Some(declared) = draft.project.volumes.get(key) else { continue };
            if declared.external || storage::is_elsewhere(declared) || !seen.insert(key.clone()) {
                continue;
            }
            let volume = declared.name.clone();
            let leader = units.get(units.leader(&unit.key)).unwrap_or(unit);
            let is_own = draft.templates.get(&leader.key).is_some_and(|keys| keys.contains(key));
            let claim = if is_own {
                format!("{}-{}-0", names::label(key), leader.name)
            } else {
                draft.names.of("Claim", key)
            };
            // Where a claim of a StatefulSet is mounted, unless the file says where.
            let has_path = mount.volume.as_ref().is_some_and(|options| options.subpath.is_some());
            let to = if is_own && !has_path { OWN } else { "/to" };
            let target = &mount.target;
            let words = format!(
                "the volume `{volume}` into the claim `{claim}`, `{target}` of `{}`",
                unit.name
            );
            let from = format!("docker run --rm -v {volume}:/from:ro busybox tar -C /from -c .");
            add(draft, (words, &from), (leader, &leader.name), (&claim, to));
        }
    }
}

/// The name of the workload that a unit is part of.
fn leader(draft: &mut Draft<'_>, unit: &Unit) -> String {
    let (mut key, mut service) = (unit.key.as_str(), &unit.service);
    // The loader has refused circles; the bound is for values that were not loaded.
    for _ in 0..draft.project.services.len() {
        let next = unit::shared(service).and_then(|key| draft.project.services.get_key_value(key));
        let Some((next, of_next)) = next else { break };
        (key, service) = (next, of_next);
    }
    draft.names.of("pod", key)
}

fn add(
    draft: &mut Draft<'_>,
    (words, from): (String, &str),
    (unit, leader): (&Unit, &str),
    (claim, to): (&str, &str),
) {
    let kubectl = match &draft.options.namespace {
        Some(namespace) => format!("kubectl -n {namespace}"),
        None => "kubectl".to_owned(),
    };
    let name = names::label(&format!("copy-{claim}"));
    // One on every node is not to be scaled, and what ends is over.
    let can_stop = unit.task == Task::Keep && !storage::is_global(&unit.service);
    let scale = |replicas: u32| {
        let which = format!("deployment,statefulset -l app.kubernetes.io/name={leader}");
        can_stop.then(|| format!("{kubectl} scale {which} --replicas={replicas}"))
    };
    let pod = format!(
        "{kubectl} apply -f - <<'EOF'\n\
         apiVersion: v1\n\
         kind: Pod\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           restartPolicy: Never\n  \
           containers:\n  \
           - {{name: copy, image: {IMAGE}, command: [sleep, \"86400\"], volumeMounts: [{{name: to, \
         mountPath: /to}}]}}\n  \
           volumes: [{{name: to, persistentVolumeClaim: {{claimName: {claim}}}}}]\n\
         EOF"
    );
    let clean =
        if to == OWN { format!("find {to} -mindepth 1 -delete && ") } else { String::new() };
    let take = format!("mkdir -p {to} && {clean}tar -C {to} -x");
    let lines = [
        Some(format!("docker compose stop {}", shell_words::quote(&unit.key))),
        scale(0),
        Some(pod),
        Some(format!("{kubectl} wait --for=condition=Ready pod/{name} --timeout=5m")),
        Some(format!("{from} | {kubectl} exec -i {name} -- sh -c '{take}'")),
        Some(format!("{kubectl} delete pod {name}")),
        scale(workload::replicas(&unit.service)),
    ];
    let command = Some(lines.into_iter().flatten().collect::<Vec<_>>().join("\n"));
    let step = Step { title: "Data to copy", words, command };
    if !draft.steps.contains(&step) {
        draft.steps.push(step);
    }
}
