//! The project of an export with other choices of files and profiles: what overlays and switches are
//! made of. Loads; decides nothing of Kubernetes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::args::ProjectArgs;
use super::project;
use crate::compose::{Loaded, Skip};

/// The project without its override files, if it has some and is one without them, and the overlays
/// on it: all files, then each profile that is off.
pub(super) fn of(args: &ProjectArgs, loaded: &Loaded) -> (Option<Loaded>, Vec<(String, Loaded)>) {
    let mut variants = Vec::new();
    let mut base = None;
    let files = if args.files.is_empty() { found(loaded) } else { args.files.clone() };
    if let [first, .., last] = files.as_slice() {
        let only = with(args, loaded, |args| args.files = vec![first.clone()]);
        base = project::load(&only, &[], None).ok();
        if base.is_some() {
            variants.push((name(first, last), loaded.clone()));
        }
    }
    let base_args = match (&base, files.first()) {
        (Some(_), Some(first)) => with(args, loaded, |args| args.files = vec![first.clone()]),
        (_, _) => args.clone(),
    };
    let of_base = base.as_ref().unwrap_or(loaded);
    let active = active(loaded);
    for profile in profiles(of_base) {
        let args = with(&base_args, loaded, |args| {
            args.rest.profiles = active.iter().cloned().chain([profile.clone()]).collect();
        });
        // A profile that contradicts the others has no overlay: it could not run with them either.
        if let Ok(loaded) = project::load(&args, &[], None) {
            variants.push((profile, loaded));
        }
    }
    (base, variants)
}

/// The project with every profile; none when these contradict each other, or there are none.
pub(super) fn with_all_profiles(args: &ProjectArgs, loaded: &Loaded) -> Option<Loaded> {
    if profiles(loaded).is_empty() {
        return None;
    }
    let all = with(args, loaded, |args| args.rest.profiles = vec!["*".to_owned()]);
    project::load(&all, &[], None).ok()
}

/// The files with `${VARIABLES}` in place.
pub(super) fn uninterpolated(args: &ProjectArgs) -> Option<serde_json::Value> {
    project::raw(Skip::default(), args).map(|loaded| loaded.value)
}

/// Profiles that are on.
pub(super) fn active(loaded: &Loaded) -> Vec<String> {
    let services = loaded.project.services.values();
    let all: BTreeSet<&String> = services.flat_map(|service| &service.profiles).collect();
    all.into_iter().cloned().collect()
}

/// Profiles that are off.
fn profiles(loaded: &Loaded) -> Vec<String> {
    let disabled = loaded.project.disabled_services.values();
    let all: BTreeSet<&String> = disabled.flat_map(|service| &service.profiles).collect();
    all.into_iter().cloned().collect()
}

/// The arguments with the name and folder that the project has now.
fn with(args: &ProjectArgs, loaded: &Loaded, change: impl FnOnce(&mut ProjectArgs)) -> ProjectArgs {
    let mut args = args.clone();
    args.rest.project_name = Some(loaded.project.name.clone());
    args.rest.project_directory = Some(loaded.project.working_dir.clone());
    change(&mut args);
    args
}

/// The files that were found without being named: the first, and its override file.
fn found(loaded: &Loaded) -> Vec<PathBuf> {
    let files = &loaded.project.compose_files;
    let is_override = |path: &&PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.contains(".override."))
    };
    let first = files.first().cloned();
    first.into_iter().chain(files.iter().skip(1).find(is_override).cloned()).collect()
}

/// `prod` of `compose.prod.yaml`.
fn name(first: &Path, last: &Path) -> String {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let (first, last) = (stem(first).unwrap_or_default(), stem(last).unwrap_or_default());
    let rest = last.strip_prefix(&format!("{first}.")).or(last.strip_prefix(&format!("{first}-")));
    rest.or(last.rsplit('.').next()).unwrap_or(&last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::name;
    use std::path::Path;

    #[test]
    fn overlays_are_called_as_their_files() {
        let cases = [
            ("compose.yaml", "compose.prod.yaml", "prod"),
            ("docker-compose.yml", "docker-compose.override.yml", "override"),
            ("docker-compose.yml", "docker-compose-dev.yml", "dev"),
            ("compose.yaml", "production.yaml", "production"),
        ];
        for (first, last, expected) in cases {
            assert_eq!(name(Path::new(first), Path::new(last)), expected);
        }
    }
}
