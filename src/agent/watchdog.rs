//! Tells the service manager how the agent is, as sd_notify(3) has it: one datagram a message on the
//! socket that `NOTIFY_SOCKET` names. A core that does not answer is not said to be well, so that the
//! manager starts the agent anew; containers go on meanwhile.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Pings come so often within the time that the manager waits for one.
const PINGS: u32 = 3;

/// What the agent can tell its manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It has started.
    Ready,
    /// It still works.
    Well,
    /// It ends, as it was asked to.
    Stopping,
}

impl News {
    fn words(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Well => b"WATCHDOG=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

/// The way to the service manager.
#[derive(Debug)]
pub(super) struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it waits for a ping before it ends the agent; none when it does not.
    limit: Option<Duration>,
}

impl Manager {
    /// The manager that started this process, if it wants to know.
    ///
    /// # Errors
    ///
    /// When what it gave us cannot be used: without a word from us it would end the agent.
    pub(super) fn from_environment() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let variable = |name| env::var(name).ok()?.parse::<u64>().ok();
        // It may have been meant for a parent of ours.
        let is_ours =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let micros = variable("WATCHDOG_USEC").filter(|micros| *micros > 0 && is_ours);
        Self::new(&name.into_vec(), micros.map(Duration::from_micros)).map(Some)
    }

    fn new(name: &[u8], limit: Option<Duration>) -> io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop us.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, limit })
    }

    /// Tells it. What cannot be sent is logged: the manager decides what its silence means.
    pub(super) fn tell(&self, news: News) {
        if let Err(error) = self.socket.send_to_addr(news.words(), &self.address) {
            tracing::warn!(%error, ?news, "the service manager cannot be told");
        }
    }

    /// Says that all is well for as long as `is_well` answers in time. Never returns.
    pub(super) async fn watch<F: Future<Output = ()>>(&self, is_well: impl Fn() -> F) {
        let Some(limit) = self.limit else { return std::future::pending().await };
        let every = limit / PINGS;
        loop {
            match tokio::time::timeout(every, is_well()).await {
                Ok(()) => self.tell(News::Well),
                Err(_) => tracing::error!("the core does not answer; the watchdog is not told"),
            }
            tokio::time::sleep(every).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::driver::CoreHandle;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(9);

    fn manager(folder: &std::path::Path) -> (UnixDatagram, Manager) {
        let path = folder.join("notify");
        let ears = UnixDatagram::bind(&path).unwrap();
        ears.set_nonblocking(true).unwrap();
        (ears, Manager::new(path.as_os_str().as_bytes(), Some(LIMIT)).unwrap())
    }

    fn heard(ears: &UnixDatagram) -> Vec<String> {
        let mut heard = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(length) = ears.recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        heard
    }

    #[test]
    fn the_manager_hears_that_the_agent_starts_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (ears, manager) = manager(folder.path());
        manager.tell(News::Ready);
        manager.tell(News::Stopping);
        assert_eq!(heard(&ears), ["READY=1", "STOPPING=1"]);
        // Nobody listens any more: that is not our end.
        drop(ears);
        manager.tell(News::Well);
    }

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_does_not_wait_is_not_pinged() {
        let folder = tempfile::tempdir().unwrap();
        let (ears, mut manager) = manager(folder.path());
        manager.limit = None;
        let watch = manager.watch(|| std::future::ready(()));
        assert!(tokio::time::timeout(LIMIT * 10, watch).await.is_err());
        assert_eq!(heard(&ears), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn row_52_a_stalled_core_is_not_said_to_be_well() {
        let folder = tempfile::tempdir().unwrap();
        let (ears, manager) = manager(folder.path());
        let stalled = Arc::new(AtomicBool::new(false));
        // Its queue takes what it is asked, and nobody reads it.
        let core = CoreHandle::stalled();
        let is_well = || async {
            if stalled.load(Ordering::Relaxed) {
                let _ = core.look(|_| ()).await;
            }
        };
        let watch = manager.watch(is_well);
        let check = async {
            tokio::time::sleep(LIMIT).await;
            assert!(heard(&ears).len() >= 2, "in time while it is well");
            stalled.store(true, Ordering::Relaxed);
            tokio::time::sleep(LIMIT).await;
            // One may have been under way.
            assert!(heard(&ears).len() <= 1, "silent once it is stuck");
            tokio::time::sleep(LIMIT).await;
            assert_eq!(heard(&ears), [""; 0]);
            stalled.store(false, Ordering::Relaxed);
            tokio::time::sleep(LIMIT).await;
            assert!(!heard(&ears).is_empty(), "well again");
        };
        tokio::select! {
            () = watch => {}
            () = check => {}
        }
    }
}
