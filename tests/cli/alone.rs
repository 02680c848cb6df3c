//! Commands that need no agent, or find none.

use std::io::{BufRead, BufReader};

use crate::harness::{Sandbox, check};

const SHOP: &str = "services:\n  web:\n    image: nginx:1.27\n    ports: [\"8080:80\"]\n";

const NO_AGENT: &str = "\
error: no agent answers on `[DIR]/muster.sock`
  hint: start one with `muster agent`; `muster up` starts one by itself
";

#[test]
fn version_is_data() {
    let sandbox = Sandbox::new();
    let version = env!("CARGO_PKG_VERSION");
    check(&sandbox.run("version"), 0, &format!("muster {version}\n"), "");
    check(&sandbox.run("--version"), 0, &format!("muster {version}\n"), "");
    let json = format!("{{\n  \"version\": \"{version}\"\n}}\n");
    check(&sandbox.run("version --json"), 0, &json, "");
}

#[test]
fn what_a_command_does_is_not_under_what_says_which_project() {
    let help = Sandbox::new().run("up --help").stdout;
    let (own, project) = help.split_once("Project options:").expect("it is about a project");
    assert!(own.contains("--detach") && !own.contains("--project-name"), "{help}");
    assert!(project.contains("--project-name") && !project.contains("--detach"), "{help}");
}

#[test]
fn help_names_every_command() {
    let ended = Sandbox::new().run("--help");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let commands = [
        "init",
        "join",
        "token",
        "nodes",
        "node",
        "network",
        "operator",
        "context",
        "ca",
        "up",
        "plan",
        "down",
        "ps",
        "ls",
        "logs",
        "run",
        "exec",
        "cp",
        "top",
        "scale",
        "check",
        "config",
        "audit",
        "agent",
        "version",
        "completion",
    ];
    for command in commands {
        let line = ended.stdout.lines().find(|line| {
            line.strip_prefix("  ").is_some_and(|line| line.split(' ').next() == Some(command))
        });
        let line = line.unwrap_or_else(|| panic!("`{command}` is not in the help"));
        assert!(line.trim().len() > command.len() + 5, "`{command}` has no words: {line}");
    }
    assert!(ended.stdout.contains("Exit codes: 0 done"), "{}", ended.stdout);
}

#[test]
fn wrong_usage_is_2() {
    let sandbox = Sandbox::with_file(SHOP);
    for words in
        ["", "fly", "up --wings", "scale", "scale web", "token", "config --images --services"]
    {
        let ended = sandbox.run(words);
        assert_eq!(ended.code, 2, "{words}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{words}");
        assert!(ended.stderr.contains("--help"), "{words}: {}", ended.stderr);
    }
    let ended = sandbox.run("scale web=many");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("`web=many` is not as in `web=5`"), "{}", ended.stderr);
}

#[test]
fn an_agent_that_is_not_there_is_one_clear_error() {
    let sandbox = Sandbox::with_file(SHOP);
    let all = [
        "nodes",
        "ls",
        "ps",
        "plan",
        "down",
        "logs -f",
        "scale web=2",
        "init",
        "join token",
        "token create",
        "up --dry-run",
    ];
    for words in all {
        check(&sandbox.run(words), 1, "", NO_AGENT);
    }
}

#[test]
fn a_socket_that_is_not_ours_says_so() {
    let mut sandbox = Sandbox::new();
    sandbox.set("MUSTER_SOCKET", "/proc/self/mem");
    let ended = sandbox.run("ls");
    // As root the system lets us in and refuses the connection.
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("/proc/self/mem"), "{}", ended.stderr);
}

/// A key of each verdict.
const MIXED: &str = "\
services:
  web:
    image: nginx:1.27
    isolation: hyperv
    container_name: front
    ports: [\"8080:80\"]
  db:
    image: postgres:17
    container_name: store
";

#[test]
fn check_says_what_is_not_simply_done() {
    let sandbox = Sandbox::with_file(MIXED);
    let text = "\
compose.yaml

ignored: without effect
  line 4  services.web.isolation
      it is for Windows containers

approximated: nearly as the Specification says
  line 5  services.web.container_name
  line 9  services.db.container_name
      other services reach it by this name; in Docker each replica has a name of its own
      hint: see `muster ps` for the names in Docker

3 done, 2 approximated, 1 ignored, 0 refused
";
    check(&sandbox.run("check"), 0, text, "");
    let strict = "\
error: 3 keys not done as the Specification says
  hint: without `--strict` this is no error
";
    check(&sandbox.run("check --strict"), 1, text, strict);
    check(&sandbox.run("check --strict -q"), 1, "", strict);
    let all = sandbox.run("check --all").stdout;
    let done = "\
done: as the Specification says
  line 3  services.web.image
  line 6  services.web.ports
  line 8  services.db.image

3 done,";
    assert!(all.contains(done), "{all}");
    let files = std::fs::read_dir(sandbox.project()).unwrap();
    assert_eq!(files.count(), 1, "it writes nothing");
}

#[test]
fn check_fails_when_a_key_is_refused() {
    let sandbox = Sandbox::with_file(&MIXED.replace("isolation: hyperv", "use_api_socket: true"));
    let ended = sandbox.run("check");
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (1, "error: the app cannot be run: 1 key refused\n")
    );
    assert!(ended.stdout.contains("  line 4  services.web.use_api_socket\n"), "{}", ended.stdout);
    let ended = sandbox.run("check --json");
    assert_eq!(ended.code, 1);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["app"], "shop");
    assert_eq!(json["summary"]["refused"], 1);
    assert_eq!(json["keys"].as_array().unwrap().len(), 3);
    let key = &json["keys"][0];
    assert_eq!(
        (&key["path"], &key["verdict"]),
        (&"services.web.use_api_socket".into(), &"refused".into())
    );
    assert_eq!(key["location"]["line"], 4);
    assert!(key["remedy"].is_string() && key["reason"].is_string(), "{key}");
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run("check --all --json").stdout).unwrap();
    assert_eq!(json["keys"].as_array().unwrap().len(), 6);
}

#[test]
fn check_names_the_file_when_there_are_several() {
    let sandbox = Sandbox::with_file(MIXED);
    sandbox.write("compose.override.yaml", "services: {db: {isolation: hyperv}}\n");
    let ended = sandbox.run("check");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let words = "  compose.override.yaml:1  services.db.isolation\n";
    assert!(ended.stdout.contains(words), "{}", ended.stdout);
    assert!(ended.stdout.contains("  compose.yaml:4           services.web.isolation\n"));
}

#[test]
fn project_options_stand_before_or_after_the_command() {
    let sandbox = Sandbox::new();
    sandbox.write("other.yaml", SHOP);
    for words in ["-f other.yaml -p mall config", "config -f other.yaml -p mall"] {
        let ended = sandbox.run(words);
        assert!(ended.stdout.starts_with("name: mall\n"), "{words}: {ended:?}");
    }
}

#[test]
fn compose_variables_count() {
    let mut sandbox = Sandbox::new();
    sandbox.write("other.yaml", SHOP);
    sandbox.set("COMPOSE_FILE", "other.yaml");
    sandbox.set("COMPOSE_PROJECT_NAME", "bazaar");
    let ended = sandbox.run("config");
    assert!(ended.stdout.starts_with("name: bazaar\n"), "{ended:?}");
}

#[test]
fn a_bad_file_is_shown_with_its_line() {
    let sandbox = Sandbox::with_file("services:\n  web:\n    imgae: nginx\n");
    for words in ["check", "config", "config -q", "up", "plan"] {
        let ended = sandbox.run(words);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{words}");
        assert!(ended.stderr.contains("error: "), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains("compose.yaml:3:5"), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains("imgae: nginx"), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{words}: {}", ended.stderr);
    }
}

#[test]
fn without_a_file_the_error_says_what_to_do() {
    let sandbox = Sandbox::new();
    for words in ["config", "up", "ps", "down"] {
        let ended = sandbox.run(words);
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{words}");
        assert!(ended.stderr.starts_with("error: "), "{words}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: "), "{words}: {}", ended.stderr);
    }
    // With a name none is needed.
    check(&sandbox.run("ps -p shop"), 1, "", NO_AGENT);
    let ended = sandbox.run("ps -p Shop");
    let words = "\
error: `Shop` is no project name
  hint: a name has a-z, 0-9, `-`, `_`, and begins with a letter or a digit
";
    check(&ended, 1, "", words);
}

#[test]
fn colours_need_a_terminal() {
    let mut sandbox = Sandbox::with_file("services:\n  web:\n    imgae: nginx\n");
    assert!(!sandbox.run("config").stderr.contains('\u{1b}'));
    sandbox.set("CLICOLOR_FORCE", "1");
    assert!(sandbox.run("config").stderr.contains('\u{1b}'));
    sandbox.set("NO_COLOR", "1");
    sandbox.set("CLICOLOR_FORCE", "0");
    assert!(!sandbox.run("config").stderr.contains('\u{1b}'));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let sandbox = Sandbox::new();
    let mut child = sandbox.command("completion bash").spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("_muster()"), "{line}");
    check(&sandbox.end_of(child), 0, "", "");
}
