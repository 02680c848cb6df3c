//! Watches a host until what is to leave it has left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Context;
use super::errors::{CliError, Complaint, Kind};
use super::follow::{LOOK, PATIENCE, is_passing};
use super::progress::{Progress, words};
use super::show;
use crate::api::client::{Client, ClientError};
use crate::api::{HostDetail, HostPlan, ReplicaView, Stays};
use crate::model::{AppName, Availability, Phase, ReplicaId};

/// How it ended.
#[derive(Debug, Serialize)]
pub(super) struct Ended {
    /// Replicas that left the host.
    pub(super) moved: Vec<ReplicaId>,
    /// Replicas that could not.
    pub(super) stays: Vec<Stays>,
    #[serde(skip)]
    pub(super) elapsed: Duration,
}

/// What was seen at one look.
struct Look {
    host: HostDetail,
    /// The replicas that leave or have left, wherever they are.
    replicas: Vec<ReplicaView>,
    /// Apps in which something failed for good.
    failed: BTreeSet<AppName>,
}

/// How to look at a host by hand.
pub(super) fn how_to_look(host: &str) -> String {
    format!("the cluster goes on by itself; `muster nodes` shows how many replicas `{host}` has")
}

/// Returns when nothing leaves the host any more and what left it is up elsewhere.
///
/// # Errors
///
/// When a replica fails where it went, or it took too long. The cluster goes on in any case, and what
/// has not moved still runs where it was.
pub(super) async fn follow(
    context: &Context,
    client: &Client,
    plan: &HostPlan,
    wanted: Option<Availability>,
    limit: Duration,
) -> Result<Ended, CliError> {
    let mut progress = Progress::of_many_apps(&context.printer);
    let begun = Instant::now();
    let mut heard = Instant::now();
    let mut moved: BTreeSet<ReplicaId> = plan.leaving.iter().cloned().collect();
    let mut last = None;
    let result = loop {
        match look(client, &plan.host, &moved).await {
            Ok(seen) => {
                heard = Instant::now();
                moved.extend(seen.host.leaving.iter().cloned());
                progress.update(&seen.replicas);
                let end = judge(&seen, &plan.host, wanted);
                last = Some(seen);
                if let Some(end) = end {
                    break end;
                }
            }
            Err(error) if is_passing(&error) && heard.elapsed() < PATIENCE => {
                context.printer.detail(&error.to_string());
            }
            Err(error) => break Err(CliError { kind: Kind::Cluster, ..CliError::from(error) }),
        }
        if begun.elapsed() >= limit {
            break Err(too_long(last.as_ref(), &plan.host, limit));
        }
        tokio::time::sleep(LOOK).await;
    };
    progress.finish(last.as_ref().map(|seen| seen.replicas.as_slice()));
    result?;
    let stays = last.map(|seen| seen.host.stays).unwrap_or_default();
    moved.retain(|replica| !stays.iter().any(|one| one.replica == *replica));
    let moved = moved.into_iter().collect();
    Ok(Ended { moved, stays, elapsed: begun.elapsed() })
}

async fn look(
    client: &Client,
    host: &str,
    moved: &BTreeSet<ReplicaId>,
) -> Result<Look, ClientError> {
    let host = client.host(host).await?;
    let watched: BTreeSet<&ReplicaId> = moved.iter().chain(&host.leaving).collect();
    let apps: BTreeSet<&AppName> = watched.iter().map(|replica| &replica.app).collect();
    let (mut replicas, mut failed) = (Vec::new(), BTreeSet::new());
    for app in apps {
        match client.app(app).await {
            Ok(detail) => {
                if detail.failed {
                    failed.insert(app.clone());
                }
                let mine = detail.replicas.into_iter();
                replicas.extend(mine.filter(|one| watched.contains(&one.replica)));
            }
            // It was taken down meanwhile.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Look { host, replicas, failed })
}

/// Whether it is over, and how.
fn judge(seen: &Look, host: &str, wanted: Option<Availability>) -> Option<Result<(), CliError>> {
    if wanted.is_some_and(|wanted| wanted != seen.host.node.availability) {
        let words = format!("host `{host}` was changed by somebody else meanwhile");
        return Some(Err(CliError::user(words).hint("`muster nodes` shows what it is now")));
    }
    let failed = seen.replicas.iter().filter(|one| {
        seen.failed.contains(&one.replica.app)
            && one.host != host
            && matches!(one.phase, Some(Phase::Failed | Phase::Backoff))
    });
    let complaints: Vec<Complaint> = failed.map(complaint).collect();
    if !complaints.is_empty() {
        return Some(Err(CliError { kind: Kind::User, complaints, excerpt: None }));
    }
    let is_up = |one: &&ReplicaView| one.ready || one.phase == Some(Phase::Completed);
    let elsewhere = seen.replicas.iter().filter(|one| one.current && one.host != host);
    let all_up = elsewhere.clone().filter(is_up).count() == elsewhere.count();
    (seen.host.leaving.is_empty() && all_up).then_some(Ok(()))
}

fn complaint(replica: &ReplicaView) -> Complaint {
    let ReplicaId { app, service, .. } = &replica.replica;
    Complaint {
        message: format!("replica `{}` {}", replica.replica, words(replica)),
        hint: Some(format!("`muster logs -p {app} {service}` shows its output")),
    }
}

fn too_long(seen: Option<&Look>, host: &str, limit: Duration) -> CliError {
    let left = seen.map_or(0, |seen| seen.host.leaving.len());
    let (count, time) = (show::count(left, "replica"), show::elapsed(limit));
    CliError::cluster(format!("{count} of `{host}` did not move within {time}"))
        .hint(how_to_look(host))
}
