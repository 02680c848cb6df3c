//! What must hold: some things after every event, others once all faults are over and time has
//! passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use muster::agent::views;
use muster::logic::Digest;
use muster::model::{
    AppName, Assignment, ContainerState, Generation, Health, Intent, Liveness, Plan, ReplicaId,
    WallSeconds,
};

use crate::apps::shop_name;
use crate::met::Met;
use crate::world::World;

/// After every event, on whatever is running anywhere, agents or not.
pub(crate) fn always(world: &mut World) {
    let now = world.now;
    let cut = world.apart || world.met.partitions + world.met.one_way + world.met.pauses > 0;
    let mut writers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut copies: BTreeMap<(ReplicaId, Generation), BTreeSet<&str>> = BTreeMap::new();
    let mut first_shop_is_ready = false;
    let mut web = None;
    for host in world.hosts.iter_mut().filter(|host| host.powered) {
        for container in host.engine.truth(now) {
            let place = (container.replica.clone(), container.generation);
            first_shop_is_ready |= container.replica.service.as_str() == "migrate"
                && matches!(container.state, ContainerState::Exited { code: 0, .. });
            let new = never_back(&mut host.made, &container, &host.name);
            if new && container.replica.service.as_str() == "web" {
                web = Some(container.replica.clone());
            }
            // A Home that dies before it told anybody leaves a container that never counted, and
            // that does not run when its host comes back.
            if container.state != ContainerState::Running {
                continue;
            }
            copies.entry(place).or_default().insert(&host.name);
            let made = host.engine.made(&container.id).expect("it was listed");
            for volume in made.volumes.values() {
                writers.entry(volume.clone()).or_default().insert(&host.name);
            }
        }
    }
    for (volume, hosts) in writers {
        assert!(hosts.len() <= 1, "volume {volume} is written on {hosts:?} at {now:?}");
    }
    for ((replica, generation), hosts) in copies {
        let one = hosts.len() <= 1 || cut;
        assert!(one, "{replica} generation {generation} is on {hosts:?} at {now:?}");
    }
    let early = web.filter(|_| world.met.deaths == 0 && !first_shop_is_ready);
    assert_eq!(early, None, "it was made before `migrate` had completed, at {now:?}");
}

/// The kernel of every host whose agent runs leads to so many replicas of `web` that do serve.
pub(crate) fn floor(world: &World, floor: usize) {
    let good: BTreeSet<Ipv4Addr> = world
        .running_of("web")
        .filter(|container| matches!(container.health, Health::None | Health::Healthy))
        .flat_map(|container| container.addresses.into_values())
        .collect();
    for host in world.running() {
        let core = host.core.as_ref().expect("it runs");
        let Some(plan) = core.state().plan(&shop_name()) else { continue };
        let address = plan.addresses.iter().find(|address| address.service.as_str() == "web");
        let services = host.in_place.as_ref().map(|kernel| &kernel.services);
        let Some((address, services)) = address.zip(services) else { continue };
        let endpoints = services.get(&address.address);
        let n = endpoints.map_or(0, |endpoints| endpoints.intersection(&good).count());
        assert!(n >= floor, "{} leads to {n} of {floor} at {:?}: {plan:?}", host.name, world.now);
    }
}

/// A container that serves is stopped: no kernel of a host that lives leads to it any more.
pub(crate) fn nobody_sends_to(world: &mut World, on: usize, id: &str) {
    let Met { partitions, one_way, pauses, flaps, crashes, deaths, .. } = world.met;
    let disturbed = partitions + one_way + pauses + flaps + crashes + deaths > 0;
    if disturbed || world.wires.loss > 0 || world.wires.late > 0 {
        return;
    }
    let containers = world.hosts[on].engine.truth(world.now);
    let Some(container) = containers.into_iter().find(|container| container.id == id) else {
        return;
    };
    let core = world.hosts[on].core.as_ref().expect("it acts");
    let runs = core.state().winner(&container.replica.app).is_some_and(|r| r.intent == Intent::Run);
    if container.state != ContainerState::Running || !runs {
        return;
    }
    world.met.seen_off += 1;
    for host in world.running() {
        let services = host.in_place.iter().flat_map(|kernel| kernel.services.values());
        let there = services.flatten().find(|ip| container.addresses.values().any(|a| a == *ip));
        let (name, at) = (&host.name, world.now);
        assert_eq!(there, None, "{} is stopped while {name} sends there at {at:?}", container.name);
    }
}

/// A container that is new on a host is of no older Generation than the ones before it. Returns
/// whether it is new.
fn never_back(
    made: &mut BTreeMap<ReplicaId, (Generation, String)>,
    container: &muster::model::Container,
    host: &str,
) -> bool {
    let known = made.entry(container.replica.clone()).or_default();
    let (generation, id) = (container.generation, container.id.clone());
    // Ids of a fake engine rise, so an older container is not a new one.
    let new = id > known.1;
    if new {
        let replica = &container.replica;
        let before = known.0;
        assert!(generation >= before, "{replica} went from {before} to {generation} on {host}");
        *known = (generation, id);
    }
    new
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

/// What each running agent holds, in short, when all hold the same and take each other for alive.
pub(crate) fn agree(world: &World) -> bool {
    let cores = || world.running().map(|host| host.core.as_ref().expect("it runs"));
    let digest = |core: &muster::logic::core::Core| core.state().digest(0, Vec::new(), false);
    let Some(first) = cores().next().map(digest) else { return true };
    let n_running = cores().count();
    cores().all(|core| {
        let members = core.membership().members().values();
        let alive = members.filter(|m| m.liveness == Liveness::Alive).count();
        let Digest { owners, apps, members: _, news: _, answer: _ } = digest(core);
        owners == first.owners && apps == first.apps && alive + 1 == n_running
    })
}

/// Assignments of `web` in the Plan that counts for a host, whose host it thinks may be sent traffic.
pub(crate) fn serving(world: &World, host: usize, app: &AppName) -> u32 {
    let Some(core) = &world.hosts[host].core else { return 0 };
    let view = core.view();
    let assignments = view.plans.get(app).map(|plan| plan.assignments.as_slice());
    let web = |a: &&Assignment| a.replica.service.as_str() == "web" && view.serves(a);
    assignments.unwrap_or_default().iter().filter(web).count() as u32
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
        // Since when all is calm each host knows by itself, so another one than the Home may think
        // that it is time to even out.
        let is_home = *core.home(app) == host.id;
        let next = next.filter(|next| is_home || !evens_out(plan, next));
        assert_eq!(next, None, "planning a converged state gives a Plan on {}", host.name);
        let services = host.network.as_ref().map(|network| &network.services);
        let expected = first.network.as_ref().map(|network| &network.services);
        assert_eq!(services, expected, "{} sends packets elsewhere", host.name);
        for (app, id, sequence) in &world.acknowledged {
            let newest = core.state().winner(app).map_or(0, |winner| winner.sequence);
            let kept = core.state().revision(app, id).is_some() || newest > sequence + 10;
            assert!(kept, "{} lost revision {} of sequence {sequence}", host.name, id.short());
        }
    }
    assert!(agree(world), "the hosts hold different things");
    let mut planned: BTreeMap<&str, BTreeSet<(ReplicaId, Generation)>> = BTreeMap::new();
    for assignment in &plan.assignments {
        let host = world.hosts.iter().find(|host| host.id == assignment.host).expect("a host");
        let place = (assignment.replica.clone(), assignment.generation);
        planned.entry(&host.name).or_default().insert(place);
    }
    for host in world.running() {
        let there: BTreeSet<(ReplicaId, Generation)> = host
            .engine
            .truth(world.now)
            .into_iter()
            .filter(|container| container.replica.app == *app)
            .map(|container| (container.replica, container.generation))
            .collect();
        let mut expected = planned.remove(host.name.as_str()).unwrap_or_default();
        // What is done needs no container any more.
        let done = plan.assignments.iter().filter(|assignment| assignment.done);
        for assignment in done {
            let place = (assignment.replica.clone(), assignment.generation);
            if !there.contains(&place) {
                expected.remove(&place);
            }
        }
        assert_eq!(there, expected, "{} runs something else than planned", host.name);
    }
    if revision.intent == Intent::Run {
        names_lead_to_services(world, app);
    }
}

/// Whether a Plan only moves one replica to where there are fewer.
fn evens_out(before: &Plan, next: &Plan) -> bool {
    let stays = |a: &&Assignment| before.assignments.contains(a);
    let outgoing = next.assignments.iter().filter(|a| a.outgoing).count();
    let unchanged = next.assignments.iter().filter(stays).count();
    before.assignments.iter().all(|a| !a.outgoing)
        && outgoing == 1
        && unchanged + 1 == before.assignments.len()
        && next.assignments.len() == before.assignments.len() + 1
        && next.waiting == before.waiting
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
