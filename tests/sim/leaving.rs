//! How soon an endpoint that is no longer ready is handed out nowhere: from the moment its own host
//! can know, to every host's having other rules. For figures.

use std::net::Ipv4Addr;
use std::time::Duration;

use muster::model::ContainerState;

use crate::run::Run;
use crate::world::World;

/// Longest wait for all hosts.
const LIMIT: Duration = Duration::from_secs(30);
/// Time between two looks at every host's rules; no figure is finer.
const LOOK: Duration = Duration::from_millis(5);

/// What [`leave`] measured, once for each endpoint that left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Until the host of the endpoint handed it out no more.
    pub(crate) own: Vec<Duration>,
    /// Until no host did.
    pub(crate) all: Vec<Duration>,
}

/// Kills a replica of `web`, or makes that of `db` fail its check, on one of `n` hosts, `times` times,
/// while the network loses `loss` messages of a thousand.
pub(crate) fn leave(n: usize, times: usize, loss: u64, seed: u64) -> Left {
    let mut run = Run::begin(seed, n);
    let mut left = Left::default();
    for round in 0..times {
        run.world.wires.loss = loss;
        let wait = run.millis(500, 1_500);
        run.world.run_for(wait);
        let service = ["web", "db"][round % 2];
        let (host, container, address) = ready(&run.world, service, round);
        let engine = &mut run.world.hosts[host].engine;
        engine.tick(run.world.now);
        match service {
            "web" => engine.kill(&container),
            _ => engine.sicken(&container),
        }
        // Docker tells of it.
        run.world.look(host);
        let began = run.world.now;
        let mut own = None;
        // Who has let go of it once is done, as it comes back soon.
        let mut holds: Vec<usize> = (0..n).collect();
        loop {
            holds.retain(|holder| hands_out(&run.world, *holder, address));
            let took = run.world.now.since(began);
            if !holds.contains(&host) {
                own.get_or_insert(took);
            }
            if holds.is_empty() {
                left.own.extend(own);
                left.all.push(took);
                break;
            }
            assert!(took < LIMIT, "{address} is still handed out: {}", run.describe());
            run.world.run_for(LOOK);
        }
        run.world.wires.loss = 0;
        run.expect_settled("after a replica was restarted");
    }
    left
}

/// A running replica of a service: its host, its container, its address. Rounds take turns.
fn ready(world: &World, service: &str, round: usize) -> (usize, String, Ipv4Addr) {
    let hosts = world.hosts.iter().enumerate();
    let containers = hosts.flat_map(|(index, host)| {
        let all = host.engine.truth(world.now).into_iter();
        all.map(move |container| (index, container))
    });
    let running = containers.filter(|(_, container)| {
        container.replica.service.as_str() == service && container.state == ContainerState::Running
    });
    let mut found: Vec<_> = running
        .filter_map(|(index, container)| {
            let address = *container.addresses.values().next()?;
            Some((index, container.id, address))
        })
        .collect();
    let at = round % found.len();
    found.swap_remove(at)
}

fn hands_out(world: &World, host: usize, address: Ipv4Addr) -> bool {
    let intent = world.hosts[host].network.as_ref();
    intent.is_some_and(|intent| intent.services.values().any(|ready| ready.contains(&address)))
}
