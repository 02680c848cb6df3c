//! The container engine of one host behind one trait. Carries out and reports; makes no choices.
//!
//! Reading order: [`Engine`] here, its form over the Docker API in [`api`], a fake for tests and
//! simulation in [`fake`], and in [`contract`] what every engine must do, run against both.

pub mod api;
pub mod contract;
pub mod fake;

mod error;
mod programs;
mod stream;

pub use error::*;
pub use programs::*;
pub(crate) use stream::stream_of;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use ipnet::Ipv4Net;

use crate::model::{
    Container, ContainerSpec, DeviceRequest, Generation, Hook, HostDevice, NetworkSpec, PathStat,
    ReplicaId, Resize, TerminalSize, Usage, VolumeSpec,
};

/// A stream that can be sent between tasks.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Labels by which muster finds its own containers, networks and volumes.
pub mod label {
    /// The App.
    pub const APP: &str = "muster.app";
    /// The Service.
    pub const SERVICE: &str = "muster.service";
    /// The Replica's number.
    pub const REPLICA: &str = "muster.replica";
    /// The Generation.
    pub const GENERATION: &str = "muster.generation";
    /// The Revision's id.
    pub const REVISION: &str = "muster.revision";
    /// Hash of the spec.
    pub const SPEC: &str = "muster.spec";
    /// The network's or volume's key in the Compose file.
    pub const KEY: &str = "muster.key";
    /// Ids of the devices that are the container's alone, with commas between.
    pub const DEVICES: &str = "muster.devices";
    /// The cluster the object belongs to.
    pub const CLUSTER: &str = "muster.cluster";
    /// Which step before the start of the Replica the container is.
    pub const STEP: &str = "muster.step";
    /// What is done before the container is stopped.
    pub const FAREWELL: &str = "muster.pre_stop";
}

/// What a container engine can do for us. Every call ends within a bounded time of its own.
pub trait Engine: Send + Sync + 'static {
    /// Version, platform, CPUs and memory.
    fn info(&self) -> impl Future<Output = Result<EngineInfo, EngineError>> + Send;

    /// Every container with muster's labels, running or not.
    fn containers(&self) -> impl Future<Output = Result<Vec<Container>, EngineError>> + Send;

    /// A hint that something of muster's changed. The stream may end or lose events at any time:
    /// the caller resyncs by [`Engine::containers`].
    fn changes(&self) -> BoxStream<()>;

    /// Makes the network when it is missing. One of the same name with another subnet is removed
    /// and made anew when nothing uses it, else it is an error.
    fn ensure_network(
        &self,
        network: &CreateNetwork,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a network; none of that name is no error.
    fn remove_network(&self, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Networks with muster's labels: name in Docker, App, key.
    fn networks(&self) -> impl Future<Output = Result<Vec<Labelled>, EngineError>> + Send;

    /// Makes the volume when it is missing.
    fn ensure_volume(
        &self,
        volume: &CreateVolume,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a volume; none of that name is no error.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Volumes with muster's labels: name in Docker, App, key.
    fn volumes(&self) -> impl Future<Output = Result<Vec<Labelled>, EngineError>> + Send;

    /// The image of that reference, when the host has it.
    fn image(
        &self,
        reference: &str,
    ) -> impl Future<Output = Result<Option<ImageInfo>, EngineError>> + Send;

    /// Every reference (`name:tag`) of every image on the host.
    fn images(&self) -> impl Future<Output = Result<BTreeSet<String>, EngineError>> + Send;

    /// Fetches an image from its registry.
    fn pull(&self, reference: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Asks the image's registry whether it has it, without fetching it. Gives the platforms that
    /// it has it for; none when the registry does not say.
    fn registry_has(
        &self,
        reference: &str,
    ) -> impl Future<Output = Result<BTreeSet<String>, EngineError>> + Send;

    /// The image as a tar stream, as `docker save` makes it.
    fn save_image(&self, reference: &str) -> BoxStream<Result<Bytes, EngineError>>;

    /// Takes in what [`Engine::save_image`] of another host gave.
    fn load_image(
        &self,
        tar: BoxStream<Bytes>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Builds an image from a context folder packed as tar; the stream is the build's own words,
    /// and ends with an error when the build fails.
    fn build_image(
        &self,
        build: BuildImage,
        context: BoxStream<Bytes>,
    ) -> BoxStream<Result<String, EngineError>>;

    /// Makes, connects and starts a container; returns its id. One of the same name that carries
    /// muster's labels and the same Generation is taken as ours and started.
    fn run(
        &self,
        container: &CreateContainer,
    ) -> impl Future<Output = Result<String, EngineError>> + Send;

    /// Starts a container that ended.
    fn start(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Holds a container that is there to other limits, without a stop. One that is gone is no error.
    fn resize(&self, id: &str, to: &Resize)
    -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Asks it to stop, kills it after the grace it was made with; one that is gone or ended is no
    /// error.
    fn stop(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a container and its anonymous volumes, killing it if it runs; none is no error.
    fn remove(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Runs a command in a running container and returns how it ended. One that takes longer than it
    /// may is killed where that is possible, and is an [`EngineError::TimedOut`]; what it writes
    /// beyond [`OUTPUT_MAX`] is dropped.
    fn exec(
        &self,
        id: &str,
        exec: &Exec,
    ) -> impl Future<Output = Result<ExecEnd, EngineError>> + Send;

    /// Runs a command in a running container for somebody who sits in front of it. A program that
    /// cannot be started ends with the exit code that the engine gives it, 126 or 127.
    fn open(
        &self,
        id: &str,
        program: &Program,
    ) -> impl Future<Output = Result<Console, EngineError>> + Send;

    /// Runs a command in a running container and does not look after it.
    fn launch(&self, id: &str, hook: &Hook)
    -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The ways to the program of a container that was made with [`ContainerSpec::stdin_once`], from
    /// its first byte on. Once, and within [`ATTACH_MAX`] of its start: none later, or of others.
    fn attach(&self, id: &str)
    -> impl Future<Output = Result<Option<Console>, EngineError>> + Send;

    /// Tells a terminal its size.
    fn resize_terminal(
        &self,
        of: &ConsoleOf,
        size: TerminalSize,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Tells the program at a terminal that nobody sits there any more (SIGHUP), where its process can be
    /// reached. One that has ended is no error.
    fn hang_up(&self, of: &ConsoleOf) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// What is at a path in a container, whether it runs or not; none where nothing is. Links above it
    /// are followed, and one that stands there when the path ends in `/`.
    fn path_stat(
        &self,
        id: &str,
        path: &str,
    ) -> impl Future<Output = Result<Option<PathStat>, EngineError>> + Send;

    /// What is there as a tar stream. The names in it begin with the last one of the path, which is `.`
    /// for the content of a folder.
    fn read_path(&self, id: &str, path: &str) -> BoxStream<Result<Bytes, EngineError>>;

    /// Unpacks a tar stream into a folder that is there, with the owners that it names. Puts no folder in
    /// the place of something else, nor the other way round. An item that is an error means that whoever
    /// sent it has gone: then this is an error, and what had come is there.
    fn write_folder(
        &self,
        id: &str,
        folder: &str,
        tar: BoxStream<io::Result<Bytes>>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// What a running container took until now; none when it does not run.
    fn usage(&self, id: &str) -> impl Future<Output = Result<Option<Usage>, EngineError>> + Send;

    /// What the container wrote.
    fn logs(&self, id: &str, options: LogOptions) -> BoxStream<Result<LogChunk, EngineError>>;
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// As in `20.10.24`.
    pub version: String,
    /// The API version in use, as in `1.41`.
    pub api_version: String,
    /// `linux/amd64`.
    pub platform: String,
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// The folder that images and containers are in; empty when it is not known.
    pub folder: PathBuf,
    /// What else it can do for containers.
    pub offers: Offers,
}

/// What an engine can do for containers beside running them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// OCI runtimes by name.
    pub runtimes: BTreeSet<String>,
    /// It hands over devices by the Container Device Interface, whose files are in these folders.
    pub cdi_folders: Vec<PathBuf>,
    /// Devices it found there, where it says so (API 1.50).
    pub cdi_devices: BTreeSet<String>,
    /// Generic resources that it was told the host has, by kind (`node-generic-resources`).
    pub resources: BTreeMap<String, u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The kernel lacks what limits processes.
    pub no_pids_limit: bool,
}

/// A Docker network or volume of muster's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    /// Name in Docker.
    pub name: String,
    /// The App it belongs to.
    pub app: String,
    /// Its key in the Compose file.
    pub key: String,
}

/// An image a host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The engine's id; differs between image stores for the same image.
    pub id: String,
    /// `linux/amd64`.
    pub platform: String,
}

/// A network to make: a bridge with an explicit subnet and no masquerade of Docker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateNetwork {
    /// The App.
    pub app: String,
    /// Key in the Compose file.
    pub key: String,
    /// Name, labels, internal or not.
    pub spec: NetworkSpec,
    /// The block of this host.
    pub subnet: Ipv4Net,
    /// Name of the Linux bridge, at most 15 bytes.
    pub bridge: String,
}

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateVolume {
    /// The App.
    pub app: String,
    /// Key in the Compose file.
    pub key: String,
    /// Name, driver, options, labels.
    pub spec: VolumeSpec,
}

/// An image to build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildImage {
    /// The reference it gets.
    pub reference: String,
    /// Path of the Dockerfile within the context.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// Do not use the cache.
    pub no_cache: bool,
    /// Network of the steps; none says the daemon's own.
    pub network: Option<String>,
    /// Size of `/dev/shm` of the steps, bytes; none says the daemon's own.
    pub shm_size: Option<i32>,
}

/// A container to make.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateContainer {
    /// Name in Docker.
    pub name: String,
    /// The Replica.
    pub replica: ReplicaId,
    /// The Generation.
    pub generation: Generation,
    /// The Revision's id, for the label.
    pub revision: String,
    /// Hash of the spec, for the label.
    pub spec_hash: String,
    /// The cluster's id, for the label.
    pub cluster: String,
    /// What runs.
    pub spec: ContainerSpec,
    /// Volume names in Docker by the key the mounts use.
    pub volumes: BTreeMap<String, String>,
    /// Docker networks to join, first one first. Empty: `spec.network_mode` decides.
    pub networks: Vec<String>,
    /// The container, by its name, whose network it joins: then it has no networks of its own.
    pub joins: Option<String>,
    /// Name server to use when the spec names none.
    pub resolver: Option<Ipv4Addr>,
    /// Devices to hand over, by the request they answer.
    pub devices: Vec<(DeviceRequest, Vec<HostDevice>)>,
    /// Which step before the start of the Replica it is; none of the Replica's own container.
    pub step: Option<u32>,
}

/// Which part of a container's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Go on with what comes.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<u32>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only what came after, seconds since 1970.
    pub since: Option<u64>,
}

/// A piece of a container's output, not cut at line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// From standard error rather than standard output.
    pub stderr: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl CreateContainer {
    /// Ids of the devices that it gets.
    pub fn device_ids(&self) -> BTreeSet<String> {
        let devices = self.devices.iter().flat_map(|(_, devices)| devices);
        devices.map(|device| device.id.clone()).collect()
    }
}
