//! A Revision: one immutable desired state of an App.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AppName, Autoscale, Checks, DeviceRequest, Gang, Hooks, HostId, Job, NetworkName, RevisionId,
    RolloutOrder, ServiceName, Tuning, UpdatePolicy, Vertical, WallSeconds, sha256_hex,
};

/// One immutable desired state of an App. It is kept and sent as a
/// [`SealedRevision`](super::SealedRevision), which has its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The App this is a state of.
    pub app: AppName,
    /// One more than the highest sequence among the parents; the winner of a conflict has the
    /// highest (sequence, id).
    pub sequence: u64,
    /// The Revisions this one replaces; empty for the first.
    #[serde(default)]
    pub parents: Vec<RevisionId>,
    /// Whether the App should run, or be removed.
    pub intent: Intent,
    /// The Deployments by service name; empty when the App is to be removed.
    #[serde(default)]
    pub deployments: BTreeMap<ServiceName, Deployment>,
    /// The jobs; no job has the name of a Deployment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<ServiceName, Job>,
    /// The networks the Deployments join.
    #[serde(default)]
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// The named volumes the Deployments mount, by the key of the Compose file.
    #[serde(default)]
    pub volumes: BTreeMap<String, VolumeSpec>,
    /// Where it came from; shown by `muster history`.
    pub origin: Origin,
}

impl Revision {
    /// What a replica of this name runs: of a Deployment, or of a job.
    pub fn deployment(&self, name: &ServiceName) -> Option<&Deployment> {
        self.deployments.get(name).or_else(|| self.jobs.get(name).map(|job| &job.deployment))
    }

    /// Every Deployment, those of jobs too.
    pub fn all_deployments(&self) -> impl Iterator<Item = (&ServiceName, &Deployment)> {
        let jobs = self.jobs.iter().map(|(name, job)| (name, &job.deployment));
        self.deployments.iter().chain(jobs)
    }
}

/// What an App's newest Revision asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Run it.
    #[default]
    Run,
    /// Remove its containers and networks; keep its volumes.
    Remove,
    /// Remove its volumes as well.
    RemoveWithVolumes,
}

/// Who made a Revision, from what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The host whose agent took the `up`; relative binds and local files are there.
    pub host: HostId,
    /// The verb: `up`, `scale`, `down`, `rollback`.
    pub command: String,
    /// The time on that host's clock.
    pub at: WallSeconds,
    /// The operator who asked for it from elsewhere; none means somebody on that host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The host that was asked, where that is another one than `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<HostId>,
}

/// One Compose service as replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// How many replicas.
    pub replicas: Replicas,
    /// What runs.
    pub container: ContainerSpec,
    /// What must have happened before a replica starts.
    #[serde(default)]
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// When a container that ended is started again.
    pub restart: RestartPolicy,
    /// Where a replica may run.
    #[serde(default)]
    pub placement: Placement,
    /// How replicas are replaced when the container changes.
    pub update: UpdatePolicy,
    /// Ports listened on outside the cluster.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// The networks joined and the extra names on each.
    #[serde(default)]
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// Whether names answer with a service address or with the replicas (`endpoint_mode: dnsrr`).
    #[serde(default)]
    pub endpoint_mode: EndpointMode,
    /// Whom the resolver asks for it, in this order, for names that are none of the cluster's (`dns`);
    /// empty means the host's own name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub name_servers: Vec<IpAddr>,
    /// Whether connections of one client go to one replica.
    #[serde(default, skip_serializing_if = "Affinity::is_none")]
    pub affinity: Affinity,
    /// How replicas are replaced when an update is undone; none means as in the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<UpdatePolicy>,
    /// Rises when a container that was rolled back is to be tried again.
    #[serde(default, skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// What muster itself asks its replicas.
    #[serde(default, skip_serializing_if = "Checks::is_empty")]
    pub checks: Checks,
    /// What somebody decided of the rollout of this very container, in this try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<RolloutOrder>,
    /// The service whose network its containers join (`network_mode: service:x`): its leader, with
    /// which it is on one host, at one Generation, and as many times. It has no networks then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins: Option<ServiceName>,
    /// How its number of replicas follows what is measured; `replicas` is where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// What its replicas may be given while they run, by what is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertical: Option<Vertical>,
    /// Whether replicas are to run for ever or to their end.
    #[serde(default, skip_serializing_if = "Life::is_endless")]
    pub life: Life,
    /// Whether all replicas run at once or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gang: Option<Gang>,
}

impl Deployment {
    /// Hash of all that forces a replica to be replaced when it changes: the container and the
    /// networks. Not the number of replicas, the ports (they are outside the container), nor the
    /// policies.
    pub fn container_hash(&self) -> String {
        container_hash(&self.container, &self.networks)
    }

    /// Whether each replica runs to its end once, and not again because something else changed.
    pub fn is_one_shot(&self) -> bool {
        self.life == Life::OneShot || self.restart == RestartPolicy::Never
    }

    /// How it goes back to the revision before: as was asked for, or else as `UpdatePolicy::back`.
    pub fn rollback_policy(&self) -> UpdatePolicy {
        self.rollback.unwrap_or_else(|| self.update.back())
    }

    /// Named volumes this Deployment mounts, by the key in [`Revision::volumes`].
    pub fn volumes(&self) -> BTreeSet<&str> {
        self.mounts()
            .filter_map(|mount| match &mount.source {
                MountSource::Volume { name, .. } => Some(name.as_str()),
                MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Anonymous => {
                    None
                }
            })
            .collect()
    }

    /// Whether it mounts files of the host it was started from.
    pub fn has_binds(&self) -> bool {
        self.mounts().any(|mount| matches!(mount.source, MountSource::Bind { .. }))
    }

    /// What its container and the steps before it mount.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.containers().flat_map(|container| &container.mounts)
    }

    /// Its container and those of the steps before it.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerSpec> {
        let steps = self.container.hooks.pre_start.iter().map(|step| &step.container);
        std::iter::once(&self.container).chain(steps)
    }

    /// The files of all of these, by the step's place in the list; none is the container itself.
    pub fn files_mut(&mut self) -> impl Iterator<Item = (Option<usize>, &mut FileSpec)> {
        let ContainerSpec { files, hooks, .. } = &mut self.container;
        let steps = hooks.pre_start.iter_mut().enumerate().flat_map(|(index, step)| {
            step.container.files.iter_mut().map(move |file| (Some(index), file))
        });
        files.iter_mut().map(|file| (None, file)).chain(steps)
    }

    /// The files of its container, or of a step before it.
    pub fn files(&self, step: Option<usize>) -> &[FileSpec] {
        match step {
            None => &self.container.files,
            Some(index) => match self.container.hooks.pre_start.get(index) {
                Some(step) => &step.container.files,
                None => &[],
            },
        }
    }
}

fn is_first(attempt: &u32) -> bool {
    *attempt == 0
}

/// [`Deployment::container_hash`] of a container and its networks, in whatever form they are at hand.
pub(super) fn container_hash(container: &impl Serialize, networks: &impl Serialize) -> String {
    let json = serde_json::to_vec(&(container, networks))
        .expect("a container spec holds only strings, numbers and maps");
    sha256_hex(&json)
}

/// Whether replicas of a Deployment are to run for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// They are (`deploy.mode: replicated`, `global`), unless they are never started again.
    #[default]
    Endless,
    /// Each runs to its end (`deploy.mode: replicated-job`, `global-job`).
    OneShot,
}

impl Life {
    /// Whether it is what a file means that says nothing of it.
    pub fn is_endless(&self) -> bool {
        *self == Self::Endless
    }
}

/// How many replicas a Deployment has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replicas {
    /// So many, anywhere they fit (`deploy.mode: replicated`).
    Count(u32),
    /// One on each host that fits (`deploy.mode: global`).
    Global,
}

/// A condition of `depends_on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must have happened.
    pub condition: Condition,
    /// Whether a missing dependency is an error.
    pub required: bool,
    /// Whether replicas are replaced when those of the other Service were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}

/// Compose Specification, `depends_on.condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// At least one replica is running.
    Started,
    /// At least one replica is ready.
    Healthy,
    /// Every replica ended with exit code 0.
    CompletedSuccessfully,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Whatever its exit code. muster's default for a Deployment, unlike Docker's `no`: a
    /// Deployment heals. A service with `restart: "no"` is a one-shot.
    Always,
    /// When the exit code is not 0, at most so many times when given.
    OnFailure {
        /// The limit; none means no limit.
        max_attempts: Option<u32>,
    },
    /// Not at all: a one-shot.
    Never,
}

/// Where replicas may run (`deploy.placement`, `platform`, reservations).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placement {
    /// All must hold.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
    /// Labels to spread over, most significant first: `node.labels.zone`.
    #[serde(default)]
    pub spread: Vec<String>,
    /// At most so many replicas of this Deployment on one host.
    #[serde(default)]
    pub max_replicas_per_host: Option<u32>,
    /// `os/arch`, as in `linux/arm64`.
    #[serde(default)]
    pub platform: Option<String>,
    /// Platforms that the image is for, where hosts differ and it is known; empty means any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub offered: BTreeSet<String>,
    /// Reserved generic resources, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, u64>,
}

/// `node.labels.disk == ssd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// `node.hostname`, `node.id`, `node.role`, `node.platform.os`, `node.platform.arch`,
    /// `node.labels.X`, `engine.labels.X`.
    pub attribute: String,
    /// `==` when true, `!=` when false.
    pub equal: bool,
    /// Compared without regard to case, as Swarm does.
    pub value: String,
}

/// Compose Specification, `deploy.endpoint_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointMode {
    /// One stable address in front of the ready replicas.
    #[default]
    Vip,
    /// Names answer with the replicas' own addresses.
    Dnsrr,
}

/// Which replica a new connection goes to (`x-affinity`; Kubernetes calls it `sessionAffinity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Affinity {
    /// Any.
    #[default]
    None,
    /// By the client's address, always the same one as long as it is ready.
    Client,
}

impl Affinity {
    /// Whether it is what a file means that says nothing of it.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// One port of a Service that is listened on outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The address listened on; none means all, `0.0.0.0` all of IPv4 and `::` all of IPv6.
    #[serde(default)]
    pub host_ip: Option<IpAddr>,
    /// The port outside.
    pub published: u16,
    /// The port in the container.
    pub target: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// Every host, or only those with a replica.
    pub mode: PortMode,
}

impl PublishedPort {
    /// Whether both need the same port of the same address of one host.
    pub fn collides(&self, other: &Self) -> bool {
        self.published == other.published
            && self.protocol == other.protocol
            && meet(self.host_ip, other.host_ip)
    }
}

/// Whether there is an address that both mean.
fn meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let (one, other) = (one.to_canonical(), other.to_canonical());
    let is_all = one.is_unspecified() || other.is_unspecified();
    one == other || is_all && one.is_ipv4() == other.is_ipv4()
}

/// Transport of a port. An agent that does not know one cannot read the Revision, and so refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, on hosts whose kernel has it.
    Sctp,
}

impl Protocol {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Compose Specification, `ports.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortMode {
    /// Every host listens and spreads over all ready replicas.
    Ingress,
    /// Only the host of a replica listens, for that replica.
    Host,
}

/// How a Deployment joins a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attachment {
    /// Further names on this network.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The address that the file gives the service there (`ipv4_address`). Those on the network reach the
    /// service at it; no container has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Ipv4Addr>,
}

/// A network of an App.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// The name in Docker: `<project>_<key>` unless the file says otherwise.
    pub name: String,
    /// No way out of the cluster.
    #[serde(default)]
    pub internal: bool,
    /// Labels put on the Docker network.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The network of the whole cluster that this is the App's part of (`external: true`), by its
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
}

impl NetworkSpec {
    /// The name by which networks of several Apps are one.
    pub fn common_name(&self) -> &str {
        self.shared.as_deref().unwrap_or(&self.name)
    }
}

/// A named volume of an App.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// The name in Docker: `<project>_<key>` unless the file says otherwise.
    pub name: String,
    /// The volume driver; none means `local`.
    #[serde(default)]
    pub driver: Option<String>,
    /// Driver options.
    #[serde(default)]
    pub driver_opts: BTreeMap<String, String>,
    /// Labels put on the Docker volume.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Made by somebody else; never created nor removed by muster.
    #[serde(default)]
    pub external: bool,
}

/// What one replica runs. Only what Docker needs to make the container; unset means the image's
/// or Docker's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image reference as the file gives it, or the name given to what was built.
    pub image: String,
    /// When the image is fetched.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Replaces the image's command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Replaces the image's entrypoint; an empty list clears it.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// The environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Labels of the container (muster adds its own).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `user[:group]`.
    #[serde(default)]
    pub user: Option<String>,
    /// Further groups.
    #[serde(default)]
    pub group_add: Vec<String>,
    /// Working directory.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// Host name inside the container; none means muster's: `service-index`.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Domain name inside the container.
    #[serde(default)]
    pub domainname: Option<String>,
    /// Volumes, binds and memory file systems.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Files written into the container before it starts: configs and secrets.
    #[serde(default)]
    pub files: Vec<FileSpec>,
    /// Health check; none means the image's.
    #[serde(default)]
    pub health: Option<HealthSpec>,
    /// Limits and reservations.
    #[serde(default)]
    pub resources: Resources,
    /// Signal that asks the container to stop; none means the image's, else SIGTERM.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Time between that signal and SIGKILL, in milliseconds; none means 10 s.
    #[serde(default)]
    pub stop_grace_ms: Option<u64>,
    /// Runs an init inside.
    #[serde(default)]
    pub init: Option<bool>,
    /// All privileges.
    #[serde(default)]
    pub privileged: bool,
    /// Root file system is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Capabilities added.
    #[serde(default)]
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    #[serde(default)]
    pub cap_drop: Vec<String>,
    /// Security options, as Docker spells them.
    #[serde(default)]
    pub security_opt: Vec<String>,
    /// Kernel settings of the container.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Resource limits by name: soft, hard.
    #[serde(default)]
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Devices: path on the host, path inside, permissions.
    #[serde(default)]
    pub devices: Vec<(String, String, String)>,
    /// `host:address` lines for /etc/hosts.
    #[serde(default)]
    pub extra_hosts: Vec<String>,
    /// Name servers that the container itself asks; empty means muster's.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Search domains.
    #[serde(default)]
    pub dns_search: Vec<String>,
    /// Resolver options.
    #[serde(default)]
    pub dns_opt: Vec<String>,
    /// Size of /dev/shm in bytes.
    #[serde(default)]
    pub shm_size: Option<u64>,
    /// Allocates a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Keeps standard input open.
    #[serde(default)]
    pub stdin_open: bool,
    /// Closes it for good when whoever attached to it first is done, and has somebody attach before
    /// it starts: only runs that somebody sits in front of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin_once: bool,
    /// Process namespace: `host` or none.
    #[serde(default)]
    pub pid: Option<String>,
    /// IPC namespace: `host`, `shareable`, `private` or none.
    #[serde(default)]
    pub ipc: Option<String>,
    /// User namespace: `host` or none.
    #[serde(default)]
    pub userns: Option<String>,
    /// `host` or `none` in place of networks.
    #[serde(default)]
    pub network_mode: Option<String>,
    /// OCI runtime.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Log driver and its options; none means the daemon's.
    #[serde(default)]
    pub logging: Option<(String, BTreeMap<String, String>)>,
    /// Ports the container is said to listen on, `8080/tcp`; informative.
    #[serde(default)]
    pub expose: Vec<String>,
    /// OOM score adjustment.
    #[serde(default)]
    pub oom_score_adj: Option<i64>,
    /// Devices of the host that are to be this container's alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// What few files set.
    #[serde(default, skip_serializing_if = "Tuning::is_empty")]
    pub tuning: Tuning,
    /// What is done at its start and at its end.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

impl ContainerSpec {
    /// Time between the stop signal and SIGKILL.
    pub fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace_ms.unwrap_or(10_000))
    }
}

/// Compose Specification, `pull_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When the host lacks it: from a host that has it, else from its registry.
    #[default]
    Missing,
    /// From the registry each time a replica is made.
    Always,
    /// Only what is on the host already.
    Never,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container.
    pub target: String,
    /// No writing.
    #[serde(default)]
    pub read_only: bool,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A named volume.
    Volume {
        /// Key in [`Revision::volumes`].
        name: String,
        /// Do not fill an empty volume from the image.
        #[serde(default)]
        nocopy: bool,
        /// A folder of the volume.
        #[serde(default)]
        subpath: Option<String>,
    },
    /// A path of the host.
    Bind {
        /// Absolute path on the host.
        path: String,
        /// Make a folder there when nothing is.
        #[serde(default)]
        create: bool,
        /// `rprivate`, `rshared` …
        #[serde(default)]
        propagation: Option<String>,
        /// Whether mounts below are mounted as well: `disabled`, `writable`, `readonly`; none
        /// means they are, read-only where the kernel can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recursive: Option<String>,
        /// SELinux label: `z` for several containers, `Z` for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selinux: Option<String>,
    },
    /// A memory file system.
    Tmpfs {
        /// Bytes; none means no limit.
        #[serde(default)]
        size: Option<u64>,
        /// Permission bits.
        #[serde(default)]
        mode: Option<u32>,
        /// Further options as `mount` spells them: `exec`, `uid=1000`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
    },
    /// A volume without a name, removed with the container.
    Anonymous,
}

/// A file put into the container before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// Absolute path inside the container.
    pub target: String,
    /// The content, base64.
    pub content: String,
    /// Owner.
    #[serde(default)]
    pub uid: u32,
    /// Group.
    #[serde(default)]
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Whether it must not be shown nor logged.
    #[serde(default)]
    pub secret: bool,
}

/// A health check, Compose `healthcheck`. Unset fields take Docker's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthSpec {
    /// `["CMD", …]`, `["CMD-SHELL", line]`, `["NONE"]`; none keeps the image's test.
    #[serde(default)]
    pub test: Option<Vec<String>>,
    /// Time between checks, milliseconds.
    #[serde(default)]
    pub interval_ms: Option<u64>,
    /// Longest run of one check, milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Failures in a row that make it unhealthy.
    #[serde(default)]
    pub retries: Option<u32>,
    /// Failures do not count for so long after the start, milliseconds.
    #[serde(default)]
    pub start_period_ms: Option<u64>,
    /// Interval during the start period, milliseconds (Engine API 1.44).
    #[serde(default)]
    pub start_interval_ms: Option<u64>,
}

/// Limits and reservations of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Limit in thousandths of a CPU.
    #[serde(default)]
    pub cpu_limit_millis: Option<u64>,
    /// Limit in bytes.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// Limit in processes.
    #[serde(default)]
    pub pids_limit: Option<i64>,
    /// Reserved thousandths of a CPU; the scheduler counts them.
    #[serde(default)]
    pub cpu_reserved_millis: u64,
    /// Reserved bytes; the scheduler counts them.
    #[serde(default)]
    pub memory_reserved: u64,
    /// Relative CPU weight.
    #[serde(default)]
    pub cpu_shares: Option<i64>,
}
