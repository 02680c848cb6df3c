//! Runs the Provider's program when `logic::fleet` says so, and looks whether it is there. Decides nothing.
//!
//! `protocol` is what goes in and out, `call` runs the program, `setting` is what people ask for and see.

mod call;
mod protocol;
mod setting;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::call::{Secret, call, usable};
use super::cluster::Cluster;
use crate::docker::Engine;
use crate::logic::core::Event;
use crate::logic::fleet::{Ask, Reply, Verb};
use crate::swarm::{By, Purpose};

/// Questions that wait; the logic asks one at a time.
pub(super) const QUEUE: usize = 4;
/// Time between two looks for the program: it may be installed at any time.
const LOOK: Duration = Duration::from_secs(2);

/// Answers what comes through `asks`, and tells the core whether the program is here.
pub(super) async fn serve<E: Engine>(cluster: Arc<Cluster<E>>, mut asks: mpsc::Receiver<Ask>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        // Both are cancel-safe.
        let ask = tokio::select! {
            ask = asks.recv() => match ask {
                Some(ask) => Some(ask),
                None => return,
            },
            _ = looks.tick() => None,
        };
        match ask {
            Some(ask) => {
                let one = Arc::clone(&cluster);
                cluster.supervisor.spawn_until_stop("provider call", async move {
                    let reply = answer(&one, &ask).await;
                    one.core.event(Event::Provided(Box::new(ask), reply)).await;
                });
            }
            None => {
                // The core goes only when the agent stops.
                let wanted = cluster.core.look(|core| {
                    core.state().provider().and_then(|provider| provider.command.clone())
                });
                let Ok(wanted) = wanted.await else { return };
                let here = wanted.filter(|program| usable(program).is_ok());
                if told.as_ref() != Some(&here) {
                    told = Some(here.clone());
                    cluster.core.event(Event::Provides(here)).await;
                }
            }
        }
    }
}

async fn answer<E: Engine>(cluster: &Cluster<E>, ask: &Ask) -> Reply {
    let refused = |reason: String| Reply::Refused { reason, retry_after: None };
    if let Err(reason) = usable(&ask.command) {
        return refused(reason);
    }
    let token = match ask.verb {
        Verb::Add => {
            let by = By { who: "provider".to_owned(), from: "agent".to_owned() };
            let lifetime = ask.limit + ask.join_within;
            match cluster.create_token(lifetime, Purpose::Host, 1, by).await {
                Ok(token) => Some(token),
                Err(error) => return refused(error.to_string()),
            }
        }
        Verb::Remove | Verb::List => None,
    };
    let name = cluster.identity.cluster();
    let input = protocol::request(name, ask, token.as_deref());
    let secret = Secret(token.unwrap_or_default());
    tracing::info!(verb = ?ask.verb, machine = ask.machine, "the provider is asked");
    let reply = match call(&ask.command, &input, ask.limit).await {
        Ok(ended) => protocol::reply(name, ask.verb, &secret.blotted_out(ended)),
        Err(reason) => Reply::Unclear(reason),
    };
    tracing::info!(?reply, "the provider answered");
    reply
}
