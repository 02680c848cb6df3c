//! What is not carried over exactly, key by key: from the Kubernetes column of the verdict table,
//! and from what the export met on the way.

use std::fmt::Write as _;

use super::draft::{self, Step};
use super::object::{Container, Resources};
use super::{Objects, Options, Publish};
use crate::compose::Loaded;
use crate::translate::check::{ReportRow, Summary, add_kubernetes_notes, rows};
use crate::translate::{Notes, Verdict, table};

/// The report of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// A row a key and reason, the worst first; keys that are done come last.
    pub rows: Vec<ReportRow>,
    /// How many keys got each verdict.
    pub summary: Summary,
}

/// The report on a file that became these objects.
pub(super) fn of(loaded: &Loaded, objects: &Objects, options: &Options) -> Report {
    let mut but_for = Vec::new();
    if options.publish != Publish::Inside {
        but_for.push("services.*.ports.published");
    }
    if options.network_policies {
        but_for.push("networks.*.internal");
    }
    let mut notes = Notes::default();
    add_kubernetes_notes(&loaded.project, &but_for, &mut notes);
    let said = objects.notes.all().iter().chain(notes.all()).cloned();
    let rows = rows(loaded, said, |row| table::kubernetes(row.key));
    let summary = Summary::of(&rows);
    Report { rows, summary }
}

/// MIGRATION.md: what to do, what each workload is allowed, what differs.
pub(super) fn page(objects: &Objects, report: &Report, apply: &str) -> String {
    let mut page = String::from(
        "# Migration\n\nWritten by `muster export` beside the objects: what is left to do, and what \
         differs from the\nCompose file. An export of the same file writes the same page.\n",
    );
    let mut titles: Vec<&str> = objects.steps.iter().map(|step| step.title).collect();
    titles.sort_unstable();
    titles.dedup();
    let (before, after): (Vec<&str>, Vec<&str>) =
        titles.into_iter().partition(|title| BEFORE.contains(title));
    steps(objects, &before, &mut page);
    if !objects.expected.is_empty() {
        page.push_str("\n## What has to be in the cluster\n\n");
        for what in &objects.expected {
            let (kind, name) = what.split_once('/').unwrap_or(("", what));
            let _ = writeln!(page, "- {kind} `{name}`");
        }
    }
    let _ = write!(page, "\n## Apply\n\nIn this folder:\n\n```\n{apply}\n```\n");
    steps(objects, &after, &mut page);
    requests(objects, &mut page);
    levels(objects, &mut page);
    differences(report, &mut page);
    page
}

/// What has to be done before the objects can run.
const BEFORE: [&str; 3] = ["Images to build", "Secrets to make", "Secrets to put into pods"];

/// What a person has to do, by titles.
fn steps(objects: &Objects, titles: &[&str], page: &mut String) {
    for title in titles {
        let _ = write!(page, "\n## {title}\n\n");
        for Step { words, command, .. } in objects.steps.iter().filter(|it| it.title == *title) {
            let _ = writeln!(page, "- {words}");
            if let Some(command) = command {
                let _ = write!(page, "\n  ```\n  {}\n  ```\n", command.replace('\n', "\n  "));
            }
        }
    }
}

/// Workloads that the scheduler knows nothing of.
fn requests(objects: &Objects, page: &mut String) {
    let says = |container: &Container| {
        let Resources { requests, limits } = &container.resources;
        ["cpu", "memory"].iter().all(|key| requests.contains_key(*key) || limits.contains_key(*key))
    };
    let silent = objects.entries.iter().filter(|entry| {
        let template = entry.object.body.template();
        template.is_some_and(|template| !template.spec.containers.iter().all(says))
    });
    let names: Vec<String> = silent.map(|entry| entry.object.metadata.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "\n## Requests\n\nOf these the file does not say how much CPU and memory they need, so nodes are filled \
         without\nregard to it: {}. Say it under `deploy.resources` there; `--vpa recommend` has it found out.\n",
        draft::list(&names)
    );
}

fn levels(objects: &Objects, page: &mut String) {
    page.push_str(
        "\n## Pod Security\n\nThe level that a namespace must allow, and what keeps a workload from \
         the next stricter one.\n\n| workload | level | because |\n|---|---|---|\n",
    );
    for (name, level) in &objects.levels {
        let reasons = level.reasons.join(", ");
        let _ = writeln!(page, "| {name} | {} | {} |", level.name, cell(&reasons));
    }
}

fn differences(report: &Report, page: &mut String) {
    let Summary { done, approximated, ignored, refused } = report.summary;
    let _ = write!(
        page,
        "\n## What differs\n\n{done} keys are carried over as they are, {approximated} nearly, {} not \
         at all.\n\n",
        ignored + refused
    );
    if approximated + ignored + refused == 0 {
        return;
    }
    page.push_str("| line | key | | why | what to do |\n|---|---|---|---|---|\n");
    for row in report.rows.iter().filter(|row| row.note.verdict != Verdict::Done) {
        let place = row.location.as_ref();
        let place = place.map_or_else(String::new, |at| format!("{}:{}", short(&at.file), at.line));
        let remedy = row.note.remedy.as_deref().unwrap_or_default();
        let _ = writeln!(
            page,
            "| {place} | `{}` | {} | {} | {} |",
            cell(&row.note.path),
            row.note.verdict,
            cell(&row.note.reason),
            cell(remedy)
        );
    }
}

/// The name of a file without its folders: the page is the same wherever the project is.
pub(super) fn short(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// A bar would end the cell, a line break the row.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
