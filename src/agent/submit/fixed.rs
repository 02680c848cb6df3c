//! Which of the addresses that a file fixes cannot be had, as far as the cluster's state tells. Pure.

use std::net::Ipv4Addr;

use crate::api::Refusal;
use crate::logic::core::Core;
use crate::model::{Intent, NetworkName, Revision, ServiceName};

/// An address that a file fixes for a service on a network.
type Fixed<'r> = (&'r ServiceName, &'r NetworkName, Ipv4Addr);

/// Those that are the cluster's to give, and those that another App has on a network it shares.
pub(super) fn refused(core: &Core, revision: &Revision) -> Vec<Refusal> {
    let pool = core.view().pool;
    let mut refusals = Vec::new();
    for (service, network, fixed) in all(revision) {
        let whose = match pool.contains(&fixed) {
            true => format!("in the pool `{pool}`, whose addresses the cluster gives out itself"),
            false => match holder(core, revision, network, fixed) {
                Some(other) => format!("that of `{other}` on the network they share"),
                None => continue,
            },
        };
        refusals.push(Refusal {
            message: format!(
                "service `{service}` asks for the address `{fixed}`, which is {whose}"
            ),
            hint: Some("write another one, or none".to_owned()),
            image: None,
        });
    }
    refusals
}

fn all(revision: &Revision) -> impl Iterator<Item = Fixed<'_>> {
    revision.deployments.iter().flat_map(|(service, deployment)| {
        let attached = deployment.networks.iter();
        attached.filter_map(move |(network, attached)| Some((service, network, attached.fixed?)))
    })
}

/// The service of another App, as `APP/SERVICE`, that has the address on the same network.
fn holder(
    core: &Core,
    revision: &Revision,
    network: &NetworkName,
    fixed: Ipv4Addr,
) -> Option<String> {
    let name = revision.networks.get(network)?.common_name();
    let others = core.state().apps().filter(|app| **app != revision.app);
    others.filter_map(|app| core.state().winner(app)).find_map(|other| {
        let is_same = |(_, at, address): &Fixed<'_>| {
            *address == fixed
                && other.networks.get(*at).is_some_and(|spec| spec.common_name() == name)
        };
        let runs = other.intent == Intent::Run;
        let found = all(other).filter(|_| runs).find(is_same);
        found.map(|(service, ..)| format!("{}/{service}", other.app))
    })
}
