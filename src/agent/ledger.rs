//! The way from the core to the disk. What the core decides at one event is written and then carried
//! out, in order; while the disk is slow the core goes on, and what came meanwhile is written
//! together. Probes and knocks do not wait: they tell nothing that a disk must hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::logic::core::Effect;
use crate::model::Record;
use crate::supervisor::Supervisor;
use crate::swarm::Durability;

/// Events whose effects wait for the disk; beyond, the core waits with them.
const QUEUE: usize = 256;

/// Told whether what an event led to is kept.
pub(super) type Kept = oneshot::Sender<Result<(), String>>;

/// What one event led to.
#[derive(Debug)]
struct Entry {
    records: Vec<Record>,
    durability: Durability,
    then: Vec<Effect>,
    kept: Option<Kept>,
}

/// Where records go.
pub(super) trait Disk: Send + Sync + 'static {
    /// Writes records as one change. Blocks.
    ///
    /// # Errors
    ///
    /// Why not, in words.
    fn write(&self, records: &[Record], durability: Durability) -> Result<(), String>;
}

/// Takes effects and has them written and carried out in order.
pub(super) struct Ledger<C> {
    queue: mpsc::Sender<Entry>,
    /// Entries that are not carried out yet.
    n_waiting: Arc<AtomicUsize>,
    carry_out: Arc<C>,
}

impl<C: Fn(Effect) + Send + Sync + 'static> Ledger<C> {
    /// Starts the task that writes.
    pub(super) fn start(disk: Arc<impl Disk>, carry_out: C, supervisor: &Supervisor) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let n_waiting = Arc::new(AtomicUsize::new(0));
        let carry_out = Arc::new(carry_out);
        let writer = write_all(inbox, disk, Arc::clone(&carry_out), Arc::clone(&n_waiting));
        supervisor.spawn_until_stop("ledger", writer);
        Self { queue, n_waiting, carry_out }
    }

    /// Takes what one event led to; `kept` is told when it is written.
    pub(super) async fn enter(&self, effects: Vec<Effect>, kept: Option<Kept>) {
        let mut entry =
            Entry { records: Vec::new(), durability: Durability::Lazy, then: Vec::new(), kept };
        for effect in effects {
            match effect {
                Effect::Persist { record, durable } => {
                    entry.records.push(record);
                    if durable {
                        entry.durability = Durability::Synced;
                    }
                }
                Effect::Send { ref message, .. } if message.is_probe() => (self.carry_out)(effect),
                Effect::Knock { .. } | Effect::Probe(_) => (self.carry_out)(effect),
                Effect::Send { .. }
                | Effect::Execute(..)
                | Effect::Network(_)
                | Effect::Names(_)
                | Effect::Know(_)
                | Effect::Provide(_)
                | Effect::Refuse(_) => entry.then.push(effect),
            }
        }
        let idle = self.n_waiting.load(Ordering::Acquire) == 0;
        if entry.records.is_empty() && entry.kept.is_none() && (idle || entry.then.is_empty()) {
            entry.then.into_iter().for_each(|effect| (self.carry_out)(effect));
            return;
        }
        self.n_waiting.fetch_add(1, Ordering::AcqRel);
        // The writer goes only when the agent stops; then nothing is carried out any more.
        let _ = self.queue.send(entry).await;
    }
}

async fn write_all<C: Fn(Effect)>(
    mut inbox: mpsc::Receiver<Entry>,
    disk: Arc<impl Disk>,
    carry_out: Arc<C>,
    n_waiting: Arc<AtomicUsize>,
) {
    let mut entries = Vec::with_capacity(QUEUE);
    // Cancel-safe: what is not received stays in the channel.
    while inbox.recv_many(&mut entries, QUEUE).await > 0 {
        let records = entries.iter_mut().flat_map(|entry| entry.records.drain(..)).collect();
        let synced = entries.iter().any(|entry| entry.durability == Durability::Synced);
        let durability = if synced { Durability::Synced } else { Durability::Lazy };
        let result = write(Arc::clone(&disk), records, durability).await;
        if let Err(error) = &result {
            tracing::error!(error, "cannot write the store");
        }
        for Entry { then, kept, .. } in entries.drain(..) {
            then.into_iter().for_each(|effect| carry_out(effect));
            if let Some(kept) = kept {
                // Whoever asked may have gone.
                let _ = kept.send(result.clone());
            }
            n_waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

async fn write(
    disk: Arc<impl Disk>,
    records: Vec<Record>,
    durability: Durability,
) -> Result<(), String> {
    if records.is_empty() {
        return Ok(());
    }
    let write = tokio::task::spawn_blocking(move || disk.write(&records, durability));
    write.await.map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Condvar, Mutex};

    use super::*;
    use crate::logic::{Delta, Message, Probe, ProbeKind};
    use crate::model::HostId;

    /// A disk whose writes end when it is told so.
    #[derive(Default)]
    struct SlowDisk {
        state: Mutex<(usize, Vec<usize>)>,
        changed: Condvar,
        begun: tokio::sync::Notify,
    }

    impl SlowDisk {
        /// Lets one more write end.
        fn allow(&self) {
            self.state.lock().unwrap().0 += 1;
            self.changed.notify_all();
        }
    }

    impl Disk for SlowDisk {
        fn write(&self, records: &[Record], _: Durability) -> Result<(), String> {
            self.begun.notify_one();
            let mut state = self.state.lock().unwrap();
            while state.0 == 0 {
                state = self.changed.wait(state).unwrap();
            }
            state.0 -= 1;
            state.1.push(records.len());
            Ok(())
        }
    }

    fn persist() -> Effect {
        Effect::Persist { record: Record::ForgetPeer { host: "a".into() }, durable: true }
    }

    fn send(message: Message) -> Effect {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Effect::Send { to: HostId::from("b"), address, message }
    }

    fn news() -> Effect {
        send(Message::Delta(Delta::default()))
    }

    fn probe() -> Effect {
        send(Message::Probe(Probe { kind: ProbeKind::Ping, sequence: 1, news: Vec::new() }))
    }

    #[tokio::test]
    async fn row_24_a_slow_disk_delays_what_must_be_kept_and_no_probe() {
        let disk = Arc::new(SlowDisk::default());
        let supervisor = Supervisor::new();
        let (done, mut seen) = mpsc::unbounded_channel();
        let carry_out = move |effect: Effect| {
            let is_probe = matches!(&effect, Effect::Send { message, .. } if message.is_probe());
            done.send(if is_probe { "probe" } else { "news" }).unwrap();
        };
        let ledger = Ledger::start(Arc::clone(&disk), carry_out, &supervisor);
        let (kept, was_kept) = oneshot::channel();
        ledger.enter(vec![persist(), news()], Some(kept)).await;
        disk.begun.notified().await;
        // The disk has not answered, and events go on.
        for _ in 0..20 {
            ledger.enter(vec![persist(), probe(), news()], None).await;
            assert_eq!(seen.recv().await, Some("probe"));
        }
        assert!(seen.try_recv().is_err(), "something was told before it was kept");
        disk.allow();
        was_kept.await.unwrap().unwrap();
        assert_eq!(seen.recv().await, Some("news"));
        disk.allow();
        for _ in 0..20 {
            assert_eq!(seen.recv().await, Some("news"));
        }
        // What came while the disk was busy is one write.
        let writes = disk.state.lock().unwrap().1.clone();
        assert_eq!((writes.len(), writes.iter().sum::<usize>()), (2, 21), "{writes:?}");
        // With nothing under way, what needs no disk does not wait.
        ledger.enter(vec![news()], None).await;
        assert_eq!(seen.try_recv(), Ok("news"));
        supervisor.stop().await;
    }
}
