//! The issuer's list of join tokens: which secrets it gave out, until when, and whether they were
//! used. Secrets are kept hashed. A token is spent on disk before anybody is admitted with it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::store::{Durability, Store, StoreError, TOKENS, json};
use super::token::{Secret, Token};
use crate::model::{HostId, WallSeconds};

/// A spent or expired token is remembered so long, to say what became of it.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a token is not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// This host never issued it, or forgot it.
    #[error("this token was not issued by the host it names")]
    Unknown,
    /// A host joined with it.
    #[error("this token was already used")]
    Used,
    /// Its time is over.
    #[error("this token has expired")]
    Expired,
    /// It could not be marked as used; it is still good.
    #[error("the token could not be marked as used")]
    Store(#[from] StoreError),
}

/// What is kept of a token.
#[derive(Serialize, Deserialize)]
struct Entry {
    expires: WallSeconds,
    #[serde(default)]
    used_by: Option<HostId>,
}

/// The tokens of this host. Every call blocks for the disk.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
}

impl Tokens {
    /// The tokens kept in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Issues a token that one host can join with, at one of `addresses` of this host, until
    /// `lifetime` from `now` is over.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then there is no token.
    pub fn issue(
        &self,
        identity: &Identity,
        addresses: Vec<SocketAddr>,
        now: WallSeconds,
        lifetime: Duration,
    ) -> Result<Token, StoreError> {
        let secret = Secret::random();
        let entry =
            Entry { expires: WallSeconds(now.0.saturating_add(lifetime.as_secs())), used_by: None };
        self.store.change(Durability::Synced, |change| {
            for (key, value) in change.scan(TOKENS)? {
                let until = |entry: Entry| entry.expires.0.saturating_add(REMEMBERED.as_secs());
                // What a newer muster wrote stays.
                let kept: Result<Entry, _> = serde_json::from_slice(&value);
                if kept.is_ok_and(|kept| until(kept) <= now.0) {
                    change.batch.forget(TOKENS, &key);
                }
            }
            change.batch.put(TOKENS, secret.hash().as_str(), json(&entry));
            Ok(())
        })?;
        Ok(Token { addresses, pin: identity.pin(), secret })
    }

    /// Spends a token for `host`.
    ///
    /// # Errors
    ///
    /// Why it is not good.
    pub(super) fn redeem(
        &self,
        secret: &Secret,
        host: &HostId,
        now: WallSeconds,
    ) -> Result<(), RedeemError> {
        let hash = secret.hash();
        self.store.change(Durability::Synced, |change| {
            let kept = change.get(TOKENS, hash.as_str())?;
            let Some(mut entry) = kept.and_then(|v| serde_json::from_slice::<Entry>(&v).ok())
            else {
                return Ok(Err(RedeemError::Unknown));
            };
            if entry.used_by.is_some() {
                return Ok(Err(RedeemError::Used));
            }
            if entry.expires <= now {
                return Ok(Err(RedeemError::Expired));
            }
            entry.used_by = Some(host.clone());
            change.batch.put(TOKENS, hash.as_str(), json(&entry));
            Ok(Ok(()))
        })?
    }

    /// Makes a token good again that was spent for a host which was not admitted after all.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then the token stays spent.
    pub(super) fn give_back(&self, secret: &Secret, host: &HostId) -> Result<(), StoreError> {
        let hash = secret.hash();
        self.store.change(Durability::Synced, |change| {
            let kept = change.get(TOKENS, hash.as_str())?;
            let entry = kept.and_then(|v| serde_json::from_slice::<Entry>(&v).ok());
            if let Some(mut entry) = entry.filter(|entry| entry.used_by.as_ref() == Some(host)) {
                entry.used_by = None;
                change.batch.put(TOKENS, hash.as_str(), json(&entry));
            }
            Ok(())
        })
    }
}
