//! A thread of its own for everything that touches the UDP socket.
//!
//! Packets come by the ten thousand a second. On one thread, whoever reads the socket, whoever
//! decrypts and whoever takes packets out run in turns, each with all that the one before left; on
//! several they would wake each other for every packet.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, TokioRuntime};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct PacketThread {
    handle: Handle,
    _end: DropGuard,
}

impl PacketThread {
    /// Starts it.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::Builder::new().name("packets".to_owned()).spawn(move || {
            runtime.block_on(ended.cancelled());
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _end: end.drop_guard() })
    }

    /// What is spawned within it runs on the thread.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// For quinn: its tasks, timers and sockets live on the thread.
    pub(super) fn runtime(&self) -> Arc<dyn quinn::Runtime> {
        Arc::new(OnThread(self.handle.clone()))
    }
}

#[derive(Debug)]
struct OnThread(Handle);

impl quinn::Runtime for OnThread {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _on = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(task);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _on = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
