//! `muster version`.

use super::Context;
use super::errors::{CliError, Outcome};

/// Print the version of this program
#[derive(Debug, clap::Args)]
pub(super) struct VersionArgs {}

#[derive(Debug, serde::Serialize)]
struct Version {
    version: &'static str,
}

pub(super) fn run(_: VersionArgs, context: &Context) -> Result<Outcome, CliError> {
    let version = env!("CARGO_PKG_VERSION");
    if context.json {
        context.printer.json(&Version { version })?;
    } else {
        context.printer.data(&format!("muster {version}"))?;
    }
    Ok(Outcome::Done)
}
