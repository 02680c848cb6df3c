//! What the agent itself does, in numbers that only rise. Each is one addition where it happens.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages between the cores of agents, and their bytes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Probes of membership sent.
    pub(super) probes_sent: Count,
    /// Other messages sent.
    pub(super) messages_sent: Count,
    /// Messages received, probes among them.
    pub(super) received: Count,
}

/// How many, and how many bytes.
#[derive(Debug, Default)]
pub(super) struct Count {
    n: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    /// One more.
    pub(super) fn add(&self, bytes: usize) {
        self.n.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many, and how many bytes.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.n.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
