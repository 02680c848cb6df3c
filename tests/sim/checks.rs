//! What must hold: some things after every event, others once all faults are over and time has
//! passed.

use std::collections::{BTreeMap, BTreeSet};

use muster::agent::views;
use muster::model::{AppName, ContainerState, Generation, Intent, ReplicaId, WallSeconds};

use crate::world::World;

/// After every event, on whatever is running anywhere, agents or not.
pub(crate) fn always(world: &World) {
    let mut writers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut copies: BTreeMap<(ReplicaId, Generation), BTreeSet<&str>> = BTreeMap::new();
    for host in world.hosts.iter().filter(|host| host.powered) {
        let mut engine = host.engine.clone();
        engine.tick(world.now);
        for container in engine.containers().expect("a fake engine that is up answers") {
            let place = (container.replica.clone(), container.generation);
            copies.entry(place).or_default().insert(&host.name);
            if container.state != ContainerState::Running {
                continue;
            }
            let made = engine.made(&container.id).expect("it was listed");
            for volume in made.volumes.values() {
                writers.entry(volume.clone()).or_default().insert(&host.name);
            }
        }
    }
    for (volume, hosts) in writers {
        assert!(hosts.len() <= 1, "volume {volume} is written on {hosts:?} at {:?}", world.now);
    }
    for ((replica, generation), hosts) in copies {
        assert!(
            hosts.len() <= 1,
            "{replica} generation {generation} is on {hosts:?} at {:?}",
            world.now
        );
    }
}

/// Whether every running agent sees everything as wanted.
pub(crate) fn settled(world: &World, app: &AppName) -> bool {
    world.running().all(|host| {
        let core = host.core.as_ref().expect("it runs");
        match views::app(core, app, WallSeconds(0)) {
            Ok(detail) => detail.settled,
            Err(_) => false,
        }
    })
}

/// Once settled: every running agent holds the same, what runs is what is planned, and names and
/// addresses lead there.
pub(crate) fn converged(world: &World, app: &AppName) {
    let first = world.running().next().expect("some agent runs");
    let first_core = first.core.as_ref().expect("it runs");
    let plan = first_core.state().plan(app).expect("a settled App has a Plan");
    let revision = first_core.state().winner(app).expect("a settled App has a Revision");
    for host in world.running() {
        let core = host.core.as_ref().expect("it runs");
        let same = core.state().winner(app).map(|revision| revision.id());
        assert_eq!(same, Some(revision.id()), "{} runs another Revision", host.name);
        assert_eq!(core.state().plan(app), Some(plan), "{} holds another Plan", host.name);
        let next = muster::logic::plan::plan(&core.view(), app, revision);
        assert_eq!(next, None, "planning a converged state gives a Plan on {}", host.name);
        let services = host.network.as_ref().map(|network| &network.services);
        let expected = first.network.as_ref().map(|network| &network.services);
        assert_eq!(services, expected, "{} sends packets elsewhere", host.name);
    }
    let mut planned: BTreeMap<&str, BTreeSet<(ReplicaId, Generation)>> = BTreeMap::new();
    for assignment in &plan.assignments {
        let host = world.hosts.iter().find(|host| host.id == assignment.host).expect("a host");
        let place = (assignment.replica.clone(), assignment.generation);
        planned.entry(&host.name).or_default().insert(place);
    }
    for host in world.running() {
        let mut engine = host.engine.clone();
        engine.tick(world.now);
        let containers = engine.containers().expect("a fake engine that is up answers");
        let there: BTreeSet<(ReplicaId, Generation)> = containers
            .iter()
            .filter(|container| container.replica.app == *app)
            .map(|container| (container.replica.clone(), container.generation))
            .collect();
        let expected = planned.remove(host.name.as_str()).unwrap_or_default();
        assert_eq!(there, expected, "{} runs something else than planned", host.name);
    }
    if revision.intent == Intent::Run {
        names_lead_to_services(world, app);
    }
}

/// Every replica can look up every Service it shares a network with.
fn names_lead_to_services(world: &World, app: &AppName) {
    for host in world.running() {
        let core = host.core.as_ref().expect("it runs");
        let plan = core.state().plan(app).expect("it has one");
        for (asker, scope) in host.names.askers.iter().filter(|(_, scope)| scope.app == *app) {
            let names = host.names.views.get(scope).expect("every scope has a view");
            for address in &plan.addresses {
                let found = names.get(address.service.as_str());
                let right = found.is_some_and(|found| found.contains(&address.address));
                assert!(right, "{asker} on {} cannot look up {}", host.name, address.service);
            }
        }
    }
}
