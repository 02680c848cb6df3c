//! Which published ports cannot be had, as far as the cluster's state tells. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::api::Refusal;
use crate::logic::core::Core;
use crate::logic::view::{ClusterView, HostView};
use crate::model::{AppName, Liveness, Protocol, PublishedPort};

/// The ports that need SCTP, with the live hosts that lack it. One whose agent knows nothing of it
/// says that it does.
pub(super) fn without_sctp(
    view: &ClusterView<'_>,
    wanted: &BTreeSet<PublishedPort>,
) -> Vec<(PublishedPort, String)> {
    let lacks = |host: &&HostView<'_>| host.liveness != Liveness::Dead && !host.facts.sctp;
    let names: Vec<String> =
        view.hosts.values().filter(lacks).map(|host| format!("`{}`", host.facts.name)).collect();
    let needs = wanted.iter().filter(|port| port.protocol == Protocol::Sctp && !names.is_empty());
    needs.map(|port| (port.clone(), names.join(", "))).collect()
}

/// The addresses that ports are to be listened on at. Every host has those that mean all, and those
/// of its own.
pub(super) fn addresses(ports: &[PublishedPort]) -> BTreeSet<IpAddr> {
    let addresses = ports.iter().filter_map(|port| port.host_ip).map(|at| at.to_canonical());
    addresses.filter(|at| !at.is_unspecified() && !at.is_loopback()).collect()
}

/// Why a port at an address that no host has is refused: nobody could reach it.
pub(super) fn nowhere(port: PublishedPort) -> Refusal {
    let address = port.host_ip.map(|at| at.to_string()).unwrap_or_default();
    let (published, protocol) = (port.published, port.protocol.as_str());
    Refusal {
        message: format!(
            "port {published}/{protocol} is to be listened on at `{address}`, which no live host has"
        ),
        hint: Some("name an address of a host, or none to listen on all hosts".to_owned()),
        image: None,
    }
}

/// The ports an App publishes now.
pub(super) fn ports_of(core: &Core, app: &AppName) -> BTreeSet<PublishedPort> {
    let winner = core.state().winner(app);
    let deployments = winner.into_iter().flat_map(|revision| revision.deployments.values());
    deployments.flat_map(|deployment| deployment.ports.iter().cloned()).collect()
}

/// Those of `wanted` that another App publishes, and which.
pub(super) fn ports_of_others(
    core: &Core,
    app: &AppName,
    wanted: &BTreeSet<PublishedPort>,
) -> Vec<(PublishedPort, AppName)> {
    let mut taken = Vec::new();
    for other in core.state().apps().filter(|other| *other != app) {
        for port in ports_of(core, other) {
            let clash = wanted.iter().find(|wanted| wanted.collides(&port));
            taken.extend(clash.map(|clash| (clash.clone(), other.clone())));
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::testing::Cluster;
    use crate::model::PortMode;

    #[test]
    fn only_addresses_of_one_host_have_to_be_somewhere() {
        let at = |text: Option<&str>| PublishedPort {
            host_ip: text.map(|text| text.parse().unwrap()),
            published: 80,
            target: 80,
            protocol: Protocol::Tcp,
            mode: PortMode::Ingress,
        };
        let all = [None, Some("0.0.0.0"), Some("::"), Some("127.0.0.1"), Some("::1")];
        let ports: Vec<PublishedPort> =
            all.into_iter().chain([Some("192.0.2.7"), Some("::ffff:192.0.2.8")]).map(at).collect();
        let expected = ["192.0.2.7", "192.0.2.8"].map(|text| text.parse().unwrap());
        assert_eq!(addresses(&ports), BTreeSet::from(expected));
        let refusal = nowhere(at(Some("192.0.2.7"))).message;
        assert_eq!(
            refusal,
            "port 80/tcp is to be listened on at `192.0.2.7`, which no live host has"
        );
    }

    #[test]
    fn sctp_is_refused_where_the_kernel_of_a_live_host_lacks_it() {
        let port = |protocol| PublishedPort {
            host_ip: None,
            published: 3868,
            target: 3868,
            protocol,
            mode: PortMode::Ingress,
        };
        let wanted = BTreeSet::from([port(Protocol::Tcp), port(Protocol::Sctp)]);
        let mut cluster = Cluster::new(3);
        cluster.change(1, |facts| facts.sctp = true);
        let lacking = |cluster: &Cluster| cluster.look(|view| without_sctp(view, &wanted));
        let expected = "`name2`, `name3`".to_owned();
        assert_eq!(lacking(&cluster), [(port(Protocol::Sctp), expected)]);
        cluster.liveness.insert(crate::logic::testing::host(3), Liveness::Dead);
        assert_eq!(lacking(&cluster)[0].1, "`name2`");
        cluster.change(2, |facts| facts.sctp = true);
        assert_eq!(lacking(&cluster), []);
    }
}
