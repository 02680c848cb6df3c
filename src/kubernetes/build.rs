//! How images are built that the cluster pulls: a step for a person, as the cluster builds nothing.

use super::draft::{Draft, Step};
use super::unit::Unit;

/// Adds the command that builds and pushes the image of a unit.
pub(super) fn add_step(draft: &mut Draft<'_>, unit: &Unit, image: &str) {
    let Some(build) = &unit.service.build else { return };
    let context = draft.shown(build.context.as_deref().unwrap_or("."));
    let mut words: Vec<String> = ["docker", "build", "-t", image].map(str::to_owned).into();
    let mut option = |name: &str, value: &str| {
        words.push(name.to_owned());
        words.push(value.to_owned());
    };
    if let Some(target) = &build.target {
        option("--target", target);
    }
    for platform in &build.platforms {
        option("--platform", platform);
    }
    for (name, value) in &build.args {
        match value {
            Some(value) => option("--build-arg", &format!("{name}={value}")),
            None => option("--build-arg", name),
        }
    }
    if let Some(file) = &build.dockerfile {
        let path = match file.starts_with('/') {
            true => draft.shown(file),
            false => format!("{}/{file}", context.trim_end_matches('/')),
        };
        // The usual one is found anyway.
        if file != "Dockerfile" {
            option("-f", &path);
        }
    }
    words.push(context.clone());
    let command = match &build.dockerfile_inline {
        Some(_) => format!("docker compose build {}", unit.key),
        None => shell_words::join(&words),
    };
    let step = Step {
        title: "Images to build",
        words: format!("`{image}` of `{}`", unit.key),
        command: Some(format!("{command} && docker push {image}")),
    };
    if !draft.steps.contains(&step) {
        draft.steps.push(step);
    }
}
