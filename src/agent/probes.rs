//! Asks replicas how they are. Every question ends within its time, whatever the replica does with it;
//! what it answers is read as far as it matters. What follows is decided in [`crate::logic::health`].

mod http;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::http::Get;
use super::driver::CoreHandle;
use crate::docker::{Engine, EngineError, Exec};
use crate::logic::core::Event;
use crate::logic::health::{Answer, Probe};
use crate::model::{Ask, Hook};
use crate::supervisor::Supervisor;

/// Commands in containers at a time: each is a process, and some calls of the daemon.
const COMMANDS_MAX: usize = 8;
/// Questions with TLS at a time: each takes a thread.
const THREADS_MAX: usize = 16;

/// Who asks.
#[derive(Debug)]
pub(super) struct Prober<E> {
    engine: Arc<E>,
    commands: Semaphore,
    threads: Semaphore,
}

impl<E: Engine> Prober<E> {
    /// One for this host.
    pub(super) fn new(engine: Arc<E>) -> Self {
        let (commands, threads) = (Semaphore::new(COMMANDS_MAX), Semaphore::new(THREADS_MAX));
        Self { engine, commands, threads }
    }

    /// Asks, and tells the core what came of it.
    pub(super) fn ask(self: &Arc<Self>, probe: Probe, core: CoreHandle, supervisor: &Supervisor) {
        let prober = Arc::clone(self);
        supervisor.spawn_until_stop("probe", async move {
            let id = probe.id;
            let answer = prober.answer(probe).await;
            core.event(Event::Answered(id, answer)).await;
        });
    }

    async fn answer(&self, probe: Probe) -> Answer {
        let Probe { id: _, container, address, ask, timeout: limit } = probe;
        // On its host's own network it is where the host is.
        let address = IpAddr::V4(address.unwrap_or(Ipv4Addr::LOCALHOST));
        let result = match ask {
            Ask::Exec { command } => return self.run(&container, command, limit).await,
            Ask::Tcp { port } => {
                let connection = TcpStream::connect(SocketAddr::new(address, port));
                match timeout(limit, connection).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(format!("port {port}: {}", words(&error))),
                    Err(_) => Err(format!("port {port}: {}", late(limit))),
                }
            }
            Ask::Http { port, path, tls, status, headers } => {
                let to = SocketAddr::new(address, port);
                let get = Get { to, path, headers };
                let said = if tls {
                    self.ask_with_tls(get.clone(), limit).await
                } else {
                    match timeout(limit, http::status(&get)).await {
                        Ok(said) => said,
                        Err(_) => Err(late(limit)),
                    }
                };
                let about = |why: String| format!("GET {} on port {port}: {why}", get.path);
                match said {
                    Ok(said) if (status.0..=status.1).contains(&said) => Ok(()),
                    Ok(said) => Err(about(format!("status {said}"))),
                    Err(why) => Err(about(why)),
                }
            }
        };
        result.map_or_else(Answer::Bad, |()| Answer::Good)
    }

    async fn ask_with_tls(&self, get: Get, limit: Duration) -> Result<u16, String> {
        // The wait for a turn is not the replica's; turns come, as all who have one end in time.
        let _turn = self.threads.acquire().await.map_err(|error| error.to_string())?;
        let asked = tokio::task::spawn_blocking(move || tls::status(&get, limit)).await;
        asked.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn run(&self, container: &str, command: Vec<String>, limit: Duration) -> Answer {
        let program = command.first().cloned().unwrap_or_default();
        let Ok(_turn) = self.commands.acquire().await else { return Answer::Unknown };
        let exec = Exec { hook: Hook { command, ..Hook::default() }, limit };
        match self.engine.exec(container, &exec).await {
            Ok(end) if end.code == 0 => Answer::Good,
            Ok(end) => {
                let last = end.output.lines().rev().map(str::trim).find(|line| !line.is_empty());
                let last = last.map(|line| format!(" ({line})")).unwrap_or_default();
                Answer::Bad(format!("`{program}` ended with exit code {}{last}", end.code))
            }
            Err(EngineError::TimedOut { limit: passed, .. }) if passed == limit => {
                Answer::Bad(format!("`{program}`: {}", late(limit)))
            }
            // It is stopping, which is told by its state.
            Err(EngineError::Refused { status: 404 | 409, .. }) => Answer::Unknown,
            Err(error @ EngineError::Refused { .. }) => Answer::Bad(error.sentence()),
            Err(
                EngineError::TimedOut { .. }
                | EngineError::Unreachable { .. }
                | EngineError::NoImage { .. }
                | EngineError::Version { .. },
            ) => Answer::Unknown,
        }
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs_f64())
}

/// The system's words for people, without its numbers.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
