//! Files into containers: from the disk, or a tar stream from standard input.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::pack::{Packing, pack};
use super::rules::{Here, Landing, Spot, Target, landing, split};
use super::wire::{Replicas, Sent, ended, is_gone};
use super::{Done, Manner, bar, incomplete};
use crate::api::{Frame, Frames, Looked};
use crate::cli::Context;
use crate::cli::converse::standard;
use crate::cli::errors::CliError;
use crate::model::{PathKind, PathStat};

/// Read at once from standard input.
const PIECE: usize = 64 * 1024;

/// What is copied.
enum Source<'s> {
    /// Something of this machine.
    Path {
        spot: &'s Spot,
        at: PathBuf,
        is_folder: bool,
    },
    Stream,
}

/// Copies `from` into replicas, one after the other. Returns them, and what was copied into each; no files
/// are counted in a stream.
pub(super) async fn run(
    context: &Context,
    replicas: &Replicas,
    (indices, to): (&[Option<u32>], &Spot),
    from: &Here,
    manner: Manner,
) -> Result<(Vec<Looked>, Done, bool), CliError> {
    let source = match from {
        Here::Path(spot) => source(spot, manner.follows)?,
        Here::Stream if indices.len() > 1 => {
            let words = "standard input can be read once, and there are several replicas";
            return Err(CliError::user(words).hint("name one with `--index`, or copy a file"));
        }
        Here::Stream => Source::Stream,
    };
    let (mut all, mut done) = (Vec::new(), Done::default());
    for index in indices {
        match one(context, replicas, (*index, to), &source, manner).await {
            Ok((looked, copied)) => {
                all.push(looked);
                done = copied;
            }
            Err(error) if all.is_empty() => return Err(error),
            Err(error) => {
                let have: Vec<String> = all.iter().map(|one| one.index.to_string()).collect();
                return Err(error.hint(format!("replicas that have it: {}", have.join(", "))));
            }
        }
    }
    Ok((all, done, matches!(source, Source::Path { .. })))
}

fn source(spot: &Spot, follows: bool) -> Result<Source<'_>, CliError> {
    let failed = |error: io::Error| CliError::user(format!("cannot read `{}`: {error}", spot.path));
    let path = Path::new(&spot.path);
    // A link that is meant as the folder it leads to is followed in any case.
    let follows = follows || spot.asks_folder;
    let at = if follows { path.canonicalize().map_err(failed)? } else { path.to_owned() };
    let found = fs::symlink_metadata(&at).map_err(failed)?;
    let is_folder = found.is_dir();
    if !is_folder && !found.is_file() && !found.is_symlink() {
        return Err(CliError::user(format!("`{}` is neither file, folder nor link", spot.path))
            .hint("what can be read from it goes through `muster exec -T SERVICE tee FILE`"));
    }
    Ok(Source::Path { spot, at, is_folder })
}

async fn one(
    context: &Context,
    replicas: &Replicas,
    (index, to): (Option<u32>, &Spot),
    source: &Source<'_>,
    manner: Manner,
) -> Result<(Looked, Done), CliError> {
    let looked = replicas.look(index, &to.path).await?;
    let (place, target) = settle(replicas, &looked, to).await?;
    let (folder, packing) = match source {
        Source::Stream if target == Target::Folder => (place, None),
        Source::Stream => {
            let words = format!("there is no folder `{}` to unpack a stream in", to.path);
            return Err(CliError::user(words).hint("a stream goes into a folder that is there"));
        }
        Source::Path { spot, at, is_folder } => {
            let (folder, name) = match landing((spot, *is_folder), (to, target))? {
                Landing::Content => (place, None),
                Landing::Below => (place, Some(spot.split().1.to_owned())),
                Landing::At => {
                    let (folder, name) = split(&place);
                    (folder.to_owned(), Some(name.to_owned()))
                }
            };
            (folder, Some(Packing { from: at.clone(), name, owners: manner.owners }))
        }
    };
    let (sender, frames) = replicas.write(looked.index, folder).await?;
    context.if_interrupted("the copy is incomplete");
    let words = format!("copying to `{}/{}` on `{}`", replicas.service, looked.index, looked.host);
    let bar = bar(context, &words);
    let done = match packing {
        Some(packing) => from_disk((sender, frames), packing, &bar).await,
        None => from_input((sender, frames), &bar).await,
    };
    bar.finish_and_clear();
    Ok((looked, done.map_err(incomplete)?))
}

/// Where a path of the container leads to in the end, and what is there.
async fn settle(
    replicas: &Replicas,
    looked: &Looked,
    to: &Spot,
) -> Result<(String, Target), CliError> {
    let (place, found) = match &looked.found {
        Some(PathStat { kind: PathKind::Link, target: Some(target), .. }) => {
            let there = replicas.look(Some(looked.index), target).await?.found;
            (target.clone(), there)
        }
        found => (to.path.clone(), found.clone()),
    };
    let target = match found.map(|found| found.kind) {
        None => Target::Missing,
        Some(PathKind::Folder) => Target::Folder,
        Some(PathKind::File | PathKind::Link) => Target::Other,
        Some(PathKind::Other) => {
            let words = format!("`{}` is neither file nor folder in the container", to.path);
            return Err(CliError::user(words).hint("name a folder, a file, or what is not there"));
        }
    };
    Ok((place, target))
}

type Way = (mpsc::Sender<Frame>, Frames);

async fn from_disk(
    (sender, frames): Way,
    packing: Packing,
    bar: &ProgressBar,
) -> Result<Done, CliError> {
    let sent = Sent::new(sender.clone(), bar.clone());
    let packed = async move {
        let work = move || {
            pack(&packing, sent).map(|(done, sent)| {
                sent.end();
                done
            })
        };
        let ended = tokio::task::spawn_blocking(work).await;
        ended.unwrap_or_else(|error| Err(CliError::cluster(format!("bug: {error}"))))
    };
    let done = both(packed, ended(frames)).await;
    // Until now: without it the other end would take it for gone.
    drop(sender);
    done
}

async fn from_input((sender, frames): Way, bar: &ProgressBar) -> Result<Done, CliError> {
    let passed = async {
        let failed =
            |error: io::Error| CliError::user(format!("cannot read standard input: {error}"));
        let mut input = standard(io::stdin()).map_err(failed)?;
        let (mut piece, mut bytes) = (vec![0; PIECE], 0);
        loop {
            let length = input.read(&mut piece).await.map_err(failed)?;
            let frame = match length {
                0 => Frame::InputEnd,
                length => Frame::Input(Bytes::copy_from_slice(&piece[..length])),
            };
            // When nobody takes it any more, the answer tells why.
            if sender.send(frame).await.is_err() || length == 0 {
                return Ok(Done { bytes, ..Done::default() });
            }
            bar.inc(length as u64);
            bytes += length as u64;
        }
    };
    both(passed, ended(frames)).await
}

/// What was sent, once all of it was taken. Of two that fail the one that is the reason for the other tells
/// it.
async fn both(
    sent: impl Future<Output = Result<Done, CliError>>,
    answer: impl Future<Output = Result<(), CliError>>,
) -> Result<Done, CliError> {
    let (mut sent, mut answer) = (std::pin::pin!(sent), std::pin::pin!(answer));
    // What is dropped of these when the other one fails is of no use any more.
    tokio::select! {
        done = &mut sent => match done {
            Ok(done) => answer.await.map(|()| done),
            Err(error) if is_gone(&error) => answer.await.and(Err(CliError::cluster("nobody takes it"))),
            Err(error) => Err(error),
        },
        answer = &mut answer => match answer {
            Ok(()) => sent.await,
            Err(error) => Err(error),
        },
    }
}
