//! Files out of a container: onto the disk, or as a tar stream to standard output.

use std::io::{self, IsTerminal};

use tokio::io::AsyncWriteExt;

use super::rules::{Here, Landing, Spot, landing, split};
use super::unpack::{Unpacking, settle, unpack};
use super::wire::{Replicas, came, is_gone, receive};
use super::{Done, Manner, bar, incomplete};
use crate::api::{Frames, Looked};
use crate::cli::Context;
use crate::cli::converse::standard;
use crate::cli::errors::CliError;
use crate::model::{PathKind, PathStat};

/// What is copied: where it is once links are followed, and whether it is a folder.
struct Source {
    path: String,
    is_folder: bool,
}

/// Copies `from` of a replica. Returns it, and what was copied; no files are counted in a stream.
pub(super) async fn run(
    context: &Context,
    replicas: &Replicas,
    (index, from): (Option<u32>, &Spot),
    to: &Here,
    manner: Manner,
) -> Result<(Vec<Looked>, Done, bool), CliError> {
    if *to == Here::Stream {
        check_stream(context)?;
    }
    let looked = replicas.look(index, &from.path).await?;
    let source = source(replicas, &looked, from, manner.follows).await?;
    let is_content = from.is_content && source.is_folder;
    let (_, base) = split(&source.path);
    let base = (!is_content).then(|| base.to_owned());
    let unpacking = match to {
        Here::Stream => None,
        Here::Path(spot) => {
            let (place, target) = settle(&spot.path)?;
            let root = match landing((from, source.is_folder), (spot, target))? {
                Landing::Content | Landing::At => place,
                Landing::Below => place.join(from.split().1),
            };
            let owners = manner.owners;
            Some(Unpacking { root, base, is_folder: source.is_folder, owners })
        }
    };
    let path = match is_content {
        true => format!("{}/.", source.path.trim_end_matches('/')),
        false => source.path,
    };
    let (_held, frames) = replicas.read(looked.index, path).await?;
    context.if_interrupted("the copy is incomplete");
    let words =
        format!("copying from `{}/{}` on `{}`", replicas.service, looked.index, looked.host);
    let bar = bar(context, &words);
    let (copied, is_counted) = match unpacking {
        Some(unpacking) => (to_disk(frames, unpacking, &bar).await, true),
        None => (to_output(frames, &bar).await, false),
    };
    bar.finish_and_clear();
    Ok((vec![looked], copied?, is_counted))
}

fn check_stream(context: &Context) -> Result<(), CliError> {
    if context.json {
        let words = "`--json` and `-` both are for standard output";
        return Err(CliError::user(words).hint("leave one of them out"));
    }
    if io::stdout().is_terminal() {
        let words = "a tar stream is not for a terminal";
        return Err(CliError::user(words).hint("send it on: `>FILE`, or `| tar -t`"));
    }
    Ok(())
}

async fn source(
    replicas: &Replicas,
    looked: &Looked,
    from: &Spot,
    follows: bool,
) -> Result<Source, CliError> {
    let missing = |path: &str| {
        let Looked { index, host, .. } = looked;
        let words = format!("there is no `{path}` in replica {index} of `{}`", replicas.service);
        CliError::user(format!("{words} on `{host}`"))
    };
    let found = looked.found.as_ref().ok_or_else(|| missing(&from.path))?;
    let (path, found) = match found {
        PathStat { kind: PathKind::Link, target: Some(target), .. }
            if follows || from.asks_folder =>
        {
            let there = replicas.look(Some(looked.index), target).await?.found;
            (target.clone(), there.ok_or_else(|| missing(target))?)
        }
        found => (from.path.clone(), found.clone()),
    };
    Ok(Source { path, is_folder: found.kind == PathKind::Folder })
}

async fn to_disk(
    frames: Frames,
    unpacking: Unpacking,
    bar: &indicatif::ProgressBar,
) -> Result<Done, CliError> {
    let (to, came) = came();
    let unpacked = async move {
        let work = move || unpack(&unpacking, came);
        let ended = tokio::task::spawn_blocking(work).await;
        ended.unwrap_or_else(|error| Err(CliError::cluster(format!("bug: {error}"))))
    };
    let fed = async move {
        receive(frames, async |piece| {
            bar.inc(piece.len() as u64);
            // It has had the archive's end, or has failed and says why.
            let _ = to.send(Some(piece)).await;
            Ok(())
        })
        .await?;
        let _ = to.send(None).await;
        Ok::<_, CliError>(())
    };
    let (mut unpacked, mut fed) = (std::pin::pin!(unpacked), std::pin::pin!(fed));
    // What is dropped of these when the other one fails is of no use any more.
    let done = tokio::select! {
        fed = &mut fed => match fed {
            Ok(()) => unpacked.await,
            Err(error) => Err(error),
        },
        done = &mut unpacked => match done {
            Ok(done) => fed.await.map(|()| done),
            Err(error) => Err(error),
        },
    };
    done.map_err(incomplete)
}

async fn to_output(frames: Frames, bar: &indicatif::ProgressBar) -> Result<Done, CliError> {
    let mut output = standard(io::stdout())?;
    let mut bytes = 0;
    let written = receive(frames, async |piece| {
        bar.inc(piece.len() as u64);
        bytes += piece.len() as u64;
        Ok(output.write_all(&piece).await?)
    })
    .await;
    // What came is written in any case.
    let flushed = output.flush().await;
    written.map_err(|error| if is_gone(&error) { error } else { incomplete(error) })?;
    flushed?;
    Ok(Done { bytes, ..Done::default() })
}
