//! Runs the resolver of this host: turns the core's name table into a zone and keeps `muster-dns`
//! answering on the host's pool address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::Ipv4Net;
use muster_dns::{
    Config, Counts, Handle, Network, Server, Srv, ViewId, Zone, ZoneBuilder, host_upstreams,
};
use tokio::sync::watch;

use crate::logic::addresses::resolver_address;
use crate::model::{NameTable, Scope};
use crate::supervisor::Supervisor;

/// Seconds an answer may be kept (network.md: 0 is mishandled by some resolvers).
const TTL: u32 = 1;
/// The name whose text is the version of the agent that answers.
pub(super) const VERSION: &str = "version.muster.internal";
/// Where containers ask.
pub(super) const PORT: u16 = 53;
/// A container that has just started may ask before this host has heard of its address from its engine.
const NEWCOMER: Duration = Duration::from_secs(2);
/// Time between two tries to listen, while the address is not there yet.
const RETRY: Duration = Duration::from_millis(500);

/// Tries after which somebody should know.
const TRIES_THAT_TELL: u32 = 10;

/// What this host itself may ask its resolver: whether it answers. No App has an empty name.
const OWN_VIEW: &str = "/";

/// The resolver of this host; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver(Arc<OnceLock<Handle>>);

impl Resolver {
    /// What it did since it listens; none while it does not.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.0.get().map(Handle::counts)
    }
}

/// Starts the resolver.
pub(super) fn start(
    pool: Ipv4Net,
    slice: Ipv4Net,
    names: watch::Receiver<Arc<NameTable>>,
    supervisor: &Supervisor,
) -> Resolver {
    let resolver = Resolver::default();
    supervisor.spawn_until_stop("resolver", run(pool, slice, names, resolver.clone()));
    resolver
}

async fn run(
    pool: Ipv4Net,
    slice: Ipv4Net,
    mut names: watch::Receiver<Arc<NameTable>>,
    resolver: Resolver,
) {
    let own = resolver_address(slice);
    let zone = |table: &NameTable| zone(table, pool, own);
    let listen = SocketAddr::from((own, PORT));
    let mut config = Config::new(vec![listen], vec![allowed(pool)]);
    config.limits.newcomer = NEWCOMER;
    match host_upstreams() {
        Ok(upstreams) => config.upstreams = upstreams.addresses,
        Err(error) => tracing::warn!(%error, "names outside the cluster will not be resolved"),
    }
    let mut tries = 0;
    let server = loop {
        let table = names.borrow_and_update().clone();
        match Server::bind(config.clone(), zone(&table)).await {
            Ok(server) => break server,
            Err(error) => {
                // The address is there once the network is set up; only longer is worth a word.
                tries += 1;
                if tries == TRIES_THAT_TELL {
                    tracing::warn!(
                        error = crate::telemetry::chain(&error),
                        "the resolver cannot listen"
                    );
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tracing::info!(%listen, "resolver listens");
    let handle = server.handle();
    resolver.0.get_or_init(|| handle.clone());
    let swap = async move {
        // Ends when the core ends, that is with the agent.
        while names.changed().await.is_ok() {
            let table = names.borrow_and_update().clone();
            handle.swap(zone(&table));
        }
    };
    server.run(swap).await;
}

fn allowed(pool: Ipv4Net) -> Network {
    Network::new(IpAddr::V4(pool.addr()), pool.prefix_len())
        .expect("the prefix of an IPv4 network is at most 32")
}

/// The zone for a name table, of the host with that address.
fn zone(table: &NameTable, pool: Ipv4Net, own: Ipv4Addr) -> Zone {
    let mut builder = ZoneBuilder::new(TTL);
    for suffix in &table.suffixes {
        builder.suffix(suffix);
    }
    builder.reverse(allowed(pool));
    let view = ViewId::new(OWN_VIEW);
    builder.view(&view);
    builder.txt(&view, VERSION, env!("CARGO_PKG_VERSION"));
    builder.asker(IpAddr::V4(own), &view);
    for (scope, names) in &table.views {
        let view = view_id(scope);
        builder.view(&view);
        builder.txt(&view, VERSION, env!("CARGO_PKG_VERSION"));
        for (name, addresses) in names {
            builder.address(&view, name, addresses.iter().map(|address| IpAddr::V4(*address)));
        }
        for (name, replicas) in table.listening.get(scope).into_iter().flatten() {
            for (replica, port) in replicas {
                builder.srv(&view, name, Srv::new(replica.as_str(), *port));
            }
        }
        for (address, name) in &table.reverse {
            builder.ptr(&view, IpAddr::V4(*address), name);
        }
    }
    for (asker, servers) in &table.servers {
        let servers: Vec<SocketAddr> =
            servers.iter().map(|server| SocketAddr::new(*server, PORT)).collect();
        builder.upstreams(IpAddr::V4(*asker), &servers);
    }
    for (asker, scope) in &table.askers {
        builder.asker(IpAddr::V4(*asker), &view_id(scope));
    }
    let (zone, problems) = builder.build();
    for problem in problems {
        tracing::warn!(%problem, "a name is left out");
    }
    zone
}

fn view_id(scope: &Scope) -> ViewId {
    let networks: Vec<&str> = scope.networks.iter().map(|network| network.as_str()).collect();
    ViewId::new(&format!("{}/{}", scope.app, networks.join(",")))
}

#[cfg(test)]
mod tests {
    use muster_dns::hickory_proto::op::Query;
    use muster_dns::hickory_proto::rr::{Name, RecordType};
    use muster_dns::{Answer, answer};

    use super::*;
    use crate::model::AppName;

    #[test]
    fn containers_and_their_host_and_nobody_else_are_told_the_version() {
        let pool = "10.208.0.0/12".parse().unwrap();
        let [host, container, other] =
            ["10.208.0.1", "10.208.0.66", "10.208.0.67"].map(|text| text.parse().unwrap());
        let scope = Scope { app: AppName::new("shop"), networks: ["default".into()].into() };
        let mut table = NameTable::default();
        table.suffixes.insert("internal".to_owned());
        table.views.entry(scope.clone()).or_default();
        table.askers.insert(container, scope);
        let zone = zone(&table, pool, host);
        let name = Name::from_ascii(VERSION).unwrap();
        let ask = |asker| {
            answer(&zone, IpAddr::V4(asker), &Query::query(name.clone(), RecordType::TXT), 0)
        };
        for asker in [container, host] {
            let Answer::Records { answers, .. } = ask(asker) else { panic!("{:?}", ask(asker)) };
            let told: Vec<String> = answers.iter().map(|record| record.data.to_string()).collect();
            assert_eq!(told, [env!("CARGO_PKG_VERSION")]);
        }
        assert!(matches!(ask(other), Answer::Refused(_)), "{:?}", ask(other));
    }

    #[test]
    fn names_that_are_no_host_names_resolve_as_in_docker() {
        let pool = "10.208.0.0/12".parse().unwrap();
        let [container, service] = ["10.208.0.66", "10.223.0.1"].map(|text| text.parse().unwrap());
        let scope = Scope { app: AppName::new("shop"), networks: ["default".into()].into() };
        let mut table = NameTable::default();
        table.askers.insert(container, scope.clone());
        let names = ["my_service", "my_service.shop", "api.v1"].map(str::to_owned);
        let names = names.map(|name| (name, [service].into()));
        table.views.insert(scope, names.into());
        let zone = zone(&table, pool, "10.208.0.1".parse().unwrap());
        for name in ["my_service.", "My_Service.", "my_service.shop.", "api.v1."] {
            let question = Query::query(Name::from_ascii(name).unwrap(), RecordType::A);
            let said = answer(&zone, IpAddr::V4(container), &question, 0);
            let Answer::Records { answers, .. } = said else { panic!("{name}: {said:?}") };
            assert_eq!(answers[0].data.to_string(), service.to_string(), "{name}");
        }
    }
}
