//! What an agent's executor and observer do, on a fake engine, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use muster::agent::requests::{container, networks, volumes};
use muster::docker::EngineError;
use muster::logic::core::Event;
use muster::logic::health::{Answer, Probe};
use muster::logic::operation::{Failure, Observation, Operation, OperationId, RunReplica};
use muster::logic::vertical::fits;
use muster::model::{AppName, Farewell, Hook, HostFacts, Phase};

use crate::world::{Item, SimHost, World};

/// The rest of an operation that takes time.
pub(crate) enum Then {
    /// It ended so.
    Finish(Result<(), Failure>),
    /// The image has arrived.
    Run(Box<RunReplica>),
    /// It has stopped.
    Remove(String),
    /// It has stopped.
    Start(String),
    /// A command after its start failed.
    Stop(String, Failure),
}

/// Time between two looks at an engine that tells of nothing.
const RESYNC: Duration = Duration::from_secs(5);
/// How long a container takes to be made from an image that is there.
const MAKE: Duration = Duration::from_millis(350);

fn words(error: EngineError) -> Failure {
    Failure { no_room: error.is_for_want_of_room(), reason: error.to_string() }
}

/// Runs the commands after a start, as far as they pass.
fn greet(host: &mut SimHost, container: String, hooks: &[Hook]) -> (Duration, Then) {
    let mut takes = Duration::ZERO;
    for hook in hooks {
        match host.engine.exec(&container, &hook.command) {
            Ok(end) => {
                takes += end.takes;
                if end.code != 0 {
                    let reason = format!("post_start ended with exit code {}", end.code);
                    return (takes, Then::Stop(container, Failure::from(reason)));
                }
            }
            // It ended by itself, which is told by its state.
            Err(_) => return (takes, Then::Finish(Ok(()))),
        }
    }
    (takes, Then::Finish(Ok(())))
}

/// Runs the commands before a stop, which takes no time here.
fn take_leave(host: &mut SimHost, container: &str, farewell: Option<&Farewell>) {
    for hook in farewell.into_iter().flat_map(|farewell| &farewell.hooks) {
        // It is stopped whatever becomes of them.
        let _ = host.engine.exec(container, &hook.command);
    }
}

impl World {
    pub(crate) fn execute(&mut self, index: usize, id: OperationId, operation: Operation) {
        let now = self.now;
        self.dirty = true;
        if let Operation::Remove { container, .. } = &operation {
            crate::checks::nobody_sends_to(self, index, container);
        }
        let host = &mut self.hosts[index];
        host.engine.tick(now);
        let stop = |host: &mut crate::world::SimHost, container: &str| {
            let grace = host.engine.made(container).map(|made| made.spec.stop_grace());
            host.engine.stop(container, grace.unwrap_or_default())
        };
        let (after, then) = match operation {
            Operation::Run(run) => {
                let there = host.engine.image(&run.container.image);
                match there {
                    Ok(Some(_)) => (MAKE, Then::Run(run)),
                    Ok(None) => {
                        self.met.pulls += 1;
                        self.event(index, Event::Progress(id, Phase::Pulling));
                        let pull = Duration::from_millis(1_000 + self.rng.below(5_000));
                        (pull, Then::Run(run))
                    }
                    Err(error) => (Duration::ZERO, Then::Finish(Err(words(error)))),
                }
            }
            Operation::Start { container } => {
                let result = host.engine.start(&container).map_err(words);
                (Duration::from_millis(60), Then::Finish(result))
            }
            Operation::Greet { container, hooks } => greet(host, container, &hooks),
            Operation::Restart { container, farewell } => {
                take_leave(host, &container, farewell.as_ref());
                match stop(host, &container) {
                    Ok(end) => (end.since(now), Then::Start(container)),
                    Err(error) => (Duration::ZERO, Then::Finish(Err(words(error)))),
                }
            }
            Operation::Resize { container, to } => {
                let usage = host.engine.usage(&container).map_err(words);
                let fits = usage.and_then(|usage| match (to.memory, usage) {
                    (Some(memory), Some(usage)) => Ok(fits(memory.limit, &usage)?),
                    (_, _) => Ok(()),
                });
                let result = fits.and_then(|()| host.engine.resize(&container, &to).map_err(words));
                (Duration::from_millis(20), Then::Finish(result))
            }
            Operation::Remove { container, farewell } => {
                take_leave(host, &container, farewell.as_ref());
                match stop(host, &container) {
                    Ok(end) => (end.since(now), Then::Remove(container)),
                    Err(error) => (Duration::ZERO, Then::Finish(Err(words(error)))),
                }
            }
            Operation::RemoveNetwork { name } => {
                let result = host.engine.remove_network(&name).map_err(words);
                (Duration::from_millis(20), Then::Finish(result))
            }
            Operation::RemoveVolume { name } => {
                let result = host.engine.remove_volume(&name).map_err(words);
                (Duration::from_millis(20), Then::Finish(result))
            }
        };
        let life = self.hosts[index].life;
        let after = after.max(Duration::from_millis(1));
        self.put(after, Item::Continue { host: index, life, id, then });
    }

    pub(crate) fn proceed(&mut self, index: usize, id: OperationId, then: Then) {
        self.dirty = true;
        let now = self.now;
        let engine = &mut self.hosts[index].engine;
        engine.tick(now);
        let result = match then {
            Then::Finish(result) => result,
            Then::Run(run) => {
                let image = engine.image(&run.container.image);
                let fetched = match image {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => engine.pull(&run.container.image),
                    Err(error) => Err(error),
                };
                fetched
                    .and_then(|()| networks(&run).iter().try_for_each(|n| engine.ensure_network(n)))
                    .and_then(|()| volumes(&run).iter().try_for_each(|v| engine.ensure_volume(v)))
                    .and_then(|()| engine.run(&container(&run, "sim")).map(|_| ()))
                    .map_err(words)
            }
            Then::Remove(container) => engine.remove(&container).map_err(words),
            Then::Start(container) => engine.start(&container).map_err(words),
            Then::Stop(container, failure) => {
                // What does not answer now is found as it is later.
                let _ = engine.stop(&container, Duration::ZERO);
                Err(failure)
            }
        };
        self.look(index);
        self.event(index, Event::Finished(id, result));
    }

    /// Asks a container how it is.
    pub(crate) fn ask(&mut self, index: usize, probe: Probe) {
        let host = &mut self.hosts[index];
        host.engine.tick(self.now);
        let answer = host.engine.answer(&probe.container, probe.timeout);
        let (after, answer) = match answer {
            Ok((after, true)) => (after, Answer::Good),
            Ok((after, false)) => (after, Answer::Bad("no answer".to_owned())),
            Err(_) => (Duration::from_millis(1), Answer::Unknown),
        };
        self.met.probes += 1;
        let life = host.life;
        self.put(after, Item::Answered { host: index, life, id: probe.id, answer });
    }

    /// Tells a host's core what its engine holds.
    pub(crate) fn look(&mut self, index: usize) {
        let now = self.now;
        self.dirty = true;
        let host = &mut self.hosts[index];
        host.engine.tick(now);
        let soonest = host.engine.next_change().map(|moment| moment.since(now));
        let wait = soonest.unwrap_or(RESYNC).clamp(Duration::from_millis(1), RESYNC);
        let life = host.life;
        host.look_at = now + wait;
        self.put(wait, Item::Look { host: index, life, at: now + wait });
        let host = &self.hosts[index];
        let engine = &host.engine;
        let (Ok(containers), Ok(networks), Ok(volumes)) =
            (engine.containers(), engine.networks(), engine.volumes())
        else {
            // As a real agent says: it is there, Docker is not.
            let facts = HostFacts { engine_version: String::new(), ..host.facts() };
            return self.event(index, Event::Facts(Box::new(facts)));
        };
        let names: BTreeSet<String> = volumes.iter().map(|volume| volume.name.clone()).collect();
        let images = engine.images().unwrap_or_default();
        let facts = HostFacts { volumes: names, images, ..host.facts() };
        let app = |name: &str| AppName::from(name);
        let mut observation = Observation {
            networks: networks.into_iter().map(|n| (n.name, app(&n.app))).collect(),
            volumes: volumes.into_iter().map(|v| (v.name, app(&v.app))).collect(),
            ..Observation::default()
        };
        observation.set_containers(containers);
        self.event(index, Event::Facts(Box::new(facts)));
        self.event(index, Event::Observed(observation));
    }
}
