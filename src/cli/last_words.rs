//! What replicas that failed wrote last: shown with the reason why a command failed. Never fails
//! itself; what cannot be had is left out.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::logs;
use crate::api::client::Client;
use crate::api::{AppDetail, LogsQuery, ReplicaView};
use crate::model::Phase;

/// Lines of each replica: an error and where it came from.
const LINES: u32 = 5;
/// Replicas whose lines are shown; further ones nearly always wrote the same.
const REPLICAS: usize = 3;
/// Longest wait for the lines of one: its host may have gone meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Replicas that failed, or keep failing, at what is wanted now.
pub(super) fn failed(detail: &AppDetail) -> impl Iterator<Item = &ReplicaView> {
    detail.replicas.iter().filter(|replica| {
        replica.current && matches!(replica.phase, Some(Phase::Failed | Phase::Backoff))
    })
}

/// Their last lines, as `muster logs` prints them; none when they wrote nothing.
pub(super) async fn last_words(client: &Client, detail: &AppDetail) -> Option<String> {
    let mut said = Vec::new();
    for replica in failed(detail).take(REPLICAS) {
        let query = LogsQuery {
            app: replica.replica.app.clone(),
            services: vec![replica.replica.service.clone()],
            follow: false,
            tail: Some(LINES),
            timestamps: false,
            since: None,
            index: Some(replica.replica.index),
        };
        let reading = async {
            let Ok(mut lines) = client.logs(&query).await else { return };
            while let Some(Ok(line)) = lines.next().await {
                said.push(format!("{} | {}", logs::name(&line.replica), line.line));
            }
        };
        // What came until then is shown.
        let _ = timeout(PATIENCE, reading).await;
    }
    (!said.is_empty()).then(|| said.join("\n"))
}
