//! Fakes of a container engine: [`FakeHost`], a state machine in virtual time for the simulator,
//! and [`FakeEngine`] around it for tests of async code. Never part of a running agent.

mod consoles;
mod files;
mod host;
mod image;
mod process;
#[cfg(test)]
mod tests;

pub use consoles::FakeConsoles;
pub use files::{FakeFile, FakeNode, FakeTree};
pub use host::FakeHost;
pub use image::{Answers, Behaviour, FakeExec, FakeExit, FakeHealth, FakeImage};
#[cfg(test)]
pub(crate) use tests::web;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use self::host::refused;
use super::stream::generate;
use super::{
    BoxStream, BuildImage, Console, ConsoleOf, CreateContainer, CreateNetwork, CreateVolume,
    Engine, EngineError, EngineInfo, Exec, ExecEnd, ImageInfo, Labelled, LogChunk, LogOptions,
    Offers, Program,
};
use crate::model::{
    Container, ContainerState, Hook, Moment, PathStat, Resize, TerminalSize, Usage,
};

/// What a build of some reference gives: an image, or the words it fails with.
type Builds = BTreeMap<String, Result<FakeImage, String>>;

/// A [`FakeHost`] that lives by Tokio's clock, which tests may pause.
#[derive(Debug, Clone)]
pub struct FakeEngine {
    host: Arc<Mutex<FakeHost>>,
    builds: Arc<Mutex<Builds>>,
    consoles: Arc<Mutex<FakeConsoles>>,
    /// Files by the container's id.
    trees: Arc<Mutex<BTreeMap<String, FakeTree>>>,
    touched: Arc<watch::Sender<u64>>,
    began: Instant,
}

impl Default for FakeEngine {
    /// An empty engine with 4 CPUs and 8 GiB.
    fn default() -> Self {
        Self::new(FakeHost::new(EngineInfo {
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            platform: "linux/amd64".to_owned(),
            cpu_millis: 4000,
            memory: 8 << 30,
            folder: PathBuf::new(),
            offers: Offers::default(),
        }))
    }
}

impl FakeEngine {
    /// Time begins now.
    pub fn new(host: FakeHost) -> Self {
        Self {
            host: Arc::new(Mutex::new(host)),
            builds: Arc::default(),
            consoles: Arc::default(),
            trees: Arc::default(),
            touched: Arc::new(watch::Sender::new(0)),
            began: Instant::now(),
        }
    }

    /// Looks at or changes the host as it is now.
    pub fn with<T>(&self, body: impl FnOnce(&mut FakeHost) -> T) -> T {
        let mut host = lock(&self.host);
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        host.tick(Moment(elapsed));
        let result = body(&mut host);
        let version = host.version();
        self.touched.send_if_modified(|seen| std::mem::replace(seen, version) != version);
        result
    }

    /// Scripts what a build of `reference` gives; without, an image that runs until stopped.
    pub fn script_build(&self, reference: &str, result: Result<FakeImage, String>) {
        lock(&self.builds).insert(reference.to_owned(), result);
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.began + Duration::from_millis(moment.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine for FakeEngine {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.with(|host| host.info())
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.with(|host| host.containers())
    }

    fn changes(&self) -> BoxStream<()> {
        let engine = self.clone();
        generate(|sender| async move {
            let mut touched = engine.touched.subscribe();
            let mut told = None;
            loop {
                let (version, next) = engine.with(|host| (host.version(), host.next_change()));
                if told.replace(version) != Some(version) && sender.send(()).await.is_err() {
                    return;
                }
                // Both arms are cancel-safe: `changed` marks as seen only when it is ready.
                match next {
                    None => drop(touched.changed().await),
                    Some(at) => tokio::select! {
                        _ = touched.changed() => {}
                        () = sleep_until(engine.instant(at)) => {}
                    },
                }
            }
        })
    }

    async fn ensure_network(&self, network: &CreateNetwork) -> Result<(), EngineError> {
        self.with(|host| host.ensure_network(network))
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.with(|host| host.remove_network(name))
    }

    async fn networks(&self) -> Result<Vec<Labelled>, EngineError> {
        self.with(|host| host.networks())
    }

    async fn ensure_volume(&self, volume: &CreateVolume) -> Result<(), EngineError> {
        self.with(|host| host.ensure_volume(volume))
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.with(|host| host.remove_volume(name))
    }

    async fn volumes(&self) -> Result<Vec<Labelled>, EngineError> {
        self.with(|host| host.volumes())
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        self.with(|host| host.image(reference))
    }

    async fn images(&self) -> Result<BTreeSet<String>, EngineError> {
        self.with(|host| host.images())
    }

    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        self.with(|host| host.pull(reference))
    }

    async fn registry_has(&self, reference: &str) -> Result<BTreeSet<String>, EngineError> {
        self.with(|host| host.registry_has(reference))
    }

    /// JSON in place of a tar; [`FakeEngine::load_image`] reads it.
    fn save_image(&self, reference: &str) -> BoxStream<Result<Bytes, EngineError>> {
        let saved = self.with(|host| host.export(reference)).map(|image| {
            let json = serde_json::to_vec(&(reference, image));
            Bytes::from(json.expect("a FakeImage holds only strings and numbers"))
        });
        Box::pin(stream::iter([saved]))
    }

    async fn load_image(&self, tar: BoxStream<Bytes>) -> Result<(), EngineError> {
        let bytes: Vec<u8> = tar.collect::<Vec<_>>().await.concat();
        self.with(|host| {
            host.info()?;
            let (reference, image): (String, FakeImage) = serde_json::from_slice(&bytes)
                .map_err(|error| refused("load an image", 500, &error.to_string()))?;
            host.add_image(&reference, image);
            Ok(())
        })
    }

    fn build_image(
        &self,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> BoxStream<Result<String, EngineError>> {
        let engine = self.clone();
        generate(|sender| async move {
            let n_bytes = context.fold(0, |sum, chunk| async move { sum + chunk.len() }).await;
            let scripted = lock(&engine.builds).get(&build.reference).cloned();
            let action = format!("build image `{}`", build.reference);
            let result = scripted.unwrap_or_else(|| Ok(FakeImage::new(Behaviour::default())));
            let told = engine.with(|host| {
                host.info()?;
                let image = result.map_err(|words| refused(&action, 200, &words))?;
                host.add_image(&build.reference, image);
                Ok(format!("built {} from {n_bytes} bytes\n", build.reference))
            });
            // Nobody waits for it any more: the build is done all the same.
            drop(sender.send(told).await);
        })
    }

    async fn run(&self, container: &CreateContainer) -> Result<String, EngineError> {
        self.with(|host| host.run(container))
    }

    async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.with(|host| host.start(id))
    }

    async fn resize(&self, id: &str, to: &Resize) -> Result<(), EngineError> {
        self.with(|host| host.resize(id, to))
    }

    async fn stop(&self, id: &str) -> Result<(), EngineError> {
        let end = self.with(|host| {
            let grace = host.made(id).map(|made| made.spec.stop_grace()).unwrap_or_default();
            host.stop(id, grace)
        })?;
        sleep_until(self.instant(end)).await;
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), EngineError> {
        self.with(|host| host.remove(id))
    }

    async fn exec(&self, id: &str, exec: &Exec) -> Result<ExecEnd, EngineError> {
        let FakeExec { takes, code, output, errors: _ } =
            self.with(|host| host.exec(id, &exec.hook.command))?;
        sleep(takes.min(exec.limit)).await;
        if takes > exec.limit {
            let action = format!("run a command in container `{id}`");
            return Err(EngineError::TimedOut { action, limit: exec.limit });
        }
        Ok(ExecEnd { code, output })
    }

    async fn open(&self, id: &str, program: &Program) -> Result<Console, EngineError> {
        self.open_console(id, program)
    }

    async fn launch(&self, id: &str, hook: &Hook) -> Result<(), EngineError> {
        self.launch_alone(id, hook)
    }

    async fn attach(&self, id: &str) -> Result<Option<Console>, EngineError> {
        self.attach_once(id)
    }

    async fn resize_terminal(&self, of: &ConsoleOf, size: TerminalSize) -> Result<(), EngineError> {
        self.note_size(of, size);
        Ok(())
    }

    async fn hang_up(&self, of: &ConsoleOf) -> Result<(), EngineError> {
        self.note_hang_up(of).await;
        Ok(())
    }

    async fn path_stat(&self, id: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        self.stat_path(id, path)
    }

    fn read_path(&self, id: &str, path: &str) -> BoxStream<Result<Bytes, EngineError>> {
        self.pack_path(id, path)
    }

    async fn write_folder(
        &self,
        id: &str,
        folder: &str,
        tar: BoxStream<io::Result<Bytes>>,
    ) -> Result<(), EngineError> {
        self.unpack_folder(id, folder, tar).await
    }

    async fn usage(&self, id: &str) -> Result<Option<Usage>, EngineError> {
        self.with(|host| host.usage(id))
    }

    /// `tail`, `since` and `timestamps` are not kept: what is scripted has no lines or times.
    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<Result<LogChunk, EngineError>> {
        let (engine, id) = (self.clone(), id.to_owned());
        generate(move |sender| async move {
            let mut changes = engine.changes();
            let (stdout, stderr) = match engine.with(|host| host.output(&id)) {
                Ok(output) => output,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            for (stderr, text) in [(false, stdout), (true, stderr)] {
                let chunk = LogChunk { stderr, bytes: text.into() };
                if !chunk.bytes.is_empty() && sender.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
            while options.follow && engine.with(|host| is_running(host, &id)) {
                if changes.next().await.is_none() {
                    return;
                }
            }
        })
    }
}

fn is_running(host: &FakeHost, id: &str) -> bool {
    let containers = host.containers().unwrap_or_default();
    containers.iter().any(|c| c.id == id && c.state == ContainerState::Running)
}
