//! Where the images of a Revision are to come from, and what they are for.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::{ASK, alive};
use crate::agent::cluster::Cluster;
use crate::agent::handle::{Agent, at_once};
use crate::agent::preview::opened;
use crate::agent::rpc::{Answer, Request};
use crate::api::{ApiError, Refusal};
use crate::docker::Engine;
use crate::logic::core::normal_reference;
use crate::model::{Intent, Liveness, PullPolicy, Revision, SealedRevision};

/// Registries asked at a time.
const IMAGES_AT_ONCE: usize = 8;

impl<E: Engine> Agent<E> {
    pub(super) async fn images_refused(
        &self,
        cluster: &Cluster<E>,
        revision: &Revision,
    ) -> Result<Vec<Refusal>, ApiError> {
        let images: BTreeMap<&str, PullPolicy> = revision
            .all_deployments()
            .flat_map(|(_, deployment)| deployment.containers())
            .map(|container| (container.image.as_str(), container.pull_policy))
            .collect();
        let mut refusals = Vec::new();
        for (image, policy) in images {
            let known = self.hosts_with(cluster, image).await?;
            if !known.is_empty() && policy != PullPolicy::Always {
                continue;
            }
            if policy == PullPolicy::Never {
                if self.came_elsewhere(cluster, image).await? {
                    continue;
                }
                refusals.push(Refusal {
                    message: format!("no host has image `{image}`, and `pull_policy: never`"),
                    hint: Some("load it on one host: `docker load`, or `docker build`".to_owned()),
                    image: Some(image.to_owned()),
                });
                continue;
            }
            if let Err(error) = self.engine.registry_has(image).await
                && !self.came_elsewhere(cluster, image).await?
            {
                refusals.push(Refusal {
                    message: error.sentence(),
                    hint: Some(
                        "check the name; or load the image on one host with `docker load`, the \
                         others get it from there"
                            .to_owned(),
                    ),
                    image: Some(image.to_owned()),
                });
            }
        }
        Ok(refusals)
    }

    /// The Revision with the platforms that each image is for, where hosts of several live; none
    /// where all are alike, and nothing has to be found out.
    pub(in crate::agent) async fn with_platforms(
        &self,
        cluster: &Cluster<E>,
        revision: &SealedRevision,
    ) -> Result<Option<Revision>, ApiError> {
        let differ = cluster.core.look(|core| {
            let view = core.view();
            let live = view.hosts.values().filter(|host| host.liveness == Liveness::Alive);
            let platforms = live.map(|host| host.facts.platform.clone());
            platforms.filter(|platform| !platform.is_empty()).collect::<BTreeSet<_>>().len() > 1
        });
        if revision.intent != Intent::Run || !differ.await? {
            return Ok(None);
        }
        let mut revision = opened(revision)?;
        let images: BTreeSet<String> =
            revision.deployments.values().map(|d| d.container.image.clone()).collect();
        let known: BTreeMap<String, BTreeSet<String>> = stream::iter(images)
            .map(|image| async {
                let platforms = self.platforms_of(&image).await;
                (image, platforms)
            })
            .buffered(IMAGES_AT_ONCE)
            .collect()
            .await;
        for deployment in revision.deployments.values_mut() {
            let offered = known.get(&deployment.container.image).cloned();
            deployment.placement.offered = offered.unwrap_or_default();
        }
        Ok(Some(revision))
    }

    /// The platforms that an image is for: all that its registry has, else that of the one here;
    /// nothing when neither says.
    async fn platforms_of(&self, image: &str) -> BTreeSet<String> {
        let registry = tokio::time::timeout(ASK, self.engine.registry_has(image)).await;
        if let Ok(Ok(platforms)) = registry
            && !platforms.is_empty()
        {
            return platforms;
        }
        let here = at_once(self.engine.image(image)).await.and_then(Result::ok).flatten();
        here.into_iter().map(|image| image.platform).collect()
    }

    /// Whether another live host has got an image so lately that this one has not heard of it.
    async fn came_elsewhere(&self, cluster: &Cluster<E>, image: &str) -> Result<bool, ApiError> {
        let request = Request::CheckImage(image.to_owned());
        let peers = cluster.core.look(alive).await?;
        let others = peers.iter().filter(|peer| **peer != cluster.host);
        let answers = others.map(|peer| self.ask(cluster, peer, &request, ASK));
        let answers = join_all(answers).await;
        Ok(answers.iter().any(|answer| matches!(answer, Ok(Answer::ImageHere(true)))))
    }

    /// Whether the engine of this host has an image now.
    pub(in crate::agent) async fn has_image(&self, reference: &str) -> bool {
        let image = at_once(self.engine.image(reference)).await;
        image.is_some_and(|image| image.is_ok_and(|image| image.is_some()))
    }

    /// Names of the live hosts that have an image.
    pub(in crate::agent) async fn hosts_with(
        &self,
        cluster: &Cluster<E>,
        reference: &str,
    ) -> Result<Vec<String>, ApiError> {
        // This host may have got it a moment ago.
        let here = self.has_image(reference).await;
        let reference = normal_reference(reference);
        cluster
            .core
            .look(move |core| {
                let view = core.view();
                let hosts = view.hosts.iter().filter(|&(id, host)| {
                    host.liveness == Liveness::Alive
                        && (host.facts.images.contains(&reference) || (here && *id == core.me()))
                });
                hosts.map(|(_, host)| host.facts.name.clone()).collect()
            })
            .await
    }
}
