//! Keeps this host's certificate in date, and is the one place that changes the identity of a running
//! agent. The host signs for itself: it holds the authority's key (decision 12), so no other host has to
//! be there, and one that was off for years is in at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::api::ApiError;
use crate::swarm::{Identity, IdentityError, Transport, WallClock};
use crate::telemetry::chain;

/// Time between two looks at the date: a clock may be set at any time.
const LOOK: Duration = Duration::from_secs(600);

/// The identity to start with: renewed and kept on disk when that is due. Blocks for the disk.
pub(super) fn at_start(identity: Identity, dir: &Path) -> Identity {
    let renewed = match identity.renewed(WallClock::system().now()) {
        Ok(renewed) => renewed,
        Err(error) => {
            tracing::error!(error = chain(&error), "cannot renew the certificate of this host");
            None
        }
    };
    let Some(renewed) = renewed else { return identity };
    match renewed.replace(dir) {
        Ok(()) => tracing::info!("certificate of this host renewed"),
        // It is good all the same, and made again at the next start.
        Err(error) => tracing::warn!(error = chain(&error), "cannot keep a renewed certificate"),
    }
    renewed
}

/// The identity of a running agent: changed one change at a time, on disk before it is shown.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    dir: PathBuf,
    transport: Transport,
    one: Arc<Semaphore>,
}

impl Keys {
    pub(super) fn new(dir: PathBuf, transport: Transport) -> Self {
        Self { dir, transport, one: Arc::new(Semaphore::new(1)) }
    }

    /// Makes another identity of the one that is in use; none changes nothing. Returns the one that is
    /// in use then, and whether it is another one.
    ///
    /// # Errors
    ///
    /// When it cannot be made, kept or shown; the old one is in use on.
    pub(super) async fn change(
        &self,
        change: impl FnOnce(&Identity) -> Result<Option<Identity>, IdentityError> + Send + 'static,
    ) -> Result<(Identity, bool), ApiError> {
        let permit = self.one.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let (old, dir) = (self.transport.identity(), self.dir.clone());
        let make = move || match change(&old)? {
            Some(new) => new.replace(&dir).map(|()| (new, true)),
            None => Ok((old, false)),
        };
        let made = tokio::task::spawn_blocking(make).await;
        let made = made.map_err(|error| ApiError::cluster(error.to_string()))?;
        let (identity, is_new) = made.map_err(|error| {
            let words = format!("cannot change the identity of this host: {}", chain(&error));
            ApiError::cluster(words).hint_if(error.hint())
        })?;
        if is_new {
            let shown = self.transport.set_identity(identity.clone());
            shown.map_err(|error| ApiError::cluster(chain(&error)))?;
        }
        Ok((identity, is_new))
    }

    /// Renews the certificate when it is due, as long as the agent runs.
    pub(super) async fn renew(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.change(|identity| identity.renewed(WallClock::system().now())).await {
                Ok((_, true)) => tracing::info!("certificate of this host renewed"),
                Ok((_, false)) => {}
                Err(error) => tracing::error!(%error, "the certificate is not renewed"),
            }
        }
    }
}
