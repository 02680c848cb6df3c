//! Inputs that fuzzing found, and bombs: each must end without a panic, and what its target promises
//! must hold.
//!
//! `found/<target>/*` are the inputs; a file's name says what was wrong. `make fuzz TARGET=load
//! SECONDS=60` looks for more.

#![expect(clippy::unwrap_used, reason = "a test may stop at a broken fixture")]

use std::fs;
use std::path::{Path, PathBuf};

use muster::compose::fuzzing::TARGETS;
use muster::compose::{LoadOptions, load};

const WEB: &str = "services: {web: {image: a}}\n";

/// Loads a project of some files and expects the message that names the limit.
#[track_caller]
fn refused(files: &[(&str, String)], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let working_directory = folder.path().to_path_buf();
    let failed = load(&LoadOptions { working_directory, ..LoadOptions::default() });
    let failed = failed.map(|_| ()).expect_err(expected);
    let messages: Vec<&str> = failed.diagnostics.iter().map(|one| one.message.as_str()).collect();
    assert!(messages.iter().any(|one| one.contains(expected)), "{expected}: {messages:?}");
}

#[track_caller]
fn file_refused(text: String, expected: &str) {
    refused(&[("compose.yaml", text)], expected);
}

fn numbered(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(line).collect()
}

#[test]
fn a_file_that_grows_when_it_is_read_is_refused() {
    let laughs = numbered(12, |i| {
        let all = format!("*a{i}, ").repeat(9);
        format!("x-a{0}: &a{0} [{all}]\n", i + 1)
    });
    file_refused(format!("x-a: &a0 [x, x, x]\n{laughs}"), "expand this file to more than 100000");
    let anchors = numbered(60, |i| format!("&a{i} ["));
    let nested = format!("x-a: {anchors}{}{}\n", "x,".repeat(5000), "]".repeat(60));
    file_refused(nested, "expand this file to more than 100000");
    let merges = numbered(20, |i| {
        format!(
            "x-{0}: &m{0} {{<<: [*m{i}, *m{i}], a{0}: *m{i}, b{0}: *m{i}, c{0}: *m{i}}}\n",
            i + 1
        )
    });
    file_refused(format!("x-0: &m0 {{k: v}}\n{merges}"), "expand this file");
    file_refused(format!("x-a: {}\n", "[".repeat(10_000)), "nested more than 64 levels");
    let nested = numbered(200, |i| format!("{}a:\n", " ".repeat(i)));
    file_refused(nested, "nested more than 64 levels");
    file_refused("services: &a {web: !reset {image: a, x: *a}}\n".to_owned(), "inside the block");
}

#[test]
fn ports_are_counted() {
    let ranges = numbered(60, |i| format!("\"10.0.0.{i}:1-65000:1-65000\","));
    let one = format!("services: {{web: {{image: a, ports: [{ranges}]}}}}\n");
    file_refused(one, "more than 100000 ports in all");
    let each = numbered(60, |i| format!("  s{i}: {{image: a, ports: [1-65000]}}\n"));
    file_refused(format!("services:\n{each}"), "more than 100000 ports in all");
}

#[test]
fn variables_have_limits() {
    let nested = format!("{}x{}", "${A:-".repeat(5000), "}".repeat(5000));
    file_refused(format!("services: {{web: {{image: \"{nested}\"}}}}\n"), "more than 64 levels");
    let large =
        ("compose.yaml", format!("services: {{web: {{command: [{}]}}}}\n", "$A, ".repeat(600)));
    let env = (".env", format!("A={}\n", "x".repeat(500_000)));
    refused(&[large, env], "larger than 24 MiB");
    let doubling = numbered(40, |i| format!("A{}=${{A{i}}}${{A{i}}}\n", i + 1));
    let env = (".env", format!("A0=0123456789\n{doubling}"));
    refused(&[("compose.yaml", WEB.to_owned()), env], "longer than 1 MiB");
    let many = numbered(40, |i| format!("B{i}=$A\n"));
    let env = (".env", format!("A={}\n{many}", "x".repeat(500_000)));
    refused(&[("compose.yaml", WEB.to_owned()), env], "larger than 16 MiB");
    let services = numbered(400, |i| format!("  s{i}: {{image: a, env_file: all.env}}\n"));
    let env = ("all.env", format!("A={}\n", "x".repeat(700_000)));
    refused(&[("compose.yaml", format!("services:\n{services}")), env], "more than 256 MiB");
}

#[test]
fn includes_and_extensions_have_limits() {
    let chain: Vec<(String, String)> = (0..20)
        .map(|i| (format!("f{i}.yaml"), format!("include: [f{}.yaml]\n{WEB}", i + 1)))
        .collect();
    let mut files: Vec<(&str, String)> =
        chain.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    files.push(("compose.yaml", format!("include: [f0.yaml]\n{WEB}")));
    refused(&files, "included more than 16 files deep");
    let circle = [
        ("compose.yaml", format!("include: [b.yaml]\n{WEB}")),
        ("b.yaml", format!("include: [compose.yaml]\n{WEB}")),
    ];
    refused(&circle, "in a circle: `compose.yaml`, then `b.yaml`, then `compose.yaml`");
    let fan = format!("include:\n{}{WEB}", "- b.yaml\n".repeat(1001));
    refused(&[("compose.yaml", fan), ("b.yaml", WEB.to_owned())], "more than 1000 files");
    let fan = format!("include:\n{}{WEB}", "- b.yaml\n".repeat(20));
    let large = ("b.yaml", format!("{}{WEB}", "# a comment\n".repeat(300_000)));
    refused(&[("compose.yaml", fan), large], "larger than 64 MiB");
    let chain = numbered(30, |i| format!("  s{}: {{extends: s{i}}}\n", i + 1));
    file_refused(format!("services:\n  s0: {{image: a}}\n{chain}"), "more than 16 services extend");
    let options = numbered(10_000, |i| format!("o{i}, "));
    let base = format!("services:\n  base: {{image: a, security_opt: [{options}]}}\n");
    let fan = numbered(300, |i| format!("  s{i}: {{extends: base}}\n"));
    file_refused(format!("{base}{fan}"), "copy more than 400000 values");
    let steps = "{command: x}, ".repeat(300);
    let web = format!(
        "services: {{web: {{image: a, security_opt: [{options}], pre_start: [{steps}]}}}}\n"
    );
    file_refused(web, "inherit more than 400000 values");
}

#[test]
fn services_and_messages_are_counted() {
    let services = numbered(10_001, |i| format!("  s{i}: {{image: a}}\n"));
    file_refused(format!("services:\n{services}"), "10001 services; there may be 10000");
    let unknown = numbered(5000, |i| format!("    imag{i}: a\n"));
    file_refused(format!("services:\n  web:\n{unknown}"), "4900 more messages are not shown");
    file_refused(" ".repeat(17 * 1024 * 1024), "larger than 16 MiB");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn what_was_found_is_mended() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    let all = TARGETS.into_iter().chain(muster::agent::fuzzing::TARGETS);
    let all = all.chain(muster::overlay::fuzzing::TARGETS).chain(muster_dns::fuzzing::TARGETS);
    for (name, target) in all {
        let files = files(&found.join(name));
        assert!(!files.is_empty(), "`{name}` has no inputs");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "{}", file.display());
        }
    }
}
