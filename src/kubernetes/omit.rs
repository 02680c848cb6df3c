//! `--secrets omit`: nothing of secrets is in the output, neither the objects nor what refers to them. A
//! pod without them starts, and something else puts them into it, as an agent of a vault does.

use super::draft::{self, Draft, Step};
use super::object::{Container, PodSpec};
use super::unit::Unit;

/// Takes what refers to left out Secrets out of a pod, and says what has to come there.
pub(super) fn strip(draft: &mut Draft<'_>, unit: &Unit, spec: &mut PodSpec) {
    if draft.omitted.is_empty() {
        return;
    }
    let omitted = &draft.omitted;
    let is_volume = |volume: &super::object::Volume| {
        volume.secret.as_ref().is_some_and(|secret| omitted.contains(&secret.secret_name))
    };
    let volumes: Vec<String> =
        spec.volumes.iter().filter(|it| is_volume(it)).map(|it| it.name.clone()).collect();
    spec.volumes.retain(|volume| !volumes.contains(&volume.name));
    let mut steps = Vec::new();
    for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
        let mut gone = variables(container, |name| omitted.contains(name));
        container.volume_mounts.retain(|mount| {
            let is_gone = volumes.contains(&mount.name);
            gone.extend(is_gone.then(|| mount.mount_path.clone()));
            !is_gone
        });
        if !gone.is_empty() {
            let place = format!("the container `{}` of `{}`", container.name, unit.name);
            steps.push(Step {
                title: "Secrets to put into pods",
                words: format!("into {place}: {}", draft::list(&gone)),
                command: None,
            });
        }
    }
    draft.steps.extend(steps);
}

/// Takes out variables, and gives their names.
fn variables(container: &mut Container, is_omitted: impl Fn(&String) -> bool) -> Vec<String> {
    let mut gone = Vec::new();
    container.env_from.retain(|from| {
        let secret = from.secret_ref.as_ref().filter(|secret| is_omitted(&secret.name));
        gone.extend(secret.map(|secret| format!("all of {}", secret.name)));
        secret.is_none()
    });
    container.env.retain(|variable| {
        let source = variable.value_from.as_ref().and_then(|from| from.secret_key_ref.as_ref());
        let is_gone = source.is_some_and(|source| is_omitted(&source.name));
        gone.extend(is_gone.then(|| variable.name.clone()));
        !is_gone
    });
    gone
}
