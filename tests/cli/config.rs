//! `muster config` and each of its options. What the options print is the reference's word;
//! `make parity` compares it with the reference itself.

use serde_json::{Value, json};

use crate::harness::{Sandbox, check};

const SHOP: &str = "\
services:
  web:
    image: nginx:1.27
    ports: [\"8080:80\"]
    volumes: [\"./pages:/pages\", \"data:/data\"]
    env_file: web.env
    depends_on: [api]
  api:
    build: api
    profiles: [all, build]
    environment: {LEVEL: \"${LEVEL:-info}\", KEY: \"${KEY}\", LATE: \"${LATE:+yes}\"}
    models: [small]
    pre_start: [{image: tool, command: [check]}]
volumes: {data: }
models: {small: {model: ai/small}}
";

/// The shop with all that it needs, every profile on.
fn shop() -> Sandbox {
    let mut sandbox = Sandbox::with_file(SHOP);
    sandbox.write("web.env", "FROM_FILE=1\n");
    sandbox.set("COMPOSE_PROFILES", "all");
    sandbox.set("KEY", "k");
    sandbox
}

#[track_caller]
fn json_of(sandbox: &Sandbox, words: &str) -> Value {
    let ended = sandbox.run(words);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{words}");
    serde_json::from_str(&ended.stdout).expect("it is JSON")
}

#[test]
fn the_file_is_printed_as_it_is_understood() {
    let sandbox = shop();
    for words in ["config", "config --format yaml"] {
        let ended = sandbox.run(words);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.starts_with("name: shop\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("published: \"8080\""), "{}", ended.stdout);
    }
    for words in ["config --format json", "config --json"] {
        let json = json_of(&sandbox, words);
        let web = &json["services"]["web"];
        assert_eq!(web["ports"][0]["target"], 80);
        assert_eq!(web["environment"], json!({"FROM_FILE": "1"}));
        assert_eq!(web["volumes"][0]["source"], "[DIR]/shop/pages");
        assert_eq!(json["services"]["api"]["environment"]["LEVEL"], "info");
    }
}

#[test]
fn quiet_only_checks() {
    let sandbox = shop();
    check(&sandbox.run("config -q"), 0, "", "");
    check(&sandbox.run("config -q --no-interpolate -o out.yaml"), 0, "", "");
    assert!(!sandbox.project().join("out.yaml").exists(), "quiet writes nothing");
    let bad = Sandbox::with_file("services: {web: {image: a, networks: [nowhere]}}\n");
    assert_eq!(bad.run("config -q").code, 1);
}

#[test]
fn the_output_can_go_to_a_file() {
    let sandbox = shop();
    check(&sandbox.run("config -o out.yaml"), 0, "", "");
    check(&sandbox.run("config --format json --output out.json"), 0, "", "");
    let text = std::fs::read_to_string(sandbox.project().join("out.yaml")).unwrap();
    assert!(text.starts_with("name: shop\n") && text.ends_with('\n'), "{text}");
    let text = std::fs::read_to_string(sandbox.project().join("out.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["name"], "shop");
    let ended = sandbox.run("config -o nowhere/out.yaml");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains("cannot write `nowhere/out.yaml`"), "{}", ended.stderr);
}

#[test]
fn names_are_listed_one_a_line() {
    let mut sandbox = shop();
    check(&sandbox.run("config --services"), 0, "web\napi\n", "");
    check(&sandbox.run("config --images"), 0, "nginx:1.27\nshop-api\ntool\n", "");
    check(&sandbox.run("config --networks"), 0, "default\n", "");
    check(&sandbox.run("config --volumes"), 0, "data\n", "");
    check(&sandbox.run("config --models"), 0, "ai/small\n", "");
    check(&sandbox.run("config --profiles"), 0, "all\nbuild\n", "");
    // Names do not depend on what is in the files of variables.
    std::fs::remove_file(sandbox.project().join("web.env")).unwrap();
    check(&sandbox.run("config --services"), 0, "web\napi\n", "");
    assert_eq!(sandbox.run("config --images").code, 1);
    sandbox.write("compose.yaml", "services: {web: {image: a, network_mode: host}}\n");
    sandbox.set("COMPOSE_PROFILES", "");
    for list in ["--networks", "--volumes", "--models", "--profiles"] {
        check(&sandbox.run(&format!("config {list}")), 0, "", "");
    }
}

#[test]
fn the_variables_of_a_file_are_shown() {
    let sandbox = shop();
    let table = "\
NAME                REQUIRED            DEFAULT VALUE       ALTERNATE VALUE
KEY                 false                                   
LATE                false                                   yes
LEVEL               false               info                
";
    check(&sandbox.run("config --variables"), 0, table, "");
    let json = json_of(&sandbox, "config --variables --format json");
    let level =
        json!({"Name": "LEVEL", "DefaultValue": "info", "PresenceValue": "", "Required": false});
    assert_eq!(json["LEVEL"], level);
    let yaml = sandbox.run("config --variables --format yaml").stdout;
    assert!(yaml.contains("  defaultvalue: info\n"), "{yaml}");
    // A file that cannot be used without them can be asked for them.
    let file = "services: {web: {image: \"${IMAGE:?which}\", ports: [\"${PORT}:x\"]}}\n";
    let sandbox = Sandbox::with_file(file);
    assert_eq!(sandbox.run("config").code, 1);
    let json = json_of(&sandbox, "config --variables --format json");
    assert_eq!(
        (&json["IMAGE"]["Required"], &json["PORT"]["Required"]),
        (&true.into(), &false.into())
    );
}

#[test]
fn the_environment_is_what_fills_in_the_file() {
    let sandbox = Sandbox::with_file(SHOP);
    sandbox.write(".env", "FROM_DOT_ENV=1\n");
    let ended = sandbox.run("config --environment --no-env-resolution");
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ended.stderr.as_str()));
    let mut sandbox = shop();
    sandbox.write(".env", "FROM_DOT_ENV=1\nKEY=lost\n");
    sandbox.set("COMPOSE_PROJECT_NAME", "mall");
    let ended = sandbox.run("config --environment");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    for line in ["FROM_DOT_ENV=1", "KEY=k", "COMPOSE_PROJECT_NAME=mall", "PWD=[DIR]/shop"] {
        assert!(ended.stdout.lines().any(|it| it == line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn hashes_tell_whether_a_container_changes() {
    let hash = |file: &str| {
        let sandbox = Sandbox::with_file(file);
        let output = sandbox.command("config --hash web").output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        line.strip_prefix("web ").expect(&line).trim_end().to_owned()
    };
    let plain = hash("services: {web: {image: nginx}}\n");
    // As Docker Compose v5.6.1 prints it.
    assert_eq!(plain, "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3");
    // How many there are and how the image comes about makes no other container.
    let other = hash("services: {web: {image: nginx, scale: 3, pull_policy: always, build: .}}\n");
    assert_eq!(plain, other);
    assert_ne!(plain, hash("services: {web: {image: nginx, user: me}}\n"));

    let sandbox = shop();
    let all = sandbox.run("config --hash *").stdout;
    assert_eq!(all, "api [ID]\nweb [ID]\n");
    check(&sandbox.run("config --hash web,api"), 0, "api [ID]\nweb [ID]\n", "");
    check(&sandbox.run("config --hash api"), 0, "api [ID]\n", "");
    let words = "error: there is no service `shop`\n  hint: `muster config --services` shows which there are\n";
    check(&sandbox.run("config --hash shop"), 1, "", words);
}

#[test]
fn variables_can_stay_as_they_are() {
    let sandbox = shop();
    let json = json_of(&sandbox, "config --no-interpolate --format json");
    let api = &json["services"]["api"];
    assert_eq!(api["environment"]["LEVEL"], "${LEVEL:-info}");
    assert_eq!(api["build"]["context"], "[DIR]/shop/api");
    assert_eq!(api["networks"], json!({"default": null}));
    assert_eq!(json["volumes"]["data"]["name"], "shop_data");
    let yaml = sandbox.run("config --no-interpolate").stdout;
    assert!(yaml.contains("LEVEL: ${LEVEL:-info}\n"), "{yaml}");
    check(&sandbox.run("config --no-interpolate --services"), 0, "api\nweb\n", "");
    let words = "\
error: `--images` needs the variables that `--no-interpolate` leaves out
  hint: give one of the two
";
    check(&sandbox.run("config --no-interpolate --images"), 1, "", words);
}

#[test]
fn steps_can_be_left_out() {
    let sandbox = shop();
    let json = json_of(&sandbox, "config --no-normalize --format json");
    let web = &json["services"]["web"];
    assert_eq!((&web["networks"], &json["networks"]), (&Value::Null, &Value::Null));
    assert_eq!(json["volumes"], json!({"data": {}}));
    assert_eq!(web["ports"][0]["protocol"], "tcp");

    let json = json_of(&sandbox, "config --no-path-resolution --format json");
    assert_eq!(json["services"]["web"]["volumes"][0]["source"], "./pages");
    assert_eq!(json["services"]["api"]["build"]["context"], "api");
    assert_eq!(json["services"]["web"]["environment"]["FROM_FILE"], "1");

    let json = json_of(&sandbox, "config --no-env-resolution --format json");
    let web = &json["services"]["web"];
    assert_eq!(web["env_file"], json!([{"path": "[DIR]/shop/web.env"}]));
    assert_eq!(web["environment"], Value::Null);

    let file = "services: {web: {image: a, networks: [nowhere]}, api: {command: x}}\n";
    let sandbox = Sandbox::with_file(file);
    assert_eq!(sandbox.run("config").code, 1);
    let json = json_of(&sandbox, "config --no-consistency --format json");
    assert_eq!(json["services"]["web"]["networks"], json!({"nowhere": null}));
    // What no other part of the project can mend stays wrong.
    let sandbox = Sandbox::with_file("services: {web: {image: a, pull_policy: sometimes}}\n");
    assert_eq!(sandbox.run("config --no-consistency").code, 1);
}

#[test]
fn services_can_be_chosen_and_bring_what_they_need() {
    let mut sandbox = shop();
    let services = |json: &Value| {
        let services = json["services"].as_object().expect("there are services");
        services.keys().cloned().collect::<Vec<_>>()
    };
    let json = json_of(&sandbox, "config --format json api");
    assert_eq!(services(&json), ["api"]);
    assert_eq!(json["volumes"], Value::Null);
    let json = json_of(&sandbox, "config --format json web");
    assert_eq!(services(&json), ["web", "api"]);
    assert_eq!(json, json_of(&sandbox, "config --dry-run --format json web"));
    check(&sandbox.run("config --images api"), 0, "shop-api\ntool\n", "");
    // The reference lists all names in any case.
    check(&sandbox.run("config --services api"), 0, "web\napi\n", "");
    let words = "\
error: there is no service `apl`
  hint: did you mean `api`?
";
    check(&sandbox.run("config apl"), 1, "", words);
    // Who names a service wants it, whatever its profiles.
    sandbox.set("COMPOSE_PROFILES", "none");
    sandbox.write("compose.yaml", "services: {a: {image: a}, b: {image: b, profiles: [p]}}\n");
    assert_eq!(services(&json_of(&sandbox, "config --format json b")), ["b"]);
}

#[test]
fn digests_are_not_asked_for() {
    for option in ["--resolve-image-digests", "--lock-image-digests"] {
        let ended = shop().run(&format!("config {option}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
        assert!(ended.stderr.contains("it asks registries"), "{}", ended.stderr);
    }
}

#[test]
fn included_paths_stay_relative_to_the_project() {
    let sandbox = Sandbox::with_file("include: [sub/compose.yaml]\nservices: {a: {build: ./a}}\n");
    sandbox.write("sub/compose.yaml", "services: {b: {build: ./b}}\n");
    let json = json_of(&sandbox, "config --no-path-resolution --format json");
    assert_eq!(json["services"]["a"]["build"]["context"], "./a");
    assert_eq!(json["services"]["b"]["build"]["context"], "sub/b");
}

#[test]
fn what_needs_a_registry_is_refused_with_a_reason() {
    let words = "\
error: `--resolve-image-digests` is not done: it asks registries
  hint: write the digest in the file: `image: name@sha256:…`
";
    check(&shop().run("config --resolve-image-digests"), 1, "", words);
}
