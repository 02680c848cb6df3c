//! The agent of one host: drives [`crate::logic::core::Core`] and carries out what it decides.
//!
//! Reading order: [`run`] here; [`handle`] is the agent as the API sees it; [`setup`] makes it a
//! member and [`cluster`] is the member with all its tasks, [`admission`] lets others in, [`renewal`]
//! keeps its certificate in date, [`authority`] takes a new one in the old one's place; [`submit`] takes new Revisions, [`jobs`] requests for runs, [`hosts`] changes of hosts, and
//! [`removal`] takes hosts away, [`operators`] are people who work from elsewhere; [`driver`] owns the
//! core, [`ledger`] keeps what it decides and hands its effects to [`executor`] and [`images`];
//! [`observer`] tells it what the engine holds, [`devices`] which GPUs there are, [`gauge`] how busy the machine is,
//! [`probes`] how replicas answer; [`rpc`] is what agents ask each other, [`answers`] what
//! they get, [`peers`] looks at other hosts; [`logs`] and [`resolver`] serve containers, [`streams`]
//! merges what all hosts tell, [`consoles`] puts people in front of programs; [`measures`] is what containers take, [`stats`] that of all hosts,
//! [`provider`] runs the program that adds hosts, [`scaling`] measures for rules and [`numbers`] fetches for them, [`counts`] what the agent does, [`metrics`] both for Prometheus; [`paths`] and [`question`] try the
//! network; [`audit`] notes who changed what, [`events`] what happened; [`watchdog`] tells the service
//! manager how the agent is; [`preview`], [`views`], [`history`] and [`requests`] turn what the core knows
//! into what others want.

mod admission;
mod answers;
mod audit;
mod authority;
mod cluster;
mod consoles;
mod counts;
mod devices;
mod driver;
mod events;
mod executor;
pub mod fuzzing;
mod gauge;
mod handle;
mod images;
mod jobs;
mod ledger;
mod logs;
mod measures;
mod metrics;
mod networks;
mod numbers;
mod observer;
mod operators;
mod paths;
mod peers;
mod probes;
mod provider;
mod question;
mod removal;
mod renewal;
mod resolver;
mod rpc;
mod scaling;
mod setup;
mod stats;
mod streams;
mod submit;
mod watchdog;

pub mod history;
pub mod hosts;
pub mod preview;
pub mod requests;
pub mod views;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

pub use self::handle::Agent;

use self::watchdog::{Manager, News};
use crate::api::ApiError;
use crate::api::scrape;
use crate::api::server::{Listener, ServeError};
use crate::config::AgentConfig;
use crate::docker::EngineError;
use crate::docker::api::DockerApi;
use crate::supervisor::Supervisor;

/// Why the agent did not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// What the service manager gave cannot be used.
    #[error("cannot use the socket of the service manager, `NOTIFY_SOCKET`")]
    Manager(#[source] io::Error),
    /// Docker's address cannot be used.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The socket for the command line cannot be listened on.
    #[error(transparent)]
    Socket(#[from] ServeError),
    /// The address for Prometheus cannot be listened on.
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// What is on disk cannot be read, or the UDP port cannot be listened on.
    #[error(transparent)]
    Member(#[from] ApiError),
}

impl StartError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Member(error) => error.hint.as_deref(),
            Self::Metrics { .. } => Some("choose another address with `--metrics`"),
            Self::Signals(_) | Self::Manager(_) | Self::Engine(_) | Self::Socket(_) => None,
        }
    }
}

/// Runs the agent of this host until it is asked to end (SIGTERM, SIGINT). Containers go on.
///
/// # Errors
///
/// When its state, its sockets or its port cannot be used.
pub async fn run(config: AgentConfig) -> Result<(), StartError> {
    // First, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let manager = Manager::from_environment().map_err(StartError::Manager)?.map(Arc::new);
    let supervisor = Supervisor::new();
    let engine = Arc::new(DockerApi::connect(&config.docker)?);
    let (socket, metrics) = (config.socket.clone(), config.metrics);
    let agent = Agent::new(config, engine, supervisor.clone());
    let listener = Listener::bind(&socket).await?;
    let scraped = match metrics {
        Some(address) => Some(
            scrape::Listener::bind(address)
                .await
                .map_err(|cause| StartError::Metrics { address, cause })?,
        ),
        None => None,
    };
    agent.resume().await?;
    listener.serve(Arc::new(agent.clone()), &supervisor);
    if let Some(scraped) = scraped {
        scraped.serve(Arc::new(agent.clone()), &supervisor);
    }
    if let Some(manager) = &manager {
        manager.tell(News::Ready);
        let manager = Arc::clone(manager);
        supervisor.spawn_until_stop("watchdog", async move {
            manager.watch(|| agent.answers()).await;
        });
    }
    tracing::info!(socket = %socket.display(), "agent ready");
    // Both are cancel-safe.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("agent stops; containers go on");
    if let Some(manager) = manager {
        manager.tell(News::Stopping);
    }
    supervisor.stop().await;
    Ok(())
}
