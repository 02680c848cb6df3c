//! The issuer's list of tokens: which secrets it gave out, for what, until when, and whether they
//! were used. What a token is for stands here alone: whoever redeems it cannot choose. Secrets are kept hashed. A token is spent on disk before anybody is admitted with it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::{Audit, By, Mutation};
use super::identity::Identity;
use super::store::{Durability, Store, StoreError, TOKENS, json};
use super::token::{Secret, Token};
use crate::model::{HostId, Role, WallSeconds};

/// A spent or expired token is remembered so long, to say what became of it.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Why a token is not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// This host never issued it, or forgot it.
    #[error("this token was not issued by the host it names")]
    Unknown,
    /// Somebody came in with it.
    #[error("this token was already used")]
    Used,
    /// It was made to let in something else; it is still good for that.
    #[error("this token is for {0}")]
    OtherPurpose(&'static str),
    /// Its time is over.
    #[error("this token has expired")]
    Expired,
    /// It could not be marked as used; it is still good.
    #[error("the token could not be marked as used")]
    Store(#[from] StoreError),
}

/// How long a token is good, and for how many hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From when on it expires after `lifetime`.
    pub now: WallSeconds,
    /// How long it is good.
    pub lifetime: Duration,
    /// Hosts that may join with it.
    pub uses: u32,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A host joins.
    #[default]
    Host,
    /// An operator is let in.
    Operator(Invitation),
}

impl Purpose {
    /// For people.
    pub(super) fn words(&self) -> &'static str {
        match self {
            Self::Host => "a host",
            Self::Operator(_) => "an operator",
        }
    }
}

/// As what somebody wants to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// As a host.
    Host,
    /// As an operator.
    Operator,
}

/// Whom an operator's token lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Who invited, as in the audit log.
    pub invited_by: String,
}

/// What is kept of a token.
#[derive(Serialize, Deserialize)]
struct Entry {
    expires: WallSeconds,
    /// Who joined with it, in the form before `users`.
    #[serde(default)]
    used_by: Option<HostId>,
    /// Hosts that may join with it.
    #[serde(default = "one")]
    uses: u32,
    /// Hosts that joined with it.
    #[serde(default)]
    users: Vec<HostId>,
    /// What it is for.
    #[serde(default)]
    purpose: Purpose,
}

fn one() -> u32 {
    1
}

impl Entry {
    fn is_spent(&self) -> bool {
        self.users.len() + usize::from(self.used_by.is_some()) >= self.uses as usize
    }
}

/// The tokens of this host. Every call blocks for the disk.
#[derive(Debug, Clone)]
pub struct Tokens {
    store: Store,
    audit: Audit,
}

impl Tokens {
    /// The tokens kept in `store`; what becomes of them is told to `audit`.
    pub fn new(store: Store, audit: Audit) -> Self {
        Self { store, audit }
    }

    /// Issues a token that hosts can join with, at one of `addresses` of this host, as `terms` say.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then there is no token.
    pub fn issue(
        &self,
        identity: &Identity,
        addresses: Vec<SocketAddr>,
        terms: Terms,
        by: &By,
    ) -> Result<Token, StoreError> {
        let what = format!("token create, for {}", terms.uses);
        self.make(identity, addresses, terms, Purpose::Host, what, by)
    }

    /// Issues a token that lets in one operator; the uses in `terms` do not count.
    ///
    /// # Errors
    ///
    /// When it cannot be written; then there is no token.
    pub fn invite(
        &self,
        identity: &Identity,
        addresses: Vec<SocketAddr>,
        terms: Terms,
        invitation: Invitation,
        by: &By,
    ) -> Result<Token, StoreError> {
        let what = format!("operator create {}, {}", invitation.name, invitation.role);
        let terms = Terms { uses: 1, ..terms };
        self.make(identity, addresses, terms, Purpose::Operator(invitation), what, by)
    }

    fn make(
        &self,
        identity: &Identity,
        addresses: Vec<SocketAddr>,
        terms: Terms,
        purpose: Purpose,
        what: String,
        by: &By,
    ) -> Result<Token, StoreError> {
        let Terms { now, lifetime, uses } = terms;
        let secret = Secret::random();
        let expires = WallSeconds(now.0.saturating_add(lifetime.as_secs()));
        let entry = Entry { expires, used_by: None, uses, users: Vec::new(), purpose };
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
        self.audit.record(
            now,
            Mutation {
                who: by.who.clone(),
                from: by.from.clone(),
                what: format!("{what}, until {}", expires.0),
                old: String::new(),
                new: short(&secret),
                result: "done".to_owned(),
            },
        );
        Ok(Token { addresses, pin: identity.pin(), secret })
    }

    /// Spends a use of a token for `host`, which is seen at `from` and wants to come in as `wish`.
    /// Returns what the token is for.
    ///
    /// # Errors
    ///
    /// Why it is not good.
    pub(super) fn redeem(
        &self,
        secret: &Secret,
        wish: Wish,
        host: &HostId,
        from: SocketAddr,
        now: WallSeconds,
    ) -> Result<Purpose, RedeemError> {
        let redeemed = self.spend(secret, wish, host, now);
        let result = match &redeemed {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let mutation = Mutation {
            who: host.to_string(),
            from: from.to_string(),
            what: "token redeem".to_owned(),
            old: short(secret),
            new: String::new(),
            result,
        };
        self.audit.record(now, mutation);
        redeemed
    }

    fn spend(
        &self,
        secret: &Secret,
        wish: Wish,
        host: &HostId,
        now: WallSeconds,
    ) -> Result<Purpose, RedeemError> {
        let hash = secret.hash();
        self.store.change(Durability::Synced, |change| {
            let kept = change.get(TOKENS, hash.as_str())?;
            let Some(mut entry) = kept.and_then(|v| serde_json::from_slice::<Entry>(&v).ok())
            else {
                return Ok(Err(RedeemError::Unknown));
            };
            match (wish, &entry.purpose) {
                (Wish::Host, Purpose::Host) | (Wish::Operator, Purpose::Operator(_)) => {}
                (Wish::Host, Purpose::Operator(_)) | (Wish::Operator, Purpose::Host) => {
                    return Ok(Err(RedeemError::OtherPurpose(entry.purpose.words())));
                }
            }
            if entry.is_spent() {
                return Ok(Err(RedeemError::Used));
            }
            if entry.expires <= now {
                return Ok(Err(RedeemError::Expired));
            }
            entry.users.push(host.clone());
            change.batch.put(TOKENS, hash.as_str(), json(&entry));
            Ok(Ok(entry.purpose))
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
            if let Some(mut entry) = entry {
                entry.users.retain(|user| user != host);
                change.batch.put(TOKENS, hash.as_str(), json(&entry));
            }
            Ok(())
        })
    }
}

/// What the audit log calls a token: enough to tell it from others, and no help to guess it.
fn short(secret: &Secret) -> String {
    secret.hash()[..12].to_owned()
}
