//! Files out of containers and into them, as tar streams. Neither packs nor unpacks, and holds no more
//! than a piece at a time.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bollard::container::PathStatResponse;
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, DownloadFromContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::containers::absent_is_none;
use super::images::{Progress, stalled};
use super::session::{ASK_LIMIT, Link, STALL_LIMIT};
use crate::docker::stream::generate;
use crate::docker::{BoxStream, EngineError};
use crate::model::{PathKind, PathStat};

// Kinds and permissions as Go's `fs.FileMode` has them.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
/// Devices, pipes, sockets, character devices, and what it has no word for.
const OTHER: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
const SET_USER: u32 = 1 << 23;
const SET_GROUP: u32 = 1 << 22;
const STICKY: u32 = 1 << 20;
const PERMISSIONS: u32 = 0o777;

pub(super) async fn path_stat(
    link: &Link,
    id: &str,
    path: &str,
) -> Result<Option<PathStat>, EngineError> {
    let action = format!("look at `{path}` in container `{}`", short(id));
    let options = ContainerArchiveInfoOptions { path: path.to_owned() };
    let answer = link
        .call(&action, ASK_LIMIT, |docker| async move {
            docker.get_container_archive_info(id, Some(options)).await
        })
        .await;
    Ok(absent_is_none(answer)?.map(stat))
}

/// Docker's words in ours.
pub(super) fn stat(told: PathStatResponse) -> PathStat {
    let PathStatResponse { name: _, size, file_mode, modification_time: _, link_target } = told;
    let has = |bits: u32| file_mode & bits != 0;
    let kind = if has(FOLDER) {
        PathKind::Folder
    } else if has(LINK) {
        PathKind::Link
    } else if has(OTHER) {
        PathKind::Other
    } else {
        PathKind::File
    };
    let special = [(SET_USER, 0o4000), (SET_GROUP, 0o2000), (STICKY, 0o1000)];
    let special = special.into_iter().filter(|(theirs, _)| has(*theirs)).map(|(_, ours)| ours);
    PathStat {
        kind,
        size: u64::try_from(size).unwrap_or_default(),
        mode: special.fold(file_mode & PERMISSIONS, |mode, bit| mode | bit),
        target: Some(link_target).filter(|target| kind == PathKind::Link && !target.is_empty()),
    }
}

pub(super) fn read(
    link: Arc<Link>,
    id: String,
    path: String,
) -> BoxStream<Result<Bytes, EngineError>> {
    generate(|sender| async move {
        let action = format!("copy `{path}` from container `{}`", short(&id));
        let session = match link.session().await {
            Ok(session) => session,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        let options = DownloadFromContainerOptions { path };
        let mut pieces = pin!(session.docker.download_from_container(&id, Some(options)));
        loop {
            let item = match timeout(STALL_LIMIT, pieces.next()).await {
                Err(_) => Err(stalled(&action)),
                Ok(None) => return,
                Ok(Some(piece)) => piece.map_err(|error| link.told(&action, error)),
            };
            let is_last = item.is_err();
            // The reader went away: so do we.
            if sender.send(item).await.is_err() || is_last {
                return;
            }
        }
    })
}

pub(super) async fn write(
    link: &Link,
    id: &str,
    folder: &str,
    tar: BoxStream<io::Result<Bytes>>,
) -> Result<(), EngineError> {
    let action = format!("copy into `{folder}` of container `{}`", short(id));
    let session = link.session().await?;
    let options = UploadToContainerOptions {
        path: folder.to_owned(),
        no_overwrite_dir_non_dir: Some("1".to_owned()),
        // It would give all to the user that the container runs as, whatever the archive says.
        copy_uidgid: None,
    };
    let progress = Progress::default();
    let body = bollard::body_try_stream(progress.watch(tar));
    let answer = session.docker.upload_to_container(id, Some(options), body);
    let mut answer = pin!(stream::once(answer));
    match progress.next(&action, &mut answer).await? {
        Some(answer) => answer.map_err(|error| link.told(&action, error)),
        None => Ok(()),
    }
}

/// People read it.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
