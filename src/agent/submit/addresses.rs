//! Whether somebody has the addresses that ports are to be listened on at.

use super::{ASK, ports};
use crate::agent::cluster::Cluster;
use crate::agent::handle::Agent;
use crate::agent::rpc::{Answer, Request};
use crate::docker::Engine;
use crate::model::{HostId, PublishedPort};
use crate::network;

impl<E: Engine> Agent<E> {
    /// Those of `ports` that are to be listened on at an address which no live host has. One that
    /// does not answer, or is of a version that cannot, may have it.
    pub(super) async fn addresses_nowhere(
        &self,
        cluster: &Cluster<E>,
        peers: &[HostId],
        ports: &[PublishedPort],
    ) -> Vec<PublishedPort> {
        let mut left = ports::addresses(ports);
        for peer in peers {
            if left.is_empty() {
                break;
            }
            let held = match *peer == cluster.host {
                true => network::addresses_held(&left),
                false => {
                    match self.ask(cluster, peer, &Request::CheckAddresses(left.clone()), ASK).await
                    {
                        Ok(Answer::AddressesHeld(held)) => held,
                        Ok(_) | Err(_) => return Vec::new(),
                    }
                }
            };
            left.retain(|address| !held.contains(address));
        }
        let is_left = |port: &&PublishedPort| {
            port.host_ip.is_some_and(|at| left.contains(&at.to_canonical()))
        };
        ports.iter().filter(is_left).cloned().collect()
    }
}
