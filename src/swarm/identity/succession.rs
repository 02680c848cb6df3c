//! One authority after another: making the next one, handing it to members, and taking it over.
//!
//! From the moment a host has the next one, what the one before signed is good only for the keys that
//! were there when it was made. So somebody who has copied the old key can let nobody in with it.

use std::collections::BTreeSet;
use std::fmt;

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::authority::{Authority, FORMER_MAX, Subject};
use super::{HostKey, Identity, IdentityError, cluster_of, own, read_key};
use crate::model::{AuthorityId, HostId, WallSeconds};

type Unusable = Box<dyn std::error::Error + Send + Sync>;

/// An authority with its key: on disk, to whoever joins, and between members. A secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Succession {
    authority_key: String,
    authority_certificate: String,
    /// The cluster; none means the one that begins with this authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(default = "one")]
    number: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    crosses: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    former: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    known: BTreeSet<HostId>,
}

fn one() -> u64 {
    1
}

impl fmt::Debug for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays out of logs.
        f.debug_struct("Succession").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Succession {
    /// Which authority it is.
    #[cfg(test)]
    pub(in crate::swarm) fn read_id(&self) -> AuthorityId {
        self.read().unwrap().1.id()
    }

    /// The cluster and its authority.
    pub(super) fn read(&self) -> Result<(String, Authority), Unusable> {
        let der = |text: &String| -> Result<CertificateDer<'static>, Unusable> {
            Ok(BASE64.decode(text.as_bytes())?.into())
        };
        let certificate = der(&self.authority_certificate)?;
        let cluster = self.cluster.clone().unwrap_or_else(|| cluster_of(&certificate));
        let authority = Authority {
            key: read_key(&self.authority_key)?,
            certificate,
            number: self.number,
            crosses: self.crosses.iter().map(der).collect::<Result<_, _>>()?,
            former: self.former.iter().map(der).collect::<Result<_, _>>()?,
            known: self.known.clone(),
        };
        Ok((cluster, authority))
    }
}

impl Identity {
    /// The authority this host goes by.
    pub fn authority_id(&self) -> AuthorityId {
        self.inner.authority.id()
    }

    /// When the authority's certificate was made and ends, in seconds since 1970.
    pub fn authority_dates(&self) -> Option<(u64, u64)> {
        crate::swarm::tls::validity(&self.inner.authority.certificate)
    }

    /// The authority with its key, for another member.
    pub fn succession(&self) -> Succession {
        let inner = &self.inner;
        let Authority { key, certificate, number, crosses, former, known } = &inner.authority;
        let base64 = |all: &[CertificateDer<'static>]| {
            all.iter().map(|one| BASE64.encode(one)).collect::<Vec<_>>()
        };
        Succession {
            authority_key: BASE64.encode(key.serialized_der()),
            authority_certificate: BASE64.encode(certificate),
            cluster: (*number > 1).then(|| inner.cluster.clone()),
            number: *number,
            crosses: base64(crosses),
            former: base64(former),
            known: known.clone(),
        }
    }

    /// This host under a new authority of its own making; what the old one signed stays good for
    /// `known`. Not on disk yet.
    ///
    /// # Errors
    ///
    /// When keys or certificates cannot be made.
    pub fn rotated(
        &self,
        known: BTreeSet<HostId>,
        now: WallSeconds,
    ) -> Result<Self, IdentityError> {
        let known = known.into_iter().chain(self.inner.authority.known.iter().cloned()).collect();
        let next = self.inner.authority.successor(known, now)?;
        self.under(next, now)
    }

    /// This host under the authority that another member hands over; none when its own one counts.
    /// `here` are the keys known here. Not on disk yet.
    ///
    /// # Errors
    ///
    /// When it is of another cluster, or does not fit together.
    pub fn adopting(
        &self,
        succession: &Succession,
        here: BTreeSet<HostId>,
        now: WallSeconds,
    ) -> Result<Option<Self>, IdentityError> {
        let mine = &self.inner.authority;
        let (cluster, mut next) = succession.read().map_err(own)?;
        if cluster != self.inner.cluster {
            return Err(own("the authority is of another cluster".into()));
        }
        if next.id() <= mine.id() {
            return Ok(None);
        }
        if next.number == mine.number {
            // Two were made on two sides of a partition. Whoever came in by ours meanwhile was let in.
            next.known.extend(here);
        }
        next.known.extend(mine.known.iter().cloned());
        let ours = std::iter::once(&mine.certificate).chain(&mine.former);
        for certificate in ours {
            if !next.former.contains(certificate) && next.former.len() < FORMER_MAX {
                next.former.push(certificate.clone());
            }
        }
        self.under(next, now).map(Some)
    }

    /// This host, certified by this authority.
    fn under(&self, authority: Authority, now: WallSeconds) -> Result<Self, IdentityError> {
        let inner = &self.inner;
        let subject = Subject::member(&inner.cluster);
        let certificate = authority.sign(&inner.key, &subject, now)?;
        let key = HostKey(read_key(&BASE64.encode(inner.key.serialized_der())).map_err(own)?);
        let made = Self::assemble(key, certificate, inner.cluster.clone(), authority);
        made.agrees().map_err(own)?;
        Ok(made)
    }
}
