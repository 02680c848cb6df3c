//! Rules of the code base that a compiler cannot check: which room may use which crate, what
//! `logic/` must not know, where tasks are started, how long a file may be. Reads the source as
//! text; never builds or changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file that are neither blank nor tests.
const LINES_MAX: usize = 400;

/// Files that may be longer, each with its reason. One that no longer is must leave the list.
const LONG: &[(&str, &str)] = &[
    ("src/logic/host.rs", "the diff of one host is one table of cases"),
    ("src/logic/membership.rs", "one state machine; its handlers share every field"),
    ("src/logic/plan.rs", "one pure function and the steps of it, read top down"),
    ("src/model/revision.rs", "a list of nouns without behaviour"),
    ("src/swarm/transport.rs", "one table of peers and all that changes it"),
];

/// Crates that belong to one room, and the files that may use them.
const ROOMS: &[(&[&str], &[&str])] = &[
    (&["granit_parser", "serde_yaml"], &["src/compose/"]),
    (&["bollard"], &["src/docker/"]),
    (&["quinn", "rcgen", "x509_parser"], &["src/swarm/"]),
    // A replica may be asked over TLS how it is.
    (&["rustls"], &["src/swarm/", "src/agent/probes/tls.rs"]),
    (&["rtnetlink"], &["src/network/"]),
    (&["tun_rs"], &["src/overlay/"]),
    (&["axum", "tower"], &["src/api/"]),
    (
        &["clap", "indicatif", "comfy_table", "ratatui", "anstream", "anyhow"],
        &["src/cli/", "src/main.rs", "src/telemetry.rs"],
    ),
    (&["muster_dns"], &["src/agent/", "src/network/"]),
];

/// All that `logic` may know: data, and nothing that does.
const LOGIC_MAY_USE: &[&str] = &[
    "std",
    "core",
    "crate",
    "super",
    "self",
    "ipnet",
    "serde",
    "indexmap",
    "thiserror",
    "bytes",
    // They compute with times that they are given, and have the time zones in them.
    "croner",
    "jiff",
];

/// What makes a decision depend on more than its arguments, or on the order of a hash.
const LOGIC_MUST_NOT: &[&str] = &[
    "tokio",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "rand",
    "async",
    "await",
    "Mutex",
    "RwLock",
    "thread",
    "std::fs",
    "std::env",
    "std::process",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "Zoned::now",
    "Timestamp::now",
    "TimeZone::system",
];

/// Words that start a task or a thread.
const SPAWNS: &[&str] =
    &["tokio::spawn", "task::spawn", "spawn_blocking", "spawn_local", "thread::spawn", "JoinSet"];

/// Where that is right, each with its reason.
const MAY_SPAWN: &[(&str, &str)] = &[
    ("src/supervisor.rs", "it is what the rule sends everyone to"),
    ("src/agent/driver.rs", "one write to disk, awaited before anything else is done"),
    ("src/agent/ledger.rs", "one write to disk at a time, awaited before the next"),
    ("dns/src/", "a crate of its own; its sets end with the server that owns them"),
];

/// The only place that prints.
const PRINTER: &str = "src/cli/printer";

/// A source file without comments and tests.
struct Source {
    path: String,
    text: String,
    /// Number and code of each line that is neither comment nor test.
    code: Vec<(usize, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).into_iter().flatten().flatten() {
        let path = entry.path();
        let relative = path.strip_prefix(root()).expect("below the root").to_owned();
        if path.is_dir() {
            files(&relative.to_string_lossy(), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(relative);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in folders {
        files(folder, &mut paths);
    }
    assert!(!paths.is_empty(), "there is source in {folders:?}");
    paths.sort();
    paths.iter().map(|path| Source::read(path)).collect()
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(root().join(path)).expect("source is text");
        let path = path.to_string_lossy().into_owned();
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        let lines: Vec<&str> = text.lines().collect();
        let n_lines = if is_test { 0 } else { before_tests(&lines) };
        let code = lines[..n_lines].iter().enumerate();
        let code = code.map(|(n, line)| (n + 1, uncommented(line).to_owned()));
        let code = code.filter(|(_, line)| !line.trim().is_empty()).collect();
        Self { path, text, code }
    }

    /// Lines of code that hold a word.
    fn lines_with(&self, word: &str) -> Vec<String> {
        let lines = self.code.iter().filter(|(_, line)| has_word(line, word));
        lines.map(|(n, line)| format!("{}:{n}: {}", self.path, line.trim())).collect()
    }

    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// The number of lines before `#[cfg(test)] mod … {`, which ends a file.
fn before_tests(lines: &[&str]) -> usize {
    let begin = lines.windows(2).position(|pair| {
        pair[0].starts_with("#[cfg(test)]") && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    begin.unwrap_or(lines.len())
}

fn uncommented(line: &str) -> &str {
    // `://` is an address in a string.
    let starts = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    starts.map_or(line, |(at, _)| &line[..at])
}

/// Whether `word` is there as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

/// Whether a line uses a crate: `use name`, or a path that begins with it.
fn uses_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let begins = line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    });
    begins || line.trim() == format!("use {name};")
}

#[track_caller]
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_scanner_sees_words_crates_and_comments() {
    assert!(has_word("let a: Instant = now;", "Instant"));
    assert!(!has_word("let a: InstantLike = now;", "Instant"));
    assert!(uses_crate("use quinn::Endpoint;", "quinn") && uses_crate("a(quinn::b())", "quinn"));
    assert!(!uses_crate("use crate::quinn::Endpoint;", "quinn"));
    assert_eq!(uncommented("a(); // tokio::spawn"), "a(); ");
    assert_eq!(uncommented("\"unix:///run\""), "\"unix:///run\"");
    assert_eq!(before_tests(&["fn a() {}", "#[cfg(test)]", "mod tests {", "}"]), 1);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = sources(&["src", "dns", "tests", "benches"]).into_iter();
    let silent = silent.filter(|source| !source.text.starts_with("//! "));
    none("files without `//!` in the first line", silent.map(|source| source.path).collect());
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut found = Vec::new();
    for source in sources(&["src", "dns/src"]) {
        for (crates, places) in ROOMS {
            if source.is_in(places) {
                continue;
            }
            let strays = source
                .code
                .iter()
                .filter(|(_, line)| crates.iter().any(|name| uses_crate(line, name)));
            found.extend(strays.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())));
        }
    }
    none("crates used outside their rooms", found);
}

#[test]
fn logic_decides_and_never_does() {
    let mut found = Vec::new();
    for source in sources(&["src/logic"]) {
        for word in LOGIC_MUST_NOT {
            found.extend(source.lines_with(word));
        }
        for (n, line) in &source.code {
            let used = line.trim().trim_start_matches("pub ").strip_prefix("use ");
            let name = used.map(|path| path.split([':', ';', ' ']).next().unwrap_or_default());
            // A `mod` of this room may be named without `self`.
            let is_sibling =
                |name: &str| root().join("src/logic").join(format!("{name}.rs")).exists();
            if name.is_some_and(|name| !LOGIC_MAY_USE.contains(&name) && !is_sibling(name)) {
                found.push(format!("{}:{n}: {}", source.path, line.trim()));
            }
            let rooms = line.match_indices("crate::").map(|(at, _)| &line[at + 7..]);
            for room in rooms {
                if !room.starts_with("model") && !room.starts_with("logic") {
                    found.push(format!("{}:{n}: {}", source.path, line.trim()));
                }
            }
        }
    }
    none("`logic` may not use this", found);
}

#[test]
fn model_knows_neither_engine_nor_runtime() {
    let mut found = Vec::new();
    for source in sources(&["src/model"]) {
        for word in ["tokio", "bollard", "quinn", "serde_yaml", "async"] {
            found.extend(source.lines_with(word));
        }
    }
    none("`model` may not use this", found);
}

#[test]
fn dns_knows_no_muster() {
    let found: Vec<String> =
        sources(&["dns/src"]).iter().flat_map(|source| source.lines_with("muster")).collect();
    none("`dns` stands alone", found);
    let manifest = fs::read_to_string(root().join("dns/Cargo.toml")).expect("it is there");
    assert!(!manifest.contains("path ="), "`dns` depends on nothing of ours");
}

#[test]
fn tasks_are_started_by_the_supervisor() {
    let mut found = Vec::new();
    for source in sources(&["src", "dns/src"]) {
        if MAY_SPAWN.iter().any(|(place, _)| source.path.starts_with(place)) {
            continue;
        }
        for word in SPAWNS {
            // Blocking work that is awaited where it is started is no task.
            let lines = source.lines_with(word).into_iter();
            found.extend(
                lines.filter(|line| !(line.contains("spawn_blocking") && line.contains(".await"))),
            );
        }
    }
    none("spawn through `Supervisor`, or give a reason in tests/tidy.rs", found);
}

#[test]
fn only_the_printer_prints() {
    let mut found = Vec::new();
    for source in sources(&["src", "dns/src"]) {
        if source.is_in(&[PRINTER]) {
            continue;
        }
        for word in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
            let lines = source.code.iter().filter(|(_, line)| line.trim_start().starts_with(word));
            found.extend(lines.map(|(n, line)| format!("{}:{n}: {}", source.path, line.trim())));
        }
    }
    none("printed outside `cli::printer`", found);
}

#[test]
fn files_are_short_or_say_why_not() {
    let reasons: BTreeMap<&str, &str> = LONG.iter().copied().collect();
    let mut found = Vec::new();
    let mut long = BTreeSet::new();
    for source in sources(&["src", "dns/src"]) {
        let is_test = source.code.is_empty();
        let lines: Vec<&str> = source.text.lines().collect();
        let n_lines = if is_test { 0 } else { before_tests(&lines) };
        let n_lines = lines[..n_lines].iter().filter(|line| !line.trim().is_empty()).count();
        if n_lines <= LINES_MAX {
            continue;
        }
        if !reasons.contains_key(source.path.as_str()) {
            found.push(format!("{}: {n_lines} lines, at most {LINES_MAX}", source.path));
        }
        long.insert(source.path);
    }
    none("split along a real seam, or give a reason in tests/tidy.rs", found);
    let stale: Vec<String> = reasons
        .keys()
        .filter(|path| !long.contains(**path))
        .map(|path| (*path).to_owned())
        .collect();
    none("no longer long; take it off the list", stale);
}

#[test]
fn every_example_is_documented() {
    let mut n_examples = 0;
    for entry in fs::read_dir(root().join("compose-examples")).expect("it is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(entry.path().join("compose.yaml").is_file(), "`{name}` has a compose.yaml");
        let readme = fs::read_to_string(entry.path().join("README.md")).unwrap_or_default();
        assert!(readme.starts_with(&format!("# {name}\n")), "the README of `{name}` has its name");
        assert!(readme.contains("muster up"), "the README of `{name}` says how to run it");
        n_examples += 1;
    }
    assert!(n_examples >= 3, "{n_examples} examples");
}

#[test]
fn documents_name_commands_that_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("it is there");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(": ").map(|(name, _)| name)).collect();
    let mut found = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "tests/cluster/README.md"] {
        let text = fs::read_to_string(root().join(document)).expect(document);
        for (at, _) in text.match_indices("`make ") {
            let rest = &text[at + 6..];
            let target = rest.split([' ', '`']).next().unwrap_or_default();
            if !targets.contains(target) {
                found.push(format!("{document}: `make {target}`"));
            }
        }
        for (at, _) in text.match_indices("tests/") {
            let rest = text[at..].split(|c: char| !(c.is_alphanumeric() || "/._-".contains(c)));
            let path = rest.into_iter().next().unwrap_or_default().trim_end_matches(['.', '/']);
            if !root().join(path).exists() {
                found.push(format!("{document}: `{path}`"));
            }
        }
    }
    none("documents name what is not there", found);
}

/// Which rows of the fault matrix a test is named after.
fn rows_of(name: &str) -> Vec<&str> {
    let parts = name.strip_prefix("row_").map(|rest| rest.split('_')).into_iter().flatten();
    parts.take_while(|part| part.len() == 2 && part.parse::<u8>().is_ok()).collect()
}

#[test]
fn the_fault_matrix_and_its_tests_agree() {
    let mut found: BTreeMap<String, BTreeSet<char>> = BTreeMap::new();
    let mut paths = Vec::new();
    for folder in ["src", "dns", "tests"] {
        files(folder, &mut paths);
    }
    for path in paths {
        let kind = if path.starts_with("tests/sim") {
            'S'
        } else if path.starts_with("tests/cluster") {
            'H'
        } else {
            'U'
        };
        let text = fs::read_to_string(root().join(path)).expect("it is text");
        let names = text.lines().filter_map(|line| line.trim_start().split("fn row_").nth(1));
        for name in names {
            let name = format!("row_{name}");
            for row in rows_of(&name) {
                found.entry(row.to_owned()).or_default().insert(kind);
            }
        }
    }
    let page = fs::read_to_string(root().join("tests/FAULTS.md")).expect("it is there");
    let cells = |line: &str| -> Vec<String> {
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let listed: BTreeMap<String, BTreeSet<char>> = page
        .lines()
        .map(cells)
        .filter(|cells| cells.len() == 6 && cells[1].parse::<u8>().is_ok())
        .map(|cells| (cells[1].clone(), cells[4].chars().filter(|c| *c != ' ').collect()))
        .collect();
    assert!(listed.len() >= 30, "the table was not read");
    assert_eq!(listed, found);
}
