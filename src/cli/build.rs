//! Builds the images that a file says how to build, on this host. Other hosts get them from here.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use futures_util::StreamExt;
use tokio_util::io::ReaderStream;

use super::Context;
use super::errors::{CliError, Kind};
use super::pack::{Packed, Source, pack};
use super::printer::{Level, Paint};
use super::show;
use crate::api::client::Client;
use crate::docker::BuildImage;
use crate::translate::{Build, Translation};

/// One piece of a context on its way to the agent.
const PIECE: usize = 64 * 1024;
/// Lines of a build that are kept to be shown when it fails and nothing was shown before.
const KEPT_LINES: usize = 20;

/// When an image is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// When no host has what these files make.
    Missing,
    /// In any case.
    Always,
    /// Not at all; one that is missing is an error.
    Never,
}

/// Builds what is to be built and puts the references into the Revision. The tag follows from the
/// content, so that the same files are not built twice, and a change of them is a new Revision.
///
/// # Errors
///
/// When a context cannot be packed, or a build fails.
pub(super) async fn build_images(
    context: &Context,
    client: &Client,
    translation: &mut Translation,
    mode: Mode,
) -> Result<(), CliError> {
    for build in translation.builds.clone() {
        let scratch = scratch_file()?;
        let packed = pack(&source(&build), &scratch).await?;
        let image = image(&build, &packed);
        let known = !client.image_known(&image.reference).await?.hosts.is_empty();
        let reference = image.reference.clone();
        match mode {
            Mode::Missing | Mode::Never if known => {
                let words = format!("image of `{}` is unchanged: {reference}", build.service);
                context.printer.detail(&words);
            }
            Mode::Never => {
                let words = format!("the image of service `{}` is not built", build.service);
                return Err(CliError::user(words).hint("leave `--no-build` away"));
            }
            Mode::Missing | Mode::Always => {
                build_one(context, client, &build, image, &packed, scratch).await?;
            }
        }
        translation.set_built_image(&build.service, &reference);
    }
    Ok(())
}

/// Puts the references into the Revision without building; returns those that would be built.
///
/// # Errors
///
/// When a context cannot be packed.
pub(super) async fn name_images(
    client: &Client,
    translation: &mut Translation,
) -> Result<Vec<String>, CliError> {
    let mut missing = Vec::new();
    for build in translation.builds.clone() {
        let packed = pack(&source(&build), io::sink()).await?;
        let reference = image(&build, &packed).reference;
        if client.image_known(&reference).await?.hosts.is_empty() {
            missing.push(reference.clone());
        }
        translation.set_built_image(&build.service, &reference);
    }
    Ok(missing)
}

fn source(build: &Build) -> Source {
    Source {
        context: build.context.clone(),
        dockerfile: build.dockerfile.clone().into(),
        inline: build.dockerfile_inline.clone(),
    }
}

fn image(build: &Build, packed: &Packed) -> BuildImage {
    let mut image = BuildImage {
        reference: String::new(),
        dockerfile: packed.dockerfile.clone(),
        args: build.args.clone(),
        target: build.target.clone(),
        labels: build.labels.clone(),
        pull: build.pull,
        no_cache: build.no_cache,
        network: build.network.clone(),
        shm_size: build.shm_size,
    };
    image.reference = format!("{}:{}", repository(&build.reference), packed.tag(&image));
    image
}

/// The reference without tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        // A slash after the colon: it was the registry's port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => name,
    }
}

async fn build_one(
    context: &Context,
    client: &Client,
    build: &Build,
    image: BuildImage,
    packed: &Packed,
    mut scratch: File,
) -> Result<(), CliError> {
    let (files, size) = (show::count(packed.files, "file"), show::bytes(packed.bytes));
    let words = format!("building `{}` from {files}, {size}", build.service);
    context.printer.say(&format!("{words}: {}", image.reference));
    scratch.seek(SeekFrom::Start(0)).map_err(|error| scratch_failed(&error))?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(scratch), PIECE);
    let mut lines = client.build(image, Box::pin(pieces)).await?;
    let mut kept = Vec::new();
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => {
                let line = line.trim_end();
                // A daemon sends the end of each line as a line of its own.
                if line.is_empty() {
                    continue;
                }
                context.printer.say(&Paint::Dim.on(line));
                if context.printer.level() == Level::Quiet {
                    kept.push(line.to_owned());
                    kept.drain(..kept.len().saturating_sub(KEPT_LINES));
                }
            }
            Err(error) => {
                let error = CliError::from(error);
                let excerpt = (!kept.is_empty()).then(|| kept.join("\n"));
                let what = format!("the build of service `{}` failed: {error}", build.service);
                let hint = error.complaints.into_iter().find_map(|complaint| complaint.hint);
                let failed = CliError { excerpt, ..CliError::new(error.kind, what) };
                return Err(match hint {
                    Some(hint) => failed.hint(hint),
                    None => failed,
                });
            }
        }
    }
    Ok(())
}

/// A file without a name: it goes when it is closed.
fn scratch_file() -> Result<File, CliError> {
    let make = |folder: &Path| -> io::Result<File> {
        let path = folder.join(format!("muster-context-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    make(&std::env::temp_dir()).map_err(|error| scratch_failed(&error))
}

fn scratch_failed(error: &io::Error) -> CliError {
    let folder = std::env::temp_dir();
    CliError::new(Kind::Cluster, format!("cannot write to `{}`: {error}", folder.display()))
        .hint("`TMPDIR` names another folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_loses_its_tag_but_not_its_port() {
        assert_eq!(repository("shop-web"), "shop-web");
        assert_eq!(repository("shop-web:1.2"), "shop-web");
        assert_eq!(repository("host:5000/shop/web"), "host:5000/shop/web");
        assert_eq!(repository("host:5000/web:1@sha256:00"), "host:5000/web");
    }

    #[test]
    fn a_scratch_file_leaves_no_name() {
        let (one, two) = (scratch_file(), scratch_file());
        assert!(one.is_ok() && two.is_ok());
        let name = format!("muster-context-{}", std::process::id());
        assert!(!std::env::temp_dir().join(name).exists());
    }
}
