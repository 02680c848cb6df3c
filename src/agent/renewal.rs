//! Keeps this host's certificate in date. The host signs it itself: it holds the authority's key
//! (decision 12), so no other host has to be there, and one that was off for years is in at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::swarm::{Identity, Transport, WallClock};
use crate::telemetry::chain;

/// Time between two looks at the date: a clock may be set at any time.
const LOOK: Duration = Duration::from_secs(600);

/// The identity to start with: renewed and kept on disk when that is due. Blocks for the disk.
pub(super) fn at_start(identity: Identity, dir: &Path) -> Identity {
    renew(&identity, dir).unwrap_or(identity)
}

/// Renews the certificate when it is due, as long as the agent runs.
pub(super) async fn run(mut identity: Identity, dir: PathBuf, transport: Transport) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (old, directory) = (identity.clone(), dir.clone());
        let renewed = tokio::task::spawn_blocking(move || renew(&old, &directory)).await;
        let Ok(Some(renewed)) = renewed else { continue };
        match transport.set_identity(renewed.clone()) {
            Ok(()) => identity = renewed,
            Err(error) => tracing::error!(error = chain(&error), "a new certificate is not shown"),
        }
    }
}

fn renew(identity: &Identity, dir: &Path) -> Option<Identity> {
    let renewed = match identity.renewed(WallClock::system().now()) {
        Ok(renewed) => renewed?,
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot renew the certificate of this host");
            return None;
        }
    };
    match renewed.replace(dir) {
        Ok(()) => tracing::info!("certificate of this host renewed"),
        // It is good all the same, and made again at the next start.
        Err(error) => tracing::warn!(error = chain(&error), "cannot keep a renewed certificate"),
    }
    Some(renewed)
}
