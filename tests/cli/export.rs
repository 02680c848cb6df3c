//! `muster export`: the folder it writes, its report, and what it refuses.

use std::fs;

use crate::harness::{Sandbox, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:${TAG:-1.27}
    ports: [\"8080:80\"]
    environment: {DB_PASSWORD: hunter2, LEVEL: \"${LEVEL:-info}\"}
    logging: {driver: syslog}
  debug:
    image: busybox
    profiles: [debug]
volumes: {data: }
";

fn files(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    fn walk(at: &std::path::Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(&sandbox.project().join(folder), "", &mut found);
    found.sort();
    found
}

#[test]
fn each_form_is_a_folder_with_its_report() {
    let sandbox = Sandbox::with_file(SHOP);
    let plain = sandbox.run("export --to kubernetes -o plain");
    assert_eq!(plain.code, 0, "{}", plain.stderr);
    assert!(plain.stderr.contains("`services.web.logging.driver` at compose.yaml:6 is ignored"));
    let ours = [
        ".gitignore",
        ".muster-export",
        "MIGRATION.md",
        "secrets/web-secret.yaml",
        "web-deployment.yaml",
        "web-service.yaml",
    ];
    assert_eq!(files(&sandbox, "plain"), ours);
    let text = fs::read_to_string(sandbox.project().join("plain/web-deployment.yaml")).unwrap();
    assert!(text.starts_with("# From `services.web` (compose.yaml:2).\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    check(&sandbox.run("export --validate plain"), 0, "", "3 files looked at, nothing found\n");

    assert_eq!(sandbox.run("export --to kustomize -o tree").code, 0);
    let tree = files(&sandbox, "tree");
    for path in ["base/kustomization.yaml", "overlays/debug/kustomization.yaml"] {
        assert!(tree.iter().any(|file| file == path), "{tree:?}");
    }

    assert_eq!(sandbox.run("export --to helm -o chart").code, 0);
    let values = fs::read_to_string(sandbox.project().join("chart/values.yaml")).unwrap();
    assert!(values.contains("LEVEL: info") && values.contains("TAG: "), "{values}");
    assert!(!values.contains("hunter2"), "{values}");
}

#[test]
fn strict_and_what_was_changed_stop_an_export() {
    let sandbox = Sandbox::with_file(SHOP);
    let strict = sandbox.run("export --to kubernetes -o out --strict");
    assert_eq!(strict.code, 1);
    assert!(!sandbox.project().join("out").exists(), "nothing is written");
    assert_eq!(sandbox.run("export --to kubernetes -o out").code, 0);
    sandbox.write("out/web-service.yaml", "changed");
    let again = sandbox.run("export --to kubernetes -o out");
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("web-service.yaml"), "{}", again.stderr);
    sandbox.write("own/file", "theirs");
    assert_eq!(sandbox.run("export --to kubernetes -o own").code, 1);
}

#[test]
fn objects_are_printed_and_machines_read_the_report() {
    let sandbox = Sandbox::with_file(SHOP);
    let printed = sandbox.run("export --to kubernetes --stdout -q");
    assert_eq!((printed.code, printed.stderr.as_str()), (0, ""));
    assert_eq!(printed.stdout.matches("\nkind: ").count(), 3, "{}", printed.stdout);
    let json = sandbox.run("export --to kubernetes -o out --json");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(
        json["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["path"] == "services.web.ports.published")
    );
    let check = sandbox.run("check --target kubernetes --json");
    let check: serde_json::Value = serde_json::from_str(&check.stdout).unwrap();
    assert_eq!(check["summary"], json["summary"]);
}
