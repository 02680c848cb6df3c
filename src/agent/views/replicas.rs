//! What is told of a replica beside its status. Pure.

use crate::logic::view::ClusterView;
use crate::model::{AppName, ReplicaId, SealedRevision, ServiceName};

/// The image of a replica: of the Revision it runs, or of the one that counts.
pub(super) fn image(
    view: &ClusterView<'_>,
    revision: &SealedRevision,
    service: &ServiceName,
    spec_hash: Option<&String>,
) -> String {
    let is_of = |one: &&SealedRevision| one.container_hash(service) == spec_hash;
    let others = view.state.revisions(&revision.app).map(|(_, one)| &**one);
    let runs = std::iter::once(revision).chain(others).find(is_of);
    let runs: &SealedRevision = runs.unwrap_or(revision);
    let of_run = || {
        let runs = view.plans.get(&revision.app)?.runs.get(service)?;
        revision.deployment(&runs.runs.values().next()?.of)
    };
    let deployment = runs.deployment(service).or_else(of_run);
    deployment.map(|deployment| deployment.container.image.clone()).unwrap_or_default()
}

/// A replica as it is written.
pub(super) fn parse_replica(text: &str) -> Option<ReplicaId> {
    let mut parts = text.split('/');
    let (app, service, index) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ReplicaId {
        app: AppName::from(app),
        service: ServiceName::from(service),
        index: index.parse().ok()?,
    })
}
