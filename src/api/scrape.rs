//! Tells Prometheus what the agent knows in numbers, over TCP. Nothing else can be asked there, and nobody
//! is asked who they are: names of apps and hosts are told to all who reach the address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Backend;
use super::router::{METRICS, metrics, no_such_endpoint};
use crate::supervisor::Supervisor;

/// Scrapers at one time. A few are usual; more find the next free place.
const CONNECTIONS: usize = 16;
/// A scraper keeps its connection between two looks, which may be a minute.
const READ: Duration = Duration::from_secs(75);
/// Pause after a failed accept, which fails again at once when file descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that is listened on, with nobody answering yet.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "whoever reaches this address may read the metrics");
        }
        Ok(Self(listener))
    }

    /// The address, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// When the system cannot say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `supervisor` stops, in a task of its own.
    pub fn serve(self, backend: Arc<dyn Backend>, supervisor: &Supervisor) {
        let tasks = supervisor.clone();
        let handler = get(async move || metrics(&*backend).await);
        let router = Router::new().route(METRICS, handler).fallback(no_such_endpoint);
        supervisor.spawn_until_stop("metrics", self.accept(router, tasks));
    }

    async fn accept(self, router: Router, supervisor: Supervisor) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let permit = Arc::clone(&room).acquire_owned().await;
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let answer = answer(stream, router.clone());
                    supervisor.spawn_until_stop("scraper", async move {
                        answer.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a scraper left early");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::api::fake::FakeBackend;

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_are_told_and_nothing_else() {
        let supervisor = Supervisor::new();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address().unwrap();
        listener.serve(Arc::new(FakeBackend::new()), &supervisor);
        let answer = ask(address, "GET /metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.ends_with("muster_hosts 3\n"), "{answer}");
        for other in ["GET /v1/status", "POST /v1/init", "GET /"] {
            assert!(ask(address, other).await.starts_with("HTTP/1.1 404"), "{other}");
        }
        assert!(ask(address, "POST /metrics").await.starts_with("HTTP/1.1 405"));
        supervisor.stop().await;
    }
}
