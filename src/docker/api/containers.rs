//! Containers: listing, making, starting, stopping, removing. Leaves nothing half made behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, NetworkConnectRequest};
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, CreateContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StopContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::convert::{SEVERAL_NETWORKS, create_body, update_body};
use super::error::or_no_image;
use super::hijack::Held;
use super::observe::{self, Glance};
use super::session::{ASK_LIMIT, Link, MAKE_LIMIT, START_LIMIT, STOP_MARGIN};
use super::{consoles, files};
use crate::docker::{CreateContainer, EngineError, label};
use crate::model::{Container, ContainerState, Resize};

/// Inspections at a time: enough to hide the way to the daemon, too few to crowd others out.
const INSPECTIONS_MAX: usize = 8;

/// Docker's grace for a container that was made without one.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Running containers as last inspected, by id, so that a listing need not ask again.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    running: BTreeMap<String, (Glance, Container)>,
    /// Started since the last listing began, or given other limits: a glance does not tell that of a
    /// container without networks, nor this.
    changed: BTreeSet<String>,
}

impl Seen {
    fn take(&self) -> BTreeMap<String, (Glance, Container)> {
        let known = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut running = known.running;
        running.retain(|id, _| !known.changed.contains(id));
        running
    }

    fn put(&self, running: BTreeMap<String, (Glance, Container)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).running = running;
    }

    fn note_change(&self, id: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.changed.insert(id.to_owned());
    }
}

/// The filter for what is muster's.
pub(super) fn ours() -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label::APP.to_owned()])])
}

pub(super) async fn list(link: &Link, seen: &Seen) -> Result<Vec<Container>, EngineError> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(ours()),
        ..ListContainersOptions::default()
    };
    let summaries = link
        .call("list containers", ASK_LIMIT, |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await?;
    // Taken, not borrowed: when this fails half way, the next listing simply asks again.
    let mut known = seen.take();
    let mut listed = Vec::new();
    for summary in &summaries {
        let id = summary.id.clone().unwrap_or_default();
        let glance = observe::glance(summary);
        let cached = known.remove(&id).filter(|(old, _)| Some(old) == glance.as_ref());
        listed.push((id, glance, cached.map(|(_, container)| container)));
    }
    let inspected: Vec<_> = stream::iter(listed)
        .map(|(id, glance, cached)| async move {
            let container = match cached {
                Some(container) => Some(container),
                None => look(link, &id).await?,
            };
            Ok::<_, EngineError>((glance, container))
        })
        .buffered(INSPECTIONS_MAX)
        .try_collect()
        .await?;
    let mut remembered = BTreeMap::new();
    let mut containers = Vec::new();
    for (glance, container) in inspected {
        let Some(container) = container else { continue };
        if let Some(glance) = glance
            && container.state == ContainerState::Running
        {
            remembered.insert(container.id.clone(), (glance, container.clone()));
        }
        containers.push(container);
    }
    seen.put(remembered);
    Ok(containers)
}

/// One of ours; none when it is gone by now or its labels are not what muster writes.
async fn look(link: &Link, id: &str) -> Result<Option<Container>, EngineError> {
    let Some(told) = inspect(link, id).await? else { return Ok(None) };
    match observe::container(told) {
        Ok(container) => Ok(Some(container)),
        Err(reason) => {
            tracing::warn!(id, reason, "passed over a container that carries muster's label");
            Ok(None)
        }
    }
}

pub(super) async fn inspect(
    link: &Link,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, EngineError> {
    let answer = link
        .call(&format!("inspect container `{name}`"), ASK_LIMIT, |docker| async move {
            docker.inspect_container(name, None).await
        })
        .await;
    absent_is_none(answer)
}

/// Turns "there is none" into `None`.
pub(super) fn absent_is_none<T>(answer: Result<T, EngineError>) -> Result<Option<T>, EngineError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(EngineError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn run(
    link: &Link,
    (seen, held): (&Seen, &Held),
    container: &CreateContainer,
) -> Result<String, EngineError> {
    let id = match create(link, container).await {
        Err(EngineError::Refused { action, status: 409, detail }) => {
            let refusal = EngineError::Refused { action, status: 409, detail };
            match take_over(link, container, refusal).await? {
                Taken::Runs(id) => return Ok(id),
                Taken::Ended(id) => return start(link, seen, &id).await.map(|()| id),
                Taken::Removed => create(link, container).await?,
            }
        }
        created => created?,
    };
    match complete(link, held, container, &id).await {
        Ok(()) => Ok(id),
        Err(error) => {
            // What cannot start must not keep the name. The first error is the one to tell.
            if let Err(second) = remove(link, &id).await {
                tracing::warn!(name = container.name, error = %second, "left a container behind");
            }
            Err(error)
        }
    }
}

async fn create(link: &Link, container: &CreateContainer) -> Result<String, EngineError> {
    let body = create_body(container, link.session().await?.api)?;
    let options = CreateContainerOptions {
        name: Some(container.name.clone()),
        ..CreateContainerOptions::default()
    };
    let action = format!("create container `{}`", container.name);
    link.call(&action, MAKE_LIMIT, |docker| async move {
        docker.create_container(Some(options), body).await
    })
    .await
    .map(|made| made.id)
    .map_err(|error| or_no_image(error, &container.spec.image))
}

/// What became of a container that holds the name.
enum Taken {
    /// It is ours and runs.
    Runs(String),
    /// It is ours and ran.
    Ended(String),
    /// It was ours but never started, so it may lack files or networks: removed.
    Removed,
}

/// Looks at who holds the name; `refusal` when it is not ours of this Generation.
async fn take_over(
    link: &Link,
    container: &CreateContainer,
    refusal: EngineError,
) -> Result<Taken, EngineError> {
    let Some(told) = inspect(link, &container.name).await? else { return Ok(Taken::Removed) };
    let Ok(found) = observe::container(told) else { return Err(refusal) };
    if found.replica != container.replica || found.generation != container.generation {
        return Err(refusal);
    }
    match found.state {
        ContainerState::Running | ContainerState::Paused | ContainerState::Changing => {
            Ok(Taken::Runs(found.id))
        }
        ContainerState::Exited { .. } => Ok(Taken::Ended(found.id)),
        ContainerState::Created | ContainerState::Dead => {
            remove(link, &found.id).await.map(|()| Taken::Removed)
        }
    }
}

/// Networks, files, somebody in front of it, start.
async fn complete(
    link: &Link,
    held: &Held,
    container: &CreateContainer,
    id: &str,
) -> Result<(), EngineError> {
    if link.session().await?.api < SEVERAL_NETWORKS {
        for network in container.networks.iter().skip(1) {
            connect(link, id, network).await?;
        }
    }
    if !container.spec.files.is_empty() {
        put_files(link, container, id).await?;
    }
    if !container.spec.stdin_once {
        return start_named(link, id, &container.name).await;
    }
    // Before it starts, so that nothing of what it writes is missed.
    let way = consoles::sit_down(link, id).await?;
    start_named(link, id, &container.name).await?;
    held.put(id, way, container.spec.tty);
    Ok(())
}

async fn connect(link: &Link, id: &str, network: &str) -> Result<(), EngineError> {
    let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: None };
    link.call(&format!("connect to network `{network}`"), MAKE_LIMIT, |docker| async move {
        docker.connect_network(network, request).await
    })
    .await
}

async fn put_files(link: &Link, container: &CreateContainer, id: &str) -> Result<(), EngineError> {
    let action = format!("put files into container `{}`", container.name);
    let refused =
        |detail: String| EngineError::Refused { action: action.clone(), status: 400, detail };
    for upload in files::uploads(&container.spec).map_err(refused)? {
        let mut missing = BTreeSet::new();
        for folder in upload.folders() {
            let options = ContainerArchiveInfoOptions { path: folder.clone() };
            let answer = link
                .call(&action, ASK_LIMIT, |docker| async move {
                    docker.get_container_archive_info(id, Some(options)).await
                })
                .await;
            if absent_is_none(answer)?.is_none() {
                missing.insert(folder);
            }
        }
        let tar = upload.archive(&missing).map_err(|error| refused(error.to_string()))?;
        let options = UploadToContainerOptions { path: upload.place.clone(), ..Default::default() };
        link.call(&action, MAKE_LIMIT, |docker| async move {
            let body = bollard::body_full(Bytes::from(tar));
            docker.upload_to_container(id, Some(options), body).await
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn start(link: &Link, seen: &Seen, id: &str) -> Result<(), EngineError> {
    let answer = start_named(link, id, id).await;
    seen.note_change(id);
    answer
}

async fn start_named(link: &Link, id: &str, name: &str) -> Result<(), EngineError> {
    link.call(&format!("start container `{name}`"), START_LIMIT, |docker| async move {
        docker.start_container(id, None).await
    })
    .await
}

/// What is none of the body stays as it is.
pub(super) async fn resize(
    link: &Link,
    seen: &Seen,
    id: &str,
    to: &Resize,
) -> Result<(), EngineError> {
    let body = update_body(to);
    // People read it, in `muster autoscale`.
    let short: String = id.chars().take(12).collect();
    let answer = link
        .call(
            &format!("change the limits of container `{short}`"),
            MAKE_LIMIT,
            |docker| async move { docker.update_container(id, body).await },
        )
        .await;
    seen.note_change(id);
    absent_is_none(answer).map(|_| ())
}

pub(super) async fn stop(link: &Link, id: &str) -> Result<(), EngineError> {
    let Some(told) = inspect(link, id).await? else { return Ok(()) };
    let grace = told.config.and_then(|config| config.stop_timeout);
    let grace = grace.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    // The daemon knows the grace; we only must not give up before it does.
    let limit = grace.unwrap_or(DEFAULT_GRACE).saturating_add(STOP_MARGIN);
    let answer = link
        .call(&format!("stop container `{id}`"), limit, |docker| async move {
            docker.stop_container(id, None::<StopContainerOptions>).await
        })
        .await;
    absent_is_none(answer).map(|_| ())
}

pub(super) async fn remove(link: &Link, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptions { v: true, force: true, link: false };
    let answer = link
        .call(&format!("remove container `{id}`"), MAKE_LIMIT, |docker| async move {
            docker.remove_container(id, Some(options)).await
        })
        .await;
    match answer {
        // Somebody else's removal of it is under way.
        Err(EngineError::Refused { status: 409, detail, .. })
            if detail.contains("already in progress") =>
        {
            Ok(())
        }
        answer => absent_is_none(answer).map(|_| ()),
    }
}
