//! A container engine as a state machine in virtual time, for the simulator. No async, no clock,
//! no randomness: the same calls at the same moments give the same answers.
//!
//! Nothing runs here. How a container behaves is scripted by its image, or by its command.

mod asked;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use super::image::FakeImage;
use super::process::Process;
use crate::docker::{
    CreateContainer, CreateNetwork, CreateVolume, EngineError, EngineInfo, ImageInfo, Labelled,
};
use crate::model::{Container, ContainerState, Farewell, Limits, Moment, Usage};

/// A container of a [`FakeHost`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FakeContainer {
    pub(super) made: CreateContainer,
    pub(super) addresses: BTreeMap<String, Ipv4Addr>,
    pub(super) process: Process,
    pub(super) limits: Limits,
}

/// One host's engine.
#[derive(Debug, Clone, PartialEq)]
pub struct FakeHost {
    info: EngineInfo,
    now: Moment,
    up: bool,
    version: u64,
    n_made: u64,
    n_started: u32,
    images: BTreeMap<String, FakeImage>,
    registry: BTreeMap<String, FakeImage>,
    networks: BTreeMap<String, CreateNetwork>,
    volumes: BTreeMap<String, CreateVolume>,
    containers: BTreeMap<String, FakeContainer>,
    /// Commands that were run in containers: when, in which, what.
    executed: Vec<(Moment, String, Vec<String>)>,
    n_steps: u64,
    /// Containers that answer nobody.
    deaf: BTreeSet<String>,
    /// No limit can be changed.
    fixed_limits: bool,
}

impl FakeHost {
    /// An engine with nothing on it.
    pub fn new(info: EngineInfo) -> Self {
        Self {
            info,
            now: Moment::default(),
            up: true,
            version: 0,
            n_made: 0,
            n_started: 0,
            images: BTreeMap::new(),
            registry: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            containers: BTreeMap::new(),
            executed: Vec::new(),
            n_steps: 0,
            deaf: BTreeSet::new(),
            fixed_limits: false,
        }
    }

    /// Moves time on; time never goes back.
    pub fn tick(&mut self, now: Moment) {
        let before = self.now;
        self.now = before.max(now);
        let changed = self.containers.values().any(|c| c.process.changes_within(before, self.now));
        self.version += u64::from(changed);
    }

    /// When something next changes by itself.
    pub fn next_change(&self) -> Option<Moment> {
        self.containers.values().filter_map(|c| c.process.next_change(self.now)).min()
    }

    /// Rises with each change an event would tell of.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the engine answers. Containers go on while it does not.
    pub fn set_up(&mut self, up: bool) {
        self.version += u64::from(self.up != up);
        self.up = up;
    }

    /// The machine restarts: every process that ran is killed, as after a power cut.
    pub fn power_cycle(&mut self) {
        let now = self.now;
        for container in self.containers.values_mut() {
            container.process.kill(now);
        }
        self.version += 1;
    }

    /// The process of a container is killed from outside, as by `kill -9`.
    pub fn kill(&mut self, id: &str) {
        let now = self.now;
        if let Some(container) = self.containers.get_mut(id) {
            container.process.kill(now);
            self.version += 1;
        }
    }

    /// The health check of a container fails until it is started anew.
    pub fn sicken(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            container.process.sicken();
            self.version += 1;
        }
    }

    /// As [`FakeHost::containers`], yet as it is at `now` and whether the engine answers or not:
    /// what a look into the machine itself would show.
    pub fn truth(&self, now: Moment) -> Vec<Container> {
        let containers = self.containers.iter();
        containers.map(|(id, container)| self.observe(id, container, now)).collect()
    }

    /// Puts an image on the host.
    pub fn add_image(&mut self, reference: &str, image: FakeImage) {
        self.images.insert(reference.to_owned(), image);
    }

    /// Puts an image where [`FakeHost::pull`] finds it.
    pub fn add_to_registry(&mut self, reference: &str, image: FakeImage) {
        self.registry.insert(reference.to_owned(), image);
    }

    /// The image, to be put on another host.
    pub fn export(&self, reference: &str) -> Result<FakeImage, EngineError> {
        self.check()?;
        self.images.get(reference).cloned().ok_or_else(|| no_image(reference))
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.up {
            return Ok(());
        }
        Err(EngineError::Unreachable {
            socket: "fake".to_owned(),
            detail: "connection refused".to_owned(),
        })
    }

    /// As [`Engine::info`](crate::docker::Engine::info).
    pub fn info(&self) -> Result<EngineInfo, EngineError> {
        self.check().map(|()| self.info.clone())
    }

    /// As [`Engine::pull`](crate::docker::Engine::pull).
    pub fn pull(&mut self, reference: &str) -> Result<(), EngineError> {
        self.check()?;
        let image = self.registry.get(reference).ok_or_else(|| no_image(reference))?;
        self.images.insert(reference.to_owned(), image.clone());
        Ok(())
    }

    /// As [`Engine::registry_has`](crate::docker::Engine::registry_has).
    pub fn registry_has(&self, reference: &str) -> Result<BTreeSet<String>, EngineError> {
        self.check()?;
        let image = self.registry.get(reference);
        image.map(|image| [image.platform.clone()].into()).ok_or_else(|| no_image(reference))
    }

    /// As [`Engine::image`](crate::docker::Engine::image).
    pub fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        self.check()?;
        Ok(self.images.get(reference).map(|image| ImageInfo {
            id: format!("fake:{reference}"),
            platform: image.platform.clone(),
        }))
    }

    /// As [`Engine::images`](crate::docker::Engine::images).
    pub fn images(&self) -> Result<BTreeSet<String>, EngineError> {
        self.check().map(|()| self.images.keys().cloned().collect())
    }

    /// As [`Engine::ensure_network`](crate::docker::Engine::ensure_network).
    pub fn ensure_network(&mut self, network: &CreateNetwork) -> Result<(), EngineError> {
        self.check()?;
        if self.networks.get(&network.spec.name) != Some(network) {
            self.remove_network(&network.spec.name)?;
            self.networks.insert(network.spec.name.clone(), network.clone());
        }
        Ok(())
    }

    /// As [`Engine::remove_network`](crate::docker::Engine::remove_network).
    pub fn remove_network(&mut self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        let now = self.now;
        let in_use =
            |c: &FakeContainer| c.process.is_running(now) && c.addresses.contains_key(name);
        if self.containers.values().any(in_use) {
            let detail = format!("network {name} has active endpoints");
            return Err(refused(&format!("remove network `{name}`"), 403, &detail));
        }
        self.networks.remove(name);
        Ok(())
    }

    /// As [`Engine::networks`](crate::docker::Engine::networks).
    pub fn networks(&self) -> Result<Vec<Labelled>, EngineError> {
        self.check()?;
        let networks = self.networks.iter();
        Ok(networks.map(|(name, made)| labelled(name, &made.app, &made.key)).collect())
    }

    /// As [`Engine::ensure_volume`](crate::docker::Engine::ensure_volume).
    pub fn ensure_volume(&mut self, volume: &CreateVolume) -> Result<(), EngineError> {
        self.check()?;
        if volume.spec.external && !self.volumes.contains_key(&volume.spec.name) {
            let action = format!("create volume `{}`", volume.spec.name);
            return Err(refused(&action, 404, "it is external and does not exist on this host"));
        }
        self.volumes.entry(volume.spec.name.clone()).or_insert_with(|| volume.clone());
        Ok(())
    }

    /// As [`Engine::remove_volume`](crate::docker::Engine::remove_volume).
    pub fn remove_volume(&mut self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        let uses = |c: &FakeContainer| c.made.volumes.values().any(|used| used == name);
        if self.volumes.contains_key(name) && self.containers.values().any(uses) {
            return Err(refused(&format!("remove volume `{name}`"), 409, "volume is in use"));
        }
        self.volumes.remove(name);
        Ok(())
    }

    /// As [`Engine::volumes`](crate::docker::Engine::volumes).
    pub fn volumes(&self) -> Result<Vec<Labelled>, EngineError> {
        self.check()?;
        let volumes = self.volumes.iter();
        Ok(volumes.map(|(name, made)| labelled(name, &made.app, &made.key)).collect())
    }

    /// As [`Engine::containers`](crate::docker::Engine::containers).
    pub fn containers(&self) -> Result<Vec<Container>, EngineError> {
        self.check()?;
        Ok(self.truth(self.now))
    }

    fn observe(&self, id: &str, container: &FakeContainer, now: Moment) -> Container {
        let made = &container.made;
        let is_running = container.process.is_running(now);
        Container {
            id: id.to_owned(),
            name: made.name.clone(),
            replica: made.replica.clone(),
            generation: made.generation,
            spec_hash: made.spec_hash.clone(),
            state: container.process.state(now),
            health: container.process.health(now),
            addresses: if is_running { container.addresses.clone() } else { BTreeMap::new() },
            image: made.spec.image.clone(),
            started: container.process.started(now),
            devices: made.device_ids(),
            step: made.step,
            farewell: Farewell::of(&made.spec).filter(|_| made.step.is_none()),
            limits: container.limits,
        }
    }

    /// As [`Engine::run`](crate::docker::Engine::run); the process runs after its start delay.
    pub fn run(&mut self, made: &CreateContainer) -> Result<String, EngineError> {
        self.check()?;
        if let Some((id, holder)) = self.containers.iter().find(|(_, c)| c.made.name == made.name) {
            if holder.made.replica != made.replica || holder.made.generation != made.generation {
                let detail =
                    format!("the container name `{}` is already in use by `{id}`", made.name);
                return Err(refused(&format!("create container `{}`", made.name), 409, &detail));
            }
            let id = id.clone();
            self.start(&id)?;
            return Ok(id);
        }
        let image = self.images.get(&made.spec.image).ok_or_else(|| no_image(&made.spec.image))?;
        let behaviour = image.behaviour(made.spec.command.as_deref()).clone();
        let action = format!("start container `{}`", made.name);
        self.check_joined(made.joins.as_deref(), &action)?;
        if let Some(words) = &behaviour.fail_start {
            return Err(refused(&action, 400, words));
        }
        let mut addresses = BTreeMap::new();
        for network in &made.networks {
            addresses.insert(network.clone(), self.free_address(network, &action)?);
        }
        self.n_made += 1;
        self.n_steps += u64::from(made.step.is_some());
        let id = format!("{:064x}", self.n_made);
        let process = Process::new(behaviour, made.spec.health.as_ref());
        let resources = &made.spec.resources;
        let limits =
            Limits { cpu_millis: resources.cpu_limit_millis, memory: resources.memory_limit };
        self.containers
            .insert(id.clone(), FakeContainer { made: made.clone(), addresses, process, limits });
        self.start(&id)?;
        Ok(id)
    }

    /// A network is there while the container runs whose it is.
    fn check_joined(&self, joined: Option<&str>, action: &str) -> Result<(), EngineError> {
        let Some(name) = joined else { return Ok(()) };
        let is_it = |c: &&FakeContainer| c.made.name == *name;
        match self.containers.values().find(is_it) {
            Some(joined) if joined.process.is_running(self.now) => Ok(()),
            Some(_) => Err(refused(action, 409, "cannot join the network of what does not run")),
            None => Err(refused(action, 404, &format!("no such container: {name}"))),
        }
    }

    /// The lowest address of the network no container holds; the first one is the bridge.
    fn free_address(&self, network: &str, action: &str) -> Result<Ipv4Addr, EngineError> {
        let missing = || refused(action, 404, &format!("network {network} not found"));
        let subnet = self.networks.get(network).ok_or_else(missing)?.subnet;
        let held: BTreeSet<_> =
            self.containers.values().filter_map(|c| c.addresses.get(network)).collect();
        let mut free = subnet.hosts().skip(1).filter(|address| !held.contains(address));
        free.next().ok_or_else(|| refused(action, 403, "no available IPv4 addresses"))
    }

    fn container_mut(&mut self, id: &str, action: &str) -> Result<&mut FakeContainer, EngineError> {
        self.check()?;
        let missing = || refused(action, 404, &format!("no such container: {id}"));
        self.containers.get_mut(id).ok_or_else(missing)
    }

    /// As [`Engine::start`](crate::docker::Engine::start).
    pub fn start(&mut self, id: &str) -> Result<(), EngineError> {
        let now = self.now;
        let action = format!("start container `{id}`");
        let joined = self.container_mut(id, &action)?.made.joins.clone();
        self.check_joined(joined.as_deref(), &action)?;
        self.n_started += 1;
        let nth = self.n_started;
        self.container_mut(id, &action)?.process.start(now, nth);
        self.deaf.remove(id);
        self.version += 1;
        Ok(())
    }

    /// Sends the stop signal; returns when the process will have ended.
    pub fn stop(&mut self, id: &str, grace: Duration) -> Result<Moment, EngineError> {
        let now = self.now;
        match self.container_mut(id, "stop") {
            Ok(container) => {
                let end = container.process.stop(now, grace);
                self.version += 1;
                Ok(end)
            }
            Err(EngineError::Refused { status: 404, .. }) => Ok(now),
            Err(error) => Err(error),
        }
    }

    /// As [`Engine::remove`](crate::docker::Engine::remove).
    pub fn remove(&mut self, id: &str) -> Result<(), EngineError> {
        self.check()?;
        self.version += u64::from(self.containers.remove(id).is_some());
        Ok(())
    }

    /// What the container wrote so far: standard output, standard error.
    pub fn output(&self, id: &str) -> Result<(String, String), EngineError> {
        self.check()?;
        let missing = || refused("read logs", 404, &format!("no such container: {id}"));
        let container = self.containers.get(id).ok_or_else(missing)?;
        let wrote = container.process.state(self.now) != ContainerState::Created;
        Ok(if wrote { container.process.behaviour().output.clone() } else { Default::default() })
    }

    /// As [`Engine::usage`](crate::docker::Engine::usage).
    pub fn usage(&self, id: &str) -> Result<Option<Usage>, EngineError> {
        self.check()?;
        let usage = self.containers.get(id).and_then(|c| c.process.usage(self.now));
        let limit = self.containers.get(id).and_then(|c| c.limits.memory);
        let memory_limit = limit.unwrap_or(self.info.memory);
        Ok(usage.map(|usage| Usage { memory_limit, ..usage }))
    }

    /// How the container was made; for tests to look at what the agent asked for.
    pub fn made(&self, id: &str) -> Option<&CreateContainer> {
        self.containers.get(id).map(|container| &container.made)
    }

    /// The moment the fake is at.
    pub fn now(&self) -> Moment {
        self.now
    }
}

pub(super) fn no_image(reference: &str) -> EngineError {
    EngineError::NoImage { reference: reference.to_owned(), detail: "no such image".to_owned() }
}

pub(super) fn refused(action: &str, status: u16, detail: &str) -> EngineError {
    EngineError::Refused { action: action.to_owned(), status, detail: detail.to_owned() }
}

fn labelled(name: &str, app: &str, key: &str) -> Labelled {
    Labelled { name: name.to_owned(), app: app.to_owned(), key: key.to_owned() }
}
