//! Streams over all hosts for whoever asks here: what replicas write, and what happens; and the ends of
//! streams that other members open.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::cluster::Cluster;
use super::handle::Agent;
use super::rpc::{Header, decode, encode};
use super::submit::alive;
use super::{events, images, logs, views};
use crate::api::{ApiError, EventsQuery, Happening, LogLine, LogsQuery};
use crate::docker::{BoxStream, Engine, stream_of};
use crate::logic::core::Core;
use crate::model::HostId;
use crate::swarm::{RecvStream, SendStream};

impl<E: Engine> Agent<E> {
    /// The output of an App on all live hosts.
    ///
    /// # Errors
    ///
    /// When there is no such App.
    pub(super) async fn merged_logs(
        &self,
        cluster: &Cluster<E>,
        query: LogsQuery,
    ) -> Result<BoxStream<Result<LogLine, ApiError>>, ApiError> {
        let app = query.app.clone();
        let peers = cluster
            .core
            .look(move |core| {
                core.state().winner(&app).ok_or_else(|| views::unknown_app(&app))?;
                Ok::<_, ApiError>(peers(core))
            })
            .await??;
        let (lines, inbox) = mpsc::channel(logs::LINES);
        let mut local = logs::local(
            Arc::clone(&self.engine),
            cluster.core.clone(),
            cluster.settings.name.clone(),
            query.clone(),
            &self.supervisor,
        );
        let here = lines.clone();
        self.supervisor.spawn_until_stop("logs-here", async move {
            while let Some(line) = local.recv().await {
                if here.send(Ok(line)).await.is_err() {
                    return;
                }
            }
        });
        for (host, address) in peers {
            let header = encode(&Header::Logs(query.clone()));
            let transport = cluster.transport.clone();
            let lines = lines.clone();
            self.supervisor.spawn_until_stop("logs-there", async move {
                match transport.open(&host, address, header).await {
                    Ok((_, from)) => logs::receive(from, lines).await,
                    Err(error) => tracing::warn!(%host, %error, "no logs from a host"),
                }
            });
        }
        Ok(stream_of(inbox))
    }

    /// What happened on all live hosts.
    ///
    /// # Errors
    ///
    /// When the agent is stopping.
    pub(super) async fn merged_events(
        &self,
        cluster: &Cluster<E>,
        query: EventsQuery,
    ) -> Result<BoxStream<Result<Happening, ApiError>>, ApiError> {
        let peers = cluster.core.look(peers).await?;
        let (items, from) = mpsc::channel(events::LINES);
        let n = peers.len() + 1;
        let told = cluster.events.told();
        let here = events::tell(told, query.clone(), items.clone());
        self.supervisor.spawn_until_stop("events-here", here);
        for (host, address) in peers {
            let header = encode(&Header::Events(query.clone()));
            let (transport, items) = (cluster.transport.clone(), items.clone());
            self.supervisor.spawn_until_stop("events-there", async move {
                match transport.open(&host, address, header).await {
                    Ok((_, from)) => events::receive(from, items).await,
                    Err(error) => tracing::warn!(%host, %error, "no events from a host"),
                }
            });
        }
        let (lines, inbox) = mpsc::channel(events::LINES);
        self.supervisor.spawn_until_stop("events-merged", async move {
            events::merge(n, from, lines, &query).await;
        });
        Ok(stream_of(inbox))
    }
}

impl<E: Engine> Agent<E> {
    /// Serves a long stream that another member opened.
    pub(super) fn serve(
        &self,
        cluster: &Arc<Cluster<E>>,
        from: HostId,
        header: &[u8],
        (send, receive): (SendStream, RecvStream),
    ) {
        let supervisor = &cluster.supervisor;
        let engine = Arc::clone(&cluster.engine);
        match decode(header) {
            Ok(Header::Image { reference }) => {
                supervisor.spawn_until_stop("image-out", async move {
                    images::serve(&*engine, &reference, send).await;
                    drop(receive);
                });
            }
            Ok(Header::Logs(query)) => {
                let (name, core) = (cluster.settings.name.clone(), cluster.core.clone());
                let lines = logs::local(engine, core, name, query, supervisor);
                supervisor.spawn_until_stop("logs-out", async move {
                    logs::serve(lines, send).await;
                    drop(receive);
                });
            }
            Ok(Header::Events(query)) => {
                let (items, inbox) = mpsc::channel(events::LINES);
                let told = cluster.events.told();
                supervisor.spawn_until_stop("events", events::tell(told, query, items));
                supervisor.spawn_until_stop("events-out", async move {
                    events::serve(inbox, send).await;
                    drop(receive);
                });
            }
            Ok(Header::Console(order)) => {
                let (agent, cluster) = (self.clone(), Arc::clone(cluster));
                supervisor.spawn_until_stop("console-out", async move {
                    agent.serve_console(cluster, from, *order, (send, receive)).await;
                });
            }
            Err(error) => tracing::warn!(%from, %error, "a stream's header cannot be read"),
        }
    }
}

/// The other live members, and where their agents listen.
fn peers(core: &Core) -> Vec<(HostId, SocketAddr)> {
    let hosts = alive(core).into_iter();
    hosts.filter_map(|host| Some((host.clone(), core.membership().address(&host)?))).collect()
}
