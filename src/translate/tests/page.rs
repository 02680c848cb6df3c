//! COMPATIBILITY.md says what the table says. `MUSTER_BLESS=1` writes it.

use std::fmt::Write as _;
use std::path::Path;

use super::super::*;

const HEAD: &str = "\
# Compatibility

What muster does with each key of the Compose Specification: on a cluster of Docker hosts, and in an
export to Kubernetes. Printed from the table in `src/translate/table/`: a test fails when the two differ,
and `MUSTER_BLESS=1 cargo test --lib page` prints it anew.

- **done**: as the Specification says.
- **approximated**: nearly; the reason says what differs.
- **ignored**: without effect. `muster up` says so, with the line.
- **refused**: `muster up` does not run the file, for running it would be wrong.

`muster check` prints the verdicts on your file, `muster check --target kubernetes` those of an export,
which refuses no key. It also knows where a verdict depends on the value, as
`network_mode: container:x` does. A key that is not listed shares the verdict of the key above it;
`*` stands for a name that the file chooses.
";

/// Title, what keys begin with, and what is cut off in front of them.
const PARTS: [(&str, &str); 10] = [
    ("Top level", ""),
    ("Services", "services.*."),
    ("`build` of a service", "services.*.build."),
    ("`deploy` of a service", "services.*.deploy."),
    ("Networks", "networks.*."),
    ("Volumes", "volumes.*."),
    ("Configs", "configs.*."),
    ("Secrets", "secrets.*."),
    ("Jobs, beside the keys of services", "jobs.*."),
    ("In all", ""),
];

/// The part of the page that a row belongs to: the one with the longest beginning.
fn part(row: &Row) -> &'static str {
    let fitting = PARTS.iter().map(|(_, start)| *start).filter(|start| row.key.starts_with(start));
    fitting.max_by_key(|start| start.len()).unwrap_or_default()
}

fn line(row: &Row) -> String {
    let key = &row.key[part(row).len()..];
    let Cell { verdict, by, reason, remedy } = row.cluster;
    let export = table::kubernetes(row.key).unwrap();
    // A bar would end the cell.
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{key}` | {verdict} | {} | {} | {} | {} | {} |\n",
        cell(how(reason, by)),
        cell(remedy),
        export.verdict,
        cell(how(export.reason, export.by)),
        cell(export.remedy),
    )
}

fn how(reason: &'static str, by: By) -> &'static str {
    match (reason, by) {
        ("", By::Loader) => "when the file is read",
        ("", By::Build) => "when the image is built",
        (reason, _) => reason,
    }
}

/// The verdict of one column.
type Pick = fn(&Row) -> Verdict;

fn page() -> String {
    let mut page = HEAD.to_owned();
    let shown: Vec<&Row> = table::rows().filter(|row| row.cluster.by != By::Parts).collect();
    for (title, start) in PARTS {
        let lines: Vec<String> = match title {
            "In all" => Vec::new(),
            _ => shown.iter().filter(|row| part(row) == start).map(|row| line(row)).collect(),
        };
        write!(page, "\n## {title}\n\n").unwrap();
        if lines.is_empty() {
            let of_cluster: Pick = |row| row.cluster.verdict;
            let of_export: Pick = |row| table::kubernetes(row.key).unwrap().verdict;
            for (name, verdict_of) in [("cluster", of_cluster), ("Kubernetes", of_export)] {
                let count = |verdict| shown.iter().filter(|row| verdict_of(row) == verdict).count();
                writeln!(
                    page,
                    "- {name}: {} keys: {} done, {} approximated, {} ignored, {} refused.",
                    shown.len(),
                    count(Verdict::Done),
                    count(Verdict::Approximated),
                    count(Verdict::Ignored),
                    count(Verdict::Refused)
                )
                .unwrap();
            }
            continue;
        }
        page.push_str(
            "| key | cluster | how, or why not | what to do | Kubernetes | how, or why not | what to do \
             |\n|---|---|---|---|---|---|---|\n",
        );
        page.extend(lines);
    }
    page
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("COMPATIBILITY.md");
    let page = page();
    if std::env::var_os("MUSTER_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "COMPATIBILITY.md is old: MUSTER_BLESS=1 cargo test --lib page");
}
