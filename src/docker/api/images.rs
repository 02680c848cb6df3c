//! Images: looking, pulling, saving, loading, building with the classic builder. Never chooses
//! where an image comes from.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard::query_parameters::{
    BuildImageOptions, CreateImageOptions, ImportImageOptions, ListImagesOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::auth;
use super::containers::absent_is_none;
use super::convert::hash_map;
use super::error::or_no_image;
use super::session::{ASK_LIMIT, Link, STALL_LIMIT};
use crate::docker::stream::generate;
use crate::docker::{BoxStream, BuildImage, EngineError, ImageInfo};

pub(super) async fn inspect(
    link: &Link,
    reference: &str,
) -> Result<Option<ImageInfo>, EngineError> {
    let answer = link
        .call(&format!("inspect image `{reference}`"), ASK_LIMIT, |docker| async move {
            docker.inspect_image(reference).await
        })
        .await;
    Ok(absent_is_none(answer)?.map(|image| {
        let (os, arch) = (image.os.unwrap_or_default(), image.architecture.unwrap_or_default());
        ImageInfo { id: image.id.unwrap_or_default(), platform: format!("{os}/{arch}") }
    }))
}

pub(super) async fn list(link: &Link) -> Result<BTreeSet<String>, EngineError> {
    let images = link
        .call("list images", ASK_LIMIT, |docker| async move {
            docker.list_images(Some(ListImagesOptions::default())).await
        })
        .await?;
    let references = images.into_iter().flat_map(|image| image.repo_tags);
    Ok(references.filter(|reference| !reference.starts_with("<none>")).collect())
}

/// Name and tag (or digest): without a tag, Docker would pull every tag there is.
pub(super) fn split_reference(reference: &str) -> (&str, &str) {
    if let Some((name, digest)) = reference.split_once('@') {
        // `name:tag@digest`: the digest decides.
        return (without_tag(name).0, digest);
    }
    without_tag(reference)
}

fn without_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        // A slash after the colon: it was the registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        Some(_) | None => (name, "latest"),
    }
}

pub(super) async fn pull(link: &Link, reference: &str) -> Result<(), EngineError> {
    let action = format!("pull image `{reference}`");
    let (name, tag) = split_reference(reference);
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        ..CreateImageOptions::default()
    };
    let credentials = auth::credentials(name).await;
    let session = link.session().await?;
    let told = session.docker.create_image(Some(options), None, credentials);
    drain(link, &action, told, &Progress::default())
        .await
        .map_err(|error| or_no_image(error, reference))
}

/// Asks the registry for the image's descriptor; nothing is fetched.
pub(super) async fn registry_has(
    link: &Link,
    reference: &str,
) -> Result<BTreeSet<String>, EngineError> {
    let (name, _) = split_reference(reference);
    let credentials = auth::credentials(name).await;
    link.call(&format!("ask the registry for `{reference}`"), ASK_LIMIT, |docker| async move {
        docker.inspect_registry_image(reference, credentials).await
    })
    .await
    .map(|told| {
        let platforms = told.platforms.into_iter().filter_map(|platform| {
            let (os, arch) = (platform.os?, platform.architecture?);
            // Attestations are in the list as of an unknown platform.
            let is_known = os != "unknown";
            let variant = platform.variant.filter(|variant| !variant.is_empty());
            let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
            is_known.then(|| format!("{os}/{arch}{variant}"))
        });
        platforms.collect()
    })
    .map_err(|error| match error {
        // A registry that denies an image to a stranger, or cannot be reached, has none for us.
        EngineError::Refused { detail, .. } => {
            EngineError::NoImage { reference: reference.to_owned(), detail }
        }
        other => other,
    })
}

pub(super) fn save(link: Arc<Link>, reference: String) -> BoxStream<Result<Bytes, EngineError>> {
    generate(|sender| async move {
        let action = format!("save image `{reference}`");
        let session = match link.session().await {
            Ok(session) => session,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        let mut chunks = pin!(session.docker.export_image(&reference));
        loop {
            let item = match timeout(STALL_LIMIT, chunks.next()).await {
                Err(_) => Err(stalled(&action)),
                Ok(None) => return,
                Ok(Some(Ok(bytes))) => Ok(bytes),
                Ok(Some(Err(error))) => Err(or_no_image(link.told(&action, error), &reference)),
            };
            let is_last = item.is_err();
            // The reader went away: so do we.
            if sender.send(item).await.is_err() || is_last {
                return;
            }
        }
    })
}

pub(super) async fn load(link: &Link, tar: BoxStream<Bytes>) -> Result<(), EngineError> {
    let session = link.session().await?;
    let progress = Progress::default();
    let body = bollard::body_stream(progress.watch(tar));
    let told = session.docker.import_image(ImportImageOptions::default(), body, None);
    drain(link, "load an image", told, &progress).await
}

pub(super) fn build(
    link: Arc<Link>,
    build: BuildImage,
    context: BoxStream<Bytes>,
) -> BoxStream<Result<String, EngineError>> {
    generate(|sender| async move {
        let action = format!("build image `{}`", build.reference);
        let session = match link.session().await {
            Ok(session) => session,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        let progress = Progress::default();
        let body = bollard::body_stream(progress.watch(context));
        let mut told = pin!(session.docker.build_image(build_options(build), None, Some(body)));
        loop {
            let item = match progress.next(&action, &mut told).await {
                Err(error) => Err(error),
                Ok(None) => return,
                Ok(Some(Ok(info))) => match info.stream.or(info.status) {
                    Some(words) => Ok(words),
                    None => continue,
                },
                Ok(Some(Err(error))) => Err(link.told(&action, error)),
            };
            let is_last = item.is_err();
            if sender.send(item).await.is_err() || is_last {
                return;
            }
        }
    })
}

fn build_options(build: BuildImage) -> BuildImageOptions {
    let BuildImage {
        reference,
        dockerfile,
        args,
        target,
        labels,
        pull,
        no_cache,
        network,
        shm_size,
    } = build;
    BuildImageOptions {
        dockerfile: if dockerfile.is_empty() { "Dockerfile".to_owned() } else { dockerfile },
        t: Some(reference),
        buildargs: Some(hash_map(&args)),
        target: target.unwrap_or_default(),
        labels: Some(hash_map(&labels)),
        pull: pull.then(|| "1".to_owned()),
        nocache: no_cache,
        networkmode: network,
        shmsize: shm_size,
        rm: true,
        forcerm: true,
        ..BuildImageOptions::default()
    }
}

/// Reads a stream of progress to its end.
async fn drain<T>(
    link: &Link,
    action: &str,
    told: impl Stream<Item = Result<T, bollard::errors::Error>>,
    progress: &Progress,
) -> Result<(), EngineError> {
    let mut told = pin!(told);
    while let Some(item) = progress.next(action, &mut told).await? {
        item.map_err(|error| link.told(action, error))?;
    }
    Ok(())
}

pub(super) fn stalled(action: &str) -> EngineError {
    EngineError::TimedOut { action: action.to_owned(), limit: STALL_LIMIT }
}

/// Counts what was sent, so that an answer that only comes at the end of a long upload is not
/// taken for silence.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn watch<T: 'static>(
        &self,
        sent: BoxStream<T>,
    ) -> impl Stream<Item = T> + Send + 'static {
        let count = Arc::clone(&self.0);
        sent.inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// The next item; an error when for [`STALL_LIMIT`] nothing came and nothing was sent.
    pub(super) async fn next<S: Stream + Unpin>(
        &self,
        action: &str,
        told: &mut S,
    ) -> Result<Option<S::Item>, EngineError> {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match timeout(STALL_LIMIT, told.next()).await {
                Ok(item) => return Ok(item),
                Err(_) if self.0.load(Ordering::Relaxed) == before => return Err(stalled(action)),
                Err(_) => {}
            }
        }
    }
}
