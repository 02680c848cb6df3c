//! What an App was before, and what differs between two of its Revisions. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::views::unknown_app;
use crate::api::{ApiError, Difference, ErrorKind, RevisionView};
use crate::logic::core::Core;
use crate::logic::state::State;
use crate::model::{
    AppName, Intent, Job, Revision, RevisionId, SealedRevision, ServiceName, sha256_hex,
};

/// The word for the Revision that `muster rollback` goes back to.
const PREVIOUS: &str = "previous";
/// Digits of an id that are enough to name one.
const DIGITS: usize = 4;

/// Every Revision of an App that is kept, newest first.
///
/// # Errors
///
/// When there is no such App.
pub fn history(core: &Core, app: &AppName) -> Result<Vec<RevisionView>, ApiError> {
    let state = core.state();
    let winner = state.winner(app).ok_or_else(|| unknown_app(app))?;
    let plan = state.plan(app);
    let previous = previous(state, app).map(|previous| previous.id().clone());
    let view = core.view();
    let one = |revision: &Arc<SealedRevision>| {
        let parent = revision.parents.iter().find_map(|id| state.revision(app, id));
        let origin = &revision.origin;
        RevisionView {
            revision: revision.id().clone(),
            sequence: revision.sequence,
            intent: revision.intent,
            counts: Arc::ptr_eq(revision, winner),
            previous: previous.as_ref() == Some(revision.id()),
            at: origin.at.0,
            host: view.host_name(origin.asked.as_ref().unwrap_or(&origin.host)),
            by: origin.by.clone(),
            command: origin.command.clone(),
            undone: plan.and_then(|plan| plan.undone.get(revision.id()).cloned()),
            changes: differences(parent, revision),
        }
    };
    Ok(newest_first(state, app).into_iter().map(one).collect())
}

/// The Revision that somebody named: by its sequence, the first digits of its id, or `previous`.
///
/// # Errors
///
/// When there is none, or more than one.
pub fn find<'s>(
    state: &'s State,
    app: &AppName,
    which: &str,
) -> Result<&'s Arc<SealedRevision>, ApiError> {
    state.winner(app).ok_or_else(|| unknown_app(app))?;
    let none = |message: String| ApiError {
        kind: ErrorKind::NotFound,
        message,
        hint: Some(format!("`muster history -p {app}` lists those that are kept")),
    };
    if which == PREVIOUS {
        let words = || none(format!("app `{app}` has no revision to go back to"));
        return previous(state, app).ok_or_else(words);
    }
    let sequence = which.parse::<u64>().ok();
    let is_meant = |revision: &&Arc<SealedRevision>| {
        let by_id = which.len() >= DIGITS && revision.id().as_str().starts_with(which);
        by_id || sequence == Some(revision.sequence)
    };
    let found: Vec<_> = newest_first(state, app).into_iter().filter(is_meant).collect();
    // Of a conflict the one that counts is meant, unless an id says otherwise.
    let winner = state.winner(app).filter(|winner| sequence == Some(winner.sequence));
    match (found.as_slice(), winner) {
        ([one], _) => Ok(one),
        ([], _) => Err(none(format!("app `{app}` has no revision `{which}`"))),
        ([_, _, ..], Some(winner)) => Ok(winner),
        ([_, _, ..], None) => {
            Err(none(format!("`{which}` may be several revisions of app `{app}`")))
        }
    }
}

fn newest_first<'s>(state: &'s State, app: &AppName) -> Vec<&'s Arc<SealedRevision>> {
    let mut all: Vec<&Arc<SealedRevision>> = state.revisions(app).map(|(_, one)| one).collect();
    all.sort_by_key(|revision| std::cmp::Reverse((revision.sequence, revision.id())));
    all
}

/// The newest one before the one that counts that was to run, ran, and is another one.
fn previous<'s>(state: &'s State, app: &AppName) -> Option<&'s Arc<SealedRevision>> {
    let winner = state.winner(app)?;
    let undone = state.plan(app).map(|plan| &plan.undone);
    let was_undone = |id: &RevisionId| undone.is_some_and(|undone| undone.contains_key(id));
    newest_first(state, app).into_iter().find(|one| {
        one.sequence < winner.sequence
            && one.intent == Intent::Run
            && !was_undone(one.id())
            && (winner.intent != Intent::Run || !differences(Some(winner), one).is_empty())
    })
}

/// What differs, by service and key. Secrets are never told, only that they differ.
pub fn differences(from: Option<&Arc<SealedRevision>>, to: &SealedRevision) -> Vec<Difference> {
    let mut all = Vec::new();
    let from: Option<&Revision> = from.map(|from| &***from);
    of_app(from, to, &mut all);
    let before = from.into_iter().flat_map(Revision::all_deployments).map(|(name, _)| name);
    let names: BTreeSet<&ServiceName> =
        before.chain(to.all_deployments().map(|(name, _)| name)).collect();
    for name in names {
        let (old, new) = (from.and_then(|from| from.deployment(name)), to.deployment(name));
        let came_or_went = |before, after| Difference {
            service: Some(name.clone()),
            key: String::new(),
            before,
            after,
        };
        match (old, new) {
            (None, Some(new)) => {
                all.push(came_or_went(None, Some(new.container.image.clone())));
            }
            (Some(old), None) => {
                all.push(came_or_went(Some(old.container.image.clone()), None));
            }
            (Some(old), Some(new)) => {
                let (old, new) = (flat(old), flat(new));
                for (key, before, after) in differing(&old, &new) {
                    all.push(Difference { service: Some(name.clone()), key, before, after });
                }
            }
            (None, None) => {}
        }
    }
    all
}

/// What is of no service.
fn of_app(from: Option<&Revision>, to: &Revision, all: &mut Vec<Difference>) {
    let intent = |revision: &Revision| {
        match revision.intent {
            Intent::Run => "run",
            Intent::Remove => "remove",
            Intent::RemoveWithVolumes => "remove with volumes",
        }
        .to_owned()
    };
    let (before, after) = (from.map(&intent), intent(to));
    if before.as_ref().is_some_and(|before| *before != after) {
        all.push(Difference {
            service: None,
            key: "intent".to_owned(),
            before,
            after: Some(after),
        });
    }
    let objects = |revision: &Revision| {
        let mut flat = BTreeMap::new();
        let parts = serde_json::json!({
            "networks": revision.networks,
            "volumes": revision.volumes,
            "jobs": revision.jobs.iter().map(|(name, job)| (name, triggers(job))).collect::<BTreeMap<_, _>>(),
        });
        flatten(String::new(), &parts, &mut flat);
        flat
    };
    let Some(from) = from else { return };
    for (key, before, after) in differing(&objects(from), &objects(to)) {
        all.push(Difference { service: None, key, before, after });
    }
}

/// When a job runs; what runs is told as of a service.
fn triggers(job: &Job) -> Value {
    let times: Vec<String> = job.schedule.iter().map(ToString::to_string).collect();
    serde_json::json!({"triggers": {
        "manual": job.manual,
        "schedule": times.join(", "),
        "rules": job.schedule.iter().map(|one| {
            serde_json::json!([one.concurrency, one.missed_fires]).to_string()
        }).collect::<Vec<_>>().join(" "),
    }})
}

type Flat = BTreeMap<String, String>;

fn differing(old: &Flat, new: &Flat) -> Vec<(String, Option<String>, Option<String>)> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let shown = |value: Option<&String>| value.map(|value| hidden(value).to_owned());
    differing.map(|key| (key.clone(), shown(old.get(key)), shown(new.get(key)))).collect()
}

/// Put before what must not be told.
const SECRET: &str = "\u{0}secret ";

fn hidden(value: &str) -> &str {
    if value.starts_with(SECRET) { "(secret)" } else { value }
}

/// A Deployment as keys and values, the keys much as a Compose file has them.
fn flat(deployment: &crate::model::Deployment) -> Flat {
    let mut value = serde_json::to_value(deployment).unwrap_or_default();
    if let Value::Object(all) = &mut value {
        // What is counted and decided of rollouts is nobody's content.
        all.remove("attempt");
        all.remove("order");
        if let Some(Value::Object(asked)) =
            all.get_mut("autoscale").map(|rules| &mut rules["asked"])
        {
            asked.remove("number");
        }
        if let Some(Value::Object(container)) = all.remove("container") {
            all.extend(container);
        }
        for (ours, theirs) in [
            ("update", "update_config"),
            ("rollback", "rollback_config"),
            ("health", "healthcheck"),
            ("checks", "x-health"),
        ] {
            if let Some(part) = all.remove(ours) {
                all.insert(theirs.to_owned(), part);
            }
        }
        if let Some(Value::Array(files)) = all.get_mut("files") {
            files.iter_mut().for_each(shorten);
        }
        if let Some(Value::Object(hooks)) = all.remove("hooks") {
            all.extend(hooks);
        }
        for step in all.get_mut("pre_start").and_then(Value::as_array_mut).into_iter().flatten() {
            let files = step["container"]["files"].as_array_mut();
            files.into_iter().flatten().for_each(shorten);
        }
    }
    let mut flat = BTreeMap::new();
    flatten(String::new(), &value, &mut flat);
    flat
}

/// The content of a file by its hash: it may be long.
fn shorten(file: &mut Value) {
    let is_secret = file["secret"] == Value::Bool(true);
    let content = file["content"].as_str().unwrap_or_default();
    let hash = sha256_hex(content.as_bytes());
    let words = match is_secret {
        true => format!("{SECRET}{hash}"),
        false => format!("(content {})", &hash[..12]),
    };
    file["content"] = Value::String(words);
}

fn flatten(path: String, value: &Value, into: &mut Flat) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Null => {}
        Value::Object(all) => {
            for (name, value) in all {
                flatten(below(name), value, into);
            }
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            for (index, value) in all.iter().enumerate() {
                let name = ["target", "published"].iter().find_map(|key| match &value[*key] {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    _ => None,
                });
                flatten(below(&name.unwrap_or_else(|| index.to_string())), value, into);
            }
        }
        Value::Array(all) if all.is_empty() => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => {
            into.insert(path, text.clone());
        }
        Value::Array(_) | Value::Bool(_) | Value::Number(_) => {
            into.insert(path, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::{app, deployment, host, revision};
    use crate::model::{FileSpec, Replicas};

    fn state(revisions: &[Revision]) -> State {
        let mut state = State::new(host(1), 1, Vec::new(), Vec::new());
        for revision in revisions {
            state.add_revision(revision.clone());
        }
        state
    }

    #[test]
    fn differences_are_told_by_service_and_key_and_secrets_are_not() {
        let mut web = deployment("web:1", 2);
        web.container.environment.insert("A".to_owned(), "1".to_owned());
        let secret = |content: &str| FileSpec {
            target: "/run/secrets/key".to_owned(),
            content: content.to_owned(),
            uid: 0,
            gid: 0,
            mode: 0o400,
            secret: true,
        };
        web.container.files.push(secret("b25l"));
        let mut new = web.clone();
        new.container.image = "web:2".to_owned();
        new.container.environment.insert("A".to_owned(), "2".to_owned());
        new.container.files = vec![secret("dHdv")];
        new.replicas = Replicas::Count(3);
        let old = Arc::new(SealedRevision::new(revision(
            1,
            &[("web", web), ("db", deployment("db:1", 1))],
        )));
        let new = SealedRevision::new(revision(2, &[("web", new), ("mail", deployment("m:1", 1))]));
        let told: Vec<String> = differences(Some(&old), &new)
            .into_iter()
            .map(|one| {
                let service = one.service.map(|service| service.to_string()).unwrap_or_default();
                format!(
                    "{service} {} {} {}",
                    one.key,
                    one.before.as_deref().unwrap_or("-"),
                    one.after.as_deref().unwrap_or("-")
                )
            })
            .collect();
        let expected = [
            "db  db:1 -",
            "mail  - m:1",
            "web environment.A 1 2",
            "web files./run/secrets/key.content (secret) (secret)",
            "web image web:1 web:2",
            "web replicas.count 2 3",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_revision_is_named_by_its_number_or_its_id() {
        let with = |n: u64, image: &str| revision(n, &[("web", deployment(image, 1))]);
        let state = state(&[with(1, "a"), with(2, "b"), with(3, "b")]);
        let sequence = |which: &str| find(&state, &app(), which).map(|found| found.sequence);
        assert_eq!(sequence("2"), Ok(2));
        let id = SealedRevision::new(with(1, "a")).id().clone();
        assert_eq!(sequence(id.as_str()), Ok(1));
        assert_eq!(sequence(&id.as_str()[..12]), Ok(1));
        // The third is what the second was.
        assert_eq!(sequence(PREVIOUS), Ok(1));
        for none in ["9", "zzzz", "", "abc"] {
            assert_eq!(sequence(none).unwrap_err().kind, ErrorKind::NotFound, "{none}");
        }
    }
}
