//! The Docker Engine API, version 1.41 (Engine 20.10) and up. The only user of bollard; decides
//! nothing and keeps no state but what makes asking cheaper.

mod auth;
mod consoles;
mod containers;
mod convert;
mod copies;
mod devices;
mod error;
mod exec;
mod files;
mod hijack;
mod images;
mod logs;
mod mounts;
mod networks;
mod observe;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use self::containers::Seen;
use self::hijack::Held;
use self::session::Link;
use super::{
    BoxStream, BuildImage, Console, ConsoleOf, CreateContainer, CreateNetwork, CreateVolume,
    Engine, EngineError, EngineInfo, Exec, ExecEnd, ImageInfo, Labelled, LogChunk, LogOptions,
    Program,
};
use crate::model::{Container, Hook, PathStat, Resize, TerminalSize, Usage};

/// A Docker daemon behind a unix socket.
#[derive(Debug, Clone)]
pub struct DockerApi {
    link: Arc<Link>,
    seen: Arc<Seen>,
    held: Arc<Held>,
}

impl DockerApi {
    /// Takes `unix:///path` or an absolute path. Does not speak to the daemon: it may be down now
    /// and come later, in another version.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`] when the address is of another kind.
    pub fn connect(address: &str) -> Result<Self, EngineError> {
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(EngineError::Unreachable {
                socket: address.to_owned(),
                detail: "only `unix:///path` can be used".to_owned(),
            });
        }
        Ok(Self { link: Arc::new(Link::new(path)), seen: Arc::default(), held: Arc::default() })
    }
}

/// What Docker says of itself that only a diagnosis wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReport {
    /// As in `20.10.24`.
    pub version: String,
    /// The API version in use, as in `1.41`.
    pub api_version: String,
    /// Whether containers go on while the daemon is down.
    pub live_restore: bool,
    /// Version of the kernel's control groups: `1` or `2`.
    pub cgroups: String,
    /// What it complains of.
    pub warnings: Vec<String>,
    /// Where it keeps images and volumes.
    pub folder: String,
}

impl DockerApi {
    /// What Docker says of itself.
    ///
    /// # Errors
    /// When it does not answer, or speaks no version of the API that we do.
    pub async fn report(&self) -> Result<EngineReport, EngineError> {
        session::report(&self.link).await
    }
}

impl Engine for DockerApi {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        session::info(&self.link).await
    }

    async fn containers(&self) -> Result<Vec<Container>, EngineError> {
        // Somebody lists them now and then, whatever happens.
        self.held.sweep();
        containers::list(&self.link, &self.seen).await
    }

    fn changes(&self) -> BoxStream<()> {
        logs::changes(Arc::clone(&self.link))
    }

    async fn ensure_network(&self, network: &CreateNetwork) -> Result<(), EngineError> {
        networks::ensure(&self.link, network).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        networks::remove(&self.link, name).await
    }

    async fn networks(&self) -> Result<Vec<Labelled>, EngineError> {
        networks::list(&self.link).await
    }

    async fn ensure_volume(&self, volume: &CreateVolume) -> Result<(), EngineError> {
        networks::ensure_volume(&self.link, volume).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        networks::remove_volume(&self.link, name).await
    }

    async fn volumes(&self) -> Result<Vec<Labelled>, EngineError> {
        networks::list_volumes(&self.link).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        images::inspect(&self.link, reference).await
    }

    async fn images(&self) -> Result<BTreeSet<String>, EngineError> {
        images::list(&self.link).await
    }

    async fn pull(&self, reference: &str) -> Result<(), EngineError> {
        images::pull(&self.link, reference).await
    }

    async fn registry_has(&self, reference: &str) -> Result<BTreeSet<String>, EngineError> {
        images::registry_has(&self.link, reference).await
    }

    fn save_image(&self, reference: &str) -> BoxStream<Result<Bytes, EngineError>> {
        images::save(Arc::clone(&self.link), reference.to_owned())
    }

    async fn load_image(&self, tar: BoxStream<Bytes>) -> Result<(), EngineError> {
        images::load(&self.link, tar).await
    }

    fn build_image(
        &self,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> BoxStream<Result<String, EngineError>> {
        images::build(Arc::clone(&self.link), build, context)
    }

    async fn run(&self, container: &CreateContainer) -> Result<String, EngineError> {
        containers::run(&self.link, (&self.seen, &self.held), container).await
    }

    async fn start(&self, id: &str) -> Result<(), EngineError> {
        containers::start(&self.link, &self.seen, id).await
    }

    async fn resize(&self, id: &str, to: &Resize) -> Result<(), EngineError> {
        containers::resize(&self.link, &self.seen, id, to).await
    }

    async fn stop(&self, id: &str) -> Result<(), EngineError> {
        containers::stop(&self.link, id).await
    }

    async fn remove(&self, id: &str) -> Result<(), EngineError> {
        drop(self.held.take(id));
        containers::remove(&self.link, id).await
    }

    async fn exec(&self, id: &str, exec: &Exec) -> Result<ExecEnd, EngineError> {
        exec::run(&self.link, id, exec).await
    }

    async fn open(&self, id: &str, program: &Program) -> Result<Console, EngineError> {
        consoles::open(&self.link, id, program).await
    }

    async fn launch(&self, id: &str, hook: &Hook) -> Result<(), EngineError> {
        consoles::launch(&self.link, id, hook).await
    }

    async fn attach(&self, id: &str) -> Result<Option<Console>, EngineError> {
        Ok(consoles::attach(&self.link, &self.held, id))
    }

    async fn resize_terminal(&self, of: &ConsoleOf, size: TerminalSize) -> Result<(), EngineError> {
        consoles::resize(&self.link, of, size).await
    }

    async fn hang_up(&self, of: &ConsoleOf) -> Result<(), EngineError> {
        consoles::hang_up(&self.link, of).await
    }

    async fn path_stat(&self, id: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        copies::path_stat(&self.link, id, path).await
    }

    fn read_path(&self, id: &str, path: &str) -> BoxStream<Result<Bytes, EngineError>> {
        copies::read(Arc::clone(&self.link), id.to_owned(), path.to_owned())
    }

    async fn write_folder(
        &self,
        id: &str,
        folder: &str,
        tar: BoxStream<io::Result<Bytes>>,
    ) -> Result<(), EngineError> {
        copies::write(&self.link, id, folder, tar).await
    }

    async fn usage(&self, id: &str) -> Result<Option<Usage>, EngineError> {
        usage::read(&self.link, id).await
    }

    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<Result<LogChunk, EngineError>> {
        logs::logs(Arc::clone(&self.link), id.to_owned(), options)
    }
}
