//! Which keys a project has, and the verdict on each.

use serde::Serialize;
use serde_json::Value;

use super::verdict::{By, Cell, Note, Notes, Row, Verdict};
use super::{Context, table, translate};
use crate::compose::project::Project;
use crate::model::{HostId, WallSeconds};

/// One line of `muster check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportRow {
    /// The key and its verdict.
    #[serde(flatten)]
    pub note: Note,
    /// Where it stands: `compose.yaml:12:5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// The verdict on every key a project has, refusals first, then as in the file. `locate` says
/// where the key with that path stands; networks and others that nobody uses are in it as well.
pub fn report(project: &Project, locate: impl Fn(&str) -> Option<String>) -> Vec<ReportRow> {
    // Who asks does not change a verdict.
    let nobody = Context { host: HostId::new(""), command: String::new(), at: WallSeconds(0) };
    let translation = translate(project, &nobody);
    let said: Vec<Note> = translation.refusals.into_iter().chain(translation.notes).collect();
    let mut done = Vec::new();
    visit(project, &mut |path, row| {
        let is_said = said.iter().any(|note| note.path == path);
        if row.cluster.verdict == Verdict::Done && !is_said {
            let (path, reason) = (path.to_owned(), row.cluster.reason.to_owned());
            let note = Note { path, verdict: Verdict::Done, reason, remedy: None };
            if !done.contains(&note) {
                done.push(note);
            }
        }
    });
    let row = |note: Note| ReportRow { location: locate(&note.path), note };
    said.into_iter().chain(done).map(row).collect()
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

fn is_used(project: &Project, kind: &str, key: &str) -> bool {
    project.services.values().any(|service| match kind {
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
        found(path, row);
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

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
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
