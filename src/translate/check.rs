//! Which keys a project has, and the verdict on each.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::jobs::as_service;
use super::used::{Places, join, used};
use super::verdict::{By, Cell, Note, Notes, Row, Verdict};
use super::{Context, table, translate};
use crate::compose::project::{Project, Service};
use crate::compose::{Loaded, Location};
use crate::model::{HostId, WallSeconds};

/// One line of `muster check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportRow {
    /// The key and its verdict.
    #[serde(flatten)]
    pub note: Note,
    /// Where it stands, or the nearest key above it that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// The verdict of the cluster on every key that a file uses: refusals first, what is done last, each
/// in the order of the file. What no running service uses is not in it.
pub fn report(loaded: &Loaded) -> Vec<ReportRow> {
    // Who asks does not change a verdict.
    let nobody = Context { host: HostId::new(""), command: String::new(), at: WallSeconds(0) };
    let translation = translate(&loaded.project, &nobody);
    let said = translation.refusals.into_iter().chain(translation.notes);
    rows(loaded, said, |row| Some(&row.cluster))
}

/// A row for each note, and for each key of which nothing was said. `column` is where the reason of
/// a key that is done is looked up.
pub(crate) fn rows(
    loaded: &Loaded,
    said: impl Iterator<Item = Note>,
    column: impl Fn(&'static Row) -> Option<&'static Cell>,
) -> Vec<ReportRow> {
    let places = Places::of(loaded);
    let row = |note: Note| ReportRow { location: places.find(&note.path).cloned(), note };
    // What the loader said in place of the file is nobody's to mend.
    let is_implied = |note: &Note| is_restart(&note.path) && !places.is_written(&note.path);
    let mut rows: Vec<ReportRow> = said.filter(|note| !is_implied(note)).map(row).collect();
    let noted: HashSet<String> = rows.iter().map(|row| row.note.path.clone()).collect();
    for (path, key) in used(loaded) {
        if noted.contains(&path) {
            continue;
        }
        // A row that is not "done" says nothing of a value that means nothing.
        let cell = key.row.and_then(&column).filter(|cell| cell.verdict == Verdict::Done);
        let reason = cell.map_or("", |cell| cell.reason).to_owned();
        let note = Note { path, verdict: Verdict::Done, reason, remedy: None };
        rows.push(ReportRow { note, location: Some(key.location.clone()) });
    }
    rows.sort_by(|a, b| {
        let order = |row: &ReportRow| (Reverse(row.note.verdict), row.location.clone());
        order(a).cmp(&order(b))
    });
    rows
}

/// Whether a key is the `restart` of a dependency, which `links` and the like imply.
fn is_restart(path: &str) -> bool {
    path.contains(".depends_on.") && path.ends_with(".restart")
}

/// How many keys got each verdict; of several verdicts on one key the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// As the Specification says.
    pub done: usize,
    /// Nearly.
    pub approximated: usize,
    /// Without effect.
    pub ignored: usize,
    /// Keep the App from being run.
    pub refused: usize,
}

impl Summary {
    /// Counts.
    pub fn of(rows: &[ReportRow]) -> Self {
        let mut worst: HashMap<&str, Verdict> = HashMap::new();
        for ReportRow { note, .. } in rows {
            let verdict = worst.entry(&note.path).or_insert(note.verdict);
            *verdict = (*verdict).max(note.verdict);
        }
        let mut summary = Self::default();
        for verdict in worst.into_values() {
            match verdict {
                Verdict::Done => summary.done += 1,
                Verdict::Approximated => summary.approximated += 1,
                Verdict::Ignored => summary.ignored += 1,
                Verdict::Refused => summary.refused += 1,
            }
        }
        summary
    }
}

/// Adds a note for every key whose row is not "done".
pub(super) fn add_notes(project: &Project, notes: &mut Notes) {
    visit(project, &mut |path, row| {
        let cell = &row.cluster;
        if cell.verdict != Verdict::Done {
            notes.add(path.to_owned(), cell.verdict, cell.reason, cell.remedy);
        }
    });
}

/// The same of the Kubernetes column. Rows in `but_for` are passed over.
pub(crate) fn add_kubernetes_notes(project: &Project, but_for: &[&str], notes: &mut Notes) {
    let mut add = |path: &str, row: &'static Row| {
        let cell = table::kubernetes(row.key).unwrap_or(&row.cluster);
        if cell.verdict != Verdict::Done && !but_for.contains(&row.key) {
            notes.add(path.to_owned(), cell.verdict, cell.reason, cell.remedy);
        }
    };
    visit(project, &mut add);
}

/// The notes on what a step of `pre_start` says itself.
pub(super) fn add_step_notes(path: &str, step: &Value, notes: &mut Notes) {
    walk("services.*", path, step, &mut |path, row| {
        let cell = &row.cluster;
        if cell.verdict != Verdict::Done {
            notes.add(path.to_owned(), cell.verdict, cell.reason, cell.remedy);
        }
    });
}

/// Calls `found` with the path and the row of every key that says something.
fn visit(project: &Project, found: &mut impl FnMut(&str, &'static Row)) {
    let value = serde_json::to_value(project).expect("a project holds only texts, numbers, maps");
    let Value::Object(mut top) = value else { return };
    // What no running service uses says nothing.
    for kind in ["networks", "volumes", "configs", "secrets"] {
        let Some(Value::Object(objects)) = top.get_mut(kind) else { continue };
        objects.retain(|key, _| is_used(project, kind, key));
        let prefix = format!("{}_", project.name);
        for (key, object) in objects.iter_mut() {
            // The name everything gets is not one the file gave.
            let own = object.get("name").and_then(Value::as_str);
            if own == Some(&format!("{prefix}{key}"))
                && let Value::Object(object) = object
            {
                object.remove("name");
            }
        }
    }
    walk("", "", &Value::Object(top), found);
}

/// Whether a running service, or a job, uses an object of the top level.
pub(super) fn is_used(project: &Project, kind: &str, key: &str) -> bool {
    let jobs: Vec<Service> = project.jobs.values().filter_map(as_service).collect();
    project.services.values().chain(&jobs).any(|service| match kind {
        "networks" => {
            service.networks.contains_key(key) || (key == "default" && service.networks.is_empty())
        }
        "volumes" => service.volumes.iter().any(|mount| mount.source.as_deref() == Some(key)),
        "configs" => service.configs.iter().any(|file| file.source == key),
        _ => service.secrets.iter().any(|file| file.source == key),
    })
}

/// What is said of a key that the loader let through and the table lacks.
static UNKNOWN: Row = Row {
    key: "",
    cluster: Cell {
        verdict: Verdict::Ignored,
        by: By::Informative,
        reason: "muster does not know this key",
        remedy: "",
    },
};

/// `pattern` is the path with `*` for names the file chooses; `path` has the names.
fn walk(pattern: &str, path: &str, value: &Value, found: &mut impl FnMut(&str, &'static Row)) {
    if is_empty(value) {
        return;
    }
    let row = table::row(pattern);
    if let Some(row) = row
        && row.cluster.by != By::Parts
    {
        if !is_so_anyway(pattern, value) {
            found(path, row);
        }
        return;
    }
    if row.is_none() && !pattern.is_empty() && !table::has_parts(pattern) {
        found(path, &UNKNOWN);
        return;
    }
    match value {
        Value::Array(items) => {
            for item in items {
                walk(pattern, path, item, found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                if key.starts_with("x-") {
                    continue;
                }
                let chosen = join(pattern, "*");
                let named = join(pattern, key);
                let is_chosen = !pattern.is_empty() && table::has_parts(&chosen);
                let below = if is_chosen { chosen } else { named };
                walk(&below, &join(path, key), value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a key that is not done asks for what happens without it.
fn is_so_anyway(pattern: &str, value: &Value) -> bool {
    let text = value.as_str();
    let of_service = pattern.strip_prefix("jobs.*.").map(|rest| format!("services.*.{rest}"));
    match of_service.as_deref().unwrap_or(pattern) {
        "services.*.isolation" | "services.*.build.isolation" => text == Some("default"),
        "services.*.build.provenance" | "services.*.build.sbom" => text == Some("false"),
        "volumes.*.driver" => text == Some("local"),
        "services.*.ports.host_ip" => matches!(text, Some("0.0.0.0" | "::")),
        "services.*.stop_signal" => matches!(text, Some("SIGTERM" | "TERM" | "15")),
        "networks.*.ipam" => *value == serde_json::json!({"driver": "default"}),
        _ => false,
    }
}

/// Nothing, or what a key means when it is left out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}
