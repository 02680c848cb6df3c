//! The agent of one host: drives [`crate::logic::core::Core`] and carries out what it decides.
//!
//! Reading order: [`run`] here; [`handle`] is the agent as the API sees it; [`setup`] makes it a
//! member and [`cluster`] is the member with all its tasks, [`admission`] lets others in; [`submit`]
//! takes new Revisions; [`driver`] owns the core and hands its effects to [`executor`] and
//! [`images`]; [`observer`] tells it what the engine holds; [`rpc`] is what agents ask each other,
//! [`logs`] and [`resolver`] serve containers; [`preview`], [`views`] and [`requests`] turn what the
//! core knows into what others want.

mod admission;
mod cluster;
mod driver;
mod executor;
mod handle;
mod images;
mod logs;
mod observer;
mod resolver;
mod rpc;
mod setup;
mod submit;

pub mod preview;
pub mod requests;
pub mod views;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

pub use self::handle::Agent;

use crate::api::server::Listener;
use crate::config::AgentConfig;
use crate::docker::api::DockerApi;
use crate::supervisor::Supervisor;

/// Runs the agent of this host until it is asked to end (SIGTERM, SIGINT). Containers go on.
///
/// # Errors
///
/// When its state, its sockets or its port cannot be used.
pub async fn run(config: AgentConfig) -> anyhow::Result<()> {
    // First, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
    let supervisor = Supervisor::new();
    let engine = Arc::new(DockerApi::connect(&config.docker)?);
    let socket = config.socket.clone();
    let agent = Agent::new(config, engine, supervisor.clone());
    let listener = Listener::bind(&socket).await?;
    agent.resume().await?;
    listener.serve(Arc::new(agent), &supervisor);
    tracing::info!(socket = %socket.display(), "agent ready");
    // Both are cancel-safe.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("agent stops; containers go on");
    supervisor.stop().await;
    Ok(())
}
