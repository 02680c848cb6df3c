//! From what an agent knows to what the API shows of networks. Pure.

use crate::api::{NetworkReplica, NetworkService, NetworkView};
use crate::logic::core::Core;
use crate::logic::view::ClusterView;
use crate::model::{AppName, Attachment, Intent, NetworkName, Plan, SealedRevision, ServiceName};

/// Every network of every App that runs, by App and name.
pub(super) fn networks(core: &Core) -> Vec<NetworkView> {
    let view = core.view();
    let mut all = Vec::new();
    for app in core.state().apps() {
        let revision = core.state().winner(app).filter(|winner| winner.intent == Intent::Run);
        let Some(revision) = revision else { continue };
        let plan = view.plans.get(app).copied();
        let names = revision.networks.keys();
        all.extend(names.map(|network| one(&view, app, revision, plan, network)));
    }
    all
}

fn one(
    view: &ClusterView<'_>,
    app: &AppName,
    revision: &SealedRevision,
    plan: Option<&Plan>,
    network: &NetworkName,
) -> NetworkView {
    let spec = revision.networks.get(network).cloned().unwrap_or_default();
    let blocks = view.hosts.values().flat_map(|host| {
        let of_it = host.facts.blocks.iter();
        let of_it = of_it.filter(|block| block.app == *app && block.network == *network);
        of_it.map(|block| (host.facts.name.clone(), block.subnet))
    });
    let attached = revision.deployments.iter().filter_map(|(service, deployment)| {
        let attachment = deployment.networks.get(network)?;
        Some(on_it(view, plan, network, service, attachment))
    });
    NetworkView {
        app: app.clone(),
        network: network.clone(),
        name: spec.name,
        shared: spec.shared,
        internal: spec.internal,
        blocks: blocks.collect(),
        services: attached.collect(),
    }
}

fn on_it(
    view: &ClusterView<'_>,
    plan: Option<&Plan>,
    network: &NetworkName,
    service: &ServiceName,
    attachment: &Attachment,
) -> NetworkService {
    let addresses = plan.map(|plan| plan.addresses.as_slice()).unwrap_or_default();
    let address = addresses.iter().find(|a| a.service == *service && a.network == *network);
    let assignments = plan.map(|plan| plan.assignments.as_slice()).unwrap_or_default();
    let mine = assignments.iter().filter(|a| a.replica.service == *service);
    let replicas = mine.filter_map(|assignment| {
        Some(NetworkReplica {
            replica: assignment.replica.clone(),
            host: view.host_name(&assignment.host),
            address: *view.status(assignment)?.addresses.get(network)?,
            ready: view.serves(assignment),
        })
    });
    NetworkService {
        service: service.clone(),
        address: address.map(|address| address.address),
        fixed: attachment.fixed,
        aliases: attachment.aliases.clone(),
        replicas: replicas.collect(),
    }
}
