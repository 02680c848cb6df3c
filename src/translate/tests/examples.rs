//! Every example of the repository can be run.

use std::path::Path;

use super::super::*;
use super::context;
use crate::compose::{LoadOptions, load};

#[test]
fn every_example_translates_without_refusal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose-examples");
    let mut n_examples = 0;
    for entry in folder.read_dir().unwrap() {
        let example = entry.unwrap().path();
        let file = example.join("compose.yaml");
        if !file.exists() {
            continue;
        }
        n_examples += 1;
        let options = LoadOptions {
            files: vec![file.clone()],
            working_directory: example.clone(),
            ..LoadOptions::default()
        };
        let loaded = load(&options).unwrap_or_else(|failed| panic!("{failed}"));
        let translation = translate(&loaded.project, &context());
        assert_eq!(translation.refusals, [], "{}", file.display());
        assert_eq!(translation.revision.deployments.len(), loaded.project.services.len());
        for build in &translation.builds {
            let dockerfile = build.context.join(&build.dockerfile);
            assert!(dockerfile.exists(), "`{}` is not there", dockerfile.display());
        }
        let report = check::report(&loaded);
        let lost = report.iter().find(|row| row.location.is_none());
        assert_eq!(lost, None, "{}", file.display());
    }
    assert!(n_examples >= 3, "only {n_examples} examples were found");
}
