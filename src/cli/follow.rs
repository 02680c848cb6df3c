//! Watches an App until it is as it was asked to be.

use std::time::{Duration, Instant};

use super::Context;
use super::bars::Bars;
use super::errors::{CliError, Complaint, Kind};
use super::last_words::{self, last_words};
use super::progress::words;
use super::show;
use crate::api::client::{Client, ClientError};
use crate::api::{AppDetail, ReplicaView, ServiceView, Submitted};
use crate::model::{AppName, Stage};

/// Time between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(200);
/// An agent that restarts is back within this.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Where nothing moves any more for so long, and a replica waits for what only people can do, waiting
/// on is of no use.
const STUCK: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Debug)]
pub(super) struct Goal<'a> {
    /// The App.
    pub(super) app: &'a AppName,
    /// The Revision that was submitted.
    pub(super) submitted: &'a Submitted,
    /// Longest wait; none means for ever.
    pub(super) limit: Option<Duration>,
}

/// Returns when the App is settled, with its last look; none when it is gone.
///
/// # Errors
///
/// When something failed for good, another Revision came, or it took too long. The cluster goes on
/// in any case.
pub(super) async fn follow(
    context: &Context,
    client: &Client,
    goal: &Goal<'_>,
) -> Result<Option<AppDetail>, CliError> {
    let mut progress = Bars::new(&context.printer);
    let begun = Instant::now();
    let mut heard = Instant::now();
    let mut last: Option<AppDetail> = None;
    let mut moved = Instant::now();
    let mut told = false;
    let result = loop {
        match client.app(goal.app).await {
            Ok(detail) => {
                heard = Instant::now();
                // What an agent shows of an older Revision would only confuse.
                if detail.summary.sequence >= goal.submitted.sequence {
                    progress.update(&detail);
                }
                if last.as_ref().is_none_or(|last| has_moved(last, &detail)) {
                    moved = Instant::now();
                }
                let mut end = judge(&detail, goal);
                if !told && let Some(words) = watched(&detail, goal) {
                    told = true;
                    context.printer.say(&words);
                }
                if end.is_none() && moved.elapsed() >= STUCK {
                    end = stuck(&detail, goal.app).map(Err);
                }
                last = Some(detail);
                if let Some(end) = end {
                    break end;
                }
            }
            Err(error) if error.is_not_found() => {
                last = None;
                break Ok(());
            }
            Err(error) if is_passing(&error) && heard.elapsed() < PATIENCE => {
                context.printer.detail(&error.to_string());
            }
            Err(error) => {
                let error = CliError::from(error);
                break Err(CliError { kind: Kind::Cluster, ..error });
            }
        }
        if goal.limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break Err(too_long(goal));
        }
        tokio::time::sleep(LOOK).await;
    };
    progress.finish(last.as_ref());
    match (result, &last) {
        (Err(error), Some(detail)) if detail.failed => {
            let excerpt = last_words(client, detail).await;
            Err(CliError { excerpt, ..error })
        }
        (result, _) => result.map(|()| last),
    }
}

/// How to look at an App by hand.
pub(super) fn how_to_look(app: &AppName) -> String {
    format!("the cluster goes on by itself; look with `muster ps -p {app}`")
}

/// Whether it is over, and how.
fn judge(detail: &AppDetail, goal: &Goal<'_>) -> Option<Result<(), CliError>> {
    let (summary, submitted) = (&detail.summary, goal.submitted);
    if summary.sequence < submitted.sequence {
        // This agent has not heard of it yet.
        return None;
    }
    if summary.revision != submitted.revision {
        let words = format!("app `{}` was changed by somebody else meanwhile", goal.app);
        let hint = format!("`muster ps -p {}` shows what runs now", goal.app);
        return Some(Err(CliError::user(words).hint(hint)));
    }
    if let Some(error) = undone(detail, goal.app) {
        return Some(Err(error));
    }
    if detail.failed {
        return Some(Err(failure(detail, goal.app)));
    }
    detail.settled.then_some(Ok(()))
}

/// Says that all runs, and is only watched; a wait of less than a second is not worth it.
fn watched(detail: &AppDetail, goal: &Goal<'_>) -> Option<String> {
    let is_ours = detail.summary.sequence >= goal.submitted.sequence;
    let seconds = detail.watched_ms?.div_ceil(1_000);
    let words = format!("all runs; for {seconds} s it is watched whether it stays up");
    (is_ours && seconds > 1).then_some(words)
}

/// What came of updates that did not end well, once nothing moves any more.
fn undone(detail: &AppDetail, app: &AppName) -> Option<CliError> {
    let ended = |one: &&ServiceView| match one.rollout.as_ref().map(|rollout| rollout.stage) {
        Some(Stage::Paused | Stage::RollbackPaused | Stage::RolledBack) => true,
        Some(Stage::Rolling | Stage::Canary | Stage::RollingBack) | None => false,
    };
    let moves = |one: &ServiceView| one.rollout.as_ref().is_some_and(|r| r.stage.is_moving());
    if detail.services.iter().any(moves) {
        return None;
    }
    let ended = detail.services.iter().filter(ended);
    let complaints: Vec<Complaint> = ended
        .filter_map(|one| {
            let hint = format!("`muster logs -p {app} {}` shows its output", one.service);
            Some(Complaint { message: show::rollout(one)?, hint: Some(hint) })
        })
        .collect();
    let error = CliError { kind: Kind::User, complaints, excerpt: None };
    (!error.complaints.is_empty()).then_some(error)
}

/// Whether anything of a replica is otherwise than at the look before.
fn has_moved(before: &AppDetail, now: &AppDetail) -> bool {
    let state = |one: &ReplicaView| {
        (one.replica.clone(), one.host.clone(), one.phase, one.ready, one.current, one.restarts)
    };
    let all = |detail: &AppDetail| detail.replicas.iter().map(state).collect::<Vec<_>>();
    let stages = |detail: &AppDetail| {
        detail.services.iter().map(|one| one.rollout.clone()).collect::<Vec<_>>()
    };
    before.summary.sequence != now.summary.sequence
        || all(before) != all(now)
        || stages(before) != stages(now)
}

/// What is left to wait for, when that is nothing the cluster can do.
fn stuck(detail: &AppDetail, app: &AppName) -> Option<CliError> {
    let stuck = detail.replicas.iter().filter(|replica| replica.stuck);
    let mut complaints: Vec<Complaint> = stuck
        .map(|replica| {
            let reason = replica.reason.as_deref().unwrap_or("it waits");
            let name = show::replica_name(replica);
            Complaint { message: format!("replica `{name}` cannot run: {reason}"), hint: None }
        })
        .collect();
    complaints.last_mut()?.hint = Some(format!(
        "app `{app}` stays as it was asked for, and goes on once there is room or the host is back; \
         `muster nodes` shows what there is"
    ));
    Some(CliError { kind: Kind::Cluster, complaints, excerpt: None })
}

fn failure(detail: &AppDetail, app: &AppName) -> CliError {
    let complaints: Vec<Complaint> = last_words::failed(detail)
        .map(|replica| {
            let service = &replica.replica.service;
            Complaint {
                message: format!("replica `{}` {}", show::replica_name(replica), words(replica)),
                hint: Some(format!("`muster logs -p {app} {service}` shows its output")),
            }
        })
        .collect();
    if complaints.is_empty() {
        return CliError::user(format!("app `{app}` failed")).hint(how_to_look(app));
    }
    CliError { kind: Kind::User, complaints, excerpt: None }
}

fn too_long(goal: &Goal<'_>) -> CliError {
    let limit = show::elapsed(goal.limit.unwrap_or_default());
    CliError::cluster(format!("app `{}` is not as it should be after {limit}", goal.app))
        .hint(how_to_look(goal.app))
}

/// Errors of an agent that starts again.
pub(super) fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::NoAgent { .. } | ClientError::Broken { .. } | ClientError::TimedOut { .. } => {
            true
        }
        ClientError::Away { is_ours, .. } => !is_ours,
        ClientError::Denied { .. } | ClientError::Refused(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AppSummary;
    use crate::model::{Health, Intent, Phase, ReplicaId};

    fn detail(ready: bool, stuck: bool) -> AppDetail {
        let app = AppName::new("shop");
        let replica = ReplicaView {
            replica: ReplicaId { app: app.clone(), service: "web".into(), index: 1 },
            host: String::new(),
            phase: ready.then_some(Phase::Running),
            health: Health::None,
            ready,
            current: ready,
            image: "web".to_owned(),
            addresses: Default::default(),
            restarts: 0,
            container: None,
            age_seconds: 0,
            reason: stuck.then(|| "no host fits: port taken (3 hosts)".to_owned()),
            stuck,
        };
        let summary = AppSummary {
            app,
            revision: "r".into(),
            sequence: 1,
            intent: Intent::Run,
            wanted: 1,
            ready: 0,
            conflicts: Vec::new(),
            home: None,
        };
        let (replicas, services) = (vec![replica], Vec::new());
        AppDetail { summary, replicas, services, settled: false, watched_ms: None, failed: false }
    }

    #[test]
    fn what_only_people_can_mend_is_said_with_its_reason() {
        let app = AppName::new("shop");
        assert!(stuck(&detail(false, false), &app).is_none(), "it may still come");
        let error = stuck(&detail(false, true), &app).expect("no host fits");
        let said = &error.complaints[0];
        assert_eq!(said.message, "replica `web/1` cannot run: no host fits: port taken (3 hosts)");
        assert!(said.hint.is_some());
    }

    fn submitted() -> Submitted {
        Submitted { revision: "r".into(), sequence: 2, changed: true, stored: 2, alive: 2 }
    }

    #[test]
    fn that_all_is_only_watched_is_said_where_it_is_worth_it() {
        let (app, submitted) = (AppName::new("shop"), submitted());
        let goal = Goal { app: &app, submitted: &submitted, limit: None };
        let said = |watched_ms, sequence| {
            let mut detail = AppDetail { watched_ms, ..detail(true, false) };
            detail.summary.sequence = sequence;
            watched(&detail, &goal)
        };
        let words = "all runs; for 5 s it is watched whether it stays up";
        assert_eq!(said(Some(4_800), 2).as_deref(), Some(words));
        assert_eq!(said(Some(900), 2), None, "it is over in a moment");
        assert_eq!(said(Some(4_800), 1), None, "that is the revision before");
        assert_eq!(said(None, 2), None);
    }

    #[test]
    fn a_change_of_any_replica_is_a_move() {
        let before = detail(false, true);
        assert!(!has_moved(&before, &before));
        assert!(has_moved(&before, &detail(true, true)));
        let mut again = before.clone();
        again.summary.sequence = 2;
        assert!(has_moved(&before, &again));
    }
}
